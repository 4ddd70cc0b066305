"""The queue on a real SLURM and MongoDB that behave as on a bad day: banners, hiccups, restarts, two at once."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient
from support import slurm
from support.campaigns import small_campaign
from support.cli import Cli, wait_until
from support.servers import Mongod
from support.slurm import Slurm, Watch
from support.warm import Process, Warm

CLUSTER: dict[str, Any] = {
    "scheduler": "slurm",
    "max_jobs": 2,
    "signal_s": 30,
    "classes": {"all": {"kinds": "rest", "wall_time": "00:05:00", "memory_gb": 0.5}},
}

OPTIONS = ("--cluster", "cluster.yaml", "--launchpad", "my_launchpad.yaml", "--root", "root")

BANNER = "Welcome to login4 of Stampede3: 12% of 500 project hours used"


@pytest.fixture
def bad_commands(slurm_cluster: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An sbatch that prints a banner and whose first answer is lost; a squeue that fails at two of a caller's four.

    Where the answer was lost, the second call only looks for that job; the third is the next list in any case.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    real = {name: shutil.which(name) for name in ("sbatch", "squeue")}
    (folder / "sbatch").write_text(
        f"#!/bin/bash\necho '{BANNER}'\n{real['sbatch']} \"$@\" > {folder}/answer || exit 1\n"
        f"if mkdir {folder}/first 2>/dev/null; then\n"
        "  echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv' >&2; exit 1\nfi\n"
        f"cat {folder}/answer\n"
    )
    (folder / "squeue").write_text(
        f"#!/bin/bash\ncalls={folder}/calls-$PPID\necho x >> $calls\n"
        "if [ $(($(wc -l < $calls) % 4)) -ge 2 ]; then echo 'Socket timed out' >&2; exit 1; fi\n"
        f'exec {real["squeue"]} "$@"\n'
    )
    for name in real:
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def prepared(cli: Cli, tmp_path: Path) -> None:
    small_campaign(tmp_path)
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(CLUSTER))
    (tmp_path / "my_launchpad.yaml").chmod(0o600)
    done = cli("submit", "small.yaml", "--launchpad", "my_launchpad.yaml", "--root", "root")
    assert done.returncode == 0, done.stderr


def wait_for(process: Process, words: str, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while words not in process.paths[1].read_text():
        assert time.monotonic() < end, process.paths[1].read_text()
        assert process.poll() is None, process.paths[1].read_text()
        time.sleep(0.1)


def recorded(port: int) -> tuple[Counter[str], int]:
    with MongoClient[dict[str, Any]]("127.0.0.1", port) as client:
        outcomes = Counter(attempt["outcome"] for attempt in client["trial"]["attempts"].find())
        return outcomes, client["trial"]["records"].count_documents({"state": "current"})


def test_a_bad_day(
    own_server: Mongod, slurm_cluster: Slurm, bad_commands: Path, cli: Cli, warm: Warm, tmp_path: Path
) -> None:
    """Two queues, a lost answer, lists that fail, a database and a controller that go away: two jobs at most."""
    prepared(cli, tmp_path)
    watch = Watch(slurm_cluster)
    with watch.watching():
        words = ["sodiate", "queue", *OPTIONS, "--every", "0.5"]
        first, second = queues = [warm.start(words, tmp_path) for _ in range(2)]
        try:
            wait_for(first, "The scheduler does not answer")
            own_server.stop()
            for process in queues:
                wait_for(process, "MongoDB does not answer")
            own_server.start()
            slurm_cluster.restart_controller()
            ends = [process.communicate(120) for process in queues]
        finally:
            for process in queues:
                process.kill()
            slurm_cluster.call("scancel", "--me")
    assert (first.returncode, second.returncode) == (0, 0), ends
    outcomes, records = recorded(own_server.port)
    assert records == 6
    assert outcomes["completed"] == 6
    assert outcomes["failed"] == 0
    assert max(watch.counts) == 2
    assert all("6 recorded" in out for out, _ in ends)
    for _, complaints in ends:  # each is told once and not at each look
        assert complaints.count("MongoDB does not answer") == 1
    print(f"looks {len(watch.counts)}, jobs {len(watch.numbers)}, alive {Counter(watch.counts)}", file=sys.stderr)


def test_a_requeued_job_is_counted(own_server: Mongod, slurm_cluster: Slurm, cli: Cli, tmp_path: Path) -> None:
    """Its firework is long given back, or recorded; SLURM has the job and so has the count, and says why it waits."""
    prepared(cli, tmp_path)
    setup = {**CLUSTER, "setup": ["sleep 30"], "max_jobs": 1}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(setup))
    assert "job " in cli("queue", *OPTIONS, "--once").stdout
    wait_until(lambda: slurm_cluster.call("squeue", "-h", "-t", "R", "-o", "%i"))
    (number,) = slurm_cluster.call("squeue", "-h", "-t", "R", "-o", "%i").split()
    slurm_cluster.call("scontrol", "requeuehold", number)
    with MongoClient[dict[str, Any]]("127.0.0.1", own_server.port) as client:
        client["trial"]["launches"].update_many({}, {"$set": {"state": "READY"}})
        client["trial"]["fireworks"].update_many({"state": "RESERVED"}, {"$set": {"state": "READY", "launches": []}})
    for _ in range(2):
        assert "job " not in cli("queue", *OPTIONS, "--once").stdout
    told = cli("status", "--launchpad", "my_launchpad.yaml", "--root", "root", "--cluster", "cluster.yaml").stdout
    assert f"job {number} " in told
    assert "held state" in told  # SLURM's own reason
    slurm_cluster.call("scancel", number)
    wait_until(lambda: number not in slurm_cluster.call("squeue", "-h", "-o", "%i").split())  # also not completing
    assert "job " in cli("queue", *OPTIONS, "--once").stdout
    slurm_cluster.call("scancel", "--me")


def test_two_clusters_and_two_people_on_one_database(
    own_server: Mongod,
    slurm_cluster: Slurm,
    cli: Cli,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither takes what is another one's: reservations, calculations, room in the queue."""
    prepared(cli, tmp_path)
    recover = ("recover", *OPTIONS)
    with slurm.cluster(tmp_path_factory.mktemp("other"), "u") as other:
        for one in (slurm_cluster, other):
            hold(one)
        assert cli("queue", *OPTIONS, "--once", "--max-jobs", "1").stdout.count("job ") == 1
        monkeypatch.setenv("SLURM_CONF", other.environment["SLURM_CONF"])
        assert cli(*recover).stdout.startswith("0 queued again")
        assert cli("queue", *OPTIONS, "--once", "--max-jobs", "1").stdout.count("job ") == 1
        assert cli("queue", *OPTIONS, "--once", "--max-jobs", "1").stdout.count("job ") == 0
        with monkeypatch.context() as patch:
            patch.setenv("LOGNAME", "somebody-else")
            assert cli(*recover).stdout.startswith("0 queued again")
            assert cli("queue", *OPTIONS, "--once").stdout == "no calculation\n"
            named = cli("queue", *OPTIONS, "--once", "--campaign", "small").stdout
            assert named.startswith("6 not recorded")  # both that are ready have their jobs
        told = cli("status", "--launchpad", "my_launchpad.yaml").stdout
        assert "on t\n" in told
        assert "on u\n" in told
        counts = [len(one.call("squeue", "-h", "-o", "%i").split()) for one in (slurm_cluster, other)]
        assert counts == [1, 1]
        other.call("scancel", "--me")
        assert cli(*recover).stdout.startswith("1 queued again")
    slurm_cluster.call("scancel", "--me")
    hold(slurm_cluster, "resume")


@pytest.mark.slow
@pytest.mark.usefixtures("bad_commands")
@pytest.mark.timeout(600)
def test_two_people_on_two_clusters_on_a_bad_day(
    own_server: Mongod,
    slurm_cluster: Slurm,
    cli: Cli,
    warm: Warm,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four queues: banners, a lost answer, lists that fail, jobs requeued and held; two jobs each at most."""
    prepared(cli, tmp_path)
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump({**CLUSTER, "setup": ["sleep 2"]}))
    people = {"anna": "small", "ben": "other"}
    small_campaign(tmp_path, campaign="other", models=["WSSe+VSe"], sites=["V_Se@bottom", "T_W@top"])
    assert cli("submit", "other.yaml", "--launchpad", "my_launchpad.yaml", "--root", "root").returncode == 0
    with MongoClient[dict[str, Any]]("127.0.0.1", own_server.port) as client:
        for person, campaign in people.items():
            client["trial"]["owners"].update_one({"_id": campaign}, {"$set": {"user": person}})
        wanted = client["trial"]["calculations"].count_documents({})
    looks: dict[str, Counter[int]] = {}
    with slurm.cluster(tmp_path_factory.mktemp("other"), "u") as other:
        both, queues, troubles = {"t": slurm_cluster, "u": other}, [], Troubles()
        for person in people:
            for cluster in both.values():
                with monkeypatch.context() as patch:
                    patch.setenv("LOGNAME", person)
                    patch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
                    queues.append(warm.start(["sodiate", "queue", *OPTIONS, "--every", "1"], tmp_path))
        try:
            while any(process.poll() is None for process in queues):
                for name, cluster in both.items():
                    listed = jobs_of(cluster)
                    for whose, count in Counter(tag.partition("-")[0] for _, tag, _ in listed).items():
                        looks.setdefault(f"{whose} on {name}", Counter())[count] += 1
                    troubles.make(cluster, listed)
                time.sleep(0.2)
        finally:
            for process in queues:
                process.kill()
            other.call("scancel", "--me")
            slurm_cluster.call("scancel", "--me")
    ends = [process.communicate(10) for process in queues]
    assert [process.returncode for process in queues] == [0] * 4, ends
    outcomes, records = recorded(own_server.port)
    told = {whose: dict(counts) for whose, counts in looks.items()}
    print(f"alive {told}, {troubles}, {dict(outcomes)}, {records} of {wanted} recorded", file=sys.stderr)
    assert (outcomes["completed"], outcomes["failed"], records) == (wanted, 0, wanted)
    assert max(max(counts) for counts in looks.values()) <= 2
    assert troubles.requeued == 3


@dataclass
class Troubles:
    """What an administrator may do to jobs: three are requeued while they run and held, and each is released."""

    requeued: int = 0
    released: int = 0

    def make(self, cluster: Slurm, listed: list[tuple[str, str, str]]) -> None:
        running = [number for number, _, state in listed if state == "RUNNING"]
        waiting = [number for number, _, state in listed if state == "PENDING"]
        if self.requeued < 3 and running:
            self.requeued += 1
            cluster.call("scontrol", "requeuehold", running[0])
        elif waiting:
            self.released += 1
            cluster.call("scontrol", "release", *waiting)


def jobs_of(cluster: Slurm) -> list[tuple[str, str, str]]:
    """Number, tag and state of each job that waits or runs, as SLURM itself says."""
    real = next(p for p in ("/usr/bin/squeue", shutil.which("squeue")) if p and Path(p).exists())
    rows = [line.split() for line in cluster.call(real, "-h", "-t", "PD,R,CF,CG,S", "-o", "%i %j %T").splitlines()]
    return [(number, name.rpartition(".")[2], state) for number, name, state in rows]


def hold(cluster: Slurm, state: str = "drain") -> None:
    """Let jobs wait, or go on."""
    name = cluster.call("sinfo", "-h", "-N", "-o", "%N").split()[0]
    cluster.call("scontrol", "update", f"nodename={name}", f"state={state}", "reason=test")


def test_failures_are_named_at_the_end(own_server: Mongod, slurm_cluster: Slurm, cli: Cli, tmp_path: Path) -> None:
    """An engine that is not there fails everything that can begin; the exit code says so."""
    prepared(cli, tmp_path)
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump({**CLUSTER, "env": {"scratch": "/dev/null/none"}}))
    done = cli("queue", *OPTIONS, "--every", "0.5", timeout=200)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Failed: " in done.stderr
    assert "2 failed" in done.stdout
