"""One calculation under its lease: what may be recorded, by whom, from which start, and in which directory."""

from __future__ import annotations

import errno
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import AutoReconnect
from pymongo.monitoring import CommandListener, CommandStartedEvent
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.database.lease import Cancelled, LeaseLost, Leases, Owner
from sodiate.workflows.engines.base import EngineError, Stopped
from sodiate.workflows.engines.emt.engine import EmtEngine
from sodiate.workflows.kinds import KINDS
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.archive import export_archive, open_archive
from sodiate.workflows.results.archive_checks import ArchiveError
from sodiate.workflows.runner.run_calculation import NotReady, OldRecipe, WorkerSettings, run_calculation
from sodiate.workflows.runner.workdir import CLAIM, WrongDirectory, own_directory
from sodiate.workflows.stop import Stop
from support.campaigns import Bench, small_campaign


class Commands(CommandListener):
    """Commands to the database, by the collection that they are for."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def started(self, event: CommandStartedEvent) -> None:
        self.of[str(event.command.get(event.command_name))] += 1

    def succeeded(self, event: object) -> None:
        pass

    def failed(self, event: object) -> None:
        pass


def test_a_calculation_takes_at_most_ten_commands_beside_those_of_fireworks(bench: Bench, tmp_path: Path) -> None:
    """With one array; ancestors that this process has seen before are not read again."""
    planned = plan(small_campaign(tmp_path))
    bench.initialise()
    bench.submit(planned)
    commands = Commands()
    client: MongoClient[dict[str, Any]]
    with MongoClient(bench.database.settings.host, event_listeners=[commands]) as client:
        documents = Documents(client[bench.documents.db.name])
        names = [name for name, calculation in planned.names.items() if calculation.kind == "relax"]
        run_calculation(documents, planned[names[0]].calculation.id, WorkerSettings(bench.root))
        for name in names[1:]:
            commands.of.clear()
            run_calculation(documents, planned[name].calculation.id, WorkerSettings(bench.root))
            print(name, dict(commands.of))
            assert sum(commands.of.values()) <= 9  # and one that asks what is ready


def recorded(bench: Bench, planned: Plan, *names: str) -> None:
    for name in names:
        run_calculation(bench.documents, planned[name].calculation.id, WorkerSettings(bench.root))


def test_parents_first(bench: Bench, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    with pytest.raises(NotReady):
        recorded(bench, planned, "WSSe+VS/V_S@top")
    assert not bench.documents.attempts.count_documents({})
    recorded(bench, planned, "WSSe+VS", "WSSe+VS/V_S@top")
    with pytest.raises(NotReady):  # T_W@bottom did not fail, it is merely not finished
        recorded(bench, planned, "WSSe+VS/lowest")


def test_a_number_that_is_none_is_refused_in_words(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    collect = EmtEngine.collect
    monkeypatch.setattr(EmtEngine, "collect", lambda *given: replace(collect(*given), energy_ev=float("nan")))
    with pytest.raises(EngineError) as raised:
        recorded(bench, planned, "Na")
    (attempt,) = bench.attempts(planned["Na"].calculation.id)
    assert attempt["reason"] == str(raised.value)
    words = ("Na-", "energy_ev is nan", "finite number", "code's outputs")
    assert all(word in attempt["reason"] for word in words)
    assert not any(word in attempt["reason"] for word in ("ValidationError", "pydantic", "\n"))


def test_a_folder_that_cannot_be_moved_aside_is_told(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    recorded(bench, planned, "Na")
    atom = planned["Na"].calculation.id
    bench.documents.supersede([atom], "a test")

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        with pytest.raises(WrongDirectory) as raised:
            recorded(bench, planned, "Na")
    words = ("Na-", "cannot be moved aside to", "superseded-1", "Permission denied", "Move it yourself")
    assert all(word in str(raised.value) for word in words)
    recorded(bench, planned, "Na")


def test_arrays_of_a_killed_attempt_are_removed(bench: Bench, tmp_path: Path) -> None:
    """Killed after its arrays and before its record, and within an array; those of records stay."""
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    recorded(bench, planned, "Na", "WSSe+VS")
    files, chunks = bench.database.db["arrays.files"], bench.database.db["arrays.chunks"]
    before = {d["_id"] for d in files.find()}, chunks.count_documents({})
    site = planned["WSSe+VS/V_S@top"].calculation.id
    for outcome in ("running", "lost"):
        attempt = f"{site}-1-{outcome}"
        started = {"calculation": site, "token": 0, "started": "2026-01-01T00:00:00+00:00", "outcome": outcome}
        bench.documents.attempts.insert_one({"_id": attempt, **started})
        bench.documents.put_bytes(f"{attempt}-trajectory-0123456789abcdef", b"whole")
        chunks.insert_one({"files_id": f"{attempt}-dos-0123456789abcdef", "n": 0, "data": b"a part"})
    bench.documents.close_attempts(site)
    assert ({d["_id"] for d in files.find()}, chunks.count_documents({})) == before
    assert [attempt["outcome"] for attempt in bench.attempts(site)] == ["lost", "lost"]


def test_a_zombie_records_nothing(bench: Bench, tmp_path: Path) -> None:
    """Its lease expired and another took over while it computed; what it brings is refused, arrays and all."""
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    atom = planned["Na"].calculation.id
    recorded(bench, planned, "Na")
    record = bench.documents.record(atom)
    assert record is not None
    bench.documents.supersede([atom], "a test")
    zombie = bench.documents.leases.claim(atom, Owner("elsewhere", 1, "1"))
    bench.expire(atom)
    bench.documents.leases.claim(atom, Owner.here())
    arrays = {"trajectory": trajectory(bench, planned)}
    before = bench.database.db["arrays.files"].count_documents({})
    with pytest.raises(LeaseLost):
        bench.documents.publish(zombie, "zombie", record, arrays)
    assert bench.documents.records.find_one({"_id": "zombie"}) is None
    assert bench.database.db["arrays.files"].count_documents({}) == before
    assert bench.documents.record(atom) is None


def trajectory(bench: Bench, planned: Plan) -> Any:
    recorded(bench, planned, "WSSe+VS")
    host = bench.documents.record(planned["WSSe+VS"].calculation.id)
    assert host is not None
    return bench.documents.arrays(host, "trajectory")


@pytest.mark.alone
def test_cancelling_a_running_calculation_stops_it_alone(bench: Bench, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    recorded(bench, planned, "WSSe+VS")
    site = planned["WSSe+VS/T_W@bottom"].calculation
    steps = bench.root / site.directory_name / "trajectory.jsonl"
    documents = Documents(bench.database.db, lease_seconds=0.3)

    class CancelAfterFiveSteps(Stop):
        def requested(self) -> bool:
            if steps.exists() and len(steps.read_text().splitlines()) > 5:
                documents.calculations.update_one({"_id": site.id}, {"$set": {"cancelled": True}})
                time.sleep(0.1)
            return False

    with pytest.raises(Stopped):
        run_calculation(documents, site.id, WorkerSettings(bench.root, stop=CancelAfterFiveSteps()))
    with pytest.raises(Cancelled):
        recorded(bench, planned, site.label)
    recorded(bench, planned, "WSSe+VS/V_S@top")  # the others go on
    bench.submit(planned)  # and `run` takes it up again
    recorded(bench, planned, site.label)
    record = bench.documents.record(site.id)
    assert record is not None
    assert record.provenance.launches == 2


@pytest.mark.alone
def test_a_network_that_fails_for_a_moment_and_one_that_stays_away(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.submit(plan(small_campaign(tmp_path)))
    leases = Leases(bench.documents.calculations, seconds=0.6)
    (one, two) = [d["_id"] for d in bench.documents.calculations.find({}, {"_id": 1}).limit(2)]
    real, calls = leases.renew, []

    def fails_once(*given: Any) -> bool:
        calls.append(1)
        if len(calls) == 1:
            raise AutoReconnect("a cable")
        return real(*given)

    monkeypatch.setattr(leases, "renew", fails_once)
    stop = Stop()
    with leases.heartbeat(leases.claim(one, Owner.here()), Owner.here(), stop):
        time.sleep(0.7)
    assert not stop.requested()
    assert len(calls) > 2

    def fails(*given: Any) -> bool:
        raise AutoReconnect("a cable")

    monkeypatch.setattr(leases, "renew", fails)
    begun = time.monotonic()
    with leases.heartbeat(leases.claim(two, Owner.here()), Owner.here(), stop):
        while not stop.requested() and time.monotonic() - begun < 3:
            time.sleep(0.01)
    assert 0.3 < time.monotonic() - begun < 0.6  # before the lease is anybody's
    assert "could not be reached" in stop.reason


@pytest.mark.parametrize("answers_again", [True, False])
def test_a_calculation_during_an_outage_is_lost_and_has_not_failed(
    answers_again: bool, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wrong with it: the next launch goes on by itself, without a retry."""
    planned = plan(small_campaign(tmp_path, quantities=[]))
    bench.submit(planned)
    atom = planned.names["Na"].id

    def away(*_: Any, **__: Any) -> None:
        raise AutoReconnect("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr(Documents, "publish", away)
        if not answers_again:
            patch.setattr("sodiate.workflows.runner.run_calculation._Run._end_attempt", away)
        with pytest.raises(AutoReconnect):
            run_calculation(bench.documents, atom, WorkerSettings(bench.root))
    bench.launch(planned)
    lost, done = bench.attempts(atom)
    assert (lost["outcome"], done["outcome"]) == ("lost", "completed")
    assert "failed" not in lost["reason"]


def test_the_first_start_is_kept_through_other_last_bits(tmp_path: Path) -> None:
    planned = plan("wsse")
    site, atoms = planned["WSe2/H@top"].calculation, planned["WSe2/H@top"].atoms()
    first = own_directory(tmp_path, site, atoms, 0)
    atoms.positions += 1e-7
    second = own_directory(tmp_path, site, atoms, 0)
    assert (first.launches, second.launches) == (1, 2)
    assert second.input_digest == first.input_digest
    assert first.start is not None
    assert second.start is not None
    assert (second.start.positions == first.start.positions).all()
    atoms.positions[-1] += 0.01
    third = own_directory(tmp_path, site, atoms, 0)
    assert (third.launches, third.input_digest == first.input_digest) == (1, False)
    assert own_directory(tmp_path, site, atoms, 1).launches == 1  # a superseded record's is moved aside, too
    assert len(list(tmp_path.glob("*.superseded-*"))) == 2


def test_a_directory_of_another_is_left_alone(tmp_path: Path) -> None:
    planned = plan("wsse")
    one, other = planned["WSe2"].calculation, planned["WSSe"].calculation
    own_directory(tmp_path, one, planned["WSe2"].atoms(), 0)
    (tmp_path / one.directory_name).rename(tmp_path / other.directory_name)
    with pytest.raises(WrongDirectory, match=one.id):
        own_directory(tmp_path, other, planned["WSSe"].atoms(), 0)
    (tmp_path / other.directory_name / CLAIM).unlink()
    (tmp_path / other.directory_name / "thesis.tex").touch()
    with pytest.raises(WrongDirectory, match="not sodiate's"):
        own_directory(tmp_path, other, planned["WSSe"].atoms(), 0)
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="cannot be written"):
        own_directory(tmp_path / "file", one, planned["WSe2"].atoms(), 0)


def test_an_old_recipe_is_not_run_with_new_code(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    monkeypatch.setitem(KINDS, "atom", replace(KINDS["atom"], recipe=2))
    with pytest.raises(OldRecipe, match="other recipes"):
        recorded(bench, planned, "Na")


def test_a_launch_has_no_trackers(bench: Bench, tmp_path: Path) -> None:
    """FireWorks reads the files that a launch's trackers name, and puts their text into the database."""
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    bench.launch(planned)
    secret = tmp_path / "id_rsa"
    secret.write_text("TOP SECRET")
    tracker = {"filename": str(secret), "nlines": 25, "allow_zipped": False}
    bench.launchpad.launches.update_many({}, {"$set": {"trackers": [tracker], "state": "RUNNING"}})
    bench.launchpad.ping_launch(1)
    assert "TOP SECRET" not in str(bench.launchpad.launches.find_one({"launch_id": 1}))


def test_a_launch_says_that_it_lives_once_it_is_old_enough_to_be_missed(bench: Bench, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    bench.launch(planned)
    launches, launchpad = bench.launchpad.launches, bench.launchpad
    launches.update_many({}, {"$set": {"state": "RUNNING"}})
    before = launches.find_one({"launch_id": 1})
    launchpad._begun = 1, time.monotonic()
    launchpad.ping_launch(1)
    assert launches.find_one({"launch_id": 1}) == before
    launchpad._begun = 1, time.monotonic() - 61
    launchpad.ping_launch(1)
    assert "updated_on" not in before["state_history"][-1]
    assert "updated_on" in launches.find_one({"launch_id": 1})["state_history"][-1]


def test_an_array_that_is_a_path_is_refused(bench: Bench, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    recorded(bench, planned, "WSSe+VS")
    folder = tmp_path / "archive"
    export_archive(bench.documents, bench.root, folder)
    path = folder / "records.jsonl"
    record = json.loads(path.read_text())
    record["arrays"] = {"trajectory": "../../planted"}
    path.write_text(json.dumps(record) + "\n")
    with pytest.raises(ArchiveError, match="names no array"):
        open_archive(folder)
