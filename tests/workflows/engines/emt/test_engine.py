"""What only the dry engine does: it computes in this process, so a kill between any two writes can be staged."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import EngineError, Limits, Outcome, Settings, Stopped, Unconverged
from sodiate.workflows.engines.shared.trajectory import Step
from sodiate.workflows.stop import Stop
from support.engine_cases import EMT, StopAfter, assert_same, host_with_na


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The relaxation that nobody interrupted."""
    return EMT.outcome(tmp_path_factory.mktemp("emt"), "relax")


class Killed(BaseException):
    """Stands for SIGKILL between two system calls."""


@pytest.mark.parametrize("when", ["before the write", "in the middle of it", "after it"])
def test_emt_killed_around_every_write(
    when: str, undisturbed: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each launch dies at the third step that it writes."""
    directory = EMT.prepared(tmp_path / "killed", "relax")
    whole = Step.line
    written = {"before the write": 0, "in the middle of it": 200, "after it": None}[when]
    count = 0

    def line(self: Step) -> bytes:
        nonlocal count
        count += 1
        if count % 3:
            return whole(self)
        with (directory / "trajectory.jsonl").open("ab") as trajectory:
            trajectory.write(whole(self)[:written])
        raise Killed

    monkeypatch.setattr(Step, "line", line)
    kills, ended = 0, False
    while not ended:
        try:
            EMT.engine().run(directory, Limits(), Stop())
            ended = True
        except Killed:
            kills += 1
    assert kills > 3
    assert_same(EMT, EMT.engine().collect(directory), undisturbed)


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
    assert steps[0].count(b"\n") == 14


def test_emt_goes_on_from_before_the_first_damage(undisturbed: Outcome, tmp_path: Path) -> None:
    directory = EMT.prepared(tmp_path / "begun", "relax")
    with pytest.raises(Stopped):
        EMT.engine().run(directory, Limits(), StopAfter(6))
    content = (directory / "trajectory.jsonl").read_bytes()
    chance = random.Random(1)
    damaged = [content[: int(part * len(content))] for part in (0.0, 0.3, 0.999)]
    for _ in range(5):
        place = chance.randrange(len(content) - 1)
        damaged.append(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    for index, bad in enumerate(damaged):
        other = tmp_path / f"damaged{index}"
        shutil.copytree(directory, other)
        (other / "trajectory.jsonl").write_bytes(bad)
        assert_same(EMT, EMT.finish(other), undisturbed)


def test_emt_trajectory_of_other_inputs_is_replaced(undisturbed: Outcome, tmp_path: Path) -> None:
    other_start = EMT.atoms()
    other_start.positions[-1] += 0.1
    directory = EMT.prepared(tmp_path / "begun", "relax", other_start)
    with pytest.raises(Stopped):
        EMT.engine().run(directory, Limits(), StopAfter(6))
    EMT.prepared(directory, "relax")
    assert_same(EMT, EMT.finish(directory), undisturbed)


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
    from sodiate.workflows.engines.shared.files import write_bytes

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
    lines = (directory / "trajectory.jsonl").read_bytes().splitlines(keepends=True)
    last = replace(Step.read(lines[-1], len(EMT.atoms())), positions_a=np.array(values["positions_a"]))
    (directory / "trajectory.jsonl").write_bytes(b"".join([*lines[:-1], last.line()]))
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


def test_vibrations_need_no_optimizers(tmp_path: Path) -> None:
    """The search for saddles loads SciPy's, which takes longer than all force calls of a small sheet."""
    code = (
        "import sys; from pathlib import Path; from ase import Atoms\n"
        "from sodiate.workflows.calculation import Calculation\n"
        "from sodiate.workflows.engines import make_engine\n"
        "from sodiate.workflows.engines.base import Limits, Settings\n"
        "from sodiate.workflows.stop import Stop\n"
        "folder, engine = Path(sys.argv[1]), make_engine('emt', Settings())\n"
        "vibrations = Calculation('vibrations', {'op': 'geometry', 'recipe': 1}, 'emt', {}, {}, 'Na')\n"
        "atoms = Atoms('WSNa', [[0, 0, 2], [0, 0, 4.4], [0, 0, 7]], cell=[9, 9, 9], pbc=[True, True, False])\n"
        "engine.prepare(vibrations, atoms, folder, {})\n"
        "engine.run(folder, Limits(), Stop())\n"
        "print(engine.collect(folder).ionic_steps, 'ase.optimize' in sys.modules, 'scipy' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "vibrations")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["7", "False", "False"]
