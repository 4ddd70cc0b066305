"""What surrounds a run fails: the network, the disk, the clock, and what lies in its directories."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from support.faults import QUICK, SEED, TIMES, Trial
from support.requirements import skip_unless_required
from support.servers import Mongod, free_port

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc"),
    pytest.mark.usefixtures("mongod"),
    pytest.mark.timeout(120 + 60 * TIMES),
]

Remember = Callable[[str, Any], None]
MakeTrial = Callable[..., Trial]


class BadNetwork:
    """A proxy that delays what goes through it, and drops a connection now and then."""

    def __init__(self, port: int, share: float) -> None:
        self.to, self.share, self.random, self.drops = port, share, random.Random(SEED), 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.calm = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to))
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self.calm:
                    time.sleep(self.random.uniform(0, 0.004))
                    if self.random.random() < self.share:
                        self.drops += 1
                        break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.listener.close()


@pytest.fixture
def network(mongod: Path, tmp_path: Path) -> Iterator[BadNetwork]:
    running = Mongod(mongod, tmp_path / "mongod", free_port())
    running.start()
    between = BadNetwork(running.port, share=0.012)
    yield between
    between.close()
    running.stop()


def test_a_network_that_drops_and_delays(
    network: BadNetwork, make_trial: MakeTrial, tmp_path: Path, record_property: Remember
) -> None:
    """Each command either ends well or says in one line that the database does not answer."""
    launchpad = tmp_path / "my_launchpad.yaml"
    launchpad.write_text(f"host: 127.0.0.1\nport: {network.port}\nname: trial\n")
    trial = make_trial(launchpad)
    for _ in range(2 + TIMES):
        process = trial.start()
        _, errors = process.communicate(90)
        if process.wait(1) == 0:
            break
        assert "Traceback" not in errors, errors
    trial.strikes = network.drops
    assert network.drops > 0
    network.calm = True
    trial.finish()
    trial.judge("a network that drops and delays", record_property)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        skip_unless_required("needs the right to mount a tmpfs: run it as root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(ballast: Path, left: int) -> None:
    """Fill a disk on which somebody else writes, until some bytes are left."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(16384))
    with ballast.open("r+b") as file:
        file.truncate(max(ballast.stat().st_size - left, 0))


@pytest.mark.parametrize("left", [0, 65536])
def test_a_disk_that_is_full_for_a_while(
    left: int, make_trial: MakeTrial, tmp_path: Path, record_property: Remember
) -> None:
    """One line that says so; the same command says so again, and goes on once there is room."""
    trial = make_trial()
    with small_disk(tmp_path / "disk") as disk:
        trial.root = disk / "runs"
        process = trial.start()
        assert trial.is_inside(process)
        trial.strikes += 1
        fill(disk / "ballast", left)
        _, errors = process.communicate(60)
        assert process.wait(1) == 2, errors
        (line,) = errors.splitlines()
        assert line.startswith("Error: the disk of ")
        assert "is full: make room" in line
        again = trial.start()
        _, errors = again.communicate(60)
        assert again.wait(1) == 2
        assert "disk of" in errors
        assert "is full" in errors
        assert "Traceback" not in errors, errors
        (disk / "ballast").unlink()
        trial.finish()
        trial.judge(f"a full disk, {left} bytes left", record_property)


OFF = """
import datetime, os, signal
class Off(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(hours=HOURS)
    @classmethod
    def utcnow(cls):
        return super().utcnow() + datetime.timedelta(hours=HOURS)
datetime.datetime = Off
"""

BEFORE_ITS_LEASE = """
from sodiate.workflows.launch import tasks
def strike(*given):
    os.kill(os.getpid(), signal.SIGKILL)
tasks.run_calculation = strike
"""


@pytest.mark.parametrize("hours", [-1, 1])
def test_clocks_that_are_off(hours: int, trial: Trial, record_property: Remember) -> None:
    """Of who was killed before it had its lease, by an hour, and of who goes on, by an hour the other way."""
    killed = trial.start(code=QUICK + OFF.replace("HOURS", str(hours)) + BEFORE_ITS_LEASE)
    assert killed.wait(60) == -9
    trial.strikes += 1
    begun = time.monotonic()
    other = trial.start(code=QUICK + OFF.replace("HOURS", str(-hours)))
    _, errors = other.communicate(90)
    assert (other.wait(1), errors) == (0, "")
    assert time.monotonic() - begun < 60
    trial.judge(f"clocks {hours:+d} h and {-hours:+d} h off", record_property)


def test_hostile_documents_in_directories(trial: Trial, record_property: Remember) -> None:
    """What FireWorks and custodian would obey, and what is torn: nothing is done that was not planned."""
    mark = trial.folder / "mark"
    process = trial.start()
    assert trial.is_inside(process)
    (begun,) = trial.relaxing()
    trial.strike(process.pid)
    process.wait(10)
    script = {"_fw_name": "ScriptTask", "script": [f"touch {mark}"]}
    addition = {"spec": {"_tasks": [script]}, "fw_id": -1}
    action = {"additions": [addition], "detours": [addition], "update_spec": {"_launch_dir": str(mark)}, "exit": True,
              "defuse_workflow": True, "mod_spec": [], "stored_data": {}, "propagate": True}  # fmt: skip
    for folder in (trial.root, trial.folder, *(path.parent for path in trial.root.glob("*/calculation.json"))):
        for name in ("FWAction.json", "FW.json", "FW_offline.json", "custodian.json", "checkpoint.json"):
            (folder / name).write_text(json.dumps(action))
        (folder / "sitecustomize.py").write_text(f"open({str(mark)!r}, 'w').close()\n")
    steps = begun / "trajectory.jsonl"
    steps.write_bytes(steps.read_bytes()[:-20] + b'{"step": NaN}\n\xff')
    other = next(path for path in trial.root.glob("*/calculation.json") if path.parent != begun)
    claim = begun / "calculation.json"
    kept = claim.read_bytes()
    contents = {other.read_bytes(): "belongs to", b"[" * 100_000: "cannot be read", b"": "cannot be read"}
    for content, word in contents.items():
        claim.write_bytes(content)
        refused = trial.start()
        _, errors = refused.communicate(60)
        assert refused.wait(1) == 1
        assert "Traceback" not in errors, errors
        with trial.database() as db:
            reasons = [attempt["reason"] for attempt in db["attempts"].find({"outcome": "failed"})]
            assert any(word in reason for reason in reasons), reasons
            db["attempts"].delete_many({"outcome": "failed"})
    claim.write_bytes(kept)
    trial.finish()
    assert not mark.exists()
    trial.judge("FWAction.json and hostile documents", record_property)
