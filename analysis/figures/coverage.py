"""Formation energies of ions on each host with their convex hull, and the voltage by the capacity, as one figure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..energies.coverage import CoverageResult
from ..records import MOCK
from .style import COLOURS, GREY, NORMAL, SMALL, heading, new_figure, save, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def voltage_plot(results: Mapping[str, CoverageResult], path: Path, mock: bool) -> Figure:
    """Draw hulls on the left and voltages on the right, a colour for each host.

    Parameters
    ----------
    results
        By the name of the host; each with a hull.
    path
        The file to write.
    mock
        Whether the values come from a dry run.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(10.0, 4.6)
    heading(figure, "Ions on a sheet: hull and voltage" + (f": {MOCK}" if mock else ""), mock)
    left = figure.add_axes((0.09, 0.14, 0.38, 0.72))
    right = figure.add_axes((0.58, 0.14, 0.38, 0.72))
    word = "mock " if mock else ""
    for number, (model, found) in enumerate(results.items()):
        colour = COLOURS[number % len(COLOURS)]
        counting = [one for one in found.arrangements if one.counts]
        left.scatter(
            [one.x for one in counting],
            [one.formation_energy_ev or 0.0 for one in counting],
            s=12,
            facecolors="none",
            edgecolors=colour,
        )
        left.plot(*zip(*found.corners, strict=True), color=colour, marker="o", label=model)
        if found.voltage_curve:
            right.plot(*zip(*found.voltage_curve, strict=True), color=colour, label=model)
    right.axhline(0.0, color=GREY, linewidth=0.8)
    left.set_xlabel("ions per formula unit", fontsize=NORMAL)
    left.set_ylabel(f"{word}formation energy (eV per formula unit)", fontsize=NORMAL)
    right.set_xlabel(f"{word}capacity (mAh/g)", fontsize=NORMAL)
    right.set_ylabel(f"{word}voltage against the metal (V)", fontsize=NORMAL)
    left.legend(fontsize=SMALL, frameon=False)
    return save(figure, path)
