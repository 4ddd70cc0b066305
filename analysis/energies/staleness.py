"""Which records may still be used: a record whose inputs have changed since is stale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..records import Record


def stale_reason(
    record: Record,
    parents: Mapping[str, str],
    current: Mapping[str, Record],
    unusable: Mapping[str, str] | None = None,
) -> str | None:
    """Tell why a record no longer follows from its parents' records, or None if it does.

    Parameters
    ----------
    record
        The record in question.
    parents
        Role and calculation id of the parents that its calculation declares.
    current
        Current records by calculation id.
    unusable
        Why current records may not be used, by calculation id; they are not among the current ones.

    Returns
    -------
    str or None
        A clause that names the parent; a parent that had no record at the time and has one now counts.
    """
    foreign = [role for role in record.parents if role not in parents]
    if foreign:
        return f"it was computed from a {foreign[0]}, which its calculation does not have"
    for role, calculation in parents.items():
        reference, present = record.parents.get(role), current.get(calculation)
        if reference is not None and reference.calculation != calculation:
            return f"it was computed from another {role}"
        if calculation in (unusable or {}):
            return f"the record of its {role} may not be used"
        if reference is not None and present is None:
            return f"the record of its {role} was superseded"
        if reference is not None and present is not None and reference.digest != present.digest:
            return f"its {role} was computed anew"
        if reference is None and present is not None:
            return f"its {role} was completed later"
    return None


def fresh(
    records: Mapping[str, Record],
    parents: Mapping[str, Mapping[str, str]],
    unusable: Mapping[str, str] | None = None,
) -> tuple[dict[str, Record], dict[str, str]]:
    """Divide current records into usable records and the reasons why others are stale.

    Parameters
    ----------
    records
        Current records by calculation id.
    parents
        For each calculation id its parents' ids by role.
    unusable
        Why other current records may not be used, by calculation id.

    Returns
    -------
    tuple
        Usable records by id, and a reason by id for each that is not, or has such an ancestor.
    """
    reasons: dict[str, str] = {identifier: f"unusable: {why}" for identifier, why in (unusable or {}).items()}
    usable: dict[str, Record] = {}
    for identifier in _parents_first(records, parents):
        record = records[identifier]
        above = parents.get(identifier, {})
        reason = stale_reason(record, above, records, unusable)
        if reason is None:
            tainted = [role for role, parent in above.items() if role in record.parents and parent in reasons]
            reason = f"its {tainted[0]} is stale" if tainted else None
        if reason is None:
            usable[identifier] = record
        else:
            reasons[identifier] = f"stale: {reason}"
    return usable, reasons


def _parents_first(records: Mapping[str, Record], parents: Mapping[str, Mapping[str, str]]) -> Iterable[str]:
    order: dict[str, None] = {}
    begun: set[str] = set()

    def visit(identifier: str) -> None:
        # One that is its own ancestor was changed by hand, and is not followed round and round.
        if identifier in begun or identifier not in records:
            return
        begun.add(identifier)
        for parent in parents.get(identifier, {}).values():
            visit(parent)
        order[identifier] = None

    for identifier in records:
        visit(identifier)
    return order
