"""Force calls on disk, each a function of those before it: of a path, or of finite differences.

Every call is a line of a tape, so that a launch after a kill repeats them from the beginning at no cost and goes on
where the tape ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from .relax import Clock, Ranks
from .trajectory import Checkpoint, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


class Call(NamedTuple):
    """A force call: atoms, the name of their image, and its number on the tape."""

    atoms: Atoms
    image: str
    number: int


Compute = Callable[["Sequence[Call]"], "list[Step]"]
"""Computes the first of independent force calls, or several of them side by side; returns their steps."""

AHEAD = "*-[0-9]*.jsonl"
"""Files of calls that wait for their turn on a tape."""

DISPLACEMENT_A = 0.02
"""Of the finite differences of forces."""

DISPLACEMENTS = 6
"""Force calls for each atom that is displaced, none of which depends on another."""


class Bounds(Protocol):
    """What force calls are for."""

    def check(self, atoms: Atoms, what: str) -> None:
        """Raise `EngineError` for atoms that are out of bounds; ``what`` they are."""


@dataclass
class Tape:
    """The force calls of a search on disk: those of earlier launches are read, further ones computed and added.

    Calls that are computed side by side end in any order, while the tape has one: what is done before its turn waits
    in a file of its own (`keep_ahead`).

    Attributes
    ----------
    task
        What they are for; it refuses images that are out of bounds.
    checkpoint
        The file, with the key of that.
    compute
        Computes one of the calls that are missing, or several of them.
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
        self._done: dict[int, Step] | None = None
        self._lines = 0

    def step(self, atoms: Atoms, image: str) -> Step:
        """Return energy and forces at the positions of ``atoms``; raise as `steps` does."""
        return self.steps([(atoms, image)])[0]

    def steps(self, images: Sequence[tuple[Atoms, str]]) -> list[Step]:
        """Return energies and forces at the positions of atoms, given with their names; none depends on another.

        Raises
        ------
        EngineError
            If a number is not finite, the adsorbate has left the sheet, or the sheet has come apart.
        Stopped
            When asked to stop, or before the wall time is over.
        """
        for atoms, image in images:
            self.task.check(atoms, f"{self.checkpoint.directory}: {image}")
        calls = [Call(atoms, image, number) for number, (atoms, image) in enumerate(images, self.calls)]
        self.calls += len(calls)
        if self._done is None:
            natoms = len(images[0][0])
            self._done, self._lines = self.ranks.shared(lambda: self._resumed(natoms))
        self._forget_others(calls)
        while missing := [call for call in calls if call.number not in self._done]:
            self.clock.check(missing[0].number)
            self._done |= {step.step: step for step in self.compute(missing)}
            self._write()
        return [self._done[call.number] for call in calls]

    def _resumed(self, natoms: int) -> tuple[dict[int, Step], int]:
        """Return the calls of earlier launches, and the lines of the tape; what a kill left of a line is cut off."""
        kept = self.checkpoint.resume(natoms)
        with self.checkpoint.path.open("r+b") as file:
            file.truncate(kept.size)
        done = {step.step: step for step in kept.steps}
        for path in self.checkpoint.directory.glob(_ahead(self.checkpoint, "[0-9]*").name):
            number = int(path.stem.rpartition("-")[2])
            steps = _ahead(self.checkpoint, str(number)).resume(natoms).steps
            if steps and number not in done:
                done[number] = replace(steps[0], step=number)
            else:
                path.unlink()
        return done, len(kept.steps)

    def _forget_others(self, calls: Sequence[Call]) -> None:
        """Forget the first of these calls that was of other positions, and all after it.

        It was written by another release, or with other libraries: what follows is of another search.
        """
        assert self._done is not None  # `steps` has read them
        done = self._done
        known = [(call, done[call.number]) for call in calls if call.number in done]
        others = [
            step.step for call, step in known if not np.allclose(step.positions_a, call.atoms.positions, atol=1e-5)
        ]
        if not others:
            return
        self._done = {number: step for number, step in done.items() if number < others[0]}
        if others[0] < self._lines:
            self._lines = others[0]
            kept = [done[number] for number in range(self._lines)]
            self.ranks.shared(lambda: self.checkpoint.begin((), kept))

    def _write(self) -> None:
        """Add the calls whose turn it is to the tape."""
        assert self._done is not None  # `steps` has read them
        first = self._lines
        while self._lines in self._done:
            self._lines += 1
        if self.ranks.writes:
            with self.checkpoint.path.open("ab", buffering=0) as file:
                for number in range(first, self._lines):
                    file.write(self._done[number].line())
            for number in range(first, self._lines):
                _ahead(self.checkpoint, str(number)).path.unlink(missing_ok=True)


def one_by_one(compute: Callable[[Atoms, str, int], Step]) -> Compute:
    """Return what computes calls one after the other, each by its atoms, its name and its number."""
    return lambda calls: [compute(*calls[0])]


def keep_ahead(checkpoint: Checkpoint, step: Step) -> None:
    """Write a call that is done before those in front of it on a tape, from which the next launch takes it up."""
    _ahead(checkpoint, str(step.step)).begin((), [replace(step, step=0)])


def _ahead(checkpoint: Checkpoint, number: str) -> Checkpoint:
    return replace(checkpoint, name=f"{checkpoint.path.stem}-{number}{checkpoint.path.suffix}")


def hessian(atoms: Atoms, moved: Sequence[int], tape: Tape, where: str) -> Floats:
    """Return second derivatives of the energy (eV/Å²) by central differences, shape (3 moved, 3 moved)."""
    displaced = []
    for atom in moved:
        for axis in range(3):
            for sign in (1, -1):
                displaced.append(atoms.copy())
                displaced[-1].positions[atom, axis] += sign * DISPLACEMENT_A
    steps = tape.steps([(one, where) for one in displaced])
    forces = np.array([step.forces_ev_per_a[list(moved)].ravel() for step in steps])
    matrix = (forces[1::2] - forces[::2]) / (2 * DISPLACEMENT_A)
    symmetric: Floats = (matrix + matrix.T) / 2
    return symmetric
