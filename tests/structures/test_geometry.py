"""Minimum images and layers of a two-dimensional crystal."""

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import find_mic
from ase.neighborlist import neighbor_list
from sodiate.structures.errors import StructureError
from sodiate.structures.geometry import OVERLAP, check_overlaps, face_layers, in_plane_cell, lateral_distances

CELLS = {
    "hexagonal": [(3.2, 0), (-1.6, 2.771)],
    "rectangular": [(3.5, 0), (0, 12.6)],
    "oblique": [(4.0, 0), (1.7, 5.1)],
    "30 degrees": [(3.2, 0), (4.8, 2.771)],
    "far from reduced": [(3.2, 0), (20.8, 2.771)],
    "left-handed": [(-1.6, 2.771), (3.2, 0)],
}


@pytest.mark.parametrize("name", CELLS)
def test_lateral_distances_are_the_minimum_images_of_ase(name: str) -> None:
    cell = np.zeros((3, 3))
    cell[:2, :2] = CELLS[name]
    cell[2, 2] = 40
    differences = np.random.default_rng(0).uniform(-2, 2, (500, 2))
    vectors = np.column_stack([differences, np.zeros(500)]) @ cell
    _, expected = find_mic(vectors, cell, pbc=(True, True, False))
    np.testing.assert_allclose(lateral_distances(differences, cell[:2, :2]), expected, atol=1e-9)


def test_layers_seen_from_each_face() -> None:
    heights = {"W": 5.0, "S": 6.5, "Se": 3.3}
    atoms = Atoms("WSSeWSSe", cell=(6, 3, 20), pbc=(True, True, False))
    atoms.positions[:, 2] = [heights[s] for s in atoms.symbols]
    atoms.positions[4, 2] += 0.5  # buckled, still one layer
    assert [layer.tolist() for layer in face_layers(atoms, "top")] == [[1, 4], [0, 3]]
    assert [layer.tolist() for layer in face_layers(atoms, "bottom")] == [[2, 5], [0, 3]]
    assert [len(layer) for layer in face_layers(atoms[[0, 3]], "top")] == [2, 0]


def test_a_slab_whose_lattice_leaves_the_plane_is_refused() -> None:
    tilted = Atoms("W", cell=[(3, 0, 1), (0, 3, 0), (0, 0, 20)])
    with pytest.raises(StructureError, match="a and b must span the xy plane"):
        in_plane_cell(tilted)


def test_overlaps_are_those_of_ases_neighbour_list() -> None:
    """In skewed cells, small ones with atoms near to their own images too, with atoms outside the cell."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        cell = rng.normal(size=(3, 3)) * rng.uniform(0.5, 3) + np.diag(rng.uniform(2, 12, 3))
        if abs(np.linalg.det(cell)) < 0.2 * np.prod(np.linalg.norm(cell, axis=1)):
            continue
        count = rng.integers(1, 8)
        numbers = rng.choice([1, 11, 16, 42, 55], count)
        atoms = Atoms(
            numbers, positions=rng.uniform(-10, 20, (count, 3)), cell=cell, pbc=rng.integers(0, 2, 3).astype(bool)
        )
        distances = neighbor_list("d", atoms, list(OVERLAP * covalent_radii[numbers]))
        found.append(len(distances) > 0)
        if found[-1]:
            with pytest.raises(StructureError, match=rf" are {distances.min():.2f} Å apart"):
                check_overlaps(atoms, "here")
        else:
            check_overlaps(atoms, "here")
    assert 50 < sum(found) < len(found) - 50
