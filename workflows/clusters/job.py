"""A job of a resource class: what it is for, its script, and its remaining time."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .cluster_file import ClusterFile
from .scheduler import NoAnswer, Request

FAILED_LINE = 78
"""The exit code of a job whose surroundings could not be set up (EX_CONFIG)."""


@dataclass(frozen=True)
class Assignment:
    """What a job was submitted for.

    Attributes
    ----------
    resource_class
        Name of the resource class.
    fw_id
        The firework that is reserved to the job.
    tag
        The job's tag, by which its document is found.
    began
        When the job's worker began, in seconds of the system's clock; an outage in between does not change it.
    """

    resource_class: str
    fw_id: int | None = None
    tag: str | None = None
    began: float = field(default_factory=time.time)


def worker_command(cluster: Path, launchpad: Path, root: Path, assignment: Assignment) -> list[str]:
    """Return the command of a job's worker, from absolute paths."""
    program = Path(sys.executable).with_name("sodiate")
    command = [str(program), "worker", "--cluster", str(cluster), "--class", assignment.resource_class]
    command += ["--launchpad", str(launchpad), "--root", str(root)]
    command += [] if assignment.fw_id is None else ["--fw-id", str(assignment.fw_id)]
    return command + ([] if assignment.tag is None else ["--job", assignment.tag])


def offline_command(cluster: Path, name: str, folder: Path) -> list[str]:
    """Return the command of a job of a class that reaches no database, from absolute paths."""
    program = Path(sys.executable).with_name("sodiate")
    return [str(program), "compute", str(folder), "--cluster", str(cluster), "--class", name]


def script(
    cluster: ClusterFile, name: str, job: str, memory_gb: float | None, command: Sequence[str], logs: Path
) -> str:
    """Return the script of a job.

    A module or a line of ``setup`` that fails ends the job with its name; each is one command of its own. The worker
    replaces the shell (``exec``), so that the scheduler's signal reaches it.

    Parameters
    ----------
    cluster
        The cluster file.
    name
        Of the resource class.
    job
        Name of the job.
    memory_gb
        Per node; None asks for none.
    command
        The worker with its arguments.
    logs
        Folder for the output of the job.
    """
    resources = cluster.resources(name)
    request = Request(
        name=job,
        nodes=resources.nodes,
        tasks=resources.all_tasks,
        cpus_per_task=resources.cpus_per_task,
        wall_time=_clock(resources.wall_time_s),
        memory_gb=memory_gb,
        queue=resources.queue or cluster.queue,
        account=resources.account or cluster.account,
        signal_s=cluster.signal_s,
        logs=logs,
        tasks_per_node=resources.even_tasks_per_node,
        gpus=resources.gpus,
        exclusive=resources.exclusive,
        options=(*cluster.options, *resources.options),
    )
    lines = ["#!/bin/bash", *cluster.scheduler.header(request), ""]
    lines += [f"export {key}={value}" for key, value in cluster.scheduler.exports(request).items()]
    for line in (*(f"module load {module}" for module in cluster.modules), *cluster.setup):
        lines += [line, _or_end(line)]
    return "\n".join([*lines, f"exec {shlex.join(command)}", ""])


def _or_end(line: str) -> str:
    """Return the line that ends the job if the one before it failed."""
    message = f"sodiate: this job computes nothing, for a line of its cluster file failed: {line}"
    return f"[ $? -eq 0 ] || {{ echo {shlex.quote(message)} >&2; exit {FAILED_LINE}; }}"


def _clock(seconds: int) -> str:
    """Return a time as hours, minutes and seconds; a day is 24 hours, which every scheduler reads."""
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def seconds_left(cluster: ClusterFile, name: str, start: float, environment: Mapping[str, str]) -> float:
    """Return the seconds until the wall time of this job: by its scheduler, else by its class.

    Parameters
    ----------
    cluster, name
        The cluster file, and the class of the job.
    start
        Start of the job's worker, in seconds of the system's clock.
    environment
        Of the job.
    """
    try:
        seconds = cluster.scheduler.seconds_left(environment)
    except NoAnswer:  # from a node that does not reach the controller, either
        seconds = None
    return cluster.resources(name).wall_time_s - (time.time() - start) if seconds is None else seconds
