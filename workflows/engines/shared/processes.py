"""Processes of codes: they end with sodiate, and only one at a time runs in a directory."""

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
    """Start a command in a session of its own; it ends with this process.

    Parameters
    ----------
    command
        Program and arguments.
    directory
        Where it runs.
    stdout, stderr
        Open files.
    environment
        Variables added to those of this process.
    lock
        Descriptor of a file that this process has locked; the command holds the lock as long as it lives.
    """
    variables = {**os.environ, **environment}
    variables |= for_root()
    return subprocess.Popen(
        command,
        cwd=directory,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        pass_fds=() if lock is None else (lock,),
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )


def _end_with_parent() -> None:
    """Ask the kernel to end the command and its ranks when this process is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def for_root() -> dict[str, str]:
    """Return what OpenMPI wants of root, as in containers and CI; nothing for anybody else."""
    names = ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM")
    return dict.fromkeys(names, "1") if os.getuid() == 0 else {}


UNBOUND = {
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
"""What tells OpenMPI, 4 and 5, to leave ranks to the system's scheduler, as others compute beside them.

It would bind them to the first cores, those of two runs to the same, and refuse more than it counts for itself.
"""


def end_session(process: subprocess.Popen[bytes]) -> bool:
    """Terminate a process, then kill the rest of its session; return whether it was still running."""
    was_running = process.poll() is None
    process.terminate()
    end = time.monotonic() + 5.0
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return was_running


@contextmanager
def locked(directory: Path, seconds: float = LOCK_S) -> Iterator[int]:
    """Lock a directory, so that two codes do not overwrite each other's files.

    The lock belongs to an open file that is passed on to the code: a code that outlives its sodiate still holds it.

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
