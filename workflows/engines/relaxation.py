"""A relaxation, in one process or in several ranks, that a kill at any moment neither loses nor changes.

The trajectory is the checkpoint: a line a step, with a checksum of its own, in full precision. The optimizer's
state follows from its steps (`sodiate.workflows.engines.descent`), so a resumed run feeds them to the optimizer again
and then takes the very steps that it would have taken. The in-plane cell may relax with the positions; c never does.
"""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.filters import FrechetCellFilter

from ...analysis.arrays import Trajectory
from ..stop import Stop
from .base import EngineError, Limits, Stopped, Unconverged
from .checks import IN_PLANE, cell_forces
from .descent import DampedBFGS, Descent
from .files import DAMAGE, TRAJECTORY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CHECKSUM = b', "crc32": '

_ARRAYS = ("positions_a", "forces_ev_per_a", "cell_a", "stress_ev_per_a3")
"""Of a step, in the order of its line; the last two only where the cell relaxes."""


@dataclass(frozen=True)
class Criteria:
    """When a relaxation ends, and how it gets there.

    Attributes
    ----------
    max_force_ev_per_a, max_steps
        Largest force on an atom (and on a cell vector, if the cell relaxes), and steps in all launches.
    max_step_a
        Length of a step.
    stiffness_ev_per_a2
        Diagonal of the Hessian that BFGS begins with, one value an atom; None for ASE's 70 eV/Å², which is that of
        stiff bonds and makes the first steps of a loosely bound ion short.
    cell
        True if the cell relaxes in its plane, too.
    """

    max_force_ev_per_a: float
    max_steps: int
    max_step_a: float
    stiffness_ev_per_a2: tuple[float, ...] | None = None
    cell: bool = False

    def optimizer(self, atoms: Atoms) -> DampedBFGS:
        """Return BFGS for these atoms, whose cell is that of the start."""
        moved = atoms
        if self.cell:
            # Strain counts by how far it moves the first cell vector, so that max_step_a means the same for it.
            scale = float(np.linalg.norm(atoms.cell[0]))
            moved = FrechetCellFilter(atoms, mask=IN_PLANE, exp_cell_factor=scale)
        optimizer = DampedBFGS(moved, logfile=None, maxstep=self.max_step_a)
        if self.stiffness_ev_per_a2 is not None:
            diagonal = np.repeat(self.stiffness_ev_per_a2, 3)
            optimizer.H0[: len(diagonal), : len(diagonal)] = np.diag(diagonal)
        return optimizer

    def met(self, step: Step) -> bool:
        """Tell whether a step is below the criterion, on the atoms and on the cell."""
        return step.largest_force < self.max_force_ev_per_a and step.largest_cell_force < self.max_force_ev_per_a


class Ranks:
    """The processes that take the same steps together: here a single one; an MPI engine has its own kind."""

    writes = True

    def shared(self, make: Callable[[], Any]) -> Any:
        """Return what the process that writes makes, in all of them."""
        return make()


@dataclass(frozen=True)
class Step:
    """One step: its number, the energy that the forces belong to (eV), positions (Å) and forces (eV/Å).

    Both arrays are of shape (atoms, 3). Where the cell relaxes, its vectors (Å, as rows) and the stress (eV/Å³; xx,
    yy, zz, yz, xz, xy) are there, too.
    """

    step: int
    energy_ev: float
    positions_a: Floats
    forces_ev_per_a: Floats
    cell_a: Floats | None = None
    stress_ev_per_a3: Floats | None = None

    @property
    def largest_force(self) -> float:
        """Of an atom, in eV/Å."""
        return float(np.linalg.norm(self.forces_ev_per_a, axis=1).max())

    @property
    def largest_cell_force(self) -> float:
        """Of a cell vector in the plane, in eV/Å; 0 where the cell is fixed."""
        if self.cell_a is None or self.stress_ev_per_a3 is None:
            return 0.0
        return float(np.linalg.norm(cell_forces(self.cell_a, self.stress_ev_per_a3), axis=1).max())

    @classmethod
    def of(cls, atoms: Atoms, step: int, directory: Path, cell: bool = False) -> Step:
        """Return what the calculator of ``atoms`` says of them; raise `EngineError` if it is not finite."""
        energy, forces = float(atoms.get_potential_energy(force_consistent=True)), atoms.get_forces()
        stress = atoms.get_stress() if cell else None
        if not all(np.isfinite(values).all() for values in (energy, forces, stress) if values is not None):
            raise EngineError(
                f"{directory}: energy or forces of step {step} are not finite: atoms came too close. "
                f"See {TRAJECTORY} there, and check the start geometry."
            )
        return cls(step, energy, atoms.get_positions(), forces, atoms.cell.array.copy() if cell else None, stress)

    def place(self, atoms: Atoms) -> None:
        """Put ``atoms`` where they were at this step."""
        if self.cell_a is not None:
            atoms.set_cell(self.cell_a)
        atoms.positions = self.positions_a

    def recall(self, atoms: Atoms) -> None:
        """Put ``atoms`` where they were at this step, with the forces that were computed then."""
        self.place(atoms)
        stress = {} if self.stress_ev_per_a3 is None else {"stress": self.stress_ev_per_a3}
        atoms.calc = SinglePointCalculator(atoms, energy=self.energy_ev, forces=self.forces_ev_per_a, **stress)

    def line(self) -> bytes:
        """Return it as a line of JSON, whose decimals give back the very same numbers."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        lists = {name: array.tolist() for name, array in arrays.items() if array is not None}
        return _signed({"step": self.step, "energy_ev": self.energy_ev, **lists})

    @classmethod
    def read(cls, line: bytes, natoms: int) -> Step:
        """Read a line; raise one of `DAMAGE` if it is damaged or of another number of atoms."""
        values = _verified(line)
        arrays = {name: np.array(values[name], float) for name in _ARRAYS if name in values}
        if any(arrays[name].shape != (natoms, 3) for name in ("positions_a", "forces_ev_per_a")):
            raise ValueError(f"positions or forces are not of {natoms} atoms")
        return cls(values["step"], values["energy_ev"], **arrays)


def _signed(values: dict[str, Any]) -> bytes:
    content = json.dumps(values).encode()[:-1]
    return content + _CHECKSUM + str(zlib.crc32(content)).encode() + b"}\n"


def _verified(line: bytes) -> dict[str, Any]:
    content, _, checksum = line.rpartition(_CHECKSUM)
    if not line.endswith(b"}\n") or int(checksum[:-2]) != zlib.crc32(content):
        raise ValueError("a line is damaged")
    values: dict[str, Any] = json.loads(content + b"}")
    return values


def relax(
    atoms: Atoms,
    directory: Path,
    key: str,
    criteria: Criteria,
    limits: Limits,
    stop: Stop,
    ranks: Ranks | None = None,
    name: str = TRAJECTORY,
    learned: Sequence[Step] = (),
) -> list[Step]:
    """Relax ``atoms`` in place with BFGS, or go on from the trajectory.

    Parameters
    ----------
    atoms
        Start geometry with its calculator.
    directory
        Where the trajectory is kept.
    key
        Says what is relaxed; a trajectory with another key is replaced.
    criteria
        When to end.
    limits
        Wall time of this launch.
    stop
        Read between steps.
    ranks
        The processes that do this together.
    name
        Of the trajectory's file.
    learned
        Steps of a cheaper relaxation of the same atoms, whose curvature BFGS begins with.

    Returns
    -------
    list of Step
        All that were taken, in all launches; the last one is below the criterion unless there were too many.

    Raises
    ------
    Stopped
        When asked to end, or before the wall time is over.
    Unconverged
        If there were too many steps, and the last one leads upwards.
    EngineError
        If the energy or a force is not finite.
    """
    ranks = ranks or Ranks()
    taken, size = ranks.shared(lambda: _resume(directory / name, key, len(atoms)))
    descent = Descent(criteria, atoms, learned)
    stands = descent.replay(taken)
    clock = _Clock(directory, limits, stop)
    with (directory / name).open("r+b" if ranks.writes else "rb", buffering=0) as trajectory:
        if ranks.writes:
            trajectory.truncate(size)
            trajectory.seek(size)

        def compute() -> bool:
            step = Step.of(atoms, len(taken), directory, criteria.cell)
            taken.append(step)
            if ranks.writes:
                trajectory.write(step.line())
            return descent.add(step)

        if taken:
            taken[-1].place(atoms)
        else:
            stands = compute()
        while not (stands and criteria.met(taken[-1])) and taken[-1].step < criteria.max_steps:
            clock.check(taken[-1].step)
            descent.move()
            stands = compute()
    if not stands:
        raise Unconverged(
            f"{directory}: after {taken[-1].step} steps the energy is higher than before; raise execution.max_steps "
            f"(now {criteria.max_steps}) and retry."
        )
    return taken


class _Clock:
    """Tells between steps whether the next one may begin."""

    def __init__(self, directory: Path, limits: Limits, stop: Stop) -> None:
        self.directory, self.limits, self.stop = directory, limits, stop
        self.began = self.last = time.monotonic()
        self.longest = 0.0

    def check(self, step: int) -> None:
        """Raise `Stopped` when asked to end, or if a step as long as the longest would pass the wall time."""
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now
        reason = self.stop.reason if self.stop.requested() else None
        wall = self.limits.wall_time_s
        if reason is None and wall is not None and now - self.began + self.longest > wall:
            reason = f"its wall time of {wall:.0f} s is nearly over"
        if reason is not None:
            raise Stopped(f"{self.directory}: stopped after step {step}: {reason}; run it again to go on from there.")


def _resume(path: Path, key: str, natoms: int) -> tuple[list[Step], int]:
    """Return the steps that a trajectory with this key holds up to the first damage, and their size in bytes.

    Without one, a trajectory without steps is begun.
    """
    head = _signed({"key": key})
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    if not lines or lines[0] != head:
        path.write_bytes(head)
        return [], len(head)
    taken: list[Step] = []
    size = len(head)
    for line in lines[1:]:
        try:
            step = Step.read(line, natoms)
        except DAMAGE:
            break
        if step.step != len(taken):
            break
        taken.append(step)
        size += len(line)
    return taken, size


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
        head, *lines = path.read_bytes().splitlines(keepends=True)
        _verified(head)
        taken = [Step.read(line, natoms) for line in lines]
    except DAMAGE as error:
        raise EngineError(f"{path} cannot be read ({error}); delete it and run the calculation again.") from None
    if [step.step for step in taken] != list(range(steps + 1)):
        raise EngineError(
            f"{path} holds {len(taken)} steps instead of the {steps + 1} of its relaxation; delete it and run the "
            "calculation again."
        )
    return Trajectory(
        energies_ev=np.array([step.energy_ev for step in taken]),
        positions_a=np.array([step.positions_a for step in taken]),
        forces_ev_per_a=np.array([step.forces_ev_per_a for step in taken]),
        cells_a=None if taken[0].cell_a is None else np.array([step.cell_a for step in taken]),
    )
