"""The way through the Brillouin zone of a sheet, and its bands drawn along it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Bands
from .gap_and_dos import ElectronicError, band_gap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..records import Vector

    Array = NDArray[np.float64]

PATH = ("Γ", "M", "K", "Γ")

SPECIAL = {"Γ": (0.0, 0.0, 0.0), "M": (0.5, 0.0, 0.0), "K": (1 / 3, 1 / 3, 0.0)}
"""Fractions of the reciprocal vectors of a cell with 120° between a and b."""

_SAME = 1e-6


def path_corners(cell_a: Array) -> tuple[tuple[str, ...], dict[str, Vector]]:
    """Return the way round the Brillouin zone of a sheet: names of its corners in turn, and where each lies.

    Γ–M–K–Γ of a hexagonal sheet; of a square, rectangular, centred or oblique one that of ASE
    (`ase.cell.Cell.bandpath`, after Setyawan and Curtarolo, Comput. Mater. Sci. 49, 299 (2010)).

    Parameters
    ----------
    cell_a
        Cell vectors as rows, c along the vacuum.

    Raises
    ------
    ElectronicError
        If ASE finds no two-dimensional lattice.
    """
    a, b = np.asarray(cell_a, float)[:2]
    lengths = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    cosine = float(a @ b) / (lengths[0] * lengths[1])
    if abs(lengths[0] - lengths[1]) <= 1e-3 and abs(cosine + 0.5) <= 1e-3:
        return PATH, SPECIAL
    from ase.cell import Cell

    try:
        found = Cell(np.asarray(cell_a, float)).bandpath(pbc=(True, True, False))
    except Exception as error:  # ASE's lattices fail in ways of their own
        raise ElectronicError(
            f"no path through the Brillouin zone of a sheet with a = {lengths[0]:.3f} Å, b = {lengths[1]:.3f} Å and "
            f"{np.degrees(np.arccos(cosine)):.2f}° between them: {error}"
        ) from error
    names = tuple(map(_named, re.findall(r"[A-Z]\d*", found.path)))
    points = {_named(name): (float(k[0]), float(k[1]), 0.0) for name, k in found.special_points.items()}
    return names, points


def _named(name: str) -> str:
    return "Γ" if name == "G" else name.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def path_words(cell_a: Array) -> str:
    """Return a path as it is written: ``Γ–M–K–Γ``."""
    return "–".join(path_corners(cell_a)[0])


def path_points(cell_a: Array, points: int) -> Array:
    """Return k points along the path of a sheet, evenly spaced by their distance, each special point among them.

    Parameters
    ----------
    cell_a
        Cell vectors as rows, c along the vacuum.
    points
        How many in all, at least as many as the path has corners.

    Returns
    -------
    array
        Fractions of the reciprocal vectors, shape (points, 3).

    Raises
    ------
    ElectronicError
        If the lattice has no path, or there are too few points.
    """
    names, special = path_corners(cell_a)
    if points < len(names):
        raise ElectronicError(f"{points} points are too few for {'–'.join(names)}")
    corners = np.array([special[name] for name in names])
    lengths = np.linalg.norm(np.diff(corners, axis=0) @ _reciprocal(cell_a), axis=1)
    steps = np.maximum(np.round(lengths / lengths.sum() * (points - 1)), 1).astype(int)
    rest = points - 1 - int(steps.sum())
    # What rounding left goes to the first leg, or to the longest if the first has not so many.
    steps[0 if steps[0] + rest >= 1 else int(steps.argmax())] += rest
    legs = [
        first + (last - first) * np.arange(count)[:, None] / count
        for first, last, count in zip(corners[:-1], corners[1:], steps, strict=True)
    ]
    return np.vstack([*legs, corners[-1:]])


def filled_along(energies_ev: Array, kpoints: Array, mesh: Bands, by_shell: Any = None) -> Bands:
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
    by_shell
        Weight of each state on the s, p and d states of each atom, shape (spins, points, bands, atoms, 3).

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
    weights = np.full(len(kpoints), 1 / len(kpoints))
    by_atom = None if by_shell is None else by_shell.sum(axis=-1, dtype=np.float32).astype(np.float16)
    return Bands(energies, np.where(below, full, 0.0), kpoints, weights, fermi, by_atom, by_shell)


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
        for name, special in path_corners(cell_a)[1].items()
        if np.abs(k - special).max() < _SAME
    ]
    return distance, ticks


def _reciprocal(cell_a: Array) -> Array:
    return 2 * np.pi * np.linalg.inv(np.asarray(cell_a, float)).T


def zero_of_bands(bands: Bands) -> tuple[float, str]:
    """Return the zero of energy for bands (eV) and its name: ``VBM`` of a semiconductor, else ``E_F``."""
    edge = band_gap(bands).vbm_ev
    return (bands.fermi_ev, "E_F") if edge is None else (edge, "VBM")
