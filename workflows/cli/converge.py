"""The command that tests convergence: run a campaign for each setting, then write their table and figure."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .run import announce
from .shared import ROOT, CampaignArgument, EngineOption, LaunchpadOption, RootOption, make_console, open_workbench

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from ...analysis.figures.convergence import Series
    from ...analysis.model_result import ModelResult


def converge(
    campaign: CampaignArgument,
    cutoff: Annotated[str | None, typer.Option(help="Cutoffs in eV: first:last:step, or a list.")] = None,
    kmesh: Annotated[str | None, typer.Option(help="N of the hosts' N×N k meshes: a list.")] = None,
    model: Annotated[str | None, typer.Option(help="Only this host.")] = None,
    engine: EngineOption = None,
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
) -> None:
    """Compute a campaign's adsorption energies at several cutoffs and k meshes, varied separately.

    Runs a campaign for each setting, writes table and figure below ROOT/results, and prints the changes against the
    last setting. Run it again to continue. The exit code is 0 only if every calculation is recorded.

    Example: sodiate converge wsse --kmesh 1,2,3 --model WSe2 --engine emt
    """
    from ..campaign.load import load_campaign
    from ..campaign.yaml import InputError
    from ..plan.convergence_study import one_host, parse_values, series, variants
    from ..run import run
    from .progress import show_progress

    cutoffs = parse_values(cutoff, "--cutoff") if cutoff else ()
    meshes = parse_values(kmesh, "--kmesh") if kmesh else ()
    if not (cutoffs or meshes):
        raise InputError("converge: give --cutoff, --kmesh or both.")
    root = root.resolve()
    varied, name = load_campaign(campaign, engine), Path(campaign).stem
    if model is not None:
        varied, name = one_host(varied, model), f"{name}-{model}"
    folder = root / "results" / f"{name}-convergence"
    settings = list(variants(varied, cutoffs, meshes))
    console = make_console()
    complete, physical = True, True
    results: dict[str, list[tuple[float, Sequence[ModelResult]]]] = {}
    with open_workbench(root, launchpad, create=True) as bench:
        for variant in settings:
            announce(variant.plan, root, console)
            report = run(variant.plan, bench, partial(show_progress, console=console))
            results.setdefault(variant.quantity, []).append((variant.value, report.models))
            complete &= report.complete
            physical &= all(model.physical for model in report.models)
            if report.stopped:
                console.print(f"Stopped by {report.stopped}; go on with the same command.", markup=False)
                break
    all_series = [site for quantity, values in results.items() for site in series(quantity, values)]
    _show(all_series, folder, physical, console)
    raise typer.Exit(0 if complete and sum(map(len, results.values())) == len(settings) else 1)


def _show(all_series: Sequence[Series], folder: Path, physical: bool, console: Console) -> None:
    """Print the table; write it as csv and the figure beside the campaigns."""
    import csv

    from ...analysis.figures.convergence import convergence_plot, rows

    table = rows(all_series, physical)
    console.print(_table(table, physical))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "convergence.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    print(path)
    convergence_plot(all_series, folder / "convergence.png", physical)
    print(folder / "convergence.png")


def _table(rows: Sequence[dict[str, object]], physical: bool) -> Table:
    from rich.table import Table

    from ...analysis.records import MOCK

    table = Table(title="Convergence of ΔE" + ("" if physical else f"\n{MOCK}"))
    for head in ("site", "quantity", "value", "ΔE (eV)" + ("" if physical else " mock"), "change (meV)"):
        table.add_column(head, justify="left" if head in ("site", "quantity") else "right")
    for row in rows:
        energy, change = row["adsorption_energy_ev"], row["change_ev"]
        table.add_row(
            str(row["site"]),
            str(row["quantity"]),
            f"{row['value']:g}",
            "—" if energy is None else f"{energy:.4f}",
            "—" if change is None else f"{1000 * float(str(change)):+.1f}",
        )
    return table
