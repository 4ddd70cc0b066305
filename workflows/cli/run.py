"""`sodiate run`: a campaign from its plan to its table."""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import ROOT, CampaignArgument, EngineOption, LaunchpadOption, RootOption, make_console, open_workbench

if TYPE_CHECKING:
    from rich.console import Console

    from ..plan.graph import Plan


def run(
    campaign: CampaignArgument = "wsse",
    engine: EngineOption = None,
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    here: Annotated[
        bool, typer.Option("--here", help="Compute on this machine although it has a scheduler.")
    ] = False,
) -> None:
    """Plan a campaign, submit it, launch it, and print its adsorption energies.

    What is recorded is not computed again; what was interrupted goes on from its checkpoint. The exit code is 0 only
    if every calculation is recorded.

    Example: sodiate run wsse --root ./sodiate-runs
    """
    from ..plan.planner import plan as plan_campaign
    from ..run import run as run_session
    from .progress import show_progress

    planned = plan_campaign(campaign, engine)
    if is_physical(planned) and not here:
        _refuse_login_node(planned)
    root = root.resolve()
    console = make_console()
    announce(planned, root, console)
    with open_workbench(root, launchpad, create=True) as bench:
        report = run_session(planned, bench, partial(show_progress, console=console))
    from ..results.tables import remark_lines, results_table

    console.print(results_table(report.models, planned.campaign.spec.title or planned.campaign.spec.campaign))
    for line in remark_lines(report.models):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    for path in report.files:
        print(path)
    if report.stopped:
        print(f"Stopped by {report.stopped}; finished work is kept. Go on with the same command.", file=sys.stderr)
        raise typer.Exit(128 + signal.Signals[report.stopped].value)
    if not report.complete:
        print(
            "Not everything is recorded: `sodiate show LABEL` tells why, `sodiate retry` queues failures again.",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def is_physical(planned: Plan) -> bool:
    """Tell whether the numbers of a plan are to be real ones, and not those of a rehearsal."""
    from ..engines import make_engine
    from ..engines.base import Settings

    return make_engine(planned.campaign.spec.engine, Settings()).physical


def _refuse_login_node(planned: Plan) -> None:
    """Refuse to compute where jobs are submitted, unless the user says so."""
    from ..campaign.yaml import InputError
    from ..clusters.registry import on_login_node

    command = on_login_node()
    if command is not None:
        spec = planned.campaign.spec
        raise InputError(
            f"run: {command} is here, and this is no job of it: {spec.engine} would compute on a login node. Use "
            f"`sodiate submit {spec.campaign}` and `sodiate queue`, or say --here."
        )


def announce(planned: Plan, root: Path, console: Console) -> None:
    """Say what will be computed and where, and what was left out."""
    from ...analysis.records import MOCK

    spec = planned.campaign.spec
    console.print(
        f"{spec.campaign} with {spec.engine}: {len(planned.calculations)} calculations below {root}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for sentence in planned.dropped:
        console.print(f"{sentence}.", markup=False, highlight=False)
    if not is_physical(planned):
        console.print(f"Every number is {MOCK}.", style="bold red")
