"""ASE's own EMT with the dry run's parameters: what the potential is held against, and timed against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
from ase import Atoms
from ase.calculators import emt
from ase.data import chemical_symbols
from sodiate.workflows.engines.emt.parameters import EmtParameters, PairRepulsion

_TABLE = dict(emt.parameters)


class AseEmt(emt.EMT):
    """ASE's class as it is, neighbour list and loops and all, on other rows of its table; then the pair repulsion.

    Parameters
    ----------
    rows
        As in ASE's table, by symbol.
    repulsions
        By pair of symbols, in both orders.
    """

    def __init__(
        self, rows: Mapping[str, Sequence[float]], repulsions: Mapping[tuple[str, str], PairRepulsion]
    ) -> None:
        super().__init__()
        self.rows, self.repulsions = dict(rows), dict(repulsions)
        self.furthest = max((pair.cutoff_a for pair in self.repulsions.values()), default=0.0)

    def initialize(self, atoms: Atoms) -> None:
        """Read the parameters, which ASE takes from its module's table."""
        with patch.dict(emt.parameters, self.rows):
            super().initialize(atoms)

    def _calc_cutoff(self, atoms: Atoms) -> Any:
        with patch.dict(emt.parameters, _TABLE, clear=True):
            return super()._calc_cutoff(atoms)

    def calculate(self, atoms: Atoms | None = None, *others: Any) -> None:
        """Compute EMT as ASE does, and add the repulsion atom by atom."""
        super().calculate(atoms, *others)
        assert self.atoms is not None
        symbols = [chemical_symbols[number] for number in self.atoms.numbers]
        virial = np.zeros((3, 3))
        for i, symbol in enumerate(symbols):
            neighbours, vectors, distances = self._get_neighbors(i)
            for j in np.flatnonzero(distances < self.furthest):
                pair = self.repulsions[symbol, symbols[neighbours[j]]]
                if distances[j] >= pair.cutoff_a:
                    continue
                x = (pair.cutoff_a - distances[j]) / pair.width_a
                self.energies[i] += 0.5 * pair.amplitude_ev * (np.exp(x) - 1 - x)
                pull = -pair.amplitude_ev / pair.width_a * (np.exp(x) - 1) * vectors[j] / distances[j]
                self.forces[i] += pull
                virial += 0.5 * np.outer(vectors[j], pull)
        self.results["energy"] = self.results["free_energy"] = self.energies.sum()
        if "stress" in self.results:
            virial = (virial + virial.T) / 2 / self.atoms.get_volume()
            self.results["stress"] = self.results["stress"] + virial.flat[[0, 4, 8, 5, 2, 1]]


def ase_emt(symbols: Sequence[str], parameters: EmtParameters) -> AseEmt:
    """ASE's EMT with the dry run's parameters for these elements."""
    present = set(symbols)
    rows = {one: tuple(parameters.row(one).model_dump().values()) for one in present}
    return AseEmt(rows, {(a, b): parameters.pair_repulsion(a, b) for a in present for b in present})
