"""Levels of a slab on scales that can be compared: the vacuum on both sides, work functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Bands
from ..records import BandGap, Record
from .gap_and_dos import ElectronicError, band_gap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

PLATEAU_A = (0.5, 2.0)
"""Distances (Å) from the cell's end between which the mean of the planes is the vacuum level."""

FLAT_EV = 0.02
"""Largest variation of the potential over a plateau: a larger one is a field, or the tail of the slab."""

FLAT_EV_PER_A = 0.002
"""The same over an ångström: a field of this strength moves the level by 0.015 eV between a slab and the middle of
15 Å of vacuum, and what is read off at one distance from the slab is no vacuum level any more."""


def should_have_levels(record: Record) -> bool:
    """Tell whether a record has no vacuum levels and should: dry runs have no potential, and crystals no vacuum."""
    periodic = record.geometry is not None and record.geometry.pbc[2]
    return record.vacuum_ev is None and record.physical and not periodic


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
        In eV, below and above the slab; None without a plateau at an end, as for bulk, or for a polar slab without
        dipole correction: `no_vacuum_levels` says which.
    """
    if no_vacuum_levels(planes_ev, height_a) is not None:
        return None
    below, above = (float(levels.mean()) for _, levels in _ends(planes_ev, height_a))
    return below, above


def no_vacuum_levels(planes_ev: Array, height_a: float) -> str | None:
    """Return why there is no vacuum level, with the slope of the potential; None if there is one on either side."""
    for (distances, levels), side in zip(_ends(planes_ev, height_a), ("below", "above"), strict=True):
        if len(levels) < 2:
            return f"no vacuum level: the potential has no two planes in the vacuum {side} the slab"
        slope = float(np.polyfit(distances, levels, 1)[0])
        if abs(slope) > FLAT_EV_PER_A or float(np.ptp(levels)) > FLAT_EV:
            return (
                f"no vacuum level: {side} the slab the potential is not flat, {slope:+.4f} eV/Å towards it; a dipole "
                "correction or more vacuum (vacuum_a) makes it so"
            )
    return None


def _ends(planes_ev: Array, height_a: float) -> list[tuple[Array, Array]]:
    """Return distances from the cell's bottom and from its top, and the potential there, over the plateaus."""
    heights = np.arange(len(planes_ev)) * height_a / len(planes_ev)
    ends = []
    for distances in (heights, height_a - heights):
        there = (distances >= PLATEAU_A[0]) & (distances <= PLATEAU_A[1])
        ends.append((distances[there], np.asarray(planes_ev)[there]))
    return ends


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
