"""What this machine gives to a process: physical cores, quotas of containers, and its share beside other workers."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_ROOT = Path("/")

_SIBLINGS = ("core_cpus_list", "thread_siblings_list")
"""Files of a logical CPU's topology that name all those of its core; the second is the older name."""

_PRESENCE = "sodiate-computes"

_RANGES = 75
"""Longest list of cores in the name of a socket, which has 107 bytes; instead of a longer one, all are meant."""

_UNLIMITED_BYTES = 1 << 60
"""What the first version of cgroups calls unlimited is just below 2**63."""


def physical_cores(root: Path = _ROOT) -> tuple[int, ...]:
    """Return a logical CPU of each physical core that this process may run on.

    With hyperthreading a core has two logical CPUs, which share what computes: two ranks there are no faster than
    one, and OpenMPI refuses to start them. A process that is pinned to some CPUs has the cores of these.

    Parameters
    ----------
    root
        Where ``/sys`` lies.
    """
    allowed = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else range(os.cpu_count() or 1)
    return tuple(cpus[0] for cpus in by_core(allowed, root).values())


def by_core(cpus: Iterable[int], root: Path = _ROOT) -> dict[tuple[int, ...], list[int]]:
    """Return some logical CPUs by their core, which is named by all of its CPUs; both in the order of the CPUs."""
    cores: dict[tuple[int, ...], list[int]] = {}
    for cpu in cpus:
        cores.setdefault(_siblings(cpu, root), []).append(cpu)
    return cores


def _siblings(cpu: int, root: Path) -> tuple[int, ...]:
    """Return the logical CPUs of the core of one; itself alone if the system does not say."""
    folder = root / "sys/devices/system/cpu" / f"cpu{cpu}" / "topology"
    for name in _SIBLINGS:
        with suppress(OSError, ValueError):
            return tuple(_numbers((folder / name).read_text()))
    return (cpu,)


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return of how many CPUs the time is allowed by cgroups, as containers and services have them; None without.

    Both versions, of this process's group and of those above it: the smallest quota holds.
    """
    quotas = []
    for group in _groups("cpu", root):
        with suppress(OSError, ValueError, ZeroDivisionError):
            if group.version == 2:
                time, period = (group.folder / "cpu.max").read_text().split()
            else:
                time, period = ((group.folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            quotas.append(int(time) / int(period))  # ValueError for "max"
    return min((quota for quota in quotas if quota > 0), default=None)


def memory_bytes(root: Path = _ROOT) -> int | None:
    """Return the memory that this process may use: the machine's, less by cgroups; None if the system is silent."""
    limits = []
    with suppress(OSError):
        found = re.search(r"^MemTotal: +(\d+) kB$", (root / "proc/meminfo").read_text(), re.MULTILINE)
        limits += [] if found is None else [int(found[1]) * 1024]
    for group in _groups("memory", root):
        name = "memory.max" if group.version == 2 else "memory.limit_in_bytes"
        with suppress(OSError, ValueError):
            limits.append(int((group.folder / name).read_text()))
    return min((limit for limit in limits if limit < _UNLIMITED_BYTES), default=None)


def oom_kills(root: Path = _ROOT) -> int | None:
    """Return how many processes the system has ended for want of memory since it began; None if it does not say."""
    with suppress(OSError):
        found = re.search(r"^oom_kill (\d+)$", (root / "proc/vmstat").read_text(), re.MULTILINE)
        return None if found is None else int(found[1])
    return None


def oom_kills_since(before: int | None) -> int | None:
    """Return how many processes the system has ended so since `oom_kills`; None if it does not say."""
    now = oom_kills()
    return None if before is None or now is None else now - before


def free_memory_bytes(root: Path = _ROOT) -> int | None:
    """Return the memory that is free now: of the machine, less by cgroups; None if the system does not say.

    What the system keeps of files counts as free, since it gives it up.
    """
    free = []
    with suppress(OSError):
        found = re.search(r"^MemAvailable: +(\d+) kB$", (root / "proc/meminfo").read_text(), re.MULTILINE)
        free += [] if found is None else [int(found[1]) * 1024]
    for group in _groups("memory", root):
        limit, usage = ("max", "current") if group.version == 2 else ("limit_in_bytes", "usage_in_bytes")
        with suppress(OSError, ValueError):
            statistics = (group.folder / "memory.stat").read_text()
            cached = re.findall(r"^(?:total_)?inactive_file (\d+)$", statistics, re.MULTILINE)  # the total comes last
            used = int((group.folder / f"memory.{usage}").read_text()) - int(cached[-1] if cached else 0)
            free.append(max(0, int((group.folder / f"memory.{limit}").read_text()) - used))
    return min((number for number in free if number < _UNLIMITED_BYTES // 2), default=None)


class _Group(NamedTuple):
    """A cgroup: its version, and the folder of its files."""

    version: int
    folder: Path


def _groups(controller: str, root: Path) -> Iterator[_Group]:
    """Yield the cgroups of this process with a controller, and those above them as far as they are mounted.

    A container may see its own group as the root of the mount, or at a path that does not exist there: what lies
    above is then out of sight, and what is there counts.
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = [line.split() for line in (root / "proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        return
    for number, names, path in (line.split(":", 2) for line in memberships):
        version = 2 if number == "0" else 1
        if version == 1 and controller not in names.split(","):
            continue
        for mount in mounts:
            kind, _, options = mount[mount.index("-") + 1 :][:3]
            if kind == "cgroup2" if version == 2 else kind == "cgroup" and controller in options.split(","):
                top = root / mount[4].lstrip("/")
                inside = Path(path).parts[1:]
                above = Path(mount[3]).parts[1:]
                inside = inside[len(above) :] if inside[: len(above)] == above else ()
                for depth in range(len(inside), -1, -1):
                    yield _Group(version, top.joinpath(*inside[:depth]))


def available_cores(root: Path = _ROOT) -> int:
    """Return how many ranks or processes may compute here at once: physical cores, fewer by a quota; at least 1."""
    cores, quota = len(physical_cores(root)), cpu_quota(root)
    return max(1, cores if quota is None else min(cores, int(quota)))


def share_of_cores(root: Path = _ROOT) -> int:
    """Return how many of the available cores are this process's share beside other workers; at least 1.

    From the first call to its end the process is told to other workers, of any user, as one that computes on the
    cores that it may use now: pin it before. Workers on other cores take nothing away from it.
    """
    cores = physical_cores(root)
    others = _others(root, _show_presence(cores))
    users = [1 + sum(theirs is None or core in theirs for theirs in others) for core in cores]
    share = sum((Fraction(1, count) for count in users), Fraction(0)) / len(cores)
    return max(1, int(available_cores(root) * share))


class _Presence(NamedTuple):
    """What shows a process: a socket that is bound to a name. A forked process shows itself anew."""

    pid: int
    name: str
    socket: socket.socket


_presences: list[_Presence] = []
"""That of this process, if it shows itself."""


def _show_presence(cores: tuple[int, ...]) -> str:
    """Bind a socket to a name that says on which cores this process computes; return the name.

    Sockets without a path are seen by all users, leave nothing on a disk, and go with the process, however that ends.
    Where the system has none, this worker is not seen.
    """
    if _presences and _presences[-1].pid == os.getpid():
        return _presences[-1].name
    where = _ranges(cores)
    name = f"{_PRESENCE}-{secrets.token_hex(6)}-{where if len(where) < _RANGES else ''}"
    while _presences:
        _presences.pop().socket.close()  # of the process that this one was forked from
    one = socket.socket(socket.AF_UNIX)
    with suppress(OSError):
        one.bind(f"\0{name}")
    _presences.append(_Presence(os.getpid(), name, one))
    return name


def _others(root: Path, mine: str) -> list[frozenset[int] | None]:
    """Return the cores of each other worker on this machine; None for one on all of them."""
    try:
        text = (root / "proc/net/unix").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    names = set(re.findall(rf"@({_PRESENCE}-[0-9a-f]{{12}}-[\d,-]*)$", text, re.MULTILINE)) - {mine}
    texts = [name.split("-", 3)[3] for name in names]
    return [frozenset(_numbers(cores)) if cores else None for cores in texts]


def _ranges(numbers: tuple[int, ...]) -> str:
    """Return sorted numbers as the system writes them: ``0-3,8``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)


def _numbers(text: str) -> Iterator[int]:
    """Yield the numbers of a list as the system writes it; raise ValueError for another text."""
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
