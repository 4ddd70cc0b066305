"""Paths between sites, against brute force: environments of both ends told by distances alone, and isometries."""

from collections import Counter
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import graphene
from sodiate.structures.errors import StructureError
from sodiate.structures.host_names import parse_model, resolve_vacancies
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.paths import Hop, Paths, left_the_sheet
from sodiate.structures.sites import find_sites, place
from sodiate.structures.vacancies import Defect, apply_defects

LAYERS = {
    "WSe2": Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546),
    "WSSe": Monolayer("W", "S", "Se", 3.252, 2.42, 2.54),
}
Environment = tuple[tuple[str, float, float], ...]


def hosts(name: str, repeat: tuple[int, int] = (3, 3)) -> tuple[Atoms, tuple[Defect, ...]]:
    if name == "graphene":
        return box(graphene(vacuum=5.0).repeat((*repeat, 1)), vacuum=15.0, headroom=2.7), ()
    layer, vacancies = parse_model(name)
    host = box(build_monolayer(LAYERS[layer], repeat), vacuum=15.0, headroom=2.7)
    return host, resolve_vacancies(host, vacancies, None)


def paths_of(name: str, repeat: tuple[int, int] = (3, 3)) -> Paths:
    host, defects = hosts(name, repeat)
    return Paths(host, defects, find_sites(host, defects))


def environment(host: Atoms, first: np.ndarray, second: np.ndarray) -> Environment:
    """What both ends of a hop see, whichever way round: element and distances of the atoms near them."""
    shifts = np.array([(i, j, 0) for i, j in product(range(-3, 4), repeat=2)]) @ host.cell.array
    positions = (host.positions[:, None] + shifts[None]).reshape(-1, 3)
    symbols = np.repeat(host.get_chemical_symbols(), len(shifts))
    a, b = (np.linalg.norm(positions - end, axis=1) for end in (first, second))
    near = np.minimum(a, b) < 6.0
    ways = [
        tuple(sorted((s, round(x, 2), round(y, 2)) for s, x, y in zip(symbols[near], p[near], q[near], strict=True)))
        for p, q in ((a, b), (b, a))
    ]
    return min(ways)


def points(host: Atoms) -> list[tuple[str, np.ndarray]]:
    """Every site 2 Å off each face of a 2H layer or of graphene, by its geometry."""
    z = {"top": host.positions[:, 2].max() + 2.0, "bottom": host.positions[:, 2].min() - 2.0}
    if "C" in host.symbols:
        one = host.positions[host.symbols == "C"]
        centre = one[0] + (one[0] - one[1])
        cells = one[::2] - one[0]
        lateral = [*one, *(centre + cells)]
        return [(face, np.array([*p[:2], z[face]])) for face in z for p in lateral]
    metal = host.positions[host.symbols == "W"]
    chalcogen = host.positions[[atom.index for atom in host if atom.symbol != "W" and atom.z > metal[0, 2]]]
    hollow = 2 * chalcogen[:, :2] - metal[:, :2]
    return [(face, np.array([*p[:2], z[face]])) for face in z for p in [*metal, *chalcogen, *hollow]]


def brute_force(host: Atoms, longest: float) -> Counter[Environment]:
    """Hops between neighbours of the honeycomb of sites, by what their ends see, with how often each occurs."""
    found: Counter[Environment] = Counter()
    there = points(host)
    shifts = np.array([(i, j, 0) for i, j in product(range(-2, 3), repeat=2)]) @ host.cell.array
    for (face, start), (other, end) in product(there, repeat=2):
        for shift in shifts:
            if face == other and 0.3 < np.linalg.norm(end + shift - start) < longest:
                found[environment(host, start, end + shift)] += 1
    return found


def seen(host: Atoms, paths: Paths, hop: Hop) -> Environment:
    site = next(site for site in paths.sites if site.name == hop.start)
    z = {"top": host.positions[:, 2].max() + 2.0, "bottom": host.positions[:, 2].min() - 2.0}
    ends = [
        np.array([*(np.array(point) @ paths.cell), z[face]])
        for point, face in ((site.fractional, site.face), (hop.point, hop.face))
    ]
    return environment(apply_defects(host, ()), *ends)


@pytest.mark.parametrize(("name", "kinds"), [("WSe2", 3), ("WSSe", 6)])
@pytest.mark.parametrize("repeat", [(1, 1), (2, 2)])
def test_hops_of_a_sheet_are_those_that_brute_force_tells_apart(
    name: str, kinds: int, repeat: tuple[int, int]
) -> None:
    host, _ = hosts(name, repeat)
    paths = paths_of(name, repeat)
    expected = brute_force(host, 1.95)
    assert len(expected) == kinds
    assert sorted(seen(host, paths, hop) for hop in paths.found.values()) == sorted(expected)
    # Each of six sites a cell has six neighbours, and every hop is there in both directions.
    assert len(paths.network.hops) == sum(expected.values()) == 36 * repeat[0] * repeat[1]


def test_graphene_hops_over_a_bond_too() -> None:
    """Its hollows are joined over bonds, in a line that mirrors keep, beside hops over atoms."""
    host, _ = hosts("graphene", (2, 2))
    paths = paths_of("graphene", (2, 2))
    short = brute_force(host, 1.5)
    assert {hop.name for hop in paths.found.values() if hop.length_a < 1.5} == {"H@top..T_C@top", "T_C@top..T_C@top"}
    assert sorted(seen(host, paths, hop) for hop in paths.found.values() if hop.length_a < 1.5) == sorted(short)
    (over_bond,) = (hop for hop in paths.found.values() if hop.length_a > 1.5)
    assert (over_bond.name, round(over_bond.length_a, 2), over_bond.symmetric) == ("H@top..H@top", 2.46, True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("WSSe+VS", ["V_S@top..T_W@top", "V_S@top..H@top", "V_S@top..H@bottom", "T_W@top..H@top"]),
        (
            "WSSe+VS+VSe",
            [
                *("V_S@top..T_W@top", "V_S@top..H@top", "V_S@top..V_Se@bottom", "T_W@top..H@top"),
                *("V_Se@bottom..T_W@bottom", "V_Se@bottom..H@bottom", "T_W@bottom..H@bottom"),
            ],
        ),
    ],
)
def test_hops_at_vacancies(name: str, expected: Sequence[str]) -> None:
    """Into the vacancy, between its neighbours, and through it; counted by hand on paper."""
    found = paths_of(name).found
    assert list(found) == expected
    assert [hop.name for hop in found.values() if hop.across] == [name for name in expected if "bottom" in name
                                                                 and "top" in name]  # fmt: skip


@pytest.mark.parametrize("name", ["WSe2", "WSSe", "WSSe+VS", "WSSe+VS+VSe", "graphene"])
def test_the_end_of_a_path_is_the_relaxed_site_turned(name: str) -> None:
    """All distances among its atoms are those of the relaxed site, and its host lies as that of the start does."""
    host, defects = hosts(name)
    paths = paths_of(name)
    ideal = apply_defects(host, defects)
    sites = {site.name: site for site in paths.sites}
    for hop in paths.found.values():
        relaxed = {n: place(ideal, sites[n], "Na", 2.0) for n in {hop.start, hop.end}}
        for number, atoms in enumerate(relaxed.values()):
            atoms.positions += np.random.default_rng(number).normal(scale=0.02, size=atoms.positions.shape)
        start, end = relaxed[hop.start], relaxed[hop.end]
        ends = paths.ends(hop, start, end)
        np.testing.assert_array_equal(ends.start.positions, start.positions)
        original, turned = (
            np.sort(atoms.get_all_distances(mic=True).ravel()) for atoms in (end, ends.end)
        )  # a flip of the cell keeps them, as it keeps angles
        np.testing.assert_allclose(turned, original, atol=1e-6)
        assert abs(ends.end.positions - start.positions)[:-1].max() < 0.2
        moved = ends.end.positions[-1] - start.positions[-1]
        assert np.linalg.norm(moved[:2]) == pytest.approx(hop.length_a, abs=0.2)
        assert hop.across == (abs(moved[2]) > 3.0)


def test_a_symmetric_path_is_its_own_mirror_image() -> None:
    host, _ = hosts("graphene")
    paths = paths_of("graphene")
    hop = paths.found["H@top..H@top"]
    site = next(site for site in paths.sites if site.name == "H@top")
    atoms = place(host, site, "Na", 2.3)
    atoms.positions[:, 2] += 0.01 * np.arange(len(atoms))  # as if relaxed without symmetry
    ends = paths.ends(hop, atoms, atoms)
    assert ends.mirror is not None
    np.testing.assert_allclose(ends.mirror.positions(ends.start.positions), ends.end.positions, atol=1e-6)
    np.testing.assert_allclose(ends.mirror.positions(ends.end.positions), ends.start.positions, atol=1e-6)
    assert paths.found["H@top..T_C@top"].symmetric is False


@pytest.mark.parametrize("neighbour", [0, 1, 2])
def test_ends_in_one_place_are_no_path(neighbour: int) -> None:
    """An adsorbate that slid from its hollow to one of the three sites around it, which are all the path's start."""
    host, _ = hosts("WSSe")
    paths = paths_of("WSSe")
    sites = {site.name: site for site in paths.sites}
    start, slid = (place(host, sites[name], "Na", 2.0) for name in ("T_W@top", "H@top"))
    metal = host.positions[host.symbols == "W", :2]
    shifts = np.array([(i, j) for i, j in product(range(-1, 2), repeat=2)]) @ paths.cell
    around = (metal[:, None] + shifts[None]).reshape(-1, 2)
    away = np.linalg.norm(around - slid.positions[-1, :2], axis=1)
    slid.positions[-1, :2] = around[np.argsort(away)[neighbour]]
    assert np.sort(away)[2] < 1.9 < np.sort(away)[3]
    with pytest.raises(StructureError, match=r"T_W@top and H@top relaxed into one place \(0.00 Å apart\)"):
        paths.ends(paths.found["T_W@top..H@top"], start, slid)


def test_a_path_between_sites_that_are_no_neighbours() -> None:
    paths = paths_of("WSSe+VS")
    hop = paths.between("V_S@top", "T_X@top-2")
    assert (hop.start, hop.end, hop.across) == ("V_S@top", "T_X@top-2", False)
    assert paths.between("H@top", "V_S@top") is paths.found["V_S@top..H@top"]
    with pytest.raises(StructureError, match="no site 'B@top'"):
        paths.between("V_S@top", "B@top")


def test_an_adsorbate_far_from_the_sheet_has_left_it() -> None:
    host, _ = hosts("WSe2")
    site = paths_of("WSe2").sites[0]
    assert left_the_sheet(place(host, site, "Na", 2.0)) is None
    assert left_the_sheet(place(host, site, "Na", 6.0)) == pytest.approx(np.hypot(6.0, 3.319 / np.sqrt(3)), abs=0.1)
