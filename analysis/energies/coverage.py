"""Formation energies of ions on a sheet by their number, the convex hull, and the voltages that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..campaign_entry import ModelEntry, QuantityEntry
from ..records import Record
from ..words import listed
from .adsorption import DESORBED, FINAL, sites_of_end
from .comparability import ProtocolMismatch, check_method, check_parent, check_sampling, element_of, symbols
from .energetics import adsorption_voltage

if TYPE_CHECKING:
    from numpy.typing import NDArray

COVERAGE = "coverage"
"""The quantity of several ions on a host."""

TWO_AT_ONE = "two ions at one site"
"""Where ions ended of which no arrangement of sites tells."""

FARADAY_MAH_PER_MOL = 96485.33212 / 3.6
"""Charge of a mole of electrons, mAh."""

_NEARER_A = 0.05
"""Ions count as nearer than in the metal if they are by more than this: positions are relaxed to forces."""

_DEPTH_EV = 1e-6
"""A corner of the hull lies deeper than this below the line between its neighbours: what is less is rounding."""

_LAYER_A = 0.75
"""Atoms of a face whose heights differ by less are its outermost layer."""


@dataclass(frozen=True)
class ArrangementResult:
    """Ions in one arrangement on a host.

    Attributes
    ----------
    name
        Of the arrangement, or of the site of a single ion.
    coverage
        Ions per formula unit of the host, as a fraction: ``2/9``.
    ions, cell
        How many there are in the cell, and its repeats, as ``3x3``.
    places
        On which kinds of sites they were put, ``Na2`` being a second layer: ``4 T_W@top, 2 Na2@top``.
    end
        The arrangement or site where they ended, or that they left the sheet.
    energy_ev
        Of the relaxed cell.
    formation_energy_ev
        Per formula unit of the host, against the clean host and the bulk metal.
    above_hull_ev
        How far that lies above the convex hull, per formula unit.
    nearest_ions_a
        The smallest distance of two ions.
    thickness_change_a
        Of the sheet without ions, between the mean heights of its outermost layers.
    nearer_than_metal
        True if two ions are closer than the atoms of the bulk metal.
    same_as
        The arrangement that ended in the same place with the lower energy; this one is not counted again.
    reason
        Why there is no energy, or why it does not count.
    """

    name: str
    coverage: str
    ions: int
    cell: str
    places: str
    end: str | None = None
    energy_ev: float | None = None
    formation_energy_ev: float | None = None
    above_hull_ev: float | None = None
    nearest_ions_a: float | None = None
    thickness_change_a: float | None = None
    nearer_than_metal: bool = False
    same_as: str | None = None
    reason: str | None = None

    @property
    def x(self) -> float:
        """Ions per formula unit."""
        return float(Fraction(self.coverage))

    @property
    def counts(self) -> bool:
        """True if it is a point of the hull: with an energy, on the sheet, once."""
        return self.formation_energy_ev is not None and self.same_as is None and not self.left

    @property
    def left(self) -> bool:
        """True if an ion left the sheet."""
        return self.end is not None and self.end.startswith(DESORBED)

    @property
    def moved(self) -> bool:
        """True if the ions ended in another place than they were put."""
        return self.end is not None and sites_of_end(self.end) != (self.name,)


@dataclass(frozen=True)
class Plateau:
    """A step of the voltage curve between two stable coverages (ions per formula unit)."""

    first: str
    last: str
    voltage_v: float


@dataclass(frozen=True)
class CoverageResult:
    """How many ions a host takes, and at which voltages.

    Attributes
    ----------
    arrangements
        All of them, by coverage.
    hull
        The names of those on the lower convex hull.
    plateaus
        The steps between these, from the bare host on.
    stable_coverage
        The last coverage that is reached at a positive voltage, ions per formula unit; 0 if plating the metal is
        preferred from the beginning.
    average_voltage_v
        From the bare host to that coverage.
    capacity_mah_per_g
        Theoretical, at that coverage, by the mass of the host alone.
    unit_mass_g_per_mol
        Of a formula unit of the host.
    charge
        Of an ion.
    unknown
        The coverages of which no arrangement has an energy. While there are some, nothing says how far the sheet
        takes ions: `stable_coverage`, `average_voltage_v` and `capacity_mah_per_g` are None.
    reasons
        A sentence for each missing part.
    """

    arrangements: tuple[ArrangementResult, ...]
    hull: tuple[str, ...] = ()
    plateaus: tuple[Plateau, ...] = ()
    stable_coverage: float | None = None
    average_voltage_v: float | None = None
    capacity_mah_per_g: float | None = None
    unit_mass_g_per_mol: float | None = None
    charge: int = 1
    unknown: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()

    @property
    def corners(self) -> list[tuple[float, float]]:
        """Coverage and formation energy (eV per formula unit) of the corners of the hull, from the bare host on."""
        ends = [(one.x, one.formation_energy_ev or 0.0) for one in map(self.arrangement, self.hull)]
        return [(0.0, 0.0), *ends]

    @property
    def voltage_curve(self) -> list[tuple[float, float]]:
        """Capacity (mAh/g) and voltage (V) at the begin and the end of each step."""
        if self.unit_mass_g_per_mol is None:
            return []
        mass, charge = self.unit_mass_g_per_mol, self.charge
        return [
            (theoretical_capacity(float(Fraction(x)), charge, mass), step.voltage_v)
            for step in self.plateaus
            for x in (step.first, step.last)
        ]

    def arrangement(self, name: str) -> ArrangementResult:
        """Return the arrangement of this name."""
        return next(one for one in self.arrangements if one.name == name)


def theoretical_capacity(ions: float, charge: int, unit_mass_g_per_mol: float) -> float:
    """Return n z F / (3.6 M), in mAh per gram of the host.

    Parameters
    ----------
    ions
        Per formula unit of the host, n.
    charge
        Of each ion, z.
    unit_mass_g_per_mol
        Of the host's formula unit without ions, M.
    """
    return ions * charge * FARADAY_MAH_PER_MOL / unit_mass_g_per_mol


def lower_hull(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points on the lower convex hull, from the left to the right.

    Parameters
    ----------
    points
        x and energy of each; of several at one x the lowest counts.
    """
    lowest = {x: min((e, i) for i, (other, e) in enumerate(points) if other == x)[1] for x, _ in points}
    hull: list[int] = []
    for index in (lowest[x] for x in sorted(lowest)):
        while len(hull) > 1 and _depth(points[hull[-2]], points[hull[-1]], points[index]) <= _DEPTH_EV:
            hull.pop()
        hull.append(index)
    return hull


def _depth(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Return how far b lies below the line from a to c."""
    return a[1] + (c[1] - a[1]) * (b[0] - a[0]) / (c[0] - a[0]) - b[1]


def intercalation_energy(
    whole: Record, host: Record, metal: Record, finals: tuple[Record, Record] | None = None
) -> float:
    """Return E(host + n ions) − E(host) − n E(bulk metal), eV per cell.

    Parameters
    ----------
    whole, host
        Relaxed in the same cell, the first computed from the second.
    metal
        The bulk metal of the ions, whose energy per atom is taken.
    finals
        The single points at the ends of both, if energies are those. Method and sampling of what is subtracted must
        be equal, and so must the method of the metal.

    Raises
    ------
    ProtocolMismatch
        If the subtraction would mean nothing.
    """
    check_parent(whole, "host", host)
    if finals is not None:
        for final, relaxation in zip(finals, (whole, host), strict=True):
            check_parent(final, "geometry", relaxation)
        whole, host = finals
    element, own, added = element_of(metal), symbols(host), symbols(whole)[len(symbols(host)) :]
    if symbols(whole)[: len(own)] != own or not added or set(added) != {element}:
        raise ProtocolMismatch(f"{whole.label} is not {host.label} with {element} of {metal.label} behind its atoms")
    for other in (host, metal):
        check_method(whole, other)
    check_sampling(whole, host)
    if whole.energy_ev is None or host.energy_ev is None or metal.energy_ev is None:
        raise ProtocolMismatch(f"{whole.label}: a record has no energy")
    return whole.energy_ev - host.energy_ev - len(added) * metal.energy_ev / len(symbols(metal))


def nearest_distance(positions_a: NDArray[np.float64], cell_a: NDArray[np.float64], periodic: int = 2) -> float:
    """Return the smallest distance between some atoms, their images along the first axes included, Å.

    Parameters
    ----------
    positions_a, cell_a
        Shapes (atoms, 3) and (3, 3), Å.
    periodic
        Along how many axes they repeat.
    """
    steps = np.array(list(np.ndindex(*[5] * periodic, *[1] * (3 - periodic))), dtype=np.float64)
    steps[:, :periodic] -= 2
    fractions = np.linalg.solve(cell_a.T, (positions_a[:, None] - positions_a[None]).reshape(-1, 3).T).T
    fractions[:, :periodic] -= np.round(fractions[:, :periodic])
    distances = np.linalg.norm((fractions[:, None] + steps[None]) @ cell_a, axis=-1)
    return float(distances[distances > 1e-6].min())


def coverage_result(
    model: ModelEntry, records: Mapping[str, Record], missing: Callable[[str], str]
) -> CoverageResult:
    """Evaluate the arrangements on one host.

    Parameters
    ----------
    model
        The host.
    records
        Usable records by calculation id.
    missing
        Gives the reason why a calculation has none.
    """
    entry = model.quantities[COVERAGE]
    found = _once([_arrangement(model, entry, one, records, missing) for one in entry.declared["arrangements"]])
    points = [(0.0, 0.0), *((one.x, one.formation_energy_ev or 0.0) for one in found if one.counts)]
    names = ["", *(one.name for one in found if one.counts)]
    hull = lower_hull(points)
    corners = [points[index] for index in hull]
    found = [_above(one, corners) for one in found]
    coverages = ["0", *(one.coverage for one in found if one.counts)]
    charge = entry.declared["charge"]
    plateaus = tuple(
        Plateau(coverages[i], coverages[j], adsorption_voltage(_slope(points[i], points[j]), charge=charge))
        for i, j in pairwise(hull)
    )
    mass = _unit_mass(model, entry, records)
    result = CoverageResult(
        arrangements=tuple(found),
        hull=tuple(names[index] for index in hull[1:]),
        plateaus=plateaus,
        unit_mass_g_per_mol=mass,
        charge=charge,
        unknown=_unknown(found),
        reasons=_reasons(model, entry, found, records, missing),
    )
    if not plateaus:
        return result
    if result.unknown:
        words = f"stable coverage, average voltage, capacity: no energy at x = {listed(result.unknown)}"
        return replace(result, reasons=(*result.reasons, words))
    stable = [i for (_, i), step in zip(pairwise(hull), plateaus, strict=True) if step.voltage_v > 0]
    x, energy = points[stable[-1]] if stable else points[0]
    return replace(
        result,
        stable_coverage=x,
        average_voltage_v=adsorption_voltage(energy / x, charge=charge) if x else None,
        capacity_mah_per_g=None if mass is None else theoretical_capacity(x, charge, mass),
    )


def _unknown(found: Sequence[ArrangementResult]) -> tuple[str, ...]:
    """Return the coverages of which no arrangement has an energy."""
    known = {one.coverage for one in found if one.formation_energy_ev is not None}
    return tuple(dict.fromkeys(one.coverage for one in found if one.coverage not in known))


def _slope(first: tuple[float, float], second: tuple[float, float]) -> float:
    return (second[1] - first[1]) / (second[0] - first[0])


def _above(one: ArrangementResult, corners: Sequence[tuple[float, float]]) -> ArrangementResult:
    if not one.counts or one.formation_energy_ev is None:
        return one
    below = float(np.interp(one.x, [x for x, _ in corners], [energy for _, energy in corners]))
    return replace(one, above_hull_ev=max(one.formation_energy_ev - below, 0.0))


def host_role(cell: str) -> str:
    """Return the role of the clean host in a cell that is not the campaign's."""
    return f"host {cell}"


def energy_role(role: str) -> str:
    """Return the role of the single point at the end of a relaxation, by that of the relaxation."""
    return f"final {role}"


@dataclass(frozen=True)
class Terms:
    """Ids of what a formation energy is made of.

    Attributes
    ----------
    relaxed
        The relaxations of the host with the ions, and of the clean host.
    energies
        The terms: these two, or the single points at their ends; then the bulk metal.
    """

    relaxed: tuple[str, str]
    energies: tuple[str, str, str]

    @property
    def at_relaxed_geometries(self) -> bool:
        """Whether energies are those of single points."""
        return self.energies[:2] != self.relaxed


def terms_of(model: ModelEntry, entry: QuantityEntry, name: str, cell: str) -> Terms:
    """Return the terms of an arrangement, by its name and cell."""
    own, ids = host_role(cell), entry.calculations
    relaxed = ids[name], ids.get(own, model.host)
    host = ids.get(energy_role(own if own in ids else "host"), relaxed[1])
    return Terms(relaxed, (ids.get(energy_role(name), relaxed[0]), host, ids["bulk"]))


def _arrangement(
    model: ModelEntry,
    entry: QuantityEntry,
    declared: Mapping[str, Any],
    records: Mapping[str, Record],
    missing: Callable[[str], str],
) -> ArrangementResult:
    name, cell = declared["name"], declared["cell"]
    units = entry.declared["units"][cell]
    coverage = str(Fraction(declared["ions"], units))
    result = ArrangementResult(name, coverage, declared["ions"], cell, declared["places"])
    terms = terms_of(model, entry, name, cell)
    whole, energy = (records.get(identifier) for identifier in (terms.relaxed[0], terms.energies[0]))
    if whole is None:
        return replace(result, reason=missing(terms.relaxed[0]))
    end = None if whole.site is None else whole.site.end
    result = replace(result, end=end, energy_ev=None if energy is None else energy.energy_ev)
    if energy is None:
        return replace(result, reason=missing(terms.energies[0]))
    others = {terms.relaxed[1]: "no host: ", terms.energies[1]: "no host: ", terms.energies[2]: "no bulk metal: "}
    for identifier, words in others.items():
        if identifier not in records:
            return replace(result, reason=words + missing(identifier))
    host, clean, metal = (records[identifier] for identifier in (terms.relaxed[1], *terms.energies[1:]))
    finals = (energy, clean) if terms.at_relaxed_geometries else None
    try:
        formed = intercalation_energy(whole, host, metal, finals)
    except ProtocolMismatch as error:
        return replace(result, reason=str(error))
    nearest, in_metal = _nearest_ions(whole, host), _nearest_in_metal(metal)
    return replace(
        result,
        formation_energy_ev=formed / units,
        nearest_ions_a=nearest,
        thickness_change_a=_thickness_change(whole, host),
        nearer_than_metal=nearest < in_metal - _NEARER_A,
        reason=f"{declared['ions']} ions: one left the sheet" if result.left else None,
    )


def _positions(record: Record) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    assert record.geometry is not None  # `symbols` refuses a record without
    return np.array(record.geometry.positions_a), np.array(record.geometry.cell_a)


def _nearest_ions(whole: Record, host: Record) -> float:
    positions, cell = _positions(whole)
    return nearest_distance(positions[len(symbols(host)) :], cell)


def _nearest_in_metal(metal: Record) -> float:
    return nearest_distance(*_positions(metal), periodic=3)


def _thickness_change(whole: Record, host: Record) -> float:
    """Return by how much the mean heights of the host's outermost layers are further apart than in the clean host."""
    clean, covered = (_positions(record)[0][: len(symbols(host)), 2] for record in (host, whole))
    top, bottom = clean > clean.max() - _LAYER_A, clean < clean.min() + _LAYER_A
    before, after = (float(heights[top].mean() - heights[bottom].mean()) for heights in (clean, covered))
    return after - before


def _unit_mass(model: ModelEntry, entry: QuantityEntry, records: Mapping[str, Record]) -> float | None:
    """Return the mass of a formula unit of the host as it is, g/mol: without what its vacancies lack."""
    from ase.data import atomic_masses, atomic_numbers

    host = records.get(model.host)
    if host is None or host.geometry is None:
        return None
    mass = sum(float(atomic_masses[atomic_numbers[symbol]]) for symbol in host.geometry.symbols)
    return mass / float(entry.declared["units"]["x".join(map(str, model.supercell))])


def _once(found: Sequence[ArrangementResult]) -> list[ArrangementResult]:
    """Mark the arrangements that ended where one of lower energy did."""
    groups: dict[tuple[str, int, tuple[str, ...]], list[ArrangementResult]] = {}
    for one in found:
        if one.formation_energy_ev is not None and one.end is not None and not one.left and one.end != TWO_AT_ONE:
            groups.setdefault((one.cell, one.ions, sites_of_end(one.end)), []).append(one)
    kept = {
        one.name: min(group, key=lambda other: (other.formation_energy_ev, other.name)).name
        for group in groups.values()
        for one in group
    }
    return [
        one if kept.get(one.name, one.name) == one.name else replace(one, same_as=kept[one.name]) for one in found
    ]


def _reasons(
    model: ModelEntry,
    entry: QuantityEntry,
    found: Sequence[ArrangementResult],
    records: Mapping[str, Record],
    missing: Callable[[str], str],
) -> tuple[str, ...]:
    """Return a sentence for each calculation without a record, and for each energy that could not be formed."""
    own = {model.host, *(site.calculation for site in model.sites)}
    own |= set(model.quantities[FINAL].calculations.values()) if FINAL in model.quantities else set()
    reasons = [
        f"{role}: {missing(identifier)}"
        for role, identifier in entry.calculations.items()
        if identifier not in records and identifier not in own
    ]
    # What lacks for want of a host or the metal is said by these.
    return (*reasons, *(f"{one.name}: {one.reason}" for one in found if _is_refused(one)))


def _is_refused(one: ArrangementResult) -> bool:
    return one.energy_ev is not None and one.formation_energy_ev is None and not str(one.reason).startswith("no ")
