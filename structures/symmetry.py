"""Symmetry operations of a two-dimensional host, as they act on atoms and on points of its two faces."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import spglib
from ase import Atoms
from numpy.typing import NDArray

from .errors import StructureError
from .geometry import Floats, Ints, describe, in_plane_cell, in_plane_fractions, lateral_distances
from .periodic_points import PeriodicPoints

# Å. Wide enough that a host read from a file, or relaxed, keeps the symmetry of its ideal structure.
SYMPREC: Final = 0.1

# Å. Further from an atom than this, the image of another one is not it: several times what spglib tolerates.
_REACH: Final = 1.0

# Hosts of fewer atoms are left to spglib alone, which takes milliseconds.
_LARGE: Final = 100

# Added to the atomic number of a missing atom, for the kind of its place.
_PLACES: Final = 200

# Å. No operation of spglib takes an atom further than this from another one.
_LOOSE: Final = 0.35

# Å. How far an atom looks round itself, how much a distance may change, and what is near a missing atom.
_SEEN, _BLUR, _NEAR = 5.0, 0.25, 4.0

# Atoms that a candidate must fit before all are tried, and the number of candidates that are worth trying.
_FEW, _CANDIDATES = 30, 600


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


def find_symmetry(atoms: Atoms, missing: Atoms | None = None, symprec: float = SYMPREC) -> Symmetry:
    """Find the operations of a host with spglib.

    The translations of a supercell are among them. The cell's own c vector does not matter.

    Parameters
    ----------
    atoms
        The host.
    missing
        Atoms of the complete host that this one lacks. The operations are the same with and without them, but in a
        large supercell spglib finds them some hundred times faster if it knows the places that nothing else is like.
    symprec
        How far an operation may take an atom from where another one is, Å.

    Raises
    ------
    StructureError
        If spglib finds none.
    """
    if missing is None or len(missing) == 0 or len(atoms) < _LARGE:
        return _operations(atoms, atoms[:0], symprec)
    restricted = _operations(atoms, missing, symprec)
    return restricted if _are_all(restricted, atoms, missing) else _operations(atoms, atoms[:0], symprec)


def _operations(atoms: Atoms, missing: Atoms, symprec: float) -> Symmetry:
    """Return spglib's operations of a host, of those that leave the missing atoms' places as they are."""
    cell, z = np.zeros((3, 3)), atoms.positions[:, 2]
    cell[:2, :2] = in_plane_cell(atoms)
    # Longer than every in-plane vector and than the host by far, so that no operation mixes z with the plane.
    cell[2, 2] = 30.0 + np.ptp(z) + 2.0 * np.linalg.norm(cell[:2], axis=1).max()
    middle = (z.min() + z.max()) / 2
    everything = atoms + missing
    points = np.column_stack(
        [in_plane_fractions(everything), 0.5 + (everything.positions[:, 2] - middle) / cell[2, 2]]
    )
    kinds = [*atoms.numbers.tolist(), *(missing.numbers + _PLACES).tolist()]
    dataset = dataset_of(cell, points, kinds, describe(atoms), symprec)
    rotations = np.asarray(dataset.rotations)
    return Symmetry(
        np.ascontiguousarray(rotations[:, :2, :2]),
        np.ascontiguousarray(np.asarray(dataset.translations, dtype=np.float64)[:, :2]),
        rotations[:, 2, 2] < 0,
    )


def dataset_of(cell: Floats, points: Floats, kinds: Sequence[int], what: str, symprec: float = SYMPREC) -> Any:
    """Return spglib's dataset of points in a cell; raise `StructureError` with what they are if it finds none."""
    try:
        dataset = spglib.get_symmetry_dataset((cell.tolist(), points.tolist(), list(kinds)), symprec=symprec)
    except Exception as error:  # spglib before 2.8 returns None, later ones raise a type of their own
        raise StructureError(f"{what}: spglib found no symmetry ({error}).") from error
    if dataset is None:
        raise StructureError(f"{what}: spglib found no symmetry; do atoms lie on each other?")
    return dataset


def _are_all(restricted: Symmetry, atoms: Atoms, missing: Atoms) -> bool:
    """Tell whether a host has no other operations than some that it surely has; False if that would take long.

    An operation takes an atom next to a missing one to an atom that sees as many others as near. There are few of
    those, and with each rotation of the lattice each of them gives one candidate, of which as many as there are
    operations may fit all atoms. Without this, a host that gains symmetry by what it lacks (a sheet whose only
    adsorbed atom was removed) would keep that of the sheet with it.
    """
    cell, fractions, z = in_plane_cell(atoms), in_plane_fractions(atoms), atoms.positions[:, 2]
    z = z - (z.min() + z.max()) / 2
    pivot, partners = _pivot(atoms, missing)
    lattice = np.zeros((3, 3))
    lattice[:2, :2], lattice[2, 2] = cell, 30.0 + 2.0 * np.linalg.norm(cell, axis=1).max()
    rotations = np.asarray(dataset_of(lattice, np.zeros((1, 3)), [1], "the lattice").rotations)
    point_group = {(rotation[:2, :2].tobytes(), rotation[2, 2] < 0): rotation[:2, :2] for rotation in rotations}
    if len(partners) * len(point_group) > _CANDIDATES:
        return False
    points = {
        number: PeriodicPoints(fractions[atoms.numbers == number], cell, _LOOSE, z[atoms.numbers == number])
        for number in np.unique(atoms.numbers)
    }
    nearest = np.argsort(lateral_distances(fractions - fractions[pivot], cell))

    def fits(chosen: Ints, rotation: Ints, flip: bool, partner: int) -> bool:
        images = (fractions[chosen] - fractions[pivot]) @ rotation.T + fractions[partner]
        heights, numbers = (-z if flip else z)[chosen], atoms.numbers[chosen]
        return all(
            np.isfinite(points[number].nearest(images[numbers == number], heights[numbers == number])[1]).all()
            for number in np.unique(numbers)
        )

    count = sum(
        fits(nearest[:_FEW], rotation, flip, partner) and fits(nearest[_FEW:], rotation, flip, partner)
        for (_, flip), rotation in point_group.items()
        for partner in partners
    )
    return count == len(restricted.flips)


def _pivot(atoms: Atoms, missing: Atoms) -> tuple[int, Ints]:
    """Return an atom near a missing one, of which fewest atoms see as many others as near, and these atoms."""
    cell, fractions, z = in_plane_cell(atoms), in_plane_fractions(atoms), atoms.positions[:, 2]
    points = PeriodicPoints(fractions, cell, _SEEN, z)
    first, _, distances = points.pairs(fractions, _SEEN, z)
    steps = np.arange(1.0, _SEEN - _BLUR, 0.1)
    # How many atoms each one sees surely, and at most, within each distance: an operation moves atoms by 0.1 Å.
    lower_counts, upper_counts = (
        np.stack([np.bincount(first[distances < step + blur], minlength=len(atoms)) for step in steps], axis=1)
        for blur in (-_BLUR, _BLUR)
    )
    neighbours = np.unique(points.pairs(in_plane_fractions(missing), _NEAR, missing.positions[:, 2])[1])
    best: tuple[int, Ints] = (0, np.arange(len(atoms)))
    for index in neighbours:
        matches = (upper_counts >= lower_counts[index]).all(axis=1) & (upper_counts[index] >= lower_counts).all(
            axis=1
        )
        partners = np.flatnonzero(matches & (atoms.numbers == atoms.numbers[index]))
        if len(partners) < len(best[1]):
            best = (int(index), partners)
    return best


class AtomImages:
    """Where the operations of a host take its atoms, found as it is asked for.

    All of it at once, `permutations`, is a table that grows with the fourth power of a supercell's repeats.
    """

    def __init__(self, atoms: Atoms, symmetry: Symmetry) -> None:
        z = atoms.positions[:, 2]
        self.symmetry = symmetry
        self._numbers, self._fractions = atoms.numbers, in_plane_fractions(atoms)
        self._heights: Floats = z - (z.min() + z.max()) / 2
        cell = in_plane_cell(atoms)
        self._indices = {number: np.flatnonzero(atoms.numbers == number) for number in np.unique(atoms.numbers)}
        self._points = {
            number: PeriodicPoints(self._fractions[indices], cell, _REACH, self._heights[indices])
            for number, indices in self._indices.items()
        }

    def of_atom(self, index: int) -> Ints:
        """Return where each operation takes one atom, shape (operations,)."""
        flips = self.symmetry.flips
        return self._at(index, self.symmetry.images(self._fractions[index]), np.where(flips, -1.0, 1.0))

    def of_atoms(self, indices: Sequence[int], operations: Ints) -> Ints:
        """Return where some operations take some atoms, shape (operations, atoms)."""
        moved = [self.under(index, operations) for index in indices]
        return np.array(moved, dtype=np.int64).reshape(len(indices), len(operations)).T

    def under(self, index: int, operations: Ints) -> Ints:
        """Return where some operations take one atom, shape (operations,)."""
        rotations, translations = self.symmetry.rotations[operations], self.symmetry.translations[operations]
        signs = np.where(self.symmetry.flips[operations], -1.0, 1.0)
        return self._at(index, rotations @ self._fractions[index] + translations, signs)

    def before(self, index: int, operations: Ints) -> Ints:
        """Return which atom each of some operations takes to this one, shape (operations,)."""
        back = np.linalg.inv(self.symmetry.rotations[operations].astype(np.float64))
        offsets = self._fractions[index] - self.symmetry.translations[operations]
        signs = np.where(self.symmetry.flips[operations], -1.0, 1.0)
        return self._at(index, np.einsum("kij,kj->ki", back, offsets), signs)

    def _at(self, index: int, fractions: Floats, signs: Floats) -> Ints:
        """Return the atoms of one atom's element at some places."""
        number = self._numbers[index]
        found, _ = self._points[number].nearest(fractions, signs * self._heights[index])
        if (found < 0).any():
            raise StructureError(f"atom {index}: an operation that spglib found takes it where no atom is.")
        atoms: Ints = self._indices[number][found]
        return atoms


def permutations(atoms: Atoms, symmetry: Symmetry) -> Ints:
    """Return where each operation takes each atom: shape (operations, atoms), indices."""
    images = AtomImages(atoms, symmetry)
    return np.stack([images.of_atom(index) for index in range(len(atoms))], axis=1)
