"""How far a run of VASP is, by OSZICAR and OUTCAR."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...kinds import KINDS
from ..base import Progress
from ..shared.files import DAMAGE, read_json, tail
from .inputs import INPUT, STATE
from .results import TEXT, largest_force, steps_taken

if TYPE_CHECKING:
    from pathlib import Path

_TAIL_BYTES = 20_000

_LINE = re.compile(rb"^[A-Z]{3}: *(\d+) |^ *\d+ F=", re.MULTILINE)
"""A line of OSZICAR for an iteration, or for the end of an ionic step."""


def progress_of(directory: Path) -> Progress | None:
    """Return the stage, the steps of all launches, the last force and the SCF iteration; None without inputs."""
    try:
        values = read_json(directory / INPUT)
        relaxes, stages = KINDS[values["kind"]].relaxes, len(values["stages"])
        criterion = values["protocol"].get("max_force_ev_per_a")
    except DAMAGE:
        return None
    stage = ""
    if stages > 1:
        try:
            stage = f"stage {read_json(directory / STATE)['began']} of {stages}"
        except DAMAGE:
            stage = f"stage 1 of {stages}"
    lines = _LINE.findall(tail(directory / "OSZICAR", _TAIL_BYTES))
    iteration = int(lines[-1]) if lines and lines[-1] else None
    step = steps_taken(directory) if relaxes else -1
    if step < 0:
        return Progress(stage, criterion_ev_per_a=criterion if relaxes else None, scf_iteration=iteration)
    return Progress(stage, step, largest_force(directory / TEXT), criterion, iteration)
