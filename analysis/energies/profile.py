"""The energy along a path: a cubic through the images, with the slopes that their forces give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..arrays import ReactionPath

    Floats = NDArray[np.float64]

_POINTS = 200
"""Points of each segment among which the highest is looked for."""

_BUMP_EV = 0.01
"""A maximum that is above an end by less is that end."""


@dataclass(frozen=True)
class Profile:
    """Energies along a path.

    Attributes
    ----------
    lengths_a
        Of the path up to each image, all atoms' displacements taken together (Å), shape (images,).
    energies_ev, slopes_ev_per_a
        Of each image, along the path.
    """

    lengths_a: Floats
    energies_ev: Floats
    slopes_ev_per_a: Floats

    def at(self, segment: int, parts: Floats) -> Floats:
        """Return the energies (eV) at parts, from 0 to 1, of the way from an image to the next one."""
        length = self.lengths_a[segment + 1] - self.lengths_a[segment]
        first, second = self.energies_ev[segment : segment + 2]
        rise, fall = self.slopes_ev_per_a[segment : segment + 2] * length
        t = parts
        cubic: Floats = (
            (2 * t**3 - 3 * t**2 + 1) * first
            + (t**3 - 2 * t**2 + t) * rise
            + (-2 * t**3 + 3 * t**2) * second
            + (t**3 - t**2) * fall
        )
        return cubic

    def curve(self, points: int = 20) -> tuple[Floats, Floats]:
        """Return lengths (Å) and energies (eV) of a smooth curve, with so many points a segment."""
        parts = np.linspace(0.0, 1.0, points, endpoint=False)
        segments = range(len(self.energies_ev) - 1)
        lengths = [self.lengths_a[n] + parts * (self.lengths_a[n + 1] - self.lengths_a[n]) for n in segments]
        energies = [self.at(n, parts) for n in segments]
        return np.append(np.concatenate(lengths), self.lengths_a[-1]), np.append(
            np.concatenate(energies), self.energies_ev[-1]
        )

    def dip(self, depth_ev: float) -> float | None:
        """Return the place, as 1.4, of the deepest minimum between two maxima; None if none is so deep (eV)."""
        points = _POINTS // 2
        _, energies = self.curve(points)
        before, after = np.maximum.accumulate(energies), np.maximum.accumulate(energies[::-1])[::-1]
        # Where an end is the highest on its side, the way there is no saddle.
        between = (before > energies[0] + _BUMP_EV) & (after > energies[-1] + _BUMP_EV)
        depths = np.where(between, np.minimum(before, after) - energies, 0.0)
        lowest = int(depths.argmax())
        return lowest / points if depths[lowest] > depth_ev else None

    @property
    def highest(self) -> float:
        """Number of the segment and part of it, as 1.4, at which the curve is highest."""
        parts = np.linspace(0.0, 1.0, _POINTS + 1)
        heights = np.array([self.at(segment, parts) for segment in range(len(self.energies_ev) - 1)])
        segment, point = np.unravel_index(int(heights.argmax()), heights.shape)
        return float(segment + parts[point])

    @property
    def highest_ev(self) -> float:
        """Highest energy of the curve (eV)."""
        highest = self.highest
        segment = min(int(highest), len(self.energies_ev) - 2)
        return float(self.at(segment, np.array([highest - segment]))[0])


def profile_of(path: ReactionPath) -> Profile:
    """Return the energies along a path, whose images lie in the order of the path."""
    positions = path.positions_a.reshape(len(path.positions_a), -1)
    forces = path.forces_ev_per_a.reshape(len(positions), -1)
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    lengths = np.append(0.0, np.cumsum(steps))
    ways = np.diff(positions, axis=0) / np.maximum(steps, 1e-12)[:, None]
    tangents = np.vstack([ways[:1], ways[:-1] + ways[1:], ways[-1:]])
    tangents /= np.maximum(np.linalg.norm(tangents, axis=1), 1e-12)[:, None]
    slopes = -np.einsum("ij,ij->i", forces, tangents)
    return Profile(lengths, path.energies_ev - path.energies_ev[0], slopes)
