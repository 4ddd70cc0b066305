"""A VASP that was ended goes on in the electronic state of its last step, with a stand-in that has several.

Its energy is the dry engine's and a constant for each state, so that each has a relaxation to be held against.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import EngineError, Limits, Outcome, Settings
from sodiate.workflows.stop import Stop
from support.engine_cases import VASP
from support.fake_vasp import Behaviour, install
from support.warm import Warm

HIGH, LOW, OTHER = (3.0, 0.0), (1.0, -0.1), (7.0, 0.2)
"""Moment (μB) and energy (eV): where the relaxation begins, a lower state, and a higher one."""


@pytest.fixture
def program(vasp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def prepared(directory: Path, **protocol: Any) -> Path:
    """Na on WSSe, with spin: MAGMOM is 1 on Na, and the state of 3 μB the only one at first."""
    atoms = VASP.atoms()
    atoms.set_initial_magnetic_moments([0.0, 0.0, 0.0, 1.0])
    directory.mkdir(exist_ok=True)
    calculation = VASP.calculation("relax", spin_polarised=True, **protocol)
    VASP.engine().prepare(calculation, atoms, directory, {})
    return directory


def killed(program: Path, directory: Path, steps: int = 3, **protocol: Any) -> Path:
    """Relax in the state HIGH until it is killed after some steps."""
    install(program, Behaviour(die_after=steps, states=(HIGH,)))
    with pytest.raises(EngineError):
        make_engine("vasp", Settings()).run(prepared(directory, **protocol), Limits(), Stop())
    return directory


def resumed(program: Path, directory: Path, *states: tuple[float, float], times: int | None = None) -> Outcome:
    install(program, Behaviour(states=states, times=times))
    return VASP.finish(directory)


def runs(program: Path) -> int:
    return len((program / "runs").read_text().splitlines())


@pytest.fixture
def alone(program: Path, tmp_path: Path) -> Outcome:
    """The relaxation that nobody ended."""
    return resumed(program, prepared(tmp_path / "alone"), HIGH)


def test_killed_it_goes_on_in_the_state_of_its_last_step(program: Path, alone: Outcome, tmp_path: Path) -> None:
    """Without WAVECAR, from the moments in OUTCAR: from those of the start it would be another state."""
    directory = killed(program, tmp_path / "run")
    assert not (directory / "WAVECAR").exists()
    outcome = resumed(program, directory, HIGH, LOW)
    assert outcome.notes == alone.notes
    assert outcome.energy_ev == pytest.approx(alone.energy_ev, abs=2e-3)
    assert outcome.total_moment_mub == pytest.approx(1.5)  # in the spheres
    assert outcome.start_moments_mub == (0.0, 0.0, 0.0, 1.0)
    # In spheres half of the moment is found; the start has the moment of the cell.
    (moments,) = re.findall(r"MAGMOM = (.*)", (directory / "INCAR").read_text())
    assert moments.split() == ["3*0.0", "1*3.0"]
    assert outcome.trajectory is not None
    assert alone.trajectory is not None
    # No step is there twice, and those before the kill are those of the run left alone.
    np.testing.assert_allclose(outcome.trajectory.energies_ev[:3], alone.trajectory.energies_ev[:3], atol=1e-6)
    assert len(np.unique(outcome.trajectory.positions_a[:, -1], axis=0)) == len(outcome.trajectory.energies_ev)


@pytest.mark.parametrize("steps", [1, 4])
def test_a_lower_state_is_followed_alone_and_told(steps: int, program: Path, alone: Outcome, tmp_path: Path) -> None:
    directory = killed(program, tmp_path / "run", steps)
    outcome = resumed(program, directory, LOW)
    assert outcome.energy_ev == pytest.approx(alone.energy_ev + LOW[1] if alone.energy_ev else None, abs=2e-3)
    note = outcome.notes[-1]
    assert f"resumed after step {steps - 1} in another electronic state, 0.100 eV lower at the same positions" in note
    assert "3.00 μB then and 1.00 μB now" in note
    assert len([text for text in outcome.notes if "electronic state" in text]) == 1
    assert outcome.trajectory is not None
    assert alone.trajectory is not None
    # Of the other state nothing is left: the first step is its last one, computed again.
    here, there = outcome.trajectory.energies_ev[0], alone.trajectory.energies_ev[steps - 1]
    assert here == pytest.approx(there + LOW[1], abs=1e-6)
    assert np.ptp(outcome.trajectory.energies_ev) <= np.ptp(alone.trajectory.energies_ev[steps - 1 :]) + 2e-3


def test_a_higher_state_is_none_to_go_on_in(program: Path, alone: Outcome, tmp_path: Path) -> None:
    """It is ended after its first step, and the relaxation begins again as if nothing had been."""
    directory = killed(program, tmp_path / "run")
    install(program, Behaviour(states=(OTHER,), times=1, seconds_per_step=1.0))
    outcome = VASP.finish(directory)
    assert runs(program) == 2
    assert outcome.energy_ev == pytest.approx(alone.energy_ev, abs=1e-6)
    assert outcome.notes[-1].startswith("the electronic state of step 2 was not found again (+0.200 eV, 3.00 μB then")
    assert outcome.trajectory is not None
    assert alone.trajectory is not None
    np.testing.assert_allclose(outcome.trajectory.energies_ev, alone.trajectory.energies_ev, atol=1e-6)
    _, second = sorted((directory / "launches").iterdir())
    assert len(re.findall(r" F=", (second / "OSZICAR").read_text())) < 4


SLOW = """
import sys
from pathlib import Path
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Limits, Settings, Stop

make_engine("vasp", Settings()).run(Path(sys.argv[1]), Limits(), Stop())
"""


def test_a_launch_that_nobody_looked_at_is_judged_by_the_next(
    program: Path, warm: Warm, alone: Outcome, tmp_path: Path
) -> None:
    """Sodiate was killed together with a VASP that had gone on in a lower state."""
    directory = killed(program, tmp_path / "run")
    install(program, Behaviour(states=(LOW,), seconds_per_step=1.0))
    sodiate = warm.start(["-c", str(directory)], tmp_path, SLOW)
    end = time.monotonic() + 60
    oszicar = directory / "OSZICAR"
    while not (any(directory.glob("launches/*")) and oszicar.exists() and oszicar.read_text().count(" F=") == 2):
        assert time.monotonic() < end
        time.sleep(0.05)
    sodiate.kill()
    sodiate.wait(10)
    assert json.loads((directory / "state.json").read_text())["expected"]
    outcome = resumed(program, directory, LOW)
    (note,) = [note for note in outcome.notes if "electronic state" in note]
    assert note.startswith("resumed after step 2 in another electronic state, 0.100 eV lower")
    assert outcome.energy_ev == pytest.approx((alone.energy_ev or 0.0) + LOW[1], abs=2e-3)


@pytest.mark.parametrize("waves", ["whole", "gone", "torn"])
def test_asked_to_end_it_goes_on_from_its_wave_functions(
    waves: str, program: Path, alone: Outcome, tmp_path: Path
) -> None:
    """They hold the state whatever MAGMOM says; where they are gone, what is found instead is told."""
    install(program, Behaviour(states=(HIGH,), seconds_per_step=0.5))
    directory, stop = prepared(tmp_path / "run"), AfterSteps(tmp_path / "run", 2)
    with pytest.raises(EngineError, match="stopped"):
        VASP.engine().run(directory, Limits(), stop)
    path = directory / "WAVECAR"
    if waves == "gone":
        path.unlink()
    elif waves == "torn":
        path.write_bytes(path.read_bytes()[:-300])
    outcome = resumed(program, directory, LOW)
    told = [note for note in outcome.notes if "electronic state" in note]
    assert len(told) == (0 if waves == "whole" else 1)
    lower = 0.0 if waves == "whole" else LOW[1]
    assert outcome.energy_ev == pytest.approx((alone.energy_ev or 0.0) + lower, abs=2e-3)


class AfterSteps(Stop):
    """Asks to end once so many ionic steps are done."""

    def __init__(self, directory: Path, steps: int) -> None:
        super().__init__()
        self.path, self.steps = directory / "OSZICAR", steps

    def requested(self) -> bool:
        if self.path.exists() and self.path.read_text().count(" F=") >= self.steps:
            self.request("the test asked for it", 30.0)
        return super().requested()


def test_in_a_directory_from_an_archive_no_launch_is_dropped_for_another(
    program: Path, alone: Outcome, tmp_path: Path
) -> None:
    """An archive has the present launch alone, and the state that counts those before it."""
    directory = killed(program, tmp_path / "run")
    for _ in range(2):
        install(program, Behaviour(states=(LOW,), die_after=2))
        with pytest.raises(EngineError):
            VASP.engine().run(directory, Limits(), Stop())
    assert json.loads((directory / "state.json").read_text())["dropped"] == 1
    shutil.rmtree(directory / "launches")
    (directory / "OUTCAR").unlink()
    outcome = resumed(program, directory, LOW, HIGH)
    assert outcome.energy_ev == pytest.approx((alone.energy_ev or 0.0) + LOW[1], abs=2e-3)
    assert [path.name for path in (directory / "launches").iterdir()] == ["003-stage-1"]
    assert len([note for note in outcome.notes if "electronic state" in note]) == 1
    assert outcome.trajectory is not None
    assert len(outcome.trajectory.energies_ev) >= 3


def test_launches_of_one_step_come_further(program: Path, alone: Outcome, tmp_path: Path) -> None:
    """Killed after each step: a step that was computed again and found is not computed a third time."""
    directory = killed(program, tmp_path / "run", 1)
    for _ in range(3):
        install(program, Behaviour(states=(HIGH,), die_after=1))
        with pytest.raises(EngineError):
            VASP.engine().run(directory, Limits(), Stop())
    outcome = resumed(program, directory, HIGH)
    assert outcome.energy_ev == pytest.approx(alone.energy_ev, abs=2e-3)
    assert outcome.notes == alone.notes


def test_a_stage_that_begins_in_another_state_than_the_one_before_ended_in(program: Path, tmp_path: Path) -> None:
    """Where its wave functions were not written, or lost; and a jump within the first stage."""
    install(program, Behaviour(states=(HIGH,)))
    directory = prepared(tmp_path / "run", dipole_correction=True)
    values = json.loads((directory / "input.json").read_text())
    for tags in values["stages"]:
        tags["LWAVE"] = False
    (directory / "input.json").write_text(json.dumps(values))
    outcome = VASP.finish(directory)
    assert "two electronic states" not in " ".join(outcome.notes)
    state = json.loads((directory / "state.json").read_text())
    (directory / "state.json").write_text(json.dumps(state | {"stage": 1, "energies_ev": state["energies_ev"][:1]}))
    (directory / "result.json").unlink()
    for name in ("OSZICAR", "OUTCAR", "vasprun.xml", "WAVECAR"):
        (directory / name).unlink(missing_ok=True)
    outcome = resumed(program, directory, LOW)
    assert "stage 1 ended with 3.00 μB, and the relaxation began at the same positions with 1.00 μB" in " ".join(
        outcome.notes
    )
