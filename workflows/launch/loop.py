"""The FireWorks side: one task class, one workflow a campaign, and states that follow the records.

A firework's state is a projection: whether a calculation is done is said by its record, whether somebody works on
it by its lease. `reconcile` brings the projection back in line (docs/database.md has the table).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from fireworks.core.rocket import Rocket

from ..database.documents import Documents
from ..database.fireworks_guard import ours_query
from ..database.standing import standing_of
from ..runner.run_calculation import Worker
from .reconcile import FIELDS, is_busy, reconcile
from .tasks import OurFWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fireworks.core.launchpad import LaunchPad


def launch(
    documents: Documents,
    launchpad: LaunchPad,
    worker: Worker,
    identifiers: list[str],
    on_change: Callable[[], None],
) -> None:
    """Launch everything that is ready among some calculations, until nothing is or a stop is requested.

    Parameters
    ----------
    documents, launchpad
        The same database, as ours and as FireWorks'.
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
            if Rocket(launchpad, fworker, None).run(err_file=errors):
                on_change()
            elif reconcile(documents, launchpad, identifiers):
                pass
            elif _others_work(documents, launchpad, identifiers):
                _pause(worker, 0.5)
            elif looked_again or standing_of(documents, identifiers).complete:
                break
            else:  # another worker may just be between two states of a firework
                looked_again = True
                _pause(worker, 1.0)
                continue
            looked_again = False
    if worker.stop.requested():
        reconcile(documents, launchpad, identifiers)


def _others_work(documents: Documents, launchpad: LaunchPad, identifiers: list[str]) -> bool:
    """Tell whether another live process works on one of the calculations, or is about to."""
    found = launchpad.fireworks.find(ours_query(identifiers, ["RESERVED", "RUNNING", "FIZZLED"]), FIELDS)
    return any(is_busy(documents, launchpad, document) for document in found)


def _pause(worker: Worker, seconds: float) -> None:
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
