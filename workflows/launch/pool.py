"""Several calculations at once on one machine: cores, memory and workers, and which calculation gets them."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from select import select
from time import monotonic
from typing import Any

from ...errors import SodiateError
from ..database.connection import Unreachable
from ..database.fireworks_guard import ours_query
from ..database.room import NoRoom
from ..database.workbench import Workbench
from ..engines.base import Demand
from ..engines.shared.machine import available_cores, free_memory_bytes, memory_bytes, physical_cores
from ..runner.run_calculation import WorkerSettings
from .crew import Crew, Job, Member, WorkerFailed
from .reconcile import reconcile
from .schedule import Room, Start, Task, starts

_TICK_S = 0.2
"""How long to wait for a worker before looking whether a stop was requested."""

_LOOK_S = 5.0
"""How often to look for what other processes made ready."""

_SHOW_S = 0.5
"""How often progress is shown, which asks the database."""

_SPARED = 0.9
"""Share of the memory that estimates may fill."""

_SETTLING_S = 60.0
"""For so long a calculation's memory may not be in use yet although it is promised."""

_DEATHS = 3
"""So often a worker may be killed in one calculation before this run leaves it alone."""

_UNKNOWN = Task(Demand(ranks=(1,)), 1.0, 1.0)
"""A calculation of which nothing is known, such as one that is recorded and has only its state to be mended."""


def _error_of(message: Mapping[str, Any]) -> SodiateError:
    """Return the error that a worker ended with."""
    for kind in (NoRoom, Unreachable):
        if message.get("kind") == kind.__name__:
            return kind(message["error"])
    return WorkerFailed(f"a worker of this run failed: {message['error']}")


class Cores:
    """The physical cores on which this run may compute, each with the claim to it that other runs see.

    A claim is a socket that is bound to the core's name: it goes with this process, however that ends.

    Parameters
    ----------
    cpus
        A logical CPU of each core.
    """

    def __init__(self, cpus: Sequence[int]) -> None:
        self.cpus = tuple(cpus)
        self._claims: dict[int, socket.socket] = {}
        self._used: set[int] = set()

    def free(self) -> list[int]:
        """Return the cores that are not in use, by this run or by others, and claim them until `release`."""
        for cpu in self.cpus:
            if cpu not in self._claims:
                claim = socket.socket(socket.AF_UNIX)
                try:
                    if sys.platform == "linux":
                        claim.bind(f"\0sodiate-core-{cpu}")
                    self._claims[cpu] = claim
                except OSError:
                    claim.close()
        return [cpu for cpu in self.cpus if cpu in self._claims and cpu not in self._used]

    def use(self, cpus: Sequence[int]) -> None:
        """Keep some cores."""
        self._used.update(cpus)

    def give_back(self, cpus: Sequence[int]) -> None:
        """Take cores out of use."""
        self._used.difference_update(cpus)

    def release(self) -> None:
        """Give up the claims to cores that are not in use."""
        for cpu in [cpu for cpu in self._claims if cpu not in self._used]:
            self._claims.pop(cpu).close()


@dataclass
class _Running:
    """A calculation at work: its worker, when it began, what it has of the machine."""

    member: Member
    job: Job
    began: float
    memory_bytes: int


@dataclass
class Pool:
    """Launches several calculations at once.

    Attributes
    ----------
    bench
        The database and the root.
    worker
        Settings, of which the root, the env and the stop count.
    identifiers
        Calculations that may be launched.
    on_change
        Called when one ended, and now and then while they run.
    crew
        The workers.
    tasks
        What calculations ask of the machine, by id.
    pins
        Whether calculations are kept on cores of their own; the moments that a dry one takes are not worth it.
    """

    bench: Workbench
    worker: WorkerSettings
    identifiers: list[str]
    on_change: Callable[[], None]
    crew: Crew
    tasks: Mapping[str, Task]
    pins: bool
    running: list[_Running] = field(default_factory=list)
    ready: dict[str, int] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.cores = Cores(physical_cores()[: available_cores()])
        self.left_core_s = sum(task.core_s for task in self.tasks.values())
        self.memory_bytes = memory_bytes()
        self.look_at = self.shown_at = 0.0

    def work(self) -> bool:
        """Begin what fits, and wait a moment for what runs; return False if nothing runs and nothing is ready."""
        self._begin()
        if not self.running:
            return False
        self._wait()
        if monotonic() - self.shown_at > _SHOW_S:
            self.on_change()
            self.shown_at = monotonic()
        return True

    def end(self) -> None:
        """Ask what runs to stop, and wait for it."""
        stop = self.worker.stop
        for running in self.running:
            running.member.send({"stop": stop.reason, "seconds": stop.seconds})
        while self.running:
            self._wait()
        self.on_change()

    def _begin(self) -> None:
        if len(self.running) >= self.crew.most:
            return
        if not self.ready or monotonic() > self.look_at:
            self._look()
        for start in self._starts():
            self._assign(start)
        self.cores.release()

    def _look(self) -> None:
        """Ask which fireworks are ready; one of each calculation, in FireWorks' order."""
        query = ours_query(self.identifiers, ["READY"])
        found = self.bench.launchpad.fireworks.find(query, {"fw_id": 1, "spec._tasks.calculation": 1})
        self.ready = {}
        for document in found.sort([("spec._priority", -1), ("fw_id", 1)]):
            self.ready.setdefault(document["spec"]["_tasks"][0]["calculation"], document["fw_id"])
        self.look_at = monotonic() + _LOOK_S

    def _starts(self) -> list[Start]:
        at_work = {running.job.calculation for running in self.running}
        ready = [key for key in self.ready if key not in at_work and self.deaths[key] < _DEATHS]
        if not ready:
            return []
        free = len(self.cores.free()) if self.pins else self.crew.most - len(self.running)
        cores = len(self.cores.cpus) if self.pins else self.crew.most
        room = Room(free, cores, self._free_memory(), self.crew.most - len(self.running))
        tasks = {key: self.tasks.get(key, _UNKNOWN) for key in ready}
        return starts(ready, tasks, self.left_core_s, room, idle=not self.running)

    def _free_memory(self) -> float:
        """Return the memory for further calculations: of what is promised to none, and is free now."""
        promised = sum(running.memory_bytes for running in self.running)
        limit, free = self.memory_bytes, free_memory_bytes()
        since = monotonic() - _SETTLING_S
        settling = sum(running.memory_bytes for running in self.running if running.began > since)
        return min(
            float("inf") if limit is None else _SPARED * limit - promised,
            float("inf") if free is None else free - settling,
        )

    def _assign(self, start: Start) -> None:
        cpus = tuple(self.cores.free()[: start.ranks]) if self.pins else ()
        if len(cpus) < start.ranks:  # other runs have the rest
            cpus = ()
        self.cores.use(cpus)
        job = Job(self.ready.pop(start.calculation), start.calculation, cpus)
        member = self.crew.idle(self.bench, self.worker.env)
        member.job = job
        member.send(asdict(job))
        memory = self.tasks.get(start.calculation, _UNKNOWN).demand.bytes_on(start.ranks)
        self.running.append(_Running(member, job, monotonic(), memory))

    def _wait(self) -> None:
        """Wait a moment for workers, and take what they have done."""
        by_file = {running.member.connection: running for running in self.running}
        done, _, _ = select(list(by_file), [], [], _TICK_S)
        for file in done:
            self._ended(by_file[file])

    def _ended(self, running: _Running) -> None:
        message, job = running.member.receive(), running.job
        self.running.remove(running)
        running.member.job = None
        self.cores.give_back(job.cpus)
        task = self.tasks.get(job.calculation, _UNKNOWN)
        if message is None:
            self.crew.dismiss(running.member)
            self.deaths[job.calculation] += 1
            self.look_at = 0.0
            if not self.worker.stop.requested():
                reconcile(self.bench, self.identifiers)
            return
        if "error" in message:
            self.crew.dismiss(running.member)
            raise _error_of(message)
        if self.pins:  # a process of its own for each: what it shows other workers holds for one place alone
            self.crew.dismiss(running.member)
        if message["stop"]:  # a batch system's signal, or what ends every calculation, such as a full disk
            self.worker.stop.request(message["stop"], message["seconds"])
        if job.calculation in self.tasks:
            self.left_core_s -= task.core_s
        if task.path_core_s > task.core_s or not message["launched"]:
            self.look_at = 0.0  # what follows from it may be ready now
