"""Which records of the database may be used, and why others may not: what tables and launches ask first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...analysis.energies.staleness import fresh
from ...analysis.records import Record
from ..calculation import Calculation
from ..kinds import KINDS
from .documents import Documents


def usable(documents: Documents, identifiers: Iterable[str]) -> tuple[dict[str, Record], dict[str, str]]:
    """Return usable records of some calculations by id, and why others are stale.

    Parents count: a record whose parent was computed anew is stale, and so is everything below it.
    """
    family: dict[str, dict[str, str]] = {}
    wanted = set(identifiers)
    while wanted:
        found = documents.calculations.find({"_id": {"$in": sorted(wanted)}}, {"parents": 1})
        family |= {d["_id"]: d["parents"] for d in found}
        wanted = {p for parents in family.values() for p in parents.values()} - family.keys()
    return fresh(documents.current(family), family)


def usable_for(documents: Documents, calculation: Calculation) -> tuple[dict[str, Record], dict[str, str]]:
    """Return what `usable` does, for a calculation and everything above it, in one query."""
    family: dict[str, dict[str, str]] = {}

    def visit(above: Calculation) -> None:
        if above.id not in family:
            family[above.id] = {role: parent.id for role, parent in above.parents.items()}
            for parent in above.parents.values():
                visit(parent)

    visit(calculation)
    return fresh(documents.current(family), family)


def missing_reasons(
    documents: Documents, identifiers: Iterable[str], records: Mapping[str, Record], stale: Mapping[str, str]
) -> dict[str, str]:
    """Say why each calculation without a usable record has none, by id.

    The last attempt tells: failed (with its reason), stopped, lost, running; else not yet run.
    """
    missing = [identifier for identifier in identifiers if identifier not in records]
    reasons = {identifier: stale.get(identifier, "not yet run") for identifier in missing}
    attempts = documents.attempts.find({"calculation": {"$in": [m for m in missing if m not in stale]}})
    for attempt in attempts.sort("started", 1):
        words = {
            "running": "running",
            "stopped": "stopped, goes on with the next run",
            "lost": "interrupted, goes on with the next run",
            "failed": f"failed: {attempt.get('reason')}",
        }
        reasons[attempt["calculation"]] = words.get(attempt["outcome"], "not yet run")
    return reasons


def failures(documents: Documents, calculation: Calculation, records: Mapping[str, Record]) -> dict[str, str] | None:
    """Tell whether a calculation can be computed now.

    Parameters
    ----------
    documents
        The database.
    calculation
        What is to be computed.
    records
        Usable records by id, its parents' among them.

    Returns
    -------
    dict or None
        None if it has to wait for a parent. Else the parents that it does without, by role, and why: only the choice
        of a site does without sites, and only those that failed.
    """
    without = {}
    for role, parent in calculation.parents.items():
        if parent.id in records:
            continue
        last = documents.attempts.find_one({"calculation": parent.id}, sort=[("started", -1)])
        if not KINDS[calculation.kind].chooses or role == "host" or last is None or last["outcome"] != "failed":
            return None
        without[role] = f"failed: {last['reason']}"
    return without
