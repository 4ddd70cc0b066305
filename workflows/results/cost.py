"""What calculations took, launch by launch.

The launches of a calculation are in the attempts of a database or an archive; a record has the last one alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ...analysis.cost import Launches
from ...analysis.records import IMPORTED, Record
from ..database.documents import Documents
from ..kinds import KINDS


def launches_of(documents: Documents, records: Mapping[str, Record]) -> dict[str, Launches]:
    """Return the launches behind current records, by calculation.

    Those of a superseded record are not counted, and nothing is known of runs that sodiate did not make: they are
    left out.
    """
    identifiers = [identifier for identifier, record in records.items() if not is_imported(record)]
    attempts: dict[str, list[Mapping[str, Any]]] = {identifier: [] for identifier in identifiers}
    for attempt in documents.attempts.find({"calculation": {"$in": identifiers}}).sort("started", 1):
        attempts[attempt["calculation"]].append(attempt)
    superseded = _last_finished(documents, {"calculation": {"$in": identifiers}, "state": "superseded"})
    return {
        identifier: _launches(records[identifier], attempts[identifier], superseded.get(identifier, ""))
        for identifier in identifiers
    }


def is_imported(record: Record) -> bool:
    """Tell whether a record is of a run that sodiate did not make."""
    return any(note.startswith(IMPORTED) for note in record.notes)


def _launches(record: Record, attempts: Sequence[Mapping[str, Any]], after: str) -> Launches:
    run = record.provenance
    own = [one for one in attempts if after < one["started"] <= run.finished and one["outcome"] != "running"]
    of_command = re.search(r"(?:^| )-{1,2}np?[ =](\d+)", run.command or "")
    usual = int(of_command[1]) if of_command else None
    if KINDS[record.kind].chooses:  # no code runs
        return Launches(run.wall_time_s, run.launches, 0, 0.0, None)
    if not own:  # an archive without attempts
        core_s = None if usual is None else run.wall_time_s * usual
        return Launches(run.wall_time_s, run.launches, run.launches - 1, core_s, usual)
    timed = [one for one in own if one.get("wall_time_s") is not None]
    said = [one["cores"] for one in own if one.get("cores")]
    usual = said[-1] if said else usual
    cores = [one.get("cores") or usual for one in timed]
    core_s = None
    if None not in cores:
        core_s = sum(float(one["wall_time_s"]) * (n or 1) for one, n in zip(timed, cores, strict=True))
    wall_s = sum(float(one["wall_time_s"]) for one in timed)
    return Launches(wall_s, len(own), len(own) - len(timed), core_s, usual)


def _last_finished(documents: Documents, query: Mapping[str, Any]) -> dict[str, str]:
    """Return when the last of some records was finished, by calculation."""
    found: dict[str, str] = {}
    for document in documents.records.find(query, {"calculation": 1, "provenance.finished": 1}):
        identifier, finished = document["calculation"], document["provenance"]["finished"]
        found[identifier] = max(finished, found.get(identifier, ""))
    return found
