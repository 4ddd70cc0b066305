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
from ..diagnosis import Finding, ask

_TIMEOUT_S = 60

GONE = "gone"
"""The state of a job that its scheduler no longer knows."""

_BUSY = re.compile(
    r"tim(ed|e) ?out|unable to contact|connection|communication|not respond|try again|unreachable", re.IGNORECASE
)
"""Words of a submission whose outcome is not known: the scheduler did not answer, and may have taken the job."""

_LIMIT = re.compile(
    r"max\w*job\w*limit|job submit limit|would exceed|per-user limit|job slot limit|pending job|too many jobs",
    re.IGNORECASE,
)
"""Words of a refusal that the next ended job lifts: the user has as many jobs as the site allows."""


class SchedulerError(SodiateError):
    """A command of the scheduler is missing, or failed; the message has its own words."""


class NoAnswer(SchedulerError):
    """The scheduler did not answer, or said of a submission neither that it is taken nor that it is refused."""


class Full(SchedulerError):
    """The scheduler refuses a further job of this user at present."""


@dataclass(frozen=True)
class Listed:
    """A job as its scheduler lists it.

    Attributes
    ----------
    number
        As `Scheduler.submit` returns it.
    name
        As the header asked for it, or its `tag` alone.
    state
        In the scheduler's word.
    reason
        Why it waits, in the scheduler's words; empty if the list does not say so.
    """

    number: str
    name: str
    state: str
    reason: str = ""

    @property
    def tag(self) -> str:
        """The part of the name that says which job of which queue it is."""
        return self.name.rpartition(".")[2]


@dataclass(frozen=True)
class Request:
    """The request of a job to its scheduler.

    Attributes
    ----------
    name
        Of the job: letters, digits and ``+-_.``. It ends with a dot and the job's `tag`.
    nodes, tasks, tasks_per_node, cpus_per_task
        ``tasks`` is the total over all nodes; ``tasks_per_node`` None leaves their places to the scheduler.
    gpus
        Per node; None for none.
    exclusive
        Whether no other job may share its nodes.
    wall_time
        As ``24:00:00``; days are hours here.
    memory_gb
        Per node; None asks for none, where a site gives whole nodes.
    queue, account
        None for the default of the cluster.
    options
        Further directives, as the cluster file has them.
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
    memory_gb: float | None
    queue: str | None
    account: str | None
    signal_s: int
    logs: Path
    tasks_per_node: int | None = None
    gpus: int | None = None
    exclusive: bool = False
    options: tuple[str, ...] = ()

    @property
    def tag(self) -> str:
        """The part of the name that no other job has; it has at most 15 letters and begins with one."""
        return self.name.rpartition(".")[2]

    @property
    def memory_mb(self) -> int | None:
        """The memory of a node in whole megabytes."""
        return None if self.memory_gb is None else round(self.memory_gb * 1024)


@dataclass(frozen=True)
class Share:
    """The part of a packed job that each of its calculations has.

    Attributes
    ----------
    nodes
        Nodes of a calculation.
    per_node
        Calculations on a node; 1 if each has whole nodes.
    tasks
        Over all nodes of a calculation.
    cpus_per_task
        As in the `Request`.
    gpus
        On each node of a calculation; None for none.
    """

    nodes: int
    per_node: int
    tasks: int
    cpus_per_task: int
    gpus: int | None = None

    @property
    def cores(self) -> int:
        """The cores of a calculation, over all its nodes."""
        return self.tasks * self.cpus_per_task


class Scheduler(ABC):
    """A scheduler, driven by its commands.

    Attributes
    ----------
    name
        As in cluster files.
    submit_command
        The program that submits a job's script, and its options.
    number_line
        What the line of its output that has the job's number looks like, with the number as first group; programs
        and sites print banners, budgets and host names before it.
    ask_command
        A command that succeeds only where the scheduler runs; its programs may be installed without a cluster.
    job_variable
        The environment variable of a job that has its number.
    ended_states
        The states, in its own words, of jobs that have ended for good; a job in any other state waits or runs.
    starts_on_all_nodes
        Whether a program on a job's first node can be started on another one, by `share_environment` alone.
    """

    name: ClassVar[str]
    submit_command: ClassVar[Sequence[str]]
    number_line: ClassVar[re.Pattern[str]]
    ask_command: ClassVar[Sequence[str]]
    job_variable: ClassVar[str]
    ended_states: ClassVar[frozenset[str]]
    starts_on_all_nodes: ClassVar[bool] = False

    @abstractmethod
    def header(self, request: Request) -> list[str]:
        """Return the directives at the head of a job's script; ``request.options`` come last."""

    @abstractmethod
    def listed(self) -> list[Listed]:
        """Return the jobs of this user that the scheduler knows, ended ones too if it still does.

        Raises
        ------
        NoAnswer
            If it cannot be asked.
        """

    def exports(self, request: Request) -> dict[str, str]:
        """Return the variables of a job's environment by which its programs know their share."""
        return {"OMP_NUM_THREADS": str(request.cpus_per_task)}

    def share_environment(self, environment: Mapping[str, str], share: Share) -> dict[str, str | None]:
        """Return the variables by which the programs of one calculation in a packed job know their share.

        Parameters
        ----------
        environment
            Of the job.
        share
            Of the calculation.

        Returns
        -------
        dict of str to str or None
            What differs from the job; None takes a variable away, such as one that gives MPI all of the job.
        """
        return {}

    def cluster_name(self) -> str | None:
        """Return the name by which the scheduler knows its cluster; None if it has none.

        Raises
        ------
        NoAnswer
            If it cannot be asked.
        """
        return None

    def reasons(self, jobs: Iterable[Listed]) -> dict[str, str]:
        """Return why jobs wait, by their numbers."""
        return {job.number: job.reason for job in jobs if job.reason}

    def seconds_left(self, environment: Mapping[str, str]) -> float | None:
        """Return the seconds until the wall time of the job with this environment; None if unknown."""
        return None

    def submit(self, script: Path) -> str:
        """Submit a script; return the job's number.

        Raises
        ------
        NoAnswer
            If it is not known whether the job was taken: no answer in time, or none that has a number.
        Full
            If the user has as many jobs as the site allows.
        SchedulerError
            If the scheduler refuses, with its own words.
        """
        return self.number_in(call([*self.submit_command, str(script)]), script)

    def number_in(self, answer: subprocess.CompletedProcess[str], script: Path) -> str:
        """Return the number of the job in the answer to its submission: in the last line that looks like one.

        Raises
        ------
        NoAnswer, Full, SchedulerError
            As `submit`.
        """
        program = self.submit_command[0]
        words = "\n".join(filter(None, (answer.stderr.strip(), answer.stdout.strip()))) or "it said nothing"
        if answer.returncode != 0:
            failure = NoAnswer if _BUSY.search(words) else Full if _LIMIT.search(words) else SchedulerError
            raise failure(f"{program} refused {script}: {words}")
        matches = [match for line in answer.stdout.splitlines() if (match := self.number_line.match(line.strip()))]
        if not matches:
            raise NoAnswer(f"{program} {script} printed no number of a job: {words}")
        return matches[-1][1]

    def states(self, jobs: Iterable[str]) -> dict[str, str]:
        """Return the state of each job, in the scheduler's word; ``gone`` for an unknown job.

        Raises
        ------
        NoAnswer
            If the scheduler cannot be asked.
        """
        numbers = list(jobs)
        states = {job.number: job.state for job in self.listed()} if numbers else {}
        return {number: states.get(number, GONE) for number in numbers}

    def is_live(self, state: str) -> bool:
        """Tell whether a job with this state waits or runs."""
        return state != GONE and state not in self.ended_states

    def answers(self) -> bool:
        """Tell whether the scheduler can be reached from this machine."""
        if shutil.which(self.submit_command[0]) is None:
            return False
        try:
            return call(self.ask_command).returncode == 0
        except SchedulerError:
            return False

    def diagnose(self) -> Finding | None:
        """Return whether it answers; None where its commands are not installed."""
        program = self.submit_command[0]
        if shutil.which(program) is None:
            return None
        answer = ask(self.ask_command)
        if answer.code == 0:
            return Finding(self.name, f"{program} is there, and {self.ask_command[0]} answers")
        words = f"{program} is there, but {self.ask_command[0]} does not answer: {answer.complaint}"
        return Finding(
            self.name, words, False, f"log in where it runs, or see what this says: {' '.join(self.ask_command)}"
        )

    def is_inside_job(self) -> bool:
        """Tell whether this process is in a job."""
        return self.job_variable in os.environ


def call(command: Sequence[str], stdin: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of a scheduler, with a file as its input if one is given.

    Raises
    ------
    NoAnswer
        If it does not answer in time.
    SchedulerError
        If it is missing.
    """
    try:
        with Path(os.devnull if stdin is None else stdin).open(encoding="utf-8") as given:
            return subprocess.run(
                command,
                stdin=given,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
    except FileNotFoundError:
        raise SchedulerError(
            f"{command[0]} is not found here: run this where the scheduler's commands are."
        ) from None
    except subprocess.TimeoutExpired:
        raise NoAnswer(f"{command[0]} gave no answer within {_TIMEOUT_S} s.") from None


def output_of(command: Sequence[str]) -> str:
    """Return the output of a scheduler's command.

    Raises
    ------
    NoAnswer
        If it fails, with its own words.
    """
    answer = call(command)
    if answer.returncode != 0:
        raise NoAnswer(f"{command[0]}: {answer.stderr.strip() or answer.stdout.strip() or 'no answer'}")
    return answer.stdout
