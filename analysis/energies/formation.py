"""Formation energies of a campaign's vacancies, from the records that its graph names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..campaign_entry import QuantityEntry
from ..records import Record
from .adsorption import check_spin
from .comparability import ProtocolMismatch, check_method, check_sampling, element_of, symbols
from .energetics import EnergeticsError, chalcogen_rich, formation_energy, metal_rich


@dataclass(frozen=True)
class FormationResult:
    """Formation energy of all vacancies of a host together, eV, at both ends of the host's range of stability.

    ``conditions`` states the assumption of each end; ``reason`` says why there is no number.
    """

    removed: Mapping[str, int]
    x_rich_ev: float | None = None
    metal_rich_ev: float | None = None
    conditions: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reason why there is no number, as tables list it."""
        return () if self.reason is None else (f"formation energy: {self.reason}",)


def formation_from_atoms(molecule: Record, atoms: Mapping[str, Record]) -> float:
    """Return E(molecule) − Σ E(atom) in eV per molecule; negative if it holds together.

    Parameters
    ----------
    molecule
        The free molecule.
    atoms
        The isolated atom of each of its elements; the method must be equal.

    Raises
    ------
    ProtocolMismatch
        If the difference would mean nothing, or an atom is not in its ground state.
    """
    energy = molecule.energy_ev
    for element, number in Counter(symbols(molecule)).items():
        atom = atoms[element]
        if atom.kind != "atom" or symbols(atom) != (element,):
            raise ProtocolMismatch(f"{atom.label} is no isolated {element} atom")
        check_method(molecule, atom)
        check_spin(atom)
        if energy is None or atom.energy_ev is None:
            raise ProtocolMismatch(f"{molecule.label}: a record has no energy")
        energy -= number * atom.energy_ev
    assert energy is not None  # a molecule has elements
    return energy


def formation_result(
    entry: QuantityEntry, host: str, records: Mapping[str, Record], missing: Callable[[str], str]
) -> FormationResult:
    """Evaluate the vacancies of one host.

    Parameters
    ----------
    entry
        The calculations to compare with, and the removed atoms.
    host
        Id of the host with its vacancies.
    records
        Usable records by calculation id.
    missing
        Gives the reason why a calculation has none.
    """
    elements = {role: identifier for role, identifier in entry.calculations.items() if role != "pristine"}
    removed = entry.declared["removed"]
    parts = {"host": host, "pristine host": entry.calculations["pristine"], **elements}
    for name, identifier in parts.items():
        if identifier not in records:
            return FormationResult(removed, reason=f"{name}: {missing(identifier)}")
    defective, pristine = records[host], records[entry.calculations["pristine"]]
    try:
        _check_atoms(entry, defective, pristine, {role: records[identifier] for role, identifier in elements.items()})
        check_sampling(defective, pristine)
        for reference in (pristine, *(records[identifier] for identifier in elements.values())):
            check_method(defective, reference)
        elements_ev = {
            element: _energy(records[identifier]) / len(symbols(records[identifier]))
            for element, identifier in elements.items()
        }
        return _result(entry, defective, pristine, elements_ev)
    except (EnergeticsError, ProtocolMismatch) as error:
        return FormationResult(removed, reason=str(error))


def _check_atoms(entry: QuantityEntry, defective: Record, pristine: Record, elements: Mapping[str, Record]) -> None:
    """Refuse a host that is not its pristine one less the removed atoms, and references of other elements."""
    removed = Counter[str](entry.declared["removed"])
    whole, left = Counter(symbols(pristine)), Counter(symbols(defective))
    if left + removed != whole:
        raise ProtocolMismatch(
            f"{defective.label} is not {pristine.label} less {_formula(removed)}: {_formula(left)} against "
            f"{_formula(whole)}"
        )
    for role, record in elements.items():
        if element_of(record) != role:
            raise ProtocolMismatch(f"the reference of {role}, {record.label}, is of {element_of(record)}")
    units, unit = len(symbols(pristine)) // sum(entry.declared["unit"].values()), entry.declared["unit"]
    if whole != Counter({element: units * count for element, count in unit.items()}):
        raise ProtocolMismatch(f"{pristine.label} is no whole number of formula units {unit}")


def _formula(count: Mapping[str, int]) -> str:
    return " ".join(f"{element}{number}" for element, number in sorted(count.items()))


def _result(
    entry: QuantityEntry, defective: Record, pristine: Record, elements_ev: Mapping[str, float]
) -> FormationResult:
    host_ev = _energy(pristine)
    removed, unit, metal = (entry.declared[key] for key in ("removed", "unit", "metal"))
    units = len(symbols(pristine)) // sum(unit.values())
    if metal is None:
        raise ProtocolMismatch("it was planned by an older sodiate; `sodiate run` the campaign again")
    chalcogens_ev = {element: elements_ev[element] for element in unit if element != metal}
    # An element that the host has not, in the place of one of its own, is in equilibrium with its element.
    foreign_ev = {element: value for element, value in elements_ev.items() if element not in unit}
    limits = (
        chalcogen_rich(chalcogens_ev, host_ev / units, unit, metal),
        metal_rich(host_ev / units, unit, metal, elements_ev[metal], chalcogens_ev),
    )
    limits = (limits[0].with_others(foreign_ev), limits[1].with_others(foreign_ev))
    x_rich_ev, metal_rich_ev = (formation_energy(_energy(defective), host_ev, removed, limit) for limit in limits)
    conditions = tuple(f"{limit.name}: {limit.condition}" for limit in limits)
    return FormationResult(removed, x_rich_ev, metal_rich_ev, conditions)


def _energy(record: Record) -> float:
    if record.energy_ev is None:
        raise ProtocolMismatch(f"{record.label}: its record has no energy")
    return record.energy_ev
