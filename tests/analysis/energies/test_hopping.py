"""Rates and diffusion, against formulas for lattices, a random walk, and a chain of springs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sodiate.analysis.arrays import ReactionPath
from sodiate.analysis.campaign_entry import ModelEntry, QuantityEntry, SiteEntry
from sodiate.analysis.energies.barrier import PathBarrier, barrier_result, mark_same
from sodiate.analysis.energies.hopping import Jump, diffusion_cm2_per_s, modes, rate_hz
from sodiate.analysis.energies.profile import profile_of

A = 3.3


def honeycomb(there: float, back: float) -> list[Jump]:
    """Two places a cell, three jumps from each: T_W and H of a sheet."""
    vectors = A / np.sqrt(3) * np.array([[np.cos(t), np.sin(t)] for t in np.pi * (0.5 + np.arange(3) * 2 / 3)])
    return [(0, 1, x, y, there) for x, y in vectors] + [(1, 0, -x, -y, back) for x, y in vectors]


@pytest.mark.parametrize(("there", "back"), [(1e9, 1e9), (2e9, 5e12), (3e11, 1e9)])
def test_honeycomb_with_two_kinds_of_sites(there: float, back: float) -> None:
    """Steps are independent, l² a jump, and 2 jumps take 1/(3k) + 1/(3k'): D = l²/4 · 2/(1/3k + 1/3k')."""
    expected = A**2 / 3 / 4 * 2 / (1 / (3 * there) + 1 / (3 * back)) * 1e-16
    found = diffusion_cm2_per_s(honeycomb(there, back), {0: back, 1: there})
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_random_walk_diffuses_as_calculated() -> None:
    """Jumps back and forth over a shallow place count less than their number: three kinds of places."""
    rng = np.random.default_rng(3)
    k = {(0, 1): 3.0, (1, 0): 9.0, (1, 2): 1.0, (2, 1): 2.0, (2, 0): 0.4, (0, 2): 0.0666666667}
    weights = {0: 3.0, 1: 1.0, 2: 0.5}
    edges = [(0, 1, 1.0, 0.2), (1, 2, 0.5, 1.0), (2, 0, -0.5, 0.8), (0, 1, -2.0, 0.2)]
    jumps: list[Jump] = []
    for i, j, x, y in edges:
        jumps += [(i, j, x, y, k[i, j]), (j, i, -x, -y, k[j, i])]
    found = diffusion_cm2_per_s(jumps, weights)
    assert found is not None
    by_place = {i: [jump for jump in jumps if jump[0] == i] for i in range(3)}
    place, walkers, steps = np.zeros(4000, int), 4000, 600
    position, time = np.zeros((walkers, 2)), np.zeros(walkers)
    for _ in range(steps):
        for i in range(3):
            here = np.flatnonzero(place == i)
            ways = by_place[i]
            rates = np.array([jump[4] for jump in ways])
            chosen = rng.choice(len(ways), size=len(here), p=rates / rates.sum())
            time[here] += rng.exponential(1 / rates.sum(), size=len(here))
            position[here] += np.array([jump[2:4] for jump in ways])[chosen]
            place[here] = -1 - np.array([jump[1] for jump in ways])[chosen]
        place = -1 - place
    walked = float((position**2).sum() / time.sum() / 4)
    assert found * 1e16 == pytest.approx(walked, rel=0.06)
    # Without the term for jumps back and forth it would be far more.
    naive = sum(weights[i] * rate * (x * x + y * y) / 4 for i, _, x, y, rate in jumps) / sum(weights.values())
    assert naive > 1.1 * walked


def test_a_walk_that_stays_in_its_cell_does_not_diffuse() -> None:
    assert diffusion_cm2_per_s([(0, 1, 1.0, 0.0, 1e9), (1, 0, -1.0, 0.0, 1e9)], {0: 1.0, 1: 1.0}) is None


def test_a_path_without_one_of_its_ends_says_why_that_is_missing() -> None:
    sites = tuple(SiteEntry(name=name, multiplicity=9, calculation=name.lower()) for name in "AB")
    model = ModelEntry(name="m", label="m", supercell=(3, 3), host="h", sites=sites, lowest="l")
    entry = QuantityEntry(calculations={"A..B": "path"}, declared={"ends": {"A..B": ["A", "B"]}})
    reasons = {"b": "failed: it broke"}
    records: Any = {"path": object(), "a": object()}
    found = barrier_result(model, entry, records, lambda identifier: reasons.get(identifier, "not yet run"))
    assert found.reasons == ("barrier A..B: failed: it broke",)
    assert barrier_result(model, entry, {}, lambda _: "not yet run").reasons == ("barrier A..B: not yet run",)


def test_which_paths_are_one() -> None:
    """Those with one saddle between the same places, where a site ended in another's; in either direction, once."""

    def path(start: str, end: str, forward: float, backward: float, at: str | None = None) -> PathBarrier:
        ids = "p", "s", "e"
        name = f"{start}..{end}"
        found = PathBarrier(name, start, end, forward, backward, True, 2.5, 1e13, True, 1.0, None, None, ids)
        return replace(found, start_at=at)

    def same(*paths: PathBarrier) -> dict[str, str | None]:
        return {one.path: one.same_as for one in mark_same(paths)}

    moved, stayed = path("T", "H", 0.3, 0.1, at="V"), path("V", "H", 0.302, 0.1)
    assert same(moved, stayed) == same(stayed, moved) == {"T..H": "V..H", "V..H": None}
    assert same(moved, path("H", "V", 0.1, 0.3)) == {"T..H": "H..V", "H..V": None}
    assert same(moved, path("X", "H", 0.3, 0.1, at="V")) == {"T..H": None, "X..H": "T..H"}
    # Another saddle, another place, equal barriers of sites that stayed, and another distance from the sheet.
    assert same(moved, path("V", "H", 0.35, 0.15)) == {"T..H": None, "V..H": None}
    assert same(moved, path("V", "X", 0.3, 0.1)) == {"T..H": None, "V..X": None}
    assert same(path("T", "H", 0.3, 0.1), path("V", "H", 0.3, 0.1)) == {"T..H": None, "V..H": None}
    assert same(moved, replace(stayed, nearest_a=2.9)) == {"T..H": None, "V..H": None}
    assert moved.moved == ("T ended at V",)
    assert path("T", "H", 0.3, 0.1, at="between H and V").moved == ("T ended between H and V",)


def test_modes_of_an_ion_on_springs() -> None:
    """ω = √(k/m): 10 eV/Å² and 23 u are 10.31 THz; Vineyard's prefactor is the frequency along the path."""
    start, saddle = np.diag([10.0, 20.0, 30.0]), np.diag([20.0, -5.0, 30.0])
    found = modes(np.array([start, saddle]), [23.0])
    hertz = np.sqrt(10.0 * 1.602176634e-19 / 1e-20 / (23.0 * 1.66053907e-27)) / (2 * np.pi)
    assert found.start_hz[0] == pytest.approx(hertz, rel=1e-7)
    assert found.imaginary == 1
    assert found.attempt_hz == pytest.approx(hertz, rel=1e-7)
    assert found.imaginary_per_cm == pytest.approx(hertz / np.sqrt(2) / 2.99792458e10, rel=1e-6)
    assert modes(np.array([start, start]), [23.0]).attempt_hz is None
    assert rate_hz(0.1, 1e13, 300.0) == pytest.approx(1e13 * np.exp(-0.1 / 0.025852), rel=1e-3)


def test_the_profile_of_a_cubic_is_exact() -> None:
    x = np.array([0.0, 0.7, 1.5, 2.0])
    energies, slopes = x**2 * (2.0 - x), 4 * x - 3 * x**2
    positions, forces = np.zeros((4, 1, 3)), np.zeros((4, 1, 3))
    positions[:, 0, 0], forces[:, 0, 0] = x, -slopes
    profile = profile_of(ReactionPath(energies, positions, forces, 2))
    lengths, curve = profile.curve()
    np.testing.assert_allclose(curve, lengths**2 * (2.0 - lengths), atol=1e-12)
    assert profile.highest_ev == pytest.approx((4 / 3) ** 2 * (2 / 3), abs=1e-5)
    assert 0.7 + (profile.highest - 1) * 0.8 == pytest.approx(4 / 3, abs=0.01)
