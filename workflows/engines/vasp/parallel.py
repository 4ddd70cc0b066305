"""How ranks are divided: among the k points of a calculation, and among the images of a chain."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import ceil, prod
from typing import TYPE_CHECKING, Any

import numpy as np
import spglib

if TYPE_CHECKING:
    from ase import Atoms

_SYMPREC_A = 1e-3
"""Å. More than VASP's own 1e-5: where it finds fewer operations than spglib, it has more points, not fewer."""

_MOST_OPERATIONS = 96
"""Those of a cubic crystal, and reversal of time."""


def with_fewer_groups(
    tags: Mapping[str, Any], atoms: Atoms, mesh: Sequence[int], shift: Sequence[float] | None
) -> dict[str, Any]:
    """Return tags with a KPAR that the k points allow: its largest divisor that is not above their number.

    A class of a cluster file says KPAR for all of its calculations, of which an atom has a single k point; VASP ends
    with an error where groups of ranks are left without one. A divisor, so that it divides the ranks as well.

    Parameters
    ----------
    tags
        The user's; without KPAR they stay as they are.
    atoms
        The structure.
    mesh, shift
        Points of the mesh along each vector, and its shift in units of their distance.
    """
    wanted = tags.get("KPAR")
    if not isinstance(wanted, int) or wanted < 2:
        return dict(tags)
    most = least_kpoints(atoms, mesh, shift or (0.0, 0.0, 0.0))
    allowed = max(divisor for divisor in range(1, wanted + 1) if wanted % divisor == 0 and divisor <= most)
    return {**tags, "KPAR": allowed}


def least_kpoints(atoms: Atoms, mesh: Sequence[int], shift: Sequence[float]) -> int:
    """Return a number of k points that VASP has at least: those that no symmetry of the structure makes equal.

    Moments lower the symmetry and leave more points.
    """
    halves = 2 * np.asarray(shift, dtype=float)
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    if not np.allclose(halves, np.round(halves)):
        return ceil(prod(mesh) / _MOST_OPERATIONS)
    found = spglib.get_ir_reciprocal_mesh(mesh, cell, is_shift=np.round(halves).astype(int) % 2, symprec=_SYMPREC_A)
    return ceil(prod(mesh) / _MOST_OPERATIONS) if found is None else len(np.unique(found[0]))


def ranks_of(command: str) -> int | None:
    """Return how many ranks a command asks for; None if it does not say."""
    asked = re.search(r"(?:^|\s)(?:-n|-np|--np|--ntasks)[ =](\d+)", command)
    return None if asked is None else int(asked[1])
