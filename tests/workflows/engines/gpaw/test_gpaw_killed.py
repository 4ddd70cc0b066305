"""A rank of GPAW, then its mpiexec, are killed in the middle: the same command goes on."""

from __future__ import annotations

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sodiate.workflows.launch.loop import launch
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.runner.run_calculation import WorkerSettings
from support import DATA
from support.campaigns import Bench
from support.cli import wait_until


def processes_in(folder: Path) -> dict[str, int]:
    """The launcher and a rank that run in a folder, by their names, and their numbers."""
    found = {}
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == folder:
                name = Path((link.parent / "cmdline").read_text().split("\0")[0]).name
                found["rank" if name.startswith("python") else name] = int(link.parent.name)
        except OSError:  # ended meanwhile
            continue
    return found


@pytest.mark.usefixtures("gpaw")
def test_a_killed_rank_and_a_killed_mpiexec(bench: Bench) -> None:
    planned = plan(DATA / "gpaw-tiny.yaml")
    atom = planned.names["Na"]
    bench.submit(planned)
    folder = bench.root / atom.directory_name

    def kill() -> None:
        for number, name in enumerate(("rank", "mpiexec"), 1):
            wait_until((folder / f"gpaw-{number}.txt").exists, 120)
            os.kill(processes_in(folder)[name], signal.SIGKILL)

    with ThreadPoolExecutor(1) as pool:
        killer = pool.submit(kill)
        launch(bench, WorkerSettings(bench.root), [atom.id], lambda: None)
        killer.result()
    attempts = bench.attempts(atom.id)
    assert [attempt["outcome"] for attempt in attempts] == ["lost", "lost", "completed"]
    words = r"'mpiexec -n 1 .*' ended without a result, by signal 9 \(SIGKILL\): out of memory\?; see gpaw-"
    assert all(re.search(words, attempt["reason"]) for attempt in attempts[:2])
