"""Bands by VASP's own chain of images: the stand-in relaxes them by springs of its own, and is killed and stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.mep import NEB
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import EngineError, Killed, Limits, Settings, Stopped
from sodiate.workflows.engines.emt.parameters import load_parameters
from sodiate.workflows.engines.emt.potential import potential
from sodiate.workflows.engines.shared.path_search import first_band
from sodiate.workflows.engines.shared.path_task import TAPE, PathTask
from sodiate.workflows.engines.shared.trajectory import Checkpoint
from sodiate.workflows.engines.vasp.engine import VaspEngine
from sodiate.workflows.engines.vasp.parallel import ranks_of
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.stop import Stop
from support.campaigns import small_campaign
from support.cli import Cli
from support.fake_vasp import Behaviour, install
from support.fake_vasp.main import OFFSET_EV

from ..test_path_by_single_points import EXECUTION, prepared, stopping_after

CHAIN = {**EXECUTION, "incar": {"IMAGES": 3}}
PATH = ("WSe2", ("T_W@top", "H@top"))
CLIMBING = {**EXECUTION, "incar": {"IMAGES": 3, "LCLIMB": True}}


class Band:
    """A chain of images between the relaxed sites of a path, in a folder of its own."""

    def __init__(self, folder: Path, execution: dict[str, Any]) -> None:
        calculation, ends, start = prepared("vasp", folder, OFFSET_EV, *PATH)
        self.engine = make_engine("vasp", Settings(execution))
        assert isinstance(self.engine, VaspEngine)
        self.engine.prepare(calculation, start, folder / "path", ends)
        self.task, self.folder = PathTask.read(folder / "path"), folder / "path" / "image-1"

    def relaxed(self, stop: Stop | None = None, steps: int = 200) -> tuple[list[Atoms], tuple[str, ...]]:
        assert isinstance(self.engine, VaspEngine)
        band = first_band(self.task)
        places, notes = self.engine._relaxed_band(self.folder, band, (0.05, steps), Limits(), stop or Stop())
        for atoms, positions in zip(band, places, strict=True):
            atoms.positions = positions
            atoms.calc = potential(atoms.get_chemical_symbols(), load_parameters())
        return band, notes


def neb_force(band: list[Atoms], climb: bool = False) -> float:
    """The largest force of ASE's band, with the dry engine's own forces."""
    forces = NEB(band, k=5.0, climb=climb, method="improvedtangent").get_forces()
    return float(np.linalg.norm(forces, axis=1).max())


@pytest.mark.vasp
def test_a_chain_is_relaxed_through_kills(vasp: Path, tmp_path: Path) -> None:
    """Killed in the middle of a step, with half a CONTCAR, and again: below the criterion in the end."""
    band = Band(tmp_path, CHAIN)
    # The stage without the dipole correction takes no step.
    install(vasp, Behaviour(die_after=4, times=3, incar="EDIFFG"))
    for _ in range(2):
        with pytest.raises(Killed):
            band.relaxed()
    images, notes = band.relaxed()
    assert notes == ()
    assert neb_force(first_with_forces(band)) > 0.5
    assert neb_force(images) < 0.15  # of the stand-in's own tangents below 0.1
    np.testing.assert_allclose(images[0].positions, band.task.start.positions, atol=1e-9)
    np.testing.assert_allclose(images[-1].positions, band.task.end.positions, atol=1e-9)
    # No image jumped by a vector of the cell, and the ion goes on from each to the next.
    ion = np.array([atoms.positions[-1] for atoms in images])
    assert np.linalg.norm(np.diff(ion, axis=0), axis=1).max() < 2.0
    assert sorted(path.name for path in band.folder.glob("0*")) == ["00", "01", "02", "03", "04"]
    # The outputs of both launches that were killed lie beside those of the last one: it went on from their steps.
    assert sorted(path.name for path in band.folder.glob("01/OSZICAR*")) == ["OSZICAR", "OSZICAR.1", "OSZICAR.2"]
    count = len((vasp / "runs").read_text().splitlines())
    again, _ = band.relaxed()
    assert len((vasp / "runs").read_text().splitlines()) == count  # nothing is run twice
    np.testing.assert_array_equal(again[2].positions, images[2].positions)


def first_with_forces(band: Band) -> list[Atoms]:
    images = first_band(band.task)
    for atoms in images:
        atoms.calc = potential(atoms.get_chemical_symbols(), load_parameters())
    return images


@pytest.mark.vasp
def test_a_chain_that_is_stopped_goes_on(vasp: Path, tmp_path: Path) -> None:
    band, stop = Band(tmp_path, CHAIN), Stop()
    install(vasp, Behaviour(seconds_per_step=0.3))
    stop.request("asked")
    with pytest.raises(Stopped, match="asked"):
        band.relaxed(stop)
    assert not list(band.folder.glob("**/STOPCAR"))
    install(vasp)
    images, notes = band.relaxed()
    assert notes == ()
    assert neb_force(images) < 0.15


@pytest.mark.vasp
def test_a_chain_that_took_all_its_steps_is_a_first_band(vasp: Path, tmp_path: Path) -> None:
    install(vasp)
    _, (note,) = Band(tmp_path, CHAIN).relaxed(steps=2)
    assert note == "the chain of images was not below 0.1 eV/Å when it ended; its band went on by single points"


@pytest.mark.vasp
def test_a_search_begins_with_the_images_of_the_chain(vasp: Path, tmp_path: Path) -> None:
    """With the VTST tools one of them climbs; single points at them are the first force calls, without the chain."""
    install(vasp, Behaviour(vtst=True))
    calculation, ends, start = prepared("vasp", tmp_path, OFFSET_EV, *PATH)
    engine, place = make_engine("vasp", Settings(CLIMBING)), tmp_path / "path"
    engine.prepare(calculation, start, place, ends)
    with pytest.MonkeyPatch.context() as patch:
        stop = stopping_after(3, place, engine, patch)
        with pytest.raises(Stopped):
            engine.run(place, Limits(), stop)
    key = json.loads((place / "path-input.json").read_text())["key"]
    steps = Checkpoint(place, key, TAPE).resume(len(start)).steps
    chain = json.loads((place / "band" / "chain.json").read_text())
    assert chain["converged"]
    for step, positions in zip(steps, chain["positions_a"][1:-1], strict=True):
        np.testing.assert_allclose(step.positions_a, positions, atol=1e-6)
    # The image that climbs has hardly a force left in any direction.
    highest = max(steps, key=lambda step: step.energy_ev)
    assert highest.largest_force < 0.1
    incar = (place / "band" / "INCAR").read_text()
    assert "LCLIMB = True" in incar
    assert "EDIFFG = -0.05" in incar
    assert "IMAGES" not in (place / "image-1" / "INCAR").read_text()


def test_tags_of_a_chain_that_mean_nothing_are_refused_when_planned(tmp_path: Path) -> None:
    given = {"models": ["WSe2"], "sites": ["T_W@top", "H@top"], "quantities": ["barrier"]}
    for incar, message in (
        ({"path": {"IMAGES": 5}}, "IMAGES 5 is another number than barrier.images, 3; give the same"),
        ({"path": {"LCLIMB": True}}, "LCLIMB does nothing without IMAGES"),
        ({"path": {"IMAGES": 3, "IBRION": 2}}, "IBRION 2 moves no chain of images"),
        ({"relax": {"IMAGES": 3}}, "IMAGES is of a chain of images, which only paths have; give it under path"),
    ):
        with pytest.raises(InputError, match=message.replace(".", r"\.")):
            plan(small_campaign(tmp_path, **given, incar=incar), "vasp")
    # How the band is relaxed is no part of a number.
    ids = [c.id for c in plan(small_campaign(tmp_path, **given), "vasp").calculations]
    chain = {"path": {"IMAGES": 3, "LCLIMB": True}}
    assert [c.id for c in plan(small_campaign(tmp_path, **given, incar=chain), "vasp").calculations] == ids


def test_images_that_do_not_divide_the_ranks_are_refused_when_planned(cli: Cli, tmp_path: Path) -> None:
    given = {"models": ["WSe2"], "sites": ["T_W@top", "H@top"], "quantities": ["barrier"]}
    small_campaign(tmp_path, **given, engine="vasp", incar={"path": {"IMAGES": 3}})
    classes = {
        "paths": {"kinds": ["path"], "tasks": 16, "wall_time": "24:00:00"},
        "all": {"kinds": "rest", "tasks": 16, "wall_time": "24:00:00"},
    }
    cluster = {"scheduler": "slurm", "max_jobs": 10, "classes": classes}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(cluster))
    refused = cli("plan", "small.yaml", "--cluster", "c.yaml")
    assert refused.returncode != 0
    assert (
        "classes.paths: WSe2/T_W@top..H@top runs in 3 parts side by side, which do not divide 16 tasks"
        in " ".join(refused.stderr.split())
    )
    classes["paths"]["tasks"] = 18
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(cluster))
    assert cli("plan", "small.yaml", "--cluster", "c.yaml").returncode == 0


@pytest.mark.vasp
def test_images_that_do_not_divide_the_ranks_of_a_command_are_refused_before_it_runs(
    vasp: Path, tmp_path: Path
) -> None:
    install(vasp)
    band = Band(tmp_path, CHAIN)
    band.engine = make_engine("vasp", replace(Settings(CHAIN), worker={"vasp_std": "env -n 4 vasp_std", "tasks": 3}))
    with pytest.raises(EngineError, match=r"IMAGES = 3 does not divide the 4 ranks of 'env -n 4 vasp_std'"):
        band.relaxed()


@pytest.mark.parametrize(
    ("command", "ranks"),
    [("mpirun -np 12 vasp_std", 12), ("srun --ntasks=6 vasp_std", 6), ("vasp_std", None), ("srun vasp_std", None)],
)
def test_ranks_are_read_from_a_command_that_names_them(command: str, ranks: int | None) -> None:
    assert ranks_of(command) == ranks
