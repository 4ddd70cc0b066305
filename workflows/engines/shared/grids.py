"""Rules for k meshes and grids that all codes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

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


_SYMPREC_A = 1e-3


def irreducible_kpoints(atoms: Atoms, mesh: Sequence[int]) -> int:
    """Return how many points of a Γ-centred mesh the symmetry of the atoms leaves."""
    import spglib

    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.get_ir_reciprocal_mesh(mesh, cell, is_shift=[0, 0, 0], symprec=_SYMPREC_A)
    return len(set(found[0].tolist()))


def kpoints_without_point_group(mesh: Sequence[int]) -> int:
    """Return how many points of a Γ-centred mesh time reversal alone leaves, which takes k to −k."""
    own = np.prod([2 if count % 2 == 0 else 1 for count in mesh])
    return int(np.prod(mesh) + own) // 2


def even_ranks(pieces: int) -> tuple[int, ...]:
    """Return the numbers of ranks over which equal pieces of work are shared with at most a fifth of idle time.

    Of several numbers that give the fullest rank the same, the smallest.
    """
    fullest = sorted({-(-pieces // ranks) for ranks in range(1, pieces + 1)}, reverse=True)
    fewest = [-(-pieces // each) for each in fullest]
    return tuple(r for r, each in zip(fewest, fullest, strict=True) if pieces >= 0.8 * r * each)


def length_that_holds_k(atoms: Atoms, repeat: tuple[int, int], length_a: float) -> float:
    """Return the shortest length, not below the given one, whose mesh holds K of a hexagonal sheet.

    K of the primitive cell folds onto the points (n/3, m/3) of an n×m supercell: they are on a Γ-centred N×M mesh if
    n·N and m·M are multiples of three. Band edges of 2H sheets lie there, and a mesh without it gives too wide a gap.

    Parameters
    ----------
    atoms
        The supercell.
    repeat
        How often it repeats the primitive cell in the plane.
    length_a
        What the mesh is to have at least; 0, Γ alone, stays.

    Returns
    -------
    float
        Å; the given one for a mesh that holds K already, and for a sheet that is not hexagonal.
    """
    lengths = atoms.cell.lengths()[:2]
    primitive = np.asarray(atoms.cell)[:2] / np.array(repeat)[:, None]
    cosine = abs(float(primitive[0] @ primitive[1]) / float(np.prod(np.linalg.norm(primitive, axis=1))))
    hexagonal = abs(cosine - 0.5) < 1e-3 and abs(lengths[0] / repeat[0] / (lengths[1] / repeat[1]) - 1) < 1e-3
    if not hexagonal or length_a == 0:
        return length_a

    def holds_k(length: float) -> bool:
        return all(n * count % 3 == 0 for n, count in zip(repeat, kpoint_mesh(atoms, length)[:2], strict=True))

    # The mesh changes at whole numbers of the edges; three of n·m primitive edges give one that holds K.
    last = length_a + 3 * repeat[0] * repeat[1] * float(max(lengths))
    steps = sorted(
        round(float(count * edge), 6) for edge in lengths for count in range(1, int(last / edge) + 2)
    )  # 1e-6 Å is within the allowance of the mesh, and the same on every machine
    return next(length for length in (length_a, *(step for step in steps if step > length_a)) if holds_k(length))


def smooth(least: int) -> int:
    """Return the smallest number from ``least`` on without a prime factor above 7, for fast Fourier transforms."""
    rest = least
    for prime in (2, 3, 5, 7):
        while rest % prime == 0:
            rest //= prime
    return least if rest == 1 else smooth(least + 1)
