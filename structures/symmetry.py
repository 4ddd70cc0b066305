"""Symmetry operations of a two-dimensional host, as they act on atoms and on points of its two faces."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray

from .errors import StructureError
from .geometry import Floats, Ints, describe, in_plane_cell, in_plane_fractions, wrap

# Å. Wide enough that a host read from a file, or relaxed, keeps the symmetry of its ideal structure.
SYMPREC: Final = 0.1


@dataclass(frozen=True, slots=True)
class Symmetry:
    """Operations x' = R x + t in in-plane fractional coordinates; a flip exchanges the faces.

    Attributes
    ----------
    rotations
        Shape (operations, 2, 2).
    translations
        Shape (operations, 2).
    flips
        Shape (operations,): whether z is reversed, about the middle of the host.
    """

    rotations: NDArray[np.int32]
    translations: Floats
    flips: NDArray[np.bool_]

    def images(self, point: Iterable[float]) -> Floats:
        """Return the images of a fractional point, shape (2,), under all operations: shape (operations, 2)."""
        images: Floats = self.rotations @ np.asarray(tuple(point)) + self.translations
        return images


def find_symmetry(atoms: Atoms) -> Symmetry:
    """Find the operations of a host with spglib (symprec 0.1 Å).

    The translations of a supercell are among them. The cell's own c vector does not matter.

    Raises
    ------
    StructureError
        If spglib finds none.
    """
    cell, z = np.zeros((3, 3)), atoms.positions[:, 2]
    cell[:2, :2] = in_plane_cell(atoms)
    # Longer than every in-plane vector and than the host by far, so that no operation mixes z with the plane.
    cell[2, 2] = 30.0 + np.ptp(z) + 2.0 * np.linalg.norm(cell[:2], axis=1).max()
    middle = (z.min() + z.max()) / 2
    points = np.column_stack([in_plane_fractions(atoms), 0.5 + (z - middle) / cell[2, 2]])
    try:
        dataset = spglib.get_symmetry_dataset(
            (cell.tolist(), points.tolist(), atoms.numbers.tolist()), symprec=SYMPREC
        )
    except Exception as error:  # spglib before 2.8 returns None, later ones raise a type of their own
        raise StructureError(f"{describe(atoms)}: spglib found no symmetry ({error}).") from error
    if dataset is None:
        raise StructureError(f"{describe(atoms)}: spglib found no symmetry; do atoms lie on each other?")
    rotations = np.asarray(dataset.rotations)
    return Symmetry(
        np.ascontiguousarray(rotations[:, :2, :2]),
        np.ascontiguousarray(np.asarray(dataset.translations, dtype=np.float64)[:, :2]),
        rotations[:, 2, 2] < 0,
    )


def permutations(atoms: Atoms, symmetry: Symmetry) -> Ints:
    """Return the index of the atom onto which each operation maps each atom: shape (operations, atoms)."""
    cell, fractions = in_plane_cell(atoms), in_plane_fractions(atoms)
    z = atoms.positions[:, 2] - (atoms.positions[:, 2].min() + atoms.positions[:, 2].max()) / 2
    other_element = np.where(atoms.numbers[:, None] != atoms.numbers[None, :], np.inf, 0.0)
    mapped = np.empty((len(symmetry.flips), len(atoms)), dtype=np.int64)
    for k, (rotation, translation, flip) in enumerate(
        zip(symmetry.rotations, symmetry.translations, symmetry.flips, strict=True)
    ):
        images = fractions @ rotation.T + translation
        lateral = wrap(images[:, None] - fractions[None]) @ cell
        vertical = (-z if flip else z)[:, None] - z[None]
        mapped[k] = np.argmin((lateral**2).sum(axis=-1) + vertical**2 + other_element, axis=1)
    return mapped
