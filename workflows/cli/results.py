"""`sodiate results`: adsorption energies and gaps, from the database or an archive."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .shared import ROOT, ArchiveOption, LaunchpadOption, RootOption, make_console, open_results, print_table


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
    model: Annotated[str | None, typer.Option("--model", "--host", help="Only this host (a model).")] = None,
    engine: Annotated[str | None, typer.Option(help="Only this engine.")] = None,
    query: Annotated[
        str | None,
        typer.Option(help="Only what matches a MongoDB query on the fields of --format json; host is model there."),
    ] = None,
    records: Annotated[bool, typer.Option("--records", help="The records themselves, one a calculation.")] = False,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.table,
) -> None:
    """Print adsorption energies and gaps from the database or an archive, or its records.

    Example: sodiate results --query '{"adsorption_energy_ev": {"$lt": -1.2}}' --format json;
    sodiate results --records --query '{"kind": "relax", "provenance.ionic_steps": {"$gt": 50}}'
    """
    from ..campaign.yaml import refuse_unknown_model
    from ..results.rows import matching, to_csv, to_json
    from ..results.tables import remark_lines, results_table
    from .status import owner_lines

    if records:
        _print_records((root, launchpad, archive), (campaign, engine, model), query, format)
        return
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
        print_table(console, results_table(rows, f"Results in {archive or launchpad or root}"))
        for line in (*owner_lines(owners, [row.campaign for row in rows]), *remark_lines(rows)):
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)


def _print_records(
    place: tuple[Path, Path | None, Path | None],
    chosen: tuple[str | None, str | None, str | None],
    query: str | None,
    format: Format,
) -> None:
    """Print records: of a root, a launchpad or an archive, and of a campaign, an engine and a host."""
    from ..campaign.yaml import refuse_unknown_model
    from ..results.recorded import matching_records, recorded, records_csv, records_json, records_table

    root, launchpad, archive = place
    campaign, engine, model = chosen
    matching_records([], query)
    with open_results(root, launchpad, archive) as source:
        if model is not None:
            names = [one.name for entry in source.entries(campaign, engine) for one in entry.models]
            refuse_unknown_model(model, names)
        found = matching_records(recorded(source, campaign, engine, model), query)
    if format is Format.json:
        print(records_json(found))
    elif format is Format.csv:
        print(records_csv(found), end="")
    else:
        print_table(make_console(), records_table(found, f"Records in {archive or launchpad or root}"))
