"""When ΔE is converged: its changes over settings from cheap to dear, and the rule that judges them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .adsorption import sites_of_end

LEAST = 3
"""Settings that have to agree: one small change can be luck, as with k meshes, which go up and down."""

_SLOWEST = 0.9
"""Of two changes that follow one another, the largest ratio that is taken for one of a series with an end."""


@dataclass(frozen=True)
class Setting:
    """A point: the setting's value, ΔE in eV and where the adsorbate ended; None for what is missing."""

    value: float
    adsorption_energy_ev: float | None
    end: str | None = None


@dataclass(frozen=True)
class Series:
    """ΔE of a site over the settings of one quantity, from cheap to dear."""

    label: str
    quantity: str
    settings: tuple[Setting, ...]

    def changes_ev(self) -> tuple[float | None, ...]:
        """Return ΔE at each setting minus ΔE at the last setting that has a value, in eV."""
        energies = [setting.adsorption_energy_ev for setting in self.settings]
        last = next((energy for energy in reversed(energies) if energy is not None), None)
        return tuple(None if energy is None or last is None else energy - last for energy in energies)


@dataclass(frozen=True)
class Verdict:
    """Which settings of a quantity reach a tolerance.

    Attributes
    ----------
    quantity
        The varied quantity.
    tolerance_ev
        By how much ΔE may vary, eV.
    whole
        The settings at which every site has ΔE, from cheap to dear; only these count.
    reached
        Those that reach the tolerance, the cheapest first; empty if that is not shown.
    spread_ev, site
        How far ΔE varies over `reached`, or else over the last three of `whole`, at the site where it varies most;
        None without two of them.
    gaps
        The labels of the sites without ΔE by setting, as far as it has any.
    moved
        The labels of the sites at which the adsorbate did not end at one place in all settings.
    """

    quantity: str
    tolerance_ev: float
    whole: tuple[float, ...]
    reached: tuple[float, ...]
    spread_ev: float | None
    site: str | None
    gaps: dict[float, tuple[str, ...]]
    moved: tuple[str, ...]


def judge(series: Sequence[Series], tolerance_ev: float) -> Verdict:
    """Say which settings of one quantity reach a tolerance.

    A setting reaches it if, from it to the dearest one, ΔE of each site varies by no more than the tolerance, largest
    less smallest value; at least three settings have to agree so. If the last two changes of a site go one way, the
    value that they run towards (as a geometric series, ratio of the changes at most 0.9) counts as one more setting:
    small steps of a long way are no convergence.

    Parameters
    ----------
    series
        Of one quantity, at least one; the settings of all are the same.
    tolerance_ev
        Positive, eV.
    """
    energies = {site.label: {s.value: s.adsorption_energy_ev for s in site.settings} for site in series}
    values = [setting.value for setting in series[0].settings]
    gaps = {value: tuple(label for label, known in energies.items() if known.get(value) is None) for value in values}
    whole = tuple(value for value in values if not gaps[value])
    known = {
        label: [energy for value in whole if (energy := of_site[value]) is not None]
        for label, of_site in energies.items()
    }
    reached: tuple[float, ...] = ()
    spread, site = _widest(known, LEAST)
    for count in range(len(whole), LEAST - 1, -1):
        widest, where = _widest(known, count)
        if widest is not None and widest <= tolerance_ev:
            reached, spread, site = whole[-count:], widest, where
            break
    return Verdict(
        quantity=series[0].quantity,
        tolerance_ev=tolerance_ev,
        whole=whole,
        reached=reached,
        spread_ev=spread,
        site=site,
        gaps={value: labels for value, labels in gaps.items() if labels},
        moved=tuple(site.label for site in series if len(_places(site)) > 1),
    )


def _widest(known: dict[str, list[float]], count: int) -> tuple[float | None, str | None]:
    """Return how far ΔE varies over the last settings at most, and at which site."""
    spreads = {}
    for label, energies in known.items():
        if len(energies) < 2:
            return None, None
        last = [*energies[-count:], _limit(energies)]
        spreads[label] = max(last) - min(last)
    site = max(spreads, key=lambda label: spreads[label])
    return spreads[site], site


def _limit(energies: Sequence[float]) -> float:
    """Return what energies run towards if their last two changes go one way; else, the last one."""
    if len(energies) < LEAST:
        return energies[-1]
    before, last = energies[-2] - energies[-3], energies[-1] - energies[-2]
    if before * last <= 0:
        return energies[-1]
    ratio = min(last / before, _SLOWEST)
    return energies[-1] + last * ratio / (1 - ratio)


def _places(site: Series) -> set[tuple[str, ...]]:
    """Return where the adsorbate ended over the settings, without the notes in brackets."""
    return {sites_of_end(setting.end) for setting in site.settings if setting.end}


def rows(series: Sequence[Series], verdicts: Sequence[Verdict], note: str) -> list[dict[str, object]]:
    """Return a row for each site and setting, for a table or csv; energies in eV."""
    reached = {verdict.quantity: verdict.reached for verdict in verdicts}
    return [
        {
            "site": site.label,
            "quantity": site.quantity,
            "value": setting.value,
            "adsorption_energy_ev": setting.adsorption_energy_ev,
            "change_ev": change,
            "reaches_tolerance": setting.value in reached[site.quantity],
            "note": note,
        }
        for site in series
        for setting, change in zip(site.settings, site.changes_ev(), strict=True)
    ]
