"""Where the outermost layer of a rippled or tilted face is next to a point, and how it leans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .geometry import Floats, image_shifts, wrap

# Atoms to which a plane is fitted: one and its neighbours in a close-packed layer.
_FITTED: Final = 7

# Steps by which the foot of a place above a face is found.
_STEPS: Final = 3


@dataclass(frozen=True)
class LocalPlane:
    """The plane of a face at a point: its height there (Å), and its slopes along x and y."""

    height_a: float
    slopes: Floats

    @property
    def normal(self) -> Floats:
        """Unit vector along the outer normal of a top face."""
        leaning: Floats = np.array([-self.slopes[0], -self.slopes[1], 1.0])
        return leaning / np.linalg.norm(leaning)


def local_plane(fractions: Floats, heights_a: Floats, cell: Floats, point: Floats) -> LocalPlane:
    """Fit a plane to the atoms of a layer that are laterally nearest to a point.

    Parameters
    ----------
    fractions, heights_a
        Of the layer's atoms: lateral fractional coordinates, shape (atoms, 2), and z in Å, shape (atoms,).
    cell
        In-plane lattice, shape (2, 2), Å.
    point
        Fractional, shape (2,).
    """
    steps = (wrap(fractions - point)[:, None] + image_shifts(cell)[None]) @ cell
    lengths = np.round(np.linalg.norm(steps, axis=2), 2).ravel()
    # With all that are as far as the last one, so that no order of atoms decides.
    reach = np.sort(lengths)[min(_FITTED, len(lengths)) - 1] + 0.05
    near = np.flatnonzero(lengths <= reach)
    lateral, heights = steps.reshape(-1, 2)[near], heights_a[near // steps.shape[1]]
    height, first, second = np.linalg.lstsq(np.column_stack([np.ones(len(near)), lateral]), heights, rcond=None)[0]
    return LocalPlane(float(height), np.array([first, second]))


def foot(fractions: Floats, heights_a: Floats, cell: Floats, place: Floats, z_a: float) -> tuple[Floats, float]:
    """Return the point of a layer that a place lies straight above, along the normal there, and how far.

    Parameters
    ----------
    fractions, heights_a, cell
        As for `local_plane`.
    place, z_a
        Lateral fractional coordinates, shape (2,), and z in Å.

    Returns
    -------
    point, distance_a
        Fractional, shape (2,); positive above.
    """
    point = np.array(place, dtype=np.float64)
    distance = 0.0
    for _ in range(_STEPS):
        plane = local_plane(fractions, heights_a, cell, point)
        from_there = (wrap(place - point)) @ cell
        offset = np.array([*from_there, z_a - plane.height_a])
        distance = float(offset @ plane.normal)
        lateral = from_there - distance * plane.normal[:2]
        point = point + np.linalg.solve(cell.T, lateral)
    return point, distance
