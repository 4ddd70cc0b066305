"""The symmetry-distinct ways in which several ions sit on a host's sites, those of lowest electrostatic energy first.

Judged before this was written: bsym (unique substitutions of a pymatgen structure, pure Python) makes every way and
compares each with each operation, knows neither ions that are too near to each other nor which ways to keep; icet's
enumeration is of all supercells of a crystal and loses which site is which, and brings numba, pandas and a fitting
package; pymatgen's EnumerateStructureTransformation wants the Fortran programs of enumlib; smol and CLEASE are
compiled and enumerate for cluster expansions; ase has no such function. What is left to write is short.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Final

import numpy as np

from .errors import StructureError
from .geometry import Floats, Ints, lateral_distances
from .ion_points import IonPoints, resting_height
from .planar_electrostatics import interactions

NEAREST_A: Final = 2.2
"""Two ions of a face are put no nearer than this (Å): no metal's atoms are, those of beryllium are 2.22 Å apart."""

LARGEST: Final = 20_000
"""The most distinct sets of one size that are followed all; of more, those of lowest energy."""

# Sets of one size that are followed where there are too many: fewer where each takes longer.
_WIDTH: Final = 400
_NARROW: Final = 30
_EFFORT: Final = 1_000_000

# Sets that are grown at once.
_CHUNK: Final = 1000

# Full layers that are looked through where there are too many ways.
_FILLINGS: Final = 4

# Kinds of sites on one face, of which every order of filling them is tried.
_KINDS: Final = 4

# Decimals of energies (eV) that decide an order: the last ones of a sum are another machine's.
_DIGITS: Final = 4


@dataclass(frozen=True)
class Arrangement:
    """Ions on the points of a host.

    Attributes
    ----------
    first
        Indices of the points whose ions lie on the sheet, ascending; of all equivalent sets, the first.
    second
        Indices of the points above which an ion lies on a full layer of others.
    energy_ev
        Of unscreened charges (`sodiate.structures.planar_electrostatics`), for the order alone.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    energy_ev: float


@dataclass(frozen=True)
class Arrangements:
    """The arrangements of a number of ions that were chosen, the lowest energy first.

    Attributes
    ----------
    chosen
        The arrangements.
    count
        How many distinct ones were found.
    complete
        Whether these are all; otherwise the search followed those of low energy only.
    """

    chosen: tuple[Arrangement, ...]
    count: int
    complete: bool


@dataclass(frozen=True)
class _Lattice:
    """Points with what ions cost there: alone (points,), in pairs (points, points), and which pairs cannot be."""

    alone: Floats
    pairs: Floats
    refused: np.ndarray
    permutations: Ints

    def energies(self, sets: Ints) -> Floats:
        """Return the energy of each set, shape (sets, size), eV."""
        total: Floats = self.alone[sets].sum(axis=1) + self.pairs[sets[:, :, None], sets[:, None]].sum((1, 2)) / 2
        return total

    def firsts(self, sets: Ints) -> Ints:
        """Return of each set the first of its orbit, each once, shape (orbits, size)."""
        best = np.sort(sets, axis=1)
        for permutation in self.permutations:
            images = np.sort(permutation[sets], axis=1)
            earlier = _earlier(images, best)
            best[earlier] = images[earlier]
        return np.unique(best, axis=0)

    def are_first(self, sets: Ints) -> Ints:
        """Keep the sets, each ascending, that are the first of their orbits."""
        for permutation in self.permutations:
            sets = sets[~_earlier(np.sort(permutation[sets], axis=1), sets)]
        return sets

    def within(self, points: Sequence[int]) -> _Lattice:
        """Return the lattice with those operations only that exchange some points among each other."""
        inside = np.zeros(len(self.alone), dtype=bool)
        inside[list(points)] = True
        kept = inside[self.permutations[:, inside]].all(axis=1)
        return _Lattice(self.alone, self.pairs, self.refused, self.permutations[kept])


def _earlier(ones: Ints, others: Ints) -> np.ndarray:
    """Tell of each pair of rows whether the first comes before the second, number by number."""
    if ones.shape[1] == 0:
        return np.zeros(len(ones), dtype=bool)
    differences = ones - others
    at = np.argmax(differences != 0, axis=1)
    result: np.ndarray = differences[np.arange(len(ones)), at] < 0
    return result


class Search:
    """The search for arrangements on one host, for several numbers of ions: smaller sets grow to larger ones once.

    Two arrangements are the same if an operation of the host takes one to the other. Up to `LARGEST` distinct sets of
    each size all are found; beyond, sets grow from those of low energy, and full layers are looked through besides.
    An ion more than the sites hold lies in a second layer, which begins where the first is full.

    Parameters
    ----------
    points
        All points of the host's sites.
    heights_a
        Height of an ion on each of them above the middle of the host, shape (points,), Å; below it on the bottom.
    allowed
        Indices of the points that ions may take: whole sites, or their part on one face.
    spacing_a
        How far an ion of the second layer lies from the nearest of the first, Å; None for one layer only.
    """

    def __init__(
        self, points: IonPoints, heights_a: Floats, allowed: Sequence[int], spacing_a: float | None = None
    ) -> None:
        self.points, self.heights_a, self.allowed, self.spacing_a = points, heights_a, tuple(allowed), spacing_a
        self.lattice = _lattice(points, heights_a).within(allowed)
        fillings = full_layers(points, self.lattice.refused, allowed)
        self.holds = max(map(len, fillings), default=0)
        full = np.array([sorted(filling) for filling in fillings if len(filling) == self.holds], dtype=np.int64)
        self._full = self.lattice.firsts(full)
        energies = np.round(self.lattice.energies(self._full), _DIGITS)
        best = self._full[np.argsort(energies, kind="stable")[:_FILLINGS]].tolist()
        self._everywhere = _Growth(self.lattice, self.allowed)
        self._fillings = [_Growth(self.lattice.within(filling), filling) for filling in best]
        self._arranged: dict[int, tuple[list[Arrangement], bool]] = {}

    def arrange(self, count: int, most: int) -> Arrangements:
        """Find the distinct arrangements of a number of ions, and choose ``most`` of lowest electrostatic energy.

        Raises
        ------
        StructureError
            If the sites hold fewer ions.
        """
        if count not in self._arranged:
            arranged, complete = self._all_of(count)
            self._arranged[count] = _ordered(arranged), complete
        found, complete = self._arranged[count]
        return Arrangements(tuple(found[:most]), len(found), complete)

    def _all_of(self, count: int) -> tuple[list[Arrangement], bool]:
        """Return the arrangements of a number of ions that were found, and whether they are all."""
        if count <= self.holds:
            sets, complete = self._first(count)
            first = [Arrangement(tuple(row), (), energy) for row, energy in _with_energies(self.lattice, sets)]
            return first, complete
        if self.spacing_a is None or count > 2 * self.holds:
            layers = f"two layers of {self.holds} hold {2 * self.holds}"
            layers = f"the sites hold {self.holds}" if self.spacing_a is None else layers
            raise StructureError(f"{count} ions are too many: {layers} that are at least {NEAREST_A:g} Å apart.")
        return self._second(count - self.holds, self.spacing_a)

    def _first(self, count: int) -> tuple[Ints, bool]:
        """Return the first sets of orbits in one layer, shape (orbits, count), and whether they are all."""
        found = self._everywhere.all(count)
        if found is not None:
            return found, True
        parts = [self._everywhere.lowest(count), *([self._full] if count == self.holds else [])]
        parts += [growth.all_or_lowest(count)[0] for growth in self._fillings]
        return self.lattice.firsts(np.concatenate(parts)), False

    def _second(self, count: int, spacing_a: float) -> tuple[list[Arrangement], bool]:
        """Return the arrangements of ions on full layers, and whether they are all."""
        found, complete = [], True
        for below in self._full.tolist():
            upper = _second(self.points, self.heights_a, below, spacing_a, self.lattice)
            sets, are_all = _Growth(upper, below).all_or_lowest(count)
            complete &= are_all
            base = float(self.lattice.energies(np.array([below]))[0])
            found += [
                Arrangement(tuple(below), tuple(row), base + energy) for row, energy in _with_energies(upper, sets)
            ]
        return found, complete


def full_layers(points: IonPoints, refused: np.ndarray, allowed: Sequence[int]) -> list[frozenset[int]]:
    """Return the ways to fill both faces, kind of site by kind of site, in every order of the kinds."""
    faces = []
    for on_top in (True, False):
        kinds: dict[str, list[int]] = {}
        for index in allowed:
            if points.on_top[index] == on_top:
                kinds.setdefault(points.sites[index].kind, []).append(index)
        names = list(kinds)
        orders = permutations(names) if len(names) <= _KINDS else (names[k:] + names[:k] for k in range(len(names)))
        faces.append(dict.fromkeys(_filled(refused, [i for name in order for i in kinds[name]]) for order in orders))
    return [top | bottom for top, bottom in product(*faces)]


def _filled(refused: np.ndarray, indices: Sequence[int]) -> frozenset[int]:
    """Return the points that are taken one after the other, less those too near to one that is."""
    filling: list[int] = []
    for index in indices:
        if not refused[index, filling].any():
            filling.append(index)
    return frozenset(filling)


def _too_near(points: IonPoints) -> np.ndarray:
    """Tell which points of one face are too near to each other for two ions, shape (points, points)."""
    distances = lateral_distances(points.fractions[:, None] - points.fractions[None], points.cell)
    near: np.ndarray = (distances < NEAREST_A) & (points.on_top[:, None] == points.on_top[None])
    np.fill_diagonal(near, val=True)
    return near


def _lattice(points: IonPoints, heights_a: Floats) -> _Lattice:
    alone, pairs = interactions(points.fractions, heights_a, points.cell)
    return _Lattice(alone, pairs, _too_near(points), points.permutations)


def _second(
    points: IonPoints, heights_a: Floats, below: Sequence[int], spacing_a: float, lattice: _Lattice
) -> _Lattice:
    """Return the lattice of the places above the ions of a full layer, these ions included in what one costs."""
    raised = second_heights(points, heights_a, below, spacing_a)
    fractions = np.concatenate([points.fractions, points.fractions[list(below)]])
    alone, pairs = interactions(fractions, np.concatenate([raised, heights_a[list(below)]]), points.cell)
    count = len(points)
    cost = alone[:count] + pairs[:count, count:].sum(axis=1)
    inside = lattice.within(below)
    return _Lattice(cost, pairs[:count, :count], lattice.refused, inside.permutations)


def second_heights(points: IonPoints, heights_a: Floats, below: Sequence[int], spacing_a: float) -> Floats:
    """Return the height of an ion above each point that touches the ions of a layer below, shape (points,), Å."""
    raised = np.array(heights_a, dtype=np.float64)
    for index in range(len(points)):
        same_face = [other for other in below if points.on_top[other] == points.on_top[index]]
        if not same_face:
            continue
        lateral = lateral_distances(points.fractions[same_face] - points.fractions[index], points.cell)
        over = resting_height(np.abs(heights_a[same_face]), lateral, spacing_a)
        raised[index] = np.copysign(over, heights_a[index])
    return raised


class _Growth:
    """Sets of some points that grow point by point; what was found of one size is kept for the next."""

    def __init__(self, lattice: _Lattice, allowed: Sequence[int]) -> None:
        self.lattice = lattice
        self.free = np.zeros(len(lattice.alone), dtype=bool)
        self.free[list(allowed)] = True
        nothing = np.zeros((1, 0), dtype=np.int64)
        self._all: list[Ints] = [nothing]
        self._lowest: list[Ints] = [nothing]
        self._too_many = False

    def all_or_lowest(self, count: int) -> tuple[Ints, bool]:
        """Return all first sets of orbits, or those of low energy if there are too many, and which of the two."""
        found = self.all(count)
        return (self.lowest(count), False) if found is None else (found, True)

    def all(self, count: int) -> Ints | None:
        """Return the first set of each orbit; None if there are too many of some size.

        The first set of an orbit without its last point is the first of its own orbit, so that sets grow by later
        points alone and each orbit is met once (Read, Ann. Discrete Math. 2, 107 (1978)).
        """
        while len(self._all) <= count and not self._too_many:
            grown, total = [np.zeros((0, len(self._all)), dtype=np.int64)], 0
            for candidates in self._later(self._all[-1]):
                grown.append(self.lattice.are_first(candidates))
                total += len(grown[-1])
                if total > LARGEST:
                    self._too_many = True
                    return None
            self._all.append(np.concatenate(grown))
        return self._all[count] if count < len(self._all) else None

    def _later(self, sets: Ints) -> Iterator[Ints]:
        """Yield sets with one point more behind their last one, as many at once as memory likes."""
        for start in range(0, len(sets), _CHUNK):
            chunk = sets[start : start + _CHUNK]
            open_ = self.free & ~self.lattice.refused[chunk].any(axis=1)
            if sets.shape[1]:
                open_ &= np.arange(len(self.free)) > chunk[:, -1:]
            rows, added = np.nonzero(open_)
            yield np.column_stack([chunk[rows], added])

    def lowest(self, count: int) -> Ints:
        """Return first sets of orbits that grow from those of low energy."""
        lattice = self.lattice
        while len(self._lowest) <= count:
            sets = self._lowest[-1]
            width = max(_NARROW, min(_WIDTH, _EFFORT // (len(lattice.permutations) * len(self._lowest))))
            costs = lattice.energies(sets)[:, None] + lattice.alone + lattice.pairs[sets].sum(axis=1)
            costs = np.round(costs, _DIGITS)
            costs[~self.free | lattice.refused[sets].any(axis=1)] = np.inf
            order = np.argsort(costs, axis=None, kind="stable")[: 4 * width]
            rows, added = np.divmod(order[np.isfinite(costs.ravel()[order])], len(self.free))
            sets = lattice.firsts(np.column_stack([sets[rows], added]))
            energies = np.round(lattice.energies(sets), _DIGITS)
            self._lowest.append(sets[np.argsort(energies, kind="stable")[:width]])
        return self._lowest[count]


def _with_energies(lattice: _Lattice, sets: Ints) -> Iterator[tuple[list[int], float]]:
    return zip(sets.tolist(), lattice.energies(sets).tolist(), strict=True)


def _ordered(found: list[Arrangement]) -> list[Arrangement]:
    return sorted(found, key=lambda one: (round(one.energy_ev, _DIGITS), one.first, one.second))
