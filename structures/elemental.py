"""Elemental references from a structure file: a crystal, or a molecule in a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

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
    """One element's atoms, rounded to 1e-6, independent of the file's format.

    Attributes
    ----------
    symbols
        Chemical symbols, all the same.
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


def read_crystal(path: Path, element: str) -> Elemental:
    """Read an elemental crystal.

    Raises
    ------
    StructureError
        If the file, which is named, is unreadable, of other elements, without three cell vectors, or has overlaps.
    """
    atoms = _read(path, element)
    if abs(atoms.cell.volume) < _SMALLEST_A3:
        raise StructureError(f"{path}: a crystal needs three cell vectors; a molecule is named by 'molecule'.")
    atoms.pbc = True
    check_overlaps(atoms, str(path))
    return _rounded(atoms)


def read_molecule(path: Path, element: str, box_a: Sequence[float]) -> Elemental:
    """Read a molecule of one element and put it into the middle of a box.

    Parameters
    ----------
    path
        Structure file of the molecule.
    element
        Its element.
    box_a
        Edges of the box, Å.

    Raises
    ------
    StructureError
        If the file, which is named, is unreadable, of other elements, too large for the box, or has overlaps.
    """
    atoms = _read(path, element)
    atoms.set_cell(box_a)
    atoms.pbc = True
    gaps = np.array(box_a) - np.ptp(atoms.positions, axis=0)
    if gaps.min() < LEAST_VACUUM_A:
        raise StructureError(
            f"{path}: in a box of {' × '.join(f'{edge:g}' for edge in box_a)} Å only {gaps.min():.1f} Å are left "
            f"between this molecule and its images; {LEAST_VACUUM_A:g} Å are the least: raise protocol.atom.box_a."
        )
    atoms.positions += np.array(box_a) / 2 - (atoms.positions.max(axis=0) + atoms.positions.min(axis=0)) / 2
    check_overlaps(atoms, str(path))
    return _rounded(atoms)


def _read(path: Path, element: str) -> Atoms:
    atoms = read_atoms(path)
    others = sorted(set(atoms.get_chemical_symbols()) - {element})
    if others:
        raise StructureError(f"{path}: has {', '.join(others)}, but must be of {element} alone, as its reference.")
    return atoms


def _rounded(atoms: Atoms) -> Elemental:
    def rows(array: np.ndarray) -> tuple[tuple[float, float, float], ...]:
        return tuple((float(x), float(y), float(z)) for x, y, z in np.round(array, _DIGITS) + 0.0)

    return Elemental(tuple(atoms.get_chemical_symbols()), rows(atoms.cell.array), rows(atoms.positions))
