"""Formation energies of vacancies and replaced atoms at both ends of their host's range of stability."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import gcd
from typing import TYPE_CHECKING, Any

from ...analysis.columns import Column
from ...analysis.energies.formation import FormationResult, formation_result
from ...analysis.records import MOCK
from ...analysis.words import listed
from ...structures.monolayers import Monolayer
from ...structures.stacks import Stack
from ...structures.vacancies import Defect
from ..campaign.yaml import InputError
from .base import HostPart, PlannedHost, Quantity, QuantityPlan
from .layers import sheet_label

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
        """Declare the pristine cell and the references of its elements for each host with other atoms than it.

        The pristine cell of a structure file is the file without the defects that the campaign names.

        Raises
        ------
        InputError
            If a reference lacks, or the host has not exactly one metal.
        """
        relaxed = {host.calculation.id for host in hosts}
        parts = {}
        for host in hosts:
            removed = removed_atoms(host.defects)
            if not removed:
                continue
            unit = unit_of(host)
            metal = self._metal(declare, host, unit)
            lengths = {key: host.calculation.structure[key] for key in ("vacuum_a", "headroom_a")}
            structure = declare.host_structure(host.origin, host.repeat, (), **lengths)
            pristine = declare("relax", structure, {}, sheet_label(declare, host), host.protocol)
            elements = {
                element: declare.element(element, self.name, host.protocol)
                for element in dict.fromkeys((*unit, *removed))
            }
            parts[host.name] = HostPart(
                {"pristine": pristine, **elements},
                {"removed": removed, "unit": unit, "metal": metal},
                tuple(elements.values()),
                {} if pristine.id in relaxed else {f"{host.name}/pristine": pristine},
            )
        return QuantityPlan({}, parts)

    def _metal(self, declare: Declare, host: PlannedHost, unit: Mapping[str, int]) -> str:
        """Return the metal whose potential, or that of all others, bounds the host's range of stability."""
        if isinstance(host.origin, Monolayer | Stack):
            return _layer_of(host.origin).metal
        metals = [element for element in unit if element not in NONMETALS]
        if len(metals) == 1 and len(unit) > 1:
            return metals[0]
        raise InputError(
            f"{declare.where}: quantities: {self.name}: model {host.name}: its limits are those of a sheet of one "
            f"metal and other elements, and this one has {listed(unit)}; leave the quantity out."
        )

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
            vacancies = _words(formation.removed)
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


NONMETALS = frozenset(
    {*("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Ge", "As", "Se", "Br", "Sb", "Te", "I", "He", "Ne", "Ar")}
)
"""Elements that a sheet has beside its metal."""


def removed_atoms(defects: tuple[Defect, ...]) -> dict[str, int]:
    """Return how many atoms of each element are missing, less than none where an atom is replaced by one of it.

    Elements of which there are as many as before are left out: atoms that only change places.
    """
    counts = Counter(defect.element for defect in defects)
    counts.subtract(defect.replacement for defect in defects if defect.replacement is not None)
    return {element: number for element, number in counts.items() if number}


def _layer_of(origin: Monolayer | Stack) -> Monolayer:
    return origin.layer if isinstance(origin, Stack) else origin


def unit_of(host: PlannedHost) -> dict[str, int]:
    """Return the atoms of each element in the smallest formula unit of what a host repeats."""
    if isinstance(host.origin, Monolayer | Stack):
        layer = _layer_of(host.origin)
        return dict(Counter((layer.metal, layer.top, layer.bottom)))
    counts = Counter(host.origin.symbols)
    common = gcd(*counts.values())
    return {element: number // common for element, number in counts.items()}


def _words(removed: Mapping[str, int]) -> str:
    """Say what is missing and what is there instead: ``1 V_S``, ``1 Mo less, 1 W more``."""
    if min(removed.values()) > 0:
        return " + ".join(f"{number} V_{element}" for element, number in removed.items())
    changes = sorted(removed.items(), key=lambda item: -item[1])
    return ", ".join(f"{abs(number)} {element} {'less' if number > 0 else 'more'}" for element, number in changes)
