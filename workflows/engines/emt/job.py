"""Files of a dry run in its directory: inputs, result, bands and DOS."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ....analysis.arrays import Bands, Dos, ReactionPath, SecondDerivatives, Trajectory, to_arrays
from ....analysis.records import Geometry, digest
from ....version import __version__
from ...kinds import KINDS
from ...stop import Stop
from ..base import EngineError, Limits
from ..shared.checks import BANDS, DOS, PATH, VIBRATIONS, read_arrays_of
from ..shared.files import DAMAGE, TRAJECTORY, fingerprint, read_json, read_xyz, write_arrays, write_json
from ..shared.path_task import PathTask
from ..shared.vibrations import VIBRATIONS_TAPE, VibrationTask, second_derivatives
from .parameters import load_parameters

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from ..shared.tape import Bounds, Tape

    Floats = NDArray[np.float64]

INPUT = "input.json"
START = "start.extxyz"
RESULT = "result.json"

_ELECTRONS_NOTE = "bands and DOS are of a tight-binding model that only exercises the analysis"

_PAIRS_NOTE = "held by pairs from covalent radii and cohesive energies, which EMT does not play"


@dataclass(frozen=True)
class EmtInputs:
    """The inputs that `EmtEngine.prepare` wrote; ``key`` differs between inputs that give different numbers."""

    directory: Path
    kind: str
    protocol: dict[str, float]
    execution: dict[str, Any]
    atoms: Atoms
    key: str

    @classmethod
    def read(cls, directory: Path) -> EmtInputs:
        """Read the inputs of a directory; raise `EngineError` if they are incomplete."""
        path = directory / INPUT
        try:
            values = read_json(path)
            kind, protocol, execution = values["kind"], values["protocol"], values["execution"]
            path = directory / START
            atoms = read_xyz(path)
        except DAMAGE as error:
            raise EngineError(f"{path} cannot be read ({error}); prepare the calculation again.") from None
        parameters = load_parameters().version
        key = digest([kind, protocol, Geometry.of(atoms).model_dump(mode="json"), parameters])
        if KINDS[kind].searches:
            key = digest([key, PathTask.read(directory).key])
        if KINDS[kind].displaces:
            key = digest([key, VibrationTask.read(directory).key])
        return cls(directory, kind, protocol, execution, atoms, key)


@dataclass(frozen=True)
class EmtResult:
    """The result of a run, as written to disk.

    Attributes
    ----------
    key
        Of the inputs.
    steps
        Ionic steps after the start geometry.
    energy_ev
        Total energy.
    positions_a, forces_ev_per_a
        Of the final geometry, shape (atoms, 3).
    kmesh
        Of bands and DOS.
    fingerprints
        Of the files with arrays, by name.
    """

    key: str
    steps: int
    energy_ev: float
    positions_a: Floats
    forces_ev_per_a: Floats
    versions: dict[str, str]
    notes: tuple[str, ...] = ()
    kmesh: tuple[int, int, int] | None = None
    fingerprints: dict[str, str] = field(default_factory=dict)
    bands: Bands | None = None
    dos: Dos | None = None
    trajectory: Trajectory | None = None
    path: ReactionPath | None = None
    vibrations: SecondDerivatives | None = None

    @classmethod
    def compute(cls, inputs: EmtInputs, limits: Limits, stop: Stop) -> EmtResult:
        """Compute the result of the inputs."""
        from ase import __version__ as ase_version

        from .potential import potential

        parameters = load_parameters()
        atoms = inputs.atoms.copy()
        atoms.calc = potential(atoms.get_chemical_symbols(), parameters)
        values: dict[str, Any] = {"steps": 0}
        if inputs.kind == "relax":
            values = _relax(atoms, inputs, limits, stop)
        elif KINDS[inputs.kind].searches:
            values = _searched(atoms, inputs, limits, stop)
        elif KINDS[inputs.kind].displaces:
            values = _displaced(atoms, inputs, limits, stop)
        elif inputs.kind == "dos":
            values |= _electrons(atoms, inputs)
        elif inputs.kind == "bands":
            values |= _along_path(atoms, inputs)
        if others := parameters.stand_ins(atoms.get_chemical_symbols()):
            values["notes"] = (*values.get("notes", ()), f"{', '.join(others)}: {_PAIRS_NOTE}")
        result = cls(
            key=inputs.key,
            energy_ev=float(atoms.get_potential_energy()),
            positions_a=atoms.get_positions(),
            forces_ev_per_a=atoms.get_forces(),
            versions={"ase": ase_version, "sodiate": __version__, "emt_parameters": parameters.version},
            **values,
        )
        if not (np.isfinite(result.energy_ev) and np.isfinite(result.forces_ev_per_a).all()):
            raise EngineError(
                f"{inputs.directory}: the energy or a force is not finite: atoms are too close in {START} there."
            )
        return result

    def check(self, natoms: int) -> None:
        """Raise ValueError if an array has a wrong shape or a number is not finite."""
        arrays = self.positions_a, self.forces_ev_per_a
        if any(array.shape != (natoms, 3) or not np.isfinite(array).all() for array in arrays):
            raise ValueError(f"positions or forces are not {natoms} × 3 finite numbers")
        if not np.isfinite(self.energy_ev):
            raise ValueError("the energy is not finite")

    def write(self, directory: Path) -> None:
        """Write the arrays and then the summary, whose presence means that the result is complete."""
        fingerprints = {}
        arrays = ((BANDS, self.bands), (DOS, self.dos), (PATH, self.path), (VIBRATIONS, self.vibrations))
        for name, value in arrays:
            if value is not None:
                write_arrays(directory / name, to_arrays(value))
                fingerprints[name] = fingerprint(directory / name)
        summary = {
            "key": self.key,
            "steps": self.steps,
            "energy_ev": self.energy_ev,
            "positions_a": self.positions_a.tolist(),
            "forces_ev_per_a": self.forces_ev_per_a.tolist(),
            "versions": self.versions,
            "notes": self.notes,
            "kmesh": self.kmesh,
            "fingerprints": fingerprints,
        }
        write_json(directory / RESULT, summary)

    @classmethod
    def read(cls, inputs: EmtInputs) -> EmtResult:
        """Read and check all files that a calculation of this kind leaves."""
        path = inputs.directory / RESULT
        try:
            values = read_json(path)
            values["notes"] = tuple(values["notes"])
            values["kmesh"] = tuple(values["kmesh"]) if values["kmesh"] else None
            for name in ("positions_a", "forces_ev_per_a"):
                values[name] = np.array(values[name], dtype=np.float64)
            result = cls(**values)
            result.check(len(inputs.atoms))
        except DAMAGE as error:
            raise EngineError(f"{path} is missing or damaged ({error}); run the calculation again.") from None
        if result.key != inputs.key:
            raise EngineError(f"{path} is of other inputs than {INPUT} there; run the calculation again.")
        return replace(result, **_read_arrays(inputs, result))


def _relax(atoms: Atoms, inputs: EmtInputs, limits: Limits, stop: Stop) -> dict[str, Any]:
    from ..shared.bfgs import Criteria
    from ..shared.relax import relax
    from ..shared.trajectory import Checkpoint

    criteria = Criteria(
        inputs.protocol["max_force_ev_per_a"], inputs.execution["max_steps"], inputs.execution["max_step_a"]
    )
    steps = relax(atoms, Checkpoint(inputs.directory, inputs.key), criteria, limits, stop)
    return {"steps": steps[-1].step}


def _searched(atoms: Atoms, inputs: EmtInputs, limits: Limits, stop: Stop) -> dict[str, Any]:
    """Find the saddle of a path; ``atoms`` are then at it."""
    from ..shared.path_search import Search, search
    from ..shared.path_task import TAPE

    task, execution = PathTask.read(inputs.directory), inputs.execution
    settings = Search(inputs.protocol["max_force_ev_per_a"], execution["max_steps"], execution["max_step_a"])
    found = search(task, settings, _tape(atoms, inputs, task, TAPE, limits, stop))
    atoms.positions = found.path.positions_a[found.path.saddle]
    return {"steps": found.calls, "path": found.path, "notes": found.notes}


def _displaced(atoms: Atoms, inputs: EmtInputs, limits: Limits, stop: Stop) -> dict[str, Any]:
    """Compute the second derivatives; ``atoms`` are then at rest."""
    task = VibrationTask.read(inputs.directory)
    tape = _tape(atoms, inputs, task, VIBRATIONS_TAPE, limits, stop)
    found = second_derivatives(task, tape)
    atoms.positions = task.atoms.positions
    return {"steps": tape.calls, "vibrations": found}


def _tape(atoms: Atoms, inputs: EmtInputs, task: Bounds, name: str, limits: Limits, stop: Stop) -> Tape:
    """Return the tape of force calls that ``atoms`` are moved to."""
    from ..shared.relax import Clock
    from ..shared.tape import Tape, one_by_one
    from ..shared.trajectory import Checkpoint, Step

    def compute(image: Atoms, what: str, number: int) -> Step:
        del what
        atoms.positions = image.positions
        return Step.of(atoms, number, inputs.directory)

    clock = Clock(inputs.directory, limits, stop)
    return Tape(task, Checkpoint(inputs.directory, inputs.key, name), one_by_one(compute), clock)


def _electrons(atoms: Atoms, inputs: EmtInputs) -> dict[str, Any]:
    from ..shared.grids import kpoint_mesh
    from .tight_binding import electrons

    length = inputs.protocol["kpoint_length_a"]
    bands, dos = electrons(atoms, load_parameters(), length, inputs.protocol["dos_broadening_ev"])
    return {"bands": bands, "dos": dos, "kmesh": kpoint_mesh(atoms, length), "notes": (_ELECTRONS_NOTE,)}


def _along_path(atoms: Atoms, inputs: EmtInputs) -> dict[str, Any]:
    from ....analysis.electrons.bandpath import path_points
    from .tight_binding import band_structure

    protocol = inputs.protocol
    kpoints = path_points(atoms.cell.array, round(protocol["band_points"]))
    bands = band_structure(atoms, load_parameters(), protocol["kpoint_length_a"], kpoints)
    return {"bands": bands, "notes": (_ELECTRONS_NOTE,)}


def _read_arrays(inputs: EmtInputs, result: EmtResult) -> dict[str, Any]:
    """Return the trajectory of a relaxation, or bands and DOS, that belong to a result."""
    if inputs.kind == "relax":
        from ..shared.trajectory import read_trajectory

        trajectory = read_trajectory(inputs.directory, len(inputs.atoms), result.steps)
        if not np.array_equal(trajectory.positions_a[-1], result.positions_a):
            raise EngineError(
                f"{inputs.directory / TRAJECTORY} does not end where {RESULT} does; delete both and run again."
            )
        return {"trajectory": trajectory}
    return read_arrays_of(inputs.directory, KINDS[inputs.kind].arrays, result.fingerprints, RESULT)
