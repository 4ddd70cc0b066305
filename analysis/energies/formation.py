"""Formation energies of a campaign's vacancies, from the records that its graph names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..campaign_entry import FormationEntry
from ..records import Record
from .comparability import ProtocolMismatch, check_method, check_sampling
from .energetics import EnergeticsError, chalcogen_rich, formation_energy, metal_rich


@dataclass(frozen=True)
class FormationResult:
    """Formation energy of all vacancies of a host together, eV, at both ends of the host's range of stability.

    ``conditions`` says in words what each end assumes; ``reason`` why there is no number.
    """

    removed: Mapping[str, int]
    x_rich_ev: float | None = None
    metal_rich_ev: float | None = None
    conditions: tuple[str, ...] = ()
    reason: str | None = None


def formation_result(
    entry: FormationEntry, host: str, records: Mapping[str, Record], missing: Mapping[str, str]
) -> FormationResult:
    """Evaluate the vacancies of one host.

    Parameters
    ----------
    entry
        What they are held against.
    host
        Id of the host with its vacancies.
    records
        Usable records by calculation id.
    missing
        Why a calculation has none, by id.
    """
    parts = {"host": host, "pristine host": entry.pristine, **entry.elements}
    for name, identifier in parts.items():
        if identifier not in records:
            return FormationResult(entry.removed, reason=f"{name}: {missing[identifier]}")
    defective, pristine = records[host], records[entry.pristine]
    elements = {element: records[identifier] for element, identifier in entry.elements.items()}
    try:
        check_sampling(defective, pristine)
        for other in (pristine, *elements.values()):
            check_method(defective, other)
        elements_ev = {element: _energy(record) / _natoms(record) for element, record in elements.items()}
        return _result(entry, defective, pristine, elements_ev)
    except (EnergeticsError, ProtocolMismatch) as error:
        return FormationResult(entry.removed, reason=str(error))


def _result(
    entry: FormationEntry, defective: Record, pristine: Record, elements_ev: Mapping[str, float]
) -> FormationResult:
    host_ev = _energy(pristine)
    units, rest = divmod(_natoms(pristine), sum(entry.unit.values()))
    if rest:
        raise ProtocolMismatch(f"{pristine.label} is no whole number of formula units {entry.unit}")
    if entry.metal is None:
        raise ProtocolMismatch("it was planned by an older sodiate; `sodiate run` the campaign again")
    metal = entry.metal
    chalcogens_ev = {element: value for element, value in elements_ev.items() if element != metal}
    limits = (
        chalcogen_rich(chalcogens_ev),
        metal_rich(host_ev / units, entry.unit, metal, elements_ev[metal], chalcogens_ev),
    )
    x_rich, poor = (formation_energy(_energy(defective), host_ev, entry.removed, limit) for limit in limits)
    conditions = tuple(f"{limit.name}: {limit.condition}" for limit in limits)
    return FormationResult(entry.removed, x_rich, poor, conditions)


def _energy(record: Record) -> float:
    if record.energy_ev is None:
        raise ProtocolMismatch(f"{record.label}: its record has no energy")
    return record.energy_ev


def _natoms(record: Record) -> int:
    if record.geometry is None:
        raise ProtocolMismatch(f"{record.label}: its record has no geometry")
    return len(record.geometry.symbols)
