"""The private mongod: real servers; the kernel's process, socket and lock tables are the oracle."""

import errno
import fcntl
import hashlib
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sodiate.workflows.database import mongod, mongod_guard
from sodiate.workflows.database.mongod import PrivateMongod, launchpad_yaml, mongod_ahead, private_mongod

pytestmark = pytest.mark.usefixtures("mongod")

IS_ROOT = os.getuid() == 0
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")

# A sodiate command in miniature: says its URI, then obeys one line at a time.
USER = """
import os, subprocess, sys
from pathlib import Path
from sodiate.workflows.database.mongod import private_mongod
with private_mongod(Path(sys.argv[1])) as server:
    print(server.uri, flush=True)
    for line in sys.stdin:
        if line == "leave\\n":
            break
        if line == "child\\n":
            child = subprocess.Popen(["sleep", "30"], close_fds=False, stdout=subprocess.DEVNULL)
            print(child.pid, flush=True)
        if line == "fork\\n":
            child = os.fork()
            if not child:
                break
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class User:
    """A process that uses the private server of a root directory."""

    def __init__(self, root: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def leave(self) -> None:
        self.tell("leave")
        assert self.process.wait(20) == 0

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def user() -> Iterator[Callable[[Path], User]]:
    started: list[User] = []

    def start(root: Path) -> User:
        started.append(User(root))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    # A new database costs a dozen fsyncs, so in memory where that is possible.
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path / "root"
        return
    with TemporaryDirectory(dir=memory, prefix="sodiate-test-") as parent:
        yield Path(parent) / "root"


def processes(root: Path) -> dict[str, list[int]]:
    """Pids of the guards and servers of `root`, from the command lines of all living processes."""
    database = os.fsencode(root.resolve() / "mongod" / "db")
    found: dict[str, list[int]] = {"guard": [], "mongod": []}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if database in command and entry.name.isdigit():
                found["guard" if b"mongod_guard" in b" ".join(command[:6]) else "mongod"].append(int(entry.name))
    return found


def file_stem(root: Path) -> str:
    """Name of the socket and the lock files of `root`, without the ending."""
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]


def alive(root: Path) -> bool:
    return any(processes(root).values())


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


@contextmanager
def values(uri: str) -> Iterator[object]:
    """The collection ``sodiate.values``, written with journaling."""
    from pymongo import MongoClient, WriteConcern

    client: MongoClient[dict[str, object]] = MongoClient(uri, serverSelectionTimeoutMS=5000)
    with client:
        database = client.get_default_database()
        assert database.name == "sodiate"
        yield database.get_collection("values", write_concern=WriteConcern(w=1, j=True))


def insert(uri: str, document: dict[str, object]) -> None:
    with values(uri) as collection:
        collection.insert_one(document)  # type: ignore[attr-defined]


def names(uri: str) -> list[str]:
    with values(uri) as collection:
        return sorted(one["name"] for one in collection.find({}, {"name": 1}))  # type: ignore[attr-defined]


@NEEDS_PROC
@pytest.mark.alone
def test_server_lives_exactly_as_long_as_the_block(root: Path) -> None:
    with private_mongod(root) as server:
        insert(server.uri, {"name": "first"})
        running = processes(root)
        assert [len(pids) for pids in running.values()] == [1, 1]
        assert f'"pid": {running["mongod"][0]}' in server.record.read_text()
        # A Ctrl-C in the terminal goes to its foreground process group, which must hold neither.
        assert not {os.getpgrp()} & {os.getpgid(pid) for pids in running.values() for pid in pids}
    with pytest.raises(ProcessLookupError):  # at once, not a moment later
        os.kill(running["mongod"][0], 0)
    assert wait_until(lambda: not alive(root), 1.0)
    assert not server.record.exists()
    assert not list(server.socket.parent.glob(server.socket.stem + "*"))
    with private_mongod(root) as server:
        assert names(server.uri) == ["first"]


@NEEDS_PROC
def test_six_newcomers_share_one_server_until_the_last_has_left(root: Path, user: Callable[[Path], User]) -> None:
    users = [user(root) for _ in range(6)]
    (uri,) = {one.read() for one in users}
    running = processes(root)
    assert [len(pids) for pids in running.values()] == [1, 1]
    for one in users[:5]:
        one.tell("leave")
    assert [one.process.wait(20) for one in users[:5]] == [0] * 5
    insert(uri, {"name": "after five have left"})
    assert processes(root) == running
    users[5].leave()
    assert not alive(root)


@NEEDS_PROC
@pytest.mark.alone
def test_kill_9_of_the_user_stops_the_server_and_keeps_the_data(root: Path, user: Callable[[Path], User]) -> None:
    killed = user(root)
    uri = killed.read()
    killed.tell("child")  # a code started by the user, such as mpiexec, must not hold the lock
    orphan = int(killed.read())
    insert(uri, {"name": "journaled"})
    try:
        killed.process.kill()
        assert wait_until(lambda: not alive(root), 2.0)
        os.kill(orphan, 0)
    finally:
        os.kill(orphan, signal.SIGKILL)
    with private_mongod(root) as server:
        assert names(server.uri) == ["journaled"]


@NEEDS_PROC
@pytest.mark.alone
def test_kill_9_of_mongod_keeps_the_data_for_the_next_start(root: Path) -> None:
    with private_mongod(root) as server:
        # Larger than one of the 1 MB journal files.
        insert(server.uri, {"name": "large", "payload": os.urandom(8_000_000)})
        os.kill(processes(root)["mongod"][0], signal.SIGKILL)
        assert wait_until(lambda: not alive(root), 2.0)
        # The dead server's user is still in its block: the next one must start a new server all the same.
        with private_mongod(root) as following:
            assert names(following.uri) == ["large"]
            assert [len(pids) for pids in processes(root).values()] == [1, 1]
    assert not alive(root)


@NEEDS_PROC
@pytest.mark.skipif(sys.platform != "linux", reason="needs the parent-death signal of Linux")
@pytest.mark.alone
def test_kill_9_of_the_guard_leaves_no_server_behind(root: Path) -> None:
    with private_mongod(root) as server:
        running = processes(root)
        os.kill(running["mongod"][0], signal.SIGSTOP)  # as if it took long to stop
        try:
            os.kill(running["guard"][0], signal.SIGKILL)
            assert wait_until(lambda: not processes(root)["guard"], 2.0)
            # Nobody may start a second server on these data while the first one lives.
            with server.socket.with_suffix(".alive").open("ab") as lock, pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.kill(running["mongod"][0], signal.SIGCONT)
        assert wait_until(lambda: not alive(root), 2.0)


@NEEDS_PROC
@pytest.mark.alone
def test_newcomer_that_waited_for_a_stop_holds_the_new_lock(root: Path) -> None:
    entered, done = threading.Event(), threading.Event()

    def use() -> None:
        with private_mongod(root):
            entered.set()
            done.wait(10)

    path = mongod._runtime_directory() / f"{file_stem(root)}.users"
    newcomer = threading.Thread(target=use)
    with path.open("ab") as stopping:  # what the guard does: exclusive lock, clear up, end
        fcntl.flock(stopping, fcntl.LOCK_EX)
        newcomer.start()
        assert not entered.wait(0.1)
        path.unlink()
    try:
        assert entered.wait(10)
        with path.open("ab") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert alive(root)
    finally:
        done.set()
        newcomer.join()


@NEEDS_PROC
def test_newcomers_meet_the_stop_of_the_old_server(root: Path) -> None:
    def use(index: int) -> None:
        for turn in range(2):
            with private_mongod(root) as server:
                insert(server.uri, {"name": f"{index}-{turn}"})
            time.sleep(0.03 * index)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(use, range(2)))
    with private_mongod(root) as server:
        assert names(server.uri) == sorted(f"{index}-{turn}" for index in range(2) for turn in range(2))


# On one server for all of them, in a place that is as awkward as can be -----------------------------------

AWKWARD = "/".join(["deep" * 20] * 3 + ["a b %2F ünï,cødé 漢 'q\"#?@:;"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMongod]:
    parent = tmp_path_factory.mktemp("mongod")
    quick = parent / "mongod_guard.py"
    script = Path(mongod_guard.__file__).read_text()
    assert "HEARTBEAT_S = 5.0" in script
    quick.write_text(script.replace("HEARTBEAT_S = 5.0", "HEARTBEAT_S = 0.05"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mongod_guard, "__file__", str(quick))
        with private_mongod(parent / AWKWARD) as server:
            yield server


def test_any_root_path_will_do(shared: PrivateMongod, tmp_path: Path) -> None:
    assert len(os.fsencode(shared.socket)) < 100  # of the 103 that macOS takes and the 107 of Linux
    (tmp_path / "link").symlink_to(shared.root.parent)
    with private_mongod(tmp_path / "link" / shared.root.name) as same:
        assert same == shared
        insert(same.uri, {"name": AWKWARD})
    assert AWKWARD in names(shared.uri)
    assert (shared.root / "mongod" / "db" / "WiredTiger").exists()


@NEEDS_PROC
def test_forked_child_that_unwinds_does_not_give_the_lock_back(
    user: Callable[[Path], User], shared: PrivateMongod
) -> None:
    parent = user(shared.root)
    assert parent.read() == shared.uri
    parent.tell("fork")
    assert parent.read() == "0"
    # Two holders: this process and the parent.
    locks = Path("/proc/locks").read_text()
    inode = shared.socket.with_suffix(".users").stat().st_ino
    assert len(re.findall(rf"FLOCK +ADVISORY +READ +\d+ \S+:{inode} ", locks)) == 2, locks
    parent.leave()


def tcp_listeners(pid: int) -> list[str]:
    """Local addresses on which process `pid` listens, from the kernel's tables."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            sockets.add(str(descriptor.readlink()))
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        if (path := Path(f"/proc/{pid}/net/{table}")).exists()
        for line in path.read_text().splitlines()[1:]
    ]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]


@NEEDS_PROC
def test_only_the_user_can_reach_the_server(shared: PrivateMongod) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own = tcp_listeners(os.getpid())
        assert f"0100007F:{listener.getsockname()[1]:04X}" in own  # the method sees what there is to see
    assert tcp_listeners(processes(shared.root)["mongod"][0]) == []
    assert stat.S_IMODE(shared.socket.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(shared.socket.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE(shared.home.stat().st_mode) == 0o700


@pytest.mark.skipif(not IS_ROOT, reason="only the superuser can become somebody else")
def test_somebody_else_is_kept_out(shared: PrivateMongod) -> None:
    # In a forked child, since another user may not be able to run this Python.
    child = os.fork()
    if not child:
        code = 2
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            socket.socket(socket.AF_UNIX).connect(str(shared.socket))
        except PermissionError as error:
            code = 0 if error.errno == errno.EACCES else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_guard_shows_that_it_lives(shared: PrivateMongod) -> None:
    touched = [shared.record, *(shared.socket.with_suffix(end) for end in (".users", ".alive"))]
    for path in touched:
        os.utime(path, (0, 0))
    assert wait_until(lambda: all(path.stat().st_mtime > 0 for path in touched), 2.0)


def test_fireworks_uses_the_launch_pad_file(shared: PrivateMongod, tmp_path: Path) -> None:
    from fireworks import Firework, LaunchPad, ScriptTask

    path = tmp_path / "my_launchpad.yaml"
    path.write_text(launchpad_yaml(shared))
    launchpad = LaunchPad.from_file(str(path))
    launchpad.reset("", require_password=False)
    launchpad.add_wf(Firework(ScriptTask.from_str("true"), name="na_on_wsse"))
    launchpad.connection.close()
    lpad = [str(Path(sys.executable).with_name("lpad")), "-l", str(path), "get_fws"]
    done = subprocess.run(lpad, capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path)
    assert '"name": "na_on_wsse"' in done.stdout
    assert '"state": "READY"' in done.stdout


def test_uri_of_a_socket_is_escaped() -> None:
    server = PrivateMongod(Path("/data/my root"), Path("/tmp/a b/c%.sock"))
    assert server.uri == "mongodb://%2Ftmp%2Fa%20b%2Fc%25.sock/sodiate"


def test_a_server_that_is_started_ahead_is_the_one_that_is_used(tmp_path: Path) -> None:
    root = tmp_path / "new" / "root"
    with mongod_ahead(root) as wait:
        wait()
        with private_mongod(root) as server:
            assert mongod_guard.answers(str(server.socket))
        assert mongod_guard.answers(str(server.socket))  # until both have let go
        with mongod_ahead(root) as wait_too, private_mongod(root):
            wait_too()
    assert not mongod_guard.answers(str(server.socket))
    assert (root / "mongod" / "db").is_dir()


@pytest.mark.parametrize("there", ["nothing", "root", "database"])
def test_a_server_that_nobody_wanted_leaves_no_trace(tmp_path: Path, there: str) -> None:
    root = tmp_path / "new" / "root"
    if there == "root":
        root.mkdir(parents=True)
        (root / "mine").touch()
    if there == "database":
        with private_mongod(root):
            pass
    before = sorted(tmp_path.rglob("*/db")) + sorted(tmp_path.glob("new/root/*"))
    with pytest.raises(ZeroDivisionError), mongod_ahead(root):
        raise ZeroDivisionError
    assert sorted(tmp_path.rglob("*/db")) + sorted(tmp_path.glob("new/root/*")) == before
    assert (tmp_path / "new").exists() == (there != "nothing")


@pytest.mark.parametrize("first", [0, 1])
def test_two_that_nobody_wanted_leave_no_trace(tmp_path: Path, first: int) -> None:
    """The second finds the folders of the first, and may end before it or after it."""
    root = tmp_path / "new" / "root"
    both = [mongod_ahead(root), mongod_ahead(root)]
    for begun in both:
        begun.__enter__()
    for ended in (both[first], both[1 - first]):
        ended.__exit__(None, None, None)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_somebody_else_has_done_at_the_same_moment_stays(
    root: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Another command makes the root, uses it and ends, just before or just after this one starts the server."""
    begin = mongod._begin

    def meanwhile(*given: Any) -> Any:
        if when == "before":
            use_elsewhere()
        finish = begin(*given)
        if when == "after":
            use_elsewhere()
        return finish

    def use_elsewhere() -> None:
        monkeypatch.setattr(mongod, "_begin", begin)
        with private_mongod(root) as server:
            insert(server.uri, {"name": "kept"})

    monkeypatch.setattr(mongod, "_begin", meanwhile)
    with suppress(ZeroDivisionError), mongod_ahead(root):
        raise ZeroDivisionError
    with private_mongod(root) as server:
        assert names(server.uri) == ["kept"]


def test_a_database_that_was_wanted_is_never_taken_for_another(root: Path) -> None:
    """Killed before it was refused, a command leaves a mark; who uses the database takes that away."""
    with suppress(ZeroDivisionError), mongod_ahead(root):
        mark = (root / "mongod" / "unwanted.json").read_text()
        raise ZeroDivisionError
    with private_mongod(root) as server:
        insert(server.uri, {"name": "kept"})
    assert not (root / "mongod" / "unwanted.json").exists()
    (root / "mongod" / "unwanted.json").write_text(mark)  # as of the kill
    with private_mongod(root):
        pass
    with suppress(ZeroDivisionError), mongod_ahead(root):
        raise ZeroDivisionError
    with private_mongod(root) as server:
        assert names(server.uri) == ["kept"]


@NEEDS_PROC
@pytest.mark.alone
def test_a_process_forked_meanwhile_does_not_pass_for_the_server(root: Path) -> None:
    """As the workers of a run: the server that was killed is seen to have ended all the same."""
    with mongod_ahead(root) as wait:
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
        try:
            wait()
            with private_mongod(root) as server:
                assert not server.has_ended()
                os.kill(processes(root)["mongod"][0], signal.SIGKILL)
                assert wait_until(server.has_ended, 2.0)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@pytest.mark.alone
def test_a_server_that_only_somebody_else_wants_stays(root: Path, user: Callable[[Path], User]) -> None:
    """Two commands on a new root at once, of which the one that began to start its server is refused."""
    with suppress(ZeroDivisionError), mongod_ahead(root):
        other = user(root)
        uri = other.read()
        insert(uri, {"name": "kept"})
        raise ZeroDivisionError
    assert names(uri) == ["kept"]
    assert (root / "mongod" / "db" / "WiredTiger").exists()
    other.leave()
    with private_mongod(root) as server:
        assert names(server.uri) == ["kept"]


def test_what_somebody_else_has_done_stays(root: Path) -> None:
    """As above, where the other command is done before the first one is refused."""
    with suppress(ZeroDivisionError), mongod_ahead(root):
        with private_mongod(root) as server:
            insert(server.uri, {"name": "kept"})
        raise ZeroDivisionError
    with private_mongod(root) as server:
        assert names(server.uri) == ["kept"]
