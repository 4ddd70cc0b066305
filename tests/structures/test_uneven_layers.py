"""Sites on rippled and tilted sheets, against the sites of the flat sheet carried along as it is bent."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from sodiate.structures.geometry import face_layers, is_uneven
from sodiate.structures.inner_sites import InnerSites
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.sites import bridge_sites, end_site, find_sites, place
from sodiate.structures.stacks import Stack, build_stack

MOS2 = Monolayer("Mo", "S", "S", 3.184, 2.413, 2.413)
N = 14
"""Cells along the ripple."""

Wave = Callable[[np.ndarray], np.ndarray]


def ripple(amplitude: float) -> Wave:
    return lambda part: amplitude * np.sin(2 * np.pi * part)


def roof(slope: float, length: float) -> Wave:
    """Two slopes, tilted by as much to both sides, rounded over a tenth of the length at the ridges."""

    def height(part: np.ndarray) -> np.ndarray:
        orders = np.arange(1, 8, 2)
        terms = [(-1) ** ((k - 1) // 2) * np.sin(2 * np.pi * k * part) / k**2 for k in orders]
        found: np.ndarray = slope * length * 2 / np.pi**2 * np.sum(terms, axis=0)
        return found

    return height


def flat(n: int = N) -> Atoms:
    return build_monolayer(MOS2, (n, 1))


def bent(atoms: Atoms, wave: Wave) -> Atoms:
    """Atoms at their heights along the normal of a wave over the first lattice vector; the cell is not shortened."""
    carried = atoms.copy()
    carried.positions = carry(atoms, atoms.positions, wave)
    return carried


def carry(atoms: Atoms, positions: np.ndarray, wave: Wave) -> np.ndarray:
    cell = np.asarray(atoms.cell)[:2, :2]
    across = np.array([cell[1, 1], -cell[1, 0]]) / np.linalg.norm(
        cell[1]
    )  # along which u grows, b does not change it
    length = abs(np.linalg.det(cell)) / np.linalg.norm(cell[1])
    parts = np.linalg.solve(cell.T, positions[:, :2].T)[0]
    step = 1e-5
    slopes = (wave(parts + step) - wave(parts - step)) / (2 * step * length)
    tilts = np.arctan(slopes)
    found = positions.copy()
    found[:, :2] -= np.outer(positions[:, 2] * np.sin(tilts), across)
    found[:, 2] = wave(parts) + positions[:, 2] * np.cos(tilts)
    return np.asarray(found)


def nearest(position: np.ndarray, others: np.ndarray, cell: np.ndarray) -> float:
    shifts = np.array([(i, j, 0) for i, j in product((-1, 0, 1), repeat=2)]) @ cell
    return float(np.linalg.norm(others[:, None] + shifts[None] - position, axis=2).min())


LENGTH = N * 3.184 * math.sqrt(3) / 2
WAVES = {"ripple": ripple(1.3), "roof": roof(math.tan(math.radians(14)), LENGTH)}


@pytest.mark.parametrize("wave", WAVES.values(), ids=WAVES)
def test_layers_of_a_bent_sheet_are_those_of_the_flat_one(wave: Wave) -> None:
    sheet = bent(flat(), wave)
    assert np.ptp(sheet.positions[sheet.numbers == 42, 2]) > 1.5  # higher than S lies above Mo
    assert is_uneven(sheet)
    assert not is_uneven(flat())
    for face in ("top", "bottom"):
        for own, expected in zip(face_layers(sheet, face), face_layers(flat(), face), strict=True):
            assert own.tolist() == expected.tolist()


@pytest.mark.parametrize("wave", WAVES.values(), ids=WAVES)
def test_sites_of_a_bent_sheet_are_those_of_the_flat_one_carried_along(wave: Wave) -> None:
    """As many of each kind, each 2 Å above the bent surface where the flat one's was, to 0.25 Å but on a ridge."""
    sheet = bent(flat(), wave)
    host = box(sheet, 15.0, 2.7)
    sites = find_sites(host, ())
    kinds: Counter[str] = Counter()
    for site in sites:
        kinds[site.kind] += site.multiplicity
    assert kinds == {"T_X": 2 * N, "T_Mo": 2 * N, "H": 2 * N}
    a = np.asarray(flat().cell)
    half = float(flat().positions[:, 2].max())
    moved = host.positions[0] - sheet.positions[0]
    compared = 0
    for kind, at in {"T_Mo": (0.0, 0.0), "T_X": (2 / 3, 1 / 3), "H": (1 / 3, 2 / 3)}.items():
        flat_points = [np.array([(k + at[0]) / N, at[1], 0.0]) @ a for k in range(N)]
        for site in sites:
            if site.kind != kind:
                continue
            up = half + 2.0 if site.face == "top" else -half - 2.0
            points = np.array(flat_points)
            points[:, 2] = up
            expected = carry(flat(), points, wave) + moved
            atoms = place(host, site, "Na", 2.0)
            ridge = min(abs(site.fractional[0] % 1.0 - top) for top in (0.25, 0.75))
            if wave is WAVES["roof"] and ridge < 0.1:  # the surface is bent there within a bond's length
                continue
            compared += 1
            assert nearest(atoms.positions[-1], expected, np.asarray(host.cell)) < 0.25, site.name
    assert compared > len(sites) / 2


def test_bridges_of_a_bent_sheet() -> None:
    host = box(bent(flat(), WAVES["ripple"]), 15.0, 2.7)
    assert sum(site.multiplicity for site in bridge_sites(host, ())) == 6 * N


def test_an_adsorbate_stays_where_it_was_put_on_a_slope() -> None:
    """Its point of the surface counts, not the one below it: 2.4 Å up a slope of 14° that is 0.6 Å beside."""
    host = box(bent(flat(), WAVES["ripple"]), 15.0, 2.7)
    sites = find_sites(host, ())
    for site in sites:
        end = end_site(host, (), sites, place(host, site, "Na", 2.4), site)
        assert (end.label, end.moved) == (site.name, False)


def test_galleries_below_a_bent_layer_follow_it() -> None:
    """Two layers of which the upper one is rippled: as many sites, each as far from both by what is around it."""
    two = build_stack(Stack(MOS2, "2H", 2, 7.4), (N, 1))
    upper = two.positions[:, 2] > 3.7
    wavy = two.copy()
    only = two[upper]
    only.positions[:, 2] -= 7.4
    wavy.positions[upper] = [*(carry(only, only.positions, ripple(1.0)) + np.array([0.0, 0.0, 7.4]))]
    host = box(wavy, 15.0, 2.7)
    inner = InnerSites(host, ())
    kinds: Counter[str] = Counter()
    for site in inner.sites.values():
        kinds[site.kind] += site.multiplicity
        atoms = inner.place(host, site, "Na")
        ion = len(atoms) - 1
        below, above = (
            atoms.get_distances(ion, [k for k in range(ion) if upper[k] == side], mic=True).min()
            for side in (False, True)
        )
        assert abs(below - above) < 0.35, site.name  # one height for all would be off by up to 1 Å
        assert min(below, above) > 1.9
    assert kinds == {"Oct": N, "Tet": 2 * N}
