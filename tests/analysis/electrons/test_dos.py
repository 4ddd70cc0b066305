"""Densities of states, held against ASE, pymatgen and lone Gaussians; eigenvalues of a model and of VASP."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.spectrum.dosdata import RawDOSData
from sodiate.analysis.arrays import Bands, Dos
from sodiate.analysis.electrons.gap_and_dos import (
    ElectronicError,
    band_gap,
    dos_from_bands,
    dos_gap,
    projected_fraction,
    to_pymatgen_dos,
)
from sodiate.workflows.results.results import Results
from support import DATA, DOCS, present

NACL = DATA / "vasp" / "vasprun_NaCl_insulator_static.xml.gz"


def cosine_bands(nk: int = 21, gap: float = 1.0) -> Bands:
    """Four cosine bands, two of them filled, with a direct gap at k = 0 and the Fermi level in its middle."""
    k = np.linspace(0, 0.5, nk)
    valence = 0.5 * np.cos(2 * np.pi * k) - 0.5
    conduction = gap - valence
    levels = np.stack([valence - 5, valence, conduction, conduction + 5], axis=1)[None]
    kpoints = k[:, None] * [1, 0, 0]
    return Bands(levels, np.tile([2.0, 2, 0, 0], (1, nk, 1)), kpoints, np.full(nk, 1 / nk), gap / 2)


def test_dos_integrates_to_the_number_of_states_and_to_the_electrons() -> None:
    bands = cosine_bands()
    dos = dos_from_bands(bands, 0.05)
    step = dos.energies_ev[1] - dos.energies_ev[0]
    assert step <= 0.01 + 1e-12
    assert dos.total.shape == (1, len(dos.energies_ev))
    assert dos.total.sum() * step == pytest.approx(8.0, rel=1e-9)  # four bands, two spins
    assert dos.total[0, dos.energies_ev < 0.5].sum() * step == pytest.approx(4.0, rel=1e-9)
    spin = replace(bands, energies_ev=np.repeat(bands.energies_ev, 2, axis=0), occupations=np.ones((2, 21, 4)))
    np.testing.assert_allclose(dos_from_bands(spin, 0.05).total.sum(axis=0), dos.total[0], atol=1e-12)


def test_dos_agrees_with_ase_and_with_a_lone_gaussian() -> None:
    rng = np.random.default_rng(3)
    levels = rng.normal(size=(2, 7, 200))  # more states than one chunk
    weights = rng.random(7)
    weights /= weights.sum()
    bands = Bands(levels, np.ones_like(levels), np.zeros((7, 3)), weights, 0.0)
    dos = dos_from_bands(bands, 0.08, window=(-1.0, 1.0))
    assert (dos.energies_ev[0], dos.energies_ev[-1]) == pytest.approx((-1.0, 1.0))
    for spin in (0, 1):
        raw = RawDOSData(levels[spin].ravel(), np.repeat(weights, 200))
        expected = raw.sample_grid(len(dos.energies_ev), xmin=-1.0, xmax=1.0, width=0.08).get_weights()
        np.testing.assert_allclose(dos.total[spin], expected, rtol=1e-9, atol=1e-9)
    one = Bands(np.zeros((1, 1, 1)), np.ones((1, 1, 1)), np.zeros((1, 3)), np.ones(1), 0.0)
    assert dos_from_bands(one, 0.1).total.max() == pytest.approx(2 / (0.1 * np.sqrt(2 * np.pi)), rel=1e-6)


def test_projections_add_up_to_the_total() -> None:
    bands = cosine_bands()
    share = np.random.default_rng(5).random(bands.energies_ev.shape)
    dos = dos_from_bands(bands, 0.05, {"W-d": share, "Se-p": 1 - share})
    assert list(dos.projected) == ["W-d", "Se-p"]
    np.testing.assert_allclose(dos.projected["W-d"] + dos.projected["Se-p"], dos.total, atol=1e-12)
    step = dos.energies_ev[1] - dos.energies_ev[0]
    assert dos.projected["W-d"].sum() * step == pytest.approx(2 * share.sum() / 21, rel=1e-9)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"spacing_ev": 0.02}, "at most 0.01"),
        ({"spacing_ev": 0.0}, "at most 0.01"),
        ({"broadening_ev": 0.004}, "between grid points"),
        ({"window": (1.0, -1.0)}, "empty"),
        ({"projections": {"W-d": np.ones((1, 2, 3))}}, "W-d"),
    ],
)
def test_dos_that_cannot_be_right_is_refused(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ElectronicError, match=message):
        dos_from_bands(cosine_bands(), **{"broadening_ev": 0.05} | keywords)


def test_dos_gap_is_a_cross_check_of_the_gap_from_eigenvalues() -> None:
    bands = cosine_bands(nk=201, gap=1.3)
    gap = band_gap(bands)
    dos = dos_from_bands(bands, 0.01)
    assert dos_gap(dos, 1e-3) == pytest.approx(gap.gap_ev, abs=0.1)
    assert dos_gap(dos, 1e-3) < gap.gap_ev  # broadening narrows it
    # Analytic: the edge of a lone level broadened by σ crosses a threshold h at σ sqrt(2 ln(peak / h)).
    pair = Bands(np.array([[[-1.0, 1.0]]]), np.array([[[2.0, 0]]]), np.zeros((1, 3)), np.ones(1), 0.0)
    peak = 2 / (0.05 * np.sqrt(2 * np.pi))
    expected = 2 * (1 - 0.05 * np.sqrt(2 * np.log(peak / 0.01)))
    assert dos_gap(dos_from_bands(pair, 0.05), 0.01) == pytest.approx(expected, abs=2e-3)


def test_dos_gap_of_a_metal_and_of_a_window_too_small() -> None:
    dos = dos_from_bands(replace(cosine_bands(nk=201), fermi_ev=-0.5), 0.05)
    assert dos_gap(dos, 1e-2) == 0.0
    dos = dos_from_bands(cosine_bands(), 0.05, window=(-3.0, 0.6))
    with pytest.raises(ElectronicError, match="no states above"):
        dos_gap(dos, 1e-2)
    with pytest.raises(ElectronicError, match="lies off the DOS"):
        dos_gap(replace(dos, fermi_ev=9.0), 1e-2)


def test_pymatgen_dos_has_the_same_sums() -> None:
    from pymatgen.electronic_structure.core import OrbitalType, Spin
    from pymatgen.electronic_structure.dos import CompleteDos

    atoms = Atoms("WSe2", positions=[[0, 0, 5], [1, 1, 6.7], [1, 1, 3.3]], cell=[3.3, 3.3, 10], pbc=[1, 1, 0])
    bands = cosine_bands()
    spin = replace(bands, energies_ev=np.concatenate([bands.energies_ev, bands.energies_ev + 0.1]))
    spin = replace(spin, occupations=np.ones((2, 21, 4)))
    share = np.random.default_rng(5).random(spin.energies_ev.shape)
    dos = dos_from_bands(spin, 0.05, {"W-d": share, "Se-p": 1 - share})
    theirs = to_pymatgen_dos(dos, atoms)
    assert theirs.efermi == dos.fermi_ev
    np.testing.assert_allclose(theirs.densities[Spin.down], dos.total[1])
    np.testing.assert_allclose(theirs.get_densities(), dos.total.sum(axis=0))
    selenium = theirs.get_element_spd_dos("Se")
    assert set(selenium) == {OrbitalType.p}
    np.testing.assert_allclose(selenium[OrbitalType.p].densities[Spin.up], dos.projected["Se-p"][0], atol=1e-12)
    np.testing.assert_allclose(
        theirs.get_spd_dos()[OrbitalType.d].densities[Spin.down], dos.projected["W-d"][1], atol=1e-12
    )
    for wrong in ("Mo-d", "W"):
        with pytest.raises(ElectronicError, match=wrong):
            to_pymatgen_dos(replace(dos, projected={wrong: dos.total}), atoms)
    closed = to_pymatgen_dos(dos_from_bands(bands, 0.05), atoms)
    assert list(closed.densities) == [Spin.up]
    again = CompleteDos.from_dict(closed.as_dict())  # in a pymatgen that knows no sodiate
    assert type(again).__module__ == closed.as_dict()["@module"] == "pymatgen.electronic_structure.dos"
    np.testing.assert_allclose(again.densities[Spin.up], closed.densities[Spin.up])


def test_the_gap_of_a_pymatgen_dos_is_that_of_the_eigenvalues() -> None:
    atoms = Atoms("W", cell=[3.3, 3.3, 10], pbc=[1, 1, 0])
    bands = cosine_bands()
    dos, gap = dos_from_bands(bands, 0.05), band_gap(bands)
    assert to_pymatgen_dos(dos, atoms, gap).get_gap() == gap.gap_ev
    assert to_pymatgen_dos(dos, atoms).get_gap() < gap.gap_ev
    metal = gap.model_copy(update={"gap_ev": 0.0, "nature": "metal", "vbm_ev": None, "cbm_ev": None})
    assert to_pymatgen_dos(dos, atoms, metal).get_cbm_vbm() == (gap.fermi_ev, gap.fermi_ev)


def test_pymatgen_finds_the_same_gap_in_the_dos() -> None:
    from pymatgen.electronic_structure.core import Spin
    from pymatgen.io.vasp.outputs import Vasprun

    run = Vasprun(NACL, parse_potcar_file=False)
    levels, filling = np.moveaxis(present(run.eigenvalues)[Spin.up], -1, 0)[:, None]
    weights = np.array(run.actual_kpoints_weights)
    # VASP left the Fermi level on the band edge.
    bands = Bands(levels, 2 * filling, np.array(run.actual_kpoints), weights / weights.sum(), 1.5)
    dos = dos_from_bands(bands, 0.02)
    atoms = Atoms("Na4Cl4", positions=np.random.default_rng(0).random((8, 3)), cell=[5.6] * 3, pbc=True)
    theirs = to_pymatgen_dos(dos, atoms).get_gap(tol=1e-3, abs_tol=True)
    assert dos_gap(dos, 1e-3) == pytest.approx(theirs, abs=0.02)
    assert dos_gap(dos, 1e-3) == pytest.approx(band_gap(bands).gap_ev, abs=0.2)


def test_what_projections_add_up_to_is_no_share() -> None:
    """By hand: half as much again in the window below the Fermi level, whatever lies deeper or above."""
    energies = np.linspace(-20.0, 5.0, 2501)
    total = np.ones((1, len(energies)))
    deep = np.where(energies < -10.0, 40.0, 0.0)[None]
    dos = Dos(energies, total, {"W-d": total, "S-p": 0.5 * total + deep}, 0.0, 0.05)
    assert projected_fraction(dos) == pytest.approx(1.5)
    assert projected_fraction(replace(dos, projected={})) is None


def test_projections_of_the_reproduction_add_up_to_more_than_the_total() -> None:
    """Overlapping PAW projectors: 1.24 to 1.26, as the page and docs/conventions.md say."""
    with Results.open(DOCS / "reproduction") as results:
        for host in ("WSe2", "WSSe", "WSSe+VS", "WSSe+VSe", "WSSe+VS+VSe"):
            record = results.get(f"{host}/dos", campaign="wsse-gpaw-best").record
            dos = results.documents.arrays(record, "dos")
            assert isinstance(dos, Dos)
            assert 1.24 < (projected_fraction(dos) or 0) < 1.26
