"""What the tests of the command line share: commands that must be refused, and what they may leave behind."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]


def wait_until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fail where a block takes longer, as what would go on for minutes or for ever."""

    def fail(*_: object) -> None:
        pytest.fail(f"not done after {seconds} s")

    previous = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def everything(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its content, except what a private server keeps for itself."""
    paths = [p for p in folder.rglob("*") if "mongod" not in p.relative_to(folder).parts]
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in paths}


def servers(folder: Path) -> list[str]:
    """Command lines of the servers and guards that run on something below a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # ended meanwhile
            continue
        if "mongod" in command and f"{folder}/" in command:
            found.append(command)
    return found


def one_message(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]


def usage_message(done: subprocess.CompletedProcess[str]) -> str:
    """Typer's own: where to find help, and one box with the message."""
    assert done.returncode == 2, done
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.count("─ Error ─") == 1
    return " ".join(done.stderr.replace("│", " ").split())


@dataclass
class Refused:
    """Runs commands in a folder, two at a time, and returns the one message of each; nothing may stay behind."""

    cli: Cli
    folder: Path

    def __call__(
        self,
        *commands: tuple[str | Path, ...],
        message: Callable[[subprocess.CompletedProcess[str]], str] = one_message,
    ) -> list[str]:
        before = everything(self.folder)
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda command: self.cli(*command, cwd=self.folder), commands))
        found = [message(one) for one in done]
        assert everything(self.folder) == before
        assert not servers(self.folder)
        return found


def says(message: str, *words: str | Path) -> None:
    assert all(str(word) in message for word in words), (message, words)


def content(db: Any) -> dict[str, list[Any]]:
    """Every document of a database."""
    return {name: sorted(map(repr, db[name].find())) for name in sorted(db.list_collection_names())}
