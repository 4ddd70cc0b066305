"""Meshes that hold K, against its coordinates folded by hand."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from sodiate.workflows.engines.shared.grids import kpoint_mesh, kpoints_without_point_group, length_that_holds_k


def sheet(a: float, repeat: tuple[int, int], degrees: float = 120.0) -> Atoms:
    angle = np.radians(degrees)
    cell = [(a, 0, 0), (a * np.cos(angle), a * np.sin(angle), 0), (0, 0, 20)]
    supercell: Atoms = Atoms("W", cell=cell, pbc=(True, True, False)).repeat((*repeat, 1))
    return supercell


def on_mesh(repeat: tuple[int, int], mesh: tuple[int, int, int]) -> bool:
    """Whether K = (1/3, 1/3), folded into the zone of the supercell, is one of the mesh's points i/N."""
    folded = [Fraction(n, 3) % 1 for n in repeat]
    return any(folded == [Fraction(i, mesh[0]), Fraction(j, mesh[1])] for i, j in product(*map(range, mesh[:2])))


@pytest.mark.parametrize("degrees", [60.0, 120.0])
@pytest.mark.parametrize("repeat", [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (2, 1), (3, 2), (4, 1)])
@pytest.mark.parametrize("a", [2.46, 3.18, 3.252, 3.319, 3.9])
@pytest.mark.parametrize("length", [10.0, 19.5, 39.0])
def test_the_mesh_holds_k_and_is_no_denser_than_need_be(
    a: float, repeat: tuple[int, int], length: float, degrees: float
) -> None:
    atoms = sheet(a, repeat, degrees)
    before, after = kpoint_mesh(atoms, length), length_that_holds_k(atoms, repeat, length)
    mesh = kpoint_mesh(atoms, after)
    assert on_mesh(repeat, mesh)
    if on_mesh(repeat, before):
        assert after == length
    else:
        assert after > length
        assert all(0 <= new - old <= 3 * max(repeat) for new, old in zip(mesh, before, strict=True))


def test_the_cases_of_the_issue() -> None:
    assert kpoint_mesh(sheet(3.18, (1, 1)), 39.0) == (13, 13, 1)
    assert kpoint_mesh(sheet(3.18, (1, 1)), length_that_holds_k(sheet(3.18, (1, 1)), (1, 1), 39.0)) == (15, 15, 1)
    assert kpoint_mesh(sheet(3.18, (2, 2)), 39.0) == (7, 7, 1)
    assert kpoint_mesh(sheet(3.18, (2, 2)), length_that_holds_k(sheet(3.18, (2, 2)), (2, 2), 39.0)) == (9, 9, 1)


def test_other_lattices_and_gamma_alone_stay() -> None:
    square = sheet(3.18, (1, 1), 90.0)
    assert length_that_holds_k(square, (1, 1), 39.0) == 39.0
    assert length_that_holds_k(sheet(3.18, (1, 1)), (1, 1), 0.0) == 0.0
    # 60° and edges of one length, but a supercell of something else
    assert length_that_holds_k(sheet(3.18, (2, 2)), (2, 1), 39.0) == 39.0


@pytest.mark.parametrize("mesh", [(1, 1, 1), (2, 2, 1), (3, 3, 1), (4, 3, 1), (6, 6, 2)])
def test_points_that_time_reversal_leaves(mesh: tuple[int, int, int]) -> None:
    """By pairing each point with the opposite one."""
    pairs = {
        frozenset({k, tuple(-n % count for n, count in zip(k, mesh, strict=True))})
        for k in product(*map(range, mesh))
    }
    assert kpoints_without_point_group(mesh) == len(pairs)
