"""ΔE: the adsorption energy at each site of a host, against the isolated atom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...analysis.adsorbates import atoms_of, written
from ...analysis.columns import Column
from ...analysis.energies.adsorption import (
    AdsorptionResult,
    SiteResult,
    adsorption_result,
    site_of,
    sites_of_end,
    sources,
    start_of,
)
from ...analysis.energies.uncertainty import UNCERTAINTY
from .base import Figure, HostPart, Number, PlannedHost, Quantity, QuantityPlan, recorded
from .statics import free_adsorbate

if TYPE_CHECKING:
    from pathlib import Path

    from ...analysis.figures.plots import AdsorptionBar
    from ...analysis.model_result import HostRecords, ModelResult
    from ..database.documents import Documents
    from .declare import Declare


def _site_values(sites: Sequence[SiteResult]) -> list[dict[str, Any]]:
    return [
        {
            "start": site.site,
            "end": site.end,
            "multiplicity": site.multiplicity,
            "energy_ev": site.energy_ev,
            "final_energy_ev": site.final_energy_ev,
            "adsorption_energy_ev": site.adsorption_energy_ev,
            "adsorption_energy_bulk_ev": site.adsorption_energy_bulk_ev,
            "relaxed_adsorption_energy_ev": site.relaxed_adsorption_energy_ev,
            "total_moment_mub": site.total_moment_mub,
            "adsorbate_moment_mub": site.adsorbate_moment_mub,
            "same_as": site.same_as,
            "reason": site.reason,
        }
        for site in sites
    ]


def _sites_in_a_cell(sites: Sequence[Mapping[str, Any]]) -> str:
    energies = [site["adsorption_energy_ev"] for site in sites]
    numbers = ["-" if energy is None else f"{energy:.3f}" for energy in energies]
    return "; ".join(f"{site['start']}={number}" for site, number in zip(sites, numbers, strict=True))


def _starts_in_words(sites: Sequence[SiteResult]) -> str:
    """Say how high the ends of a site's starts lie above the lowest, and where they are if not at one place."""
    energies = [site.adsorption_energy_ev for site in sites if site.adsorption_energy_ev is not None]
    apart = len({None if site.end is None else sites_of_end(site.end) for site in sites}) > 1
    oriented = [start_of(site.site) for site in sites]
    words = []
    for site, orientation in zip(sites, oriented, strict=True):
        told = apart or (orientation is not None and site.end is not None and "(" in site.end)
        end = f" ({site.end})" if told and site.end is not None else ""
        energy = site.adsorption_energy_ev
        number = "no energy" if energy is None else f"{energy - min(energies):+.3f}"
        words.append((f"{orientation} " if orientation else "") + number + end)
    what = "orientations" if oriented[0] else "starts"
    return f"{len(sites)} {what}, above the lowest: {', '.join(words)} eV"


class AdsorptionEnergy(Quantity):
    """ΔE of every site, and the best site; every campaign has it."""

    name = "adsorption_energy"
    kinds = frozenset({"relax", "atom"})
    optional = False
    of_sites = True
    words = {"atom": "isolated atom"}
    columns = (
        Column(
            "site",
            lambda r: r.site,
            table="best site",
            page="best site",
            manuscript="site",
            digits=None,
            of_sites=True,
        ),
        Column("end", lambda r: r.end, table="ended at", page="ended at", digits=None, in_csv=None, of_sites=True),
        Column(
            "adsorption_energy_ev",
            lambda r: r.adsorption_energy_ev,
            table="ΔE {adsorbate} (eV){mock}",
            page="ΔE{mock} / eV",
            manuscript="ΔE (eV)",
            of_sites=True,
        ),
        Column("effect_ev", lambda r: r.effect_ev),
        Column(
            "best_site_moment_mub",
            lambda r: r.best.total_moment_mub if r.best else None,
            page="moment / μB",
            digits=2,
            in_csv=None,
            in_json=False,
        ),
        Column("sites", lambda r: _site_values(r.sites), digits=None, in_csv=_sites_in_a_cell),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the free adsorbate: the campaign's, and another for each host with a protocol of its own."""
        molecule = declare.campaign.molecule
        declared = {} if molecule is None else {"unpaired_electrons": molecule.unpaired_electrons}
        shared = free_adsorbate(declare, declare.campaign.protocol)
        parts = {host.name: free_adsorbate(declare, host.protocol) for host in hosts}
        return QuantityPlan(
            {shared.label: shared},
            {name: HostPart({"atom": free}, declared, (free,)) for name, free in parts.items()},
        )

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> AdsorptionResult:
        """Evaluate every site; see `sodiate.analysis.energies.adsorption.adsorption_result`."""
        result = adsorption_result(host.campaign, host.model, host.records, host.missing)
        atom = host.lacking(self.name, {"atom": host.campaign.adsorbate}) if host.model.sites else ()
        return replace(result, reasons=(*atom, *result.reasons))

    def figures(self, results: Sequence[ModelResult], documents: Documents) -> dict[str, Figure]:
        """Draw the energies of the best sites beside the published energies."""
        if all(result.adsorption_energy_ev is None for result in results):
            return {}
        from ...analysis.figures.plots import adsorption_bars

        rows = [adsorption_bar(result) for result in results]

        def draw(path: Path, mock: bool) -> None:
            adsorption_bars(rows, path, mock)

        return {"adsorption": draw}

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """List the starts of each site that has several."""
        lines = []
        for result in results:
            starts: dict[str, list[SiteResult]] = {}
            for site in result.sites:
                starts.setdefault(site_of(site.site), []).append(site)
            several = {name: sites for name, sites in starts.items() if len(sites) > 1}
            lines += [f"{result.model}/{name}: {_starts_in_words(sites)}" for name, sites in several.items()]
        return lines

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Describe the isolated atom, and define ΔE."""
        sentences = []
        for atom in recorded(hosts, self.name)[:1]:
            if atom.sampling is None:
                continue
            edges = " × ".join(f"{np.linalg.norm(vector):g}" for vector in atom.sampling.cell_a)
            moment = atom.total_moment_mub
            magnetism = "" if moment is None else f" and carried {abs(moment):.2f} μB"
            name = hosts[0].campaign.adsorbate
            which = "isolated" if atoms_of(name) == 1 else "free"
            what = "atom was computed" if atoms_of(name) == 1 else "molecule was relaxed"
            sentences.append(f"The {which} {written(name)} {what} in a box of {edges} Å{magnetism}.")
            sentences.append("Adsorption energies are ΔE = E(*Na) − E(*) − E(Na).".replace("Na", written(name)))
        return sentences

    def numbers(self, result: ModelResult) -> list[Number]:
        """Return ΔE of each site."""
        return site_numbers(result, "adsorption_energy_ev")


def adsorption_bar(result: ModelResult) -> AdsorptionBar:
    """Return the bar of a host's best site."""
    from ...analysis.figures.plots import AdsorptionBar

    return AdsorptionBar(
        result.model,
        result.adsorption_energy_ev,
        result.paper_adsorption_energy_ev,
        result.site,
        result.reasons[0] if result.reasons and result.adsorption_energy_ev is None else None,
        result.adsorption_energy_numerical_uncertainty_ev,
        result.adsorption_energy_functional_uncertainty_ev,
        bars.best.lacking if (bars := result.quantities.get(UNCERTAINTY)) and bars.best else (),
    )


def site_numbers(result: ModelResult, key: str, bulk: bool = False) -> list[Number]:
    """Return ΔE of each site, against the atom or the metal, with the records behind it: site, host, reference."""
    model = result.host.model
    entries = {site.name: site for site in model.sites}
    values = {site.site: getattr(site, key) for site in result.adsorption.sites}
    return [
        Number(site, key, value, sources(model, entries[site], bulk))
        for site, value in values.items()
        if value is not None
    ]
