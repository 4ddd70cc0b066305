"""What an engine owes that relaxes cells or gives densities: the same contract, for those that have the kinds.

The oracles are finite differences of the engine's own energies, the number of electrons, and the same calculation
left alone.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sodiate.analysis.electrons.density import density_difference, integral
from sodiate.workflows.engines.base import EngineError, Limits, Outcome, Stopped, Unconverged
from sodiate.workflows.engines.shared.checks import cell_forces
from support import present
from support.engine_cases import EMT, GPAW, PROTOCOL, Case, StopAfter, assert_same, kill_in_the_middle, monolayer
from support.warm import Warm

CRITERION = PROTOCOL["max_force_ev_per_a"]
VALENCE = {"S": 6, "Na": 7}
"""Electrons of the PAW data sets, Na with its 2s and 2p."""


@pytest.fixture(params=[EMT, GPAW], ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Engines whose forces are their own; the stand-in for VASP has made-up springs in its cell (test_vasp.py)."""
    value: Case = request.param
    if value.name == "gpaw":
        request.getfixturevalue("gpaw")
    return value


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Outcome]:
    """The relaxation of a cell that nobody interrupted, once for each engine."""
    known: dict[str, Outcome] = {}

    def get(case: Case) -> Outcome:
        case.skip_without("relax_cell")
        if case.name not in known:
            known[case.name] = case.outcome(tmp_path_factory.mktemp(case.name), "relax_cell")
        return known[case.name]

    return get


# Cells.


def test_a_cell_relaxes_in_its_plane_with_its_atoms(case: Case, undisturbed: Callable[[Case], Outcome]) -> None:
    outcome, start = undisturbed(case), monolayer()
    trajectory = outcome.trajectory
    assert outcome.atoms is not None
    assert outcome.stress_ev_per_a3 is not None
    assert trajectory is not None
    assert trajectory.cells_a is not None
    cell = outcome.atoms.cell.array
    assert np.array_equal(trajectory.cells_a[-1], cell)
    assert np.array_equal(trajectory.cells_a[0], start.cell.array)
    assert np.array_equal(trajectory.positions_a[-1], outcome.atoms.positions)
    assert outcome.sampling is not None
    assert np.array_equal(outcome.sampling.cell_a, cell)
    # c and the plane stay, exactly, at every step; a and b do not.
    assert (trajectory.cells_a[:, 2] == start.cell[2]).all()
    assert (trajectory.cells_a[:, :2, 2] == 0.0).all()
    assert abs(cell[0, 0] - start.cell[0, 0]) > 0.02
    # A hexagonal layer stays one.
    assert outcome.atoms.cell.cellpar()[:2] == pytest.approx([cell[0, 0]] * 2, abs=1e-5)
    assert outcome.atoms.cell.cellpar()[5] == pytest.approx(120.0, abs=1e-3)
    # Below the criterion, on the atoms and on the cell.
    assert np.linalg.norm(present(outcome.forces_ev_per_a), axis=1).max() < CRITERION
    assert np.linalg.norm(cell_forces(cell, np.array(outcome.stress_ev_per_a3)), axis=1).max() < CRITERION
    assert outcome.ionic_steps == len(trajectory.energies_ev) - 1 >= 3
    assert trajectory.energies_ev[-1] < trajectory.energies_ev[0]


def test_stress_has_the_unit_and_sign_of_the_slope(case: Case, tmp_path: Path) -> None:
    """Positive stress: the energy rises with the strain. A plane-wave stress is that of a fixed number of waves."""
    case.skip_without("relax_cell")
    atoms, step = monolayer(), 0.01
    calculation = case.calculation("relax_cell", max_force_ev_per_a=1e6)  # content with the start
    case.engine().prepare(calculation, atoms, tmp_path / "start", {})
    outcome = case.finish(tmp_path / "start")
    assert outcome.ionic_steps == 0
    assert outcome.stress_ev_per_a3 is not None
    energies = []
    for sign in (-1, 1):
        moved = atoms.copy()
        moved.set_cell(atoms.cell.array @ np.diag([1 + sign * step, 1, 1]), scale_atoms=True)
        energies.append(present(case.outcome(tmp_path / f"strain{sign}", "static", moved).free_energy_ev))
    slope = (energies[1] - energies[0]) / (2 * step) / atoms.get_volume()
    assert abs(slope) > 1e-3
    assert outcome.stress_ev_per_a3[0] == pytest.approx(slope, rel=0.1)


def test_a_killed_and_a_stopped_cell_relaxation_end_alike(
    case: Case, undisturbed: Callable[[Case], Outcome], warm: Warm, tmp_path: Path
) -> None:
    reference = undisturbed(case)
    directory = case.prepared(tmp_path / "killed", "relax_cell")
    with pytest.raises(Stopped):
        case.engine().run(directory, Limits(), StopAfter(2))
    kill_in_the_middle(case, warm, directory, 2, random.Random(5).uniform(0.0, 0.03))
    with pytest.raises(EngineError):
        case.engine().collect(directory)
    case.prepared(directory, "relax_cell")
    outcome = case.finish(directory)
    assert_same(case, outcome, reference)
    assert outcome.atoms is not None
    assert reference.atoms is not None
    np.testing.assert_allclose(outcome.atoms.cell, reference.atoms.cell, rtol=0, atol=2e-3)


def test_a_cell_that_has_not_settled_is_not_recorded(case: Case, tmp_path: Path) -> None:
    case.skip_without("relax_cell")
    directory = case.prepared(tmp_path / "short", "relax_cell", max_steps=1)
    with pytest.raises(Unconverged, match=r"after 1 steps .*0\.02 eV/Å"):
        case.finish(directory)


def test_a_cell_that_left_its_plane_is_refused(case: Case, tmp_path: Path) -> None:
    case.skip_without("relax_cell")
    case.engine().prepare(case.calculation("relax_cell", max_force_ev_per_a=1e6), monolayer(), tmp_path / "cell", {})
    case.finish(tmp_path / "cell")
    path = tmp_path / "cell" / "result.json"
    values = json.loads(path.read_text())
    values["geometry"]["cell_a"][2][2] += 1e-3
    path.write_text(json.dumps(values))
    with pytest.raises(EngineError, match="left its plane"):
        case.engine().collect(tmp_path / "cell")


# Densities.


def test_a_density_holds_the_electrons_and_a_difference_none(case: Case, tmp_path: Path) -> None:
    case.skip_without("density")
    atoms = case.atoms()
    parts = {"all": atoms, "host": atoms[:-1], "adsorbate": atoms[-1:]}
    found = {}
    for name, part in parts.items():
        outcome = case.outcome(tmp_path / name, "density", part)
        assert outcome.energy_ev is not None
        assert outcome.density is not None
        found[name] = outcome.density
        asked = json.loads((tmp_path / name / "input.json").read_text())["calculator"]["gpts"]
        assert list(outcome.density.values_per_a3.shape) == asked
        assert np.array_equal(outcome.density.cell_a, atoms.cell.array)
        electrons = sum(VALENCE[symbol] for symbol in part.get_chemical_symbols())
        assert integral(outcome.density) == pytest.approx(electrons, abs=1e-4)
    difference = density_difference(found["all"], found["host"], found["adsorbate"])
    assert integral(difference) == pytest.approx(0.0, abs=1e-3)
    volume = atoms.get_volume() / difference.values_per_a3.size
    assert 0.05 < np.clip(difference.values_per_a3, 0, None).sum() * volume < 2.0  # electrons moved, but not all


def test_a_density_that_lost_electrons_is_refused(case: Case, tmp_path: Path) -> None:
    case.skip_without("density")
    case.outcome(tmp_path / "density", "density")
    path = tmp_path / "density" / "result.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"electrons": values["electrons"] + 0.01}))
    with pytest.raises(EngineError, match=r"13\.0000\d electrons|12\.9999\d electrons"):
        case.engine().collect(tmp_path / "density")
