"""The dry run's potential: effective-medium theory with refitted parameters, and a short pair repulsion.

The functional form is that of ASE's EMT, after K. W. Jacobsen, P. Stoltze and J. K. Nørskov, Surf. Sci. 366, 394
(1996), which is its oracle in the tests. ASE sums atom by atom in Python; here all pairs are in one array.
"""

from __future__ import annotations

from itertools import product
from math import log, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers
from ase.units import Bohr

from .of_geometry import OfGeometry, voigt
from .pair_potential import PairPotential
from .pairs import pairs_within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

    from .parameters import ElementRow, EmtParameters, PairRepulsion

    Floats = NDArray[np.float64]

BETA = 1.809
"""Nearest-neighbour distance in fcc by Wigner–Seitz radius, (16π/3)^(1/3)/√2, as ASE rounds it."""

_NEAREST_A = BETA * 3.01 * Bohr
"""That of silver, which has the largest radius in ASE's table; what follows from it is the same for all elements.

With a cutoff that depends on the elements present, E(host + Na) and E(host) would be of two different potentials.
"""

CUTOFF_A = _NEAREST_A * (sqrt(3.0) + 2.0) / 2.0
"""Where the cutoff function is ½: midway between the third and the fourth neighbours."""

REACH_A = CUTOFF_A + 0.5
"""Pairs further apart are left out."""

_STEEPNESS = log(1e4 - 1.0) / (2.0 * _NEAREST_A - CUTOFF_A)
"""1/Å: the cutoff function is 1e-4 at the fourth neighbours."""


def _inside(distances: Floats) -> Floats:
    """Return the cutoff function, a logistic one; its derivative is ``_STEEPNESS * (inside - 1) * inside``."""
    inside: Floats = 1.0 / (1.0 + np.exp(_STEEPNESS * (distances - CUTOFF_A)))
    return inside


def _columns(row: ElementRow) -> tuple[float, ...]:
    """Return an element's parameters in eV and Å: E0, V0, s0, η2, κ, λ, n0, 12 γ1 and γ2.

    Both γ are sums over the first three shells of fcc, which make σ1 and σ2 what they are there.
    """
    s0, eta, kappa = row.s0_bohr * Bohr, row.eta2_per_bohr / Bohr, row.kappa_per_bohr / Bohr
    shells = BETA * s0 * np.sqrt([1.0, 2.0, 3.0])
    weights = np.array([12.0, 6.0, 24.0]) * _inside(shells)
    gamma1 = weights @ np.exp(-eta * (shells - BETA * s0))
    gamma2 = weights @ np.exp(-kappa * (shells / BETA - s0)) / 12.0
    decay, density = row.lambda_per_bohr / Bohr, row.n0_per_bohr3 / Bohr**3
    return row.e0_ev, row.v0_ev, s0, eta, kappa, decay, density, float(gamma1), float(gamma2)


class EmtPotential(OfGeometry):
    """EMT on a table of its own, plus a pair repulsion.

    Parameters
    ----------
    rows
        One row of the EMT table for each element, by symbol.
    repulsions
        Repulsion of each pair of elements, keyed (symbol, symbol) in both orders; absent pairs have none.

    Notes
    -----
    Energies in eV, relative to ``-E0`` of the free atoms as in ASE; forces in eV/Å; stress, of a cell with three
    lattice vectors, in eV/Å³. Results depend on the geometry alone, bit for bit, and not on earlier calls.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]

    def __init__(self, rows: Mapping[str, ElementRow], repulsions: Mapping[tuple[str, str], PairRepulsion]) -> None:
        super().__init__()
        self._kinds = {atomic_numbers[symbol]: kind for kind, symbol in enumerate(rows)}
        self._elements = np.array([_columns(row) for row in rows.values()]).T
        # Amplitude (eV), width and cutoff (Å). Width 1 where there is no repulsion keeps the division defined.
        self._core = np.zeros((3, len(rows), len(rows)))
        self._core[1] = 1.0
        for (i, a), (j, b) in product(enumerate(rows), repeat=2):
            if (pair := repulsions.get((a, b))) is not None:
                self._core[:, i, j] = pair.amplitude_ev, pair.width_a, pair.cutoff_a

    def computed(self, atoms: Atoms) -> dict[str, Any]:
        """Compute energy, forces and (with three lattice vectors) stress."""
        pairs = pairs_within(atoms, REACH_A)
        kinds = np.array([self._kinds[number] for number in atoms.numbers.tolist()])
        first, second, distances = pairs.first, pairs.second, pairs.distances

        def summed(values: Floats, by: NDArray[np.int_]) -> Any:  # numpy annotates whole numbers, without weights
            return np.bincount(by, values, len(atoms))

        # What the second atom of each pair adds to σ1 and to the attraction of the first.
        e0, v0, s0, eta, kappa, decay, n0, gamma1, gamma2 = self._elements[:, kinds]
        inside = _inside(distances)
        share = n0[second] / n0[first] * inside
        density = share * np.exp(-eta[second] * (distances - BETA * s0[second]))
        attraction = share * np.exp(-kappa[second] * (distances / BETA - s0[second])) * (-0.5 * v0 / gamma2)[first]
        cutting = _STEEPNESS * (inside - 1.0)

        # The energy of each atom in its density, and its derivative by σ1; a free atom has none of either.
        sigma = summed(density, first)
        free = sigma == 0.0
        sigma[free] = 1.0
        radius = -np.log(sigma / gamma1) / (BETA * eta)  # s - s0
        cohesion = e0 * np.exp(-decay * radius)
        repulsion = 6.0 * v0 * np.exp(-kappa * radius)
        embedding = np.where(free, 0.0, cohesion * (1.0 + decay * radius) + repulsion)
        slope = (cohesion * decay**2 * radius + kappa * repulsion) / (BETA * eta * sigma)

        # Each pair is listed twice: its core counts half here.
        amplitude, width, cutoff = self._core[:, kinds[first], kinds[second]]
        depth = np.maximum(cutoff - distances, 0.0) / width
        growth = np.expm1(depth)
        energy_of_pair = attraction + 0.5 * amplitude * (growth - depth)
        pull = density * (cutting - eta[second]) * slope[first]
        pull += attraction * (cutting - kappa[second] / BETA)
        pull -= 0.5 * amplitude * growth / width
        pulls = (pull / distances)[:, None] * pairs.vectors

        energies = embedding - e0 + 0.5 * (summed(energy_of_pair, first) + summed(energy_of_pair, second))
        forces = np.stack([summed(along, first) - summed(along, second) for along in pulls.T], axis=1)
        energy = float(energies.sum())
        results = {"energy": energy, "free_energy": energy, "energies": energies, "forces": forces}
        if atoms.cell.rank == 3:
            results["stress"] = voigt(pairs.vectors.T @ pulls / atoms.get_volume())
        return results


def potential(symbols: Sequence[str], parameters: EmtParameters) -> Calculator:
    """Return the dry run's calculator for structures of these elements.

    Parameters
    ----------
    symbols
        Chemical symbols, repeated or not.
    parameters
        From `sodiate.workflows.engines.emt.parameters.load_parameters`.

    Returns
    -------
    Calculator
        `EmtPotential` if it plays all elements, else a `PairPotential` round it.
    """
    present = sorted(set(symbols))
    played = [symbol for symbol in present if symbol in parameters.role_of]
    rows = {symbol: parameters.row(symbol) for symbol in played}
    repulsions = {(a, b): parameters.pair_repulsion(a, b) for a, b in product(played, repeat=2)}
    of_played = EmtPotential(rows, repulsions)
    if played == present:
        return of_played
    free_ev = {symbol: -row.e0_ev for symbol, row in rows.items()}
    return PairPotential(of_played, free_ev, parameters.roles["Na"], parameters.others)
