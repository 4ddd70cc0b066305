"""The command line."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from .. import SodiateError, __version__

if TYPE_CHECKING:
    from rich.console import Console

    from .database.connection import Database
    from .plan.graph import Plan
    from .store import Results

app = typer.Typer(
    help="DFT of sodium on two-dimensional electrodes: one campaign file, run dry, with GPAW, or with VASP.\n\n"
    "Example: sodiate run wsse",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

CampaignArgument = Annotated[str, typer.Argument(help="A bundled campaign (wsse) or a campaign file.")]
EngineOption = Annotated[str | None, typer.Option(help="Run with this engine instead of the campaign's.")]
RootOption = Annotated[
    Path, typer.Option(help="Folder of the calculations and, without --launchpad, of a private database.")
]
LaunchpadOption = Annotated[
    Path | None, typer.Option(help="Use the MongoDB of this FireWorks launchpad file (my_launchpad.yaml).")
]
ROOT = Path("sodiate-runs")


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    json = "json"
    csv = "csv"


def main() -> NoReturn:
    """Run the command line: a user's mistake is one message and exit code 2, never a traceback."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        app()
    except SodiateError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # the reader of a pipe (head, less) left
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"Error: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(0)


def make_console() -> Console:
    """Return the console of a command, wide where it is no terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    return console


@contextmanager
def open_database(root: Path, launchpad: Path | None, create: bool = False) -> Iterator[Database]:
    """Open what a command works on; callers import the heavy rest inside, so that a wrong root is told at once."""
    from .campaign.yaml import InputError

    if launchpad is None and not create and not (root / "mongod").is_dir():
        raise InputError(f"{root} is no root of sodiate: nothing was run there. See --root and --launchpad.")
    from .database.connection import open_launchpad, open_root

    if launchpad is not None:
        with open_launchpad(launchpad) as database:
            yield database
        return
    with open_root(root) as database:
        yield database


@contextmanager
def open_results(root: Path, launchpad: Path | None, archive: Path | None) -> Iterator[Results]:
    """Open an archive, or what `open_database` opens, as results."""
    from contextlib import ExitStack

    if archive is None:
        with open_database(root, launchpad) as database:
            from .database.documents import Documents
            from .store import Results

            yield Results(Documents(database.db), ExitStack(), database.title)
        return
    from .archive import open_archive
    from .campaign.yaml import InputError
    from .store import Results

    if launchpad is not None:
        raise InputError("--launchpad and --archive: results come from one of them.")
    yield Results(open_archive(archive), ExitStack(), str(archive))


def _version(value: bool) -> None:
    if value:
        print(f"sodiate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    """Hold the options of every command."""


@app.command()
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
    from .plan.planner import plan as plan_campaign
    from .run import run as run_session
    from .run import show_progress

    planned = plan_campaign(campaign, engine)
    if planned.campaign.spec.engine != "emt" and not here:
        _refuse_login_node(planned)
    root = root.resolve()
    console = make_console()
    announce(planned, root, console)
    with open_database(root, launchpad, create=True) as database:
        ran = run_session(planned, database, root, partial(show_progress, console=console))
    from .tables import as_objects, remark_lines, results_table

    objects = as_objects(ran.models)
    console.print(results_table(objects, planned.campaign.spec.title or planned.campaign.spec.campaign))
    for line in remark_lines(objects):
        console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    for path in ran.files:
        print(path)
    if ran.stopped:
        print(f"Stopped by {ran.stopped}; finished work is kept. Go on with the same command.", file=sys.stderr)
        raise typer.Exit(128 + signal.Signals[ran.stopped].value)
    if not ran.complete:
        print(
            "Not everything is recorded: `sodiate show LABEL` tells why, `sodiate retry` queues failures again.",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def _refuse_login_node(planned: Plan) -> None:
    """Refuse to compute where jobs are submitted, unless the user says so."""
    from .campaign.yaml import InputError
    from .schedulers import on_login_node

    found = on_login_node()
    if found is not None:
        spec = planned.campaign.spec
        raise InputError(
            f"run: {found} is here, and this is no job of it: {spec.engine} would compute on a login node. Use "
            f"`sodiate submit {spec.campaign}` and `sodiate queue`, or say --here."
        )


def announce(planned: Plan, root: Path, console: Console) -> None:
    """Say what will be computed and where, and what was left out."""
    from ..analysis.records import MOCK

    spec = planned.campaign.spec
    console.print(
        f"{spec.campaign} with {spec.engine}: {len(planned.calculations)} calculations below {root}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    for sentence in planned.dropped:
        console.print(f"{sentence}.", markup=False, highlight=False)
    if spec.engine == "emt":
        console.print(f"Every number is {MOCK}.", style="bold red")


@app.command()
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
    from .plan.planner import plan as plan_campaign
    from .tables import plan_objects, plan_tree

    planned = plan_campaign(campaign, engine)
    states = _states(planned, root, launchpad) if diff else None
    if as_json:
        import json

        content = plan_objects(planned)
        if states is not None:
            for one in content["calculations"]:
                one["state"] = states[one["id"]]
        print(json.dumps(content, indent=1))
        return
    console = make_console()
    console.print(plan_tree(planned, states))
    for sentence in planned.dropped:
        console.print(f"{sentence}.", markup=False, highlight=False)
    for line in planned.tags.lines():
        console.print(f"{line}.", markup=False, highlight=False)
    if planned.not_applicable:
        keys = ", ".join(planned.not_applicable)
        console.print(f"not applicable to {planned.campaign.spec.engine}: {keys}.", markup=False, highlight=False)
    if states is not None:
        new = sum(state != "done" for state in states.values())
        console.print(f"{len(states) - new} done, {new} new or to be done again.", highlight=False)


def _states(planned: Plan, root: Path, launchpad: Path | None) -> dict[str, str]:
    """Return ``done``, ``new`` or why it is to be done again, by calculation id."""
    ids = [calculation.id for calculation in planned.calculations]
    if launchpad is None and not (root / "mongod").is_dir():
        return dict.fromkeys(ids, "new")
    from .database.documents import Documents
    from .database.usable import missing_reasons, usable

    with open_database(root, launchpad) as database:
        documents = Documents(database.db)
        records, stale = usable(documents, ids)
        reasons = missing_reasons(documents, ids, records, stale)
    return {i: "done" if i in records else reasons[i].replace("not yet run", "new") for i in ids}


@app.command()
def structures(
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    campaign: CampaignArgument = "wsse",
    engine: EngineOption = None,
) -> None:
    """Write the start geometry of every host and site as POSCAR, CIF and extxyz; needs no database.

    Example: sodiate structures wsse --out structures
    """
    from .plan.planner import plan as plan_campaign
    from .plan.preview import write_structures

    count = write_structures(plan_campaign(campaign, engine), out)
    print(f"{count} structures, each as POSCAR, CIF and extxyz, in {out}")


@app.command()
def results(
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    archive: Annotated[Path | None, typer.Option(help="Read an archive made by `sodiate export`.")] = None,
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
    from .campaign.yaml import InputError, nearest
    from .tables import as_objects, matching, remark_lines, results_table, to_csv, to_json

    matching([], query)
    with open_results(root, launchpad, archive) as found:
        objects = as_objects(found.models(campaign, engine))
    names = [one["model"] for one in objects]
    if model is not None and names and model not in names:
        raise InputError(f"no model {model!r}{nearest(model, names)}; models: {', '.join(dict.fromkeys(names))}.")
    objects = matching([one for one in objects if model in (None, one["model"])], query)
    if format is Format.json:
        print(to_json(objects))
    elif format is Format.csv:
        print(to_csv(objects), end="")
    else:
        console = make_console()
        console.print(results_table(objects, f"Results in {archive or launchpad or root}"))
        for line in remark_lines(objects):
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
