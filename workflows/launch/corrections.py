"""Corrections by the user: redo, retry, cancel; and finding a calculation by its name."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from ...errors import SodiateError
from ..campaign.yaml import InputError, nearest
from ..database.documents import Documents
from ..database.fireworks_guard import ours_query
from ..database.workbench import Workbench
from .reconcile import forget_failures
from .submit import reignite

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad


def find_calculation(documents: Documents, name: str, campaign: str | None, engine: str | None) -> str:
    """Return the id of a calculation by a campaign's name for it, or by (the start of) its id.

    Raises
    ------
    InputError
        If no calculation, or more than one, matches.
    """
    entries = documents.matching_entries(campaign, engine, "the database")
    matches = {e.names[name]: f"{e.campaign} ({e.engine}, method {e.method_id})" for e in entries if name in e.names}
    if not matches:
        campaigns = {identifier: f"{e.campaign} ({e.engine})" for e in entries for identifier in e.ids}
        matches = {i: title for i, title in campaigns.items() if len(name) >= 6 and i.startswith(name)}
    if not matches:
        names = {n for e in entries for n in e.names}
        raise InputError(f"no calculation is called {name!r}{nearest(name, names)}; `sodiate status` lists them.")
    if len(matches) > 1:
        several = "; ".join(f"{identifier} in {title}" for identifier, title in matches.items())
        raise InputError(f"{name!r} means several calculations: {several}. Give the id, --campaign or --engine.")
    return next(iter(matches))


def descendants(documents: Documents, identifier: str) -> list[str]:
    """Return a calculation and everything below it, the calculation first."""
    children: dict[str, list[str]] = {}
    for document in documents.calculations.find({}, {"parents": 1}):
        for parent in document["parents"].values():
            children.setdefault(parent, []).append(document["_id"])
    descendants_in_order: dict[str, None] = {}
    queue = [identifier]
    while queue:
        calculation = queue.pop(0)
        if calculation not in descendants_in_order:
            descendants_in_order[calculation] = None
            queue += children.get(calculation, [])
    return list(descendants_in_order)


def redo(bench: Workbench, identifier: str, because: str) -> list[str]:
    """Supersede a record and everything below it, and queue them again; the old records stay, with a mark.

    Returns
    -------
    list of str
        Labels of the calculations that will be computed again.

    Raises
    ------
    SodiateError
        If any of them is being computed.
    """
    affected = descendants(bench.documents, identifier)
    _refuse_running(bench.documents, affected)
    bench.documents.supersede(affected, because)
    _queue_again(bench.launchpad, affected, ["COMPLETED", "FIZZLED", "RUNNING"])
    return _labels(bench.documents, affected)


def retry(bench: Workbench, identifiers: Iterable[str]) -> list[str]:
    """Queue failed and cancelled calculations again; they continue from their checkpoints.

    Returns
    -------
    list of str
        Labels of the queued calculations.
    """
    query = ours_query(identifiers, ["FIZZLED", "DEFUSED"])
    matches = bench.launchpad.fireworks.find(query)
    failed = list(dict.fromkeys(document["spec"]["_tasks"][0]["calculation"] for document in matches))
    bench.documents.calculations.update_many({"_id": {"$in": failed}}, {"$unset": {"cancelled": ""}})
    reignite(bench.launchpad, failed)
    _queue_again(bench.launchpad, failed, ["FIZZLED"])
    forget_failures(bench.documents, failed)
    return _labels(bench.documents, failed)


def cancel(bench: Workbench, identifiers: Iterable[str], keep: Collection[str] = ()) -> list[str]:
    """Take calculations without a record out of the queue, except those to keep; ask running calculations to stop.

    Returns
    -------
    list of str
        Labels of the cancelled calculations; ``sodiate run`` or ``retry`` queues them again.
    """
    identifiers = list(identifiers)
    records = bench.documents.current(identifiers)
    cancelled = [i for i in identifiers if i not in records and i not in keep]
    bench.documents.calculations.update_many({"_id": {"$in": cancelled}}, {"$set": {"cancelled": True}})
    query = ours_query(cancelled, ["WAITING", "READY", "FIZZLED", "RESERVED"])
    for document in bench.launchpad.fireworks.find(query, {"fw_id": 1}):
        bench.launchpad.defuse_fw(document["fw_id"])
    return _labels(bench.documents, cancelled)


def _queue_again(launchpad: LaunchPad, identifiers: Iterable[str], states: list[str]) -> None:
    """Rerun fireworks, ancestors first: FireWorks itself resets their descendants, which then no longer match."""
    for identifier in identifiers:
        for document in list(launchpad.fireworks.find(ours_query([identifier], states), {"fw_id": 1})):
            launchpad.rerun_fw(document["fw_id"])


def _refuse_running(documents: Documents, identifiers: list[str]) -> None:
    for document in documents.calculations.find({"_id": {"$in": identifiers}, "lease": {"$ne": None}}):
        if documents.leases.is_alive(document["_id"]):
            raise SodiateError(
                f"{document['label']} is being computed by {documents.leases.holder(document['_id'])}; cancel it "
                "first (sodiate cancel), or wait."
            )


def _labels(documents: Documents, identifiers: Iterable[str]) -> list[str]:
    identifiers = list(identifiers)
    labels: dict[str, Any] = {
        d["_id"]: d["label"] for d in documents.calculations.find({"_id": {"$in": identifiers}}, {"label": 1})
    }
    return [labels[i] for i in identifiers if i in labels]
