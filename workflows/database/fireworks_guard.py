"""A guard that lets FireWorks load only sodiate's fireworks.

Loading a firework imports and instantiates the classes that its document names, so anyone who can write to the
database could run code in the worker. Sodiate's workers accept a document only if its keys and its single task are
sodiate's: by a query at checkout, and by an allow-list around FireWorks' loader for every other path (reservations,
nested values, launches). Plain ``rlaunch`` has no such guard.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

from fireworks.core.launchpad import LaunchPad
from fireworks.utilities import fw_serializers
from fireworks.utilities.fw_utilities import get_fw_logger
from pymongo.errors import ConnectionFailure, PyMongoError

from ...errors import SodiateError
from .documents import Documents
from .outage import outage_of

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

_NEW_S = 60.0
"""For so long after it began nobody asks whether a launch lives."""

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
    away
        The error after which the database is not tried any more; None as long as it answers.
    """

    turn: Callable[[], AbstractContextManager[object]] = nullcontext
    away: ConnectionFailure | None = None
    _begun: tuple[int | None, float] = (None, 0.0)

    @cached_property
    def documents(self) -> Documents:
        """Sodiate's collections in the same database."""
        return Documents(self.db)

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

    def _get_a_fw_to_run(
        self, query: Mapping[str, Any] | None = None, fw_id: int | None = None, checkout: bool = True
    ) -> Any:
        """Return the next firework to run, RESERVED; one that cannot be loaded is passed by, and left as it was.

        FireWorks itself would mark that one FIZZLED and look again; where this does not stay, for ever.
        """
        if not checkout:
            return super()._get_a_fw_to_run(query, fw_id, checkout)
        wanted: dict[str, Any] = {**(query or {}), "state": "READY"}
        if fw_id is not None:
            wanted = {"fw_id": fw_id, "state": {"$in": ["READY", "RESERVED"]}}
        while (found := self._reserved(wanted)) is not None:
            number = found["fw_id"]
            try:
                firework = self.get_fw_by_id(number)
            except PyMongoError:
                raise
            except Exception as error:  # whatever its document names
                self.m_logger.warning(f"firework {number} is passed by: {error}")
                before = {key: found[key] for key in ("state", "updated_on")}
                self.fireworks.update_one({"fw_id": number, "state": "RESERVED"}, {"$set": before})
                if fw_id is not None:
                    return None
                wanted.setdefault("fw_id", {"$nin": []})["$nin"].append(number)
                continue
            if self._check_fw_for_uniqueness(firework):
                return firework
        return None

    def _reserved(self, wanted: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Reserve the first firework that is wanted; return its document as it was before."""
        change = {"$set": {"state": "RESERVED", "updated_on": datetime.now(UTC)}}
        found: Mapping[str, Any] | None = self.fireworks.find_one_and_update(
            wanted, change, sort=[("spec._priority", -1)]
        )
        return found

    def checkout_fw(self, *args: Any, **settings: Any) -> Any:
        """Take a firework and begin a launch of it."""
        found = super().checkout_fw(*args, **settings)
        self._begun = found[1], monotonic()
        return found

    def ping_launch(self, launch_id: int, ptime: Any = None, checkpoint: Any = None) -> None:
        """Note that a launch lives; the lease says so, too, so nothing is lost where this does not go through.

        FireWorks notes it three times at least. Less than a minute after its checkout that says nothing new.
        """
        launch, since = self._begun
        if launch == launch_id and monotonic() - since < _NEW_S:
            return
        if self.away is None:
            with suppress(PyMongoError):
                super().ping_launch(launch_id, ptime, checkpoint)

    def complete_launch(self, launch_id: int, action: Any = None, state: str = "COMPLETED") -> Any:
        """Store the end of a launch."""
        self._refuse_if_away()
        try:
            return super().complete_launch(launch_id, action, state)
        except Exception as error:
            self.away = outage_of(error)
            raise

    def _refresh_wf(self, fw_id: int) -> None:
        """Bring the states of a workflow in line; an outage is one, whatever FireWorks makes of it."""
        try:
            with self.turn():
                super()._refresh_wf(fw_id)
        except Exception as error:
            outage = outage_of(error)
            if outage is not None:
                raise outage from None
            raise

    def cancel_reservation(self, launch_id: int) -> None:
        """Queue again what is reserved; do nothing where it is not any more, which FireWorks would store twice."""
        if self.launches.find_one({"launch_id": launch_id, "state": "RESERVED"}, {"_id": 1}) is not None:
            super().cancel_reservation(launch_id)

    def restore_backup_data(self, launch_id: int, fw_id: int) -> None:
        """Restore a launch and its firework as they were before."""
        self._refuse_if_away()
        super().restore_backup_data(launch_id, fw_id)

    def _refuse_if_away(self) -> None:
        """Raise the error of a database that went away, at once: FireWorks would try again and again."""
        if self.away is not None:
            raise self.away

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


class _LogFile(logging.FileHandler):
    """A log that may miss lines, on a full disk, and does not say so on the terminal for each."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Do nothing."""


_files: dict[Path, logging.FileHandler] = {}


def _log_file(directory: Path) -> logging.FileHandler:
    path = directory / "fireworks.log"
    if path not in _files:
        _files[path] = _LogFile(path, delay=True)
        _files[path].setLevel(logging.INFO)
        _files[path].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    return _files[path]
