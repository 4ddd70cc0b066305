"""A database of its own for each test, on a server that all of them share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

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
