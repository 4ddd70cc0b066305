"""``sodiate run`` as a function: submit, launch with progress, evaluate, draw."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ..analysis.campaign_entry import CampaignEntry
from ..analysis.model_result import ModelResult
from .database.account import user_name
from .database.documents import Documents
from .database.workbench import Workbench
from .plan.graph import Plan
from .results.figures import write_files
from .results.results import Results
from .runner.run_calculation import WorkerSettings
from .stop import Stop, signals_stop

Progress = Callable[[Documents, CampaignEntry], AbstractContextManager[Callable[[], None]]]
"""Takes the documents and the campaign; a context that yields a function to call after each launch."""


@dataclass(frozen=True)
class RunReport:
    """The outcome of a run: the campaign, its results, the files, whether all is recorded, and why it stopped."""

    entry: CampaignEntry
    models: list[ModelResult]
    files: list[Path]
    complete: bool
    stopped: str | None


def run(plan: Plan, bench: Workbench, progress: Progress) -> RunReport:
    """Compute a planned campaign as far as possible, and evaluate it.

    Parameters
    ----------
    plan
        The campaign to compute.
    bench
        Its database and the root of the calculations' directories.
    progress
        Yields a function that shows the launches that ended since its last call.
    """
    stop = Stop()
    launched = not bench.standing(calculation.id for calculation in plan.calculations).complete
    if launched:
        with signals_stop(stop):
            entry = _compute(plan, bench, progress, stop)
    else:
        entry = bench.documents.add_plan(plan)
        bench.documents.own(entry.campaign, user_name())
    standing = bench.standing(entry.ids)
    models = Results(bench.documents, bench.database.title).of(entry)
    files = write_files(bench.documents, entry, models, bench.root, launched)
    return RunReport(entry, models, files, standing.complete, stop.reason or None)


def _compute(plan: Plan, bench: Workbench, progress: Progress, stop: Stop) -> CampaignEntry:
    from .launch.loop import launch
    from .launch.reconcile import reconcile
    from .launch.submit import submit

    bench.initialise()
    entry = submit(plan, bench).entry
    reconcile(bench, entry.ids)
    with progress(bench.documents, entry) as on_change:
        launch(bench, WorkerSettings(root=bench.root, stop=stop), list(entry.ids), on_change)
    return entry
