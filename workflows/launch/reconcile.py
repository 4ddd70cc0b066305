"""Mending FireWorks' states from records and leases, after kills at any moment.

A firework's state is a projection: the record decides whether a calculation is done, the lease whether a process
works on it. docs/database.md has the table of cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from ...analysis.records import Record
from ..calculation import Calculation
from ..database.documents import Documents
from ..database.fireworks_guard import ours_query
from ..database.standing import failures
from ..database.workbench import Workbench
from ..kinds import KINDS

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad


GRACE_S = 5.0
"""How long a firework may be seen RESERVED or RUNNING before its worker has a lease, or after it published."""

LOCK_S = 3.0
"""A workflow is locked for milliseconds; a lock that stays this long without a change is from a killed process."""


def reconcile(bench: Workbench, identifiers: Iterable[str]) -> list[str]:
    """Queue calculations again that were interrupted or whose record is no longer usable; return their labels.

    Failed calculations stay failed until ``sodiate retry``; those that a live process works on are left alone;
    cancelled calculations are taken out of the queue.
    """
    bench.documents.settle()
    identifiers = list(identifiers)
    unlock(bench.launchpad, identifiers)
    sweep = _Sweep(bench, bench.documents.graph(identifiers), bench.standing(identifiers).records)
    query = ours_query(identifiers, ["RESERVED", "RUNNING", "FIZZLED", "COMPLETED", "WAITING"])
    documents = list(bench.launchpad.fireworks.find(query, FIELDS).sort("fw_id", 1))
    return [document["spec"]["label"] for document in documents if sweep.mend(document)]


FIELDS = {"fw_id": 1, "state": 1, "updated_on": 1, "launches": 1, "spec._tasks.calculation": 1, "spec.label": 1}


@dataclass(frozen=True)
class _Sweep:
    """A pass over fireworks with the present records."""

    bench: Workbench
    graph: Mapping[str, Calculation]
    records: Mapping[str, Record]

    def mend(self, document: Mapping[str, Any]) -> bool:
        """Mend a firework; return whether it is queued again."""
        calculation = self.graph[document["spec"]["_tasks"][0]["calculation"]]
        state, is_recorded = document["state"], calculation.id in self.records
        if (state == "COMPLETED" and is_recorded) or (state == "WAITING" and not self._may_start(calculation)):
            return False
        if is_busy(self.bench, document):
            return False
        self.bench.documents.close_attempts(calculation.id)
        if self._is_cancelled(calculation.id):
            self.bench.launchpad.defuse_fw(document["fw_id"])
            return False
        if state == "WAITING":
            return self._wake(document["fw_id"], calculation)
        if state == "FIZZLED" and not is_recorded and not self._continues(calculation):
            return False
        if not is_recorded and calculation.id in self.bench.standing([calculation.id]).records:
            return False  # recorded since the records were read; its state follows with the next sweep
        if state == "FIZZLED":
            forget_failures(self.bench.documents, [calculation.id])
        self.bench.launchpad.rerun_fw(document["fw_id"])
        return True

    def _may_start(self, calculation: Calculation) -> bool:
        """Tell from the records alone whether all parents might be done; a quick check before the queries."""
        missing = [p.id for p in calculation.parents.values() if p.id not in self.records]
        return not missing or KINDS[calculation.kind].chooses

    def _is_cancelled(self, identifier: str) -> bool:
        query = {"_id": identifier, "cancelled": True}
        return self.bench.documents.calculations.find_one(query, {"_id": 1}) is not None

    def _wake(self, fw_id: int, calculation: Calculation) -> bool:
        """Refresh a firework whose parents are done: a kill came before FireWorks updated it."""
        if failures(self.bench.documents, calculation, self.records) is None:
            return False
        self.bench.launchpad.workflows.update_one({"nodes": fw_id}, {"$unset": {"fw_states": ""}})
        self.bench.launchpad._refresh_wf(fw_id)
        document = self.bench.launchpad.fireworks.find_one({"fw_id": fw_id}, {"state": 1})
        return bool(document and document["state"] == "READY")

    def _continues(self, calculation: Calculation) -> bool:
        """Tell whether a FIZZLED calculation continues without a retry: it was stopped, lost or early, not failed.

        One that took all its steps continues, too, once it may take more.
        """
        last = self.bench.documents.attempts.find_one({"calculation": calculation.id}, sort=[("started", -1)])
        if last is not None and last["outcome"] == "failed" and not self._may_take_more_steps(calculation.id, last):
            return False
        return failures(self.bench.documents, calculation, self.records) is not None

    def _may_take_more_steps(self, identifier: str, last: Mapping[str, Any]) -> bool:
        """Tell whether a relaxation ended at its largest number of steps, and the campaign has raised that since."""
        if last.get("max_steps") is None:
            return False
        query = {"_id": identifier, "execution.max_steps": {"$gt": last["max_steps"]}}
        return self.bench.documents.calculations.find_one(query, {"_id": 1}) is not None


def forget_failures(documents: Documents, identifiers: Iterable[str]) -> None:
    """Let failed attempts count no more, for calculations that go on."""
    documents.attempts.update_many(
        {"calculation": {"$in": list(identifiers)}, "outcome": "failed"}, {"$set": {"outcome": "retried"}}
    )


def is_busy(bench: Workbench, document: Mapping[str, Any]) -> bool:
    """Tell whether a live process works on a firework or is about to, or a job in the queue is reserved for it."""
    documents, identifier = bench.documents, document["spec"]["_tasks"][0]["calculation"]
    if documents.leases.is_alive(identifier):
        return True
    if document["state"] not in ("RESERVED", "RUNNING"):
        return False
    if document["state"] == "RESERVED":
        query = {"launch_id": {"$in": document["launches"]}, "state": "RESERVED"}
        if bench.launchpad.launches.find_one(query, {"_id": 1}) is not None:
            return True
    calculation = documents.calculations.find_one({"_id": identifier}, {"lease": 1}) or {}
    last = documents.attempts.find_one({"calculation": identifier}, sort=[("started", -1)]) or {}
    if last.get("outcome") == "running" and calculation.get("lease") is None:
        return False  # the owner of its lease is dead
    # By the time since it was first seen so, on the server's clock: times in the firework are of its worker's clock.
    what = f"{document['fw_id']} {document['state']} {document['updated_on']} {last.get('_id')} {last.get('outcome')}"
    return documents.unchanged_s(identifier, what) < GRACE_S


def unlock(launchpad: LaunchPad, identifiers: Iterable[str]) -> None:
    """Break the locks of killed processes; FireWorks itself would wait for five minutes and give up."""
    numbers = [d["fw_id"] for d in launchpad.fireworks.find(ours_query(identifiers), {"fw_id": 1})]
    query = {"nodes": {"$in": numbers}, "locked": {"$exists": True}}

    def times_of_locked() -> dict[Any, Any]:
        return {d["_id"]: d.get("updated_on") for d in launchpad.workflows.find(query, {"updated_on": 1})}

    unchanged = times_of_locked()
    end = monotonic() + LOCK_S
    while unchanged and monotonic() < end:
        sleep(0.1)
        times = times_of_locked()
        unchanged = {key: time for key, time in unchanged.items() if key in times and times[key] == time}
    for key in unchanged:
        launchpad.workflows.update_one({"_id": key}, {"$unset": {"locked": "", "fw_states": ""}})


def remove_orphans(launchpad: LaunchPad, identifiers: Iterable[str]) -> None:
    """Remove fireworks without a workflow, left by a killed process; call it only under the right to submit."""
    numbers = [d["fw_id"] for d in launchpad.fireworks.find(ours_query(identifiers), {"fw_id": 1})]
    workflows = launchpad.workflows.find({"nodes": {"$in": numbers}}, {"nodes": 1})
    nodes = {number for document in workflows for number in document["nodes"]}
    launchpad.fireworks.delete_many({"fw_id": {"$in": [n for n in numbers if n not in nodes]}})
