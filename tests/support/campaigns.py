"""What several test modules build: a small campaign, and a database with a root to run it on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sodiate.workflows.campaign.load import bundled_campaigns
from sodiate.workflows.database.workbench import Workbench
from sodiate.workflows.launch.loop import launch
from sodiate.workflows.launch.reconcile import reconcile
from sodiate.workflows.launch.submit import Submission, submit
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.runner.run_calculation import WorkerSettings


def small_campaign(folder: Path, **changes: Any) -> Path:
    """A campaign of one 2×2 host with two Na sites, as a user's file; keys may be changed."""
    data = yaml.safe_load(bundled_campaigns()["wsse"].read_text(encoding="utf-8"))
    data |= {
        "campaign": "small",
        "supercell": [2, 2],
        "models": ["WSSe+VS"],
        "sites": ["V_S@top", "T_W@bottom"],
        "quantities": ["dos"],
        **changes,
    }
    path = folder / f"{data['campaign']}.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return path


@dataclass(frozen=True)
class Finished:
    """A finished campaign, to be read and not changed.

    Attributes
    ----------
    campaign
        Its file.
    root
        The folder of its calculations.
    launchpad
        FireWorks' launchpad file of its database.
    printed
        What ``sodiate run`` said.
    """

    campaign: Path
    root: Path
    launchpad: Path
    printed: str

    @property
    def place(self) -> tuple[str, str, str, str]:
        """The options of a command that reads it, wherever that runs."""
        return "--launchpad", str(self.launchpad), "--root", str(self.root)


class Bench(Workbench):
    """A workbench that submits and launches as ``sodiate run`` does."""

    def submit(self, planned: Plan) -> Submission:
        return submit(planned, self)

    def launch(self, planned: Plan, **env: Any) -> None:
        ids = [calculation.id for calculation in planned.calculations]
        reconcile(self, ids)
        launch(self, WorkerSettings(root=self.root, env=env), ids, lambda: None)

    def expire(self, identifier: str) -> None:
        """Let a lease have expired: a millisecond ago, since one that ends in this one still holds."""
        ended = {"lease.expires": {"$subtract": ["$$NOW", 1]}}
        self.documents.calculations.update_one({"_id": identifier}, [{"$set": ended}])

    def states(self) -> dict[str, str]:
        return {d["name"]: d["state"] for d in self.launchpad.fireworks.find({}, {"name": 1, "state": 1})}

    def attempts(self, identifier: str) -> list[dict[str, Any]]:
        return list(self.documents.attempts.find({"calculation": identifier}).sort("started", 1))
