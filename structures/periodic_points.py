"""Points that repeat along two lattice vectors, found by where they are in little more than constant time."""

import numpy as np

from .geometry import Floats, Ints


class PeriodicPoints:
    """Points of a two-dimensional lattice.

    Comparing each point with each other one takes the fourth power of a supercell's repeats; a tree takes their
    square and a logarithm.

    Parameters
    ----------
    fractions
        Fractional in-plane coordinates, shape (points, 2), wrapped or not.
    cell
        In-plane lattice, shape (2, 2), Å.
    reach_a
        The furthest that is looked for, Å.
    heights_a
        z of each point, shape (points,); all in one plane if left out.
    """

    def __init__(self, fractions: Floats, cell: Floats, reach_a: float, heights_a: Floats | None = None) -> None:
        from scipy.spatial import cKDTree

        self._cell, self._reach_a = cell, reach_a
        heights = np.zeros(len(fractions)) if heights_a is None else heights_a
        lengths = np.linalg.norm(cell, axis=1)
        # Of the lattice lines; images up to the reach outside the cell are all that a point in it can see.
        spacings = abs(np.linalg.det(cell)) / lengths[::-1]
        margin = reach_a / spacings + 1e-6
        n, m = np.ceil(margin).astype(int)
        shifts = np.array([(i, j) for i in range(-n, n + 1) for j in range(-m, m + 1)], dtype=np.float64)
        images = ((fractions % 1.0)[None] + shifts[:, None]).reshape(-1, 2)
        inside = ((images > -margin) & (images < 1.0 + margin)).all(axis=1)
        self._numbers: Ints = np.tile(np.arange(len(fractions)), len(shifts))[inside]
        self._tree = cKDTree(np.column_stack([images[inside] @ cell, np.tile(heights, len(shifts))[inside]]))

    def _places(self, fractions: Floats, heights_a: Floats | None) -> Floats:
        heights = np.zeros(len(fractions)) if heights_a is None else heights_a
        return np.column_stack([(fractions % 1.0) @ self._cell, heights])

    def nearest(self, fractions: Floats, heights_a: Floats | None = None) -> tuple[Ints, Floats]:
        """Return the number of the nearest point of each place, and how far it is (Å).

        Beyond the reach it is no point (-1), infinitely far.
        """
        places = self._places(fractions, heights_a)
        distances, found = self._tree.query(places, distance_upper_bound=self._reach_a)
        return np.append(self._numbers, -1)[found], distances

    def within(self, fractions: Floats, radius_a: float) -> tuple[Ints, Ints]:
        """Return pairs of a place and a point not further from it than a radius, as two arrays of their numbers."""
        places, points, _ = self.pairs(fractions, radius_a)
        return places, points

    def pairs(self, fractions: Floats, radius_a: float, heights_a: Floats | None = None) -> tuple[Ints, Ints, Floats]:
        """Return what `within` does, and the distance of each pair (Å); images of one point count each."""
        where = self._places(fractions, heights_a)
        hits = self._tree.query_ball_point(where, radius_a)
        places: Ints = np.repeat(np.arange(len(hits)), [len(hit) for hit in hits])
        found = np.fromiter((k for hit in hits for k in hit), dtype=np.int64, count=len(places))
        distances = np.linalg.norm(self._tree.data[found] - where[places], axis=1)
        return places, self._numbers[found], distances
