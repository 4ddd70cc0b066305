"""Hubbard corrections with GPAW, computed: forces are slopes of energies, and an older GPAW has the same energy.

On the row of sulphur with Na, with a correction of the p states of S alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Limits, Outcome, Settings
from sodiate.workflows.engines.gpaw.inputs import calculator_settings
from sodiate.workflows.stop import Stop
from support.engine_cases import GPAW, GPAW_PROTOCOL, sulphur_with_na

U = {"S": {"p": 3.0}}
STEP_A = 0.02


def row(moved_a: float) -> Atoms:
    atoms = sulphur_with_na()
    atoms.positions[0, 1] += moved_a
    return atoms


def computed(directory: Path, moved_a: float) -> tuple[float, float, Outcome]:
    """Return the energy that forces belong to, the force on S along y, and the rest."""
    directory.mkdir()
    engine = make_engine("gpaw", Settings(worker={"gpaw_command": "gpaw python run.py"}))
    engine.prepare(GPAW.calculation("static", hubbard_u_ev=U), row(moved_a), directory, {})
    engine.run(directory, Limits(), Stop())
    outcome = engine.collect(directory)
    assert outcome.free_energy_ev is not None
    assert outcome.forces_ev_per_a is not None
    return outcome.free_energy_ev, float(outcome.forces_ev_per_a[0, 1]), outcome


def test_a_correction_acts_on_energy_and_forces_alike(gpaw: None, tmp_path: Path) -> None:
    (left, first, outcome), (right, second, _) = (computed(tmp_path / f"{a:+g}", a) for a in (0.0, STEP_A))
    assert (first + second) / 2 == pytest.approx((left - right) / STEP_A, abs=GPAW.slope_ev_per_a)
    assert outcome.method.hubbard == {"S": "p, U = 3 eV (Dudarev, normalised orbitals)"}
    assert json.loads((tmp_path / "+0" / "input.json").read_text())["calculator"]["setups"] == {"S": ":p,3.0"}
    own, plain = of_older_gpaw({"S": ":p,3.0"}), of_older_gpaw({})
    assert outcome.energy_ev == pytest.approx(own, abs=5e-3)
    assert own - plain > 0.5  # it acts


def of_older_gpaw(setups: dict[str, str]) -> float:
    """The energy of GPAW's older implementation, called without sodiate."""
    from gpaw.old.calculator import GPAW as Older

    atoms = row(0.0)
    settings: dict[str, Any] = calculator_settings(GPAW_PROTOCOL, atoms, "static", "here")
    atoms.calc = Older(
        **{key: settings[key] for key in ("mode", "xc", "kpts", "occupations", "nbands")}, setups=setups, txt=None
    )
    return float(atoms.get_potential_energy())
