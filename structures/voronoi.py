"""The vertices of a periodic Voronoi diagram in a plane.

SciPy has them for points that do not repeat, but loading it takes a fifth of a second of every command that plans.
"""

from typing import Final

import numpy as np

from .geometry import Floats
from .periodic_points import PeriodicPoints

# Å^-2. A corner of a convex hull that turns by less is none.
_STRAIGHT: Final = 1e-10


def voronoi_vertices(points: Floats, cell: Floats) -> Floats:
    """Return each vertex once: the centres of the largest empty circles.

    Of a point all vertices within a radius follow from the points within twice that. No empty circle is larger than
    R = (|a| + |b|)/2; in a layer of atoms all are much smaller.

    Parameters
    ----------
    points
        Fractional coordinates, shape (points, 2), wrapped or not.
    cell
        Lattice vectors as rows, shape (2, 2), Å.

    Returns
    -------
    ndarray
        Fractional, in [0, 1), shape (vertices, 2).
    """
    largest = float(np.linalg.norm(cell, axis=1).sum()) + 0.1
    reach = min(2.5 * float(np.sqrt(abs(np.linalg.det(cell)) / len(points))), largest)
    while True:
        which, vectors = PeriodicPoints(points, cell, reach).neighbours(points, reach)
        starts = np.searchsorted(which, np.arange(1, len(points)))
        around = [_around(there) for there in np.split(vectors, starts)]
        if reach >= largest or all(4 * (found**2).sum(axis=1).max(initial=0.0) < reach**2 for found in around):
            break
        reach = min(2 * reach, largest)
    inverse = np.linalg.inv(cell)
    vertices = np.concatenate([point + found @ inverse for point, found in zip(points, around, strict=True)]) % 1.0
    _, once = np.unique(np.round(vertices @ cell, 5), axis=0, return_index=True)  # three points or more have each
    each: Floats = vertices[once]
    return each


def _around(vectors: Floats) -> Floats:
    """Return the vertices around a point, relative to it, from where the points around it are (Å).

    An inversion takes circles through the point to straight lines, and the empty ones to edges of a convex hull.

    Returns
    -------
    ndarray
        Shape (vertices, 2); one that is infinitely far if all the points lie on one side.
    """
    squares = (vectors**2).sum(axis=1)
    apart = squares > 1e-12  # not the point itself
    inverted = vectors[apart] / squares[apart, None]
    corners = inverted[_hull(inverted)]
    edges = np.roll(corners, -1, axis=0) - corners
    normals = np.column_stack([edges[:, 1], -edges[:, 0]])
    distances = (normals * corners).sum(axis=1)
    if len(corners) < 3 or distances.min() <= 1e-9 * np.abs(distances).max():
        return np.full((1, 2), np.inf)
    vertices: Floats = 0.5 * normals / distances[:, None]
    return vertices


def _hull(points: Floats) -> list[int]:
    """Return the corners of the convex hull of some points, anticlockwise (A. M. Andrew, 1979)."""
    xy = points.tolist()
    order = np.lexsort((points[:, 1], points[:, 0])).tolist()
    corners: list[int] = []
    for way in (order, order[::-1]):
        first = len(corners)
        for k in way:
            x, y = xy[k]
            while len(corners) - first > 1:
                (x1, y1), (x2, y2) = xy[corners[-2]], xy[corners[-1]]
                if (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1) > _STRAIGHT:
                    break
                corners.pop()
            corners.append(k)
        corners.pop()
    return corners
