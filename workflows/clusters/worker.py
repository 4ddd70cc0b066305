"""What runs in a job: the calculation that is reserved to it, then others of its class while there is time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer
from typing import TYPE_CHECKING

from fireworks.core.rocket import Rocket

from ..database.workbench import Workbench
from ..engines.base import Limits
from ..launch.loop import launch_directory
from ..launch.reconcile import reconcile
from ..launch.tasks import OurFWorker
from ..runner.run_calculation import WorkerSettings
from ..stop import Stop, signals_stop
from .cluster_file import ClusterFile
from .job import seconds_left

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad

_MARGIN_S = 30.0
"""Kept of the wall time, to record and to hand back."""

_SHARE = 0.25
"""A further calculation is begun while this share of the class's wall time is left."""


@dataclass(frozen=True)
class WorkReport:
    """What a job's worker did: how many launches, and why it ended."""

    launches: int
    ended: str


def work(bench: Workbench, cluster: ClusterFile, name: str, fw_id: int | None) -> WorkReport:
    """Compute until the time is over, nothing is ready, or the scheduler says so.

    Parameters
    ----------
    bench
        The database and the root.
    cluster, name
        The cluster file, and the class of this job.
    fw_id
        The firework that is reserved to this job.
    """
    began = time.time()
    resources, stop = cluster.resources(name), Stop()
    launched: list[int] = []
    nearly_over = _nearly_over(stop, seconds_left(cluster, name, began, os.environ) - cluster.signal_s)
    with signals_stop(stop, (signal.SIGUSR1,)), launch_directory() as errors, nearly_over:
        while True:
            left = seconds_left(cluster, name, began, os.environ) - _MARGIN_S
            if stop.requested():
                ended = stop.reason
                break
            if left <= 0 or (launched and left < _SHARE * resources.wall_time_s):
                ended = "too little of its wall time is left"
                break
            worker = WorkerSettings(root=bench.root, env=cluster.environment(name), limits=Limits(left), stop=stop)
            reserved = fw_id if not launched else None
            if reserved is not None and not _is_reserved(bench.launchpad, reserved):
                reserved = None
            fworker = OurFWorker(worker, kinds=cluster.kinds(name))
            if not Rocket(bench.launchpad, fworker, reserved).run(err_file=errors):
                ended = "nothing more is ready"
                break
            launched.append(reserved or 0)
    reconcile(bench, bench.documents.calculations.distinct("_id"))
    return WorkReport(len(launched), ended)


@contextmanager
def _nearly_over(stop: Stop, seconds: float) -> Iterator[None]:
    """Do after some seconds what the scheduler's signal does: not every one sends any."""
    timer = Timer(max(seconds, 0.0), stop.request, ["its wall time is nearly over"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _is_reserved(launchpad: LaunchPad, fw_id: int) -> bool:
    """Tell whether the firework still waits for this job: it may have been cancelled or done meanwhile."""
    return launchpad.fireworks.find_one({"fw_id": fw_id, "state": "RESERVED"}, {"_id": 1}) is not None
