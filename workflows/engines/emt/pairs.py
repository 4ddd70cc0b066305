"""Pairs of atoms within a radius, as a pure function of the geometry."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Pairs of atoms, both ways; an atom of a small cell is also a pair with its own images.

    Attributes
    ----------
    first, second
        Indices of the atoms, shape (pairs,), sorted by ``first``.
    vectors
        From first to second, shape (pairs, 3), Å.
    distances
        Shape (pairs,), Å.
    """

    first: NDArray[np.int_]
    second: NDArray[np.int_]
    vectors: Floats
    distances: Floats


def pairs_within(atoms: Atoms, radius: float) -> Pairs:
    """Return all pairs closer than a radius.

    ASE's neighbour list keeps pairs from the positions at which it was last built, so the order of its sums, and
    with it the last bits of an energy, depends on the path. A resumed run must give the same bits: here nothing is
    kept. Every atom is compared with every image near the cell, which suits the few hundred atoms of a slab.

    Parameters
    ----------
    atoms
        Any cell and boundary conditions; atoms may lie outside the cell.
    radius
        Pairs with ``r < radius`` are listed, Å.
    """
    # complete() adds a unit vector where a lattice vector is missing; it has no effect without periodicity.
    cell = atoms.cell.complete().array
    pbc = np.asarray(atoms.pbc, dtype=bool)
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T
    lattice_steps = np.floor(fractions) * pbc
    wrapped = atoms.positions - lattice_steps @ cell
    # By the distances of opposite faces of the cell: atoms further outside it are no neighbours of one inside.
    margin = radius * np.linalg.norm(np.linalg.inv(cell), axis=0) + 1e-6
    reach = np.where(pbc, np.ceil(margin), 0).astype(int)
    shifts = np.array(list(product(*(range(-n, n + 1) for n in reach))))
    places = fractions - lattice_steps + shifts[:, None, :]
    near = (((places > -margin) & (places < 1.0 + margin)) | ~pbc).all(axis=2)
    shift, second = np.nonzero(near)
    images = wrapped[second] + (shifts @ cell)[shift]
    squares = sum(np.subtract.outer(wrapped[:, axis], images[:, axis]) ** 2 for axis in range(3))
    squares[second, np.arange(len(second))] += np.where((shifts == 0).all(axis=1), np.inf, 0.0)[shift]  # itself
    first, image = np.nonzero(squares < radius**2)
    vectors = images[image] - wrapped[first]
    return Pairs(first, second[image], vectors, np.sqrt(squares[first, image]))
