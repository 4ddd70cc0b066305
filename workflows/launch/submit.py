"""Submitting a plan as a FireWorks workflow, without calculations that are recorded or queued."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fireworks.core.firework import Firework, Workflow

from ..calculation import HOST, Calculation
from ..database.account import user_name
from ..database.fireworks_guard import ours_query
from ..database.workbench import Workbench
from ..kinds import KINDS
from ..plan.graph import Plan
from ..quantities.base import PlannedHost
from .reconcile import remove_orphans
from .tasks import RunCalculation, SameCalculation

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad

    from ...analysis.campaign_entry import CampaignEntry


def firework(calculation: Calculation, parents: list[Firework], turn: float = 0.0) -> Firework:
    """Return the firework of a calculation; within a kind, a lower turn runs first."""
    spec = {
        "label": calculation.label,
        "_category": calculation.kind,
        "_priority": KINDS[calculation.kind].priority - turn / 1000,
        "_dupefinder": SameCalculation(),
        "_add_launchpad_and_fw_id": True,
        "_add_fworker": True,
    }
    kind = KINDS[calculation.kind]
    # A choice runs without failed sites and records which are missing; their single points must have ended, too.
    if kind.chooses or (kind.falls_with_parent and calculation.parents):
        spec["_allow_fizzled_parents"] = True
    return Firework([RunCalculation(calculation=calculation.id)], spec=spec, name=calculation.label, parents=parents)


@dataclass(frozen=True)
class Submission:
    """The stored campaign, and the ids of the calculations that submitting it added."""

    entry: CampaignEntry
    added: tuple[str, ...]


def submit(plan: Plan, bench: Workbench) -> Submission:
    """Store a plan, and add its calculations that have neither a record nor a firework of this campaign.

    They become one workflow. The same plan again adds nothing; a plan with a further site adds this site and the
    choice of the best site.
    """
    with bench.documents.submitting():
        entry, launchpad = bench.documents.add_plan(plan), bench.launchpad
        bench.documents.own(entry.campaign, user_name())
        remove_orphans(launchpad, entry.ids)
        records = bench.standing(entry.ids).records
        queued_ids = _queued_ids(launchpad, entry)
        additions = [c for c in plan.calculations if c.id not in records and c.id not in queued_ids]
        if additions:
            launchpad.add_wf(_workflow(plan, entry, _with_unrecorded_ancestors(additions, records)))
        reignite(launchpad, entry.ids)
        return Submission(entry, tuple(calculation.id for calculation in additions))


def _workflow(plan: Plan, entry: CampaignEntry, identifiers: Collection[str]) -> Workflow:
    """Return the workflow of some calculations of a plan."""
    turns = _turns(plan)
    fireworks: dict[str, Firework] = {}
    for calculation in plan.calculations:
        if calculation.id in identifiers:
            above = dict.fromkeys(parent.id for parent in calculation.parents.values())  # one may have two roles
            parents = [fireworks[identifier] for identifier in above if identifier in fireworks]
            fireworks[calculation.id] = firework(calculation, parents, turns.get(calculation.id, 0))
    metadata = {"campaign": entry.campaign, "engine": entry.engine, "method_id": entry.method_id}
    return Workflow(list(fireworks.values()), name=f"{entry.campaign} ({entry.engine})", metadata=metadata)


_LATER, _LAST = 500.0, 999.0
"""The turns of a host's further relaxations, which follow its sites, and of those for error bars, which come last."""


def _turns(plan: Plan) -> dict[str, float]:
    """Return the turns of the relaxations: the hosts in order, then the first site of each, then the second.

    What starts from the end of a relaxation has its turn.
    """
    turns: dict[str, float] = {}
    for place, host in enumerate(plan.hosts):
        for turn, calculation in enumerate(host.relaxations.values()):
            turns.setdefault(calculation.id, turn + place / len(plan.hosts))
    larger = [host.larger for host in plan.hosts if isinstance(host.larger, PlannedHost)]
    for calculation in (one for host in larger for one in host.relaxations.values()):
        turns.setdefault(calculation.id, _LAST)
    for calculation in plan.calculations:
        if KINDS[calculation.kind].relaxes and HOST in calculation.parents:
            turns.setdefault(calculation.id, _LATER)
        relaxation = calculation.parents.get("geometry")
        if relaxation is not None and relaxation.id in turns:
            turns.setdefault(calculation.id, turns[relaxation.id])
    return turns


def _queued_ids(launchpad: LaunchPad, entry: CampaignEntry) -> set[str]:
    """Return the calculations that have a firework in a workflow of this campaign."""
    workflows = launchpad.workflows.find(
        {"metadata.campaign": entry.campaign, "metadata.engine": entry.engine}, {"nodes": 1}
    )
    nodes = [node for workflow in workflows for node in workflow["nodes"]]
    fireworks = launchpad.fireworks.find({"fw_id": {"$in": nodes}}, {"spec._tasks.calculation": 1})
    return {document["spec"]["_tasks"][0]["calculation"] for document in fireworks}


def _with_unrecorded_ancestors(calculations: list[Calculation], records: Mapping[str, Any]) -> set[str]:
    identifiers: set[str] = set()

    def visit(calculation: Calculation) -> None:
        if calculation.id in identifiers or calculation.id in records:
            return
        identifiers.add(calculation.id)
        for parent in calculation.parents.values():
            visit(parent)

    for calculation in calculations:
        visit(calculation)
    return identifiers


def reignite(launchpad: LaunchPad, identifiers: Iterable[str]) -> None:
    """Put cancelled calculations back into the queue."""
    for document in launchpad.fireworks.find(ours_query(identifiers, ["DEFUSED"]), {"fw_id": 1}):
        launchpad.reignite_fw(document["fw_id"])
