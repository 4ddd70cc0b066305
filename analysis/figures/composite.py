"""One figure for a manuscript, as the paper's Figure 5: sheets with Δρ, adsorption energies, densities of states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context

from ..arrays import Density, Dos
from ..energies.paper import paper
from ..records import MOCK, BandGap
from .plots import WINDOW_EV, AdsorptionBar, projected_weights
from .style import BLUE, COLOURS, GREY, VERMILLION, new_figure, save, styled

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTHS_MM: Mapping[str, float] = {"single": 89.0, "double": 183.0}
"""Widths of a column and of two, as most journals have them."""

_POINTS = 7.0
"""Size of letters: journals want 5 to 8 pt at the final width."""

_GAINED, _LOST = COLOURS[4], COLOURS[5]


@dataclass(frozen=True)
class HostPanels:
    """What the figure shows of a host.

    Attributes
    ----------
    model
        Its name, as it is written.
    atoms
        Of its best site, or of itself; None without any.
    difference
        Δρ of the best site, e/Å³; None if there is none.
    bar
        Its adsorption energy.
    dos, gap
        Its density of states and gap; None without.
    """

    model: str
    atoms: Atoms | None
    difference: Density | None
    bar: AdsorptionBar
    dos: Dos | None
    gap: BandGap | None


@styled
def composite(hosts: Sequence[HostPanels], path: Path, mock: bool, width_mm: float) -> Figure:
    """Draw all hosts in one figure, its panels lettered from a.

    Parameters
    ----------
    hosts
        A sheet, a bar and a density of states for each, in this order.
    path
        The pdf, svg or png to write.
    mock
        Whether the values come from a dry run, which the figure then says; published values are left out.
    width_mm
        Of the figure.
    """
    with rc_context(
        {
            "font.size": _POINTS,
            "axes.labelsize": _POINTS,
            "axes.linewidth": 0.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "xtick.major.width": 0.5,
            "ytick.major.width": 0.5,
            "xtick.major.size": 2.0,
            "ytick.major.size": 2.0,
            "hatch.linewidth": 0.4,
        }
    ):
        across = min(len(hosts), 5 if width_mm > 120 else 3)
        sheets = [host for host in hosts if host.atoms is not None]
        with_dos = [host for host in hosts if host.dos is not None]
        rows_of_sheets, dos_across = -(-len(sheets) // across), min(3 if width_mm > 120 else 1, max(len(with_dos), 1))
        rows_of_dos = -(-len(with_dos) // dos_across)
        heights_mm = [24.0] * rows_of_sheets + [44.0] + [30.0] * rows_of_dos
        height_mm = 1.3 * sum(heights_mm) + 20.0
        figure = new_figure(width_mm / 25.4, height_mm / 25.4)
        grid = figure.add_gridspec(len(heights_mm), 1, height_ratios=heights_mm, hspace=0.5)
        figure.subplots_adjust(
            left=14 / width_mm, right=1 - 2 / width_mm, top=1 - 9 / height_mm, bottom=13 / height_mm
        )
        letters = iter(ascii_lowercase)
        for row in range(rows_of_sheets):
            cells = grid[row].subgridspec(1, across, wspace=0.08)
            for cell, host in zip(range(across), sheets[row * across :], strict=False):
                _sheet(_lettered(figure.add_subplot(cells[cell]), letters), host)
        _energies(_lettered(figure.add_subplot(grid[rows_of_sheets]), letters), [host.bar for host in hosts], mock)
        curves = _curves(with_dos)
        for row in range(rows_of_dos):
            cells = grid[rows_of_sheets + 1 + row].subgridspec(1, dos_across, wspace=0.32)
            for cell, host in zip(range(dos_across), with_dos[row * dos_across :], strict=False):
                _density_of_states(_lettered(figure.add_subplot(cells[cell]), letters), host, curves, mock)
        if with_dos:
            drawn = [axes.get_legend_handles_labels() for axes in figure.axes[-len(with_dos) :]]
            lines = {name: line for lines, names in drawn for line, name in zip(lines, names, strict=True)}
            figure.legend(
                lines.values(), lines.keys(), frameon=False, loc="lower center", ncols=len(lines), handlelength=1.2
            )
        if mock:
            figure.suptitle(MOCK, y=0.995, va="top", fontsize=_POINTS, color=VERMILLION, weight="bold")
        return save(figure, path)


def _lettered(axes: Axes, letters: Iterator[str]) -> Axes:
    axes.annotate(
        next(letters), (0, 1), xytext=(-14, 5), xycoords="axes fraction", textcoords="offset points", weight="bold"
    )
    return axes


def _sheet(axes: Axes, host: HostPanels) -> None:
    """Draw atoms from the side, those behind first, and where Δρ, summed through the cell, is gained and lost."""
    from ase.data import covalent_radii
    from ase.data.colors import jmol_colors

    atoms = host.atoms
    assert atoms is not None
    x, y, z = atoms.positions.T
    if host.difference is not None:
        _difference(axes, host.difference)
    for index in np.argsort(y)[::-1]:
        number = atoms.numbers[index]
        axes.scatter(
            x[index],
            z[index],
            s=26 * covalent_radii[number] ** 2,
            color=[jmol_colors[number]],
            edgecolor="#333333",
            linewidth=0.3,
            zorder=2,
        )
    axes.set_xlim(x.min() - 1.5, x.max() + 1.5)
    axes.set_ylim(z.min() - 1.8, z.max() + 1.8)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_title(f"{host.model}\n{host.bar.site or ''}", fontsize=_POINTS, pad=2)


def _difference(axes: Axes, difference: Density) -> None:
    """Fill where Δρ, summed along the second lattice vector, has more than a fifth of its largest value."""
    values = difference.values_per_a3
    along, height = np.meshgrid(
        *(np.arange(values.shape[axis]) / values.shape[axis] for axis in (0, 2)), indexing="ij"
    )
    summed = values.sum(axis=1) * np.linalg.norm(difference.cell_a[1]) / values.shape[1]
    middle = 0.5 * difference.cell_a[1]
    points = along[..., None] * difference.cell_a[0] + height[..., None] * difference.cell_a[2] + middle
    most = float(np.abs(summed).max())
    for sign, colour in ((1.0, _GAINED), (-1.0, _LOST)):
        if (sign * summed).max() > 0.2 * most:
            axes.contourf(
                points[..., 0],
                points[..., 2],
                sign * summed,
                levels=[0.2 * most, 1.01 * most],
                colors=[colour],
                alpha=0.6,
            )


def _energies(axes: Axes, bars: Sequence[AdsorptionBar], mock: bool) -> None:
    """Draw ΔE with its error bars, and published values beside real ones."""
    places = {index: bar for index, bar in enumerate(bars) if bar.value_ev is not None}
    values = [bar.value_ev or 0.0 for bar in places.values()]
    axes.bar(
        list(places),
        values,
        width=0.5,
        label="this work (mock)" if mock else "this work",
        facecolor="white" if mock else BLUE,
        edgecolor=GREY if mock else BLUE,
        hatch="////" if mock else None,
    )
    for kind, colour, thickness in (("functional_ev", GREY, 0.6), ("numerical_ev", "black", 1.1)):
        for index, bar in places.items():
            error = getattr(bar, kind)
            if error is not None:
                axes.errorbar(
                    [index], [bar.value_ev or 0.0], yerr=error, color=colour, elinewidth=thickness, capsize=2
                )
    published = {index: bar.paper_ev for index, bar in enumerate(bars) if bar.paper_ev is not None and not mock}
    if published:
        axes.plot(
            [index + 0.36 for index in published],
            list(published.values()),
            linestyle="none",
            marker="D",
            markersize=3.5,
            color=VERMILLION,
            label=paper().short_citation,
        )
    axes.axhline(0.0, color="black", linewidth=0.6)
    axes.margins(y=0.12)
    axes.set_xlim(-0.5, len(bars) - 0.5)
    axes.set_xticks(range(len(bars)), [bar.model.replace("+", "\n+", 1) for bar in bars])
    axes.set_ylabel("ΔE (eV), mock" if mock else "ΔE (eV)")
    axes.legend(frameon=False, loc="lower left", fontsize=_POINTS - 1, bbox_to_anchor=(0.0, 1.0), ncols=2)


def _curves(hosts: Sequence[HostPanels]) -> dict[str, str]:
    """Return the projections that are drawn, with their colours: the three with most states in the window."""
    weights = projected_weights(host.dos for host in hosts if host.dos is not None)
    return dict(zip(sorted(weights, key=lambda name: -weights[name])[:3], COLOURS, strict=False))


def _density_of_states(axes: Axes, host: HostPanels, curves: Mapping[str, str], mock: bool) -> None:
    """Draw the total and the projections of a host, spin down below zero."""
    dos = host.dos
    assert dos is not None
    zero = dos.fermi_ev if host.gap is None or host.gap.vbm_ev is None else host.gap.vbm_ev
    for spin, sign in zip(range(len(dos.total)), (1.0, -1.0), strict=False):
        axes.plot(
            dos.energies_ev - zero,
            sign * dos.total[spin],
            color="black",
            linewidth=0.6,
            label=None if spin else "total",
        )
        for name, colour in curves.items():
            if name in dos.projected:
                label = None if spin else name.replace("-", " ")
                axes.plot(
                    dos.energies_ev - zero, sign * dos.projected[name][spin], color=colour, linewidth=0.6, label=label
                )
    shown = (dos.energies_ev > zero + WINDOW_EV[0]) & (dos.energies_ev < zero + WINDOW_EV[1])
    top = 1.1 * float(dos.total[:, shown].max(initial=0.0)) or 1.0
    axes.set_ylim(-top if len(dos.total) == 2 else 0.0, top)
    axes.set_xlim(*WINDOW_EV)
    axes.set_title(host.model, fontsize=_POINTS, loc="right", pad=2)
    axes.set_xlabel("E − E(F) (eV)" if host.gap is None or host.gap.vbm_ev is None else "E − E(VBM) (eV)", labelpad=1)
    axes.set_ylabel("states/eV, mock" if mock else "states/eV", labelpad=1)
