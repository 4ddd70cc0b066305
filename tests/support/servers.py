"""A database of its own for each test, on a server that all of them share; and servers as users have them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from sodiate.workflows.database.connection import open_launchpad
from sodiate.workflows.database.mongod import DATABASE, PrivateMongod, launchpad_yaml

_NUMBERS = count(1)


def write_launchpad(server: PrivateMongod, folder: Path, name: str) -> Path:
    """Write FireWorks' launchpad file of a database on a server into a folder."""
    folder.mkdir(exist_ok=True)
    path = folder / "my_launchpad.yaml"
    path.write_text(launchpad_yaml(server).replace(f"name: {DATABASE}", f"name: {name}"))
    return path


@contextmanager
def own_launchpad(server: PrivateMongod, folder: Path) -> Iterator[Path]:
    """Write the launchpad file of a new database on a server; the database ends with the block."""
    name = f"test-{os.environ.get('PYTEST_XDIST_WORKER', 'only')}-{next(_NUMBERS)}"
    path = write_launchpad(server, folder, name)
    yield path
    with open_launchpad(path) as opened:
        opened.db.client.drop_database(name)


@dataclass
class Mongod:
    """A server on a port, which goes away and comes back."""

    program: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        (self.folder / "db").mkdir(parents=True, exist_ok=True)
        options = ["--bind_ip", "127.0.0.1", "--port", str(self.port), "--nounixsocket", "--quiet"]
        options += ["--logpath", str(self.folder / "log"), "--logappend", "--wiredTigerCacheSizeGB", "0.25"]
        options += ["--setParameter", "diagnosticDataCollectionEnabled=false", "--dbpath", str(self.folder / "db")]
        self.process = subprocess.Popen([self.program, *options], stdout=subprocess.DEVNULL)
        with MongoClient[dict[str, Any]]("127.0.0.1", self.port, serverSelectionTimeoutMS=30000) as client:
            client.admin.command("ping")

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(30)


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def asks_for_password(mongod: Path, folder: Path) -> Iterator[MongoClient[dict[str, Any]]]:
    """Run a server on a port that asks for a password, and yield a client that may do everything."""
    (folder / "db").mkdir()
    log = folder / "log"
    options = ["--bind_ip", "127.0.0.1", "--port", "0", "--nounixsocket", "--auth", "--quiet", "--logpath", str(log)]
    light = ["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    server = subprocess.Popen([mongod, "--dbpath", folder / "db", *options, *light], stdout=subprocess.DEVNULL)
    try:
        port = _listening_port(log)
        with MongoClient[dict[str, Any]]("127.0.0.1", port) as first:  # the first user may be made without one
            first["admin"].command("createUser", "anna", pwd="right horse", roles=["root"])
        with MongoClient[dict[str, Any]]("127.0.0.1", port, username="anna", password="right horse") as client:
            yield client
    finally:
        server.terminate()
        server.wait()


def _listening_port(log: Path) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines() if log.exists() else ():
            if '"Waiting for connections"' in line:
                return int(json.loads(line)["attr"]["port"])
        time.sleep(0.02)
    raise TimeoutError(log)
