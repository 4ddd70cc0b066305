"""Energies at the relaxed geometries with settings of their own, from which ΔE is formed where they are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...analysis.columns import Column
from ...analysis.energies.adsorption import FINAL, lowest, point_role, relaxed_sources
from ...analysis.energies.settings import differing_settings
from ...analysis.records import MOCK
from ...analysis.words import listed
from ..calculation import HOST
from .base import HostPart, Number, PlannedHost, Quantity, QuantityPlan, recorded
from .statics import energy_atom, energy_of_reference

if TYPE_CHECKING:
    from ...analysis.model_result import HostRecords, ModelResult
    from .declare import Declare


@dataclass(frozen=True)
class FinalResult:
    """ΔE (eV) of the best site from the relaxations, where ΔE is formed from energies at the relaxed geometries.

    ``differences`` are the settings of these energies that differ from those of the relaxations, in words.
    """

    relaxed_adsorption_energy_ev: float | None
    differences: tuple[str, ...]
    reasons: tuple[str, ...]


class FinalEnergy(Quantity):
    """Single points at the relaxed geometries: planned by ``protocol.final_energy``, not by a list of quantities."""

    name = FINAL
    optional = False
    of_sites = True
    words = {"": "energy at the relaxed geometry", "atom": "isolated atom", "bulk": "bulk"}
    columns = (
        Column(
            "relaxed_adsorption_energy_ev",
            lambda r: r.relaxed_adsorption_energy_ev,
            table="ΔE relaxed (eV){mock}",
            page="ΔE of the relaxations{mock} / eV",
            manuscript="ΔE, relaxations (eV)",
            only_with_values=True,
        ),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the references of the single points: those of the relaxations, if no key of theirs differs.

        The single points themselves are the planner's: the choice of the best site depends on them.
        """
        return QuantityPlan(hosts={host.name: self._part(declare, host) for host in hosts if host.finals})

    def _part(self, declare: Declare, host: PlannedHost) -> HostPart:
        assert host.final_protocol is not None
        references = {"atom": energy_atom(declare, host)}
        if "bulk_reference" in declare.campaign.spec.quantities and "bulk" in declare.engine.capabilities:
            protocols = host.protocol, host.final_protocol
            references["bulk"], _ = energy_of_reference(declare, declare.campaign.adsorbate, *protocols, "final")
        points = {point_role(role): final for role, final in host.finals.items()}
        return HostPart({**points, **references}, references=tuple(references.values()))

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> FinalResult | None:
        """Take ΔE of the best site as its relaxation has it."""
        if self.name not in host.model.quantities:
            return None
        best = results["adsorption_energy"].best
        record, relaxation = host.record(self.name, HOST), host.records.get(host.model.host)
        differences = () if record is None or relaxation is None else differing_settings(record, relaxation)
        lacking = host.lacking(self.name, {})
        own = tuple(f"final energy: {reason}" for reason in lacking if reason.partition(":")[0] in ("atom", "bulk"))
        return FinalResult(None if best is None else best.relaxed_adsorption_energy_ev, differences, own)

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """Say what ΔE is formed from, and where the relaxations have another best site."""
        groups: dict[tuple[str, ...], list[ModelResult]] = {}
        for result in results:
            final: FinalResult | None = result.quantities.get(self.name)
            if final is not None and result.adsorption_energy_ev is not None:
                groups.setdefault(final.differences, []).append(result)
        lines = []
        for differences, those in groups.items():
            words = listed(differences) or "the settings of the relaxations"
            mock = "" if all(result.physical for result in those) else f", {MOCK}"
            names = ", ".join(result.model for result in those)
            lines.append(f"{names}: ΔE is from energies at the relaxed geometries with {words}{mock}")
        return [*lines, *(line for group in groups.values() for line in map(_other_best, group) if line)]

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Say with which settings energies were taken."""
        said: dict[tuple[str, ...], None] = {}
        for host in hosts:
            record, relaxation = host.record(self.name, HOST), host.records.get(host.model.host)
            if record is not None and relaxation is not None:
                said[differing_settings(record, relaxation)] = None
        sentences = [
            f"Energies were taken at these geometries with {listed(words) or 'the same settings'}." for words in said
        ]
        atoms = recorded(hosts, self.name, "atom")
        return [*sentences, *(["The isolated atom had the settings of these energies."] if atoms and said else [])]

    def numbers(self, result: ModelResult) -> list[Number]:
        """Return ΔE of each site from the relaxations."""
        if self.name not in result.quantities:
            return []
        sites = {site.name: site for site in result.host.model.sites}
        return [
            Number(
                site.site,
                "relaxed_adsorption_energy_ev",
                site.relaxed_adsorption_energy_ev,
                relaxed_sources(result.host.model, sites[site.site]),
            )
            for site in result.adsorption.sites
            if site.relaxed_adsorption_energy_ev is not None
        ]


def _other_best(result: ModelResult) -> str | None:
    """Say that the relaxations alone have another best site than the final energies."""
    values = {
        site.site: site.relaxed_adsorption_energy_ev
        for site in result.adsorption.sites
        if site.relaxed_adsorption_energy_ev is not None
        and site.adsorption_energy_ev is not None
        and not site.desorbed
    }
    other = lowest(values, {}).site if values else result.site
    if other == result.site or result.site is None:
        return None
    return f"{result.model}: {result.site} is best by its final energy; by the relaxations {other} would be"
