"""Images of a path with GPAW: each goes on from its own density, also in a launch after a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Settings
from sodiate.workflows.engines.gpaw.inputs import GpawInputs
from sodiate.workflows.engines.shared.relax import Ranks
from support.engine_cases import EXECUTION, GPAW

from .test_gpaw_states import PROTOCOL, li_on_graphene


@pytest.mark.usefixtures("gpaw")
def test_each_image_goes_on_from_its_density(tmp_path: Path) -> None:
    """Energy and forces are those of a calculator that begins anew there, to what an SCF cycle leaves."""
    from sodiate.workflows.engines.gpaw.electrons import CalculatorFactory, WithoutMeanForce, new_calculator
    from sodiate.workflows.engines.gpaw.path import PathCalculators

    calculation = GPAW.calculation("relax", **PROTOCOL | {"spin_polarised": False})
    make_engine("gpaw", Settings(execution=EXECUTION)).prepare(calculation, li_on_graphene(), tmp_path, {})
    inputs = GpawInputs.read(tmp_path)
    inputs.atoms.set_initial_magnetic_moments(None)
    factory = CalculatorFactory(inputs.calculator, WithoutMeanForce, lambda: str(tmp_path / "gpaw-1.txt"))

    def anew(atoms: Any) -> tuple[float, np.ndarray]:
        copy = atoms.copy()
        copy.calc = WithoutMeanForce(new_calculator(inputs.calculator, str(tmp_path / "plain.txt")))
        return copy.get_potential_energy(force_consistent=True), copy.get_forces()

    images = [inputs.atoms.copy() for _ in range(3)]
    for number, atoms in enumerate(images):
        atoms.positions[-1] += [0.06 * number, 0.0, 0.03 * number]
    calculators = PathCalculators(inputs, "path", factory, Ranks())
    steps = [calculators.step(atoms, "image 1", number) for number, atoms in enumerate(images[:2])]
    assert [path.name for path in tmp_path.glob("path-*.gpw*")] == ["path-image-1-0.gpw"]

    def refuse() -> Any:
        raise AssertionError("an image whose density is on disk began anew")

    again = PathCalculators(inputs, "path", replace(factory), Ranks())
    object.__setattr__(again._factory, "new", refuse)
    steps.append(again.step(images[2], "image 1", 2))
    for step, atoms in zip(steps, images, strict=True):
        energy, forces = anew(atoms)
        assert step.energy_ev == pytest.approx(energy, abs=2e-3)
        np.testing.assert_allclose(step.forces_ev_per_a, forces, atol=0.02)
        np.testing.assert_array_equal(step.positions_a, atoms.positions)
