"""One ``sodiate run``: plan, submit, launch with progress, evaluate, draw."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ..analysis.campaign_entry import CampaignEntry
from ..analysis.model_result import ModelResult
from .database.connection import Database, initialise
from .database.documents import Documents
from .database.standing import standing_of
from .plan.graph import Plan
from .results.figures import write_files
from .results.results import Results
from .runner.run_calculation import Worker
from .stop import Stop, signals_stop

Progress = Callable[[Documents, CampaignEntry], AbstractContextManager[Callable[[], None]]]
"""Given the documents and the campaign, a context that yields what is to be called after each launch."""


@dataclass(frozen=True)
class Ran:
    """What a run left: the campaign, its results, the files made, and whether everything is recorded."""

    entry: CampaignEntry
    models: list[ModelResult]
    files: list[Path]
    complete: bool
    stopped: str | None


def run(plan: Plan, database: Database, root: Path, progress: Progress) -> Ran:
    """Bring a planned campaign to its end, as far as it goes.

    Parameters
    ----------
    plan
        What to compute.
    database
        Where it is recorded.
    root
        Where the calculations' directories are.
    progress
        Shows what ended, each time that the function it yields is called.
    """
    documents = Documents(database.db)
    stop = Stop()
    ids = [calculation.id for calculation in plan.calculations]
    launched = not standing_of(documents, ids).complete
    if launched:
        with signals_stop(stop):
            entry = _compute(plan, database, documents, root, progress, stop)
    else:
        entry = documents.add_plan(plan)
    standing = standing_of(documents, entry.ids)
    models = Results(documents, database.title).of(entry)
    files = write_files(documents, entry, models, root, launched)
    return Ran(entry, models, files, standing.complete, stop.reason or None)


def _compute(
    plan: Plan, database: Database, documents: Documents, root: Path, progress: Progress, stop: Stop
) -> CampaignEntry:
    from .launch.loop import launch
    from .launch.reconcile import reconcile
    from .launch.submit import submit

    launchpad = database.fireworks(root / "logs")
    initialise(database, launchpad)
    entry = submit(plan, documents, launchpad).entry
    reconcile(documents, launchpad, entry.ids)
    with progress(documents, entry) as on_change:
        launch(documents, launchpad, Worker(root=root, stop=stop), list(entry.ids), on_change)
    return entry
