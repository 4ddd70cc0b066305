"""Several calculations side by side in one job: each in a process of its own, with its share of the job.

The job's worker reserves calculations and starts ``sodiate worker --until`` for each; such a process takes a lease
and makes a record as any other, and what kills it leaves the others. Its standard input is a line to the worker: a
sentence there asks for an orderly end, and so does the line's own end, should the worker be killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import IO, Any

from ..database.account import Account
from ..database.workbench import Workbench
from ..launch.loop import launch_directory, launch_next
from ..launch.reconcile import reconcile
from ..launch.tasks import OurFWorker
from ..runner.run_calculation import WorkerSettings
from ..stop import Stop, signals_stop
from .cluster_file import ClusterFile
from .job import Assignment, seconds_left
from .places import Place, places_of
from .queue import chosen_calculations
from .worker import WorkReport, begun, is_reserved, request_before_end, settings_of, too_little_is_left

_LOOK_S = 5.0
"""So often it is looked for what is ready while a place is free."""

_TICK_S = 0.1

_MOST_IDLE = 3
"""After so many processes in a row that ended before their calculation began, no more are started."""


@dataclass(frozen=True)
class _Child:
    """A process that computes a reserved firework, and its place."""

    process: subprocess.Popen[str]
    place: Place
    fw_id: int
    calculation: str
    label: str

    def ask_to_stop(self, stop: Stop) -> None:
        """Ask for an orderly end."""
        assert self.process.stdin is not None
        with suppress(OSError, ValueError):  # it has ended, or was asked before
            self.process.stdin.write(f"{'' if stop.seconds is None else stop.seconds}\t{stop.reason}\n")
            self.process.stdin.close()


@contextmanager
def packed(
    cluster: ClusterFile,
    assignment: Assignment,
    command: Callable[[int, float], Sequence[str]],
    tell: Callable[[str], None],
) -> Iterator[Pack]:
    """Yield the worker of a packed job, which the scheduler's signals reach; at the end no calculation is left.

    Parameters
    ----------
    cluster
        The cluster file.
    assignment
        What the job was submitted for.
    command
        Returns the command of a process that computes a reserved firework and ends before a time.
    tell
        Takes a line for what does not work.
    """
    pack = Pack(cluster, assignment, command, tell)
    signals = signals_stop(pack.stop, (signal.SIGUSR1,), cluster.signal_s)
    with signals, request_before_end(pack.stop, pack.seconds_left(), cluster.signal_s):
        try:
            yield pack
        finally:
            pack.end()


@dataclass
class Pack:
    """The worker of a packed job; see `packed`."""

    cluster: ClusterFile
    assignment: Assignment
    command: Callable[[int, float], Sequence[str]]
    tell: Callable[[str], None]
    stop: Stop = field(default_factory=Stop)
    _children: list[_Child] = field(default_factory=list, init=False)
    _lost: set[str] = field(default_factory=set, init=False)
    _started: int = field(default=0, init=False)
    _launches: int = field(default=0, init=False)
    _idle: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        name, cpus = self.assignment.resource_class, os.sched_getaffinity(0)
        resources = self.cluster.resources(name)
        # Asked once: the worker looks at the time every few seconds, and a scheduler may be asked by a command.
        self.until = time.time() + seconds_left(self.cluster, name, self.assignment.began, os.environ)
        self.places = places_of(resources, self.cluster.scheduler, os.environ, cpus)
        if resources.nodes == 1 and self.places[0].cpus is None:
            self.tell(
                f"The {resources.pack} calculations are not bound to cores: this job may use {len(cpus)}, which "
                "are too few, or not known to be its own; 'exclusive: true' says that they are."
            )

    def seconds_left(self) -> float:
        """Return the seconds until the wall time of the job."""
        return self.until - time.time()

    def work(self, bench: Workbench) -> WorkReport:
        """Compute until the time is over, nothing is ready or running, or the scheduler signals the end.

        It may be called again after an outage of the database; calculations go on meanwhile.

        Raises
        ------
        ConnectionFailure
            If the database does not answer.
        """
        job = begun(bench, self.cluster, self.assignment.tag)
        next_look = 0.0
        while True:
            next_look = 0.0 if self._collect(bench) else next_look
            ended = self._why_no_more()
            if ended is None and time.monotonic() >= next_look:
                self._fill(bench, job)
                next_look = time.monotonic() + _LOOK_S
            if not self._children:
                break
            self._wait()
        reconcile(bench, bench.documents.calculations.distinct("_id"))
        return WorkReport(self._launches, ended or "nothing more is ready")

    def pause(self, seconds: float) -> None:
        """Wait, and hand on a stop meanwhile."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._hand_on_stop()
            time.sleep(_TICK_S)

    def end(self) -> None:
        """Stop what still computes, and wait for it."""
        self.stop.request("its job's worker has ended", self.cluster.signal_s)
        while any(child.process.poll() is None for child in self._children):
            self.pause(_TICK_S)

    def _wait(self) -> None:
        """Wait for the end of a calculation, at most until the next look."""
        end = time.monotonic() + _LOOK_S
        while time.monotonic() < end and all(child.process.poll() is None for child in self._children):
            self._hand_on_stop()
            time.sleep(_TICK_S)

    def _hand_on_stop(self) -> None:
        if self.stop.requested():
            for child in self._children:
                child.ask_to_stop(self.stop)

    def _why_no_more(self) -> str | None:
        """Return why no further calculation begins; None if one may."""
        if self.stop.requested():
            return self.stop.reason
        if self._idle >= _MOST_IDLE:
            return f"the last {_MOST_IDLE} calculations ended before they began"
        return too_little_is_left(
            self.seconds_left(), self.cluster.resources(self.assignment.resource_class), self._started
        )

    def _fill(self, bench: Workbench, job: Mapping[str, Any]) -> None:
        """Start a calculation in each free place, as far as some are ready; first the one reserved to the job."""
        taken = {child.place.number for child in self._children}
        free = [place for place in self.places if place.number not in taken]
        chosen = [i for i in chosen_calculations(bench.documents, job.get("campaign")) if i not in self._lost]
        kinds = self.cluster.kinds(self.assignment.resource_class)
        fworker = OurFWorker(WorkerSettings(bench.root), chosen, kinds=kinds)
        for place in free:
            own = self.assignment.fw_id if not self._started else None
            if own is None or not is_reserved(bench.launchpad, own):
                firework, _ = bench.launchpad.reserve_fw(fworker, str(bench.root / "logs" / "jobs"))
                if firework is None:
                    return
                own = firework.fw_id
            self._start(bench, own, place)

    def _start(self, bench: Workbench, fw_id: int, place: Place) -> None:
        spec = (bench.launchpad.fireworks.find_one({"fw_id": fw_id}, {"spec": 1}) or {})["spec"]
        calculation, label = spec["_tasks"][0]["calculation"], spec["label"]
        words = self.command(fw_id, self.until)
        before = os.sched_getaffinity(0)
        if place.cpus is not None:
            os.sched_setaffinity(0, place.cpus)  # for the process, which is born with it
        try:
            process = subprocess.Popen(
                words, env=dict(place.environment), stdin=subprocess.PIPE, text=True, start_new_session=True
            )
        finally:
            os.sched_setaffinity(0, before)
        self._started += 1
        self._children.append(_Child(process, place, fw_id, calculation, label))

    def _collect(self, bench: Workbench) -> bool:
        """Look for processes that ended, and mend what they left; tell whether there were any."""
        ended = [child for child in self._children if child.process.poll() is not None]
        for child in ended:
            code = child.process.returncode
            has_begun = not is_reserved(bench.launchpad, child.fw_id)
            if code != 0:
                self._mend(bench, child, has_begun)
            self._launches += has_begun
            self._idle = 0 if has_begun else self._idle + 1
            self._children.remove(child)
        return bool(ended)

    def _mend(self, bench: Workbench, child: _Child, has_begun: bool) -> None:
        """Give back the calculation of a process that failed or was killed; this job does not take it again."""
        code = child.process.returncode
        how = f"exit code {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
        self._lost.add(child.calculation)
        if has_begun:
            reconcile(bench, [child.calculation])
        else:
            launches = bench.launchpad.launches.find({"fw_id": child.fw_id, "state": "RESERVED"}, {"launch_id": 1})
            for launch in list(launches):
                bench.launchpad.cancel_reservation(launch["launch_id"])
        self.tell(
            f"{child.label}: its process ended with {how}{'' if has_begun else ' before it began'}; it is given back."
        )


def work_alone(
    bench: Workbench, cluster: ClusterFile, assignment: Assignment, until: float, line: IO[str]
) -> WorkReport:
    """Compute the reserved calculation of an assignment and no other, in a place of a packed job.

    Parameters
    ----------
    bench
        The database and the root.
    cluster
        The cluster file.
    assignment
        With the reserved firework.
    until
        The end of the job's wall time, in seconds of the system's clock.
    line
        From the job's worker: a sentence asks for an orderly end, and so does the line's end.
    """
    if assignment.fw_id is None or not is_reserved(bench.launchpad, assignment.fw_id):
        return WorkReport(0, "its calculation is not reserved any more")
    stop, left_s = Stop(), until - time.time()
    Thread(target=_listen, args=(line, stop, cluster.signal_s), daemon=True).start()
    job = bench.documents.jobs.find_one({"_id": assignment.tag}) or {}
    account = Account.here(job.get("cluster"), assignment.tag)
    settings = settings_of(bench.root, cluster, assignment.resource_class, left_s, stop, account)
    timer = request_before_end(stop, left_s, cluster.signal_s)
    with signals_stop(stop, (signal.SIGUSR1,), cluster.signal_s), launch_directory(), timer:
        launch_next(bench.launchpad, OurFWorker(settings), assignment.fw_id)
    return WorkReport(1, "its calculation is over")


def _listen(line: IO[str], stop: Stop, signal_s: float) -> None:
    """Request a stop once the worker asks for it, or is no more."""
    seconds, found, reason = line.readline().rstrip("\n").partition("\t")
    if found:
        stop.request(reason, float(seconds) if seconds else None)
    else:
        stop.request("its job's worker was killed", signal_s)
