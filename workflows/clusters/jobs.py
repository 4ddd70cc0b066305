"""The jobs of one user, one database and one root: their tags, their documents, and what the scheduler says of them.

A job's tag ends its name in the scheduler: which queue it belongs to, and which reservation it was submitted for. So
jobs are counted by what the scheduler says, whatever their workers compute meanwhile; and one whose number is not
known, since its submission was never answered, is found. The ``jobs`` collection has a document for each tag, with
user and cluster: another cluster's jobs are nothing that this one's scheduler could judge.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..database.account import Account
from ..database.documents import as_text
from ..database.workbench import Workbench
from .cluster_file import ClusterFile
from .scheduler import GONE, Listed, Scheduler

UNNUMBERED_S = 180.0
"""So long a job may be without number and unlisted before it counts as never submitted."""

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"

_TAG = re.compile(r"sd[0-9a-z]{5}-\d+")

NEVER_SUBMITTED = "never submitted"
"""The last state of a job that got no number and was never listed."""

WAITS_FOR_NUMBER = "submitted without an answer"
"""The state of a job that has no number yet."""


@dataclass(frozen=True)
class Job:
    """A job that waits or runs.

    Attributes
    ----------
    tag
        The end of its name.
    number
        Its number; None while that is not known.
    state
        In the scheduler's word.
    reason
        Why it waits, if the scheduler's list says so.
    label
        The calculation that it was submitted for.
    """

    tag: str
    number: str | None
    state: str
    reason: str
    label: str


@dataclass(frozen=True)
class JobBook:
    """The jobs of one user, one database and one root on one cluster.

    Attributes
    ----------
    bench
        The database and the root.
    scheduler
        The cluster's scheduler.
    account
        The user and the cluster.
    """

    bench: Workbench
    scheduler: Scheduler
    account: Account

    @classmethod
    def open(cls, bench: Workbench, cluster: ClusterFile) -> JobBook:
        """Return the jobs of this user on a cluster.

        Raises
        ------
        SchedulerError
            If the scheduler, asked for the cluster's name, does not answer.
        """
        return cls(bench, cluster.scheduler, Account.here(cluster.name or cluster.scheduler.cluster_name()))

    @cached_property
    def prefix(self) -> str:
        """How the tags of these jobs begin: the same for this user, database and root, and for no other."""
        text = "\n".join((self.bench.documents.identity(), self.account.user, str(self.bench.root)))
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        letters = "".join(_LETTERS[number // 36**place % 36] for place in range(5))
        return f"sd{letters}-"

    def tag(self, launch_id: int) -> str:
        """Return the tag of the job that a reservation is for."""
        return f"{self.prefix}{launch_id}"

    def begin(self, launch_id: int, document: Mapping[str, Any]) -> str:
        """Store a job before it is submitted, so that it can be looked for by its name; return its tag."""
        tag = self.tag(launch_id)
        values = {"user": self.account.user, "cluster": self.account.cluster, "root": str(self.bench.root)}
        values |= {"submitted": as_text(self.bench.documents.now())}
        self.bench.documents.jobs.insert_one({"_id": tag, "launch": launch_id, **document, **values, "number": None})
        return tag

    def number(self, tag: str, number: str) -> None:
        """Store the number of a job, also where FireWorks' own commands look for it."""
        documents = self.bench.documents
        documents.jobs.update_one({"_id": tag}, {"$set": {"number": number}})
        document = documents.jobs.find_one({"_id": tag}) or {}
        self.bench.launchpad.launches.update_one(
            {"launch_id": document.get("launch")},
            {"$set": {"state_history.$[entry].reservation_id": number}},
            array_filters=[{"entry.state": "RESERVED"}],
        )

    def end(self, tag: str, state: str) -> None:
        """Store that a job has ended, in the scheduler's word."""
        documents = self.bench.documents
        documents.jobs.update_one({"_id": tag}, {"$set": {"ended": as_text(documents.now()), "state": state}})

    def look(self) -> list[Job]:
        """Return the jobs that wait or run; store numbers that were not known, and which jobs have ended.

        Raises
        ------
        SchedulerError
            If the scheduler cannot be asked; then nothing is changed.
        """
        # First the documents: a job that another process submits meanwhile must not count as gone.
        documents = list(self.bench.documents.jobs.find({**self.mine(), "ended": None}))
        listed = self.scheduler.listed()
        by_tag = {job.tag: job for job in listed}
        by_number = {job.number: job for job in listed if not _TAG.fullmatch(job.tag)}  # where sites rename jobs
        live = []
        for document in documents:
            tag, number = document["_id"], document["number"]
            found = by_tag.get(tag) or by_number.get(number)
            if found is not None and number is None:
                self.number(tag, found.number)
            state = self._state(document, found)
            if state is not None and (state == WAITS_FOR_NUMBER or self.scheduler.is_live(state)):
                live.append(Job(tag, found.number if found else number, state, found.reason if found else "",
                                document["label"]))  # fmt: skip
            else:
                self.end(tag, state or NEVER_SUBMITTED)
        return live + self._others(listed, {document["_id"] for document in documents})

    def reasons(self, jobs: Iterable[Job]) -> dict[str, str]:
        """Return why jobs wait, by their tags."""
        listed = [Listed(job.number, job.tag, job.state, job.reason) for job in jobs if job.number is not None]
        by_number = self.scheduler.reasons(listed)
        return {job.name: by_number[job.number] for job in listed if job.number in by_number}

    def mine(self) -> dict[str, Any]:
        """Return the query for the documents of these jobs."""
        pattern = "^" + re.escape(self.prefix)
        return {"_id": {"$regex": pattern}, "cluster": self.account.cluster}

    def _others(self, listed: list[Listed], known: set[str]) -> list[Job]:
        """Return the jobs that the scheduler has under this tag although their documents say that they ended."""
        prefix = self.prefix
        return [
            Job(job.tag, job.number, job.state, job.reason, job.name.rpartition(".")[0] or job.name)
            for job in listed
            if job.tag.startswith(prefix) and job.tag not in known and self.scheduler.is_live(job.state)
        ]

    def _state(self, document: Mapping[str, Any], listed: Listed | None) -> str | None:
        """Return the state of a job; None for one that was never submitted."""
        if listed is not None:
            return listed.state
        if document["number"] is not None:
            return GONE
        return WAITS_FOR_NUMBER if self.bench.documents.age_s(document["submitted"]) < UNNUMBERED_S else None

    def is_over(self, document: Mapping[str, Any]) -> bool:
        """Tell whether a document is of a job of these, and that job has ended."""
        is_mine = document["_id"].startswith(self.prefix) and document["cluster"] == self.account.cluster
        return is_mine and document.get("ended") is not None

    def last_ended(self, count: int) -> list[Mapping[str, Any]]:
        """Return the documents of the last jobs that ended, the last one first."""
        documents = self.bench.documents.jobs.find({**self.mine(), "ended": {"$ne": None}})
        return list(documents.sort([("ended", -1), ("submitted", -1)]).limit(count))
