"""The standing of calculations: usable records, and the reasons why others have none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...analysis.energies.staleness import fresh
from ...analysis.records import Record
from ..calculation import HOST, Calculation, final_role
from ..kinds import KINDS
from .documents import Documents, parents_of

_NOT_YET = "not yet run"

Family = Mapping[str, Mapping[str, str]]
"""The parents' ids by role, for each calculation's id."""


@dataclass(frozen=True)
class Standing:
    """The standing of some calculations.

    Attributes
    ----------
    records
        Usable records by id, of these calculations and all their ancestors.
    reasons
        For each of these calculations without a usable record the reason, in their order.
    stale
        The reason for each record that is not usable, by id, of these calculations and all their ancestors.
    """

    records: Mapping[str, Record]
    reasons: Mapping[str, str]
    stale: Mapping[str, str]

    @property
    def complete(self) -> bool:
        """Whether each of the calculations has a usable record."""
        return not self.reasons


def standing_of(documents: Documents, identifiers: Iterable[str]) -> Standing:
    """Return the standing of some calculations.

    Their ancestors count: a record whose parent was computed anew is stale, and so is everything below it.
    """
    identifiers = tuple(identifiers)
    family: dict[str, Mapping[str, str]] = {}
    pending, asked = set(identifiers), set[str]()
    while pending:
        asked |= pending
        matches = documents.calculations.find({"_id": {"$in": sorted(pending)}}, {"parents": 1})
        family |= {document["_id"]: parents_of(document) for document in matches}
        # Not again for one that is not there, which would go on for ever.
        pending = {parent for parents in family.values() for parent in parents.values()} - asked
    current = documents.read_current(family)
    records, stale = fresh(current.records, family, current.unusable)
    missing = [identifier for identifier in identifiers if identifier not in records]
    return Standing(records, _reasons(documents, missing, stale), stale)


def standing_above(documents: Documents, calculation: Calculation) -> tuple[Standing, int]:
    """Return the standing of a calculation whose parents are loaded, and how many superseded records it has.

    A single query; of a missing record it is not told why.
    """
    family: dict[str, Mapping[str, str]] = {}

    def visit(member: Calculation) -> None:
        if member.id not in family:
            family[member.id] = {role: parent.id for role, parent in member.parents.items()}
            for parent in member.parents.values():
                visit(parent)

    visit(calculation)
    current, superseded = documents.read_above(calculation.id, family)
    records, stale = fresh(current.records, family, current.unusable)
    reasons = {} if calculation.id in records else {calculation.id: stale.get(calculation.id, _NOT_YET)}
    return Standing(records, reasons, stale), superseded


def _reasons(documents: Documents, missing: Iterable[str], stale: Mapping[str, str]) -> dict[str, str]:
    """Return the reasons for missing records: staleness, else the outcome of the last attempt."""
    reasons = {identifier: stale.get(identifier, _NOT_YET) for identifier in missing}
    without_record = [identifier for identifier in reasons if identifier not in stale]
    if not without_record:
        return reasons
    attempts = documents.attempts.find({"calculation": {"$in": without_record}})
    for attempt in attempts.sort("started", 1):
        words = {
            "running": "running offline" if attempt.get("offline") else "running",
            "stopped": "stopped, goes on with the next run",
            "lost": "interrupted, goes on with the next run",
            "failed": f"failed: {attempt.get('reason')}",
        }
        reasons[attempt["calculation"]] = words.get(str(attempt.get("outcome")), _NOT_YET)
    return reasons


def failures(documents: Documents, calculation: Calculation, records: Mapping[str, Record]) -> dict[str, str] | None:
    """Return the failed parents that a calculation runs without, or None if it has to wait.

    Parameters
    ----------
    documents
        The database.
    calculation
        The calculation.
    records
        Usable records by id, those of its parents among them.

    Returns
    -------
    dict or None
        None if it has to wait for a parent. Otherwise the reason for each missing parent, by role: only the choice of
        a site runs without sites, and only without failed sites.
    """
    without = {}
    for role, parent in calculation.parents.items():
        if parent.id in records:
            continue
        reason = failure(documents, parent)
        if not KINDS[calculation.kind].chooses or role in (HOST, final_role(HOST)) or reason is None:
            return None
        without[role] = f"failed: {reason}"
    return without


def failure(documents: Documents, calculation: Calculation) -> str | None:
    """Return why the last attempt at a calculation failed; None if there was none, or it did not fail."""
    last = documents.attempts.find_one({"calculation": calculation.id}, sort=[("started", -1)])
    return str(last.get("reason")) if last is not None and last.get("outcome") == "failed" else None
