"""Arrays kept beside a record: eigenvalues, densities of states, trajectories, densities, paths, vibrations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Bands:
    """Eigenvalues of one calculation.

    Attributes
    ----------
    energies_ev, occupations
        Shape (spins, k points, bands); occupations run from 0 to 1 in a spin-polarised calculation and from
        0 to 2 in one that is not.
    kpoints
        Fractional, shape (k points, 3).
    weights
        Shape (k points,), summing to 1.
    fermi_ev
        Fermi level on the scale of the eigenvalues.
    by_atom
        Weight of each state on each atom, shape (spins, k points, bands, atoms), stored to three digits. The weights
        of a state need not add up to 1: that depends on how the code projects. None in older records.
    by_shell
        The same weights, of the s, p and d states of each atom, shape (spins, k points, bands, atoms, 3); of bands
        along a path alone, None in older records.
    """

    energies_ev: NDArray[np.float64]
    occupations: NDArray[np.float64]
    kpoints: NDArray[np.float64]
    weights: NDArray[np.float64]
    fermi_ev: float
    by_atom: NDArray[np.floating[Any]] | None = None
    by_shell: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True)
class Dos:
    """Density of states on a grid.

    Attributes
    ----------
    energies_ev
        Shape (points,), on the scale of the eigenvalues.
    total
        States per eV and cell, shape (spins, points).
    projected
        The same shape for each element and orbital, keyed ``"W-d"``.
    fermi_ev, broadening_ev
        Fermi level, and the width (standard deviation) of the Gaussian broadening; None if the code's own.
    """

    energies_ev: NDArray[np.float64]
    total: NDArray[np.float64]
    projected: dict[str, NDArray[np.float64]]
    fermi_ev: float
    broadening_ev: float | None


@dataclass(frozen=True)
class Trajectory:
    """Steps of a relaxation.

    Attributes
    ----------
    energies_ev
        Shape (steps,).
    positions_a, forces_ev_per_a
        Shape (steps, atoms, 3).
    cells_a
        Cell vectors as rows, shape (steps, 3, 3); None where the cell was fixed.
    stresses_ev_per_a3
        Shape (steps, 6): xx, yy, zz, yz, xz, xy, positive if the cell tends to shrink; None where the cell was fixed,
        and in older records.
    """

    energies_ev: NDArray[np.float64]
    positions_a: NDArray[np.float64]
    forces_ev_per_a: NDArray[np.float64]
    cells_a: NDArray[np.float64] | None = None
    stresses_ev_per_a3: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Density:
    """Electron density on the points of a regular grid, or a difference of such densities.

    Attributes
    ----------
    values_per_a3
        Electrons per Å³, positive where electrons are, both spins together, shape (nx, ny, nz); point (i, j, k) lies
        at i/nx, j/ny, k/nz of the cell vectors. Stored in single precision, to 6e-8 of each value and of an integral.
    cell_a
        Cell vectors as rows, Å, shape (3, 3).
    """

    values_per_a3: NDArray[np.floating[Any]]
    cell_a: NDArray[np.float64]


@dataclass(frozen=True)
class ReactionPath:
    """Images along a path of an adsorbate, in their order, the relaxed ends among them.

    Attributes
    ----------
    energies_ev
        That the forces belong to, shape (images,), all with the same settings.
    positions_a, forces_ev_per_a
        Shape (images, atoms, 3); positions are not wrapped.
    saddle
        Number of the image that is the saddle; of an end if the energy rises all the way there.
    moved
        Atoms that the second derivatives are of, shape (moved,); None without modes.
    hessians_ev_per_a2
        Second derivatives at the start and at the saddle, shape (2, 3 moved, 3 moved); None without modes.
    """

    energies_ev: NDArray[np.float64]
    positions_a: NDArray[np.float64]
    forces_ev_per_a: NDArray[np.float64]
    saddle: int
    moved: NDArray[np.int64] | None = None
    hessians_ev_per_a2: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class SecondDerivatives:
    """Second derivatives of the energy of a relaxed geometry, the atoms that are not named at rest.

    Attributes
    ----------
    moved
        The atoms that move, shape (moved,).
    hessian_ev_per_a2
        Symmetric, shape (3 moved, 3 moved).
    """

    moved: NDArray[np.int64]
    hessian_ev_per_a2: NDArray[np.float64]


ArrayRecord = Bands | Dos | Trajectory | Density | ReactionPath | SecondDerivatives


def to_arrays(value: ArrayRecord) -> dict[str, NDArray[Any]]:
    """Flatten an array record into named arrays, as stored in one npz file.

    Returns
    -------
    dict
        Each field by its name, in its shape and unit, numbers with shape (); each entry of a dict field as
        ``FIELD:KEY``. Fields that are None are absent.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name, item in vars(value).items():
        if isinstance(item, dict):
            arrays |= {f"{name}:{key}": np.asarray(array) for key, array in item.items()}
        elif item is not None:
            arrays[name] = np.asarray(item)
    return arrays


def from_arrays(kind: str, arrays: dict[str, NDArray[Any]]) -> ArrayRecord:
    """Rebuild an array record.

    Parameters
    ----------
    kind
        ``bands``, ``dos``, ``trajectory``, ``density``, ``path`` or ``vibrations``.
    arrays
        As `to_arrays` returns them.
    """
    plain: dict[str, Any] = {k: (v.item() if v.ndim == 0 else v) for k, v in arrays.items() if ":" not in k}
    if kind == "bands":
        return Bands(**plain)
    if kind == "trajectory":
        return Trajectory(**plain)
    if kind == "density":
        return Density(**plain)
    if kind == "path":
        return ReactionPath(**plain)
    if kind == "vibrations":
        return SecondDerivatives(**plain)
    projected = {k.split(":", 1)[1]: v for k, v in arrays.items() if k.startswith("projected:")}
    return Dos(projected=projected, **{"broadening_ev": None} | plain)
