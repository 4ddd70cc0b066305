"""The schedulers that a cluster file may name."""

from __future__ import annotations

from ..diagnosis import Finding
from .lsf import Lsf
from .pbs import Pbs
from .scheduler import Scheduler
from .slurm import Slurm

SCHEDULERS: dict[str, Scheduler] = {scheduler.name: scheduler for scheduler in (Slurm(), Pbs(), Lsf())}


def schedulers_here() -> Finding:
    """Return the schedulers of this machine, as one thing: a workstation needs none."""
    found = [one for scheduler in SCHEDULERS.values() if (one := scheduler.diagnose()) is not None]
    if not found:
        programs = ", ".join(scheduler.submit_command[0] for scheduler in SCHEDULERS.values())
        remedy = "none is needed on a workstation; for a cluster log in there, then sodiate submit --cluster FILE"
        return Finding("scheduler", f"no {programs} on PATH", False, remedy)
    best = next((one for one in found if one.is_there), found[0])
    return Finding("scheduler", f"{best.what}: {best.words}", best.is_there, best.remedy)


def on_login_node() -> str | None:
    """Return the submit command of a scheduler that answers here; None inside a job."""
    if any(scheduler.is_inside_job() for scheduler in SCHEDULERS.values()):
        return None
    return next((scheduler.submit_command[0] for scheduler in SCHEDULERS.values() if scheduler.answers()), None)
