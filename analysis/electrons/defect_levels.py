"""Levels of vacancies told from the bands of their host, state by state and beside those of the clean host.

A state of the host is spread over all cells of the supercell: of its weight on one sublattice, the atoms next
to the vacancy have the share of their number. What has more there, and lies in the gap between the two edges of the
host, is the vacancy's. Averages over k points would mix the two: bands cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Bands
from .gap_and_dos import ElectronicError, band_gap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Ints = NDArray[np.int_]

LOCALISED = 0.05
"""Excess of weight next to a vacancy above which a state is the vacancy's: 0 if extended, 1 if all is there.

In WSSe with vacancies, 3×3, the host's edges have -0.07 to 0.00, the filled singlet of the vacancy 0.07 to 0.26.
"""

NEAR_EDGE_EV = 0.02
"""A state closer than this to an edge of the host is not told from it."""

DEGENERATE_EV = 0.01
"""States of an edge that lie together; a vacancy nearby splits them by some meV."""

_MOVED_EV = 0.5
_OTHER = 0.1
"""How far an edge may have moved, and by how much of its weight it may lie on other sublattices, to count alike."""

_LOOK_EV = 1.0
"""How far from where the clean host has it an edge is looked for."""

_SAME_K = 1e-4


@dataclass(frozen=True)
class CleanHost:
    """The same cell without its vacancies.

    Attributes
    ----------
    bands
        With the weight of each state on each atom.
    sublattices
        A number for each atom, the same for atoms that the translations of the primitive cell exchange.
    vacuum_ev
        Vacuum levels below and above it, if recorded.
    """

    bands: Bands
    sublattices: Sequence[int]
    vacuum_ev: tuple[float, float] | None = None


@dataclass(frozen=True)
class DefectLevel:
    """A band in the gap of the host, over the k points at which it is there.

    Attributes
    ----------
    spin
        0 or 1.
    band
        Its number from 1, counted from the lowest.
    lowest_ev, highest_ev
        On the scale of the eigenvalues.
    occupation
        0 to 1.
    share
        Of the weight on all atoms that is on those next to the vacancy.
    extended_share
        What that would be if the state were spread over the sheet.
    """

    spin: int
    band: int
    lowest_ev: float
    highest_ev: float
    occupation: float
    share: float
    extended_share: float

    @property
    def of_host(self) -> bool:
        """True for a band of the sheet itself, which the vacancies pushed beyond the edge that the clean one has."""
        return (self.share - self.extended_share) / (1 - self.extended_share) <= LOCALISED


@dataclass(frozen=True)
class DefectLevels:
    """The gap of the host beside the levels of its vacancies in it.

    Attributes
    ----------
    levels
        By energy, filled ones and empty ones.
    host_gap_ev
        From the host's highest filled to its lowest empty state: with a clean host, between the states that are its
        band edges.
    host_vbm_ev, host_cbm_ev
        Its edges.
    clean_gap_ev
        The same of the clean host; None without one.
    """

    levels: tuple[DefectLevel, ...]
    host_gap_ev: float
    host_vbm_ev: float
    host_cbm_ev: float
    clean_gap_ev: float | None = None


@dataclass(frozen=True)
class _States:
    """States in ascending order at each k point.

    Attributes
    ----------
    energies, filling, share, extended, excess
        Shape (spins, k points, bands).
    composition
        Weight on each sublattice, adding up to 1, shape (spins, k points, bands, sublattices).
    """

    energies: Array
    filling: Array
    share: Array
    extended: Array
    excess: Array
    composition: Array

    @classmethod
    def of(cls, bands: Bands, next_to: Sequence[int], sublattices: Sequence[int], kinds: Sequence[int]) -> _States:
        assert bands.by_atom is not None
        order = bands.energies_ev.argsort(axis=2, kind="stable")
        weight = np.take_along_axis(bands.by_atom.astype(np.float64), order[..., None], axis=2)
        total = np.maximum(weight.sum(axis=-1), 1e-9)
        labels, near = np.asarray(sublattices), np.isin(np.arange(weight.shape[-1]), list(next_to))
        composition = (
            np.stack([weight[..., labels == kind].sum(axis=-1) for kind in kinds], axis=-1) / total[..., None]
        )
        parts = np.array([near[labels == kind].mean() if (labels == kind).any() else 0.0 for kind in kinds])
        share, extended = weight[..., near].sum(axis=-1) / total, composition @ parts
        return cls(
            energies=np.take_along_axis(bands.energies_ev, order, axis=2),
            filling=np.take_along_axis(bands.occupations, order, axis=2) / (3 - len(bands.energies_ev)),
            share=share,
            extended=extended,
            excess=(share - extended) / np.maximum(1 - extended, 1e-9),
            composition=composition,
        )

    def side(self, filled: bool) -> NDArray[np.bool_]:
        """Return which states are filled, or empty."""
        return (self.filling > 0.5) == filled


def defect_levels(
    bands: Bands,
    next_to: Sequence[int],
    sublattices: Sequence[int],
    vacuum_ev: tuple[float, float] | None = None,
    clean: CleanHost | None = None,
) -> DefectLevels:
    """Tell the levels of vacancies from the bands of the host.

    Parameters
    ----------
    bands
        Of the host with its vacancies, with the weight of each state on each atom.
    next_to
        Indices of the atoms next to the vacancies.
    sublattices
        A number for each atom, the same for atoms that the translations of the primitive cell exchange.
    vacuum_ev
        Vacuum levels below and above it.
    clean
        The same cell without vacancies. Its band edges are looked for among these states: at the same k point, filled
        or empty as there, of the same composition by sublattice, near in energy. Energies are aligned by the mean of
        the vacuum levels on both faces, or, where one lacks, by the deepest band. Without a clean host the edges are
        the highest filled and the lowest empty state that are spread over the sheet.

    Returns
    -------
    DefectLevels
        What lies in the gap of the host, by energy.

    Raises
    ------
    ElectronicError
        Without weights on atoms or atoms next to a vacancy; if all states are filled, or none; or if the clean host
        is a metal or has none of these k points.
    """
    given = [bands] if clean is None else [bands, clean.bands]
    if any(one.by_atom is None for one in given) or not len(next_to):
        raise ElectronicError("defect levels need the weight of each state on each atom, and atoms next to a vacancy")
    kinds = sorted({*sublattices, *(() if clean is None else clean.sublattices)})
    states = _States.of(bands, next_to, sublattices, kinds)
    if states.side(True).all() or states.side(False).all():
        raise ElectronicError("defect levels need filled and empty bands: compute more of them (dos.empty_bands)")
    if clean is None:
        vbm, cbm, clean_gap = _spread_edge(states, True), _spread_edge(states, False), None
    else:
        vbm, cbm, clean_gap = _edges_found_again(bands, states, vacuum_ev, clean, kinds)
    return DefectLevels(_between(states, vbm, cbm), cbm - vbm, vbm, cbm, clean_gap)


def _spread_edge(states: _States, filled: bool) -> float:
    """Return the edge among the states that are spread over the sheet, or over it as far as any is."""
    side = states.side(filled)
    spread = side & (states.excess <= max(LOCALISED, float(states.excess[side].min())))
    return float(states.energies[spread].max() if filled else states.energies[spread].min())


def _edges_found_again(
    bands: Bands, states: _States, vacuum_ev: tuple[float, float] | None, clean: CleanHost, kinds: Sequence[int]
) -> tuple[float, float, float]:
    """Return where the edges of the clean host are now, and its gap."""
    gap = band_gap(clean.bands)
    if gap.vbm_ev is None or gap.cbm_ev is None:
        raise ElectronicError("the clean host is a metal: there is no gap in which a vacancy could have levels")
    before = _States.of(clean.bands, (), clean.sublattices, kinds)
    shift = _alignment(states, before, vacuum_ev, clean.vacuum_ev)
    vbm = _found_again(bands, states, clean.bands, before, gap.vbm_ev, shift, filled=True)
    cbm = _found_again(bands, states, clean.bands, before, gap.cbm_ev, shift, filled=False)
    return vbm, cbm, gap.gap_ev


def _alignment(
    states: _States,
    before: _States,
    vacuum_ev: tuple[float, float] | None,
    clean_vacuum_ev: tuple[float, float] | None,
) -> float:
    """Return what is to be added to energies of the clean host, eV."""
    if vacuum_ev is not None and clean_vacuum_ev is not None:
        return float(np.mean(vacuum_ev) - np.mean(clean_vacuum_ev))
    return float(states.energies[:, :, 0].mean() - before.energies[:, :, 0].mean())


def _found_again(
    bands: Bands, states: _States, clean: Bands, before: _States, edge_ev: float, shift: float, filled: bool
) -> float:
    """Return the energy of the states that are those of an edge of the clean host."""
    inward = (edge_ev - before.energies) * (1 if filled else -1)
    at = before.side(filled) & (inward <= DEGENERATE_EV)
    energies: list[float] = []
    for spin, k in sorted({(int(spin), int(k)) for spin, k, _ in np.argwhere(at)}):
        mine = at[spin, k]
        composition = before.composition[spin, k][mine].mean(axis=0)
        for here in _same_points(bands.kpoints, clean.kpoints[k], clean.kpoints):
            for own in (
                {min(spin, len(states.energies) - 1)} if len(before.energies) > 1 else range(len(states.energies))
            ):
                energies += _alike(states, own, here, composition, edge_ev + shift, int(mine.sum()), filled)
    if not energies:
        raise ElectronicError(
            "the band edges of the clean host are not found again: the two have no k point in common there, or no "
            f"state within {_LOOK_EV:g} eV of where it has them"
        )
    return max(energies) if filled else min(energies)


def _alike(
    states: _States, spin: int, k: int, composition: Array, expected_ev: float, number: int, filled: bool
) -> list[float]:
    """Return the energies of the states at a k point that are most like given ones."""
    energies = states.energies[spin, k]
    distance = np.abs(energies - expected_ev)
    allowed = states.side(filled)[spin, k] & (distance <= _LOOK_EV)
    spread = allowed & (states.excess[spin, k] <= LOCALISED)
    allowed = spread if spread.any() else allowed
    other = 0.5 * np.abs(states.composition[spin, k] - composition).sum(axis=-1)
    penalty = np.where(allowed, other / _OTHER + distance / _MOVED_EV, np.inf)
    best = np.argsort(penalty, kind="stable")[:number]
    return [float(energies[i]) for i in best if penalty[i] <= penalty[best[0]] + 0.5]


def _same_points(kpoints: Array, wanted: Array, among: Array) -> list[int]:
    """Return the k points of one mesh that a symmetry of the lattice takes to a point of another.

    A clean host has more symmetry than one with a vacancy: its mesh lists fewer points. The point itself and its
    negative are taken if they are there.
    """
    for operations in ([np.eye(2, dtype=int), -np.eye(2, dtype=int)], _point_group(kpoints, among)):
        images = np.array([operation @ wanted[:2] for operation in operations])
        apart = images[None] - kpoints[:, None, :2]
        same = np.abs(apart - np.round(apart)).max(axis=-1).min(axis=1) < _SAME_K
        if same.any():
            return [int(index) for index in np.flatnonzero(same)]
    return []


def _point_group(kpoints: Array, among: Array) -> list[Ints]:
    """Return the integer matrices, of determinant ±1, that take each k point to one of another list."""
    found = []
    for entries in product((-1, 0, 1), repeat=4):
        operation = np.array(entries).reshape(2, 2)
        if abs(round(float(np.linalg.det(operation)))) != 1:
            continue
        images = kpoints[:, :2] @ operation.T
        apart = np.concatenate([images[:, None] - among[None, :, :2], images[:, None] + among[None, :, :2]], axis=1)
        if (np.abs(apart - np.round(apart)).max(axis=-1).min(axis=1) < _SAME_K).all():
            found.append(operation)
    return found


def _between(states: _States, vbm: float, cbm: float) -> tuple[DefectLevel, ...]:
    """Return the bands that lie in a gap at some k point, over those k points."""
    inside = (states.energies > vbm + NEAR_EDGE_EV) & (states.energies < cbm - NEAR_EDGE_EV)
    found = []
    for spin, band in np.argwhere(inside.any(axis=1)):
        there = inside[spin, :, band]
        energies = states.energies[spin, there, band]
        means = [
            float(values[spin, there, band].mean()) for values in (states.filling, states.share, states.extended)
        ]
        found.append(DefectLevel(int(spin), int(band) + 1, float(energies.min()), float(energies.max()), *means))
    return tuple(sorted(found, key=lambda level: (level.lowest_ev, level.spin, level.band)))
