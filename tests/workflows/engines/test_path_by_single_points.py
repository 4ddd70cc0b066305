"""Paths by an engine's own single points: the stand-in for VASP has the dry engine's forces, so the saddle is its."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.optimize import BFGS
from sodiate.analysis.records import Geometry, Method, Record, Sampling
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Artefacts, Engine, EngineError, Limits, Progress, Settings, Stopped
from sodiate.workflows.engines.emt.parameters import load_parameters
from sodiate.workflows.engines.emt.potential import potential
from sodiate.workflows.engines.shared.path_task import TAPE
from sodiate.workflows.engines.shared.single_points import SinglePointPaths
from sodiate.workflows.engines.shared.trajectory import Checkpoint
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.start_structures import start_moments
from sodiate.workflows.stop import Stop
from support import present
from support.campaigns import small_campaign
from support.fake_vasp import install
from support.fake_vasp.main import OFFSET_EV

from .test_best_site import PROVENANCE

LOOSE = {"base": "paper", "max_force_ev_per_a": 0.05}
"""For fewer runs of the stand-in, each of which is a process of its own."""

EXECUTION = {"optimizer": "bfgs", "max_steps": 100, "max_step_a": 0.2}


def relaxed(atoms: Atoms) -> Atoms:
    copy = atoms.copy()
    copy.calc = potential(copy.get_chemical_symbols(), load_parameters())
    BFGS(copy, logfile=None).run(fmax=0.015, steps=300)
    return copy


def parent(calculation: Calculation, atoms: Atoms) -> Artefacts:
    """A relaxed site as a record, with the energy and forces that both engines have but for a constant."""
    cell = Geometry.of(atoms).cell_a
    energy = atoms.get_potential_energy()
    return Artefacts(
        Record(
            calculation=calculation.id, label=calculation.label, kind="relax", engine=calculation.engine,
            physical=False, energy_ev=energy, free_energy_ev=energy, max_force_ev_per_a=0.01,
            geometry=Geometry.of(atoms), forces_ev_per_a=tuple(map(tuple, atoms.get_forces().tolist())),
            method=Method(engine=calculation.engine, engine_version="1"), sampling=Sampling(cell_a=cell),
            input_digest="", parents={}, provenance=PROVENANCE,
        )
    )  # fmt: skip


def prepared(
    engine_name: str,
    folder: Path,
    shift_ev_per_atom: float = 0.0,
    model: str = "WSSe+VS",
    sites: tuple[str, str] = ("V_S@top", "T_W@top"),
) -> tuple[Calculation, dict[str, Artefacts], Atoms]:
    path = small_campaign(folder, models=[model], sites=list(sites), quantities=["barrier"], protocol=LOOSE)
    planned = plan(path, engine_name)
    calculation = planned[f"{model}/{sites[0]}..{sites[1]}"].calculation
    ends = {}
    for role, name in zip(("geometry", "end"), sites, strict=True):
        found = parent(planned[f"{model}/{name}"].calculation, relaxed(planned[f"{model}/{name}"].atoms()))
        energy = present(found.record.energy_ev) + shift_ev_per_atom * len(present(found.record.geometry).symbols)
        ends[role] = Artefacts(found.record.model_copy(update={"energy_ev": energy, "free_energy_ev": energy}))
    start = present(ends["geometry"].record.geometry).atoms()
    start.set_initial_magnetic_moments(start_moments(calculation, len(start)))
    return calculation, ends, start


def stopping_after(count: int, directory: Path, engine: Engine, patch: pytest.MonkeyPatch) -> Stop:
    """A stop that is asked for as soon as the tape has so many calls."""
    stop, original = Stop(), type(engine).run

    def run(self: object, place: Path, limits: Limits, asked: Stop) -> None:
        original(self, place, limits, asked)  # type: ignore[arg-type]
        if place != directory and len((directory / TAPE).read_bytes().splitlines()) >= count:
            stop.request("asked")

    patch.setattr(type(engine), "run", run)
    return stop


def test_a_search_by_single_points_is_the_one_in_one_process(tmp_path: Path) -> None:
    """With the dry engine both ways: the same calls, the same saddle, also by a launch that was stopped between."""
    calculation, ends, start = prepared("emt", tmp_path)
    engine = make_engine("emt", Settings(EXECUTION))
    engine.prepare(calculation, start, tmp_path / "one", ends)
    engine.run(tmp_path / "one", Limits(), Stop())
    one = engine.collect(tmp_path / "one")
    apart, place = SinglePointPaths(engine), tmp_path / "many"
    apart.prepare(calculation, start, place, ends, EXECUTION)
    with pytest.MonkeyPatch.context() as patch:
        stop = stopping_after(5, place, engine, patch)
        with pytest.raises(Stopped):
            apart.run(place, Limits(), stop)
    apart.run(place, Limits(), Stop())
    many = apart.collect(place)
    assert many.ionic_steps == one.ionic_steps
    np.testing.assert_allclose(present(many.path).energies_ev, present(one.path).energies_ev, atol=1e-9)
    np.testing.assert_allclose(present(many.atoms).positions, present(one.atoms).positions, atol=1e-9)
    assert present(many.energy_ev) == pytest.approx(present(one.energy_ev), abs=1e-9)
    (place / "path.npz").write_bytes(b"damaged")
    with pytest.raises(EngineError, match=r"path\.npz is missing or damaged"):
        apart.collect(place)


@pytest.mark.vasp
def test_single_points_of_a_program_give_the_calls(vasp: Path, tmp_path: Path) -> None:
    """Energy and forces of each image are those of the dry engine there, in the order of the atoms."""
    install(vasp)
    calculation, ends, start = prepared("vasp", tmp_path, OFFSET_EV)
    engine, place = make_engine("vasp", Settings(EXECUTION)), tmp_path / "path"
    engine.prepare(calculation, start, place, ends)
    with pytest.MonkeyPatch.context() as patch:
        stop = stopping_after(3, place, engine, patch)
        with pytest.raises(Stopped):
            engine.run(place, Limits(), stop)
    steps = (
        Checkpoint(place, json.loads((place / "path-input.json").read_text())["key"], TAPE).resume(len(start)).steps
    )
    assert len(steps) == 3
    assert engine.progress(place) == Progress("path", 2, steps[-1].largest_force, 0.05)
    assert engine.cores(place) == engine.cores(place / "image-3") == 1
    assert (place / "image-3" / "vasprun.xml").exists()
    constants = []
    for step in steps:
        atoms = start.copy()
        atoms.positions = step.positions_a
        atoms.calc = potential(atoms.get_chemical_symbols(), load_parameters())
        constants.append(step.energy_ev - atoms.get_potential_energy() - OFFSET_EV * len(atoms))
        np.testing.assert_allclose(step.forces_ev_per_a, atoms.get_forces(), atol=1e-4)
    assert np.ptp(constants) < 1e-5
    assert abs(constants[0]) < 0.01  # the entropy of its electrons
    with pytest.raises(EngineError, match=r"path-result\.json is missing"):
        engine.collect(place)


def test_ends_of_two_methods_are_refused(tmp_path: Path) -> None:
    calculation, ends, start = prepared("emt", tmp_path)
    other = ends["end"].record.model_copy(update={"method": Method(engine="emt", engine_version="2")})
    engine = make_engine("emt", Settings(EXECUTION))
    with pytest.raises(EngineError, match="engine_version 1 ≠ 2"):
        engine.prepare(calculation, start, tmp_path / "path", {**ends, "end": Artefacts(other)})


def test_ends_in_one_place_are_told_with_the_directory(tmp_path: Path) -> None:
    calculation, ends, start = prepared("emt", tmp_path)
    engine = make_engine("emt", Settings(EXECUTION))
    with pytest.raises(EngineError, match=r"path.*relaxed into one place \(0\.00 Å apart\)"):
        engine.prepare(calculation, start, tmp_path / "path", {**ends, "end": ends["geometry"]})
