"""Shared parts of the commands: options, the console, opening a database or an archive."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..database.workbench import Workbench
    from ..plan.graph import Plan
    from ..results.results import Results

CampaignArgument = Annotated[str, typer.Argument(help="A bundled campaign (wsse) or a campaign file.")]
EngineOption = Annotated[str | None, typer.Option(help="Run with this engine instead of the campaign's.")]
RootOption = Annotated[
    Path, typer.Option(help="Folder of the calculations and, without --launchpad, of a private database.")
]
LaunchpadOption = Annotated[
    Path | None, typer.Option(help="Use the MongoDB of this FireWorks launchpad file (my_launchpad.yaml).")
]
ArchiveOption = Annotated[Path | None, typer.Option(help="Read an archive made by `sodiate export`.")]
ClassesOption = Annotated[Path | None, typer.Option("--cluster", help="Say CPU-hours by class of this file, too.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Also where it is somebody else's campaign.")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        min=1, help="Compute at most this many calculations at once; by default as many as there are cores."
    ),
]
ROOT = Path("sodiate-runs")


def make_console() -> Console:
    """Return the console of a command, 160 columns wide if it is no terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=160)


def print_table(console: Console, table: Table) -> None:
    """Print a table; where it does not fit, one row below the other, with a line for each column: none is lost."""
    from rich.cells import cell_len

    lines = "".join(segment.text for segment in console.render(table)).splitlines()
    crowded = len(lines) > _MOST_LINES_A_ROW * (table.row_count + 2)
    if table.row_count and (crowded or any(cell_len(line) > console.width for line in lines)):
        _print_rows(console, table)
    else:
        console.print(table)


_MOST_LINES_A_ROW = 5
"""Of a table: beyond, words are cut into syllables."""


def _print_rows(console: Console, table: Table) -> None:
    from rich.text import Text

    console.print(table.title or "")
    cells = [(str(column.header), list(column.cells)) for column in table.columns]
    for row in range(table.row_count):
        console.print()
        for head, values in cells:
            console.print(Text.assemble((head, "bold"), f"  {values[row]}"))


def is_physical(plan: Plan) -> bool:
    """Tell whether the engine of a plan gives physical numbers, not those of a dry run."""
    from ..engines import make_engine
    from ..engines.base import Settings

    return make_engine(plan.campaign.spec.engine, Settings()).physical


def has_database(root: Path, launchpad: Path | None) -> bool:
    """Tell whether there is something to open: a user's own launchpad, or a root in which something was run."""
    return launchpad is not None or (root / "mongod").is_dir()


@contextmanager
def ahead(root: Path, launchpad: Path | None) -> Iterator[Callable[[], None]]:
    """Start the server of a root, if it is to be a private one, while a command plans; yield what waits for it."""
    if launchpad is not None:
        yield lambda: None
        return
    from ..database.mongod import mongod_ahead

    with mongod_ahead(root) as wait:
        yield wait


@contextmanager
def open_workbench(root: Path, launchpad: Path | None, create: bool = False) -> Iterator[Workbench]:
    """Open the workbench of a command; import heavy modules inside the block, so that a wrong root fails at once."""
    from ..campaign.yaml import InputError

    if not create and not has_database(root, launchpad):
        raise InputError(f"{root} is no root of sodiate: nothing was run there. See --root and --launchpad.")
    from ..database.connection import open_launchpad, open_root

    with open_root(root) if launchpad is None else open_launchpad(launchpad) as database:
        from ..database.connection import is_exposed
        from ..database.workbench import Workbench

        if root.is_dir() and root.stat().st_mode & 0o002:
            print(
                f"Warning: everybody may write into {root}, and so change results: chmod o-w {root}", file=sys.stderr
            )
        if launchpad is not None and is_exposed(launchpad, database.settings):
            print(
                f"Warning: {launchpad} holds a password, and other users may read it: chmod 600 {launchpad}",
                file=sys.stderr,
            )
        bench = Workbench(database, root.resolve())
        try:
            yield bench
        finally:
            bench.close()


@contextmanager
def open_results(root: Path, launchpad: Path | None, archive: Path | None) -> Iterator[Results]:
    """Open the results of an archive, or of a database as `open_workbench` does."""
    if archive is None:
        with open_workbench(root, launchpad) as bench:
            from ..results.results import Results

            yield Results(bench.documents, bench.database.title)
        return
    from ..campaign.yaml import InputError
    from ..results.archive import open_archive
    from ..results.results import Results

    if launchpad is not None:
        raise InputError("--launchpad and --archive: results come from one of them.")
    yield Results(open_archive(archive), str(archive))
