"""Jobs for calculations: submitting them within the limit of the cluster file, their states, and recovery.

Each job has a reserved calculation. The reservations are FireWorks' (`lpad` shows them). Its queue launcher is not
used: it hides the scheduler's message on a refusal, and its scripts do not pass the scheduler's signal to the worker.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..database.documents import Documents
from ..database.fireworks_guard import ours_query
from ..database.workbench import Workbench
from ..launch.reconcile import age_s, reconcile
from ..launch.tasks import OurFWorker
from ..runner.run_calculation import WorkerSettings
from .cluster_file import ClusterFile
from .job import script
from .scheduler import MEMORY, Scheduler, SchedulerError

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad

_MORE_MEMORY = 1.5

_IDLE_JOBS = 3
_IDLE_MINUTES = 10


@dataclass(frozen=True)
class JobFiles:
    """The absolute paths of the cluster file and the launchpad file, for a job's worker."""

    cluster: Path
    launchpad: Path


@dataclass(frozen=True)
class Job:
    """A job: its number, its state in the scheduler's word, and the firework reserved to it."""

    number: str
    state: str
    fw_id: int
    label: str


def jobs_of(launchpad: LaunchPad, scheduler: Scheduler) -> list[Job]:
    """Return the jobs whose firework is reserved or running, with their states.

    Raises
    ------
    SchedulerError
        If the scheduler cannot be asked.
    """
    query = {"state": {"$in": ["RESERVED", "RUNNING"]}, "state_history.reservation_id": {"$exists": True}}
    launches = launchpad.launches.find(query, {"fw_id": 1, "state_history.reservation_id": 1})
    numbers = {launch["fw_id"]: _number(launch) for launch in launches}
    labels = launchpad.fireworks.find({"fw_id": {"$in": list(numbers)}}, {"fw_id": 1, "spec.label": 1})
    states = scheduler.states(numbers.values())
    return [
        Job(numbers[d["fw_id"]], states[numbers[d["fw_id"]]], d["fw_id"], d["spec"]["label"])
        for d in labels.sort("fw_id", 1)
    ]


def _number(launch: Mapping[str, Any]) -> str:
    return next(str(entry["reservation_id"]) for entry in launch["state_history"] if "reservation_id" in entry)


def recover(bench: Workbench, scheduler: Scheduler | None) -> list[str]:
    """Mend all states, and undo reservations whose job has ended; return the labels of what is queued again.

    Parameters
    ----------
    bench
        The database and the root.
    scheduler
        The scheduler of the reservations' jobs; None leaves reservations alone.

    Raises
    ------
    SchedulerError
        If the scheduler cannot be asked; then nothing is changed.
    """
    labels = []
    if scheduler is not None:
        for job in jobs_of(bench.launchpad, scheduler):
            if not scheduler.is_live(job.state) and _release(bench.launchpad, job):
                labels.append(f"{job.label} (job {job.number}: {job.state})")
    return labels + reconcile(bench, bench.documents.calculations.distinct("_id"))


def _release(launchpad: LaunchPad, job: Job) -> bool:
    """Undo the reservation of a job that never began; return whether the firework was still reserved."""
    launch = launchpad.launches.find_one({"fw_id": job.fw_id, "state": "RESERVED"}, {"launch_id": 1})
    if launch is None:
        return False
    launchpad.cancel_reservation(launch["launch_id"])
    return True


def queue_once(bench: Workbench, cluster: ClusterFile, files: JobFiles, max_jobs: int) -> list[Job]:
    """Recover, then submit a job for each ready calculation, up to the limit; return the new jobs.

    Raises
    ------
    SchedulerError
        If the scheduler refuses or cannot be asked; the reservation of the refused job is undone.
    """
    recover(bench, cluster.scheduler)
    room = max_jobs - sum(cluster.scheduler.is_live(job.state) for job in jobs_of(bench.launchpad, cluster.scheduler))
    jobs: list[Job] = []
    for name in cluster.classes:
        fworker = OurFWorker(WorkerSettings(bench.root), kinds=cluster.kinds(name))
        while len(jobs) < room and bench.launchpad.run_exists(fworker):
            job = _queue(bench, cluster, name, files, fworker)
            if job is None:
                break
            jobs.append(job)
    return jobs


def is_going_on(launchpad: LaunchPad) -> bool:
    """Tell whether a calculation is ready, reserved or running; those that wait for failed parents do not count."""
    query = ours_query(states=["READY", "RESERVED", "RUNNING"])
    return launchpad.fireworks.find_one(query, {"_id": 1}) is not None


def _queue(bench: Workbench, cluster: ClusterFile, name: str, files: JobFiles, fworker: OurFWorker) -> Job | None:
    """Reserve a calculation of a class and submit its job."""
    logs = bench.root / "logs" / "jobs"
    logs.mkdir(parents=True, exist_ok=True)
    firework, launch_id = bench.launchpad.reserve_fw(fworker, str(logs))
    if firework is None:
        return None
    label = firework.spec["label"]
    try:
        calculation = firework.spec["_tasks"][0]["calculation"]
        _refuse_idle_jobs(bench, firework.fw_id, calculation, logs)
        program = Path(sys.executable).with_name("sodiate")
        command = [str(program), "worker", "--cluster", str(files.cluster)]
        command += ["--class", name, "--launchpad", str(files.launchpad), "--root", str(bench.root)]
        command += ["--fw-id", str(firework.fw_id)]
        memory = memory_gb(bench.documents, cluster, name, calculation)
        job_name = "".join(c if c.isalnum() or c in "+-_." else "_" for c in label)
        path = logs / f"{job_name}-{firework.fw_id}.sh"
        path.write_text(script(cluster, name, job_name, memory, command, logs), encoding="utf-8")
        number = cluster.scheduler.submit(path)
    except (SchedulerError, OSError):
        bench.launchpad.cancel_reservation(launch_id)
        raise
    bench.launchpad.set_reservation_id(launch_id, number)
    return Job(number, "submitted", firework.fw_id, label)


def _refuse_idle_jobs(bench: Workbench, fw_id: int, calculation: str, logs: Path) -> None:
    """Refuse to submit more jobs if several ended before their calculation began: all jobs would."""
    last = bench.documents.attempts.find_one({"calculation": calculation}, sort=[("started", -1)])
    span = 60.0 * _IDLE_MINUTES if last is None else min(60.0 * _IDLE_MINUTES, age_s(last["started"]))
    query = {"fw_id": fw_id, "state": "READY", "state_history.reservation_id": {"$exists": True}}
    launches = bench.launchpad.launches.find(query, {"state_history": 1})
    if sum(age_s(launch["state_history"][0]["created_on"]) < span for launch in launches) >= _IDLE_JOBS:
        raise SchedulerError(
            f"the last {_IDLE_JOBS} jobs of firework {fw_id} ended before its calculation began: read what they "
            f"printed in {logs}, mend it, and queue again; it is tried again {_IDLE_MINUTES} minutes after the first."
        )


def memory_gb(documents: Documents, cluster: ClusterFile, name: str, calculation: str) -> float:
    """Return the memory of a job: 50 % more for each time that the calculation ran out of it, up to the limit."""
    resources = cluster.resources(name)
    attempts = documents.attempts.find({"calculation": calculation, "reason": {"$ne": None}}, {"reason": 1})
    failures = sum(bool(MEMORY.search(attempt["reason"])) for attempt in attempts)
    return float(min(resources.memory_gb * _MORE_MEMORY**failures, resources.memory_max_gb or resources.memory_gb))
