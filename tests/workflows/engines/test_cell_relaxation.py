"""Relaxing a cell in its plane, with ASE's own EMT: finite differences, ASE's fit of E(a), cut-off trajectories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111
from ase.calculators.emt import EMT
from ase.eos import EquationOfState
from sodiate.workflows.engines.base import Limits
from sodiate.workflows.engines.shared.bfgs import Criteria
from sodiate.workflows.engines.shared.checks import cell_forces
from sodiate.workflows.engines.shared.files import TRAJECTORY
from sodiate.workflows.engines.shared.relax import relax
from sodiate.workflows.engines.shared.states import jump_notes
from sodiate.workflows.engines.shared.trajectory import Checkpoint, Step, read_trajectory
from sodiate.workflows.stop import Stop

CRITERIA = Criteria(max_force_ev_per_a=0.002, max_steps=100, max_step_a=0.2, cell=True)


def sheet(a: float = 2.7) -> Atoms:
    """Two hexagonal layers of Cu and Ag in the primitive cell, rattled."""
    atoms = fcc111("Cu", (1, 1, 2), a=a * 2**0.5, vacuum=6.0)
    atoms.symbols[1] = "Ag"
    atoms.rattle(0.05, seed=3)
    atoms.calc = EMT()
    return atoms


def relaxed(directory: Path, atoms: Atoms | None = None, criteria: Criteria = CRITERIA) -> tuple[Atoms, list[Step]]:
    directory.mkdir(exist_ok=True)
    atoms = sheet() if atoms is None else atoms
    return atoms, relax(atoms, Checkpoint(directory, "key"), criteria, Limits(), Stop())


def test_cell_forces_are_the_slope_of_the_energy() -> None:
    """Against finite differences: each in-plane component of a and b, the atoms moving along."""
    atoms, step = sheet(), 1e-4
    atoms.set_cell(atoms.cell.array @ [[1.02, 0.01, 0], [0.01, 0.97, 0], [0, 0, 1]], scale_atoms=True)
    forces = cell_forces(atoms.cell.array, atoms.get_stress())
    for vector, axis in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        energies = []
        for sign in (-1, 1):
            moved = atoms.copy()
            cell = atoms.cell.array.copy()
            cell[vector, axis] += sign * step
            moved.set_cell(cell, scale_atoms=True)
            moved.calc = EMT()
            energies.append(moved.get_potential_energy())
        assert forces[vector, axis] == pytest.approx(-(energies[1] - energies[0]) / (2 * step), abs=1e-5)
    assert np.abs(forces[:2]).max() > 0.1
    assert (forces[2] == 0.0).all()
    assert (forces[:, 2] == 0.0).all()


def test_the_lattice_constant_is_that_of_a_fit(tmp_path: Path) -> None:
    """Against the least of ASE's own fit of E over the area, with the atoms relaxed at each."""
    atoms, steps = relaxed(tmp_path / "cell")
    assert CRITERIA.met(steps[-1])
    assert not any(map(CRITERIA.met, steps[:-1]))
    areas, energies = [], []
    for scale in np.linspace(0.985, 1.015, 9):
        there = atoms.copy()
        there.set_cell(atoms.cell.array * [[scale], [scale], [1]], scale_atoms=True)
        there.calc = EMT()
        fixed = Criteria(max_force_ev_per_a=0.002, max_steps=100, max_step_a=0.2)
        energies.append(relax(there, Checkpoint(tmp_path, f"{scale}"), fixed, Limits(), Stop())[-1].energy_ev)
        areas.append(there.cell.volume / there.cell[2, 2])
    area = EquationOfState(areas, energies).fit()[0]
    assert atoms.cell.lengths()[0] == pytest.approx((area * 2 / 3**0.5) ** 0.5, abs=1e-3)
    assert abs(atoms.cell.lengths()[0] - 2.7) > 0.01
    assert atoms.cell[2].tolist() == sheet().cell[2].tolist()


def test_cut_anywhere_it_ends_alike(tmp_path: Path) -> None:
    """A kill may leave any number of whole lines and a part of the next; the rest must come out bit for bit."""
    few_steps = replace(CRITERIA, max_force_ev_per_a=0.02)
    reference, steps = relaxed(tmp_path / "whole", criteria=few_steps)
    content = (tmp_path / "whole" / TRAJECTORY).read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    assert len(ends) == len(steps) + 1 > 6
    for cut in (*ends, ends[0] + 5, ends[3] + 40, ends[-1] - 1):
        directory = tmp_path / f"cut{cut}"
        directory.mkdir()
        (directory / TRAJECTORY).write_bytes(content[:cut])
        atoms, again = relaxed(directory, criteria=few_steps)
        assert (directory / TRAJECTORY).read_bytes() == content
        assert len(again) == len(steps)
        assert np.array_equal(atoms.cell, reference.cell)
        assert np.array_equal(atoms.positions, reference.positions)
    trajectory = read_trajectory(tmp_path / "whole", 2, len(steps) - 1)
    assert trajectory.cells_a is not None
    assert np.array_equal(trajectory.cells_a[-1], reference.cell)


def test_a_jump_while_the_cell_relaxes_is_told_and_no_other_step(tmp_path: Path) -> None:
    """Forces and stress give what the energy changes; where it falls by 0.1 eV more, that step is told."""
    _, steps = relaxed(tmp_path / "cell", strained(sheet(2.5)))
    trajectory = read_trajectory(tmp_path / "cell", 2, len(steps) - 1)
    assert trajectory.stresses_ev_per_a3 is not None
    assert len(steps) > 4
    first = trajectory.energies_ev[1] - trajectory.energies_ev[0]
    assert first < -0.02
    assert jump_notes(trajectory) == []
    # Most of it is the work of the stress.
    still = replace(trajectory, stresses_ev_per_a3=0.0 * trajectory.stresses_ev_per_a3)
    assert any(note.startswith("from step 0 to step 1 ") for note in jump_notes(still))
    fallen = replace(trajectory, energies_ev=trajectory.energies_ev - 0.1 * (np.arange(len(steps)) >= 3))
    (note,) = jump_notes(fallen)
    assert note.startswith("from step 2 to step 3 the energy changed by -0.1")
    assert "where the forces and the stress give" in note
    # Records of older releases have no stress, and nothing is said of them.
    assert jump_notes(replace(fallen, stresses_ev_per_a3=None)) == []


def strained(atoms: Atoms) -> Atoms:
    """In both directions, and sheared: each component of the stress does work."""
    atoms.set_cell(atoms.cell.array @ [[1.03, 0.02, 0], [0.02, 0.98, 0], [0, 0, 1]], scale_atoms=True)
    return atoms


OLD_LINE = (
    b'{"step": 1, "energy_ev": -3.25, "positions_a": [[0.0, 0.1, 5.0], [1.5, -0.25, 6.875]], '
    b'"forces_ev_per_a": [[0.01, 0.0, -0.5], [-0.01, 0.0, 0.5]], "crc32": 1994945394}\n'
)
"""As written before cells could relax."""


def test_trajectories_of_a_fixed_cell_are_as_they_were(tmp_path: Path) -> None:
    """Checkpoints of an earlier sodiate are read, and lines are written the same."""
    step = Step.read(OLD_LINE, 2)
    assert (step.cell_a, step.stress_ev_per_a3, step.largest_cell_force) == (None, None, 0.0)
    assert step.line() == OLD_LINE
    atoms = sheet()
    steps = relax(atoms, Checkpoint(tmp_path, "key"), Criteria(0.01, 100, 0.2), Limits(), Stop())
    assert read_trajectory(tmp_path, 2, len(steps) - 1).cells_a is None
    assert np.array_equal(atoms.cell, sheet().cell)
