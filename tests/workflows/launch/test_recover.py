"""Reservations and the scheduler's word for their jobs: each row of docs/database.md that has a job in it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import sleep

import pytest
from sodiate.workflows.clusters.cluster_file import load_cluster
from sodiate.workflows.clusters.jobs import JobBook
from sodiate.workflows.clusters.queue import memory_gb, recover
from sodiate.workflows.clusters.registry import SCHEDULERS
from sodiate.workflows.clusters.scheduler import SchedulerError
from sodiate.workflows.database.account import Account
from sodiate.workflows.database.standing import Standing, standing_of
from sodiate.workflows.database.workbench import Workbench
from sodiate.workflows.engines.shared.commands import end_of
from sodiate.workflows.launch import reconcile
from sodiate.workflows.launch.tasks import OurFWorker
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.runner.run_calculation import WorkerSettings
from support.campaigns import Bench, small_campaign

SLURM = SCHEDULERS["slurm"]


def book_of(bench: Bench, **changes: str) -> JobBook:
    """The jobs of this user on cluster ``here``."""
    return JobBook(bench, SLURM, replace(Account.here("here"), **changes))


def reserve(bench: Bench, tmp_path: Path) -> int:
    firework, launch = bench.launchpad.reserve_fw(
        OurFWorker(WorkerSettings(bench.root), kinds=["atom"]), str(tmp_path)
    )
    assert firework.spec["label"] == "Na"
    return int(launch)


@pytest.fixture
def reserved(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A campaign whose Na atom is reserved to job 17, and a folder on the path for a stand-in squeue."""
    bench.submit(plan(small_campaign(tmp_path, quantities=[])))
    book = book_of(bench)
    book.number(book.begin(reserve(bench, tmp_path), {"label": "Na"}), "17")
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return bench


def squeue(tmp_path: Path, out: str, code: int = 0) -> None:
    """Write a squeue that lists jobs by number and state, each of which somebody has named anew."""
    out = "\n".join(f"{line.replace(' ', '|')}|None|renamed" for line in out.splitlines())
    path = tmp_path / "bin" / "squeue"
    path.write_text(f"#!{sys.executable}\nimport sys\nprint({out!r})\nsys.exit({code})\n")
    path.chmod(0o755)


def state(bench: Bench) -> str:
    found = bench.launchpad.fireworks.find_one({"spec.label": "Na"}, {"state": 1})
    assert found is not None
    return str(found["state"])


@pytest.mark.parametrize(
    "word", ["PENDING", "RUNNING", "CONFIGURING", "PREEMPTED", "REQUEUE_HOLD", "SPECIAL_EXIT", "WHAT_COMES_NEXT"]
)
def test_a_job_that_waits_or_runs_keeps_its_calculation(word: str, reserved: Bench, tmp_path: Path) -> None:
    squeue(tmp_path, f"17 {word}\n18 PENDING")
    assert recover(reserved, book_of(reserved)) == []
    assert state(reserved) == "RESERVED"
    (job,) = book_of(reserved).look()
    assert (job.number, job.state, job.label) == ("17", word, "Na")


@pytest.mark.parametrize("out", ["18 PENDING", "", "17 CANCELLED", "17 NODE_FAIL", "17 COMPLETED"])
def test_a_job_that_is_gone_gives_it_back(out: str, reserved: Bench, tmp_path: Path) -> None:
    squeue(tmp_path, out)
    (told,) = recover(reserved, book_of(reserved))
    assert told.startswith("Na (job 17: ")
    assert state(reserved) == "READY"
    assert book_of(reserved).look() == []


def test_a_scheduler_without_an_answer_changes_nothing(reserved: Bench, tmp_path: Path) -> None:
    squeue(tmp_path, "", 1)
    with pytest.raises(SchedulerError, match="squeue: no answer"):
        recover(reserved, book_of(reserved))
    assert recover(reserved, None) == []
    assert state(reserved) == "RESERVED"


@pytest.mark.parametrize("other", [{"user": "anna"}, {"cluster": "there"}])
def test_jobs_of_another_user_or_cluster_are_not_judged(
    other: dict[str, str], reserved: Bench, tmp_path: Path
) -> None:
    """A scheduler that never heard of job 17 says nothing about job 17 of another one."""
    squeue(tmp_path, "")
    theirs = book_of(reserved, **other)
    assert theirs.look() == []
    assert recover(reserved, theirs) == []
    assert state(reserved) == "RESERVED"
    assert recover(reserved, book_of(reserved)) == ["Na (job 17: gone)"]


def made_old(bench: Bench, launch: int) -> None:
    """Let a reservation be of four minutes ago."""
    past = bench.documents.now() - timedelta(minutes=4)
    moment = past.isoformat()
    bench.documents.calculations.update_many({"seen": {"$exists": True}}, {"$set": {"seen.since": past}})
    bench.documents.jobs.update_many({"launch": launch}, {"$set": {"submitted": moment}})


@pytest.mark.parametrize("has_document", [True, False])
def test_a_reservation_without_a_number_is_given_back_after_minutes(
    has_document: bool, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kill while sbatch runs leaves it, before or after the job is stored."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    squeue(tmp_path, "")
    bench.submit(plan(small_campaign(tmp_path, quantities=[])))
    launch = reserve(bench, tmp_path)
    if has_document:
        book_of(bench).begin(launch, {"label": "Na"})
    assert recover(bench, book_of(bench)) == []
    made_old(bench, launch)
    (told,) = recover(bench, book_of(bench))
    assert told.startswith("Na (never submitted" if has_document else "Na (reserved, and no job was submitted")
    assert state(bench) == "READY"


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_delays_nothing(
    hours: int, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a worker that was killed before it had its lease: its clock wrote the times of the firework."""
    monkeypatch.setattr(reconcile, "GRACE_S", 0.3)
    planned = plan(small_campaign(tmp_path, quantities=[]))
    bench.submit(planned)
    off = (datetime.now(UTC) + timedelta(hours=hours)).replace(tzinfo=None).isoformat()
    times = {"state": "RUNNING", "updated_on": off}
    bench.launchpad.fireworks.update_one({"spec.label": "Na"}, {"$set": times})
    identifiers = [calculation.id for calculation in planned.calculations]
    assert reconcile.reconcile(bench, identifiers) == []  # its worker may be about to take the lease
    sleep(0.35)
    assert reconcile.reconcile(bench, identifiers) == ["Na"]
    assert state(bench) == "READY"


def test_a_record_that_comes_meanwhile_is_not_queued_again(bench: Bench, tmp_path: Path) -> None:
    """Recover reads records, then fireworks: what was recorded between the two is done."""
    planned = plan(small_campaign(tmp_path, quantities=[]))
    bench.submit(planned)
    before = bench.standing([calculation.id for calculation in planned.calculations])
    bench.launch(planned)
    assert set(bench.states().values()) == {"COMPLETED"}
    late = iter([before])

    def standing(identifiers: Iterable[str]) -> Standing:
        return next(late, None) or standing_of(bench.documents, identifiers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workbench, "standing", lambda self, identifiers: standing(identifiers))
        assert recover(bench, None) == []
    assert set(bench.states().values()) == {"COMPLETED"}


def test_memory_is_not_raised_for_a_guess(reserved: Bench) -> None:
    """A killed code may have run out of it, or somebody killed it."""
    for number, (end, expected) in enumerate(((end_of(-9, "", 0), 200.0), (end_of(-9, "", 1), 300.0))):
        attempt = {"_id": f"{number}", "calculation": "abc", "reason": end.words, "outcome": "lost"}
        reserved.documents.attempts.insert_one(attempt)
        assert memory_gb(reserved.documents, load_cluster(Path("slurm")), "large", "abc") == expected


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
