"""SLURM, by sbatch and squeue."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping

from .scheduler import Request, Scheduler, call, output_of

_LIVE = "PENDING RUNNING CONFIGURING COMPLETING SUSPENDED REQUEUED RESIZING STAGE_OUT SIGNALING"


class Slurm(Scheduler):
    """SLURM."""

    name = "slurm"
    submit_command = "sbatch"
    ask_command = ("squeue", "--noheader", "--me")
    job_variable = "SLURM_JOB_ID"
    live_states = frozenset(_LIVE.split())

    def header(self, request: Request) -> list[str]:
        """Return the lines ``#SBATCH``; ``B:`` sends the signal to the worker, which replaces the shell."""
        options = [
            f"--job-name={request.name}",
            f"--nodes={request.nodes}",
            f"--ntasks={request.tasks}",
            f"--cpus-per-task={request.cpus_per_task}",
            f"--time={request.wall_time}",
            f"--mem={request.memory_mb}M",
            f"--signal=B:USR1@{request.signal_s}",
            f"--output={request.logs}/%x-%j.out",
        ]
        options += [f"--partition={request.queue}"] if request.queue else []
        options += [f"--account={request.account}"] if request.account else []
        return [f"#SBATCH {option}" for option in options]

    def known_states(self) -> dict[str, str]:
        """Ask squeue for jobs in all states."""
        output = output_of(["squeue", "--noheader", "--states=all", "--format=%i %T"])
        rows = [line.split() for line in output.splitlines()]
        return {row[0]: row[1] for row in rows if len(row) >= 2}

    def seconds_left(self, environment: Mapping[str, str]) -> float | None:
        """Read the job's end from its environment, else ask squeue."""
        end = environment.get("SLURM_JOB_END_TIME")
        if end is not None and end.isdigit():
            return float(end) - time.time()
        job = environment.get(self.job_variable)
        if job is None or shutil.which("squeue") is None:
            return None
        return _seconds(call(["squeue", "--noheader", f"--jobs={job}", "--format=%L"]).stdout.strip())


def _seconds(text: str) -> float | None:
    """Read ``1-02:03:04``, ``02:03:04`` or ``03:04``."""
    parts = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if parts is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds
