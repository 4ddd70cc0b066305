"""The report: one page that works from a file, offline, with everything that it needs inside.

Tables are plain HTML, readable without JavaScript. Figures are drawn by Plotly, which is packed into the page.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from ..energies.paper import paper
from ..records import MOCK

_WEB = files(__package__) / "web"


def render(title: str, groups: Sequence[Mapping[str, Any]]) -> str:
    """Return the page.

    Parameters
    ----------
    title
        Where the results come from.
    groups
        As `sodiate.workflows.results.report_data.gather` returns them.

    Returns
    -------
    str
        HTML. Whatever a campaign file or a message says in it is text, never markup.
    """
    from plotly.offline import get_plotlyjs

    body = "\n".join(_group(number, group) for number, group in enumerate(groups))
    if not groups:
        body = "<p>Nothing is recorded here yet: <code>sodiate run</code> a campaign, then report again.</p>"
    banner = "" if all(g["physical"] for g in groups) else _banner(groups)
    parts = {
        "TITLE": escape(f"sodiate: {title}"),
        "HEADING": escape(title),
        "CSS": (_WEB / "report.css").read_text(encoding="utf-8"),
        "JS": (_WEB / "report.js").read_text(encoding="utf-8"),
        "BANNER": banner,
        "BODY": body,
        "CITATION": escape(paper().citation),
        "DATA": _packed(json.dumps([_drawn(group) for group in groups], ensure_ascii=False, allow_nan=False)),
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
    """Return a text at a third of its size, and in letters that mean nothing in HTML: gzip, then base64."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def _drawn(group: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("campaign", "engine", "physical", "objects", "hosts", "relaxations", "csv", "json", "yaml")
    return {key: group[key] for key in keys}


def _banner(groups: Sequence[Mapping[str, Any]]) -> str:
    mock = ", ".join(dict.fromkeys(str(g["campaign"]) for g in groups if not g["physical"]))
    return (
        f"<p class='mock' role='alert'><strong>DRY RUN: {escape(MOCK)}</strong> "
        f"The numbers of {escape(mock)} come from a stand-in potential. They mean nothing.</p>"
    )


def _group(number: int, group: Mapping[str, Any]) -> str:
    mock = "" if group["physical"] else f"<p class='mock'><strong>{escape(MOCK)}</strong></p>"
    published = any(host["published"] for host in group["hosts"])
    caption = "The paper's Figure 5f." if published else ""
    adsorption = _figure(number, "adsorption", "", _adsorption_words(group), caption)
    hosts = "\n".join(_host(number, index, host) for index, host in enumerate(group["hosts"]))
    heading = f"{group['title'] or group['campaign']}"
    return f"""
<section id="group-{number}">
<h2>{escape(heading)}</h2>
<p class="about">{escape(f"campaign {group['campaign']}, engine {group['engine']}, method {group['method_id']}")}</p>
{mock}
<h3>Adsorption energies</h3>
{_summary(group)}
{_effects(group)}
{_remarks(group["remarks"])}
<p class="downloads">{_button(number, "csv")}{_button(number, "json")}{_button(number, "yaml")}</p>
{adsorption}
<h3>Hosts</h3>
{hosts}
<h3>Relaxations</h3>
{_relaxations(number, group)}
<details><summary>Method, provenance and cost ({len(group["costs"])} calculations)</summary>
{_table(("key", "value"), group["method"])}
{_costs(group["costs"])}
</details>
{_missing(group["missing"])}
</section>"""


def _adsorption_words(group: Mapping[str, Any]) -> str:
    said = [
        f"{one['model']} {one['adsorption_energy_ev']:.2f} eV"
        + (
            f" (paper {one['paper_adsorption_energy_ev']:.2f})"
            if group["physical"] and one["paper_adsorption_energy_ev"] is not None
            else ""
        )
        for one in group["objects"]
        if one["adsorption_energy_ev"] is not None
    ]
    return "Adsorption energy at the best site of each host: " + ("; ".join(said) or "none yet")


def _summary(group: Mapping[str, Any]) -> str:
    physical = group["physical"]
    word = "" if physical else " (mock)"
    heads = ["host", "cell", "best site", "ended at", f"ΔE{word} / eV", f"against bulk{word} / eV"]
    heads += [f"voltage{word} / V", "paper / eV"]
    heads += ["less paper / eV"] if physical else []
    heads += [f"gap{word} / eV", "moment / μB", "sites"]
    rows = []
    for one in group["objects"]:
        best: Mapping[str, Any] = next((site for site in one["sites"] if site["start"] == one["site"]), {})
        row = [one["model"], one["supercell"], one["site"], best.get("end")]
        row += [_number(one[key]) for key in ("adsorption_energy_ev", "adsorption_energy_bulk_ev")]
        row += [_number(one["adsorption_voltage_v"], 2), _number(one["paper_adsorption_energy_ev"])]
        row += [_number(one["difference_from_paper_ev"])] if physical else []
        row += [_number(one["band_gap_ev"]), _number(best.get("total_moment_mub"), 2)]
        row.append(f"{sum(s['adsorption_energy_ev'] is not None for s in one['sites'])}/{len(one['sites'])}")
        rows.append(row)
    told = [column for column in range(len(heads)) if any(row[column] is not None for row in rows)]
    return _table([heads[column] for column in told], [[row[column] for column in told] for row in rows], "sortable")


def _effects(group: Mapping[str, Any]) -> str:
    """Return the table of what each change of a model does to ΔE, for a campaign that compares."""
    compared = [one for one in group["objects"] if one["compare_with"] is not None]
    if not compared:
        return ""
    word = "" if group["physical"] else " (mock)"
    heads = ("model", "against", "what differs", f"ΔE{word} / eV", f"effect{word} / eV")
    rows = [
        [
            *(one["model"], one["compare_with"], "; ".join(one["changes"]) or "nothing"),
            _number(one["adsorption_energy_ev"]),
            None if one["effect_ev"] is None else f"{one['effect_ev']:+.3f}",
        ]
        for one in compared
    ]
    return (
        "<h3>What each change does</h3><p class='about'>One change at a time; effects need not add up.</p>"
        + _table(heads, rows, "sortable")
    )


def _remarks(lines: Sequence[str]) -> str:
    return f"<ul class='remarks'>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def _button(number: int, what: str) -> str:
    names = {"csv": "table as csv", "json": "table as JSON", "yaml": "campaign file"}
    return f"<button type='button' data-download='{number}/{what}'>{names[what]}</button> "


def _host(number: int, index: int, host: Mapping[str, Any]) -> str:
    name = host["name"]
    parts = [f"<div class='host'><h4>{escape(name)}</h4>"]
    parts.append(_remarks(host["levels"]))
    parts.append("<div class='figures'>")
    if host["atoms"] is not None:
        surface = " with the charge-density difference" if host["isosurfaces"] else ""
        panel = " (the paper's Figure 5a–e)" if surface and host["published"] else ""
        caption = f"{host['shown']}{surface}{panel}; turn it with the mouse or a finger."
        parts.append(_figure(number, "atoms", str(index), f"{host['shown']} in three dimensions{surface}", caption))
    if host["map"]:
        words = f"Sites on {name}: " + "; ".join(map(_site_words, host["map"]))
        caption = "Where the adsorbate ended, ▲ on the top and ▼ on the bottom, with ΔE."
        parts.append(_figure(number, "map", str(index), words, caption))
    if host["profile"] is not None:
        words = f"Charge-density difference of {host['shown']} along the normal, summed over planes"
        caption = f"{words}, and the electrons gained below each height; dotted: layers of atoms."
        parts.append(_figure(number, "profile", str(index), words, caption))
    if host["bands"] is not None:
        words = f"Bands of the 1×1 host of {name} along Γ–M–K–Γ"
        parts.append(_figure(number, "bands", str(index), words, f"{words}; spin down dashed."))
    if host["dos"] is not None:
        parts.append(_zeros(host["dos"]["zeros"]))
        words = f"Density of states of {name}; {'; '.join(host['levels'])}"
        width = host["dos"]["broadening"]
        panel = "The paper's Figure 5g–i, S22. " if host["published"] else ""
        caption = f"{panel}Broadened by Gaussians of {width} eV; dotted: the Fermi level; spin down below zero."
        parts.append(_figure(number, "dos", str(index), words, caption))
    parts.append("</div>")
    if host["poscar"] is not None:
        parts.append(
            f"<button type='button' data-download='{number}/poscar/{index}'>"
            f"{escape(host['shown'])} as POSCAR</button>"
        )
    return "".join(parts) + "</div>"


def _zeros(zeros: Mapping[str, float]) -> str:
    names = {"VBM": "valence band maximum", "E_F": "Fermi level", "vacuum": "vacuum above the top"}
    options = "".join(f"<option value='{zero}'>{names[zero]}</option>" for zero in zeros)
    return f"<label class='zero'>energies from the <select data-zero>{options}</select></label>"


def _site_words(site: Mapping[str, Any]) -> str:
    return f"{site['site']} " + ("no energy" if site["energy"] is None else f"{site['energy']:.3f} eV")


def _figure(number: int, kind: str, which: str, words: str, caption: str = "") -> str:
    told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return (
        f"<figure><div class='plot {kind}' data-plot='{number}/{kind}/{which}' role='img' "
        f"aria-label='{escape(words)}'></div>{told}</figure>"
    )


def _relaxations(number: int, group: Mapping[str, Any]) -> str:
    if not group["relaxations"]:
        return "<p>None is recorded.</p>"
    options = "".join(
        f"<option value='{i}'>{escape(one['name'])} ({len(one['energies']) - 1} steps)</option>"
        for i, one in enumerate(group["relaxations"])
    )
    label = f"<label>relaxation <select data-relaxation='{number}'>{options}</select></label>"
    return label + _figure(
        number, "relaxation", "0", "Energy and largest force at each step of the chosen relaxation"
    )


def _costs(costs: Sequence[Mapping[str, Any]]) -> str:
    heads = (
        "calculation",
        "id",
        "minutes",
        "launches",
        "ionic steps",
        "SCF iterations",
        "finished",
        "codes",
        "remarks",
    )
    rows = [
        [
            *(one["label"], one["id"], f"{one['minutes']:.1f}", one["launches"], one["steps"], one["scf"]),
            *(one["finished"], one["versions"], "; ".join([*one["corrections"], *one["notes"]])),
        ]
        for one in costs
    ]
    return _table(heads, rows, "sortable")


def _missing(missing: Sequence[Sequence[str]]) -> str:
    if not missing:
        return ""
    return f"<h3>Still missing</h3>{_table(('calculation', 'why'), missing)}"


def _number(value: float | None, digits: int = 3) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]], kind: str = "") -> str:
    """Return a table that scrolls by itself where it is too wide; None is a dash."""
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
