"""The dry run's potential: ASE's effective-medium theory with refitted parameters and a short pair repulsion."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.data import chemical_symbols
from ase.units import Bohr

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from .parameters import ElementRow, EmtParameters, PairRepulsion


class Pairs:
    """All pairs of atoms within a radius, both ways, as a pure function of the geometry.

    ASE's neighbour list keeps pairs from the positions at which it was last built, so the order of its sums, and
    with it the last bits of an energy, depends on the path. A resumed run must give the same bits: here nothing is
    kept.

    Parameters
    ----------
    radius
        Pairs with ``r < radius`` are listed, Å.

    Attributes
    ----------
    first, second
        Indices of the atoms, shape (pairs,), sorted by ``first``.
    vectors
        From first to second, shape (pairs, 3), Å.
    distances
        Shape (pairs,), Å.
    start
        Pairs of atom ``i`` are ``start[i]:start[i + 1]``.
    """

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def update(self, atoms: Atoms) -> None:
        """Find the pairs of ``atoms``."""
        # complete() adds a unit vector where a lattice vector is missing; it has no effect without periodicity.
        cell = atoms.cell.complete().array
        pbc = np.asarray(atoms.pbc, dtype=bool)
        fractional = np.linalg.solve(cell.T, atoms.positions.T).T
        wrapped = atoms.positions - (np.floor(fractional) * pbc) @ cell
        heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        reach = np.where(pbc, np.ceil(self.radius / heights), 0).astype(int)
        images = np.array(list(product(*(range(-n, n + 1) for n in reach)))) @ cell
        vectors = (wrapped + images[:, None, :])[None, :, :, :] - wrapped[:, None, None, :]
        squares = np.einsum("imjx,imjx->imj", vectors, vectors)
        indices = np.arange(len(atoms))
        squares[indices, len(images) // 2, indices] = np.inf  # no atom is a pair with itself
        matches = np.nonzero(squares < self.radius**2)
        self.first, self.second = matches[0], matches[2]
        self.vectors = vectors[matches]
        self.distances = np.sqrt(squares[matches])
        self.start = np.searchsorted(self.first, np.arange(len(atoms) + 1))


class EmtPotential(EMT):
    """ASE's EMT on a table of its own, plus a pair repulsion.

    The functional form is ASE's, after Jacobsen, Stoltze and Nørskov, Surf. Sci. 366, 394 (1996). Its cutoff is
    that of ASE's own table, the same for every composition: with a cutoff that depends on the elements present,
    E(host + Na) and E(host) would be of two different potentials. ASE's module table is only read.

    Parameters
    ----------
    rows
        One row of the EMT table for each element, by symbol.
    repulsions
        Repulsion of each pair of elements, keyed (symbol, symbol) in both orders; absent pairs have none.

    Notes
    -----
    Energies in eV, relative to ``-E0`` of the free atoms as in ASE; forces in eV/Å; stress in eV/Å³. Results depend
    on the geometry alone, bit for bit, and not on earlier calls.
    """

    def __init__(self, rows: Mapping[str, ElementRow], repulsions: Mapping[tuple[str, str], PairRepulsion]) -> None:
        super().__init__()
        self.rows = dict(rows)
        self.repulsions = dict(repulsions)

    def initialize(self, atoms: Atoms) -> None:
        """Fill ASE's parameter arrays from our rows; ASE's own method reads its module table."""
        self.rc, self.rc_list, self.acut = self._calc_cutoff(atoms)
        unique, self.ia2iz = np.unique(atoms.numbers, return_inverse=True)
        symbols = [chemical_symbols[number] for number in unique]
        self.par = defaultdict(lambda: np.empty(len(unique)))
        for i, symbol in enumerate(symbols):
            self._set_row(i, self.rows[symbol])
            self.par["Z"][i] = unique[i]
        self.chi = self.par["n0"][None, :] / self.par["n0"][:, None]
        self.energies = np.empty(len(atoms))
        self.forces = np.empty((len(atoms), 3))
        self.stress = np.empty((3, 3))
        self.deds = np.empty(len(atoms))
        self.pairs = Pairs(self.rc_list)
        self.nl = self.pairs  # type: ignore[assignment]  # EMT.calculate only calls its update
        self._set_repulsions(symbols)

    def _set_row(self, i: int, row: ElementRow) -> None:
        s0, eta2, kappa = row.s0_bohr * Bohr, row.eta2_per_bohr / Bohr, row.kappa_per_bohr / Bohr
        gamma1, gamma2 = self._calc_gammas(s0, eta2, kappa)
        values = {
            "E0": row.e0_ev,
            "s0": s0,
            "V0": row.v0_ev,
            "eta2": eta2,
            "kappa": kappa,
            "lambda": row.lambda_per_bohr / Bohr,
            "n0": row.n0_per_bohr3 / Bohr**3,
            "inv12gamma1": 1.0 / (12.0 * gamma1),
            "neghalfv0overgamma2": -0.5 * row.v0_ev / gamma2,
        }
        for name, value in values.items():
            self.par[name][i] = value

    def _set_repulsions(self, symbols: Sequence[str]) -> None:
        shape = (len(symbols), len(symbols))
        # Width 1 where there is no repulsion keeps the division defined; cutoff 0 leaves such pairs out.
        self.core = {"amplitude": np.zeros(shape), "width": np.ones(shape), "cutoff": np.zeros(shape)}
        for (i, a), (j, b) in product(enumerate(symbols), repeat=2):
            pair = self.repulsions.get((a, b))
            if pair is not None:
                self.core["amplitude"][i, j] = pair.amplitude_ev
                self.core["width"][i, j] = pair.width_a
                self.core["cutoff"][i, j] = pair.cutoff_a

    def _get_neighbors(self, a1: int) -> tuple[NDArray[np.int_], NDArray[np.float64], NDArray[np.float64]]:
        bounds = slice(self.pairs.start[a1], self.pairs.start[a1 + 1])
        return self.pairs.second[bounds], self.pairs.vectors[bounds], self.pairs.distances[bounds]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute energy, forces and (with three lattice vectors) stress."""
        if "numbers" in system_changes:
            Calculator.calculate(self, atoms, properties, system_changes)
        super().calculate(atoms, list(properties), list(system_changes))
        self._add_repulsion()

    def _add_repulsion(self) -> None:
        """Add the pair repulsion to the results of EMT; each pair is listed twice and counted half."""
        pairs = self.pairs
        kinds = self.ia2iz[pairs.first], self.ia2iz[pairs.second]
        cutoff = self.core["cutoff"][kinds]
        near = pairs.distances < cutoff
        if not near.any():
            return
        first, vectors, distances = pairs.first[near], pairs.vectors[near], pairs.distances[near]
        amplitude, width = self.core["amplitude"][kinds][near], self.core["width"][kinds][near]
        x = (cutoff[near] - distances) / width
        growth = np.expm1(x)
        natoms = len(self.ia2iz)
        energies = np.bincount(first, 0.5 * amplitude * (growth - x), natoms)
        pulls = (-amplitude * growth / width / distances)[:, None] * vectors
        forces = np.stack([np.bincount(first, pulls[:, axis], natoms) for axis in range(3)], axis=1)
        self.results["energies"] = self.results["energies"] + energies
        self.results["energy"] = self.results["energy"] + energies.sum()
        self.results["free_energy"] = self.results["energy"]
        self.results["forces"] = self.results["forces"] + forces
        if "stress" in self.results and self.atoms is not None:
            virial = 0.5 * vectors.T @ pulls / self.atoms.get_volume()
            virial = 0.5 * (virial + virial.T)
            self.results["stress"] = self.results["stress"] + virial.ravel()[[0, 4, 8, 5, 2, 1]]


def potential(symbols: Sequence[str], parameters: EmtParameters) -> EmtPotential:
    """Return the dry run's calculator for structures of these elements.

    Parameters
    ----------
    symbols
        Chemical symbols, repeated or not.
    parameters
        From `sodiate.workflows.engines.emt.parameters.load_parameters`.

    Raises
    ------
    Unsupported
        If an element has no role in the dry run.
    """
    present = sorted(set(symbols))
    parameters.check(present)
    rows = {symbol: parameters.row(symbol) for symbol in present}
    repulsions = {(a, b): parameters.pair_repulsion(a, b) for a, b in product(present, repeat=2)}
    return EmtPotential(rows, repulsions)
