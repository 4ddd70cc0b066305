"""Stacks of a 2H monolayer: two or more layers in vacuum, or periodic along c."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms

from .errors import StructureError
from .geometry import check_overlaps, check_repeat, in_plane_cell, in_plane_fractions
from .monolayers import Monolayer, build_monolayer

ORDERS: Final = ("2H", "AA", "AB")

# Å, between the facing planes of chalcogen. Nearer layers are pressed into each other; further apart they are sheets
# of their own, even with ions and solvent between them.
_LEAST_GAP: Final = 2.0
_WIDEST_GAP: Final = 10.0

_MOST_LAYERS: Final = 6


@dataclass(frozen=True, slots=True)
class Stack:
    """Layers of one monolayer above each other, all with the same side up.

    Attributes
    ----------
    layer
        The monolayer.
    order
        ``AA``: each atom above its like. ``AB``: every second layer moved, so that its metal is above a chalcogen and
        its chalcogen above the middle of a hollow. ``2H``: every second layer turned by 180° about z, so that metal
        and chalcogen are above each other, as in natural MoS2.
    layers
        Their number in vacuum; None for a crystal, periodic along c.
    distance_a
        From a plane of metal to the next one, Å.

    Raises
    ------
    StructureError
        On an unknown order, a number of layers outside of 2 to 6, or a distance at which layers overlap or are apart.
    """

    layer: Monolayer
    order: str
    layers: int | None
    distance_a: float

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise StructureError(f"{self.layer.formula}: no stack {self.order!r}; there are {', '.join(ORDERS)}.")
        if self.layers is not None and not 2 <= self.layers <= _MOST_LAYERS:
            raise StructureError(
                f"{self.layer.formula}: a stack of {self.layers} layers; give 2 to {_MOST_LAYERS}, or leave layers "
                "out for a crystal that is periodic along c."
            )
        thickness = float(np.ptp(build_monolayer(self.layer, (1, 1)).positions[:, 2]))
        least, most = thickness + _LEAST_GAP, thickness + _WIDEST_GAP
        if not (math.isfinite(self.distance_a) and least <= self.distance_a <= most):
            raise StructureError(
                f"{self.layer.formula}: layers {self.distance_a:g} Å apart (from metal to metal), of which each is "
                f"{thickness:.2f} Å thick; give {least:.2f} to {most:.2f} Å."
            )

    @property
    def periodic(self) -> bool:
        """Whether it repeats along c."""
        return self.layers is None

    @property
    def in_a_cell(self) -> int:
        """How many layers its cell has."""
        return self.layers or (1 if self.order == "AA" else 2)

    @property
    def words(self) -> str:
        """What follows the formula in names: ``2H`` of a crystal, ``2H-2L`` of two layers."""
        return self.order if self.layers is None else f"{self.order}-{self.layers}L"


def build_stack(stack: Stack, repeat: tuple[int, int]) -> Atoms:
    """Build an n×m supercell of a stack.

    Returns
    -------
    Atoms
        Cell by cell in the order of `Atoms.repeat`, in a cell layer by layer from below, each as in
        `build_monolayer`. Periodic along a and b; along c, too, if the stack is, else the third cell vector is zero
        until `box`.

    Raises
    ------
    StructureError
        On a repeat below 1 or too large.
    """
    check_repeat(repeat, 3 * stack.in_a_cell)
    one = build_monolayer(stack.layer, (1, 1))
    # Where the chalcogen of the first layer is, above which the metal of the second one lies.
    site = (2 * one.cell[0] + one.cell[1]) / 3
    atoms = one[:0]
    for number in range(stack.in_a_cell):
        layer = one.copy()
        if number % 2 and stack.order != "AA":
            if stack.order == "2H":
                layer.positions[:, :2] *= -1
            layer.positions += site
        layer.positions[:, 2] += number * stack.distance_a
        atoms += layer
    if stack.periodic:
        height = stack.in_a_cell * stack.distance_a
        atoms.cell[2] = (0.0, 0.0, height)
        atoms.pbc = True
        # Half a layer up, so that no sheet lies across the boundary of the cell.
        atoms.positions[:, 2] += stack.distance_a / 2
    atoms.positions[:, :2] = np.round(in_plane_fractions(atoms), 9) % 1.0 @ in_plane_cell(atoms)
    check_overlaps(atoms, f"{stack.layer.formula}-{stack.words}")
    supercell: Atoms = atoms.repeat((*repeat, 1))
    return supercell
