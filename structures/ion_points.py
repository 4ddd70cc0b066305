"""The single points of a host's sites, and how the host's symmetry exchanges them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from .errors import StructureError
from .geometry import Floats, Ints, describe, in_plane_cell, lateral_distances
from .periodic_points import PeriodicPoints
from .sites import SAME_POINT, Site, missing_atoms
from .symmetry import find_symmetry
from .vacancies import Defect, apply_defects

Place = tuple[str, int]
"""A point: the name of its site, and its number among the points of that site, from 0."""


@dataclass(frozen=True)
class IonPoints:
    """Every point of some sites; those of a site follow each other, the top face first.

    Attributes
    ----------
    sites
        The site of each point, shape (points,).
    numbers
        Number of each point among those of its site.
    on_top
        Whether it lies on the top face, shape (points,).
    fractions
        Coordinates along a and b of the ideal host, in [0, 1), shape (points, 2).
    permutations
        Where each operation of the host takes each point, shape (operations, points), each once.
    cell
        In-plane lattice, shape (2, 2), Å.
    """

    sites: tuple[Site, ...]
    numbers: tuple[int, ...]
    on_top: np.ndarray
    fractions: Floats
    permutations: Ints
    cell: Floats

    def __len__(self) -> int:
        return len(self.sites)

    def place(self, index: int) -> Place:
        """Return the name of a point."""
        return self.sites[index].name, self.numbers[index]

    def index(self, place: Place) -> int:
        """Return the index of a named point.

        Raises
        ------
        StructureError
            If there is none.
        """
        for index, (site, number) in enumerate(zip(self.sites, self.numbers, strict=True)):
            if (site.name, number) == tuple(place):
                return index
        raise StructureError(f"the host has no point {place[1]} of a site {place[0]}.")

    def of(self, names: Collection[str], face: str | None = None) -> list[int]:
        """Return the indices of the points of some sites; of one face alone if it is given."""
        return [
            index for index, site in enumerate(self.sites) if site.name in names and face in (None, self.face(index))
        ]

    def face(self, index: int) -> str:
        """Return the face of a point."""
        return "top" if self.on_top[index] else "bottom"

    def first_of_orbit(self, *sets: Iterable[int]) -> tuple[tuple[int, ...], ...]:
        """Return the sets of points, each ascending, that are the first of all that symmetry makes of them.

        Several sets are taken along by the same operation.
        """
        images = [np.sort(self.permutations[:, list(one)], axis=1) for one in sets]
        joined = np.concatenate(images, axis=1)
        best = np.lexsort(joined.T[::-1])[0] if joined.shape[1] else 0
        return tuple(tuple(image[best].tolist()) for image in images)


def ion_points(pristine: Atoms, defects: Sequence[Defect], sites: Sequence[Site]) -> IonPoints:
    """Find every point of a host's sites.

    Parameters
    ----------
    pristine, defects
        As for `sodiate.structures.sites.find_sites`.
    sites
        All sites that it found.

    Raises
    ------
    StructureError
        If an operation takes a point where none is: the sites are not those of the host.
    """
    symmetry = find_symmetry(apply_defects(pristine, defects), missing_atoms(pristine, defects))
    cell = in_plane_cell(pristine)
    members: list[tuple[Site, int, bool, Floats]] = []
    for site in sites:
        images = symmetry.images(site.fractional) % 1.0
        faces = symmetry.flips ^ (site.face == "top")
        own = [(on_top, point) for on_top in (True, False) for point in _distinct(images[faces == on_top], cell)]
        members += [(site, number, on_top, point) for number, (on_top, point) in enumerate(own)]
    on_top = np.array([member[2] for member in members])
    fractions = np.array([member[3] for member in members])
    permutations = np.empty((len(symmetry.flips), len(members)), dtype=np.int64)
    indices = {face: np.flatnonzero(on_top == face) for face in (True, False)}
    trees = {face: PeriodicPoints(fractions[of], cell, SAME_POINT) for face, of in indices.items() if len(of)}
    for index, (_, _, face, point) in enumerate(members):
        images = symmetry.images(point)
        for target in trees:
            operations = np.flatnonzero((symmetry.flips ^ face) == target)
            nearest, distances = trees[target].nearest(images[operations])
            if not np.isfinite(distances).all():
                raise StructureError(f"{describe(pristine)}: an operation takes {members[index][0].name} elsewhere.")
            permutations[operations, index] = indices[target][nearest]
    return IonPoints(
        sites=tuple(member[0] for member in members),
        numbers=tuple(member[1] for member in members),
        on_top=on_top,
        fractions=fractions,
        permutations=np.unique(permutations, axis=0),
        cell=cell,
    )


def resting_height(heights_a: Floats, lateral_a: Floats, spacing_a: float) -> float:
    """Return the height (Å) at which an ion touches the first of some below it.

    Parameters
    ----------
    heights_a, lateral_a
        Of each ion below: its height, and how far it lies beside, Å.
    spacing_a
        Distance of ions that touch, Å.
    """
    return float((heights_a + np.sqrt(np.clip(spacing_a**2 - lateral_a**2, 0.0, None))).max())


def _distinct(points: Floats, cell: Floats) -> list[Floats]:
    """Return each of some points once, in an order that noise does not change."""
    rounded = np.round(points, 3) % 1.0
    kept: list[Floats] = []
    for point in points[np.lexsort((rounded[:, 1], rounded[:, 0]))]:
        if not kept or lateral_distances(np.array(kept) - point, cell).min() > SAME_POINT:
            kept.append(point)
    return kept
