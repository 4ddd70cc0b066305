"""The lines of ``sodiate status`` and ``sodiate show``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..calculation import Calculation
from ..database.account import is_mine
from ..database.documents import Documents
from ..database.standing import standing_of
from ..database.workbench import Workbench
from ..engines import find_engine
from ..results.cost import expected_of, methods_of, pace, spent, started_s
from .cost_view import to_do_lines
from .running import progress_of, running

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ...analysis.campaign_entry import CampaignEntry
    from ..clusters.jobs import JobBook


def job_lines(documents: Documents, book: JobBook) -> list[str]:
    """Return a line for each job of this user and root: number, state, why it waits, and all that it computes."""
    jobs = book.look()
    attempts = documents.attempts.find({"outcome": "running", "job": {"$in": [job.tag for job in jobs]}})
    running: dict[str, list[str]] = {}
    for attempt in attempts.sort("started", 1):
        running.setdefault(attempt["job"], []).append(attempt["label"])
    reasons = book.reasons(jobs)
    return [
        f"job {job.number or '?'} {job.state}{_bracketed(reasons.get(job.tag))}: "
        f"{_computed(running.get(job.tag, [job.label]))}"
        for job in jobs
    ]


def _computed(labels: Sequence[str]) -> str:
    """Return what a job computes; a packed one several calculations side by side."""
    return ", ".join(labels) + (f" ({len(labels)} side by side)" if len(labels) > 1 else "")


def _bracketed(reason: str | None) -> str:
    return f" ({reason})" if reason else ""


def status_lines(documents: Documents) -> list[str]:
    """Return the progress of each campaign, and a line for each calculation that failed, runs, or has a job."""
    entries, complaints = documents.read_entries()
    identifiers = list(dict.fromkeys(identifier for entry in entries for identifier in entry.ids))
    reasons = {**standing_of(documents, identifiers).reasons}
    places = places_in_line(documents, [i for i, reason in reasons.items() if reason == _IDLE])
    reasons |= {i: place for i, place in places.items() if place != _WAITS}
    owners = _told_owners(documents.owners())
    lines = [sentence for _, sentence in complaints]
    to_do = _to_do(documents, entries, reasons)
    past = spent(documents, methods_of(calculation for these in to_do for calculation in these))
    runs = {run.calculation: run.words for run in running(documents, identifiers, past)}
    for entry, calculations in zip(entries, to_do, strict=True):
        counts = Counter(_word(reasons.get(identifier)) for identifier in entry.ids)
        waiting = sum(places.get(identifier) == _WAITS for identifier in entry.ids)
        words = {_IDLE: f" ({waiting} wait for others)"} if waiting else {}
        summary = ", ".join(f"{number} {word}{words.get(word, '')}" for word, number in counts.most_common())
        whose = f", {owners[entry.campaign]}'s" if entry.campaign in owners else ""
        title = f"{entry.engine}, method {entry.method_id}, revision {entry.revision}{whose}"
        lines.append(f"{entry.campaign} ({title}): {summary}")
        lines += [
            f"  {name}: {', '.join(filter(None, (reasons[identifier], runs.get(identifier))))}"
            for name, identifier in entry.names.items()
            if reasons.get(identifier, _IDLE) != _IDLE
        ]
        if calculations:
            expected = expected_of(calculations, past)
            lines += to_do_lines(expected, started_s(documents, expected), pace(documents, expected.history))
    return lines or ["no campaign"]


def _to_do(
    documents: Documents, entries: Sequence[CampaignEntry], reasons: Mapping[str, str]
) -> list[list[Calculation]]:
    """Return what is left of each campaign; nothing of a dry run, nor of an engine that is not here."""
    engines = {name: find_engine(name) for name in {entry.engine for entry in entries}}
    physical = {name for name, engine in engines.items() if engine is not None and engine.physical}
    missing = [[i for i in entry.ids if i in reasons] if entry.engine in physical else [] for entry in entries]
    graph = documents.graph(dict.fromkeys(identifier for these in missing for identifier in these))
    return [[graph[identifier] for identifier in these] for these in missing]


_IDLE = "not yet run"
_WAITS = "waits for others"


def places_in_line(documents: Documents, identifiers: Iterable[str]) -> dict[str, str]:
    """Return where calculations stand that nobody began: cancelled, reserved to a job, or waiting for others."""
    identifiers = list(identifiers)
    query = {"spec._tasks.calculation": {"$in": identifiers}, "state": {"$in": ["RESERVED", "WAITING"]}}
    fireworks = documents.db["fireworks"].find(query, {"state": 1, "launches": 1, "spec._tasks.calculation": 1})
    places = dict.fromkeys(documents.cancelled(identifiers), "cancelled")
    for firework in sorted(fireworks, key=lambda one: str(one["state"]), reverse=True):  # RESERVED comes last
        identifier = firework["spec"]["_tasks"][0]["calculation"]
        if identifier not in places or places[identifier] == _WAITS:
            is_reserved = firework["state"] == "RESERVED"
            places[identifier] = _reserved(documents, firework["launches"]) if is_reserved else _WAITS
    return places


def _reserved(documents: Documents, launches: list[int]) -> str:
    """Return to which job a calculation is reserved; FireWorks' own launcher leaves no document."""
    job = documents.jobs.find_one({"launch": {"$in": launches}}, sort=[("launch", -1)])
    if job is None:
        return "reserved"
    number = f"job {job['number']}" if job["number"] else "a job whose number is not known"
    cluster = f" on {job['cluster']}" if job["cluster"] else ""
    offline = ", which computes offline" if job.get("folder") else ""
    return f"reserved, for {number} of {job['user']}{cluster}{offline}"


def _told_owners(owners: Mapping[str, str]) -> Mapping[str, str]:
    """Return whose campaigns are, if any is somebody else's."""
    return owners if any(not is_mine(owner) for owner in owners.values()) else {}


def owner_lines(owners: Mapping[str, str], campaigns: Iterable[str]) -> list[str]:
    """Return a line for each campaign that says whose it is, if any is somebody else's."""
    told = _told_owners(owners)
    return [f"campaign {campaign}: {told[campaign]}'s" for campaign in dict.fromkeys(campaigns) if campaign in told]


def _word(reason: str | None) -> str:
    """Return the state that a reason begins with."""
    return "done" if reason is None else reason.split(":")[0].split(",")[0]


def calculation_lines(bench: Workbench, identifier: str) -> list[str]:
    """Return the lines that describe a calculation: its state, directory, parents, forces and attempts."""
    documents = bench.documents
    calculation = documents.calculation(identifier)
    reasons = bench.standing([identifier]).reasons
    attempts = list(documents.attempts.find({"calculation": identifier}).sort("started", 1))
    directory = Path(attempts[-1]["directory"]) if attempts else bench.root / calculation.directory_name
    lines = [
        f"{calculation.label}  {identifier}",
        f"  kind        {calculation.kind} with {calculation.engine}",
        f"  state       {reasons.get(identifier, 'recorded')}",
        f"  directory   {directory}" + ("" if directory.is_dir() else "  (not on this machine)"),
        *(f"  parent      {role}: {parent.label}  {parent.id}" for role, parent in calculation.parents.items()),
    ]
    lines += _force_lines(documents, calculation, directory)
    lines += _campaign_lines(documents, identifier)
    lines += [_attempt_line(attempt) for attempt in attempts]
    records = documents.records.find({"calculation": identifier, "state": "superseded"})
    lines += [f"  superseded  {record['_id']}: {record['superseded']}" for record in records]
    return lines


def _campaign_lines(documents: Documents, identifier: str) -> list[str]:
    """Return a line for each campaign that needs a calculation, with its owner."""
    owners = documents.owners()
    entries = [entry for entry in documents.read_entries()[0] if identifier in entry.ids]
    return [
        f"  campaign    {entry.campaign} ({entry.engine})"
        + (f", {owners[entry.campaign]}'s" if entry.campaign in owners else "")
        for entry in entries
    ]


def _force_lines(documents: Documents, calculation: Calculation, directory: Path) -> list[str]:
    """Return lines with energy and force of the record, or with the force of the last step in the directory."""
    record = documents.record(calculation.id)
    if record is not None:
        lines = []
        if record.energy_ev is not None:
            mock = "" if record.physical else "  mock (dry run, not physical)"
            lines.append(f"  energy      {record.energy_ev:.6f} eV{mock}")
        if record.max_force_ev_per_a is not None:
            lines.append(f"  last force  {record.max_force_ev_per_a:.4f} eV/Å")
        if record.site is not None:
            lines.append(f"  Na site     {record.site.start} → {record.site.end}")
        if record.choice is not None:
            lines.append(f"  best site   {record.choice.site}")
            lines += [f"  left out    {site}: {reason}" for site, reason in record.choice.ignored.items()]
        lines += [f"  note        {note}" for note in record.notes]
        return lines
    so_far = progress_of(calculation.engine, directory)
    if so_far is None:
        return []
    force = so_far.max_force_ev_per_a
    lines = [] if force is None else [f"  last force  {force:.4f} eV/Å after {so_far.step} steps"]
    return [*lines, f"  progress    {so_far.words}"] if so_far.words else lines


def _attempt_line(attempt: dict[str, Any]) -> str:
    seconds = attempt.get("wall_time_s")
    reason = attempt.get("reason")
    parts = [
        f"  attempt     {str(attempt.get('started'))[:19].replace('T', ' ')} UTC",
        f"on {attempt.get('host')}",
        _by(attempt),
        str(attempt.get("outcome")),
        f"{seconds:.1f} s" if isinstance(seconds, int | float) else "",
        f"on {attempt['cores']} core{'s' * (attempt['cores'] > 1)}" if attempt.get("cores") else "",
        f"firework {attempt['firework_id']}" if attempt.get("firework_id") else "",
        f"— {reason}" if reason else "",
    ]
    return "  ".join(part for part in parts if part)


def _by(attempt: Mapping[str, Any]) -> str:
    """Return the user of an attempt and the cluster; attempts of before they were stored have neither."""
    if attempt.get("user") is None:
        return ""
    return f"by {attempt['user']}" + (f" on cluster {attempt['cluster']}" if attempt.get("cluster") else "")
