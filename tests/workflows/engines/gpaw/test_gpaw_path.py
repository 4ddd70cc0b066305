"""Images of a path with GPAW: each goes on from its own density, also after a kill; side by side and one by one."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Limits, Outcome, Settings
from sodiate.workflows.engines.gpaw.engine import default_command
from sodiate.workflows.engines.gpaw.inputs import GpawInputs
from sodiate.workflows.engines.shared.path_task import TAPE, PathTask
from sodiate.workflows.engines.shared.processes import UNBOUND, for_root
from sodiate.workflows.engines.shared.tape import AHEAD, Call
from sodiate.workflows.engines.shared.trajectory import Checkpoint, Step
from sodiate.workflows.stop import Stop
from support import present
from support.cli import wait_until
from support.engine_cases import EXECUTION, GPAW, GPAW_PROTOCOL

from .test_gpaw_states import PROTOCOL, li_on_graphene


@pytest.mark.usefixtures("gpaw")
def test_each_image_goes_on_from_its_density(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Energy and forces are those of a calculator that begins anew there, to what an SCF cycle leaves."""
    from sodiate.workflows.engines.gpaw.electrons import CalculatorFactory, WithoutMeanForce, new_calculator
    from sodiate.workflows.engines.gpaw.path import How, PathCalculators
    from sodiate.workflows.engines.gpaw.ranks import MpiRanks

    calculation = GPAW.calculation("relax", **PROTOCOL | {"spin_polarised": False})
    make_engine("gpaw", Settings(execution=EXECUTION)).prepare(calculation, li_on_graphene(), tmp_path, {})
    inputs = GpawInputs.read(tmp_path)
    inputs.atoms.set_initial_magnetic_moments(None)
    how = How(WithoutMeanForce, lambda ranks, group: str(tmp_path / "gpaw-1.txt"))

    def anew(atoms: Any) -> tuple[float, np.ndarray]:
        copy = atoms.copy()
        copy.calc = WithoutMeanForce(new_calculator(inputs.calculator, str(tmp_path / "plain.txt")))
        return copy.get_potential_energy(force_consistent=True), copy.get_forces()

    images = [inputs.atoms.copy() for _ in range(3)]
    for number, atoms in enumerate(images):
        atoms.positions[-1] += [0.06 * number, 0.0, 0.03 * number]

    def compute(calculators: PathCalculators, number: int) -> Step:
        (step,) = calculators.compute([Call(images[number], "image 1", number)])
        return step

    checkpoint = Checkpoint(tmp_path, "", TAPE)
    calculators = PathCalculators(inputs, inputs.calculator, checkpoint, how, MpiRanks())
    steps = [compute(calculators, number) for number in range(2)]
    assert [path.name for path in tmp_path.glob("path-*.gpw*")] == ["path-image-1-0.gpw"]

    def refuse(self: object) -> Any:
        raise AssertionError("an image whose density is on disk began anew")

    monkeypatch.setattr(CalculatorFactory, "new", refuse)
    steps.append(compute(PathCalculators(inputs, inputs.calculator, checkpoint, how, MpiRanks()), 2))
    for step, atoms in zip(steps, images, strict=True):
        energy, forces = anew(atoms)
        assert step.energy_ev == pytest.approx(energy, abs=2e-3)
        np.testing.assert_allclose(step.forces_ev_per_a, forces, atol=0.02)
        np.testing.assert_array_equal(step.positions_a, atoms.positions)


def prepared(directory: Path, patch: pytest.MonkeyPatch) -> Path:
    """H that changes its partner, at Γ alone, which no two ranks share."""
    start = Atoms("H3", [[1.0, 2.0, 2.0], [3.0, 2.0, 2.0], [1.78, 2.0, 2.05]], cell=[4.6, 4.0, 4.0], pbc=True)
    end = start.copy()
    end.positions[-1, 0] = 2.22
    task = PathTask(start, end, None, np.zeros((2, 3, 3)), None, 3)
    patch.setattr(PathTask, "of", lambda *_: task)
    kept = {key: value for key, value in GPAW_PROTOCOL.items() if key != "dos_broadening_ev"}
    calculation = GPAW.calculation("path", **kept | {"max_force_ev_per_a": 0.1})
    make_engine("gpaw", Settings(execution=EXECUTION)).prepare(calculation, start, directory, {})
    return directory


def finish(directory: Path, ranks: int) -> tuple[Outcome, list[Step]]:
    engine = make_engine("gpaw", Settings(worker={"ranks": ranks}))
    engine.run(directory, Limits(), Stop())
    assert engine.cores(directory) == ranks
    tape = Checkpoint(directory, GpawInputs.read(directory).key, TAPE)
    return engine.collect(directory), tape.resume(3).steps


@pytest.mark.usefixtures("gpaw")
def test_images_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On two ranks, killed in the middle of a round, and on one: the same saddle, and nothing computed twice."""
    two, one = (prepared(tmp_path / name, monkeypatch) for name in ("two", "one"))
    with (two / "stderr.txt").open("wb") as out:
        command, environment = shlex.split(default_command().format(ranks=2)), {**UNBOUND, **for_root(), **os.environ}
        launch = subprocess.Popen(command, cwd=two, stdout=out, stderr=out, env=environment)
    try:
        wait_until(lambda: (two / TAPE).exists() and len((two / TAPE).read_bytes().splitlines()) > 3, 120)
        wait_until(lambda: any(two.glob(AHEAD)), 120)
    finally:
        kill(two)
        launch.wait(10)
    held, ahead = (two / TAPE).read_bytes(), [path.read_bytes().splitlines()[1] for path in two.glob(AHEAD)]
    apart, steps = finish(two, 2)
    together, others = finish(one, 1)
    assert (two / TAPE).read_bytes().startswith(held)
    values = [re.search(rb'"energy_ev": ([^,]*)', line) for line in ahead]
    assert all(float(present(value)[1]) in [step.energy_ev for step in steps] for value in values)
    # SCF cycles end at 1e-6 eV; the climb ends anywhere below 0.1 eV/Å, near a saddle of some 10 eV/Å².
    for step, other in zip(steps[:5], others, strict=False):
        np.testing.assert_allclose(step.positions_a, other.positions_a, atol=1e-9)
        assert step.energy_ev == pytest.approx(other.energy_ev, abs=1e-4)
        np.testing.assert_allclose(step.forces_ev_per_a, other.forces_ev_per_a, atol=5e-3)
    assert apart.ionic_steps == len(steps)
    assert present(apart.energy_ev) == pytest.approx(present(together.energy_ev), abs=1e-3)
    np.testing.assert_allclose(present(apart.atoms).positions, present(together.atoms).positions, atol=0.01)
    texts = [path.name for path in two.glob("gpaw-*.txt")]
    assert any(name.endswith("-1.txt") for name in texts)
    assert any(name.endswith("-2.txt") for name in texts)
    assert not list(two.glob(AHEAD))


def kill(folder: Path) -> None:
    """Kill all processes that run in a folder."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == folder:
                os.kill(int(link.parent.name), signal.SIGKILL)
        except OSError:  # ended meanwhile
            continue
