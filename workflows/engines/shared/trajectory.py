"""Steps of a relaxation on disk: each line signed, damage told when it is read."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from ....analysis.arrays import Trajectory
from ..base import EngineError
from .checks import cell_forces
from .files import DAMAGE, TRAJECTORY

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_CHECKSUM = b', "crc32": '

_ARRAYS = ("positions_a", "forces_ev_per_a", "cell_a", "stress_ev_per_a3")
"""Of a step, in the order of its line; the last two only where the cell relaxes."""


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


def resume(path: Path, key: str, natoms: int) -> tuple[list[Step], int]:
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
