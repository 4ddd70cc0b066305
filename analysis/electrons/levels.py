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
"""Distance from the cell's end of the planes whose mean is the vacuum level."""

FLAT_EV = 0.02
"""By how much the potential may vary over a plateau: more is a field, or the tail of the slab."""

LOCALISED = 0.5
"""Share of a band on the atoms next to a vacancy from which it is a level of the vacancy and not of the host.

An extended band of a 3×3 cell has a third of its tungsten weight on the three of nine atoms.
"""


def vacuum_levels(planes_ev: Array, height_a: float) -> tuple[float, float] | None:
    """Return the vacuum level below and above a slab.

    Parameters
    ----------
    planes_ev
        Electrostatic energy of an electron, averaged over each plane from the cell's bottom to its top, shape (nz,).
    height_a
        Of the cell.

    Returns
    -------
    tuple of float or None
        In eV, below and above the slab; None without a plateau at an end, as for bulk, or for a polar slab without
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
    """Return the energy that takes an electron out of the highest filled state, through the bottom and the top.

    Parameters
    ----------
    vacuum_ev
        Vacuum levels below and above the slab, on the scale of the eigenvalues.
    gap
        Its valence band maximum is the highest filled state; that of a metal is the Fermi level.

    Returns
    -------
    tuple of float
        In eV. Of a semiconductor it is the ionisation energy, since its Fermi level is anywhere in the gap.
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
        Its number from 1, counted from the lowest.
    lowest_ev, highest_ev
        Over the k points, on the scale of the eigenvalues.
    occupation
        0 to 1, over the k points.
    share
        Of the weight on all atoms that is on those next to the vacancy.
    """

    spin: int
    band: int
    lowest_ev: float
    highest_ev: float
    occupation: float
    share: float


@dataclass(frozen=True)
class DefectLevels:
    """The gap of the host beside the levels of its vacancies in it.

    Attributes
    ----------
    levels
        By energy.
    host_gap_ev
        From the highest filled to the lowest empty band that are the host's.
    host_vbm_ev, host_cbm_ev
        Its edges.
    """

    levels: tuple[DefectLevel, ...]
    host_gap_ev: float
    host_vbm_ev: float
    host_cbm_ev: float


def defect_levels(bands: Bands, next_to: Sequence[int]) -> DefectLevels:
    """Tell the levels of vacancies from the bands of the host.

    Parameters
    ----------
    bands
        With the weight of each state on each atom.
    next_to
        Indices of the atoms next to the vacancies.

    Raises
    ------
    ElectronicError
        Without weights on atoms, without atoms, or if no filled or no empty band is the host's.
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
    ours = share > LOCALISED
    filled, empty = (occupation > 0.5) & ~ours, (occupation <= 0.5) & ~ours
    if not filled.any() or not empty.any():
        raise ElectronicError("no band is the host's: too many atoms are next to its vacancies, or too few bands")
    vbm = float(energies.max(axis=1)[filled].max())
    cbm = float(energies.min(axis=1)[empty].min())
    inside = ours & (energies.max(axis=1) > vbm) & (energies.min(axis=1) < cbm)
    levels = [
        DefectLevel(int(s), int(n) + 1, float(energies[s, :, n].min()), float(energies[s, :, n].max()),
                    float(occupation[s, n]), float(share[s, n]))
        for s, n in np.argwhere(inside)
    ]  # fmt: skip
    return DefectLevels(tuple(sorted(levels, key=lambda level: level.lowest_ev)), cbm - vbm, vbm, cbm)


def zero_of(bands: Bands, zero: str, vacuum_ev: tuple[float, float] | None) -> float:
    """Return the energy that is zero on a scale: the ``vacuum`` above the slab, the ``VBM`` or ``E_F``.

    Raises
    ------
    ElectronicError
        If the bands have none.
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
