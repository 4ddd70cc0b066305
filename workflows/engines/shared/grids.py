"""Rules for k meshes and grids that all codes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms


def kpoint_mesh(atoms: Atoms, length_a: float) -> tuple[int, int, int]:
    """Return the Γ-centred mesh, N = ceil(length/|a|) along each periodic axis.

    Parameters
    ----------
    atoms
        For their cell and periodicity.
    length_a
        Length that the supercell equivalent to the mesh has at least, Å; 0 for Γ alone.
    """
    # The allowance keeps 39.0/3.25 at 12 when the cell's length carries rounding.
    counts = np.ceil(length_a / atoms.cell.lengths() - 1e-6)
    first, second, third = (
        max(1, int(count)) if periodic else 1 for count, periodic in zip(counts, atoms.pbc, strict=True)
    )
    return first, second, third


def smooth(least: int) -> int:
    """Return the smallest number from ``least`` on without a prime factor above 7, for fast Fourier transforms."""
    rest = least
    for prime in (2, 3, 5, 7):
        while rest % prime == 0:
            rest //= prime
    return least if rest == 1 else smooth(least + 1)
