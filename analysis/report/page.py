"""The report: a self-contained page that works from a file, offline.

Tables are plain HTML, readable without JavaScript. Plotly, which is packed into the page, draws the figures.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from importlib.resources import files
from typing import Any

from ..energies.paper import paper
from ..records import MOCK
from ..words import listed
from .content import CampaignContent, Panel
from .markup import figure, formula
from .sections import anchors, campaign, is_beside_published

_WEB = files(__package__) / "web"


def drawn(page: str) -> list[dict[str, Any]]:
    """Return what a page draws, campaign by campaign, out of its packed data."""
    packed = page.split('id="data">')[1].split("</script>")[0]
    groups: list[dict[str, Any]] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return groups


def render(title: str, groups: Sequence[CampaignContent]) -> str:
    """Return the page.

    Parameters
    ----------
    title
        The source of the results.
    groups
        As `sodiate.workflows.results.report_data.gather` returns them.

    Returns
    -------
    str
        HTML. Text from a campaign file or a message is escaped and never becomes markup.
    """
    body = "\n".join(campaign(number, group) for number, group in enumerate(groups))
    if not groups:
        body = "<p>Nothing is recorded here yet: <code>sodiate run</code> a campaign, then report again.</p>"
    parts = {
        "TITLE": escape(f"sodiate: {title}"),
        "HEADING": escape(title),
        "BANNER": "" if all(group.physical for group in groups) else _banner(groups),
        "CONTENTS": _contents(groups),
        "BODY": body,
        "FOOTER": escape(_footer(groups)),
    }
    return _filled(parts, [_data(group) for group in groups])


@dataclass(frozen=True)
class Picture:
    """A figure of the page on its own, as a page that a notebook shows in its cell.

    Attributes
    ----------
    html
        The page; works offline, as a file too.
    """

    html: str

    def _repr_html_(self) -> str:
        return f"<iframe srcdoc='{escape(self.html)}' style='width: 100%; height: 480px; border: 0'></iframe>"


def panel_picture(panel: Panel, physical: bool) -> Picture:
    """Return a panel of a host alone.

    Parameters
    ----------
    panel
        As the page has it.
    physical
        False if its values are mock, which it then says.
    """
    return _picture(panel.kind, panel.words, panel.caption, physical, host=panel.data)


def adsorption_picture(objects: Sequence[Mapping[str, Any]], physical: bool) -> Picture:
    """Return the bars of ΔE of some hosts alone, from `sodiate.workflows.results.rows.as_objects`."""
    return _picture("adsorption", "Adsorption energies at the best sites", "", physical, objects=objects)


def _picture(
    kind: str,
    words: str,
    caption: str,
    physical: bool,
    host: Mapping[str, Any] | None = None,
    objects: Sequence[Mapping[str, Any]] = (),
) -> Picture:
    mock = "" if physical else f"<p class='mock'>{escape(MOCK)}</p>"
    body = mock + figure(0, kind, "0" if host is not None else "", words, caption)
    hosts = [] if host is None else [{"name": "", "poscar": None, "panels": {kind: host}}]
    data = {"campaign": "", "engine": "", "physical": physical, "objects": objects, "hosts": hosts, "relaxations": []}
    parts = {"TITLE": escape(words), "HEADING": "", "BANNER": "", "CONTENTS": "", "BODY": body, "FOOTER": ""}
    return Picture(_filled(parts, [data]))


def _filled(parts: Mapping[str, str], data: Sequence[Mapping[str, Any]]) -> str:
    """Return the page with its parts, its data, its style and its script."""
    from plotly.offline import get_plotlyjs

    given = {
        **parts,
        "CSS": (_WEB / "report.css").read_text(encoding="utf-8"),
        "JS": (_WEB / "report.js").read_text(encoding="utf-8"),
        "DATA": _packed(json.dumps(data, ensure_ascii=False, allow_nan=False)),
        "PLOTLY": _packed(get_plotlyjs()) if data else "",
    }
    head, *rest = (_WEB / "report.html").read_text(encoding="utf-8").split("{{")
    pieces = [head]
    for part in rest:
        name, _, after = part.partition("}}")
        pieces += [given[name], after]
    return "".join(pieces)


def _contents(groups: Sequence[CampaignContent]) -> str:
    """Return links to the sections, those of each campaign below it."""
    lines = [line for number, group in enumerate(groups) for line in anchors(number, group)]
    return "".join(f"<a class='depth-{depth}' href='#{name}'>{escape(words)}</a>" for name, words, depth in lines)


def _footer(groups: Sequence[CampaignContent]) -> str:
    """Return units, the sign of ΔE of what was adsorbed, and the source of published values where they stand."""
    results = [result for group in groups for result in group.results]
    names = [formula(name) for name in dict.fromkeys(result.adsorbate for result in results)]
    signs = [f"ΔE = E(*{name}) − E(*) − E({name})" for name in names]
    negative = f"; {listed(signs)}, more negative binds more strongly" if signs else ""
    published = any(is_beside_published(group) for group in groups)
    source = f" Published values: {paper().citation}." if published else ""
    return f"Energies in eV, lengths in Å{negative}.{source}"


def _packed(text: str) -> str:
    """Compress a text to a third of its size and encode it safely for HTML: gzip, then base64."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _data(group: CampaignContent) -> dict[str, Any]:
    """Return the data that the page's script draws and downloads."""
    keys = ("campaign", "engine", "physical", "objects", "csv", "json", "yaml")
    hosts = [
        {"name": host.name, "poscar": host.poscar, "panels": {panel.kind: panel.data for panel in host.panels}}
        for host in group.hosts
    ]
    relaxations = [asdict(relaxation) for relaxation in group.relaxations]
    return {key: getattr(group, key) for key in keys} | {"hosts": hosts, "relaxations": relaxations}


def _banner(groups: Sequence[CampaignContent]) -> str:
    mock = ", ".join(dict.fromkeys(group.campaign for group in groups if not group.physical))
    return (
        f"<p class='mock' role='alert'><strong>DRY RUN: {escape(MOCK)}</strong> "
        f"The numbers of {escape(mock)} come from a stand-in potential. They mean nothing.</p>"
    )
