"""What is being computed now, for `sodiate run`, `status` and `show`: stage, step, force, and when it may end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..database.documents import Documents
from ..engines import find_engine
from ..engines.base import Progress

if TYPE_CHECKING:
    from ...analysis.cost import Spent
    from ..calculation import Calculation


@dataclass(frozen=True)
class Run:
    """A calculation that is being computed: its id, and in words how far it is and when it may end."""

    calculation: str
    words: str


def running(documents: Documents, identifiers: Iterable[str], past: Mapping[str, Spent]) -> Iterator[Run]:
    """Yield what runs among some calculations; of runs on other machines there are no words.

    Parameters
    ----------
    documents
        The database.
    identifiers
        Of the calculations.
    past
        What earlier ones took (`sodiate.workflows.results.cost.spent`): only with some is an end expected.
    """
    query = {"calculation": {"$in": list(identifiers)}, "outcome": "running"}
    keys = {"calculation": 1, "directory": 1, "started": 1}
    attempts = {attempt["calculation"]: attempt for attempt in documents.attempts.find(query, keys)}
    graph = documents.graph(attempts) if attempts else {}
    for identifier, attempt in attempts.items():
        calculation, directory = graph[identifier], Path(attempt["directory"])
        progress = progress_of(calculation.engine, directory)
        parts = ["" if progress is None else progress.words, _end(documents, calculation, attempt, past)]
        yield Run(identifier, ", ".join(filter(None, parts)))


def progress_of(engine_name: str, directory: Path) -> Progress | None:
    """Return how far a run is, None if its engine or its directory is not here."""
    from ..engines.shared.trajectory import how_far

    engine = find_engine(engine_name)
    return None if engine is None else how_far(engine, directory)


def _end(
    documents: Documents, calculation: Calculation, attempt: Mapping[str, Any], past: Mapping[str, Spent]
) -> str:
    """Return when a launch may end, in this machine's time; nothing if the records say nothing, or not its cores."""
    if not past:
        return ""
    from ..results.cost import expected_of, started_s

    engine = find_engine(calculation.engine)
    cores = None if engine is None else engine.cores(Path(attempt["directory"]))
    if cores is None:
        return ""
    expected = expected_of([calculation], past)
    estimate = expected.total.estimate
    if estimate is None:
        return ""
    left_s = max(0.0, estimate.cpu_s - started_s(documents, expected)) / cores
    end = (datetime.fromisoformat(attempt["started"]) + timedelta(seconds=left_s)).astimezone()
    now = datetime.now().astimezone()
    return f"expected to end {end:{'%H:%M' if end.date() == now.date() else '%d %b %H:%M'}}"
