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
    legend = 0.22 * max(len(paths) for paths in profiles.values())  # below the panels, where it covers no line
    height = 4.0 + legend
    figure = new_figure(4.2 * len(profiles) + 0.6, height)
    panels = figure.subplots(1, len(profiles), squeeze=False, sharey=True)[0]
    for axes, (host, paths) in zip(panels, profiles.items(), strict=True):
        for number, (name, profile) in enumerate(paths.items()):
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(*profile.curve(), color=colour, label=name)
            axes.plot(profile.lengths_a, profile.energies_ev, "o", color=colour, markersize=4)
        axes.set_title(host, fontsize=SMALL)
        axes.set_xlabel("length of the path (Å)")
        axes.legend(fontsize=SMALL - 1, loc="upper center", bbox_to_anchor=(0.5, -0.17), frameon=False)
    panels[0].set_ylabel("mock energy (eV), not physical" if mock else "energy (eV)")
    heading(figure, f"Energy along diffusion paths{f': {MOCK}' if mock else ''}", mock)
    figure.subplots_adjust(
        left=0.7 / figure.get_figwidth(), bottom=(0.7 + legend) / height, right=0.98, top=1 - 0.7 / height
    )
    return save(figure, path)
