"""Points that repeat along two lattice vectors, found by where they are in little more than constant time."""

import numpy as np

from .geometry import Floats, Ints


class PeriodicPoints:
    """Points of a two-dimensional lattice.

    Comparing each point with each other one takes the fourth power of a supercell's repeats. Here the plane is
    divided into squares as wide as the reach, and a place is compared with the points of nine of them. A tree of
    SciPy's does as well, but loading it takes a fifth of a second of every command that plans.

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
        points = np.column_stack([images[inside] @ cell, np.tile(heights, len(shifts))[inside]])
        self._corner = points[:, :2].min(axis=0, initial=0.0) - 2 * reach_a
        # Squares are numbered column by column; there is an empty one beyond the last of each.
        self._rows = int((points[:, 1].max(initial=0.0) - self._corner[1]) // reach_a) + 3
        squares = self._squares(points) @ [self._rows, 1]
        order = np.argsort(squares, kind="stable")
        self._squares_of, self._points = squares[order], points[order]
        self._numbers: Ints = np.tile(np.arange(len(fractions)), len(shifts))[inside][order]

    def _places(self, fractions: Floats, heights_a: Floats | None) -> Floats:
        heights = np.zeros(len(fractions)) if heights_a is None else heights_a
        return np.column_stack([(fractions % 1.0) @ self._cell, heights])

    def _squares(self, places: Floats) -> Ints:
        """Return column and row of the square that each place is in, shape (places, 2)."""
        return np.floor((places[:, :2] - self._corner) / self._reach_a).astype(np.int64)

    def _near(self, fractions: Floats, heights_a: Floats | None) -> tuple[Ints, Ints, Floats]:
        """Return pairs of a place and a point near it, and the squares of their distances, sorted by the places.

        The points are in the nine squares around the place.
        """
        places = self._places(fractions, heights_a)
        own = self._squares(places) @ [self._rows, 1]
        middles = (own[:, None] + self._rows * np.arange(-1, 2)).ravel()  # three rows each, one after the other
        first = np.searchsorted(self._squares_of, middles - 1, "left")
        counts = np.searchsorted(self._squares_of, middles + 1, "right") - first
        begins = np.cumsum(counts) - counts
        points = np.arange(counts.sum()) + np.repeat(first - begins, counts)
        which = np.repeat(np.repeat(np.arange(len(places)), 3), counts)
        return which, points, ((self._points[points] - places[which]) ** 2).sum(axis=1)

    def nearest(self, fractions: Floats, heights_a: Floats | None = None) -> tuple[Ints, Floats]:
        """Return the number of the nearest point of each place, and how far it is (Å).

        Beyond the reach it is no point (-1), infinitely far.
        """
        which, points, squares = self._near(fractions, heights_a)
        within = squares < self._reach_a**2
        which, points, squares = which[within], points[within], squares[within]
        order = np.lexsort((squares, which))
        places, begins = np.unique(which[order], return_index=True)
        found: Ints = np.full(len(fractions), -1, dtype=np.int64)
        distances = np.full(len(fractions), np.inf)
        found[places] = self._numbers[points[order[begins]]]
        distances[places] = np.sqrt(squares[order[begins]])
        return found, distances

    def within(self, fractions: Floats, radius_a: float) -> tuple[Ints, Ints]:
        """Return pairs of a place and a point not further from it than a radius, as two arrays of their numbers."""
        places, points, _ = self.pairs(fractions, radius_a)
        return places, points

    def pairs(self, fractions: Floats, radius_a: float, heights_a: Floats | None = None) -> tuple[Ints, Ints, Floats]:
        """Return what `within` does, and the distance of each pair (Å); images of one point count each.

        No radius is larger than the reach.
        """
        which, points, squares = self._near(fractions, heights_a)
        within = squares <= radius_a**2
        return which[within], self._numbers[points[within]], np.sqrt(squares[within])

    def neighbours(self, fractions: Floats, radius_a: float) -> tuple[Ints, Floats]:
        """Return each place and the vectors from it to the points not further than a radius, shape (pairs, 2), Å."""
        which, points, squares = self._near(fractions, None)
        within = squares <= radius_a**2
        which, points = which[within], points[within]
        return which, self._points[points, :2] - ((fractions % 1.0) @ self._cell)[which]
