"""How calculations stand: which records may be used, and why others have none; what tables and launches ask."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...analysis.energies.staleness import fresh
from ...analysis.records import Record
from ..calculation import Calculation
from ..kinds import KINDS
from .documents import Documents

Family = Mapping[str, Mapping[str, str]]
"""The parents' ids by role, for each calculation's id."""


@dataclass(frozen=True)
class Standing:
    """What some calculations have come to.

    Attributes
    ----------
    records
        Usable records by id: of the calculations that were asked for, and of all above them.
    reasons
        Why each calculation that was asked for and has no usable record has none, in the order asked.
    stale
        Why records that are there may not be used, by id: of those asked for, and of all above them.
    """

    records: Mapping[str, Record]
    reasons: Mapping[str, str]
    stale: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for has a usable record."""
        return not self.reasons


def standing_of(documents: Documents, identifiers: Iterable[str]) -> Standing:
    """Return how some calculations stand.

    Parents count: a record whose parent was computed anew is stale, and so is everything below it.
    """
    asked = tuple(identifiers)
    family: dict[str, Mapping[str, str]] = {}
    wanted = set(asked)
    while wanted:
        matches = documents.calculations.find({"_id": {"$in": sorted(wanted)}}, {"parents": 1})
        family |= {document["_id"]: document["parents"] for document in matches}
        wanted = {parent for parents in family.values() for parent in parents.values()} - family.keys()
    return _standing(documents, asked, family)


def standing_above(documents: Documents, calculation: Calculation) -> Standing:
    """Return what `standing_of` does, of a calculation whose parents are known, with fewer queries."""
    family: dict[str, Mapping[str, str]] = {}

    def visit(above: Calculation) -> None:
        if above.id not in family:
            family[above.id] = {role: parent.id for role, parent in above.parents.items()}
            for parent in above.parents.values():
                visit(parent)

    visit(calculation)
    return _standing(documents, [calculation.id], family)


def _standing(documents: Documents, asked: Iterable[str], family: Family) -> Standing:
    records, stale = fresh(documents.current(family), family)
    missing = [identifier for identifier in asked if identifier not in records]
    return Standing(records, _reasons(documents, missing, stale), stale)


def _reasons(documents: Documents, missing: Iterable[str], stale: Mapping[str, str]) -> dict[str, str]:
    """Say why calculations have no usable record: the last attempt tells, where none is stale."""
    reasons = {identifier: stale.get(identifier, "not yet run") for identifier in missing}
    untold = [identifier for identifier in reasons if identifier not in stale]
    if not untold:
        return reasons
    attempts = documents.attempts.find({"calculation": {"$in": untold}})
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
