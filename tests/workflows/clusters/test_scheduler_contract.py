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
from sodiate.workflows.clusters import scheduler as module
from sodiate.workflows.clusters.cluster_file import ClusterFile, load_cluster
from sodiate.workflows.clusters.job import script, seconds_left
from sodiate.workflows.clusters.lsf import Lsf
from sodiate.workflows.clusters.pbs import Pbs
from sodiate.workflows.clusters.registry import SCHEDULERS, on_login_node
from sodiate.workflows.clusters.scheduler import Full, NoAnswer, Request, Scheduler, SchedulerError
from sodiate.workflows.clusters.slurm import Slurm
from sodiate.workflows.kinds import KINDS
from support import CHECKOUT, DOCS

GUIDE = (DOCS / "developers" / "add-a-scheduler.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.S)


@dataclass(frozen=True)
class Case:
    """A scheduler, and what its commands print: to a job that is submitted, and of job 4711, which is live.

    Further: how a wall time of 12:34:56 is asked for, and the command that lists jobs.
    """

    scheduler: Scheduler
    submitted: str
    listed: str
    state: str
    wall_time: str = "12:34:56"
    list_command: str | None = None

    @property
    def submit_program(self) -> str:
        return self.scheduler.submit_command[0]

    @property
    def list_program(self) -> str:
        return self.list_command or self.scheduler.ask_command[0]


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
    Case(Slurm(), "4711\n", "4711|RUNNING|None|WSSe.sdabcde-3\n4712|FAILED|NonZeroExitCode|x\n", "RUNNING"),
    Case(
        Pbs(),
        "4711.server\n",
        "Job id  Name User Time S Queue\n------\n4711.server sdabcde-3 me 0 R long\n4712.server x me 0 F long\n",
        "R",
    ),
    Case(
        Lsf(),
        "Job <4711> is submitted to queue <normal>.\n",
        "4711|RUN|WSSe.sdabcde-3|-\n4712|EXIT|x|-\n",
        "RUN",
        wall_time="-W 12:35",
        list_command="bjobs",
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
    assert case.wall_time in " ".join(lines)
    assert "/logs/" in " ".join(lines)
    plain = case.scheduler.header(replace(REQUEST, queue=None, account=None))
    assert len(plain) == len(lines) - 2
    assert "None" not in " ".join(plain)
    assert "mem" in " ".join(lines)
    assert not re.search("mem|None", " ".join(case.scheduler.header(replace(REQUEST, memory_gb=None))))


def test_the_header_says_more_where_it_is_asked_to(case: Case) -> None:
    """GPUs a node, whole nodes, tasks a node; and a site's own options, which come last and so count."""
    wanted = replace(REQUEST, tasks_per_node=32, gpus=4, exclusive=True, options=("-U standing", "-z"))
    lines = case.scheduler.header(wanted)
    assert [line.partition(" ")[2] for line in lines[-2:]] == ["-U standing", "-z"]
    assert "4" in re.findall(r"gpus?\w*[=\s\w-]*?\D(\d+)|num=(\d+)", " ".join(lines))[0]
    assert "excl" in " ".join(lines) or "#BSUB -x" in lines
    assert "None" not in " ".join(lines)


def test_names_end_with_the_tag_also_where_they_are_cut(case: Case) -> None:
    lines = case.scheduler.header(replace(REQUEST, name="WSSe+VS_V_S_top_and_more.sdabcde-1234567"))
    words = " ".join(lines).replace("=", " ").split()
    assert any(word.endswith("sdabcde-1234567") for word in words)


def test_the_script_is_one_that_a_shell_reads(case: Case, tmp_path: Path) -> None:
    """Directives stand before the first command: schedulers read no further."""
    cluster = cluster_of(case, tmp_path)
    assert cluster.scheduler is case.scheduler
    text = script(cluster, "all", "WSSe_V_S", 10.0, ["sodiate", "worker", "--root", "a b"], tmp_path)
    lines = text.splitlines()
    count = len(case.scheduler.header(REQUEST)) - 1  # this cluster names no queue
    assert lines[0] == "#!/bin/bash"
    assert all(line.startswith("#") for line in lines[1 : count + 1])
    exports = [line for line in lines if line.startswith("export ")]
    assert "export OMP_NUM_THREADS=1" in exports
    begun = [line for line in lines[count + 1 :] if not line.startswith(("[", "export "))]
    assert begun == ["", "module load vasp/6", "ulimit -s unlimited", "exec sodiate worker --root 'a b'"]
    path = tmp_path / "job.sh"
    path.write_text(text)
    subprocess.run(["bash", "-n", str(path)], check=True)


def test_a_job_is_submitted_and_followed(case: Case, programs: Path, tmp_path: Path) -> None:
    scheduler = case.scheduler
    install(programs, case.list_program, case.listed)
    install(programs, case.submit_program, case.submitted)
    (tmp_path / "job.sh").touch()
    assert scheduler.submit(tmp_path / "job.sh") == "4711"
    assert [job.tag for job in scheduler.listed() if job.number == "4711"] == ["sdabcde-3"]
    states = scheduler.states(["4711", "4712", "4713"])
    assert (states["4711"], states["4713"]) == (case.state, "gone")
    assert [scheduler.is_live(state) for state in states.values()] == [True, False, False]
    assert scheduler.states([]) == {}


def test_its_own_words_are_handed_on(case: Case, programs: Path, tmp_path: Path) -> None:
    scheduler = case.scheduler
    (tmp_path / "job.sh").touch()
    with pytest.raises(SchedulerError, match=f"{case.submit_program} is not found here"):
        scheduler.submit(tmp_path / "job.sh")
    install(programs, case.submit_program, err="no such account", code=1)
    with pytest.raises(SchedulerError, match=f"{case.submit_program} refused .*job.sh: no such account") as refusal:
        scheduler.submit(tmp_path / "job.sh")
    assert type(refusal.value) is SchedulerError
    install(programs, case.list_program, err="no server", code=1)
    with pytest.raises(NoAnswer, match=f"{case.list_program}: no server"):
        scheduler.states(["4711"])


BANNER = """Welcome to the Stampede3 Supercomputer, node login4.stampede3(1017)

 --> Verifying valid submit host (login4)...OK
 --> Checking available allocation (TG-12345)...OK: 12% of 500 project hours used
"""
"""Lines that sites print before (and schedulers on the same stream as) the number of a job."""


def test_the_number_is_that_of_the_job_whatever_a_site_prints(case: Case, programs: Path, tmp_path: Path) -> None:
    scheduler = case.scheduler
    (tmp_path / "job.sh").touch()
    install(programs, case.submit_program, BANNER + case.submitted)
    assert scheduler.submit(tmp_path / "job.sh") == "4711"
    install(programs, case.submit_program, BANNER)
    with pytest.raises(NoAnswer, match=r"(?s)printed no number of a job: Welcome to the Stampede3"):
        scheduler.submit(tmp_path / "job.sh")


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation", NoAnswer),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", NoAnswer),
        ("Connection refused\nqsub: cannot connect to server pbs (errno=111)", NoAnswer),
        ("Failed in LSF library call: Communication time out", NoAnswer),
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit", Full),
        ("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", Full),
        ("qsub: would exceed queue generic's per-user limit", Full),
        ("sbatch: error: Requested time limit is invalid (missing or exceeds some limit)", SchedulerError),
        ("sbatch: error: invalid partition specified: standard", SchedulerError),
    ],
)
def test_refusals_are_told_from_silence(words: str, kind: type[SchedulerError], programs: Path) -> None:
    """After silence a job may be there all the same; a full queue has room later; a refusal stays one."""
    install(programs, "sbatch", err=words, code=1)
    with pytest.raises(SchedulerError) as error:
        Slurm().submit(programs / "job.sh")
    assert type(error.value) is kind


def test_a_call_that_takes_too_long_is_no_answer(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (programs / "squeue").write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    (programs / "squeue").chmod(0o755)
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.3)
    with pytest.raises(NoAnswer, match="squeue gave no answer within"):
        Slurm().listed()


def test_only_states_that_end_a_job_are_listed() -> None:
    """SLURM's own list of job states (squeue(1), JOB STATE CODES) without those that end; and words of later ones."""
    alive = "CONFIGURING COMPLETING PENDING PREEMPTED RUNNING RESV_DEL_HOLD REQUEUE_FED REQUEUE_HOLD REQUEUED"
    alive += " RESIZING SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED SUSPENDED EXPEDITING POWER_UP_NODE"
    over = "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY REVOKED TIMEOUT"
    assert all(map(Slurm().is_live, alive.split()))
    assert not any(map(Slurm().is_live, over.split()))
    assert all(map(Pbs().is_live, "QRHWTESBMU"))
    assert not any(map(Pbs().is_live, "FCX"))
    assert all(map(Lsf().is_live, ("PEND", "RUN", "PSUSP", "USUSP", "SSUSP", "WAIT", "UNKWN", "ZOMBI")))
    assert not any(map(Lsf().is_live, ("DONE", "EXIT")))


def test_a_login_node_is_where_it_answers_and_no_job_runs(
    case: Case, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = case.scheduler
    assert on_login_node() is None
    install(programs, case.submit_program)
    install(programs, scheduler.ask_command[0], err="no server", code=1)
    assert on_login_node() is None
    install(programs, scheduler.ask_command[0])
    assert on_login_node() == case.submit_program
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
    own = {"slurm.py", "pbs.py", "lsf.py", "registry.py"}
    words = re.compile(r"slurm|\bpbs|sbatch|squeue|\bqsub|\bqstat|\blsf|\bbsub|\bbjobs", re.IGNORECASE)
    paths = [path for part in ("workflows", "analysis", "structures") for path in (folder / part).rglob("*.py")]
    assert own <= {path.name for path in paths}
    named = {path.name for path in paths if words.search(path.read_text(encoding="utf-8"))}
    assert named - own - {path.name for path in (folder / "workflows" / "cli").iterdir()} == set()
