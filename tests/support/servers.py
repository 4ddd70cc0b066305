"""A database of its own for each test, on a server that all of them share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sodiate.workflows.database.connection import open_launchpad
from sodiate.workflows.database.mongod import DATABASE, PrivateMongod, launchpad_yaml

_NUMBERS = count(1)


@contextmanager
def own_launchpad(server: PrivateMongod, folder: Path) -> Iterator[Path]:
    """Write the launchpad file of a new database on a server; the database ends with the block."""
    name = f"test-{next(_NUMBERS)}"
    folder.mkdir(exist_ok=True)
    path = folder / "my_launchpad.yaml"
    path.write_text(launchpad_yaml(server).replace(f"name: {DATABASE}", f"name: {name}"))
    yield path
    with open_launchpad(path) as opened:
        opened.db.client.drop_database(name)
