"""Vertices of periodic Voronoi diagrams, against SciPy's of many images."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.spatial import Voronoi, cKDTree
from sodiate.structures.voronoi import voronoi_vertices

RNG = np.random.default_rng(23)

CELLS = {
    "hexagonal": [[3.2, 0.0], [-1.6, 2.771]],
    "square": [[3.0, 0.0], [0.0, 3.0]],
    "long": [[3.0, 0.0], [0.0, 14.0]],
    "flat": [[4.0, 0.0], [13.0, 1.9]],
}


def theirs(points: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """All vertices in and around the cell, Å."""
    shifts = np.array(list(product(range(-12, 13), repeat=2)))
    vertices: np.ndarray = Voronoi(((points % 1)[None] + shifts[:, None]).reshape(-1, 2) @ cell).vertices
    fractions = vertices @ np.linalg.inv(cell)
    return vertices[(np.abs(fractions - 0.5) < 0.8).all(axis=1)]


@pytest.mark.parametrize("shape", CELLS)
@pytest.mark.parametrize("count", [1, 2, 7, 30])
@pytest.mark.parametrize("spread", [None, 0.0, 1e-7, 0.05], ids=["random", "lattice", "rounded", "distorted"])
def test_vertices_are_scipys_and_each_comes_once(shape: str, count: int, spread: float | None) -> None:
    cell = np.array(CELLS[shape])
    points = RNG.uniform(-2, 2, (count, 2))
    if spread is not None:
        rows, columns = (count, 1) if count % 5 else (count // 5, 5)
        grid = np.array(list(product(range(rows), range(columns)))) / [rows, columns]
        points = grid + RNG.uniform(size=2) + spread * RNG.uniform(-1, 1, (count, 2)) / [rows, columns]
    found = voronoi_vertices(points, cell)
    assert ((found >= 0) & (found < 1)).all()
    expected = theirs(points, cell)
    # Each of ours is one of theirs; each of theirs in the cell, or on its edge, is one of ours or an image of it.
    distances, _ = cKDTree(expected).query(found @ cell)
    assert distances.max() < 1e-5
    images = ((found[:, None] + np.array(list(product((-1, 0, 1), repeat=2)))[None]) @ cell).reshape(-1, 2)
    inside = ((expected @ np.linalg.inv(cell) > 0) & (expected @ np.linalg.inv(cell) < 1)).all(axis=1)
    distances, _ = cKDTree(images).query(expected[inside])
    assert distances.max(initial=0.0) < 1e-5
    if spread is None and count > 1:  # by Euler; one point in a rectangle has one that counts twice
        assert len(found) == 2 * count
