"""How far a run of GPAW is while it runs, by files as GPAW leaves them at that moment."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from sodiate.workflows.engines.base import Progress
from sodiate.workflows.engines.gpaw.progress import progress_of
from sodiate.workflows.engines.shared.trajectory import Checkpoint, Step
from support.engine_cases import GPAW

CYCLE = """
SCF iterations
|iter     |     time |      energy | eigst |  dens |
|         | hh:mm:ss |        [eV] | [eV²] | [e/v] |
|iter:   1| 15:48:34 |  -12.801326 | +0.25 |       |
|iter:   2| 15:48:36 |  -12.618387 | -1.31 | -0.65 |
"""

CONVERGED = """|iter:  12| 15:48:42 |  -12.113861c| -6.90c| -4.88c|

Converged in 12 steps

Atomic forces:
| -0.00000 | 0.00000 | -0.22722 |  # C    1
"""


def stepped(directory: Path, name: str, forces: list[float]) -> None:
    """Write a trajectory in which the second atom has these forces, the last line of which is being written."""
    checkpoint = Checkpoint(directory, "key", name)
    steps = [
        Step(number, -1.0, np.zeros((2, 3)), np.array([[0, 0, 0.01], [force, 0, 0]]))
        for number, force in enumerate(forces)
    ]
    checkpoint.begin(steps=steps)
    with checkpoint.path.open("ab") as file:
        file.write(steps[-1].line()[:-20] if steps else b"")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    coarse = {"cutoff_ev": 150.0, "max_force_ev_per_a": 0.1}
    return GPAW.prepared(tmp_path / "calculation", "relax", start_stiffness_ev_per_a2=None, coarse=coarse)


def test_stage_step_force_and_iteration(directory: Path) -> None:
    assert progress_of(directory) == Progress()
    (directory / "gpaw-1.txt").write_text(CYCLE)
    assert progress_of(directory) == Progress(scf_iteration=2)
    stepped(directory, "coarse.jsonl", [0.5, 0.25])
    found = progress_of(directory)
    assert found == Progress("coarse relaxation", 1, 0.25, 0.1, 2)
    assert (
        found.words
        == "coarse relaxation, step 1, largest force 0.250 eV/Å (criterion 0.1), SCF iteration 2 of step 2"
    )
    stepped(directory, "trajectory.jsonl", [])
    (directory / "gpaw-2.txt").write_text(CYCLE + CONVERGED)
    assert progress_of(directory) == Progress("relaxation", criterion_ev_per_a=0.02)
    stepped(directory, "trajectory.jsonl", [0.4, 0.3, 0.05])
    (directory / "gpaw-2.txt").write_text(CYCLE + CONVERGED + CYCLE)
    assert progress_of(directory) == Progress("relaxation", 2, 0.05, 0.02, 2)


def test_the_newest_text_counts(tmp_path: Path) -> None:
    """A DOS has several texts a launch, and a launch that goes on more of them."""
    directory = GPAW.prepared(tmp_path / "calculation", "dos")
    for age, (name, text) in enumerate([("gpaw-10-dense.txt", CYCLE), ("gpaw-10.txt", CYCLE + CONVERGED)]):
        (directory / name).write_text(text)
        os.utime(directory / name, (1000 - age, 1000 - age))
    assert progress_of(directory) == Progress(scf_iteration=2)


def test_what_cannot_be_read_is_no_progress(directory: Path) -> None:
    (directory / "trajectory.jsonl").write_bytes(b"\xff\x00{")
    (directory / "gpaw-1.txt").write_bytes(b"\xff|iter: x|")
    assert progress_of(directory) == Progress("relaxation", criterion_ev_per_a=0.02)
    (directory / "input.json").write_text(json.dumps({"kind": "what"}))
    assert progress_of(directory) is None
