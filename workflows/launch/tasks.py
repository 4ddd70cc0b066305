"""The FireWorks task, its duplicate finder, and the FireWorks worker that takes only sodiate's fireworks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fireworks.core.firework import FiretaskBase, FWAction
from fireworks.core.fworker import FWorker
from fireworks.features.dupefinder import DupeFinderBase
from pymongo.errors import ConnectionFailure

from ...errors import SodiateError
from ..database.documents import Documents
from ..database.fireworks_guard import DUPEFINDER, TASK, ours_query
from ..runner.run_calculation import WorkerSettings, run_calculation


class SameCalculation(DupeFinderBase):
    """Finds a firework of another campaign that runs, or ran, the same calculation."""

    _fw_name = DUPEFINDER

    def query(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return the query for fireworks whose launches this firework can share."""
        return {
            "spec._tasks.calculation": spec["_tasks"][0]["calculation"],
            "state": {"$in": ["RUNNING", "COMPLETED"]},
            "launches": {"$ne": []},
        }


class RunCalculation(FiretaskBase):
    """The task: compute a calculation by its id and record it."""

    _fw_name = TASK
    required_params = ("calculation",)

    def run_task(self, fw_spec: Mapping[str, Any]) -> FWAction:
        """Run with the worker's settings; an error makes the firework FIZZLED and is stored in ``attempts``."""
        worker = getattr(self.fworker, "worker", None) or _settings_of(fw_spec.get("_fw_env", {}))
        documents = getattr(self.launchpad, "documents", None) or Documents(self.launchpad.db)
        try:
            verdict = run_calculation(documents, self["calculation"], worker, self.fw_id)
        except ConnectionFailure as error:
            self.launchpad.away = error  # so that FireWorks does not try again what cannot be stored
            raise
        return FWAction(stored_data={"calculation": self["calculation"], "verdict": verdict})


class OurFWorker(FWorker):
    """FireWorks' worker that takes only sodiate's fireworks and passes this process's settings to the task.

    Parameters
    ----------
    worker
        The settings.
    calculations, kinds
        Take only these calculations, and only these kinds; None for all.
    """

    def __init__(
        self, worker: WorkerSettings, calculations: Iterable[str] | None = None, kinds: Iterable[str] | None = None
    ) -> None:
        super().__init__(
            name="sodiate",
            category=list(kinds or ()),
            query=ours_query(calculations),
            env={"root": str(worker.root)},
        )
        self.worker = worker


def _settings_of(env: Mapping[str, Any]) -> WorkerSettings:
    """Return the settings of a plain ``rlaunch`` from its FWorker's ``env``."""
    if "root" not in env:
        raise SodiateError(
            "the FWorker has no root for the calculations' directories: put `env: {root: /path}` into "
            "my_fworker.yaml and give it to rlaunch with -w."
        )
    return WorkerSettings(root=Path(env["root"]), env={k: v for k, v in env.items() if k != "root"})
