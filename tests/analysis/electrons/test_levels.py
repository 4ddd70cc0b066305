"""Vacuum levels, work functions and defect levels, of potentials and bands whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sodiate.analysis.arrays import Bands
from sodiate.analysis.electrons.gap_and_dos import ElectronicError, band_gap
from sodiate.analysis.electrons.levels import defect_levels, vacuum_levels, work_functions, zero_of

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


def vacancy() -> Bands:
    """Two k points: a band of the host, a filled and an empty level of atom 0, another band of the host."""
    energies = np.array([[[-3.0, -1.0, -0.5, 0.6, 1.0], [-3.5, -1.4, -0.4, 0.5, 1.3]]])
    occupations = np.array([[[2.0, 2, 2, 0, 0], [2, 2, 2, 0, 0]]])
    on_first = np.array([0.2, 0.3, 0.8, 0.7, 0.25])
    by_atom = np.stack([on_first, 1 - on_first], axis=-1) * 0.6  # as projected, not normalised
    by_atom = np.broadcast_to(by_atom, (1, 2, 5, 2)).astype(np.float16)
    return Bands(energies, occupations, np.zeros((2, 3)), np.array([0.5, 0.5]), 0.0, by_atom)


def test_levels_of_a_vacancy_are_told_from_the_hosts_bands() -> None:
    found = defect_levels(vacancy(), [0])
    assert found.host_gap_ev == pytest.approx(2.0)
    assert (found.host_vbm_ev, found.host_cbm_ev) == pytest.approx((-1.0, 1.0))
    assert band_gap(vacancy()).gap_ev == pytest.approx(0.9)  # with the levels: -0.4 to 0.5
    filled, empty = found.levels
    assert (filled.band, filled.occupation, filled.lowest_ev, filled.highest_ev) == pytest.approx(
        (3, 1.0, -0.5, -0.4)
    )
    assert (empty.band, empty.occupation, empty.lowest_ev, empty.highest_ev) == pytest.approx((4, 0.0, 0.5, 0.6))
    assert (filled.share, empty.share) == pytest.approx((0.8, 0.7), abs=1e-3)


def test_the_order_of_bands_does_not_matter() -> None:
    bands = vacancy()
    turned = Bands(
        bands.energies_ev[..., ::-1],
        bands.occupations[..., ::-1],
        bands.kpoints,
        bands.weights,
        bands.fermi_ev,
        bands.by_atom[:, :, ::-1],  # type: ignore[index]
    )
    assert defect_levels(turned, [0]) == defect_levels(bands, [0])


def test_what_cannot_be_said_is_refused() -> None:
    bands = vacancy()
    plain = Bands(bands.energies_ev, bands.occupations, bands.kpoints, bands.weights, bands.fermi_ev)
    with pytest.raises(ElectronicError, match="weight of each state on each atom"):
        defect_levels(plain, [0])
    with pytest.raises(ElectronicError, match="atoms next to a vacancy"):
        defect_levels(bands, [])
    with pytest.raises(ElectronicError, match="no band is the host's"):
        defect_levels(bands, [0, 1])


def test_scales_begin_where_they_say() -> None:
    bands = vacancy()
    assert zero_of(bands, "VBM", None) == pytest.approx(-0.4)
    assert zero_of(bands, "E_F", None) == 0.0
    assert zero_of(bands, "vacuum", (4.0, 4.7)) == 4.7
    with pytest.raises(ElectronicError, match="no vacuum level was recorded"):
        zero_of(bands, "vacuum", None)
    assert work_functions((4.0, 4.7), band_gap(bands)) == pytest.approx((4.4, 5.1))
