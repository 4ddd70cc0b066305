"""Calculators of the dry run: their results follow from the geometry alone."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class OfGeometry(Calculator):
    """A calculator that computes all of its results at once, anew for each other geometry."""

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Return what has changed since the last calculation, all or nothing; ASE takes far longer for it."""
        last = self.atoms
        same = last is not None and all(
            np.array_equal(now, before)
            for now, before in (
                (atoms.positions, last.positions),
                (atoms.numbers, last.numbers),
                (atoms.cell.array, last.cell.array),
                (atoms.pbc, last.pbc),
            )
        )
        return [] if same else list(all_changes)

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Compute all results, as ASE asks for them."""
        super().calculate(atoms, list(properties), list(system_changes))
        assert self.atoms is not None
        self.results = self.computed(self.atoms)

    @abstractmethod
    def computed(self, atoms: Atoms) -> dict[str, Any]:
        """Return the results of a geometry by the names that ASE gives them."""


def voigt(stress: Floats) -> Floats:
    """Return the symmetric part of a stress, shape (3, 3), in ASE's order xx, yy, zz, yz, xz, xy."""
    symmetric: Floats = 0.5 * (stress + stress.T)
    return symmetric.ravel()[[0, 4, 8, 5, 2, 1]]
