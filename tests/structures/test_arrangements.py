"""Arrangements of several ions: counted by Burnside's lemma and by brute force, ranked as a Wigner crystal is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from sodiate.structures import arrangements as module
from sodiate.structures.arrangements import NEAREST_A, Arrangements, Search
from sodiate.structures.errors import StructureError
from sodiate.structures.geometry import Floats
from sodiate.structures.ion_points import IonPoints, ion_points
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.planar_electrostatics import COULOMB_EV_A, interactions
from sodiate.structures.sites import find_sites
from sodiate.structures.vacancies import Defect

WSE2 = Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546)
WSSE = Monolayer("W", "S", "Se", 3.252, 2.416, 2.538)
HEIGHTS = {"T_W": 2.1, "H": 2.1, "T_X": 2.7}
METAL_A = 4.19 * 3**0.5 / 2


def points_of(
    layer: Monolayer, repeat: tuple[int, int], defects: tuple[Defect, ...] = ()
) -> tuple[IonPoints, Floats]:
    host = box(build_monolayer(layer, repeat), 15.0, 2.7)
    points = ion_points(host, defects, find_sites(host, defects))
    half = float(np.ptp(host.positions[:, 2])) / 2
    heights = [half + HEIGHTS.get(site.kind, 1.0) for site in points.sites]
    return points, np.where(points.on_top, 1.0, -1.0) * heights


def arrange(
    points: IonPoints, heights: Floats, allowed: Sequence[int], count: int, most: int, spacing_a: float | None = None
) -> Arrangements:
    return Search(points, heights, allowed, spacing_a).arrange(count, most)


def burnside(permutations: np.ndarray, points: list[int], count: int) -> int:
    """The mean, over the operations, of the number of sets of this size that each leaves as it is."""
    total = 0
    for permutation in permutations:
        left, ways = set(points), [1] + [0] * count
        while left:
            start = at = left.pop()
            length = 1
            while (at := int(permutation[at])) != start:
                left.discard(at)
                length += 1
            for size in range(count, length - 1, -1):
                ways[size] += ways[size - length]
        total += ways[count]
    assert total % len(permutations) == 0
    return total // len(permutations)


@pytest.mark.parametrize(("layer", "operations"), [(WSE2, 108), (WSSE, 54)])
def test_the_points_of_a_sheet(layer: Monolayer, operations: int) -> None:
    """Three a cell and face; twelve operations of D3h, six of C3v, with the nine translations of 3×3."""
    points, _ = points_of(layer, (3, 3))
    assert len(points) == 54
    assert points.permutations.shape == (operations, 54)
    assert (np.sort(points.permutations, axis=1) == np.arange(54)).all()
    kinds = np.array([site.kind for site in points.sites])
    assert (kinds[points.permutations] == kinds).all()
    for name in {site.name for site in points.sites}:
        assert [points.numbers[i] for i in points.of([name])] == list(range(len(points.of([name]))))
    assert points.index(points.place(31)) == 31


@pytest.mark.parametrize("layer", [WSE2, WSSE])
@pytest.mark.parametrize(("repeat", "names"), [((3, 3), ("T_W",)), ((2, 2), ("T_W", "H", "T_X")), ((3, 2), ("H",))])
@pytest.mark.parametrize("sides", ["one", "both"])
def test_as_many_as_burnside_counts(
    layer: Monolayer, repeat: tuple[int, int], names: tuple[str, ...], sides: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NEAREST_A", 0.01)  # the lemma knows nothing of ions that are too near
    points, heights = points_of(layer, repeat)
    chosen = [site.name for site in points.sites if site.kind in names]
    allowed = points.of(chosen, "top" if sides == "one" else None)
    inside = np.isin(points.permutations[:, allowed], allowed).all(axis=1)
    group = np.unique(points.permutations[inside][:, allowed], axis=0)
    numbered = np.searchsorted(allowed, group)
    for count in range(1, 5):
        found = arrange(points, heights, allowed, count, 10**6)
        assert found.complete
        assert found.count == len(found.chosen) == burnside(numbered, list(range(len(allowed))), count)


def test_near_ions_are_left_out_as_by_brute_force() -> None:
    """All sets of three of 2×2 WSSe, less those with two nearer than 2.2 Å on one face, sorted into orbits."""
    points, heights = points_of(WSSE, (2, 2))
    seen: set[frozenset[int]] = set()
    orbits = 0
    shifts = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    for members in combinations(range(len(points)), 3):
        apart = [
            np.linalg.norm((points.fractions[i] - points.fractions[j] + shifts) @ points.cell, axis=1).min()
            for i, j in combinations(members, 2)
            if points.on_top[i] == points.on_top[j]
        ]
        if min(apart, default=9.0) < NEAREST_A or frozenset(members) in seen:
            continue
        orbits += 1
        seen |= {frozenset(permutation[list(members)].tolist()) for permutation in points.permutations}
    found = arrange(points, heights, range(len(points)), 3, 10**6)
    assert found.count == orbits
    assert {frozenset(one.first) for one in found.chosen} <= seen


def test_four_ions_on_both_faces_of_3x3_in_seconds() -> None:
    points, heights = points_of(WSSE, (3, 3))
    start = time.perf_counter()
    found = arrange(points, heights, range(54), 4, 8)
    assert time.perf_counter() - start < 5
    assert found.complete
    assert (found.count, len(found.chosen)) == (3285, 8)
    assert [one.energy_ev for one in found.chosen] == sorted(one.energy_ev for one in found.chosen)


@pytest.mark.parametrize(("cell", "energy"), [([[1, 0], [0.5, 0.75**0.5]], -1.106103), ([[1, 0], [0, 1]], -1.100244)])
def test_charges_in_a_plane_have_the_energy_of_a_wigner_crystal(cell: list[list[float]], energy: float) -> None:
    """Bonsall and Maradudin, Phys. Rev. B 15, 1959 (1977), in e²/r_s; for any size of the cell."""
    lattice = np.array(cell, dtype=float) * 3.3
    radius = np.sqrt(abs(np.linalg.det(lattice)) / np.pi)
    alone, _ = interactions(np.zeros((1, 2)), np.zeros(1), lattice)
    assert alone[0] / COULOMB_EV_A * radius == pytest.approx(energy, abs=1e-6)
    four = np.array([[0, 0], [0.5, 0], [0, 0.5], [0.5, 0.5]])
    alone, pairs = interactions(four, np.zeros(4), 2 * lattice)
    assert (alone.sum() + pairs.sum() / 2) / 4 / COULOMB_EV_A * radius == pytest.approx(energy, abs=1e-6)


def test_charges_above_a_plane_are_a_capacitor() -> None:
    """Far above it the energy is that of the field between two charged planes, and that of the crystal."""
    lattice = np.array([[4.0, 0.0], [0.0, 4.0]])
    near, far = (interactions(np.zeros((1, 2)), np.array([h]), lattice)[0][0] for h in (8.0, 12.0))
    assert far - near == pytest.approx(COULOMB_EV_A * 2 * np.pi * 4.0 / 16.0, rel=1e-9)
    flat = interactions(np.zeros((1, 2)), np.zeros(1), lattice)[0][0]
    assert near - flat == pytest.approx(COULOMB_EV_A * 2 * np.pi * 8.0 / 16.0, rel=1e-9)


def test_of_two_ions_the_furthest_apart_come_first() -> None:
    points, heights = points_of(WSE2, (3, 3))
    best = arrange(points, heights, points.of(["T_W@top"]), 2, 1).chosen[0]
    assert {points.face(i) for i in best.first} == {"top", "bottom"}
    on_top = arrange(points, heights, points.of(["T_W@top"], "top"), 3, 3)
    assert on_top.count == burnside_of_one_face(points)
    # √3 × √3, the triangular crystal with the largest distances that three ions have in 3×3.
    first, second = (points.fractions[list(on_top.chosen[0].first)][[0, k]] for k in (1, 2))
    for pair in (first, second):
        shifts = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
        nearest = np.linalg.norm((pair[1] - pair[0] + shifts) @ points.cell, axis=1).min()
        assert nearest == pytest.approx(3.319 * 3**0.5, abs=1e-6)


def burnside_of_one_face(points: IonPoints) -> int:
    allowed = points.of(["T_W@top"], "top")
    inside = np.isin(points.permutations[:, allowed], allowed).all(axis=1)
    return burnside(np.unique(points.permutations[inside][:, allowed], axis=0), list(range(len(allowed))), 3)


def test_a_full_sheet_has_one_ion_a_cell_and_face() -> None:
    points, heights = points_of(WSE2, (3, 3))
    assert Search(points, heights, range(54)).holds == 18
    found = arrange(points, heights, range(54), 18, 20)
    # T_W, H or T_X on each face, the faces alike.
    assert found.count == 6
    assert {len({points.sites[i].kind for i in one.first}) for one in found.chosen} == {1, 2}
    with pytest.raises(StructureError, match="19 ions are too many: the sites hold 18"):
        arrange(points, heights, range(54), 19, 20)


def test_too_many_ways_are_followed_from_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that gives up early finds the lowest that a whole one finds."""
    points, heights = points_of(WSE2, (2, 2))
    for count in (3, 4, 6):
        whole = arrange(points, heights, range(len(points)), count, 3)
        with monkeypatch.context() as patch:
            patch.setattr(module, "LARGEST", 4)
            part = arrange(points, heights, range(len(points)), count, 3)
        assert (whole.complete, part.complete) == (True, False)
        assert part.chosen[0] == whole.chosen[0]
        assert {one.first for one in part.chosen} <= {
            one.first for one in arrange(points, heights, range(len(points)), count, 10**6).chosen
        }


def test_the_second_layer_begins_where_the_first_is_full() -> None:
    points, heights = points_of(WSE2, (2, 2))
    found = arrange(points, heights, points.of(["T_W@top", "H@top"], "top"), 5, 9, METAL_A)
    assert found.complete
    for one in found.chosen:
        assert len(one.first) == 4
        assert len({points.sites[i].kind for i in one.first}) == 1
        assert len(one.second) == 1
    with pytest.raises(StructureError, match="9 ions are too many: two layers of 4 hold 8"):
        arrange(points, heights, points.of(["T_W@top"], "top"), 9, 9, METAL_A)


def test_ions_in_the_second_layer_touch_those_below() -> None:
    points, heights = points_of(WSE2, (2, 2))
    below = [i for i in points.of(["T_W@top"]) if points.on_top[i]]
    raised = module.second_heights(points, heights, below, METAL_A)
    hollow = next(i for i in points.of(["H@top"]) if points.on_top[i])
    rise = raised[hollow] - heights[below[0]]
    assert np.hypot(rise, 3.319 / 3**0.5) == pytest.approx(METAL_A)
    assert raised[below[0]] - heights[below[0]] == pytest.approx(METAL_A)


def test_a_vacancy_takes_an_ion_of_its_own() -> None:
    points, heights = points_with_vacancy()
    vacancy = points.of(["V_S@top"])
    assert len(vacancy) == 1
    found = arrange(points, heights, [*vacancy, *points.of(["T_W@bottom"])], 2, 50)
    assert found.complete
    assert found.count == len(found.chosen)
    assert any(set(one.first) & set(vacancy) for one in found.chosen)


def points_with_vacancy() -> tuple[IonPoints, Floats]:
    host = build_monolayer(WSSE, (3, 3))
    index = next(i for i, symbol in enumerate(host.symbols) if symbol == "S")
    return points_of(WSSE, (3, 3), (Defect("S", index),))


def test_the_first_of_an_orbit_is_one_of_it() -> None:
    points, _ = points_of(WSE2, (2, 2))
    members = (3, 9, 17)
    images = {tuple(sorted(permutation[list(members)].tolist())) for permutation in points.permutations}
    assert points.first_of_orbit(members) == (min(images),)
    assert {points.first_of_orbit(image) for image in images} == {(min(images),)}
    first, second = points.first_of_orbit(members[:2], members[2:])
    assert first == min(tuple(sorted(permutation[[3, 9]].tolist())) for permutation in points.permutations)
    assert (*first, *second) in {(*sorted(p[[3, 9]].tolist()), int(p[17])) for p in points.permutations}
