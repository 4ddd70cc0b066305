"""Levels of a slab on scales that can be compared: the vacuum on both sides, work functions, defect levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Bands
from ..records import BandGap
from .gap_and_dos import ElectronicError, band_gap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

PLATEAU_A = (0.5, 2.0)
"""Distances (Å) from the cell's end between which the mean of the planes is the vacuum level."""

FLAT_EV = 0.02
"""Largest variation of the potential over a plateau: a larger one is a field, or the tail of the slab."""

LOCALISED = 0.5
"""A band with more than this share on the atoms next to a vacancy is a level of the vacancy, not of the host.

An extended band of a 3×3 cell has a third of its tungsten weight on the three of nine atoms.
"""


def vacuum_levels(planes_ev: Array, height_a: float) -> tuple[float, float] | None:
    """Return the vacuum level below and above a slab.

    Parameters
    ----------
    planes_ev
        Electrostatic energy of an electron (eV), averaged over each plane from the cell's bottom to its top, shape
        (nz,).
    height_a
        Of the cell, Å.

    Returns
    -------
    tuple of float or None
        In eV, below and above the slab; None without a plateau at both ends, as for bulk or for a polar slab without
        dipole correction.
    """
    heights = np.arange(len(planes_ev)) * height_a / len(planes_ev)
    levels = []
    for distance in (heights, height_a - heights):
        plateau = planes_ev[(distance >= PLATEAU_A[0]) & (distance <= PLATEAU_A[1])]
        if not plateau.size or float(np.ptp(plateau)) > FLAT_EV:
            return None
        levels.append(float(plateau.mean()))
    return levels[0], levels[1]


def work_functions(vacuum_ev: tuple[float, float], gap: BandGap) -> tuple[float, float]:
    """Return the energy to remove an electron from the highest filled state, through the bottom and the top.

    Parameters
    ----------
    vacuum_ev
        Vacuum levels below and above the slab, on the scale of the eigenvalues.
    gap
        The highest filled state is its valence band maximum, or the Fermi level of a metal.

    Returns
    -------
    tuple of float
        In eV. For a semiconductor these are ionisation energies, since its Fermi level is anywhere in the gap.
    """
    highest = gap.fermi_ev if gap.vbm_ev is None else gap.vbm_ev
    return vacuum_ev[0] - highest, vacuum_ev[1] - highest


@dataclass(frozen=True)
class DefectLevel:
    """A band that belongs to a vacancy.

    Attributes
    ----------
    spin
        0 or 1.
    band
        Its number, counted from 1 for the lowest band.
    lowest_ev, highest_ev
        Over the k points, on the scale of the eigenvalues.
    occupation
        0 to 1, averaged over the k points.
    share
        Fraction of its weight on all atoms that lies on the atoms next to the vacancy.
    """

    spin: int
    band: int
    lowest_ev: float
    highest_ev: float
    occupation: float
    share: float


@dataclass(frozen=True)
class DefectLevels:
    """The gap of the host, and the levels of its vacancies inside it.

    Attributes
    ----------
    levels
        In order of energy.
    host_gap_ev
        From the highest filled to the lowest empty band of the host.
    host_vbm_ev, host_cbm_ev
        The edges of this gap.
    """

    levels: tuple[DefectLevel, ...]
    host_gap_ev: float
    host_vbm_ev: float
    host_cbm_ev: float


def defect_levels(bands: Bands, next_to: Sequence[int]) -> DefectLevels:
    """Separate the levels of vacancies from the bands of the host.

    Parameters
    ----------
    bands
        With the weight of each state on each atom, shape (spins, k points, bands, atoms).
    next_to
        Indices of the atoms next to the vacancies.

    Raises
    ------
    ElectronicError
        If the weights or the indices are missing, or no filled or no empty band belongs to the host.
    """
    if bands.by_atom is None or not len(next_to):
        raise ElectronicError("defect levels need the weight of each state on each atom, and atoms next to a vacancy")
    order = bands.energies_ev.argsort(axis=2, kind="stable")
    energies = np.take_along_axis(bands.energies_ev, order, axis=2)
    filling = np.take_along_axis(bands.occupations, order, axis=2) / (3 - len(energies))
    by_atom = np.take_along_axis(bands.by_atom.astype(np.float64), order[..., None], axis=2)
    weights = bands.weights / bands.weights.sum()
    share = np.einsum("k,skn->sn", weights, by_atom[..., list(next_to)].sum(axis=-1))
    share /= np.maximum(np.einsum("k,skn->sn", weights, by_atom.sum(axis=-1)), 1e-9)
    occupation = np.einsum("k,skn->sn", weights, filling)
    localised = share > LOCALISED
    filled, empty = (occupation > 0.5) & ~localised, (occupation <= 0.5) & ~localised
    if not filled.any() or not empty.any():
        raise ElectronicError("no band is the host's: too many atoms are next to its vacancies, or too few bands")
    vbm = float(energies.max(axis=1)[filled].max())
    cbm = float(energies.min(axis=1)[empty].min())
    inside = localised & (energies.max(axis=1) > vbm) & (energies.min(axis=1) < cbm)
    levels = [
        DefectLevel(
            spin=int(s),
            band=int(n) + 1,
            lowest_ev=float(energies[s, :, n].min()),
            highest_ev=float(energies[s, :, n].max()),
            occupation=float(occupation[s, n]),
            share=float(share[s, n]),
        )
        for s, n in np.argwhere(inside)
    ]
    return DefectLevels(tuple(sorted(levels, key=lambda level: level.lowest_ev)), cbm - vbm, vbm, cbm)


def zero_of(bands: Bands, zero: str, vacuum_ev: tuple[float, float] | None) -> float:
    """Return the energy (eV, on the scale of the eigenvalues) from which a scale counts.

    Parameters
    ----------
    bands
        The eigenvalues.
    zero
        The scale: ``vacuum`` (above the slab), ``VBM`` or ``E_F``.
    vacuum_ev
        Vacuum levels below and above the slab.

    Raises
    ------
    ElectronicError
        If the bands have no such zero.
    """
    if zero == "vacuum":
        if vacuum_ev is None:
            raise ElectronicError("no vacuum level was recorded: this slab has none, or its record is older")
        return vacuum_ev[1]
    if zero == "E_F":
        return bands.fermi_ev
    edge = band_gap(bands).vbm_ev
    if edge is None:
        raise ElectronicError("a metal has no valence band maximum; choose E_F or vacuum")
    return edge
