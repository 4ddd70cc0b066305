"""Jobs that reach no database, on a scheduler that does as it is told: what goes out, comes back, and is refused."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo.collection import Collection
from pymongo.errors import AutoReconnect
from sodiate import SodiateError
from sodiate.analysis.records import Record
from sodiate.workflows.cli.status import status_lines
from sodiate.workflows.clusters import offline
from sodiate.workflows.clusters.cluster_file import ClusterFile
from sodiate.workflows.clusters.jobs import JobBook
from sodiate.workflows.clusters.keep import keep
from sodiate.workflows.clusters.queue import Queue, queue_once, recover
from sodiate.workflows.clusters.registry import SCHEDULERS
from sodiate.workflows.clusters.scheduler import SchedulerError
from sodiate.workflows.database.connection import open_launchpad
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.database.lease import LeaseHeld, Owner
from sodiate.workflows.database.seals import sealed
from sodiate.workflows.engines.base import Killed, Limits
from sodiate.workflows.launch.corrections import cancel, redo, retry
from sodiate.workflows.launch.loop import launch_next
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from sodiate.workflows.runner import offline as folders
from sodiate.workflows.runner.run_calculation import WorkerSettings, run_calculation
from sodiate.workflows.stop import Stop
from support.campaigns import Bench, Finished, small_campaign
from support.obedient import Obedient


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Obedient:
    made = Obedient()
    monkeypatch.setitem(SCHEDULERS, "obedient", made)
    monkeypatch.setattr(offline, "SETTLE_S", -1.0)  # nobody waits for a slow file system
    return made


@pytest.fixture
def planned(tmp_path: Path) -> Plan:
    return plan(small_campaign(tmp_path))


@pytest.fixture
def submitted(bench: Bench, planned: Plan) -> Bench:
    bench.submit(planned)
    return bench


def queue_of(bench: Any, **changes: Any) -> Queue:
    content = {"scheduler": "obedient", "max_jobs": 2, "signal_s": 5}
    content |= {"classes": {"all": {"kinds": "rest", "wall_time": "00:10:00"}}}
    cluster = ClusterFile.model_validate(content)
    values: dict[str, Any] = {"max_jobs": 2, "offline": True, **changes}
    return Queue(bench, cluster, Path("/c.yaml"), Path("/l.yaml"), **values)


def out(bench: Bench) -> list[Path]:
    """The folders that are out, by the numbers of their reservations."""
    found = [path for path in (bench.root / "offline").glob("sd*") if path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.split("-")[1]))


def folder_of(bench: Bench, label: str) -> Path:
    document = bench.documents.jobs.find_one({"label": label, "settled": None})
    assert document is not None, label
    return Path(document["folder"])


def compute(folder: Path, **settings: Any) -> str:
    return folders.compute_sealed(folder, WorkerSettings(folder, **settings))


def told_by(queue: Queue) -> list[str]:
    """Look, and return what was told."""
    told: list[str] = []
    queue_once(queue, told.append)
    return told


def go_on(bench: Bench, scheduler: Obedient, queue: Queue, looks: int = 30) -> list[str]:
    """Look, compute in each job what it has, end it, and look again until nothing is left; return what was told."""
    told: list[str] = []
    for _ in range(looks):
        queue_once(queue, told.append)
        assert len([job for job in scheduler.jobs if job.state == "WAITING"]) <= queue.max_jobs
        for folder in out(bench):
            compute(folder)
        scheduler.all_end()
        if not queue.is_going_on():
            return told
    raise AssertionError(bench.states())


def outcomes(bench: Bench) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for attempt in bench.documents.attempts.find().sort("started", 1):
        found.setdefault(attempt["label"], []).append(attempt["outcome"])
    return found


def refused(bench: Bench) -> list[Path]:
    return sorted((bench.root / "offline" / "refused").glob("*"))


def records(bench: Bench) -> dict[str, Record]:
    return {record.label: record for record in bench.documents.current().values()}


# -- what goes out and comes back


def test_a_campaign_without_a_database_is_the_same_as_with_one(
    submitted: Bench, planned: Plan, scheduler: Obedient, finished: Finished
) -> None:
    """The oracle is the same campaign run here: the same digests of every record, so the same science to the bit."""
    assert go_on(submitted, scheduler, queue_of(submitted)) == []
    assert submitted.standing([c.id for c in planned.calculations]).complete
    assert set(submitted.states().values()) == {"COMPLETED"}
    with Results.open(finished.launchpad) as here:
        theirs = {record.calculation: record for record in (here[label].record for label in records(submitted))}
    mine = {record.calculation: record for record in records(submitted).values()}
    assert {i: r.digest for i, r in mine.items()} == {i: r.digest for i, r in theirs.items()}
    assert {i: sorted(r.arrays) for i, r in mine.items()} == {i: sorted(r.arrays) for i, r in theirs.items()}
    for record in mine.values():  # and lies where it always does
        assert Path(record.provenance.directory).parent == submitted.root
        assert Path(record.provenance.directory).is_dir()
    assert set(map(tuple, outcomes(submitted).values())) == {("completed",)}
    assert list((submitted.root / "offline").iterdir()) == []
    assert submitted.documents.calculations.count_documents({"lease": {"$ne": None}}) == 0


def test_what_needs_no_code_is_done_on_the_login_node(submitted: Bench, scheduler: Obedient) -> None:
    go_on(submitted, scheduler, queue_of(submitted))
    assert not [name for name in scheduler.submitted if "lowest" in name]
    assert [label for label in records(submitted) if "lowest" in label]
    assert len(scheduler.submitted) == 5


def test_ctrl_c_after_a_site_was_chosen_is_ctrl_c(
    submitted: Bench, scheduler: Obedient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was reserved for the choice is done then, and is not given back."""

    def interrupted(*arguments: Any) -> bool:
        launch_next(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(offline, "launch_next", interrupted)
        with pytest.raises(KeyboardInterrupt):
            go_on(submitted, scheduler, queue_of(submitted))
    (chosen,) = (label for label in records(submitted) if "lowest" in label)
    assert submitted.states()[chosen] == "COMPLETED"
    assert go_on(submitted, scheduler, queue_of(submitted)) == []


def test_a_sealed_folder_needs_nothing_else(submitted: Bench, scheduler: Obedient, tmp_path: Path) -> None:
    """Moved to where there is neither root nor database, a process of its own computes it."""
    queue_once(queue_of(submitted))
    folder = folder_of(submitted, "WSSe+VS")
    elsewhere = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, elsewhere)
    code = (
        "import sys, pymongo\nfrom pathlib import Path\n"
        "from sodiate.workflows.runner.offline import compute_sealed\n"
        "from sodiate.workflows.runner.run_calculation import WorkerSettings\n"
        "def none(*args, **kwargs): raise AssertionError('a connection')\n"
        "pymongo.MongoClient.__init__ = none\n"
        "print(compute_sealed(Path(sys.argv[1]), WorkerSettings(Path(sys.argv[1]))))"
    )
    done = subprocess.run([sys.executable, "-c", code, elsewhere], capture_output=True, text=True, check=True)
    assert done.stdout == "completed\n"


def test_a_single_point_gets_its_parents_files(
    submitted: Bench, scheduler: Obedient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The DOS after the relaxation: what the engine says it reads, linked, not copied, and sealed."""
    monkeypatch.setattr("sodiate.workflows.engines.emt.engine.EmtEngine.inherited_files", ("result.json", "none"))
    queue = queue_of(submitted)
    while not submitted.documents.jobs.find_one({"label": {"$regex": "dos"}}):
        for folder in out(submitted):
            compute(folder)
        scheduler.all_end()
        queue_once(queue)
    document = submitted.documents.jobs.find_one({"label": {"$regex": "dos"}, "settled": None})
    assert document is not None
    (given,) = Path(document["folder"]).glob("parents/*/result.json")
    original = submitted.root / given.parent.name / "result.json"
    assert original.samefile(given)
    assert not list(Path(document["folder"]).glob("parents/*/none"))
    parent = folders.unsealed(Path(document["folder"])).task.parents["geometry"]
    assert parent.directory == given.parent
    given.unlink()
    given.write_text("{}")
    assert compute(Path(document["folder"])).startswith("failed: ")
    scheduler.all_end()
    queue_once(queue)
    assert outcomes(submitted)[document["label"]] == ["failed"]
    reason = submitted.documents.attempts.find_one({"label": document["label"]})
    assert reason is not None
    assert "is not the parent's file that was sealed" in reason["reason"]
    assert submitted.states()[document["label"]] == "FIZZLED"


# -- ends, kills, and going on


class AfterSteps(Stop):
    """Asks to stop after five looks."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 5

    def requested(self) -> bool:
        self.left -= 1
        if self.left < 0:
            self.request("its wall time is nearly over")
        return super().requested()


@pytest.mark.parametrize("killed", [False, True])
def test_a_job_that_ended_before_its_calculation_is_gone_on_from(
    killed: bool, submitted: Bench, scheduler: Obedient, finished: Finished
) -> None:
    """Stopped cleanly, or killed without a word; the next offline job goes on, to the bit of an undisturbed run."""
    queue = queue_of(submitted)
    queue_once(queue)
    folder = folder_of(submitted, "WSSe+VS")
    assert compute(folder, stop=AfterSteps(), limits=Limits(100.0)).startswith("stopped: ")
    steps = len((next(folder.glob("WSSe+VS-*")) / "trajectory.jsonl").read_text().splitlines())
    assert steps > 2
    if killed:
        (folder / "result.json").unlink()
    scheduler.all_end()
    queue_once(queue)
    again = folder_of(submitted, "WSSe+VS")
    assert again != folder
    assert len((next(again.glob("WSSe+VS-*")) / "trajectory.jsonl").read_text().splitlines()) == steps
    go_on(submitted, scheduler, queue)
    assert outcomes(submitted)["WSSe+VS"] == ["lost" if killed else "stopped", "completed"]
    first = submitted.documents.attempts.find_one({"label": "WSSe+VS"}, sort=[("started", 1)])
    assert first is not None
    assert first["ended"] >= first["started"]
    assert ("ended without a word" in first["reason"]) is killed
    record = records(submitted)["WSSe+VS"]
    assert record.provenance.launches == 2
    with Results.open(finished.launchpad) as here:
        assert record.digest == here["WSSe+VS"].record.digest


def test_a_failure_comes_back_in_words_and_is_retried(
    submitted: Bench, scheduler: Obedient, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_of(submitted)
    queue_once(queue)
    folder = folder_of(submitted, "WSSe+VS")
    words = compute(folder, env={"scratch": "/dev/null/none"})
    assert words.startswith("failed: ")
    assert "there is no folder /dev/null/none" in words
    scheduler.all_end()
    queue_once(queue)
    attempt = submitted.documents.attempts.find_one({"label": "WSSe+VS"})
    assert attempt is not None
    assert attempt["outcome"] == "failed"
    assert str(submitted.root / "WSSe+VS-") in attempt["reason"]  # where it lies now
    assert "offline" not in attempt["reason"]
    assert submitted.states()["WSSe+VS"] == "FIZZLED"
    retry(submitted, submitted.documents.calculations.distinct("_id"))
    go_on(submitted, scheduler, queue)
    assert outcomes(submitted)["WSSe+VS"] == ["retried", "completed"]


def test_a_job_that_never_began_leaves_nothing(submitted: Bench, scheduler: Obedient) -> None:
    queue = queue_of(submitted)
    queue_once(queue)
    before = submitted.documents.jobs.count_documents({})
    scheduler.all_end()
    labels = recover(submitted, JobBook.open(submitted, queue.cluster))
    assert len(labels) == 2
    assert all("(job 10" in label and ": OVER)" in label for label in labels)
    assert out(submitted) == []
    assert submitted.documents.calculations.count_documents({"lease": {"$ne": None}}) == 0
    assert set(submitted.states().values()) == {"READY", "WAITING"}
    assert submitted.documents.attempts.count_documents({}) == 0
    assert submitted.documents.jobs.count_documents({"settled": {"$ne": None}}) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SchedulerError("no such account")])
def test_a_refused_submission_leaves_nothing(error: BaseException, submitted: Bench, scheduler: Obedient) -> None:
    """The directory with what earlier launches left is where it was."""
    queue = queue_of(submitted)
    queue_once(queue)
    folder = folder_of(submitted, "WSSe+VS")
    compute(folder, stop=AfterSteps())
    scheduler.all_end()

    def fails(name: str) -> None:
        raise error

    scheduler.before = fails
    with pytest.raises(type(error)):
        queue_once(queue)
    assert out(submitted) == []
    assert (next(submitted.root.glob("WSSe+VS-*")) / "trajectory.jsonl").is_file()
    assert submitted.documents.calculations.count_documents({"lease": {"$ne": None}}) == 0
    assert not submitted.launchpad.fireworks.find_one({"state": "RESERVED"})
    scheduler.before = lambda name: None
    assert len(queue_once(queue).jobs) == 2


def test_max_jobs_counts_offline_jobs(submitted: Bench, scheduler: Obedient) -> None:
    queue = queue_of(submitted, max_jobs=1)
    assert len(queue_once(queue).jobs) == 1
    compute(out(submitted)[0])  # came back, but the job is still there
    assert len(queue_once(queue).jobs) == 0
    assert out(submitted) == []
    assert len(records(submitted)) == 1
    scheduler.all_end()
    assert len(queue_once(queue).jobs) == 1


# -- the lease


def test_the_lease_is_the_jobs_and_is_renewed_while_it_lives(submitted: Bench, scheduler: Obedient) -> None:
    queue = queue_of(submitted)
    queue_once(queue)
    identifier = submitted.documents.jobs.find_one({"label": "WSSe+VS"})["calculation"]
    (first,) = submitted.documents.calculations.find({"_id": identifier})
    with pytest.raises(LeaseHeld, match=r"is being computed by the offline job sd\w{5}-\d+ \(cluster here\)"):
        run_calculation(submitted.documents, identifier, WorkerSettings(submitted.root))
    with pytest.raises(SodiateError, match="is being computed by the offline job"):
        redo(submitted, identifier, "because")
    queue_once(queue)
    (second,) = submitted.documents.calculations.find({"_id": identifier})
    assert second["lease"]["expires"] > first["lease"]["expires"]
    assert second["token"] == first["token"]
    submitted.expire(identifier)  # nobody looked for a day, and nobody else took it
    assert not submitted.documents.leases.is_alive(identifier)
    assert go_on(submitted, scheduler, queue) == []
    assert outcomes(submitted)["WSSe+VS"] == ["completed"]


def take_over(bench: Bench, label: str) -> str:
    """Let somebody else compute a calculation whose lease has expired; return its id."""
    identifier = bench.documents.jobs.find_one({"label": label})["calculation"]
    bench.expire(identifier)
    run_calculation(bench.documents, identifier, WorkerSettings(bench.root))
    return str(identifier)


@pytest.mark.parametrize("ends", ["recorded", "computing", "failed"])
def test_a_job_that_comes_back_late_is_told_and_not_recorded(
    ends: str, submitted: Bench, scheduler: Obedient
) -> None:
    queue = queue_of(submitted)
    queue_once(queue)
    folder = folder_of(submitted, "WSSe+VS")
    compute(folder)
    identifier = submitted.documents.jobs.find_one({"label": "WSSe+VS"})["calculation"]
    if ends == "recorded":
        take_over(submitted, "WSSe+VS")
        other = "was recorded by another"
    else:
        submitted.expire(identifier)
        submitted.documents.leases.claim(identifier, Owner("elsewhere", 7, "1"))
        other = "is being computed by process 7 on elsewhere"
        if ends == "failed":
            submitted.documents.calculations.update_one({"_id": identifier}, {"$unset": {"lease": ""}})
            other = "was given to another"
    before = submitted.documents.records.count_documents({})
    scheduler.all_end()
    (told,) = told_by(queue)
    assert f"(WSSe+VS): it came back late: its calculation {other}. What it computed" in told
    assert "is not recorded; it lies in " in told
    assert [path.name for path in refused(submitted)] == [folder.name]
    assert submitted.documents.records.count_documents({"calculation": identifier}) == (ends == "recorded")
    assert submitted.documents.records.count_documents({}) >= before
    assert "lost" in outcomes(submitted)["WSSe+VS"]
    assert told_by(queue) == []  # once
    if ends == "recorded":
        go_on(submitted, scheduler, queue)
        assert sorted(outcomes(submitted)["WSSe+VS"]) == ["completed", "lost"]


def test_a_job_whose_lease_is_lost_or_cancelled_is_asked_to_stop(
    submitted: Bench, scheduler: Obedient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a file in its folder, which it sees; what it did so far lies in the directory again."""
    monkeypatch.setattr(folders, "_LOOK_S", 0.01)
    queue = queue_of(submitted)
    queue_once(queue)
    folder = folder_of(submitted, "WSSe+VS")
    cancel(submitted, submitted.documents.calculations.distinct("_id"))
    queue_once(queue)
    assert (folder / "stop").exists()

    class Slow(Stop):
        def requested(self) -> bool:
            time.sleep(0.02)
            return super().requested()

    words = compute(folder, stop=Slow())
    assert words.startswith("stopped: ")
    assert "it was cancelled, or given to another" in words
    scheduler.all_end()
    assert told_by(queue) == []
    assert outcomes(submitted)["WSSe+VS"] == ["stopped"]
    assert set(submitted.states().values()) == {"DEFUSED"}
    assert out(submitted) == []


def test_what_is_not_recorded_is_told_also_where_the_look_ends_with_an_error(
    submitted: Bench, scheduler: Obedient
) -> None:
    """It is settled then, so no later look tells it."""
    queue = queue_of(submitted)
    queue_once(queue)
    compute(folder_of(submitted, "WSSe+VS"))
    take_over(submitted, "WSSe+VS")
    scheduler.all_end()

    def refuses(name: str) -> None:
        raise SchedulerError("no such account")

    scheduler.before = refuses
    complaints: list[str] = []
    with pytest.raises(SchedulerError, match="no such account"):
        keep(queue, once=True, every_s=0.1, tell=complaints.append, complain=complaints.append)
    (told,) = complaints
    assert "(WSSe+VS): it came back late" in told


# -- twice, altered


def test_a_job_that_comes_back_twice_is_told_and_not_recorded(submitted: Bench, scheduler: Obedient) -> None:
    queue = queue_of(submitted)
    queue_once(queue)
    folder = folder_of(submitted, "WSSe+VS")
    compute(folder)
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    scheduler.all_end()
    queue_once(queue)
    attempt = dict(submitted.documents.attempts.find_one({"label": "WSSe+VS"}) or {})
    copy.rename(folder)
    (told,) = told_by(queue)
    assert "(WSSe+VS) came back again: settled before (recorded). Nothing of it is recorded; it lies in" in told
    assert told_by(queue) == []
    assert [path.name for path in refused(submitted)] == [folder.name]
    assert submitted.documents.records.count_documents({"label": "WSSe+VS"}) == 1
    assert submitted.documents.attempts.find_one({"label": "WSSe+VS"}) == attempt
    with pytest.raises(SodiateError, match="there is nothing to compute: its calculation came back already"):
        compute(folder)  # the job itself, put into the queue again by its scheduler


def test_a_job_that_runs_twice_computes_once(submitted: Bench, scheduler: Obedient) -> None:
    queue_once(queue_of(submitted))
    folder = folder_of(submitted, "WSSe+VS")
    compute(folder)
    before = (folder / "result.json").read_bytes()
    assert compute(folder) == "computed already, nothing to do"
    assert (folder / "result.json").read_bytes() == before


def in_json(name: str, change: Callable[[Any], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        change(values)
        (folder / name).write_text(json.dumps(values))

    return apply


def resealed_task(folder: Path) -> None:
    """Altered, and sealed as it is now, by somebody who knows how."""
    values = json.loads((folder / "task.json").read_text())
    values.pop("checksum")
    values["generation"] = 5
    (folder / "task.json").write_text(json.dumps(sealed(values)))


def other_record(folder: Path) -> None:
    """The result of another calculation's job."""
    other = next(path for path in folder.parent.glob("sd*") if path != folder)
    compute(other)
    shutil.copyfile(other / "result.json", folder / "result.json")


def array_of(folder: Path) -> Path:
    return next((folder / "arrays").iterdir())


ALTERATIONS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "energy": (in_json("result.json", lambda v: v["record"].update(energy_ev=-99.0)), "not those that were stored"),
    "outcome": (in_json("result.json", lambda v: v["attempt"].update(outcome="failed")), "not those that were"),
    "task": (in_json("task.json", lambda v: v["execution"].update(max_steps=1)), "task.json is not what was sealed"),
    "resealed": (resealed_task, "task.json is not the one that went out"),
    "no task": (lambda folder: (folder / "task.json").unlink(), "task.json cannot be read"),
    "half": (lambda f: (f / "result.json").write_bytes((f / "result.json").read_bytes()[:500]), "cannot be read"),
    "text": (lambda folder: (folder / "result.json").write_text("[]"), "cannot be read"),
    "other": (other_record, "computed from another task"),
    "array": (lambda f: array_of(f).write_bytes(array_of(f).read_bytes() + b"x"), "not what was stored"),
    "no array": (lambda folder: array_of(folder).unlink(), "cannot be read"),
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_what_was_altered_is_told_and_not_recorded(alteration: str, submitted: Bench, scheduler: Obedient) -> None:
    alter, words = ALTERATIONS[alteration]
    queue = queue_of(submitted)
    while not submitted.documents.jobs.find_one({"label": "WSSe+VS"}):
        queue_once(queue)
    folder = folder_of(submitted, "WSSe+VS")
    compute(folder)
    alter(folder)
    scheduler.all_end()
    (told,) = told_by(queue)
    assert "(WSSe+VS): what its job left was altered: " in told
    assert words in told
    assert "Nothing of it is recorded; `sodiate retry` computes it anew." in told
    assert "WSSe+VS" not in records(submitted)
    assert outcomes(submitted)["WSSe+VS"] == ["failed"]
    assert submitted.states()["WSSe+VS"] == "FIZZLED"
    assert [path.name for path in refused(submitted)] == [folder.name]
    assert not list(submitted.root.glob("WSSe+VS-*"))  # nothing of it is gone on from
    retry(submitted, submitted.documents.calculations.distinct("_id"))
    assert go_on(submitted, scheduler, queue) == []
    assert outcomes(submitted)["WSSe+VS"] == ["retried", "completed"]


# -- kills and outages of the login node


class Ended(BaseException):
    """The queue process ends here."""


STEPS: dict[str, tuple[Any, str]] = {
    **{
        name: (offline._Job, name)
        for name in ("_note_begin", "_move_back", "_end_attempt", "_complete", "_finish", "_is_recorded")
    },
    "end_firework": (offline._Job, "end_firework"),
    "give_back": (offline._Job, "_give_back"),
    "publish": (Documents, "publish"),
    "rename": (Path, "rename"),
    "rmtree": (shutil, "rmtree"),
}


def kill_at(step: str, after: bool, patch: pytest.MonkeyPatch) -> None:
    """Let the process end before or after a step of collecting."""
    holder, name = STEPS[step]
    original = getattr(holder, name)

    def ends(*arguments: Any, **keywords: Any) -> Any:
        if after:
            original(*arguments, **keywords)
        raise Ended(step)

    patch.setattr(holder, name, ends)


@pytest.fixture
def host_alone(submitted: Bench, planned: Plan) -> tuple[Bench, str]:
    """Only the host is left to be begun; and its id."""
    run_calculation(submitted.documents, planned["Na"].calculation.id, WorkerSettings(submitted.root))
    return submitted, planned["WSSe+VS"].calculation.id


def come_back(bench: Bench, result: str) -> Path:
    """Let the one job that is out come back as asked."""
    (folder,) = out(bench)
    if result == "failed":
        compute(folder, env={"scratch": "/dev/null/none"})
    elif result in ("stopped", "lost"):
        compute(folder, stop=AfterSteps())
    elif result == "completed":
        compute(folder)
    if result == "lost":
        (folder / "result.json").unlink()
    return folder


STATES = {"completed": "COMPLETED", "failed": "FIZZLED", "stopped": "READY", "lost": "READY", "not begun": "READY"}


@pytest.mark.parametrize("result", STATES)
def test_a_queue_that_was_killed_anywhere_collects_as_if_nothing_had_happened(
    result: str, host_alone: tuple[Bench, str], scheduler: Obedient
) -> None:
    """Killed before each step in turn, and after some: one attempt, one outcome, nothing told, nothing left over."""
    bench, identifier = host_alone
    queue = queue_of(bench, max_jobs=1)
    kills = 0
    for step, after in [*((step, False) for step in STEPS), ("publish", True), ("_finish", True)]:
        queue_once(queue)
        folder = come_back(bench, result)
        scheduler.all_end()
        with pytest.MonkeyPatch.context() as patch:
            kill_at(step, after, patch)
            try:
                recover(bench, JobBook.open(bench, queue.cluster))
            except Ended:
                kills += 1
        told: list[str] = []
        recover(bench, JobBook.open(bench, queue.cluster), told.append)
        attempts = [one["outcome"] for one in bench.documents.attempts.find({"job": folder.name})]
        assert (step, after, told, attempts) == (step, after, [], [result] if result != "not begun" else [])
        assert list((bench.root / "offline").iterdir()) == []
        assert bench.documents.calculations.count_documents({"lease": {"$ne": None}}) == 0
        assert bench.documents.jobs.count_documents({"_id": folder.name, "settled": {"$ne": None}}) == 1
        assert (step, after, bench.states()["WSSe+VS"]) == (step, after, STATES[result])
        assert bench.documents.records.count_documents({"state": "current", "label": "WSSe+VS"}) == (
            result == "completed"
        )
        redo(bench, identifier, "once more")
        retry(bench, [identifier])
        bench.documents.jobs.delete_many({})
        for directory in bench.root.glob("WSSe+VS-*"):
            shutil.rmtree(directory)
    assert kills > 3


def test_a_submission_that_was_killed_anywhere_is_taken_back(
    host_alone: tuple[Bench, str], scheduler: Obedient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before and after each step of sealing; what an earlier launch left is in its place again."""
    bench, _ = host_alone
    queue = queue_of(bench, max_jobs=1)
    queue_once(queue)
    come_back(bench, "stopped")
    scheduler.all_end()
    recover(bench, JobBook.open(bench, queue.cluster))
    (directory,) = bench.root.glob("WSSe+VS-*")
    steps = (directory / "trajectory.jsonl").read_bytes()
    for module in ("jobs", "queue"):
        monkeypatch.setattr(f"sodiate.workflows.clusters.{module}.UNNUMBERED_S", -1.0)
    before: list[tuple[Any, str]] = [(JobBook, "begin"), (offline, "task_of"), (offline, "seal")]
    before += [(offline._Job, "move"), (Obedient, "submit")]
    after_it: list[tuple[Any, str]] = [(JobBook, "begin"), (offline, "seal")]
    for place, after in [*((place, False) for place in before), *((place, True) for place in after_it)]:
        bench.documents.jobs.delete_many({})
        STEPS["submission"] = place
        with pytest.MonkeyPatch.context() as patch:
            kill_at("submission", after, patch)
            # No handler runs in a process that was killed.
            patch.setattr(offline.take_back, "__code__", (lambda bench, book, tag: None).__code__)
            patch.setattr(JobBook, "end", lambda *arguments: None)
            patch.setattr("fireworks.core.launchpad.LaunchPad.cancel_reservation", lambda *arguments: None)
            with pytest.raises(Ended):
                queue_once(queue)
        recover(bench, JobBook.open(bench, queue.cluster))
        assert (place[1], after, bench.states()["WSSe+VS"]) == (place[1], after, "READY")
        assert bench.documents.calculations.count_documents({"lease": {"$ne": None}}) == 0
        assert (directory / "trajectory.jsonl").read_bytes() == steps
        assert list((bench.root / "offline").iterdir()) == []


def test_a_database_that_goes_away_while_collecting_changes_nothing(
    host_alone: tuple[Bench, str], scheduler: Obedient
) -> None:
    """At each of its commands in turn, until it takes them all."""
    bench, identifier = host_alone
    queue = queue_of(bench, max_jobs=1)
    queue_once(queue)
    folder = come_back(bench, "completed")
    scheduler.all_end()
    real = Collection.update_one
    for patience in itertools.count(1):
        left = [patience]

        def refuse(self: Any, *arguments: Any, _left: list[int] = left, **keywords: Any) -> Any:
            _left[0] -= self.name != "sodiate"
            if _left[0] < 0 and self.name != "sodiate":  # its locks would be waited for
                raise AutoReconnect("connection closed")
            return real(self, *arguments, **keywords)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Collection, "update_one", refuse)
            try:
                recover(bench, JobBook.open(bench, queue.cluster))
                break
            except AutoReconnect:
                pass
    recover(bench, JobBook.open(bench, queue.cluster))
    assert patience >= 4
    assert outcomes(bench)["WSSe+VS"] == ["completed"]
    assert bench.documents.records.count_documents({"calculation": identifier, "state": "current"}) == 1
    assert bench.states()["WSSe+VS"] == "COMPLETED"
    assert not folder.exists()


# -- full disks, several people


def test_a_full_disk_is_told(small_disk: Path, submitted: Bench, scheduler: Obedient) -> None:
    """The job says that there is no room, though there is none; nothing is half there."""
    queue = queue_of(submitted)
    queue_once(queue)
    folder, filler = folder_of(submitted, "WSSe+VS"), small_disk / "filler"
    place = shutil.copytree(folder, small_disk / folder.name)

    class Fills(Stop):
        def requested(self) -> bool:
            with suppress(OSError), filler.open("ab") as file:
                while True:
                    file.write(bytes(1024))
                    file.flush()
            return False

    words = compute(place, stop=Fills())
    assert words.startswith("failed: ")
    assert "No space left" in words
    shutil.rmtree(folder)
    shutil.copytree(place, folder)
    scheduler.all_end()
    assert told_by(queue) == []
    attempt = submitted.documents.attempts.find_one({"label": "WSSe+VS"})
    assert attempt is not None
    assert attempt["outcome"] == "failed"
    assert "No space left" in attempt["reason"]


def test_somebody_elses_folders_and_jobs_are_left_alone(submitted: Bench, scheduler: Obedient) -> None:
    """In one root and one database: Anna's queue settles Anna's jobs."""
    queue_once(queue_of(submitted))
    folder = folder_of(submitted, "WSSe+VS")
    compute(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGNAME", "anna")
        scheduler.jobs, mine = [], scheduler.jobs
        told: list[str] = []
        done = queue_once(queue_of(submitted, campaign="small"), told.append)
        assert (done.jobs, told) == ((), [])
        assert recover(submitted, JobBook.open(submitted, queue_of(submitted).cluster)) == []
    assert folder.is_dir()
    assert submitted.documents.attempts.count_documents({}) == 0
    scheduler.jobs = mine
    queue_once(queue_of(submitted))
    assert outcomes(submitted)["WSSe+VS"] == ["completed"]


def test_two_queues_collect_once(submitted: Bench, scheduler: Obedient, launchpad: Path) -> None:
    """At once, of one user: one takes what came back, and neither tells anything."""
    queue_once(queue_of(submitted))
    for folder in out(submitted):
        compute(folder)
    scheduler.all_end()
    told: list[str] = []

    def collect() -> None:
        with open_launchpad(launchpad) as opened:
            bench = Bench(opened, submitted.root)
            recover(bench, JobBook.open(bench, queue_of(bench).cluster), told.append)

    threads = [threading.Thread(target=collect) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == []
    assert outcomes(submitted)["WSSe+VS"] == ["completed"]
    assert submitted.documents.records.count_documents({}) == 2


def test_status_says_what_computes_offline(submitted: Bench, scheduler: Obedient) -> None:
    queue = queue_of(submitted)
    queue_once(queue)
    waiting = [line for line in status_lines(submitted.documents) if "WSSe+VS" in line]
    assert any(re.search(r"reserved, for job 10\d of \S+ on here, which computes offline", line) for line in waiting)
    folder = folder_of(submitted, "WSSe+VS")
    compute(folder, stop=AfterSteps())
    (folder / "result.json").unlink()  # still under way
    queue_once(queue)
    lines = status_lines(submitted.documents)
    assert any(re.search(r"WSSe\+VS: running offline, step \d+, largest force", line) for line in lines)
    assert "1 running offline" in lines[0]


def test_a_code_that_was_killed_is_lost_and_fails_in_the_end(
    host_alone: tuple[Bench, str], scheduler: Obedient
) -> None:
    """In an offline job as in any other: out of memory three times at one step is a failure."""
    bench, identifier = host_alone
    queue = queue_of(bench, max_jobs=1)

    def killed(*arguments: Any) -> None:
        raise Killed("a rank was killed.", out_of_memory=True)

    for _ in range(3):
        queue_once(queue)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sodiate.workflows.engines.emt.engine.EmtEngine.run", killed)
            assert compute(out(bench)[0]) == "lost: a rank was killed."
        scheduler.all_end()
    recover(bench, JobBook.open(bench, queue.cluster))
    assert outcomes(bench)["WSSe+VS"] == ["lost", "lost", "failed"]
    last = bench.documents.attempts.find_one({"calculation": identifier}, sort=[("started", -1)])
    assert last is not None
    assert "That was so 3 times at the same step: give it more memory" in last["reason"]
    assert bench.states()["WSSe+VS"] == "FIZZLED"


def test_a_calculation_of_two_campaigns_is_computed_once(
    submitted: Bench, scheduler: Obedient, tmp_path: Path
) -> None:
    submitted.submit(plan(small_campaign(tmp_path, campaign="other")))
    queue = queue_of(submitted, max_jobs=4)
    assert go_on(submitted, scheduler, queue) == []
    assert set(map(tuple, outcomes(submitted).values())) == {("completed",)}
    assert set(submitted.states().values()) == {"COMPLETED"}
    assert len(scheduler.submitted) == 5


def test_two_clusters_on_one_root_and_database_settle_their_own(
    submitted: Bench, scheduler: Obedient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one's scheduler knows nothing of this one's jobs, which have come back, run, or wait."""
    queue_once(queue_of(submitted, max_jobs=1))
    (here,) = out(submitted)
    compute(here)
    mine, scheduler.jobs = scheduler.jobs, []
    with monkeypatch.context() as patch:
        patch.setattr(Obedient, "cluster_name", lambda self: "there")
        told: list[str] = []
        done = queue_once(queue_of(submitted, max_jobs=1), told.append)
        assert (len(done.jobs), told) == (1, [])
        there = next(folder for folder in out(submitted) if folder != here)
        compute(there)
        scheduler.jobs = []
        assert recover(submitted, JobBook.open(submitted, queue_of(submitted).cluster)) == []
    assert out(submitted) == [here]
    assert submitted.documents.attempts.count_documents({}) == 1
    scheduler.jobs = mine
    recover(submitted, JobBook.open(submitted, queue_of(submitted).cluster))
    assert out(submitted) == []
    clusters = {attempt["cluster"]: attempt["outcome"] for attempt in submitted.documents.attempts.find()}
    assert clusters == {"here": "completed", "there": "completed"}
