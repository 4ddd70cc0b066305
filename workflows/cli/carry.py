"""Moving records between places: `export`, `import`, and importing the user's own runs of a code."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import (
    ROOT,
    ArchiveOption,
    LaunchpadOption,
    RootOption,
    has_database,
    make_console,
    open_results,
    open_workbench,
)

if TYPE_CHECKING:
    from rich.console import Console

    from ..results.results import Results
    from ..runner.adopt import Verdict


def import_runs(
    folders: list[Path], campaign: str, engine: str, root: Path, launchpad: Path | None, dry_run: bool
) -> None:
    """Import runs of an engine's code, and print the outcome of each; exit with code 1 if any was refused."""
    from ..plan.planner import plan as plan_campaign
    from ..runner.adopt import adopt_runs

    plan = plan_campaign(campaign, engine)
    with open_workbench(root, launchpad, create=True) as bench:
        bench.initialise()
        if not dry_run:
            bench.documents.add_plan(plan)
        _tell(adopt_runs(folders, plan, bench.documents, bench.root, dry_run), make_console())


def import_as_protocol(
    folders: list[Path], roles: list[str], file: Path, engine: str, place: tuple[Path, Path | None], dry_run: bool
) -> None:
    """Make a campaign of runs of an engine's code and record them, all or none; exit with code 1 if any is refused.

    ``place`` is the root and the launchpad file.
    """
    from contextlib import nullcontext

    from ..engines.shared.temporary import temporary_folder
    from ..runner.adopt import NoRecords
    from ..runner.campaign_of_runs import campaign_of_runs, read_runs, record_runs, try_runs
    from ..runner.sorted_runs import Refused

    console, (root, launchpad) = make_console(), place
    with temporary_folder("campaign") as scratch:
        there = has_database(root, launchpad)
        try:
            given = read_runs(folders, roles, engine)
            with open_workbench(root, launchpad) if there else nullcontext() as bench:
                records = bench.documents if bench is not None else NoRecords()
                found = campaign_of_runs(given, engine, file, records, scratch)
                verdicts = try_runs(found, records, root)
            if not dry_run:  # what is refused leaves nothing behind, no database either
                with open_workbench(root, launchpad, create=True) as bench:
                    verdicts = record_runs(found, file, bench)
        except Refused as error:
            for folder, reasons in error.reasons.items():
                console.print(f"{folder}: refused", markup=False)
                for reason in reasons:
                    console.print(f"  {reason}", markup=False, soft_wrap=True)
            console.print(
                "Nothing was imported: leave these out, or import them with their like as another campaign.",
                markup=False,
            )
            raise typer.Exit(1) from None
    _tell(verdicts, console)
    for remark in found.remarks:
        console.print(f"{remark}.", markup=False, soft_wrap=True)
    words = "would be written" if dry_run else f"the campaign; see `sodiate results --campaign {file.stem}`"
    console.print(f"{file}: {words}", markup=False, soft_wrap=True)


def _tell(verdicts: list[Verdict], console: Console) -> None:
    """Print the outcome of each run; exit with code 1 if any was refused."""
    for verdict in verdicts:
        label = verdict.calculation.label if verdict.calculation else "no calculation"
        if verdict.reasons:
            console.print(f"{verdict.folder}: {label}: refused", markup=False)
            for reason in verdict.reasons:
                console.print(f"  {reason}", markup=False, soft_wrap=True)
        else:
            words = verdict.recorded or "would be recorded"
            console.print(f"{verdict.folder}: {label}: {words}", markup=False, soft_wrap=True)
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
    ro_crate = "ro-crate"
    optimade = "optimade"
    nomad = "nomad"


def export_(
    folder: Annotated[Path, typer.Argument(help="A new folder, or an earlier archive to be replaced.")],
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    format: Annotated[ExportFormat, typer.Option(help="An archive, or the results for other programs.")] = (
        ExportFormat.archive
    ),
    archive: ArchiveOption = None,
    campaign: Annotated[str | None, typer.Option(help="Only this campaign; not for an archive.")] = None,
    license: Annotated[
        str | None,
        typer.Option(help="For ro-crate: the licence of what you publish, as in SPDX (CC-BY-4.0) or an address."),
    ] = None,
    author: Annotated[
        list[str] | None, typer.Option(help="For ro-crate: 'NAME', or 'NAME https://orcid.org/…'; several times.")
    ] = None,
) -> None:
    """Write records, campaigns and the last geometries of unfinished calculations into an archive.

    Or write results for other programs, and what is published: ro-crate (records, inputs and provenance in words of
    schema.org), optimade (structures as JSON), nomad (a folder to upload). Dry runs are never published.

    Example: sodiate export archive; sodiate export structures --format cif; sodiate export crate --format ro-crate
    --license CC-BY-4.0 --author 'Ada Lovelace'
    """
    from ..campaign.yaml import InputError

    if format is not ExportFormat.ro_crate and (license or author):
        raise InputError("export: --license and --author go into an RO-Crate: --format ro-crate.")
    if format is not ExportFormat.archive:
        with open_results(root, launchpad, archive) as results:
            here = None if archive is not None else root.resolve()
            if format is ExportFormat.ro_crate:
                from ..results.crate import Author, write_crate

                people = [Author.read(text) for text in author or []]
                print(write_crate(results, here, folder, campaign, license, people))
            else:
                print(_written(results, here, folder, format, campaign))
        return
    if archive is not None or campaign is not None:
        raise InputError(
            "export: an archive has all campaigns of a database; --archive and --campaign need --format."
        )
    with open_workbench(root, launchpad) as bench:
        from ..results.archive import export_archive

        counts = export_archive(bench.documents, bench.root, folder.resolve())
    print(f"{counts.campaigns} campaigns, {counts.records} records, {counts.checkpoints} checkpoints in {folder}")


def _written(results: Results, root: Path | None, folder: Path, format: ExportFormat, campaign: str | None) -> str:
    """Write results into a folder in a format; return a sentence about it."""
    if format is ExportFormat.optimade:
        from ..results.optimade import write_optimade

        return write_optimade(results, folder, campaign)
    if format is ExportFormat.nomad:
        from ..results.nomad import write_nomad

        return write_nomad(results, root, folder, campaign)
    from ..results.export import write_results

    return f"{write_results(results, folder, format.value, campaign)} written as {format.value} into {folder}"


def import_(
    folders: Annotated[list[Path], typer.Argument(help="An archive made by `sodiate export`; or runs of VASP.")],
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    vasp: Annotated[bool, typer.Option("--vasp", help="The folders are finished runs of VASP.")] = False,
    as_protocol: Annotated[
        bool, typer.Option("--as-protocol", help="With --vasp: the protocol is that of the runs, which must agree.")
    ] = False,
    campaign: Annotated[
        str | None,
        typer.Option(
            help="With --vasp: the campaign whose calculations they are (wsse); with --as-protocol: the file to "
            "write or to add to (imported.yaml)."
        ),
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="With --as-protocol, where it cannot be told: FOLDER=host, site, atom, bulk or dos."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --vasp: say what would be taken.")] = False,
) -> None:
    """Import an archive, or runs of VASP, into the database; existing records stay. `run` then continues from it.

    A run of VASP becomes a record if its settings are those that the campaign plans; else the difference is shown.
    With --as-protocol, runs that agree among each other become a campaign of their own.

    Example: sodiate import archive --root elsewhere; sodiate import --vasp old/host old/na --campaign wsse
    """
    if vasp and as_protocol:
        file = Path(campaign or "imported")
        file = file if file.suffix in (".yaml", ".yml") else file.with_name(f"{file.name}.yaml")
        import_as_protocol(folders, role or [], file, "vasp", (root.resolve(), launchpad), dry_run)
        return
    if vasp:
        import_runs(folders, campaign or "wsse", "vasp", root.resolve(), launchpad, dry_run)
        return
    from ..campaign.yaml import InputError
    from ..results.archive import import_archive, open_archive

    if as_protocol or role:
        raise InputError("import: --as-protocol and --role are for runs of a code: say --vasp, too.")
    if len(folders) > 1:
        raise InputError("import: one archive at a time; with --vasp, several runs.")
    (folder,) = folders
    open_archive(folder)  # check it before starting a server
    with open_workbench(root, launchpad, create=True) as bench:
        bench.initialise()
        counts = import_archive(bench.documents, bench.root, folder)
    print(f"{counts.campaigns} campaigns, {counts.records} new records, {counts.checkpoints} checkpoints taken")
