"""The schedulers that a cluster file may name."""

from __future__ import annotations

from .lsf import Lsf
from .pbs import Pbs
from .scheduler import Scheduler
from .slurm import Slurm

SCHEDULERS: dict[str, Scheduler] = {scheduler.name: scheduler for scheduler in (Slurm(), Pbs(), Lsf())}


def on_login_node() -> str | None:
    """Return the submit command of a scheduler that answers here; None inside a job."""
    if any(scheduler.is_inside_job() for scheduler in SCHEDULERS.values()):
        return None
    return next((scheduler.submit_command[0] for scheduler in SCHEDULERS.values() if scheduler.answers()), None)
