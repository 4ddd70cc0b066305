"""Jobs that reach no database: what the login node gives them, and what it makes of what comes back.

The login node holds the lease of each calculation in the name of its job, and renews it while the scheduler says that
the job waits or runs. FireWorks' reservation stays meanwhile, so that nothing else begins it. A job is settled once;
each step may be repeated, so that a kill or an outage in between changes nothing.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fireworks.core.firework import FWAction

from ...errors import SodiateError
from ..calculation import Calculation
from ..database.documents import Documents, now
from ..database.lease import Lease, LeaseLost, Leases, Owner
from ..database.seals import Altered
from ..database.workbench import Workbench
from ..kinds import KINDS
from ..launch.loop import launch_directory, launch_next
from ..runner.offline import FOLDERS, RESULT, STOP, Returned, begun, lasted, returned, seal
from ..runner.run_calculation import judged_kill, refuse_old_recipe, task_of
from ..runner.workdir import set_aside
from .jobs import JobBook

if TYPE_CHECKING:
    from fireworks.core.firework import Firework
    from fireworks.core.fworker import FWorker

Tell = Callable[[str], None]

LEASE_S = 86400.0
"""So long a calculation is kept for a job after the last look that found it alive."""

SETTLE_S = 20.0
"""A shared file system may show a job's last files that much later than its scheduler tells its end."""

_REFUSED = "refused"


def folder_of(bench: Workbench, tag: str) -> Path:
    """Return the folder of a job."""
    return bench.root / FOLDERS / tag


def is_done_here(bench: Workbench, firework: Firework, fworker: FWorker) -> bool:
    """Run a reserved firework on this machine if it needs no code, which is not worth a job; tell whether it was.

    Choosing a site compares records.
    """
    calculation = bench.documents.calculation(firework.spec["_tasks"][0]["calculation"])
    if not KINDS[calculation.kind].chooses:
        return False
    with launch_directory():
        launch_next(bench.launchpad, fworker, firework.fw_id)
    return True


def give(bench: Workbench, book: JobBook, tag: str, firework: Firework) -> bool:
    """Take the lease of a job's calculation and seal its folder; return False if there is nothing to compute.

    Then its firework is COMPLETED if it is recorded, and FIZZLED if it cannot begin, as if a worker had taken it.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    job = _Job.of(bench, book, bench.documents.jobs.find_one({"_id": tag}) or {})
    try:
        calculation = job.calculation
        refuse_old_recipe(calculation)
        lease = job.leases.claim(calculation.id, job.owner)
        task = task_of(bench.documents, calculation, lease, bench.root)
    except SodiateError as error:
        job.end_firework("FIZZLED", str(error))
        job.undo()
        return False
    if task is None:
        job.end_firework("COMPLETED", "already recorded")
        job.undo()
        return False
    job.folder.mkdir(parents=True, exist_ok=True)
    job.move(bench.root / calculation.directory_name, job.folder / calculation.directory_name)
    checksum = seal(job.folder, task, firework.fw_id)
    bench.documents.jobs.update_one({"_id": tag}, {"$set": {"token": lease.token, "seal": checksum}})
    return True


def take_back(bench: Workbench, book: JobBook, tag: str) -> None:
    """Undo what `give` did for a job that was not submitted."""
    document = bench.documents.jobs.find_one({"_id": tag})
    if document is not None and document.get("folder"):
        _Job.of(bench, book, document).undo()


def collect(bench: Workbench, book: JobBook, live: set[str], tell: Tell) -> list[str]:
    """Settle the jobs that came back or ended; return the labels of what is queued again.

    Parameters
    ----------
    bench
        The database and the root.
    book
        The jobs: those of this user, root and cluster.
    live
        Tags of the jobs that wait or run, by the last look.
    tell
        Takes a sentence for each that is not recorded.

    Raises
    ------
    ConnectionFailure
        If the database goes away; the next look goes on.
    """
    labels = []
    query = {**book.mine(), "folder": {"$ne": None}, "settled": None}
    for document in list(bench.documents.jobs.find(query)):
        job = _Job.of(bench, book, document)
        try:
            labels += job.settle(document["_id"] in live, tell)
        except (OSError, SodiateError) as error:
            tell(f"{job.title}: not collected: {error}. It is tried again.")
    _tell_strays(bench, book, tell)
    return labels


def _tell_strays(bench: Workbench, book: JobBook, tell: Tell) -> None:
    """Put folders aside that belong to no open job: of jobs that were settled, or that nobody knows."""
    for folder in sorted((bench.root / FOLDERS).glob(f"*{book.prefix}*")):
        tag = folder.name.removeprefix(".done-")
        document = bench.documents.jobs.find_one({"_id": tag})
        if tag != folder.name:
            shutil.rmtree(folder, ignore_errors=True)
        elif document is None or document.get("settled"):
            title = tag if document is None else _Job.of(bench, book, document).title
            known = "no job of this database" if document is None else f"settled before ({document['outcome']})"
            back = "came back again" if (folder / RESULT).exists() else "is there again"
            place = _refuse(folder)
            tell(f"{title} {back}: {known}. Nothing of it is recorded; it lies in {place}.")


def _refuse(folder: Path) -> Path:
    """Move a folder to those that are not recorded; return where it is."""
    place = folder.parent / _REFUSED / folder.name
    place.parent.mkdir(exist_ok=True)
    if place.exists():
        set_aside(place)
    return folder.rename(place)


@dataclass(frozen=True)
class _Job:
    """A job that reaches no database, by its document."""

    bench: Workbench
    book: JobBook
    document: Mapping[str, Any]
    folder: Path

    @classmethod
    def of(cls, bench: Workbench, book: JobBook, document: Mapping[str, Any]) -> _Job:
        return cls(bench, book, document, Path(document["folder"]))

    @property
    def documents(self) -> Documents:
        return self.bench.documents

    @property
    def tag(self) -> str:
        return str(self.document["_id"])

    @property
    def title(self) -> str:
        return f"job {self.document['number'] or self.tag} ({self.document['label']})"

    @property
    def owner(self) -> Owner:
        return Owner.of_job(self.document["cluster"], self.tag)

    @property
    def leases(self) -> Leases:
        return Leases(self.documents.calculations, LEASE_S)

    @cached_property
    def lease(self) -> Lease:
        return Lease(self.document["calculation"], self.document["token"], self.documents.now())

    @property
    def attempt(self) -> str:
        return f"{self.lease.calculation}-{self.lease.token}-{self.tag}"

    @cached_property
    def calculation(self) -> Calculation:
        return self.documents.calculation(self.document["calculation"])

    @property
    def directory(self) -> Path:
        return self.bench.root / self.calculation.directory_name

    # -- what became of it

    def settle(self, is_live: bool, tell: Tell) -> list[str]:
        """Do what is to be done at a look; return the label if the calculation is queued again."""
        if "token" not in self.document:  # never sealed: a kill came before
            return [] if is_live else self._not_begun()
        is_recorded = self._is_recorded()
        try:
            result = returned(self.folder, self.document["seal"])
        except Altered as error:
            if not is_recorded:
                self._alter(str(error), tell)
                return []
            result = None
        if is_recorded:  # a kill came after
            self._complete(result)
            return []
        self._note_begin()
        if result is None and is_live:
            self._keep()
            return []
        if result is None and self.folder.is_dir() and not self._is_over():
            return []
        if not self.leases.take_up(self.lease, self.owner):
            self._late(result, tell)
            return []
        if result is None:
            return self._lost()
        return self._returned(result, tell)

    def _is_over(self) -> bool:
        """Tell whether the job ended so long ago that a result would be seen."""
        ended = self.document.get("ended")
        return ended is not None and self.documents.age_s(ended) > SETTLE_S

    def _is_recorded(self) -> bool:
        pattern = f"^{re.escape(self.attempt)}-"
        query = {"_id": self.lease.calculation, "record": {"$regex": pattern}}
        return self.documents.calculations.find_one(query, {"_id": 1}) is not None

    def _keep(self) -> None:
        """Renew the lease of a job that waits or runs; ask it to stop if it was cancelled, or lost it."""
        if not self.leases.renew(self.lease, self.owner) and self.folder.is_dir():
            (self.folder / STOP).touch()

    def _returned(self, result: Returned, tell: Tell) -> list[str]:
        inside, directory = str(self.folder / self.directory.name), str(self.directory)
        end = dict(result.attempt)
        if end["reason"] is not None:
            end["reason"] = str(end["reason"]).replace(inside, directory)
        self._move_back()
        if result.record is not None:
            provenance = result.record.provenance.model_copy(update={"directory": directory})
            record = result.record.model_copy(update={"provenance": provenance})
            try:
                # Of each try a document of its own: one that another process finished is not written over.
                name = f"{self.attempt}-{secrets.token_hex(3)}"
                self.documents.publish(self.lease, name, record, result.arrays)
            except LeaseLost:
                self._late(result, tell)
                return []
            self._complete(result)
            return []
        if "killed_at" in end:
            end = judged_kill(self.documents, self.lease.calculation, self.attempt, end)
        self._end_attempt(end)
        if end["outcome"] == "failed":
            self.end_firework("FIZZLED", end["reason"])
            self._finish("failed")
            return []
        self._give_back()
        self._finish(end["outcome"])
        return [f"{self.document['label']} ({end['reason']})"]

    def _complete(self, result: Returned | None) -> None:
        """Do what is left when the record is there."""
        self._move_back()
        self._end_attempt({"outcome": "completed"} if result is None else result.attempt)
        self.end_firework("COMPLETED", "recorded")
        self._finish("recorded")

    def _lost(self) -> list[str]:
        """Queue again what a job left without a result; what its directory holds is gone on from."""
        begin = begun(self.folder)
        if begin is None:
            return self._not_begun()
        why = f"its job ended without a word (job {self.document['number']}: {self.document['state']})"
        self._end_attempt({"outcome": "lost", "reason": why, **lasted(self.folder, self.directory.name, begin)})
        self._move_back()
        self._give_back()
        self._finish("lost")
        return [f"{self.document['label']} ({why})"]

    def _not_begun(self) -> list[str]:
        number = self.document["number"]
        state = self.document.get("state")
        if "token" in self.document:
            self._end_attempt({"outcome": "lost", "reason": "the folder of its job is not there any more"})
        self._give_back()
        self.undo()
        return [f"{self.document['label']} ({f'job {number}: {state}' if number else state})"]

    def _late(self, result: Returned | None, tell: Tell) -> None:
        """Tell of a job whose calculation was given to another meanwhile; nothing of it is recorded."""
        holder = self.leases.holder(self.lease.calculation)
        if holder is not None:
            other = f"is being computed by {holder}"
        elif self.documents.record(self.lease.calculation) is not None:
            other = "was recorded by another"
        else:
            other = "was given to another"
        why = f"it came back late: its calculation {other}"
        self._end_attempt({"outcome": "lost", "reason": why})
        self._give_back()
        place = _refuse(self.folder) if self.folder.is_dir() else None
        self._finish("late")
        what = "" if result is None else f", which would have been {result.attempt['outcome']}"
        lies = "" if place is None else f"; it lies in {place}"
        tell(f"{self.title}: {why}. What it computed{what}, is not recorded{lies}.")

    def _alter(self, why: str, tell: Tell) -> None:
        """Refuse what was changed since it went out or was written."""
        self._note_begin()
        place = self.folder.parent / _REFUSED / self.tag
        reason = f"what its job left was altered: {why.replace(str(self.folder), str(place))}"
        self._end_attempt({"outcome": "failed", "reason": reason})
        if self.leases.take_up(self.lease, self.owner):
            self.end_firework("FIZZLED", reason)
        else:
            self._give_back()
        if self.folder.is_dir():
            _refuse(self.folder)
        self._finish("altered")
        tell(f"{self.title}: {reason}. Nothing of it is recorded; `sodiate retry` computes it anew.")

    # -- steps, each of which may be repeated

    def _note_begin(self) -> None:
        """Store that the job began, and its attempt."""
        begin = begun(self.folder)
        if begin is None or self.documents.attempts.find_one({"_id": self.attempt}, {"_id": 1}) is not None:
            return
        self.documents.jobs.update_one({"_id": self.tag}, {"$set": {"began": begin["started"]}})
        values = {
            "calculation": self.lease.calculation,
            "label": self.document["label"],
            "token": self.lease.token,
            "firework_id": self.document["firework"],
            "user": self.document["user"],
            "cluster": self.document["cluster"],
            "job": self.tag,
            "offline": True,
            "directory": str(self.folder / self.directory.name),
            "outcome": "running",
        }
        held = {"_id": self.lease.calculation, "token": self.lease.token}
        if self.documents.calculations.find_one(held, {"_id": 1}) is not None:
            self.documents.close_attempts(self.lease.calculation)
        self.documents.attempts.insert_one({"_id": self.attempt, **begin, **values})

    def _end_attempt(self, end: Mapping[str, Any]) -> None:
        """Store the end of the attempt, unless it has one; a record says more than that it was lost."""
        values = {"ended": now(), **end, "directory": str(self.directory)}
        open_ones = ["running", "lost"] if end["outcome"] == "completed" else ["running"]
        query = {"_id": self.attempt, "outcome": {"$in": open_ones}}
        self.documents.attempts.update_one(query, {"$set": values})

    def end_firework(self, state: str, words: str) -> None:
        """End the firework if it is still reserved to this job."""
        query = {"launch_id": self.document["launch"], "state": "RESERVED"}
        if self.bench.launchpad.launches.find_one(query, {"_id": 1}) is not None:
            stored = {"calculation": self.document["calculation"], "verdict": words}
            self.bench.launchpad.complete_launch(self.document["launch"], FWAction(stored_data=stored), state)

    def _give_back(self) -> None:
        """Queue the firework again if it is still reserved to this job."""
        self.bench.launchpad.cancel_reservation(self.document["launch"])

    def _move_back(self) -> None:
        self.move(self.folder / self.directory.name, self.directory)

    def move(self, source: Path, target: Path) -> None:
        """Move the directory of the calculation; one that is in its place goes aside."""
        if not source.is_dir():
            return
        if target.exists():
            set_aside(target)
        source.rename(target)

    def undo(self) -> None:
        """Take everything back of a job that did not begin."""
        self._move_back()
        self._finish("not begun")

    def _finish(self, outcome: str) -> None:
        """End the lease if it is this job's, remove the folder, and settle the job."""
        query = {"_id": self.document["calculation"], "lease.start": self.tag, "lease.pid": 0}
        self.documents.calculations.update_one(query, {"$unset": {"lease": ""}})
        done = self.folder.with_name(f".done-{self.tag}")
        with suppress(FileNotFoundError):
            self.folder.rename(done)
        values = {"settled": now(), "outcome": outcome}
        self.documents.jobs.update_one({"_id": self.tag}, {"$set": values})
        shutil.rmtree(done, ignore_errors=True)
