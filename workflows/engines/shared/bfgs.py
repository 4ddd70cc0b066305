"""BFGS whose state (Hessian, step limit, base point) is a function of the steps so far, so that it can be replayed.

Forces may change abruptly where the electronic state changes. BFGS then learns a spurious curvature, and its steps
become far too long or too short. Three rules prevent this (J. Nocedal, S. J. Wright, Numerical Optimization, 2nd
edition): the Hessian stays positive definite (procedure 18.2), a step that raises the energy halves the next step,
and a step that raises it a lot is undone (chapter 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .checks import IN_PLANE
from .trajectory import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RISE_EV = 0.001
"""After a step that raises the energy by more than this, the next step is half as long."""

RETURN_EV = 0.3
"""A step that raises the energy by more than this is undone."""

LEAST_CURVATURE = 0.2
"""Lower bound of the curvature that BFGS learns along a step, as a fraction of the expected curvature."""


_STIFFNESS_EV_PER_A2 = 70.0
"""ASE's initial curvature."""

_SAME_A = 1e-7
"""Two points that lie nearer say nothing about a curvature."""


def powell_weight(expected: float, measured: float) -> float:
    """Return the weight of the measured curvature along a step beside the expected one, by Powell's damping.

    It is 1 unless the measured curvature is below `LEAST_CURVATURE` of the expected one.
    """
    least = LEAST_CURVATURE * expected
    return 1.0 if measured >= least else (expected - least) / (expected - measured)


class Movable(Protocol):
    """What is relaxed: atoms, a filter of them, or a band."""

    def get_positions(self) -> Floats:
        """Return the degrees of freedom, shape (rows, 3), Å."""

    def set_positions(self, positions: Floats, /) -> None:
        """Set them."""

    def get_forces(self) -> Floats:
        """Return the forces on them, shape (rows, 3), eV/Å."""


class DampedBFGS:
    """ASE's BFGS with Powell's damping: the curvature along a step never falls below `LEAST_CURVATURE` of the
    expected curvature.

    ASE uses the absolute value of a negative curvature. A direction may then be learned as more and more negative,
    down to -90000 eV/Å² for Na on WSSe, and practically freeze.

    The step is ASE's to rounding. ASE diagonalises the Hessian for it, which takes six times as long as to solve for
    it, and its package of optimizers loads all of SciPy's: a third of a second of each dry run.

    Parameters
    ----------
    target
        What is relaxed.
    maxstep
        Longest displacement of an atom in a step, Å.

    Attributes
    ----------
    H0, H
        Initial Hessian, and the present one from the first `update` on, eV/Å².
    pos0, forces0
        The point from which the last step was made; None before.
    """

    def __init__(self, target: Movable, maxstep: float) -> None:
        self.target, self.maxstep = target, maxstep
        self.H0: Floats = np.eye(target.get_positions().size) * _STIFFNESS_EV_PER_A2
        self._hessian: Floats | None = None
        self.pos0: Floats | None = None
        self.forces0: Floats | None = None

    @property
    def H(self) -> Floats:
        """The present Hessian."""
        assert self._hessian is not None
        return self._hessian

    def update(self, pos: Floats, forces: Floats, pos0: Floats | None, forces0: Floats | None) -> None:
        """Update the Hessian from two points, the later first; the first call only sets the initial Hessian.

        Parameters
        ----------
        pos, forces
            Degrees of freedom (Å) and forces (eV/Å) of the later point, shape (degrees,).
        pos0, forces0
            Those of the earlier point; None at the first call.
        """
        if self._hessian is None or pos0 is None or forces0 is None:
            self._hessian = self.H0.copy()
            return
        displacement, change = pos - pos0, forces0 - forces
        if np.abs(displacement).max() < _SAME_A:
            return
        expected_change = self._hessian @ displacement
        expected, measured = float(displacement @ expected_change), float(displacement @ change)
        weight = powell_weight(expected, measured)
        if weight < 1:
            change = weight * change + (1 - weight) * expected_change
            measured = float(displacement @ change)
        self._hessian += np.outer(change, change) / measured - np.outer(expected_change, expected_change) / expected

    def step(self, known: Floats | None = None) -> None:
        """Update the Hessian from the present point and the last one, and move.

        Parameters
        ----------
        known
            The forces on the target, eV/Å; by default it is asked for them.
        """
        positions = self.target.get_positions()
        forces = (self.target.get_forces() if known is None else known).ravel()
        self.update(positions.ravel(), forces, self.pos0, self.forces0)
        self.pos0, self.forces0 = positions.ravel().copy(), forces.copy()
        move = newton_step(self.H, forces).reshape(-1, 3)
        longest = np.linalg.norm(move, axis=1).max()
        if longest >= self.maxstep:
            move *= self.maxstep / longest
        self.target.set_positions(positions + move)


def newton_step(hessian: Floats, forces: Floats) -> Floats:
    """Return the step to where the forces vanish, with the absolute values of negative curvatures, as in ASE."""
    try:
        np.linalg.cholesky(hessian)  # refuses what is not positive definite
        step: Floats = np.linalg.solve(hessian, forces).astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        curvatures, directions = np.linalg.eigh(hessian)
        step = directions @ (forces @ directions / np.abs(curvatures))
    return step


class Descent:
    """The optimizer of one relaxation.

    Parameters
    ----------
    criteria
        Longest step, and initial stiffness.
    atoms
        What is relaxed.
    earlier_steps
        Steps of a cheaper relaxation of the same atoms; their curvature is the initial Hessian.
    """

    def __init__(self, criteria: Criteria, atoms: Atoms, earlier_steps: Sequence[Step] = ()) -> None:
        self.optimizer = criteria.optimizer(atoms)
        self._atoms = atoms
        self._longest = criteria.max_step_a
        self._base: Step | None = None
        if earlier_steps:
            earlier = Descent(criteria, atoms)
            earlier.replay(earlier_steps)
            earlier._learn()
            self.optimizer.H0 = earlier.optimizer.H

    def replay(self, steps: Sequence[Step]) -> bool:
        """Replay all steps so far into the optimizer; return what `add` returned for the last one."""
        accepted = False
        for number, step in enumerate(steps):
            if number > 0:
                self._learn()
            accepted = self.add(step)
        return accepted

    def add(self, step: Step) -> bool:
        """Record the step that was computed last; return False if it is undone."""
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
        """Move the atoms by the next step; keep their calculator."""
        assert self._base is not None
        if self.optimizer.target is self._atoms:
            self._base.place(self._atoms)
            self.optimizer.step(self._base.forces_ev_per_a)
            return
        calculator = self._atoms.calc
        self._base.recall(self._atoms)
        self.optimizer.step()
        self._atoms.calc = calculator

    def _learn(self) -> None:
        """Update the Hessian from the last two points, as BFGS does before it moves."""
        assert self._base is not None
        position, force = self._at(self._base)
        self.optimizer.update(position, force, self.optimizer.pos0, self.optimizer.forces0)
        self.optimizer.pos0, self.optimizer.forces0 = position, force

    def _at(self, step: Step) -> tuple[Floats, Floats]:
        """Return degrees of freedom (Å) and forces (eV/Å) at a step, flattened, with the cell if it relaxes."""
        atoms, target = self._atoms, self.optimizer.target
        if target is atoms:
            return step.positions_a.ravel().copy(), step.forces_ev_per_a.ravel()
        cell, positions, calculator = atoms.cell.copy(), atoms.get_positions(), atoms.calc
        step.recall(atoms)
        point = target.get_positions().ravel(), target.get_forces().ravel()
        atoms.set_cell(cell)
        atoms.positions, atoms.calc = positions, calculator
        return point


@dataclass(frozen=True)
class Criteria:
    """When a relaxation ends, and how it proceeds.

    Attributes
    ----------
    max_force_ev_per_a, max_steps
        Largest force on an atom (and on a cell vector, if the cell relaxes), and number of steps in all launches.
    max_step_a
        Largest displacement of an atom in a step.
    stiffness_ev_per_a2
        Diagonal of the initial Hessian, one value for each atom; None for ASE's 70 eV/Å², which suits stiff bonds
        and makes the first steps of a loosely bound ion short.
    cell
        True if the cell also relaxes in its plane.
    """

    max_force_ev_per_a: float
    max_steps: int
    max_step_a: float
    stiffness_ev_per_a2: tuple[float, ...] | None = None
    cell: bool = False

    def optimizer(self, atoms: Atoms) -> DampedBFGS:
        """Return BFGS for these atoms in their start cell."""
        target: Movable = atoms
        if self.cell:
            from ase.filters import FrechetCellFilter

            # Strain is scaled by the first cell vector, so that max_step_a limits how far that vector moves.
            scale = float(np.linalg.norm(atoms.cell[0]))
            target = FrechetCellFilter(atoms, mask=IN_PLANE, exp_cell_factor=scale)
        optimizer = DampedBFGS(target, self.max_step_a)
        if self.stiffness_ev_per_a2 is not None:
            diagonal = np.repeat(self.stiffness_ev_per_a2, 3)
            optimizer.H0[: len(diagonal), : len(diagonal)] = np.diag(diagonal)
        return optimizer

    def met(self, step: Step) -> bool:
        """Return whether a step is below the criterion, on the atoms and on the cell."""
        return step.largest_force < self.max_force_ev_per_a and step.largest_cell_force < self.max_force_ev_per_a
