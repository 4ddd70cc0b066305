"""A molecule, a bridge and a site between two layers with the stand-in for VASP, against its raw files."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from sodiate.workflows.campaign.yaml import CONFIGS
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Killed, Limits, Outcome, Settings
from sodiate.workflows.engines.emt.parameters import load_parameters
from sodiate.workflows.engines.emt.potential import potential
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from sodiate.workflows.start_structures import site_reached
from sodiate.workflows.stop import Stop
from support import present
from support.campaigns import Bench, small_campaign
from support.fake_vasp import Behaviour, install
from support.fake_vasp.main import OFFSET_EV

from ...plan.test_sites_beyond_the_list import BILAYER, MOS2

pytestmark = pytest.mark.vasp

EXECUTION = {"optimizer": "bfgs", "max_steps": 200, "max_step_a": 0.2}
LOOSE = {"base": "paper", "max_force_ev_per_a": 0.05}


def raw_energy_ev(directory: Path) -> float:
    """The last energy without smearing that VASP printed in a directory."""
    (xml,) = directory.glob("vasprun.xml")
    return float(re.findall(r'<i name="e_0_energy">\s*(\S+)\s*</i>', xml.read_text())[-1])


def test_a_molecule_on_a_sheet(vasp: Path, bench: Bench, tmp_path: Path) -> None:
    """ΔE by hand from three raw files, of a relaxation that was killed; the dry engine's own by another path."""
    install(vasp, Behaviour(die_after=3, times=1, where="T_W@top"))
    shutil.copy(CONFIGS / "campaigns" / "Na2S.xyz", tmp_path)
    adsorbate = {"molecule": "Na2S.xyz", "anchor": "S", "orientations": ["flat"]}
    given = {"models": ["WSSe"], "sites": ["T_W@top"], "quantities": [], "bulk_references": {}, "protocol": LOOSE}
    path = small_campaign(tmp_path, **given, adsorbate=adsorbate)
    planned = plan(path, "vasp")
    bench.submit(planned)
    bench.launch(planned)
    names = "WSSe/T_W@top:flat", "WSSe", "Na2S"
    whole, host, free = (raw_energy_ev(bench.root / planned.names[name].directory_name) for name in names)
    (result,) = Results(bench.documents, "here").models()
    assert result.adsorption_energy_ev == pytest.approx(whole - host - free, abs=1e-8)
    outcomes = [attempt["outcome"] for attempt in bench.attempts(planned.names[names[0]].id)]
    assert outcomes == ["lost", "completed"]
    ends = [present(Results(bench.documents, "here")[name].atoms) for name in names]
    energies = [energy_ev(atoms) for atoms in ends]
    assert result.adsorption_energy_ev == pytest.approx(energies[0] - energies[1] - energies[2], abs=1e-4)


def energy_ev(atoms: Atoms) -> float:
    copy = atoms.copy()
    copy.calc = potential(copy.get_chemical_symbols(), load_parameters())
    return float(copy.get_potential_energy())


def bridge(folder: Path) -> tuple[Plan, str, str]:
    path = small_campaign(folder, models=["WSSe"], sites=["B@top"], quantities=[], protocol=LOOSE)
    return plan(path, "vasp"), "WSSe/B@top", "B@top"


def gallery(folder: Path) -> tuple[Plan, str, str]:
    given = {"monolayers": {"MoS2": MOS2}, "models": [BILAYER], "sites": ["Oct@gallery"], "quantities": []}
    path = small_campaign(folder, **given, protocol=LOOSE | {"dispersion": "d3bj"})
    return plan(path, "vasp"), "two/Oct@gallery", "Oct@gallery"


@pytest.mark.parametrize("made", [bridge, gallery])
def test_a_site_that_is_not_on_a_face_s_list(
    vasp: Path, tmp_path: Path, made: Callable[[Path], tuple[Plan, str, str]]
) -> None:
    """Killed and resumed; energy, forces and the site that was reached are those of the potential, at VASP's end."""
    planned, name, label = made(tmp_path)
    site, place = planned[name], tmp_path / "site"
    engine = make_engine("vasp", Settings(EXECUTION))
    engine.prepare(site.calculation, site.atoms(), place, {})
    install(vasp, Behaviour(die_after=2, times=1))
    with pytest.raises(Killed):
        engine.run(place, Limits(), Stop())
    engine.run(place, Limits(), Stop())
    found: Outcome = engine.collect(place)
    end = present(found.atoms)
    assert found.energy_ev == raw_energy_ev(place)
    assert present(found.energy_ev) == pytest.approx(energy_ev(end) + OFFSET_EV * len(end), abs=1e-4)
    end.calc = potential(end.get_chemical_symbols(), load_parameters())
    forces = end.get_forces()
    np.testing.assert_allclose(present(found.forces_ev_per_a), forces, atol=1e-3)
    assert np.linalg.norm(forces, axis=1).max() < 0.05
    reached = present(site_reached(site.calculation, end))
    assert (reached.start, reached.label) == (name.partition("/")[2], label)
