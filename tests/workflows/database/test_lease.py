"""The lease: one owner, on the server's clock, fenced by a token; tried on a real MongoDB with real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sodiate.workflows.database.connection import Database
from sodiate.workflows.database.lease import LeaseHeld, Leases, Owner, _start_of
from sodiate.workflows.stop import Stop
from support.cli import wait_until
from support.requirements import skip_unless_required


@pytest.fixture
def collection(database: Database) -> Any:
    database.db["calculations"].insert_one({"_id": "c", "label": "WSe2"})
    return database.db["calculations"]


def living() -> tuple[Owner, subprocess.Popen[bytes]]:
    """Another process of this machine that lives until it is killed."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    return replace(Owner.here(), pid=process.pid, start=_start_of(process.pid)), process


def test_a_live_lease_is_held_and_a_dead_owner_loses_it_at_once(collection: Any) -> None:
    leases = Leases(collection, seconds=60)
    other, process = living()
    first = leases.claim("c", other)
    with pytest.raises(LeaseHeld, match=f"process {process.pid}"):
        leases.claim("c", Owner.here())
    process.kill()  # and not waited for: a process that has ended stays as a zombie until its parent has asked
    wait_until(lambda: other.is_gone(), 5)
    assert Path(f"/proc/{process.pid}/stat").read_text().rpartition(") ")[2].startswith("Z")
    second = leases.claim("c", Owner.here())
    assert second.token == first.token + 1
    assert not leases.renew(first, other)
    assert leases.renew(second, Owner.here())
    process.wait()


NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]

ELSEWHERE = """
import sys
from pathlib import Path
from sodiate.workflows.database.connection import open_launchpad
from sodiate.workflows.database.lease import LeaseHeld, Leases, Owner
with open_launchpad(Path(sys.argv[1])) as database:
    try:
        Leases(database.db["calculations"]).claim("c", Owner.here())
        print("taken from its owner")
    except LeaseHeld:
        print("held")
"""


def test_a_process_of_another_table_is_not_gone(collection: Any, launchpad: Path) -> None:
    """A container has its own numbers for processes, on a machine of the same name with the same server."""
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode != 0:
        skip_unless_required("needs the right to a PID namespace: run it as root")
    other, process = living()
    try:
        Leases(collection).claim("c", other)
        command = [*NAMESPACE, sys.executable, "-c", ELSEWHERE, str(launchpad)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout.split() == ["held"], done.stderr
        assert not replace(other, pid=2**22 + 1, table="another boot").is_gone()
        assert not replace(other, pid=2**22 + 1, table="").is_gone()  # of an older release
        assert replace(other, pid=2**22 + 1).is_gone()
    finally:
        process.kill()
        process.wait()


def test_times_are_the_servers_alone(collection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock of this machine says; the seconds since the claim are counted here."""
    monkeypatch.setattr(time, "time", lambda: 0.0)
    lease = Leases(collection).claim("c", Owner.here())
    server = collection.database.command("hello")["localTime"].replace(tzinfo=UTC)
    assert abs((lease.since - server).total_seconds()) < 5
    assert 0 <= (lease.now() - lease.since).total_seconds() < 5


@pytest.mark.alone
def test_an_owner_on_another_machine_loses_it_when_it_expires(collection: Any) -> None:
    leases = Leases(collection, seconds=0.5)
    far = Owner("elsewhere", 1, "1")
    leases.claim("c", far)
    with pytest.raises(LeaseHeld, match="elsewhere"):
        leases.claim("c", Owner.here())
    time.sleep(0.7)
    assert leases.claim("c", Owner.here()).token == 2


def test_a_process_id_that_came_again_is_not_the_owner() -> None:
    here = Owner.here()
    assert not here.is_gone()
    assert replace(here, start="1").is_gone()
    assert not Owner("elsewhere", here.pid, "1").is_gone()


def test_one_of_many_claimants_wins(collection: Any) -> None:
    leases, won, held = Leases(collection), [], []

    def claim(number: int) -> None:
        try:
            won.append(leases.claim("c", Owner("elsewhere", number, "1")))
        except LeaseHeld:
            held.append(number)

    threads = [Thread(target=claim, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(held)) == (1, 11)


@pytest.mark.alone
def test_the_heartbeat_keeps_it_and_stops_a_run_that_lost_it(collection: Any) -> None:
    leases, stop, me = Leases(collection, seconds=0.6), Stop(), Owner.here()
    lease = leases.claim("c", me)
    with leases.heartbeat(lease, me, stop):
        time.sleep(1.2)
        assert not stop.requested()
        with pytest.raises(LeaseHeld):
            leases.claim("c", Owner("elsewhere", 1, "1"))
        collection.update_one({"_id": "c"}, {"$inc": {"token": 1}})
        time.sleep(0.4)
        assert stop.requested()
        assert "lost" in stop.reason


@pytest.mark.alone
def test_a_cancelled_calculation_stops(collection: Any) -> None:
    leases, stop, me = Leases(collection, seconds=0.6), Stop(), Owner.here()
    lease = leases.claim("c", me)
    with leases.heartbeat(lease, me, stop):
        collection.update_one({"_id": "c"}, {"$set": {"cancelled": True}})
        time.sleep(0.4)
    assert stop.requested()


def test_release_by_one_who_lost_it_changes_nothing(collection: Any) -> None:
    leases = Leases(collection, seconds=0.1)
    lost = leases.claim("c", Owner("elsewhere", 1, "1"))
    time.sleep(0.2)
    kept = leases.claim("c", Owner.here())
    leases.release(lost)
    assert collection.find_one({"_id": "c"})["lease"]["host"] == Owner.here().host
    leases.release(kept)
    assert "lease" not in collection.find_one({"_id": "c"})
