"""Cluster files, job scripts, and what schedulers say: by their documented directives, with stand-ins for PBS."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.cli.cost_view import cores_by_kind
from sodiate.workflows.clusters.cluster_file import ClusterFile, load_cluster
from sodiate.workflows.clusters.job import script, seconds_left
from sodiate.workflows.clusters.pbs import Pbs
from sodiate.workflows.clusters.registry import on_login_node
from sodiate.workflows.clusters.scheduler import SchedulerError
from sodiate.workflows.clusters.slurm import Slurm
from sodiate.workflows.engines.shared.commands import NO_MEMORY
from sodiate.workflows.kinds import KINDS, Kind
from support import CHECKOUT
from support.cli import Cli
from support.slurm import Slurm as Cluster

ALL = list(KINDS)


def cluster(**changes: Any) -> ClusterFile:
    one = {"kinds": ALL, "tasks": 8, "wall_time": "01:30:00", "memory_gb": 10}
    return ClusterFile.model_validate({"scheduler": "slurm", "max_jobs": 2, "classes": {"all": one}} | changes)


def packed(**changes: Any) -> dict[str, Any]:
    return {"classes": {"a": {"kinds": ALL, "wall_time": "01:00:00", "tasks": 8, **changes}}}


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Make a stand-in for a command, that prints and exits as told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, out: str = "", code: int = 0, err: str = "") -> Path:
        path = folder / name
        note = f"pathlib.Path({str(folder / 'asked')!r}).open('a').write(' '.join(sys.argv) + '\\n')"
        says = f"print({out!r}, end='')\nprint({err!r}, end='', file=sys.stderr)\nsys.exit({code})"
        path.write_text(f"#!{sys.executable}\nimport pathlib\nimport sys\n{note}\n{says}\n")
        path.chmod(0o755)
        return folder / "asked"

    return make


@pytest.mark.parametrize("name", ["slurm", "pbs"])
def test_the_bundled_files_are_valid(name: str) -> None:
    found = load_cluster(Path(name))
    assert found.scheduler.name == name
    assert sorted(kind for name in found.classes for kind in found.kinds(name)) == sorted(KINDS)
    assert found.environment("large")["incar"] == {"NCORE": 8, "KPAR": 2}
    assert found.environment("large")["vasp_std"].endswith("vasp_std")


SITES = {
    "perlmutter-cpu": (
        "--constraint=cpu --qos=regular --account=m0000 --ntasks-per-node=128 --ntasks=128 --cpus-per-task=2",
        "export OMP_NUM_THREADS=1",
    ),
    "perlmutter-gpu": (
        "--constraint=gpu --qos=regular --account=m0000_g --gpus-per-node=4 --ntasks-per-node=4 --cpus-per-task=32",
        "export OMP_NUM_THREADS=8",
    ),
    "lumi-c": (
        "--partition=standard --account=project_465000000 --exclusive --ntasks-per-node=128 --time=24:00:00",
        "export SRUN_CPUS_PER_TASK=1",
    ),
    "archer2": ("--partition=standard --qos=standard --account=e00-chem --ntasks-per-node=128", "module load vasp/6"),
    "stampede3": ("--partition=skx --nodes=1 --ntasks=48 --account=TG-ABC123456", "module load vasp/6.4.3"),
    "debian-slurm": ("--ntasks=8 --mem=32768M --time=48:00:00", "export OMP_NUM_THREADS=1"),
    "pbs-pro": (
        "select=1:ncpus=64:mpiprocs=64:mem=204800mb walltime=36:00:00 place=scatter:excl",
        "cd $PBS_O_WORKDIR",
    ),
    "openpbs": ("select=1:ncpus=16:mpiprocs=16:mem=32768mb walltime=24:00:00 workq", "export OMP_NUM_THREADS=1"),
    "lsf": ("-n 32 24:00 span[ptile=32]", "export OMP_NUM_THREADS=1"),
}
"""What each site's own pages show in a job of its large class: directives, and a line of the script."""


@pytest.mark.parametrize("name", SITES)
def test_the_worked_files_ask_for_what_their_sites_document(name: str, tmp_path: Path) -> None:
    found = load_cluster(Path(name))
    assert sorted(kind for one in found.classes for kind in found.kinds(one)) == sorted(KINDS)
    directives, line = SITES[name]
    text = script(found, "large", "x.sdabcde-1", found.resources("large").memory_gb, ["sodiate"], tmp_path)
    head = [one for one in text.splitlines() if one.startswith("#")]
    words = " ".join(head).replace('"', " ").split()
    assert {*directives.split()} <= {*words}
    body = [one for one in text.splitlines() if not one.startswith("#")]
    assert line in body
    last = [one for one in body if one.startswith("export OMP_NUM_THREADS")][-1]
    assert not line.startswith("export OMP") or last == line  # what a file sets up counts, not the default before it
    if name in ("perlmutter-cpu", "perlmutter-gpu", "archer2", "stampede3"):
        assert "--mem" not in text
    (tmp_path / "job.sh").write_text(text)
    subprocess.run(["bash", "-n", str(tmp_path / "job.sh")], check=True)
    large = found.resources("large")
    assert cores_by_kind(found)["relax"] == large.all_tasks * large.cpus_per_task / large.pack


def test_each_bundled_file_is_looked_at() -> None:
    names = {path.stem for path in (CHECKOUT / "configs" / "clusters").glob("*.yaml")}
    assert names == {*SITES, "slurm", "pbs"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scheduller": "slurm"}, "unknown key 'scheduller'.*scheduler"),
        ({"scheduler": "moab"}, "scheduler: 'moab' should be 'slurm' or 'pbs' or 'lsf'[.]"),
        ({"scheduler": "slrum"}, "should be 'slurm' or 'pbs' or 'lsf' .did you mean 'slurm'."),
        ({"options": ["qos=regular"]}, "'qos=regular' is no option of a scheduler.*--qos=regular"),
        ({"options": ["--qos=a\n#SBATCH --time=1"]}, "is no option of a scheduler"),
        ({"max_jobs": 0}, "max_jobs"),
        ({"signal_s": 3000}, "classes.all: calculations are ended signal_s .3000 s. before"),
        ({"env": {"vasp": "srun vasp_std"}}, "unknown key 'env.vasp'.*vasp_std"),
        ({"env": {"incar": {"ISMEAR": 1}}}, "ISMEAR may change a number.*campaign's incar"),
        ({"env": {"gpaw_command": "mpiexec -n {cores} gpaw python run.py"}}, r"env.gpaw_command: .*\{cores\} is not"),
        ({"env": {"gpaw_command": ""}}, "env.gpaw_command: .*it is empty"),
        ({"env": {"gpaw_command": "mpiexec -n {ranks} gpaw python"}}, "lacks the script.*gpaw python run.py"),
        ({"env": {"vasp_std": "module load vasp && srun vasp_std"}}, "env.vasp_std: .*begins with module.*`setup`"),
        ({"env": {"keep": ["PROCAR"]}}, "keep"),
        ({"classes": {"a": {"kinds": ["relax"], "wall_time": "01:00:00", "memory_gb": 1}}}, "no class has the kind"),
        (
            {"classes": {"a": {"kinds": ["relaxx"], "wall_time": "01:00:00", "memory_gb": 1}}},
            "'relaxx' is no kind.*relax",
        ),
        ({"classes": {"a": {"kinds": ALL, "wall_time": 3600, "memory_gb": 1}}}, "wall_time"),
        (
            {"classes": {"a": {"kinds": ALL, "wall_time": "01:00:00", "nodes": 2, "tasks": 9, "tasks_per_node": 4}}},
            "tasks: 9 in all, but 2 nodes with 4 tasks_per_node hold 8",
        ),
        (
            {"classes": {"a": {"kinds": ALL, "wall_time": "01:00:00", "memory_max_gb": 4}}},
            "memory_max_gb: it limits memory_gb, which is not there",
        ),
        ({"classes": {"a": {"kinds": ALL, "wall_time": "1 hour", "memory_gb": 1}}}, "'1 hour' is no time"),
        (packed(pack=0), "pack.*greater than or equal to 1"),
        (packed(pack=16), "pack: 16 calculations side by side, but 8 cores in all .tasks × cpus_per_task."),
        (
            packed(pack=2, tasks=1, exclusive=True),
            "2 calculations side by side, but 1 core in all.*'exclusive' does not say how many",
        ),
        (packed(pack=3), "pack: 8 tasks are shared by 3 calculations; make tasks a multiple of pack"),
        (packed(pack=4, tasks=4, cpus_per_task=2, gpus=2), "pack: 2 GPUs in all .*evenly by 4.*'pack: 2' gives one"),
        (packed(pack=4, nodes=2, gpus=1), "pack: 2 GPUs in all cannot be shared evenly by 4 calculations"),
        (packed(pack=4, nodes=3, tasks=12), "4 calculations with 12 tasks cannot share 3 nodes evenly"),
        (packed(pack=8, nodes=3), "8 calculations with 8 tasks cannot share 3 nodes evenly"),
        (packed(pack=2, nodes=2) | {"scheduler": "pbs"}, "classes.a: pack on 2 nodes: with pbs .*'nodes: 1'"),
    ],
)
def test_cluster_files_that_are_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    one = {"kinds": ALL, "wall_time": "01:30:00", "memory_gb": 10}
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump({"scheduler": "slurm", "max_jobs": 2, "classes": {"all": one}} | changes))
    with pytest.raises(InputError, match=f"(?s)cluster.yaml.*{words}"):
        load_cluster(path)


def test_a_kind_in_two_classes_is_refused(tmp_path: Path) -> None:
    one = {"kinds": ALL, "wall_time": "01:30:00", "memory_gb": 10}
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump({"scheduler": "slurm", "max_jobs": 2, "classes": {"a": one, "b": one}}))
    with pytest.raises(InputError, match=r"relax.* belongs to two classes"):
        load_cluster(path)


def test_a_class_may_take_the_rest(tmp_path: Path) -> None:
    """A kind that a later sodiate adds breaks no cluster file that has ``kinds: rest``."""
    small, rest = ({"kinds": kinds, "wall_time": "01:30:00", "memory_gb": 10} for kinds in (["atom", "bulk"], "rest"))
    path = tmp_path / "cluster.yaml"

    def load(**classes: Any) -> ClusterFile:
        path.write_text(yaml.safe_dump({"scheduler": "slurm", "max_jobs": 2, "classes": classes}))
        return load_cluster(path)

    found = load(a=small, b=rest)
    assert found.kinds("a") == ("atom", "bulk")
    assert set(found.kinds("b")) == set(KINDS) - {"atom", "bulk"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KINDS, "barrier", Kind("barrier"))
        assert "barrier" in load(a=small, b=rest).kinds("b")
        with pytest.raises(InputError, match=r"no class has the kind barrier; .*kinds: rest"):
            load(a=small, b={**rest, "kinds": [kind for kind in ALL if kind not in found.kinds("a")]})
    with pytest.raises(InputError, match="two classes have 'kinds: rest'"):
        load(a=rest, b=rest)
    with pytest.raises(InputError, match="should be a list of kinds, or rest"):
        load(a={**rest, "kinds": "everything"})


def test_a_slurm_script_hands_the_signal_on() -> None:
    text = script(cluster(modules=["vasp/6"], setup=["ulimit -s unlimited"], account="b"), "all", "WSe2", 15.0,
                  ["sodiate", "worker", "--root", "a b"], Path("/logs"))  # fmt: skip
    lines = text.splitlines()
    assert lines[0] == "#!/bin/bash"
    for directive in ("--ntasks=8", "--time=01:30:00", "--mem=15360M", "--signal=B:USR1@300", "--account=b"):
        assert f"#SBATCH {directive}" in lines
    commands = [line for line in lines[-7:] if not line.startswith("[")]
    assert commands[-3:] == ["module load vasp/6", "ulimit -s unlimited", "exec sodiate worker --root 'a b'"]


def test_a_line_that_fails_ends_the_job_and_is_named(tmp_path: Path) -> None:
    """As a module that is not there does, with any version of the module command that tells so by its exit code."""
    lines = ["module() { test $2 = vasp/6; }", "source there.sh", "export HERE=yes  # a comment", "echo ready"]
    (tmp_path / "there.sh").write_text("false\ntrue\n")
    for modules, setup, ends in (
        (["vasp/6"], [], "HERE=yes\n"),
        (["vasp/7"], [], "a line of its cluster file failed: module load vasp/7"),
        ([], ["source 'gone'.sh"], "a line of its cluster file failed: source 'gone'.sh"),
    ):
        text = script(cluster(modules=modules, setup=setup), "all", "x", None, ["env"], tmp_path)
        start = text.index("export OMP_NUM_THREADS")
        path = tmp_path / "job.sh"
        path.write_text(text[:start] + "\n".join([*lines, text[start:]]))
        done = subprocess.run(["bash", str(path)], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert (done.returncode == 0) == (ends == "HERE=yes\n")
        assert ends in done.stdout + done.stderr
        if done.returncode:
            assert done.returncode == 78
            assert "HERE" not in done.stdout


def test_threads_are_told_to_the_codes_and_to_srun() -> None:
    """From 22.05 on srun does not take --cpus-per-task from the job: SLURM's release notes."""
    one = {"kinds": ALL, "tasks": 8, "cpus_per_task": 4, "wall_time": "01:30:00"}
    text = script(cluster(classes={"all": one}), "all", "x", None, ["sodiate"], Path("/logs"))
    lines = text.splitlines()
    assert {"export OMP_NUM_THREADS=4", "export SRUN_CPUS_PER_TASK=4", "#SBATCH --cpus-per-task=4"} <= set(lines)
    assert "--mem" not in text


@pytest.mark.parametrize("name", ["slurm", "pbs"])
def test_a_day_is_24_hours_also_where_there_are_no_days(name: str) -> None:
    """PBS refuses 1-12:00:00 (qsub: Illegal attribute or resource value); SLURM reads 36 hours as well."""
    one = {"kinds": ALL, "wall_time": "1-12:00:00", "memory_gb": 1}
    text = script(cluster(scheduler=name, classes={"all": one}), "all", "x", 1.0, ["sodiate"], Path("/logs"))
    assert "36:00:00" in text
    assert "1-12" not in text


def test_a_sites_own_selection_replaces_ours() -> None:
    one = {"kinds": ALL, "nodes": 2, "tasks_per_node": 40, "exclusive": True, "wall_time": "01:00:00"}
    ours = script(cluster(scheduler="pbs", classes={"all": one}), "all", "x", None, ["s"], Path("/logs"))
    assert "#PBS -l select=2:ncpus=40:mpiprocs=40\n" in ours
    assert "#PBS -l place=scatter:excl" in ours
    theirs = one | {"options": ["-l select=2:ncpus=40:mpiprocs=40:model=cas_ait"]}
    text = script(cluster(scheduler="pbs", classes={"all": theirs}), "all", "x", None, ["s"], Path("/logs"))
    assert text.count("-l select=") == 1
    assert "model=cas_ait" in text


def test_a_pbs_script_has_the_documented_directives(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """PBS Professional's user guide: select with ncpus, mpiprocs and mem, walltime, -j oe, names of 15 letters."""
    one = {"kinds": ALL, "nodes": 2, "tasks": 64, "cpus_per_task": 2, "wall_time": "24:00:00", "memory_gb": 100}
    wanted = cluster(scheduler="pbs", classes={"all": one | {"queue": "long"}})
    text = script(wanted, "all", "WSSe+VS_V_S_top_long.sdabcde-17", 100.0, ["sodiate", "worker"], Path("/logs"))
    lines = text.splitlines()
    for directive in (
        "-N sdabcde-17",
        "-l select=2:ncpus=64:mpiprocs=32:ompthreads=2:mem=102400mb",
        "-l walltime=24:00:00",
    ):
        assert f"#PBS {directive}" in lines
    assert "#PBS -q long" in lines
    path = tmp_path / "job.sh"
    path.write_text(text)
    asked = command("qsub", "4711.server\n")
    assert Pbs().submit(path) == "4711"
    assert str(path) in asked.read_text()
    command(
        "qstat", "Job id  Name User Time S Queue\n------\n4711.server WSSe me 0 R long\n4712.server x me 0 C long\n"
    )
    found = Pbs().states(["4711", "4712", "4713"])
    assert found == {"4711": "R", "4712": "C", "4713": "gone"}
    assert [Pbs().is_live(state) for state in found.values()] == [True, False, False]


def test_a_refusal_is_in_the_schedulers_own_words(command, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    command("sbatch", err="sbatch: error: invalid account", code=1)
    with pytest.raises(SchedulerError, match=r"sbatch refused .*job.sh: sbatch: error: invalid account"):
        Slurm().submit(tmp_path / "job.sh")


def test_a_scheduler_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SchedulerError, match="qsub is not found here"):
        Pbs().submit(tmp_path / "job.sh")
    assert on_login_node() is None


def test_the_time_that_is_left(command) -> None:  # type: ignore[no-untyped-def]
    now = time.time()
    assert seconds_left(cluster(), "all", now - 60, {}) == pytest.approx(5340, abs=2)
    assert seconds_left(cluster(), "all", now, {"SLURM_JOB_END_TIME": str(int(now + 100))}) == pytest.approx(
        100, abs=2
    )
    command("squeue", "1-02:03:04\n")
    assert seconds_left(cluster(), "all", now, {"SLURM_JOB_ID": "7"}) == 93784.0


@pytest.mark.parametrize("words", ["slurmstepd: error: Detected 1 oom-kill event", "MemoryError", "Out Of Memory"])
def test_ends_for_want_of_memory_are_known(words: str) -> None:
    assert NO_MEMORY.search(words)
    assert not NO_MEMORY.search("stopped after step 3: SIGTERM")


def test_a_login_node_is_not_for_computing(slurm_cluster: Cluster, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    done = cli("run", "wsse", "--engine", "vasp", "--root", "root")
    assert done.returncode == 2
    assert "would compute on a login node" in done.stderr
    assert "--here" in done.stderr
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert on_login_node() is None
