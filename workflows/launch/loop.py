"""The loop of ``sodiate run``: launch ready calculations, mend states, wait for other processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from fireworks.core.rocket import Rocket

from ..database.fireworks_guard import ours_query
from ..database.workbench import Workbench
from ..runner.run_calculation import WorkerSettings
from .reconcile import FIELDS, is_busy, reconcile
from .tasks import OurFWorker

if TYPE_CHECKING:
    from collections.abc import Iterator


def launch(
    bench: Workbench,
    worker: WorkerSettings,
    identifiers: list[str],
    on_change: Callable[[], None],
) -> None:
    """Launch ready calculations among ``identifiers`` until none is left or a stop is requested.

    Parameters
    ----------
    bench
        The database and the root.
    worker
        This process's settings.
    identifiers
        Calculations that may be launched.
    on_change
        Called after each launch.
    """
    fworker = OurFWorker(worker, identifiers)
    second_look = False
    with launch_directory() as errors:
        while not worker.stop.requested():
            if Rocket(bench.launchpad, fworker, None).run(err_file=errors):
                on_change()
            elif reconcile(bench, identifiers):
                pass
            elif _others_work(bench, identifiers):
                _pause(worker, 0.5)
            elif second_look or bench.standing(identifiers).complete:
                break
            else:  # another worker may be between two states of a firework
                second_look = True
                _pause(worker, 1.0)
                continue
            second_look = False
    if worker.stop.requested():
        reconcile(bench, identifiers)


def _others_work(bench: Workbench, identifiers: list[str]) -> bool:
    """Tell whether another live process works on any of the calculations, or is about to."""
    fireworks = bench.launchpad.fireworks.find(ours_query(identifiers, ["RESERVED", "RUNNING", "FIZZLED"]), FIELDS)
    return any(is_busy(bench, firework) for firework in fireworks)


def _pause(worker: WorkerSettings, seconds: float) -> None:
    """Wait, at most until a stop is requested."""
    end = monotonic() + seconds
    while monotonic() < end and not worker.stop.requested():
        sleep(0.05)


@contextmanager
def launch_directory() -> Iterator[Any]:
    """Change to a temporary directory for the files of FireWorks' launches, and yield a file for its tracebacks."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="sodiate-launch-") as name:
        os.chdir(name)
        try:
            with Path(name, "errors").open("w", encoding="utf-8") as errors:
                yield errors
        finally:
            os.chdir(before)
