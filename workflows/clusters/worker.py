"""The worker in a job: it runs the job's reserved calculation, then others of its class while there is time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any

from ..database.account import Account
from ..database.connection import Unreachable
from ..database.documents import as_text
from ..database.fireworks_guard import ours_query
from ..database.workbench import Workbench
from ..engines.base import Limits
from ..launch.loop import launch_directory, launch_next
from ..launch.reconcile import reconcile
from ..launch.tasks import OurFWorker
from ..runner.offline import compute_sealed
from ..runner.run_calculation import WorkerSettings
from ..stop import Stop, signals_stop
from .cluster_file import ClusterFile, ResourceClass
from .job import Assignment, seconds_left
from .queue import chosen_calculations

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad

_MARGIN_S = 30.0
"""Reserve of the wall time for recording and releasing."""

_OUTAGE_S = 600.0
"""So long a worker waits for a database that does not answer."""

_RETRY_S = 10.0

_SHARE = 0.25
"""A further calculation begins only while this share of the class's wall time is left."""


@dataclass(frozen=True)
class WorkReport:
    """The outcome of a job's worker: its number of launches, and why it ended."""

    launches: int
    ended: str


def work(bench: Workbench, cluster: ClusterFile, assignment: Assignment) -> WorkReport:
    """Compute until the time is over, nothing is ready, or the scheduler signals the end.

    It takes what its queue would: calculations of one campaign, or of all that are this user's.

    Parameters
    ----------
    bench
        The database and the root.
    cluster
        The cluster file.
    assignment
        What this job was submitted for.
    """
    start, name = assignment.began, assignment.resource_class
    job = begun(bench, cluster, assignment.tag)
    account = Account.here(job.get("cluster"), assignment.tag)
    resources, stop = cluster.resources(name), Stop()
    launches = 0
    timer = request_before_end(stop, seconds_left(cluster, name, start, os.environ), cluster.signal_s)
    with signals_stop(stop, (signal.SIGUSR1,), cluster.signal_s), launch_directory(), timer:
        while True:
            seconds = seconds_left(cluster, name, start, os.environ)
            ended = stop.reason if stop.requested() else too_little_is_left(seconds, resources, launches)
            if ended is not None:
                break
            worker = settings_of(bench.root, cluster, name, seconds, stop, account)
            reservation = assignment.fw_id if not launches else None
            if reservation is not None and not is_reserved(bench.launchpad, reservation):
                reservation = None
            calculations = chosen_calculations(bench.documents, job.get("campaign"))
            fworker = OurFWorker(worker, calculations, kinds=cluster.kinds(name))
            if not launch_next(bench.launchpad, fworker, reservation):
                ended = "nothing more is ready"
                break
            launches += 1
    reconcile(bench, bench.documents.calculations.distinct("_id"))
    return WorkReport(launches, ended)


def too_little_is_left(seconds: float, resources: ResourceClass, launches: int) -> str | None:
    """Return that too little of the wall time is left to begin a calculation, after some launches; None if enough."""
    left_s = seconds - _MARGIN_S
    is_little = left_s <= 0 or (launches > 0 and left_s < _SHARE * resources.wall_time_s)
    return "too little of its wall time is left" if is_little else None


def settings_of(
    root: Path, cluster: ClusterFile, name: str, left_s: float, stop: Stop, account: Account
) -> WorkerSettings:
    """Return the settings of a calculation in a job of a class, which has some seconds of its wall time left."""
    env = {"tasks": cluster.resources(name).share.tasks, **cluster.environment(name)}
    return WorkerSettings(root, env, Limits(left_s - _MARGIN_S), stop, account=account)


def work_offline(folder: Path, cluster: ClusterFile, name: str) -> str:
    """Compute what lies in a job's folder, with no database; return in words what became of it.

    Parameters
    ----------
    folder
        The folder.
    cluster, name
        The cluster file, and the class of the job.

    Raises
    ------
    SodiateError
        If there is nothing to compute there.
    """
    stop, left = Stop(), seconds_left(cluster, name, time.time(), os.environ)
    worker = settings_of(folder, cluster, name, left, stop, Account.here())
    timer = request_before_end(stop, left, cluster.signal_s)
    with signals_stop(stop, (signal.SIGUSR1,), cluster.signal_s), timer:
        return compute_sealed(folder, worker)


def work_through_outages(
    opened: Callable[[], AbstractContextManager[Workbench]],
    act: Callable[[Workbench], WorkReport],
    tell: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> WorkReport:
    """Work, and begin again when a database that went away answers again.

    What was being computed is lost then, but its files are not: it goes on from them.

    Parameters
    ----------
    opened
        Opens the database and the root.
    act
        Works there.
    tell
        Takes a line for each attempt in vain.
    pause, clock
        Waits for some seconds; seconds that only grow.

    Raises
    ------
    Unreachable
        If the database was away for ten minutes.
    """
    last_try: float | None = None
    while True:
        try:
            with opened() as bench:
                last_try = None  # it answers
                return act(bench)
        except Unreachable as error:
            last_try = clock() + _OUTAGE_S if last_try is None else last_try
            if clock() > last_try:
                raise Unreachable(
                    f"{error} If jobs here never reach it: `sodiate queue --offline` (docs/clusters.md, section 7)."
                ) from None
            tell(f"{error} Trying again.")
            pause(_RETRY_S)


def begun(bench: Workbench, cluster: ClusterFile, tag: str | None) -> Mapping[str, Any]:
    """Store that a job has begun, and its number, which its submission may not have learned; return its document."""
    if tag is None:
        return {}
    jobs, number = bench.documents.jobs, os.environ.get(cluster.scheduler.job_variable)
    jobs.update_one({"_id": tag}, {"$set": {"began": as_text(bench.documents.now())}})
    if number is not None:
        jobs.update_one({"_id": tag, "number": None}, {"$set": {"number": number.split(".")[0]}})
    return jobs.find_one({"_id": tag}) or {}


@contextmanager
def request_before_end(stop: Stop, left_s: float, signal_s: float) -> Iterator[None]:
    """Request a stop some seconds before the end, in case the scheduler sends no signal."""
    timer = Timer(max(left_s - signal_s, 0.0), stop.request, ["its wall time is nearly over", signal_s])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def is_reserved(launchpad: LaunchPad, fw_id: int) -> bool:
    """Tell whether a firework is one of ours, still reserved; it may have been cancelled, run or changed."""
    return launchpad.fireworks.find_one({**ours_query(states=["RESERVED"]), "fw_id": fw_id}, {"_id": 1}) is not None
