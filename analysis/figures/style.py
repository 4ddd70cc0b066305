"""The style of all figures, from configs/figures.mplstyle, and the functions that every figure uses.

Without pyplot, so that no global state changes and no display is needed.
"""

from __future__ import annotations

from functools import wraps
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from matplotlib import rc_context, rc_params_from_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from matplotlib.figure import Figure

with as_file(files(__package__.partition(".")[0]) / "configs" / "figures.mplstyle") as _path:
    STYLE = rc_params_from_file(_path, use_default_template=False)

COLOURS: tuple[str, ...] = tuple(STYLE["axes.prop_cycle"].by_key()["color"])
BLUE, VERMILLION = COLOURS[:2]
GREY = "#666666"

SMALL, NORMAL, LARGE = (STYLE[key] for key in ("font.size", "axes.labelsize", "figure.titlesize"))
"""Font sizes in points."""

_DATE = {"pdf": "CreationDate", "svg": "Date"}
"""Metadata left out of a figure, so that the same numbers give the same file."""

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw in this style, whatever Matplotlib is set to elsewhere."""

    @wraps(draw)
    def draw_in_style(*args: P.args, **kwargs: P.kwargs) -> R:
        with rc_context(STYLE):
            return draw(*args, **kwargs)

    return draw_in_style


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def warm() -> None:
    """Import what draws, and let it find its fonts and read a formula, which takes longer than to draw a figure."""
    figure = new_figure(1, 1)
    axes = figure.subplots()
    axes.plot([0, 1], label="$E$")
    axes.legend()
    figure.canvas.draw()


def save(figure: Figure, path: Path) -> Figure:
    """Write a figure in the format of the path's suffix: png, pdf or svg."""
    kind = path.suffix.lstrip(".")
    if kind == "png":
        figure.savefig(path, format=kind, pil_kwargs={"compress_level": 1})
    else:
        figure.savefig(path, format=kind, metadata={_DATE[kind]: None})
    return figure


def heading(figure: Figure, text: str, mock: bool) -> None:
    """Write a title, in a warning colour for mock values."""
    inches = figure.get_figheight()
    colour, weight = (VERMILLION, "bold") if mock else ("black", "normal")
    figure.suptitle(text, y=1 - 0.12 / inches, va="top", fontsize=LARGE, color=colour, weight=weight)
