"""GPAW as a custodian job, and handlers that correct its failures.

The worker writes why it failed into ``error.json``; a handler that has a remedy adds it to ``corrections.json``,
which the next attempt applies to its inputs. Remedies change how a number is reached, never the number.
"""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custodian.custodian import ErrorHandler, Job

from ...stop import Stop
from ..base import Limits
from ..shared.files import DAMAGE, read_json, write_json
from ..shared.processes import end_session, start
from .inputs import CORRECTIONS, ERROR, OUTPUTS, RESULT

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

STDERR = "stderr.txt"
FROZEN_S = 3600.0
"""A run without output for longer hangs: the slowest SCF iteration takes minutes."""

_LADDER: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("smaller density mixing", {"mixer": {"beta": 0.02, "nmaxold": 5, "weight": 100.0}}),
    ("Davidson eigensolver and smaller density mixing", {"eigensolver": {"name": "davidson", "niter": 3}}),
)
"""Remedies for an SCF cycle that does not converge, tried in this order."""


class GpawJob(Job):
    """One launch of GPAW in a directory.

    Parameters
    ----------
    command
        Written as in a shell, but run without one.
    environment
        Variables added to those of this process, unless it has them.
    """

    def __init__(self, command: str, environment: Mapping[str, str]) -> None:
        self.command = command
        self.environment = {key: value for key, value in environment.items() if key not in os.environ}
        self.process: subprocess.Popen[bytes] | None = None
        self.ended_here = False

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of custodian's log."""
        return {"command": self.command}

    def setup(self, directory: str = "./") -> None:
        """Do nothing: the engine's `prepare` wrote the inputs."""

    def run(self, directory: str = "./") -> subprocess.Popen[bytes]:
        """Start GPAW in a session of its own; it ends with this process."""
        for name in (ERROR, RESULT):
            (Path(directory) / name).unlink(missing_ok=True)
        with (Path(directory) / STDERR).open("wb") as errors:
            variables = {"OMP_NUM_THREADS": "1", **self.environment}
            self.process = start(shlex.split(self.command), directory, errors, errors, variables)
        self.ended_here = False
        return self.process

    def postprocess(self, directory: str = "./") -> None:
        """Do nothing: the engine's `collect` reads the outputs."""

    def terminate(self, directory: str = "./") -> None:
        """End GPAW and its ranks, by force if necessary."""
        if self.process is not None:
            self.ended_here |= end_session(self.process)


class ScfHandler(ErrorHandler):
    """Corrects errors that GPAW reports: an SCF cycle that does not converge, a symmetry that a step broke."""

    is_monitor = False

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of custodian's log."""
        return {"handler": type(self).__name__}

    def check(self, directory: str = "./") -> bool:
        """Return whether the worker reported an error."""
        return (Path(directory) / ERROR).exists()

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Write the next remedy; return no actions if there is none."""
        folder = Path(directory)
        try:
            error = read_json(folder / ERROR)
        except DAMAGE:
            return {"errors": ["unreadable error"], "actions": None}
        corrections = _corrections(folder)
        kind, why = error["type"], None
        change: Mapping[str, Any] = {}
        if kind == "SymmetryBrokenError" and not any("symmetry" in correction["set"] for correction in corrections):
            why, change = "symmetry off: a step broke it", {"symmetry": "off"}
        elif kind in ("KohnShamConvergenceError", "TooFewBandsError"):
            reasons = {correction["why"] for correction in corrections}
            why, change = next((remedy for remedy in _LADDER if remedy[0] not in reasons), (None, {}))
        if why is None:
            return {"errors": [error["reason"]], "actions": None}
        write_json(folder / CORRECTIONS, {"corrections": [*corrections, {"why": why, "set": dict(change)}]})
        return {"errors": [error["reason"]], "actions": [why]}


def _corrections(folder: Path) -> list[dict[str, Any]]:
    try:
        return list(read_json(folder / CORRECTIONS)["corrections"])
    except DAMAGE:
        return []


class GpawStopHandler(ErrorHandler):
    """Ends the run on request, or when its wall time is nearly over."""

    is_monitor = True
    raises_runtime_error = True

    def __init__(self, stop: Stop, limits: Limits) -> None:
        self.stop, self.limits = stop, limits
        self.began = time.monotonic()

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of custodian's log."""
        return {"handler": "StopHandler", "wall_time_s": self.limits.wall_time_s}

    def check(self, directory: str = "./") -> bool:
        """Return whether the run has to end."""
        wall = self.limits.wall_time_s
        if wall is not None and time.monotonic() - self.began > wall - 10.0:
            self.stop.request(f"its wall time of {wall:.0f} s is nearly over")
        return self.stop.requested()

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Correct nothing: the run can be resumed."""
        return {"errors": [self.stop.reason], "actions": None}


class FrozenHandler(ErrorHandler):
    """Restarts a run once if it has written nothing for too long."""

    is_monitor = True

    def __init__(self, seconds: float = FROZEN_S) -> None:
        self.seconds = seconds
        self.restarted = False

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of custodian's log."""
        return {"handler": type(self).__name__, "seconds": self.seconds}

    def check(self, directory: str = "./") -> bool:
        """Return whether the newest output is older than the limit."""
        outputs = [*Path(directory).glob(OUTPUTS), Path(directory) / STDERR]
        newest = max(path.stat().st_mtime for path in outputs if path.exists())
        return time.time() - newest > self.seconds

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Restart the run the first time."""
        error = f"no output for {self.seconds:g} s: it hung"
        if self.restarted:
            write_json(Path(directory) / ERROR, {"type": "Frozen", "reason": error + " twice", "traceback": ""})
            return {"errors": [error], "actions": None}
        self.restarted = True
        return {"errors": [error], "actions": ["started again"]}
