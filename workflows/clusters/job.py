"""One job of a resource class: its script, and how much of its time is left."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .cluster_file import ClusterFile
from .scheduler import Request


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
    left = cluster.scheduler.seconds_left(environment)
    return cluster.resources(name).wall_time_s - (time.time() - began) if left is None else left
