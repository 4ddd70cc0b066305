"""Force calls on disk, each a function of those before it: of a path, or of finite differences.

Every call is a line of a tape, so that a launch after a kill repeats them from the beginning at no cost and goes on
where the tape ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .relax import Clock, Ranks
from .trajectory import Checkpoint, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Compute = Callable[["Atoms", str, int], Step]
"""Computes energy and forces of an image, given its name and the number of the step."""

DISPLACEMENT_A = 0.02
"""Of the finite differences of forces."""


class Bounds(Protocol):
    """What force calls are for."""

    def check(self, atoms: Atoms, what: str) -> None:
        """Raise `EngineError` for atoms that are out of bounds; ``what`` they are."""


@dataclass
class Tape:
    """The force calls of a search on disk: those of earlier launches are read, further ones computed and added.

    Attributes
    ----------
    task
        What they are for; it refuses images that are out of bounds.
    checkpoint
        The file, with the key of that.
    compute
        Computes a step.
    clock
        Ends the launch between two calls.
    ranks
        The processes that do this together.
    """

    task: Bounds
    checkpoint: Checkpoint
    compute: Compute
    clock: Clock
    ranks: Ranks = field(default_factory=Ranks)
    calls: int = 0

    def __post_init__(self) -> None:
        self._kept: list[Step] | None = None

    def step(self, atoms: Atoms, image: str) -> Step:
        """Return energy and forces at the positions of ``atoms``.

        Raises
        ------
        EngineError
            If a number is not finite, the adsorbate has left the sheet, or the sheet has come apart.
        Stopped
            When asked to stop, or before the wall time is over.
        """
        self.task.check(atoms, f"{self.checkpoint.directory}: {image}")
        if self._kept is None:
            self._kept = self.ranks.shared(lambda: self._resumed(len(atoms)))
        number, self.calls = self.calls, self.calls + 1
        if number < len(self._kept):
            step = self._kept[number]
            if np.allclose(step.positions_a, atoms.positions, atol=1e-5):
                return step
            # Written by another release, or with other libraries: what follows is of another search.
            self._kept = self._kept[:number]
            self.ranks.shared(lambda: self.checkpoint.begin((), self._kept or ()))
        self.clock.check(number)
        step = self.compute(atoms, image, number)
        self._kept.append(step)
        if self.ranks.writes:
            with self.checkpoint.path.open("ab", buffering=0) as file:
                file.write(step.line())
        return step

    def _resumed(self, natoms: int) -> list[Step]:
        """Return the calls of earlier launches; what a kill left of a line is cut off."""
        kept = self.checkpoint.resume(natoms)
        with self.checkpoint.path.open("r+b") as file:
            file.truncate(kept.size)
        return list(kept.steps)


def hessian(atoms: Atoms, moved: Sequence[int], tape: Tape, where: str) -> Floats:
    """Return second derivatives of the energy (eV/Å²) by central differences, shape (3 moved, 3 moved)."""
    rows = []
    for atom in moved:
        for axis in range(3):
            pair = []
            for sign in (1, -1):
                displaced = atoms.copy()
                displaced.positions[atom, axis] += sign * DISPLACEMENT_A
                pair.append(tape.step(displaced, where).forces_ev_per_a[list(moved)].ravel())
            rows.append((pair[1] - pair[0]) / (2 * DISPLACEMENT_A))
    matrix = np.array(rows)
    symmetric: Floats = (matrix + matrix.T) / 2
    return symmetric
