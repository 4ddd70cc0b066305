"""How an adsorption energy changes with a setting, and which settings reach the tolerance, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..energies.convergence import Series, Verdict
from ..records import MOCK
from .style import COLOURS, GREY, NORMAL, SMALL, heading, new_figure, save, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AXES = {
    "cutoff": "cutoff (eV)",
    "kmesh": "N of the N×N k mesh",
    "vacuum": "vacuum (Å)",
    "supercell": "n of the n×n cells",
    "smearing": "width of the smearing (eV)",
    "force": "largest force (eV/Å)",
}

_FAR = 10
"""Tolerances: what lies further out is drawn on a logarithmic axis, so that the band can still be seen."""


@styled
def convergence_plot(series: Sequence[Series], verdicts: Sequence[Verdict], path: Path, physical: bool) -> Figure:
    """Draw the change of ΔE against the last setting with the tolerance as a band, a panel for each quantity.

    Dearer settings are on the right. A dotted line marks the cheapest setting that reaches the tolerance.

    Parameters
    ----------
    series
        At least one of each quantity.
    verdicts
        One of each quantity.
    path
        The PNG to write.
    physical
        False for a dry run, whose figure is marked as mock.
    """
    figure = new_figure(5.4 * len(verdicts), 4.6)
    heading(figure, "Convergence of ΔE" if physical else f"Convergence of ΔE: {MOCK}", not physical)
    for index, verdict in enumerate(verdicts):
        axes = figure.add_subplot(1, len(verdicts), index + 1)
        _panel(axes, [site for site in series if site.quantity == verdict.quantity], verdict)
    figure.subplots_adjust(left=0.95 / (5.4 * len(verdicts)), right=0.98, bottom=0.14, top=0.88, wspace=0.25)
    return save(figure, path)


def _panel(axes: Axes, sites: Sequence[Series], verdict: Verdict) -> None:
    band = verdict.tolerance_ev * 1000
    low, high = -band, band
    for number, site in enumerate(sites):
        changes = zip(site.settings, site.changes_ev(), strict=True)
        points = [(setting.value, change * 1000) for setting, change in changes if change is not None]
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[number % len(COLOURS)], label=site.label)
            low, high = min(low, *(change for _, change in points)), max(high, *(change for _, change in points))
    axes.axhspan(-band, band, color=GREY, alpha=0.15, linewidth=0, label=f"±{verdict.tolerance_ev:g} eV")
    axes.axhline(0.0, color="black", linewidth=0.6)
    if verdict.reached:
        axes.axvline(verdict.reached[0], color=GREY, linestyle=":", label=f"reached from {verdict.reached[0]:g} on")
    values = [setting.value for setting in sites[0].settings]
    if values[-1] < values[0]:
        axes.set_xscale("log")
        axes.invert_xaxis()
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.set_xticks([], minor=True)
    far = max(-low, high) > _FAR * band
    if far:
        axes.set_yscale("symlog", linthresh=band)
        axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(*(edge * (2 if far else 1.1) for edge in (low, high)))
    axes.set_xlabel(AXES[verdict.quantity], fontsize=NORMAL)
    axes.set_ylabel("change of ΔE against the last (meV)", fontsize=NORMAL)
    axes.legend(fontsize=SMALL, frameon=False)
