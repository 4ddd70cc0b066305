"""The commands that write a page of results, and the supplement of a manuscript."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .shared import ROOT, ArchiveOption, LaunchpadOption, RootOption, open_results


def report(
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    archive: ArchiveOption = None,
    campaign: Annotated[list[str] | None, typer.Option(help="Only this campaign; may be repeated.")] = None,
    engine: Annotated[str | None, typer.Option(help="Only this engine.")] = None,
) -> None:
    """Write a page with tables, figures and structures that works from a file, offline.

    Example: sodiate report --archive docs/reproduction --out report.html
    """
    from ...analysis.report.page import render
    from ..engines.shared.files import write_bytes
    from ..results.report_data import gather

    with open_results(root, launchpad, archive) as results:
        groups = gather(results, campaign or (), engine)
    page = render(f"Results in {(archive or launchpad or root).name}", groups).encode()
    write_bytes(out, page)
    noun = "campaign" if len(groups) == 1 else "campaigns"
    print(f"{out}: {len(groups)} {noun}, {len(page) / 1e6:.1f} MB; open it in a browser")


def si(
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    archive: ArchiveOption = None,
    campaign: Annotated[str | None, typer.Option(help="Of this campaign.")] = None,
    engine: Annotated[str | None, typer.Option(help="Of this engine.")] = None,
    method: Annotated[str | None, typer.Option(help="Of this method, if there are several.")] = None,
) -> None:
    """Write the supplement of a manuscript: methods, tables, references, structures, vector figures.

    Example: sodiate si --archive docs/reproduction --campaign wsse-gpaw --out si
    """
    from ..results.supplement import write_supplement

    with open_results(root, launchpad, archive) as results:
        names = write_supplement(results, out, campaign, engine, method)
    print(f"{len(names)} files in {out}:")
    for name in names:
        print(f"  {name}")
