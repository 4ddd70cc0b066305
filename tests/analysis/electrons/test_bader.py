"""Basins of Gaussians, whose walls are planes that are known; and of the same atoms moved, turned and repeated."""

from __future__ import annotations

from functools import cache
from math import erf

import numpy as np
import pytest
from ase import Atoms
from scipy.optimize import brentq
from sodiate.analysis.arrays import Density
from sodiate.analysis.electrons.bader import basin_electrons, charge_transfer
from sodiate.analysis.electrons.density import DensityTerms, integral

WIDTH = 0.45


def gaussians(cell: np.ndarray, shape: tuple[int, int, int], centres: np.ndarray, electrons: list[float]) -> Density:
    """Gaussians of one width about points (Å) and all their neighbouring images."""
    values = np.zeros(shape)
    for centre, count in zip(np.linalg.solve(cell.T, centres.T).T, electrons, strict=True):
        values += count * images(tuple(cell.ravel()), shape, tuple(centre))
    return Density(values / (2 * np.pi * WIDTH**2) ** 1.5, cell)


@cache
def images(cell: tuple[float, ...], shape: tuple[int, int, int], centre: tuple[float, ...]) -> np.ndarray:
    """A Gaussian of height 1 about a point (in fractions of the cell) and its neighbouring images, on a grid.

    The third vector is perpendicular to the others, so it is a Gaussian in their plane times one along it.
    """
    a, b, c = np.reshape(cell, (3, 3))
    assert c[0] == c[1] == a[2] == b[2] == 0.0
    x, y, z = (np.arange(n) / n - place for n, place in zip(shape, centre, strict=True))
    plane = np.zeros(shape[:2])
    for i, j in np.ndindex(3, 3):
        away = (x + i - 1)[:, None, None] * a + (y + j - 1)[:, None] * b
        plane += np.exp(-(away**2).sum(axis=-1) / (2 * WIDTH**2))
    line = sum(np.exp(-((c[2] * (z + k - 1)) ** 2) / (2 * WIDTH**2)) for k in range(3))
    return plane[:, :, None] * line


def beside_the_wall(electrons: tuple[float, float], apart: float) -> tuple[float, float]:
    """Electrons of the first of two Gaussians of one width, and electrons per Å at their wall.

    The density is f(x)·g(y)·g(z), its wall the plane where f' = 0.
    """

    def slope(x: float) -> float:
        first, second = (n * np.exp(-((x - c) ** 2) / (2 * WIDTH**2)) * (c - x) for n, c in zip(
            electrons, (0.0, apart), strict=True))  # fmt: skip
        return float(first + second)

    wall = brentq(slope, 0.25 * apart, 0.75 * apart)
    share = [0.5 * (1 + erf((wall - c) / (WIDTH * 2**0.5))) for c in (0.0, apart)]
    line = [n * np.exp(-((wall - c) ** 2) / (2 * WIDTH**2)) for n, c in zip(electrons, (0.0, apart), strict=True)]
    return electrons[0] * share[0] + electrons[1] * share[1], sum(line) / (WIDTH * (2 * np.pi) ** 0.5)


@pytest.mark.together("bader")  # they share their Gaussians
@pytest.mark.parametrize("electrons", [(6.0, 6.0), (10.0, 6.0), (14.0, 6.0)])
def test_the_wall_between_two_atoms_is_where_the_density_is_least(electrons: tuple[float, float]) -> None:
    cell = np.diag([9.0, 7.0, 7.0])
    centres = np.array([[3.1, 3.4, 3.5], [4.9, 3.4, 3.5]])
    density = gaussians(cell, (54, 42, 42), centres, list(electrons))
    found = basin_electrons(density, centres)
    assert found.sum() == pytest.approx(integral(density), abs=1e-9)
    exact, at_wall = beside_the_wall(electrons, 1.8)
    assert abs(found[0] - exact) < 0.6 * at_wall * 9.0 / 54  # half a plane of points, which go to one side or other
    fine = basin_electrons(gaussians(cell, (108, 84, 84), centres, list(electrons)), centres)
    assert abs(fine[0] - exact) < 0.6 * at_wall * 9.0 / 108


def test_translation_repetition_and_order_change_nothing() -> None:
    """In a hexagonal cell, with an atom on its side and bonds across it."""
    cell = np.array([[3.3, 0.0, 0.0], [-1.65, 3.3 * 3**0.5 / 2, 0.0], [0.0, 0.0, 9.0]])
    centres = np.array([[0.0, 0.0, 4.0], [1.65, 0.9526, 5.0]])
    here = basin_electrons(gaussians(cell, (18, 18, 48), centres, [6.0, 3.0]), centres)
    assert here.sum() == pytest.approx(9.0, abs=1e-6)
    moved = centres + np.array([5, 3, 7]) @ (cell / np.array([[18], [18], [48]]))
    assert basin_electrons(gaussians(cell, (18, 18, 48), moved, [6.0, 3.0]), moved) == pytest.approx(here, abs=1e-4)
    other = basin_electrons(gaussians(cell, (18, 18, 48), centres[::-1], [3.0, 6.0]), centres[::-1])
    assert other[::-1] == pytest.approx(here, abs=1e-4)
    density = gaussians(cell, (18, 18, 48), centres, [6.0, 3.0])
    twice = Density(np.tile(density.values_per_a3, (2, 1, 1)), cell * np.array([[2], [1], [1]]))
    both = np.vstack([centres, centres + cell[0]])
    assert basin_electrons(twice, both) == pytest.approx(np.tile(here, 2), abs=1e-4)


def test_what_is_inside_the_core_does_not_matter() -> None:
    """A pseudo density may be anything there, even negative: what its core loses, the atom loses, and no other."""
    cell = np.diag([9.0, 7.0, 7.0])
    centres = np.array([[3.0, 3.5, 3.5], [4.8, 3.5, 3.5]])
    density = gaussians(cell, (54, 42, 42), centres, [6.0, 6.0])
    before = basin_electrons(density, centres)
    hollow = density.values_per_a3.copy()
    hollow[18, 21, 21] -= 100.0
    after = basin_electrons(Density(hollow, cell), centres)
    assert after[1] == pytest.approx(before[1], abs=1e-9)
    assert after.sum() == pytest.approx(before.sum() - 100.0 * (1 / 6) ** 3)


def test_the_charge_of_a_molecule_is_that_of_all_its_atoms() -> None:
    """Two atoms, 4 Å above a third one, that gave it 0.6 and 0.3 of their electrons."""
    cell, shape = np.diag([8.0, 6.0, 14.0]), (40, 30, 70)
    centres = np.array([(4.0, 3.0, 4.0), (2.0, 3.0, 8.0), (6.0, 3.0, 8.5)])
    together, host, molecule = (
        gaussians(cell, shape, centres, electrons)
        for electrons in ([4.9, 0.4, 0.7], [4.0, 0.0, 0.0], [0.0, 1.0, 1.0])
    )
    atoms = Atoms("SNa2", positions=centres, cell=cell, pbc=True)
    charge = charge_transfer(DensityTerms(together, host, molecule, atoms, adsorbate_atoms=2))
    assert charge.by_plane == pytest.approx(0.9, abs=0.01)
    assert charge.by_basin == pytest.approx(0.9, abs=0.01)
