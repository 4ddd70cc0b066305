"""Ctrl-C at any moment of `sodiate queue`, while a real sbatch runs: nothing stays reserved, no job comes twice."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from sodiate.workflows.clusters.cluster_file import load_cluster
from sodiate.workflows.clusters.jobs import JobBook
from sodiate.workflows.clusters.queue import recover
from sodiate.workflows.database.connection import Database
from support.campaigns import Bench, small_campaign
from support.cli import Cli
from support.slurm import Slurm
from support.warm import Warm

OPTIONS = ("--cluster", "cluster.yaml", "--launchpad", "my_launchpad.yaml", "--root", "root")

SECONDS = 0.4
"""So long the sbatch on the path waits before and after the real one, and so long looks are at most interrupted."""


@pytest.fixture
def slow_sbatch(slurm_cluster: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An sbatch that takes its time; returns the file in which each job has a line."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "sbatch"
    path.write_text(
        f"#!/bin/bash\ntouch {folder}/begun\nsleep {SECONDS}\n"
        f'{shutil.which("sbatch")} "$@" | tee -a {folder}/jobs\nsleep {SECONDS}\n'
    )
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def interrupted(warm: Warm, folder: Path, begun: Path, chance: random.Random) -> float:
    """Begin a look at the queue and send SIGINT to its group while sbatch runs, or before; return when."""
    begun.unlink(missing_ok=True)
    process = warm.start(["sodiate", "queue", *OPTIONS, "--once"], folder, own_group=True)
    while not begun.exists() and process.poll() is None and chance.random() > 0.002:
        time.sleep(0.005)
    delay = chance.uniform(0.0, 3 * SECONDS)
    time.sleep(delay)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    process.wait(60)
    assert "KeyboardInterrupt" not in process.paths[1].read_text(), process.paths[1].read_text()
    return delay


@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_ctrl_c_while_sbatch_runs(
    times: int,
    database: Database,
    launchpad: Path,
    slurm_cluster: Slurm,
    slow_sbatch: Path,
    warm: Warm,
    cli: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever was taken counts; what was not is given back; in the end each is computed once."""
    small_campaign(tmp_path, quantities=[])
    (tmp_path / "my_launchpad.yaml").write_bytes(launchpad.read_bytes())
    one = {"kinds": "rest", "wall_time": "00:05:00", "memory_gb": 0.5}
    content = {"scheduler": "slurm", "max_jobs": 2, "signal_s": 30, "classes": {"all": one}}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(content))
    assert cli("submit", "small.yaml", *OPTIONS[2:]).returncode == 0
    (node,) = slurm_cluster.call("sinfo", "-h", "-N", "-o", "%N").split()
    slurm_cluster.call("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    monkeypatch.setattr("sodiate.workflows.clusters.queue.UNNUMBERED_S", 0.0)
    bench, cluster = Bench(database, tmp_path / "root"), load_cluster(tmp_path / "cluster.yaml")
    chance, alive, kept = random.Random(times), Counter[int](), Counter[int]()
    for _ in range(times):
        interrupted(warm, tmp_path, slow_sbatch / "begun", chance)
        names = slurm_cluster.call("squeue", "-h", "-o", "%j").split()
        assert len(names) == len(set(names)) <= 2
        assert {job.tag for job in JobBook.open(bench, cluster).look()} >= {name.rpartition(".")[2] for name in names}
        done = cli("queue", *OPTIONS, "--once")  # what is there already counts
        assert done.returncode == 0, done.stderr
        names = slurm_cluster.call("squeue", "-h", "-o", "%j").split()
        assert len(names) == len(set(names)) <= 2
        alive[len(names)] += 1
        slurm_cluster.call("scancel", "--me")
        recover(bench, JobBook.open(bench, cluster))
        kept[reserved(database)] += 1
    assert set(kept) == {0}
    print(f"jobs alive after each look {dict(alive)}, reserved without a job {dict(kept)}", file=sys.stderr)
    slurm_cluster.call("scontrol", "update", f"nodename={node}", "state=resume")
    done = cli("queue", *OPTIONS, "--every", "1", timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    attempts: list[dict[str, Any]] = list(database.db["attempts"].find())
    assert [attempt["outcome"] for attempt in attempts] == ["completed"] * 5
    assert len({attempt["calculation"] for attempt in attempts}) == 5


def reserved(database: Database) -> int:
    return database.db["fireworks"].count_documents({"state": "RESERVED"})
