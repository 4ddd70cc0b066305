"""Bringing FireWorks' states back in line with records and leases, after kills at any moment.

A firework's state is a projection: whether a calculation is done is said by its record, whether somebody works on
it by its lease. docs/database.md has the table of what is mended here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from ...analysis.records import Record
from ..calculation import Calculation
from ..database.fireworks_guard import ours_query
from ..database.standing import failures
from ..database.workbench import Workbench
from ..kinds import KINDS

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad

GRACE_S = 5.0
"""How long a firework may be RESERVED or RUNNING before its worker holds a lease, or stay so after it published."""

LOCK_S = 3.0
"""A workflow's lock takes milliseconds; one that stays for so long with nothing changed, a killed process left."""


def reconcile(bench: Workbench, identifiers: Iterable[str]) -> list[str]:
    """Queue again what was interrupted or has to be done again; return the labels.

    What failed stays failed until ``sodiate retry``; what somebody alive works on is left alone; what was
    cancelled is taken out of the queue.
    """
    bench.documents.settle()
    identifiers = list(identifiers)
    unlock(bench.launchpad, identifiers)
    sweep = _Sweep(bench, bench.documents.graph(identifiers), bench.standing(identifiers).records)
    again = []
    query = ours_query(identifiers, ["RESERVED", "RUNNING", "FIZZLED", "COMPLETED", "WAITING"])
    for document in list(bench.launchpad.fireworks.find(query, FIELDS).sort("fw_id", 1)):
        if sweep.mend(document):
            again.append(document["spec"]["label"])
    return again


FIELDS = {"fw_id": 1, "state": 1, "updated_on": 1, "launches": 1, "spec._tasks.calculation": 1, "spec.label": 1}


@dataclass(frozen=True)
class _Sweep:
    """One pass over fireworks with the records as they are now."""

    bench: Workbench
    graph: Mapping[str, Calculation]
    records: Mapping[str, Record]

    def mend(self, document: Mapping[str, Any]) -> bool:
        """Mend one firework; True if it is queued again."""
        calculation = self.graph[document["spec"]["_tasks"][0]["calculation"]]
        state, done = document["state"], calculation.id in self.records
        if (state == "COMPLETED" and done) or (state == "WAITING" and not self._may_start(calculation)):
            return False
        if is_busy(self.bench, document):
            return False
        self._close_attempts(calculation.id)
        if self._is_cancelled(calculation.id):
            self.bench.launchpad.defuse_fw(document["fw_id"])
            return False
        if state == "WAITING":
            return self._wake(document["fw_id"], calculation)
        if state == "FIZZLED" and not done and not self._goes_on(calculation):
            return False
        self.bench.launchpad.rerun_fw(document["fw_id"])
        return True

    def _may_start(self, calculation: Calculation) -> bool:
        """Tell from the records alone whether it could be that nothing is waited for."""
        waits = [p.id for p in calculation.parents.values() if p.id not in self.records]
        return not waits or KINDS[calculation.kind].chooses

    def _is_cancelled(self, identifier: str) -> bool:
        query = {"_id": identifier, "cancelled": True}
        return self.bench.documents.calculations.find_one(query, {"_id": 1}) is not None

    def _close_attempts(self, identifier: str) -> None:
        """Mark the attempts that a dead process left open."""
        open_ones = self.bench.documents.attempts.find({"calculation": identifier, "outcome": "running"}, {"_id": 1})
        for attempt in open_ones:
            published = self.bench.documents.records.find_one({"_id": attempt["_id"]}, {"_id": 1})
            lost = {"outcome": "lost", "reason": "its process ended without a word (killed, or out of wall time)"}
            self.bench.documents.attempts.update_one(
                {"_id": attempt["_id"]}, {"$set": {"outcome": "completed"} if published else lost}
            )

    def _wake(self, fw_id: int, calculation: Calculation) -> bool:
        """Refresh a firework that waits for parents which are done: a kill came before FireWorks told it."""
        if failures(self.bench.documents, calculation, self.records) is None:
            return False
        self.bench.launchpad.workflows.update_one({"nodes": fw_id}, {"$unset": {"fw_states": ""}})
        self.bench.launchpad._refresh_wf(fw_id)
        now = self.bench.launchpad.fireworks.find_one({"fw_id": fw_id}, {"state": 1})
        return bool(now and now["state"] == "READY")

    def _goes_on(self, calculation: Calculation) -> bool:
        """Tell whether a FIZZLED one is continued by itself: it was stopped or lost or too early, not failed."""
        last = self.bench.documents.attempts.find_one({"calculation": calculation.id}, sort=[("started", -1)])
        if last is not None and last["outcome"] == "failed":
            return False
        return failures(self.bench.documents, calculation, self.records) is not None


def is_busy(bench: Workbench, document: Mapping[str, Any]) -> bool:
    """Tell whether a live process works on a firework, or is about to, or a queue job is reserved for it."""
    documents, identifier = bench.documents, document["spec"]["_tasks"][0]["calculation"]
    if documents.leases.is_alive(identifier):
        return True
    if document["state"] not in ("RESERVED", "RUNNING"):
        return False
    if document["state"] == "RESERVED":
        query = {"launch_id": {"$in": document["launches"]}, "state": "RESERVED"}
        if bench.launchpad.launches.find_one(query, {"_id": 1}) is not None:
            return True
    held = documents.calculations.find_one({"_id": identifier}, {"token": 1, "lease": 1}) or {}
    last = documents.attempts.find_one({"calculation": identifier}, sort=[("started", -1)])
    if last is not None and last["outcome"] == "running" and held.get("lease") is None:
        return False  # its lease was that of a process that is gone
    times = [document["updated_on"], *([last["ended"]] if last is not None and "ended" in last else [])]
    return min(map(age_s, times)) < GRACE_S


def age_s(moment: datetime | str) -> float:
    """Return the seconds since a time that FireWorks writes as a date or as text, in UTC."""
    then = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()


def unlock(launchpad: LaunchPad, identifiers: Iterable[str]) -> None:
    """Break locks that a killed process left; FireWorks itself would wait for five minutes and give up."""
    numbers = [d["fw_id"] for d in launchpad.fireworks.find(ours_query(identifiers), {"fw_id": 1})]
    query = {"nodes": {"$in": numbers}, "locked": {"$exists": True}}

    def locked() -> dict[Any, Any]:
        return {d["_id"]: d.get("updated_on") for d in launchpad.workflows.find(query, {"updated_on": 1})}

    left = locked()
    end = monotonic() + LOCK_S
    while left and monotonic() < end:
        sleep(0.1)
        now = locked()
        left = {key: moment for key, moment in left.items() if key in now and now[key] == moment}
    for key in left:
        launchpad.workflows.update_one({"_id": key}, {"$unset": {"locked": "", "fw_states": ""}})


def remove_orphans(launchpad: LaunchPad, identifiers: Iterable[str]) -> None:
    """Remove fireworks whose workflow a killed process did not come to write; only while nobody else submits."""
    numbers = [d["fw_id"] for d in launchpad.fireworks.find(ours_query(identifiers), {"fw_id": 1})]
    workflows = launchpad.workflows.find({"nodes": {"$in": numbers}}, {"nodes": 1})
    known = {number for document in workflows for number in document["nodes"]}
    launchpad.fireworks.delete_many({"fw_id": {"$in": [n for n in numbers if n not in known]}})
