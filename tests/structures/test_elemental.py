"""Compounds as references: formulas, antifluorite, crystals from files; and cells of metals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.data import chemical_symbols
from ase.io import write
from sodiate.structures.elemental import antifluorite, formula_of, metal, read_crystal, refuse_compound
from sodiate.structures.errors import StructureError


@pytest.mark.parametrize(
    ("name", "counts"), [("W", {"W": 1}), ("Na2S", {"Na": 2, "S": 1}), ("WSSe", {"W": 1, "S": 1, "Se": 1})]
)
def test_formulas(name: str, counts: dict[str, int]) -> None:
    assert formula_of(name) == counts


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Na4S2", "'Na4S2' is no formula in lowest terms; write Na2S"),
        ("W2", "write W"),
        ("Qx", "'Qx' is no element, and no formula such as Na2S"),
        ("Na2Sx", "is no element"),
        ("Na0.5S", "is no element"),
        ("", "is no element"),
        ("X", "is no element"),
    ],
)
def test_what_is_no_formula(name: str, words: str) -> None:
    with pytest.raises(StructureError, match=words):
        formula_of(name)


def test_antifluorite_has_the_distances_of_the_lattice() -> None:
    """Each S has eight Na at a√3/4, each Na four S; S–S a/√2."""
    atoms = antifluorite("Na2S", 6.5).atoms()
    assert sorted(atoms.get_chemical_symbols()) == ["Na", "Na", "S"]
    assert atoms.cell.volume == pytest.approx(6.5**3 / 4)
    large = atoms.repeat(4)
    kinds = np.array(large.get_chemical_symbols())
    distances = large.get_all_distances(mic=True)
    bonded = np.abs(distances - 6.5 * 3**0.5 / 4) < 1e-5
    assert set(bonded[kinds == "S"].sum(axis=1)) == {8}
    assert set(bonded[kinds == "Na"].sum(axis=1)) == {4}
    assert not bonded[np.ix_(kinds == "S", kinds == "S")].any()
    assert antifluorite("SNa2", 6.5) == antifluorite("Na2S", 6.5)


def test_lattices_of_other_compositions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StructureError, match="two atoms of one element to one of another one"):
        antifluorite("NaS", 6.5)
    with pytest.raises(StructureError, match="Na2S"):
        antifluorite("Na2S", 0.65)  # nm
    with pytest.raises(StructureError, match="bcc is the lattice of an element"):
        refuse_compound("Na2S", "bcc")
    refuse_compound("Na", "bcc")
    path = tmp_path / "salt.cif"
    write(path, bulk("NaCl", "rocksalt", a=5.64))
    assert read_crystal(path, "NaCl").symbols == read_crystal(path, "ClNa").symbols
    with pytest.raises(StructureError, match=r"salt\.cif: is of .*, but must be of Na2Cl, as its reference"):
        read_crystal(path, "Na2Cl")
    with pytest.raises(StructureError, match="has Cl, but must be of Na2S alone"):
        read_crystal(path, "Na2S")


@pytest.mark.parametrize(
    ("lattice", "a", "c"), [("bcc", 4.19, None), ("fcc", 3.6, None), ("hcp", 3.19, 5.18), ("hcp", 2.95, 4.683)]
)
def test_a_metal_is_ases(lattice: str, a: float, c: float | None) -> None:
    """To the last bit, since the records of their calculations hold them."""
    moments = 0
    for element in chemical_symbols[1:100]:
        ours, theirs = metal(element, lattice, a, c), bulk(element, lattice, a=a, c=c)
        assert ours == theirs
        assert np.array_equal(ours.get_initial_magnetic_moments(), theirs.get_initial_magnetic_moments())
        assert ours.has("initial_magmoms") == theirs.has("initial_magmoms")
        moments += ours.has("initial_magmoms")
    assert moments > 0
