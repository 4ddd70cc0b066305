"""Formation energies of vacancies at both ends of their host's range of stability."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ...analysis.columns import Column
from ...analysis.energies.formation import FormationResult, formation_result
from ...analysis.records import MOCK
from ...analysis.words import listed
from ...structures.monolayers import Monolayer
from ...structures.vacancies import Defect
from ..start_structures import read_host
from .base import HostPart, PlannedHost, Quantity, QuantityPlan

if TYPE_CHECKING:
    from ...analysis.model_result import HostRecords, ModelResult
    from .declare import Declare


class VacancyFormation(Quantity):
    """The formation energy of all vacancies of a host together."""

    name = "vacancy_formation"
    kinds = frozenset({"bulk"})
    words = {"pristine": "the host without its vacancies", "": "element, for formation energies"}
    columns = (
        Column("formation_x_rich_ev", lambda r: r.x_rich_ev, in_json=False),
        Column("formation_metal_rich_ev", lambda r: r.metal_rich_ev, in_json=False),
        Column("vacancy_formation", asdict, digits=None, in_csv=None),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare pristine cell and references of the elements for each host whose only defects are vacancies."""
        relaxed = {host.calculation.id for host in hosts}
        parts = {}
        for host in hosts:
            removed = removed_atoms(host.defects)
            if not removed or not isinstance(host.origin, Monolayer):
                continue
            structure = declare.host_structure(host.origin, host.repeat, ())
            pristine = declare("relax", structure, {}, read_host(structure).label, host.protocol)
            unit = dict(Counter((host.origin.metal, host.origin.top, host.origin.bottom)))
            elements = {element: declare.element(element, self.name, host.protocol) for element in unit}
            parts[host.name] = HostPart(
                {"pristine": pristine, **elements},
                {"removed": removed, "unit": unit, "metal": host.origin.metal},
                tuple(elements.values()),
                {} if pristine.id in relaxed else {f"{host.name}/pristine": pristine},
            )
        return QuantityPlan({}, parts)

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> FormationResult:
        """Evaluate the vacancies of one host."""
        return formation_result(host.model.quantities[self.name], host.model.host, host.records, host.missing)

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """State the formation energy at both ends, with their assumptions."""
        lines = []
        for result in results:
            formation: FormationResult | None = result.quantities.get(self.name)
            if formation is None or formation.x_rich_ev is None:
                continue
            vacancies = " + ".join(f"{number} V_{element}" for element, number in formation.removed.items())
            mock = "" if result.physical else f", {MOCK}"
            lines.append(
                f"{result.model}: formation energy of {vacancies}: {formation.x_rich_ev:.3f} eV X-rich, "
                f"{formation.metal_rich_ev:.3f} eV metal-rich ({'; '.join(formation.conditions)}){mock}"
            )
        return lines

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Name the references of the chemical potentials, for hosts with all their references."""
        labels: dict[str, None] = {}
        for host in hosts:
            entry = host.model.quantities.get(self.name)
            roles = {} if entry is None else {r: i for r, i in entry.calculations.items() if r != "pristine"}
            if roles and all(identifier in host.records for identifier in roles.values()):
                labels |= dict.fromkeys(host.records[identifier].label for identifier in roles.values())
        if not labels:
            return []
        return [f"Chemical potentials for the formation energies of vacancies are those of {listed(labels)}."]


def removed_atoms(defects: tuple[Defect, ...]) -> dict[str, int]:
    """Return the number of removed atoms of each element; empty if any atom is replaced instead of removed."""
    if any(defect.replacement is not None for defect in defects):
        return {}
    return dict(Counter(defect.element for defect in defects))
