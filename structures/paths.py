"""Paths of an adsorbate between named sites of a host: the distinct ones under its symmetry, and their end points."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from ase import Atoms

from .errors import StructureError
from .geometry import FACES, Floats, Ints, in_plane_cell, lateral_distances
from .sites import SAME_POINT, Site, missing_atoms
from .symmetry import find_symmetry, permutations
from .vacancies import Defect, apply_defects

BETWEEN: Final = ".."
"""Joins the names of two sites to that of the path between them."""

ANOTHER_PATH: Final = "~"
"""Before the number of a further path between the same two kinds of sites."""

# Å, lateral. No hop between neighbouring sites is longer.
_LONGEST: Final = 7.0

# Å. An atom that an operation moved further than this from where another one is found has no image there.
_IMAGE: Final = 1e-3

# Å. Adsorbates nearer to each other than this are in one place.
ONE_PLACE: Final = 0.4

# Å from the nearest atom of the host. Further away an adsorbate has left the sheet.
AWAY: Final = 4.5


@dataclass(frozen=True, slots=True)
class Hop:
    """A class of symmetry-equivalent hops between two sites, with one of them as its representative.

    Attributes
    ----------
    name
        ``T_W@top..H@top``; further classes between the same kinds of sites are ``T_W@top..H@top~2``, by length.
    start, end
        Names of the sites.
    point
        Where the end lies: fractional coordinates, not wrapped, seen from the representative of the start.
    face
        Face of that point.
    length_a
        Lateral distance of the two points, Å.
    symmetric
        Whether an operation of the host exchanges start and end, so that half of the path gives the whole.
    across
        Whether it leads through the sheet.
    """

    name: str
    start: str
    end: str
    point: tuple[float, float]
    face: str
    length_a: float
    symmetric: bool
    across: bool


@dataclass(frozen=True)
class Network:
    """Every hop of a cell, for the diffusion that follows from their rates.

    Attributes
    ----------
    sites
        Name of the class of each point.
    hops
        Numbers of the points that a hop leads from and to, its lateral vector (Å), and its name, with whether it goes
        in the direction of the name.
    """

    sites: tuple[str, ...]
    hops: tuple[tuple[int, int, float, float, str, bool], ...]


@dataclass(frozen=True)
class Mirror:
    """The operation that exchanges the two ends of a symmetric path, on unwrapped positions (Å).

    The image of atom i is atom ``order[i]``, at ``matrix`` x_i + ``shifts[i]``.
    """

    order: Ints
    matrix: Floats
    shifts: Floats

    def positions(self, positions: Floats) -> Floats:
        """Return positions after the operation, shape (atoms, 3)."""
        images = np.empty_like(positions)
        images[self.order] = positions @ self.matrix.T + self.shifts
        return images

    def vectors(self, vectors: Floats) -> Floats:
        """Return vectors on the atoms (forces) after the operation, shape (atoms, 3)."""
        images = np.empty_like(vectors)
        images[self.order] = vectors @ self.matrix.T
        return images


@dataclass(frozen=True)
class PathEnds:
    """The two ends of a path, atoms in the same order and not wrapped.

    ``turn`` is what was done to the relaxed site at the end; ``mirror`` exchanges the two, None if nothing does.
    """

    start: Atoms
    end: Atoms
    turn: Mirror
    mirror: Mirror | None


@dataclass(frozen=True, slots=True)
class _Point:
    """A point of a class of sites (its number) at fractional coordinates on a face."""

    site: int
    fractional: Floats
    face: str


class Paths:
    """The paths of one host.

    Parameters
    ----------
    pristine, defects
        Complete ideal host and its defects, as for `sodiate.structures.sites.find_sites`.
    sites
        All sites of that host.
    """

    def __init__(self, pristine: Atoms, defects: Sequence[Defect], sites: Sequence[Site]) -> None:
        self.host = apply_defects(pristine, defects)
        self.sites = tuple(sites)
        self.cell = in_plane_cell(pristine)
        self.symmetry = find_symmetry(self.host, missing_atoms(pristine, defects))
        self._numbers = {site.name: number for number, site in enumerate(self.sites)}
        self._points = [point for number in range(len(self.sites)) for point in self._images(number)]
        self._fractions = np.array([point.fractional for point in self._points]).reshape(-1, 2)
        self._reach = np.ceil(_LONGEST / (abs(np.linalg.det(self.cell)) / np.linalg.norm(self.cell, axis=1)[::-1]))

    def _images(self, number: int) -> Iterator[_Point]:
        """Yield every point of a class of sites in the cell, its representative first."""
        site = self.sites[number]
        images = self.symmetry.images(site.fractional)
        for face in (site.face, _flipped(site.face, flip=True)):
            left = images[self.symmetry.flips == (face != site.face)]
            if face == site.face:
                left = np.vstack([site.fractional, left])
            while len(left):
                yield _Point(number, left[0], face)
                left = left[lateral_distances(left - left[0], self.cell) > SAME_POINT]

    @cached_property
    def found(self) -> dict[str, Hop]:
        """The distinct hops between neighbouring sites by name, and through the sheet at its vacancies.

        Two sites of a face are neighbours if no third one lies in the circle between them, so that a longer way is a
        chain of hops; or if all that do are mirrored at the line between them, which no force then leaves (a hop over
        a bond). Of a host with defects, those hops are here that lead to a vacancy, or between two neighbours of it.
        """
        hops = [hop for number in range(len(self.sites)) for hop in self._from(number)]
        return {hop.name: hop for hop in _numbered(hops)}

    @cached_property
    def _core(self) -> set[int]:
        """The classes of sites at defects: vacancies, or else those nearest to a replaced atom."""
        at_vacancy = {number for number, site in enumerate(self.sites) if site.kind.startswith("V_")}
        distances = [site.defect_distance for site in self.sites if site.defect_distance is not None]
        if at_vacancy or not distances:
            return at_vacancy
        return {n for n, s in enumerate(self.sites) if (s.defect_distance or 0.0) < min(distances) + SAME_POINT}

    def _from(self, number: int) -> Iterator[Hop]:
        """Yield the distinct hops from the representative of a class of sites to those of the same or later ones."""
        with_defects = self.sites[number].defect_distance is not None
        start, told = self._point(number), list[tuple[_Point, Floats]]()
        for point, vector in self._near(start):
            if point.site < number:
                continue
            if with_defects and not self._core & {number, point.site} and not self._in_a_ring(start, point):
                continue
            if not any(self._same(number, one, (point, vector)) for one in told):
                told.append((point, vector))
        yield from (self._hop(number, point, vector, across=False) for point, vector in told)
        across = self._across(number)
        if across is not None:
            yield across

    def _point(self, number: int) -> _Point:
        site = self.sites[number]
        return _Point(number, np.array(site.fractional), site.face)

    @cached_property
    def _rings(self) -> list[list[_Point]]:
        """The neighbours of each site at a defect."""
        return [[point for point, _ in self._near(self._point(number))] for number in sorted(self._core)]

    def _in_a_ring(self, first: _Point, second: _Point) -> bool:
        """Tell whether some image of a hop has both its ends among the neighbours of a site at a defect."""
        starts, ends = (self.symmetry.images(point.fractional) for point in (first, second))
        on_top = self.symmetry.flips == (first.face != FACES[0])
        for ring in self._rings:
            same_face = on_top if ring[0].face == FACES[0] else ~on_top
            places = np.array([point.fractional for point in ring])
            both = [
                (lateral_distances(points[:, None] - places[None], self.cell) < SAME_POINT).any(axis=1)
                for points in (starts, ends)
            ]
            if (same_face & both[0] & both[1]).any():
                return True
        return False

    def _at(self, first: Floats, second: Floats) -> bool:
        return bool(lateral_distances(np.asarray(first - second), self.cell) < SAME_POINT)

    @cached_property
    def _turns(self) -> Floats:
        """The operations on lateral vectors (Å), shape (operations, 2, 2)."""
        turns: Floats = self.cell.T @ self.symmetry.rotations @ np.linalg.inv(self.cell.T)
        return turns

    def _fitting(self, origin: Floats, vector: Floats, begin: Floats, other: Floats) -> Any:
        """Return which operations take a hop, its begin and its vector, to another one, on whichever face."""
        moved = np.linalg.norm(self._turns @ vector - other, axis=1) < SAME_POINT
        return moved & (lateral_distances(self.symmetry.images(origin) - begin, self.cell) < SAME_POINT)

    def _all_around(self, origin: _Point, reach_a: float) -> list[tuple[_Point, Floats]]:
        """Return all points of a face within reach of one of its points, with their lateral vectors (Å)."""
        first, second = (np.arange(-n, n + 1) for n in (self._reach + 1).astype(int))
        shifts = np.array([(i, j) for i in first for j in second], dtype=np.float64)
        on_face = [k for k, point in enumerate(self._points) if point.face == origin.face]
        away = self._fractions[on_face] - origin.fractional
        away -= np.round(away)
        vectors = (away[:, None] + shifts[None]) @ self.cell
        lengths = np.linalg.norm(vectors, axis=2)
        found = np.argwhere((lengths < reach_a) & (lengths > SAME_POINT))
        points = []
        for k, s in found:
            vector = vectors[k, s]
            fractional = origin.fractional + np.linalg.solve(self.cell.T, vector)
            points.append((_Point(self._points[on_face[k]].site, fractional, origin.face), vector))
        return points

    def _near(self, origin: _Point) -> list[tuple[_Point, Floats]]:
        """Return the neighbours of a point with their lateral vectors (Å), in an order free of noise."""
        around = self._all_around(origin, _LONGEST)
        vectors = np.array([vector for _, vector in around]).reshape(-1, 2)
        found = []
        for point, vector in around:
            length = float(np.linalg.norm(vector))
            beside = vectors[np.linalg.norm(vectors - vector / 2, axis=1) < length / 2 - SAME_POINT / 2]
            if len(beside) and not self._is_held_between(origin, vector, beside):
                continue
            found.append((point, vector))
        return sorted(found, key=lambda one: (one[0].site, *np.round([np.linalg.norm(one[1]), *one[1]], 3)))

    def _is_held_between(self, origin: _Point, vector: Floats, beside: Floats) -> bool:
        """Tell whether a line is kept by a mirror of the host, and none of the points beside it lies on it."""
        along = vector / np.linalg.norm(vector)
        off = beside[:, 0] * along[1] - beside[:, 1] * along[0]
        if (abs(off) < SAME_POINT).any():
            return False
        mirrors = ~self.symmetry.flips & (np.linalg.det(self.symmetry.rotations) < 0)
        return bool((mirrors & self._fitting(origin.fractional, vector, origin.fractional, vector)).any())

    def _same(self, number: int, first: tuple[_Point, Floats], second: tuple[_Point, Floats]) -> bool:
        """Tell whether an operation takes one hop from a site to another hop from it, or to its reverse."""
        (point, vector), (there, other) = first, second
        if point.site != there.site:
            return False
        origin = np.array(self.sites[number].fractional)
        fits = self._fitting(origin, vector, origin, other)
        if there.site == number:
            fits |= self._fitting(origin, vector, there.fractional, -other)
        return bool((fits & ~self.symmetry.flips).any())

    def _hop(self, number: int, point: _Point, vector: Floats, across: bool) -> Hop:
        start, end = self.sites[number], self.sites[point.site]
        return Hop(
            name=f"{start.name}{BETWEEN}{end.name}",
            start=start.name,
            end=end.name,
            point=(float(point.fractional[0]), float(point.fractional[1])),
            face=point.face,
            length_a=float(np.linalg.norm(vector)),
            symmetric=number == point.site and bool(self._exchanging(start, point.fractional, point.face)),
            across=across,
        )

    def _exchanging(self, site: Site, point: Floats, face: str) -> list[int]:
        """Return the operations that exchange the representative of a site and another point of its class."""
        origin = np.array(site.fractional)
        vector = (point - origin) @ self.cell
        fits = self._fitting(origin, vector, point, -vector) & (self.symmetry.flips == (site.face != face))
        return np.flatnonzero(fits).tolist()

    def _across(self, number: int) -> Hop | None:
        """Return the hop from a vacancy through the sheet: to the nearest hollow or vacancy of the other face."""
        site = self.sites[number]
        if not site.kind.startswith("V_"):
            return None
        other = _flipped(site.face, flip=True)
        around = self._all_around(_Point(number, np.array(site.fractional), other), _LONGEST)
        below = [
            (replace(point, fractional=point.fractional - np.round(point.fractional - site.fractional)), np.zeros(2))
            for point in self._points
            if point.face == other and self._at(point.fractional, np.array(site.fractional))
        ]
        ways = [one for one in below + around if self.sites[one[0].site].kind.startswith(("H", "V_"))]
        if not ways:
            return None
        point, vector = min(ways, key=lambda one: (round(float(np.linalg.norm(one[1])), 2), one[0].site, *one[1]))
        if point.site < number and np.linalg.norm(vector) < SAME_POINT:
            return None  # told from the vacancy at the other end
        return self._hop(number, point, vector, across=True)

    def between(self, start: str, end: str) -> Hop:
        """Return the shortest path between two sites by name, whether or not they are neighbours.

        Raises
        ------
        StructureError
            If the host has no such site.
        """
        for name in (start, end):
            if name not in self._numbers:
                raise StructureError(f"there is no site {name!r}; there are {', '.join(self._numbers)}.")
        known = [hop for hop in self.found.values() if {hop.start, hop.end} == {start, end}]
        if known:
            return known[0]
        first, last = self._numbers[start], self._numbers[end]
        origin = self._point(first)
        there = [p for p in self._points if (p.site, p.face) == (last, origin.face)]
        if any(self._at(p.fractional, origin.fractional) for p in there):
            raise StructureError(f"{start} and {end} are in one place; a path needs two")
        reach = float(np.linalg.norm(self.cell.sum(axis=0))) + _LONGEST
        choices = []
        for face in (origin.face, _flipped(origin.face, flip=True)):
            around = self._all_around(replace(origin, face=face), reach)
            choices = [(point, vector) for point, vector in around if point.site == last]
            if choices:
                break
        point, vector = min(choices, key=lambda one: tuple(np.round([np.linalg.norm(one[1]), *one[1]], 3)))
        return self._hop(first, point, vector, across=point.face != origin.face)

    @cached_property
    def network(self) -> Network:
        """Every hop of the cell that is an image of one in `found`, in both directions."""
        hops: dict[tuple[int, int, int, int], tuple[str, bool]] = {}
        for hop in self.found.values():
            start = self._point(self._numbers[hop.start])
            starts, ends = self.symmetry.images(start.fractional), self.symmetry.images(hop.point)
            for first, second, flip in zip(starts, ends, self.symmetry.flips.tolist(), strict=True):
                i, j = self._index(first, _flipped(start.face, flip)), self._index(second, _flipped(hop.face, flip))
                u, v = np.round(second - first - self._fractions[j] + self._fractions[i]).astype(int).tolist()
                hops.setdefault((i, j, u, v), (hop.name, True))
                hops.setdefault((j, i, -u, -v), (hop.name, False))
        names = tuple(self.sites[point.site].name for point in self._points)
        return Network(
            names, tuple((i, j, *self._vector(i, j, u, v), *hops[i, j, u, v]) for i, j, u, v in sorted(hops))
        )

    def _vector(self, i: int, j: int, u: int, v: int) -> tuple[float, float]:
        """Return the lateral vector (Å) from a point to another one, in a cell that many vectors away."""
        x, y = (self._fractions[j] - self._fractions[i] + (u, v)) @ self.cell
        return float(x), float(y)

    def _index(self, fractional: Floats, face: str) -> int:
        distances = lateral_distances(self._fractions - fractional, self.cell)
        distances[[point.face != face for point in self._points]] = np.inf
        return int(distances.argmin())

    def ends(self, hop: Hop, start: Atoms, end: Atoms) -> PathEnds:
        """Return the two ends of a path from the relaxed sites.

        Parameters
        ----------
        hop
            The path.
        start, end
            The host relaxed with the adsorbate, which is the last atom, on the two sites.

        Returns
        -------
        PathEnds
            The start as it is, and the end turned by the operation of the host that takes its site to the end of the
            path, of several by that which leaves the atoms nearest to those of the start.

        Raises
        ------
        StructureError
            If the adsorbate is in the same place in both.
        """
        first, last = (self.sites[self._numbers[name]] for name in (hop.start, hop.end))
        images = self.symmetry.images(last.fractional)
        choices = [
            k
            for k in range(len(images))
            if self._at(images[k], np.array(hop.point))
            and _flipped(last.face, bool(self.symmetry.flips[k])) == hop.face
        ]
        exchanging = self._exchanging(first, np.array(hop.point), hop.face) if hop.symmetric else []
        best: tuple[float, PathEnds] | None = None
        vector = (np.array(hop.point) - np.array(first.fractional)) @ self.cell
        for k in exchanging or choices:
            mirror = self._mirror(k, start, end, vector)
            turned = start.copy()
            turned.positions = mirror.positions(end.positions)
            strain = float(np.linalg.norm(turned.positions - start.positions))
            undone = hop.symmetric and np.allclose(mirror.positions(turned.positions), start.positions, atol=_IMAGE)
            if best is None or (not undone, strain) < (best[1].mirror is None, best[0] - _IMAGE):
                best = strain, PathEnds(start, turned, mirror, mirror if undone else None)
        assert best is not None  # the point is an image of its site
        ends = best[1]
        apart = float(np.linalg.norm(ends.end.positions[-1] - ends.start.positions[-1]))
        if apart < ONE_PLACE:
            raise StructureError(
                f"{hop.start} and {hop.end} relaxed into one place ({apart:.2f} Å apart): there is no path between "
                "them"
            )
        return ends

    def _mirror(self, operation: int, start: Atoms, end: Atoms, vector: Floats) -> Mirror:
        """Return an operation of the host on relaxed atoms, so that ``end`` comes near ``start``."""
        rotation, flip = self.symmetry.rotations[operation], bool(self.symmetry.flips[operation])
        order = np.append(self._orders[operation], len(start) - 1)
        matrix = np.eye(3)
        # x = f C, so that f' = R f is x' = C^T R C^-T x.
        matrix[:2, :2] = self.cell.T @ rotation @ np.linalg.inv(self.cell.T)
        matrix[2, 2] = -1.0 if flip else 1.0
        target = start.positions[order]
        target[-1, :2] += vector
        away = target - end.positions @ matrix.T
        # Relative to one atom, so that atoms on the other side of the cell do not shift the mean.
        common = away[0] + self._wrapped(away[:-1] - away[0]).mean(axis=0)
        return Mirror(order, matrix, away - self._wrapped(away - common))

    def _wrapped(self, vectors: Floats) -> Floats:
        """Return vectors less the nearest lattice vectors in the plane."""
        fractions = np.linalg.solve(self.cell.T, vectors[:, :2].T).T
        wrapped = vectors.copy()
        wrapped[:, :2] -= np.round(fractions) @ self.cell
        return wrapped

    @cached_property
    def _orders(self) -> Ints:
        return permutations(self.host, self.symmetry)


def _flipped(face: str, flip: bool) -> str:
    return FACES[1 - FACES.index(face)] if flip else face


def _numbered(hops: Sequence[Hop]) -> Iterator[Hop]:
    """Yield hops with a number behind the name of each but the shortest of several between the same sites."""
    for name in dict.fromkeys(hop.name for hop in hops):
        same = sorted((hop for hop in hops if hop.name == name), key=lambda hop: (hop.across, round(hop.length_a, 2)))
        for number, hop in enumerate(same, 1):
            yield hop if number == 1 else replace(hop, name=f"{name}{ANOTHER_PATH}{number}")


def left_the_sheet(atoms: Atoms) -> float | None:
    """Return the distance (Å) of the adsorbate, the last atom, from the nearest one of the host, if it is away."""
    distance = float(atoms.get_distances(len(atoms) - 1, range(len(atoms) - 1), mic=True).min())
    return distance if distance > AWAY else None
