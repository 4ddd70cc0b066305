"""The command that keeps a root's private database running for other programs: lpad, rlaunch, pymongo."""

from __future__ import annotations

import signal
from pathlib import Path

from .shared import ROOT, RootOption


def hold_server(root: Path) -> None:
    """Keep the server of a root running until SIGINT or SIGTERM; print its address and write FireWorks' two files.

    Parameters
    ----------
    root
        The root; its ``my_launchpad.yaml`` and ``my_fworker.yaml`` are readable by the user alone.
    """
    from ..database.connection import open_root
    from ..database.mongod import launchpad_yaml, private_mongod
    from ..database.workbench import Workbench
    from ..stop import Stop, signals_stop

    stop = Stop()
    with signals_stop(stop), private_mongod(root) as server, open_root(root) as database:
        Workbench(database, root).initialise()
        launchpad, fworker = root / "my_launchpad.yaml", root / "my_fworker.yaml"
        _write_private(launchpad, launchpad_yaml(server))
        _write_private(fworker, f"name: sodiate\ncategory: ''\nquery: '{{}}'\nenv: {{root: {str(root)!r}}}\n")
        print(f"MongoDB  {database.settings.host}  database {database.settings.name}")
        print(f"lpad -l {launchpad} get_wflows")
        print(f"rlaunch -l {launchpad} -w {fworker} rapidfire")
        print("Ctrl-C ends it.", flush=True)
        while not stop.requested():
            signal.pause()


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")


def serve(root: RootOption = ROOT) -> None:
    """Keep the private database of a root running until Ctrl-C, for lpad, rlaunch and pymongo.

    Writes my_launchpad.yaml and my_fworker.yaml into the root. Example: sodiate serve
    """
    hold_server(root.resolve())
