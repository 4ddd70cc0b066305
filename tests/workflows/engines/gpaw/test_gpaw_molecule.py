"""A free molecule in its box with GPAW: held against GPAW driven by ASE alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ase.build import molecule
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Limits, Settings
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.start_structures import start_moments
from sodiate.workflows.stop import Stop
from support import DATA, present

BOX_A = (7.5, 8.0, 8.9)


@pytest.mark.usefixtures("gpaw")
def test_a_dimer_relaxes_to_what_gpaw_and_ase_give(tmp_path: Path) -> None:
    """Li2: the singlet, its bond and its energy, at a cutoff of seconds."""
    from ase.optimize import BFGS
    from gpaw import GPAW, PW

    campaign = yaml.safe_load((DATA / "gpaw-tiny.yaml").read_text(encoding="utf-8"))
    campaign["protocol"]["atom"]["box_a"] = list(BOX_A)
    campaign["protocol"] |= {"cutoff_ev": 200.0, "max_force_ev_per_a": 0.05}
    values = {"supercell": [3, 3], "adsorbate": {"molecule": "Li2"}, "quantities": [], "dos": {}, "execution": {}}
    (tmp_path / "li2.yaml").write_text(yaml.safe_dump(campaign | values), encoding="utf-8")
    planned = plan(tmp_path / "li2.yaml")
    calculation, atoms = planned.names["Li2"], planned["Li2"].atoms()
    moments = present(start_moments(calculation, 2))
    assert moments == [0.0, 0.0]
    atoms.set_initial_magnetic_moments(moments)
    engine = make_engine("gpaw", Settings(execution=planned.execution(calculation)))
    engine.prepare(calculation, atoms, tmp_path / "run", {})
    engine.run(tmp_path / "run", Limits(), Stop())
    found = engine.collect(tmp_path / "run")
    theirs = molecule("Li2", cell=BOX_A, pbc=True)
    theirs.center()
    convergence = {"energy": 1e-5, "density": 1e-4, "eigenstates": 1e-6}
    smearing = {"name": "methfessel-paxton", "order": 0, "width": 0.01}
    theirs.calc = GPAW(
        mode=PW(200.0), xc="PBE", convergence=convergence, occupations=smearing, txt=str(tmp_path / "gpaw.txt")
    )
    BFGS(theirs, logfile=str(tmp_path / "bfgs.txt")).run(fmax=0.05)
    assert present(found.atoms).get_distance(0, 1) == pytest.approx(theirs.get_distance(0, 1), abs=0.02)
    assert found.energy_ev == pytest.approx(theirs.get_potential_energy(), abs=0.005)
    assert abs(present(found.total_moment_mub)) < 0.05
    assert found.sampling is not None
    assert found.sampling.kmesh == (1, 1, 1)
