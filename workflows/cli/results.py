"""`sodiate results`: adsorption energies and gaps, from the database or an archive."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from .shared import ROOT, ArchiveOption, LaunchpadOption, RootOption, make_console, open_results


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"
    csv = "csv"


def results(
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    archive: ArchiveOption = None,
    campaign: Annotated[str | None, typer.Option(help="Only this campaign.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this host.")] = None,
    engine: Annotated[str | None, typer.Option(help="Only this engine.")] = None,
    query: Annotated[
        str | None,
        typer.Option(help="Only results that match a MongoDB query on the fields of --format json."),
    ] = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.table,
) -> None:
    """Print adsorption energies and gaps from the database or an archive.

    Example: sodiate results --query '{"adsorption_energy_ev": {"$lt": -1.2}}' --format json
    """
    from ..campaign.yaml import refuse_unknown_model
    from ..results.rows import matching, to_csv, to_json
    from ..results.tables import remark_lines, results_table
    from .status import owner_lines

    matching([], query)  # refuse a bad query before opening a database
    with open_results(root, launchpad, archive) as source:
        rows = source.models(campaign, engine)
        owners = {} if archive is not None else source.documents.owners()
    names = [row.model for row in rows]
    if model is not None and names:
        refuse_unknown_model(model, names)
    rows = matching([row for row in rows if model in (None, row.model)], query)
    if format is Format.json:
        print(to_json(rows))
    elif format is Format.csv:
        print(to_csv(rows), end="")
    else:
        console = make_console()
        console.print(results_table(rows, f"Results in {archive or launchpad or root}"))
        for line in (*owner_lines(owners, [row.campaign for row in rows]), *remark_lines(rows)):
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
