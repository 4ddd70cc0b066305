"""Extended XYZ with all digits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms


def exact_xyz(atoms: Atoms) -> str:
    """Return extended XYZ with all digits: ASE's writer rounds to 1e-8 Å."""
    lattice = " ".join(repr(float(value)) for value in atoms.cell.array.ravel())
    periodic = " ".join("T" if value else "F" for value in atoms.pbc)
    lines = [str(len(atoms)), f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 pbc="{periodic}"']
    for symbol, position in zip(atoms.get_chemical_symbols(), atoms.get_positions().tolist(), strict=True):
        lines.append(" ".join([symbol, *map(repr, position)]))
    return "\n".join(lines) + "\n"
