"""Electron densities on grids: their integrals, their averages over planes, and their differences.

Every function takes `sodiate.analysis.arrays.Density`: electrons per Å³, positive where electrons are, shape
(nx, ny, nz).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ...errors import SodiateError
from ..arrays import Density

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from ..records import Record

SAME_CELL_A = 1e-6
"""Cells whose vectors differ by less than this, in Å, are the same."""

SAME_STATE_EV = 0.005
"""Energies of one geometry that differ by less than this belong to the same electronic state; 2e-6 was measured."""


class DensityMismatch(SodiateError):
    """The difference of two densities means nothing: their points or their electronic states differ."""


@dataclass(frozen=True)
class DensityTerms:
    """The terms of Δρ, of the same atoms at the same places.

    Attributes
    ----------
    together
        Density of the adsorbate on the host.
    host, adsorbate
        Density of each alone.
    atoms
        All atoms, the adsorbate last.
    adsorbate_atoms
        How many of them are the adsorbate's.

    Raises
    ------
    DensityMismatch
        If grids or cells differ.
    """

    together: Density
    host: Density
    adsorbate: Density
    atoms: Atoms
    adsorbate_atoms: int = 1

    def __post_init__(self) -> None:
        _check_same_points(self.together, self.host, "host")
        _check_same_points(self.together, self.adsorbate, "adsorbate")

    @cached_property
    def difference(self) -> Density:
        """Δρ."""
        return density_difference(self.together, self.host, self.adsorbate)


def term_names(adsorbate: str) -> tuple[str, str, str]:
    """Return the names of the terms of Δρ: the adsorbate on the host, the host alone, the adsorbate alone."""
    return f"{adsorbate}-on-host", "host", adsorbate


def integral(density: Density) -> float:
    """Return the number of electrons that a density holds: the sum over its points times the volume per point."""
    return float(density.values_per_a3.sum(dtype=np.float64)) * _volume(density) / density.values_per_a3.size


def density_difference(with_adsorbate: Density, host: Density, adsorbate: Density) -> Density:
    """Return Δρ = ρ(*Na) − ρ(*) − ρ(Na): positive where electrons went when the adsorbate bound.

    Parameters
    ----------
    with_adsorbate, host, adsorbate
        Of the same atoms at the same places, together and apart; on the same grid in the same cell.

    Returns
    -------
    Density
        In e/Å³, shape (nx, ny, nz), in double precision. Its `integral` is zero up to rounding, since the number of
        electrons is the same.

    Raises
    ------
    DensityMismatch
        If grids or cells differ; the message names both.
    """
    total = with_adsorbate.values_per_a3.astype(np.float64)
    for name, part in (("host", host), ("adsorbate", adsorbate)):
        _check_same_points(with_adsorbate, part, name)
        total = total - part.values_per_a3
    return Density(total, with_adsorbate.cell_a)


def _check_same_points(first: Density, second: Density, name: str) -> None:
    if first.values_per_a3.shape != second.values_per_a3.shape:
        grids = ["×".join(map(str, density.values_per_a3.shape)) for density in (first, second)]
        raise DensityMismatch(f"the density with the adsorbate has {grids[0]} points, that of the {name} {grids[1]}.")
    if np.abs(first.cell_a - second.cell_a).max() > SAME_CELL_A:
        raise DensityMismatch(
            f"the cell of the density with the adsorbate is {np.round(first.cell_a, 6).tolist()} Å, that of the "
            f"{name} {np.round(second.cell_a, 6).tolist()} Å."
        )


def check_state(density: Record, lowest: Record) -> None:
    """Refuse a density whose electronic state, such as its spin, differs from that of the relaxed site.

    Parameters
    ----------
    density
        Of the adsorbate on the host.
    lowest
        Of the choice of site that the density follows from.

    Raises
    ------
    DensityMismatch
        If their energies differ by more than 5 meV, although the atoms are at the same places.
    """
    if density.energy_ev is None or lowest.choice is None:
        raise DensityMismatch(f"{density.label} or {lowest.label} has no energy.")
    relaxed = lowest.choice.energies_ev[lowest.choice.site]
    if abs(density.energy_ev - relaxed) > SAME_STATE_EV:
        raise DensityMismatch(
            f"{density.label}: {density.energy_ev:.4f} eV, but {lowest.choice.site} was relaxed to {relaxed:.4f} eV "
            "there: two electronic states. `sodiate show` both, and redo the one that is wrong."
        )


def planar_average(density: Density) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the density along the normal of a slab, summed over each plane: electrons per Å of height.

    Parameters
    ----------
    density
        a and b span the planes, c leads from each plane to the next.

    Returns
    -------
    tuple of arrays
        Heights of the planes above the cell's bottom (Å) and ∫ρ dA over each plane (e/Å), both of shape (nz,). The
        sum of the second times the spacing of the planes is the `integral`.
    """
    area = float(np.linalg.norm(np.cross(density.cell_a[0], density.cell_a[1])))
    planes = density.values_per_a3.shape[2]
    heights = np.arange(planes) * (_volume(density) / area / planes)
    return heights, density.values_per_a3.mean(axis=(0, 1), dtype=np.float64) * area


def transferred_charge(difference: Density, sheet_a: float, adsorbate_a: float) -> float:
    """Return the electrons that an adsorbate gave to a sheet, by integration of Δρ.

    q(z) = ∫ Δρ dV over the sheet's side of the plane z. At its extremum between the sheet and the adsorbate, Δρ
    changes sign; the electrons gained on the sheet's side of that plane were transferred.

    Parameters
    ----------
    difference
        Δρ, which integrates to zero.
    sheet_a, adsorbate_a
        Heights of the sheet's middle and of the adsorbate above the cell's bottom, Å; the adsorbate may be below.

    Returns
    -------
    float
        Electrons, positive if the sheet gained them.
    """
    heights, profile = planar_average(difference)
    if adsorbate_a < sheet_a:
        top = heights[-1] + heights[1]
        heights, profile = (top - heights)[::-1], profile[::-1]
        sheet_a, adsorbate_a = top - sheet_a, top - adsorbate_a
    gained = np.cumsum(profile) * float(np.diff(heights[:2])[0])
    between = gained[(heights > sheet_a) & (heights < adsorbate_a)]
    return float(between[np.abs(between).argmax()]) if between.size else 0.0


def _volume(density: Density) -> float:
    return float(abs(np.linalg.det(density.cell_a)))
