"""Densities of states of hosts alone and with an adsorbate, from one zero."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..energies.with_adsorbate import WINDOW_EV, CommonZero, Spectrum
from ..records import MOCK
from .style import BLUE, GREY, NORMAL, SMALL, VERMILLION, heading, new_figure, save, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@styled
def dos_beside(drawn: Mapping[str, tuple[CommonZero, tuple[Spectrum, Spectrum]]], path: Path, mock: bool) -> Figure:
    """Draw both densities of states of each host into one panel, dashed lines at their Fermi levels.

    Parameters
    ----------
    drawn
        By host: the zero, and the DOS of the host alone and with the adsorbate. Spin down is drawn below zero.
    path
        The file to write.
    mock
        Whether the values come from a dry run.

    Returns
    -------
    matplotlib.figure.Figure
    """
    height = 2.9 * len(drawn) + 0.9
    figure = new_figure(8.5, height)
    panels = figure.subplots(len(drawn), 1, squeeze=False)[:, 0]
    for axes, (model, (zero, pair)) in zip(panels, drawn.items(), strict=True):
        for one, colour in zip(pair, (GREY, BLUE), strict=True):
            _line(axes, one, colour)
        middle = pair[0].fermi_ev
        axes.set_xlim(middle + WINDOW_EV[0], middle + WINDOW_EV[1])
        axes.set_title(model, loc="left", fontsize=NORMAL, weight="bold")
        axes.set_title("; ".join(f"{one.name}: {one.gap}" for one in pair), loc="right", fontsize=SMALL)
        words = zero.words.replace("the vacuum level", "vacuum level")
        axes.set_xlabel(f"E above {words} (eV)" if zero.is_vacuum else f"E − E(F), {words} (eV)", fontsize=SMALL)
        axes.set_ylabel("mock states/eV" if mock else "states/eV", fontsize=SMALL)
        axes.yaxis.set_major_formatter(lambda y, _: f"{abs(y):g}")
        axes.legend(fontsize=SMALL - 1, loc="upper left", frameon=False)
    name = "DOS without and with the adsorbate"
    heading(figure, f"{name}: {MOCK}" if mock else name, mock)
    figure.subplots_adjust(left=0.1, right=0.98, top=1 - 0.75 / height, bottom=0.55 / height, hspace=0.5)
    return save(figure, path)


def _line(axes: Axes, one: Spectrum, colour: str) -> None:
    for spin, sign in zip(one.total, (1.0, -1.0), strict=False):
        label = one.name if sign > 0 else None
        axes.plot(one.energies_ev, sign * spin, color=colour, linewidth=1.2, label=label)
    axes.axvline(one.fermi_ev, color=VERMILLION if colour == BLUE else GREY, linestyle="--", linewidth=1)
