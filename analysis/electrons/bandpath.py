"""The path through the Brillouin zone of a hexagonal sheet, and bands along it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Bands
from .gap_and_dos import ElectronicError, band_gap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

PATH = ("Γ", "M", "K", "Γ")

SPECIAL = {"Γ": (0.0, 0.0, 0.0), "M": (0.5, 0.0, 0.0), "K": (1 / 3, 1 / 3, 0.0)}
"""Fractions of the reciprocal vectors of a cell with 120° between a and b."""

_SAME = 1e-6


def path_points(cell_a: Array, points: int) -> Array:
    """Return k points along Γ–M–K–Γ at even distances, the special points among them.

    Parameters
    ----------
    cell_a
        Cell vectors as rows, Å, shape (3, 3); a and b have the same length, with 120° between them.
    points
        Total number of points, at least four.

    Returns
    -------
    array
        Fractions of the reciprocal vectors, shape (points, 3).

    Raises
    ------
    ElectronicError
        If the cell is not hexagonal, or there are too few points.
    """
    a, b = np.asarray(cell_a, float)[:2]
    cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    if abs(np.linalg.norm(a) - np.linalg.norm(b)) > 1e-3 or abs(cosine + 0.5) > 1e-3:
        raise ElectronicError("Γ–M–K–Γ is a path of hexagonal cells with 120° between a and b; this cell is none")
    if points < len(PATH):
        raise ElectronicError(f"{points} points are too few for {'–'.join(PATH)}")
    corners = np.array([SPECIAL[name] for name in PATH])
    lengths = np.linalg.norm(np.diff(corners, axis=0) @ _reciprocal(cell_a), axis=1)
    steps = np.maximum(np.round(lengths / lengths.sum() * (points - 1)), 1).astype(int)
    steps[0] += points - 1 - steps.sum()
    legs = [
        first + (last - first) * np.arange(count)[:, None] / count
        for first, last, count in zip(corners[:-1], corners[1:], steps, strict=True)
    ]
    return np.vstack([*legs, corners[-1:]])


def filled_along(energies_ev: Array, kpoints: Array, mesh: Bands, by_atom: Any = None) -> Bands:
    """Return the bands of a path, filled like those of the mesh that its density comes from.

    A path has no Fermi level of its own, since its points do not sample the zone. If the mesh has a gap, as many
    bands are full along the path; otherwise those below the Fermi level of the mesh.

    Parameters
    ----------
    energies_ev
        Eigenvalues in eV, shape (spins, points, bands).
    kpoints
        Of the path, fractional, shape (points, 3).
    mesh
        Bands of the self-consistent calculation, on the same scale.
    by_atom
        Weight of each state on each atom, shape (spins, points, bands, atoms).

    Returns
    -------
    Bands
        Of the path; occupations are 0 or full, weights are equal.
    """
    energies = np.asarray(energies_ev, float)
    full, fermi = 3.0 - len(energies), mesh.fermi_ev
    if band_gap(mesh).gap_ev > 0:
        per_spin = np.einsum("k,skn->s", mesh.weights / mesh.weights.sum(), mesh.occupations) / full
        rank = energies.argsort(axis=2, kind="stable").argsort(axis=2, kind="stable")
        below = rank < per_spin.round()[:, None, None]
        # The Fermi level may lie on an edge of the mesh's bands; bands at further points must not cross it.
        fermi = float(np.clip(fermi, energies[below].max(), energies[~below].min()))
    else:
        below = energies < fermi
    return Bands(
        energies, np.where(below, full, 0.0), kpoints, np.full(len(kpoints), 1 / len(kpoints)), fermi, by_atom
    )


def path_axis(kpoints: Array, cell_a: Array) -> tuple[Array, list[tuple[float, str]]]:
    """Return the distance along a path at each k point, and the places of special points.

    Parameters
    ----------
    kpoints
        Fractional, shape (points, 3).
    cell_a
        Cell vectors as rows, Å, shape (3, 3).

    Returns
    -------
    tuple
        Distance from the first point, 1/Å, shape (points,); and (distance, name) of each special point.
    """
    steps = np.linalg.norm(np.diff(kpoints, axis=0) @ _reciprocal(cell_a), axis=1)
    distance = np.concatenate([[0.0], np.cumsum(steps)])
    ticks = [
        (float(at), name)
        for at, k in zip(distance, kpoints, strict=True)
        for name, special in SPECIAL.items()
        if np.abs(k - special).max() < _SAME
    ]
    return distance, ticks


def _reciprocal(cell_a: Array) -> Array:
    return 2 * np.pi * np.linalg.inv(np.asarray(cell_a, float)).T


def zero_of_bands(bands: Bands) -> tuple[float, str]:
    """Return the zero of energy for bands (eV) and its name: ``VBM`` of a semiconductor, else ``E_F``."""
    edge = band_gap(bands).vbm_ev
    return (bands.fermi_ev, "E_F") if edge is None else (edge, "VBM")
