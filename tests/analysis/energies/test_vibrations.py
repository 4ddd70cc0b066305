"""Modes and thermodynamics of an adsorbate, against ASE's thermochemistry and springs by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.thermochemistry import HarmonicThermo, IdealGasThermo
from sodiate.analysis.arrays import SecondDerivatives
from sodiate.analysis.energies.barrier import PathBarrier
from sodiate.analysis.energies.vibrations import (
    PLANCK_EV_S,
    Asked,
    free_energy_ev,
    gas_ev,
    lowest_free_energies,
    site_vibrations,
    vibrations_of,
    zero_point_ev,
)
from sodiate.analysis.records import Method, Record, Saddle, Vibrations
from support import present

from .test_adsorption import PROVENANCE

SODIUM_U, TUNGSTEN_U = 22.98976928, 183.84
MODES = (2.1e12, 2.5e12, 5.0e12)


def of_hz(modes_hz: tuple[float, ...], ion_hz: tuple[float, ...] = MODES, moved: tuple[int, ...] = (3,)) -> Record:
    return Record(
        calculation="v", label="WSe2/vibrations/T", kind="vibrations", engine="gpaw", physical=True, energy_ev=None,
        free_energy_ev=None, max_force_ev_per_a=None, geometry=None, sampling=None, input_digest="", parents={},
        method=Method(engine="gpaw", engine_version="26"), provenance=PROVENANCE,
        vibrations=Vibrations(moved=moved, modes_hz=modes_hz, ion_hz=ion_hz),
    )  # fmt: skip


ASKED = Asked("T", True, "Na", (100.0, 300.0), -1.5, -0.5)


@pytest.mark.parametrize("temperature_k", [20.0, 300.0, 1200.0])
def test_harmonic_free_energies_are_those_of_ase(temperature_k: float) -> None:
    thermo = HarmonicThermo([PLANCK_EV_S * mode for mode in MODES])
    expected = thermo.get_helmholtz_energy(temperature_k, verbose=False)
    assert free_energy_ev(MODES, temperature_k) == pytest.approx(expected, rel=2e-6)  # of other years of CODATA
    assert zero_point_ev(MODES) == pytest.approx(thermo.get_ZPE_correction(), abs=1e-12)


@pytest.mark.parametrize(("element", "spin"), [("Na", 0.5), ("Mg", 0.0)])
def test_the_gas_of_atoms_is_that_of_ase(element: str, spin: float) -> None:
    gas = IdealGasThermo([], "monatomic", atoms=Atoms(element), symmetrynumber=1, spin=spin)
    for temperature in (100.0, 300.0, 900.0):
        expected = gas.get_gibbs_energy(temperature, 1e5, verbose=False)
        assert gas_ev(element, temperature) == pytest.approx(expected, abs=2e-5)


def test_modes_of_springs() -> None:
    """Na between springs of 1, 2 and 4 eV/Å² beside a heavy atom: its own modes, and all six with the coupling."""
    hessian = np.diag([50.0, 50.0, 50.0, 1.0, 2.0, 4.0])
    found = vibrations_of(SecondDerivatives(np.array([1, 3]), hessian), [80.0, TUNGSTEN_U, 80.0, SODIUM_U])
    unit_hz = np.sqrt(1.602176634e-19 / 1e-20 / 1.66053906660e-27) / 2 / np.pi
    own = [np.sqrt(k / SODIUM_U) * unit_hz for k in (1.0, 2.0, 4.0)]
    assert found.ion_hz == pytest.approx(own)
    assert found.modes_hz == pytest.approx([*own, *[np.sqrt(50.0 / TUNGSTEN_U) * unit_hz] * 3])
    hessian[0, 3] = hessian[3, 0] = -7.5  # softer than both: 50 × 1 < 7.5²
    soft = vibrations_of(SecondDerivatives(np.array([1, 3]), hessian), [80.0, TUNGSTEN_U, 80.0, SODIUM_U])
    assert soft.modes_hz[0] < 0
    assert soft.ion_hz == pytest.approx(own)


def test_energies_of_a_minimum() -> None:
    found = site_vibrations(of_hz(MODES), ASKED)
    free = [free_energy_ev(MODES, t) for t in (100.0, 300.0)]
    assert present(found.adsorption_free_energies_ev)[1] == pytest.approx(-1.5 + free[1] - gas_ev("Na", 300.0))
    assert present(found.adsorption_free_energies_bulk_ev)[0] == pytest.approx(-0.5 + free[0])
    assert found.wavenumbers_per_cm[0] == pytest.approx(70.05, abs=0.01)
    assert found.quanta_mev[0] == pytest.approx(8.685, abs=0.001)
    assert (found.imaginary, found.neighbours, found.soft) == (0, 0, False)
    assert site_vibrations(of_hz((1e12, *MODES[1:]), (1e12, *MODES[1:])), ASKED).soft


def test_a_place_that_is_no_minimum_has_no_free_energy() -> None:
    found = site_vibrations(of_hz((-2e12, *MODES)), ASKED)
    assert (found.imaginary, found.zero_point_ev, found.free_energies_ev) == (1, None, None)
    assert found.adsorption_free_energies_ev is None
    assert found.wavenumbers_per_cm[0] < 0
    without = site_vibrations(of_hz(MODES), replace(ASKED, energy_ev=None))
    assert without.adsorption_free_energies_ev is None
    assert without.free_energies_ev is not None


PATH = PathBarrier("T..H", "T", "H", 0.1, 0.2, True, 3.0, 1e13, True, 1.0, None, None, ("p", "t", "h"))


def test_attempt_frequencies_say_where_they_are_from() -> None:
    """Vineyard's from both places where their modes are of the same atoms, also against the path's direction."""
    saddle = Saddle(between=True, start_hz=(1e12, 2e12, 3e12), saddle_hz=(-1e12, 2e12, 4e12))

    def hop(path: PathBarrier, saddle: Saddle | None, site: str = "T") -> tuple[float, float, str]:
        (one,) = site_vibrations(of_hz(MODES), replace(ASKED, site=site, paths=((path, saddle),))).hops
        return one.attempt_hz, one.rate_hz, one.origin

    both = 2.1 * 2.5 * 5.0 / (2.0 * 4.0) * 1e12
    attempt, rate, origin = hop(PATH, saddle)
    assert attempt == pytest.approx(both)
    assert origin == "Vineyard's prefactor from the modes here and at the saddle"
    assert rate == pytest.approx(both * np.exp(-0.1 / 8.617333262e-5 / 300.0))
    assert hop(PATH, saddle, "H")[1] == pytest.approx(both * np.exp(-0.2 / 8.617333262e-5 / 300.0))
    of_more = replace(PATH, attempt_hz=3e12, assumed=False)
    more = Saddle(between=True, start_hz=(1e12,) * 6, saddle_hz=(-1e12, *(2e12,) * 5))
    assert hop(of_more, more)[0] == 3e12
    assert hop(of_more, more)[2] == "Vineyard's prefactor from the modes of the path"
    assert hop(of_more, more, "H")[::2] == (
        1e13,
        "assumed: the modes here and at the saddle are not of the same atoms",
    )
    assert hop(PATH, None)[0] == 1e13
    assert hop(PATH, None)[2].startswith("assumed: the saddle has no modes at hand (barrier.modes)")


def test_the_site_of_lowest_free_energy_may_change() -> None:
    """The deeper site is the stiffer one: warm, the softer one wins."""
    stiff = site_vibrations(of_hz(MODES, (9e12,) * 3), replace(ASKED, site="stiff", energy_ev=-1.52))
    soft = site_vibrations(of_hz(MODES, (2e12,) * 3), ASKED)
    assert lowest_free_energies([stiff, soft]) == {100.0: "T", 300.0: "T"}
    deeper = site_vibrations(of_hz(MODES, (9e12,) * 3), replace(ASKED, site="stiff", energy_ev=-1.60))
    assert lowest_free_energies([deeper, soft]) == {100.0: "stiff", 300.0: "T"}
    assert lowest_free_energies([soft]) == {}
