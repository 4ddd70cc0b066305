"""The loop of ``sodiate run``: launch ready calculations, mend states, wait for other processes."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from typing import TYPE_CHECKING, Protocol

from fireworks.core import rocket
from pymongo.errors import PyMongoError

from ..database.fireworks_guard import ours_query
from ..database.workbench import Workbench
from ..engines.shared.temporary import temporary_folder
from ..runner.run_calculation import WorkerSettings
from .reconcile import FIELDS, is_busy, reconcile
from .tasks import OurFWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fireworks.core.launchpad import LaunchPad


class Hands(Protocol):
    """Launches calculations: in this process (`OneByOne`), or several at once (`sodiate.workflows.launch.pool`)."""

    def work(self) -> bool:
        """Launch calculations or wait a moment for them; return False if nothing runs and nothing is ready."""

    def end(self) -> None:
        """End what runs, after a request to stop."""


@dataclass
class OneByOne:
    """Launches one calculation after the other in this process."""

    bench: Workbench
    fworker: OurFWorker
    on_change: Callable[[], None]

    def work(self) -> bool:
        """Launch the calculation that FireWorks gives first; return False if it gives none."""
        launched = launch_next(self.bench.launchpad, self.fworker)
        if launched:
            self.on_change()
        return launched

    def end(self) -> None:
        """Do nothing: nothing runs between two launches."""


def launch(
    bench: Workbench,
    worker: WorkerSettings,
    identifiers: list[str],
    on_change: Callable[[], None],
    hands: Hands | None = None,
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
    hands
        What launches them; by default this process, one by one.
    """
    second_look = False
    with launch_directory(), bench.database.watched(worker.stop):
        hands = hands or OneByOne(bench, OurFWorker(worker, identifiers), on_change)
        while not worker.stop.requested():
            if hands.work() or reconcile(bench, identifiers):
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
        if worker.stop.error is not None:  # what runs ends with this process, and goes on with the next command
            raise worker.stop.error
        hands.end()
    if worker.stop.requested():
        reconcile(bench, identifiers)


def launch_next(launchpad: LaunchPad, fworker: OurFWorker, fw_id: int | None = None) -> bool:
    """Launch the next calculation, or a reserved one; return whether there was one.

    Raises
    ------
    NoRoom
        If the disk is full.
    ConnectionFailure
        If the database went away.
    """
    stop = fworker.worker.stop
    # FireWorks prints what it cannot store; attempts have the errors of calculations, in words.
    rocket.traceback = SimpleNamespace(format_exc=traceback.format_exc, print_exc=lambda **_: None)
    try:
        launched: bool = rocket.Rocket(launchpad, fworker, fw_id).run()
    except PyMongoError:
        if stop.error is not None:  # the reason why the database does not take anything any more
            raise stop.error from None
        raise
    if stop.error is not None:
        raise stop.error
    return launched


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
def launch_directory() -> Iterator[None]:
    """Change to an empty temporary directory, in which FireWorks looks for files of its launches."""
    before = Path.cwd()
    rocket.PRINT_FW_JSON = False
    with temporary_folder("launch") as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
