"""D3 on top of a calculator: published damping parameters, finite differences, and one run of GPAW with it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import mx2
from ase.calculators.emt import EMT
from sodiate.workflows.engines.base import Artefacts
from sodiate.workflows.engines.gpaw.dispersion import Dispersed, dispersion_calculator
from sodiate.workflows.engines.gpaw.inputs import GpawInputs
from sodiate.workflows.engines.shared.relax import Ranks
from support import present
from support.engine_cases import GPAW

pytestmark = pytest.mark.usefixtures("dftd3")


def test_the_damping_is_that_of_pbe_as_published() -> None:
    """S. Grimme, S. Ehrlich, L. Goerigk, J. Comput. Chem. 32, 1456 (2011): a1 0.4289, s8 0.7875, a2 4.4407."""
    from dftd3.ase import DFTD3

    layer = mx2("WSe2", a=3.319, thickness=3.36, vacuum=7.5)
    layer.pbc = (True, True, False)
    given = {"s6": 1.0, "s8": 0.7875, "s9": 0.0, "a1": 0.4289, "a2": 4.4407}
    published = DFTD3(damping="d3bj", params_tweaks=given).get_property("energy", layer)
    ours = dispersion_calculator("PBE").get_property("energy", layer)
    assert ours == pytest.approx(published, abs=1e-6)
    assert ours < -0.1


def test_forces_and_stress_are_derivatives_of_the_energy() -> None:
    layer = mx2("CuAu2", a=3.319, thickness=3.36, vacuum=7.5)
    layer.pbc = (True, True, False)
    layer.rattle(0.05, seed=1)
    layer.calc = Dispersed(EMT(), "PBE", Ranks())
    plain = layer.copy()
    plain.calc = EMT()
    d3 = dispersion_calculator("PBE").get_property("energy", plain)
    assert layer.get_potential_energy() == pytest.approx(plain.get_potential_energy() + d3, abs=1e-9)
    forces, stress, step = layer.get_forces(), layer.get_stress(voigt=False), 1e-4
    numeric = np.zeros_like(forces)
    for i, axis in np.ndindex(forces.shape):
        energies = []
        for sign in (1, -1):
            moved = layer.copy()
            moved.positions[i, axis] += sign * step
            moved.calc = layer.calc
            energies.append(moved.get_potential_energy())
        numeric[i, axis] = -(energies[0] - energies[1]) / (2 * step)
    assert forces == pytest.approx(numeric, abs=1e-5)
    energies, step = [], 1e-5  # so short that no pair of atoms crosses D3's cutoff
    for sign in (1, -1):
        strained = layer.copy()
        strained.set_cell(layer.cell.array @ np.diag([1 + sign * step, 1, 1]), scale_atoms=True)
        strained.calc = layer.calc
        energies.append(strained.get_potential_energy())
    assert stress[0, 0] * layer.get_volume() == pytest.approx((energies[0] - energies[1]) / (2 * step), abs=1e-6)


@pytest.mark.usefixtures("gpaw")
def test_gpaw_with_d3_is_gpaw_and_d3(tmp_path: Path) -> None:
    """Their energies and forces add up, and the method says so, which a subtraction then asks for."""
    without = GPAW.outcome(tmp_path / "without", "static")
    assert without.atoms is not None
    assert without.energy_ev is not None
    engine = GPAW.engine()
    engine.prepare(GPAW.calculation("static", dispersion="d3bj"), without.atoms, tmp_path / "with", {})
    found = GPAW.finish(tmp_path / "with")
    assert found.energy_ev is not None
    d3 = dispersion_calculator("PBE")
    assert found.energy_ev - without.energy_ev == pytest.approx(d3.get_property("energy", without.atoms), abs=2e-4)
    difference = present(found.forces_ev_per_a) - present(without.forces_ev_per_a)
    assert difference == pytest.approx(d3.get_property("forces", without.atoms), abs=5e-3)
    assert (found.method.dispersion, without.method.dispersion) == ("d3bj", None)
    assert "dftd3" in found.versions


@pytest.mark.usefixtures("gpaw")
def test_d3_is_added_to_an_energy_that_is_there_and_no_other_one(tmp_path: Path) -> None:
    """The very number of a whole run, without one; of other atoms or settings there is a whole run."""
    bare = GPAW.outcome(tmp_path / "without", "static")
    assert bare.atoms is not None
    parents: Any = {"without": Artefacts(SimpleNamespace(), tmp_path / "without")}  # type: ignore[arg-type]
    calculation, engine = GPAW.calculation("static", dispersion="d3bj"), GPAW.engine()
    found = {}
    for name, given in (("added", parents), ("whole", {})):
        engine.prepare(calculation, bare.atoms, tmp_path / name, given)
        found[name] = GPAW.finish(tmp_path / name)
    assert [len(list((tmp_path / name).glob("gpaw-*.txt"))) for name in found] == [0, 1]
    assert found["added"].energy_ev == pytest.approx(present(found["whole"].energy_ev), abs=2e-4)
    assert present(found["added"].forces_ev_per_a) == pytest.approx(present(found["whole"].forces_ev_per_a), abs=5e-3)
    assert found["added"].method == found["whole"].method
    assert found["added"].sampling == found["whole"].sampling
    assert found["added"].versions.keys() == found["whole"].versions.keys()
    moved = bare.atoms.copy()
    moved.positions[-1] += 0.1
    other = GPAW.calculation("static", dispersion="d3bj", kpoint_length_a=9.0)
    for name, atoms, one in (("moved", moved, calculation), ("denser", bare.atoms, other)):
        engine.prepare(one, atoms, tmp_path / name, parents)
        assert GpawInputs.read(tmp_path / name).without is None


@pytest.mark.usefixtures("gpaw")
def test_it_is_added_to_the_energy_of_a_relaxation(tmp_path: Path) -> None:
    """At its end, where a single point has the same energy; without D3 that energy is taken as it is."""
    relaxed = GPAW.outcome(tmp_path / "relaxed", "relax")
    atoms = present(relaxed.atoms)
    parents: Any = {"without": Artefacts(SimpleNamespace(), tmp_path / "relaxed")}  # type: ignore[arg-type]
    found = {}
    for name, given, changes in (
        ("added", parents, {"dispersion": "d3bj"}), ("taken", parents, {}), ("whole", {}, {}),
    ):  # fmt: skip
        engine = GPAW.engine()
        engine.prepare(GPAW.calculation("static", **changes), atoms, tmp_path / name, given)
        found[name] = GPAW.finish(tmp_path / name)
    assert [len(list((tmp_path / name).glob("gpaw-*.txt"))) for name in found] == [0, 0, 1]
    assert found["taken"].energy_ev == relaxed.energy_ev
    assert found["taken"].energy_ev == pytest.approx(present(found["whole"].energy_ev), abs=1e-3)
    d3 = dispersion_calculator("PBE").get_property("energy", atoms)
    assert present(found["added"].energy_ev) - present(relaxed.energy_ev) == pytest.approx(d3, abs=1e-9)
    assert (found["taken"].method, found["taken"].sampling) == (found["whole"].method, found["whole"].sampling)
    assert (found["taken"].ionic_steps, found["added"].method.dispersion) == (None, "d3bj")


def test_an_isolated_atom_has_that_of_its_images() -> None:
    """As docs/gpaw.md says; alone it has none, since pairs have it."""
    for element, energy_ev in (("Na", -0.0012), ("K", -0.0039)):
        atom = Atoms(element, cell=(12.0, 12.5, 13.0), pbc=True)
        assert dispersion_calculator("PBE").get_property("energy", atom) == pytest.approx(energy_ev, abs=5e-5)
        atom.pbc = False
        assert dispersion_calculator("PBE").get_property("energy", atom) == pytest.approx(0.0, abs=1e-9)
