"""Densities on grids: against Gaussians, whose integrals and plane averages are known, and GPAW's own grid rule."""

from __future__ import annotations

from math import erf

import numpy as np
import pytest
from ase import Atoms
from sodiate.analysis.arrays import Density, from_arrays, to_arrays
from sodiate.analysis.electrons.density import (
    DensityMismatch,
    density_difference,
    integral,
    planar_average,
    term_names,
    transferred_charge,
)
from sodiate.workflows.engines.gpaw.inputs import density_grid

CELL = np.array([[3.3, 0.0, 0.0], [-1.65, 3.3 * 3**0.5 / 2, 0.0], [0.0, 0.0, 18.0]])
GRID = (18, 18, 90)


def gaussian(electrons: float, centre: tuple[float, float, float], width: float = 0.45) -> Density:
    """So many electrons in a Gaussian about a point (fractional), with its in-plane images."""
    grids = np.meshgrid(*(np.arange(n) / n for n in GRID), indexing="ij")
    values = np.zeros(GRID)
    for i in range(-3, 4):
        for j in range(-3, 4):
            away = np.stack([g - c for g, c in zip(grids, np.add(centre, (i, j, 0)), strict=True)], axis=-1) @ CELL
            values += np.exp(-(away**2).sum(axis=-1) / (2 * width**2))
    return Density(electrons * values / (2 * np.pi * width**2) ** 1.5, CELL)


def test_the_integral_counts_electrons() -> None:
    assert integral(gaussian(7.0, (0.1, 0.3, 0.5))) == pytest.approx(7.0, abs=1e-9)
    single = gaussian(7.0, (0.1, 0.3, 0.5))
    stored = Density(single.values_per_a3.astype(np.float32), CELL)
    assert integral(stored) == pytest.approx(7.0, abs=1e-6)


def test_the_planar_average_is_the_gaussian_of_one_dimension() -> None:
    heights, profile = planar_average(gaussian(7.0, (0.1, 0.3, 0.5)))
    expected = 7.0 * np.exp(-((heights - 9.0) ** 2) / (2 * 0.45**2)) / (0.45 * (2 * np.pi) ** 0.5)
    np.testing.assert_allclose(profile, expected, atol=1e-9)
    spacing = heights[1] - heights[0]
    assert heights[0] == 0.0
    assert spacing == pytest.approx(18.0 / 90)
    assert profile.sum() * spacing == pytest.approx(7.0, abs=1e-9)


def test_heights_are_along_the_normal_of_a_tilted_cell() -> None:
    tilted = Density(np.ones(GRID), CELL + np.outer([0, 0, 1], [1.0, 0.5, 0.0]))
    heights, profile = planar_average(tilted)
    assert heights[-1] == pytest.approx(18.0 * 89 / 90)
    assert profile.sum() * heights[1] == pytest.approx(integral(tilted))


def test_translation_moves_the_average_and_nothing_else() -> None:
    here, there = gaussian(3.0, (0.2, 0.2, 0.4)), gaussian(3.0, (0.7, 0.5, 0.5))
    profiles = [planar_average(density)[1] for density in (here, there)]
    np.testing.assert_allclose(np.roll(profiles[0], 9), profiles[1], atol=1e-9)
    assert integral(here) == pytest.approx(integral(there))


def test_the_difference_is_what_moved() -> None:
    """One electron of eight goes from the adsorbate 1.8 Å down to the host."""
    host, adsorbate = gaussian(20.0, (0.0, 0.0, 0.5)), gaussian(7.0, (0.5, 0.5, 0.6))
    kept, gained = gaussian(6.0, (0.5, 0.5, 0.6)), gaussian(21.0, (0.0, 0.0, 0.5))
    together = Density(kept.values_per_a3 + gained.values_per_a3, CELL)
    difference = density_difference(together, host, adsorbate)
    assert integral(difference) == pytest.approx(0.0, abs=1e-9)
    heights, profile = planar_average(difference)
    assert (profile * heights).sum() * heights[1] == pytest.approx(-1.8, abs=1e-6)  # e·Å: electrons went down
    gain = gaussian(1.0, (0.0, 0.0, 0.5)).values_per_a3 - gaussian(1.0, (0.5, 0.5, 0.6)).values_per_a3
    np.testing.assert_allclose(difference.values_per_a3, gain, atol=1e-9)


@pytest.mark.parametrize("fraction", [0.62, 0.38])
def test_transferred_charge_is_what_was_moved(fraction: float) -> None:
    """Between two Gaussians, on either side: what of each lies beyond the plane midway does not count as moved."""
    for moved in (0.8, 0.4):
        gain = gaussian(moved, (0.0, 0.0, 0.5)).values_per_a3 - gaussian(moved, (0.5, 0.5, fraction)).values_per_a3
        height = CELL[2, 2]
        found = transferred_charge(Density(gain, CELL), 0.5 * height, fraction * height)
        expected = moved * erf(abs(fraction - 0.5) * height / 2 / 0.45 / 2**0.5)
        assert expected > 0.95 * moved
        assert found == pytest.approx(expected, abs=0.002)
    back = transferred_charge(Density(-gain, CELL), 0.5 * height, fraction * height)
    assert back == pytest.approx(-expected, abs=0.002)


def test_densities_on_other_points_are_refused() -> None:
    one = gaussian(1.0, (0.0, 0.0, 0.5))
    coarse = Density(one.values_per_a3[:, :, ::2], CELL)
    with pytest.raises(DensityMismatch, match=r"18×18×90 points, that of the host 18×18×45"):
        density_difference(one, coarse, one)
    wide = Density(one.values_per_a3, CELL + np.diag([0, 0, 0.01]))
    with pytest.raises(DensityMismatch, match=r"18\.0\]\] Å, that of the adsorbate .*18\.01\]\] Å"):
        density_difference(one, one, wide)


def test_stored_and_read() -> None:
    density = Density(gaussian(1.0, (0.0, 0.0, 0.5)).values_per_a3.astype(np.float32), CELL)
    again = from_arrays("density", to_arrays(density))
    assert isinstance(again, Density)
    assert again.values_per_a3.dtype == np.float32
    assert np.array_equal(again.values_per_a3, density.values_per_a3)
    assert np.array_equal(again.cell_a, CELL)


def test_terms_have_names() -> None:
    assert term_names("Li") == ("Li-on-host", "host", "Li")


# The grid.


def test_the_grid_follows_from_cell_and_cutoff() -> None:
    """By hand: π/√(4·500 eV) is 0.1939 Å, 3.319 Å are 17.1 of it, 20.0 Å 103.1."""
    cell = np.diag([3.319, 3.319 - 1e-12, 20.0])
    assert density_grid(cell, 500.0) == (18, 18, 105)
    exact = 18 * np.pi / np.sqrt(4 * 500.0 / 27.211386024367243) * 0.5291772105638411
    lengths = np.diag([exact * (1 - 1e-9), exact * (1 + 1e-9), 20.0])
    first, second, _ = density_grid(lengths, 500.0)
    assert first == second  # vectors of one length have one number of points, whatever the rounding


@pytest.mark.usefixtures("gpaw")
def test_the_grid_is_no_coarser_than_gpaws() -> None:
    from types import SimpleNamespace

    from ase.units import Bohr, Hartree
    from gpaw.utilities.gpts import get_number_of_grid_points

    random = np.random.default_rng(7)
    for _ in range(200):
        cell = random.uniform(-1.0, 1.0, (3, 3)) + np.diag(random.uniform(3.0, 25.0, 3))
        cutoff = random.uniform(200.0, 800.0)
        mode = SimpleNamespace(name="pw", ecut=cutoff / Hartree)
        theirs = get_number_of_grid_points(cell / Bohr, None, mode, False, None)
        assert density_grid(cell, cutoff) == tuple(theirs)


def test_one_cell_one_grid() -> None:
    atoms = Atoms("WNa", [[0, 0, 5], [0, 0, 8]], cell=CELL)
    assert density_grid(atoms[:1].cell.array, 300.0) == density_grid(atoms[1:].cell.array, 300.0)
