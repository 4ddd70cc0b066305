"""VASP as a custodian job, and the handlers that matter for slabs."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from .results import RUN, largest_force, read_vasprun

if TYPE_CHECKING:
    import subprocess

GRACE_S = 60.0
"""How long VASP may take to end by itself, after its present electronic step."""

FROZEN_S = 3600
"""Without output for so long, VASP hangs."""

TORN_EV_PER_A = 50.0
"""With such a force atoms are inside one another, and no step leads out."""

_LEAST_LEFT_S = 300.0


class Ending:
    """Whether this launch was asked to end, and why: by its worker, or for want of time.

    Parameters
    ----------
    stop
        The worker's request.
    wall_time_s
        Seconds left, None if there is no limit.
    """

    def __init__(self, stop: Stop, wall_time_s: float | None) -> None:
        self.stop, self.wall_time_s = stop, wall_time_s
        self.out_of_time = False

    @property
    def asked(self) -> bool:
        """True once the end was asked for."""
        return self.out_of_time or self.stop.requested()

    @property
    def reason(self) -> str:
        """In words."""
        return self.stop.reason or f"its wall time ({self.wall_time_s:.0f} s were left) is nearly over"


class VaspRun(VaspJob):
    """One run of VASP that ends with sodiate and holds the directory's lock as long as it lives."""

    def __init__(self, command: Sequence[str], lock: int) -> None:
        super().__init__(list(command), backup=False, auto_gamma=False)
        self.lock = lock
        self.process: subprocess.Popen[bytes] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what custodian's log says of it."""
        return {"command": " ".join(self.vasp_cmd)}

    def run(self, directory: str = "./") -> subprocess.Popen[bytes]:
        """Start it."""
        folder = Path(directory)
        with (folder / self.output_file).open("wb") as out, (folder / self.stderr_file).open("wb") as errors:
            self.process = start(self.vasp_cmd, directory, out, errors, {}, self.lock)
        return self.process

    def terminate(self, directory: str = "./") -> None:
        """End it and its ranks, by force if need be."""
        if self.process is not None:
            end_session(self.process)


class StopHandler(ErrorHandler):
    """Asks VASP to end after its electronic step when sodiate is asked to; ends it if it does not."""

    is_monitor = True
    raises_runtime_error = True

    def __init__(self, ending: Ending) -> None:
        self.ending = ending
        self.asked: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what custodian's log says of it."""
        return {"handler": type(self).__name__}

    def check(self, directory: str = "./") -> bool:
        """Write STOPCAR when asked to end; tell whether VASP had its time."""
        if not self.ending.stop.requested():
            return False
        if self.asked is None:
            self.asked = time.monotonic()
            (Path(directory) / "STOPCAR").write_text("LABORT = .TRUE.\n", encoding="utf-8")
        return time.monotonic() - self.asked > GRACE_S

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Correct nothing: the run is to be continued."""
        return {"errors": [self.ending.reason], "actions": None}


class TimeHandler(WalltimeHandler):
    """Custodian's, for the time that is really left: it has VASP end after the present ionic step."""

    def __init__(self, ending: Ending) -> None:
        # Custodian keeps the start of the first run in the environment, for all that follow.
        os.environ.pop("CUSTODIAN_WALLTIME_START", None)
        left = ending.wall_time_s
        super().__init__(wall_time=left, buffer_time=0 if left is None else min(_LEAST_LEFT_S, left / 4))
        os.environ.pop("CUSTODIAN_WALLTIME_START", None)
        self.ending = ending

    def as_dict(self) -> dict[str, Any]:
        """Return what custodian's log says of it."""
        return {"handler": type(self).__name__, "wall_time_s": self.ending.wall_time_s}

    def check(self, directory: str = "./") -> bool:
        """Tell once whether the time is nearly over."""
        return not self.ending.out_of_time and bool(super().check(directory))

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Write STOPCAR."""
        self.ending.out_of_time = True
        corrected: dict[str, Any] = super().correct(directory)
        return corrected


class ElectronsHandler(UnconvergedErrorHandler):
    """Custodian's, for the electrons alone: neither a run that was asked to end nor used-up steps are mended."""

    def __init__(self, ending: Ending) -> None:
        super().__init__()
        self.ending = ending

    def as_dict(self) -> dict[str, Any]:
        """Return what custodian's log says of it."""
        return {"handler": type(self).__name__}

    def check(self, directory: str = "./") -> bool:
        """Tell whether the last SCF cycle ran into NELM."""
        if self.ending.asked:
            return False
        try:
            return not read_vasprun(Path(directory) / RUN).converged_electronic
        except DAMAGE:
            return False


class TornHandler(ErrorHandler):
    """Ends a relaxation whose atoms are inside one another, instead of letting it use up its time."""

    is_monitor = True
    raises_runtime_error = True

    def as_dict(self) -> dict[str, Any]:
        """Return what custodian's log says of it."""
        return {"handler": type(self).__name__}

    def check(self, directory: str = "./") -> bool:
        """Tell whether a force of the last step in OUTCAR is beyond reason."""
        self.largest = largest_force(Path(directory) / "OUTCAR")
        return self.largest > TORN_EV_PER_A

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Correct nothing: the start geometry is wrong."""
        words = (
            f"a force of {self.largest:.0f} eV/Å: atoms are inside one another; check the start geometry in POSCAR"
        )
        return {"errors": [words], "actions": None}


class Seldom(ErrorHandler):
    """A handler whose look costs something, at most a twentieth of the time while VASP runs, and once at the end.

    Parameters
    ----------
    handler
        Whose findings and remedies these are; it may read all of OUTCAR or POTCAR each time.
    job
        Tells whether VASP still runs.
    """

    def __init__(self, handler: ErrorHandler, job: VaspRun) -> None:
        self.handler, self.job = handler, job
        self.is_monitor, self.is_terminating = handler.is_monitor, handler.is_terminating
        self.raises_runtime_error = handler.raises_runtime_error
        self.next_look = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return what custodian's log says of it."""
        return {"handler": type(self.handler).__name__}

    def check(self, directory: str = "./") -> bool:
        """Tell whether there is something to mend, as far as it is time to look."""
        began = time.monotonic()
        runs = self.job.process is not None and self.job.process.poll() is None
        if runs and began < self.next_look:
            return False
        found = bool(self.handler.check(directory))
        now = time.monotonic()
        self.next_look = now + 20 * (now - began)
        return found

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Mend it."""
        corrected: dict[str, Any] = self.handler.correct(directory)
        return corrected


def handlers(ending: Ending, job: VaspRun) -> list[ErrorHandler]:
    """Return what watches a run: custodian's handlers for slabs, and ours for stopping."""
    watching = [
        *([TimeHandler(ending)] if ending.wall_time_s is not None else []),
        VaspErrorHandler(),
        ElectronsHandler(ending),
        NonConvergingErrorHandler(),
        PositiveEnergyErrorHandler(),
        PotimErrorHandler(),
        FrozenJobErrorHandler(timeout=FROZEN_S),
        TornHandler(),
    ]
    return [StopHandler(ending), *(Seldom(handler, job) for handler in watching)]
