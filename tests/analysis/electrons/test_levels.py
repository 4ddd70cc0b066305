"""Vacuum levels and work functions, of potentials and bands whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sodiate.analysis.arrays import Bands
from sodiate.analysis.electrons.gap_and_dos import ElectronicError, band_gap
from sodiate.analysis.electrons.levels import no_vacuum_levels, vacuum_levels, work_functions, zero_of

HEIGHT = 20.0


def potential(below: float, above: float, field: float = 0.0) -> np.ndarray:
    """A well in the middle between two levels, and a field."""
    z = np.arange(400) * HEIGHT / 400
    side = 1 / (1 + np.exp(-(z - HEIGHT / 2)))
    return below + (above - below) * side - 20.0 * np.exp(-((z - HEIGHT / 2) ** 2)) + field * (z - HEIGHT / 2)


def test_each_face_has_its_level() -> None:
    levels = vacuum_levels(potential(1.2, 1.93), HEIGHT)
    assert levels == pytest.approx((1.2, 1.93), abs=1e-3)


def test_a_field_or_bulk_has_none() -> None:
    assert vacuum_levels(potential(0.0, 0.0, field=0.05), HEIGHT) is None
    assert vacuum_levels(np.cos(np.linspace(0, 2 * np.pi, 20, endpoint=False)), 4.0) is None
    assert vacuum_levels(np.zeros(1), 4.0) is None


@pytest.mark.parametrize(("field", "told"), [(0.012, "+0.0120"), (-0.012, "-0.0120"), (0.0015, None)])
def test_a_slope_in_the_vacuum_is_refused_with_its_size(field: float, told: str | None) -> None:
    """0.012 eV/Å leaves the sides of a slab in 17 Å of vacuum 0.2 eV apart, and less than 0.02 eV over a plateau."""
    planes = potential(0.0, 0.0, field=field)
    reason = no_vacuum_levels(planes, HEIGHT)
    if told is None:
        assert reason is None
        assert vacuum_levels(planes, HEIGHT) is not None
        return
    assert vacuum_levels(planes, HEIGHT) is None
    assert reason is not None
    assert f"below the slab the potential is not flat, {told} eV/Å" in reason


def vacancy() -> Bands:
    """Two k points: a band of the host, a filled and an empty level of atom 0, another band of the host."""
    energies = np.array([[[-3.0, -1.0, -0.5, 0.6, 1.0], [-3.5, -1.4, -0.4, 0.5, 1.3]]])
    occupations = np.array([[[2.0, 2, 2, 0, 0], [2, 2, 2, 0, 0]]])
    on_first = np.array([0.2, 0.3, 0.8, 0.7, 0.25])
    by_atom = np.stack([on_first, 1 - on_first], axis=-1) * 0.6  # as projected, not normalised
    by_atom = np.broadcast_to(by_atom, (1, 2, 5, 2)).astype(np.float16)
    return Bands(energies, occupations, np.zeros((2, 3)), np.array([0.5, 0.5]), 0.0, by_atom)


def test_scales_begin_where_they_say() -> None:
    bands = vacancy()
    assert zero_of(bands, "VBM", None) == pytest.approx(-0.4)
    assert zero_of(bands, "E_F", None) == 0.0
    assert zero_of(bands, "vacuum", (4.0, 4.7)) == 4.7
    with pytest.raises(ElectronicError, match="no vacuum level was recorded"):
        zero_of(bands, "vacuum", None)
    assert work_functions((4.0, 4.7), band_gap(bands)) == pytest.approx((4.4, 5.1))
