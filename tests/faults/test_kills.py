"""kill -9 of every kind of process at random moments within calculations, and processes side by side."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.cli import Cli, wait_until
from support.faults import LARGE, QUICK, SHORT_LEASE, TIMES, Trial, parent_of, server_of
from support.requirements import skip_unless_required

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc"),
    pytest.mark.timeout(120 + 60 * TIMES),
]

Remember = Callable[[str, Any], None]
MakeTrial = Callable[..., Trial]

CLUSTER = {
    "scheduler": "slurm",
    "max_jobs": 4,
    "signal_s": 5,
    "classes": {"all": {"kinds": "rest", "tasks": 1, "wall_time": "1:00:00"}},
}


def test_kill_of_run(trial: Trial, record_property: Remember) -> None:
    for _ in range(3 * TIMES):
        process = trial.start()
        if trial.is_inside(process):
            trial.strike(process.pid)
        process.wait(30)
    trial.finish()
    outcomes = trial.judge("kill -9 of run", record_property)
    assert outcomes["lost"] >= 1


def _has_halves(db: Any, pieces: int = 0) -> bool:
    """Tell whether there are more than so many pieces of files that were not finished."""
    files = db["arrays.files"].distinct("_id")
    return bool(db["arrays.chunks"].count_documents({"files_id": {"$nin": files}}) > pieces)


def test_kill_while_large_arrays_are_written(trial: Trial, record_property: Remember) -> None:
    """The next command removes the pieces of a file that was never finished, and the folder of the launch."""
    process = trial.start(code=QUICK + LARGE)
    with trial.database() as db:
        wait_until(partial(_has_halves, db, 5), 60)
        folder = Path(f"/proc/{process.pid}/cwd").readlink()
        trial.strike(process.pid)
        process.wait(30)
        assert _has_halves(db)
    assert folder.name.startswith("sodiate-launch.")
    assert folder.exists()
    trial.finish()
    assert not folder.exists()
    outcomes = trial.judge("kill -9 while large arrays are written", record_property)
    assert outcomes["lost"] == 1


@pytest.mark.parametrize("victim", ["mongod", "guard"])
def test_kill_of_the_server(victim: str, make_trial: MakeTrial, record_property: Remember) -> None:
    """It is noticed within 10 s (20 where others compute), told in one line, and the same command goes on."""
    trial = make_trial()
    for _ in range(2 * TIMES):
        process = trial.start()
        if not trial.is_inside(process):
            break
        server = server_of(trial.root)
        trial.strike(server if victim == "mongod" else parent_of(server))
        begun = time.monotonic()
        output, errors = process.communicate(60)
        if process.wait(1) == 0:  # a server that its guard left ends in order, and a run that was over by then
            break
        assert time.monotonic() - begun < 20
        (line,) = errors.splitlines()
        assert line.startswith(f"Error: the MongoDB of {trial.root} ended while it was in use")
        assert "same command" in line
        assert "Traceback" not in output
    trial.finish()
    trial.judge(f"kill -9 of {victim}", record_property)


def test_sigterm_while_the_server_is_away(make_trial: MakeTrial, record_property: Remember) -> None:
    trial = make_trial()
    process = trial.start()
    assert trial.is_inside(process)
    trial.strike(server_of(trial.root))
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(20)
    assert process.wait(1) != 0
    assert len(errors.splitlines()) == 1
    assert "Traceback" not in errors
    trial.finish()
    trial.judge("kill -9 of mongod, then SIGTERM", record_property)


def working(trial: Trial, cli: Cli) -> list[str]:
    """Submit the campaign; return the words of a worker."""
    path = trial.folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(CLUSTER))
    done = cli("submit", trial.campaign, *trial.place)
    assert done.returncode == 0, done.stderr
    return ["worker", "--cluster", str(path), "--class", "all"]


def test_kill_of_a_worker(trial: Trial, cli: Cli, record_property: Remember) -> None:
    words = working(trial, cli)
    for _ in range(2 * TIMES):
        process = trial.start(*words)
        if trial.is_inside(process):
            trial.strike(process.pid)
        process.wait(60)
        assert cli("recover", *trial.place).returncode == 0
    process = trial.start(*words)
    _, errors = process.communicate(60)
    assert (process.wait(1), errors) == (0, "")
    trial.finish()
    trial.judge("kill -9 of a worker", record_property)


def test_two_runs_and_four_workers(trial: Trial, cli: Cli, record_property: Remember) -> None:
    """At once, one of each killed: what is done is done once."""
    words = working(trial, cli)
    runs = [trial.start() for _ in range(2)]
    workers = [trial.start(*words) for _ in range(4)]
    assert trial.is_inside(runs[0])
    for process in (runs[0], workers[0]):
        if process.poll() is None:
            trial.strike(process.pid)
    for process in (*runs, *workers):
        _, errors = process.communicate(90)
        assert process.wait(1) in (0, -signal.SIGKILL), errors
        assert "Traceback" not in errors
    trial.finish()
    trial.judge("two runs and four workers, one of each killed", record_property)


def test_stopped_for_longer_than_its_lease(trial: Trial, record_property: Remember) -> None:
    """As a laptop that slept, or a node that hung: another run takes over, and what wakes up records nothing."""
    sleeper = trial.start(code=QUICK + SHORT_LEASE)
    assert trial.is_inside(sleeper)
    os.kill(sleeper.pid, signal.SIGSTOP)
    trial.strikes += 1
    other = trial.start(code=QUICK + SHORT_LEASE)
    wait_until(lambda: len(list(trial.root.glob("*/result.json"))) > 5 or other.poll() is not None)
    os.kill(sleeper.pid, signal.SIGCONT)
    for process in (other, sleeper):
        _, errors = process.communicate(60)
        assert (process.wait(1), errors) == (0, "")
    outcomes = trial.judge("SIGSTOP for longer than the lease", record_property)
    assert outcomes["lost"] == 1


def test_a_run_in_a_pid_namespace_of_its_own(trial: Trial, record_property: Remember) -> None:
    """A container has its own numbers for processes: the run outside is not gone, though it is not among them."""
    namespace = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode != 0:
        skip_unless_required("needs the right to a PID namespace: run it as root")
    trial.pace = 0.05
    outside = trial.start()
    assert trial.is_inside(outside)
    inside = trial.cold(*namespace)
    trial.strikes += 1
    try:
        _, errors = inside.communicate(timeout=90)
    finally:
        inside.kill()
    assert (inside.returncode, errors) == (0, "")
    _, errors = outside.communicate(60)
    assert (outside.wait(1), errors) == (0, "")
    outcomes = trial.judge("a second run in a PID namespace of its own", record_property)
    assert set(outcomes) == {"completed"}
