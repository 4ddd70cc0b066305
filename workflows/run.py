"""``sodiate run`` as a function: submit, launch with progress, evaluate, draw."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis.campaign_entry import CampaignEntry
from ..analysis.model_result import ModelResult
from .database.account import user_name
from .database.documents import Documents
from .database.workbench import Workbench
from .engines import engine_of, make_engine
from .engines.base import Settings
from .kinds import KINDS
from .plan.graph import Plan
from .results.figures import prepare_drawing, write_files
from .results.results import Results
from .runner.run_calculation import WorkerSettings
from .stop import Stop, signals_stop

if TYPE_CHECKING:
    from .launch.crew import Crew
    from .launch.schedule import Task

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


def run(plan: Plan, bench: Workbench, progress: Progress, crew: Crew | None = None) -> RunReport:
    """Compute a planned campaign as far as possible, and evaluate it.

    Parameters
    ----------
    plan
        The campaign to compute.
    bench
        Its database and the root of the calculations' directories.
    progress
        Yields a function that shows the launches that ended since its last call.
    crew
        Worker processes, for several calculations at once; without, this process computes one after the other.
    """
    stop = Stop()
    missing = bench.standing(calculation.id for calculation in plan.calculations).reasons
    launched = bool(missing)
    if launched:
        worker = WorkerSettings(root=bench.root, stop=stop)
        with signals_stop(stop):
            try:
                if crew is not None:
                    above = [c.parents.values() for c in plan.calculations if c.id in missing]
                    first = [parents for parents in above if all(parent.id not in missing for parent in parents)]
                    crew.prepare(bench, worker.env, len(first))
                entry = _compute(plan, bench, progress, worker, crew)
            finally:
                if crew is not None:  # while the database is there, of which they let go
                    crew.rest()
    else:
        entry = bench.documents.add_plan(plan)
        bench.documents.own(entry.campaign, user_name())
    standing = bench.standing(entry.ids)
    models = Results(bench.documents, bench.database.title).of(entry)
    files = write_files(bench.documents, entry, models, bench.root, launched)
    return RunReport(entry, models, files, standing.complete, stop.reason or None)


def _compute(
    plan: Plan, bench: Workbench, progress: Progress, worker: WorkerSettings, crew: Crew | None
) -> CampaignEntry:
    from .launch.loop import launch
    from .launch.reconcile import reconcile
    from .launch.submit import submit

    bench.initialise()
    entry = submit(plan, bench).entry
    reconcile(bench, entry.ids)
    with progress(bench.documents, entry) as on_change:
        hands = None
        if crew is not None:
            from .launch.pool import Pool

            physical = make_engine(plan.campaign.spec.engine, Settings()).physical
            tasks = _tasks(plan, bench, physical)
            prepare_drawing()
            hands = Pool(bench, worker, list(entry.ids), on_change, crew, tasks, pins=physical)
        launch(bench, worker, list(entry.ids), on_change, hands)
    return entry


_STEPS = 20.0
"""Electronic ground states of a relaxation, where nothing better is known: it only orders calculations."""


def _tasks(plan: Plan, bench: Workbench, physical: bool) -> dict[str, Task]:
    """Return what the calculations without a record ask of the machine.

    Their times are those that the records of this database let expect; if these say nothing of some, sizes.
    """
    from .launch.schedule import tasks_of

    records = bench.standing(calculation.id for calculation in plan.calculations).records
    missing = {c.id: c for c in plan.calculations if c.id not in records}
    demands = {key: engine_of(calculation, Settings()).demand(calculation) for key, calculation in missing.items()}
    core_s = {key: _STEPS if KINDS[calculation.kind].relaxes else 1.0 for key, calculation in missing.items()}
    if physical:
        from .results.cost import outlook

        items = outlook(bench.documents, list(missing.values())).items
        known = all(estimate is not None for _, _, estimate in items)
        for calculation, work, estimate in items:
            if known and estimate is not None:
                core_s[calculation.id] = estimate.cpu_s
            elif work is not None:
                core_s[calculation.id] *= work.size
        core_s |= {key: 0.0 for key, calculation in missing.items() if KINDS[calculation.kind].chooses}
    parents = {key: [parent.id for parent in c.parents.values()] for key, c in missing.items()}
    return tasks_of(demands, core_s, parents)
