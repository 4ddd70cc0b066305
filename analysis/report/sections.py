"""The sections of a campaign on the page: headline, results, hosts with their sites, relaxations, method and cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from ..columns import Column
from ..energies.adsorption import ANOTHER_START, SiteResult
from ..model_result import ModelResult
from ..records import MOCK
from ..words import listed
from .content import CampaignContent, CostRow, HostContent, RelaxationContent
from .markup import digits, download, figure, formula, items, table


def anchors(number: int, group: CampaignContent) -> list[tuple[str, str, int]]:
    """Return the entries of the contents for a campaign: id, words, and depth from 0."""
    entries = [
        (f"group-{number}", group.title or group.campaign, 0),
        (f"energies-{number}", _energies(group), 1),
    ]
    entries += [(f"host-{number}-{k}", formula(host.name), 1) for k, host in enumerate(group.hosts)]
    entries += [(f"steps-{number}", "Relaxations", 1), (f"method-{number}", "Method and cost", 1)]
    return entries + ([(f"missing-{number}", "Still missing", 1)] if group.missing else [])


def campaign(number: int, group: CampaignContent) -> str:
    """Return all that the page has of a campaign."""
    published = is_beside_published(group)
    caption = "The paper's Figure 5f." if published else ""
    adsorption = (
        figure(number, "adsorption", "", _adsorption_words(group), caption) if _has_sites(group.results) else ""
    )
    hosts = "\n".join(_host(number, index, host, group) for index, host in enumerate(group.hosts))
    about = f"campaign {group.campaign}, engine {group.engine}, method {group.method_id}"
    files = (("csv", "table as csv"), ("json", "table as JSON"), ("yaml", "campaign file"))
    return f"""
<section id="group-{number}">
<h2>{escape(group.title or group.campaign)}</h2>
<p class="about">{escape(about)}</p>
{_headline(group)}
<h3 id="energies-{number}">{_energies(group)}</h3>
{summary(group.results, group.columns, group.physical)}
{adsorption}
{_effects(group)}
{items(group.remarks)}
<p class="downloads">{"".join(download(number, what, words) for what, words in files)}</p>
{_figure_5(number, group) if published else ""}
{hosts}
<h3 id="steps-{number}">Relaxations</h3>
{_relaxations(number, group.relaxations)}
<h3 id="method-{number}">Method and cost</h3>
<details><summary>Method, provenance and cost ({_cost_words(group.costs)})</summary>
{table(("key", "value"), group.method)}
{_costs(group.costs)}
</details>
{_missing(number, group.missing)}
</section>"""


def _has_sites(results: Sequence[ModelResult]) -> bool:
    return any(result.adsorption.sites for result in results)


def _energies(group: CampaignContent) -> str:
    """Return the heading of the table of all hosts."""
    return "Adsorption energies" if _has_sites(group.results) else "Hosts"


def is_beside_published(group: CampaignContent) -> bool:
    """Tell whether values of the paper stand beside those of a campaign."""
    return any(result.paper_adsorption_energy_ev is not None for result in group.results)


def _headline(group: CampaignContent) -> str:
    """Return what was computed, how, and how far it can be trusted."""
    facts = {"What": [_computed(group)], "How": [group.how], "How far to trust it": list(_trust(group))}
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{'<br>'.join(map(escape, lines))}</dd>" for name, lines in facts.items()
    )
    kind = "facts" if group.physical else "facts mock"
    return f"<dl class='{kind}'>{rows}</dl>"


def _computed(group: CampaignContent) -> str:
    names = [formula(result.model) for result in group.results]
    hosts = f"{len(names)} hosts ({', '.join(names)})" if len(names) > 1 else "".join(names)
    sites = [site for result in group.results for site in result.adsorption.sites]
    known = sum(site.adsorption_energy_ev is not None for site in sites)
    adsorbates = listed(dict.fromkeys(formula(result.adsorbate) for result in group.results))
    what = f"{adsorbates} at {known} of {len(sites)} sites of {hosts}" if sites else hosts
    best = [result for result in group.results if result.adsorption_energy_ev is not None]
    if not sites:
        return f"{what}, without adsorbate."
    if not best:
        return f"{what}; no adsorption energy is known yet"
    least = min(best, key=lambda result: result.adsorption_energy_ev or 0.0)
    mock = "" if group.physical else " (mock)"
    return f"{what}. Strongest: {least.adsorption_energy_ev:.2f} eV{mock} on {formula(least.model)} at {least.site}."


def _trust(group: CampaignContent) -> Iterator[str]:
    if not group.physical:
        yield f"Not at all: {MOCK}."
        return
    bars = [
        (result, bar)
        for result in group.results
        if (bar := result.values["adsorption_energy_uncertainty_ev"]) is not None
    ]
    numerical = [bar["numerical_ev"] for _, bar in bars if bar["numerical_ev"] is not None]
    if numerical:
        yield (
            f"Error bars of {len(numerical)} of {len(group.results)} best sites, up to ±{max(numerical):.2f} eV; "
            "what they hold and lack stands below."
        )
    elif any(result.adsorption_energy_ev is not None for result in group.results):
        yield (
            "No error bars were asked for (`uncertainty` in the campaign): how far mesh, cutoff, vacuum and cell "
            "are converged, these numbers do not show."
        )
    if group.missing:
        yield f"{len(group.missing)} calculations have no result yet."


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


def summary(results: Sequence[ModelResult], columns: Sequence[Column], physical: bool) -> str:
    """Return the table of the hosts of a campaign; a column without a value is left out."""
    heads = {c: head for c in columns if (head := c.head("page", physical)) is not None}
    heads = {c: h for c, h in heads.items() if any(result.values[c.key] is not None for result in results)}
    if all(result.end == result.site for result in results):
        heads = {column: head for column, head in heads.items() if column.key != "end"}
    with_sites = _has_sites(results)
    rows = []
    for result in results:
        sites = result.adsorption.sites
        count = sum(site.adsorption_energy_ev is not None for site in sites)
        cells = [column.text(result.values[column.key]) for column in heads]
        counts = [f"{count}/{len(sites)}"] if with_sites else []
        rows.append([formula(result.model), result.supercell, *cells, *counts])
    return table(["host", "cell", *heads.values(), *(["sites"] if with_sites else [])], rows, "sortable")


def _effects(group: CampaignContent) -> str:
    """Return the table of the effect of each change on ΔE; an empty string if the campaign compares no models."""
    results = [result for result in group.results if result.compare_with is not None and result.adsorption.sites]
    if not results:
        return ""
    mock = "" if group.physical else " (mock)"
    heads = ("model", "against", "what differs", f"ΔE{mock} / eV", f"effect{mock} / eV")
    rows = [
        [
            *(result.model, result.compare_with, "; ".join(result.changes) or "nothing"),
            digits(result.adsorption_energy_ev, 3),
            None if result.effect_ev is None else f"{result.effect_ev:+.3f}",
        ]
        for result in results
    ]
    return (
        "<h3>What each change does</h3><p class='about'>One change at a time; effects need not add up.</p>"
        + table(heads, rows, "sortable")
    )


def _figure_5(number: int, group: CampaignContent) -> str:
    """Return where the panels of the paper's Figure 5 stand on the page."""
    kinds = {kind: [k for k, host in enumerate(group.hosts) if _has(host, kind)] for kind in ("profile", "dos")}

    def links(hosts: Sequence[int]) -> str:
        return ", ".join(f"<a href='#host-{number}-{k}'>{escape(formula(group.hosts[k].name))}</a>" for k in hosts)

    rows = [
        ("a–e", "charge-density differences", links(kinds["profile"]) or "not on this page: the grids are not here"),
        ("f", "adsorption energies", f"<a href='#energies-{number}'>the bars above, paper ◆</a>"),
        ("g–i, S22", "densities of states", links(kinds["dos"]) or "none yet"),
    ]
    body = "".join(f"<tr><td>{letter}</td><td>{what}</td><td>{here}</td></tr>" for letter, what, here in rows)
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Figure 5 of the paper", "shows", "here"))
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _has(host: HostContent, kind: str) -> bool:
    return any(panel.kind == kind for panel in host.panels)


def _host(number: int, index: int, host: HostContent, group: CampaignContent) -> str:
    result = next((one for one in group.results if one.model == host.name), None)
    parts = [f"<section class='host' id='host-{number}-{index}'><h3>{escape(formula(host.name))}</h3>"]
    parts.append(items(host.lines))
    if result is not None and result.adsorption.sites:
        parts.append(_sites(result, group.physical))
    parts.append("<div class='figures'>")
    for panel in host.panels:
        tools = _zeros(panel.data["zeros"]) if "zeros" in panel.data else ""
        parts.append(figure(number, panel.kind, str(index), panel.words, panel.caption, tools))
    parts.append("</div>")
    if host.poscar is not None:
        parts.append(download(number, f"poscar/{index}", f"{host.shown or ''} as POSCAR"))
    return "".join(parts) + "</section>"


def _sites(result: ModelResult, physical: bool) -> str:
    """Return the table of all sites of a host, a row for each start."""
    mock = "" if physical else " (mock)"
    bars = {one["site"]: one for one in result.values["site_uncertainties"] or ()}
    columns: dict[str, list[Any]] = {
        "site": [site.site for site in result.adsorption.sites],
        "in the cell": [site.multiplicity for site in result.adsorption.sites],
        "ended at": [site.end for site in result.adsorption.sites],
        f"ΔE{mock} / eV": [digits(site.adsorption_energy_ev, 3) for site in result.adsorption.sites],
        "±": [digits(bars.get(site.site, {}).get("numerical_ev"), 3) for site in result.adsorption.sites],
        f"against the metal{mock} / eV": [digits(s.adsorption_energy_bulk_ev, 3) for s in result.adsorption.sites],
        "of the relaxations / eV": [digits(s.relaxed_adsorption_energy_ev, 3) for s in result.adsorption.sites],
        "moment / μB": [digits(site.total_moment_mub, 2) for site in result.adsorption.sites],
        f"of it at {formula(result.adsorbate)}": [digits(s.adsorbate_moment_mub, 3) for s in result.adsorption.sites],
        "remark": [_remark(site, result) for site in result.adsorption.sites],
    }
    kept = {head: cells for head, cells in columns.items() if any(cell is not None for cell in cells)}
    return table(list(kept), list(zip(*kept.values(), strict=True)), "sortable")


def _remark(site: SiteResult, result: ModelResult) -> str | None:
    """Say what a site is beside its numbers: the best, another one's, left, without a result."""
    remarks = ["best"] if site.site == result.site else []
    remarks += [f"same as {site.same_as}"] if site.same_as is not None else []
    remarks += ["another start of the site"] if ANOTHER_START in site.site else []
    remarks += [site.reason] if site.reason is not None else []
    return "; ".join(remarks) or None


def _zeros(zeros: Mapping[str, float]) -> str:
    names = {"VBM": "valence band maximum", "E_F": "Fermi level", "vacuum": "vacuum above the top"}
    options = "".join(f"<option value='{zero}'>{names[zero]}</option>" for zero in zeros)
    return f"<label class='zero'>energies from the <select data-zero>{options}</select></label>"


def _relaxations(number: int, relaxations: Sequence[RelaxationContent]) -> str:
    if not relaxations:
        return "<p>None is recorded.</p>"
    options = "".join(
        f"<option value='{index}'>{escape(relaxation.name)} ({len(relaxation.energies) - 1} steps)</option>"
        for index, relaxation in enumerate(relaxations)
    )
    slider = (
        f"<label>step <input type='range' min='0' value='0' data-step='{number}' aria-label='step'></label> "
        f"<output data-at='{number}'></output>"
    )
    return (
        f"<p><label>relaxation <select data-relaxation='{number}'>{options}</select></label> {slider}</p>"
        "<div class='figures'>"
        + figure(number, "relaxation", "0", "Energy and largest force at each step of the chosen relaxation")
        + figure(
            *(number, "steps", "0", "Atoms and forces at the chosen step"),
            "Atoms at the chosen step; bars are forces, the largest of the whole relaxation 3 Å long.",
        )
        + "</div>"
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
            *(row.label, row.identifier, digits(row.minutes, 1), digits(row.cpu_hours, 2)),
            *(row.launches, row.steps, row.scf),
            *(row.finished, row.versions, "; ".join(row.remarks)),
        ]
        for row in costs
    ]
    return table(heads, rows, "sortable")


def _missing(number: int, missing: Sequence[tuple[str, str]]) -> str:
    if not missing:
        return ""
    return f"<h3 id='missing-{number}'>Still missing</h3>{table(('calculation', 'why'), missing)}"
