"""Steps of a relaxation on disk: a line with a checksum for each step, so that reading detects damage."""

from __future__ import annotations

import json
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from ....analysis.arrays import Trajectory
from ..base import EngineError, Progress
from .checks import cell_forces
from .files import DAMAGE, TRAJECTORY, tail, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from ..base import Engine

    Floats = NDArray[np.float64]

_TAIL_BYTES = 2_000_000
"""Of the end of a trajectory file, more than one step takes."""

_CHECKSUM = b', "crc32": '

_ARRAYS = ("positions_a", "forces_ev_per_a", "cell_a", "stress_ev_per_a3", "moments_mub")
"""Arrays of a step, in the order of its line; cell and stress only if the cell relaxes, moments only with spin."""


@dataclass(frozen=True)
class Step:
    """One step of a relaxation.

    Attributes
    ----------
    step
        Its number, from 0.
    energy_ev
        The energy that the forces belong to.
    positions_a, forces_ev_per_a
        Shape (atoms, 3).
    cell_a
        Shape (3, 3), vectors as rows; None if the cell is fixed.
    stress_ev_per_a3
        Shape (6,), in the order xx, yy, zz, yz, xz, xy; None if the cell is fixed.
    moments_mub
        Shape (atoms,), which tells electronic states apart; None without spin.
    total_moment_mub
        Of the cell; None without spin.
    """

    step: int
    energy_ev: float
    positions_a: Floats
    forces_ev_per_a: Floats
    cell_a: Floats | None = None
    stress_ev_per_a3: Floats | None = None
    moments_mub: Floats | None = None
    total_moment_mub: float | None = None

    @property
    def largest_force(self) -> float:
        """Largest force on an atom, eV/Å."""
        return float(np.linalg.norm(self.forces_ev_per_a, axis=1).max())

    @property
    def largest_cell_force(self) -> float:
        """Largest in-plane force on a cell vector, eV/Å; 0 if the cell is fixed."""
        if self.cell_a is None or self.stress_ev_per_a3 is None:
            return 0.0
        return float(np.linalg.norm(cell_forces(self.cell_a, self.stress_ev_per_a3), axis=1).max())

    @classmethod
    def of(cls, atoms: Atoms, step: int, directory: Path, cell: bool = False) -> Step:
        """Compute a step with the calculator of ``atoms``; raise `EngineError` if a number is not finite."""
        energy, forces = float(atoms.get_potential_energy(force_consistent=True)), atoms.get_forces()
        stress = atoms.get_stress() if cell else None
        if not all(np.isfinite(values).all() for values in (energy, forces, stress) if values is not None):
            raise EngineError(
                f"{directory}: energy or forces of step {step} are not finite: atoms came too close. "
                f"See {TRAJECTORY} there, and check the start geometry."
            )
        lattice = atoms.cell.array.copy() if cell else None
        return cls(step, energy, atoms.get_positions(), forces, lattice, stress, *_moments(atoms))

    def place(self, atoms: Atoms) -> None:
        """Give ``atoms`` the positions and the cell of this step."""
        if self.cell_a is not None:
            atoms.set_cell(self.cell_a)
        atoms.positions = self.positions_a

    def recall(self, atoms: Atoms) -> None:
        """Give ``atoms`` the positions, the cell and a calculator with the energy and forces of this step."""
        self.place(atoms)
        stress = {} if self.stress_ev_per_a3 is None else {"stress": self.stress_ev_per_a3}
        atoms.calc = SinglePointCalculator(atoms, energy=self.energy_ev, forces=self.forces_ev_per_a, **stress)

    def line(self) -> bytes:
        """Return the step as a line of JSON from which the same numbers are read back."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        lists = {name: array.tolist() for name, array in arrays.items() if array is not None}
        total = {} if self.total_moment_mub is None else {"total_moment_mub": self.total_moment_mub}
        return _signed({"step": self.step, "energy_ev": self.energy_ev, **lists, **total})

    @classmethod
    def read(cls, line: bytes, natoms: int | None) -> Step:
        """Read a line; raise one of `DAMAGE` if it is damaged or of another number of atoms (None: of any)."""
        values = _verified(line)
        arrays = {name: np.array(values[name], float) for name in _ARRAYS if name in values}
        natoms = len(arrays["positions_a"]) if natoms is None else natoms
        if any(arrays[name].shape != (natoms, 3) for name in ("positions_a", "forces_ev_per_a")):
            raise ValueError(f"positions or forces are not of {natoms} atoms")
        return cls(values["step"], values["energy_ev"], **arrays, total_moment_mub=values.get("total_moment_mub"))


def _moments(atoms: Atoms) -> tuple[Floats | None, float | None]:
    """Return the moment of each atom and that of the cell, if the run has spin and its calculator gives them."""
    found = getattr(atoms.calc, "results", {})
    if not atoms.has("initial_magmoms") or not {"magmoms", "magmom"} <= found.keys():
        return None, None
    return np.array(found["magmoms"], float), float(found["magmom"])


def _signed(values: dict[str, Any]) -> bytes:
    content = json.dumps(values).encode()[:-1]
    return content + _CHECKSUM + str(zlib.crc32(content)).encode() + b"}\n"


def _verified(line: bytes) -> dict[str, Any]:
    content, _, checksum = line.rpartition(_CHECKSUM)
    if not line.endswith(b"}\n") or int(checksum[:-2]) != zlib.crc32(content):
        raise ValueError("a line is damaged")
    values: dict[str, Any] = json.loads(content + b"}")
    return values


class States:
    """How a calculator keeps the electronic state of each step, and starts in it again.

    This one keeps nothing: the energy is a function of the positions alone.

    Attributes
    ----------
    gives_result
        True if the calculator has to be at the last step also when no further step is taken.
    """

    gives_result = False

    def keep(self, atoms: Atoms, step: int) -> None:
        """Keep the state of the step that was computed last; called before its line is written."""

    def discard_others(self, step: int) -> None:
        """Discard the states of all other steps; called when the line of this one is on disk."""

    def starts(self, atoms: Atoms, step: Step) -> Iterator[str]:
        """Give ``atoms``, at the positions of a step, calculators that start near its state, the nearest first.

        Yields
        ------
        str
            What the SCF cycle starts from, in words.
        """
        return iter(())

    def start_anew(self, atoms: Atoms) -> None:
        """Give ``atoms`` the calculator that a relaxation begins with, unless they have it."""


@dataclass(frozen=True)
class KeptSteps:
    """Content of a trajectory file up to the first damage.

    Attributes
    ----------
    steps
        The steps.
    size
        Of the part of the file that holds them, in bytes.
    notes
        Why the file does not begin at the start of the relaxation, or begins there anew.
    """

    steps: list[Step]
    size: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """The trajectory file that a relaxation writes and resumes from.

    Attributes
    ----------
    directory
        Where it is.
    key
        Identifies what is relaxed; a file with another key is replaced.
    name
        Name of the file.
    states
        How the calculator finds the electronic state of a step again.
    """

    directory: Path
    key: str
    name: str = TRAJECTORY
    states: States = field(default_factory=States)

    @property
    def path(self) -> Path:
        """The file."""
        return self.directory / self.name

    def resume(self, natoms: int) -> KeptSteps:
        """Read the file up to the first damage, or begin one without steps; each step has this number of atoms."""
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
        try:
            head = _verified(lines[0])
            if head["key"] != self.key:
                raise ValueError("the key is another")
        except (IndexError, *DAMAGE):
            return self.begin()
        steps: list[Step] = []
        size = len(lines[0])
        for line in lines[1:]:
            try:
                step = Step.read(line, natoms)
            except DAMAGE:
                break
            if step.step != len(steps):
                break
            steps.append(step)
            size += len(line)
        return KeptSteps(steps, size, tuple(head.get("notes", ())))

    def begin(self, notes: tuple[str, ...] = (), steps: Sequence[Step] = ()) -> KeptSteps:
        """Replace the file, if there is one, by one with these notes and steps."""
        head = _signed({"key": self.key} | ({"notes": notes} if notes else {}))
        content = head + b"".join(step.line() for step in steps)
        write_bytes(self.path, content)
        return KeptSteps(list(steps), len(content), notes)


def notes_of(path: Path) -> tuple[str, ...]:
    """Return the notes of a trajectory file; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return tuple(_verified(file.readline()).get("notes", ()))
    except DAMAGE:
        return ()


def read_steps(path: Path, natoms: int) -> list[Step]:
    """Return the steps of a trajectory file; none if it cannot be read."""
    try:
        _, *lines = path.read_bytes().splitlines(keepends=True)
        return [Step.read(line, natoms) for line in lines]
    except DAMAGE:
        return []


def steps_so_far(path: Path, stage: str = "", criterion_ev_per_a: float | None = None) -> Progress | None:
    """Return how far the relaxation of a trajectory file is, by its last whole step; None without a file.

    Parameters
    ----------
    path
        The file, which may be written meanwhile.
    stage, criterion_ev_per_a
        As in `Progress`.
    """
    if not path.exists():
        return None
    for line in reversed(tail(path, _TAIL_BYTES).splitlines(keepends=True)):
        with suppress(*DAMAGE):  # a line that is being written, or the head
            step = Step.read(line, None)
            force = max(step.largest_force, step.largest_cell_force)
            return Progress(stage, step.step, force, criterion_ev_per_a)
    return Progress(stage, criterion_ev_per_a=criterion_ev_per_a)


def how_far(engine: Engine, directory: Path) -> Progress | None:
    """Return how far the run in a directory is: by its engine, or a trajectory of sodiate's own."""
    return engine.progress(directory) or steps_so_far(directory / TRAJECTORY)


def read_trajectory(directory: Path, natoms: int, count: int) -> Trajectory:
    """Read the steps of a relaxation.

    Parameters
    ----------
    directory
        Of the relaxation.
    natoms, count
        Number of atoms, and of steps after the start geometry, that it must hold.

    Raises
    ------
    EngineError
        If the file is missing, truncated or damaged.
    """
    path = directory / TRAJECTORY
    try:
        head, *lines = path.read_bytes().splitlines(keepends=True)
        _verified(head)
        steps = [Step.read(line, natoms) for line in lines]
    except DAMAGE as error:
        raise EngineError(f"{path} cannot be read ({error}); delete it and run the calculation again.") from None
    if [step.step for step in steps] != list(range(count + 1)):
        raise EngineError(
            f"{path} holds {len(steps)} steps instead of the {count + 1} of its relaxation; delete it and run the "
            "calculation again."
        )
    return trajectory_of(steps)


def trajectory_of(steps: Sequence[Step]) -> Trajectory:
    """Return the arrays of steps, of which there must be one at least."""
    stresses = [step.stress_ev_per_a3 for step in steps if step.stress_ev_per_a3 is not None]
    cells = [step.cell_a for step in steps if step.cell_a is not None]
    return Trajectory(
        energies_ev=np.array([step.energy_ev for step in steps]),
        positions_a=np.array([step.positions_a for step in steps]),
        forces_ev_per_a=np.array([step.forces_ev_per_a for step in steps]),
        cells_a=np.array(cells) if cells else None,
        stresses_ev_per_a3=np.array(stresses) if len(stresses) == len(steps) else None,
    )
