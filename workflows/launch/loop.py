"""The loop of ``sodiate run``: launch what is ready, bring states back in line, wait for what others compute."""

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
    """Launch everything that is ready among some calculations, until nothing is or a stop is requested.

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
    looked_again = False
    with launch_directory() as errors:
        while not worker.stop.requested():
            if Rocket(bench.launchpad, fworker, None).run(err_file=errors):
                on_change()
            elif reconcile(bench, identifiers):
                pass
            elif _others_work(bench, identifiers):
                _pause(worker, 0.5)
            elif looked_again or bench.standing(identifiers).complete:
                break
            else:  # another worker may just be between two states of a firework
                looked_again = True
                _pause(worker, 1.0)
                continue
            looked_again = False
    if worker.stop.requested():
        reconcile(bench, identifiers)


def _others_work(bench: Workbench, identifiers: list[str]) -> bool:
    """Tell whether another live process works on one of the calculations, or is about to."""
    underway = bench.launchpad.fireworks.find(ours_query(identifiers, ["RESERVED", "RUNNING", "FIZZLED"]), FIELDS)
    return any(is_busy(bench, firework) for firework in underway)


def _pause(worker: WorkerSettings, seconds: float) -> None:
    """Wait, but not for one that is asked to stop."""
    end = monotonic() + seconds
    while monotonic() < end and not worker.stop.requested():
        sleep(0.05)


@contextmanager
def launch_directory() -> Iterator[Any]:
    """Give FireWorks a directory of its own for what it writes at each launch, and a file for its tracebacks."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="sodiate-launch-") as name:
        os.chdir(name)
        try:
            with Path(name, "errors").open("w", encoding="utf-8") as errors:
                yield errors
        finally:
            os.chdir(before)
