"""Cores, quotas and memory of machines that are written down here, and shares of workers that really run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sodiate.workflows.engines.shared import machine
from sodiate.workflows.engines.shared.machine import (
    available_cores,
    cpu_quota,
    free_memory_bytes,
    memory_bytes,
    physical_cores,
    share_of_cores,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def laid(root: Path, files: dict[str, str]) -> Path:
    """Write files of /proc and /sys below a root of their own."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def cores_of(siblings: Sequence[str], name: str = "core_cpus_list") -> dict[str, str]:
    return {f"sys/devices/system/cpu/cpu{cpu}/topology/{name}": f"{text}\n" for cpu, text in enumerate(siblings)}


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


HYPERTHREADING = ["0,4", "1,5", "2,6", "3,7"] * 2


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("siblings", "cores"),
    [
        (HYPERTHREADING, (0, 1, 2, 3)),  # Intel: the second threads come last
        (["0-1", "0-1", "2-3", "2-3", "4-5", "4-5", "6-7", "6-7"], (0, 2, 4, 6)),  # AMD: side by side
        ([str(cpu) for cpu in range(8)], tuple(range(8))),
        ([], tuple(range(8))),  # a system that does not say
    ],
)
def test_a_core_counts_once(tmp_path: Path, siblings: list[str], cores: tuple[int, ...]) -> None:
    assert physical_cores(laid(tmp_path, cores_of(siblings))) == cores
    older = laid(tmp_path / "older", cores_of(siblings, "thread_siblings_list"))
    assert physical_cores(older) == cores


def test_cores_are_those_that_the_process_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = laid(tmp_path, cores_of(HYPERTHREADING))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5, 6})
    assert physical_cores(root) == (1, 6)


def test_this_machine_agrees_with_lscpu() -> None:
    try:
        done = subprocess.run(["lscpu", "-p=CPU,CORE,SOCKET"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no lscpu (util-linux)")
    rows = [line.split(",") for line in done.stdout.splitlines() if not line.startswith("#")]
    allowed = os.sched_getaffinity(0)
    assert len(physical_cores()) == len({tuple(row[1:]) for row in rows if int(row[0]) in allowed})


V2 = {"proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"}
V1 = {
    "proc/self/mountinfo": "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
}


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("files", "quota", "memory"),
    [
        ({}, None, None),
        (V2 | {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None, None),
        (
            V2
            | {"proc/self/cgroup": "0::/box/inner\n", "sys/fs/cgroup/box/cpu.max": "250000 100000\n"}
            | {"sys/fs/cgroup/box/inner/cpu.max": "max 100000\n", "sys/fs/cgroup/box/memory.max": "4096\n"},
            2.5,
            4096,
        ),
        # A container without a cgroup namespace: its group is the root of what is mounted.
        (
            {"proc/self/mountinfo": "30 23 0:26 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"}
            | {"proc/self/cgroup": "0::/docker/ab\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"},
            3.0,
            None,
        ),
        (
            V1
            | {"proc/self/cgroup": "5:memory:/job\n1:cpu,cpuacct:/box\n0::/\n"}
            | {"sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_quota_us": "150000\n"}
            | {"sys/fs/cgroup/cpu,cpuacct/box/cpu.cfs_period_us": "50000\n"}
            | {"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "8192\n"}
            | {"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"},
            3.0,
            8192,
        ),
        (
            V1
            | {"proc/self/cgroup": "1:cpu,cpuacct:/\n"}
            | {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n"}
            | {"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            None,
            None,
        ),
    ],
    ids=["none", "v2 without", "v2 above", "v2 container", "v1", "v1 without"],
)
def test_quotas_of_cgroups_hold(
    tmp_path: Path, files: dict[str, str], quota: float | None, memory: int | None
) -> None:
    root = laid(tmp_path, {"proc/meminfo": "MemTotal:       1000000 kB\nMemFree: 5 kB\n"} | files)
    assert cpu_quota(root) == quota
    assert available_cores(root) == (8 if quota is None else int(quota))
    assert memory_bytes(root) == (memory or 1_024_000_000)


@pytest.mark.usefixtures("eight")
def test_half_a_cpu_is_a_core(tmp_path: Path) -> None:
    files = V2 | {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}
    assert available_cores(laid(tmp_path, files)) == 1


WORKER = """
import os, sys
from pathlib import Path
from sodiate.workflows.engines.shared import machine
cores = eval(sys.argv[2])
os.sched_getaffinity = lambda pid: set(cores)
machine._PRESENCE = sys.argv[1]
for line in sys.stdin:
    print(machine.share_of_cores(Path(sys.argv[3])), flush=True)
"""


class Worker:
    """A process that says its share when asked."""

    def __init__(self, presence: str, cores: Sequence[int], root: Path) -> None:
        arguments = [sys.executable, "-c", WORKER, presence, repr(list(cores)), str(root)]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @property
    def share(self) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def presence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A name of its own, so that nobody else on the machine counts."""
    name = f"test-{os.getpid()}-{abs(hash(tmp_path))}".replace("-", "_") + "-x"
    monkeypatch.setattr(machine, "_PRESENCE", name)
    return name


@pytest.fixture
def eight_cores(tmp_path: Path) -> Path:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/unix").symlink_to("/proc/net/unix")
    return tmp_path


def test_workers_share_the_cores_as_long_as_they_live(presence: str, eight_cores: Path) -> None:
    with contextlib.ExitStack() as stack:

        def worker(cores: Sequence[int]) -> Worker:
            one = Worker(presence, cores, eight_cores)
            stack.callback(one.kill)
            return one

        first = worker(range(8))
        assert first.share == 8
        second = worker(range(8))
        assert (second.share, first.share) == (4, 4)
        pinned = worker(range(2))  # on two of the cores, with two others
        assert pinned.share == 1
        assert first.share == 3  # 2/3 + 6/2 of a core
        elsewhere = worker(range(8, 12))
        assert (elsewhere.share, first.share) == (4, 3)
        second.kill()
        pinned.kill()
        assert first.share == 8
        scattered = worker(range(0, 400, 2))  # too many ranges for a name: it counts on all cores
        assert (scattered.share, first.share) == (197, 4)  # 6 of the 200 are shared


def test_a_forked_worker_is_one_more(presence: str, eight_cores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_presences", [])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert share_of_cores(eight_cores) == 8
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writes, str(share_of_cores(eight_cores)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reads, 9) == b"4"
    assert share_of_cores(eight_cores) == 8
    for descriptor in (reads, writes):
        os.close(descriptor)
    machine._presences.pop().socket.close()


MEMINFO = {"proc/meminfo": "MemTotal:       8000000 kB\nMemFree:         100000 kB\nMemAvailable:    4000000 kB\n"}


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        (MEMINFO, 4_096_000_000),
        # 1,000,000 of 3,000,000 bytes in use, 400,000 of these by files that the system gives up.
        (
            MEMINFO
            | V2
            | {"proc/self/cgroup": "0::/box\n", "sys/fs/cgroup/box/memory.max": "3000000\n"}
            | {"sys/fs/cgroup/box/memory.current": "1000000\n"}
            | {"sys/fs/cgroup/box/memory.stat": "anon 600000\nfile 400000\ninactive_file 400000\n"},
            2_400_000,
        ),
        (
            MEMINFO
            | V1
            | {"proc/self/cgroup": "5:memory:/job\n", "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "3000000\n"}
            | {"sys/fs/cgroup/memory/job/memory.usage_in_bytes": "1000000\n"}
            | {"sys/fs/cgroup/memory/job/memory.stat": "inactive_file 1\ntotal_inactive_file 400000\n"},
            2_400_000,
        ),
    ],
    ids=["silent", "machine", "v2", "v1"],
)
def test_free_memory_is_that_of_the_machine_and_of_its_cgroup(
    tmp_path: Path, files: dict[str, str], free: int | None
) -> None:
    assert free_memory_bytes(laid(tmp_path, files)) == free
