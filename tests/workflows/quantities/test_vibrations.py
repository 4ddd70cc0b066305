"""Vibrations of a campaign: planned, found dry, held against a dense scan, resumed, shown, and refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from sodiate.analysis.records import Geometry
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Artefacts, EngineError, Limits, Outcome, Progress, Settings, Stopped
from sodiate.workflows.engines.emt.parameters import load_parameters
from sodiate.workflows.engines.emt.potential import potential
from sodiate.workflows.engines.shared.single_points import SinglePointPaths
from sodiate.workflows.engines.shared.vibrations import VIBRATIONS_TAPE
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from sodiate.workflows.stop import Stop
from support import present
from support.campaigns import small_campaign
from support.cli import Cli
from support.engine_cases import StopAfter
from support.fake_vasp import install
from support.fake_vasp.main import OFFSET_EV

from ..engines.test_path_by_single_points import parent, relaxed

PER_CM = 33.35641 * 1e-12
"""Of a frequency of 1 Hz, cm⁻¹."""


def campaign(folder: Path, **changes: Any) -> Path:
    given = {"models": ["WSe2"], "sites": ["T_W@top"], "quantities": ["vibrations"]}
    return small_campaign(folder, **given | changes)


def scanned_per_cm(atoms: Atoms, axis: int) -> float:
    """Wavenumber of the ion along an axis from energies at 41 places, the sheet at rest: no force, no difference."""
    steps, energies = np.linspace(-0.08, 0.08, 41), []
    for step in steps:
        place = atoms.copy()
        place.positions[-1, axis] += step
        place.calc = potential(place.get_chemical_symbols(), load_parameters())
        energies.append(place.get_potential_energy())
    curvature = 2 * np.polyfit(steps, np.array(energies) - energies[20], 6)[-3]
    mass_kg = atoms.get_masses()[-1] * 1.66053907e-27
    return float(np.sqrt(curvature * 1.602176634e-19 / 1e-20 / mass_kg) / (2 * np.pi) * PER_CM)


def test_a_dry_run_has_the_modes_of_a_dense_scan(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """Above a metal atom x, y and z do not mix: three scans of the energy are the ion's three modes."""
    campaign(tmp_path, vibrations={"temperatures_k": [300, 600]})
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("run", "small.yaml", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        (host,) = results.models()
        found, site = results["WSe2/vibrations/best"].record, results["WSe2/T_W@top"].record
    expected = sorted(scanned_per_cm(present(site.geometry).atoms(), axis) for axis in range(3))
    (one,) = host.vibrations
    assert one["wavenumbers_per_cm"] == pytest.approx(expected, rel=0.02)
    assert (one["site"], one["best"], one["imaginary"]) == ("T_W@top", True, 0)
    assert host.zero_point_ev == pytest.approx(sum(expected) * 1.239842e-4 / 2, rel=0.02)
    assert found.geometry == site.geometry
    assert found.energy_ev == pytest.approx(site.energy_ev, abs=1e-9)
    assert found.parents.keys() == {"lowest"}
    assert found.provenance.ionic_steps == 7  # at rest, and to and fro along three axes

    said = cli("results", *place).stdout
    assert "WSe2/T_W@top: modes of Na (best site) " in said
    assert "at 600 K F = " in said
    (row,) = csv.DictReader(io.StringIO(cli("results", *place, "--format", "csv").stdout))
    assert float(row["adsorption_free_energy_ev"]) == pytest.approx(host.adsorption_free_energy_ev)
    assert row["free_energy_temperature_k"] == "300.0"
    (shown,) = json.loads(cli("results", *place, "--format", "json").stdout)
    assert shown["vibrations"] == json.loads(json.dumps(host.vibrations))
    page = cli("report", *place, "--out", "page.html")
    assert page.returncode == 0, page.stderr
    assert "ΔG of adsorption on WSe2 over temperature" in (tmp_path / "page.html").read_text(encoding="utf-8")
    made = cli("si", *place, "--out", "si")
    assert made.returncode == 0, made.stderr
    assert "central differences of forces" in "".join(file.read_text() for file in (tmp_path / "si").rglob("*.md"))


def test_it_is_planned_at_the_best_and_at_named_sites(tmp_path: Path) -> None:
    of = ["best", "WSSe+VS/V_S@top", "T_W@bottom"]
    asked = {"of": of, "around_a": 3.0}
    planned = plan(campaign(tmp_path, models=["WSSe", "WSSe+VS"], sites=["V_S@top", "T_W@bottom"], vibrations=asked))
    assert [name for name in planned.names if "vibrations" in name] == [
        *("WSSe/vibrations/T_W@bottom", "WSSe/vibrations/best"),
        *("WSSe+VS/vibrations/V_S@top", "WSSe+VS/vibrations/T_W@bottom", "WSSe+VS/vibrations/best"),
    ]
    named, best = (planned.names[f"WSSe+VS/vibrations/{name}"] for name in ("V_S@top", "best"))
    assert named.parents == {"geometry": planned.names["WSSe+VS/V_S@top"]}
    assert best.parents == {"lowest": planned.names["WSSe+VS/lowest"]}
    assert named.structure["around_a"] == best.structure["around_a"] == 3.0
    # Temperatures are no part of what is computed.
    warm = plan(campaign(tmp_path, vibrations={"temperatures_k": [900]})).names["WSe2/vibrations/best"]
    assert warm.id == plan(campaign(tmp_path)).names["WSe2/vibrations/best"].id


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"of": ["T_W@topp"]},
            "vibrations.of: T_W@topp: the campaign relaxes no site 'T_W@topp' (did you mean 'T_W@top'?)",
        ),
        ({"of": ["WS2/best"]}, "vibrations.of: WS2/best: no model 'WS2'"),
        ({"of": []}, "vibrations.of"),
        ({"temperatures_k": [0]}, "vibrations.temperatures_k.0: 0 should be greater than 0"),
        ({"temperatures_k": [300, -5]}, "vibrations.temperatures_k.1"),
        ({"around_a": 0}, "vibrations.around_a"),
    ],
)
def test_bad_input_is_refused_when_planned(tmp_path: Path, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(campaign(tmp_path, vibrations=asked))
    assert message in str(caught.value)
    assert "small.yaml" in str(caught.value)


def prepared(engine: str, folder: Path, shift_ev: float = 0.0) -> tuple[Calculation, dict[str, Artefacts], Atoms]:
    """The vibrations of a relaxed site with two neighbours or so, and the record of its relaxation."""
    path = campaign(folder, vibrations={"of": ["T_W@top"], "around_a": 2.9})
    planned = plan(path, engine)
    site = planned["WSe2/T_W@top"]
    found = parent(site.calculation, relaxed(site.atoms()))
    energy = present(found.record.free_energy_ev) + shift_ev
    record = found.record.model_copy(update={"free_energy_ev": energy})
    atoms = present(record.geometry).atoms()
    return planned["WSe2/vibrations/T_W@top"].calculation, {"geometry": Artefacts(record)}, atoms


def outcome_of(run: Any, folder: Path, stop: Stop | None = None) -> Outcome:
    run.run(folder, Limits(), stop or Stop())
    found: Outcome = run.collect(folder)
    return found


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    """The same numbers to the last bit, and no force call twice; by single points of the engine, the same again."""
    calculation, parents, atoms = prepared("emt", tmp_path)
    engine = make_engine("emt", Settings({}))
    engine.prepare(calculation, atoms, tmp_path / "whole", parents)
    whole = outcome_of(engine, tmp_path / "whole")
    derivatives = present(whole.vibrations)
    count = 1 + 6 * len(derivatives.moved)
    assert len(derivatives.moved) > 1
    assert derivatives.moved[-1] == len(atoms) - 1
    assert whole.ionic_steps == count
    engine.prepare(calculation, atoms, tmp_path / "stopped", parents)
    with pytest.raises(Stopped):
        engine.run(tmp_path / "stopped", Limits(), StopAfter(4))
    lines = (tmp_path / "stopped" / VIBRATIONS_TAPE).read_bytes().splitlines()
    assert present(engine.progress(tmp_path / "stopped")).stage == "vibrations"
    again = outcome_of(engine, tmp_path / "stopped")
    assert (tmp_path / "stopped" / VIBRATIONS_TAPE).read_bytes().splitlines()[: len(lines)] == lines
    assert np.array_equal(present(again.vibrations).hessian_ev_per_a2, derivatives.hessian_ev_per_a2)
    assert Geometry.of(present(again.atoms)) == Geometry.of(atoms)
    apart = SinglePointPaths(engine)
    apart.prepare(calculation, atoms, tmp_path / "apart", parents, {})
    many = outcome_of(apart, tmp_path / "apart")
    np.testing.assert_allclose(present(many.vibrations).hessian_ev_per_a2, derivatives.hessian_ev_per_a2, atol=1e-5)
    assert many.ionic_steps == count
    (tmp_path / "apart" / "vibrations.npz").write_bytes(b"damaged")
    with pytest.raises(EngineError, match=r"vibrations\.npz is missing or damaged"):
        apart.collect(tmp_path / "apart")


def test_another_electronic_state_is_refused(tmp_path: Path) -> None:
    calculation, parents, atoms = prepared("emt", tmp_path, shift_ev=-0.2)
    engine = make_engine("emt", Settings({}))
    engine.prepare(calculation, atoms, tmp_path / "run", parents)
    with pytest.raises(EngineError, match=r"at rest its energy is \+0\.200 eV from that of the relaxation"):
        engine.run(tmp_path / "run", Limits(), Stop())


@pytest.mark.vasp
def test_single_points_of_a_program_give_the_forces(vasp: Path, tmp_path: Path) -> None:
    """The stand-in for VASP has the dry engine's forces: the ion's second derivatives are the same, to its digits."""
    install(vasp)
    calculation, parents, atoms = prepared("vasp", tmp_path)
    energy = present(parents["geometry"].record.free_energy_ev) + OFFSET_EV * len(atoms)
    record = parents["geometry"].record.model_copy(update={"free_energy_ev": energy})
    alone = Calculation(
        calculation.kind, {**calculation.structure, "around_a": None}, "vasp", calculation.protocol, {}, "label"
    )
    atoms.set_initial_magnetic_moments([0.0] * len(atoms))
    engine, place = make_engine("vasp", Settings({})), tmp_path / "run"
    engine.prepare(alone, atoms, place, {"geometry": Artefacts(record)})
    found = outcome_of(engine, place)
    assert found.ionic_steps == 7
    assert engine.progress(place) == Progress("vibrations", 6, present(engine.progress(place)).max_force_ev_per_a)
    assert (place / "displaced" / "vasprun.xml").exists()
    dry = make_engine("emt", Settings({}))
    dry.prepare(alone, atoms, tmp_path / "dry", {})
    expected = present(outcome_of(dry, tmp_path / "dry").vibrations).hessian_ev_per_a2
    np.testing.assert_allclose(present(found.vibrations).hessian_ev_per_a2, expected, atol=0.02)
