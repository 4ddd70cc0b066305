"""One launch of GPAW under custodian, and the error that its end means."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

from custodian.custodian import Custodian, CustodianError

from ...stop import Stop
from ..base import EngineError, Killed, Limits, Stopped, TooManySteps
from ..shared.commands import end_of
from ..shared.files import DAMAGE, read_json, tail
from ..shared.machine import oom_kills, oom_kills_since
from .handlers import STDERR, FrozenHandler, GpawJob, GpawStopHandler, ScfHandler
from .inputs import ERROR, RESULT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_POLL_S = 0.5
_TAIL_BYTES = 100_000
_FULL_BYTES = 1_000_000


def launch(command: str, environment: Mapping[str, str], directory: Path, limits: Limits, stop: Stop) -> None:
    """Run a command under custodian until it has left a result.

    Raises
    ------
    Stopped
        When asked to stop or out of time.
    Killed
        If it or a rank of it was ended from outside.
    EngineError
        If it failed and no handler had a remedy, or left nothing.
    """
    logging.getLogger("custodian").setLevel(logging.CRITICAL + 1)  # its messages are in custodian.json
    handlers = [GpawStopHandler(stop, limits), FrozenHandler(), ScfHandler()]
    job, oom_before = GpawJob(command, environment), oom_kills()
    custodian = Custodian(
        handlers,
        [job],
        max_errors=10,
        polling_time_step=_POLL_S,
        monitor_freq=1,
        directory=str(directory),
        terminate_on_nonzero_returncode=True,
    )
    failure: Exception | None = None
    try:
        custodian.run()
    except (CustodianError, RuntimeError, OSError) as error:
        failure = error
    finally:
        job.terminate()
    if (directory / RESULT).exists():
        return
    if stop.requested():
        raise Stopped(f"{directory}: stopped: {stop.reason}; run it again to resume from its last step.")
    raise _error(job, directory, oom_before) from failure


def _error(job: GpawJob, directory: Path, oom_before: int | None) -> EngineError:
    """Return what the end of a run without a result means: that it was killed, what GPAW said, or its launcher."""
    text = tail(directory / STDERR, _TAIL_BYTES).decode(errors="replace")
    code = None if job.process is None else job.process.returncode
    end = end_of(code, text, oom_kills_since(oom_before))
    see = f"see gpaw-*.txt and {STDERR} there"
    if end.killed and not job.ended_here:
        return Killed(f"{directory}: '{job.command}' {end.words}; {see}.", end.out_of_memory)
    try:
        error = read_json(directory / ERROR)
        if error["type"] == TooManySteps.__name__:
            return TooManySteps(error["reason"].partition(": ")[2], error["max_steps"])
        return EngineError(f"{directory}: GPAW failed: {error['reason'].rstrip('.')}; {see}.")
    except DAMAGE:
        pass
    full = "; the disk is full; make room and retry" if shutil.disk_usage(directory).free < _FULL_BYTES else ""
    return EngineError(f"{directory}: '{job.command}' {end.words}{full}; {see}.")
