"""What GPAW is told of a crystal of layers, and one small real run of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sodiate.workflows.engines.gpaw.dispersion import dispersion_calculator
from sodiate.workflows.engines.gpaw.inputs import calculator_settings
from sodiate.workflows.plan.planner import plan
from support import present
from support.engine_cases import GPAW


def test_a_crystal_has_a_mesh_along_c_and_no_dipole_layer() -> None:
    planned = plan("mos2-bilayer", "gpaw")
    meshes = {}
    for name in ("MoS2-bulk/Oct@gallery", "MoS2-bilayer/Oct@gallery"):
        calculation = planned.names[name]
        settings = calculator_settings(calculation.protocol, planned[name].atoms(), "relax", "here")
        meshes[name] = settings["kpts"]["size"], "poissonsolver" in settings
        assert calculation.protocol["dispersion"] == "d3bj"
    assert meshes == {"MoS2-bulk/Oct@gallery": ([4, 4, 2], False), "MoS2-bilayer/Oct@gallery": ([4, 4, 1], True)}


@pytest.mark.usefixtures("gpaw", "dftd3")
def test_gpaw_runs_a_crystal(tmp_path: Path) -> None:
    """AA MoS2, three atoms: periodic along c by what it recorded, and D3 pulls the layers together."""
    from sodiate.structures.monolayers import Monolayer
    from sodiate.structures.stacks import Stack, build_stack

    layer = Monolayer("Mo", "S", "S", 3.184, 2.413, 2.413)
    atoms = build_stack(Stack(layer, "AA", None, 6.8), (1, 1))
    engine = GPAW.engine()
    engine.prepare(GPAW.calculation("static", dispersion="d3bj"), atoms, tmp_path / "run", {})
    found = GPAW.finish(tmp_path / "run")
    assert found.vacuum_ev is None
    assert present(found.sampling).dipole_correction is False
    assert present(found.atoms).pbc.all()
    energies = []
    for distance in (6.75, 6.85):
        there = build_stack(Stack(layer, "AA", None, distance), (1, 1))
        energies.append(dispersion_calculator("PBE").get_property("energy", there))
    assert np.diff(energies)[0] > 0
