"""2H monolayers MX2 and MXY from lattice constant and bond lengths, and the cell with vacuum for a calculation."""

import math
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from .errors import StructureError
from .geometry import STRETCHED, check_element, check_overlaps, check_repeat, in_plane_cell


@dataclass(frozen=True, slots=True)
class Monolayer:
    """A 2H monolayer: a metal between two planes of chalcogen, of different elements in a Janus layer.

    Attributes
    ----------
    metal, top, bottom
        Chemical symbols; top is +z.
    a
        In-plane lattice constant, Å.
    bond_top, bond_bottom
        Length of the bond from the metal to the top and to the bottom chalcogen, Å.

    Raises
    ------
    StructureError
        On an unknown element, a length that is not positive, a bond too short to span the lattice or too long to be
        one, or two bond lengths for one element.
    """

    metal: str
    top: str
    bottom: str
    a: float
    bond_top: float
    bond_bottom: float

    def __post_init__(self) -> None:
        for role, symbol in (("metal", self.metal), ("top", self.top), ("bottom", self.bottom)):
            check_element(symbol, f"{role} of the monolayer {self.formula}")
        if not (math.isfinite(self.a) and self.a > 0):
            raise StructureError(f"{self.formula}: the lattice constant a = {self.a} Å must be positive.")
        for name, symbol, bond in (
            ("bond_top", self.top, self.bond_top),
            ("bond_bottom", self.bottom, self.bond_bottom),
        ):
            if not (math.isfinite(bond) and bond > self.a / math.sqrt(3)):
                raise StructureError(
                    f"{self.formula}: the {self.metal}–{symbol} bond, {name} = {bond} Å, is too short for "
                    f"a = {self.a} Å; it must be longer than a/√3 = {self.a / math.sqrt(3):.3f} Å."
                )
            longest = STRETCHED * sum(covalent_radii[atomic_numbers[element]] for element in (self.metal, symbol))
            if bond > longest:
                raise StructureError(
                    f"{self.formula}: the {self.metal}–{symbol} bond, {name} = {bond} Å, is longer than "
                    f"{longest:.2f} Å, {STRETCHED} times the sum of their covalent radii; give lengths in Å."
                )
        if self.top == self.bottom and self.bond_top != self.bond_bottom:
            raise StructureError(
                f"{self.formula}: both faces are {self.top}, but bond_top = {self.bond_top} Å and "
                f"bond_bottom = {self.bond_bottom} Å; give one bond length, or two elements."
            )

    @property
    def formula(self) -> str:
        """``WSe2``, or for a Janus layer metal, top, bottom: ``WSSe``."""
        return f"{self.metal}{self.top}" + ("2" if self.top == self.bottom else self.bottom)


def build_monolayer(layer: Monolayer, repeat: tuple[int, int]) -> Atoms:
    """Build an n×m supercell of a monolayer.

    The lattice is hexagonal with 120° between a and b, a along x. In each cell the metal is at (0, 0) and
    both chalcogens at (2/3, 1/3); the metal plane is z = 0. The vertical offset of a chalcogen with bond
    length d is sqrt(d² − a²/3).

    Parameters
    ----------
    layer
        What to build.
    repeat
        Number of cells along a and b.

    Returns
    -------
    Atoms
        3nm atoms, cell by cell (metal, top, bottom), the cells in the order of `Atoms.repeat`, so that an
        index means the same atom in every run. Periodic along a and b; the third cell vector is zero until
        `box`.

    Raises
    ------
    StructureError
        On a repeat below 1 or too large, or lengths that put atoms on each other.
    """
    check_repeat(repeat, 3)
    a = layer.a
    cell = np.array([(a, 0, 0), (-a / 2, a * math.sqrt(3) / 2, 0), (0, 0, 0)])
    site, normal = (2 * cell[0] + cell[1]) / 3, np.array((0, 0, 1))
    up, down = (math.sqrt(bond**2 - a**2 / 3) for bond in (layer.bond_top, layer.bond_bottom))
    atoms = Atoms(
        [layer.metal, layer.top, layer.bottom],
        positions=[(0, 0, 0), site + up * normal, site - down * normal],
        cell=cell,
        pbc=(True, True, False),
    )
    check_overlaps(atoms, layer.formula)
    supercell: Atoms = atoms.repeat((*repeat, 1))
    return supercell


def box(atoms: Atoms, vacuum: float, headroom: float) -> Atoms:
    """Put a host into the cell that is common to it and all its Na sites.

    Parameters
    ----------
    atoms
        Ideal, complete host (defects are applied afterwards), a and b in the xy plane.
    vacuum
        Empty length left above the highest Na, Å.
    headroom
        Highest start height of Na above a face, Å.

    Returns
    -------
    Atoms
        A copy with c = thickness + headroom + vacuum along z, the middle of its top and bottom planes at c/2.

    Raises
    ------
    StructureError
        If the vacuum is not positive or the headroom negative.
    """
    in_plane_cell(atoms)
    if not (math.isfinite(vacuum) and vacuum > 0):
        raise StructureError(f"the vacuum, {vacuum} Å, must be positive.")
    if not (math.isfinite(headroom) and headroom >= 0):
        raise StructureError(f"the headroom for Na, {headroom} Å, must not be negative.")
    z = atoms.positions[:, 2]
    c = float(np.ptp(z)) + headroom + vacuum
    boxed: Atoms = atoms.copy()
    boxed.positions[:, 2] += c / 2 - (z.min() + z.max()) / 2
    boxed.cell[2] = (0, 0, c)
    boxed.pbc = (True, True, False)
    return boxed
