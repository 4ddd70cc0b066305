"""X-ray powder diffraction of crystals: where peaks lie, which reflections measured ones are, and the cell they give.

Bragg's law: λ = 2 d sin θ. Intensities are those of pymatgen's `XRDCalculator`: structure and Lorentz–polarisation
factors, no thermal motion, texture or absorption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import acos, asin, degrees, prod, radians, sin
from typing import TYPE_CHECKING

import numpy as np

from ..errors import SodiateError

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CU_KA_A = 1.54184
"""Cu Kα, the mean of Kα1 and Kα2 by their intensities, Å."""

WITHIN_DEG = 1.0
"""A measured peak is a reflection of the crystal that lies no further from it, in 2θ."""

LEAST_PERCENT = 1.0
"""And that has this share of the strongest one's intensity."""

_MOST_CHOICES = 20_000

_SYMMETRY_A = 1e-2
"""How exactly a file's atoms have the symmetry of their crystal."""

_RANGE_DEG = (5.0, 90.0)

Index = tuple[int, int, int]


class DiffractionError(SodiateError):
    """Peaks cannot be indexed, or do not fix a cell."""


def spacing_of(two_theta_deg: float, wavelength_a: float = CU_KA_A) -> float:
    """Return the distance of lattice planes (Å) whose first-order reflection lies at 2θ (degrees)."""
    return wavelength_a / (2.0 * sin(radians(two_theta_deg) / 2.0))


def two_theta_of(spacing_a: float, wavelength_a: float = CU_KA_A) -> float:
    """Return 2θ (degrees) of the first-order reflection of lattice planes at a distance (Å).

    Raises
    ------
    DiffractionError
        If they are nearer to each other than half a wavelength.
    """
    if spacing_a < wavelength_a / 2.0:
        raise DiffractionError(f"planes {spacing_a:g} Å apart reflect nothing of {wavelength_a:g} Å.")
    return 2.0 * degrees(asin(wavelength_a / (2.0 * spacing_a)))


@dataclass(frozen=True)
class Reflection:
    """A reflection of a crystal: its indices, 2θ, and its intensity in per cent of the strongest one's."""

    index: Index
    two_theta_deg: float
    intensity: float


def reflections(
    atoms: Atoms, wavelength_a: float = CU_KA_A, range_deg: tuple[float, float] = _RANGE_DEG
) -> list[Reflection]:
    """Return the reflections of a crystal by 2θ, with the indices of the cell that it is given in.

    Parameters
    ----------
    atoms
        The crystal.
    wavelength_a
        Å.
    range_deg
        Of 2θ.
    """
    from pymatgen.analysis.diffraction.xrd import XRDCalculator
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.structure import Structure

    rotations = _rotations(atoms)
    # Equivalent reflections of a cell with rounded edges lie a little apart, and would count as several weak ones.
    metric = np.mean([w.T @ atoms.cell.array @ atoms.cell.array.T @ w for w in rotations], axis=0)
    lattice = Lattice.from_parameters(*_lengths(metric), *_angles(metric))
    structure = Structure(lattice, atoms.get_chemical_symbols(), atoms.get_scaled_positions())
    pattern = XRDCalculator(wavelength_a).get_pattern(structure, two_theta_range=range_deg)
    found = []
    for angle, intensity, families in zip(pattern.x, pattern.y, pattern.hkls, strict=True):
        index = families[0]["hkl"]  # of a hexagonal cell h, k, −h−k, l
        three = int(index[0]), int(index[1]), int(index[-1])
        found.append(Reflection(_usual(three, rotations), float(angle), float(intensity)))
    return found


def _usual(index: Index, rotations: Sequence[NDArray[np.int32]]) -> Index:
    """Return the indices among equivalent ones that people write: (110) for (2 -1 0) of a hexagonal cell."""
    equivalent: set[Index] = set()
    for rotation in rotations:
        h, k, l_ = (int(number) for number in np.array(index) @ rotation)
        equivalent |= {(h, k, l_), (-h, -k, -l_)}
    return max(equivalent, key=lambda one: (sum(number >= 0 for number in one), one))


def _rotations(atoms: Atoms) -> Sequence[NDArray[np.int32]]:
    """Return the rotations of a crystal's fractional coordinates."""
    import spglib

    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.get_symmetry(cell, symprec=_SYMMETRY_A)
    return [np.eye(3, dtype=np.int32)] if found is None else list(found["rotations"])


@dataclass(frozen=True)
class CellFit:
    """A cell by least squares from peaks with indices.

    Attributes
    ----------
    lengths_a, angles_deg
        Of the cell.
    indices
        Of each peak.
    two_theta_deg
        Where the fitted cell has each of them.
    free
        How many numbers the fit chose: two for a hexagonal cell.
    rms_deg
        Root of the mean square of calculated less measured 2θ.
    """

    lengths_a: tuple[float, float, float]
    angles_deg: tuple[float, float, float]
    indices: tuple[Index, ...]
    two_theta_deg: tuple[float, ...]
    free: int
    rms_deg: float


def fit_cell(
    atoms: Atoms, peaks_deg: Sequence[float], indices: Sequence[Index], wavelength_a: float = CU_KA_A
) -> CellFit:
    """Fit a cell of the crystal's symmetry to peaks, by least squares.

    1/d² = hᵀ G* h is linear in what symmetry leaves free of the reciprocal metric G*; each peak has the same error in
    2θ, so that its weight is the slope of 2θ against 1/d².

    Parameters
    ----------
    atoms
        The crystal; only its symmetry counts.
    peaks_deg, indices
        2θ of each peak, and its indices.
    wavelength_a
        Å.

    Raises
    ------
    DiffractionError
        If the peaks do not fix the cell, or give none.
    """
    metrics = _free_metrics(atoms)
    angles, hkl = np.radians(np.asarray(peaks_deg, float)), np.asarray(indices, float)
    inverse_squares = (2.0 * np.sin(angles / 2.0) / wavelength_a) ** 2
    weights = wavelength_a**2 / (2.0 * np.sin(angles))
    rows = np.einsum("ni,mij,nj->nm", hkl, metrics, hkl) * weights[:, None]
    free = len(metrics)
    if np.linalg.matrix_rank(rows, tol=1e-8 * float(np.abs(rows).max())) < free:
        written = ", ".join(map(in_words, indices))
        raise DiffractionError(f"the peaks {written} do not fix the {free} free numbers of this cell; give others.")
    solution = np.linalg.lstsq(rows, inverse_squares * weights, rcond=None)[0]
    reciprocal = np.einsum("m,mij->ij", solution, metrics)
    if np.linalg.eigvalsh(reciprocal).min() <= 0:
        raise DiffractionError(f"no cell has peaks {', '.join(map(in_words, indices))} where they are.")
    metric = np.linalg.inv(reciprocal)
    spacings = 1.0 / np.sqrt(np.einsum("ni,ij,nj->n", hkl, reciprocal, hkl))
    found = [two_theta_of(float(spacing), wavelength_a) for spacing in spacings]
    return CellFit(
        _lengths(metric),
        _angles(metric),
        tuple(indices),
        tuple(found),
        free,
        float(np.sqrt(np.mean((np.array(found) - np.asarray(peaks_deg)) ** 2))),
    )


def _lengths(metric: Floats) -> tuple[float, float, float]:
    first, second, third = (float(length) for length in np.sqrt(np.diag(metric)))
    return first, second, third


def _angles(metric: Floats) -> tuple[float, float, float]:
    a, b, c = _lengths(metric)
    cosines = metric[1, 2] / (b * c), metric[0, 2] / (a * c), metric[0, 1] / (a * b)
    alpha, beta, gamma = (degrees(acos(cosine)) for cosine in cosines)
    return alpha, beta, gamma


def _free_metrics(atoms: Atoms) -> Floats:
    """Return a basis of the reciprocal metrics that the crystal's rotations leave as they are, (free, 3, 3)."""
    inverses = [np.linalg.inv(rotation) for rotation in _rotations(atoms)]
    averages = []
    for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        one = np.zeros((3, 3))
        one[i, j] = one[j, i] = 1.0
        averages.append(np.mean([inverse @ one @ inverse.T for inverse in inverses], axis=0).ravel())
    _, sizes, basis = np.linalg.svd(np.array(averages))
    return np.array(basis[: int((sizes > 1e-8).sum())].reshape(-1, 3, 3))


def indexed(
    atoms: Atoms,
    peaks_deg: Sequence[float],
    wavelength_a: float = CU_KA_A,
    within_deg: float = WITHIN_DEG,
) -> CellFit:
    """Index peaks by the reflections of a crystal near them: of all choices the one whose fitted cell is nearest.

    Where the peaks are no more than the free numbers of the cell, every choice fits, and each peak is the nearest
    reflection.

    Parameters
    ----------
    atoms
        The crystal.
    peaks_deg
        2θ of each peak.
    wavelength_a
        Å.
    within_deg
        How far from a peak its reflection may lie.

    Raises
    ------
    DiffractionError
        If a peak has no reflection near it, or there are too many choices.
    """
    low, high = min(peaks_deg) - within_deg, max(peaks_deg) + within_deg
    found = reflections(atoms, wavelength_a, (max(low, 1.0), min(high, 179.0)))
    choices: list[list[Reflection]] = []
    for peak in peaks_deg:
        near = [r for r in found if abs(r.two_theta_deg - peak) <= within_deg and r.intensity >= LEAST_PERCENT]
        if not near:
            raise DiffractionError(f"no reflection lies within {within_deg:g}° of the peak at {peak:g}°.")
        choices.append(sorted(near, key=lambda one, at=peak: abs(one.two_theta_deg - at)))  # type: ignore[misc]
    number = prod(map(len, choices))
    if number > _MOST_CHOICES:
        raise DiffractionError(f"the peaks can be indexed in {number} ways; give their indices.")
    fits = []
    for choice in product(*choices):
        indices = [one.index for one in choice]
        if len(set(indices)) == len(indices):
            try:
                fits.append(fit_cell(atoms, peaks_deg, indices, wavelength_a))
            except DiffractionError:
                continue
    if not fits:
        raise DiffractionError("no choice of reflections near these peaks fixes the cell; give more peaks.")
    return fits[0] if len(peaks_deg) <= fits[0].free else min(fits, key=lambda fit: fit.rms_deg)


def in_words(index: Index) -> str:
    """Return indices as ``(103)``, ``(1 0 12)`` where they have several digits."""
    separator = "" if all(0 <= number < 10 for number in index) else " "
    return f"({separator.join(map(str, index))})"
