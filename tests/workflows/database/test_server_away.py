"""A server that is killed while it is in use: nobody waits long for it at the end."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

from sodiate.workflows.database.connection import Unreachable, open_launchpad
from sodiate.workflows.database.workbench import Workbench
from support.servers import Mongod, free_port


def test_fireworks_connection_is_let_go_within_a_second(mongod: Path, tmp_path: Path) -> None:
    """Its sessions cannot be ended where no server is."""
    server = Mongod(mongod, tmp_path / "mongod", free_port())
    server.start()
    path = tmp_path / "launchpad.yaml"
    path.write_text(json.dumps({"host": "127.0.0.1", "port": server.port, "name": "x"}))
    path.chmod(0o600)
    with suppress(Unreachable), open_launchpad(path) as database:
        bench = Workbench(database, tmp_path)
        bench.launchpad.fireworks.find_one()
        server.stop()
        begun = time.monotonic()
        bench.close()
        assert time.monotonic() - begun < 2.5
