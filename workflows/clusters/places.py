"""The places of a packed job: the cores, the graphics processors and the environment of each calculation."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..engines.shared.machine import by_core
from ..engines.shared.processes import UNBOUND
from .cluster_file import ResourceClass
from .scheduler import Scheduler, SchedulerError

_GPU_LISTS = (
    *("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
    "ZE_AFFINITY_MASK",
)
"""Variables that list the graphics processors that a program may use, of the makers' libraries."""

_ROOT = Path("/")


@dataclass(frozen=True)
class Place:
    """Where a calculation of a packed job runs.

    Attributes
    ----------
    number
        From 0.
    cpus
        The kernel's numbers of the processors that its processes are bound to; None for no binding.
    environment
        Of its processes.
    """

    number: int
    cpus: frozenset[int] | None
    environment: Mapping[str, str]


def places_of(
    resources: ResourceClass,
    scheduler: Scheduler,
    environment: Mapping[str, str],
    cpus: Collection[int],
    root: Path = _ROOT,
) -> list[Place]:
    """Return the places of a job of a class.

    Parameters
    ----------
    resources, scheduler
        The class, and the cluster's scheduler.
    environment
        Of the job.
    cpus
        The processors that the job's worker may use.
    root
        Where ``/sys`` lies.

    Raises
    ------
    SchedulerError
        If the job sees fewer graphics processors than it has calculations.
    """
    base = dict(environment)
    for name, value in scheduler.share_environment(environment, resources.share).items():
        base.pop(name, None)
        if value is not None:
            base[name] = value
    parts: Sequence[frozenset[int] | None] = [None] * resources.pack
    if resources.nodes == 1 and is_confined(resources, cpus, root):
        parts = parted(cores_of(cpus, root), resources.pack) or parts
    return [Place(n, part, {**base, **UNBOUND, **_gpus(environment, resources, n)}) for n, part in enumerate(parts)]


def is_confined(resources: ResourceClass, cpus: Collection[int], root: Path = _ROOT) -> bool:
    """Tell whether the processors that a job's worker may use are the job's own.

    A scheduler that binds nothing lets every job use all of the node; two jobs there that bound themselves would
    choose the same ones.
    """
    asked = resources.all_tasks * resources.cpus_per_task
    return resources.exclusive or len(cores_of(cpus, root)) <= asked or len(cpus) < (os.cpu_count() or 1)


def cores_of(cpus: Collection[int], root: Path = _ROOT) -> list[tuple[int, ...]]:
    """Return processors by core, the cores of a socket together; the threads of a core belong to one calculation."""
    cores = by_core(sorted(cpus), root)
    return [tuple(cores[core]) for core in sorted(cores, key=lambda core: (_socket(cores[core][0], root), core))]


def _socket(cpu: int, root: Path) -> int:
    try:
        return int((root / "sys/devices/system/cpu" / f"cpu{cpu}" / "topology/physical_package_id").read_text())
    except (OSError, ValueError):
        return 0


def parted(cores: Sequence[Sequence[int]], count: int) -> list[frozenset[int]]:
    """Return as many equal parts of some cores, which do not overlap; none if there are fewer cores than parts."""
    size = len(cores) // count
    if size == 0:
        return []
    return [frozenset(cpu for core in cores[n * size : (n + 1) * size] for cpu in core) for n in range(count)]


def _gpus(environment: Mapping[str, str], resources: ResourceClass, number: int) -> dict[str, str]:
    """Return the variables that show a place its graphics processors, of those that the job sees.

    On several nodes the scheduler shows each step its own, which the first node's processes could not know.
    """
    share = resources.share
    if share.gpus is None or resources.nodes > 1:
        return {}
    count = share.gpus * share.per_node
    lists = {name: environment[name].split(",") for name in _GPU_LISTS if environment.get(name)}
    lists = lists or {_GPU_LISTS[0]: [str(gpu) for gpu in range(count)]}
    for name, gpus in lists.items():
        if len(gpus) < count:
            raise SchedulerError(
                f"{name}={environment[name]}: this job sees {len(gpus)} GPUs, and its class says that it has {count}."
            )
    return {name: ",".join(gpus[number * share.gpus : (number + 1) * share.gpus]) for name, gpus in lists.items()}
