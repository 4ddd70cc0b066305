"""The report: a self-contained page that works from a file, offline.

Tables are plain HTML, readable without JavaScript. Plotly, which is packed into the page, draws the figures.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from importlib.resources import files
from typing import Any

from ..energies.paper import paper
from ..records import MOCK
from .content import CampaignContent, CostRow, HostContent, RelaxationContent

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

    body = "\n".join(_group(number, group) for number, group in enumerate(groups))
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
        "CITATION": escape(paper().citation),
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


def _group(number: int, group: CampaignContent) -> str:
    mock = "" if group.physical else f"<p class='mock'><strong>{escape(MOCK)}</strong></p>"
    published = any(result.paper_adsorption_energy_ev is not None for result in group.results)
    caption = "The paper's Figure 5f." if published else ""
    adsorption = _figure(number, "adsorption", "", _adsorption_words(group), caption)
    hosts = "\n".join(_host(number, index, host) for index, host in enumerate(group.hosts))
    about = f"campaign {group.campaign}, engine {group.engine}, method {group.method_id}"
    return f"""
<section id="group-{number}">
<h2>{escape(group.title or group.campaign)}</h2>
<p class="about">{escape(about)}</p>
{mock}
<h3>Adsorption energies</h3>
{_summary(group)}
{_effects(group)}
{_remarks(group.remarks)}
<p class="downloads">{_button(number, "csv")}{_button(number, "json")}{_button(number, "yaml")}</p>
{adsorption}
<h3>Hosts</h3>
{hosts}
<h3>Relaxations</h3>
{_relaxations(number, group.relaxations)}
<details><summary>Method, provenance and cost ({_cost_words(group.costs)})</summary>
{_table(("key", "value"), group.method)}
{_costs(group.costs)}
</details>
{_missing(group.missing)}
</section>"""


def _adsorption_words(group: CampaignContent) -> str:
    energies = [
        f"{result.model} {result.adsorption_energy_ev:.2f} eV"
        + (
            f" (paper {result.paper_adsorption_energy_ev:.2f})"
            if group.physical and result.paper_adsorption_energy_ev is not None
            else ""
        )
        for result in group.results
        if result.adsorption_energy_ev is not None
    ]
    return "Adsorption energy at the best site of each host: " + ("; ".join(energies) or "none yet")


def _summary(group: CampaignContent) -> str:
    heads = {c: head for c in group.columns if (head := c.head("page", group.physical)) is not None}
    # A column without a value is left out.
    heads = {c: h for c, h in heads.items() if any(result.values[c.key] is not None for result in group.results)}
    rows = []
    for result in group.results:
        sites = result.adsorption.sites
        count = sum(site.adsorption_energy_ev is not None for site in sites)
        cells = [column.text(result.values[column.key]) for column in heads]
        rows.append([result.model, result.supercell, *cells, f"{count}/{len(sites)}"])
    return _table(["host", "cell", *heads.values(), "sites"], rows, "sortable")


def _effects(group: CampaignContent) -> str:
    """Return the table of the effect of each change on ΔE; an empty string if the campaign compares no models."""
    results = [result for result in group.results if result.compare_with is not None]
    if not results:
        return ""
    mock = "" if group.physical else " (mock)"
    heads = ("model", "against", "what differs", f"ΔE{mock} / eV", f"effect{mock} / eV")
    rows = [
        [
            *(result.model, result.compare_with, "; ".join(result.changes) or "nothing"),
            None if result.adsorption_energy_ev is None else f"{result.adsorption_energy_ev:.3f}",
            None if result.effect_ev is None else f"{result.effect_ev:+.3f}",
        ]
        for result in results
    ]
    return (
        "<h3>What each change does</h3><p class='about'>One change at a time; effects need not add up.</p>"
        + _table(heads, rows, "sortable")
    )


def _remarks(lines: Sequence[str]) -> str:
    return f"<ul class='remarks'>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _button(number: int, form: str) -> str:
    names = {"csv": "table as csv", "json": "table as JSON", "yaml": "campaign file"}
    return f"<button type='button' data-download='{number}/{form}'>{names[form]}</button> "


def _host(number: int, index: int, host: HostContent) -> str:
    parts = [f"<div class='host'><h4>{escape(host.name)}</h4>", _remarks(host.lines), "<div class='figures'>"]
    for panel in host.panels:
        if "zeros" in panel.data:
            parts.append(_zeros(panel.data["zeros"]))
        parts.append(_figure(number, panel.kind, str(index), panel.words, panel.caption))
    parts.append("</div>")
    if host.poscar is not None:
        label = f"{escape(host.shown or '')} as POSCAR"
        parts.append(f"<button type='button' data-download='{number}/poscar/{index}'>{label}</button>")
    return "".join(parts) + "</div>"


def _zeros(zeros: Mapping[str, float]) -> str:
    names = {"VBM": "valence band maximum", "E_F": "Fermi level", "vacuum": "vacuum above the top"}
    options = "".join(f"<option value='{zero}'>{names[zero]}</option>" for zero in zeros)
    return f"<label class='zero'>energies from the <select data-zero>{options}</select></label>"


def _figure(number: int, kind: str, index: str, words: str, caption: str = "") -> str:
    figcaption = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f"<figure><div class='plot {kind}' data-plot='{number}/{kind}/{index}' role='img' "
        f"aria-label='{escape(words)}'></div>{figcaption}</figure>"
    )


def _relaxations(number: int, relaxations: Sequence[RelaxationContent]) -> str:
    if not relaxations:
        return "<p>None is recorded.</p>"
    options = "".join(
        f"<option value='{index}'>{escape(relaxation.name)} ({len(relaxation.energies) - 1} steps)</option>"
        for index, relaxation in enumerate(relaxations)
    )
    label = f"<label>relaxation <select data-relaxation='{number}'>{options}</select></label>"
    return label + _figure(
        number, "relaxation", "0", "Energy and largest force at each step of the chosen relaxation"
    )


def _cost_words(costs: Sequence[CostRow]) -> str:
    """Return the number of calculations and what all their launches took, as far as it is known."""
    words, known = f"{len(costs)} calculations", [row.cpu_hours for row in costs if row.cpu_hours is not None]
    if not any(known):
        return words
    missing = len(costs) - len(known)
    least = "at least " if missing or any(row.untimed for row in costs) else ""
    unknown = f"; of {missing} the cores are not known" if missing else ""
    return f"{words}, {least}{sum(known):.2f} CPU-hours{unknown}"


def _costs(costs: Sequence[CostRow]) -> str:
    heads = (
        *("calculation", "id", "minutes", "CPU-hours", "launches", "ionic steps", "SCF iterations", "finished"),
        *("codes", "remarks"),
    )
    rows = [
        [
            *(row.label, row.identifier, _digits(row.minutes, 1), _digits(row.cpu_hours, 2)),
            *(row.launches, row.steps, row.scf),
            *(row.finished, row.versions, "; ".join(row.remarks)),
        ]
        for row in costs
    ]
    return _table(heads, rows, "sortable")


def _digits(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _missing(missing: Sequence[tuple[str, str]]) -> str:
    if not missing:
        return ""
    return f"<h3>Still missing</h3>{_table(('calculation', 'why'), missing)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]], kind: str = "") -> str:
    """Return a table that scrolls on its own where it is too wide; None becomes a dash."""
    sort = kind == "sortable"
    head = "".join(
        f"<th scope='col'><button type='button'>{escape(h)}</button></th>"
        if sort
        else f"<th scope='col'>{escape(h)}</th>"
        for h in heads
    )
    lines = "".join(
        "<tr>" + "".join(f"<td>{'—' if cell is None else escape(str(cell))}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return (
        f"<div class='scroll' tabindex='0' role='region' aria-label='table'><table class='{kind}'>"
        f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>"
    )
