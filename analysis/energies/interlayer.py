"""The distance of layers: of least energy among several, and in a relaxed geometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

_DEGREE = 3


def least_distance(energies_ev: Mapping[float, float]) -> tuple[float, float] | str:
    """Fit a cubic to E(d).

    Parameters
    ----------
    energies_ev
        Energy of the crystal at each distance (Å) of its layers; four or more.

    Returns
    -------
    distance_a, deviation_ev
        The distance of least energy, and the largest deviation of the fit from the energies. Or in words, why there
        is none: the energy is least at an end.
    """
    distances = np.array(sorted(energies_ev))
    energies = np.array([energies_ev[distance] for distance in sorted(energies_ev)])
    least = int(energies.argmin())
    if least in (0, len(distances) - 1):
        there = "below" if least == 0 else "above"
        return (
            f"the energy is least at an end of {distances[0]:.2f} to {distances[-1]:.2f} Å; declare an interlayer_a "
            f"{there} that"
        )
    # Polynomial.fit shifts and scales: powers of numbers that are nearly equal are, too.
    fit = np.polynomial.Polynomial.fit(distances, energies, _DEGREE)
    extrema = [float(r.real) for r in fit.deriv().roots() if abs(r.imag) < 1e-9]
    within = [root for root in extrema if distances[0] < root < distances[-1]]
    best = min(within, key=lambda root: float(fit(root)), default=float(distances[least]))
    return best, float(np.abs(fit(distances) - energies).max())


def distance_between(
    sheets: Sequence[Sequence[int]],
    ideal_a: Sequence[float],
    distances_a: Sequence[float],
    positions_a: Sequence[Sequence[float]],
) -> float:
    """Return the mean distance of neighbouring sheets in a relaxed geometry, Å.

    Parameters
    ----------
    sheets
        Indices of the atoms of each sheet, the lowest first.
    ideal_a
        Mean height of these atoms in the ideal host, Å; with what a vacancy takes from it.
    distances_a
        Distances of neighbouring sheets in the ideal host, Å.
    positions_a
        Shape (atoms, 3), those of an adsorbate behind.
    """
    heights: NDArray[np.float64] = np.asarray(positions_a, dtype=np.float64)[:, 2]
    moved = np.array([heights[list(own)].mean() for own in sheets]) - np.array(ideal_a)
    return float(np.mean(np.array(distances_a) + np.diff(moved)))
