"""Campaigns through the queue of a real SLURM: two jobs at once, stopped, cancelled, and what recover makes of it."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from sodiate.workflows.database.connection import Database
from sodiate.workflows.results.results import Results
from support import lsf, pbs
from support.campaigns import Finished, small_campaign
from support.cli import Cli
from support.fake_vasp import Behaviour, install
from support.slurm import Slurm

SMALL = ["atom", "lowest", "bulk", "static", "path", "vibrations", "relax_cell", "dos", "bands", "density"]

CLUSTER: dict[str, Any] = {
    "scheduler": "slurm",
    "max_jobs": 2,
    "signal_s": 60,
    "classes": {
        "small": {"kinds": SMALL, "wall_time": "00:05:00", "memory_gb": 0.5},
        "large": {"kinds": ["relax"], "wall_time": "00:05:00", "memory_gb": 0.5},
    },
}


@pytest.fixture
def served(slurm_cluster: Slurm, reachable: Database) -> Database:
    """A database that jobs of SLURM reach, its launchpad file, and a cluster file."""
    return reachable


@pytest.fixture
def reachable(database: Database, launchpad: Path, tmp_path: Path) -> Database:
    """A database that jobs reach, its launchpad file, and a cluster file."""
    shutil.copy(launchpad, tmp_path)
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(CLUSTER))
    return database


def queue(cli: Cli, *more: str, timeout: float = 280.0) -> str:
    options = ("--cluster", "cluster.yaml", "--launchpad", "my_launchpad.yaml", "--root", "root")
    done = cli("queue", *options, *more, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def submit(cli: Cli, campaign: str, engine: str = "emt") -> None:
    done = cli("submit", campaign, "--engine", engine, "--launchpad", "my_launchpad.yaml", "--root", "root")
    assert done.returncode == 0, done.stdout + done.stderr


def wait_until(condition, seconds: float = 90.0) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.2)


def outcomes(database: Database) -> Counter[str]:
    return Counter(attempt["outcome"] for attempt in database.db["attempts"].find())


def test_a_campaign_through_the_queue(served: Database, finished: Finished, cli: Cli, tmp_path: Path) -> None:
    """The table is that of a run without a queue, and each calculation was started and recorded once."""
    small_campaign(tmp_path)
    submit(cli, "small.yaml")
    again = cli("submit", "small.yaml", "--launchpad", "my_launchpad.yaml", "--root", "root")
    assert "0 of 6 calculations added" in again.stdout
    printed = queue(cli, "--every", "1")
    assert printed.count("job ") >= 2
    assert outcomes(served) == {"completed": 6}
    assert served.db["records"].count_documents({"state": "current"}) == 6
    with Results.open(tmp_path / "my_launchpad.yaml") as there, Results.open(finished.launchpad) as here:
        assert there.adsorption()["adsorption_energy_ev"].tolist() == pytest.approx(
            here.adsorption()["adsorption_energy_ev"].tolist(), abs=1e-9
        )
    logs = [path.read_text() for path in (tmp_path / "root" / "logs" / "jobs").glob("*.out")]
    assert all("launches; ended because" in log for log in logs)


def whole_table(path: Path) -> pd.DataFrame:
    """Energies of all sites against both references, where they ended, and how many there are."""
    with Results.open(path) as results:
        frame = results.adsorption()
    return frame.set_index(["model", "site"])[
        ["adsorption_energy_ev", "adsorption_energy_bulk_ev", "end"]
    ].sort_index()


@pytest.mark.parametrize(
    ("engine", "count"), [("emt", 48), pytest.param("vasp", 63, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_the_papers_campaign_by_two_jobs_at_once(
    engine: str, count: int, served: Database, vasp: Path, cli: Cli, tmp_path: Path
) -> None:
    """The oracle is the dry engine without a queue: the same forces by another path, to 1 meV at each site."""
    install(vasp)
    tell_jobs(vasp, tmp_path)
    submit(cli, "wsse", engine)
    queue(cli, "--every", "1", timeout=1800)
    assert outcomes(served) == {"completed": count}
    assert served.db["records"].count_documents({"state": "current"}) == count
    assert most_at_once(served) == 2
    assert cli("run", "wsse", "--root", "alone").returncode == 0
    here, there = whole_table(tmp_path / "alone"), whole_table(tmp_path / "my_launchpad.yaml")
    assert len(here) == 31
    pd.testing.assert_frame_equal(there, here, atol=1e-3 if engine == "vasp" else 1e-9, rtol=0)


def most_at_once(database: Database) -> int:
    """How many calculations were under way at the same time."""
    spans = [(one["started"], one["ended"]) for one in database.db["attempts"].find()]
    return max(sum(began <= moment < ended for began, ended in spans) for moment, _ in spans)


def tell_jobs(vasp: Path, tmp_path: Path, **changes: Any) -> None:
    """Tell jobs where the stand-in for VASP and its POTCARs are."""
    library = os.environ["PMG_VASP_PSP_DIR"]
    env = {"vasp_std": str(vasp / "vasp_std"), "vasp_gam": str(vasp / "vasp_gam"), "potcars": library}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump({**CLUSTER, "env": env, **changes}))


def test_vasp_through_the_queue_stopped_by_the_scheduler_goes_on(
    served: Database, slurm_cluster: Slurm, vasp: Path, finished: Finished, cli: Cli, tmp_path: Path
) -> None:
    """The signal before the wall time ends VASP after its step; the next job goes on; nothing is recorded twice."""
    small_campaign(tmp_path, quantities=[])
    submit(cli, "small.yaml", "vasp")
    install(vasp, Behaviour(seconds_per_step=1.0))
    tell_jobs(vasp, tmp_path)
    assert "job" in queue(cli, "--once")
    attempts = served.db["attempts"]
    wait_until(lambda: attempts.find_one({"label": "WSSe+VS", "outcome": "running"}))
    wait_until(lambda: any((tmp_path / "root").glob("WSSe+VS-*/CONTCAR")))
    time.sleep(2.0)
    running = slurm_cluster.call("squeue", "-h", "-t", "R", "-o", "%i %j").split("\n")
    number = next(line.split()[0] for line in running if "WSSe" in line)
    slurm_cluster.call("scancel", "--signal=USR1", "--batch", number)
    wait_until(lambda: attempts.find_one({"label": "WSSe+VS", "outcome": "stopped"}))
    slurm_cluster.restart_controller()
    install(vasp)
    queue(cli, "--every", "1")
    with Results.open(tmp_path / "my_launchpad.yaml") as results:
        table = results.adsorption().set_index("site")["adsorption_energy_ev"]
        assert results["WSSe+VS"].record.provenance.launches == 2
    with Results.open(finished.launchpad) as results:
        dry = results.adsorption().set_index("site")["adsorption_energy_ev"]
    assert table.to_dict() == pytest.approx(dry.to_dict(), abs=1e-3)
    count = outcomes(served)
    assert (count["completed"], count["stopped"], count["failed"]) == (5, 1, 0)
    assert served.db["records"].count_documents({"state": "current"}) == 5


def test_cancelled_jobs_are_given_back(
    served: Database, slurm_cluster: Slurm, vasp: Path, cli: Cli, tmp_path: Path
) -> None:
    """scancel of a job that waits and of one that runs: recover queues both calculations again."""
    small_campaign(tmp_path, quantities=[])
    submit(cli, "small.yaml", "vasp")
    install(vasp, Behaviour(seconds_per_step=30.0))
    tell_jobs(vasp, tmp_path)
    slurm_cluster.call("scontrol", "update", "nodename=" + node(slurm_cluster), "state=drain", "reason=test")
    assert queue(cli, "--once").count("job ") == 2
    numbers = slurm_cluster.call("squeue", "-h", "-o", "%i").split()
    slurm_cluster.call("scancel", numbers[0])
    slurm_cluster.call("scontrol", "update", "nodename=" + node(slurm_cluster), "state=resume")
    attempts = served.db["attempts"]
    wait_until(lambda: attempts.find_one({"outcome": "running"}))
    told = cli("status", "--launchpad", "my_launchpad.yaml", "--root", "root", "--cluster", "cluster.yaml").stdout
    assert f"job {numbers[1]} RUNNING" in told
    slurm_cluster.call("scancel", "--signal=KILL", "--full", numbers[1])
    wait_until(lambda: not slurm_cluster.call("squeue", "-h", "-t", "R", "-o", "%i").split())
    command = ("recover", "--launchpad", "my_launchpad.yaml", "--root", "root", "--cluster", "cluster.yaml")
    assert f"(job {numbers[0]}: CANCELLED)" in cli(*command).stdout
    held = {"state": {"$in": ["RESERVED", "RUNNING"]}}
    wait_until(lambda: cli(*command) and not served.db["fireworks"].find_one(held))
    install(vasp)
    queue(cli, "--every", "1")
    assert served.db["records"].count_documents({"state": "current"}) == 5


@pytest.mark.slow  # two minutes of waiting for SLURM's limit
def test_a_job_killed_by_its_wall_time_goes_on_in_the_next(
    served: Database, slurm_cluster: Slurm, vasp: Path, cli: Cli, tmp_path: Path
) -> None:
    """VASP hangs, deaf to STOPCAR, until SLURM's limit of a minute: TERM, then KILL; the next jobs do the rest."""
    small_campaign(tmp_path, quantities=[])
    submit(cli, "small.yaml", "vasp")
    install(vasp, Behaviour(hang=True, times=2))
    minute = {name: {**one, "wall_time": "00:01:00"} for name, one in CLUSTER["classes"].items()}
    tell_jobs(vasp, tmp_path, classes=minute, signal_s=15)
    assert queue(cli, "--once").count("job ") == 2
    wait_until(lambda: served.db["attempts"].count_documents({"outcome": "running"}) == 2)
    wait_until(lambda: not slurm_cluster.call("squeue", "-h", "-t", "R,CG", "-o", "%i").split(), seconds=150)
    states = slurm_cluster.call("squeue", "-h", "-t", "all", "-o", "%T").split()
    assert states.count("TIMEOUT") >= 1
    tell_jobs(vasp, tmp_path)
    queue(cli, "--every", "1")
    assert served.db["records"].count_documents({"state": "current"}) == 5
    count = outcomes(served)
    assert (count["completed"], count.total()) == (5, 7)
    with Results.open(tmp_path / "my_launchpad.yaml") as results:
        assert results["WSSe+VS"].record.provenance.launches == 2


def test_a_stand_in_for_pbs_to_the_complete_table(
    reachable: Database, vasp: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PBS sends no signal: the worker ends VASP by the clock, and the next job goes on."""
    monkeypatch.setenv("PATH", f"{pbs.install(tmp_path / 'pbs')}{os.pathsep}{os.environ['PATH']}")
    small_campaign(tmp_path, quantities=[])
    submit(cli, "small.yaml", "vasp")
    install(vasp, Behaviour(seconds_per_step=10.0))
    short = {name: {**one, "wall_time": "00:00:50"} for name, one in CLUSTER["classes"].items()}
    tell_jobs(vasp, tmp_path, scheduler="pbs", classes=short, signal_s=25)
    assert queue(cli, "--once").count("job 10") == 2
    attempts = reachable.db["attempts"]
    wait_until(lambda: attempts.find_one({"label": "WSSe+VS", "outcome": "running"}))
    told = cli("status", "--launchpad", "my_launchpad.yaml", "--root", "root", "--cluster", "cluster.yaml").stdout
    assert "RUNNING" in told or " R" in told
    wait_until(lambda: attempts.find_one({"label": "WSSe+VS", "outcome": "stopped"}))
    stopped = attempts.find_one({"label": "WSSe+VS", "outcome": "stopped"})
    assert stopped is not None
    assert re.search(r"its wall time .*is nearly over", stopped["reason"])
    install(vasp)
    tell_jobs(vasp, tmp_path, scheduler="pbs")
    queue(cli, "--every", "1")
    assert reachable.db["records"].count_documents({"state": "current"}) == 5
    with Results.open(tmp_path / "my_launchpad.yaml") as results:
        assert results["WSSe+VS"].record.provenance.launches == 2
    assert any("wall time" in path.read_text() for path in (tmp_path / "pbs" / "jobs").iterdir())


@pytest.mark.slurm
def test_a_stand_in_for_lsf_to_the_complete_table(
    reachable: Database, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """bsub reads the script from its input; jobs are counted, numbered and named by what bjobs prints."""
    monkeypatch.setenv("PATH", f"{lsf.install(tmp_path / 'lsf')}{os.pathsep}{os.environ['PATH']}")
    small_campaign(tmp_path)
    submit(cli, "small.yaml")
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump({**CLUSTER, "scheduler": "lsf"}))
    printed = queue(cli, "--every", "0.5")
    assert "job 101: " in printed
    assert printed.splitlines()[-1] == "6 recorded"
    assert outcomes(reachable) == {"completed": 6}
    jobs = list(reachable.db["jobs"].find())
    assert {job["cluster"] for job in jobs} == {"stand-in"}
    assert {attempt["job"] for attempt in reachable.db["attempts"].find()} <= {job["_id"] for job in jobs}
    script = next((tmp_path / "lsf").glob("*.sh")).read_text()
    assert "#BSUB -W 0:05" in script
    assert "rusage[mem=512MB/host]" in script


def node(slurm_cluster: Slurm) -> str:
    return slurm_cluster.call("sinfo", "-h", "-N", "-o", "%N").split()[0]


def test_jobs_that_end_before_they_begin_are_not_sent_for_ever(served: Database, cli: Cli, tmp_path: Path) -> None:
    small_campaign(tmp_path, quantities=[])
    submit(cli, "small.yaml")
    broken = {**CLUSTER, "max_jobs": 1, "setup": ["echo no such module >&2; exit 1"]}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(broken))
    options = ("--cluster", "cluster.yaml", "--launchpad", "my_launchpad.yaml", "--root", "root", "--every", "1")
    done = cli("queue", *options, timeout=120)
    assert done.returncode == 2
    assert "ended before its calculation began: read what they printed in" in done.stderr
    assert outcomes(served) == {}
    assert not served.db["fireworks"].find_one({"state": "RESERVED"})
