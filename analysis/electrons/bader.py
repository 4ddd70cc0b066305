"""Electrons by atom: the basins of the density, divided where it is least (Bader's atoms in molecules).

The basins are scikit-image's watersheds of the density upside down, flooded from the atoms. Programs made
for Bader's analysis alone were judged first: pybader has had no release since 2022, baderkit does not go with today's
pymatgen, and Henkelman's own is no package. `sodiate export --format cube` writes what they read. For Na in the
sulphur vacancy of WSSe+VS+VSe pybader (run once by hand) and this differ by 0.03 electrons on Na, 0.1 on a W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Density
from .density import DensityTerms, integral, transferred_charge

if TYPE_CHECKING:
    from numpy.typing import NDArray

CORE_A = 0.5
"""Points nearer to an atom are its own: there a pseudo density may have any shape."""

_MARGIN_A = 3.0
"""How far the cell is continued on each side: watersheds know no periodicity."""


def basin_electrons(density: Density, positions_a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the electrons in the basin of each atom.

    Parameters
    ----------
    density
        Electrons per Å³ on the points of a periodic cell.
    positions_a
        Of the atoms, shape (atoms, 3), Å.

    Returns
    -------
    array
        Shape (atoms,). Their sum is the `sodiate.analysis.electrons.density.integral`. Points are not
        shared: what a wall's own points hold is the uncertainty.
    """
    from skimage.segmentation import watershed

    values = density.values_per_a3
    markers = _cores(values.shape, density.cell_a, np.asarray(positions_a, float))
    spacings = np.linalg.norm(density.cell_a, axis=1) / values.shape
    margins = np.ceil(_MARGIN_A / spacings).astype(int)
    around = [(int(n), int(n)) for n in margins]
    upside_down = -np.pad(values.astype(np.float64), around, mode="wrap")
    # All 26 neighbours: along the axes alone, walls that are not along them would be stairs.
    basins = watershed(upside_down, np.pad(markers, around, mode="wrap"), connectivity=np.ones((3, 3, 3)))
    inside = basins[tuple(slice(int(n), int(n) + size) for n, size in zip(margins, values.shape, strict=True))]
    held = np.bincount(inside.ravel(), values.ravel().astype(np.float64), len(positions_a) + 1)[1:]
    volume: NDArray[np.float64] = held * abs(np.linalg.det(density.cell_a)) / values.size
    return volume


@dataclass(frozen=True)
class ChargeTransfer:
    """Electrons that an adsorbate gave to a sheet, counted in two ways; positive if it lost them.

    ``by_plane`` is what Δρ brought to the sheet's side of the plane between them, ``by_basin`` what the adsorbate's
    basin lacks. They differ by the electrons that stay between the two, which the plane and the basin's wall divide
    otherwise.
    """

    by_plane: float
    by_basin: float


def charge_transfer(terms: DensityTerms) -> ChargeTransfer:
    """Count the electrons that an adsorbate gave; alone, it holds those that it began with."""
    heights = terms.atoms.positions[:, 2]
    kept = basin_electrons(terms.together, terms.atoms.positions)[-1]
    return ChargeTransfer(
        by_plane=transferred_charge(terms.difference, float(heights[:-1].mean()), float(heights[-1])),
        by_basin=float(integral(terms.adsorbate) - kept),
    )


def _cores(
    shape: tuple[int, ...], cell_a: NDArray[np.float64], positions_a: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Mark the points next to each atom, and the nearest one in any case, with its number from 1."""
    markers = np.zeros(shape, dtype=np.int32)
    # So many points reach CORE_A along each axis, whatever the angles.
    heights = 1 / np.linalg.norm(np.linalg.inv(cell_a), axis=0)
    reach = [int(np.ceil(CORE_A / height * n)) for height, n in zip(heights, shape, strict=True)]
    offsets = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    for number, fractions in enumerate(np.linalg.solve(cell_a.T, positions_a.T).T, start=1):
        points = np.round(fractions * shape).astype(int) + offsets
        away = np.linalg.norm((points / shape - fractions) @ cell_a, axis=1)
        kept = points[(away < CORE_A) | (away == away.min())] % shape
        markers[tuple(kept.T)] = number
    return markers
