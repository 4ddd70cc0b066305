"""A private MongoDB for a root directory: started on demand, shared by its commands, stopped after the last one.

The data are in ``<root>/mongod/db``. The server listens on one unix socket, on no TCP port, in
``/tmp/sodiate-<uid>``, which only the user can enter. That directory does not depend on the environment
(a batch job, cron and a login shell must all find the same server), is local and has short paths; and
unlike ``$XDG_RUNTIME_DIR`` it is not removed at logout while a run in the background goes on.

Two locks, which the kernel releases also after kill -9, decide who starts and who stops:

``<hash>.users``
    Held shared by every user process. The guard (``mongod_guard.py``), parent of mongod, waits to hold it
    exclusively, which it does when no user is left; then it stops mongod. A newcomer waits meanwhile.
``<hash>.alive``
    Held exclusively by the process that starts the server, and inherited by the guard and by mongod: it is free
    if and only if neither is alive. The process that obtains it starts a server; all others attach.
"""

import fcntl
import hashlib
import json
import os
import platform
import select
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO
from urllib.parse import quote
from weakref import WeakSet

from ...errors import SodiateError
from . import mongod_guard
from .mongod_binary import MongodError, usable_mongod
from .room import no_room

DATABASE = "sodiate"

_RUNTIME_PARENT = Path("/tmp")
_REFUSED_WITHIN_S = 600.0
"""A command that is refused is so by then; what an older one has left when it was killed is left alone."""

_START_LIMIT_S = 60.0
_STOP_WAIT_S = 30.0
_OPTIONS = [
    *("--nounixsocket", "--port", "0", "--quiet"),
    *("--wiredTigerCacheSizeGB", "0.25"),
    *("--setParameter", "diagnosticDataCollectionEnabled=false"),
    # Small journal files, and sessions for one user's processes: 2 MB on disk and 80 MB of memory.
    *("--wiredTigerEngineConfigString", "log=(file_max=1MB,prealloc=false),session_max=1000"),
]


@dataclass(frozen=True)
class PrivateMongod:
    """A running private server: its root directory, without symbolic links, and its unix socket."""

    root: Path
    socket: Path

    @property
    def uri(self) -> str:
        """Connection string, with the database name."""
        return f"mongodb://{quote(str(self.socket), safe='')}/{DATABASE}"

    def has_ended(self) -> bool:
        """Tell whether neither the server nor its guard runs any more, although this process uses it."""
        with _open_lock(self.socket.with_suffix(".alive")) as alive:
            return _try_lock(alive, fcntl.LOCK_SH)

    def explain_end(self) -> SodiateError:
        """Return the error of a server that ended in use, by what its log and its disk say."""
        errors = _errors(self.log) if self.log.exists() else []
        text = "\n".join(errors)
        full = no_room(self.home, SodiateError(text))
        if full is not None:
            return full
        said = f" {self.log} says: {errors[0]}" if errors else f" Its log is {self.log}."
        return MongodError(
            f"the MongoDB of {self.root} ended while it was in use (killed, or out of memory?). What is done is "
            f"kept: go on with the same command.{said}"
        )

    @property
    def home(self) -> Path:
        """Directory of the data, the log and the record of the running server."""
        return self.root / "mongod"

    @property
    def log(self) -> Path:
        """Log of the server; the one before it has ``.1`` appended."""
        return self.home / "mongod.log"

    @property
    def record(self) -> Path:
        """Host, pid, socket and version of the running server, in JSON."""
        return self.home / "server.json"

    @property
    def unwanted(self) -> Path:
        """New folders, in JSON, from before the server is started ahead until somebody wants it."""
        return self.home / "unwanted.json"

    def mark_unwanted(self) -> None:
        """Make the server's folder if it is new, and note which folders are; nobody else may start it meanwhile."""
        new = [path for path in (self.home, self.root, *self.root.parents) if not path.exists()]
        if self.home in new:
            with suppress(OSError):  # told when the server is started
                self.home.mkdir(parents=True)
                self.unwanted.write_text(json.dumps([str(path) for path in new]), encoding="utf-8")

    def want(self) -> None:
        """Keep the server's folders, whatever becomes of the command that started it ahead."""
        with suppress(OSError):  # told when the server is started
            self.unwanted.unlink(missing_ok=True)


def launchpad_yaml(server: PrivateMongod) -> str:
    """Return a FireWorks ``my_launchpad.yaml`` for `server`, good for as long as it runs."""
    return f'uri_mode: true\nhost: "{server.uri}"\nname: {DATABASE}\nmongoclient_kwargs: {{}}\n'


@contextmanager
def private_mongod(root: Path) -> Iterator[PrivateMongod]:
    """Start the private mongod of a root directory, or attach to the one that runs, and let go at the end.

    The last user to let go waits until the server is down. `root` is created if it does not exist.

    Parameters
    ----------
    root
        Root directory of the calculations.

    Yields
    ------
    PrivateMongod
        Its `uri` is good until the end of the ``with`` block.

    Raises
    ------
    MongodError
        If no mongod can be run, or not on this root.
    """
    with _used(_server_of(root)) as server:
        _reach(server)
        server.want()  # it answers, so that who started it ahead has noted before that nobody wants it
        yield server


@contextmanager
def mongod_ahead(root: Path) -> Iterator[Callable[[], None]]:
    """Start the private mongod of a root while the caller does something else; let go at the end.

    A command that is refused meanwhile leaves no trace of it, unless somebody else has used the server by then.

    Parameters
    ----------
    root
        Root directory of the calculations.

    Yields
    ------
    Callable
        Waits until the server answers; raises `MongodError` if none can run. To be called before `private_mongod`.
    """
    server = _server_of(root)
    process = os.getpid()
    try:
        with _used(server), ExitStack() as opened:
            finish = _begin(server, opened)

            def wait() -> None:
                server.want()
                with opened:
                    finish()

            yield wait
    finally:
        if os.getpid() == process:
            _remove_unwanted(server)


def _remove_unwanted(server: PrivateMongod) -> None:
    """Remove the folder of a server that nobody has wanted, and the new ones above it, unless somebody uses it.

    Of two commands on a new root that are both refused, the one that ends last does so, whichever began.
    """
    paths = [server.socket.with_suffix(end) for end in (".users", ".alive")]
    with _open_lock(paths[0]) as users, _open_lock(paths[1]) as alive:
        if not (_try_lock(users, fcntl.LOCK_EX) and _is_at(paths[0], users) and _try_lock(alive, fcntl.LOCK_EX)):
            return
        try:
            recent = time.time() - server.unwanted.stat().st_mtime < _REFUSED_WITHIN_S
            _, *above = [Path(path) for path in json.loads(server.unwanted.read_text(encoding="utf-8"))]
        except (OSError, ValueError):  # there is none
            return
        if not recent:
            return
        shutil.rmtree(server.home, ignore_errors=True)
        with suppress(OSError):  # somebody else has put something there
            for path in above:
                path.rmdir()
        for path in paths:
            path.unlink(missing_ok=True)


def _server_of(root: Path) -> PrivateMongod:
    real = os.path.realpath(root)
    name = hashlib.sha256(os.fsencode(real)).hexdigest()[:16]
    return PrivateMongod(Path(real), _runtime_directory() / f"{name}.sock")


@contextmanager
def _used(server: PrivateMongod) -> Iterator[PrivateMongod]:
    """Count as a user of a server, and let go at the end."""
    process = os.getpid()
    with _users_lock(server.socket.with_suffix(".users")) as users:
        try:
            yield server
        finally:
            # A forked child that unwinds this frame must not give the lock back.
            if os.getpid() == process:
                _leave(server, users)


def _begin(server: PrivateMongod, opened: ExitStack) -> Callable[[], None]:
    """Begin to start a server, unless one runs; return what waits for it, while ``opened`` is not closed."""
    alive = opened.enter_context(_open_lock(server.socket.with_suffix(".alive")))
    if not _try_lock(alive, fcntl.LOCK_EX):
        opened.close()
        return partial(_reach, server)
    try:
        binary, version = usable_mongod()
        server.mark_unwanted()  # as long as `alive` is locked, nobody else starts it
        guard = _spawn_guard(server, binary, alive)
    except MongodError as error:
        opened.close()
        return partial(_raise, error)
    opened.callback(guard.wait)  # it forks at once
    return partial(_check_answer, server, binary, version, guard)


def _raise(error: MongodError) -> None:
    raise error


def _runtime_directory() -> Path:
    directory = _RUNTIME_PARENT / f"sodiate-{os.getuid()}"
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        status = directory.lstat()
    except OSError as error:
        raise MongodError(f"cannot create {directory} for mongod's socket: {error.strerror}") from error
    private = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o077
    if not private:
        raise MongodError(
            f"{directory} is not a directory that only you can enter (owner {status.st_uid}, "
            f"{stat.filemode(status.st_mode)}), so others could reach your database. Remove it or have it "
            "removed, then try again; or use a MongoDB server of yours with --launchpad FILE."
        )
    return directory


_locks: WeakSet[IO[bytes]] = WeakSet()


def _open_lock(path: Path) -> IO[bytes]:
    try:
        file = path.open("ab", buffering=0)
    except OSError as error:
        raise MongodError(f"cannot create the lock file {path}: {error.strerror}") from error
    _locks.add(file)
    return file


def _close_locks() -> None:
    """In a forked child, such as a worker of a run: else it would pass for a user or, worse, for the server."""
    for file in list(_locks):
        file.close()


os.register_at_fork(after_in_child=_close_locks)


def _try_lock(file: IO[bytes], operation: int) -> bool:
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, file: IO[bytes]) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    return False


@contextmanager
def _users_lock(path: Path) -> Iterator[IO[bytes]]:
    while True:
        with _open_lock(path) as users:
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while an old server is being stopped
            # The process that stopped it removed the file: a lock on the removed file is worthless.
            if _is_at(path, users):
                yield users
                return


def _reach(server: PrivateMongod) -> None:
    """Attach to the server that runs or is being started, or else start a server."""
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        with _open_lock(server.socket.with_suffix(".alive")) as alive:
            if _try_lock(alive, fcntl.LOCK_EX):
                _start(server, alive)
                return
        if mongod_guard.answers(str(server.socket)):
            return
        time.sleep(0.01)
    raise MongodError(
        f"the mongod of {server.root} runs but does not answer on {server.socket}: see {server.log}. "
        f"If it hangs, end the process that {server.record} names and try again."
    )


def _leave(server: PrivateMongod, users: IO[bytes]) -> None:
    """Release the users' lock and, as the last user, wait until the guard has stopped the server."""
    users_path, alive_path = (server.socket.with_suffix(end) for end in (".users", ".alive"))
    with _open_lock(alive_path) as alive:
        deadline = time.monotonic() + _STOP_WAIT_S
        fcntl.flock(users, fcntl.LOCK_UN)
        while not _try_lock(alive, fcntl.LOCK_EX):
            # Only a shared lock: there are other users. No lock: the guard has it and is stopping the server.
            has_other_users = not _try_lock(users, fcntl.LOCK_EX) and _try_lock(users, fcntl.LOCK_SH)
            fcntl.flock(users, fcntl.LOCK_UN)
            if has_other_users or time.monotonic() > deadline:
                return
            time.sleep(0.005)
        # Clean up after a server that died or never started.
        if _try_lock(users, fcntl.LOCK_EX) and _is_at(users_path, users):
            for path in (server.socket, alive_path, users_path):
                path.unlink(missing_ok=True)


def _start(server: PrivateMongod, alive: IO[bytes]) -> None:
    """Start guard and mongod, which inherit the lock in `alive`, and wait until the server answers."""
    binary, version = usable_mongod()
    _check_answer(server, binary, version, _spawn_guard(server, binary, alive))


def _check_answer(server: PrivateMongod, binary: Path, version: str, guard: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers, and record it."""
    with _errors_of_files(server):
        answer = _answer(guard)
        if answer.startswith("ready"):
            record = {"host": platform.node(), "pid": int(answer.split()[1])}
            record |= {"socket": str(server.socket), "version": version}
            draft = server.record.with_suffix(".tmp")
            draft.write_text(json.dumps(record) + "\n", encoding="utf-8")
            draft.replace(server.record)
            return
    raise MongodError(_explain(server, binary, answer))


@contextmanager
def _errors_of_files(server: PrivateMongod) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MongodError(
            f"cannot set up the database of {server.root}: {error.filename or server.home}: "
            f"{error.strerror}. Choose a root directory in which you can create files."
        ) from error


def _spawn_guard(server: PrivateMongod, binary: Path, alive: IO[bytes]) -> subprocess.Popen[bytes]:
    """Prepare the folder of the database, and start the guard."""
    with _errors_of_files(server):
        _refuse_other_host(server)
        (server.home / "db").mkdir(parents=True, exist_ok=True)
        server.home.chmod(0o700)
        if server.log.exists():
            server.log.replace(f"{server.log}.1")
        return _guard(server, binary, alive)


def _guard(server: PrivateMongod, binary: Path, alive: IO[bytes]) -> subprocess.Popen[bytes]:
    with server.socket.with_suffix(".users").open("ab") as users, server.log.open("ab") as log:
        descriptors = (users.fileno(), alive.fileno())
        script = [sys.executable, "-I", "-S", mongod_guard.__file__, *map(str, descriptors)]
        mongod: list[str | Path] = [binary, "--dbpath", server.home / "db", "--bind_ip", server.socket]
        return subprocess.Popen(
            [*script, server.socket, server.record, *mongod, *_OPTIONS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=server.home,
            start_new_session=True,  # Ctrl-C and a closed terminal reach neither guard nor mongod
            pass_fds=descriptors,
        )


def _answer(guard: subprocess.Popen[bytes]) -> str:
    """Return the answer of the guard: ``ready PID``, or an error."""
    assert guard.stdout is not None
    with guard.stdout as pipe:
        guard.wait()  # it forks at once
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        if not poll.poll(_START_LIMIT_S * 1000):
            return f"no answer within {_START_LIMIT_S:.0f} s"
        return os.read(pipe.fileno(), 100).decode().strip() or "its guard failed"


def _read_record(server: PrivateMongod) -> tuple[str, int]:
    """Return the recorded host and the record's time stamp, or ("", 0) if there is no record."""
    try:
        # Open the file first, since NFS looks up a fresh time stamp only then.
        with server.record.open(encoding="utf-8") as record:
            return str(json.load(record)["host"]), os.fstat(record.fileno()).st_mtime_ns
    except (OSError, ValueError, LookupError, TypeError):
        return "", 0


def _refuse_other_host(server: PrivateMongod) -> None:
    """Refuse a root in use on another host, also where the file system's locks do not reach other hosts.

    The guard there touches its record every few seconds. Watching the time stamp change needs no common clock, and a
    record left behind by a crash costs only the wait.
    """
    previous = _read_record(server)
    deadline = time.monotonic() + 2.5 * mongod_guard.HEARTBEAT_S
    while previous[0] not in ("", platform.node()) and time.monotonic() < deadline:
        time.sleep(mongod_guard.HEARTBEAT_S / 20)
        record = _read_record(server)
        if record != previous and record[0]:
            raise MongodError(_in_use(server))
        previous = record


def _in_use(server: PrivateMongod) -> str:
    host, _ = _read_record(server)
    message = f"the database {server.home / 'db'} is in use"
    if not host:
        return f"{message} by a mongod that sodiate did not start: stop that one and try again."
    return (
        f"{message} on host {host} (see {server.record}). Wait until the sodiate commands there have ended, or run "
        "this one there; for several machines at once name a MongoDB server with --launchpad FILE."
    )


def _explain(server: PrivateMongod, binary: Path, answer: str) -> str:
    """Return the reason why mongod did not start, from its log."""
    lines = _errors(server.log)
    text = "\n".join(lines)
    if "DBPathInUse" in text:
        return _in_use(server)
    advice = ""
    if no_room(server.home, SodiateError(text)) is not None:
        advice = f" The disk of {server.root} is full: free some space and try again."
    elif "unsupported WiredTiger" in text or "featureCompatibilityVersion" in text:
        advice = f" Its data were written by another version of mongod than {binary}: use that version."
    tail = "\n  ".join(lines[:3])
    said = f"{server.log} says:\n  {tail}" if lines else f"It left no error in {server.log}: it may have been killed."
    return f"mongod could not start on {server.root} ({answer}).{advice} {said}"


def _errors(log: Path) -> list[str]:
    """Return the distinct errors among the JSON lines of `log`, and the lines that are not JSON, in order."""
    errors: list[str] = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line if line.startswith("{") else "")
        except ValueError:
            # One that is JSON up to where it was torn, as by a full disk, is no error's.
            entry = {} if line.startswith("{") else {"s": "E", "msg": line}
        if entry.get("s") in ("E", "F"):
            details = entry.get("attr", {})
            cause = details.get("reason") or details.get("message") or details.get("error") or ""
            cause = f"{cause['msg']}: {cause['error_str']}" if isinstance(cause, dict) else cause
            errors.append(f"{entry['msg'].strip()} {cause}"[:300])
    return list(dict.fromkeys(errors))
