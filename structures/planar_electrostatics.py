"""Energies of point charges that repeat in a plane, each with its opposite spread over the middle of the sheet."""

from typing import Final

import numpy as np

from .geometry import Floats

COULOMB_EV_A: Final = 14.3996
"""e²/(4πε₀), eV Å."""

# Where erfc(x) is below 1e-10.
_FAR: Final = 4.6


def interactions(fractions: Floats, heights_a: Floats, cell: Floats) -> tuple[Floats, Floats]:
    """Return what charges of one electron cost alone and in pairs, for ranking how ions arrange themselves.

    Each charge repeats along both lattice vectors and has an opposite one spread evenly over the plane at height
    zero: an ion gave its electron to the sheet. Nothing is screened, so that orders are meant and not energies. The
    sums are those of Parry, Surf. Sci. 49, 433 (1975), 54, 195 (1976).

    Parameters
    ----------
    fractions
        In-plane fractional coordinates, shape (points, 2).
    heights_a
        Heights above the middle of the sheet, shape (points,), Å.
    cell
        In-plane lattice, shape (2, 2), Å.

    Returns
    -------
    tuple of ndarray
        Of each charge with its own images and plane, shape (points,), and of each pair, shape (points, points) with
        zeros on the diagonal; eV.
    """
    area = abs(float(np.linalg.det(cell)))
    lateral = (fractions[:, None] - fractions[None]) @ cell
    vertical = np.abs(heights_a[:, None] - heights_a[None])
    alpha = np.sqrt(np.pi / area)
    potential = _direct(lateral, vertical, cell, alpha) + _reciprocal(lateral, vertical, cell, alpha, area)
    # That of a lattice of charges alone diverges as the plane's does with the other sign.
    to_plane = 2 * np.pi / area * np.abs(heights_a)
    alone = COULOMB_EV_A * (np.diag(potential) / 2 + to_plane)
    pairs: Floats = COULOMB_EV_A * (potential + to_plane[:, None] + to_plane[None])
    np.fill_diagonal(pairs, 0.0)
    return alone, pairs


def _shifts(lattice: Floats, reach: float) -> Floats:
    """Return the vectors of a lattice that may lead within a reach of a cell, shape (vectors, 2)."""
    spacings = abs(float(np.linalg.det(lattice))) / np.linalg.norm(lattice, axis=1)[::-1]
    n, m = (int(np.ceil(reach / spacing)) + 1 for spacing in spacings)
    steps = [(i, j) for i in range(-n, n + 1) for j in range(-m, m + 1)]
    vectors: Floats = np.array(steps, dtype=np.float64) @ lattice
    return vectors


def _direct(lateral: Floats, vertical: Floats, cell: Floats, alpha: float) -> Floats:
    from scipy.special import erfc

    potential = np.zeros_like(vertical)
    for shift in _shifts(cell, _FAR / alpha):
        distances = np.hypot(np.linalg.norm(lateral + shift, axis=-1), vertical)
        same = distances < 1e-9
        safe = np.where(same, 1.0, distances)
        # The charge's own share in the other sum is taken out where it meets itself.
        potential += np.where(same, -2 * alpha / np.sqrt(np.pi), erfc(alpha * safe) / safe)
    return potential


def _reciprocal(lateral: Floats, vertical: Floats, cell: Floats, alpha: float, area: float) -> Floats:
    from scipy.special import erf, erfc, erfcx

    scaled = alpha * vertical
    potential = -2 * np.pi / area * (vertical * erf(scaled) + np.exp(-(scaled**2)) / (alpha * np.sqrt(np.pi)))
    reciprocal = np.asarray(2 * np.pi * np.linalg.inv(cell).T, dtype=np.float64)
    for vector in _shifts(reciprocal, 2 * alpha * _FAR):
        length = float(np.linalg.norm(vector))
        if length < 1e-9 or length > 2 * alpha * _FAR:
            continue
        half = length / (2 * alpha)
        # exp(Gz) erfc(x) with x = G/2α + αz, of which the first factor alone may overflow.
        above = erfcx(half + scaled) * np.exp(-(half**2) - scaled**2)
        below = np.exp(-length * vertical) * erfc(half - scaled)
        potential += np.pi / (area * length) * np.cos(lateral @ vector) * (above + below)
    return potential
