"""Moving records between places: `export`, `import`, and importing the user's own runs of a code."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .shared import ROOT, LaunchpadOption, RootOption, make_console, open_workbench


def import_runs(
    folders: list[Path], campaign: str, engine: str, root: Path, launchpad: Path | None, dry_run: bool
) -> None:
    """Import runs of an engine's code, and print the outcome of each; exit with code 1 if any was refused."""
    from ..plan.planner import plan as plan_campaign
    from ..runner.adopt import adopt_runs

    plan = plan_campaign(campaign, engine)
    console = make_console()
    with open_workbench(root, launchpad, create=True) as bench:
        bench.initialise()
        bench.documents.add_plan(plan)
        verdicts = adopt_runs(folders, plan, bench.documents, bench.root, dry_run)
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


class ExportFormat(StrEnum):
    """What `export` writes."""

    archive = "archive"
    poscar = "poscar"
    cif = "cif"
    extxyz = "extxyz"
    ase_db = "ase-db"
    csv = "csv"
    cube = "cube"


def export_(
    folder: Annotated[Path, typer.Argument(help="A new folder, or an earlier archive to be replaced.")],
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    format: Annotated[ExportFormat, typer.Option(help="An archive, or the results for other programs.")] = (
        ExportFormat.archive
    ),
) -> None:
    """Write records, campaigns and the last geometries of unfinished calculations into an archive.

    Example: sodiate export archive; sodiate export structures --format cif
    """
    with open_workbench(root, launchpad) as bench:
        from ..results.archive import export_archive

        if format is not ExportFormat.archive:
            from ..results.export import write_results
            from ..results.results import Results

            results = Results(bench.documents, bench.database.title)
            print(f"{write_results(results, folder, format.value)} written as {format.value} into {folder}")
            return
        counts = export_archive(bench.documents, bench.root, folder.resolve())
    print(f"{counts.campaigns} campaigns, {counts.records} records, {counts.checkpoints} checkpoints in {folder}")


def import_(
    folders: Annotated[list[Path], typer.Argument(help="An archive made by `sodiate export`; or runs of VASP.")],
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    vasp: Annotated[bool, typer.Option("--vasp", help="The folders are finished runs of VASP.")] = False,
    campaign: Annotated[str, typer.Option(help="With --vasp: the campaign whose calculations they are.")] = "wsse",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --vasp: say what would be taken.")] = False,
) -> None:
    """Import an archive, or runs of VASP, into the database; existing records stay. `run` then continues from it.

    A run of VASP becomes a record if its settings are those that the campaign plans; else the difference is shown.

    Example: sodiate import archive --root elsewhere; sodiate import --vasp old/host old/na --campaign wsse
    """
    if vasp:
        import_runs(folders, campaign, "vasp", root.resolve(), launchpad, dry_run)
        return
    from ..campaign.yaml import InputError
    from ..results.archive import import_archive, open_archive

    if len(folders) > 1:
        raise InputError("import: one archive at a time; with --vasp, several runs.")
    (folder,) = folders
    open_archive(folder)  # check it before starting a server
    with open_workbench(root, launchpad, create=True) as bench:
        bench.initialise()
        counts = import_archive(bench.documents, bench.root, folder)
    print(f"{counts.campaigns} campaigns, {counts.records} new records, {counts.checkpoints} checkpoints taken")
