"""Worker processes of a run, forked from one that has its imports done.

The run imports what calculations need and forks a *nursery* before it opens a database, so that no thread of it is
copied. The nursery forks a worker whenever the run asks for one. A worker talks with the run alone, over a socket
of its own, in lines of JSON: calculations one after the other, and a request to stop. Its end of that socket is also
its life: when the run ends, however that happens, the worker kills itself at once, and the kernel ends the ranks of
its code (``engines.shared.processes``).
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import json
import os
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import IO, TYPE_CHECKING, Any

from ...errors import SodiateError
from ..stop import Stop

if TYPE_CHECKING:
    from ..database.workbench import Workbench

_PR_SET_PDEATHSIG = 1


class WorkerFailed(SodiateError):
    """A worker met an error that is none of its calculation."""


@dataclass(frozen=True)
class Job:
    """A firework for a worker: its calculation, and the CPUs it is pinned to, one for each rank of its code.

    Without CPUs of its own the code takes its share of the machine.
    """

    firework: int
    calculation: str
    cpus: tuple[int, ...] = ()


@dataclass
class Member:
    """A worker as its run sees it.

    Attributes
    ----------
    connection
        The run's end of the socket.
    job
        What it works on; None while it waits.
    """

    connection: socket.socket
    job: Job | None = None
    _received: bytes = b""

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; one that has ended does not get it, which `receive` tells."""
        with suppress(OSError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> dict[str, Any] | None:
        """Return its next message, waiting for it; None if it has ended."""
        while b"\n" not in self._received:
            try:
                more = self.connection.recv(65536)
            except OSError:
                more = b""
            if not more:
                return None
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message


@dataclass
class Crew:
    """The workers of a run, at most so many; they begin one by one, as there is work for them.

    Attributes
    ----------
    most
        How many there may be.
    nursery
        The process that forks them.
    members
        Those that there are.
    hired_any
        Whether there was ever one.
    """

    most: int
    control: socket.socket
    nursery: int
    members: list[Member] = field(default_factory=list)
    hired_any: bool = False

    def idle(self, bench: Workbench, env: Mapping[str, Any]) -> Member:
        """Return a worker that waits for work, a new one if all are busy."""
        for member in self.members:
            if member.job is None:
                return member
        return self._hire(bench, env)

    def prepare(self, bench: Workbench, env: Mapping[str, Any], count: int) -> None:
        """Let so many workers begin, if there may be as many: they connect while the run prepares their work."""
        for _ in range(min(count, self.most) - len(self.members)):
            self._hire(bench, env)

    def _hire(self, bench: Workbench, env: Mapping[str, Any]) -> Member:
        ours, theirs = socket.socketpair()
        socket.send_fds(self.control, [b"!"], [theirs.fileno()])
        theirs.close()
        member = Member(ours)
        self.hired_any = True
        self.members.append(member)
        database = bench.database
        settings = database.settings.model_dump(mode="json")
        member.send({"settings": settings, "title": database.title, "root": str(bench.root), "env": dict(env)})
        return member

    def dismiss(self, member: Member) -> None:
        """Forget a worker that has ended."""
        member.connection.close()
        self.members.remove(member)

    def rest(self) -> None:
        """Let all workers end, and wait for that; others may follow."""
        for member in self.members:
            with suppress(OSError):  # it has ended
                member.connection.shutdown(socket.SHUT_WR)
        for member in list(self.members):
            while member.receive() is not None:
                pass
            self.dismiss(member)

    def close(self) -> None:
        """Let all workers end, and the process that forks them; do nothing the second time."""
        if self.control.fileno() < 0:
            return
        self.rest()
        if not self.hired_any:
            os.kill(self.nursery, signal.SIGKILL)
        self.control.close()
        os.waitpid(self.nursery, 0)  # which waits for its workers


@contextmanager
def hired(engine: str, most: int) -> Iterator[Crew | None]:
    """Fork a nursery for a run with an engine; call it before there are threads or a connection to a database.

    Yields
    ------
    Crew or None
        None if there is to be no more than one calculation at a time: the run computes it itself.
    """
    if most < 2:
        yield None
        return
    _import_all(engine)
    ours, theirs = socket.socketpair()
    sys.stdout.flush()
    nursery = os.fork()
    if nursery == 0:
        try:
            ours.close()
            _nurse(theirs)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    theirs.close()
    crew = Crew(most, ours, nursery)
    try:
        yield crew
    finally:
        crew.close()


# In the nursery.


def _nurse(control: socket.socket) -> None:
    """Fork a worker for each socket that comes; end with the run, after all workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal or a batch system, to all: the run says when to stop
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # none stays as a zombie, which would look alive
    gc.collect()
    gc.freeze()  # a child's first collection would otherwise copy every page
    turns = tempfile.TemporaryFile()  # noqa: SIM115, closed with the process
    while True:
        message, files, _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            break
        if os.fork() == 0:
            control.close()
            try:
                _work(socket.socket(fileno=files[0]), turns)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(0)
        os.close(files[0])
    with suppress(ChildProcessError):
        os.wait()  # returns when none is left, since none leaves a code
    os._exit(0)


def _import_all(engine: str) -> None:
    """Import what every calculation needs, and its engine."""
    import gridfs  # noqa: F401
    from fireworks.core.rocket import Rocket  # noqa: F401

    from ..database import connection, fireworks_guard, workbench  # noqa: F401
    from ..engines import best_site, make_engine  # noqa: F401
    from ..engines.base import Settings
    from . import loop, tasks  # noqa: F401

    with suppress(SodiateError):  # the run tells it
        make_engine(engine, Settings()).preload()


# In a worker.


@dataclass
class _Line:
    """A worker's end of its socket, which a thread reads."""

    connection: socket.socket
    jobs: SimpleQueue[dict[str, Any] | None] = field(default_factory=SimpleQueue)
    busy: Event = field(default_factory=Event)
    stop: Stop = field(default_factory=Stop)

    def read(self) -> None:
        """Take messages until the run has ended; then end as well, at once if a calculation runs."""
        with self.connection.makefile("rb") as lines, suppress(OSError):
            for line in lines:
                message = json.loads(line)
                if "stop" in message:
                    self.stop.request(message["stop"], message["seconds"])
                else:
                    if "calculation" in message:  # from now on, though it may take a moment to begin
                        self.busy.set()
                    self.jobs.put(message)
        if self.busy.is_set():
            os.kill(os.getpid(), signal.SIGKILL)
        self.jobs.put(None)

    def send(self, message: Mapping[str, Any]) -> None:
        with suppress(OSError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")


@contextmanager
def _turn(turns: IO[bytes]) -> Iterator[None]:
    """Hold a lock among the workers; the kernel takes it back from one that is killed."""
    fcntl.lockf(turns, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(turns, fcntl.LOCK_UN)


def _work(connection: socket.socket, turns: IO[bytes]) -> None:
    """Compute what the run sends until it lets go."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    line = _Line(connection)
    # A batch system signals every process of a job; the terminal's Ctrl-C is the run's to tell.
    signal.signal(signal.SIGTERM, lambda number, _frame: line.stop.request(signal.Signals(number).name))
    Thread(target=line.read, name="run", daemon=True).start()
    greeting = line.jobs.get()
    if greeting is None:
        return
    try:
        _serve(line, greeting, partial(_turn, turns))
    except Exception as error:
        from pymongo.errors import PyMongoError

        known = isinstance(error, SodiateError | PyMongoError)
        line.send({"error": str(error) if known else traceback.format_exc(), "kind": type(error).__name__})


def _serve(line: _Line, greeting: Mapping[str, Any], turn: Callable[[], AbstractContextManager[object]]) -> None:
    from ..database.connection import LaunchpadFile, connected
    from ..engines.shared.machine import share_of_cores
    from ..runner.run_calculation import WorkerSettings
    from .loop import launch_directory, launch_next
    from .tasks import OurFWorker

    root, env = Path(greeting["root"]), greeting["env"]
    everywhere = os.sched_getaffinity(0) if sys.platform == "linux" else set[int]()
    with (
        connected(LaunchpadFile.model_validate(greeting["settings"]), greeting["title"]) as database,
        launch_directory(),
    ):
        launchpad = database.fireworks(root / "logs")
        launchpad.turn = turn
        while (job := line.jobs.get()) is not None:
            _pin(job["cpus"] or everywhere)
            if job["cpus"]:
                share_of_cores()  # tells runs that are no pool where this one computes
            ranks = {"ranks": len(job["cpus"])} if job["cpus"] else {}
            worker = WorkerSettings(root, {**env, **ranks}, stop=line.stop)
            fworker = OurFWorker(worker, [job["calculation"]])
            launched = launch_next(launchpad, fworker, job["firework"])
            line.busy.clear()
            line.send({"launched": launched, "stop": line.stop.reason, "seconds": line.stop.seconds})


def _pin(cpus: Sequence[int] | set[int]) -> None:
    """Keep this process, and what it starts from now on, on some CPUs."""
    if sys.platform == "linux" and cpus:
        with suppress(OSError):  # one of them was taken away meanwhile
            os.sched_setaffinity(0, cpus)
