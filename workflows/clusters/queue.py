"""Jobs for calculations: submitting them within the limit of the cluster file, their states, and recovery.

Each job has a reserved calculation. The reservations are FireWorks' (`lpad` shows them). Its queue launcher is not
used: it hides the scheduler's message on a refusal, and its scripts do not pass the scheduler's signal to the worker.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..database.account import is_mine
from ..database.documents import RESERVATION, Documents
from ..database.fireworks_guard import ours_query
from ..database.workbench import Workbench
from ..engines.shared.commands import NO_MEMORY
from ..launch.reconcile import FIELDS, GRACE_S, reconcile
from ..launch.tasks import OurFWorker
from ..runner.run_calculation import WorkerSettings
from .cluster_file import ClusterFile
from .job import Assignment, offline_command, script, worker_command
from .jobs import NEVER_SUBMITTED, UNNUMBERED_S, Job, JobBook
from .offline import Tell, collect, folder_of, give, is_done_here, take_back
from .scheduler import Full, NoAnswer, SchedulerError

if TYPE_CHECKING:
    from fireworks.core.firework import Firework

_MORE_MEMORY = 1.5

_LOST_MINUTES = 30
_IDLE_JOBS = 3
_IDLE_MINUTES = 10


@dataclass(frozen=True)
class Queue:
    """What `sodiate queue` keeps in a cluster's queue.

    Attributes
    ----------
    bench
        The database and the root.
    cluster
        The cluster file.
    cluster_path, launchpad_path
        The absolute paths of the cluster file and the launchpad file, for a job's worker.
    max_jobs
        In the queue at once, of this user, database and root.
    campaign
        Only this one; None for all that are this user's.
    offline
        Whether jobs reach no database: each gets a folder, and what comes back in it is collected here.
    """

    bench: Workbench
    cluster: ClusterFile
    cluster_path: Path
    launchpad_path: Path
    max_jobs: int
    campaign: str | None = None
    offline: bool = False

    def calculations(self) -> list[str]:
        """Return the calculations that may be queued; see `chosen_calculations`."""
        return chosen_calculations(self.bench.documents, self.campaign)

    def is_going_on(self) -> bool:
        """Tell whether one is ready, reserved or running; those that wait for failed parents do not count."""
        query = ours_query(self.calculations(), states=["READY", "RESERVED", "RUNNING"])
        return self.bench.launchpad.fireworks.find_one(query, {"_id": 1}) is not None


@dataclass(frozen=True)
class Round:
    """What one look at the queue did: new jobs, and what the scheduler said where it took no more."""

    jobs: tuple[Job, ...]
    complaint: str | None = None


def chosen_calculations(documents: Documents, campaign: str | None) -> list[str]:
    """Return the ids of a campaign's calculations; without a name those of all campaigns that are this user's.

    Raises
    ------
    InputError
        If no campaign has this name.
    """
    entries, owners = documents.matching_entries(campaign, None, "the database"), documents.owners()
    mine = [entry for entry in entries if campaign is not None or is_mine(owners.get(entry.campaign))]
    return list(dict.fromkeys(identifier for entry in mine for identifier in entry.ids))


def _tell_nobody(sentence: str) -> None:
    """Keep a sentence to oneself."""


def recover(bench: Workbench, book: JobBook | None, tell: Tell = _tell_nobody) -> list[str]:
    """Mend all states, and undo reservations whose job has ended; return the labels of what is queued again.

    Parameters
    ----------
    bench
        The database and the root.
    book
        The jobs that are judged: those of this user, root and cluster. None judges none.
    tell
        Takes a sentence for each job whose return is not recorded.

    Raises
    ------
    SchedulerError
        If the scheduler cannot be asked; then nothing is changed.
    """
    if book is None:
        begun = bench.documents.now()
        labels = _mended(bench, None, [], tell)
    else:
        with bench.documents.queueing(book.prefix):  # a queue would collect the same folders
            begun = bench.documents.now()
            labels = _mended(bench, book, book.look(), tell)
    if not bench.documents.was_doubtful(begun):
        return labels
    time.sleep(GRACE_S)  # a kill before the lease, or a worker that is about to take it: a second look tells
    return labels + reconcile(bench, bench.documents.calculations.distinct("_id"))


def _mended(bench: Workbench, book: JobBook | None, live: list[Job], tell: Tell) -> list[str]:
    """Do what `recover` does, by the last look at the jobs."""
    labels = []
    if book is not None:
        labels = collect(bench, book, {job.tag for job in live}, tell) + _released(bench, book)
    return labels + reconcile(bench, bench.documents.calculations.distinct("_id"))


def _released(bench: Workbench, book: JobBook) -> list[str]:
    """Undo the reservations of jobs that ended before they began, and those that no job was submitted for."""
    labels = []
    launches = bench.launchpad.launches
    for firework in bench.launchpad.fireworks.find(ours_query(states=["RESERVED"]), FIELDS):
        query = {"launch_id": {"$in": firework["launches"]}, "state": "RESERVED"}
        for launch in launches.find(query, {"launch_id": 1, "state_history": 1}):
            job = bench.documents.jobs.find_one({"launch": launch["launch_id"]})
            if job is not None and job.get("folder") and not job.get("settled"):
                continue  # `collect` gives it back
            if job is not None and book.is_over(job):
                why = f"job {job['number']}: {job['state']}" if job["number"] else job["state"]
            elif job is None and _is_left_behind(bench, firework, launch):
                why = "reserved, and no job was submitted for it"
            else:
                continue
            bench.launchpad.cancel_reservation(launch["launch_id"])
            labels.append(f"{firework['spec']['label']} ({why})")
    return labels


def _is_left_behind(bench: Workbench, firework: Mapping[str, Any], launch: Mapping[str, Any]) -> bool:
    """Tell whether a reservation without a job of ours has no number after minutes, so that nobody will use it."""
    if any("reservation_id" in entry for entry in launch["state_history"]):
        return False
    calculation = firework["spec"]["_tasks"][0]["calculation"]
    return bench.documents.unchanged_s(calculation, f"{RESERVATION} {launch['launch_id']}") > UNNUMBERED_S


def queue_once(queue: Queue, tell: Tell = _tell_nobody) -> Round:
    """Recover, then submit a job for each ready calculation, up to the limit.

    Parameters
    ----------
    queue
        What is kept in the queue.
    tell
        Takes a sentence, at once, for each job without a database whose return is not recorded.

    Raises
    ------
    NoAnswer
        If the scheduler cannot be asked.
    SchedulerError
        If it refuses, or the last jobs ended before they began; the reservation of a refused job is undone.
    """
    book = JobBook.open(queue.bench, queue.cluster)
    with queue.bench.documents.queueing(book.prefix):
        live = book.look()
        _mended(queue.bench, book, live, tell)
        calculations = queue.calculations()
        jobs: list[Job] = []
        for name in queue.cluster.classes:
            fworker = OurFWorker(WorkerSettings(queue.bench.root), calculations, kinds=queue.cluster.kinds(name))
            while len(live) + len(jobs) < queue.max_jobs and _needs_job(queue, name, fworker, live + jobs):
                _refuse_idle_jobs(book, _logs(queue))
                try:
                    job = _queue(queue, book, name, fworker)
                except Full as error:
                    if not live and not jobs:  # none of these jobs could end and make room
                        raise
                    return Round(tuple(jobs), str(error))
                except NoAnswer as error:  # no more until it is known what became of this one
                    return Round((*jobs, *_found(book, error)), str(error))
                if job is None:
                    break
                jobs.append(job)
    return Round(tuple(jobs))


def _needs_job(queue: Queue, name: str, fworker: OurFWorker, jobs: Sequence[Job]) -> bool:
    """Tell whether more calculations of a class are ready than jobs that have not begun will take beside their own.

    A packed job that runs takes what is ready within seconds, as far as it has places.
    """
    if not queue.bench.launchpad.run_exists(fworker):
        return False
    waiting = {"_id": {"$in": [job.tag for job in jobs]}, "class": name, "campaign": queue.campaign}
    count = queue.bench.documents.jobs.count_documents({**waiting, "began": {"$exists": False}})
    room = count * (queue.cluster.resources(name).pack - 1)
    return room == 0 or queue.bench.launchpad.fireworks.count_documents({**fworker.query, "state": "READY"}) > room


class _Unanswered(NoAnswer):
    """A submission of which it is not known whether the scheduler took it."""

    def __init__(self, message: str, tag: str) -> None:
        super().__init__(message)
        self.tag = tag


def _found(book: JobBook, error: NoAnswer) -> list[Job]:
    """Look for a job by its name after a submission that had no answer."""
    try:
        return [job for job in book.look() if isinstance(error, _Unanswered) and job.tag == error.tag and job.number]
    except SchedulerError:
        return []


def _queue(queue: Queue, book: JobBook, name: str, fworker: OurFWorker) -> Job | None:
    """Reserve a calculation of a class and submit its job; None if nothing more is ready."""
    bench, logs = queue.bench, _logs(queue)
    logs.mkdir(parents=True, exist_ok=True)
    while True:
        firework, launch_id = bench.launchpad.reserve_fw(fworker, str(logs))
        if firework is None:
            return None
        job = _submitted(queue, book, name, fworker, firework, launch_id)
        if job is not None:
            return job


def _submitted(
    queue: Queue, book: JobBook, name: str, fworker: OurFWorker, firework: Firework, launch_id: int
) -> Job | None:
    """Submit the job of a reserved calculation; None if it needs none."""
    bench, logs = queue.bench, _logs(queue)
    label, tag = firework.spec["label"], None
    try:
        if queue.offline and is_done_here(bench, firework, fworker):
            return None
        calculation = firework.spec["_tasks"][0]["calculation"]
        values = {"firework": firework.fw_id, "calculation": calculation, "label": label, "class": name}
        folder = folder_of(bench, book.tag(launch_id)) if queue.offline else None
        values |= {"campaign": queue.campaign, **({} if folder is None else {"folder": str(folder)})}
        tag = book.begin(launch_id, values)
        if folder is not None and not give(bench, book, tag, firework):
            book.end(tag, "not submitted")
            return None
        path = logs / f"{_plain(label)}-{firework.fw_id}.sh"
        memory = memory_gb(bench.documents, queue.cluster, name, calculation)
        assignment = Assignment(name, firework.fw_id, tag)
        if folder is None:
            command = worker_command(queue.cluster_path, queue.launchpad_path, bench.root, assignment)
        else:
            command = offline_command(queue.cluster_path, name, folder)
        path.write_text(
            script(queue.cluster, name, f"{_plain(label)}.{tag}", memory, command, logs), encoding="utf-8"
        )
        number = queue.cluster.scheduler.submit(path)
    except NoAnswer as error:
        raise _Unanswered(str(error), str(tag)) from None
    except BaseException as error:  # Ctrl-C, too: a job that was taken all the same finds other work
        bench.launchpad.cancel_reservation(launch_id)
        if tag is not None:
            book.end(tag, "refused" if isinstance(error, SchedulerError) else "not submitted")
            take_back(bench, book, tag)
        raise
    book.number(tag, number)
    return Job(tag, number, "submitted", "", label)


def _logs(queue: Queue) -> Path:
    """Return the folder of what jobs print, and of their scripts."""
    return queue.bench.root / "logs" / "jobs"


def _plain(label: str) -> str:
    """Return a label with nothing but letters, digits and ``+-_``."""
    return "".join(c if c.isalnum() or c in "+-_" else "_" for c in label)


def _refuse_idle_jobs(book: JobBook, logs: Path) -> None:
    """Refuse to submit more jobs if the last ones ended before their calculation began, or were never seen again.

    All jobs would; and jobs that are nowhere listed may be there all the same, more of them with each look.
    """
    last, age_s = book.last_ended(_IDLE_JOBS), book.bench.documents.age_s
    recent = [job for job in last if age_s(job["submitted"]) < 60.0 * _LOST_MINUTES]
    if [job["state"] for job in recent] == [NEVER_SUBMITTED] * _IDLE_JOBS:
        raise NoAnswer(
            f"the last {_IDLE_JOBS} submissions had no answer with a number, and no jobs of their names are listed: "
            f"look whether jobs named …{recent[0]['_id']} are there, and what "
            f"{book.scheduler.submit_command[0]} prints"
        )
    idle = [job for job in last if _ended_by_itself(job) and age_s(job["submitted"]) < 60.0 * _IDLE_MINUTES]
    if len(idle) >= _IDLE_JOBS:
        numbers = ", ".join(job["number"] for job in reversed(idle))
        raise SchedulerError(
            f"each of the last {_IDLE_JOBS} jobs ({numbers}) ended before its calculation began: read what they "
            f"printed in {logs}, mend it, and queue again; it is tried again {_IDLE_MINUTES} minutes after the first."
        )


def _ended_by_itself(job: Mapping[str, Any]) -> bool:
    """Tell whether a job was submitted, and ended without beginning although nobody cancelled it."""
    return bool(job["number"]) and "began" not in job and not job["state"].upper().startswith("CANCEL")


def memory_gb(documents: Documents, cluster: ClusterFile, name: str, calculation: str) -> float | None:
    """Return the memory of a job: 50 % more for each time that the calculation ran out of it, up to the limit.

    None if the class asks for none.
    """
    resources = cluster.resources(name)
    if resources.memory_gb is None:
        return None
    attempts = documents.attempts.find({"calculation": calculation, "reason": {"$ne": None}}, {"reason": 1})
    failures = sum(bool(NO_MEMORY.search(attempt["reason"])) for attempt in attempts)
    return float(min(resources.memory_gb * _MORE_MEMORY**failures, resources.memory_max_gb or resources.memory_gb))
