"""What every engine owes its callers, whatever the code behind it; a new engine joins by one more case.

The oracles are finite differences of the engine's own energies, invariance, and the same calculation left alone.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, mx2
from scipy.integrate import trapezoid
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import (
    Engine,
    EngineError,
    Limits,
    Outcome,
    Settings,
    Stop,
    Stopped,
    Unconverged,
    Unsupported,
)

EXECUTION = {"optimizer": "bfgs", "max_steps": 200, "max_step_a": 0.2}
PROTOCOL: dict[str, Any] = {"max_force_ev_per_a": 0.02, "kpoint_length_a": 13.0, "dos_broadening_ev": 0.05}


@dataclass(frozen=True)
class Case:
    """One engine under test.

    Attributes
    ----------
    name
        Of the engine.
    atoms
        A structure of at least 13 steps of relaxation.
    same_ev, same_a
        How far a resumed relaxation may be from an undisturbed one; 0 is bit for bit.
    slope_ev_per_a
        How far forces may be from finite differences.
    outputs
        Files of a finished relaxation and of a DOS whose damage has to be noticed.
    refused
        An element that the engine does not have.
    """

    name: str
    atoms: Callable[[], Atoms]
    same_ev: float
    same_a: float
    slope_ev_per_a: float
    outputs: Mapping[str, tuple[str, ...]]
    refused: str
    protocol_keys: Mapping[str, tuple[str, ...]]

    def engine(self, **execution: Any) -> Engine:
        return make_engine(self.name, Settings(execution=EXECUTION | execution))

    def calculation(self, kind: str, **protocol: Any) -> Calculation:
        values = {key: PROTOCOL[key] for key in self.protocol_keys.get(kind, ())} | protocol
        return Calculation(kind, {"op": "test"}, self.name, values, {}, f"test/{kind}")

    def prepared(self, directory: Path, kind: str, atoms: Atoms | None = None, **execution: Any) -> Path:
        atoms = self.atoms() if atoms is None else atoms
        directory.mkdir(parents=True, exist_ok=True)
        self.engine(**execution).prepare(self.calculation(kind), atoms, directory, {})
        return directory

    def outcome(self, directory: Path, kind: str, atoms: Atoms | None = None) -> Outcome:
        return self.finish(self.prepared(directory, kind, atoms))

    def finish(self, directory: Path) -> Outcome:
        """Run from the disk alone: another object of the class, without settings."""
        engine = make_engine(self.name, Settings())
        engine.run(directory, Limits(), Stop())
        return engine.collect(directory)


def host_with_na(repeat: int = 1) -> Atoms:
    """WSSe with Na beside a hollow site, displaced at random."""
    atoms = mx2("WSe2", "2H", a=3.252, thickness=3.25, vacuum=9.0)
    atoms.symbols[int(np.argmax(atoms.positions[:, 2]))] = "S"
    atoms = atoms.repeat((repeat, repeat, 1))
    atoms.append("Na")
    atoms.positions[-1] = [2.0, 1.3, atoms.positions[:-1, 2].max() + 2.1]
    atoms.rattle(0.05, seed=11)
    return atoms


CASES = [
    Case(
        name="emt",
        atoms=host_with_na,
        same_ev=0.0,
        same_a=0.0,
        slope_ev_per_a=2e-7,
        outputs={"relax": ("result.json", "trajectory.jsonl"), "dos": ("result.json", "bands.npz", "dos.npz")},
        refused="O",
        protocol_keys={"relax": ("max_force_ev_per_a",), "dos": ("kpoint_length_a", "dos_broadening_ev")},
    ),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    value: Case = request.param
    return value


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Outcome]:
    """The relaxation that nobody interrupted, once for each engine."""
    known: dict[str, Outcome] = {}

    def get(case: Case) -> Outcome:
        if case.name not in known:
            known[case.name] = case.outcome(tmp_path_factory.mktemp(case.name), "relax")
        return known[case.name]

    return get


def assert_same(case: Case, outcome: Outcome, reference: Outcome) -> None:
    """The same record: energy, geometry, forces, steps, and one frame a step in the trajectory."""
    assert outcome.atoms is not None
    assert reference.atoms is not None
    assert outcome.trajectory is not None
    assert reference.trajectory is not None
    steps = len(outcome.trajectory.energies_ev)
    if case.same_ev == 0.0:
        assert outcome.energy_ev == reference.energy_ev
        assert np.array_equal(outcome.atoms.positions, reference.atoms.positions)
        assert np.array_equal(outcome.forces_ev_per_a, reference.forces_ev_per_a)
        assert outcome.ionic_steps == reference.ionic_steps
        assert np.array_equal(outcome.trajectory.energies_ev, reference.trajectory.energies_ev)
        assert np.array_equal(outcome.trajectory.positions_a, reference.trajectory.positions_a)
        assert outcome.method == reference.method
        assert outcome.sampling == reference.sampling
        assert outcome.notes == reference.notes
    assert outcome.energy_ev == pytest.approx(reference.energy_ev, abs=case.same_ev)
    np.testing.assert_allclose(outcome.atoms.positions, reference.atoms.positions, rtol=0, atol=case.same_a)
    assert len(np.unique(outcome.trajectory.positions_a.reshape(steps, -1), axis=0)) == steps


class StopAfter(Stop):
    """Asks a run to end once it has been consulted often enough."""

    def __init__(self, consultations: int) -> None:
        super().__init__()
        self.left = consultations

    def requested(self) -> bool:
        self.left -= 1
        if self.left < 0:
            self.request("the test asked for it")
        return super().requested()


# Numbers.


def test_describes_itself(case: Case) -> None:
    engine = case.engine()
    assert engine.name == case.name
    assert {"relax", "static", "atom"} <= engine.capabilities
    assert engine.physical is (case.name != "emt")
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
    assert np.array_equal(outcome.sampling.cell_a, atoms.cell.array)
    assert {"sodiate", "ase"} <= outcome.versions.keys()


def test_forces_have_the_unit_and_sign_of_the_slope(case: Case, tmp_path: Path) -> None:
    atoms, step = case.atoms(), 2e-3
    forces = case.outcome(tmp_path / "static", "static").forces_ev_per_a
    assert forces is not None
    for index, axis in [(0, 0), (2, 2), (-1, 1)]:
        energies = []
        for shift in (-2, -1, 1, 2):
            moved = atoms.copy()
            moved.positions[index, axis] += shift * step
            energies.append(case.outcome(tmp_path / f"{index}{axis}{shift}", "static", moved).free_energy_ev)
        slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * step)
        assert forces[index, axis] == pytest.approx(-slope, abs=case.slope_ev_per_a)
    assert np.abs(forces).max() > 0.1


def test_bound_structures_lie_below_their_atoms(case: Case, tmp_path: Path) -> None:
    """The sign of the energy: Na gives energy when it joins a host or its crystal."""
    single = Atoms("Na", cell=[12.0, 12.5, 13.0], pbc=True)
    atom = case.outcome(tmp_path / "atom", "atom", single).energy_ev
    crystal = case.outcome(tmp_path / "bulk", "bulk", bulk("Na", "bcc", a=4.2)).energy_ev
    joined = case.outcome(tmp_path / "joined", "static").energy_ev
    alone = case.outcome(tmp_path / "alone", "static", case.atoms()[:-1]).energy_ev
    assert None not in (atom, crystal, joined, alone)
    assert crystal < atom
    assert joined < alone + atom


def test_translation_changes_nothing(case: Case, tmp_path: Path) -> None:
    moved = case.atoms()
    moved.translate([1.234, -4.321, 0.5])
    there = case.outcome(tmp_path / "there", "static", moved)
    here = case.outcome(tmp_path / "here", "static")
    assert there.energy_ev == pytest.approx(here.energy_ev, abs=1e-9)
    np.testing.assert_allclose(there.forces_ev_per_a, here.forces_ev_per_a, atol=1e-8)


def test_relaxation_ends_below_the_criterion_and_not_before(
    case: Case, undisturbed: Callable[[Case], Outcome]
) -> None:
    outcome = undisturbed(case)
    trajectory = outcome.trajectory
    assert outcome.converged is True
    assert outcome.atoms is not None
    assert trajectory is not None
    largest = np.linalg.norm(trajectory.forces_ev_per_a, axis=2).max(axis=1)
    assert largest[-1] < PROTOCOL["max_force_ev_per_a"]
    assert (largest[:-1] >= PROTOCOL["max_force_ev_per_a"]).all()
    assert outcome.ionic_steps == len(largest) - 1 > 12
    assert trajectory.energies_ev[-1] == outcome.free_energy_ev < trajectory.energies_ev[0]
    assert np.array_equal(trajectory.positions_a[-1], outcome.atoms.positions)
    assert np.array_equal(trajectory.positions_a[0], case.atoms().positions)
    assert outcome.atoms.cell.array.tolist() == case.atoms().cell.array.tolist()


def test_a_static_run_of_the_result_agrees(
    case: Case, undisturbed: Callable[[Case], Outcome], tmp_path: Path
) -> None:
    """The forces in the record belong to the geometry in the record."""
    relaxed = undisturbed(case)
    static = case.outcome(tmp_path / "static", "static", relaxed.atoms)
    assert static.energy_ev == pytest.approx(relaxed.energy_ev, abs=max(case.same_ev, 1e-9))
    np.testing.assert_allclose(static.forces_ev_per_a, relaxed.forces_ev_per_a, atol=max(case.same_a, 1e-8))


def test_dos_and_bands(case: Case, tmp_path: Path) -> None:
    if "dos" not in case.engine().capabilities:
        pytest.skip("this engine has no DOS")
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


# Refusals.


def test_refuses_what_it_lacks(case: Case, tmp_path: Path) -> None:
    strange = Atoms(f"W{case.refused}", [[0, 0, 0], [0, 0, 2]], cell=[8, 8, 8])
    with pytest.raises(Unsupported, match=case.refused):
        case.engine().check(strange)
    case.engine().check(case.atoms())
    with pytest.raises(Unsupported, match="lowest"):
        case.prepared(tmp_path / "kind", "lowest")
    with pytest.raises(Unsupported, match="quasi-newton"):
        case.prepared(tmp_path / "optimizer", "relax", optimizer="quasi-newton")


def test_unconverged_raises_and_goes_on_with_more_steps(
    case: Case, undisturbed: Callable[[Case], Outcome], tmp_path: Path
) -> None:
    directory = case.prepared(tmp_path / "short", "relax", max_steps=4)
    for _ in range(2):
        with pytest.raises(Unconverged, match=r"after 4 steps .*0\.02 eV/Å") as caught:
            case.finish(directory)
        assert str(directory) in str(caught.value)
    case.prepared(directory, "relax")
    assert_same(case, case.finish(directory), undisturbed(case))


def test_nothing_to_collect(case: Case, tmp_path: Path) -> None:
    directory = case.prepared(tmp_path / "empty", "relax")
    with pytest.raises(EngineError, match=str(directory)):
        case.engine().collect(directory)
    (tmp_path / "bare").mkdir()
    with pytest.raises(EngineError, match="bare"):
        case.engine().run(tmp_path / "bare", Limits(), Stop())


@pytest.mark.parametrize("kind", ["relax", "dos"])
def test_damaged_outputs_are_named(case: Case, kind: str, tmp_path: Path) -> None:
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
    case: Case, consultations: int, undisturbed: Callable[[Case], Outcome], tmp_path: Path
) -> None:
    directory = case.prepared(tmp_path / "stopped", "relax")
    with pytest.raises(Stopped, match="the test asked for it") as caught:
        case.engine().run(directory, Limits(), StopAfter(consultations))
    assert str(directory) in str(caught.value)
    with pytest.raises(EngineError):
        case.engine().collect(directory)
    case.prepared(directory, "relax")
    assert_same(case, case.finish(directory), undisturbed(case))


def test_wall_time_ends_cleanly(case: Case, undisturbed: Callable[[Case], Outcome], tmp_path: Path) -> None:
    directory = case.prepared(tmp_path / "short", "relax")
    with pytest.raises(Stopped, match="wall time"):
        case.engine().run(directory, Limits(wall_time_s=0.0), Stop())
    assert_same(case, case.finish(directory), undisturbed(case))


def test_a_finished_run_is_left_alone(case: Case, tmp_path: Path) -> None:
    directory = case.prepared(tmp_path / "done", "relax")
    first = case.finish(directory)
    before = {path.name: path.stat().st_mtime_ns for path in directory.iterdir()}
    case.engine().run(directory, Limits(), Stop())
    assert {path.name: path.stat().st_mtime_ns for path in directory.iterdir()} == before
    assert_same(case, case.engine().collect(directory), first)


SLOW_RUN = """
import sys, time
from pathlib import Path
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Limits, Settings, Stop

class Slow(Stop):
    def requested(self):
        time.sleep(0.02)
        return False

make_engine(sys.argv[1], Settings()).run(Path(sys.argv[2]), Limits(), Slow())
"""


def kill_in_the_middle(case: Case, directory: Path, writes: int, delay_s: float) -> None:
    """Start a real process and SIGKILL its group some time after it has written its checkpoint ``writes`` times."""

    def state() -> set[tuple[str, int, int]]:
        found = [path for pattern in case.engine().checkpoint_files for path in directory.glob(pattern)]
        return {(path.name, path.stat().st_mtime_ns, path.stat().st_ino) for path in found}

    command = [sys.executable, "-c", SLOW_RUN, case.name, str(directory)]
    child = subprocess.Popen(command, start_new_session=True, cwd=directory)
    try:
        seen, last, patience = 0, state(), time.monotonic() + 60
        while seen < writes and child.poll() is None and time.monotonic() < patience:
            now = state()
            seen, last = seen + (now != last), now
            time.sleep(0.001)
        time.sleep(delay_s)
    finally:
        os.killpg(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "the child ended before it was killed"
    with pytest.raises(EngineError):
        case.engine().collect(directory)


def test_killed_and_resumed_is_the_same_record(
    case: Case, undisturbed: Callable[[Case], Outcome], tmp_path: Path
) -> None:
    directory = case.prepared(tmp_path / "killed", "relax")
    delays = random.Random(5)
    for writes in (1, 4, 7):
        kill_in_the_middle(case, directory, writes, delays.uniform(0.0, 0.03))
        case.prepared(directory, "relax")
    assert_same(case, case.finish(directory), undisturbed(case))


# What only EMT does: its checkpoint is written in this process, so a kill between any two writes can be staged.


class Killed(BaseException):
    """Stands for SIGKILL between two system calls."""


EMT = CASES[0]


@pytest.mark.parametrize("when", ["before", "after"])
def test_emt_killed_around_every_checkpoint(
    when: str, undisturbed: Callable[[Case], Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each launch dies at its third checkpoint: between trajectory and checkpoint, or just after both."""
    from sodiate.workflows.engines import relaxation

    written = relaxation.write_arrays
    count = 0

    def write(path: Path, arrays: Mapping[str, Any]) -> None:
        nonlocal count
        count += 1
        if when == "after":
            written(path, arrays)
        if count % 3 == 0:
            raise Killed
        if when == "before":
            written(path, arrays)

    monkeypatch.setattr(relaxation, "write_arrays", write)
    directory = EMT.prepared(tmp_path / "killed", "relax")
    kills = 0
    outcome = None
    while outcome is None and kills < 200:
        try:
            outcome = EMT.finish(directory)
        except Killed:
            kills += 1
    assert kills > 10
    assert outcome is not None
    assert_same(EMT, outcome, undisturbed(EMT))
    assert json.loads((directory / "result.json").read_text())["launches"] >= kills


def test_emt_3x3_stopped_again_and_again_takes_the_same_steps(tmp_path: Path) -> None:
    """At full size, where the linear algebra of the optimizer takes other paths than for a few atoms."""
    for name in ("stopped", "whole"):
        EMT.prepared(tmp_path / name, "relax", host_with_na(3), max_steps=12)
    for _ in range(3):
        with pytest.raises(Stopped):
            EMT.engine().run(tmp_path / "stopped", Limits(), StopAfter(3))
    for name in ("stopped", "whole"):
        EMT.engine().run(tmp_path / name, Limits(), Stop())
    steps = [(tmp_path / name / "trajectory.jsonl").read_bytes() for name in ("stopped", "whole")]
    assert steps[0] == steps[1]
    assert steps[0].count(b"\n") == 13


def test_emt_damaged_checkpoints_begin_anew(undisturbed: Callable[[Case], Outcome], tmp_path: Path) -> None:
    directory = EMT.prepared(tmp_path / "begun", "relax")
    with pytest.raises(Stopped):
        EMT.engine().run(directory, Limits(), StopAfter(6))
    content = (directory / "checkpoint.npz").read_bytes()
    chance = random.Random(1)
    damaged = [content[: int(part * len(content))] for part in (0.0, 0.3, 0.999)]
    for _ in range(3):
        place = chance.randrange(len(content) - 40)
        damaged.append(content[:place] + chance.randbytes(40) + content[place + 40 :])
    for index, bad in enumerate(damaged):
        other = tmp_path / f"damaged{index}"
        shutil.copytree(directory, other)
        (other / "checkpoint.npz").write_bytes(bad)
        outcome = EMT.finish(other)
        assert outcome.energy_ev == undisturbed(EMT).energy_ev
        assert outcome.notes == ("a checkpoint could not be read and was dropped; the relaxation began anew",)


@pytest.mark.parametrize("reason", ["was ahead of its trajectory", "belonged to other inputs"])
def test_emt_checkpoints_that_do_not_fit_begin_anew(
    reason: str, undisturbed: Callable[[Case], Outcome], tmp_path: Path
) -> None:
    directory = tmp_path / "begun"
    other_start = EMT.atoms()
    other_start.positions[-1] += 0.1
    EMT.prepared(directory, "relax", other_start if reason.endswith("inputs") else None)
    with pytest.raises(Stopped):
        EMT.engine().run(directory, Limits(), StopAfter(6))
    trajectory = directory / "trajectory.jsonl"
    if reason.endswith("trajectory"):
        os.truncate(trajectory, 100)
    else:
        trajectory.write_bytes(trajectory.read_bytes() * 50)
    EMT.prepared(directory, "relax")
    outcome = EMT.finish(directory)
    assert outcome.energy_ev == undisturbed(EMT).energy_ev
    assert outcome.notes == (f"a checkpoint {reason} and was dropped; the relaxation began anew",)


def test_emt_result_of_other_inputs_is_not_collected(tmp_path: Path) -> None:
    directory = EMT.prepared(tmp_path / "done", "static")
    EMT.finish(directory)
    moved = EMT.atoms()
    moved.positions[0, 0] += 1e-9
    EMT.prepared(directory, "static", moved)
    with pytest.raises(EngineError, match="of other inputs"):
        EMT.engine().collect(directory)


def test_emt_recomputes_convergence_from_the_forces_on_disk(tmp_path: Path) -> None:
    directory = EMT.prepared(tmp_path / "done", "relax")
    EMT.finish(directory)
    values = json.loads((directory / "result.json").read_text())
    values["forces_ev_per_a"][2] = [0.0, 0.0, 0.0201]
    (directory / "result.json").write_text(json.dumps(values))
    with pytest.raises(Unconverged, match=r"0\.0201"):
        EMT.engine().collect(directory)


def test_emt_arrays_of_another_run_are_not_collected(tmp_path: Path) -> None:
    directory = EMT.prepared(tmp_path / "done", "dos")
    EMT.finish(directory)
    EMT.outcome(tmp_path / "other", "dos", EMT.atoms()[:-1])
    shutil.copy(tmp_path / "other" / "dos.npz", directory)
    with pytest.raises(EngineError, match=r"dos\.npz .*not the file"):
        EMT.engine().collect(directory)


def test_files_are_whole_or_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill before the new file is in its place leaves the old one."""
    from sodiate.workflows.engines.files import write_bytes

    def die(self: Path, target: Path) -> None:
        raise Killed

    path = tmp_path / "checkpoint.npz"
    write_bytes(path, b"old")
    monkeypatch.setattr(Path, "replace", die)
    with pytest.raises(Killed):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"


def test_emt_explosions_are_errors(tmp_path: Path) -> None:
    """Two atoms in one place: no finite energy. A chalcogen pulled off its metals: a bond lost."""
    atoms = EMT.atoms()
    atoms.positions[1] = atoms.positions[0]
    for kind in ("relax", "static"):
        with pytest.raises(EngineError, match="finite"), np.errstate(all="ignore"):
            EMT.outcome(tmp_path / f"collapsed-{kind}", kind, atoms)
    directory = EMT.prepared(tmp_path / "torn", "relax")
    EMT.finish(directory)
    values = json.loads((directory / "result.json").read_text())
    values["positions_a"][EMT.atoms().get_chemical_symbols().index("Se")][2] -= 4.0
    lines = (directory / "trajectory.jsonl").read_text().splitlines()
    last = json.loads(lines[-1]) | {"positions_a": values["positions_a"]}
    (directory / "trajectory.jsonl").write_text("\n".join([*lines[:-1], json.dumps(last)]) + "\n")
    (directory / "result.json").write_text(json.dumps(values))
    with pytest.raises(EngineError, match=r"tore 1 bond.*W 0–Se"):
        EMT.engine().collect(directory)


def test_emt_missing_settings_are_named(tmp_path: Path) -> None:
    engine = make_engine("emt", Settings(execution={"optimizer": "bfgs", "max_step_a": 0.2}))
    with pytest.raises(EngineError, match="execution: max_steps is None"):
        engine.prepare(EMT.calculation("relax"), EMT.atoms(), tmp_path, {})
    bare = Calculation("relax", {"op": "test"}, "emt", {}, {}, "test")
    with pytest.raises(EngineError, match="max_force_ev_per_a is None"):
        EMT.engine().prepare(bare, EMT.atoms(), tmp_path, {})


def test_emt_inputs_keep_every_digit(tmp_path: Path) -> None:
    outcome = EMT.outcome(tmp_path, "static")
    assert outcome.atoms is not None
    assert np.array_equal(outcome.atoms.positions, EMT.atoms().positions)
    assert (outcome.atoms.pbc == EMT.atoms().pbc).all()
    assert "Na" in (tmp_path / "start.extxyz").read_text()


def test_importing_the_engine_for_a_plan_is_light() -> None:
    code = (
        "import sys; from ase import Atoms; from sodiate.workflows.engines import make_engine\n"
        "from sodiate.workflows.engines.base import Settings\n"
        "make_engine('emt', Settings()).check(Atoms('WSe'))\n"
        "print(*[m for m in ('ase.optimize', 'ase.calculators.emt', 'ase.neighborlist') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
