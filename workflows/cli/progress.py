"""The progress that a run shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...analysis.campaign_entry import CampaignEntry
from ..database.documents import Documents

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def show_progress(documents: Documents, entry: CampaignEntry, console: Console) -> Iterator[Callable[[], None]]:
    """Yield a function that shows the attempts which ended since its last call."""
    names = {identifier: name for name, identifier in reversed(entry.names.items())}
    shown_ids = {a["_id"] for a in documents.attempts.find({"calculation": {"$in": list(names)}}, {"_id": 1})}
    total = len(names)

    def news() -> Iterator[tuple[str, int]]:
        count = documents.records.count_documents({"calculation": {"$in": list(names)}, "state": "current"})
        query = {
            "calculation": {"$in": list(names)},
            "_id": {"$nin": list(shown_ids)},
            "outcome": {"$ne": "running"},
        }
        for attempt in documents.attempts.find(query).sort("started", 1):
            shown_ids.add(attempt["_id"])
            yield _line(names[attempt["calculation"]], attempt), count

    if not console.is_terminal:

        def print_lines() -> None:
            for line, count in news():
                console.print(f"[{count}/{total}] {line}", markup=False, highlight=False, soft_wrap=True)

        yield print_lines
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=total)

        def update() -> None:
            for line, count in news():
                progress.update(task, completed=count, description=line)

        yield update


def _line(name: str, attempt: Mapping[str, Any]) -> str:
    if attempt["outcome"] == "completed":
        steps = attempt.get("ionic_steps")
        return f"{name}" + (f"  {steps} steps" if steps else "")
    return f"{name}  {attempt['outcome']}: {attempt['reason']}"
