"""Candidate points of an adsorbate on the ideal host, before symmetry: over atoms, hollows and vacancies."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np
from ase import Atoms

from .geometry import FACES, Floats, Ints, face_layers, in_plane_cell, in_plane_fractions, wrap
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
_VACANCY, _SECOND_LAYER, _HOLLOW, _ATOP = range(4)


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
    candidates: list[Candidate] = []
    for face in FACES:
        outer, second = face_layers(pristine, face)
        plane = float(pristine.positions[outer, 2].mean())
        for i in outer:
            kind, rank = _over(pristine.symbols[i], changed.get(int(i)), _ATOP)
            height = float(pristine.positions[i, 2])
            candidates.append(Candidate(kind, rank, face, _pair(fractions[i]), height))
        below, hollows = _sort_hollows(_hollows(fractions[outer], cell), fractions, second, cell)
        for i in below:
            kind, rank = _over(pristine.symbols[i], changed.get(i), _SECOND_LAYER)
            candidates.append(Candidate(kind, rank, face, _pair(fractions[i]), plane))
        candidates += [Candidate("H", _HOLLOW, face, _pair(point), plane) for point in hollows]
    return candidates


def _pair(point: Floats) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _over(symbol: str, defect: Defect | None, rank: int) -> tuple[str, int]:
    """Name the point over an atom of the complete host that may have been removed or replaced."""
    if defect is not None and defect.replacement is None:
        return f"V_{defect.present}", _VACANCY
    symbol = symbol if defect is None or defect.replacement is None else defect.replacement
    return "T_X" if rank == _ATOP and symbol in CHALCOGENS else f"T_{symbol}", rank


def _hollows(points: Floats, cell: Floats) -> Floats:
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
