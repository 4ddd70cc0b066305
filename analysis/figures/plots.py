"""Figures: adsorption energies of the models (the paper's Figure 5f), densities of states (5g to 5i) and bands.

Each function writes a file in the style of configs/figures.mplstyle and returns the figure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import SodiateError
from ..arrays import Bands, Dos
from ..electrons.bandpath import path_axis, zero_of_bands
from ..energies.paper import paper
from ..records import MOCK, BandGap
from .style import BLUE, COLOURS, GREY, NORMAL, SMALL, VERMILLION, heading, new_figure, save, styled

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

WINDOW_EV = (-6.0, 4.0)
"""Energies drawn of a DOS, about its reference."""

NEGLIGIBLE = 0.02
"""A projection with a smaller share of all projections, over the models, is not drawn."""

_HATCH = "///"


class PlotError(SodiateError):
    """There is nothing to draw."""


@dataclass(frozen=True)
class AdsorptionBar:
    """Adsorption energy of a model's best site.

    Attributes
    ----------
    model
        Name of the host.
    value_ev, paper_ev
        Calculated and published ΔE in eV; None if there is none.
    site
        Name of the best site, such as ``T_W@top``.
    reason
        Why there is no value, in words.
    numerical_ev, functional_ev
        Half the length of the error bars; None for those that are not known.
    lacking
        The parts of the error bars that were asked for and are not known.
    """

    model: str
    value_ev: float | None
    paper_ev: float | None
    site: str | None
    reason: str | None
    numerical_ev: float | None = None
    functional_ev: float | None = None
    lacking: tuple[str, ...] = ()


@styled
def adsorption_bars(rows: Sequence[AdsorptionBar], path: Path, mock: bool) -> Figure:
    """Draw the adsorption energy of each model's best site beside the published value.

    For a dry run the bars are hatched, and the published values are listed in a separate panel: the two must not be
    compared.

    Parameters
    ----------
    rows
        A bar for each model, in this order; a model without a value keeps an empty slot with the reason.
    path
        The PNG to write.
    mock
        Whether the values come from a dry run.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    PlotError
        No rows.
    """
    if not rows:
        raise PlotError(f"no models to draw in {path}: the campaign names none")
    published = {row.model: row.paper_ev for row in rows if row.paper_ev is not None}
    list_width = 3.3 if mock and published else 0.0
    body = max(_LEAST_INCHES, _SLOT_INCHES * len(rows)) + 1.1
    width = body + list_width
    figure = new_figure(width, 5.4)
    axes = figure.add_axes((0.9 / width, 0.17, (body - 1.1) / width, 0.72))
    offset = -0.14 if published and not mock else 0.0
    _bars(axes, rows, mock, offset)
    with_errors = _error_bars(axes, rows, offset)
    if mock:
        heading(figure, f"Adsorption energy at the best site: {MOCK}", mock)
        axes.set_ylabel(r"mock $\mathrm{ΔE_{ads}}$ (eV), not physical", fontsize=NORMAL)
    else:
        heading(figure, "Adsorption energy at the best site", mock)
        axes.set_ylabel(r"$\mathrm{ΔE_{ads}}$ (eV)", fontsize=NORMAL)
    if list_width:
        _published_list(figure.add_axes(((body + 0.2) / width, 0.17, 2.9 / width, 0.66)), published)
    elif published or with_errors:
        _published_markers(axes, rows)
        # The bars first; matplotlib would list the markers first.
        handles, labels = axes.get_legend_handles_labels()
        size = SMALL if with_errors else NORMAL
        figure.legend(
            handles[::-1], labels[::-1], loc="lower center", ncols=len(handles), fontsize=size, frameon=False
        )
    return save(figure, path)


@styled
def dos_plot(dos_by_model: Mapping[str, Dos], gaps: Mapping[str, BandGap], path: Path, mock: bool) -> Figure:
    """Draw the densities of states of the models in stacked panels.

    Energies are relative to the valence band maximum of a model with a gap, which is shaded, and to the Fermi
    level of any other; each axis says which. Spin down is drawn below zero.

    Parameters
    ----------
    dos_by_model
        A panel for each model, in this order.
    gaps
        Band gaps from eigenvalues; a model may be missing.
    path
        The PNG to write.
    mock
        Whether the DOS come from a dry run.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    PlotError
        No DOS.
    """
    if not dos_by_model:
        raise PlotError(f"no density of states to draw in {path}: none of the campaign's is done")
    projections, left_out = _projections(dos_by_model)
    colours = dict(zip(projections, COLOURS, strict=False))
    width, head, pitch, foot = 8.5, 0.75, 2.45, 0.35
    height = head + pitch * len(dos_by_model) + foot
    figure = new_figure(width, height)
    for i, (model, dos) in enumerate(dos_by_model.items()):
        bottom = height - head - pitch * (i + 1) + 0.6
        axes = figure.add_axes((0.85 / width, bottom / height, 7.35 / width, (pitch - 0.95) / height))
        axes.set_title(model, loc="left", y=1.0, fontsize=NORMAL, weight="bold")
        _dos_panel(axes, dos, gaps.get(model), colours, mock)
    heading(figure, f"Density of states: {MOCK}" if mock else "Density of states", mock)
    entries = {name: handle for a in figure.axes for handle, name in zip(*a.get_legend_handles_labels(), strict=True)}
    labels = [name for name in ("total", *projections) if name in entries]
    figure.legend(
        [entries[name] for name in labels],
        labels,
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 0.42 / height),
        ncols=len(labels),
        fontsize=SMALL,
        frameon=False,
    )
    figure.text(0.5, 0.12 / height, _footnote(dos_by_model, left_out), ha="center", fontsize=SMALL, color=GREY)
    return save(figure, path)


@dataclass(frozen=True)
class BandsDrawn:
    """Bands of a host along a path.

    Attributes
    ----------
    bands
        At the k points of `path_points`.
    cell_a
        Cell vectors as rows, Å, shape (3, 3).
    title
        Name of the host.
    characters
        Weight of each state on groups of atoms' states, of the shape of the eigenvalues, by their names.
    """

    bands: Bands
    cell_a: NDArray[np.float64]
    title: str
    characters: Mapping[str, NDArray[np.float64]]


@styled
def bands_plot(drawn: BandsDrawn, path: Path, mock: bool) -> Figure:
    """Draw bands along a path, each state as thick as its characters; the axis names the zero of energy.

    Parameters
    ----------
    drawn
        The bands.
    path
        The png, pdf or svg to write.
    mock
        Whether they come from a dry run.
    """
    bands, title = drawn.bands, drawn.title
    zero, name = zero_of_bands(bands)
    distance, ticks = path_axis(bands.kpoints, drawn.cell_a)
    figure = new_figure(5.6, 5.4)
    axes = figure.add_axes((0.15, 0.09, 0.81, 0.78))
    width = 0.6 if drawn.characters else 1.2
    for spin, levels in enumerate(bands.energies_ev):
        style = "-" if spin == 0 else "--"
        axes.plot(distance, levels - zero, color=COLOURS[spin], linewidth=width, linestyle=style)
    _fat_bands(axes, distance, bands.energies_ev - zero, drawn.characters)
    for at, _ in ticks:
        axes.axvline(at, color="#999999", linewidth=0.8)
    axes.axhline(0.0, color="#999999", linewidth=0.8, linestyle=":")
    axes.set_xticks([at for at, _ in ticks], [label for _, label in ticks], fontsize=NORMAL)
    axes.set_xlim(distance[0], distance[-1])
    axes.set_ylim(-4.0, 4.0)
    words = {"VBM": "E − E(VBM) (eV)", "E_F": "E − E(F) (eV)"}[name]
    axes.set_ylabel(f"{words} mock" if mock else words, fontsize=NORMAL)
    heading(figure, f"{title}: {MOCK}" if mock else title, mock)
    return save(figure, path)


_FULL_POINTS2 = 60.0
"""Area of the marker of a state that is of one character alone."""


def _fat_bands(
    axes: Axes,
    distance: NDArray[np.float64],
    energies: NDArray[np.float64],
    characters: Mapping[str, NDArray[np.float64]],
) -> None:
    """Draw markers as large as weights, a colour for each character, and name them."""
    for number, (name, weights) in enumerate(characters.items()):
        colour = COLOURS[(number + 2) % len(COLOURS)]
        for levels, sizes in zip(energies, weights, strict=True):
            across = levels.shape[1]
            axes.scatter(
                distance.repeat(across),
                levels.ravel(),
                s=_FULL_POINTS2 * sizes.clip(0, 1).ravel(),
                color=colour,
                alpha=0.45,
                linewidths=0,
            )
        axes.scatter([], [], s=_FULL_POINTS2, color=colour, alpha=0.6, label=name)
    if characters:
        axes.legend(
            fontsize=SMALL, ncols=len(characters), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False
        )


def _watermark(axes: Axes) -> None:
    axes.text(
        0.5,
        0.5,
        "mock",
        transform=axes.transAxes,
        fontsize=54,
        color=VERMILLION,
        alpha=0.25,
        ha="center",
        va="center",
    )


_SLOT_INCHES, _LEAST_INCHES = 1.6, 5.5
"""Width that a bar has with the space around it, and the least of all together, inches."""


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _bars(axes: Axes, rows: Sequence[AdsorptionBar], mock: bool, offset: float) -> None:
    """Draw the bars, their numbers beyond the zero line where no marker goes, and reasons in empty slots."""
    energies = [e for row in rows for e in (row.value_ev, None if mock else row.paper_ev) if e is not None]
    widest = {row: max(row.numerical_ev or 0.0, row.functional_ev or 0.0) for row in rows}
    energies += [row.value_ev + side * bar for row, bar in widest.items() if row.value_ev for side in (-1, 1)]
    low, high = min([*energies, 0.0]), max([*energies, 0.0])
    span = (high - low) or 1.0
    slots = {x: row.value_ev for x, row in enumerate(rows) if row.value_ev is not None}
    if len(slots) < len(rows):
        low = min(low, -0.6 * span)  # room for the reasons
    axes.set_ylim(low - 0.14 * span, high + 0.12 * span)
    beside = max(0.0, _LEAST_INCHES / _SLOT_INCHES - len(rows)) / 2  # so that few bars are no wider than many
    axes.set_xlim(-0.5 - beside, len(rows) - 0.5 + beside)
    axes.bar(
        [x + offset for x in slots],
        list(slots.values()),
        width=0.5,
        facecolor="white" if mock else BLUE,
        edgecolor=GREY if mock else BLUE,
        hatch=_HATCH if mock else None,
        label="this work",
    )
    for x, value in slots.items():
        axes.annotate(
            _signed(value),
            (x + offset, 0.0),
            xytext=(0, -4 if value > 0 else 4),
            textcoords="offset points",
            ha="center",
            va="top" if value > 0 else "bottom",
            fontsize=NORMAL,
        )
    for x in set(range(len(rows))) - set(slots):
        lines = textwrap.wrap(f"no value: {rows[x].reason or 'not calculated'}", 18, max_lines=9, placeholder=" …")
        text = axes.text(x, -0.03 * span, "\n".join(lines), ha="center", va="top", fontsize=SMALL, color=GREY)
        text.set_fontstyle("italic")
    axes.axhline(0.0, color="black", linewidth=1)
    axes.set_xticks(range(len(rows)), ["\n".join(filter(None, (r.model, r.site))) for r in rows])
    _plain(axes)
    if mock:
        _watermark(axes)


def _error_bars(axes: Axes, rows: Sequence[AdsorptionBar], offset: float) -> bool:
    """Draw the spread of functionals, wide and pale, and the numerical bars within; tell whether there are any."""
    styles = {"functional": (GREY, 1.0, 9, "spread of functionals"), "numerical": ("black", 1.8, 5, "numerical ±")}
    drawn = False
    for kind, (colour, width, cap, label) in styles.items():
        points = [
            (x + offset, row.value_ev, bar)
            for x, row in enumerate(rows)
            if row.value_ev is not None and (bar := getattr(row, f"{kind}_ev")) is not None
        ]
        if points:
            xs, ys, errors = zip(*points, strict=True)
            lacking = {part.partition(" ")[0] == "functional" for row in rows for part in row.lacking}
            known = ", some not known" if (kind == "functional") in lacking else ""
            axes.errorbar(
                xs,
                ys,
                yerr=errors,
                fmt="none",
                ecolor=colour,
                elinewidth=width,
                capsize=cap,
                capthick=width,
                label=label + known,
            )
            drawn = True
    return drawn


def _published_markers(axes: Axes, rows: Sequence[AdsorptionBar]) -> None:
    """Mark the published values beside the bars."""
    points = [(x + 0.3, row.paper_ev) for x, row in enumerate(rows) if row.paper_ev is not None]
    if not points:
        return
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, linestyle="none", marker="D", markersize=9, color=VERMILLION, label=paper().short_citation)
    for x, y in points:
        axes.annotate(
            _signed(y),
            (x, y),
            xytext=(0, -9),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=SMALL,
            color=VERMILLION,
        )


def _published_list(axes: Axes, published: Mapping[str, float]) -> None:
    """List the published values beside a dry run, as text: bars would invite a comparison."""
    axes.set_axis_off()
    axes.set_title(f"Published, {paper().short_citation}", fontsize=NORMAL, loc="left")
    for i, (model, value) in enumerate(published.items()):
        y = 0.93 - 0.1 * i
        axes.text(0.0, y, model, fontsize=NORMAL, va="top")
        axes.text(0.95, y, f"{_signed(value)} eV", fontsize=NORMAL, va="top", ha="right")
    note = "Not to be compared with mock values."
    axes.text(0.0, 0.88 - 0.1 * len(published), note, fontsize=SMALL, va="top", color=GREY)


def projected_weights(found: Iterable[Dos]) -> dict[str, float]:
    """Return the mean of each projection in the window that is drawn, summed over spins and densities of states."""
    weight: dict[str, float] = {}
    for dos in found:
        x = dos.energies_ev - dos.fermi_ev
        window = (x > WINDOW_EV[0]) & (x < WINDOW_EV[1])
        for name, curve in dos.projected.items():
            weight[name] = weight.get(name, 0.0) + float(curve[:, window].sum() / max(len(x[window]), 1))
    return weight


def _projections(dos_by_model: Mapping[str, Dos]) -> tuple[list[str], list[str]]:
    """Return the projections to draw, in order of first appearance, and those too small for a colour."""
    weight = projected_weights(dos_by_model.values())
    threshold = NEGLIGIBLE * sum(weight.values())
    largest = sorted((n for n in weight if weight[n] > threshold), key=lambda n: -weight[n])[: len(COLOURS)]
    return [name for name in weight if name in largest], [name for name in weight if name not in largest]


def _dos_panel(axes: Axes, dos: Dos, gap: BandGap | None, colours: Mapping[str, str], mock: bool) -> None:
    """Draw one model: total, projections, gap; spin down mirrored."""
    origin, reference = dos.fermi_ev, r"$\mathrm{E_F}$"
    if gap is not None and gap.vbm_ev is not None:
        origin, reference = gap.vbm_ev, r"$\mathrm{E_{VBM}}$"
    width = gap.gap_ev if gap is not None else 0.0
    low, high = WINDOW_EV[0], max(WINDOW_EV[1], width + 2.0)
    energies = dos.energies_ev - origin
    window = (energies >= low) & (energies <= high)
    energies = energies[window]
    for spin, sign in zip(range(len(dos.total)), (1.0, -1.0), strict=False):
        total = sign * dos.total[spin, window]
        name = None if spin else "total"
        axes.fill_between(
            energies, total, facecolor="#DDDDDD", edgecolor=GREY, linewidth=0, hatch=_HATCH if mock else None
        )
        axes.plot(energies, total, color="black", linewidth=1.2, label=name)
        for projection, curve in dos.projected.items():
            if projection in colours:
                name = None if spin else projection
                axes.plot(energies, sign * curve[spin, window], color=colours[projection], linewidth=1.2, label=name)
    mirrored = len(dos.total) == 2
    headroom = 1.5 if mirrored else 1.3  # for the number of a gap too narrow to hold it
    top = headroom * float(dos.total[:, window].max(initial=0.0)) or 1.0
    axes.set_ylim(-top if mirrored else 0.0, top)
    axes.set_xlim(low, high)
    axes.set_xlabel(f"E − {reference} (eV)", fontsize=NORMAL)
    axes.set_ylabel("states/eV", fontsize=NORMAL)
    axes.locator_params(axis="y", nbins=4)
    if mirrored:
        axes.yaxis.set_major_formatter(lambda y, _: f"{abs(y):g}")
        axes.axhline(0.0, color="black", linewidth=0.8)
        for y, name, va in ((0.95, "spin up", "top"), (0.05, "spin down", "bottom")):
            axes.text(0.012, y, name, transform=axes.transAxes, fontsize=SMALL, va=va)
    _plain(axes)
    _mark_gap(axes, gap)
    if mock:
        _watermark(axes)


def _mark_gap(axes: Axes, gap: BandGap | None) -> None:
    """Shade the gap and write its number, or write why there is none."""
    if gap is None:
        title = "gap not calculated"
    elif gap.vbm_ev is None:
        title = textwrap.shorten(f"metal: {gap.reason}" if gap.reason else "metal", 72, placeholder=" …")
    else:
        title = f"{gap.nature} gap {gap.gap_ev:.2f} eV"
        axes.axvspan(0.0, gap.gap_ev, color="#F0E442", alpha=0.45, linewidth=0, zorder=0)
        axes.text(
            gap.gap_ev / 2,
            0.96,
            f"{gap.gap_ev:.2f} eV",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize=SMALL,
        )
    if gap is None or gap.vbm_ev is None:
        axes.axvline(0.0, color="black", linestyle="--", linewidth=1)
    axes.set_title(title, loc="right", y=1.0, fontsize=SMALL)


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=SMALL)


def _footnote(dos_by_model: Mapping[str, Dos], left_out: Sequence[str]) -> str:
    """State the broadening of the DOS and the projections that are not drawn."""
    widths = sorted({dos.broadening_ev for dos in dos_by_model.values() if dos.broadening_ev is not None})
    notes = [f"Gaussian broadening {' and '.join(f'{w:g}' for w in widths)} eV"] if widths else []
    if left_out:
        notes.append(f"smaller, not drawn: {', '.join(left_out)}")
    return "; ".join(notes)
