"""Several ions on a host: put on their points, and found on the points where a relaxation left them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from ase import Atom, Atoms

from .geometry import FACES, in_plane_cell, in_plane_fractions, lateral_distances
from .ion_points import IonPoints, resting_height
from .sites import DESORBED, ON_SITE, Site, drift, face_plane, place

# Å. An ion above the first layer that is as near to a lower one lies on it: caesium's atoms are 5.2 Å apart.
_ON_IONS: Final = 5.5


@dataclass(frozen=True)
class ReachedIons:
    """Where several ions are.

    Attributes
    ----------
    first, second
        Indices of the nearest points of the ions on the sheet, and of those on other ions, ascending.
    desorbed
        How many left the sheet.
    between
        How many are further than 0.6 Å beside their points.
    crossed
        How many are on the other face than at the start.
    """

    first: tuple[int, ...]
    second: tuple[int, ...]
    desorbed: int
    between: int
    crossed: int

    @property
    def on_points(self) -> bool:
        """True if every ion has a point of its own."""
        layers = self.first, self.second
        return self.desorbed == 0 and all(len(set(layer)) == len(layer) for layer in layers)


def site_at(points: IonPoints, index: int) -> Site:
    """Return the site of a point, at that point."""
    fractional = float(points.fractions[index, 0]), float(points.fractions[index, 1])
    return replace(points.sites[index], fractional=fractional, face=points.face(index))


def place_ions(
    host: Atoms,
    points: IonPoints,
    first: Mapping[int, float],
    second: Sequence[int],
    element: str,
    spacing_a: float | None,
) -> Atoms:
    """Put ions on a host, which may be relaxed.

    Parameters
    ----------
    host
        The host, atoms in the order of the ideal one.
    points
        Of its sites.
    first
        The height above the local face plane (Å) of an ion on each of some points, by index.
    second
        Points above which an ion touches those of the first layer.
    element
        Of the ions.
    spacing_a
        Distance of an ion of the second layer from the nearest of the first, Å.

    Returns
    -------
    Atoms
        A copy with the ions last, the second layer behind the first.
    """
    placed: Atoms = host.copy()
    for index, height in first.items():
        placed.append(Atom(element, place(host, site_at(points, index), element, height).positions[-1]))
    below = placed.positions[len(host) :].copy()
    cell = in_plane_cell(host)
    for index in second:
        site = site_at(points, index)
        position = place(host, site, element, 0.0).positions[-1]
        up = 1.0 if site.face == "top" else -1.0
        same = below[[points.face(i) == site.face for i in first]]
        fractions = np.linalg.solve(cell.T, (same - position)[:, :2].T).T
        lateral = lateral_distances(fractions, cell)
        position[2] = up * resting_height(up * same[:, 2], lateral, spacing_a or 0.0)
        placed.append(Atom(element, position))
    return placed


def reached_ions(points: IonPoints, final: Atoms, starts: Sequence[int]) -> ReachedIons:
    """Find the points where ions are after a relaxation.

    Parameters
    ----------
    points
        Of all sites of the host.
    final
        The relaxed host with the ions last, in the order of their starts.
    starts
        The points where they were placed.
    """
    host, frame = final[: -len(starts)], points.sites[0].frame
    assert frame is not None  # sites that were found on a host know it
    cell, moved = in_plane_cell(host), drift(host, frame)
    middle = float(host.positions[:, 2].mean())
    nearest: dict[str, list[int]] = {"first": [], "second": []}
    desorbed = between = crossed = 0
    fractions = in_plane_fractions(final)
    for ion, start in zip(range(len(host), len(final)), starts, strict=True):
        face = FACES[0] if final.positions[ion, 2] > middle else FACES[1]
        crossed += face != points.face(start)
        up = 1.0 if face == FACES[0] else -1.0
        height = up * (final.positions[ion, 2] - face_plane(host, frame, face, fractions[ion]))
        layer = "first"
        if height > DESORBED:
            if not _is_on_ions(final, len(host), ion, up):
                desorbed += 1
                continue
            layer = "second"
        here = np.flatnonzero(points.on_top == (face == FACES[0]))
        distances = lateral_distances(points.fractions[here] - (fractions[ion] - moved), cell)
        closest = int(distances.argmin())
        nearest[layer].append(int(here[closest]))
        between += layer == "first" and bool(distances[closest] > ON_SITE)
    return ReachedIons(tuple(sorted(nearest["first"])), tuple(sorted(nearest["second"])), desorbed, between, crossed)


def _is_on_ions(final: Atoms, ions: int, ion: int, up: float) -> bool:
    """Tell whether an ion has another one near and nearer to the sheet."""
    others = np.array([other for other in range(ions, len(final)) if other != ion], dtype=int)
    lower = others[up * (final.positions[ion, 2] - final.positions[others, 2]) > 0] if len(others) else others
    return bool(len(lower)) and bool(final.get_distances(ion, lower, mic=True).min() < _ON_IONS)
