"""What every scheduler owes, the example of docs/developers/add-a-scheduler.md among them; and that guide's files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest
import sodiate
import yaml
from sodiate.workflows.clusters.cluster_file import ClusterFile, load_cluster
from sodiate.workflows.clusters.job import script, seconds_left
from sodiate.workflows.clusters.pbs import Pbs
from sodiate.workflows.clusters.registry import SCHEDULERS, on_login_node
from sodiate.workflows.clusters.scheduler import Request, Scheduler, SchedulerError
from sodiate.workflows.clusters.slurm import Slurm
from sodiate.workflows.kinds import KINDS
from support import CHECKOUT, DOCS

GUIDE = (DOCS / "developers" / "add-a-scheduler.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.S)


@dataclass(frozen=True)
class Case:
    """A scheduler, and what its commands print: to a job that is submitted, and of job 4711, which is live."""

    scheduler: Scheduler
    submitted: str
    listed: str
    state: str


def guides_classes() -> dict[str, type[Scheduler]]:
    """The classes of the guide's file, as if it lay in the package."""
    module = ModuleType("sodiate.workflows.clusters.grid_engine")
    module.__package__ = "sodiate.workflows.clusters"
    exec(compile(BLOCKS[0], "add-a-scheduler.md", "exec"), module.__dict__)
    return {"GridEngine": module.GridEngine}


def guides_case() -> Case:
    case: Case = eval(BLOCKS[2], {"Case": Case, **guides_classes()})
    return case


CASES = [
    Case(Slurm(), "Submitted batch job 4711\n", "4711 RUNNING\n4712 FAILED\n", "RUNNING"),
    Case(
        Pbs(),
        "4711.server\n",
        "Job id  Name User Time S Queue\n------\n4711.server WSSe me 0 R long\n4712.server x me 0 F long\n",
        "R",
    ),
    guides_case(),
]


@pytest.fixture(params=CASES, ids=lambda case: case.scheduler.name)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    """A scheduler that is registered, if only for the test."""
    value: Case = request.param
    monkeypatch.setitem(SCHEDULERS, value.scheduler.name, value.scheduler)
    for scheduler in SCHEDULERS.values():
        monkeypatch.delenv(scheduler.job_variable, raising=False)
    return value


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, which has the stand-ins and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(programs: Path, name: str, out: str = "", err: str = "", code: int = 0) -> None:
    path = programs / name
    path.write_text(
        f"#!{sys.executable}\nimport sys\nprint({out!r}, end='')\nprint({err!r}, file=sys.stderr)\nsys.exit({code})\n"
    )
    path.chmod(0o755)


def cluster_of(case: Case, folder: Path) -> ClusterFile:
    everything = {"kinds": "rest", "tasks": 8, "wall_time": "01:30:00", "memory_gb": 10}
    content = {"scheduler": case.scheduler.name, "max_jobs": 2, "account": "b", "classes": {"all": everything}}
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump(content | {"modules": ["vasp/6"], "setup": ["ulimit -s unlimited"]}))
    return load_cluster(path)


REQUEST = Request("WSSe_V_S", 2, 64, 1, "12:34:56", 100.0, "long", "chem", 300, Path("/logs"))


def test_the_header_asks_for_what_is_wanted(case: Case) -> None:
    lines = case.scheduler.header(REQUEST)
    assert len({line.split()[0] for line in lines}) == 1
    assert all(line.startswith("#") for line in lines)
    asked = re.split(r"[\s=:]+", " ".join(lines))
    for word in ("WSSe_V_S", "long", "chem"):
        assert word in asked
    assert "12:34:56" in " ".join(lines)
    assert "/logs/" in " ".join(lines)
    plain = case.scheduler.header(replace(REQUEST, queue=None, account=None))
    assert len(plain) == len(lines) - 2
    assert "None" not in " ".join(plain)


def test_the_script_is_one_that_a_shell_reads(case: Case, tmp_path: Path) -> None:
    """Directives stand before the first command: schedulers read no further."""
    cluster = cluster_of(case, tmp_path)
    assert cluster.scheduler is case.scheduler
    text = script(cluster, "all", "WSSe_V_S", 10.0, ["sodiate", "worker", "--root", "a b"], tmp_path)
    lines = text.splitlines()
    count = len(case.scheduler.header(REQUEST)) - 1  # this cluster names no queue
    assert lines[0] == "#!/bin/bash"
    assert all(line.startswith("#") for line in lines[1 : count + 1])
    assert lines[count + 1 :] == ["", "module load vasp/6", "ulimit -s unlimited", "exec sodiate worker --root 'a b'"]
    path = tmp_path / "job.sh"
    path.write_text(text)
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_a_job_is_submitted_and_followed(case: Case, programs: Path, tmp_path: Path) -> None:
    scheduler = case.scheduler
    install(programs, scheduler.ask_command[0], case.listed)
    install(programs, scheduler.submit_command, case.submitted)
    assert scheduler.submit(tmp_path / "job.sh") == "4711"
    states = scheduler.states(["4711", "4712", "4713"])
    assert (states["4711"], states["4713"]) == (case.state, "gone")
    assert [scheduler.is_live(state) for state in states.values()] == [True, False, False]
    assert scheduler.states([]) == {}


def test_its_own_words_are_handed_on(case: Case, programs: Path, tmp_path: Path) -> None:
    scheduler = case.scheduler
    with pytest.raises(SchedulerError, match=f"{scheduler.submit_command} is not found here"):
        scheduler.submit(tmp_path / "job.sh")
    install(programs, scheduler.submit_command, err="no such account", code=1)
    with pytest.raises(SchedulerError, match=f"{scheduler.submit_command} refused .*job.sh: no such account"):
        scheduler.submit(tmp_path / "job.sh")
    install(programs, scheduler.ask_command[0], err="no server", code=1)
    with pytest.raises(SchedulerError, match=f"{scheduler.ask_command[0]}: no server"):
        scheduler.states(["4711"])


def test_a_login_node_is_where_it_answers_and_no_job_runs(
    case: Case, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = case.scheduler
    assert on_login_node() is None
    install(programs, scheduler.submit_command)
    install(programs, scheduler.ask_command[0], err="no server", code=1)
    assert on_login_node() is None
    install(programs, scheduler.ask_command[0])
    assert on_login_node() == scheduler.submit_command
    monkeypatch.setenv(scheduler.job_variable, "4711")
    assert on_login_node() is None


def test_without_its_word_the_wall_time_counts(case: Case, programs: Path, tmp_path: Path) -> None:
    assert os.environ["PATH"] == str(programs)
    assert seconds_left(cluster_of(case, tmp_path), "all", 0.0, {}) < 0
    assert set(KINDS) == set(cluster_of(case, tmp_path).kinds("all"))


def test_the_guides_list_of_files() -> None:
    """The first is the new one; the others are there, and name the schedulers of today."""
    new, *others = re.findall(r"^\| `([^`]+)` \|", GUIDE, re.M)
    assert not (CHECKOUT / new).exists()
    assert (CHECKOUT / new).parent.is_dir()
    for name in others:
        assert "slurm" in (CHECKOUT / name).read_text(encoding="utf-8").lower(), name
    assert BLOCKS[1].replace(", GridEngine()", "") in (CHECKOUT / "workflows/clusters/registry.py").read_text()


def test_no_scheduler_is_named_elsewhere() -> None:
    """Help texts of the command line aside, which show how a file is named."""
    folder = Path(sodiate.__file__).parent
    own = {"slurm.py", "pbs.py", "registry.py"}
    words = re.compile(r"slurm|\bpbs|sbatch|squeue|\bqsub|\bqstat", re.IGNORECASE)
    paths = [path for part in ("workflows", "analysis", "structures") for path in (folder / part).rglob("*.py")]
    assert own <= {path.name for path in paths}
    named = {path.name for path in paths if words.search(path.read_text(encoding="utf-8"))}
    assert named - own - {path.name for path in (folder / "workflows" / "cli").iterdir()} == set()
