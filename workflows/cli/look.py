"""Commands to look at a campaign before it runs: its inputs, its plan, its structures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import (
    ROOT,
    CampaignArgument,
    EngineOption,
    LaunchpadOption,
    RootOption,
    has_database,
    make_console,
    open_workbench,
)

if TYPE_CHECKING:
    from ..plan.graph import Plan


def inputs(
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    campaign: CampaignArgument = "wsse",
    engine: EngineOption = None,
) -> None:
    """Write the inputs of every calculation, as its engine will; needs no database, no licence and no POTCARs.

    With PMG_VASP_PSP_DIR set, VASP's inputs have their POTCAR, else a POTCAR.spec that names it.

    Example: sodiate inputs wsse --engine vasp --out inputs
    """
    from ..plan.planner import plan as plan_campaign
    from ..plan.preview import UNRELAXED, write_inputs

    count = write_inputs(plan_campaign(campaign, engine), out)
    print(f"inputs of {count} calculations in {out}; those with a file {UNRELAXED} start elsewhere when they are run")


def plan(
    campaign: CampaignArgument = "wsse",
    engine: EngineOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Say what is recorded and what is new.")] = False,
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
) -> None:
    """Print the graph of a campaign's calculations; needs no database (except with --diff).

    Example: sodiate plan wsse --diff
    """
    from ..plan.planner import plan as plan_campaign
    from .plan_view import plan_objects, plan_tree

    graph = plan_campaign(campaign, engine)
    states = _states(graph, root, launchpad) if diff else None
    if as_json:
        import json

        content = plan_objects(graph)
        if states is not None:
            for calculation in content["calculations"]:
                calculation["state"] = states[calculation["id"]]
        print(json.dumps(content, indent=1))
        return
    console = make_console()
    console.print(plan_tree(graph, states))
    for sentence in (*graph.remarks, *graph.dropped, *graph.declaration.lines()):
        console.print(f"{sentence}.", markup=False, highlight=False)
    if graph.not_applicable:
        keys = ", ".join(graph.not_applicable)
        console.print(f"not applicable to {graph.campaign.spec.engine}: {keys}.", markup=False, highlight=False)
    if states is not None:
        new = sum(state != "done" for state in states.values())
        console.print(f"{len(states) - new} done, {new} new or to be done again.", highlight=False)


def _states(graph: Plan, root: Path, launchpad: Path | None) -> dict[str, str]:
    """Return ``done``, ``new`` or the reason why it has to be computed again, by calculation id."""
    ids = [calculation.id for calculation in graph.calculations]
    if not has_database(root, launchpad):
        return dict.fromkeys(ids, "new")
    with open_workbench(root, launchpad) as bench:
        reasons = bench.standing(ids).reasons
    return {i: reasons[i].replace("not yet run", "new") if i in reasons else "done" for i in ids}


def structures(
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    campaign: CampaignArgument = "wsse",
    engine: EngineOption = None,
) -> None:
    """Write the start geometry of every host and site as POSCAR, CIF and extxyz; needs no database.

    Example: sodiate structures wsse --out structures
    """
    from ..plan.planner import plan as plan_campaign
    from ..plan.preview import write_structures

    graph = plan_campaign(campaign, engine)
    count = write_structures(graph, out)
    for sentence in graph.remarks:
        print(f"{sentence}.")
    print(f"{count} structures, each as POSCAR, CIF and extxyz, in {out}")
