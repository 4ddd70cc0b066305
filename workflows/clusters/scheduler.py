"""SLURM and PBS: job scripts, submitting, what became of a job, and how much of its time is left."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ...errors import SodiateError
from .cluster_file import ClusterFile

_TIMEOUT_S = 60

SUBMIT = {"slurm": "sbatch", "pbs": "qsub"}

_ASK = {"slurm": ["squeue", "--noheader", "--me"], "pbs": ["qstat"]}

JOB = {"slurm": "SLURM_JOB_ID", "pbs": "PBS_JOBID"}
"""The variable of a job's environment that has its number."""

_LIVE = {
    "PENDING",
    "RUNNING",
    "CONFIGURING",
    "COMPLETING",
    "SUSPENDED",
    "REQUEUED",
    "RESIZING",
    "STAGE_OUT",
    "SIGNALING",
}
_LIVE_PBS = {"Q", "R", "H", "W", "T", "E", "S", "B"}

MEMORY = re.compile(r"out[ _-]of[ _-]memory|oom.?kill|MemoryError|cannot allocate memory", re.IGNORECASE)
"""How schedulers, kernels and codes say that the memory was too small."""


class SchedulerError(SodiateError):
    """A command of the scheduler is missing, or refused in its own words."""


def on_login_node() -> str | None:
    """Return the submit command if a scheduler answers here and this is no job of it."""
    if any(variable in os.environ for variable in JOB.values()):
        return None
    for scheduler, command in SUBMIT.items():
        if shutil.which(command) and _answers(_ASK[scheduler]):
            return command
    return None


def _answers(command: list[str]) -> bool:
    """Tell whether a command works: its program alone may be installed where no cluster is."""
    try:
        return _run(command).returncode == 0
    except SchedulerError:
        return False


def script(cluster: ClusterFile, name: str, job: str, memory_gb: float, command: Sequence[str], logs: Path) -> str:
    """Return the script of a job.

    The worker takes the place of the shell (``exec``), so that the scheduler's signal reaches it.

    Parameters
    ----------
    cluster
        The cluster file.
    name
        Of the resource class.
    job
        Name of the job.
    memory_gb
        For each node.
    command
        The worker with its arguments.
    logs
        Folder for what the job prints.
    """
    one = cluster.resources(name)
    queue, account = one.queue or cluster.queue, one.account or cluster.account
    if cluster.scheduler == "slurm":
        lines = [f"--job-name={job}", f"--nodes={one.nodes}", f"--ntasks={one.tasks}"]
        lines += [
            f"--cpus-per-task={one.cpus_per_task}",
            f"--time={one.wall_time}",
            f"--mem={round(memory_gb * 1024)}M",
        ]
        lines += [f"--signal=B:USR1@{cluster.signal_s}", f"--output={logs}/%x-%j.out"]
        lines += [f"--partition={queue}"] if queue else []
        lines += [f"--account={account}"] if account else []
        head = [f"#SBATCH {line}" for line in lines]
    else:
        each = -(-one.tasks // one.nodes)
        chunk = f"{one.nodes}:ncpus={each * one.cpus_per_task}:mpiprocs={each}:mem={round(memory_gb * 1024)}mb"
        head = [f"#PBS -N {job[:15]}", f"#PBS -l select={chunk}", f"#PBS -l walltime={one.wall_time}", "#PBS -j oe"]
        head += [f"#PBS -o {logs}/"]
        head += [f"#PBS -q {queue}"] if queue else []
        head += [f"#PBS -A {account}"] if account else []
    body = [f"module load {module}" for module in cluster.modules]
    return "\n".join(["#!/bin/bash", *head, "", *body, *cluster.setup, f"exec {shlex.join(command)}", ""])


def submit(scheduler: str, path: Path) -> str:
    """Submit a script; return the job's number.

    Raises
    ------
    SchedulerError
        With the scheduler's own words.
    """
    command = SUBMIT[scheduler]
    done = _run([command, str(path)])
    found = re.search(r"(\d+)", done.stdout)
    if done.returncode != 0 or found is None:
        words = (done.stderr or done.stdout).strip() or "it said nothing"
        raise SchedulerError(f"{command} refused {path}: {words}")
    return found[1]


def states(scheduler: str, jobs: Iterable[str]) -> dict[str, str]:
    """Return the state of each job, in the scheduler's word; ``gone`` if it knows nothing of it any more.

    Raises
    ------
    SchedulerError
        If the scheduler cannot be asked.
    """
    jobs = list(jobs)
    if not jobs:
        return {}
    return _slurm_states(jobs) if scheduler == "slurm" else _pbs_states(jobs)


def _slurm_states(jobs: list[str]) -> dict[str, str]:
    done = _run(["squeue", "--noheader", "--states=all", "--format=%i %T"])
    if done.returncode != 0:
        raise SchedulerError(f"squeue: {done.stderr.strip() or 'no answer'}")
    known = dict(line.split()[:2] for line in done.stdout.splitlines() if len(line.split()) >= 2)
    return {job: known.get(job, "gone") for job in jobs}


def _pbs_states(jobs: list[str]) -> dict[str, str]:
    done = _run(["qstat"])
    if done.returncode != 0:
        raise SchedulerError(f"qstat: {done.stderr.strip() or 'no answer'}")
    rows = [line.split() for line in done.stdout.splitlines()]
    known = {row[0].split(".")[0]: row[4] for row in rows if len(row) > 4 and row[0][0].isdigit()}
    return {job: known.get(job, "gone") for job in jobs}


def is_live(state: str) -> bool:
    """Tell whether a job with this state waits or runs."""
    return state in _LIVE or state in _LIVE_PBS


def seconds_left(cluster: ClusterFile, name: str, began: float, environment: Mapping[str, str]) -> float:
    """Return the seconds until the wall time of this job, as its scheduler says; else by its class.

    Parameters
    ----------
    cluster, name
        The cluster file, and the class of the job.
    began
        When the job's worker began, in seconds of the system's clock.
    environment
        The job's.
    """
    end = environment.get("SLURM_JOB_END_TIME")
    if end is not None and end.isdigit():
        return float(end) - time.time()
    job = environment.get("SLURM_JOB_ID")
    if job is not None and shutil.which("squeue"):
        done = _run(["squeue", "--noheader", f"--jobs={job}", "--format=%L"])
        left = _seconds(done.stdout.strip())
        if left is not None:
            return left
    return cluster.resources(name).wall_time_s - (time.time() - began)


def _seconds(text: str) -> float | None:
    """Read ``1-02:03:04``, ``02:03:04`` or ``03:04``."""
    found = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise SchedulerError(
            f"{command[0]} is not found here: run this where the scheduler's commands are."
        ) from None
    except subprocess.TimeoutExpired:
        raise SchedulerError(f"{command[0]} gave no answer within {_TIMEOUT_S} s.") from None
