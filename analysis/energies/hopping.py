"""Rates of hops and the diffusion that follows from them.

Transition-state theory in its harmonic form: G. H. Vineyard, J. Phys. Chem. Solids 3, 121 (1957).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..records import Saddle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..arrays import ReactionPath

    Floats = NDArray[np.float64]

BOLTZMANN_EV_PER_K = 8.617333262e-5

TEMPERATURE_K = 300.0

ASSUMED_HZ = 1e13
"""Attempt frequency where no modes were computed: the usual assumption, right to a factor of ten or so."""

_HZ = 1.0 / (2.0 * np.pi) * np.sqrt(1.602176634e-19 / 1.66053906892e-27) * 1e10
"""Frequency (Hz) of a mode of 1 eV/(Å² u)."""

HZ_PER_CM = 2.99792458e10

Jump = tuple[int, int, float, float, float]
"""From a place to another one, the lateral vector (Å) and the rate (1/s)."""


@dataclass(frozen=True)
class Modes:
    """Vibrations of an adsorbate and its neighbours, the rest at rest.

    Attributes
    ----------
    start_hz, saddle_hz
        In ascending order; imaginary ones are negative.
    """

    start_hz: tuple[float, ...]
    saddle_hz: tuple[float, ...]

    @property
    def imaginary(self) -> int:
        """Number of imaginary modes of the saddle; one where it is a saddle between two minima."""
        return sum(frequency < 0 for frequency in self.saddle_hz)

    @property
    def imaginary_per_cm(self) -> float | None:
        """Wavenumber of the imaginary mode, as a positive number; None unless there is exactly one."""
        return -self.saddle_hz[0] / HZ_PER_CM if self.imaginary == 1 else None

    @property
    def attempt_hz(self) -> float | None:
        """Vineyard's prefactor: the product of the frequencies of the start over that of the saddle's real ones.

        None unless the saddle has exactly one imaginary mode, the start none, and both are of as many atoms.
        """
        if self.imaginary != 1 or min(self.start_hz) <= 0 or len(self.start_hz) != len(self.saddle_hz):
            return None
        return float(np.exp(np.log(self.start_hz).sum() - np.log(self.saddle_hz[1:]).sum()))


def modes(hessians_ev_per_a2: Floats, masses_u: Sequence[float]) -> Modes:
    """Return the modes of second derivatives at the start and at the saddle.

    Parameters
    ----------
    hessians_ev_per_a2
        Shape (2, 3 atoms, 3 atoms).
    masses_u
        Of the atoms.
    """
    start, saddle = (frequencies_hz(matrix, masses_u) for matrix in hessians_ev_per_a2)
    return Modes(start, saddle)


def frequencies_hz(hessian_ev_per_a2: Floats, masses_u: Sequence[float]) -> tuple[float, ...]:
    """Return the modes of second derivatives, shape (3 atoms, 3 atoms), ascending; imaginary ones are negative."""
    weights = 1.0 / np.sqrt(np.repeat(masses_u, 3))
    values = np.linalg.eigvalsh(hessian_ev_per_a2 * weights[:, None] * weights[None])
    return tuple((np.sign(values) * np.sqrt(abs(values)) * _HZ).tolist())


def saddle_of(path: ReactionPath, masses_u: Sequence[float]) -> Saddle:
    """Return what a search found, for its record; ``masses_u`` of all atoms."""
    between = 0 < path.saddle < len(path.energies_ev) - 1
    if path.hessians_ev_per_a2 is None or path.moved is None:
        return Saddle(between=between)
    found = modes(path.hessians_ev_per_a2, [masses_u[atom] for atom in path.moved])
    return Saddle(between=between, start_hz=found.start_hz, saddle_hz=found.saddle_hz)


def rate_hz(barrier_ev: float, attempt_hz: float = ASSUMED_HZ, temperature_k: float = TEMPERATURE_K) -> float:
    """Return k = ν exp(−E/kT) (1/s)."""
    return float(attempt_hz * np.exp(-barrier_ev / (BOLTZMANN_EV_PER_K * temperature_k)))


def diffusion_cm2_per_s(jumps: Sequence[Jump], weights: Mapping[int, float]) -> float | None:
    """Return the diffusion coefficient of a random walk on a lattice of places.

    With p the share of time at each place, D = ½ Σ p_i k_ij d_ij d_ij − Σ b_i·x_i, b_i = p_i Σ_j k_ij d_ij, where x
    solves Σ_j p_i k_ij (x_i − x_j) = b_i: jumps back and forth between two places lead nowhere. Half of its trace is
    the coefficient in the plane.

    Parameters
    ----------
    jumps
        All jumps of a cell, each with its reverse.
    weights
        Boltzmann factor of each place; jumps obey detailed balance with it.

    Returns
    -------
    float or None
        None if no jump leads on: the walk stays in its cell.
    """
    places = sorted(weights)
    index = {place: number for number, place in enumerate(places)}
    total = sum(weights.values())
    laplacian, drift, spread = np.zeros((len(places), len(places))), np.zeros((len(places), 2)), np.zeros((2, 2))
    for start, end, x, y, rate in jumps:
        i, j, flow, vector = index[start], index[end], weights[start] / total * rate, np.array([x, y])
        laplacian[i, i] += flow
        laplacian[i, j] -= flow
        drift[i] += flow * vector
        spread += flow * np.outer(vector, vector) / 2
    scale = float(abs(laplacian).max())
    if not scale:
        return None
    solution = np.linalg.pinv(laplacian / scale, rcond=1e-14, hermitian=True) @ drift / scale
    tensor = spread - drift.T @ solution
    value = float(np.trace(tensor)) / 2
    return value * 1e-16 if value > 1e-9 * float(np.trace(spread)) else None
