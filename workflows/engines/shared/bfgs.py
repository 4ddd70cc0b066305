"""BFGS that follows from the steps it took: its curvature, how far the next step may go, and from where.

Forces may change abruptly where electrons change their state, and BFGS then learns a curvature that is not there and
leaps or stands still. Three rules keep it near what it knows (J. Nocedal, S. J. Wright, Numerical Optimization, 2nd
edition): its Hessian stays positive definite (procedure 18.2), a step that raised the energy halves the next one, and
a step that raised it a lot is gone back on (chapter 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from .checks import IN_PLANE
from .trajectory import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RISE_EV = 0.001
"""A step that raises the energy by more goes too far: the next one is half as long."""

RETURN_EV = 0.3
"""A step that raises the energy by more is no place to go on from."""


LEAST_CURVATURE = 0.2
"""Of the curvature along a step that BFGS expected, the part that it learns at least."""


class DampedBFGS(BFGS):
    """ASE's BFGS with Powell's damping: a step never teaches it less than `LEAST_CURVATURE` of what it expected.

    ASE goes by the size of a negative curvature. The direction is then learned as more and more negative, up to
    -90000 eV/Å² for Na on WSSe, and as good as frozen.
    """

    def update(self, pos: Floats, forces: Floats, pos0: Floats | None, forces0: Floats | None) -> None:
        """Learn from two places, the later first; the first call only sets the Hessian to begin with."""
        if self.state is not None and pos0 is not None and forces0 is not None:
            moved, fallen = pos - pos0, forces0 - forces
            expected = self.H @ moved
            along, found = moved @ expected, moved @ fallen
            least = LEAST_CURVATURE * along
            if found < least:
                part = (along - least) / (along - found)
                forces = forces0 - part * fallen - (1 - part) * expected
        super().update(pos, forces, pos0, forces0)


class Descent:
    """The optimizer of one relaxation.

    Parameters
    ----------
    criteria
        How far a step may go at most, and the stiffness to begin with.
    atoms
        What is relaxed.
    learned
        Steps of a cheaper relaxation of the same atoms, whose curvature it begins with.
    """

    def __init__(self, criteria: Criteria, atoms: Atoms, learned: Sequence[Step] = ()) -> None:
        self.optimizer = criteria.optimizer(atoms)
        self._atoms = atoms
        self._longest = criteria.max_step_a
        self._base: Step | None = None
        if learned:
            teacher = Descent(criteria, atoms)
            teacher.replay(learned)
            teacher._learn()
            self.optimizer.H0 = teacher.optimizer.H

    def replay(self, taken: Sequence[Step]) -> bool:
        """Come into the state in which these steps, all that were taken, left it; return what `add` said last."""
        stands = False
        for number, step in enumerate(taken):
            if number > 0:
                self._learn()
            stands = self.add(step)
        return stands

    def add(self, step: Step) -> bool:
        """Take note of the step that was computed last; False if it is gone back on."""
        base, optimizer = self._base, self.optimizer
        if base is not None:
            length = float(np.linalg.norm(step.positions_a - base.positions_a, axis=1).max())
            rise = step.energy_ev - base.energy_ev
            if rise <= RISE_EV:
                optimizer.maxstep = min(self._longest, max(optimizer.maxstep, 2 * length))
            else:
                optimizer.maxstep = length / 2
            if rise > RETURN_EV:
                optimizer.update(*self._at(step), optimizer.pos0, optimizer.forces0)
                return False
        self._base = step
        return True

    def move(self) -> None:
        """Move the atoms by the next step; their calculator stays."""
        calculator = self._atoms.calc
        assert self._base is not None
        self._base.recall(self._atoms)
        self.optimizer.step()
        self._atoms.calc = calculator

    def _learn(self) -> None:
        """Do what BFGS did before it moved on: learn from the last two places."""
        assert self._base is not None
        position, force = self._at(self._base)
        self.optimizer.update(position, force, self.optimizer.pos0, self.optimizer.forces0)
        self.optimizer.pos0, self.optimizer.forces0 = position, force

    def _at(self, step: Step) -> tuple[Floats, Floats]:
        """Return position and force at a step as BFGS counts them, with the cell if it relaxes."""
        atoms, moved = self._atoms, self.optimizer.optimizable
        cell, positions, calculator = atoms.cell.copy(), atoms.get_positions(), atoms.calc
        step.recall(atoms)
        found = moved.get_x(), -moved.get_gradient()
        atoms.set_cell(cell)
        atoms.positions, atoms.calc = positions, calculator
        return found


@dataclass(frozen=True)
class Criteria:
    """When a relaxation ends, and how it gets there.

    Attributes
    ----------
    max_force_ev_per_a, max_steps
        Largest force on an atom (and on a cell vector, if the cell relaxes), and steps in all launches.
    max_step_a
        Length of a step.
    stiffness_ev_per_a2
        Diagonal of the Hessian that BFGS begins with, one value an atom; None for ASE's 70 eV/Å², which is that of
        stiff bonds and makes the first steps of a loosely bound ion short.
    cell
        True if the cell relaxes in its plane, too.
    """

    max_force_ev_per_a: float
    max_steps: int
    max_step_a: float
    stiffness_ev_per_a2: tuple[float, ...] | None = None
    cell: bool = False

    def optimizer(self, atoms: Atoms) -> DampedBFGS:
        """Return BFGS for these atoms, whose cell is that of the start."""
        moved: Atoms | FrechetCellFilter = atoms
        if self.cell:
            # Strain counts by how far it moves the first cell vector, so that max_step_a means the same for it.
            scale = float(np.linalg.norm(atoms.cell[0]))
            moved = FrechetCellFilter(atoms, mask=IN_PLANE, exp_cell_factor=scale)
        # ASE takes filters too, but does not annotate it.
        optimizer = DampedBFGS(moved, logfile=None, maxstep=self.max_step_a)  # type: ignore[arg-type]
        if self.stiffness_ev_per_a2 is not None:
            diagonal = np.repeat(self.stiffness_ev_per_a2, 3)
            optimizer.H0[: len(diagonal), : len(diagonal)] = np.diag(diagonal)
        return optimizer

    def met(self, step: Step) -> bool:
        """Tell whether a step is below the criterion, on the atoms and on the cell."""
        return step.largest_force < self.max_force_ev_per_a and step.largest_cell_force < self.max_force_ev_per_a
