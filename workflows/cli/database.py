"""The commands that look after a database: status, show, redo, retry, cancel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import ROOT, LaunchpadOption, RootOption, YesOption, make_console, open_workbench

if TYPE_CHECKING:
    from rich.console import Console

    from ..database.documents import Documents


_EVERY_S = 2.0
"""Interval of `status --watch`."""

LabelArgument = Annotated[str, typer.Argument(help="A calculation's name, such as WSSe+VS/V_S@top, or its id.")]
OnlyCampaign = Annotated[str | None, typer.Option(help="The campaign meant, if several have the name.")]
OnlyEngine = Annotated[str | None, typer.Option(help="The engine meant, if several have the name.")]


def status(
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    cluster: Annotated[Path | None, typer.Option(help="Ask this cluster file's scheduler for the jobs, too.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds, until Ctrl-C.")] = False,
) -> None:
    """Show the progress of each campaign, failed, running and interrupted calculations, and their jobs.

    Example: sodiate status --watch
    """
    with open_workbench(root, launchpad) as bench:
        from .status import status_lines

        def look() -> list[str]:
            lines = status_lines(bench.documents)
            if cluster is not None:
                from ..clusters.cluster_file import load_cluster
                from ..clusters.jobs import JobBook
                from .cost_view import pack_lines
                from .status import job_lines

                cluster_file = load_cluster(cluster)
                lines += pack_lines(cluster_file) + job_lines(bench.documents, JobBook.open(bench, cluster_file))
            return lines

        console = make_console()
        if watch:
            _watch(console, look)
            return
        lines = look()
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _watch(console: Console, look: Callable[[], list[str]]) -> None:
    """Show lines that are refreshed every two seconds, until Ctrl-C."""
    from rich.live import Live
    from rich.text import Text

    with Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                live.update(Text("\n".join(look())), refresh=True)
                sleep(_EVERY_S)
        except KeyboardInterrupt:
            pass


def show(
    label: LabelArgument,
    campaign: OnlyCampaign = None,
    engine: OnlyEngine = None,
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
) -> None:
    """Show one calculation: its directory, its attempts, the last force, why it failed.

    Example: sodiate show WSSe+VS/V_S@top
    """
    with open_workbench(root, launchpad) as bench:
        from ..launch.corrections import find_calculation
        from .status import calculation_lines

        identifier = find_calculation(bench.documents, label, campaign, engine)
        lines = calculation_lines(bench, identifier)
    for line in lines:
        print(line)


def redo(
    label: LabelArgument,
    because: Annotated[str, typer.Option(help="Why; kept with the superseded records.")],
    campaign: OnlyCampaign = None,
    engine: OnlyEngine = None,
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    yes: YesOption = False,
) -> None:
    """Supersede a record and everything that follows from it; the next run computes them anew.

    Example: sodiate redo WSSe+VS --because "a better start geometry"
    """
    with open_workbench(root, launchpad) as bench:
        from ..launch.corrections import descendants, find_calculation
        from ..launch.corrections import redo as redo_calculation
        from ..launch.ownership import refuse_foreign

        identifier = find_calculation(bench.documents, label, campaign, engine)
        refuse_foreign(bench.documents, descendants(bench.documents, identifier), campaign, yes)
        _list("to be computed anew", redo_calculation(bench, identifier, because))


def retry(
    label: Annotated[
        str | None, typer.Argument(help="A calculation's name or id; all your failures without it.")
    ] = None,
    campaign: OnlyCampaign = None,
    engine: OnlyEngine = None,
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
) -> None:
    """Queue failed calculations again; the next run continues from their checkpoints.

    Example: sodiate retry WSSe+VS/V_S@top
    """
    with open_workbench(root, launchpad) as bench:
        from ..launch.corrections import retry as retry_calculations

        identifiers = _chosen(bench.documents, label, campaign, engine)
        _list("queued again", retry_calculations(bench, identifiers))


def cancel(
    label: Annotated[str | None, typer.Argument(help="A calculation's name or id; all of yours without it.")] = None,
    campaign: OnlyCampaign = None,
    engine: OnlyEngine = None,
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    yes: YesOption = False,
) -> None:
    """Take calculations out of the queue and ask running ones to stop; `run` or `retry` queues them again.

    Without a name, all of your own campaigns. Calculations that another campaign needs, too, stay, unless they are
    named.

    Example: sodiate cancel --campaign wsse
    """
    with open_workbench(root, launchpad) as bench:
        from ..launch.corrections import cancel as cancel_calculations
        from ..launch.ownership import refuse_foreign

        identifiers, keep = _chosen(bench.documents, label, campaign, engine), set()
        if label is None:
            keep = _of_others(bench.documents, campaign)
        refuse_foreign(bench.documents, [i for i in identifiers if i not in keep], campaign, yes)
        _list("cancelled", cancel_calculations(bench, identifiers, keep))


def _chosen(documents: Documents, label: str | None, campaign: str | None, engine: str | None) -> list[str]:
    from ..database.account import is_mine
    from ..launch.corrections import find_calculation

    if label is not None:
        return [find_calculation(documents, label, campaign, engine)]
    entries, owners = documents.matching_entries(campaign, engine, "the database"), documents.owners()
    if campaign is None:
        entries = [entry for entry in entries if is_mine(owners.get(entry.campaign))]
    return list(dict.fromkeys(identifier for entry in entries for identifier in entry.ids))


def _of_others(documents: Documents, campaign: str | None) -> set[str]:
    """Return the calculations of all campaigns but this one; without a name, of those that are somebody else's."""
    from ..database.account import is_mine

    owners = documents.owners()
    others = [
        entry
        for entry in documents.entries()
        if (not is_mine(owners.get(entry.campaign)) if campaign is None else entry.campaign != campaign)
    ]
    return {identifier for entry in others for identifier in entry.ids}


def _list(state: str, labels: list[str]) -> None:
    print(f"{len(labels)} {state}" + (":" if labels else "."))
    for label in labels:
        print(f"  {label}")
