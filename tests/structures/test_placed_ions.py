"""Ions put on their points, and found there again after they moved, left, or met."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from sodiate.structures.ion_points import IonPoints, ion_points
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.placed_ions import place_ions, reached_ions
from sodiate.structures.sites import find_sites, place

WSE2 = Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546)
METAL_A = 4.19 * 3**0.5 / 2


@pytest.fixture(scope="module")
def host() -> Atoms:
    return box(build_monolayer(WSE2, (3, 3)), 20.0, 2.7)


@pytest.fixture(scope="module")
def points(host: Atoms) -> IonPoints:
    return ion_points(host, (), find_sites(host, ()))


def on(points: IonPoints, kind: str, face: str) -> list[int]:
    return [i for i, site in enumerate(points.sites) if site.kind == kind and points.face(i) == face]


def test_a_single_ion_is_put_where_the_site_is(host: Atoms, points: IonPoints) -> None:
    for site in find_sites(host, ()):
        index = points.index((site.name, 0))
        alone = place(host, site, "Na", 2.1)
        among = [place_ions(host, points, {i: 2.1}, [], "Na", None) for i in points.of([site.name])]
        assert index in points.of([site.name])
        apart = [
            np.sort(one.get_distances(len(host), range(len(host)), mic=True))
            - np.sort(alone.get_distances(len(host), range(len(host)), mic=True))
            for one in among
        ]
        assert np.abs(apart).max() < 1e-6


def test_both_faces_are_alike(host: Atoms, points: IonPoints) -> None:
    top, bottom = on(points, "T_W", "top")[0], on(points, "T_W", "bottom")[0]
    placed = place_ions(host, points, {top: 2.1, bottom: 2.1}, [], "Na", None)
    assert placed.symbols[-2:].get_chemical_formula() == "Na2"
    z = placed.positions[:, 2]
    assert z[-2] - z[: len(host)].max() == pytest.approx(2.1)
    assert z[: len(host)].min() - z[-1] == pytest.approx(2.1)


@pytest.mark.parametrize("face", ["top", "bottom"])
def test_the_second_layer_touches_the_first(host: Atoms, points: IonPoints, face: str) -> None:
    below, above = on(points, "T_W", face), on(points, "H", face)[4]
    placed = place_ions(host, points, dict.fromkeys(below, 2.1), [above], "Na", METAL_A)
    distances = np.sort(placed.get_distances(len(placed) - 1, range(len(host), len(placed) - 1), mic=True))
    assert distances[:3] == pytest.approx([METAL_A] * 3)
    assert distances[3] > METAL_A + 0.5
    found = reached_ions(points, placed, [*below, above])
    assert found.first == tuple(below)
    assert found.second == (above,)
    assert (found.desorbed, found.between, found.crossed) == (0, 0, 0)
    assert found.on_points


def test_ions_are_found_where_they_went(host: Atoms, points: IonPoints) -> None:
    """Drifted with the sheet, hopped to a hollow, gone through, left, met."""
    starts = [on(points, "T_W", "top")[0], on(points, "T_W", "top")[4]]
    hollow = on(points, "H", "top")[4]
    placed = place_ions(host, points, dict.fromkeys(starts, 2.1), [], "Na", None)
    placed.positions += (0.7, -0.4, 1.3)
    assert reached_ions(points, placed, starts).first == tuple(starts)
    hopped = place_ions(host, points, {starts[0]: 2.1, hollow: 2.1}, [], "Na", None)
    found = reached_ions(points, hopped, starts)
    assert found.first == tuple(sorted((starts[0], hollow)))
    assert found.crossed == 0
    through = on(points, "T_W", "bottom")[4]
    crossed = place_ions(host, points, {starts[0]: 2.1, through: 2.1}, [], "Na", None)
    assert reached_ions(points, crossed, starts).crossed == 1
    gone = placed.copy()
    gone.positions[-1, 2] += 6.0
    left = reached_ions(points, gone, starts)
    assert left.desorbed == 1
    assert not left.on_points
    met = placed.copy()
    met.positions[-1] = met.positions[-2] + (0.0, 0.0, 2.0)
    assert not reached_ions(points, met, starts).on_points
    between = placed.copy()
    between.positions[-1, 0] += 0.9
    assert reached_ions(points, between, starts).between == 1
