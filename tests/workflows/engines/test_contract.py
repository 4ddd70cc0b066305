"""What every engine owes its callers, whatever the code behind it; a new engine joins by one more case.

The oracles are finite differences of the engine's own energies, invariance, and the same calculation left alone.
"""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from scipy.integrate import trapezoid
from sodiate.workflows.engines.base import EngineError, Limits, Outcome, Stopped, TooManySteps, Unsupported
from sodiate.workflows.engines.shared import machine
from sodiate.workflows.engines.shared.trajectory import how_far
from sodiate.workflows.stop import Stop
from support import present
from support.engine_cases import PROTOCOL, Case, StopAfter, assert_same, kill_in_the_middle
from support.warm import Warm


class Undisturbed:
    """The relaxation that nobody interrupted, once for each engine."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self.factory = factory
        self.known: dict[str, tuple[Path, Outcome]] = {}

    def found(self, case: Case) -> tuple[Path, Outcome]:
        if case.name not in self.known:
            directory = self.factory.mktemp(case.name) / "relax"
            self.known[case.name] = directory, case.outcome(directory, "relax")
        return self.known[case.name]

    def __call__(self, case: Case) -> Outcome:
        return self.found(case)[1]

    def copy(self, case: Case, directory: Path) -> Path:
        """Copy the finished directory, times of its files and all."""
        return Path(shutil.copytree(self.found(case)[0], directory))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory)


# Numbers.


def test_describes_itself(case: Case) -> None:
    engine = case.engine()
    assert engine.name == case.name
    assert {"relax", "static", "atom"} <= engine.capabilities
    assert engine.physical is case.physical
    assert all(set(keys) <= engine.protocol_keys for keys in case.protocol_keys.values())
    assert engine.checkpoint_files


def test_shapes_and_fingerprints(case: Case, tmp_path: Path) -> None:
    outcome = case.outcome(tmp_path / "static", "static")
    atoms = case.atoms()
    assert outcome.atoms is not None
    assert outcome.atoms.get_chemical_symbols() == atoms.get_chemical_symbols()
    assert np.array_equal(outcome.atoms.positions, atoms.positions)
    assert outcome.atoms.cell.array.tolist() == atoms.cell.array.tolist()
    assert outcome.forces_ev_per_a is not None
    assert outcome.forces_ev_per_a.shape == (len(atoms), 3)
    assert outcome.energy_ev is not None
    assert outcome.free_energy_ev is not None
    assert outcome.converged is True
    assert outcome.method.engine == case.name
    assert outcome.method.engine_version
    assert outcome.sampling is not None
    np.testing.assert_allclose(outcome.sampling.cell_a, atoms.cell.array, atol=1e-7)  # as far as a code prints it
    assert {"sodiate", "ase"} <= outcome.versions.keys()


def test_it_says_on_how_many_cores_it_ran(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards, and beforehand to other workers on the machine, if it takes more than this process's core."""
    monkeypatch.setattr(machine, "_presences", [])
    assert case.engine().cores(tmp_path) is None
    outcome = case.outcome(tmp_path / "static", "static")
    assert bool(machine._presences) is case.physical
    cores = case.engine().cores(tmp_path / "static")
    if not case.physical:
        assert cores is None
        return
    asked = re.search(r"-n (\d+)", outcome.command or "")
    assert cores == (int(asked[1]) if asked else 1)


def test_it_says_how_far_a_relaxation_is(case: Case, undisturbed: Undisturbed, tmp_path: Path) -> None:
    assert how_far(case.engine(), tmp_path) is None
    directory, outcome = undisturbed.found(case)
    progress = present(how_far(case.engine(), directory))
    forces = np.linalg.norm(present(outcome.forces_ev_per_a), axis=1)
    assert progress.step == outcome.ionic_steps
    assert progress.max_force_ev_per_a == pytest.approx(forces.max(), abs=1e-4)
    own = case.engine().progress(directory)
    assert own is None or own.criterion_ev_per_a == case.protocol["max_force_ev_per_a"]
    assert progress.scf_iteration is None
    prepared = case.prepared(tmp_path / "relax", "relax")
    begun = how_far(case.engine(), prepared)
    assert begun is None or begun.step is None


def test_forces_have_the_unit_and_sign_of_the_slope(case: Case, tmp_path: Path) -> None:
    atoms, step = case.atoms(), 2e-3
    forces = case.outcome(tmp_path / "static", "static").forces_ev_per_a
    assert forces is not None
    for index, axis in [(0, 0), (-1, 2), (-1, 1)]:
        energies = []
        for shift in (-2, -1, 1, 2):
            moved = atoms.copy()
            moved.positions[index, axis] += shift * step
            outcome = case.outcome(tmp_path / f"{index}{axis}{shift}", "static", moved)
            energies.append(present(outcome.free_energy_ev))
        slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * step)
        assert forces[index, axis] == pytest.approx(-slope, abs=case.slope_ev_per_a)
    assert np.abs(forces).max() > 0.1


def test_bound_structures_lie_below_their_atoms(case: Case, tmp_path: Path) -> None:
    """The sign of the energy: Na gives energy when it joins a host or its crystal."""
    single = Atoms("Na", cell=[12.0, 12.5, 13.0], pbc=True)
    atom = present(case.outcome(tmp_path / "atom", "atom", single).energy_ev)
    crystal = present(case.outcome(tmp_path / "bulk", "bulk", bulk("Na", "bcc", a=4.2)).energy_ev)
    joined = present(case.outcome(tmp_path / "joined", "static").energy_ev)
    alone = present(case.outcome(tmp_path / "alone", "static", case.atoms()[:-1]).energy_ev)
    assert crystal < atom
    assert joined < alone + atom


def test_translation_changes_nothing(case: Case, tmp_path: Path) -> None:
    moved = case.atoms()
    moved.translate([1.234, -4.321, 0.5])
    there = case.outcome(tmp_path / "there", "static", moved)
    here = case.outcome(tmp_path / "here", "static")
    assert there.energy_ev == pytest.approx(here.energy_ev, abs=case.moved_ev)
    theirs, ours = present(there.forces_ev_per_a), present(here.forces_ev_per_a)
    np.testing.assert_allclose(theirs, ours, atol=case.moved_ev_per_a)


def test_relaxation_ends_below_the_criterion_and_not_before(case: Case, undisturbed: Undisturbed) -> None:
    outcome = undisturbed(case)
    trajectory = outcome.trajectory
    assert outcome.converged is True
    assert outcome.atoms is not None
    assert trajectory is not None
    largest = np.linalg.norm(trajectory.forces_ev_per_a, axis=2).max(axis=1)
    assert largest[-1] < PROTOCOL["max_force_ev_per_a"]
    assert (largest[:-1] >= PROTOCOL["max_force_ev_per_a"]).all()
    assert outcome.ionic_steps == len(largest) - 1 >= case.steps
    assert trajectory.energies_ev[-1] == outcome.free_energy_ev < trajectory.energies_ev[0]
    assert np.array_equal(trajectory.positions_a[-1], outcome.atoms.positions)
    np.testing.assert_allclose(trajectory.positions_a[0], case.atoms().positions, rtol=0, atol=1e-9)
    assert outcome.atoms.cell.array.tolist() == case.atoms().cell.array.tolist()


def test_a_static_run_of_the_result_agrees(case: Case, undisturbed: Undisturbed, tmp_path: Path) -> None:
    """The forces in the record belong to the geometry in the record."""
    relaxed = undisturbed(case)
    static = case.outcome(tmp_path / "static", "static", relaxed.atoms)
    assert static.energy_ev == pytest.approx(relaxed.energy_ev, abs=max(case.same_ev, 1e-9))
    forces, expected = present(static.forces_ev_per_a), present(relaxed.forces_ev_per_a)
    np.testing.assert_allclose(forces, expected, atol=max(case.same_a, 1e-8))


def test_dos_and_bands(case: Case, tmp_path: Path) -> None:
    case.skip_without("dos")
    outcome = case.outcome(tmp_path / "dos", "dos")
    bands, dos = outcome.bands, outcome.dos
    assert bands is not None
    assert dos is not None
    spins, kpoints, _ = bands.energies_ev.shape
    assert bands.occupations.shape == bands.energies_ev.shape
    assert bands.kpoints.shape == (kpoints, 3)
    assert bands.weights.sum() == pytest.approx(1.0, abs=1e-9)
    assert bands.occupations.max() <= 2.0 / spins + 1e-9
    count = float((bands.weights[None, :, None] * bands.occupations).sum())
    assert count == pytest.approx(round(count), abs=1e-6)
    assert dos.total.shape == (spins, len(dos.energies_ev))
    assert np.diff(dos.energies_ev).max() <= 0.010 + 1e-9
    assert all(part.shape == dos.total.shape for part in dos.projected.values())
    assert {label.split("-")[0] for label in dos.projected} == set(case.atoms().get_chemical_symbols())
    assert dos.fermi_ev == bands.fermi_ev
    below = dos.energies_ev <= dos.fermi_ev
    held = trapezoid(dos.total[:, below].sum(axis=0), dos.energies_ev[below])
    assert held == pytest.approx(count, abs=0.05 * count)
    # What is on the atoms of an element is what is on its shells.
    assert bands.by_atom is not None
    on_atoms = np.einsum("k,skna->a", bands.weights, bands.by_atom.astype(float)) * (3 - spins)
    for symbol in set(case.atoms().get_chemical_symbols()):
        atoms = [atom.index for atom in case.atoms() if atom.symbol == symbol]
        shells = sum(part for label, part in dos.projected.items() if label.split("-")[0] == symbol)
        on_shells = trapezoid(np.sum(shells, axis=0), dos.energies_ev)
        assert on_atoms[atoms].sum() == pytest.approx(on_shells, rel=2e-3)


# Refusals.


def test_refuses_what_it_lacks(case: Case, tmp_path: Path) -> None:
    strange = Atoms(f"W{case.refused or 'Og'}", [[0, 0, 0], [0, 0, 2]], cell=[8, 8, 8])
    if case.refused is None:
        case.engine().check(strange)
    else:
        with pytest.raises(Unsupported, match=case.refused):
            case.engine().check(strange)
    case.engine().check(case.atoms())
    with pytest.raises(Unsupported, match="lowest"):
        case.prepared(tmp_path / "kind", "lowest")
    with pytest.raises(Unsupported, match="quasi-newton"):
        case.prepared(tmp_path / "optimizer", "relax", optimizer="quasi-newton")


def test_unconverged_raises_and_goes_on_with_more_steps(case: Case, undisturbed: Undisturbed, tmp_path: Path) -> None:
    directory = case.prepared(tmp_path / "short", "relax", max_steps=4)
    for _ in range(2):
        with pytest.raises(TooManySteps, match=r"after 4 steps .*0\.02 eV/Å") as caught:
            case.finish(directory)
        assert str(directory) in str(caught.value)
        assert caught.value.max_steps == 4  # with more the same command goes on
    case.prepared(directory, "relax")
    assert_same(case, case.finish(directory), undisturbed(case))


def test_nothing_to_collect(case: Case, tmp_path: Path) -> None:
    directory = case.prepared(tmp_path / "empty", "relax")
    with pytest.raises(EngineError, match=str(directory)):
        case.engine().collect(directory)
    (tmp_path / "bare").mkdir()
    with pytest.raises(EngineError, match="bare"):
        case.engine().run(tmp_path / "bare", Limits(), Stop())


@pytest.mark.parametrize("kind", ["relax", "dos", "relax_cell", "density"])
def test_damaged_outputs_are_named(case: Case, kind: str, undisturbed: Undisturbed, tmp_path: Path) -> None:
    case.skip_without(kind)
    if kind == "relax":
        undisturbed.copy(case, tmp_path / "whole")
    else:
        case.outcome(tmp_path / "whole", kind)
    for name in case.outputs[kind]:
        for left in (0.0, 0.99):
            directory = tmp_path / f"{name}-{left}"
            shutil.copytree(tmp_path / "whole", directory)
            content = (directory / name).read_bytes()
            (directory / name).write_bytes(content[: int(left * len(content))])
            with pytest.raises(EngineError, match=name):
                case.engine().collect(directory)
        (directory / name).unlink()
        with pytest.raises(EngineError, match=name):
            case.engine().collect(directory)
        assert case.finish(directory).converged is True


# Interruptions.


@pytest.mark.parametrize("consultations", [0, 1, 2, 7])
def test_stop_ends_cleanly_and_the_run_goes_on(
    case: Case, consultations: int, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    directory = case.prepared(tmp_path / "stopped", "relax")
    with case.slowly(), pytest.raises(Stopped, match="the test asked for it") as caught:
        case.engine().run(directory, Limits(), StopAfter(consultations))
    assert str(directory) in str(caught.value)
    with pytest.raises(EngineError):
        case.engine().collect(directory)
    case.prepared(directory, "relax")
    assert_same(case, case.finish(directory), undisturbed(case))


def test_wall_time_ends_cleanly(case: Case, undisturbed: Undisturbed, tmp_path: Path) -> None:
    directory = case.prepared(tmp_path / "short", "relax")
    with pytest.raises(Stopped, match="wall time"):
        case.engine().run(directory, Limits(wall_time_s=0.0), Stop())
    assert_same(case, case.finish(directory), undisturbed(case))


def test_a_finished_run_is_left_alone(case: Case, undisturbed: Undisturbed, tmp_path: Path) -> None:
    directory = undisturbed.copy(case, tmp_path / "done")
    first = case.engine().collect(directory)
    before = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    case.engine().run(directory, Limits(), Stop())
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == before
    assert_same(case, case.engine().collect(directory), first)


def test_killed_and_resumed_is_the_same_record(
    case: Case, undisturbed: Undisturbed, warm: Warm, tmp_path: Path
) -> None:
    directory = case.prepared(tmp_path / "killed", "relax")
    delays = random.Random(5)
    for writes in (1, case.steps // 3, case.steps // 2):
        kill_in_the_middle(case, warm, directory, writes, delays.uniform(0.0, 0.03))
        case.prepared(directory, "relax")
    assert_same(case, case.finish(directory), undisturbed(case))
