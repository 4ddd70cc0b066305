"""The report: a self-contained page that works from a file, offline.

Tables are plain HTML, readable without JavaScript. Plotly, which is packed into the page, draws the figures.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from typing import Any

from ..energies.paper import paper
from ..records import MOCK
from ..words import listed
from .content import CampaignContent
from .markup import formula
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
    from plotly.offline import get_plotlyjs

    body = "\n".join(campaign(number, group) for number, group in enumerate(groups))
    if not groups:
        body = "<p>Nothing is recorded here yet: <code>sodiate run</code> a campaign, then report again.</p>"
    banner = "" if all(group.physical for group in groups) else _banner(groups)
    parts = {
        "TITLE": escape(f"sodiate: {title}"),
        "HEADING": escape(title),
        "CSS": (_WEB / "report.css").read_text(encoding="utf-8"),
        "JS": (_WEB / "report.js").read_text(encoding="utf-8"),
        "BANNER": banner,
        "BODY": body,
        "CONTENTS": _contents(groups),
        "FOOTER": escape(_footer(groups)),
        "DATA": _packed(json.dumps([_data(group) for group in groups], ensure_ascii=False, allow_nan=False)),
        "PLOTLY": _packed(get_plotlyjs()) if groups else "",
    }
    page = (_WEB / "report.html").read_text(encoding="utf-8")
    head, *rest = page.split("{{")
    pieces = [head]
    for part in rest:
        name, _, after = part.partition("}}")
        pieces += [parts[name], after]
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
