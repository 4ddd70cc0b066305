"""Inputs and runs of a code as files: written to be looked at before anything is spent, or taken in afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli import CampaignArgument, EngineOption, app, make_console, open_database


@app.command()
def inputs(
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    campaign: CampaignArgument = "wsse",
    engine: EngineOption = None,
) -> None:
    """Write the inputs of every calculation, as its engine will; needs no database, no licence and no POTCARs.

    With PMG_VASP_PSP_DIR set, VASP's inputs have their POTCAR, else a POTCAR.spec that names it.

    Example: sodiate inputs wsse --engine vasp --out inputs
    """
    from .plan.planner import plan as plan_campaign
    from .plan.preview import UNRELAXED, write_inputs

    count = write_inputs(plan_campaign(campaign, engine), out)
    print(f"inputs of {count} calculations in {out}; those with a file {UNRELAXED} start elsewhere when they are run")


def import_vasp(folders: list[Path], campaign: str, root: Path, launchpad: Path | None, dry_run: bool) -> None:
    """Take runs of VASP in, and say of each what became of it; the exit code is 1 if one was refused."""
    from .database.connection import initialise
    from .database.documents import Documents
    from .plan.planner import plan as plan_campaign
    from .runner.adopt import import_runs

    planned = plan_campaign(campaign, "vasp")
    console = make_console()
    with open_database(root, launchpad, create=True) as database:
        initialise(database, database.fireworks(root / "logs"))
        documents = Documents(database.db)
        documents.add_plan(planned)
        verdicts = import_runs(folders, planned, documents, root, dry_run)
    for verdict in verdicts:
        label = verdict.calculation.label if verdict.calculation else "no calculation"
        if verdict.reasons:
            console.print(f"{verdict.folder}: {label}: refused", markup=False)
            for reason in verdict.reasons:
                console.print(f"  {reason}", markup=False, soft_wrap=True)
        else:
            console.print(f"{verdict.folder}: {label}: {verdict.recorded or 'would be recorded'}", markup=False)
    if any(verdict.reasons for verdict in verdicts):
        raise typer.Exit(1)
