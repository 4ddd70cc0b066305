"""Vibrations with GPAW: second derivatives from forces, held against those of the energies of the same calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.engines.base import Limits
from sodiate.workflows.engines.gpaw.inputs import GpawInputs
from sodiate.workflows.engines.shared.tape import DISPLACEMENT_A
from sodiate.workflows.engines.shared.trajectory import Checkpoint
from sodiate.workflows.engines.shared.vibrations import VIBRATIONS_TAPE
from sodiate.workflows.stop import Stop
from support import present
from support.engine_cases import GPAW, sulphur_with_na


@pytest.mark.usefixtures("gpaw")
def test_forces_and_energies_have_one_curvature(tmp_path: Path) -> None:
    """Na beside a row of sulphur: E(+h) − 2 E(0) + E(−h) over h² is −ΔF over 2h along each axis."""
    atoms, engine = sulphur_with_na(), GPAW.engine()
    protocol = {key: value for key, value in GPAW.protocol.items() if not key.startswith(("max_force", "dos"))}
    operation = {"op": "geometry", "recipe": 1}
    calculation = Calculation("vibrations", operation, "gpaw", protocol, {}, "test/vibrations")
    engine.prepare(calculation, atoms, tmp_path, {})
    engine.run(tmp_path, Limits(), Stop())
    found = engine.collect(tmp_path)
    inputs = GpawInputs.read(tmp_path)
    steps = Checkpoint(tmp_path, inputs.key, VIBRATIONS_TAPE).resume(len(atoms)).steps
    assert found.ionic_steps == len(steps) == 7
    derivatives = present(found.vibrations)
    assert derivatives.moved.tolist() == [1]
    energies = [step.energy_ev for step in steps]
    by_energy = [
        (energies[1 + 2 * axis] - 2 * energies[0] + energies[2 + 2 * axis]) / DISPLACEMENT_A**2 for axis in range(3)
    ]
    np.testing.assert_allclose(np.diag(derivatives.hessian_ev_per_a2), by_energy, atol=0.05)
    np.testing.assert_allclose(present(found.atoms).positions, atoms.positions, atol=1e-9)
    assert present(found.free_energy_ev) == pytest.approx(energies[0], abs=1e-4)
    assert present(engine.progress(tmp_path)).step == 6
    assert not list(tmp_path.glob("vibrations-*.gpw"))  # densities of displaced atoms are of no use afterwards
