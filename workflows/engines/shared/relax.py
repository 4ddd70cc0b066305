"""A relaxation, in one process or in several ranks, that a kill at any moment neither loses nor changes.

The trajectory is the checkpoint: a line a step, with a checksum of its own, in full precision. The optimizer's
state follows from its steps (`sodiate.workflows.engines.shared.bfgs`), so a resumed run feeds them to the optimizer
again and then takes the very steps that it would have taken. The in-plane cell may relax with the positions; c
never does.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...stop import Stop
from ..base import Limits, Stopped, Unconverged
from .bfgs import Criteria, Descent
from .files import TRAJECTORY
from .trajectory import Step, resume

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms


class Ranks:
    """The processes that take the same steps together: here a single one; an MPI engine has its own kind."""

    writes = True

    def shared(self, make: Callable[[], Any]) -> Any:
        """Return what the process that writes makes, in all of them."""
        return make()


def relax(
    atoms: Atoms,
    directory: Path,
    key: str,
    criteria: Criteria,
    limits: Limits,
    stop: Stop,
    ranks: Ranks | None = None,
    name: str = TRAJECTORY,
    learned: Sequence[Step] = (),
) -> list[Step]:
    """Relax ``atoms`` in place with BFGS, or go on from the trajectory.

    Parameters
    ----------
    atoms
        Start geometry with its calculator.
    directory
        Where the trajectory is kept.
    key
        Says what is relaxed; a trajectory with another key is replaced.
    criteria
        When to end.
    limits
        Wall time of this launch.
    stop
        Read between steps.
    ranks
        The processes that do this together.
    name
        Of the trajectory's file.
    learned
        Steps of a cheaper relaxation of the same atoms, whose curvature BFGS begins with.

    Returns
    -------
    list of Step
        All that were taken, in all launches; the last one is below the criterion unless there were too many.

    Raises
    ------
    Stopped
        When asked to end, or before the wall time is over.
    Unconverged
        If there were too many steps, and the last one leads upwards.
    EngineError
        If the energy or a force is not finite.
    """
    ranks = ranks or Ranks()
    taken, size = ranks.shared(lambda: resume(directory / name, key, len(atoms)))
    descent = Descent(criteria, atoms, learned)
    stands = descent.replay(taken)
    clock = _Clock(directory, limits, stop)
    with (directory / name).open("r+b" if ranks.writes else "rb", buffering=0) as trajectory:
        if ranks.writes:
            trajectory.truncate(size)
            trajectory.seek(size)

        def compute() -> bool:
            step = Step.of(atoms, len(taken), directory, criteria.cell)
            taken.append(step)
            if ranks.writes:
                trajectory.write(step.line())
            return descent.add(step)

        if taken:
            taken[-1].place(atoms)
        else:
            stands = compute()
        while not (stands and criteria.met(taken[-1])) and taken[-1].step < criteria.max_steps:
            clock.check(taken[-1].step)
            descent.move()
            stands = compute()
    if not stands:
        raise Unconverged(
            f"{directory}: after {taken[-1].step} steps the energy is higher than before; raise execution.max_steps "
            f"(now {criteria.max_steps}) and retry."
        )
    return taken


class _Clock:
    """Tells between steps whether the next one may begin."""

    def __init__(self, directory: Path, limits: Limits, stop: Stop) -> None:
        self.directory, self.limits, self.stop = directory, limits, stop
        self.began = self.last = time.monotonic()
        self.longest = 0.0

    def check(self, step: int) -> None:
        """Raise `Stopped` when asked to end, or if a step as long as the longest would pass the wall time."""
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now
        reason = self.stop.reason if self.stop.requested() else None
        wall = self.limits.wall_time_s
        if reason is None and wall is not None and now - self.began + self.longest > wall:
            reason = f"its wall time of {wall:.0f} s is nearly over"
        if reason is not None:
            raise Stopped(f"{self.directory}: stopped after step {step}: {reason}; run it again to go on from there.")
