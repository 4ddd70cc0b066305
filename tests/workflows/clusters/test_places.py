"""The places of a packed job: shares of cores that do not overlap, of GPUs, and what programs are told of theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sodiate.workflows.cli.cost_view import cores_by_kind, pack_lines
from sodiate.workflows.clusters.cluster_file import ClusterFile, ResourceClass
from sodiate.workflows.clusters.job import script
from sodiate.workflows.clusters.places import cores_of, is_confined, parted, places_of
from sodiate.workflows.clusters.registry import SCHEDULERS
from sodiate.workflows.clusters.scheduler import SchedulerError

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "64",
    "SLURM_MEM_PER_NODE": "64000",
    "SLURM_JOB_NUM_NODES": "1",
    "OMP_NUM_THREADS": "2",
    "SRUN_CPUS_PER_TASK": "2",
}
"""The environment of a job as SLURM 22.05 makes it, in short."""


def a_class(**changes: Any) -> ResourceClass:
    return ResourceClass.model_validate({"kinds": "rest", "wall_time": "01:00:00", "pack": 4, "tasks": 8} | changes)


def places(environment: dict[str, str] | None = None, cpus: range = range(8), **changes: Any) -> list[Any]:
    nowhere = Path("/nowhere")
    return places_of(a_class(**changes), SCHEDULERS["slurm"], environment or SLURM, cpus, nowhere)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sockets with two cores each, of two threads: as numbered on servers of one maker, 0 to 3 and again."""
    for cpu in range(8):
        folder = tmp_path / "sys/devices/system/cpu" / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{cpu % 2}\n")
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    return tmp_path


def test_the_threads_of_a_core_belong_to_one_calculation_and_the_cores_of_a_socket_together(root: Path) -> None:
    assert cores_of(range(8), root) == [(0, 4), (2, 6), (1, 5), (3, 7)]
    assert parted(cores_of(range(8), root), 2) == [{0, 4, 2, 6}, {1, 5, 3, 7}]
    assert cores_of([1, 5, 6], root) == [(6,), (1, 5)]


@pytest.mark.parametrize(("cpus", "pack"), [(8, 4), (8, 8), (128, 8), (13, 4)])
def test_parts_do_not_overlap_and_are_of_one_size(cpus: int, pack: int) -> None:
    parts = [place.cpus for place in places(cpus=range(cpus), tasks=128, pack=pack, exclusive=True)]
    assert len(parts) == pack
    assert {len(part) for part in parts} == {cpus // pack}
    assert len(frozenset().union(*parts)) == pack * (cpus // pack)


def test_what_may_be_another_jobs_is_not_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs on a node where the scheduler binds nothing would both take its first cores."""
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    assert not is_confined(a_class(), range(128))
    assert {place.cpus for place in places(cpus=range(128))} == {None}
    assert is_confined(a_class(exclusive=True), range(128))
    assert is_confined(a_class(), range(64, 72))  # the scheduler gave it these
    assert places(cpus=range(64, 72))[0].cpus == {64, 65}
    assert {place.cpus for place in places(cpus=range(3))} == {None}  # fewer cores than calculations


def test_programs_are_told_their_share() -> None:
    tasks = places(cpus=range(128), tasks=64, cpus_per_task=2, pack=8, memory_gb=62.5)
    for place in tasks:
        assert place.environment["SLURM_NTASKS"] == place.environment["SLURM_NTASKS_PER_NODE"] == "8"
        assert place.environment["SLURM_MEM_PER_NODE"] == "8000"
        assert (place.environment["OMP_NUM_THREADS"], place.environment["SLURM_EXACT"]) == ("2", "1")
        assert place.environment["SLURM_JOB_ID"] == "7"
        assert "CUDA_VISIBLE_DEVICES" not in place.environment
    pbs = places_of(a_class(), SCHEDULERS["pbs"], {"PBS_NODEFILE": "/x", "PBS_JOBID": "1.s", "A": "b"}, range(8))
    assert [{"A", "PBS_JOBID", "PBS_NODEFILE"} & set(place.environment) for place in pbs] == [{"A", "PBS_JOBID"}] * 4
    lsf = places_of(a_class(), SCHEDULERS["lsf"], {"LSB_HOSTS": "a a", "LSB_JOBID": "1"}, range(8))
    assert not any("LSB" in name for place in lsf for name in place.environment)


def test_each_calculation_sees_its_own_gpus() -> None:
    def shown(name: str, **values: Any) -> list[str | None]:
        environment = SLURM | values.pop("environment", {})
        return [place.environment.get(name) for place in places(environment, **values)]

    assert shown("CUDA_VISIBLE_DEVICES", gpus=4) == ["0", "1", "2", "3"]
    assert shown("SLURM_GPUS_PER_NODE", gpus=4) == ["1"] * 4
    given = {"CUDA_VISIBLE_DEVICES": "GPU-a,GPU-b,GPU-c,GPU-d"}  # by the scheduler, which may say names
    assert shown("CUDA_VISIBLE_DEVICES", gpus=4, environment=given) == ["GPU-a", "GPU-b", "GPU-c", "GPU-d"]
    assert shown("CUDA_VISIBLE_DEVICES", gpus=4, pack=2, environment=given) == ["GPU-a,GPU-b", "GPU-c,GPU-d"]
    other = {"ROCR_VISIBLE_DEVICES": "4,5,6,7"}
    assert shown("ROCR_VISIBLE_DEVICES", gpus=4, environment=other) == ["4", "5", "6", "7"]
    assert shown("CUDA_VISIBLE_DEVICES", gpus=4, environment=other) == [None] * 4
    with pytest.raises(SchedulerError, match=r"CUDA_VISIBLE_DEVICES=0,1: this job sees 2 GPUs, .*class says .* 4"):
        shown("CUDA_VISIBLE_DEVICES", gpus=4, environment={"CUDA_VISIBLE_DEVICES": "0,1"})


def test_ranks_of_two_calculations_are_not_bound_to_the_same_cores(gpaw: None) -> None:
    """By OpenMPI's mpiexec, which would bind the first rank of each to the node's first core."""
    every = sorted(os.sched_getaffinity(0))
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    for place in places_of(a_class(pack=2, tasks=2, exclusive=True), SCHEDULERS["slurm"], environment, every):
        words = ["mpiexec", "-n", "1", sys.executable, "-c", "import os; print(*os.sched_getaffinity(0))"]
        os.sched_setaffinity(0, place.cpus or every)
        try:
            done = subprocess.run(
                words, env=place.environment, capture_output=True, text=True, check=True, timeout=60
            )
        finally:
            os.sched_setaffinity(0, every)
        assert {int(word) for word in done.stdout.split()} == (place.cpus or {*every})


def test_on_several_nodes_srun_is_told_how_many_a_calculation_has() -> None:
    """Binding and GPUs there are SLURM's; the kernel's numbers are of the first node."""
    (one, *_) = places(nodes=2, tasks=8, gpus=2)
    assert (one.cpus, one.environment["SLURM_JOB_NUM_NODES"], one.environment["SLURM_NTASKS"]) == (None, "1", "2")
    assert (one.environment["SLURM_GPUS_PER_NODE"], one.environment["SLURM_MEM_PER_NODE"]) == ("1", "32000")
    assert "CUDA_VISIBLE_DEVICES" not in one.environment
    (large, *_) = places(nodes=4, tasks=64, pack=2)
    assert large.environment["SLURM_JOB_NUM_NODES"] == "2"
    assert large.environment["SLURM_TASKS_PER_NODE"] == "16(x2)"
    assert large.environment["SLURM_MEM_PER_NODE"] == "64000"


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_a_job_asks_for_all_and_a_calculation_counts_for_its_share(name: str, tmp_path: Path) -> None:
    classes = {
        "all": {"kinds": "rest", "tasks": 64, "cpus_per_task": 2, "pack": 8, "wall_time": "01:00:00", "gpus": 8}
    }
    cluster = ClusterFile.model_validate({"scheduler": name, "max_jobs": 2, "classes": classes})
    text = script(cluster, "all", "x.sdabcde-1", None, ["sodiate"], tmp_path)
    for wanted in {"slurm": ("--ntasks=64", "--ntasks-per-node=64", "--gpus-per-node=8")}.get(name, ("64",)):
        assert wanted in text
    assert set(cores_by_kind(cluster).values()) == {16}
    told = "class all: 8 calculations side by side in a job, 16 cores and 1 GPU for each"
    assert pack_lines(cluster) == [told]
