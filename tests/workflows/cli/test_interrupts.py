"""Ctrl-C, SIGTERM, kill -9, and several commands at once: what is recorded stays, and is not computed again."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import pytest
from rich.console import Console
from sodiate.workflows import run
from sodiate.workflows.cli.progress import show_progress
from sodiate.workflows.database.connection import initialise, open_launchpad, open_root
from sodiate.workflows.launch import reconcile
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from support.campaigns import Bench, small_campaign
from support.cli import Cli, at_most, servers, wait_until
from support.warm import SODIATE as SODIATE_CODE
from support.warm import Process, Warm

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc"),
    pytest.mark.usefixtures("mongod"),
]
SODIATE = Path(sys.executable).with_name("sodiate")


@dataclass
class Found:
    """What a database holds: outcomes of the attempts and states of the records, by the calculations' labels."""

    attempts: dict[str, list[str]]
    records: dict[str, list[str]]
    launches: dict[str, int]

    @classmethod
    def below(cls, root: Path) -> Found:
        with open_root(root) as database:
            return cls.of(database.db)

    @classmethod
    def of(cls, db: Any) -> Found:
        attempts: dict[str, list[str]] = {}
        for document in db["attempts"].find().sort("started", 1):
            attempts.setdefault(document["label"], []).append(document["outcome"])
        records: dict[str, list[str]] = {}
        for document in db["records"].find():
            records.setdefault(document["label"], []).append(document["state"])
        launches = {d["label"]: d["provenance"]["launches"] for d in db["records"].find({"state": "current"})}
        return cls(attempts, records, launches)

    def twice(self) -> dict[str, list[str]]:
        """Attempts at what was started more than once."""
        return {label: outcomes for label, outcomes in self.attempts.items() if len(outcomes) > 1}

    def assert_complete(self, planned: Plan) -> None:
        """Every calculation of a plan is recorded, and once."""
        assert self.records == {c.label: ["current"] for c in planned.calculations}


@dataclass
class Running:
    """``sodiate run`` in a process group of its own, on a root of its own."""

    root: Path
    campaign: Path
    warm: Warm
    workers: int = 1

    def __post_init__(self) -> None:
        self.plan = plan(self.campaign)
        self.started: list[Process] = []

    @property
    def command(self) -> list[str]:
        return [str(SODIATE), "run", str(self.campaign), "--root", str(self.root), "--workers", str(self.workers)]

    def start(self) -> Process:
        self.started.append(self.warm.start(self.command, self.root.parent, own_group=True))
        return self.started[-1]

    def again(self) -> subprocess.CompletedProcess[str]:
        return self.warm.run(self.command, self.root.parent, 120)

    def hold(self, pid: int) -> None:
        """Stop a run by SIGSTOP within a relaxation, after three results; it goes on by SIGCONT, or is killed so.

        A relaxation takes a tenth of a second: without being held, it would often have ended when the test strikes.
        """

        def held() -> bool:
            if len(list(self.root.glob("*/result.json"))) < 3 or not self.relaxing():
                return False
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T"))
            if not self.relaxing():
                os.kill(pid, signal.SIGCONT)
                return False
            return True

        wait_until(held)

    def relaxing(self) -> bool:
        return any(
            len(path.read_text().splitlines()) > 3
            for path in self.root.glob("*/trajectory.jsonl")
            if not path.with_name("result.json").exists()
        )

    def assert_nothing_half_written(self) -> None:
        for path in self.root.rglob("*"):
            if "mongod" in path.relative_to(self.root).parts or path.is_dir():
                continue
            assert not path.name.startswith("."), path
            assert path.suffix not in (".tmp", ".partial"), path
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".npz":
                assert is_zipfile(path), path
            elif path.suffix == ".png":
                assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), path


@pytest.fixture
def running(warm: Warm, tmp_path: Path) -> Iterator[Running]:
    """A campaign of an atom, a host, four sites and the choice of the best one."""
    sites = ["T_W@top", "H@top", "T_W@bottom", "H@bottom"]
    running = Running(tmp_path / "runs", small_campaign(tmp_path, sites=sites, quantities=[]), warm)
    yield running
    for process in running.started:  # after a test that failed
        process.kill()
        process.wait(10)
    wait_until(lambda: not servers(tmp_path), seconds=10)


def by_ctrl_c(running: Running) -> tuple[int, str, str]:
    """The key itself, pressed in a terminal of the run's own, with the progress bar in it."""
    terminal, inner = pty.openpty()
    own_terminal = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
    command = [sys.executable, "-c", f"{own_terminal}; os.execv(sys.argv[1], sys.argv[1:])", *running.command]
    with ThreadPoolExecutor(1) as pool:
        streams: dict[str, Any] = {"stdin": inner, "stdout": inner, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=os.environ | {"COLUMNS": "160"}, **streams) as process:
            os.close(inner)
            shown = pool.submit(read_all, terminal)
            running.hold(process.pid)
            os.write(terminal, b"\x03")
            process.send_signal(signal.SIGCONT)
            _, errors = process.communicate(timeout=60)
        output = shown.result(timeout=10)
    os.close(terminal)
    return process.returncode, output, errors


def read_all(terminal: int) -> str:
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # nobody has the other side open any more
            return shown.decode(errors="replace")


def by_sigterm(running: Running) -> tuple[int, str, str]:
    """As a batch system ends a job: its whole process group."""
    process = running.start()
    running.hold(process.pid)
    os.killpg(process.pid, signal.SIGTERM)
    process.send_signal(signal.SIGCONT)
    output, errors = process.communicate(timeout=60)
    return process.wait(1), output, errors


@pytest.mark.parametrize(
    ("stop", "code", "name"), [(by_ctrl_c, 130, "SIGINT"), (by_sigterm, 143, "SIGTERM")], ids=["ctrl-c", "sigterm"]
)
def test_a_stop_keeps_what_is_done(
    running: Running, stop: Callable[[Running], tuple[int, str, str]], code: int, name: str
) -> None:
    returned, output, errors = stop(running)
    assert returned == code
    assert "Traceback" not in errors + output
    assert errors.splitlines() == [f"Stopped by {name}; finished work is kept. Go on with the same command."]
    assert "best site" in output  # the table as far as it goes
    assert not servers(running.root)
    running.assert_nothing_half_written()

    with open_root(running.root) as database:  # one server for all that looks and goes on
        found = Found.of(database.db)
        done = running.again()
        later = Found.of(database.db)
    assert 3 <= len(found.records) < len(running.plan)
    assert all(states == ["current"] for states in found.records.values())
    (stopped,) = found.attempts.keys() - found.records.keys()
    assert found.attempts[stopped] == ["stopped"]
    assert all(found.attempts[label] == ["completed"] for label in found.records)

    assert (done.returncode, done.stderr) == (0, "")
    later.assert_complete(running.plan)
    assert later.twice() == {stopped: ["stopped", "completed"]}
    assert later.launches[stopped] == 2  # it went on from its checkpoint
    running.assert_nothing_half_written()


def test_kill_9_half_way(running: Running) -> None:
    """One calculation was under way, so one is started twice; every one is recorded once."""
    process = running.start()
    running.hold(process.pid)
    process.kill()
    process.wait(10)
    start = time.monotonic()
    wait_until(lambda: not servers(running.root), seconds=10)
    print(f"the server ended {time.monotonic() - start:.2f} s after kill -9")
    with open_root(running.root) as database:
        before = Found.of(database.db)
        done = running.again()
        found = Found.of(database.db)
    assert (done.returncode, done.stderr) == (0, "")
    found.assert_complete(running.plan)
    print(f"started twice: {found.twice()}")
    (label,) = found.twice()
    assert found.attempts[label] == ["lost", "completed"]
    assert label not in before.records
    assert found.launches[label] == 2
    assert found.launches.keys() == found.records.keys()


def pids_of(db: Any) -> set[int]:
    return {document["pid"] for document in db["attempts"].find({}, {"pid": 1})}


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def pair(running: Running) -> Running:
    """The same with two calculations at once."""
    running.workers = 2
    return running


def hold_all(running: Running, process: Process) -> None:
    """Stop a run with its workers by SIGSTOP, while two calculations are under way."""

    def under_way() -> int:
        begun = {path.parent for path in running.root.glob("*/trajectory.jsonl") if path.read_text().count("\n") > 3}
        return len(begun - {path.parent for path in running.root.glob("*/result.json")})

    def held() -> bool:
        if under_way() < 2:
            return False
        os.killpg(process.pid, signal.SIGSTOP)
        time.sleep(0.1)
        if under_way() < 2:
            os.killpg(process.pid, signal.SIGCONT)
            return False
        return True

    wait_until(held)


def test_two_workers_share_a_run(pair: Running) -> None:
    process = pair.start()
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert "best site" in output
    with open_root(pair.root) as database:
        found, pids = Found.of(database.db), pids_of(database.db)
    found.assert_complete(pair.plan)
    assert not found.twice()
    assert len(pids) == 2
    assert process.pid not in pids
    assert not [pid for pid in pids if lives(pid)]
    pair.assert_nothing_half_written()


def test_a_stop_of_two_workers_keeps_what_is_done(pair: Running) -> None:
    process = pair.start()
    hold_all(pair, process)
    process.send_signal(signal.SIGTERM)
    # The run passes the stop on while its workers are held; let go together, they could end before they hear of it.
    process.send_signal(signal.SIGCONT)
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGCONT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors.splitlines() == ["Stopped by SIGTERM; finished work is kept. Go on with the same command."]
    assert "Traceback" not in output
    with open_root(pair.root) as database:
        found, pids = Found.of(database.db), pids_of(database.db)
        assert not [pid for pid in pids if lives(pid)]
        done = pair.again()
        later = Found.of(database.db)
    stopped = {label: outcomes for label, outcomes in found.attempts.items() if outcomes != ["completed"]}
    assert 1 <= len(stopped) <= 2
    assert all(outcomes == ["stopped"] for outcomes in stopped.values())
    assert (done.returncode, done.stderr) == (0, "")
    later.assert_complete(pair.plan)
    assert later.twice() == {label: ["stopped", "completed"] for label in stopped}
    assert all(later.launches[label] == 2 for label in stopped)


def test_kill_9_of_a_run_ends_its_workers_at_once(pair: Running) -> None:
    process = pair.start()
    hold_all(pair, process)
    with open_root(pair.root) as database:
        os.killpg(process.pid, signal.SIGCONT)
        process.kill()
        process.wait(10)
        pids = pids_of(database.db)
        wait_until(lambda: not any(map(lives, pids)), seconds=1)
        before = Found.of(database.db)
        done = pair.again()
        found = Found.of(database.db)
    assert (done.returncode, done.stderr) == (0, "")
    found.assert_complete(pair.plan)
    assert len(found.twice()) <= 2
    assert all(outcomes == ["lost", "completed"] for outcomes in found.twice().values())
    assert not found.twice().keys() & before.records.keys()


def test_a_killed_worker_is_replaced(pair: Running) -> None:
    """As by a system that is out of memory: what it computed is queued again, and the run goes on."""
    process = pair.start()
    hold_all(pair, process)
    with open_root(pair.root) as database:
        (victim, *_) = [a["pid"] for a in database.db["attempts"].find({"outcome": "running"})]
        os.kill(victim, signal.SIGKILL)
        os.killpg(process.pid, signal.SIGCONT)
        output, errors = process.communicate(timeout=60)
        found, pids = Found.of(database.db), pids_of(database.db)
    assert (process.returncode, errors) == (0, "")
    found.assert_complete(pair.plan)
    ((label, outcomes),) = found.twice().items()
    assert outcomes == ["lost", "completed"]
    assert found.launches[label] == 2
    assert len(pids) == 3
    assert f"{label.partition('/')[0]}" in output


def test_other_commands_while_a_run_goes_on(running: Running, cli: Cli) -> None:
    """They attach to the run's server, and leave it running. The run is held meanwhile, so that it cannot end."""
    process = running.start()
    running.hold(process.pid)
    try:
        with ThreadPoolExecutor(2) as pool:
            asked = ("status",), ("results", "--format", "json")
            status, results = pool.map(lambda words: cli(*words, "--root", running.root), asked)
        assert [(done.returncode, done.stderr) for done in (status, results)] == [(0, ""), (0, "")]
        assert process.poll() is None
        assert len([c for c in servers(running.root) if "--dbpath" in c.split("mongod_guard.py")[0]]) == 1
    finally:
        process.send_signal(signal.SIGCONT)
    summary, *lines = status.stdout.splitlines()
    assert "1 running" in summary
    assert [line for line in lines if ": running" in line]
    (host,) = json.loads(results.stdout)
    assert host["model"] == "WSSe+VS"
    assert any(reason.endswith(("running", "not yet run")) for reason in host["reasons"])
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    found = Found.below(running.root)
    found.assert_complete(running.plan)
    assert not found.twice()


def test_two_runs_at_once(running: Running) -> None:
    """On a root that does not exist yet: one server, both end well, nothing is computed twice."""
    both = [running.start(), running.start()]
    for process in both:
        output, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
        assert "best site" in output
    found = Found.below(running.root)
    found.assert_complete(running.plan)
    assert not found.twice()


def test_a_table_that_a_stop_left_is_written_anew(bench: Bench, tmp_path: Path) -> None:
    """With nothing left to compute: the run that computed the rest was killed before it wrote its files."""
    planned = plan(tiny_campaign(tmp_path))
    quiet = partial(show_progress, console=Console(quiet=True))
    first = run.run(planned, bench, quiet)
    table = next(path for path in first.files if path.suffix == ".csv")
    whole = table.read_text()
    table.write_text(whole.splitlines()[0])
    for path in first.files:
        os.utime(path, (1, 1))
    assert run.run(planned, bench, quiet).files == first.files
    assert table.read_text() == whole
    times = [path.stat().st_mtime for path in first.files]
    assert min(times) > 1
    run.run(planned, bench, quiet)
    assert [path.stat().st_mtime for path in first.files] == times  # what is as it should be stays


DRIVER = """
import os, signal, sys
def strike(): os.kill(os.getpid(), signal.SIGKILL)
def before(owner, name, calls=1):
    real, left = getattr(owner, name), [calls]
    def struck(*given, **more):
        left[0] -= 1
        if not left[0]: strike()
        return real(*given, **more)
    setattr(owner, name, struck)
def after(owner, name, calls=1):
    real, left = getattr(owner, name), [calls]
    def struck(*given, **more):
        answer = real(*given, **more)
        left[0] -= 1
        if not left[0]: strike()
        return answer
    setattr(owner, name, struck)
from fireworks.core.launchpad import WFLock
from sodiate.workflows.database.fireworks_guard import GuardedLaunchPad as LaunchPad
from sodiate.workflows.database.lease import Leases
exec(sys.argv.pop(1))
from sodiate.workflows.cli.main import main
main()
"""
"""``sodiate`` in which something happens (``strike``) before or after the nth call of a method."""


def tiny_campaign(folder: Path) -> Path:
    """An atom, a host, a site and the choice of the best site, each computed in a moment."""
    return small_campaign(folder, models=["WSe2"], supercell=[1, 1], sites=["H@top"], quantities=[])


def driven(warm: Warm, moment: str, campaign: Path, launchpad: Path) -> subprocess.CompletedProcess[str]:
    place = ["--launchpad", str(launchpad), "--root", str(campaign.parent / "runs")]
    words = ["-c", moment, "run", str(campaign), "--workers", "1", *place]
    return warm.run(words, campaign.parent, 60, DRIVER)


@pytest.mark.parametrize("moment", ["after(LaunchPad, '_get_a_fw_to_run', 2)", "before(Leases, 'claim', 2)"])
def test_a_run_beside_one_that_has_not_got_its_lease_yet(
    warm: Warm, launchpad: Path, tmp_path: Path, cli: Cli, moment: str
) -> None:
    """The other run has checked a firework out and pauses before it takes the lease: it is waited for."""
    mark = tmp_path / "paused"
    campaign = tiny_campaign(tmp_path)
    pause = f"import time\ndef strike(): open({str(mark)!r}, 'w').close(); time.sleep(3)\n"
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(driven, warm, pause + moment, campaign, launchpad)
        wait_until(mark.exists)
        done = cli("run", campaign, "--launchpad", launchpad, "--root", tmp_path / "runs")
        assert (done.returncode, done.stderr) == (0, "")
        assert (slow.result().returncode, slow.result().stderr) == (0, "")
    with open_launchpad(launchpad) as database:
        Found.of(database.db).assert_complete(plan(campaign))


IMPORTING = """
import os, signal, sys
word, number = sys.argv.pop(1), int(sys.argv.pop(1))
class Strike:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == word:
            os.kill(os.getpid(), number)
sys.meta_path.insert(0, Strike)
from sodiate.workflows.cli.main import main
main()
"""
"""``sodiate`` to which a signal comes while it imports something."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", ["typer", "sodiate.workflows.plan.planner", "pymongo", "fireworks.core.rocket"])
def test_a_signal_during_imports_ends_it_without_a_traceback(
    tmp_path: Path, launchpad: Path, number: signal.Signals, module: str
) -> None:
    words = ["run", str(tiny_campaign(tmp_path)), "--launchpad", str(launchpad), "--root", str(tmp_path / "runs")]
    command = [sys.executable, "-c", IMPORTING, module, str(int(number)), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 128 + number
    assert "Traceback" not in done.stderr + done.stdout
    stopped = f"Stopped by {number.name}; finished work is kept. Go on with the same command."
    assert done.stderr.splitlines() in ([], [stopped])


def test_nothing_is_for_everybody_to_change(warm: Warm, launchpad: Path, tmp_path: Path, cli: Cli) -> None:
    """With a umask of 0, and in a root that was made so."""
    root = tmp_path / "runs"
    words = ["run", str(tiny_campaign(tmp_path)), "--launchpad", str(launchpad), "--root", str(root)]
    done = warm.run(["sodiate", *words], tmp_path, 60, f"import os; os.umask(0)\n{SODIATE_CODE}")
    assert (done.returncode, done.stderr) == (0, "")
    assert root.stat().st_mode & 0o777 == 0o700
    assert not [path for path in root.rglob("*") if path.stat().st_mode & 0o022]
    root.chmod(0o777)
    told = cli("status", "--launchpad", launchpad, "--root", root)
    assert told.returncode == 0
    (line,) = told.stderr.splitlines()
    assert line.startswith(f"Warning: everybody may write into {root}")


# -- killed between two writes

MOMENTS = {
    "the database is being prepared": "before(LaunchPad, 'reset')",
    "the fireworks are in, their workflow is not": "after(LaunchPad, '_upsert_fws')",
    "a firework is reserved, not yet running": "after(LaunchPad, '_get_a_fw_to_run', 2)",
    "the workflow is locked": "after(WFLock, '__enter__', 3)",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_between_two_writes(
    warm: Warm, launchpad: Path, tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 at moments of milliseconds; test_kill_sweep.py has all the others, without their names."""
    monkeypatch.setattr(reconcile, "GRACE_S", 0.5)
    monkeypatch.setattr(reconcile, "LOCK_S", 0.5)
    campaign = tiny_campaign(tmp_path)
    planned = plan(campaign)
    killed = driven(warm, MOMENTS[moment], campaign, launchpad)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with open_launchpad(launchpad) as database, at_most(20):
        bench = Bench(database, tmp_path / "runs")
        before = Found.of(database.db)
        initialise(database, bench.launchpad)
        bench.submit(planned)
        bench.launch(planned)
        found = Found.of(database.db)
        states = bench.states()
    found.assert_complete(planned)
    assert len(found.twice()) <= 1
    assert not found.twice().keys() & {label for label, kept in before.records.items() if "current" in kept}
    assert set(states.values()) == {"COMPLETED"}
