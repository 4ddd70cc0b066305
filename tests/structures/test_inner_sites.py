"""Stacks and the sites between their layers, against space groups, distances by hand, and Wyckoff positions."""

import math

import numpy as np
import pytest
import spglib
from ase import Atoms
from ase.neighborlist import neighbor_list
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from sodiate.structures.errors import StructureError
from sodiate.structures.geometry import bond_reach, sheets
from sodiate.structures.inner_sites import InnerSites
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.sites import Site
from sodiate.structures.stacks import Stack, build_stack
from sodiate.structures.vacancies import Defect
from support import present

A, BOND = 3.184, 2.413
MOS2 = Monolayer("Mo", "S", "S", A, BOND, BOND)
WSSE = Monolayer("W", "S", "Se", 3.252, 2.416, 2.538)
SIDE = A / math.sqrt(3)
HALF = math.sqrt(BOND**2 - SIDE**2)
"""Lateral and vertical offset of S from Mo."""


def built(order: str, layers: int | None, distance: float = 6.15, n: int = 1, layer: Monolayer = MOS2) -> Atoms:
    stack = Stack(layer, order, layers, distance)
    atoms = build_stack(stack, (n, n))
    return atoms if stack.periodic else box(atoms, vacuum=15.0, headroom=2.7)


def group(atoms: Atoms) -> int:
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    return int(present(spglib.get_symmetry_dataset(cell, symprec=1e-3)).number)


def counts(sites: dict[str, Site]) -> dict[str, int]:
    return {name: site.multiplicity for name, site in sites.items()}


def shell(host: Atoms, inner: InnerSites, name: str, reach: float) -> np.ndarray:
    """Distances of all atoms within reach of a site, images along all periodic axes included."""
    atoms = inner.place(host, inner.sites[name], "Na").repeat((3, 3, 3 if host.pbc[2] else 1))
    ions = np.flatnonzero(atoms.symbols == "Na")
    ion = int(ions[len(ions) // 2])  # of the cell in the middle
    others = [k for k in range(len(atoms)) if atoms.symbols[k] != "Na"]
    found = np.sort(np.linalg.norm(atoms.positions[others] - atoms.positions[ion], axis=1))
    return np.asarray(found[found < reach])


@pytest.mark.parametrize(
    ("layer", "order", "number"),
    # 2H MoS2 is P6_3/mmc. Layers right above each other keep all of the monolayer (P-6m2), every second one moved
    # keeps the mirror in each layer. A Janus layer has no such mirror.
    [
        (MOS2, "2H", 194),
        (MOS2, "AA", 187),
        (MOS2, "AB", 187),
        (WSSE, "2H", 186),
        (WSSE, "AA", 156),
        (WSSE, "AB", 156),
    ],
)
def test_stacks_have_the_space_groups_of_their_names(layer: Monolayer, order: str, number: int) -> None:
    assert group(built(order, None, layer=layer)) == number


def test_metal_and_chalcogen_of_2h_lie_above_each_other() -> None:
    atoms = built("2H", 2)
    lower, upper = atoms[:3], atoms[3:]
    assert upper.positions[0, :2] == pytest.approx(lower.positions[1, :2], abs=1e-6)  # Mo over S
    assert upper.positions[1, :2] == pytest.approx(lower.positions[0, :2], abs=1e-6)  # S over Mo
    assert upper.positions[0, 2] - lower.positions[0, 2] == pytest.approx(6.15)
    # From the cell of 2H MoS2: its c is twice the distance, and S–S across the gap is no nearer than by hand.
    crystal = built("2H", None)
    assert crystal.cell.lengths() == pytest.approx([A, A, 12.30])
    across = math.hypot(SIDE, 6.15 - 2 * HALF)
    assert crystal.get_distance(1, 5, mic=True) == pytest.approx(across, abs=1e-6)


def test_a_supercell_numbers_its_atoms_cell_by_cell() -> None:
    one, four = built("2H", 2), built("2H", 2, n=2)
    assert four.get_chemical_symbols() == one.get_chemical_symbols() * 4
    assert [len(sheet) for sheet in sheets(four)] == [12, 12]
    assert len(sheets(box(build_monolayer(MOS2, (2, 2)), 15.0, 2.7))) == 1


@pytest.mark.parametrize("layers", [None, 2, 3])
@pytest.mark.parametrize("distance", [1.2, 3.0, 4.0, 6.15])
def test_sheets_are_those_of_ases_bonds(layers: int | None, distance: float) -> None:
    """Also where layers are so near that they are one, across the boundary of a crystal's cell too."""
    atoms = built("AB", layers, n=3)
    if layers is None:
        atoms.cell[2, 2] = 6.15 + distance
    else:
        heights = atoms.positions[:, 2]
        atoms.positions[:, 2] += np.round((heights - heights[0]) / 6.15) * (distance - 6.15)
    atoms.rattle(0.1, seed=3)
    del atoms[[4, 5, 30]]
    first, second = neighbor_list("ij", atoms, list(bond_reach(atoms.numbers, atoms.numbers) / 2))
    bonds = coo_matrix((np.ones(len(first)), (first, second)), shape=(len(atoms), len(atoms)))
    _, labels = connected_components(bonds, directed=False)
    parts = sorted(np.flatnonzero(labels == label).tolist() for label in set(labels.tolist()))
    expected = [part for part in parts if 2 * len(part) >= max(map(len, parts))]
    assert sorted(part.tolist() for part in sheets(atoms)) == expected


@pytest.mark.parametrize(
    ("order", "layers", "expected"),
    [
        # Per layer of the crystal one octahedral site (2a of P6_3/mmc) and two tetrahedral ones (4f).
        ("2H", None, {"Oct@gallery": 2, "Tet@gallery": 4}),
        ("2H", 2, {"Oct@gallery": 1, "Tet@gallery": 2}),
        ("2H", 3, {"Oct@gallery": 2, "Tet@gallery": 2, "Tet@gallery-2": 2}),
        # Prisms over the metal and over the hollow, and one S on another.
        ("AA", None, {"TP@gallery": 1, "TP@gallery-2": 1, "Top@gallery": 1}),
        ("AB", 2, {"Oct@gallery": 1, "Tet@gallery": 1, "Tet@gallery-2": 1}),
    ],
)
def test_sites_of_a_gallery_are_counted_by_hand(order: str, layers: int | None, expected: dict[str, int]) -> None:
    assert counts(InnerSites(built(order, layers), ()).sites) == expected
    larger = InnerSites(built(order, layers, n=2), ()).sites
    assert counts(larger) == {name: 4 * count for name, count in expected.items()}


@pytest.mark.parametrize("skew", [1, 5, -7])
@pytest.mark.parametrize("order", ["2H", "AB"])
def test_sites_of_a_gallery_are_the_same_in_a_skewed_cell(order: str, skew: int) -> None:
    plain, skewed = built(order, 3), built(order, 3)
    skewed.cell[1] += skew * skewed.cell[0]
    sites = [InnerSites(atoms, ()).sites for atoms in (plain, skewed)]
    assert counts(sites[0]) == counts(sites[1])
    heights = [sorted({round(present(site.height_a), 2) for site in found.values()}) for found in sites]
    assert heights[0] == heights[1]


def test_no_gallery_in_a_single_sheet() -> None:
    assert InnerSites(box(build_monolayer(MOS2, (2, 2)), 15.0, 2.7), ()).sites == {}


@pytest.mark.parametrize("layers", [None, 2])
def test_an_octahedral_site_has_six_equal_neighbours_and_a_tetrahedral_one_four(layers: int | None) -> None:
    host = built("2H", layers)
    inner, gap = InnerSites(host, ()), 6.15 - 2 * HALF
    six = math.hypot(SIDE, gap / 2)
    assert shell(host, inner, "Oct@gallery", 3.0) == pytest.approx([six] * 6, abs=0.01)
    # One S at h, three at SIDE and gap − h: equal where h² = SIDE² + (gap − h)².
    four = (SIDE**2 + gap**2) / (2 * gap)
    assert shell(host, inner, "Tet@gallery", 2.5) == pytest.approx([four] * 4, abs=0.01)


def test_prismatic_and_on_top() -> None:
    host = built("AA", None, 7.0)
    inner, gap = InnerSites(host, ()), 7.0 - 2 * HALF
    prism = [math.hypot(SIDE, gap / 2)] * 6
    for name in ("TP@gallery", "TP@gallery-2"):
        assert shell(host, inner, name, 2.9) == pytest.approx(prism, abs=0.01)
    assert shell(host, inner, "Top@gallery", 2.5) == pytest.approx([gap / 2] * 2, abs=0.01)


def test_the_octahedral_site_of_2h_is_a_centre_of_inversion() -> None:
    host = built("2H", None)
    inner = InnerSites(host, ())
    middle = inner.position(inner.sites["Oct@gallery"])
    inverted = host.copy()
    inverted.positions = 2 * middle - host.positions
    inverted.wrap()
    for number, position in zip(inverted.numbers, inverted.positions, strict=True):
        there = host[host.numbers == number]
        there.append("He")
        there.positions[-1] = position
        assert there.get_distances(len(there) - 1, range(len(there) - 1), mic=True).min() < 1e-3


def test_a_missing_atom_of_a_facing_layer_is_a_site_of_the_gallery() -> None:
    host = built("2H", 2, n=3)
    facing = [k for k in sheets(host)[0] if host.symbols[k] == "S" and host.positions[k, 2] > host.positions[0, 2]]
    inner = InnerSites(host, (Defect("S", int(facing[4])),))
    vacancy = inner.sites["V_S@gallery"]
    assert vacancy.multiplicity == 1
    assert inner.position(vacancy)[:2] == pytest.approx(host.positions[facing[4], :2], abs=1e-3)
    # 27 points of the gallery: the vacancy, nine octahedral and seventeen tetrahedral ones, told apart.
    assert sum(site.multiplicity for site in inner.sites.values()) == 27
    assert sum(site.multiplicity for site in inner.sites.values() if site.kind == "Oct") == 9
    assert len([site for site in inner.sites.values() if site.kind == "Oct"]) == 3  # three at each distance from it
    # A vacancy of the outer layer is none of the gallery's.
    outer = max(range(len(host)), key=lambda k: host.positions[k, 2])
    assert "V_S@gallery" not in InnerSites(host, (Defect("S", outer),)).sites


def test_an_ion_follows_the_atoms_around_it() -> None:
    host = built("2H", 2, n=2)
    inner = InnerSites(host, ())
    site = inner.sites["Oct@gallery"]
    ideal = inner.place(host, site, "Na").positions[-1]
    opened = host.copy()
    upper = sheets(host)[1]
    opened.positions[upper] += (0.4, 0.0, 1.2)  # wider, and slid
    assert inner.place(opened, site, "Na").positions[-1] - ideal == pytest.approx([0.2, 0.0, 0.6], abs=1e-6)
    with pytest.raises(StructureError, match="in the order of the ideal host"):
        inner.place(host[:-1], site, "Na")


def test_ends_between_layers_are_named() -> None:
    host = built("2H", None, n=2)
    inner = InnerSites(host, ())
    octahedral, tetrahedral = inner.sites["Oct@gallery"], inner.sites["Tet@gallery"]
    start = inner.place(host, octahedral, "Na")
    stayed = inner.end(start, octahedral)
    assert stayed is not None
    assert (stayed.label, stayed.moved, stayed.note) == ("Oct@gallery", False, None)
    away = inner.place(host, tetrahedral, "Na")
    moved = inner.end(away, octahedral)
    assert moved is not None
    assert (moved.label, moved.moved) == ("Tet@gallery", True)
    half = start.copy()
    half.positions[-1] += inner._steps(away.positions[-1:] - start.positions[-1])[0] / 2
    between = inner.end(half, octahedral)
    assert between is not None
    assert between.label in {"between Oct@gallery and Tet@gallery", "between Tet@gallery and Oct@gallery"}
    other = start.copy()
    other.positions[-1] += host.cell[0] / 2
    image = inner.end(other, octahedral)
    assert image is not None
    assert (image.label, image.moved, image.note) == ("Oct@gallery", False, "moved to an equivalent site")
    within = start.copy()
    within.positions[-1, 2] = host.positions[0, 2]  # among the metal
    assert inner.end(within, octahedral) is None


@pytest.mark.parametrize(
    ("order", "layers", "distance", "message"),
    [
        ("3R", 2, 6.15, "no stack '3R'; there are 2H, AA, AB"),
        ("2H", 1, 6.15, "a stack of 1 layers; give 2 to 6, or leave layers out"),
        ("2H", 2, 3.0, "layers 3 Å apart .* each is 3.13 Å thick; give 5.13 to 13.13 Å"),
        ("2H", 2, 61.5, "layers 61.5 Å apart"),
        ("2H", 2, math.nan, "layers nan Å apart"),
    ],
)
def test_what_is_no_stack_is_refused(order: str, layers: int, distance: float, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        Stack(MOS2, order, layers, distance)
