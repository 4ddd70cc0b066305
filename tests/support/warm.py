"""Commands in processes of their own that need not import everything anew: forked from one that has.

`Warm` starts a process that imports sodiate with what its commands need, and then forks for each command. A command
so started is a process as any other (its own memory, signals, exit code and output; kill -9 kills it alone), but its
imports, a second of processor time, were done once. Cold starts are tested where ``sodiate`` itself is run:
test_readme.py, cli/test_interrupts.py.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

MODULES = (
    *("fireworks.core.launchpad", "fireworks.core.rocket_launcher", "matplotlib.figure", "pandas", "pymongo"),
    *("custodian", "pymatgen.io.ase", "pymatgen.io.vasp", "scipy.optimize", "spglib"),
    *("fireworks.scripts.lpad_run", "fireworks.scripts.rlaunch_run"),
    *("rich.console", "rich.progress", "rich.table", "rich.traceback", "typer.rich_utils"),
)
"""What commands import when they come to it, beside sodiate's own modules."""

SODIATE = "from sodiate.workflows.cli.main import main; main()"
"""The code of the console script ``sodiate``."""


class Warm:
    """The process that forks, seen from the tests.

    Parameters
    ----------
    folder
        Where its socket and its complaints go.
    """

    def __init__(self, folder: Path) -> None:
        self.address = tempfile.mktemp(prefix="warm-", dir="/tmp")  # a socket's path must be short
        with (folder / "warm.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, __file__, self.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n", (folder / "warm.log").read_text()

    def close(self) -> None:
        """End it; commands that still run go on."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
        Path(self.address).unlink(missing_ok=True)

    def run(
        self, words: list[str], cwd: Path, timeout: float, code: str = SODIATE
    ) -> subprocess.CompletedProcess[str]:
        """Run code with ``sys.argv``, as `subprocess.run` with ``capture_output`` and ``text``."""
        with (
            tempfile.TemporaryFile() as output,
            tempfile.TemporaryFile() as errors,
            socket.socket(socket.AF_UNIX) as connection,
        ):
            connection.connect(self.address)
            request = {"words": words, "cwd": str(cwd), "environment": dict(os.environ), "code": code}
            socket.send_fds(connection, [b"!"], [output.fileno(), errors.fileno()])
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("r") as answer:
                pid = int(answer.readline())
                connection.settimeout(timeout)
                try:
                    status = int(answer.readline())
                except TimeoutError:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    raise subprocess.TimeoutExpired(words, timeout, _text(output), _text(errors)) from None
            returncode = os.waitstatus_to_exitcode(status)
            return subprocess.CompletedProcess(words, returncode, _text(output), _text(errors))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


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


def serve(address: str) -> dict[str, Any]:
    """Fork for each request until the tests close our input; returns, in a child, the request."""
    import select

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(16)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [], 1.0)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if sys.stdin in ready:
            os._exit(0)
        if listener in ready:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                return watch(connection)
            connection.close()


def watch(connection: socket.socket) -> dict[str, Any]:
    """Fork once more, and tell the tests how that child ended; returns the request, in the child alone."""
    _, files, _, _ = socket.recv_fds(connection, 1, 2)
    with connection.makefile("r") as lines:
        request: dict[str, Any] = json.loads(lines.readline())
    child = os.fork()
    if child:
        connection.sendall(b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        with suppress(BrokenPipeError):
            connection.sendall(b"%d\n" % status)
        os._exit(0)
    connection.close()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, *files)):
        os.dup2(file, number)
        os.close(file)
    return request


def main() -> None:
    import_all()
    request = serve(sys.argv[1])
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
