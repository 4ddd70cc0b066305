"""GPAW as a custodian job, and what can be mended when it fails.

The worker writes why it failed into ``error.json``; a handler that knows a remedy adds it to ``corrections.json``,
which the next attempt reads over its inputs. Remedies change how the number is reached, never what it is.
"""

from __future__ import annotations

import shlex
import time
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
    from pathlib import Path

STDERR = "stderr.txt"
FROZEN_S = 3600.0
"""Without a line of output for so long, a run hangs: the slowest SCF iteration takes minutes."""

_LADDER: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("smaller density mixing", {"mixer": {"beta": 0.02, "nmaxold": 5, "weight": 100.0}}),
    ("Davidson eigensolver and smaller density mixing", {"eigensolver": {"name": "davidson", "niter": 3}}),
)
"""What is tried, one after the other, when the SCF cycle does not converge."""


class GpawJob(Job):
    """One launch of GPAW in a directory.

    Parameters
    ----------
    command
        As in a shell; without one, nothing of the shell is interpreted.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        self.process: subprocess.Popen[bytes] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what custodian's log says of it."""
        return {"command": self.command}

    def setup(self, directory: str = "./") -> None:
        """Nothing: the engine's `prepare` wrote the inputs."""

    def run(self, directory: str = "./") -> subprocess.Popen[bytes]:
        """Start it in a session of its own, that ends with this process."""
        for name in (ERROR, RESULT):
            (_path(directory) / name).unlink(missing_ok=True)
        with (_path(directory) / STDERR).open("wb") as errors:
            self.process = start(shlex.split(self.command), directory, errors, errors, {"OMP_NUM_THREADS": "1"})
        return self.process

    def postprocess(self, directory: str = "./") -> None:
        """Nothing: the engine's `collect` reads the outputs."""

    def terminate(self, directory: str = "./") -> None:
        """End it and its ranks, by force if need be."""
        if self.process is not None:
            end_session(self.process)


def _path(directory: str) -> Path:
    from pathlib import Path

    return Path(directory)


class ScfHandler(ErrorHandler):
    """Mends what GPAW says of itself: an SCF cycle that does not converge, a symmetry that a step broke."""

    is_monitor = False

    def as_dict(self) -> dict[str, Any]:
        """Return what custodian's log says of it."""
        return {"handler": type(self).__name__}

    def check(self, directory: str = "./") -> bool:
        """Tell whether the run failed with a reason of its own."""
        return (_path(directory) / ERROR).exists()

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Write the next remedy; no actions if there is none."""
        folder = _path(directory)
        try:
            error = read_json(folder / ERROR)
        except DAMAGE:
            return {"errors": ["unreadable error"], "actions": None}
        done = _corrections(folder)
        kind, why = error["type"], None
        change: Mapping[str, Any] = {}
        if kind == "SymmetryBrokenError" and not any("symmetry" in c["set"] for c in done):
            why, change = "symmetry off: a step broke it", {"symmetry": "off"}
        elif kind in ("KohnShamConvergenceError", "TooFewBandsError"):
            tried = {c["why"] for c in done}
            why, change = next(((w, s) for w, s in _LADDER if w not in tried), (None, {}))
        if why is None:
            return {"errors": [error["reason"]], "actions": None}
        write_json(folder / CORRECTIONS, {"corrections": [*done, {"why": why, "set": dict(change)}]})
        return {"errors": [error["reason"]], "actions": [why]}


def _corrections(folder: Path) -> list[dict[str, Any]]:
    try:
        return list(read_json(folder / CORRECTIONS)["corrections"])
    except DAMAGE:
        return []


class StopHandler(ErrorHandler):
    """Ends the run when it is asked to end, or when its wall time is nearly over."""

    is_monitor = True
    raises_runtime_error = True

    def __init__(self, stop: Stop, limits: Limits) -> None:
        self.stop, self.limits = stop, limits
        self.began = time.monotonic()

    def as_dict(self) -> dict[str, Any]:
        """Return what custodian's log says of it."""
        return {"handler": type(self).__name__, "wall_time_s": self.limits.wall_time_s}

    def check(self, directory: str = "./") -> bool:
        """Tell whether the run has to end."""
        wall = self.limits.wall_time_s
        if wall is not None and time.monotonic() - self.began > wall - 10.0:
            self.stop.request(f"its wall time of {wall:.0f} s is nearly over")
        return self.stop.requested()

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Correct nothing: the run is to be continued."""
        return {"errors": [self.stop.reason], "actions": None}


class FrozenHandler(ErrorHandler):
    """Starts a run again, once, that has written nothing for too long."""

    is_monitor = True

    def __init__(self, seconds: float = FROZEN_S) -> None:
        self.seconds = seconds
        self.restarted = False

    def as_dict(self) -> dict[str, Any]:
        """Return what custodian's log says of it."""
        return {"handler": type(self).__name__, "seconds": self.seconds}

    def check(self, directory: str = "./") -> bool:
        """Tell whether the newest output is older than the limit."""
        outputs = [*_path(directory).glob(OUTPUTS), _path(directory) / STDERR]
        newest = max(path.stat().st_mtime for path in outputs if path.exists())
        return time.time() - newest > self.seconds

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Let it start again, the first time."""
        error = f"no output for {self.seconds:g} s: it hung"
        if self.restarted:
            write_json(_path(directory) / ERROR, {"type": "Frozen", "reason": error + " twice", "traceback": ""})
            return {"errors": [error], "actions": None}
        self.restarted = True
        return {"errors": [error], "actions": ["started again"]}
