"""Error bars of ΔE: from the relaxed geometries with one setting changed at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...analysis.columns import Column
from ...analysis.energies.adsorption import point_role, sources
from ...analysis.energies.uncertainty import (
    FUNCTIONAL,
    RELAXED,
    UNCERTAINTY,
    SiteUncertainty,
    UncertaintyResult,
    as_values,
    uncertainty_result,
)
from ...analysis.records import MOCK
from ...analysis.words import distinct, listed
from ...structures.sites_of_cells import Surroundings, names_in
from .. import start_structures
from ..calculation import HOST
from ..campaign.protocol import flatten
from ..engines.shared.grids import kpoint_mesh
from .base import HostPart, Number, PlannedHost, Quantity, QuantityPlan
from .statics import energy_atom, refuse_without_statics
from .variants import planned_variants

if TYPE_CHECKING:
    from ...analysis.campaign_entry import ModelEntry
    from ...analysis.model_result import HostRecords, ModelResult
    from ..calculation import Calculation
    from .declare import Declare


class Uncertainty(Quantity):
    """How far ΔE of each site moves; asked for by the campaign's key ``uncertainty``."""

    name = UNCERTAINTY
    optional = False
    of_sites = True
    words = {"": "for the error bar of ΔE"}
    columns = (
        Column(
            "adsorption_energy_numerical_uncertainty_ev",
            lambda r: None if r.best is None else r.best.numerical_ev,
            table="± (eV){mock}",
            page="±{mock} / eV",
            manuscript="± (eV)",
            only_with_values=True,
            in_json=False,
        ),
        Column(
            "adsorption_energy_functional_uncertainty_ev",
            lambda r: None if r.best is None else r.best.functional_ev,
            table="± functional (eV){mock}",
            page="± of the functional{mock} / eV",
            manuscript="± functional (eV)",
            only_with_values=True,
            in_json=False,
        ),
        Column("adsorption_energy_uncertainty_ev", lambda r: as_values(r.best), digits=None, in_csv=None),
        Column(
            "site_uncertainties",
            lambda r: [{"site": bars.site, **(as_values(bars) or {})} for bars in r.sites],
            digits=None,
            in_csv=None,
        ),
        Column(
            "adsorption_energy_uncertainty_lacks",
            lambda r: None if r.best is None else ", ".join(r.best.lacking) or None,
            page="± is without",
            manuscript="± is without",
            digits=None,
            only_with_values=True,
            in_json=False,
        ),
        Column("undecided", lambda r: list(r.undecided), digits=None, in_csv="; ".join),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the variants of each host, if the campaign asks for parts of error bars."""
        if not declare.campaign.spec.uncertainty:
            return QuantityPlan()
        refuse_without_statics(declare, "uncertainty")
        return QuantityPlan(hosts={host.name: self._part(declare, host) for host in hosts})

    def _part(self, declare: Declare, host: PlannedHost) -> HostPart:
        planned, not_known = planned_variants(declare, host)
        calculations: dict[str, Calculation] = {}
        names: dict[str, Calculation] = {}
        for one in planned:
            variant = one.variant.name
            for role, point in one.points.items():
                calculations[f"{variant} {point_role(role)}"] = point
                names[f"{host.name}/{variant}" if role == HOST else f"{host.name}/{role}/{variant}"] = point
            calculations[f"{variant} atom"] = one.atom
        variants: dict[str, Any] = {
            one.variant.name: {"part": one.variant.part, "words": one.variant.words} for one in planned
        }
        atoms = [one.atom for one in planned]
        if isinstance(host.larger, str):
            not_known["supercell"] = host.larger
        elif host.larger is not None:
            atom = energy_atom(declare, host)
            calculations |= {"supercell atom": atom} | _of_larger(host.larger)
            names |= _names_of_larger(host.name, host.larger)
            words = "×".join(map(str, host.larger.repeat)) + " cell" + _other_mesh(declare, host, host.larger)
            ends = names_in(*(_surroundings(one) for one in (host, host.larger)))
            variants["supercell"] = {"part": "supercell", "words": words, "ends": ends}
            atoms.append(atom)
        declared = {"variants": variants, "not_known": not_known}
        return HostPart(calculations, declared, tuple(atoms), names)

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> UncertaintyResult | None:
        """Hold the variants against ΔE of each site."""
        if self.name not in host.model.quantities:
            return None
        return uncertainty_result(host.campaign, host.model, host.records, host.missing, results["adsorption_energy"])

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """Say of which parts each bar is, what is not known, and which order of sites is undecided."""
        lines = []
        for result in results:
            found: UncertaintyResult | None = result.quantities.get(self.name)
            if found is None:
                continue
            mock = "" if result.physical else f", {MOCK}"
            if found.best is not None:
                lines.append(f"{result.model}/{found.best.site}: ± of ΔE: {_words(found.best)}{mock}")
            lines += [f"{result.model}: best site {sentence}{mock}" for sentence in found.undecided]
        return lines

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Say what bars are made of."""
        declared = [host.model.quantities[self.name].declared for host in hosts if self.name in host.model.quantities]
        variants = [one for each in declared for one in each["variants"].values()]
        numerical = distinct(one["words"] for one in variants if one["part"] != FUNCTIONAL)
        functionals = distinct(one["words"] for one in variants if one["part"] == FUNCTIONAL)
        sentences = []
        if numerical:
            sentences.append(
                "Error bars of adsorption energies are their changes, at the same geometries, with "
                f"{numerical}, added in quadrature."
            )
        if functionals:
            sentences.append(f"Those of the functional are the largest change among {functionals}.")
        return sentences

    def numbers(self, result: ModelResult) -> list[Number]:
        """Return both bars of each site with the records behind them."""
        found: UncertaintyResult | None = result.quantities.get(self.name)
        if found is None:
            return []
        model = result.host.model
        entries = {site.name: site for site in model.sites}
        numbers = []
        for bars in found.sites:
            for kind, value in (("numerical", bars.numerical_ev), ("functional", bars.functional_ev)):
                if value is not None:
                    records = (*sources(model, entries[bars.site]), *_behind(model, bars, kind))
                    key = f"adsorption_energy_{kind}_uncertainty_ev"
                    numbers.append(Number(bars.site, key, value, tuple(dict.fromkeys(records))))
        return numbers


def _behind(model: ModelEntry, bars: SiteUncertainty, kind: str) -> Iterator[str]:
    """Yield the ids of the records that a bar of a site is formed from, beside those of its ΔE."""
    asked = model.quantities[UNCERTAINTY]
    roles = {HOST, point_role(bars.site), "atom"}
    for name, variant in asked.declared["variants"].items():
        if variant["words"] in bars.shifts_ev and (variant["part"] == FUNCTIONAL) == (kind == FUNCTIONAL):
            for role, identifier in asked.calculations.items():
                if role.startswith(f"{name} ") and role.removeprefix(f"{name} ").removeprefix(f"{RELAXED} ") in roles:
                    yield identifier


def _other_mesh(declare: Declare, host: PlannedHost, larger: PlannedHost) -> str:
    """Say which mesh a larger cell has, if it is not as dense, so that ΔE changes by that, too."""
    length = flatten(host.energy_protocol, "static").get("kpoint_length_a")
    if length is None or not declare.engine.physical:
        return ""
    meshes = [
        kpoint_mesh(start_structures.read_host(one.calculation.structure).pristine, length)[:2]
        for one in (host, larger)
    ]
    ours, theirs = (
        "×".join(str(count * n) for count, n in zip(mesh, one.repeat, strict=True))
        for mesh, one in zip(meshes, (host, larger), strict=True)
    )
    if ours == theirs:
        return ""
    return f" with k mesh {'×'.join(map(str, meshes[1]))}, of one cell {theirs} in place of {ours}"


def _surroundings(host: PlannedHost) -> Mapping[str, Surroundings]:
    return start_structures.read_host(host.calculation.structure).surroundings


def _of_larger(larger: PlannedHost) -> dict[str, Calculation]:
    """Return the energies of host and sites of a larger cell by role, and of single points the relaxations, too."""
    energies = {f"supercell {point_role(role)}": one for role, one in larger.energies.items()}
    if not larger.finals:
        return energies
    return energies | {f"supercell {RELAXED} {point_role(role)}": one for role, one in larger.relaxations.items()}


def _names_of_larger(host: str, larger: PlannedHost) -> dict[str, Calculation]:
    """Return the campaign's names of the calculations of a larger cell, parents first."""
    names = {f"{host}/supercell": larger.calculation}
    names |= {f"{host}/{site}/supercell": relaxed for site, relaxed in larger.sites.items()}
    for role, final in larger.finals.items():
        names[f"{host}/supercell/final" if role == HOST else f"{host}/{role}/supercell/final"] = final
    return names


def _words(bars: SiteUncertainty) -> str:
    shifts = ", ".join(f"{words} {shift:+.3f}" for words, shift in bars.shifts_ev.items())
    reasons: dict[str, list[str]] = {}
    for part, why in bars.not_known.items():
        reasons.setdefault(why, []).append(part)
    unknown = "; ".join(f"{listed(parts)} ({why})" for why, parts in reasons.items())
    known = f"{shifts} eV" if shifts else "no part is known"
    return f"{known}; not known: {unknown}" if unknown else known
