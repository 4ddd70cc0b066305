"""Bridge sites, against positions by hand, environments compared by brute force, and counts of bonds."""

from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import graphene
from sodiate.structures.host_names import parse_model, resolve_vacancies
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.sites import bridge_sites, end_site, find_sites, near_defect, place
from sodiate.structures.vacancies import Defect, apply_defects

LAYERS = {
    "WSe2": Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546),
    "WSSe": Monolayer("W", "S", "Se", 3.252, 2.42, 2.54),
}


def model(name: str, n: int = 3) -> tuple[Atoms, tuple[Defect, ...]]:
    layer, vacancies = parse_model(name)
    host = box(build_monolayer(LAYERS[layer], (n, n)), vacuum=15.0, headroom=2.7)
    return host, resolve_vacancies(host, vacancies, None)


def apart(first: np.ndarray, second: np.ndarray, cell: np.ndarray) -> float:
    """Lateral distance of two fractional points, images included."""
    shifts = np.array(list(product((-1, 0, 1), repeat=2)))
    return float(np.linalg.norm(((first - second) % 1.0 + shifts) @ cell, axis=1).min())


def test_the_bridges_of_a_cell_lie_where_a_hand_puts_them() -> None:
    """Chalcogen at (2/3, 1/3): half of a, of b and of a + b from there, each midway between T_W and H."""
    host, _ = model("WSSe", 1)
    by_hand = [np.array(point) for point in ((1 / 6, 1 / 3), (2 / 3, 5 / 6), (1 / 6, 5 / 6))]
    cell = np.asarray(host.cell)[:2, :2]
    for site in bridge_sites(host, ()):
        assert site.multiplicity == 3
        assert min(apart(np.array(site.fractional), point, cell) for point in by_hand) < 1e-6
    middle = (np.array((0.0, 0.0)) + np.array((1 / 3, 2 / 3))) / 2
    assert min(apart(middle, point, cell) for point in by_hand) < 1e-6


@pytest.mark.parametrize(("name", "expected"), [("WSe2", {"B@top": 54}), ("WSSe", {"B@top": 27, "B@bottom": 27})])
def test_all_bridges_of_a_clean_face_are_one_site(name: str, expected: dict[str, int]) -> None:
    assert {site.name: site.multiplicity for site in bridge_sites(*model(name))} == expected


@pytest.mark.parametrize("name", ["WSSe+VS", "WSSe+VSe", "WSSe+VS+VSe"])
def test_next_to_vacancies_bridges_are_told_apart_by_what_they_see(name: str) -> None:
    """Six bridges of each missing atom are gone; the rest is sorted by all distances from it, without symmetry."""
    host, defects = model(name)
    left = apply_defects(host, defects)
    sites = bridge_sites(host, defects)
    assert sum(site.multiplicity for site in sites) == 54 - 6 * len(defects)
    shifts = np.array([(i, j, 0) for i, j in product((-2, -1, 0, 1, 2), repeat=2)]) @ np.asarray(host.cell)

    def distances(place: np.ndarray) -> np.ndarray:
        return np.sort(np.linalg.norm(left.positions[:, None] + shifts[None] - place, axis=2), axis=1)[:, :4].round(2)

    of_defects = [distances(host.positions[defect.index]) for defect in defects]
    seen: dict[tuple[object, ...], int] = {}
    for face, element in (("top", "S"), ("bottom", "Se")):
        layer = [k for k, symbol in enumerate(left.symbols) if symbol == element]
        z = host.positions[[k for k, symbol in enumerate(host.symbols) if symbol == element], 2].mean()
        z += 2.0 if face == "top" else -2.0
        points = []
        for i, j in product(layer, repeat=2):
            for shift in shifts:
                step = left.positions[j] + shift - left.positions[i]
                if 0.1 < np.linalg.norm(step[:2]) < 3.6:
                    points.append((left.positions[i] + step / 2) * (1, 1, 0) + (0, 0, z))
        assert len(points) == 2 * sum(site.multiplicity for site in sites if site.face == face)
        for point in points:
            each = [distances(point), *of_defects]  # what every atom sees of the point and of the vacancies together
            rows = sorted((s, *np.concatenate([d[k] for d in each]).tolist()) for k, s in enumerate(left.symbols))
            seen[(face, *rows)] = seen.get((face, *rows), 0) + 1
    # Each bridge was met twice, from both its ends, in the cell once.
    of_faces = {face: sorted(n for key, n in seen.items() if key[0] == face) for face in ("top", "bottom")}
    for face, numbers in of_faces.items():
        assert numbers == sorted(2 * site.multiplicity for site in sites if site.face == face)
    near = [site.name for site in near_defect(sites)]
    assert near == ["B@top", "B@bottom"]


def test_bridges_of_graphene_are_its_bonds_and_of_a_square_its_edges() -> None:
    sheet = box(graphene().repeat((3, 3, 1)), vacuum=15.0, headroom=2.7)
    (bond,) = bridge_sites(sheet, ())
    assert bond.multiplicity == 2 * len(sheet) * 3 // 2  # three bonds an atom, each of two, on two faces
    fractions, cell = sheet.get_scaled_positions()[:, :2], np.asarray(sheet.cell)[:2, :2]
    nearest = sorted(apart(np.array(bond.fractional), atom, cell) for atom in fractions)
    assert nearest[:2] == pytest.approx([1.42 / 2 * 2.46 / (1.42 * 3**0.5)] * 2, abs=1e-3)
    square = box(Atoms("Cu", cell=[2.6, 2.6, 0], pbc=(True, True, False)), vacuum=15.0, headroom=2.7)
    (edge,) = bridge_sites(square, ())
    assert edge.multiplicity == 4
    assert sorted(np.round(edge.fractional, 6)) == [0.0, 0.5]  # not the middle, which is a hollow


def test_an_adsorbate_is_placed_on_a_bridge_and_found_there() -> None:
    host, defects = model("WSSe+VS")
    (site, *_) = bridge_sites(host, defects)
    left = apply_defects(host, defects)
    atoms = place(left, site, "Na", 2.4)
    near = np.sort(atoms.get_distances(len(left), [k for k, s in enumerate(left.symbols) if s == "S"], mic=True))
    assert near[:2] == pytest.approx([np.hypot(3.252 / 2, 2.4)] * 2, abs=1e-3)
    sites = (*find_sites(host, defects), *bridge_sites(host, defects))
    assert str(end_site(host, defects, sites, atoms, site)) == "B@top"
    moved = atoms.copy()
    moved.positions[-1] = place(left, next(s for s in sites if s.name == "V_S@top"), "Na", 1.0).positions[-1]
    assert end_site(host, defects, sites, moved, site).label == "V_S@top"
