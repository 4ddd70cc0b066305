"""What a scheduler owes: the directives of a job, submitting it, what became of it, how much of its time is left.

Each is a file beside this one, and a row in `registry`; docs/developers/add-a-scheduler.md adds one.
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
"""The state of a job that its scheduler knows nothing of any more."""

MEMORY = re.compile(r"out[ _-]of[ _-]memory|oom.?kill|MemoryError|cannot allocate memory", re.IGNORECASE)
"""How schedulers, kernels and codes say that the memory was too small."""


class SchedulerError(SodiateError):
    """A command of the scheduler is missing, or refused in its own words."""


@dataclass(frozen=True)
class Request:
    """What a job asks its scheduler for.

    Attributes
    ----------
    name
        Of the job: letters, digits and ``+-_.``.
    nodes, tasks, cpus_per_task
        ``tasks`` counts those of all nodes.
    wall_time
        As ``24:00:00`` or ``1-00:00:00``.
    memory_gb
        For each node.
    queue, account
        None where the cluster has a default.
    signal_s
        So many seconds before the wall time the worker should get the signal USR1. A scheduler that sends none may
        leave it out: the worker looks at the clock as well.
    logs
        Folder for what the job prints.
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
    """One scheduler, by its own commands.

    Attributes
    ----------
    name
        As cluster files call it.
    submit_command
        The program that takes a job's script.
    ask_command
        A question that it answers where it runs: its programs alone may be installed where no cluster is.
    job_variable
        The variable of a job's environment that has its number.
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
        """Return the lines at the head of a job's script that ask for what it needs."""

    @abstractmethod
    def known_states(self) -> dict[str, str]:
        """Return the state of each job that the scheduler knows, in its own word, by the job's number.

        Raises
        ------
        SchedulerError
            If the scheduler cannot be asked.
        """

    def seconds_left(self, environment: Mapping[str, str]) -> float | None:
        """Return the seconds until the wall time of the job that has this environment; None if it cannot tell."""
        return None

    def submit(self, script: Path) -> str:
        """Submit a script; return the job's number.

        Raises
        ------
        SchedulerError
            With the scheduler's own words.
        """
        answer = call([self.submit_command, str(script)])
        number = re.search(r"(\d+)", answer.stdout)
        if answer.returncode != 0 or number is None:
            words = (answer.stderr or answer.stdout).strip() or "it said nothing"
            raise SchedulerError(f"{self.submit_command} refused {script}: {words}")
        return number[1]

    def states(self, jobs: Iterable[str]) -> dict[str, str]:
        """Return the state of each job, in the scheduler's word; ``gone`` if it knows nothing of it any more.

        Raises
        ------
        SchedulerError
            If the scheduler cannot be asked.
        """
        numbers = list(jobs)
        known = self.known_states() if numbers else {}
        return {number: known.get(number, GONE) for number in numbers}

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
        If it is not there, or does not answer.
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
    """Return what a command of a scheduler prints.

    Raises
    ------
    SchedulerError
        If it fails, with its own words.
    """
    answer = call(command)
    if answer.returncode != 0:
        raise SchedulerError(f"{command[0]}: {answer.stderr.strip() or 'no answer'}")
    return answer.stdout
