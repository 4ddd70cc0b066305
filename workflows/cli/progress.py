"""The progress that a run shows: what ended, and what is being computed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

from pymongo.errors import PyMongoError

from ...analysis.campaign_entry import CampaignEntry
from ..database.documents import Documents
from ..engines import make_engine
from ..engines.base import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from ...analysis.cost import Spent

_EVERY_S = 2.0
"""Interval of looks at what runs, in a terminal."""

_LINES_EVERY_S = 60.0
"""Interval of lines about what runs, where output is kept, as in a log."""


@contextmanager
def show_progress(documents: Documents, entry: CampaignEntry, console: Console) -> Iterator[Callable[[], None]]:
    """Yield a function that shows the attempts which ended since its last call; show meanwhile what runs."""
    names = {identifier: name for name, identifier in reversed(entry.names.items())}
    shown_ids = {a["_id"] for a in documents.attempts.find({"calculation": {"$in": list(names)}}, {"_id": 1})}
    total = len(names)
    current = {"calculation": {"$in": list(names)}, "state": "current"}
    recorded = set(documents.records.distinct("calculation", current))

    def news() -> Iterator[tuple[str, int]]:
        query = {
            "calculation": {"$in": list(names)},
            "_id": {"$nin": list(shown_ids)},
            "outcome": {"$ne": "running"},
        }
        # Several may have ended since the last look, and more end meanwhile: each line counts those before it.
        for attempt in documents.attempts.find(query).sort("started", 1):
            shown_ids.add(attempt["_id"])
            if attempt["outcome"] == "completed":
                recorded.add(attempt["calculation"])
            yield _line(names[attempt["calculation"]], attempt), len(recorded)

    with (_in_terminal if console.is_terminal else _in_log)(console, total) as display:

        def update() -> None:
            for line, count in news():
                display.ended(line, count)

        with _watching(documents, entry, names, display):
            yield update


@dataclass(frozen=True)
class _Display:
    """Shows a line about what ended, with the number of records, and lines about what runs, at an interval."""

    ended: Callable[[str, int], None]
    runs: Callable[[list[str]], None]
    every_s: float


@contextmanager
def _in_log(console: Console, total: int) -> Iterator[_Display]:
    def show(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    def show_all(lines: list[str]) -> None:
        for line in lines:
            show(line)

    yield _Display(lambda line, count: show(f"[{count}/{total}] {line}"), show_all, _LINES_EVERY_S)


@contextmanager
def _in_terminal(console: Console, total: int) -> Iterator[_Display]:
    from rich.console import Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    bar = Progress(*columns)
    task = bar.add_task("starting", total=total)
    with Live(bar, console=console, transient=True) as live:

        def ended(line: str, count: int) -> None:
            bar.update(task, completed=count, description=line)

        def show(lines: list[str]) -> None:
            live.update(Group(bar, *(Text(f"  {line}", overflow="ellipsis", no_wrap=True) for line in lines)))

        yield _Display(ended, show, _EVERY_S)


@contextmanager
def _watching(
    documents: Documents, entry: CampaignEntry, names: Mapping[str, str], display: _Display
) -> Iterator[None]:
    """Look again and again, in a thread of its own, at what is being computed, and show it."""
    end = Event()

    def watch() -> None:
        past: Mapping[str, Spent] | None = None
        while not end.wait(display.every_s):
            try:
                if past is None:
                    past = _past(documents, entry)
                lines = running_lines(documents, names, past)
            except PyMongoError:  # the run itself tells it
                continue
            if not end.is_set():
                display.runs(lines)

    thread = Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join(1.0)


def _past(documents: Documents, entry: CampaignEntry) -> Mapping[str, Spent]:
    """Return what earlier calculations of the campaign's methods took; nothing of a dry run."""
    from ..results.cost import methods_of, spent

    if not make_engine(entry.engine, Settings()).physical:
        return {}
    return spent(documents, methods_of(documents.graph(entry.ids).values()))


def running_lines(documents: Documents, names: Mapping[str, str], past: Mapping[str, Spent]) -> list[str]:
    """Return a line for each calculation that is being computed, by its name."""
    from .running import running

    return [
        ", ".join(filter(None, (f"{names[run.calculation]}: running", run.words)))
        for run in running(documents, names, past)
    ]


def _line(name: str, attempt: Mapping[str, Any]) -> str:
    if attempt["outcome"] == "completed":
        steps = attempt.get("ionic_steps")
        return f"{name}" + (f"  {steps} steps" if steps else "")
    return f"{name}  {attempt['outcome']}: {attempt['reason']}"
