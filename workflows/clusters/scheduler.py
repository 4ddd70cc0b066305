"""The contract of a scheduler: the directives of a job, its submission, its state, and its remaining time.

Each scheduler is a file beside this one, and a row in `registry`; docs/developers/add-a-scheduler.md has an example.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ...errors import SodiateError

_TIMEOUT_S = 60

GONE = "gone"
"""The state of a job that its scheduler no longer knows."""

MEMORY = re.compile(r"out[ _-]of[ _-]memory|oom.?kill|MemoryError|cannot allocate memory", re.IGNORECASE)
"""Messages of schedulers, kernels and codes that ran out of memory."""


class SchedulerError(SodiateError):
    """A command of the scheduler is missing, or failed; the message has its own words."""


@dataclass(frozen=True)
class Request:
    """The request of a job to its scheduler.

    Attributes
    ----------
    name
        Of the job: letters, digits and ``+-_.``.
    nodes, tasks, cpus_per_task
        ``tasks`` is the total over all nodes.
    wall_time
        As ``24:00:00`` or ``1-00:00:00``.
    memory_gb
        Per node.
    queue, account
        None for the default of the cluster.
    signal_s
        Seconds before the wall time at which the worker should get the signal USR1. A scheduler without signals may
        ignore it: the worker watches the clock as well.
    logs
        Folder for the output of the job.
    """

    name: str
    nodes: int
    tasks: int
    cpus_per_task: int
    wall_time: str
    memory_gb: float
    queue: str | None
    account: str | None
    signal_s: int
    logs: Path

    @property
    def memory_mb(self) -> int:
        """The memory of a node in whole megabytes."""
        return round(self.memory_gb * 1024)


class Scheduler(ABC):
    """A scheduler, driven by its commands.

    Attributes
    ----------
    name
        As in cluster files.
    submit_command
        The program that submits a job's script.
    ask_command
        A command that succeeds only where the scheduler runs; its programs may be installed without a cluster.
    job_variable
        The environment variable of a job that has its number.
    live_states
        The states, in its own words, of jobs that wait or run.
    """

    name: ClassVar[str]
    submit_command: ClassVar[str]
    ask_command: ClassVar[Sequence[str]]
    job_variable: ClassVar[str]
    live_states: ClassVar[frozenset[str]]

    @abstractmethod
    def header(self, request: Request) -> list[str]:
        """Return the directives at the head of a job's script."""

    @abstractmethod
    def known_states(self) -> dict[str, str]:
        """Return the state of each known job, in the scheduler's word, by the job's number.

        Raises
        ------
        SchedulerError
            If the scheduler cannot be asked.
        """

    def seconds_left(self, environment: Mapping[str, str]) -> float | None:
        """Return the seconds until the wall time of the job with this environment; None if unknown."""
        return None

    def submit(self, script: Path) -> str:
        """Submit a script; return the job's number.

        Raises
        ------
        SchedulerError
            If the scheduler refuses, with its own words.
        """
        answer = call([self.submit_command, str(script)])
        number = re.search(r"(\d+)", answer.stdout)
        if answer.returncode != 0 or number is None:
            words = (answer.stderr or answer.stdout).strip() or "it said nothing"
            raise SchedulerError(f"{self.submit_command} refused {script}: {words}")
        return number[1]

    def states(self, jobs: Iterable[str]) -> dict[str, str]:
        """Return the state of each job, in the scheduler's word; ``gone`` for an unknown job.

        Raises
        ------
        SchedulerError
            If the scheduler cannot be asked.
        """
        numbers = list(jobs)
        states = self.known_states() if numbers else {}
        return {number: states.get(number, GONE) for number in numbers}

    def is_live(self, state: str) -> bool:
        """Tell whether a job with this state waits or runs."""
        return state in self.live_states

    def answers(self) -> bool:
        """Tell whether the scheduler can be reached from this machine."""
        if shutil.which(self.submit_command) is None:
            return False
        try:
            return call(self.ask_command).returncode == 0
        except SchedulerError:
            return False

    def is_inside_job(self) -> bool:
        """Tell whether this process is in a job."""
        return self.job_variable in os.environ


def call(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command of a scheduler.

    Raises
    ------
    SchedulerError
        If it is missing or does not answer.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise SchedulerError(
            f"{command[0]} is not found here: run this where the scheduler's commands are."
        ) from None
    except subprocess.TimeoutExpired:
        raise SchedulerError(f"{command[0]} gave no answer within {_TIMEOUT_S} s.") from None


def output_of(command: Sequence[str]) -> str:
    """Return the output of a scheduler's command.

    Raises
    ------
    SchedulerError
        If it fails, with its own words.
    """
    answer = call(command)
    if answer.returncode != 0:
        raise SchedulerError(f"{command[0]}: {answer.stderr.strip() or 'no answer'}")
    return answer.stdout
