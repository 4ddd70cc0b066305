"""The FireWorks side: one task class, one workflow a campaign, and states that follow the records.

A firework's state is a projection: whether a calculation is done is said by its record, whether somebody works on
it by its lease. `reconcile` brings the projection back in line (docs/database.md has the table).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from fireworks.core.firework import FiretaskBase, Firework, FWAction, Workflow
from fireworks.core.fworker import FWorker
from fireworks.core.rocket import Rocket
from fireworks.features.dupefinder import DupeFinderBase

from .. import SodiateError
from .calculation import Calculation
from .database.documents import Documents
from .database.fireworks_guard import DUPEFINDER, TASK, ours_query
from .database.usable import usable
from .graph import Plan
from .kinds import PRIORITY
from .reconcile import FIELDS, is_busy, reconcile, remove_orphans
from .runner.run_calculation import Worker, run_calculation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fireworks.core.launchpad import LaunchPad

    from ..analysis.campaign_entry import CampaignEntry


class SameCalculation(DupeFinderBase):
    """Finds the firework of another campaign that runs, or ran, the same calculation."""

    _fw_name = DUPEFINDER

    def query(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fireworks whose launches this one can share."""
        return {
            "spec._tasks.calculation": spec["_tasks"][0]["calculation"],
            "state": {"$in": ["RUNNING", "COMPLETED"]},
            "launches": {"$ne": []},
        }


class RunCalculation(FiretaskBase):
    """The one task: compute a calculation by its id and record it."""

    _fw_name = TASK
    required_params = ("calculation",)

    def run_task(self, fw_spec: Mapping[str, Any]) -> FWAction:
        """Run under the worker's settings; an error makes the firework FIZZLED and is kept in ``attempts``."""
        worker = getattr(self.fworker, "worker", None) or _worker_of(fw_spec.get("_fw_env", {}))
        verdict = run_calculation(Documents(self.launchpad.db), self["calculation"], worker, self.fw_id)
        return FWAction(stored_data={"calculation": self["calculation"], "verdict": verdict})


class OurFWorker(FWorker):
    """FireWorks' worker that takes only our fireworks and carries this process's settings to the task.

    ``calculations`` and ``kinds`` are those that it takes; None for all.
    """

    def __init__(
        self, worker: Worker, calculations: Iterable[str] | None = None, kinds: Iterable[str] | None = None
    ) -> None:
        super().__init__(
            name="sodiate",
            category=list(kinds or ()),
            query=ours_query(calculations),
            env={"root": str(worker.root)},
        )
        self.worker = worker


def _worker_of(env: Mapping[str, Any]) -> Worker:
    """Return the worker of a plain ``rlaunch``, from its FWorker's ``env``."""
    if "root" not in env:
        raise SodiateError(
            "the FWorker has no root for the calculations' directories: put `env: {root: /path}` into "
            "my_fworker.yaml and give it to rlaunch with -w."
        )
    return Worker(root=Path(env["root"]), env={k: v for k, v in env.items() if k != "root"})


def firework(calculation: Calculation, parents: list[Firework], turn: float = 0.0) -> Firework:
    """Return the firework of one calculation; among those of its kind, a lower turn goes first."""
    spec = {
        "label": calculation.label,
        "_category": calculation.kind,
        "_priority": PRIORITY[calculation.kind] - turn / 1000,
        "_dupefinder": SameCalculation(),
        "_add_launchpad_and_fw_id": True,
        "_add_fworker": True,
    }
    if calculation.kind == "lowest":  # it is for this kind to say which sites are missing
        spec["_allow_fizzled_parents"] = True
    return Firework([RunCalculation(calculation=calculation.id)], spec=spec, name=calculation.label, parents=parents)


@dataclass(frozen=True)
class Submission:
    """What submitting a plan did."""

    entry: CampaignEntry
    added: tuple[str, ...]


def submit(plan: Plan, documents: Documents, launchpad: LaunchPad) -> Submission:
    """Store a plan and add what has neither a record nor a firework of this campaign as one workflow.

    The same plan again adds nothing; one site more adds that site, and the choice of the best one.
    """
    with documents.submitting():
        return _submit(plan, documents, launchpad)


def _submit(plan: Plan, documents: Documents, launchpad: LaunchPad) -> Submission:
    entry = documents.add_plan(plan)
    remove_orphans(launchpad, entry.ids)
    done = usable(documents, entry.ids)[0]
    mine = {"metadata.campaign": entry.campaign, "metadata.engine": entry.engine}
    queued = _queued(launchpad, mine)
    wanted = [c for c in plan.calculations if c.id not in done and c.id not in queued]
    if not wanted:
        reignite(launchpad, entry.ids)
        return Submission(entry, ())
    needed = _with_unfinished_ancestors(wanted, done)
    turns = _turns(plan)
    made: dict[str, Firework] = {}
    for calculation in plan.calculations:
        if calculation.id in needed:
            parents = [made[p.id] for p in calculation.parents.values() if p.id in made]
            made[calculation.id] = firework(calculation, parents, turns.get(calculation.id, 0))
    metadata = {"campaign": entry.campaign, "engine": entry.engine, "method_id": entry.method_id}
    launchpad.add_wf(Workflow(list(made.values()), name=f"{entry.campaign} ({entry.engine})", metadata=metadata))
    reignite(launchpad, entry.ids)
    return Submission(entry, tuple(c.id for c in wanted))


def _turns(plan: Plan) -> dict[str, float]:
    """Return the turns of the relaxations: hosts as listed, then the first sites of all of them, then the second."""
    turns: dict[str, float] = {}
    for place, model in enumerate(plan.models):
        for turn, calculation in enumerate((model.host, *model.sites.values())):
            turns.setdefault(calculation.id, turn + place / len(plan.models))
    return turns


def _queued(launchpad: LaunchPad, workflows: Mapping[str, Any]) -> set[str]:
    """Return the calculations that have a firework in workflows of this campaign."""
    nodes = [node for wf in launchpad.workflows.find(workflows, {"nodes": 1}) for node in wf["nodes"]]
    found = launchpad.fireworks.find({"fw_id": {"$in": nodes}}, {"spec._tasks.calculation": 1})
    return {document["spec"]["_tasks"][0]["calculation"] for document in found}


def _with_unfinished_ancestors(wanted: list[Calculation], done: Mapping[str, Any]) -> set[str]:
    needed: set[str] = set()

    def visit(calculation: Calculation) -> None:
        if calculation.id in needed or calculation.id in done:
            return
        needed.add(calculation.id)
        for parent in calculation.parents.values():
            visit(parent)

    for calculation in wanted:
        visit(calculation)
    return needed


def reignite(launchpad: LaunchPad, identifiers: Iterable[str]) -> None:
    """Put cancelled calculations back into the queue."""
    for document in launchpad.fireworks.find(ours_query(identifiers, ["DEFUSED"]), {"fw_id": 1}):
        launchpad.reignite_fw(document["fw_id"])


def launch(
    documents: Documents,
    launchpad: LaunchPad,
    worker: Worker,
    identifiers: list[str],
    on_change: Callable[[], None],
) -> None:
    """Launch everything that is ready among some calculations, until nothing is or a stop is requested.

    Parameters
    ----------
    documents, launchpad
        The same database, as ours and as FireWorks'.
    worker
        This process's settings.
    identifiers
        Calculations that may be launched.
    on_change
        Called after each launch.
    """
    fworker = OurFWorker(worker, identifiers)
    looked_again = False
    with launch_directory() as errors:
        while not worker.stop.requested():
            if Rocket(launchpad, fworker, None).run(err_file=errors):
                on_change()
            elif reconcile(documents, launchpad, identifiers):
                pass
            elif _others_work(documents, launchpad, identifiers):
                _pause(worker, 0.5)
            elif looked_again or len(usable(documents, identifiers)[0]) >= len(identifiers):
                break
            else:  # another worker may just be between two states of a firework
                looked_again = True
                _pause(worker, 1.0)
                continue
            looked_again = False
    if worker.stop.requested():
        reconcile(documents, launchpad, identifiers)


def _others_work(documents: Documents, launchpad: LaunchPad, identifiers: list[str]) -> bool:
    """Tell whether another live process works on one of the calculations, or is about to."""
    found = launchpad.fireworks.find(ours_query(identifiers, ["RESERVED", "RUNNING", "FIZZLED"]), FIELDS)
    return any(is_busy(documents, launchpad, document) for document in found)


def _pause(worker: Worker, seconds: float) -> None:
    """Wait, but not for one that is asked to stop."""
    end = monotonic() + seconds
    while monotonic() < end and not worker.stop.requested():
        sleep(0.05)


@contextmanager
def launch_directory() -> Iterator[Any]:
    """Give FireWorks a directory of its own for what it writes at each launch, and a file for its tracebacks."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="sodiate-launch-") as name:
        os.chdir(name)
        try:
            with Path(name, "errors").open("w", encoding="utf-8") as errors:
                yield errors
        finally:
            os.chdir(before)
