"""The optimizer's trust region: BFGS as ASE has it where the energy falls, and no leap where forces jump."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.filters import FrechetCellFilter
from ase.mep import NEB
from ase.optimize import BFGS
from sodiate.workflows.engines.base import Limits, Unconverged
from sodiate.workflows.engines.shared import bfgs
from sodiate.workflows.engines.shared.bfgs import RETURN_EV, RISE_EV, Criteria, DampedBFGS, newton_step
from sodiate.workflows.engines.shared.relax import relax
from sodiate.workflows.engines.shared.trajectory import Checkpoint, Step
from sodiate.workflows.stop import Stop
from support import present

RNG = np.random.default_rng(8)

CRITERIA = Criteria(max_force_ev_per_a=0.02, max_steps=60, max_step_a=0.2)


class Springs(Calculator):
    """Each atom on a spring to the origin; below 0.1 Å along x another state, with a minimum of its own, is lower."""

    implemented_properties = ["energy", "free_energy", "forces"]

    def __init__(self, two_states: bool, cliff: float = 0.0) -> None:
        super().__init__()
        self.two_states, self.cliff, self.calls = two_states, cliff, 0

    def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        stiffness = np.array([[8.0, 20.0, 2.0]])
        x = present(self.atoms).positions
        energy, forces = 0.5 * (stiffness * x**2).sum(), -stiffness * x
        if self.two_states and x[0, 0] < 0.1:
            energy -= 0.6 * (0.1 - x[0, 0])
            forces[0, 0] -= 0.6
        if x[0, 0] < -self.cliff < 0:  # as where electrons are left in a state that has become an excited one
            energy += 1.0
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}


def start(**kind: object) -> Atoms:
    return Atoms("Na2", [[0.4, 0.3, -0.35], [-0.2, 0.3, 0.4]], calculator=Springs(**kind))  # type: ignore[arg-type]


def relaxed(atoms: Atoms, folder: Path, criteria: Criteria = CRITERIA) -> list[Step]:
    folder.mkdir(exist_ok=True)
    return relax(atoms, Checkpoint(folder, "key"), criteria, Limits(), Stop())


def test_where_the_energy_falls_it_is_bfgs_of_ase(tmp_path: Path) -> None:
    atoms = start(two_states=False)
    positions = []
    with BFGS(atoms, logfile=None, maxstep=0.2) as optimizer:
        optimizer.attach(lambda: positions.append(atoms.get_positions()))
        optimizer.run(fmax=0.02, steps=60)
    taken = relaxed(start(two_states=False), tmp_path / "ours")
    energies = [step.energy_ev for step in taken]
    assert energies == sorted(energies, reverse=True)
    assert np.array([step.positions_a for step in taken]) == pytest.approx(np.array(positions), abs=1e-12)


@pytest.mark.parametrize("lowest", [0.5, -3.0, -1e-9])
def test_a_step_is_that_of_ase(lowest: float) -> None:
    """Also where a curvature is negative, of which ASE takes the absolute value."""
    axes = np.linalg.qr(RNG.normal(size=(30, 30)))[0]
    hessian = axes @ np.diag([lowest, *RNG.uniform(1, 90, 29)]) @ axes.T
    hessian = (hessian + hessian.T) / 2
    forces = RNG.normal(size=30)
    with BFGS(Atoms("Na10"), logfile=None) as optimizer:
        optimizer.H0 = hessian.copy()
        expected, _ = optimizer.prepare_step(np.zeros(30), -forces)
    assert newton_step(hessian, forces) == pytest.approx(expected, rel=1e-6 if abs(lowest) < 0.1 else 1e-11)


@pytest.mark.parametrize("what", ["fixed atoms", "cell", "band"])
def test_undamped_steps_are_those_of_ase_also_with(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some atoms held, the cell relaxing, and all images of a band; steps are cut to the longest."""
    monkeypatch.setattr(bfgs, "LEAST_CURVATURE", 1e-6)

    def copper(strain: float = 1.0) -> Atoms:
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell * strain, scale_atoms=True)
        atoms.positions += 0.1 * np.random.default_rng(3).normal(size=(4, 3))
        atoms.calc = EMT()
        return atoms

    def target() -> Any:
        atoms = copper(1.03)
        if what == "fixed atoms":
            atoms.set_constraint(FixAtoms([0, 2]))
        if what != "band":
            return FrechetCellFilter(atoms) if what == "cell" else atoms
        images = [copper() for _ in range(4)]
        for number, image in enumerate(images):
            image.positions[0] += 0.3 * number
        return NEB(images, k=1.0, method="improvedtangent")

    ours, theirs = target(), target()
    mine = DampedBFGS(ours, 0.01)
    with BFGS(theirs, logfile=None, maxstep=0.01) as optimizer:
        for _ in range(3):
            mine.step()
            optimizer.step()
            assert ours.get_positions() == pytest.approx(theirs.get_positions(), abs=1e-11)
    if what == "fixed atoms":
        np.testing.assert_array_equal(ours.positions[0], target().positions[0])


def test_a_state_that_changes_does_not_make_it_leap(tmp_path: Path) -> None:
    soft = Criteria(0.02, 60, 0.2, (1.0, 1.0))  # so that steps are too long
    atoms = start(two_states=True)
    atoms.positions /= 2
    taken = relaxed(atoms, tmp_path / "ours", soft)
    assert taken[-1].positions_a[0, 0] == pytest.approx(-0.6 / 8.0, abs=0.005)
    assert taken[-1].largest_force < 0.02
    lengths = [np.linalg.norm(b.positions_a - a.positions_a, axis=1).max() for a, b in pairwise(taken)]
    rises = [b.energy_ev - a.energy_ev for a, b in pairwise(taken)]
    assert max(rises) > RISE_EV
    for rise, (before, after) in zip(rises, pairwise(lengths), strict=False):
        if RISE_EV < rise < RETURN_EV:
            assert after <= before / 2 + 1e-9


def test_a_step_far_up_is_gone_back_on_and_a_resume_knows(tmp_path: Path) -> None:
    """The steps after it start from the one before it; cut anywhere, the rest is the same to the last bit."""
    soft = (1.0, 1.0)  # so that the first step leaps over the cliff

    def there() -> Atoms:
        atoms = start(two_states=False, cliff=0.05)
        atoms.positions = [[0.4, 0.05, 0.05], [0.1, 0.0, 0.0]]
        return atoms

    with pytest.raises(Unconverged, match="energy is higher than before"):
        relaxed(there(), tmp_path / "one-step", Criteria(0.02, 1, 0.6, soft))
    criteria = Criteria(0.02, 60, 0.6, soft)
    taken = relaxed(there(), tmp_path / "whole", criteria)
    assert taken[1].energy_ev > taken[0].energy_ev + RETURN_EV
    assert np.abs(taken[2].positions_a - taken[0].positions_a).max() <= 0.3 + 1e-9
    assert taken[-1].energy_ev == min(step.energy_ev for step in taken) == pytest.approx(0.0, abs=1e-4)
    whole = (tmp_path / "whole" / "trajectory.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in range(1, len(lines)):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / "trajectory.jsonl").write_bytes(b"".join(lines[:cut]))
        atoms = there()
        relaxed(atoms, folder, criteria)
        assert (folder / "trajectory.jsonl").read_bytes() == whole
        assert atoms.calc.calls == len(lines) - cut


@pytest.mark.parametrize(("curvature", "learned"), [(9.0, 9.0), (1.9, 2.0), (0.0, 2.0), (-30.0, 2.0)])
def test_a_negative_curvature_is_softness_and_not_stiffness(curvature: float, learned: float) -> None:
    """Powell's damping: along a step what was found, or a fifth of the 10 eV/Å² expected; positive definite."""
    optimizer = Criteria(0.02, 60, 0.2, (10.0, 10.0)).optimizer(start(two_states=False))
    step = np.array([0.1, 0.0, 0.0, 0.0, 0.05, 0.0])
    across = np.array([0.0, 0.0, 0.4, 0.0, 0.0, 0.0])
    optimizer.update(step, -curvature * step - across, np.zeros(6), np.zeros(6))
    optimizer.update(step, -curvature * step - across, np.zeros(6), np.zeros(6))
    assert step @ optimizer.H @ step == pytest.approx(learned * step @ step)
    assert np.linalg.eigvalsh(optimizer.H).min() > 0
    if learned == curvature:
        assert optimizer.H @ step == pytest.approx(curvature * step + across)


def test_off_a_saddle_into_the_well(tmp_path: Path) -> None:
    """A quartic double well: with ASE's own update 200 steps do not reach a minimum."""

    class DoubleWell(Springs):
        def calculate(self, atoms=None, properties=None, system_changes=all_changes) -> None:  # type: ignore[no-untyped-def]
            super().calculate(atoms, properties, system_changes)
            x = present(self.atoms).positions[:, 0]
            self.results["energy"] += float((30 * x**4 - 12 * x**2).sum())
            self.results["free_energy"] = self.results["energy"]
            self.results["forces"][:, 0] -= 120 * x**3 - 24 * x

    atoms = Atoms("Na2", [[0.05, 0.3, -0.35], [-0.03, 0.3, 0.4]], calculator=DoubleWell(two_states=False))
    soft = Criteria(0.02, 200, 0.2, (3.0, 3.0))
    taken = relaxed(atoms, tmp_path / "ours", soft)
    well = np.sqrt((24 - 8) / 120)
    assert np.abs(taken[-1].positions_a[:, 0]) == pytest.approx(well, abs=2e-3)
    assert len(taken) < 20
