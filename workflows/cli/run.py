"""`sodiate run`: a campaign from its plan to its table."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import (
    ROOT,
    CampaignArgument,
    EngineOption,
    LaunchpadOption,
    RootOption,
    WorkersOption,
    YesOption,
    ahead,
    is_physical,
    make_console,
    open_workbench,
    print_table,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ..plan.graph import Plan

UNRECORDED = "Not everything is recorded: `sodiate show LABEL` tells why, `sodiate retry` queues failures again."


def run(
    campaign: CampaignArgument = "wsse",
    engine: EngineOption = None,
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    here: Annotated[
        bool, typer.Option("--here", help="Compute on this machine although it has a scheduler.")
    ] = False,
    workers: WorkersOption = None,
    yes: YesOption = False,
) -> None:
    """Plan a campaign, submit it, launch it, and print its adsorption energies.

    Recorded calculations are not computed again; interrupted ones continue from their checkpoints. The exit code is 0
    only if every calculation is recorded.

    Example: sodiate run wsse --root ./sodiate-runs
    """
    root = root.resolve()
    with ExitStack() as open_:
        wait_for_server = open_.enter_context(ahead(root, launchpad))  # before all that takes a moment to import
        console = make_console()
        from ..engines.shared.machine import available_cores
        from ..plan.planner import plan as plan_campaign

        plan = plan_campaign(campaign, engine)
        if is_physical(plan) and not here:
            _refuse_login_node(plan)
        announce(plan, root, console)
        from ..launch.crew import hired
        from ..launch.ownership import refuse_foreign_name
        from ..run import run as run_session
        from .progress import show_progress

        crew = open_.enter_context(hired(plan.campaign.spec.engine, workers or available_cores()))
        wait_for_server()
        bench = open_.enter_context(open_workbench(root, launchpad, create=True))
        refuse_foreign_name(bench.documents, plan.campaign.spec.campaign, yes)
        report = run_session(plan, bench, partial(show_progress, console=console), crew)
    from ..results.tables import remark_lines, results_table

    print_table(console, results_table(report.models, plan.campaign.spec.title or plan.campaign.spec.campaign))
    for line in remark_lines(report.models):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    for path in report.files:
        print(path)
    if report.stopped:
        print(f"Stopped by {report.stopped}; finished work is kept. Go on with the same command.", file=sys.stderr)
        raise typer.Exit(128 + signal.Signals[report.stopped].value)
    if not report.complete:
        print(UNRECORDED, file=sys.stderr)
        raise typer.Exit(1)


def _refuse_login_node(plan: Plan) -> None:
    """Refuse to compute on a machine that submits jobs."""
    from ..campaign.yaml import InputError
    from ..clusters.registry import on_login_node

    command = on_login_node()
    if command is not None:
        spec = plan.campaign.spec
        raise InputError(
            f"run: {command} is here, and this is no job of it: {spec.engine} would compute on a login node. Use "
            f"`sodiate submit {spec.campaign}` and `sodiate queue`, or say --here."
        )


def announce(plan: Plan, root: Path, console: Console) -> None:
    """Print the campaign, its number of calculations and their folder, and the quantities left out."""
    from ...analysis.records import MOCK

    spec = plan.campaign.spec
    console.print(
        f"{spec.campaign} with {spec.engine}: {len(plan.calculations)} calculations below {root}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for sentence in (*plan.remarks, *plan.dropped):
        console.print(f"{sentence}.", markup=False, highlight=False)
    if not is_physical(plan):
        console.print(f"Every number is {MOCK}.", style="bold red")
