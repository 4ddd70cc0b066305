"""One launch of GPAW under custodian, and the error that its end means."""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

from custodian.custodian import Custodian, CustodianError

from ...stop import Stop
from ..base import EngineError, Limits, Stopped
from ..shared.files import DAMAGE, read_json
from .handlers import STDERR, FrozenHandler, GpawJob, GpawStopHandler, ScfHandler
from .inputs import ERROR, RESULT

if TYPE_CHECKING:
    from pathlib import Path

_POLL_S = 0.5
_FULL_BYTES = 1_000_000


def launch(command: str, directory: Path, limits: Limits, stop: Stop) -> None:
    """Run a command under custodian until it has left a result.

    Raises
    ------
    Stopped
        When asked to stop or out of time.
    EngineError
        If it failed and no handler had a remedy, or left nothing.
    """
    logging.getLogger("custodian").setLevel(logging.CRITICAL + 1)  # its messages are in custodian.json
    handlers = [GpawStopHandler(stop, limits), FrozenHandler(), ScfHandler()]
    job = GpawJob(command)
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
    if stop.requested() and not (directory / RESULT).exists():
        raise Stopped(f"{directory}: stopped: {stop.reason}; run it again to resume from its last step.")
    if not (directory / RESULT).exists():
        raise EngineError(
            f"{directory}: {_reason(directory, command)} See gpaw-*.txt and {STDERR} there."
        ) from failure


def _reason(directory: Path, command: str) -> str:
    try:
        return f"GPAW failed: {read_json(directory / ERROR)['reason'].rstrip('.')}."
    except DAMAGE:
        pass
    try:
        lines = (directory / STDERR).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    message = f": {lines[-1].strip()}" if lines else ""
    if shutil.disk_usage(directory).free < _FULL_BYTES:
        message += ". The disk is full; make room and retry"
    return f"'{command}' ended without a result{message}."
