"""Electronic states of a relaxation, with a calculator that has two: on resume, and where they change in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from sodiate.analysis.arrays import Trajectory
from sodiate.workflows.engines.base import Limits
from sodiate.workflows.engines.shared.bfgs import Criteria
from sodiate.workflows.engines.shared.relax import relax
from sodiate.workflows.engines.shared.states import coarse_end_notes, jump_notes
from sodiate.workflows.engines.shared.trajectory import Checkpoint, States, Step, notes_of, read_trajectory
from sodiate.workflows.stop import Stop
from support import present

CRITERIA = Criteria(max_force_ev_per_a=0.02, max_steps=60, max_step_a=0.2)
OFFSET_EV = {1.0: 0.0, 0.3: -0.1, 3.0: 0.4}
"""Energy of each state at its minimum, by its moment."""


class TwoSprings(Calculator):
    """One atom on a spring whose stiffness and origin depend on the state, which stays what it was at the start."""

    implemented_properties = ["energy", "free_energy", "forces", "magmom", "magmoms"]

    def __init__(self, moment: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moment, self.calls = moment, 0

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        self.calls += 1
        away = present(self.atoms).positions - 0.1 * self.moment
        stiffness = np.array([[3.0, 8.0, 1.0]]) * (1 + 0.1 * self.moment)
        energy = 0.5 * (stiffness * away**2).sum() + OFFSET_EV[self.moment]
        magnetic = {"magmom": self.moment, "magmoms": np.array([self.moment / 4])}
        self.results = {"energy": energy, "free_energy": energy, "forces": -stiffness * away, **magnetic}


class Remembered(States):
    """Starts in given states, one after the other."""

    gives_result = True

    def __init__(self, *moments: float) -> None:
        self.moments, self.kept = moments, set[int]()

    def keep(self, atoms: Atoms, step: int) -> None:
        self.kept.add(step)

    def discard_others(self, step: int) -> None:
        assert step in self.kept
        self.kept = {step}

    def starts(self, atoms: Atoms, step: Step) -> Iterator[str]:
        for moment in self.moments:
            atoms.calc = TwoSprings(moment)
            yield f"{moment} μB"

    def start_anew(self, atoms: Atoms) -> None:
        atoms.calc = TwoSprings(1.0)


def relaxed(directory: Path, *moments: float) -> tuple[Atoms, list[Step], tuple[str, ...]]:
    """Relax, or resume with these states to start in; return where it ended, its steps, and its notes."""
    atoms = Atoms("Li", [[0.6, -0.3, 0.5]], magmoms=[1.0])
    checkpoint = Checkpoint(directory, "key", states=Remembered(*moments))
    steps = relax(atoms, checkpoint, CRITERIA, Limits(), Stop())
    return atoms, steps, notes_of(checkpoint.path)


@pytest.fixture
def whole(tmp_path: Path) -> bytes:
    """The trajectory of a run that nobody interrupted."""
    directory = tmp_path / "whole"
    directory.mkdir()
    _, steps, notes = relaxed(directory)
    assert not notes
    assert steps[-1].energy_ev == pytest.approx(0.0, abs=1e-4)
    assert len(steps) > 4
    return (directory / "trajectory.jsonl").read_bytes()


def cut(whole: bytes, directory: Path, steps: int) -> Path:
    """Lay a trajectory of some steps into a directory, as a kill leaves it."""
    directory.mkdir()
    lines = whole.splitlines(keepends=True)
    (directory / "trajectory.jsonl").write_bytes(b"".join(lines[: steps + 1]))
    return directory


@pytest.mark.parametrize("starts", [(1.0,), (3.0, 1.0)])
def test_resumed_in_its_own_state_is_the_run_left_alone(
    whole: bytes, starts: tuple[float, ...], tmp_path: Path
) -> None:
    for steps in range(1, len(whole.splitlines())):
        directory = cut(whole, tmp_path / f"{steps}", steps)
        atoms, _, notes = relaxed(directory, *starts)
        assert not notes
        assert (directory / "trajectory.jsonl").read_bytes() == whole
        assert atoms.calc.moment == 1.0
        # The result is of this calculator: also where no step was left to take.
        assert atoms.calc.calls == len(whole.splitlines()) - steps


def test_a_lower_state_is_followed_alone_and_told(whole: bytes, tmp_path: Path) -> None:
    """No force of the other state stays in the trajectory; the next launch finds steps and note on disk."""
    directory = cut(whole, tmp_path / "lower", 3)
    last = Step.read(whole.splitlines(keepends=True)[3], 1)
    for _ in range(2):
        atoms, steps, notes = relaxed(directory, 0.3)
        assert np.array_equal(steps[0].positions_a, last.positions_a)
        assert {step.total_moment_mub for step in steps} == {0.3}
        assert steps[-1].energy_ev == pytest.approx(OFFSET_EV[0.3], abs=1e-4)
        assert atoms.get_potential_energy() == steps[-1].energy_ev
        assert len(notes) == 1
        assert "resumed after step 2 in another electronic state" in notes[0]
        assert "1.00 μB then and 0.30 μB now" in notes[0]
        difference = last.energy_ev - steps[0].energy_ev
        assert f"{difference:.3f} eV lower" in notes[0]
        assert len(read_trajectory(directory, 1, len(steps) - 1).energies_ev) == len(steps)


def test_a_higher_state_is_none_to_go_on_in(whole: bytes, tmp_path: Path) -> None:
    """The relaxation begins again, and ends as the one left alone."""
    directory = cut(whole, tmp_path / "higher", 3)
    _, steps, notes = relaxed(directory, 3.0)
    lines = whole.splitlines()
    assert [step.line().strip() for step in steps] == lines[1:]
    assert len(notes) == 1
    assert "state of step 2 was not found again" in notes[0]


def test_states_of_steps_are_kept_one_by_one(whole: bytes, tmp_path: Path) -> None:
    directory = cut(whole, tmp_path / "lower", 3)
    states = Remembered(0.3)
    steps = relax(Atoms("Li", magmoms=[1.0]), Checkpoint(directory, "key", states=states), CRITERIA, Limits(), Stop())
    assert states.kept == {steps[-1].step}


def trajectory_of(steps: list[Step]) -> Trajectory:
    return Trajectory(
        energies_ev=np.array([step.energy_ev for step in steps]),
        positions_a=np.array([step.positions_a for step in steps]),
        forces_ev_per_a=np.array([step.forces_ev_per_a for step in steps]),
    )


def test_a_jump_within_a_trajectory_is_told_and_no_other_step(whole: bytes) -> None:
    """On a spring the trapezoidal rule is exact; the energy alone falls by 0.1 eV more."""
    steps = [Step.read(line, 1) for line in whole.splitlines(keepends=True)[1:]]
    assert not jump_notes(trajectory_of(steps))
    fallen = [replace(step, energy_ev=step.energy_ev - 0.1 * (step.step >= 3)) for step in steps]
    (note,) = jump_notes(trajectory_of(fallen))
    change, work = fallen[3].energy_ev - fallen[2].energy_ev, steps[3].energy_ev - steps[2].energy_ev
    assert f"from step 2 to step 3 the energy changed by {change:+.3f} eV, where the forces give {work:+.3f}" in note


def test_a_coarse_stage_that_ended_in_another_state_is_told(whole: bytes) -> None:
    first = Step.read(whole.splitlines(keepends=True)[1], 1)
    assert not coarse_end_notes(first, first)
    assert not coarse_end_notes(replace(first, total_moment_mub=-1.04), first)
    assert not coarse_end_notes(replace(first, total_moment_mub=None), first)
    (note,) = coarse_end_notes(replace(first, total_moment_mub=0.33), first)
    assert "ended with 0.33 μB" in note
    assert "with 1.00 μB" in note
