"""A plan becomes one FireWorks workflow; what is recorded or queued is not added again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fireworks.core.firework import Firework, Workflow

from ..calculation import Calculation
from ..database.fireworks_guard import ours_query
from ..database.workbench import Workbench
from ..kinds import KINDS
from ..plan.graph import Plan
from .reconcile import remove_orphans
from .tasks import RunCalculation, SameCalculation

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad

    from ...analysis.campaign_entry import CampaignEntry


def firework(calculation: Calculation, parents: list[Firework], turn: float = 0.0) -> Firework:
    """Return the firework of one calculation; among those of its kind, a lower turn goes first."""
    spec = {
        "label": calculation.label,
        "_category": calculation.kind,
        "_priority": KINDS[calculation.kind].priority - turn / 1000,
        "_dupefinder": SameCalculation(),
        "_add_launchpad_and_fw_id": True,
        "_add_fworker": True,
    }
    if KINDS[calculation.kind].chooses:  # it is for this kind to say which sites are missing
        spec["_allow_fizzled_parents"] = True
    return Firework([RunCalculation(calculation=calculation.id)], spec=spec, name=calculation.label, parents=parents)


@dataclass(frozen=True)
class Submission:
    """What submitting a plan did."""

    entry: CampaignEntry
    added: tuple[str, ...]


def submit(plan: Plan, bench: Workbench) -> Submission:
    """Store a plan and add what has neither a record nor a firework of this campaign as one workflow.

    The same plan again adds nothing; one site more adds that site, and the choice of the best one.
    """
    with bench.documents.submitting():
        return _submit(plan, bench)


def _submit(plan: Plan, bench: Workbench) -> Submission:
    entry, launchpad = bench.documents.add_plan(plan), bench.launchpad
    remove_orphans(launchpad, entry.ids)
    done = bench.standing(entry.ids).records
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
    for place, host in enumerate(plan.hosts):
        for turn, calculation in enumerate((host.calculation, *host.sites.values())):
            turns.setdefault(calculation.id, turn + place / len(plan.hosts))
    return turns


def _queued(launchpad: LaunchPad, workflows: Mapping[str, Any]) -> set[str]:
    """Return the calculations that have a firework in workflows of this campaign."""
    nodes = [node for wf in launchpad.workflows.find(workflows, {"nodes": 1}) for node in wf["nodes"]]
    fireworks = launchpad.fireworks.find({"fw_id": {"$in": nodes}}, {"spec._tasks.calculation": 1})
    return {document["spec"]["_tasks"][0]["calculation"] for document in fireworks}


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
