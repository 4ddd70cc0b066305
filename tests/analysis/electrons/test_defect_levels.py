"""Levels of vacancies, of bands whose answer is known by hand, and of the five hosts of docs/reproduction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sodiate.analysis.arrays import Bands
from sodiate.analysis.electrons.defect_levels import CleanHost, DefectLevels, defect_levels
from sodiate.analysis.electrons.gap_and_dos import ElectronicError, band_gap
from sodiate.workflows.results.results import Results
from sodiate.workflows.start_structures import next_to_defects, sublattices
from support import DOCS

SHEET = (0, 0, 0, 0)
"""Four atoms of one sublattice, of which the first is next to the vacancy: an extended state has a quarter there."""


def states(energies: list[list[float]], filled: int, on_first: list[list[float]]) -> Bands:
    """Bands at some k points, the lowest of them filled, with their share on the first atom."""
    share = np.array([on_first])
    rest = np.repeat((1 - share[..., None]) / 3, 3, axis=-1)
    by_atom = np.concatenate([share[..., None], rest], axis=-1) * 0.6  # as projected, not normalised
    levels = np.array([energies])
    occupations = np.zeros_like(levels)
    occupations[..., :filled] = 2.0
    points = len(energies)
    kpoints = np.column_stack([np.arange(points) / points, np.zeros(points), np.zeros(points)])
    return Bands(levels, occupations, kpoints, np.full(points, 1 / points), 0.5, by_atom.astype(np.float32))


MINIMAL = ([[-1.0, 0.0, 0.2, 1.0, 1.7]], 3, [[0.25, 0.25, 0.40, 0.65, 0.2]])


def test_a_filled_level_above_the_hosts_edge_is_the_vacancys() -> None:
    found = defect_levels(states(*MINIMAL), [0], SHEET)
    assert (found.host_vbm_ev, found.host_cbm_ev) == (0.0, 1.7)
    assert found.host_gap_ev == pytest.approx(1.7)
    assert [(level.band, level.lowest_ev, level.occupation) for level in found.levels] == [
        (3, 0.2, 1.0),
        (4, 1.0, 0.0),
    ]
    assert [level.share for level in found.levels] == pytest.approx([0.40, 0.65], abs=1e-6)
    assert not any(level.of_host for level in found.levels)


@pytest.mark.parametrize("aligned", [True, False])
def test_the_clean_hosts_edges_are_found_again(aligned: bool) -> None:
    """On another zero of energy, by the vacuum on both faces or by the deepest band."""
    host = states(*MINIMAL)
    clean = states([[4.0, 5.02, 6.6]], 2, [[0.25, 0.25, 0.25]])
    before = CleanHost(clean, SHEET, (9.5, 10.5) if aligned else None)
    found = defect_levels(host, [0], SHEET, (4.6, 5.4) if aligned else None, before)
    assert (found.host_vbm_ev, found.host_cbm_ev) == (0.0, 1.7)
    assert found.clean_gap_ev == pytest.approx(1.58)
    assert [level.band for level in found.levels] == [3, 4]


def test_a_band_of_the_host_beyond_its_edge_is_called_so() -> None:
    """Another valley that the vacancy lifts is no level of it; by its composition it is not the old edge either."""
    sublattice = (0, 0, 1, 1)
    of_valley, of_edge = [0.05, 0.05, 0.45, 0.45], [0.45, 0.45, 0.05, 0.05]

    def bands(energies: list[float], parts: list[list[float]]) -> Bands:
        return Bands(
            np.array([[energies]]), np.array([[[2.0, 2.0, 0.0]]]), np.zeros((1, 3)), np.ones(1), 0.5,
            np.array([[parts]]),
        )  # fmt: skip

    clean = CleanHost(bands([-0.1, 0.0, 1.5], [of_valley, of_edge, of_edge]), sublattice)
    host = bands([-0.02, 0.06, 1.5], [of_edge, of_valley, of_edge])
    found = defect_levels(host, [0], sublattice, None, clean)
    assert found.host_gap_ev == pytest.approx(1.52)
    (level,) = found.levels
    assert (level.lowest_ev, level.of_host, level.occupation) == (0.06, True, 1.0)


def test_bands_that_cross_are_judged_at_each_k_point() -> None:
    """A level that falls below the host's edge at the second k point: over both, either band has half of it."""
    energies = [[-1.0, 0.0, 0.3, 1.5], [-1.0, -0.5, -0.2, 1.6]]
    shares = [[0.25, 0.25, 0.8, 0.25], [0.25, 0.8, 0.25, 0.25]]
    found = defect_levels(states(energies, 3, shares), [0], SHEET)
    assert (found.host_vbm_ev, found.host_cbm_ev) == (0.0, 1.5)
    (level,) = found.levels
    assert (level.band, level.lowest_ev, level.highest_ev) == (3, 0.3, 0.3)
    assert level.share == pytest.approx(0.8, abs=1e-6)


def test_where_most_atoms_are_next_to_a_vacancy_there_is_an_answer() -> None:
    """Three of four, as the metal atoms of 2×2: an extended state has three quarters there."""
    bands = states([[-1.0, 0.0, 0.2, 1.0, 1.7]], 3, [[0.25, 0.25, 0.02, 0.02, 0.25]])
    found = defect_levels(bands, [1, 2, 3], SHEET)
    assert found.host_gap_ev == pytest.approx(1.7)
    assert [level.lowest_ev for level in found.levels] == [0.2, 1.0]


def test_the_order_of_bands_does_not_matter() -> None:
    bands = states(*MINIMAL)
    assert bands.by_atom is not None
    turned = replace(
        bands,
        energies_ev=bands.energies_ev[..., ::-1],
        occupations=bands.occupations[..., ::-1],
        by_atom=bands.by_atom[:, :, ::-1],
    )
    assert defect_levels(turned, [0], SHEET) == defect_levels(bands, [0], SHEET)


def test_what_cannot_be_said_is_refused() -> None:
    bands = states(*MINIMAL)
    with pytest.raises(ElectronicError, match="weight of each state on each atom"):
        defect_levels(replace(bands, by_atom=None), [0], SHEET)
    with pytest.raises(ElectronicError, match="atoms next to a vacancy"):
        defect_levels(bands, [], SHEET)
    with pytest.raises(ElectronicError, match="compute more of them"):
        defect_levels(replace(bands, occupations=np.full_like(bands.occupations, 2.0)), [0], SHEET)
    metal = states([[-1.0, 0.0, 0.0, 1.0]], 2, [[0.25] * 4])
    with pytest.raises(ElectronicError, match="clean host is a metal"):
        defect_levels(bands, [0], SHEET, None, CleanHost(metal, SHEET))


@pytest.fixture(scope="module")
def archive() -> Iterator[Results]:
    with Results.open(DOCS / "reproduction") as results:
        yield results


def levels_of(archive: Results, name: str) -> tuple[DefectLevels, float]:
    """Return the levels of a host of docs/reproduction, beside its clean one, and its gap with them."""
    found = {}
    for result in archive.models("wsse-gpaw-best"):
        record = result.host.record("dos", "dos")
        calculation = archive.documents.calculation(result.host.model.host)
        assert record is not None
        bands = archive.documents.arrays(record, "bands")
        assert isinstance(bands, Bands)
        found[result.model] = bands, calculation, record.vacuum_ev
    clean, of_clean, vacuum = found["WSSe"]
    bands, calculation, own = found[name]
    before = CleanHost(clean, sublattices(of_clean), vacuum)
    levels = defect_levels(bands, next_to_defects(calculation), sublattices(calculation), own, before)
    return levels, band_gap(bands).gap_ev


@pytest.mark.parametrize(
    ("name", "host_gap", "filled", "empty"),
    [("WSSe+VS", 1.783, 1, 2), ("WSSe+VSe", 1.733, 0, 2), ("WSSe+VS+VSe", 1.759, 1, 2)],
)
def test_from_k_doublet_to_k_doublet_of_the_archive(
    archive: Results, name: str, host_gap: float, filled: int, empty: int
) -> None:
    """Held against the folded K doublets, which the eye finds by their degeneracy at Γ of 3×3."""
    found, gap = levels_of(archive, name)
    assert found.host_gap_ev == pytest.approx(host_gap, abs=1.5e-3)
    assert found.clean_gap_ev == pytest.approx(1.694, abs=6e-4)
    vacancys = [level for level in found.levels if not level.of_host and level.spin == 0]
    assert [sum(level.occupation > 0.5 for level in vacancys), len(vacancys)] == [filled, filled + empty]
    assert gap < found.host_gap_ev - 0.5


def test_the_singlet_at_the_valence_edge_of_the_sulphur_vacancy(archive: Results) -> None:
    """Band 114 at Γ has 37 % on its three W, extended states 25 %; the host's doublet lies 0.218 eV below it."""
    found, _ = levels_of(archive, "WSSe+VS")
    singlet = next(level for level in found.levels if level.occupation > 0.5)
    assert singlet.band == 114
    assert singlet.highest_ev - found.host_vbm_ev == pytest.approx(0.218, abs=1e-3)
    assert singlet.share == pytest.approx(0.37, abs=0.01)
    assert singlet.extended_share == pytest.approx(0.25, abs=0.01)


def test_the_selenium_vacancy_lifts_another_valley_of_the_host(archive: Results) -> None:
    found, _ = levels_of(archive, "WSSe+VSe")
    lifted = [level for level in found.levels if level.of_host and level.spin == 0]
    assert [round(level.highest_ev - found.host_vbm_ev, 2) for level in lifted] == [0.06]
