"""Commands in processes of their own that need not import everything anew: forked from one that has.

`Warm` starts a process that imports sodiate with what its commands need, and then forks for each command. A command
so started is a process as any other (its own memory, signals, exit code and output; kill -9 kills it alone), but its
imports, a second of processor time, were done once. Cold starts are tested where ``sodiate`` itself is run:
test_readme.py, the Ctrl-C of cli/test_interrupts.py.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

MODULES = (
    *("fireworks.core.launchpad", "fireworks.core.rocket_launcher", "matplotlib.figure", "pandas", "pymongo"),
    *("custodian", "pymatgen.io.ase", "pymatgen.io.vasp", "scipy.optimize", "spglib"),
    *("fireworks.scripts.lpad_run", "fireworks.scripts.rlaunch_run"),
    *("rich.console", "rich.progress", "rich.table", "rich.traceback", "typer.rich_utils"),
)
"""What commands import when they come to it, beside sodiate's own modules."""

SODIATE = "from sodiate.workflows.cli.main import main; main()"
"""The code of the console script ``sodiate``."""


def _start(common: Path, known: Path) -> None:
    """Start the process and write down its address, a socket's path, which must be short."""
    address = tempfile.mktemp(prefix="warm-", dir="/tmp")
    words = [sys.executable, __file__, address, str(common / "warm-users")]
    with (common / "warm.log").open("ab") as log:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n", (common / "warm.log").read_text()
    process.stdout.close()
    known.write_text(address)


class Warm:
    """The process that forks, seen from the tests: one for all workers of pytest-xdist, started by the first in need.

    Parameters
    ----------
    folder
        What commands print.
    common
        The same folder for all workers; what the process complains of is in it.
    """

    def __init__(self, folder: Path, common: Path) -> None:
        from support.sharing import make_once  # of the tests, on whose path the process itself is not

        self.folder, self.numbers = folder, count(1)
        self.users = (common / "warm-users").open("ab")
        fcntl.flock(self.users, fcntl.LOCK_SH)  # as long as anybody holds it, the process is there
        known = common / "warm-address"
        make_once(known, lambda: _start(common, known))
        self.address = known.read_text()

    def close(self) -> None:
        """Let go of it; it ends after the last worker, and commands that still run go on."""
        self.users.close()

    def run(
        self, words: list[str], cwd: Path, timeout: float, code: str = SODIATE
    ) -> subprocess.CompletedProcess[str]:
        """Run code with ``sys.argv``, as `subprocess.run` with ``capture_output`` and ``text``."""
        process = self.start(words, cwd, code)
        try:
            output, errors = process.communicate(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(words, process.wait(1), output, errors)

    def start(self, words: list[str], cwd: Path, code: str = SODIATE, *, own_group: bool = False) -> Process:
        """Start code with ``sys.argv``, in a session and process group of its own if asked to."""
        number = next(self.numbers)
        paths = (self.folder / f"{number}.out", self.folder / f"{number}.err")
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self.address)
        environment = dict(os.environ)
        request = {"words": words, "cwd": str(cwd), "environment": environment, "code": code, "own_group": own_group}
        with paths[0].open("wb") as output, paths[1].open("wb") as errors:
            socket.send_fds(connection, [b"!"], [output.fileno(), errors.fileno()])
        connection.sendall(json.dumps(request).encode() + b"\n")
        return Process(words, connection, paths)


class Process:
    """A command that was started, with what tests need of `subprocess.Popen`."""

    def __init__(self, words: list[str], connection: socket.socket, paths: tuple[Path, Path]) -> None:
        self.words, self.paths = words, paths
        self.returncode: int | None = None
        self._connection = connection
        self.pid = int(self._line())

    def _line(self) -> str:
        """Read a line of the answer and nothing of the next, for which `wait` will look."""
        line = b""
        while not line.endswith(b"\n"):
            byte = self._connection.recv(1)
            assert byte, f"{self.words}: the process that forks has ended"
            line += byte
        return line.decode()

    def wait(self, timeout: float) -> int:
        """Wait for its end and return its exit code, negative for a signal."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.words, timeout)
            self.returncode = os.waitstatus_to_exitcode(int(self._line()))
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for its end and return what it printed."""
        self.wait(timeout)
        output, errors = (path.read_text(encoding="utf-8") for path in self.paths)
        return output, errors

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to it alone, if it still runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it alone."""
        self.send_signal(signal.SIGKILL)


# In the process that forks.


def import_all() -> None:
    """Import sodiate, all of it that needs no code of a user's choice, and what its commands import late."""
    from importlib import import_module
    from pkgutil import walk_packages

    import sodiate

    for found in walk_packages(sodiate.__path__, "sodiate."):
        if not found.name.startswith(("sodiate.tests", "sodiate.benchmarks", "sodiate.docs", "sodiate.build")):
            with suppress(ImportError):  # what a command does not find, it tells itself
                import_module(found.name)
    for name in MODULES:
        import_module(name)
    _draw_once()
    _wait_for_no_monitor()
    gc.collect()
    gc.freeze()  # a child's first collection would otherwise copy every page


def _wait_for_no_monitor() -> None:
    """Spare each child the half second in which pymongo waits at its end for threads that end with it anyway."""
    with suppress(ImportError, AttributeError):
        from pymongo.synchronous import monitor

        atexit.unregister(monitor._shutdown_resources)


def _draw_once() -> None:
    """Let matplotlib find its fonts and build its parser of formulas."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure()
    figure.text(0.5, 0.5, "$E$")
    FigureCanvasAgg(figure).draw()


def serve(address: str, users: str) -> dict[str, Any]:
    """Fork for each request until no worker is left; returns, in a child, the request."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(16)
    print("ready", flush=True)
    children: dict[int, tuple[int, socket.socket]] = {}
    while True:
        ready, _, _ = select.select([listener.fileno(), *children], [], [], 1.0)
        if not ready and not children:
            _end_without_users(Path(address), Path(users))
        for child in children.keys() & set(ready):
            _tell_the_end(child, *children.pop(child))
        if listener.fileno() in ready:
            connection, _ = listener.accept()
            files, request = _receive(connection)
            pid = os.fork()
            if pid == 0:
                for one in (listener, connection, *(other for _, other in children.values())):
                    one.close()
                for descriptor in children:
                    os.close(descriptor)
                _begin(request, files)
                return request
            for file in files:
                os.close(file)
            with suppress(BrokenPipeError):
                connection.sendall(b"%d\n" % pid)
            children[os.pidfd_open(pid)] = pid, connection


def _tell_the_end(child: int, pid: int, connection: socket.socket) -> None:
    """Tell the tests how a child ended, whose descriptor is ready."""
    os.close(child)
    _, status = os.waitpid(pid, 0)
    with connection, suppress(BrokenPipeError):
        connection.sendall(b"%d\n" % status)


def _end_without_users(address: Path, users: Path) -> None:
    """End this process if no worker holds its lock any more; one that comes now waits, and starts another."""
    try:
        with users.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            users.with_name("warm-address").unlink(missing_ok=True)
            address.unlink(missing_ok=True)
            os._exit(0)
    except BlockingIOError:
        return
    except FileNotFoundError:  # the folder of the test run is gone
        os._exit(0)


def _receive(connection: socket.socket) -> tuple[list[int], dict[str, Any]]:
    """Return the files for what a command prints, and the request."""
    _, files, _, _ = socket.recv_fds(connection, 1, 2)
    with connection.makefile("r") as lines:
        return files, json.loads(lines.readline())


def _begin(request: Mapping[str, Any], files: list[int]) -> None:
    """Take the place of a process of its own."""
    if request["own_group"]:
        os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, *files)):
        os.dup2(file, number)
        os.close(file)


def main() -> None:
    import_all()
    request = serve(sys.argv[1], sys.argv[2])
    before, now = (_search_path(environment) for environment in (os.environ, request["environment"]))
    sys.path[:] = [*now, *(place for place in sys.path[1:] if place not in before)]
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    sys.argv = request["words"]
    os._exit(run(request["code"]))


def _search_path(environment: Mapping[str, str]) -> list[str]:
    return [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]


def run(code: str) -> int:
    """Run code to its end and return its exit code, without the second in which Python takes all modules apart."""
    try:
        exec(compile(code, "<command>", "exec"), {"__name__": "__main__"})
        exit_code = 0
    except SystemExit as end:
        exit_code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        exit_code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):  # closed, or without a reader
            stream.flush()
    return exit_code


if __name__ == "__main__":
    main()
