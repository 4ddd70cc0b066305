"""References of elements and compounds: a crystal or, in a box, a molecule from a structure file, or a lattice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd, sqrt
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, reference_states

from .errors import StructureError
from .geometry import check_overlaps
from .slabs import read_atoms

LEAST_VACUUM_A = 6.0
"""Least distance between a molecule and its images."""

_SMALLEST_A3 = 1.0
"""Least volume of a crystal's cell."""

_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Elemental:
    """The atoms of an element or a compound, rounded to 1e-6, independent of the file's format.

    Attributes
    ----------
    symbols
        Chemical symbols.
    cell
        Cell vectors as rows, Å, shape (3, 3).
    positions
        Cartesian, Å, shape (atoms, 3).
    """

    symbols: tuple[str, ...]
    cell: tuple[tuple[float, float, float], ...]
    positions: tuple[tuple[float, float, float], ...]

    def atoms(self) -> Atoms:
        """Return the atoms, periodic in all directions."""
        return Atoms(self.symbols, positions=self.positions, cell=self.cell, pbc=True)


def formula_of(name: str) -> dict[str, int]:
    """Return how many atoms of each element a formula unit has: of ``Na2S`` two Na and one S, of ``W`` one.

    Raises
    ------
    StructureError
        If it is no element and no formula in lowest terms.
    """
    from ase.formula import Formula

    try:
        counts = {str(element): int(number) for element, number in Formula(name, strict=True).count().items()}
    except ValueError:
        counts = {}
    if not counts or min(counts.values()) < 1 or "X" in counts:
        raise StructureError(f"{name!r} is no element, and no formula such as Na2S.")
    common = gcd(*counts.values())
    if common > 1:
        lowest = "".join(f"{element}{number // common}".removesuffix("1") for element, number in counts.items())
        raise StructureError(f"{name!r} is no formula in lowest terms; write {lowest}.")
    return counts


def refuse_compound(name: str, lattice: str) -> None:
    """Raise `StructureError` for a compound with the lattice of an element."""
    if len(formula_of(name)) > 1:
        raise StructureError(
            f"{lattice} is the lattice of an element; a compound has {{lattice: antifluorite, a}} or {{crystal: …}}."
        )


def antifluorite(name: str, a: float) -> Elemental:
    """Return the primitive cell of a compound such as Na2S, its anions in an fcc lattice.

    Parameters
    ----------
    name
        Its formula.
    a
        Lattice constant of the cubic cell, Å.

    Raises
    ------
    StructureError
        If it has not two atoms of one element to one of another one, or two atoms overlap.
    """
    from ase.build import bulk

    counts = formula_of(name)
    if sorted(counts.values()) != [1, 2]:
        raise StructureError("antifluorite has two atoms of one element to one of another one, as Na2S.")
    one, two = sorted(counts, key=lambda element: counts[element])
    atoms = bulk(f"{one}{two}2", "fluorite", a=a)
    check_overlaps(atoms, name)
    return _rounded(atoms)


def metal(element: str, lattice: str, a: float, c: float | None = None) -> Atoms:
    """Return the primitive cell of a metal with ASE's initial moments; as ASE's, which loads SciPy for it.

    Parameters
    ----------
    element
        Chemical symbol.
    lattice
        bcc, fcc or hcp.
    a, c
        Conventional lattice constants, Å; c of hcp alone.
    """
    half = a / 2
    cells: dict[str, list[list[float]]] = {
        "bcc": [[-half, half, half], [half, -half, half], [half, half, -half]],
        "fcc": [[0, half, half], [half, 0, half], [half, half, 0]],
        "hcp": [[a, 0, 0], [-half, a * sqrt(3) / 2, 0], [0, 0, (c or 0) / a * a]],
    }
    places = [(0, 0, 0), (1 / 3, 2 / 3, 0.5)][: 2 if lattice == "hcp" else 1]
    atoms = Atoms([element] * len(places), cell=cells[lattice], scaled_positions=places, pbc=True)
    state = reference_states[atomic_numbers[element]] or {}
    moment = state.get("magmom_per_atom")
    if moment is not None and state["symmetry"] == lattice:
        atoms.set_initial_magnetic_moments([moment] * len(places))
    return atoms


def read_crystal(path: Path, name: str) -> Elemental:
    """Read the crystal of an element, or of a compound by its formula.

    Raises
    ------
    StructureError
        If the file, which is named, is unreadable, of something else, without three cell vectors, or has overlaps.
    """
    return _rounded(crystal_atoms(path, name))


def crystal_atoms(path: Path, name: str | None = None) -> Atoms:
    """Read the atoms of a crystal, of any substance without a ``name``; errors as `read_crystal`."""
    atoms = read_atoms(path) if name is None else _read(path, name)
    if abs(atoms.cell.volume) < _SMALLEST_A3:
        raise StructureError(f"{path}: a crystal needs three cell vectors; a molecule is named by 'molecule'.")
    atoms.pbc = True
    check_overlaps(atoms, str(path))
    return atoms


def read_molecule(path: Path, name: str, box_a: Sequence[float]) -> Elemental:
    """Read a molecule of an element or a compound, and put it into the middle of a box.

    Parameters
    ----------
    path
        Structure file of the molecule.
    name
        Its element, or its formula in lowest terms.
    box_a
        Edges of the box, Å.

    Raises
    ------
    StructureError
        If the file, which is named, is unreadable, of something else, too large for the box, or has overlaps.
    """
    return _rounded(in_box(_read(path, name), box_a, str(path)))


def in_box(molecule: Atoms, box_a: Sequence[float], where: str) -> Atoms:
    """Return a molecule in the middle of a box with three edges (Å), periodic along all of them.

    Raises
    ------
    StructureError
        If it is too large for the box, or has overlaps; the message begins with ``where``.
    """
    atoms: Atoms = molecule.copy()
    atoms.set_cell(box_a)
    atoms.pbc = True
    gaps = np.array(box_a) - np.ptp(atoms.positions, axis=0)
    if gaps.min() < LEAST_VACUUM_A:
        raise StructureError(
            f"{where}: in a box of {' × '.join(f'{edge:g}' for edge in box_a)} Å only {gaps.min():.1f} Å are left "
            f"between this molecule and its images; {LEAST_VACUUM_A:g} Å are the least: raise protocol.atom.box_a."
        )
    atoms.positions += np.array(box_a) / 2 - (atoms.positions.max(axis=0) + atoms.positions.min(axis=0)) / 2
    check_overlaps(atoms, where)
    return atoms


def _read(path: Path, name: str) -> Atoms:
    atoms, counts = read_atoms(path), formula_of(name)
    symbols = atoms.get_chemical_symbols()
    others = sorted(set(symbols) - counts.keys())
    if others:
        raise StructureError(f"{path}: has {', '.join(others)}, but must be of {name} alone, as its reference.")
    if {element: symbols.count(element) * sum(counts.values()) for element in counts} != {
        element: number * len(symbols) for element, number in counts.items()
    }:
        raise StructureError(f"{path}: is of {atoms.symbols}, but must be of {name}, as its reference.")
    return atoms


def _rounded(atoms: Atoms) -> Elemental:
    def rows(array: np.ndarray) -> tuple[tuple[float, float, float], ...]:
        return tuple((float(x), float(y), float(z)) for x, y, z in np.round(array, _DIGITS) + 0.0)

    return Elemental(tuple(atoms.get_chemical_symbols()), rows(atoms.cell.array), rows(atoms.positions))
