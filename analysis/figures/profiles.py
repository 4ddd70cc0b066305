"""The energy along diffusion paths, in the style of the other figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..energies.profile import Profile
from ..records import MOCK
from .style import COLOURS, SMALL, heading, new_figure, save, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@styled
def path_profiles(profiles: Mapping[str, Mapping[str, Profile]], path: Path, mock: bool) -> Figure:
    """Draw the energy along each path, a panel for each host: images as points, a cubic through them as a line.

    Parameters
    ----------
    profiles
        By host and by the name of the path.
    path
        The file to write.
    mock
        Whether the values come from a dry run.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(4.2 * len(profiles) + 0.6, 4.0)
    panels = figure.subplots(1, len(profiles), squeeze=False, sharey=True)[0]
    for axes, (host, paths) in zip(panels, profiles.items(), strict=True):
        for number, (name, profile) in enumerate(paths.items()):
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(*profile.curve(), color=colour, label=name)
            axes.plot(profile.lengths_a, profile.energies_ev, "o", color=colour, markersize=4)
        axes.set_title(host, fontsize=SMALL)
        axes.set_xlabel("length of the path (Å)")
        axes.legend(fontsize=SMALL - 1)
    panels[0].set_ylabel("mock energy (eV), not physical" if mock else "energy (eV)")
    heading(figure, f"Energy along diffusion paths{f': {MOCK}' if mock else ''}", mock)
    figure.subplots_adjust(left=0.7 / figure.get_figwidth(), bottom=0.16, right=0.98, top=0.82)
    return save(figure, path)
