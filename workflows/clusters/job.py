"""A job of a resource class: its script, and its remaining time."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .cluster_file import ClusterFile
from .scheduler import Request


def script(cluster: ClusterFile, name: str, job: str, memory_gb: float, command: Sequence[str], logs: Path) -> str:
    """Return the script of a job.

    The worker replaces the shell (``exec``), so that the scheduler's signal reaches it.

    Parameters
    ----------
    cluster
        The cluster file.
    name
        Of the resource class.
    job
        Name of the job.
    memory_gb
        Per node.
    command
        The worker with its arguments.
    logs
        Folder for the output of the job.
    """
    resources = cluster.resources(name)
    request = Request(
        name=job,
        nodes=resources.nodes,
        tasks=resources.tasks,
        cpus_per_task=resources.cpus_per_task,
        wall_time=resources.wall_time,
        memory_gb=memory_gb,
        queue=resources.queue or cluster.queue,
        account=resources.account or cluster.account,
        signal_s=cluster.signal_s,
        logs=logs,
    )
    modules = [f"module load {module}" for module in cluster.modules]
    head = ["#!/bin/bash", *cluster.scheduler.header(request), ""]
    return "\n".join([*head, *modules, *cluster.setup, f"exec {shlex.join(command)}", ""])


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
    seconds = cluster.scheduler.seconds_left(environment)
    return cluster.resources(name).wall_time_s - (time.time() - start) if seconds is None else seconds
