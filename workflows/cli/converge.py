"""The command that tests convergence: a campaign for each setting until ΔE stands, table and figure."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .run import UNRECORDED, announce
from .shared import (
    ROOT,
    CampaignArgument,
    EngineOption,
    LaunchpadOption,
    RootOption,
    WorkersOption,
    make_console,
    open_workbench,
    print_table,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from ...analysis.energies.convergence import Series, Verdict
    from ..campaign.load import Campaign
    from ..database.workbench import Workbench
    from ..launch.crew import Crew
    from ..plan.convergence_study import Study

TOLERANCE_EV = 0.01

NOT_REACHED = 3
"""Exit code if everything is recorded, and a tolerance that was asked for is not shown to be reached."""


def converge(
    campaign: CampaignArgument,
    cutoff: Annotated[str | None, typer.Option(help="Cutoffs in eV.")] = None,
    kmesh: Annotated[str | None, typer.Option(help="N of the hosts' N×N k meshes.")] = None,
    smearing: Annotated[str | None, typer.Option(help="Widths of the smearing in eV.")] = None,
    vacuum: Annotated[str | None, typer.Option(help="Vacuum in Å.")] = None,
    supercell: Annotated[str | None, typer.Option(help="n of n×n supercells.")] = None,
    force: Annotated[str | None, typer.Option(help="Largest forces of relaxed geometries in eV/Å.")] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(help=f"In eV ({TOLERANCE_EV}): stop when ΔE of no site varies by more over three settings."),
    ] = None,
    relax: Annotated[
        bool, typer.Option("--relax", help="Relax at every setting, also where the campaign's geometries would do.")
    ] = False,
    model: Annotated[str | None, typer.Option("--model", "--host", help="Only this host (a model).")] = None,
    engine: EngineOption = None,
    root: RootOption = ROOT,
    launchpad: LaunchpadOption = None,
    workers: WorkersOption = None,
) -> None:
    """Find the settings at which a campaign's adsorption energies are converged, varied one at a time.

    Values are a list, first:last:step, or auto: from the campaign's own on, dearer and dearer. Goes from cheap
    to dear settings, a campaign for each, and stops when ΔE of every site varies by no more than the tolerance
    over the last three. Cutoff, k mesh, smearing and vacuum are varied at the campaign's relaxed geometries
    unless --relax is given; supercell and force relax anew. Prints which settings reach the tolerance and what
    to write into the campaign; table and figure are below ROOT/results. Run it again to continue. The exit code
    is 0 only if every calculation is recorded, and 3 if they are but a --tolerance is not reached.

    Example: sodiate converge wsse --kmesh 1,2,3 --model WSe2 --engine emt
    """
    from ..campaign.load import load_campaign
    from ..campaign.yaml import InputError
    from ..plan.convergence_study import QUANTITIES, parse_values, studies
    from ..plan.varied_campaign import one_host

    texts = dict(zip(QUANTITIES, (cutoff, kmesh, smearing, vacuum, supercell, force), strict=True))
    asked = {name: parse_values(text, f"--{name}") for name, text in texts.items() if text is not None}
    if not asked:
        raise InputError(f"converge: give one or more of {', '.join(f'--{name}' for name in QUANTITIES)}.")
    limit = TOLERANCE_EV if tolerance is None else tolerance
    if not 0 < limit < float("inf"):
        raise InputError(f"--tolerance {limit:g}: it has to be positive, in eV.")
    root = root.resolve()
    varied, name = load_campaign(campaign, engine), Path(campaign).stem
    if model is not None:
        varied, name = one_host(varied, model), f"{name}-{model}"
    planned = studies(varied, asked, relax)
    from ..engines.shared.machine import available_cores
    from ..launch.crew import hired

    most = workers or available_cores()
    with hired(varied.spec.engine, most) as crew, open_workbench(root, launchpad, create=True) as bench:
        outcome = _Outcome(varied, limit, make_console())
        for study in planned:
            if not outcome.stopped:
                outcome.compute(study, bench, crew)
    outcome.show(root / "results" / f"{name}-convergence{'-relaxed' if relax else ''}")
    raise typer.Exit(outcome.exit_code(tolerance is not None))


class _Outcome:
    """What was found, study after study."""

    def __init__(self, campaign: Campaign, tolerance_ev: float, console: Console) -> None:
        self.campaign = campaign
        self.tolerance_ev = tolerance_ev
        self.console = console
        self.complete = self.physical = True
        self.stopped = False
        self.series: list[Series] = []
        self.found: list[tuple[Study, Verdict]] = []

    def compute(self, study: Study, bench: Workbench, crew: Crew | None) -> None:
        """Run the campaigns of a study from cheap to dear, one after the other, until three settings agree."""
        from ...analysis.energies.convergence import judge
        from ..plan.convergence_study import series
        from ..run import run
        from .progress import show_progress

        for sentence in study.remarks:
            self._say(f"{sentence}.")
        results = []
        for variant in study.variants:
            announce(variant.plan, bench.root, self.console)
            report = run(variant.plan, bench, partial(show_progress, console=self.console), crew)
            results.append(report.models)
            self.complete &= report.complete
            self.physical &= all(model.physical for model in report.models)
            sites = series(study, results)
            verdict = judge(sites, self.tolerance_ev)
            if report.stopped:
                self.stopped, self.complete = True, False
                self._say(f"Stopped by {report.stopped}; go on with the same command.")
                break
            if verdict.reached:
                break
        self.series += sites
        self.found.append((study, verdict))

    def show(self, folder: Path) -> None:
        """Print the table, the verdicts and the suggestion; write the table as csv, and the figure."""
        import csv

        from ...analysis.energies.convergence import rows
        from ...analysis.figures.convergence import convergence_plot
        from ...analysis.records import MOCK
        from ..results.convergence import sentences, suggestion

        verdicts = [verdict for _, verdict in self.found]
        table = rows(self.series, verdicts, "" if self.physical else MOCK)
        print_table(self.console, _table(table, self.tolerance_ev, self.physical))
        for study, verdict in self.found:
            for sentence in sentences(study, verdict):
                self._say(f"{sentence}.")
        lines = suggestion(self.campaign, self.found)
        if lines is not None:
            self._say(f"In the campaign{'' if self.physical else f', {MOCK}'}:\n{lines.rstrip()}")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "convergence.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
        print(path)
        convergence_plot(self.series, verdicts, folder / "convergence.png", self.physical)
        print(folder / "convergence.png")

    def exit_code(self, tolerance_asked: bool) -> int:
        """Return the exit code of the command; say what to do if something is not recorded."""
        if not self.complete:
            if not self.stopped:
                print(UNRECORDED, file=sys.stderr)
            return 1
        reached = all(verdict.reached for _, verdict in self.found)
        return 0 if reached or not tolerance_asked else NOT_REACHED

    def _say(self, words: str) -> None:
        self.console.print(words, markup=False, highlight=False, soft_wrap=True)


def _table(rows: Sequence[dict[str, object]], tolerance_ev: float, physical: bool) -> Table:
    from rich.table import Table

    from ...analysis.records import MOCK

    table = Table(title="Convergence of ΔE" + ("" if physical else f"\n{MOCK}"))
    energy_head = "ΔE (eV)" + ("" if physical else " mock")
    for head in ("site", "quantity", "value", energy_head, "change (meV)", f"reaches {tolerance_ev:g} eV"):
        table.add_column(head, justify="left" if head in ("site", "quantity") else "right")
    for row in rows:
        energy, change = row["adsorption_energy_ev"], row["change_ev"]
        table.add_row(
            str(row["site"]),
            str(row["quantity"]),
            f"{row['value']:g}",
            "—" if energy is None else f"{energy:.4f}",
            "—" if change is None else f"{1000 * float(str(change)):+.1f}",
            "yes" if row["reaches_tolerance"] else "",
        )
    return table
