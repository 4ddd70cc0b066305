"""Molecules as adsorbates: rotations by hand and by ASE, contacts pair by pair, ends by moving a molecule by hand."""

from __future__ import annotations

from math import cos, radians, sin
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule as built
from ase.data import covalent_radii
from scipy.spatial.transform import Rotation
from sodiate.structures.errors import StructureError
from sodiate.structures.molecules import (
    POSES,
    Molecule,
    MoleculeStart,
    find_anchor,
    formula,
    molecule_of,
    place_molecule,
    reached_site,
    read_adsorbate,
    rotation,
    same_start,
    turned,
)
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.sites import EndSite, Site, end_site, find_sites

BOND, HALF = 2.45, radians(55.0)
"""Of Na2S: Na–S in Å, and half of the angle at S."""

SIDE, DOWN = BOND * sin(HALF), BOND * cos(HALF)
"""How far Na lies aside of the axis through S, and along it."""

FLAT = {"pose": "flat"}


def na2s() -> Molecule:
    """S first, both Na below it along y, in the plane z = 0."""
    return molecule_of(Atoms("SNa2", [(0, 0, 0), (SIDE, -DOWN, 0), (-SIDE, -DOWN, 0)]), "na2s")


def of(name: str) -> Molecule:
    return molecule_of(built(name), name)


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        # From the anchor S to the centre is "up"; of the lying molecule that direction is along x.
        ("flat", [(0, 0, 0), (DOWN, -SIDE, 0), (DOWN, SIDE, 0)]),
        ("upright", [(0, 0, 0), (SIDE, 0, DOWN), (-SIDE, 0, DOWN)]),
        ("inverted", [(0, 0, 0), (SIDE, 0, -DOWN), (-SIDE, 0, -DOWN)]),
    ],
)
def test_na2s_on_its_sulphur_by_hand(orientation: str, expected: list[tuple[float, float, float]]) -> None:
    found = turned(na2s(), 0, {"pose": orientation})
    expected_sides = np.array(expected)
    mirrored = expected_sides * [1, -1, 1]  # which of both Na is which
    assert any(found == pytest.approx(one, abs=1e-6) for one in (expected_sides, mirrored))


def test_a_dimer_lies_along_x_and_stands_along_z() -> None:
    half = float(np.ptp(built("Na2").positions[:, 2])) / 2
    dimer = of("Na2")
    assert np.abs(turned(dimer, None, FLAT)) == pytest.approx(np.array([[half, 0, 0]] * 2), abs=1e-6)
    assert np.abs(turned(dimer, None, {"pose": "upright"})) == pytest.approx(np.array([[0, 0, half]] * 2), abs=1e-6)
    up, down = (turned(dimer, None, {"pose": pose}) for pose in POSES[1:])
    assert same_start(dimer, up, down)
    assert not same_start(dimer, up, turned(dimer, None, FLAT))
    assert not same_start(of("LiF"), *(turned(of("LiF"), None, {"pose": pose}) for pose in POSES[1:]))


def test_a_direction_and_a_turn_by_hand() -> None:
    """Up is the file's y: x of the file, furthest aside, stays x; then 90° about the normal take x to y."""
    molecule = na2s()
    expected = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    found = rotation(molecule, 0, {"up": [0, 2, 0]})
    assert found == pytest.approx(expected)
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert rotation(molecule, 0, {"up": [0, 2, 0], "turn_deg": 90}) == pytest.approx(quarter @ expected)
    with pytest.raises(StructureError, match="no direction"):
        rotation(molecule, 0, {"up": [0, 0, 0]})


@pytest.mark.parametrize("angles", [(0, 0, 0), (90, 0, 0), (0, 90, 0), (20, 50, 70), (-130, 77, 305)])
def test_euler_angles_are_those_of_ase(angles: tuple[float, float, float]) -> None:
    molecule = of("CH3OH")
    theirs = molecule.atoms
    theirs.euler_rotate(*angles)
    assert turned(molecule, None, {"euler_deg": list(angles)}) == pytest.approx(theirs.positions, abs=1e-9)


@pytest.mark.parametrize("name", ["H2O", "CO2", "NH3", "CH4", "C6H6", "CH3OH", "SO2", "HCOOH"])
@pytest.mark.parametrize("pose", POSES)
def test_a_pose_is_a_rotation_that_the_axes_of_the_file_do_not_change(name: str, pose: str) -> None:
    """Another file of the same molecule, turned at random, gives the same start but for turns about an axis of it."""
    first, turn = of(name), Rotation.random(random_state=7).as_matrix()
    atoms = built(name)
    atoms.positions = atoms.positions @ turn.T + [1.0, 2.0, 3.0]
    second = molecule_of(atoms, name)
    for one in (first, second):
        matrix = rotation(one, None, {"pose": pose})
        assert matrix @ matrix.T == pytest.approx(np.eye(3), abs=1e-9)
        assert np.linalg.det(matrix) == pytest.approx(1.0)
    heights = [turned(one, None, {"pose": pose})[:, 2] for one in (first, second)]
    if name in ("CH4", "CO2", "C6H6"):  # of several directions that are alike the file decides
        assert np.ptp(heights[0]) == pytest.approx(np.ptp(heights[1]), abs=1e-3)
    else:
        assert np.abs(heights[0]) == pytest.approx(np.abs(heights[1]), abs=1e-4)


@pytest.mark.parametrize("name", ["C6H6", "H2O", "SO2", "CO2"])
def test_a_flat_molecule_lies_flat_and_an_upright_one_does_not(name: str) -> None:
    assert turned(of(name), None, FLAT)[:, 2] == pytest.approx(np.zeros(len(of(name).symbols)), abs=1e-4)
    assert np.ptp(turned(of(name), None, {"pose": "upright"})[:, 2]) > 1.0


LAYER = Monolayer("W", "S", "Se", 3.252, 2.416, 2.538)


def host(repeat: int = 3) -> tuple[Atoms, dict[str, Site]]:
    atoms = box(build_monolayer(LAYER, (repeat, repeat)), 15.0, 6.0)
    return atoms, {site.name: site for site in find_sites(atoms, ())}


def chirality(positions: np.ndarray) -> float:
    return float(np.linalg.det(positions[1:4] - positions[0]))


@pytest.mark.parametrize("pose", POSES)
@pytest.mark.parametrize("site", ["T_W@top", "T_X@bottom", "H@bottom"])
@pytest.mark.parametrize("name", ["CH3OH", "SO2", "CH4"])
def test_a_placed_molecule_touches_nothing_and_keeps_its_shape(name: str, site: str, pose: str) -> None:
    """Every pair is looked at by ASE; either an atom is at the start height, or one touches the sheet."""
    atoms, sites = host()
    molecule, up = of(name), 1 if sites[site].face == "top" else -1
    placed = place_molecule(atoms, sites[site], molecule, 0, {"pose": pose}, 1.0)
    before, own = len(atoms), placed[len(atoms) :]
    assert list(own.symbols) == list(molecule.symbols)
    assert own.get_all_distances() == pytest.approx(molecule.atoms.get_all_distances(), abs=1e-6)
    if len(own) > 3:
        assert chirality(own.positions) == pytest.approx(chirality(np.array(molecule.positions)), abs=1e-5)
    x, y = np.array(sites[site].fractional) @ atoms.cell.array[:2, :2]
    assert own.positions[0, :2] == pytest.approx([x, y])
    face = max(up * atoms.positions[:, 2])
    heights = up * own.positions[:, 2] - face
    gaps = [
        placed.get_distance(before + i, j, mic=True)
        - covalent_radii[own.numbers[i]] - covalent_radii[atoms.numbers[j]]
        for i in range(len(own)) for j in range(before)
    ]  # fmt: skip
    assert min(gaps) > -1e-6
    assert min(heights) > 1.0 - 1e-6
    assert min(gaps) == pytest.approx(0.0, abs=1e-6) or min(heights) == pytest.approx(1.0)


def test_upright_is_away_from_the_sheet_on_both_faces() -> None:
    atoms, sites = host()
    for site, up in (("H@top", 1), ("H@bottom", -1)):
        placed = place_molecule(atoms, sites[site], na2s(), 0, {"pose": "upright"}, 2.0)
        sulphur, *sodium = placed.positions[-3:, 2]
        assert [up * (z - sulphur) for z in sodium] == pytest.approx([DOWN] * 2)


def test_a_molecule_meets_its_own_image_in_a_skewed_cell_too() -> None:
    """Its images lie as in the 1×1 cell, where both vectors of this one are longer than 10 Å."""
    atoms, _ = host(1)
    atoms.set_cell(np.array([[5, 3, 0], [8, 5, 0], [0, 0, 1]]) @ atoms.cell)
    assert atoms.cell.lengths()[:2].min() > 10
    sites = {site.name: site for site in find_sites(atoms, ())}
    with pytest.raises(StructureError, match=r"Na2S comes .*own image.*larger supercell"):
        place_molecule(atoms, sites["H@top"], na2s(), 0, FLAT, 2.0)


def test_a_molecule_that_meets_its_own_image_is_refused() -> None:
    atoms, sites = host(1)
    with pytest.raises(StructureError, match=r"Na2S comes .*own image.*larger supercell"):
        place_molecule(atoms, sites["H@top"], na2s(), 0, FLAT, 2.0)


def ended(change: Any, anchor: int | None = 0, drift: tuple[float, float] = (0.0, 0.0)) -> EndSite:
    """Where Na2S, upright on H@top, is said to be after its atoms (S, Na, Na) were moved."""
    atoms, sites = host()
    placed = place_molecule(atoms, sites["H@top"], na2s(), anchor, {"pose": "upright"}, 2.0)
    final = placed.copy()
    final.positions[-3:] = change(placed.positions[-3:].copy(), atoms, sites)
    final.positions[:, :2] += drift
    final.wrap()
    start = MoleculeStart(na2s(), anchor, placed)
    return reached_site(lambda probe: end_site(atoms, (), tuple(sites.values()), probe, sites["H@top"]), final, start)


def step(atoms: Atoms, sites: dict[str, Site], to: str) -> np.ndarray:
    """The lateral vector from H@top to a site."""
    ways = [
        (np.array(sites[to].fractional) - sites["H@top"].fractional + [i / 3, j / 3]) @ atoms.cell.array[:2, :2]
        for i in range(-2, 3) for j in range(-2, 3)
    ]  # fmt: skip
    return np.array([*min(ways, key=np.linalg.norm), 0.0])


@pytest.mark.parametrize("anchor", [0, None])
@pytest.mark.parametrize("drift", [(0.0, 0.0), (0.8, -0.5), (-4.0, 4.9)])
def test_where_it_ended(anchor: int | None, drift: tuple[float, float]) -> None:
    """Moved by hand; a sheet that drifted and was wrapped into its cell changes nothing."""
    stayed = ended(lambda own, *_: own, anchor, drift)
    assert str(stayed) == "H@top"
    assert not stayed.moved
    hopped = ended(lambda own, atoms, sites: own + step(atoms, sites, "T_W@top"), anchor, drift)
    assert str(hopped) == "H@top → T_W@top"
    rise = np.array([0, 0, 4.6 + host()[0].positions[:, 2].max()])
    off = ended(lambda own, *_: own + rise - [0, 0, own[:, 2].min()], anchor, drift)
    assert (off.label, off.moved) == ("desorbed", True)


def test_it_is_told_that_it_fell_over() -> None:
    def lie(own: np.ndarray, *_: Any) -> np.ndarray:
        return own[0] + (own - own[0]) @ Rotation.from_euler("x", 70, degrees=True).as_matrix().T

    assert ended(lie).note == "tilted by 70°"

    def spin(own: np.ndarray, *_: Any) -> np.ndarray:
        return own[0] + (own - own[0]) @ Rotation.from_euler("z", 70, degrees=True).as_matrix().T

    assert ended(spin).note is None


def test_it_is_told_into_what_it_dissociated() -> None:
    """One Na two cells away; and one that flew off. Both Na near one another hold no molecule together."""

    def leave(own: np.ndarray, atoms: Atoms, sites: dict[str, Site]) -> np.ndarray:
        way, cells = step(atoms, sites, "T_W@top"), atoms.cell.array[:2] / 3
        own[1] = own[0] + max((way + sign * cell for cell in cells for sign in (1, -1)), key=np.linalg.norm)
        own[2] = own[0] + [0, 0, 2.4]
        return own

    apart = ended(leave)
    assert apart.note is not None
    assert apart.note.startswith("dissociated: NaS at H@top, Na at T_W@top")

    def fly(own: np.ndarray, *_: Any) -> np.ndarray:
        own[1, 2] += 6.0
        return own

    flown = ended(fly)
    assert flown.label == "H@top"
    assert flown.note == "dissociated: NaS at H@top, Na desorbed"

    def pair(own: np.ndarray, *_: Any) -> np.ndarray:
        own[1:] += [0, 0, 2.0]  # Na–Na as before, S alone
        return own

    assert ended(pair).note == "dissociated: S at H@top, Na desorbed, Na desorbed"


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        ("SNaNa", "Na2S"), ("SeNaNa", "Na2Se"), ("OCCCOOHHHH", "C3H4O3"), ("FFFFFFPNa", "NaPF6"), ("HHN", "NH2"),
        ("OHH", "H2O"), ("FLi", "LiF"), ("NaNa", "Na2"), ("OOS", "SO2"), ("CHHHH", "CH4"),
    ],
)  # fmt: skip
def test_formulas_are_those_of_chemists(symbols: str, expected: str) -> None:
    assert formula(list(Atoms(symbols).symbols)) == expected


@pytest.mark.parametrize(
    ("atoms", "words"),
    [
        (Atoms("Na2", [(0, 0, 0), (0, 0, 3)], cell=[10, 10, 10]), "has a cell"),
        (Atoms("Na"), r"is one Na atom; an atom is given as adsorbate: \{element: Na\}"),
        (Atoms("Na2", [(0, 0, 0), (0, 0, 0.5)]), "closer than"),
        (Atoms("SNa2", [(0, 0, 0), (0, 0, 2.4), (0, 0, 9)]), r"in 2 fragments, NaS and Na, the first two 6\.60 Å"),
    ],
)
def test_what_is_no_molecule_is_refused(atoms: Atoms, words: str, tmp_path: Path) -> None:
    path = tmp_path / "m.xyz"
    atoms.write(path, format="extxyz")
    with pytest.raises(StructureError, match=rf"m\.xyz: .*{words}"):
        read_adsorbate(path)


def test_files_that_are_not_there_or_name_no_element(tmp_path: Path) -> None:
    with pytest.raises(StructureError, match="no such structure file"):
        read_adsorbate(tmp_path / "none.xyz")
    (tmp_path / "x.xyz").write_text("2\n\nQq 0 0 0\nNa 0 0 2\n", encoding="utf-8")
    with pytest.raises(StructureError, match=r"x\.xyz"):
        read_adsorbate(tmp_path / "x.xyz")
    assert read_adsorbate(tmp_path / "Na2").symbols == ("Na", "Na")  # of ASE's set


def test_anchors() -> None:
    molecule = na2s()
    assert find_anchor(molecule, "centre") is None
    assert find_anchor(molecule, "S") == 0
    assert find_anchor(molecule, "Na@2") == 2
    for text, words in (("Na", "2 Na atoms"), ("Cl", "0 Cl atoms"), ("S@1", "counted from 0"), ("Xy", "not an elem")):
        with pytest.raises(StructureError, match=words):
            find_anchor(molecule, text)
