"""One look at the queue, with a scheduler that does as it is told: what is submitted, counted, found and given up."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, ServerSelectionTimeoutError
from sodiate import SodiateError
from sodiate.workflows.clusters.cluster_file import ClusterFile
from sodiate.workflows.clusters.jobs import JobBook
from sodiate.workflows.clusters.keep import Patience, keep
from sodiate.workflows.clusters.queue import Queue, queue_once, recover
from sodiate.workflows.clusters.registry import SCHEDULERS
from sodiate.workflows.clusters.scheduler import Full, Listed, NoAnswer, SchedulerError
from sodiate.workflows.clusters.worker import WorkReport, work_through_outages
from sodiate.workflows.database.account import user_name
from sodiate.workflows.database.connection import Unreachable, open_launchpad
from sodiate.workflows.launch.corrections import cancel
from sodiate.workflows.plan.planner import plan
from support.campaigns import Bench, small_campaign
from support.obedient import Obedient


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Obedient:
    made = Obedient()
    monkeypatch.setitem(SCHEDULERS, "obedient", made)
    return made


@pytest.fixture
def submitted(bench: Bench, tmp_path: Path) -> Bench:
    """A campaign of which the atom, the metal and the host are ready."""
    bench.submit(plan(small_campaign(tmp_path, quantities=[])))
    return bench


def queue_of(bench: Any, **changes: Any) -> Queue:
    content = {"scheduler": "obedient", "max_jobs": 2, "signal_s": 5}
    content |= {"classes": {"all": {"kinds": "rest", "wall_time": "00:10:00"}}}
    cluster = ClusterFile.model_validate(content)
    values: dict[str, Any] = {"max_jobs": 2, **changes}
    return Queue(bench, cluster, Path("/c.yaml"), Path("/l.yaml"), **values)


def reserved(bench: Any) -> int:
    return int(bench.launchpad.fireworks.count_documents({"state": "RESERVED"}))


def test_jobs_are_counted_by_what_the_scheduler_says(submitted: Bench, scheduler: Obedient) -> None:
    """Whatever their workers do: none of the calculations is reserved any more, and both jobs still run."""
    queue = queue_of(submitted)
    assert len(queue_once(queue).jobs) == 2
    for firework in submitted.launchpad.fireworks.find({"state": "RESERVED"}, {"launches": 1}):
        submitted.launchpad.launches.delete_many({"launch_id": {"$in": firework["launches"]}})
        submitted.launchpad.fireworks.update_one({"_id": firework["_id"]}, {"$set": {"state": "READY"}})
    assert queue_once(queue).jobs == ()
    assert len(scheduler.submitted) == 2
    labels = {job.label for job in JobBook.open(submitted, queue.cluster).look()}
    assert len(labels) == 2
    submitted.documents.jobs.delete_many({})  # and should nobody know them but the scheduler
    assert queue_once(queue).jobs == ()
    scheduler.all_end()
    assert len(queue_once(queue).jobs) == 2


def test_a_packed_job_that_waits_has_room_for_what_is_ready(submitted: Bench, scheduler: Obedient) -> None:
    """Two are ready, and a job takes two: one job. Once it runs, what it did not take gets one of its own."""
    queue = queue_of(submitted, max_jobs=5)
    all_of = queue.cluster.classes["all"]
    packed = all_of.model_copy(update={"tasks": 2, "pack": 2})
    queue = replace(queue, cluster=queue.cluster.model_copy(update={"classes": {"all": packed}}))
    assert len(queue_once(queue).jobs) == 1
    assert reserved(submitted) == 1
    assert len(queue_once(queue).jobs) == 0
    submitted.documents.jobs.update_many({}, {"$set": {"began": "2026-01-01T00:00:00+00:00"}})
    assert len(queue_once(queue).jobs) == 1


def test_two_queues_at_once_keep_the_limit_together(submitted: Bench, scheduler: Obedient, launchpad: Path) -> None:
    """Both count while the other one submits, which takes a while."""
    scheduler.before = lambda name: time.sleep(0.3)
    rounds: list[Any] = []

    def run() -> None:
        with open_launchpad(launchpad) as opened:
            rounds.append(queue_once(queue_of(Bench(opened, submitted.root), max_jobs=1)))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(one.jobs) for one in rounds) == [0, 1]
    assert len(scheduler.jobs) == 1


def test_names_of_jobs_differ_by_user_database_and_root(
    submitted: Bench, scheduler: Obedient, tmp_path: Path
) -> None:
    mine = JobBook.open(submitted, queue_of(submitted).cluster)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGNAME", "anna")
        hers = JobBook.open(submitted, queue_of(submitted).cluster)
    elsewhere = JobBook.open(Bench(submitted.database, tmp_path / "other"), queue_of(submitted).cluster)
    assert len({mine.prefix, hers.prefix, elsewhere.prefix}) == 3
    assert mine.prefix == JobBook.open(submitted, queue_of(submitted).cluster).prefix
    queue_once(queue_of(submitted))
    tags = [name.rpartition(".")[2] for name in scheduler.submitted]
    assert len(set(tags)) == 2
    assert all(re.fullmatch(r"sd[0-9a-z]{5}-\d{1,7}", tag) for tag in tags)
    scheduler.jobs += [Listed("7", f"x.{hers.prefix}1", "WAITING"), Listed("8", "interactive", "WAITING")]
    assert {job.number for job in mine.look()} == {"101", "102"}


def test_only_ones_own_campaigns_are_queued_unless_one_is_named(submitted: Bench, scheduler: Obedient) -> None:
    owners = submitted.documents.db["owners"]
    owners.update_one({"_id": "small"}, {"$set": {"user": "anna"}})
    assert queue_once(queue_of(submitted)).jobs == ()
    assert not queue_of(submitted).is_going_on()
    assert len(queue_once(queue_of(submitted, campaign="small")).jobs) == 2
    jobs = list(submitted.documents.jobs.find())
    assert {(job["campaign"], job["user"], job["cluster"]) for job in jobs} == {("small", user_name(), "here")}
    owners.delete_one({"_id": "small"})  # of before there were owners: everybody's
    assert queue_of(submitted).is_going_on()
    with pytest.raises(SodiateError, match=r"no campaign 'smal'.*did you mean 'small'"):
        queue_once(queue_of(submitted, campaign="smal"))


# -- a submission without an answer


def no_answer(name: str) -> None:
    raise NoAnswer("submit gave no answer within 60 s.")


def test_a_submission_without_an_answer_is_looked_for_before_it_is_repeated(
    submitted: Bench, scheduler: Obedient
) -> None:
    """It was taken: the next look finds it by its name, counts it, and submits nothing twice."""
    queue = queue_of(submitted)

    def taken(name: str) -> None:
        scheduler.asked = lambda: no_answer(name)  # nor does the list come in time
        late.append(Listed("4711", name, "WAITING"))
        no_answer(name)

    late: list[Listed] = []
    scheduler.before = taken
    done = queue_once(queue)
    assert (done.jobs, done.complaint) == ((), "submit gave no answer within 60 s.")
    assert (len(scheduler.submitted), reserved(submitted)) == (1, 1)
    scheduler.asked = lambda: None
    scheduler.before = lambda name: None
    scheduler.jobs += late
    assert [job.number for job in queue_once(queue).jobs] == ["102"]
    (first, second) = submitted.documents.jobs.find({}, {"number": 1}).sort("launch", 1)
    assert (first["number"], second["number"]) == ("4711", "102")
    assert len(set(scheduler.submitted)) == 2
    told = submitted.launchpad.launches.find_one({"state_history.reservation_id": "4711"})
    assert told is not None  # so that lpad and qlaunch know it, too


def test_a_submission_that_was_never_taken_is_repeated_after_minutes(
    submitted: Bench, scheduler: Obedient, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_of(submitted)
    scheduler.before = no_answer
    queue_once(queue)
    scheduler.before = lambda name: None
    assert len(queue_once(queue).jobs) == 1  # the other one counts as a job until it is known to be none
    assert len(queue_once(queue).jobs) == 0
    monkeypatch.setattr("sodiate.workflows.clusters.jobs.UNNUMBERED_S", -1.0)
    assert len(queue_once(queue).jobs) == 1
    assert len(scheduler.submitted) == 3
    assert reserved(submitted) == 2


def test_a_number_that_is_not_printed_is_found_at_once(submitted: Bench, scheduler: Obedient) -> None:
    """The job is there: no more are submitted in this look, and the next one goes on."""

    def silent(name: str) -> None:
        scheduler.jobs.append(Listed("4711", name, "WAITING"))
        raise NoAnswer("submit printed no number of a job: Welcome to login4")

    scheduler.before = silent
    done = queue_once(queue_of(submitted))
    assert [job.number for job in done.jobs] == ["4711"]
    assert "printed no number" in str(done.complaint)
    assert len(scheduler.submitted) == 1


def test_jobs_that_are_nowhere_to_be_seen_do_not_flood_the_queue(
    submitted: Bench, scheduler: Obedient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site whose qsub prints no number and whose list shows no names: three jobs, and an explanation."""
    monkeypatch.setattr("sodiate.workflows.clusters.jobs.UNNUMBERED_S", -1.0)
    scheduler.before = no_answer
    for _ in range(3):
        queue_once(queue_of(submitted))
    for _ in range(3):
        with pytest.raises(NoAnswer, match=r"last 3 submissions had no answer with a number.*…sd\w{5}-\d"):
            queue_once(queue_of(submitted))
    assert len(scheduler.submitted) == 3


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SchedulerError("no such account"), OSError("disk full")])
def test_what_ends_a_submission_leaves_nothing_reserved(
    error: BaseException, submitted: Bench, scheduler: Obedient
) -> None:
    def fails(name: str) -> None:
        raise error

    scheduler.before = fails
    with pytest.raises(type(error)):
        queue_once(queue_of(submitted))
    assert reserved(submitted) == 0
    scheduler.before = lambda name: None
    assert len(queue_once(queue_of(submitted)).jobs) == 2


def test_a_full_queue_is_waited_for_while_ones_own_jobs_are_in_it(submitted: Bench, scheduler: Obedient) -> None:
    def full(name: str) -> None:
        if len(scheduler.submitted) > 1:
            raise Full("QOSMaxSubmitJobPerUserLimit")

    scheduler.before = full
    done = queue_once(queue_of(submitted, max_jobs=3))
    assert ([job.number for job in done.jobs], done.complaint) == (["101"], "QOSMaxSubmitJobPerUserLimit")
    assert reserved(submitted) == 1
    scheduler.all_end()
    with pytest.raises(Full):  # nothing of one's own could make room
        queue_once(queue_of(submitted, max_jobs=3))
    assert reserved(submitted) == 0


# -- jobs that end before they begin


def test_three_jobs_that_ended_before_they_began_end_the_queue(submitted: Bench, scheduler: Obedient) -> None:
    """Whichever calculations they were for; those that a user cancelled do not count."""
    scheduler.ended_states = frozenset(("OVER", "CANCELLED"))  # type: ignore[misc]
    queue = queue_of(submitted)
    for state in ("CANCELLED", "OVER", "OVER"):
        assert len(queue_once(queue).jobs) == 2
        scheduler.all_end(state)
    with pytest.raises(SchedulerError, match=r"last 3 jobs \(104, 105, 106\) ended before its calculation began"):
        queue_once(queue)
    assert reserved(submitted) == 0
    submitted.documents.jobs.update_one({"number": "105"}, {"$set": {"began": "2026-01-01T00:00:00+00:00"}})
    assert len(queue_once(queue).jobs) == 2


# -- those who do not answer


def test_patience_tells_once_waits_longer_and_gives_up_after_an_hour() -> None:
    now = [0.0]
    told: list[str] = []
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    patience = Patience(60.0, told.append, pause, lambda: now[0])
    for _ in range(3):
        patience.failed("The scheduler", "squeue: Socket timed out.")
    assert waits == [60.0, 120.0, 240.0]
    patience.failed("MongoDB", "refused")
    patience.answered()
    words = ["The scheduler does not answer: squeue: Socket timed out", "MongoDB does not answer: refused"]
    assert [line.split(".")[0] for line in told] == [*words, "Answered again after 900 s"]
    waits.clear()
    with pytest.raises(SodiateError, match="given up after an hour: The scheduler does not answer: squeue: Socket"):
        list(map(patience.failed, ["The scheduler"] * 50, ["squeue: Socket timed out."] * 50))
    assert len(told) == 4
    assert waits[0] == 60.0
    assert max(waits) == 600.0
    assert 3600.0 < sum(waits) < 4800.0


@pytest.mark.parametrize(
    "failure",
    [
        NoAnswer("squeue: Socket timed out"),
        ServerSelectionTimeoutError("refused"),
        AutoReconnect("connection closed"),
    ],
)
def test_the_queue_goes_on_when_somebody_answers_again(
    failure: Exception, submitted: Bench, scheduler: Obedient
) -> None:
    """Twice silent, then there: the jobs end, the calculations are cancelled, and so is the waiting."""
    told: list[str] = []
    complaints: list[str] = []
    silences = [failure, failure]

    def asked() -> None:
        if silences:
            raise silences.pop()

    def pause(seconds: float) -> None:
        if not told:
            return
        ids = submitted.documents.calculations.distinct("_id")
        cancel(submitted, ids)
        scheduler.all_end("CANCELLED")
        scheduler.ended_states = frozenset(("CANCELLED",))  # type: ignore[misc]

    scheduler.asked = asked
    summary = keep(queue_of(submitted), False, 0.01, told.append, complaints.append, pause)
    assert len(told) == 2
    assert [bool(re.search("does not answer|Answered again", line)) for line in complaints] == [True, True]
    assert summary.counts == {"cancelled": 5}
    silences.append(failure)
    with pytest.raises(type(failure)):
        keep(queue_of(submitted), True, 0.01, told.append, complaints.append)


def test_the_summary_names_what_failed(submitted: Bench, scheduler: Obedient) -> None:
    (atom,) = submitted.documents.calculations.find({"label": "Na"}, {"_id": 1})
    submitted.documents.attempts.insert_one(
        {"_id": "a", "calculation": atom["_id"], "label": "Na", "outcome": "failed", "reason": "no", "started": "1"}
    )
    summary = keep(queue_of(submitted), True, 1.0, lambda line: None, lambda line: None)
    assert (summary.counts["failed"], summary.failed) == (1, ("Na",))
    assert recover(submitted, None) == []


def test_a_worker_outlasts_an_outage_that_comes_hours_after_its_begin() -> None:
    """Ten minutes count from when the database went away, each time anew."""
    now = [0.0]
    away = {0: 5, 3: 2}  # so often in vain, before the first and the fourth time that it works
    begun: list[float] = []
    told: list[str] = []

    @contextmanager
    def opened() -> Iterator[Any]:
        if away.get(len(begun), 0):
            away[len(begun)] -= 1
            raise Unreachable("no MongoDB answers.")
        yield None

    def act(bench: Any) -> WorkReport:
        begun.append(now[0])
        now[0] += 7200.0
        if len(begun) < 5:
            raise Unreachable("no MongoDB answers.")
        return WorkReport(len(begun), "nothing more is ready")

    def pause(seconds: float) -> None:
        now[0] += seconds

    report = work_through_outages(opened, act, told.append, pause, lambda: now[0])
    assert report.launches == 5
    assert len(told) == 5 + 2 + 4
    away[5] = 100
    with pytest.raises(Unreachable, match="If jobs here never reach it: `sodiate queue --offline`"):
        work_through_outages(opened, act, told.append, pause, lambda: now[0])
    assert 0 < away[5] < 45
