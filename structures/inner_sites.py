"""Sites between two sheets, and points within a host: found, filled and named in three dimensions.

A host with two or more sheets that are not bonded to each other has galleries between them; one that is periodic
along c has another one between the last sheet and the image of the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from ase import Atom, Atoms

from .geometry import (
    FACES,
    Floats,
    Ints,
    check_element,
    describe,
    face_layers,
    image_shifts,
    in_plane_fractions,
    lateral_distances,
    sheets,
    wrap,
)
from .periodic_points import PeriodicPoints
from .site_candidates import hollows_of
from .sites import ON_SITE, SAME_POINT, EndSite, Site, check_atoms
from .symmetry import dataset_of
from .vacancies import Defect, apply_defects

GALLERY: Final = "gallery"
"""In place of a face in the names of sites between two sheets."""

INSIDE: Final = "inside"
"""The face of a point of a user's own that lies on neither face."""

# Å, lateral. An atom no further from the vertical through a point lies below or above it.
_OVER: Final = 0.6

# Å, lateral. Atoms that a point between two sheets may touch.
_NEAR: Final = 4.5

# Å. Steps in which the height of the most roomy place over a point is looked for.
_STEP: Final = 0.01

# Degrees. Triangles below and above a point that are turned by less against each other form a prism.
_PRISM: Final = 30.0

# Å beyond the nearest atom: the neighbours that a point moves along with.
_SHELL: Final = 0.8

WITHIN: Final = "within a sheet"
"""The end of an adsorbate in a crystal that is at no site between two sheets."""

# Å of height. Further from a site's point an adsorbate is in another gallery, or on a face.
_LEVEL: Final = 2.2

# Of the names, so that an orbit that is one by noise keeps its first point.
_DIGITS: Final = 3


@dataclass(frozen=True)
class _Point:
    """A candidate: its kind, its position (Å), and the distances to all defects, sorted."""

    kind: str
    position: Floats
    distances: tuple[float, ...]


class InnerSites:
    """The sites between the sheets of one host.

    Parameters
    ----------
    pristine, defects
        Complete ideal host in its cell, and its defects, as for `sodiate.structures.sites.find_sites`.
    """

    def __init__(self, pristine: Atoms, defects: Sequence[Defect]) -> None:
        self.pristine, self.defects = pristine, tuple(defects)
        self.atoms = apply_defects(pristine, defects)
        self.cell: Floats = np.asarray(pristine.cell, dtype=np.float64)

    @cached_property
    def sites(self) -> dict[str, Site]:
        """Symmetry-distinct sites by name: octahedral, tetrahedral, prismatic, on top, vacancies of facing layers."""
        return {site.name: site for site, _ in self._classes}

    @cached_property
    def _classes(self) -> list[tuple[Site, Floats]]:
        """The sites, each with the positions of all its points, shape (points, 3), Å."""
        points = self._points()
        left, orbits = list(range(len(points))), list[list[int]]()
        positions = np.array([point.position for point in points]).reshape(-1, 3)
        while left:
            images = self.images(positions[left[0]])
            alike = [k for k in left[1:] if points[k].kind == points[left[0]].kind]
            orbits.append([left[0], *(k for k in alike if self._apart(images, positions[k]).min() < SAME_POINT)])
            left = [k for k in left if k not in orbits[-1]]
        kinds = list(_KINDS)

        def order(orbit: list[int]) -> tuple[int, str, tuple[float, ...], int, int]:
            first = points[orbit[0]]
            rank = kinds.index(first.kind) if first.kind in kinds else -1
            return rank, first.kind, first.distances, len(orbit), orbit[0]

        counts: Counter[str] = Counter()
        found = []
        for orbit in sorted(orbits, key=order):
            first = points[orbit[0]]
            name = f"{first.kind}@{GALLERY}"
            counts[name] += 1
            number = f"-{counts[name]}" if counts[name] > 1 else ""
            distance = first.distances[0] if first.distances else None
            site = self._site(name + number, first.kind, GALLERY, first.position, len(orbit), distance)
            found.append((site, positions[orbit]))
        return found

    def _site(
        self, name: str, kind: str, face: str, position: Floats, multiplicity: int, distance: float | None
    ) -> Site:
        u, v, _ = np.linalg.solve(self.cell.T, position)
        return Site(name, kind, face, (float(u), float(v)), multiplicity, distance, height_a=float(position[2]))

    def own(self, name: str, position: Floats) -> Site:
        """Make a site of a point within the host (Å)."""
        images, count = self.images(position), 0
        while len(images):
            count += 1
            images = images[self._apart(images, images[0]) > SAME_POINT]
        return self._site(name, "own", INSIDE, position, count, None)

    def same(self, first: Site, second: Site) -> bool:
        """Tell whether an operation of the host takes the point of one site to that of another."""
        return bool((self._apart(self.images(self.position(first)), self.position(second)) < SAME_POINT).any())

    def position(self, site: Site) -> Floats:
        """Return the position (Å) of a site's representative in the ideal host."""
        assert site.height_a is not None  # every inner site has one
        lateral = np.array(site.fractional) @ self.cell[:2]
        found: Floats = np.array([lateral[0], lateral[1], site.height_a])
        return found

    # Symmetry and distances in three dimensions

    @cached_property
    def _operations(self) -> tuple[Floats, Floats]:
        """Rotations and translations of the host with its defects, fractional, of its own cell."""
        points, kinds = self.atoms.get_scaled_positions(), self.atoms.numbers.tolist()
        dataset = dataset_of(self.cell, points, kinds, describe(self.atoms))
        return np.asarray(dataset.rotations, dtype=np.float64), np.asarray(dataset.translations)

    def images(self, position: Floats) -> Floats:
        """Return the images of a point (Å) under the host's symmetry, shape (operations, 3)."""
        rotations, translations = self._operations
        fractional = np.linalg.solve(self.cell.T, position)
        moved = rotations @ fractional + translations
        moved[:, 2] %= 1.0  # of a slab, too, whose cell is periodic for spglib alone
        images: Floats = moved @ self.cell
        return images

    def _apart(self, positions: Floats, position: Floats) -> Floats:
        """Return the distances of positions from one, images along a, b, and a periodic c included, Å."""
        distances: Floats = np.linalg.norm(self._steps(np.atleast_2d(positions - position)), axis=1)
        return distances

    # Candidates

    def _points(self) -> list[_Point]:
        missing = {defect.index: defect for defect in self.defects if defect.replacement is None}
        places = self.pristine.positions[[defect.index for defect in self.defects]]
        points = []
        for lower, upper, shift in self._galleries:
            for kind, position in self._between(lower, upper, shift, missing):
                distances = sorted(np.round(self._apart(places, position), _DIGITS).tolist()) if len(places) else []
                points.append(_Point(kind, position, tuple(distances)))
        return points

    @cached_property
    def _galleries(self) -> list[tuple[Ints, Ints, float]]:
        """The facing atoms below and above each gallery, and how far the upper ones are moved along c, Å."""
        stack = sheets(self.pristine)
        periodic = bool(self.pristine.pbc[2])
        pairs = [*pairwise(stack), *([(stack[-1], stack[0])] if periodic else [])]
        found = []
        for number, (below, above) in enumerate(pairs):
            shift = float(self.cell[2, 2]) if periodic and number == len(pairs) - 1 else 0.0
            lower = below[face_layers(self.pristine[below], "top")[0]]
            upper = above[face_layers(self.pristine[above], "bottom")[0]]
            found.append((lower, upper, shift))
        return found

    def _between(
        self, lower: Ints, upper: Ints, shift: float, missing: dict[int, Defect]
    ) -> list[tuple[str, Floats]]:
        """Return the kind and the position of each candidate of one gallery."""
        fractions, plane = in_plane_fractions(self.pristine), self.cell[:2, :2]
        heights = self.pristine.positions[:, 2]
        sides = [
            _Side(fractions[own], heights[own] + moved, plane, own) for own, moved in ((lower, 0.0), (upper, shift))
        ]
        lateral = [fractions[lower], fractions[upper], hollows_of(fractions[lower], plane)]
        lateral.append(hollows_of(fractions[upper], plane))
        kept: list[Floats] = []
        for point in np.round(np.concatenate(lateral), 9) % 1.0:
            if not kept or lateral_distances(np.array(kept) - point, plane).min() >= _OVER:
                kept.append(point)
        present = np.setdiff1d(np.concatenate([lower, upper]), list(missing))
        moved = np.where(np.isin(present, upper) & ~np.isin(present, lower), shift, 0.0)
        near, levels = fractions[present], heights[present] + moved
        if shift and np.isin(lower, upper).all():  # a sheet and its own image
            near, levels = np.tile(near, (2, 1)), np.concatenate([levels, levels + shift])
        atoms = PeriodicPoints(near, plane, _NEAR, levels)
        return [(self._kind(sides, point, missing), self._roomiest(sides, point, atoms)) for point in kept]

    def _kind(self, sides: Sequence[_Side], point: Floats, missing: dict[int, Defect]) -> str:
        direct = [side.over(point) for side in sides]
        gone = [missing[index] for index in direct if index in missing]
        if gone:
            return f"V_{gone[0].present}"
        if None not in direct:
            return "Top"
        if direct != [None, None]:
            return "Tet"
        first, second = (side.directions(point) for side in sides)
        turned = [np.abs((one - second + 180.0) % 360.0 - 180.0).min() for one in first]
        return "TP" if float(np.mean(turned)) < _PRISM else "Oct"

    def _roomiest(self, sides: Sequence[_Side], point: Floats, atoms: PeriodicPoints) -> Floats:
        """Return the place between the two sides on the vertical through a point that is furthest from all atoms."""
        low, high = (side.plane(point) for side in sides)
        middle = (low + high) / 2
        x, y = point @ self.cell[:2, :2]
        steps = max(1, round((high - low) / 2 / _STEP))
        heights: Floats = middle + np.arange(-steps, steps + 1, dtype=np.float64) * _STEP
        _, nearest = atoms.nearest(np.tile(point, (len(heights), 1)), heights)
        rooms = np.round(np.minimum(nearest, _NEAR), _DIGITS)
        best = np.flatnonzero(rooms == rooms.max())
        height = heights[best[np.argmin(np.abs(heights[best] - middle))]]
        found: Floats = np.array([x, y, height])
        return found

    # An adsorbate

    def place(self, host: Atoms, site: Site, element: str) -> Atoms:
        """Put an adsorbate on an inner site of a host, which may be relaxed.

        It follows the mean displacement of the atoms that are its neighbours in the ideal host.

        Parameters
        ----------
        host
            The host in its cell, atoms in the order of the ideal one.
        site
            Of `sites`, or made by `own`.
        element
            Chemical symbol of the adsorbate.

        Returns
        -------
        Atoms
            A copy with the adsorbate last.

        Raises
        ------
        StructureError
            If the host's atoms are not those of the ideal one, or the element is unknown.
        """
        check_element(element, f"adsorbate on {site.name}")
        check_atoms(host, self.atoms.get_chemical_symbols(), f"site {site.name}")
        position = self.position(site)
        placed: Atoms = host.copy()
        placed.append(Atom(element, position + self._displacement(host, self._apart(self.atoms.positions, position))))
        return placed

    def _displacement(self, host: Atoms, distances: Floats) -> Floats:
        """Return the mean displacement (Å) of those atoms of a host that are nearest by some distances."""
        near = np.flatnonzero(distances < distances.min() + _SHELL)
        moved: Floats = self._steps(host.positions[near] - self.atoms.positions[near]).mean(axis=0)
        return moved

    def end(self, final: Atoms, start: Site) -> EndSite | None:
        """Name the site between the sheets where an adsorbate ended.

        Parameters
        ----------
        final
            Relaxed host with the adsorbate last.
        start
            Site where it was placed, on a face or not.

        Returns
        -------
        EndSite or None
            The nearest site at its height, if within 0.6 Å laterally, otherwise the two nearest. None if no site
            between two sheets is at its height: it is on a face, or within a sheet.
        """
        own = [(start, self.images(self.position(start)))] if start.face == INSIDE else []
        host = final[:-1]
        near = final.get_distances(len(final) - 1, range(len(host)), mic=True)
        place = final.positions[-1] - self._displacement(host, near)
        found = sorted(
            (round(float(np.hypot(step[0], step[1])), _DIGITS), k, site.name, position)
            for k, (site, positions) in enumerate([*self._classes, *own])
            for position, step in zip(positions.tolist(), self._steps(positions - place), strict=True)
            if abs(step[2]) < (ON_SITE if site.face == INSIDE else _LEVEL)
        )
        if not found:
            return None
        distance, _, name, nearest = found[0]
        if distance > ON_SITE:
            others = [one for one in found if self._apart(np.array(one[3]), np.array(nearest))[0] > SAME_POINT]
            return EndSite(f"between {name} and {others[0][2] if others else name}", True, None, start.name)
        if name != start.name:
            return EndSite(name, True, "went through" if start.face in FACES else None, start.name)
        hopped = self._apart(np.array(nearest), self.position(start))[0] > ON_SITE
        return EndSite(name, False, "moved to an equivalent site" if hopped else None, start.name)

    def _steps(self, steps: Floats) -> Floats:
        from ase.geometry import find_mic

        shortest: Floats = find_mic(steps, self.cell, pbc=self.pristine.pbc)[0]
        return shortest


_KINDS: Final = ("Oct", "TP", "Tet", "Top")
"""Octahedral, trigonal prismatic, tetrahedral, and on top of an atom below another one; vacancies go before."""


class _Side:
    """The atoms of one sheet that face a gallery."""

    def __init__(self, fractions: Floats, heights: Floats, plane: Floats, own: Ints) -> None:
        self.fractions, self.heights, self.cell, self.own = fractions, heights, plane, own
        self._tree = PeriodicPoints(fractions, plane, _NEAR)

    def over(self, point: Floats) -> int | None:
        """Return the atom straight below or above a point, if there is one."""
        numbers, distances = self._tree.nearest(point[None])
        return int(self.own[numbers[0]]) if distances[0] < _OVER else None

    def _three(self, point: Floats) -> tuple[Ints, Floats]:
        """Return the three laterally nearest atoms and where they are from a point, shape (3, 2), Å."""
        steps = (wrap(self.fractions - point)[:, None] + image_shifts(self.cell)[None]) @ self.cell
        lengths = np.round(np.linalg.norm(steps, axis=2), 2).ravel()
        nearest = np.argsort(lengths, kind="stable")[:3]
        return nearest // steps.shape[1], steps.reshape(-1, 2)[nearest]

    def plane(self, point: Floats) -> float:
        """Return the mean height of the three laterally nearest atoms, of one straight over a point its own."""
        numbers, steps = self._three(point)
        if np.linalg.norm(steps[0]) < _OVER:
            return float(self.heights[numbers[0]])
        return float(self.heights[numbers].mean())

    def directions(self, point: Floats) -> Floats:
        """Return the directions (degrees) of the three laterally nearest atoms."""
        _, steps = self._three(point)
        degrees: Floats = np.degrees(np.arctan2(steps[:, 1], steps[:, 0]))
        return degrees
