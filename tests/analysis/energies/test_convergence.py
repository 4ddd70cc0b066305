"""When ΔE is converged: the rule on series whose limit is known, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sodiate.analysis.energies.convergence import LEAST, Series, Setting, Verdict, judge, rows


def series(energies: Sequence[float | None], label: str = "A/T", ends: Sequence[str] | None = None) -> Series:
    """ΔE at the settings 1, 2, 3, …"""
    places = ends or ["T"] * len(energies)
    points = [Setting(float(n), energy, end) for n, (energy, end) in enumerate(zip(energies, places, strict=True), 1)]
    return Series(label, "kmesh", tuple(points))


def stops(energies: Sequence[float], tolerance_ev: float = 0.01) -> Verdict:
    """The verdict when a run from cheap to dear stops by itself; that on all settings if it does not."""
    verdicts = [judge([series(energies[:count])], tolerance_ev) for count in range(1, len(energies) + 1)]
    return next((verdict for verdict in verdicts if verdict.reached), verdicts[-1])


def test_a_series_that_falls_by_halves_stops_at_the_first_setting_within_the_tolerance_of_its_limit() -> None:
    """Errors of −1 eV: 100, 50, 25, 12.5, 6.25, 3.1, 1.6 meV. The fifth is the first within 10, shown by two more."""
    verdict = stops([-1 + 0.1 / 2**n for n in range(12)])
    assert verdict.reached == (5, 6, 7)
    # The largest is the fifth, the smallest the limit that the halves run to.
    assert verdict.spread_ev == pytest.approx(0.00625, abs=1e-12)


def test_a_series_that_goes_up_and_down_stops_where_three_settings_lie_within_the_tolerance() -> None:
    """Errors +20, −10, +5, −2.5, +1.25, …: the first three that lie within 10 are +5, −2.5, +1.25: 7.5 apart."""
    verdict = stops([-1 + 0.02 * (-0.5) ** n for n in range(12)])
    assert verdict.reached == (3, 4, 5)
    assert verdict.spread_ev == pytest.approx(0.0075, abs=1e-12)


def test_one_small_change_is_no_convergence() -> None:
    """A k mesh of 0.2 eV ups and downs, of which two neighbours agree by luck."""
    energies = [-0.70, -0.90, -0.899, -0.75, -0.95, -0.80]
    assert not stops(energies).reached
    # Two that agree with each other, and each within the tolerance of the last, may be further apart.
    assert not stops([-0.991, -1.009, -1.0]).reached
    assert stops([-0.995, -1.004, -1.0]).reached == (1, 2, 3)


def test_small_steps_of_a_long_way_are_no_convergence() -> None:
    """4 meV a step for ever; two meV a step, of which three lie within the tolerance, and faster and faster."""
    assert not stops([0.004 * n for n in range(20)]).reached
    assert not stops([0.002 * n for n in range(20)]).reached
    assert not stops([0.0005 * n**2 for n in range(20)]).reached
    # Steps of 6 and 2 meV go on to 9 meV: 6 + 2 + 2/3 + … = 9.
    verdict = stops([0.0, 0.006, 0.008])
    assert verdict.reached == (1, 2, 3)
    assert verdict.spread_ev == pytest.approx(0.009)
    # Of 6 and 3: 12 meV, and only from the second setting on 6.
    assert not stops([0.0, 0.006, 0.009]).reached
    assert stops([0.0, 0.006, 0.009, 0.0105]).reached == (2, 3, 4)


def test_every_cheaper_setting_that_agrees_reaches_it_too() -> None:
    verdict = judge([series([-1.2, -1.001, -1.003, -0.999, -1.0])], 0.01)
    assert verdict.reached == (2, 3, 4, 5)
    # One outlier between cuts them off, though the first of all happens to agree.
    assert judge([series([-1.0, -1.2, -1.003, -0.999, -1.0])], 0.01).reached == (3, 4, 5)


def test_every_site_has_to_agree() -> None:
    calm, wild = series([-1.0, -1.0, -1.0], "A/T"), series([-2.0, -2.02, -2.0], "A/H")
    verdict = judge([calm, wild], 0.01)
    assert not verdict.reached
    assert verdict.site == "A/H"
    assert verdict.spread_ev == pytest.approx(0.02)
    assert judge([calm, wild], 0.03).reached == (1, 2, 3)


def test_two_settings_show_nothing() -> None:
    verdict = judge([series([-1.0, -1.0])], 0.01)
    assert not verdict.reached
    assert verdict.spread_ev == 0
    assert judge([series([-1.0])], 0.01).spread_ev is None
    assert LEAST == 3


def test_a_setting_without_one_site_does_not_count() -> None:
    one, other = series([-1.0, -1.001, -1.0, -1.001]), series([-2.0, None, -2.0, -2.0], "A/H")
    verdict = judge([one, other], 0.01)
    assert verdict.whole == verdict.reached == (1, 3, 4)
    assert verdict.gaps == {2: ("A/H",)}
    assert not judge([one, series([-2.0, None, None, -2.0], "A/H")], 0.01).reached
    assert not judge([one, series([None] * 4, "A/H")], 0.01).reached
    assert judge([one, series([None] * 4, "A/H")], 0.01).spread_ev is None


def test_a_site_that_the_adsorbate_left_in_some_settings_is_told() -> None:
    moves = series([-1.0, -1.1, -1.1], ends=["H@top", "H@top → T_W@top", "H@top → T_W@top (moved)"])
    assert judge([moves], 0.01).moved == ("A/T",)
    assert judge([series([-1.0] * 3, ends=["T", "T (note)", "T"])], 0.01).moved == ()


def test_rows_say_which_settings_reach_it() -> None:
    sites = [series([-1.2, -1.0, -1.001, -1.0]), series([-2.0, None, -2.0, -2.0], "A/H")]
    table = rows(sites, [judge(sites, 0.5)], "mock")
    assert [row["reaches_tolerance"] for row in table] == [True, False, True, True] * 2
    assert [row["change_ev"] for row in table[4:]] == [0.0, None, 0.0, 0.0]
    assert {row["note"] for row in table} == {"mock"}


def test_changes_are_against_the_last_value_that_is_known() -> None:
    assert series([-1.0, None, -1.25, None]).changes_ev() == (0.25, None, 0.0, None)


def test_which_of_two_sites_is_nearer_by_a_hair_is_no_other_place() -> None:
    ends = ["between H and T", "between T and H (moved to an equivalent site)", "between H and T"]
    assert not judge([series([-1.0, -1.0, -1.0], ends=ends)], 0.01).moved
    assert judge([series([-1.0, -1.0, -1.0], ends=[*ends[:2], "T"])], 0.01).moved == ("A/T",)
