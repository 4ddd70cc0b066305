"""One ``sodiate run``: plan, submit, launch with progress, evaluate, draw."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis.campaign_entry import CampaignEntry
from ..analysis.energies.adsorption import ModelResult
from ..analysis.records import Record
from .database.connection import Database, initialise
from .database.documents import Documents
from .database.usable import usable
from .figures import draw_bars, draw_dos, spectra_of
from .plan.graph import Plan
from .runner.run_calculation import Worker
from .stop import Stop, signals_stop
from .store import Results
from .tables import as_objects, to_csv

if TYPE_CHECKING:
    pass


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
    done, _ = usable(documents, ids)
    launched = set(ids) - done.keys()
    if launched:
        with signals_stop(stop):
            entry = _compute(plan, database, documents, root, progress, stop)
    else:
        entry = documents.add_plan(plan)
    records = usable(documents, entry.ids)[0]
    models = Results(documents, ExitStack(), database.title).of(entry)
    files = _files(documents, entry, models, records, root, bool(launched))
    return Ran(entry, models, files, records.keys() >= set(entry.ids), stop.reason or None)


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


def _files(
    documents: Documents,
    entry: CampaignEntry,
    models: list[ModelResult],
    records: Mapping[str, Record],
    root: Path,
    anew: bool,
) -> list[Path]:
    """Write the figures and the table, which comes last; what is there stays if nothing changed since."""
    folder = root / "results" / f"{entry.campaign}-{entry.engine}-{entry.method_id}"
    table, bars, dos = folder / "results.csv", folder / "adsorption.png", folder / "dos.png"
    wanted = [table]
    if any(model.adsorption_energy_ev is not None for model in models):
        wanted.append(bars)
    spectra = spectra_of(entry, records)
    if spectra:
        wanted.append(dos)
    content = to_csv(as_objects(models))
    if not anew and all(path.exists() for path in wanted) and table.read_text(encoding="utf-8") == content:
        return wanted
    folder.mkdir(parents=True, exist_ok=True)
    mock = not all(model.physical for model in models)
    if bars in wanted:
        with _whole(bars) as draft:
            draw_bars(models, draft, mock)
    if spectra:
        with _whole(dos) as draft:
            draw_dos(documents, spectra, draft, mock)
    with _whole(table) as draft:
        draft.write_text(content, encoding="utf-8")
    return wanted


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a name to write to; the file gets its own name once it is whole."""
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
