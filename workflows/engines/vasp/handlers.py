"""VASP as a custodian job, and handlers for slabs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from custodian.custodian import ErrorHandler
from custodian.vasp.handlers import (
    FrozenJobErrorHandler,
    NonConvergingErrorHandler,
    PositiveEnergyErrorHandler,
    PotimErrorHandler,
    UnconvergedErrorHandler,
    VaspErrorHandler,
    WalltimeHandler,
)
from custodian.vasp.jobs import VaspJob

from ...stop import Stop
from ..shared.files import DAMAGE
from ..shared.processes import end_session, start
from ..shared.states import Found
from .results import RUN, largest_force, ran_into_nelm, read_vasprun, steps_taken

if TYPE_CHECKING:
    import subprocess

    from ..shared.trajectory import Step

GRACE_S = 60.0
"""How long VASP may take to end by itself, where nobody says how long there is."""

_ABORT_S = 60.0
"""So long before the end VASP is told to leave its SCF cycle, too."""

_KILL_S = 10.0
"""So long before the end of a longer time VASP is killed: what it left is still to be put away."""

FROZEN_S = 3600
"""A run without output for longer hangs."""

TORN_EV_PER_A = 50.0
"""With a larger force atoms overlap, and no step separates them."""

_LEAST_LEFT_S = 300.0

_LEAST_S = 1.0
"""Less time than this is none."""


class Ending:
    """Whether this launch has to end, and why: by request of its worker, or because its time is over.

    Parameters
    ----------
    stop
        Request of the worker.
    wall_time_s
        Seconds left; None if there is no limit.
    """

    def __init__(self, stop: Stop, wall_time_s: float | None) -> None:
        self.stop, self.wall_time_s = stop, wall_time_s
        self.out_of_time = False
        self.began = time.monotonic()

    @property
    def requested(self) -> bool:
        """True once the launch has to end."""
        return self.out_of_time or self.stop.requested()

    @property
    def seconds(self) -> float:
        """How long there is from now on, when the end was just asked for."""
        left = np.inf if self.wall_time_s is None else self.began + self.wall_time_s - time.monotonic()
        if not self.stop.requested():
            return max(left - _LEAST_S, 0.0)
        given = GRACE_S if self.stop.seconds is None else max(self.stop.seconds - _KILL_S, self.stop.seconds / 2)
        return max(min(given, left - _LEAST_S), 0.0)

    @property
    def reason(self) -> str:
        """Why it has to end, in words."""
        return self.stop.reason or f"its wall time ({self.wall_time_s:.0f} s were left) is nearly over"


class VaspRun(VaspJob):
    """One run of VASP, which ends with sodiate and holds the directory's lock as long as it lives."""

    def __init__(self, command: Sequence[str], lock: int) -> None:
        super().__init__(list(command), backup=False, auto_gamma=False)
        self.lock = lock
        self.process: subprocess.Popen[bytes] | None = None
        self.ended_here = False

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of custodian's log."""
        return {"command": " ".join(self.vasp_cmd)}

    def run(self, directory: str = "./") -> subprocess.Popen[bytes]:
        """Start VASP."""
        folder = Path(directory)
        with (folder / self.output_file).open("wb") as out, (folder / self.stderr_file).open("wb") as errors:
            self.process = start(self.vasp_cmd, directory, out, errors, {}, self.lock)
        self.ended_here = False
        return self.process

    def terminate(self, directory: str = "./") -> None:
        """End VASP and its ranks, by force if necessary."""
        if self.process is not None:
            self.ended_here |= end_session(self.process)


STOP = "LSTOP = .TRUE.\n"
ABORT = "LABORT = .TRUE.\n"


class VaspStopHandler(ErrorHandler):
    """Asks VASP to end when sodiate is asked to, ever more firmly; ends it if it does not.

    First after the ionic step, whose energy then counts, and not every VASP knows more. In the last part of the time
    within the SCF cycle: such a run is not converged, but leaves its WAVECAR.
    """

    is_monitor = True
    raises_runtime_error = True

    def __init__(self, ending: Ending) -> None:
        self.ending = ending
        self.end = np.inf
        self.said = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of custodian's log."""
        return {"handler": "StopHandler"}

    def check(self, directory: str = "./") -> bool:
        """Write STOPCAR when asked to end; tell whether VASP had its time."""
        if not self.ending.requested:
            return False
        now = time.monotonic()
        if now + self.ending.seconds < self.end:
            self.end = now + self.ending.seconds
            self.abort = self.end - min(_ABORT_S, 2 / 3 * self.ending.seconds)
        words = STOP if now < self.abort else STOP + ABORT
        if words != self.said:
            (Path(directory) / "STOPCAR").write_text(words, encoding="utf-8")
            self.said = words
        return now > self.end

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Correct nothing: the run can be resumed."""
        return {"errors": [self.ending.reason], "actions": None}


class TimeHandler(WalltimeHandler):
    """Custodian's handler with the time that is really left: it ends VASP after the current ionic step."""

    def __init__(self, ending: Ending) -> None:
        # Custodian keeps the start of the first run in the environment, for all later runs.
        os.environ.pop("CUSTODIAN_WALLTIME_START", None)
        left = ending.wall_time_s
        super().__init__(wall_time=left, buffer_time=0 if left is None else min(_LEAST_LEFT_S, left / 4))
        os.environ.pop("CUSTODIAN_WALLTIME_START", None)
        self.ending = ending

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of custodian's log."""
        return {"handler": type(self).__name__, "wall_time_s": self.ending.wall_time_s}

    def check(self, directory: str = "./") -> bool:
        """Return once whether the time is nearly over."""
        return not self.ending.out_of_time and bool(super().check(directory))

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Write STOPCAR."""
        self.ending.out_of_time = True
        corrected: dict[str, Any] = super().correct(directory)
        return corrected


class ElectronsHandler(UnconvergedErrorHandler):
    """Custodian's handler for the electrons alone: it ignores runs that were asked to end and the limit of steps."""

    def __init__(self, ending: Ending) -> None:
        super().__init__()
        self.ending = ending

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of custodian's log."""
        return {"handler": type(self).__name__}

    def check(self, directory: str = "./") -> bool:
        """Return whether the last SCF cycle reached NELM."""
        if self.ending.requested:
            return False
        try:
            return ran_into_nelm(read_vasprun(Path(directory) / RUN))
        except DAMAGE:
            return False


class TornHandler(ErrorHandler):
    """Ends a relaxation whose atoms overlap, so that it does not use up its time."""

    is_monitor = True
    raises_runtime_error = True

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of custodian's log."""
        return {"handler": type(self).__name__}

    def check(self, directory: str = "./") -> bool:
        """Return whether a force of the last step in OUTCAR is unreasonably large."""
        self.largest = largest_force(Path(directory) / "OUTCAR")
        return self.largest > TORN_EV_PER_A

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Correct nothing: the start geometry is wrong."""
        size = (
            f"a force of {self.largest:.0f} eV/Å" if np.isfinite(self.largest) else "a force that OUTCAR has as ****"
        )
        words = f"{size}: atoms overlap; check the start geometry in POSCAR"
        return {"errors": [words], "actions": None}


class LostStateHandler(ErrorHandler):
    """Ends a relaxation that went on in another electronic state, if the relaxation has to begin again.

    Parameters
    ----------
    look
        Returns what the run found at its first step, None as long as it has not come so far.
    """

    is_monitor = True
    raises_runtime_error = True

    def __init__(self, look: Callable[[], tuple[Found, Step, Step] | None]) -> None:
        self.look = look
        self.told = False

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of custodian's log."""
        return {"handler": type(self).__name__}

    def check(self, directory: str = "./") -> bool:
        """Return whether the state of the last step is lost; that is asked until it is known."""
        what = None if self.told else self.look()
        self.told = self.told or what is not None
        return what is not None and what[0] is Found.HIGHER

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Correct nothing: the relaxation begins again."""
        return {"errors": ["another electronic state"], "actions": None}


class ManyUnconvergedHandler(NonConvergingErrorHandler):
    """custodian's, which reads all inputs, POTCAR too, only after as many ionic steps as it asks for."""

    def check(self, directory: str = "./") -> bool:
        """Return whether the electrons of the last ionic steps did not converge."""
        return steps_taken(Path(directory)) + 1 >= self.nionic_steps and bool(super().check(directory))


class Seldom(ErrorHandler):
    """Runs a slow check for at most a twentieth of the time while VASP runs, and once at the end.

    Parameters
    ----------
    handler
        The handler with the check; it may read all of OUTCAR or POTCAR each time.
    job
        The run of VASP.
    """

    def __init__(self, handler: ErrorHandler, job: VaspRun) -> None:
        self.handler, self.job = handler, job
        self.is_monitor, self.is_terminating = handler.is_monitor, handler.is_terminating
        self.raises_runtime_error = handler.raises_runtime_error
        self.next_check = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of custodian's log."""
        return {"handler": type(self.handler).__name__}

    def check(self, directory: str = "./") -> bool:
        """Return whether there is an error; False if it is too early for the next check."""
        began = time.monotonic()
        running = self.job.process is not None and self.job.process.poll() is None
        if running and began < self.next_check:
            return False
        failed = bool(self.handler.check(directory))
        now = time.monotonic()
        self.next_check = now + 20 * (now - began)
        return failed

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Correct the error."""
        corrected: dict[str, Any] = self.handler.correct(directory)
        return corrected


def handlers(ending: Ending, job: VaspRun, lost: LostStateHandler | None = None) -> list[ErrorHandler]:
    """Return the handlers of a run: custodian's for slabs, and ours for stopping and for lost states."""
    checks = [
        *([TimeHandler(ending)] if ending.wall_time_s is not None else []),
        VaspErrorHandler(),
        ElectronsHandler(ending),
        ManyUnconvergedHandler(),
        PositiveEnergyErrorHandler(),
        PotimErrorHandler(),
        FrozenJobErrorHandler(timeout=FROZEN_S),
        TornHandler(),
    ]
    ours = [VaspStopHandler(ending), *([lost] if lost is not None else [])]
    return [*ours, *(Seldom(handler, job) for handler in checks)]
