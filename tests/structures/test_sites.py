"""Na sites, against environments compared by brute force, pymatgen's AdsorbateSiteFinder and geometry."""

from collections import Counter
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import graphene, mx2
from sodiate.structures.errors import StructureError
from sodiate.structures.host_names import parse_model, resolve_vacancies
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.sites import Site, end_site, find_sites, near_defect, noise_in_symmetry, place
from sodiate.structures.vacancies import Defect, apply_defects
from support import present

LAYERS = {
    "WSe2": Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546),
    "WS2": Monolayer("W", "S", "S", 3.186, 2.42, 2.42),
    "WSSe": Monolayer("W", "S", "Se", 3.252, 2.42, 2.54),
}
COUNTS = {"WSe2": 3, "WSSe": 6, "WSSe+VS": 20, "WSSe+VSe": 20, "WSSe+VS+VSe": 20}
Point = tuple[str, str, np.ndarray]
"""Label, face and position."""

IMAGES = np.array([(i, j, 0) for i, j in product(range(-2, 3), repeat=2)])


def model(name: str, repeat: tuple[int, int] = (3, 3), pair: str | None = None) -> tuple[Atoms, tuple[Defect, ...]]:
    """A boxed complete host and the defects of a model."""
    layer, vacancies = parse_model(name)
    host = box(build_monolayer(LAYERS[layer], repeat), vacuum=15.0, headroom=2.7)
    return host, resolve_vacancies(host, vacancies, pair)


def boxed(atoms: Atoms, repeat: tuple[int, int] = (1, 1)) -> Atoms:
    return box(atoms.repeat((*repeat, 1)), vacuum=15.0, headroom=2.7)


def summary(sites: Sequence[Site]) -> Counter[tuple[str, int, float | None]]:
    return Counter((s.name, s.multiplicity, s.defect_distance and round(s.defect_distance, 3)) for s in sites)


def relaxed(host: Atoms, seed: int, drift: tuple[float, float] = (0.0, 0.0)) -> Atoms:
    """The host with its atoms moved by up to 0.035 Å, and together by a lateral drift (Å), then wrapped."""
    atoms = host.copy()
    atoms.positions += np.random.default_rng(seed).uniform(-0.02, 0.02, atoms.positions.shape)
    atoms.positions[:, :2] += drift
    atoms.wrap()
    return atoms


# Counting classes without any symmetry search


def grid(host: Atoms, repeat: tuple[int, int]) -> list[Point]:
    """The points of a 2H layer by its geometry: (label, face, position) 2 Å above or below each face."""
    n, m = repeat
    z = {"top": host.positions[:, 2].max() + 2.0, "bottom": host.positions[:, 2].min() - 2.0}
    points = []
    for label, (u, v) in {"W": (0, 0), "X": (2 / 3, 1 / 3), "H": (1 / 3, 2 / 3)}.items():
        for i, j, face in product(range(n), range(m), z):
            x, y, _ = (u + i) / n * host.cell[0] + (v + j) / m * host.cell[1]
            points.append((label, face, np.array([x, y, z[face]])))
    return points


def environments(host: Atoms, defects: Sequence[Defect], points: Sequence[Point]) -> list[list[int]]:
    """Group points by what all atoms see of the point and of the defects together; distances only."""
    left = apply_defects(host, defects)
    shifts = IMAGES @ host.cell[:]

    def seen(position: np.ndarray) -> np.ndarray:
        offsets = position[None, None] - left.positions[:, None] + shifts
        return np.sort(np.linalg.norm(offsets, axis=-1), axis=1)[:, :8].round(3)

    of_defects = [(d.element, seen(host.positions[d.index])) for d in defects]
    groups: dict[str, list[int]] = {}
    for k, (_, _, position) in enumerate(points):
        of_point = seen(position)
        views = sorted(
            (symbol, tuple(of_point[i]), *sorted((e, tuple(view[i])) for e, view in of_defects))
            for i, symbol in enumerate(left.symbols)
        )
        groups.setdefault(repr(views), []).append(k)
    return list(groups.values())


@pytest.mark.parametrize(
    ("name", "repeat", "pair"),
    [
        *((name, (3, 3), None) for name in COUNTS),
        ("WSSe+VS+VSe", (3, 3), "4.59"),
        ("WSSe+VS+VSe", (3, 3), "6.50a"),
        ("WSSe+VS+VSe", (3, 3), "6.50b"),
        ("WSSe+2VS", (3, 3), None),
        ("WSe2+2VSe", (3, 3), "3.35"),
        ("WSe2+VSe", (3, 3), None),
        ("WS2+VW", (3, 3), None),
        ("WSSe+VS", (2, 2), None),
        ("WSSe+VS", (2, 3), None),
        ("WSSe+VS", (4, 4), None),
        ("WSSe", (1, 1), None),
    ],
)
def test_classes_are_the_distinct_environments(name: str, repeat: tuple[int, int], pair: str | None) -> None:
    host, defects = model(name, repeat, pair)
    sites, points = find_sites(host, defects), grid(host, repeat)
    groups = environments(host, defects, points)
    assert sum(site.multiplicity for site in sites) == len(points) == 6 * repeat[0] * repeat[1]
    assert sorted(site.multiplicity for site in sites) == sorted(len(group) for group in groups)
    taken = set()
    for site in sites:
        position = np.array([*site.fractional, 0]) @ host.cell[:]
        nearest = [
            k
            for k, (_, face, point) in enumerate(points)
            if face == site.face
            and (np.linalg.norm((position - point + IMAGES @ host.cell[:])[:, :2], axis=1) < 0.01).any()
        ]
        assert len(nearest) == 1, f"{site.name} lies on exactly one point of the lattice"
        (number,) = (n for n, group in enumerate(groups) if nearest[0] in group)
        assert len(groups[number]) == site.multiplicity
        taken.add(number)
        label = {"T_W": "W", "V_W": "W", "T_X": "X", "V_S": "X", "V_Se": "X", "H": "H"}[site.kind]
        assert points[nearest[0]][0] == label
    assert len(taken) == len(groups) == len(sites)


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_counts_of_the_dry_run(name: str, count: int) -> None:
    host, defects = model(name)
    sites = find_sites(host, defects)
    assert len(sites) == count
    assert sum(site.multiplicity for site in sites) == 54
    assert len({site.name for site in sites}) == count


def test_names() -> None:
    """Pinned: they are in file names and records."""
    assert [s.name for s in find_sites(*model("WSe2"))] == ["T_W@top", "H@top", "T_X@top"]
    janus = [f"{kind}@{face}" for face in ("top", "bottom") for kind in ("T_W", "H", "T_X")]
    assert [s.name for s in find_sites(*model("WSSe"))] == janus
    numbers = ["", "-2", "-3"]
    assert [s.name for s in find_sites(*model("WSSe+VS"))] == [
        "V_S@top",
        *(f"{kind}@top{n}" for kind in ("T_W", "H", "T_X") for n in numbers),
        *(f"{kind}@bottom{n}" for kind in ("T_W", "H") for n in numbers),
        *(f"T_X@bottom{n}" for n in [*numbers, "-4"]),
    ]
    assert [s.name for s in find_sites(*model("WSSe+VS+VSe")) if s.kind.startswith("V_")] == [
        "V_S@top",
        "V_Se@bottom",
    ]


def test_distances_to_a_vacancy_by_lattice_geometry() -> None:
    a, up, down = 3.252, np.sqrt(2.42**2 - 3.252**2 / 3), np.sqrt(2.54**2 - 3.252**2 / 3)
    found = {s.name: s.defect_distance for s in find_sites(*model("WSSe+VS"))}
    assert found["V_S@top"] == 0
    assert found["T_W@top"] == pytest.approx(a / np.sqrt(3))
    assert found["H@top-2"] == pytest.approx(2 * a / np.sqrt(3))
    assert found["T_X@top"] == pytest.approx(a)
    assert found["T_X@top-3"] == pytest.approx(a * np.sqrt(3))
    assert found["T_X@bottom"] == pytest.approx(up + down)
    assert found["T_W@bottom"] == pytest.approx(np.hypot(up + down, a / np.sqrt(3)))
    assert {s.defect_distance for s in find_sites(*model("WSSe"))} == {None}


@pytest.mark.parametrize("pair", [None, "4.59", "6.50a"])
def test_the_nearest_of_two_defects_counts(pair: str | None) -> None:
    """By ASE's distances from the point at the height of its face."""
    host, defects = model("WSSe+VS+VSe", pair=pair)
    for site in find_sites(host, defects):
        z = host.positions[:, 2].max() if site.face == "top" else host.positions[:, 2].min()
        probe = host + Atoms("He", positions=[(*(site.fractional @ host.cell[:2, :2]), z)])
        expected = min(probe.get_distance(-1, d.index, mic=True) for d in defects)
        assert site.defect_distance == pytest.approx(expected, abs=1e-9)
        assert site.kind[0] != "V" or site.defect_distance == 0


def test_numbers_go_outwards() -> None:
    for name in ("WSSe+VS", "WSSe+VS+VSe", "WSSe+2VS"):
        sites = find_sites(*model(name))
        for kind, face in {(s.kind, s.face) for s in sites}:
            group = [s for s in sites if (s.kind, s.face) == (kind, face)]
            assert [s.name for s in group] == [
                f"{kind}@{face}" + (f"-{n}" if n > 1 else "") for n in range(1, len(group) + 1)
            ]
            assert (np.diff([s.defect_distance or 0.0 for s in group]) > -1e-6).all()


def test_near_defect() -> None:
    host, defects = model("WSSe+VS+VSe")
    sites = find_sites(host, defects)
    chosen = near_defect(sites)
    assert {s.name for s in chosen} == {
        *("V_S@top", "T_W@top", "H@top", "T_X@top"),
        *("V_Se@bottom", "T_W@bottom", "H@bottom", "T_X@bottom"),
    }
    for site in chosen:
        assert site.defect_distance == pytest.approx(
            min(present(s.defect_distance) for s in sites if (s.kind, s.face) == (site.kind, site.face))
        )
    separate = near_defect(find_sites(*model("WSSe+VS+VSe", pair="6.50a")))
    assert [s.name for s in separate if s.kind.startswith("V_")] == ["V_S@top", "V_Se@bottom"]
    pristine = find_sites(*model("WSSe"))
    assert near_defect(pristine) == pristine


# pymatgen


def pymatgen_points(host: Atoms, kinds: list[str]) -> dict[str, np.ndarray]:
    """Sites of AdsorbateSiteFinder on the top face, as fractional in-plane coordinates."""
    from pymatgen.analysis.adsorption import AdsorbateSiteFinder
    from pymatgen.core.surface import Slab
    from pymatgen.io.ase import AseAtomsAdaptor

    s = AseAtomsAdaptor.get_structure(host)
    slab = Slab(s.lattice, s.species, s.frac_coords, (0, 0, 1), s, 0, np.eye(3))
    found = AdsorbateSiteFinder(slab).find_adsorption_sites(distance=2.0, positions=kinds)
    return {kind: np.array([s.lattice.get_fractional_coords(p)[:2] for p in found[kind]]) for kind in kinds}


def flipped(host: Atoms) -> Atoms:
    atoms = host.copy()
    atoms.positions[:, 2] = atoms.cell[2, 2] - atoms.positions[:, 2]
    return atoms


@pytest.mark.parametrize("name", ["WSe2", "WSSe"])
def test_pymatgen_finds_our_sites(name: str) -> None:
    """On each face: one on-top site, our T_X, and two hollows, our T_W and H."""
    host, defects = model(name)
    sites = find_sites(host, defects)
    for face, atoms in (("top", host), ("bottom", flipped(host))):
        theirs = pymatgen_points(atoms, ["ontop", "hollow"])
        assert [len(points) for points in theirs.values()] == [1, 2]
        labels: dict[str, set[str]] = {"ontop": set(), "hollow": set()}
        for kind, points in theirs.items():
            for point in points:
                x, y = point @ host.cell[:2, :2]
                na = place(host, sites[0], "Na", 2.0)
                plane = host.positions[:, 2].max() if face == "top" else host.positions[:, 2].min()
                na.positions[-1] = (x, y, plane + (2.0 if face == "top" else -2.0))
                labels[kind].add(end_site(host, defects, sites, na, sites[0]).label)
        shown = "top" if name == "WSe2" else face
        assert labels == {"ontop": {f"T_X@{shown}"}, "hollow": {f"T_W@{shown}", f"H@{shown}"}}


# Independence of what does not matter


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("shift", [(0.4, 1.7, 0.0), (-5.2, 2.9, 3.1), (1.626, 0.0, -1.0)])
def test_translation(name: str, shift: tuple[float, float, float]) -> None:
    host, defects = model(name)
    moved = host.copy()
    moved.positions += shift
    moved.positions[:, :2] = (moved.get_scaled_positions()[:, :2] % 1) @ moved.cell[:2, :2]
    assert summary(find_sites(moved, defects)) == summary(find_sites(host, defects))


def test_equivalent_vacancies_give_equal_sites() -> None:
    host, _ = model("WSSe")
    expected = summary(find_sites(host, [Defect("S", 1)]))
    for index in (4, 13, 25):
        assert summary(find_sites(host, [Defect("S", index)])) == expected


def test_the_box_does_not_matter() -> None:
    host, defects = model("WSSe+VS")
    bare = build_monolayer(LAYERS["WSSe"], (3, 3))
    assert summary(find_sites(bare, defects)) == summary(find_sites(host, defects))
    assert bare.cell[2].tolist() == [0, 0, 0]


def test_a_skewed_cell_gives_the_same_sites() -> None:
    """The same lattice with vectors 30° apart: minimum images need more than the nearest translations."""
    host, defects = model("WSSe+VS")
    skewed = host.copy()
    skewed.cell[1] = host.cell[1] + 2 * host.cell[0]
    assert skewed.cell.angles()[2] == pytest.approx(30)
    assert summary(find_sites(skewed, defects)) == summary(find_sites(host, defects))


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
@pytest.mark.parametrize("seed", range(3))
def test_a_host_that_is_not_quite_ideal(name: str, count: int, seed: int) -> None:
    host, defects = model(name)
    sites = find_sites(relaxed(host, seed), defects)
    assert len(sites) == count
    assert Counter((s.name, s.multiplicity) for s in sites) == Counter(
        (s.name, s.multiplicity) for s in find_sites(host, defects)
    )


# Other hosts


def faces(sites: Sequence[Site]) -> Counter[str]:
    return Counter({s.name: s.multiplicity for s in sites})


def test_graphene() -> None:
    flake = graphene(size=(3, 3, 1), vacuum=8.0)
    assert faces(find_sites(flake, ())) == {"H@top": 18, "T_C@top": 36}
    vacancy = faces(find_sites(flake, [Defect("C", 0)]))
    assert vacancy["V_C@top"] == 2
    assert vacancy.total() == 54


@pytest.mark.parametrize("seed", range(3))
def test_a_hollow_is_one_though_its_ring_is_not_regular(seed: int) -> None:
    """Six atoms not quite on a circle give up to four Voronoi vertices."""
    flake = relaxed(graphene(size=(3, 3, 1), vacuum=8.0), seed)
    assert faces(find_sites(flake, ())) == {"H@top": 18, "T_C@top": 36}


def test_boron_nitride() -> None:
    sheet = graphene(formula="BN", a=2.51, size=(2, 2, 1), vacuum=8.0)
    assert faces(find_sites(sheet, ())) == {"H@top": 8, "T_B@top": 8, "T_N@top": 8}


def test_silicene_is_one_buckled_layer() -> None:
    """D3d: the raised atom seen from the top is the lowered one seen from the bottom."""
    sheet = graphene(formula="Si2", a=3.87, size=(1, 1, 1), vacuum=8.0)
    sheet.positions[1, 2] += 0.45
    assert faces(find_sites(sheet, ())) == {"H@top": 2, "T_Si@top": 2, "T_Si@top-2": 2}


def test_octahedral_layer() -> None:
    sheet = boxed(mx2("MoS2", kind="1T", a=3.18, thickness=3.19))
    found = find_sites(sheet, ())
    assert faces(found) == {"T_Mo@top": 2, "H@top": 2, "T_X@top": 2}


def test_mxene_with_oxygen() -> None:
    """Ti2CO2: oxygen over the hollow of titanium; the second layer is the nearer titanium."""
    a, z = 3.04, {"C": 0.0, "Ti": 1.15, "O": 2.15}
    third, two = (1 / 3, 2 / 3), (2 / 3, 1 / 3)
    fractions = [(0, 0, z["C"]), (*third, z["Ti"]), (*two, -z["Ti"]), (*two, z["O"]), (*third, -z["O"])]
    cell = np.array([(a, 0, 0), (-a / 2, a * np.sqrt(3) / 2, 0), (0, 0, 1)])
    sheet = boxed(Atoms("CTi2O2", positions=np.array(fractions) @ cell, cell=cell, pbc=(True, True, False)), (2, 2))
    assert faces(find_sites(sheet, ())) == {"T_Ti@top": 8, "H@top": 8, "T_X@top": 8}


def test_square_lattice_has_one_hollow() -> None:
    """FeSe: four selenium atoms on a circle give coinciding Voronoi vertices; Fe lies under no hollow."""
    a, z = 3.77, 1.46
    fractions = [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, z), (0, 0.5, -z)]
    sheet = boxed(Atoms("Fe2Se2", positions=np.array(fractions) * (a, a, 1), cell=(a, a, 1), pbc=(True, True, False)))
    assert faces(find_sites(sheet, ())) == {"H@top": 2, "T_X@top": 2}


def test_rectangular_layer_of_two_heights() -> None:
    """1T' WTe2-like: tellurium at two heights 0.5 Å apart is one face."""
    sheet = mx2("WTe2", kind="1T", a=3.5, thickness=3.6)
    sheet = sheet.repeat((1, 2, 1))
    sheet.positions[1, 2] += 0.5
    assert {s.name for s in find_sites(boxed(sheet), ()) if s.kind == "T_X"} >= {"T_X@top", "T_X@top-2"}


def test_missing_metal_is_a_site_on_both_faces() -> None:
    found = faces(find_sites(*model("WSSe+VW")))
    assert (found["V_W@top"], found["V_W@bottom"]) == (1, 1)
    assert faces(find_sites(*model("WSe2+VW")))["V_W@top"] == 2


def test_replaced_atoms_name_their_sites() -> None:
    host, _ = model("WSSe")
    assert faces(find_sites(host, [Defect("W", 0, "Mo")]))["T_Mo@top"] == 1
    assert faces(find_sites(host, [Defect("S", 1, "Cl")]))["T_Cl@top"] == 1
    found = find_sites(host, [Defect("S", 1, "O")])
    assert next(s for s in found if s.kind == "T_X").defect_distance == 0
    assert len(found) == 20


def test_defects_that_do_not_fit_are_refused() -> None:
    host, _ = model("WSSe")
    with pytest.raises(StructureError, match="is Se, not S"):
        find_sites(host, [Defect("S", 2)])


# Every point has a name


@pytest.mark.parametrize(("name", "pair"), [*((name, None) for name in COUNTS), ("WSSe+VS+VSe", "4.59")])
def test_every_point_is_named_by_its_class(name: str, pair: str | None) -> None:
    """All 54 points, not only representatives; each class gets as many as its multiplicity."""
    pristine, defects = model(name, pair=pair)
    sites, points = find_sites(pristine, defects), grid(pristine, (3, 3))
    host = relaxed(apply_defects(pristine, defects), 3, (0.5, 0.5))
    labels = []
    for _, _, position in points:
        final = host.copy()
        final.append("Na")
        final.positions[-1] = position + np.array((0.5, 0.5, 0))
        labels.append(end_site(pristine, defects, sites, final, sites[0]).label)
    assert Counter(labels) == {site.name: site.multiplicity for site in sites}
    for group in environments(pristine, defects, points):
        assert len({labels[k] for k in group}) == 1


@pytest.mark.parametrize(("width", "tolerance"), [(0.03, "0.2"), (0.05, "0.3"), (0.0, None), (0.01, None)])
def test_noise_that_hides_a_symmetry_is_told_with_the_tolerance_that_finds_it(
    width: float, tolerance: str | None
) -> None:
    """A 3×3 Janus layer has six sites, and each of its 54 points is one of its own when noise breaks the symmetry."""
    host = boxed(build_monolayer(LAYERS["WSSe"], (3, 3)))
    host.rattle(width, seed=1)
    said = noise_in_symmetry(host)
    assert len(find_sites(host, ())) == (6 if tolerance is None else 54)
    if tolerance is None:
        assert said is None
    else:
        assert said is not None
        assert f"54 distinct sites in its cell, of which 6 are distinct at a tolerance of {tolerance} Å" in said


def test_a_distortion_without_a_higher_symmetry_nearby_is_no_noise() -> None:
    """A dimer row 0.9 Å deep, as in 1T' layers, and a layer with one atom of another element."""
    row = mx2("WTe2", kind="1T", a=3.6, thickness=3.7, size=(2, 1, 1))
    row.positions[0, 0] += 0.45
    row.positions[3, 0] -= 0.45
    doped = build_monolayer(LAYERS["WSe2"], (3, 3))
    doped.symbols[0] = "Mo"
    assert noise_in_symmetry(boxed(row)) is None
    assert noise_in_symmetry(boxed(doped)) is None
