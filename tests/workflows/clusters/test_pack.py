"""Several calculations side by side in one job of a real SLURM: their cores, and what ends or kills them."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from sodiate.workflows.database.connection import Database
from sodiate.workflows.results.results import Results
from support import slurm
from support.campaigns import Finished, small_campaign
from support.cli import Cli, wait_until
from support.fake_vasp import Behaviour, install
from support.slurm import Slurm

OPTIONS = ("--cluster", "cluster.yaml", "--launchpad", "my_launchpad.yaml", "--root", "root")
PLACE = OPTIONS[2:]

WRAPPER = """#!PYTHON
import json, os
seen = {"cpus": sorted(os.sched_getaffinity(0)), "environment": dict(os.environ)}
with open("LOG", "a") as log:
    log.write(json.dumps(seen) + "\\n")
os.execv("PROGRAM", ["PROGRAM"])
"""
"""Stands before VASP and writes down on what it runs."""


def wrapper(program: Path, log: Path) -> str:
    values = {"PYTHON": sys.executable, "LOG": str(log), "PROGRAM": str(program)}
    return re.sub("|".join(values), lambda found: values[found[0]], WRAPPER)


@pytest.fixture
def reached(database: Database, launchpad: Path, slurm_cluster: Slurm, tmp_path: Path) -> Database:
    """A database that jobs reach, and its launchpad file."""
    (tmp_path / "my_launchpad.yaml").write_bytes(launchpad.read_bytes())
    return database


def pack(tmp_path: Path, vasp: Path | None = None, launcher: str = "", **changes: Any) -> None:
    """Write a cluster file with one class, packed."""
    one = {"kinds": "rest", "tasks": 4, "pack": 4, "wall_time": "00:05:00", "memory_gb": 2, **changes}
    content: dict[str, Any] = {"scheduler": "slurm", "max_jobs": 2, "signal_s": 30, "classes": {"all": one}}
    if vasp is not None:
        content["env"] = {"potcars": os.environ["PMG_VASP_PSP_DIR"]}
        for name in ("vasp_std", "vasp_gam"):
            path = tmp_path / name
            path.write_text(wrapper(vasp / name, tmp_path / "seen"))
            path.chmod(0o755)
            content["env"][name] = f"{launcher}{path}"
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(content))


def seen(tmp_path: Path) -> list[dict[str, Any]]:
    """What each start of the code saw."""
    return [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]


def outcomes(database: Database) -> Counter[str]:
    return Counter(attempt["outcome"] for attempt in database.db["attempts"].find())


def submit(cli: Cli, engine: str = "emt") -> None:
    done = cli("submit", "small.yaml", "--engine", engine, *PLACE)
    assert done.returncode == 0, done.stderr


def queue(cli: Cli, *more: str, timeout: float = 250) -> str:
    done = cli("queue", *OPTIONS, *more, timeout=timeout)
    assert done.returncode == 0, done.stdout + done.stderr + cli("status", *PLACE).stdout
    return done.stdout


def logs(tmp_path: Path) -> str:
    return "".join(path.read_text() for path in (tmp_path / "root" / "logs" / "jobs").glob("*.out"))


def test_a_packed_campaign(reached: Database, finished: Finished, cli: Cli, tmp_path: Path) -> None:
    """The table is that of a run without a queue; each was computed once, in a process of its own; two jobs do it."""
    small_campaign(tmp_path)
    pack(tmp_path)
    submit(cli)
    printed = queue(cli, "--every", "1")
    assert printed.splitlines()[-1] == "6 recorded"
    assert outcomes(reached) == {"completed": 6}
    assert len(reached.db["attempts"].distinct("pid")) == 6
    assert printed.count("job ") < 6
    with Results.open(tmp_path / "my_launchpad.yaml") as there, Results.open(finished.launchpad) as here:
        assert there.adsorption()["adsorption_energy_ev"].tolist() == pytest.approx(
            here.adsorption()["adsorption_energy_ev"].tolist(), abs=1e-9
        )
    assert "Traceback" not in logs(tmp_path)


def test_each_has_cores_of_its_own_and_what_kills_one_leaves_the_others(
    reached: Database, slurm_cluster: Slurm, vasp: Path, finished: Finished, cli: Cli, tmp_path: Path
) -> None:
    """Two side by side, bound; one is killed, the other goes on; then the scheduler's signal; nothing is lost."""
    small_campaign(tmp_path, quantities=[])
    install(vasp, Behaviour(seconds_per_step=2.0, where="@"))
    pack(tmp_path, vasp, tasks=2, pack=2)
    submit(cli, "vasp")
    attempts = reached.db["attempts"]
    assert queue(cli, "--once", "--max-jobs", "1").count("job ") == 1
    wait_until(lambda: attempts.count_documents({"outcome": "running", "label": {"$regex": "@"}}) == 2, 90)
    (number,) = slurm_cluster.call("squeue", "-h", "-t", "R", "-o", "%i").split()
    told = cli("status", *PLACE, "--cluster", "cluster.yaml").stdout
    assert "class all: 2 calculations side by side in a job, 1 core for each" in told
    assert re.search(rf"job {number} RUNNING: .*, .* \(2 side by side\)", told), told
    killed, other = attempts.find({"outcome": "running"}).sort("label", -1)
    os.kill(killed["pid"], signal.SIGKILL)
    wait_until(lambda: attempts.count_documents({"outcome": "lost"}) == 1)
    wait_until(lambda: "ended with signal SIGKILL; it is given back" in logs(tmp_path))
    assert attempts.count_documents({"_id": other["_id"], "outcome": {"$in": ["running", "completed"]}}) == 1
    slurm_cluster.call("scancel", "--signal=USR1", "--batch", number)
    wait_until(lambda: not slurm_cluster.call("squeue", "-h", "-t", "R,CG", "-o", "%i").split())
    assert "SIGUSR1" in logs(tmp_path)
    assert attempts.count_documents({"outcome": "running"}) == 0
    install(vasp)
    queue(cli, "--every", "1")
    count = outcomes(reached)
    assert (count["completed"], count["lost"], count["failed"]) == (5, 1, 0)
    assert reached.db["records"].count_documents({"state": "current"}) == 5
    with Results.open(tmp_path / "my_launchpad.yaml") as there, Results.open(finished.launchpad) as dry:
        tables = [one.adsorption().set_index("site")["adsorption_energy_ev"].to_dict() for one in (there, dry)]
    assert tables[0] == pytest.approx(tables[1], abs=1e-3)
    starts = seen(tmp_path)
    assert {tuple(one["cpus"]) for one in starts} <= {tuple(part) for part in halves()}
    assert {one["environment"]["OMP_NUM_THREADS"] for one in starts} == {"1"}
    assert {one["environment"]["SLURM_NTASKS"] for one in starts} == {"1"}


def halves() -> list[list[int]]:
    """The processors of this machine in two parts, as one job of two calculations has them; all if there is one."""
    cpus = sorted(os.sched_getaffinity(0))
    size = len(cpus) // 2
    return [cpus[:size], cpus[size : 2 * size]] if size else [cpus]


@pytest.mark.slow
def test_on_two_nodes_with_gpus_by_srun(
    database: Database,
    launchpad: Path,
    slurm_cluster: Slurm,
    vasp: Path,
    cli: Cli,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps at the same time have other GPUs, or are on the other node; SLURM counts their cores and memory."""
    (tmp_path / "my_launchpad.yaml").write_bytes(launchpad.read_bytes())
    small_campaign(tmp_path, quantities=[], models=["WSe2", "WSSe", "WSSe+VS", "WSSe+VSe"], sites=["T_W@top"])
    install(vasp, Behaviour(seconds_per_step=1.0))
    pack(tmp_path, vasp, nodes=2, tasks=4, cpus_per_task=2, gpus=2, pack=4, memory_gb=4, launcher="srun ")
    submit(cli, "vasp")
    with slurm.cluster(tmp_path_factory.mktemp("gpus"), "g", nodes=2, gpus=True) as cluster:
        monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
        queue(cli, "--every", "1", "--max-jobs", "1")
    starts = seen(tmp_path)
    places = [(one["environment"]["SLURMD_NODENAME"], one["environment"]["CUDA_VISIBLE_DEVICES"]) for one in starts]
    assert set(places) == {("g0", "0"), ("g0", "1"), ("g1", "0"), ("g1", "1")}
    for one in starts:
        told = {name: one["environment"][name] for name in ("SLURM_NTASKS", "SLURM_CPUS_PER_TASK", "SLURM_NNODES")}
        assert told == {"SLURM_NTASKS": "1", "SLURM_CPUS_PER_TASK": "2", "SLURM_NNODES": "1"}
        assert (one["environment"]["OMP_NUM_THREADS"], one["environment"]["SLURM_MEM_PER_NODE"]) == ("2", "2048")
    spans = [(one["started"], one["ended"]) for one in database.db["attempts"].find()]
    assert max(sum(began <= moment < ended for began, ended in spans) for moment, _ in spans) == 4
    assert "temporarily disabled" not in "".join(path.read_text() for path in (tmp_path / "root").glob("*/std*"))


@pytest.mark.slow  # minutes of waiting for SLURM's limits
@pytest.mark.timeout(900)
def test_two_packed_jobs_at_once_whose_wall_time_ends(
    reached: Database, slurm_cluster: Slurm, vasp: Path, finished: Finished, cli: Cli, tmp_path: Path
) -> None:
    """Two minutes each: calculations end in order before them, the next jobs go on, and each is recorded once.

    SLURM sends its signal up to a minute earlier than it is asked to.
    """
    small_campaign(tmp_path, quantities=[])
    install(vasp, Behaviour(seconds_per_step=5.0, where="@"))
    pack(tmp_path, vasp, tasks=2, pack=2, wall_time="00:02:00")
    submit(cli, "vasp")
    assert reached.db["fireworks"].count_documents({"state": "READY"}) == 2
    with ThreadPoolExecutor(2) as pool:  # two queues, too
        printed = list(pool.map(lambda one: queue(cli, "--every", one, timeout=700), ("1", "1.5")))
    assert all(out.splitlines()[-1] == "5 recorded" for out in printed)
    attempts = list(reached.db["attempts"].find())
    count = Counter(attempt["outcome"] for attempt in attempts)
    assert (count["completed"], count["failed"]) == (5, 0)
    assert count["stopped"] >= 1
    assert reached.db["records"].count_documents({"state": "current"}) == 5
    for attempt in attempts:  # one at a time works on a calculation
        same = [one for one in attempts if one["calculation"] == attempt["calculation"] and one != attempt]
        assert not any(one["started"] <= attempt["started"] < (one["ended"] or "") for one in same)
    states = Counter(slurm_cluster.call("squeue", "-h", "-t", "all", "-o", "%T").split())
    print(f"jobs {dict(states)}, attempts {dict(count)}", file=sys.stderr)
    assert set(states) <= {"COMPLETED", "COMPLETING", "RUNNING"}  # none was ended by its limit; the last one may end
    with Results.open(tmp_path / "my_launchpad.yaml") as there, Results.open(finished.launchpad) as dry:
        tables = [one.adsorption().set_index("site")["adsorption_energy_ev"].to_dict() for one in (there, dry)]
    assert tables[0] == pytest.approx(tables[1], abs=1e-3)
