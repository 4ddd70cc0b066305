"""The cost of calculations before they run, from what others took: a fit in logarithms, and how far it is off.

The CPU time of a calculation is taken as a product of powers, times a factor of its group (relaxations of hosts, of
adsorbates, densities of states, …): electrons × plane waves × irreducible k points × spins, as the work of one
electronic step with plane waves grows, and cores to the power of what parallel runs lose. Exponents begin at 1 (of
cores at 0) and move as far as the records say: a ridge regression, so that a few records do not make up exponents.
How far it is off is not assumed but seen: each record is held back in turn and estimated from the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RANGE = (0.1, 0.9)
"""Quantiles of the held-back records' deviations that a range spans: eight of ten."""

_LEAST_HELD_BACK = 5
"""Held-back records from which there is a range."""

_LEAST_OF_GROUP = 8
"""Held-back records of a group from which its range is its own, not that of all groups."""

_EXPONENTS = np.array([1.0, 1.0, 1.0, 0.0])
_EXPONENT_WIDTHS = np.array([0.5, 0.5, 0.5, 0.1])
"""Where the exponents of electrons, plane waves, k points × spins and cores begin, and how far they easily move."""

_GROUP_WIDTH = 1.0
"""How far the factors of groups easily lie apart, as a logarithm."""

_SCATTER = 0.5
"""Scatter of a record round the fit that the widths are weighed against, as a logarithm."""


@dataclass(frozen=True)
class Work:
    """The size of a calculation, as known before it runs.

    Attributes
    ----------
    method
        Engine and Hamiltonian in words; only calculations of one method are compared.
    group
        Calculations that go through the same steps, such as ``relax`` and ``relax, adsorbate``.
    electrons
        Valence electrons.
    volume_a3
        Volume of the cell, Å³.
    cutoff_ev
        Of the plane waves, eV.
    kpoints
        Irreducible points.
    spins
        Spin channels.
    cores
        On which it runs; None if that is not known, and then as many as the records had.
    """

    method: str
    group: str
    electrons: float
    volume_a3: float
    cutoff_ev: float
    kpoints: int
    spins: int
    cores: int | None = None

    @property
    def size(self) -> float:
        """Electrons × plane waves × k points × spins, plane waves in units that all calculations share."""
        return self.electrons * self.volume_a3 * self.cutoff_ev**1.5 * self.kpoints * self.spins

    def _features(self, cores: float) -> list[float]:
        return [
            log(self.electrons),
            log(self.volume_a3 * self.cutoff_ev**1.5),
            log(self.kpoints * self.spins),
            log(cores if self.cores is None else self.cores),
        ]


@dataclass(frozen=True)
class Launches:
    """The launches behind a record.

    Attributes
    ----------
    wall_s
        Wall time of all of them, s.
    count
        Their number.
    untimed
        How many of them were killed without leaving a time.
    core_s
        Wall time × cores, s; None if on how many cores they ran is not known.
    cores
        Cores of the last one that says so.
    """

    wall_s: float
    count: int
    untimed: int
    core_s: float | None
    cores: int | None


@dataclass(frozen=True)
class Spent:
    """A calculation that was run: its size, with cores, the CPU time of all its launches, s, and its last host."""

    work: Work
    cpu_s: float
    host: str = ""


@dataclass(frozen=True)
class Estimate:
    """CPU time, s: what is expected, and the range; without a range if too few records could be held back."""

    cpu_s: float
    low_s: float | None
    high_s: float | None

    @classmethod
    def total(cls, estimates: Sequence[Estimate]) -> Estimate:
        """Return the sum; its range is as if all were off to the same side, as one model's estimates may be."""
        lows = [estimate.low_s for estimate in estimates]
        highs = [estimate.high_s for estimate in estimates]
        return cls(
            sum(estimate.cpu_s for estimate in estimates),
            None if None in lows else sum(low for low in lows if low is not None),
            None if None in highs else sum(high for high in highs if high is not None),
        )


class CostModel:
    """The fit to what calculations of one method took.

    Parameters
    ----------
    spent
        At least one, all of one method, each with its cores.

    Attributes
    ----------
    exponents
        Of electrons, plane waves, k points × spins, and cores; shape (4,).
    held_back
        For each of ``spent`` the logarithm of what it took over what the others let expect of it; NaN for one that is
        alone in its group, of which the others say nothing. Shape (records,).
    """

    def __init__(self, spent: Sequence[Spent]) -> None:
        works = [one.work for one in spent]
        self.groups = tuple(dict.fromkeys(work.group for work in works))
        self.cores = (min(w.cores or 1 for w in works), max(w.cores or 1 for w in works))
        self.largest = max(work.size for work in works)
        self._usual_cores = exp(float(np.mean([log(work.cores or 1) for work in works])))
        rows = np.array([self._row(work) for work in works])
        times = np.log([one.cpu_s for one in spent])
        # Weights of the penalties; the common factor, the last column, has none.
        widths = np.concatenate([_EXPONENT_WIDTHS, np.full(len(self.groups), _GROUP_WIDTH), [np.inf]])
        start = np.concatenate([_EXPONENTS, np.zeros(len(self.groups) + 1)])
        inverse = np.linalg.inv(rows.T @ rows + np.diag((_SCATTER / widths) ** 2))
        deviations = times - rows @ start
        self._coefficients: Floats = start + inverse @ (rows.T @ deviations)
        self.exponents: Floats = self._coefficients[: len(_EXPONENTS)]
        # A linear smoother: without a point, its own deviation grows by 1 / (1 - leverage).
        leverages = np.einsum("ij,jk,ik->i", rows, inverse, rows)
        alone = np.array([sum(other.group == work.group for other in works) == 1 for work in works])
        self.held_back: Floats = (times - rows @ self._coefficients) / np.where(alone, np.nan, 1 - leverages)
        self._groups_of = np.array([self.groups.index(work.group) for work in works])

    def _row(self, work: Work) -> list[float]:
        member = [float(work.group == group) for group in self.groups]
        return [*work._features(self._usual_cores), *member, 1.0]

    def _held_back_of(self, group: str) -> Floats:
        """Return the deviations of the held-back records of a group; of all groups if it has few."""
        known = ~np.isnan(self.held_back)
        own = known & (self._groups_of == self.groups.index(group))
        chosen: Floats = self.held_back[own if own.sum() >= _LEAST_OF_GROUP else known]
        return chosen

    def estimate(self, work: Work) -> Estimate | None:
        """Return what a calculation is expected to take; None of a group without a record.

        The expected time is the mean, not the median: times scatter by factors, and a sum is that of means.
        """
        if work.group not in self.groups:
            return None
        middle = exp(float(np.dot(self._row(work), self._coefficients)))
        deviations = self._held_back_of(work.group)
        if len(deviations) < _LEAST_HELD_BACK:
            return Estimate(middle, None, None)
        low, high = (middle * exp(float(np.quantile(deviations, quantile))) for quantile in RANGE)
        mean = middle * float(np.exp(deviations).mean())
        return Estimate(mean, min(low, mean), max(high, mean))


def valence_electrons(number: int) -> int:
    """Return the electrons of an element outside its noble gas core and filled d and f shells.

    Codes may treat some more as valence electrons; for what sets costs apart between calculations it is enough.
    """
    outside = number - max((core for core in (2, 10, 18, 36, 54, 86) if core < number), default=0)
    if number > 54:
        return outside - (24 if outside > 26 else 14 if outside > 16 else 0)
    return outside - (10 if outside > 12 else 0)
