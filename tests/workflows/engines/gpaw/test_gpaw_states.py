"""GPAW where one geometry has two electronic states: Li on graphene, far too close to its images; and its densities.

Left alone, the relaxation of Li keeps the state in which it began, of 0.556 μB. An SCF cycle that starts in the
middle from the start moments ends in one that is 0.1 eV lower, of 0.333 μB.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import graphene
from ase.units import Hartree
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Artefacts, EngineError, Limits, Outcome, Settings
from sodiate.workflows.engines.shared.trajectory import Checkpoint, Step
from sodiate.workflows.stop import Stop
from support.engine_cases import EXECUTION, GPAW, GPAW_PROTOCOL

PROTOCOL = {
    **GPAW_PROTOCOL,
    "kpoint_length_a": 6.5,
    "energy_convergence_ev": 1e-5,
    "density_convergence": 1e-4,
    "eigenstate_convergence_ev2": 1e-5,
    "empty_bands": 0.1,
    "smearing": {"kind": "gaussian", "width_ev": 0.05},
    "spin_polarised": True,
    "dipole_correction": True,
}
COMMAND = "gpaw python run.py"
ALONE_EV, LOWER_EV = -12.134715, -12.240863


def li_on_graphene() -> Atoms:
    atoms = graphene(a=2.46)
    atoms.set_cell([*atoms.cell.array[:2], [0, 0, 10.0]])
    atoms.positions[:, 2] = 4.1
    atoms.append("Li")
    atoms.positions[-1] = np.array([1 / 3, 2 / 3, 0]) @ atoms.cell.array + [0, 0, 5.9]
    atoms.pbc = (True, True, False)
    atoms.set_initial_magnetic_moments([0, 0, 1.0])
    return atoms


def prepare(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    calculation = GPAW.calculation("relax", **PROTOCOL)
    make_engine("gpaw", Settings(execution=EXECUTION)).prepare(calculation, li_on_graphene(), directory, {})
    return directory


def finish(directory: Path) -> Outcome:
    engine = make_engine("gpaw", Settings(worker={"gpaw_command": COMMAND}))
    engine.run(directory, Limits(), Stop())
    return engine.collect(directory)


def kill_after(directory: Path, step: int) -> None:
    """Start GPAW as sodiate does, and SIGKILL it as soon as a step is on disk."""
    trajectory, end = directory / "trajectory.jsonl", time.monotonic() + 120
    running = subprocess.Popen(COMMAND.split(), cwd=directory, start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        while not (trajectory.exists() and trajectory.read_bytes().count(b"\n") >= step + 2):
            assert running.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()


@pytest.mark.usefixtures("gpaw")
def test_killed_and_resumed_it_keeps_its_electronic_state(tmp_path: Path) -> None:
    directory = prepare(tmp_path / "li")
    kill_after(directory, 2)
    (kept,) = directory.glob("trajectory-*.gpw")
    prepare(directory)
    outcome = finish(directory)
    assert outcome.energy_ev == pytest.approx(ALONE_EV, abs=1e-4)
    assert outcome.total_moment_mub == pytest.approx(0.556, abs=1e-3)
    assert outcome.notes == ()
    assert outcome.start_moments_mub == (0.0, 0.0, 1.0)
    assert not kept.exists()
    assert not list(directory.glob("trajectory-*"))
    assert outcome.forces_ev_per_a is not None
    assert np.abs(outcome.forces_ev_per_a.sum(axis=0)).max() < 1e-12


@pytest.mark.usefixtures("gpaw")
def test_without_its_density_the_lower_state_is_followed_and_told(tmp_path: Path) -> None:
    directory = prepare(tmp_path / "li")
    kill_after(directory, 2)
    for path in directory.glob("*.gpw"):
        path.write_bytes(b"- of Ulm")
    outcome = finish(directory)
    assert outcome.energy_ev == pytest.approx(LOWER_EV, abs=1e-3)
    assert outcome.total_moment_mub == pytest.approx(0.333, abs=1e-3)
    (note,) = outcome.notes
    assert "resumed after step 2 in another electronic state, 0.106 eV lower" in note
    assert "0.56 μB then and 0.33 μB now" in note
    trajectory = outcome.trajectory
    assert trajectory is not None
    # Of the state that was dropped, 0.1 eV higher, nothing is left.
    assert np.ptp(trajectory.energies_ev) < 0.01


def test_a_jump_within_the_coarse_stage_is_told_and_so_is_its_end(tmp_path: Path) -> None:
    """Nothing but the real stage's trajectory goes into a record; what happened before is in its notes."""
    from sodiate.workflows.engines.gpaw.results import _state_notes

    def write(name: str, moment: float, *energies_ev: float) -> None:
        still = np.zeros((1, 3))
        steps = [
            Step(number, energy, still, still, moments_mub=np.array([moment]), total_moment_mub=moment)
            for number, energy in enumerate(energies_ev)
        ]
        Checkpoint(tmp_path, "key", name).begin(steps=steps)

    inputs: Any = SimpleNamespace(directory=tmp_path, atoms=Atoms("Li"), execution={"coarse": {"cutoff_ev": 100}})
    write("coarse.jsonl", 0.33, -1.0, -1.0, -1.2)
    write("trajectory.jsonl", 0.33, -3.0, -3.2)
    (jump,) = _state_notes(inputs)
    assert jump.startswith("coarse stage: from step 1 to step 2 the energy changed by -0.200 eV")
    write("trajectory.jsonl", 0.56, -3.0)
    assert _state_notes(inputs)[1].startswith("the coarse stage ended with 0.33 μB, and the relaxation began")


# The density that a DOS starts from.


@dataclass
class Host:
    """A finished relaxation, as the parent of a DOS."""

    directory: Path
    outcome: Outcome

    @property
    def parents(self) -> dict[str, Artefacts]:
        outcome = self.outcome
        record = SimpleNamespace(
            label="S",
            method=outcome.method,
            sampling=outcome.sampling,
            energy_ev=outcome.energy_ev,
            final_moments_mub=outcome.final_moments_mub,
            total_moment_mub=outcome.total_moment_mub,
        )
        return {"geometry": Artefacts(record, self.directory)}  # type: ignore[arg-type]

    def dos(self, directory: Path) -> Path:
        directory.mkdir()
        # Its mesh is three times as dense along the short vectors as the host's.
        calculation = GPAW.calculation("dos", kpoint_length_a=9.0)
        GPAW.engine().prepare(calculation, self.outcome.atoms, directory, self.parents)
        return directory


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, gpaw: None) -> Host:
    directory = tmp_path_factory.mktemp("host") / "static"
    return Host(directory, GPAW.outcome(directory, "static"))


def edges(outcome: Outcome) -> np.ndarray:
    assert outcome.bands is not None
    return outcome.bands.energies_ev[:, :, :6]


@pytest.mark.parametrize("damage", ["absent", "garbled", "another"])
def test_eigenvalues_do_not_depend_on_whether_the_density_could_be_read(
    damage: str, host: Host, tmp_path: Path
) -> None:
    """Against a self-consistent run on the denser mesh they would be 0.1 eV off."""
    whole = finish(host.dos(tmp_path / "whole"))
    (reach,) = whole.notes
    assert reach.startswith("the DOS is whole up to ")
    directory = host.dos(tmp_path / damage)
    path = directory / "parent-density.gpw"
    content = path.read_bytes()
    path.unlink()  # it is a link to the host's
    if damage == "garbled":
        path.write_bytes(content[:1000])
    elif damage == "another":  # one that can be read, and is not what the host's result was written with
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes(64) + content[middle + 64 :])
    outcome = finish(directory)
    assert outcome.notes == ("the host's density was out of reach: it was computed anew, on the host's mesh", reach)
    np.testing.assert_allclose(edges(outcome), edges(whole), atol=2e-3)


def test_a_density_of_other_positions_is_none_of_the_host(host: Host, tmp_path: Path) -> None:
    """Where the host's result is gone, nothing says that the file was put there by somebody."""
    whole, directory = finish(host.dos(tmp_path / "whole")), host.dos(tmp_path / "other")
    moved = GPAW.atoms()
    moved.positions[0] += [0.0, 0.0, 0.3]
    GPAW.outcome(tmp_path / "moved", "static", moved)
    (directory / "parent-density.gpw").unlink()
    shutil.copy(tmp_path / "moved" / "density.gpw", directory / "parent-density.gpw")
    values = json.loads((directory / "input.json").read_text())
    values["host"]["density_fingerprint"] = None
    (directory / "input.json").write_text(json.dumps(values))
    outcome = finish(directory)
    note = "the host's density was out of reach: it was computed anew, on the host's mesh"
    assert outcome.notes == (note, *whole.notes)
    np.testing.assert_allclose(edges(outcome), edges(whole), atol=2e-3)


def test_a_density_of_another_state_is_refused(host: Host, tmp_path: Path) -> None:
    directory = host.dos(tmp_path / "dos")
    (directory / "parent-density.gpw").unlink()
    values = json.loads((directory / "input.json").read_text())
    values["host"]["energy_ev"] -= 0.02
    (directory / "input.json").write_text(json.dumps(values))
    with pytest.raises(EngineError, match=r"another electronic state, \+0\.020 eV from the record: sodiate redo S"):
        finish(directory)


# SCF cycles that diverge.


@pytest.mark.usefixtures("gpaw")
def test_a_cycle_that_diverges_is_ended_at_once() -> None:
    from gpaw import KohnShamConvergenceError
    from sodiate.workflows.engines.gpaw.electrons import end_if_diverged

    def iteration(energy_ev: float) -> SimpleNamespace:
        energies = SimpleNamespace(total_extrapolated=energy_ev / Hartree)
        density = SimpleNamespace(nct_aX=SimpleNamespace(relpos_ac=np.zeros((3, 3))))
        return SimpleNamespace(energies=energies, density=density, niter=7)

    end_if_diverged(iteration(-250.0))
    for energy in (1e10, -1e10, float("nan")):
        with pytest.raises(KohnShamConvergenceError, match=r"diverges: .* eV after 7 iterations"):
            end_if_diverged(iteration(energy))


@pytest.mark.usefixtures("gpaw")
def test_one_iteration_that_went_astray_ends_no_cycle() -> None:
    """As those of a Na atom at 300 eV: −12043 eV in the third, −0.33 eV in the next."""
    from gpaw import KohnShamConvergenceError
    from sodiate.workflows.engines.gpaw.electrons import DivergenceWatch

    def iteration(number: int, energy_ev: float) -> SimpleNamespace:
        energies = SimpleNamespace(total_extrapolated=energy_ev / Hartree)
        density = SimpleNamespace(nct_aX=SimpleNamespace(relpos_ac=np.zeros((1, 3))))
        wfs = SimpleNamespace(world=SimpleNamespace(sum_scalar=lambda value: value))
        return SimpleNamespace(energies=energies, density=density, niter=number, wfs=wfs)

    watch = DivergenceWatch(1)
    for number, energy in enumerate((-0.47, -0.49, -12043.4, -0.33, -0.45, -12043.4, -0.47), start=1):
        watch(iteration(number, energy))
    watch(iteration(8, -2e4))
    with pytest.raises(KohnShamConvergenceError, match="after 9 iterations"):
        watch(iteration(9, 3e5))


@pytest.mark.usefixtures("gpaw")
def test_a_real_cycle_that_diverges_is_ended_within_a_few_iterations(tmp_path: Path) -> None:
    """H2 with a mixer that overshoots eightfold: beyond 10 keV per atom after four iterations, of 333 allowed."""
    from gpaw import KohnShamConvergenceError
    from sodiate.workflows.engines.gpaw.electrons import new_calculator

    atoms = Atoms("H2", [[2.0, 2.0, 2.0], [2.0, 2.0, 2.74]], cell=[4.0, 4.0, 5.0], pbc=True)
    mixer = {"backend": "pulay", "beta": 8.0, "nmaxold": 1, "weight": 1.0}
    atoms.calc = new_calculator({"mode": {"name": "pw", "ecut": 200.0}, "mixer": mixer}, str(tmp_path / "out.txt"))
    with pytest.raises(KohnShamConvergenceError, match=r"diverges: \S+ eV after \d iterations"):
        atoms.get_potential_energy()
    assert (tmp_path / "out.txt").read_text().count("iter:") < 10
