"""A guard that lets FireWorks load only sodiate's fireworks.

Loading a firework imports and instantiates the classes that its document names, so anyone who can write to the
database could run code in the worker. Sodiate's workers accept a document only if its keys and its single task are
sodiate's: by a query at checkout, and by an allow-list around FireWorks' loader for every other path (reservations,
nested values, launches). Plain ``rlaunch`` has no such guard.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

from fireworks.core.launchpad import LaunchPad
from fireworks.utilities import fw_serializers
from fireworks.utilities.fw_utilities import get_fw_logger

from ...errors import SodiateError
from .documents import Documents

TASK = "{{sodiate.workflows.launch.RunCalculation}}"
DUPEFINDER = "{{sodiate.workflows.launch.SameCalculation}}"
SPEC_KEYS = (
    "_tasks",
    "label",
    "_category",
    "_priority",
    "_dupefinder",
    "_add_launchpad_and_fw_id",
    "_add_fworker",
    "_allow_fizzled_parents",
    "_fizzled_parents",
)
"""The keys of a firework's spec: sodiate's, and the one that FireWorks adds to a ``lowest`` whose site failed."""

_LOGGERS = {"launchpad": "ERROR", "rocket.launcher": "INFO"}
"""FireWorks' loggers and their stream levels; get each logger with its level to remove its handlers."""

_load_object = fw_serializers.load_object


class ForeignFirework(SodiateError):
    """A document in the launchpad is not sodiate's."""


def ours_query(calculations: Iterable[str] | None = None, states: Iterable[str] | None = None) -> dict[str, Any]:
    """Return a Mongo query that matches only sodiate's fireworks, of some calculations and in some states."""
    keys = {"$map": {"input": {"$objectToArray": "$spec"}, "in": "$$this.k"}}
    query: dict[str, Any] = {
        "spec._tasks": {"$size": 1},
        "spec._tasks.0._fw_name": TASK,
        "spec._tasks.0.calculation": {"$type": "string"},
        "spec.label": {"$type": "string"},
        "spec._dupefinder": {"_fw_name": DUPEFINDER},
        "$expr": {"$setIsSubset": [keys, list(SPEC_KEYS)]},
    }
    if calculations is not None:
        query["spec._tasks.calculation"] = {"$in": list(calculations)}
    if states is not None:
        query["state"] = {"$in": list(states)}
    return query


def _load_ours(document: dict[str, Any]) -> Any:
    name = document.get("_fw_name")
    if name not in (TASK, DUPEFINDER):
        raise ForeignFirework(f"a document in the launchpad names {name!r}, which sodiate does not load.")
    return _load_object(document)


def guard() -> None:
    """Install the allow-list in FireWorks' loader of objects, for this process."""
    fw_serializers.load_object = _load_ours
    fw_serializers.DECODE_MONTY = False  # documents with @module and @class load classes too


class GuardedLaunchPad(LaunchPad):
    """FireWorks' launchpad that refuses fireworks which are not sodiate's.

    Attributes
    ----------
    turn
        Returns a context in which this process alone, among those of its run, changes states of workflows: FireWorks
        waits a tenth of a second and more where two of them meet at the lock in the database.
    """

    turn: Callable[[], AbstractContextManager[object]] = nullcontext

    @cached_property
    def documents(self) -> Documents:
        """Sodiate's collections in the same database."""
        return Documents(self.db)

    def _refresh_wf(self, fw_id: int) -> None:
        with self.turn():
            super()._refresh_wf(fw_id)

    def get_fw_dict_by_id(self, fw_id: int) -> dict[str, Any]:
        """Return the document of a firework, which FireWorks then loads.

        Raises
        ------
        ForeignFirework
            If it is not sodiate's.
        """
        document: dict[str, Any] = super().get_fw_dict_by_id(fw_id)
        _refuse_foreign(fw_id, document["spec"])
        return document

    def get_launch_by_id(self, launch_id: int) -> Any:
        """Return a launch without its trackers, which could read any file of the user into the database."""
        launch = super().get_launch_by_id(launch_id)
        launch.trackers = []
        return launch


def _refuse_foreign(fw_id: int, spec: dict[str, Any]) -> None:
    extra_keys = sorted(set(spec) - set(SPEC_KEYS))
    tasks = [task.get("_fw_name") for task in spec.get("_tasks", [])]
    texts = [spec.get("label"), *(task.get("calculation") for task in spec.get("_tasks", []))]
    if extra_keys or tasks != [TASK] or not all(isinstance(text, str) for text in texts):
        raise ForeignFirework(f"firework {fw_id} is not sodiate's: tasks {tasks}, other keys {extra_keys}.")


def quiet_logs(directory: Path) -> None:
    """Send FireWorks' log lines to a file instead of the terminal, which its level settings do not quiet.

    A process that comes to another directory logs there from then on, and no more to the one before.
    """
    file = _log_file(directory)
    for name, level in _LOGGERS.items():
        logger = get_fw_logger(name, stream_level=level)
        for handler in list(logger.handlers):
            if isinstance(handler, logging.StreamHandler) and handler is not file:
                logger.removeHandler(handler)
                handler.flush()
        logger.propagate = False
        logger.addHandler(file)


_files: dict[Path, logging.FileHandler] = {}


def _log_file(directory: Path) -> logging.FileHandler:
    path = directory / "fireworks.log"
    if path not in _files:
        _files[path] = logging.FileHandler(path, delay=True)
        _files[path].setLevel(logging.INFO)
        _files[path].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    return _files[path]
