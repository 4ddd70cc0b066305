"""The lines of ``sodiate status`` and ``sodiate show``."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from math import hypot
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..calculation import Calculation
from ..database.documents import Documents
from ..database.standing import standing_of
from ..database.workbench import Workbench
from ..engines import find_engine
from ..engines.shared.files import TRAJECTORY
from ..results.cost import outlook, pace, started_s
from .cost_view import to_do_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..clusters.jobs import JobBook


def job_lines(documents: Documents, book: JobBook) -> list[str]:
    """Return a line for each job of this user and root: number, state, why it waits, and what it computes."""
    jobs = book.look()
    attempts = documents.attempts.find({"outcome": "running", "job": {"$in": [job.tag for job in jobs]}})
    running = {attempt["job"]: attempt["label"] for attempt in attempts}
    reasons = book.reasons(jobs)
    return [
        f"job {job.number or '?'} {job.state}{_bracketed(reasons.get(job.tag))}: {running.get(job.tag, job.label)}"
        for job in jobs
    ]


def _bracketed(reason: str | None) -> str:
    return f" ({reason})" if reason else ""


def status_lines(documents: Documents) -> list[str]:
    """Return the progress of each campaign, and a line for each failed, running or interrupted calculation."""
    entries, complaints = documents.read_entries()
    identifiers = list(dict.fromkeys(identifier for entry in entries for identifier in entry.ids))
    reasons = standing_of(documents, identifiers).reasons
    steps = _steps_so_far(documents)
    lines = [sentence for _, sentence in complaints]
    for entry in entries:
        counts = Counter(_word(reasons.get(identifier)) for identifier in entry.ids)
        summary = ", ".join(f"{number} {word}" for word, number in counts.most_common())
        lines.append(
            f"{entry.campaign} ({entry.engine}, method {entry.method_id}, revision {entry.revision}): {summary}"
        )
        lines += [
            f"  {name}: {reasons[identifier]}{steps.get(identifier, '')}"
            for name, identifier in entry.names.items()
            if reasons.get(identifier, "not yet run") != "not yet run"
        ]
        lines += _to_do_lines(documents, entry.engine, [i for i in entry.ids if i in reasons])
    return lines or ["no campaign"]


def _to_do_lines(documents: Documents, name: str, missing: Sequence[str]) -> list[str]:
    """Return what is left of a campaign, in CPU-hours; none of a dry run, nor of an engine that is not here."""
    engine = find_engine(name)
    if engine is None or not engine.physical or not missing:
        return []
    graph = documents.graph(missing)
    expected = outlook(documents, [graph[identifier] for identifier in missing])
    return to_do_lines(expected, started_s(documents, expected), pace(documents, expected.history))


def _steps_so_far(documents: Documents) -> dict[str, str]:
    """Return the last step of each running calculation whose directory is on this machine."""
    steps = {}
    for attempt in documents.attempts.find({"outcome": "running"}, {"calculation": 1, "directory": 1}):
        last = last_step(Path(attempt["directory"]))
        if last is not None:
            force = last.max_force_ev_per_a
            steps[attempt["calculation"]] = f", step {last.number}, largest force {force:.3f} eV/Å"
    return steps


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
    lines += [_attempt_line(attempt) for attempt in attempts]
    records = documents.records.find({"calculation": identifier, "state": "superseded"})
    lines += [f"  superseded  {record['_id']}: {record['superseded']}" for record in records]
    return lines


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
    last = last_step(directory)
    if last is None:
        engine = find_engine(calculation.engine)
        return [] if engine is None else engine.progress(directory)
    return [f"  last force  {last.max_force_ev_per_a:.4f} eV/Å after {last.number} steps"]


@dataclass(frozen=True)
class LastStep:
    """The last step of a relaxation so far: its number, and the largest force on an atom."""

    number: int
    max_force_ev_per_a: float


def last_step(directory: Path) -> LastStep | None:
    """Return the last step of a directory's trajectory, None without one."""
    try:
        lines = (directory / TRAJECTORY).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            values = json.loads(line)
            return LastStep(values["step"], max(hypot(*force) for force in values["forces_ev_per_a"]))
        except (ValueError, KeyError):  # the head, or a line cut short by a kill
            continue
    return None


def _attempt_line(attempt: dict[str, Any]) -> str:
    seconds = attempt.get("wall_time_s")
    reason = attempt.get("reason")
    parts = [
        f"  attempt     {str(attempt.get('started'))[:19].replace('T', ' ')} UTC",
        f"on {attempt.get('host')}",
        str(attempt.get("outcome")),
        f"{seconds:.1f} s" if isinstance(seconds, int | float) else "",
        f"on {attempt['cores']} core{'s' * (attempt['cores'] > 1)}" if attempt.get("cores") else "",
        f"firework {attempt['firework_id']}" if attempt.get("firework_id") else "",
        f"— {reason}" if reason else "",
    ]
    return "  ".join(part for part in parts if part)
