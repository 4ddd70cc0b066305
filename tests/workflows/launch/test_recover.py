"""Reservations and the scheduler's word for their jobs: each row of docs/database.md that has a job in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from sodiate.workflows.clusters.cluster_file import load_cluster
from sodiate.workflows.clusters.queue import jobs_of, memory_gb, recover
from sodiate.workflows.clusters.registry import SCHEDULERS
from sodiate.workflows.clusters.scheduler import SchedulerError
from sodiate.workflows.launch.tasks import OurFWorker
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.runner.run_calculation import WorkerSettings
from support.campaigns import Bench, small_campaign

SLURM = SCHEDULERS["slurm"]


@pytest.fixture
def reserved(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A campaign whose Na atom is reserved to job 17, and a folder on the path for a stand-in squeue."""
    bench.submit(plan(small_campaign(tmp_path, quantities=[])))
    firework, launch = bench.launchpad.reserve_fw(
        OurFWorker(WorkerSettings(bench.root), kinds=["atom"]), str(tmp_path)
    )
    assert firework.spec["label"] == "Na"
    bench.launchpad.set_reservation_id(launch, "17")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return bench


def squeue(tmp_path: Path, out: str, code: int = 0) -> None:
    path = tmp_path / "bin" / "squeue"
    path.write_text(f"#!{sys.executable}\nimport sys\nprint({out!r})\nsys.exit({code})\n")
    path.chmod(0o755)


def state(bench: Bench) -> str:
    found = bench.launchpad.fireworks.find_one({"spec.label": "Na"}, {"state": 1})
    assert found is not None
    return str(found["state"])


@pytest.mark.parametrize("word", ["PENDING", "RUNNING", "CONFIGURING"])
def test_a_job_that_waits_or_runs_keeps_its_calculation(word: str, reserved: Bench, tmp_path: Path) -> None:
    squeue(tmp_path, f"17 {word}\n18 PENDING")
    assert recover(reserved, SLURM) == []
    assert state(reserved) == "RESERVED"
    (job,) = jobs_of(reserved.launchpad, SLURM)
    assert (job.number, job.state, job.label) == ("17", word, "Na")


@pytest.mark.parametrize("out", ["18 PENDING", "", "17 CANCELLED", "17 NODE_FAIL", "17 COMPLETED"])
def test_a_job_that_is_gone_gives_it_back(out: str, reserved: Bench, tmp_path: Path) -> None:
    squeue(tmp_path, out)
    (told,) = recover(reserved, SLURM)
    assert told.startswith("Na (job 17: ")
    assert state(reserved) == "READY"
    assert jobs_of(reserved.launchpad, SLURM) == []


def test_a_scheduler_without_an_answer_changes_nothing(reserved: Bench, tmp_path: Path) -> None:
    squeue(tmp_path, "", 1)
    with pytest.raises(SchedulerError, match="squeue: no answer"):
        recover(reserved, SLURM)
    assert recover(reserved, None) == []
    assert state(reserved) == "RESERVED"


def test_memory_is_raised_by_half_each_time_it_was_too_small(reserved: Bench) -> None:
    cluster = load_cluster(Path("slurm"))
    for number, expected in enumerate((200.0, 300.0, 450.0, 500.0)):
        assert memory_gb(reserved.documents, cluster, "large", "abc") == expected
        reserved.documents.attempts.insert_one(
            {"_id": f"a{number}", "calculation": "abc", "reason": "VASP failed: Out Of Memory", "outcome": "failed"}
        )
    reserved.documents.attempts.insert_one(
        {"_id": "b", "calculation": "abc", "reason": "stopped", "outcome": "stopped"}
    )
    assert memory_gb(reserved.documents, cluster, "large", "abc") == 500.0
    assert memory_gb(reserved.documents, cluster, "small", "abc") == 4.0
