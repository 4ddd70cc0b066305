"""A relaxation in this process that a kill at any moment neither loses nor changes.

After each step a checkpoint holds the positions and the whole state of the optimizer, in full precision and
written beside its place before it is moved there; a resumed run takes the very steps that it would have taken.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.optimize import BFGS

from ...analysis.records import Trajectory
from .base import EngineError, Limits, Stop, Stopped
from .files import CHECKPOINT, DAMAGE, TRAJECTORY, read_arrays, write_arrays

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Criteria:
    """When a relaxation ends: largest force on an atom (eV/Å), steps in all launches, length of a step (Å)."""

    max_force_ev_per_a: float
    max_steps: int
    max_step_a: float


@dataclass(frozen=True)
class Progress:
    """How far a relaxation has come.

    Attributes
    ----------
    step
        Steps taken in all launches.
    positions_a
        Shape (atoms, 3).
    optimizer
        Hessian, last positions and last forces as ASE's BFGS keeps them; None before the first step.
    written
        Bytes of the trajectory that belong to these steps.
    launches, notes
        Launches that worked on it, and what a reader of the result should know.
    """

    step: int
    positions_a: Floats
    optimizer: tuple[Floats, Floats, Floats] | None = None
    written: int = 0
    launches: int = 1
    notes: tuple[str, ...] = ()


class _Bfgs(BFGS):
    """ASE's BFGS, its state handed over through the hooks that ASE has for restart files."""

    def __init__(self, atoms: Atoms, progress: Progress, max_step_a: float) -> None:
        self.kept = progress.optimizer
        super().__init__(atoms, logfile=None, maxstep=max_step_a)
        self.nsteps = progress.step
        if self.kept is not None:
            self.read()

    def load(self) -> tuple[Any, ...]:
        """Return what ASE would read from its restart file."""
        assert self.kept is not None
        return (*self.kept, self.maxstep)

    def dump(self, data: tuple[Any, ...]) -> None:
        """Keep what ASE would write to its restart file."""
        self.kept = (data[0], data[1], data[2])


def relax(atoms: Atoms, directory: Path, key: str, criteria: Criteria, limits: Limits, stop: Stop) -> Progress:
    """Relax the positions of ``atoms`` in place with BFGS, or go on from the checkpoint.

    Parameters
    ----------
    atoms
        Start geometry with its calculator, which has to be a pure function of the geometry.
    directory
        Where the checkpoint and the trajectory are kept.
    key
        Says what is relaxed; a checkpoint with another key is not used.
    criteria
        When to end.
    limits
        Wall time of this launch.
    stop
        Read between steps.

    Returns
    -------
    Progress
        At the last step, converged or not.

    Raises
    ------
    Stopped
        When asked to end, or before the wall time is over; the checkpoint is written.
    EngineError
        If the energy or a force is not finite.
    """
    began = time.monotonic()
    progress = _resume(directory, key, atoms)
    atoms.positions = progress.positions_a
    first_new = progress.step + 1 if progress.written else 0
    optimizer = _Bfgs(atoms, progress, criteria.max_step_a)
    longest, last = 0.0, began
    with (directory / TRAJECTORY).open("r+b", buffering=0) as trajectory:
        trajectory.seek(progress.written)
        for converged in optimizer.irun(fmax=criteria.max_force_ev_per_a):
            if optimizer.nsteps >= first_new:
                line = _line(atoms, optimizer.nsteps, directory)
                trajectory.write(line)
                progress = replace(
                    progress,
                    step=optimizer.nsteps,
                    positions_a=atoms.get_positions(),
                    optimizer=optimizer.kept,
                    written=progress.written + len(line),
                )
                _save(directory, key, progress)
            if converged or progress.step >= criteria.max_steps:
                break
            now = time.monotonic()
            longest, last = max(longest, now - last), now
            _check_stop(directory, progress.step, stop, limits, now - began + longest)
    return progress


def _check_stop(directory: Path, step: int, stop: Stop, limits: Limits, next_end_s: float) -> None:
    reason = stop.reason if stop.requested() else None
    if reason is None and limits.wall_time_s is not None and next_end_s > limits.wall_time_s:
        reason = f"its wall time of {limits.wall_time_s:.0f} s is nearly over"
    if reason is not None:
        raise Stopped(f"{directory}: stopped after step {step}: {reason}; run it again to go on from there.")


def _line(atoms: Atoms, step: int, directory: Path) -> bytes:
    """Return one step as a line of JSON, whose decimals give back the very same numbers."""
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise EngineError(
            f"{directory}: energy or forces of step {step} are not finite: atoms came too close. "
            f"See {TRAJECTORY} there, and check the start geometry."
        )
    values = {
        "step": step,
        "energy_ev": float(energy),
        "positions_a": atoms.positions.tolist(),
        "forces_ev_per_a": forces.tolist(),
    }
    return json.dumps(values).encode() + b"\n"


def _save(directory: Path, key: str, progress: Progress) -> None:
    meta = {
        "key": key,
        "step": progress.step,
        "written": progress.written,
        "launches": progress.launches,
        "notes": progress.notes,
    }
    arrays = {"meta": np.array(json.dumps(meta)), "positions": progress.positions_a}
    if progress.optimizer is not None:
        arrays |= dict(zip(("hessian", "positions0", "forces0"), progress.optimizer, strict=True))
    write_arrays(directory / CHECKPOINT, arrays)


def _resume(directory: Path, key: str, atoms: Atoms) -> Progress:
    """Return where to begin, with a trajectory file that holds the steps up to there and no others."""
    start = Progress(0, atoms.get_positions())
    trajectory = directory / TRAJECTORY
    progress = start
    if (directory / CHECKPOINT).exists():
        progress = _usable(directory, key, start)
    trajectory.touch()
    os.truncate(trajectory, progress.written)
    _save(directory, key, progress)
    return progress


def _usable(directory: Path, key: str, start: Progress) -> Progress:
    """Return the progress of the checkpoint, or ``start`` with a note of what is wrong with it."""
    try:
        found, progress = _load(directory / CHECKPOINT, len(start.positions_a))
    except DAMAGE:
        reason = "could not be read"
    else:
        trajectory = directory / TRAJECTORY
        if found != key:
            reason = "belonged to other inputs"
        elif not trajectory.exists() or trajectory.stat().st_size < progress.written:
            reason = "was ahead of its trajectory"
        else:
            return replace(progress, launches=progress.launches + 1)
    return replace(start, notes=(f"a checkpoint {reason} and was dropped; the relaxation began anew",))


def _load(path: Path, natoms: int) -> tuple[str, Progress]:
    arrays = read_arrays(path)
    meta = json.loads(str(arrays.pop("meta")))
    positions = arrays.pop("positions")
    if bool(arrays) != bool(meta["step"]):
        raise ValueError("the state of the optimizer and the number of steps do not fit")
    shapes = {"hessian": (3 * natoms, 3 * natoms), "positions0": (3 * natoms,), "forces0": (3 * natoms,)}
    good = positions.shape == (natoms, 3) and (not arrays or arrays.keys() == shapes.keys())
    good &= all(array.shape == shapes[name] for name, array in arrays.items()) if good else False
    if not good or not all(np.isfinite(array).all() for array in (positions, *arrays.values())):
        raise ValueError("arrays of another shape, or not finite")
    optimizer = (arrays["hessian"], arrays["positions0"], arrays["forces0"]) if arrays else None
    return meta["key"], Progress(
        step=int(meta["step"]),
        positions_a=positions,
        optimizer=optimizer,
        written=int(meta["written"]),
        launches=int(meta["launches"]),
        notes=tuple(meta["notes"]),
    )


def read_trajectory(directory: Path, natoms: int, steps: int) -> Trajectory:
    """Read the steps of a relaxation.

    Parameters
    ----------
    directory
        Of the relaxation.
    natoms, steps
        Atoms, and steps after the start geometry, that it must hold.

    Raises
    ------
    EngineError
        If the file is missing, truncated or damaged.
    """
    path = directory / TRAJECTORY
    try:
        frames = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        trajectory = Trajectory(
            energies_ev=np.array([frame["energy_ev"] for frame in frames], dtype=np.float64),
            positions_a=np.array([frame["positions_a"] for frame in frames], dtype=np.float64),
            forces_ev_per_a=np.array([frame["forces_ev_per_a"] for frame in frames], dtype=np.float64),
        )
        numbers = [frame["step"] for frame in frames]
    except DAMAGE as error:
        raise EngineError(f"{path} cannot be read ({error}); delete it and run the calculation again.") from None
    shape = (steps + 1, natoms, 3)
    if (
        numbers != list(range(steps + 1))
        or trajectory.positions_a.shape != shape
        or trajectory.forces_ev_per_a.shape != shape
    ):
        raise EngineError(
            f"{path} holds {len(numbers)} steps instead of the {steps + 1} of its relaxation of {natoms} atoms; "
            "delete it and run the calculation again."
        )
    return trajectory
