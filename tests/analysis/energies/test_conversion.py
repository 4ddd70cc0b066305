"""Conversion: balancing by hand, what cannot be balanced, and voltages of experimental enthalpies of formation."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import pytest
from sodiate.analysis.energies.conversion import UnbalancedReaction, balanced, equation
from sodiate.structures.elemental import formula_of

DATA = Path(__file__).parents[2] / "data" / "formation_enthalpies.csv"

KJ_PER_MOL_EV = 96.48533212


def units(**atoms: float | str) -> dict[str, Fraction]:
    return {element: Fraction(number) for element, number in atoms.items()}


def products(*names: str) -> dict[str, dict[str, int]]:
    return {name: formula_of(name) for name in names}


@pytest.mark.parametrize(
    ("unit", "ion", "names", "shown"),
    [
        (units(W=1, S=1, Se=1), "Na", ("Na2Se", "Na2S", "W"), "host + 4 Na → Na2Se + Na2S + W"),
        # Nothing forms of what the host has not.
        (units(W=1, Se=2), "Na", ("Na2Se", "Na2S", "W"), "host + 4 Na → 2 Na2Se + W"),
        (units(W=1, S=2), "Mg", ("W", "MgS"), "host + 2 Mg → W + 2 MgS"),
        # A sulphur vacancy in nine units.
        (units(W=1, S="8/9", Se=1), "Na", ("Na2Se", "Na2S", "W"), "host + 34/9 Na → Na2Se + 8/9 Na2S + W"),
        (units(Fe=2, O=3), "Al", ("Fe", "Al2O3"), "host + 2 Al → 2 Fe + Al2O3"),
        (units(Na=1, Ti=1, S=2), "Na", ("Na2S", "Ti"), "host + 3 Na → 2 Na2S + Ti"),
    ],
)
def test_reactions_are_balanced(unit: dict[str, Fraction], ion: str, names: tuple[str, ...], shown: str) -> None:
    reaction = balanced(unit, ion, products(*names), "host")
    assert equation("host", ion, reaction) == shown
    # Atom for atom.
    for element in {*unit, ion, *(e for name in names for e in formula_of(name))}:
        left = unit.get(element, 0) + (reaction.ions if element == ion else 0)
        assert left == sum(number * formula_of(name).get(element, 0) for name, number in reaction.products.items())


@pytest.mark.parametrize(
    ("names", "ion", "words"),
    [
        (("Na2Se", "W"), "Na", "S of WSSe is in none of the products Na2Se and W"),
        (("Na2Se", "WS2"), "Na", "no amounts of these products balance it"),
        (("Na2Se", "Na2S", "W", "Na"), "Na", "in more than one way, or not at all; name fewer products"),
        (("Na2Se", "Na2S", "W", "WS2"), "Na", "in more than one way, or not at all; name fewer products"),
        (("WS2", "WSe2"), "Na", "is balanced without Na: it takes up no ion"),
        (("W", "S", "Se"), "Na", "is balanced without Na: it takes up no ion"),
        (("W", "Na2S", "Li2Se"), "Na", "no amounts of these products balance it"),
    ],
)
def test_what_cannot_be_balanced_is_told(names: tuple[str, ...], ion: str, words: str) -> None:
    with pytest.raises(UnbalancedReaction, match=words) as caught:
        balanced(units(W=1, S=1, Se=1), ion, products(*names), "WSSe")
    assert "WSSe" in str(caught.value)


def test_a_product_that_would_be_consumed_is_refused() -> None:
    """WS2 + n Na → 2 WS3 − … : WS3 holds more S than there is, so that Na2S would be consumed."""
    with pytest.raises(UnbalancedReaction, match="balanced only if Na2S is consumed"):
        balanced(units(W=1, S=2), "Na", products("Na2S", "WS3"), "WS2")


def enthalpies() -> dict[str, float]:
    with DATA.open(encoding="utf-8") as lines:
        return {row["substance"]: float(row["kj_per_mol"]) for row in csv.DictReader(lines)}


def test_the_voltage_of_experimental_enthalpies() -> None:
    """V = −ΔH/(4 F); WSSe as the mean of WS2 and WSe2. About 1.29 V, of which other tables' WS2 are 0.04 V."""
    table = enthalpies()
    formed = {"WS2": table["WS2"], "WSe2": table["WSe2"], "WSSe": (table["WS2"] + table["WSe2"]) / 2}
    volts = {}
    for host, own in formed.items():
        reaction = balanced(
            {e: Fraction(n) for e, n in formula_of(host).items()}, "Na", products("Na2Se", "Na2S", "W"), host
        )
        assert reaction.ions == 4
        gained = sum(float(number) * table.get(name, 0.0) for name, number in reaction.products.items()) - own
        volts[host] = -gained / KJ_PER_MOL_EV / 4
    assert volts["WSSe"] == pytest.approx((364.8 + 341.4 - (240.8 + 185.3) / 2) / (4 * 96.485), abs=1e-5)
    assert volts["WSSe"] == pytest.approx(1.29, abs=0.03)
    assert [round(volts[name], 2) for name in ("WSe2", "WSSe", "WS2")] == [1.29, 1.28, 1.27]
