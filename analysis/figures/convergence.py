"""How an adsorption energy changes with a setting: table and figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..records import MOCK
from .style import COLOURS, NORMAL, SMALL, heading, new_figure, save, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES = {"cutoff": "cutoff (eV)", "kmesh": "N of the N×N k mesh"}


@dataclass(frozen=True)
class Setting:
    """A point: the setting's value, and ΔE in eV, None if it is missing."""

    value: float
    adsorption_energy_ev: float | None


@dataclass(frozen=True)
class Series:
    """ΔE of a site over the settings of one quantity, ascending."""

    label: str
    quantity: str
    settings: tuple[Setting, ...]

    def changes_ev(self) -> tuple[float | None, ...]:
        """Return ΔE at each setting minus ΔE at the last setting that has a value, in eV."""
        energies = [setting.adsorption_energy_ev for setting in self.settings]
        last = next((energy for energy in reversed(energies) if energy is not None), None)
        return tuple(None if energy is None or last is None else energy - last for energy in energies)


def rows(series: Sequence[Series], physical: bool) -> list[dict[str, object]]:
    """Return a row for each site and setting, for a table or csv; energies in eV."""
    return [
        {
            "site": site.label,
            "quantity": site.quantity,
            "value": setting.value,
            "adsorption_energy_ev": setting.adsorption_energy_ev,
            "change_ev": change,
            "note": "" if physical else MOCK,
        }
        for site in series
        for setting, change in zip(site.settings, site.changes_ev(), strict=True)
    ]


@styled
def convergence_plot(series: Sequence[Series], path: Path, physical: bool) -> Figure:
    """Draw the change of ΔE against the last setting, with a panel for each quantity.

    Parameters
    ----------
    series
        At least one.
    path
        The PNG to write.
    physical
        False for a dry run, whose figure is marked as mock.
    """
    quantities = list(dict.fromkeys(site.quantity for site in series))
    figure = new_figure(5.4 * len(quantities), 4.6)
    heading(figure, "Convergence of ΔE" if physical else f"Convergence of ΔE: {MOCK}", not physical)
    for index, quantity in enumerate(quantities):
        axes = figure.add_subplot(1, len(quantities), index + 1)
        sites = [site for site in series if site.quantity == quantity]
        for number, site in enumerate(sites):
            changes = zip(site.settings, site.changes_ev(), strict=True)
            points = [(setting.value, change * 1000) for setting, change in changes if change is not None]
            if points:
                axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[number % len(COLOURS)], label=site.label)
        axes.set_xticks(sorted({setting.value for site in sites for setting in site.settings}))
        axes.axhline(0.0, color="black", linewidth=0.6)
        axes.set_xlabel(AXES[quantity], fontsize=NORMAL)
        axes.set_ylabel("change of ΔE against the last (meV)", fontsize=NORMAL)
        axes.legend(fontsize=SMALL, frameon=False)
    figure.subplots_adjust(left=0.95 / (5.4 * len(quantities)), right=0.98, bottom=0.14, top=0.88, wspace=0.25)
    return save(figure, path)
