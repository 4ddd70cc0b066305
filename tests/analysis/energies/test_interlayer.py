"""Distances of layers, against curves whose least is known and positions by hand."""

import numpy as np
import pytest
from sodiate.analysis.energies.interlayer import distance_between, least_distance

SCAN = 6.15 * np.array([0.96, 0.98, 1.0, 1.02, 1.04])


def curve(distances: np.ndarray, least: float) -> dict[float, float]:
    """A Morse potential, as steep as that of layered sulphides."""
    return {float(d): 0.15 * (1 - np.exp(-1.3 * (d - least))) ** 2 - 0.15 for d in distances}


@pytest.mark.parametrize("least", [6.02, 6.10, 6.15, 6.23, 6.29])
def test_the_least_of_a_known_curve(least: float) -> None:
    found = least_distance(curve(SCAN, least))
    assert not isinstance(found, str)
    assert found[0] == pytest.approx(least, abs=0.01)
    assert 0 < found[1] < 1e-3


def test_a_cubic_is_met_and_its_order_does_not_matter() -> None:
    energies = {d: 2.0 * (d - 6.2) ** 2 - 0.5 * (d - 6.2) ** 3 for d in reversed(SCAN.tolist())}
    found = least_distance(energies)
    assert not isinstance(found, str)
    assert list(found) == pytest.approx([6.2, 0.0], abs=1e-6)
    assert found[1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("least", "side"), [(5.5, "below"), (7.0, "above")])
def test_the_least_at_an_end_is_none(least: float, side: str) -> None:
    found = least_distance(curve(SCAN, least))
    assert found == f"the energy is least at an end of 5.90 to 6.40 Å; declare an interlayer_a {side} that"


def test_a_distance_in_a_relaxed_geometry() -> None:
    """Three sheets at 0, 6 and 12 Å, of two atoms 1 Å apart; the middle one lacks its upper atom, and all moved."""
    sheets, ideal = [[0, 1], [2], [3, 4]], [0.5, 6.0, 12.5]
    positions = [[0, 0, z] for z in (0.1, 1.1, 6.3, 12.9, 13.9, 9.0)]  # the last is an ion between
    assert distance_between(sheets, ideal, [6.0, 6.0], positions) == pytest.approx((6.2 + 6.6) / 2)
