"""Processes of codes: started so that they end with sodiate, one at a time in a directory."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ..base import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

_PR_SET_PDEATHSIG = 1

LOCK_S = 30.0
"""How long to wait for another process to leave a directory."""


def start(
    command: Sequence[str],
    directory: str | Path,
    stdout: Any,
    stderr: Any,
    environment: Mapping[str, str],
    lock: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, that ends with this process.

    Parameters
    ----------
    command
        Program and arguments.
    directory
        Where it runs.
    stdout, stderr
        Open files.
    environment
        Laid over this process's.
    lock
        Descriptor of a file that this process has locked; the command holds it, too, as long as it lives.
    """
    given = {**os.environ, **environment}
    if os.getuid() == 0:  # containers and CI; OpenMPI refuses root without these two
        given |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return subprocess.Popen(
        command,
        cwd=directory,
        env=given,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        pass_fds=() if lock is None else (lock,),
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )


def _end_with_parent() -> None:
    """Ask the kernel to end the command, and with it its ranks, when this process is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, then kill what is left of its session."""
    process.terminate()
    end = time.monotonic() + 5.0
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def locked(directory: Path, seconds: float = LOCK_S) -> Iterator[int]:
    """Hold a directory: two codes that write into one another's files would both be wrong.

    The lock belongs to an open file that is handed on to the code, so that a code that outlives its sodiate holds it.

    Yields
    ------
    int
        The file's descriptor.

    Raises
    ------
    EngineError
        If another process still holds it after some seconds.
    """
    with (directory / "lock").open("a") as file:
        end = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise EngineError(
                        f"{directory}: another process still computes there; end it, or wait, and retry."
                    ) from None
                time.sleep(0.2)
            except OSError:  # a file system without locks: the lease alone guards then
                break
        yield file.fileno()
