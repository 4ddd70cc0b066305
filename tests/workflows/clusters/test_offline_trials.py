"""Campaigns through a real SLURM whose jobs reach no database: they are in a network of their own, with no route."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient
from sodiate.workflows.results.results import Results
from support.campaigns import Finished, small_campaign
from support.cli import Cli, wait_until
from support.fake_vasp import Behaviour, install
from support.requirements import skip_unless_required
from support.servers import Mongod
from support.slurm import Slurm, Watch
from support.warm import Warm

OPTIONS = ("--cluster", "cluster.yaml", "--launchpad", "my_launchpad.yaml", "--root", "root")

ALONE = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--net"]


@pytest.fixture
def cut_off(own_server: Mongod, tmp_path: Path) -> dict[str, Any]:
    """A cluster file whose jobs begin themselves anew without a network, and print whether they reach the server."""
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode != 0:
        skip_unless_required("needs network namespaces: Linux, and root or user namespaces (unshare --net)")
    probe = f"(echo > /dev/tcp/127.0.0.1/{own_server.port}) 2>/dev/null"
    assert subprocess.run(["bash", "-c", probe], check=False).returncode == 0  # as all others do
    begin = f'[ -n "$ALONE" ] || {{ export ALONE=1; exec {" ".join(ALONE)} /bin/bash "$0"; }}'
    return {
        "scheduler": "slurm",
        "max_jobs": 2,
        "signal_s": 30,
        "setup": [begin, f"if {probe}; then echo reached the database; else echo cut off; fi"],
        "classes": {"all": {"kinds": "rest", "wall_time": "00:05:00", "memory_gb": 0.5}},
    }


def submitted(cli: Cli, tmp_path: Path, cluster: dict[str, Any], engine: str = "emt", **changes: Any) -> None:
    small_campaign(tmp_path, **changes)
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(cluster))
    place = ("--launchpad", "my_launchpad.yaml", "--root", "root")
    assert cli("submit", "small.yaml", "--engine", engine, *place).returncode == 0


def logs(tmp_path: Path) -> list[str]:
    """What the jobs printed; each was cut off, whatever else it did."""
    found = [path.read_text() for path in (tmp_path / "root" / "logs" / "jobs").glob("*.out")]
    assert found
    assert all("cut off" in log and "reached the database" not in log for log in found), found
    return found


def test_a_campaign_whose_jobs_reach_no_database(
    own_server: Mongod,
    slurm_cluster: Slurm,
    cut_off: dict[str, Any],
    finished: Finished,
    cli: Cli,
    warm: Warm,
    tmp_path: Path,
) -> None:
    """Host, sites, their choice and the DOS; the queue is killed in between. To the bit as without a queue."""
    submitted(cli, tmp_path, cut_off)
    watch = Watch(slurm_cluster)
    words = ["sodiate", "queue", *OPTIONS, "--offline", "--every", "0.5"]
    with watch.watching():
        first = warm.start(words, tmp_path)
        wait_until(lambda: any((tmp_path / "root" / "offline").glob("*/begun.json")))
        first.kill()
        wait_until(lambda: len(list((tmp_path / "root" / "offline").glob("*/result.json"))) >= 2)
        second = cli(*words[1:], timeout=280)
    assert second.returncode == 0, second.stdout + second.stderr
    assert second.stdout.splitlines()[-1] == "6 recorded"
    assert second.stderr == ""
    assert max(watch.counts) <= 2
    assert Counter(line.split(":")[0].split()[0] for log in logs(tmp_path) for line in log.splitlines()) == {
        "cut": 5,
        "completed": 5,
    }
    with MongoClient[dict[str, Any]]("127.0.0.1", own_server.port) as client:
        db = client["trial"]
        assert {attempt["outcome"] for attempt in db["attempts"].find()} == {"completed"}
        mine = {record["calculation"]: record["digest"] for record in db["records"].find()}
        assert db["calculations"].count_documents({"lease": {"$ne": None}}) == 0
    with Results.open(finished.launchpad) as here:
        names = ["Na", "WSSe+VS", "WSSe+VS/dos", "WSSe+VS/V_S@top", "WSSe+VS/T_W@bottom", "WSSe+VS/lowest"]
        assert mine == {here[name].record.calculation: here[name].record.digest for name in names}


def test_a_job_without_a_folder_says_that_it_reaches_no_database(
    own_server: Mongod, cut_off: dict[str, Any], cli: Cli, tmp_path: Path
) -> None:
    """The proof that the jobs are cut off: the command that needs the database, in such a network."""
    submitted(cli, tmp_path, cut_off)
    program = Path(sys.executable).with_name("sodiate")
    command = [*ALONE, str(program), "status", "--launchpad", "my_launchpad.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert f"no MongoDB answers at 127.0.0.1:{own_server.port}" in done.stderr


def test_an_offline_job_that_is_killed_goes_on_in_the_next(
    own_server: Mongod,
    slurm_cluster: Slurm,
    cut_off: dict[str, Any],
    vasp: Path,
    finished: Finished,
    cli: Cli,
    tmp_path: Path,
) -> None:
    """kill -9 of a job in the middle of its relaxation; what its folder holds is gone on from, by the next job."""
    env = {"vasp_std": str(vasp / "vasp_std"), "vasp_gam": str(vasp / "vasp_gam")}
    env["potcars"] = os.environ["PMG_VASP_PSP_DIR"]
    submitted(cli, tmp_path, {**cut_off, "env": env}, "vasp", sites=["V_S@top"])
    install(vasp, Behaviour(seconds_per_step=1.0))
    assert cli("queue", *OPTIONS, "--offline", "--once").stdout.count("job ") == 2
    folders = tmp_path / "root" / "offline"
    wait_until(lambda: any(folders.glob("*/WSSe+VS-*/CONTCAR")), 120)
    told = cli("queue", *OPTIONS, "--offline", "--once")
    assert told.returncode == 0, told.stderr
    told = cli("status", "--launchpad", "my_launchpad.yaml", "--root", "root", "--cluster", "cluster.yaml")
    assert "WSSe+VS: running offline" in told.stdout
    (folder,) = (path.parent.parent for path in folders.glob("*/WSSe+VS-*/CONTCAR"))
    os.kill(json.loads((folder / "begun.json").read_text())["pid"], signal.SIGKILL)
    wait_until(lambda: folder.name not in slurm_cluster.call("squeue", "-h", "-t", "R,CG", "-o", "%j"))
    assert not (folder / "result.json").exists()
    install(vasp)
    done = cli("queue", *OPTIONS, "--offline", "--every", "1", timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    logs(tmp_path)
    with Results.open(tmp_path / "my_launchpad.yaml") as results:
        table = results.adsorption().set_index("site")["adsorption_energy_ev"]
        assert results["WSSe+VS"].record.provenance.launches == 2
        notes = " ".join(results["WSSe+VS/dos"].record.notes)
        assert "self-consistent on the denser mesh" not in notes  # it had the host's density
    with Results.open(finished.launchpad) as results:
        dry = results.adsorption().set_index("site")["adsorption_energy_ev"]
    assert table["V_S@top"] == pytest.approx(dry["V_S@top"], abs=1e-3)
    with MongoClient[dict[str, Any]]("127.0.0.1", own_server.port) as client:
        attempts = list(client["trial"]["attempts"].find({"label": "WSSe+VS"}).sort("started", 1))
    assert [attempt["outcome"] for attempt in attempts] == ["lost", "completed"]
    assert re.match(r"its job ended without a word \(job \d+: FAILED\)", attempts[0]["reason"])


def test_a_class_that_packs_is_refused(cli: Cli, tmp_path: Path) -> None:
    """Its jobs take calculations from the database."""
    cluster = {
        "scheduler": "slurm",
        "max_jobs": 2,
        "classes": {"all": {"kinds": "rest", "wall_time": "00:15:00", "tasks": 4, "pack": 4}},
    }
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(cluster))
    done = cli("queue", *OPTIONS, "--offline")
    assert done.returncode == 2
    assert "classes.all: pack: its jobs take calculations from the database" in done.stderr
