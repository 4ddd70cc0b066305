"""How far a run of GPAW is, by its trajectories and its text."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...kinds import KINDS
from ..base import Progress
from ..shared.files import DAMAGE, TRAJECTORY, read_json, tail
from ..shared.path_task import COARSE_TAPE, TAPE
from ..shared.trajectory import steps_so_far
from ..shared.vibrations import VIBRATIONS_TAPE
from .inputs import COARSE, INPUT, OUTPUTS

if TYPE_CHECKING:
    from pathlib import Path

_TAIL_BYTES = 100_000
"""More than what GPAW writes between two iterations, forces and moments of a thousand atoms among it."""

_ITERATION = re.compile(r"^\|?iter: *(\d+)\||^Converged", re.MULTILINE)


def progress_of(directory: Path) -> Progress | None:
    """Return the stage, the last step, and the iteration of the SCF cycle; None without readable inputs."""
    try:
        values = read_json(directory / INPUT)
        found = _steps(values, directory)
    except DAMAGE:
        return None
    return replace(found, scf_iteration=_iteration(directory))


def _steps(values: dict[str, Any], directory: Path) -> Progress:
    """Return the last step of a relaxation, or force call of a path, of the coarse stage before there is another."""
    if KINDS[values["kind"]].displaces:
        return steps_so_far(directory / VIBRATIONS_TAPE, "vibrations") or Progress()
    if not values["execution"]:
        return Progress()
    coarse, real = values["execution"]["coarse"], values["protocol"]["max_force_ev_per_a"]
    if KINDS[values["kind"]].searches:
        name, coarse_name, stage = TAPE, COARSE_TAPE, "path"
    else:
        name, coarse_name, stage = TRAJECTORY, COARSE, "relaxation" if coarse else ""
    found = steps_so_far(directory / name, stage, real)
    if found is None and coarse:
        found = steps_so_far(directory / coarse_name, f"coarse {stage}", coarse["max_force_ev_per_a"])
    return found or Progress()


def _iteration(directory: Path) -> int | None:
    """Return the last iteration in the newest text; None if its cycle has converged, or none has begun."""
    texts = sorted(directory.glob(OUTPUTS), key=lambda path: path.stat().st_mtime_ns)
    if not texts:
        return None
    found = _ITERATION.findall(tail(texts[-1], _TAIL_BYTES).decode(errors="replace"))
    return int(found[-1]) if found and found[-1] else None
