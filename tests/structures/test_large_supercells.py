"""Large supercells: the same answers as comparing everything with everything, in time that grows with their area."""

from __future__ import annotations

import time
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from sodiate.structures import symmetry
from sodiate.structures.errors import StructureError
from sodiate.structures.geometry import in_plane_cell, in_plane_fractions, wrap
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.periodic_points import PeriodicPoints
from sodiate.structures.symmetry import Symmetry, find_symmetry, permutations
from sodiate.structures.vacancies import Defect, apply_defects, distinct_pairs, distinct_vacancies
from sodiate.workflows.plan import plan
from sodiate.workflows.start_structures import host, read_host
from support.campaigns import small_campaign

WSSE = Monolayer("W", "S", "Se", 3.252, 2.416, 2.538)
WSE2 = Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546)
RNG = np.random.default_rng(14)


def table(atoms: Atoms, symmetry: Symmetry) -> np.ndarray:
    """Where each operation takes each atom, by the distance of every image from every atom."""
    cell, fractions = in_plane_cell(atoms), in_plane_fractions(atoms)
    z = atoms.positions[:, 2] - (atoms.positions[:, 2].min() + atoms.positions[:, 2].max()) / 2
    other = np.where(atoms.numbers[:, None] != atoms.numbers[None], np.inf, 0.0)
    rows = []
    for turn, shift, flip in zip(symmetry.rotations, symmetry.translations, symmetry.flips, strict=True):
        lateral = wrap((fractions @ turn.T + shift)[:, None] - fractions[None]) @ cell
        vertical = (-z if flip else z)[:, None] - z[None]
        rows.append(np.argmin((lateral**2).sum(axis=-1) + vertical**2 + other, axis=1))
    return np.array(rows)


def pairs_of(atoms: Atoms, first: str, second: str) -> set[tuple[tuple[int, int], int]]:
    """The lowest pair of each class and the size of the class, by taking every pair to all its images."""
    mapped = table(atoms, find_symmetry(atoms))
    ones, others = ([i for i, s in enumerate(atoms.symbols) if s == element] for element in (first, second))
    found, seen = set(), set()
    for i, j in combinations(ones, 2) if first == second else product(ones, others):
        if (i, j) not in seen:
            images = mapped[:, [i, j]]
            orbit = set(map(tuple, (np.sort(images, axis=1) if first == second else images).tolist()))
            seen |= orbit
            found.add(((i, j), len(orbit)))
    return found


HOSTS = {
    "Janus": build_monolayer(WSSE, (4, 4)),
    "two faces": build_monolayer(WSE2, (3, 3)),
    "oblong": build_monolayer(WSE2, (2, 5)),
    "with a vacancy": apply_defects(build_monolayer(WSE2, (3, 3)), [Defect("Se", 4)]),
    "without symmetry": apply_defects(
        build_monolayer(WSSE, (3, 3)), [Defect("S", 1), Defect("Se", 14), Defect("W", 9)]
    ),
}


@pytest.mark.parametrize("name", HOSTS)
def test_images_pairs_and_vacancies_are_those_of_the_whole_table(name: str) -> None:
    atoms = HOSTS[name]
    mapped = table(atoms, find_symmetry(atoms))
    assert (permutations(atoms, find_symmetry(atoms)) == mapped).all()
    elements = list(dict.fromkeys(atoms.symbols))
    for first, second in product(elements, repeat=2):
        found = distinct_pairs(atoms, first, second)
        assert {(pair.indices, pair.multiplicity) for pair in found} == pairs_of(atoms, first, second)
    for element in elements:
        orbits = {frozenset(mapped[:, i].tolist()) for i, s in enumerate(atoms.symbols) if s == element}
        vacancies = distinct_vacancies(atoms, element)
        assert sorted(v.multiplicity for v in vacancies) == sorted(map(len, orbits))
        assert all(any(v.index in orbit for orbit in orbits) for v in vacancies)


def operations(found: Symmetry) -> list[tuple[object, ...]]:
    rounded = np.round(found.translations % 1.0, 4) % 1.0
    return sorted(zip(found.rotations.tolist(), found.flips.tolist(), rounded.tolist(), strict=True))


@pytest.mark.parametrize("layer", [WSSE, WSE2], ids=lambda layer: layer.formula)
@pytest.mark.parametrize("repeat", [(6, 6), (7, 5)])
def test_operations_of_a_large_host_with_vacancies_are_spglibs(layer: Monolayer, repeat: tuple[int, int]) -> None:
    complete = build_monolayer(layer, repeat)
    for count in (1, 1, 2, 2, 3):
        gone = RNG.choice(len(complete), count, replace=False)
        left = complete.copy()
        del left[gone]
        assert len(left) > 100
        assert operations(find_symmetry(left, complete[gone])) == operations(find_symmetry(left))


def test_a_host_that_gains_symmetry_by_what_it_lacks() -> None:
    """A sheet from whose file the one adsorbed atom is removed has the sheet's symmetry, not that of its place."""
    sheet = build_monolayer(WSSE, (6, 6))
    with_atom = sheet.copy()
    with_atom.append("S")
    with_atom.positions[-1] = sheet.positions[1] + (0.0, 0.0, 2.1)
    found = find_symmetry(sheet, with_atom[[len(sheet)]])
    assert len(found.flips) == len(find_symmetry(sheet).flips) == 6 * 36


@pytest.mark.parametrize("cell", [[[4.0, 0], [0, 3]], [[3.2, 0], [-1.6, 2.8]], [[3.0, 0], [8.0, 2.5]]])
def test_points_found_by_the_tree_are_the_nearest_of_all_images(cell: list[list[float]]) -> None:
    lattice = np.array(cell)
    points, places = RNG.uniform(-2, 2, (40, 2)), RNG.uniform(-2, 2, (25, 2))
    heights, levels = RNG.uniform(0, 2, 40), RNG.uniform(0, 2, 25)
    shifts = np.array(list(product(range(-12, 13), repeat=2))) @ lattice
    offsets = ((places % 1)[:, None] - (points % 1)[None]) @ lattice
    lateral = np.linalg.norm(offsets[:, :, None] + shifts, axis=-1)
    apart = np.hypot(lateral, (levels[:, None] - heights[None])[..., None])
    found, distances = PeriodicPoints(points, lattice, 1.0, heights).nearest(places, levels)
    least = apart.min(axis=2)
    assert (found == np.where(least.min(axis=1) < 1.0, least.argmin(axis=1), -1)).all()
    assert np.isinf(distances[found < 0]).all()
    near = PeriodicPoints(points, lattice, 1.0).within(places, 1.0)
    assert sorted(zip(*map(list, near), strict=True)) == sorted(
        map(tuple, np.argwhere(lateral < 1.0)[:, :2].tolist())
    )


def looked_up(monkeypatch: pytest.MonkeyPatch, folder: Path, repeats: int) -> int:
    """Plan two models and count the places that were looked up; no table of all images may be made."""
    count = 0
    own = PeriodicPoints._places

    def counted(self: PeriodicPoints, fractions: np.ndarray, heights: np.ndarray | None) -> np.ndarray:
        nonlocal count
        count += len(fractions)
        return own(self, fractions, heights)

    def refused(*_: object) -> None:
        raise AssertionError("a table of all images of all atoms")

    monkeypatch.setattr(PeriodicPoints, "_places", counted)
    monkeypatch.setattr(symmetry, "permutations", refused)
    path = small_campaign(folder, supercell=[repeats, repeats], models=["WSSe", "WSSe+VS+VSe"], sites="near-defect")
    plan(path)
    return count


def test_the_work_of_planning_grows_with_the_area(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Twice the repeats: four times the places. Comparing all images of all atoms would be sixteen times."""
    counts = [looked_up(monkeypatch, tmp_path, repeats) for repeats in (7, 14)]
    assert counts[1] < 6 * counts[0]


def test_a_large_supercell_is_planned_in_a_second_or_so(tmp_path: Path) -> None:
    """0.4 s where this was written, 15 s before; the bound is loose for the sake of slow machines."""
    models = ["WSe2", "WSSe", "WSSe+VS", "WSSe+VSe", "WSSe+VS+VSe"]
    path = small_campaign(tmp_path, supercell=[11, 11], models=models, sites="near-defect")
    began = time.process_time()
    planned = plan(path)
    assert time.process_time() - began < 4.0
    assert len(planned.hosts) == 5


def test_a_far_pair_has_its_name_at_once() -> None:
    """Each of the many pairs was once found anew, only to see whether it is the one."""
    sheet = box(build_monolayer(WSSE, (9, 9)), 15.0, 2.7)
    pair = distinct_pairs(sheet, "S", "Se")[-1]
    defects = [Defect("S", pair.indices[0]), Defect("Se", pair.indices[1])]
    began = time.process_time()
    assert read_host(host(WSSE, (9, 9), defects, 15.0, 2.7, 0.01)).label == f"WSSe+VS+VSe@{pair.name}"
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize("repeat", [(10**20, 1), (1, 10**9), (100, 100)])
def test_a_supercell_of_too_many_atoms_is_refused_before_it_is_built(repeat: tuple[int, int]) -> None:
    with pytest.raises(StructureError, match=r"atoms are more than 5000.*give smaller repeats"):
        build_monolayer(WSSE, repeat)
