"""Candidate points of an adsorbate on the ideal host, before symmetry: over atoms, hollows, vacancies and bridges."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from ase import Atoms

from .geometry import FACES, Floats, Ints, face_layers, in_plane_cell, in_plane_fractions, is_uneven, wrap
from .local_planes import foot, local_plane
from .periodic_points import PeriodicPoints
from .vacancies import Defect
from .voronoi import voronoi_vertices

CHALCOGENS: Final = frozenset({"O", "S", "Se", "Te"})

# Å, lateral. Vertices closer than this are one hollow: a regular ring of more than three atoms gives several,
# which fall apart further when the host is not quite ideal.
_MERGE: Final = 0.5

# Å, lateral. How far an atom of the second layer may lie from the centre of the hollow above it.
_BELOW: Final = 0.6

# Candidate kinds in the order in which sites are listed.
_VACANCY, _SECOND_LAYER, _HOLLOW, _ATOP, _BRIDGE = range(5)

BRIDGE: Final = "B"
"""The kind of a site midway between two neighbouring atoms of a face."""

# Å, lateral. Atoms further apart are not neighbours that one could bridge.
_LONGEST_BRIDGE: Final = 6.0

# Å, lateral. A third atom parts two others if it lies in the circle of which they are the ends, or this near to it:
# corners of a square lie on that of a diagonal.
_PARTED: Final = 0.1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A point on one face.

    Attributes
    ----------
    kind
        ``V_S``, ``T_W``, ``H``, ``T_X``, …
    rank
        Order of its kind among the sites of a face.
    face
        "top" or "bottom".
    fractional
        In-plane coordinates.
    height
        z in Å of the atom below or removed, or of the outermost layer where that atom lies deeper.
    """

    kind: str
    rank: int
    face: str
    fractional: tuple[float, float]
    height: float


def find_candidates(pristine: Atoms, defects: Sequence[Defect]) -> list[Candidate]:
    """List the points of both faces, the top face first.

    Over each atom of the outermost layer: ``T_X`` if it is a chalcogen, otherwise ``T_`` and its symbol. At
    each vertex of that layer's lateral Voronoi diagram: ``T_`` and the symbol of a second-layer atom below,
    otherwise ``H``. Where the defects remove that atom, ``V_`` and its symbol on every face that shows it: a
    missing chalcogen of a monolayer gives a site on its own face, a missing metal atom on both.
    """
    changed = {defect.index: defect for defect in defects}
    fractions, cell = in_plane_fractions(pristine), in_plane_cell(pristine)
    uneven = is_uneven(pristine)
    candidates: list[Candidate] = []
    for face in FACES:
        outer, second = face_layers(pristine, face)
        plane = _Plane(pristine, outer, uneven)
        for i in outer:
            kind, rank = _over(pristine.symbols[i], changed.get(int(i)), _ATOP)
            height = float(pristine.positions[i, 2])
            candidates.append(Candidate(kind, rank, face, _pair(fractions[i]), height))
        seen = fractions.copy()
        for i in second:
            seen[i] = plane.seen_at(fractions[i], float(pristine.positions[i, 2]))
        below, hollows = _sort_hollows(hollows_of(fractions[outer], cell), seen, second, cell)
        for i in below:
            kind, rank = _over(pristine.symbols[i], changed.get(i), _SECOND_LAYER)
            candidates.append(Candidate(kind, rank, face, _pair(seen[i]), plane.height(seen[i])))
        candidates += [Candidate("H", _HOLLOW, face, _pair(point), plane.height(point)) for point in hollows]
    return candidates


class _Plane:
    """The outermost layer of a face: one height, or of an uneven host the plane of the atoms around a point."""

    def __init__(self, pristine: Atoms, outer: Ints, uneven: bool) -> None:
        self._even = None if uneven else float(pristine.positions[outer, 2].mean())
        self._layer = in_plane_fractions(pristine)[outer], pristine.positions[outer, 2], in_plane_cell(pristine)

    def height(self, point: Floats) -> float:
        """Return its z at a point, Å."""
        return local_plane(*self._layer, point).height_a if self._even is None else self._even

    def seen_at(self, point: Floats, z_a: float) -> Floats:
        """Return where one sees an atom of the layer below, straight from above."""
        return point if self._even is not None else foot(*self._layer, point, z_a)[0]


def find_bridges(pristine: Atoms, defects: Sequence[Defect]) -> list[Candidate]:
    """List the bridges of both faces, the top face first.

    Two atoms of the outermost layer are neighbours if no third one lies in the circle, or on it, of which they are
    the ends; the bridge is in its middle. A missing atom has none. A point that is a site of another kind already
    (over an atom of the second layer, as it may be on a square lattice) is none either.
    """
    missing = {defect.index for defect in defects if defect.replacement is None}
    fractions, cell = in_plane_fractions(pristine), in_plane_cell(pristine)
    others = find_candidates(pristine, defects)
    candidates: list[Candidate] = []
    for face in FACES:
        outer, _ = face_layers(pristine, face)
        taken = np.array([other.fractional for other in others if other.face == face])
        tree = PeriodicPoints(taken, cell, _MERGE)
        pairs = _neighbours(fractions[outer], cell)
        middles = np.array([fractions[outer[i]] + step / 2 for i, _, step in pairs]).reshape(-1, 2) % 1.0
        free = ~np.isfinite(tree.nearest(middles)[1]) if len(middles) else np.zeros(0, dtype=bool)
        for (i, j, _), middle, is_free in zip(pairs, middles, free, strict=True):
            ends = [int(outer[i]), int(outer[j])]
            if is_free and not missing.intersection(ends):
                height = float(pristine.positions[ends, 2].mean())
                candidates.append(Candidate(BRIDGE, _BRIDGE, face, _pair(middle), height))
    return candidates


def _neighbours(points: Floats, cell: Floats) -> list[tuple[int, int, Floats]]:
    """Return neighbouring points, each pair once: their numbers, and the fractional step from one to the other."""
    spacings = abs(np.linalg.det(cell)) / np.linalg.norm(cell, axis=1)[::-1]
    reach = np.ceil(_LONGEST_BRIDGE / spacings).astype(int) + 1
    shifts = np.array([(i, j) for i in range(-reach[0], reach[0] + 1) for j in range(-reach[1], reach[1] + 1)])
    found: list[tuple[int, int, Floats]] = []
    for i, point in enumerate(points):
        steps = (wrap(points - point)[:, None] + shifts[None]).reshape(-1, 2)
        numbers = np.repeat(np.arange(len(points)), len(shifts))
        lengths = np.linalg.norm(steps @ cell, axis=1)
        near = (lengths > 1e-3) & (lengths < _LONGEST_BRIDGE)
        steps, numbers, lengths = steps[near], numbers[near], lengths[near]
        for step, j, length in zip(steps, numbers.tolist(), lengths, strict=True):
            # Each pair from the one of its ends that comes first; of an atom and its image in one direction.
            if j < i or (j == i and tuple(np.round(step, 6)) < (0.0, 0.0)):
                continue
            from_middle = np.linalg.norm((steps - step / 2) @ cell, axis=1)
            # The end itself lies on the circle, and is none of the others.
            beside = np.linalg.norm((steps - step) @ cell, axis=1) > 1e-3
            if not (from_middle[beside] < length / 2 + _PARTED).any():
                found.append((i, j, step))
    return found


def _pair(point: Floats) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _over(symbol: str, defect: Defect | None, rank: int) -> tuple[str, int]:
    """Name the point over an atom of the complete host that may have been removed or replaced."""
    if defect is not None and defect.replacement is None:
        return f"V_{defect.present}", _VACANCY
    symbol = symbol if defect is None or defect.replacement is None else defect.replacement
    return "T_X" if rank == _ATOP and symbol in CHALCOGENS else f"T_{symbol}", rank


def hollows_of(points: Floats, cell: Floats) -> Floats:
    """Return the vertices of a periodic Voronoi diagram, those that are close as one, fractional in [0, 1)."""
    vertices = voronoi_vertices(points, cell)
    # Those at an edge of the cell count at the other one, too: sites whose vertices merge have their ids by that.
    images = (vertices[None] + np.array(list(product((0, -1, 1), repeat=2)))[:, None]).reshape(-1, 2)
    return _merge(images[((images > -0.05) & (images < 1.05)).all(axis=1)], cell)


def _merge(vertices: Floats, cell: Floats) -> Floats:
    """Replace vertices closer than 0.5 Å, images included, by their mean, in an order free of noise."""
    first, second = PeriodicPoints(vertices, cell, _MERGE).within(vertices, _MERGE)
    neighbours = np.split(second, np.searchsorted(first, np.arange(1, len(vertices))))
    remaining = np.ones(len(vertices), dtype=bool)
    merged: list[Floats] = []
    for k in range(len(vertices)):
        if remaining[k]:
            cluster = np.unique(neighbours[k][remaining[neighbours[k]]])
            merged.append((vertices[k] + wrap(vertices[cluster] - vertices[k]).mean(axis=0)) % 1.0)
            remaining[cluster] = False
    points = np.array(merged)
    rounded = np.round(points, 4) % 1.0
    ordered: Floats = points[np.lexsort((rounded[:, 1], rounded[:, 0]))]
    return ordered


def _sort_hollows(hollows: Floats, fractions: Floats, second: Ints, cell: Floats) -> tuple[list[int], list[Floats]]:
    """Split hollows into those with a second-layer atom below, given by its index, and the rest."""
    if len(second) == 0:
        return [], list(hollows)
    nearest, distances = PeriodicPoints(fractions[second], cell, _BELOW).nearest(hollows)
    occupied = distances < _BELOW
    return sorted({int(second[k]) for k in nearest[occupied]}), list(hollows[~occupied])
