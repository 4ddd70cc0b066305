"""The command that writes the inputs of a campaign, to be looked at before anything is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli import CampaignArgument, EngineOption, app


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
    from .plan import plan as plan_campaign
    from .writing import UNRELAXED, write_inputs

    count = write_inputs(plan_campaign(campaign, engine), out)
    print(f"inputs of {count} calculations in {out}; those with a file {UNRELAXED} start elsewhere when they are run")
