"""A relaxation, in one process or in several ranks, that resumes after a kill with the same steps.

The trajectory is the checkpoint: a line for each step, with a checksum, in full precision. The optimizer's state is a
function of the steps (`sodiate.workflows.engines.shared.bfgs`): a resumed run replays them into the optimizer and
then takes the same steps as a run without interruption. The in-plane cell may relax with the positions; c is fixed.

A calculator whose energy is no function of the positions alone (an SCF cycle, which may end in several states) has
`sodiate.workflows.engines.shared.trajectory.States`; a resumed run then computes the last step again, in its own
state.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...stop import Stop
from ..base import Limits, Stopped, TooManySteps
from .bfgs import Criteria, Descent
from .states import Found, lost_state_note, lower_state_note
from .trajectory import Checkpoint, KeptSteps, States, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ase import Atoms


class Ranks:
    """The processes that take the same steps together: here a single one; an MPI engine overrides it."""

    writes = True

    def shared(self, make: Callable[[], Any]) -> Any:
        """Call ``make`` in the process that writes; return its result in all of them."""
        return make()


def relax(
    atoms: Atoms,
    checkpoint: Checkpoint,
    criteria: Criteria,
    limits: Limits,
    stop: Stop,
    ranks: Ranks | None = None,
    earlier_steps: Sequence[Step] = (),
) -> list[Step]:
    """Relax ``atoms`` in place with BFGS, or resume from the checkpoint.

    Parameters
    ----------
    atoms
        Start geometry with its calculator.
    checkpoint
        The trajectory file.
    criteria
        When to end.
    limits
        Wall time of this launch.
    stop
        Checked between steps.
    ranks
        The processes that do this together.
    earlier_steps
        Steps of a cheaper relaxation of the same atoms; their curvature is the initial Hessian.

    Returns
    -------
    list of Step
        The steps of all launches; the last one is below the criterion unless there were too many. If a resumed run
        found another electronic state, the steps in that one.

    Raises
    ------
    Stopped
        When asked to stop, or before the wall time is over.
    TooManySteps
        If there were too many steps, and the last one raised the energy.
    EngineError
        If the energy or a force is not finite.
    """
    ranks = ranks or Ranks()
    directory = checkpoint.directory
    states = checkpoint.states
    kept = ranks.shared(lambda: checkpoint.resume(len(atoms)))
    if kept.steps:
        kept = _in_one_state(atoms, checkpoint, kept, criteria, ranks)
    steps = kept.steps
    descent = Descent(criteria, atoms, earlier_steps)
    accepted = descent.replay(steps)
    clock = Clock(directory, limits, stop)
    with checkpoint.path.open("r+b" if ranks.writes else "rb", buffering=0) as trajectory:
        if ranks.writes:
            trajectory.truncate(kept.size)
            trajectory.seek(kept.size)

        def compute() -> bool:
            step = Step.of(atoms, len(steps), directory, criteria.cell)
            steps.append(step)
            states.keep(atoms, step.step)
            if ranks.writes:
                trajectory.write(step.line())
            states.discard_others(step.step)
            return descent.add(step)

        if steps:
            steps[-1].place(atoms)
        else:
            states.start_anew(atoms)
            accepted = compute()
        while not (accepted and criteria.met(steps[-1])) and steps[-1].step < criteria.max_steps:
            clock.check(steps[-1].step)
            descent.move()
            accepted = compute()
    if not accepted:
        raise TooManySteps(
            f"{directory}: after {steps[-1].step} steps the energy is higher than before; raise execution.max_steps "
            f"(now {criteria.max_steps}) and run it again.",
            criteria.max_steps,
        )
    return steps


def _in_one_state(
    atoms: Atoms, checkpoint: Checkpoint, kept: KeptSteps, criteria: Criteria, ranks: Ranks
) -> KeptSteps:
    """Compute the last step again; return the steps to continue from, which all belong to the state that was found.

    BFGS must not combine forces of two states. If the energy is that of the last step, the trajectory continues. If
    a lower state was found, a new trajectory begins in it at the same positions. If only higher ones were found, the
    relaxation begins again at its start. ``atoms`` are then where the trajectory begins.
    """
    states, start, last = checkpoint.states, atoms.copy(), kept.steps[-1]
    found: Step | None = None
    if _computes_on(states, kept.steps, criteria, atoms):
        lowest = min(step.energy_ev for step in kept.steps)
        last.place(atoms)
        for _ in states.starts(atoms, last):
            found = Step.of(atoms, last.step, checkpoint.directory, criteria.cell)
            verdict = Found.by_energy(found.energy_ev, last.energy_ev, lowest)
            if verdict is Found.SAME:
                found = None
                break
            if verdict is Found.LOWER:
                return _begin(checkpoint, ranks, (*kept.notes, lower_state_note(last, found)), atoms, found)
    if found is None:
        kept.steps[0].place(atoms)
        return kept
    atoms.set_cell(start.cell)
    atoms.positions = start.positions
    return _begin(checkpoint, ranks, (*kept.notes, lost_state_note(last, found)), atoms)


def _computes_on(states: States, steps: Sequence[Step], criteria: Criteria, atoms: Atoms) -> bool:
    """Tell whether a resumed run uses the calculator at the last step, for a next one or for the result."""
    done = Descent(criteria, atoms).replay(steps) and criteria.met(steps[-1])
    return states.gives_result or not (done or steps[-1].step >= criteria.max_steps)


def _begin(
    checkpoint: Checkpoint, ranks: Ranks, notes: tuple[str, ...], atoms: Atoms, first: Step | None = None
) -> KeptSteps:
    """Begin the trajectory again, with a first step that was computed already."""
    steps = [] if first is None else [replace(first, step=0)]
    if steps:
        checkpoint.states.keep(atoms, 0)
    kept: KeptSteps = ranks.shared(lambda: checkpoint.begin(notes, steps))
    if steps:
        checkpoint.states.discard_others(0)
    return kept


class Clock:
    """Ends a launch between two steps, on request or before its wall time is over."""

    def __init__(self, directory: Path, limits: Limits, stop: Stop) -> None:
        self.directory, self.limits, self.stop = directory, limits, stop
        self.began = self.last = time.monotonic()
        self.longest = 0.0

    def check(self, step: int) -> None:
        """Raise `Stopped` when asked to stop, or if a step as long as the longest would exceed the wall time."""
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now
        reason = self.stop.reason if self.stop.requested() else None
        wall = self.limits.wall_time_s
        if reason is None and wall is not None and now - self.began + self.longest > wall:
            reason = f"its wall time of {wall:.0f} s is nearly over"
        if reason is not None:
            raise Stopped(
                f"{self.directory}: stopped after step {step}: {reason}; run it again to resume from there."
            )
