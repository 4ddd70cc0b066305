"""2H monolayers and their box, against C2DB, ASE's own builder and spglib's space groups."""

import math

import numpy as np
import pytest
import spglib
from ase.build import mx2
from sodiate.structures.errors import StructureError
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from support import present

WSE2 = Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546)
WSSE = Monolayer("W", "S", "Se", 3.252, 2.42, 2.54)
WS2 = Monolayer("W", "S", "S", 3.186, 2.42, 2.42)


@pytest.mark.parametrize(
    ("layer", "bonds", "thickness"),
    # C2DB, PBE; it gives no thickness for WSSe.
    [(WSE2, {"Se": 2.545}, 3.36), (WS2, {"S": 2.42}, 3.14), (WSSE, {"S": 2.42, "Se": 2.54}, None)],
)
def test_bonds_and_thickness_are_those_of_c2db(
    layer: Monolayer, bonds: dict[str, float], thickness: float | None
) -> None:
    atoms = build_monolayer(layer, (3, 3))
    distances = atoms.get_all_distances(mic=True)
    metal = [i for i, s in enumerate(atoms.symbols) if s == "W"]
    for element, expected in bonds.items():
        others = [i for i, s in enumerate(atoms.symbols) if s == element]
        shells = np.sort(distances[np.ix_(metal, others)], axis=1)
        neighbours = 6 if layer.top == layer.bottom else 3
        assert shells[:, :neighbours] == pytest.approx(expected, abs=0.02)
        assert (shells[:, neighbours:] > expected + 1.0).all()
    if thickness is not None:
        assert np.ptp(atoms.positions[:, 2]) == pytest.approx(thickness, abs=0.02)


def test_the_same_layer_as_ase_builds() -> None:
    ours = build_monolayer(WSE2, (2, 3))
    thickness = 2 * math.sqrt(WSE2.bond_top**2 - WSE2.a**2 / 3)
    theirs = mx2("WSe2", kind="2H", a=WSE2.a, thickness=thickness, size=(2, 3, 1))
    np.testing.assert_allclose(ours.cell[:2], theirs.cell[:2], atol=1e-12)
    np.testing.assert_allclose(ours.positions, theirs.positions, atol=1e-12)
    assert list(ours.symbols) == list(theirs.symbols)


@pytest.mark.parametrize(("layer", "group"), [(WSE2, 187), (WS2, 187), (WSSE, 156)])
def test_space_group(layer: Monolayer, group: int) -> None:
    """P-6m2 for 2H MX2, P3m1 for a Janus layer: known from crystallography."""
    atoms = box(build_monolayer(layer, (1, 1)), vacuum=15.0, headroom=2.7)
    cell = (atoms.cell.tolist(), atoms.get_scaled_positions().tolist(), atoms.numbers.tolist())
    assert present(spglib.get_symmetry_dataset(cell, symprec=1e-4)).number == group


def test_janus_has_its_top_element_at_plus_z() -> None:
    atoms = build_monolayer(WSSE, (1, 1))
    assert list(atoms.symbols) == ["W", "S", "Se"]
    metal, top, bottom = atoms.positions[:, 2]
    assert bottom < metal < top
    assert top - metal == pytest.approx(math.sqrt(2.42**2 - 3.252**2 / 3))
    assert metal - bottom == pytest.approx(math.sqrt(2.54**2 - 3.252**2 / 3))


def test_order_of_a_supercell_is_cell_by_cell() -> None:
    one, many = build_monolayer(WSSE, (1, 1)), build_monolayer(WSSE, (2, 4))
    assert list(many.symbols) == ["W", "S", "Se"] * 8
    for cell, (i, j) in enumerate((i, j) for i in range(2) for j in range(4)):
        shift = i * one.cell[0] + j * one.cell[1]
        np.testing.assert_allclose(many.positions[3 * cell : 3 * cell + 3], one.positions + shift, atol=1e-12)
    assert many.pbc.tolist() == [True, True, False]
    assert np.allclose(many.cell[2], 0)
    assert many.cell.cellpar()[[0, 1, 5]] == pytest.approx([2 * 3.252, 4 * 3.252, 120])


def test_box_leaves_the_vacuum_above_the_highest_na() -> None:
    host = build_monolayer(WSSE, (3, 3))
    boxed = box(host, vacuum=15.0, headroom=2.7)
    c, z = boxed.cell[2, 2], boxed.positions[:, 2]
    assert c == pytest.approx(np.ptp(z) + 2.7 + 15.0)
    highest_na, next_bottom = z.max() + 2.7, z.min() + c
    assert next_bottom - highest_na == pytest.approx(15.0)
    assert (z.max() + z.min()) / 2 == pytest.approx(c / 2)
    assert boxed.cell[2].tolist()[:2] == [0, 0]
    assert boxed.pbc.tolist() == [True, True, False]
    np.testing.assert_allclose(boxed.positions[:, :2], host.positions[:, :2])
    np.testing.assert_allclose(boxed.cell[:2], host.cell[:2])
    assert np.allclose(host.cell[2], 0), "the argument is left alone"


def test_box_again_changes_nothing() -> None:
    once = box(build_monolayer(WSE2, (1, 1)), vacuum=15.0, headroom=2.7)
    twice = box(once, vacuum=15.0, headroom=2.7)
    np.testing.assert_allclose(twice.positions, once.positions, atol=1e-12)
    np.testing.assert_allclose(twice.cell, once.cell, atol=1e-12)


@pytest.mark.parametrize(("layer", "formula"), [(WSE2, "WSe2"), (WSSE, "WSSe"), (WS2, "WS2")])
def test_formula(layer: Monolayer, formula: str) -> None:
    assert layer.formula == formula


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("Wo", "S", "Se", 3.25, 2.42, 2.54), ["metal", "'Wo'", "not an element"]),
        (("W", "S", "X", 3.25, 2.42, 2.54), ["bottom", "'X'"]),
        (("W", "S", "Se", -3.25, 2.42, 2.54), ["WSSe", "a = -3.25", "positive"]),
        (("W", "S", "Se", math.nan, 2.42, 2.54), ["WSSe", "nan"]),
        (("W", "S", "Se", 3.252, 1.87, 2.54), ["W–S bond", "bond_top = 1.87", "too short", "1.878"]),
        (("W", "S", "Se", 3.252, 2.42, math.inf), ["W–Se bond", "inf"]),
        (("W", "Se", "Se", 3.319, 2.54, 2.55), ["WSe2", "2.54", "2.55"]),
    ],
)
def test_impossible_layers_are_refused(values: tuple[str, str, str, float, float, float], words: list[str]) -> None:
    with pytest.raises(StructureError) as error:
        Monolayer(*values)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_lengths_in_nanometres_are_refused() -> None:
    layer = Monolayer("W", "S", "Se", 0.3252, 0.242, 0.254)
    with pytest.raises(StructureError, match=r"WSSe: atom .* are 0\.2\d Å apart.*lengths are in Å"):
        build_monolayer(layer, (1, 1))


@pytest.mark.parametrize("repeat", [(0, 3), (3, -1), (3,), (3, 3, 1), (2.0, 2), (True, 2)])
def test_impossible_supercells_are_refused(repeat: tuple[int, int]) -> None:
    with pytest.raises(StructureError, match=r"supercell .*at least 1"):
        build_monolayer(WSSE, repeat)


@pytest.mark.parametrize(
    ("vacuum", "headroom", "word"),
    [(0.0, 2.7, "vacuum"), (math.nan, 2.7, "vacuum"), (15.0, -1.0, "headroom")],
)
def test_impossible_boxes_are_refused(vacuum: float, headroom: float, word: str) -> None:
    with pytest.raises(StructureError, match=word):
        box(build_monolayer(WSSE, (1, 1)), vacuum, headroom)
