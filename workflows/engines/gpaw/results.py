"""Outputs of a GPAW run: read, checked, and turned into an outcome."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....analysis.arrays import Density
from ....analysis.electrons.density import integral
from ....analysis.records import Geometry, Method, Sampling
from ...kinds import KINDS
from ..base import EngineError, Outcome
from ..shared.checks import cell_forces, check_forces, read_arrays_of, whole_up_to
from ..shared.files import DAMAGE, TRAJECTORY, read_json
from ..shared.states import coarse_end_notes, jump_notes
from ..shared.trajectory import notes_of, read_steps, read_trajectory, trajectory_of
from .inputs import COARSE, INPUT, LOCK, OUTPUTS, RESULT, GpawInputs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_SAME_CELL_A = 1e-8

_DENSITY_NOTES = {
    "host mesh": "the host's density was out of reach: it was computed anew, on the host's mesh",
    "anew": "the density at which the functional is changed was out of reach: it was computed anew",
    "own mesh": "no host is recorded: the density is self-consistent on the mesh of the run",
}
"""Notes on eigenvalues whose density is not that of the host's file."""

_HEAD = 5000
"""Characters of a text output in which it says where it runs."""

_INTEGRAL = 1e-5
"""Largest relative deviation of a density's integral from the number of electrons; 6e-7 was measured."""


@dataclass(frozen=True)
class GpawResult:
    """The result that the worker wrote: complete, finite, and of these inputs.

    Attributes
    ----------
    inputs
        Of the run.
    values
        The content of ``result.json``.
    geometry
        Final geometry.
    forces
        Shape (atoms, 3), eV/Å; None at a fixed density.
    stress
        Shape (6,), eV/Å³, of a relaxation of the cell; otherwise None.
    arrays
        Trajectory, bands and DOS, or density.
    """

    inputs: GpawInputs
    values: dict[str, Any]
    geometry: Geometry
    forces: NDArray[np.float64] | None
    stress: NDArray[np.float64] | None
    arrays: dict[str, Any]

    @classmethod
    def read(cls, inputs: GpawInputs) -> GpawResult:
        """Read all files that a calculation of this kind leaves; raise `EngineError` if one is missing or wrong."""
        path = inputs.directory / RESULT
        try:
            values = read_json(path)
            geometry = Geometry.model_validate(values["geometry"])
            forces = None if values["forces_ev_per_a"] is None else np.array(values["forces_ev_per_a"])
            stress = np.array(values["stress_ev_per_a3"]) if KINDS[inputs.kind].relaxes_cell else None
            natoms = len(inputs.atoms)
            if len(geometry.symbols) != natoms or (forces is not None and forces.shape != (natoms, 3)):
                raise ValueError(f"it is not of {natoms} atoms")
            numbers = (values["energy_ev"], values["free_energy_ev"], forces, stress)
            if not all(np.isfinite(number).all() for number in numbers if number is not None):
                raise ValueError("an energy, a force or the stress is not finite")
        except DAMAGE as error:
            raise EngineError(f"{path} is missing or damaged ({error}); run the calculation again.") from None
        if values["key"] != inputs.key:
            raise EngineError(f"{path} is of other inputs than {INPUT} there; run the calculation again.")
        return cls(inputs, values, geometry, forces, stress, _arrays(inputs, values))

    def check(self) -> None:
        """Raise `Unconverged` above the criterion of a relaxation, `EngineError` if a number cannot be right."""
        inputs = self.inputs
        if "density" in self.arrays:
            _check_density(self.arrays["density"], self.values["electrons"], inputs)
        if not KINDS[inputs.kind].moves or self.forces is None:
            return
        forces = self.forces
        if self.stress is not None:
            _check_c(self.geometry, inputs)
            forces = np.vstack([forces, cell_forces(np.array(self.geometry.cell_a), self.stress)])
        criterion, limit = inputs.protocol["max_force_ev_per_a"], inputs.execution["max_steps"]
        check_forces(forces, criterion, self.values["steps"], limit, inputs.directory)

    def outcome(self, engine: str) -> Outcome:
        """Return the outcome of the calculation."""
        values, inputs = self.values, self.inputs
        occupations = values["occupations"]
        return Outcome(
            atoms=self.geometry.atoms(),
            energy_ev=values["energy_ev"],
            free_energy_ev=values["free_energy_ev"],
            forces_ev_per_a=self.forces,
            stress_ev_per_a3=None if self.stress is None else tuple(self.stress.tolist()),
            converged=True,
            method=Method(
                engine=engine,
                engine_version=values["versions"]["gpaw"].split(".")[0],
                functional=values["functional"],
                cutoff_ev=values["cutoff_ev"],
                dispersion=inputs.protocol.get("dispersion"),
                paw=values["paw"],
                hubbard=_hubbard(inputs.protocol),
            ),
            sampling=Sampling(
                cell_a=self.geometry.cell_a,
                kmesh=None if values["kmesh"] is None else tuple(values["kmesh"]),
                smearing=_smearing_name(occupations),
                smearing_width_ev=occupations["width"],
                spin_polarised=values["spins"] == 2,
                dipole_correction=values["dipole"],
            ),
            versions=values["versions"],
            ionic_steps=values["steps"] if KINDS[inputs.kind].moves or KINDS[inputs.kind].displaces else None,
            scf_steps=_scf_steps(inputs.directory),
            start_moments_mub=_floats(values["start_moments_mub"]),
            final_moments_mub=_floats(values["moments_mub"]),
            total_moment_mub=values["total_moment_mub"],
            vacuum_ev=None if values.get("vacuum_ev") is None else tuple(values["vacuum_ev"]),
            corrections=inputs.corrections,
            notes=(*_notes(inputs, values), *self._whole()),
            command=_command_of(inputs.directory),
            **self.arrays,
        )

    def _whole(self) -> tuple[str, ...]:
        return (whole_up_to(self.arrays["bands"]),) if self.inputs.kind == "dos" else ()


def _hubbard(protocol: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the Hubbard correction of each element in words: GPAW normalises the orbitals."""
    given: Mapping[str, Mapping[str, float]] = protocol.get("hubbard_u_ev") or {}
    return {
        element: f"{shell}, U = {value:g} eV (Dudarev, normalised orbitals)"
        for element, shells in given.items()
        for shell, value in shells.items()
    } or None


def _arrays(inputs: GpawInputs, values: Mapping[str, Any]) -> dict[str, Any]:
    if KINDS[inputs.kind].relaxes:
        return {"trajectory": read_trajectory(inputs.directory, len(inputs.atoms), values["steps"])}
    return read_arrays_of(inputs.directory, KINDS[inputs.kind].arrays, values.get("fingerprints", {}), RESULT)


def _check_density(density: Density, electrons: float, inputs: GpawInputs) -> None:
    """Raise `EngineError` for a density on a wrong grid, in a wrong cell, or of too few or too many electrons."""
    where, values = inputs.directory, density.values_per_a3
    grid = tuple(inputs.calculator["gpts"])
    if values.shape != grid or np.abs(density.cell_a - inputs.atoms.cell.array).max() > _SAME_CELL_A:
        raise EngineError(
            f"{where}: the density is on a grid of {values.shape} points instead of {grid}, or its cell is another; "
            "run the calculation again."
        )
    if not np.isfinite(values).all():
        raise EngineError(f"{where}: the density is not finite; see gpaw-*.txt there.")
    count = integral(density)
    if abs(count - electrons) > _INTEGRAL * electrons:
        raise EngineError(
            f"{where}: the density holds {count:.5f} electrons instead of the {electrons:g} valence electrons of the "
            "atoms' PAW data sets; see gpaw-*.txt there."
        )


def _check_c(geometry: Geometry, inputs: GpawInputs) -> None:
    """Raise `EngineError` if c or the plane of a and b changed: c is common to the host and all its sites."""
    start, end = inputs.atoms.cell.array, np.array(geometry.cell_a)
    if max(np.abs(end[2] - start[2]).max(), np.abs(end[:2, 2] - start[:2, 2]).max()) > _SAME_CELL_A:
        raise EngineError(f"{inputs.directory}: the cell left its plane: c was {start[2]} and is {end[2]} Å.")


def _floats(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)


def _command_of(directory: Path) -> str | None:
    """Return the command of the last launch, from custodian's log, without this machine's paths."""
    try:
        log = json.loads((directory / "custodian.json").read_text(encoding="utf-8"))
        return re.sub(r"(?<!\S)/\S*/", "", str(log[-1]["job"]["command"]))
    except DAMAGE:
        return None


def _smearing_name(occupations: Mapping[str, Any]) -> str:
    return "gaussian" if occupations["name"] == "methfessel-paxton" else str(occupations["name"])


def _notes(inputs: GpawInputs, values: Mapping[str, Any]) -> tuple[str, ...]:
    notes = [inputs.execution.get("start_potential"), values.get("no_vacuum")]
    notes.append(_DENSITY_NOTES.get(values.get("density_from", "file")))
    notes += values.get("path_notes", [])
    if KINDS[inputs.kind].relaxes:
        notes += _state_notes(inputs)
    return tuple(note for note in notes if note is not None)


def _state_notes(inputs: GpawInputs) -> list[str]:
    """Return what changed of the electronic state on resume, within the coarse stage, and from it to the real one.

    Steps of the real one are looked at with those of every engine.
    """
    real, coarse = inputs.directory / TRAJECTORY, inputs.directory / COARSE
    notes = list(notes_of(real))
    if inputs.execution.get("coarse") is None:
        return notes
    first, last = read_steps(real, len(inputs.atoms)), read_steps(coarse, len(inputs.atoms))
    found = [*notes_of(coarse), *(jump_notes(trajectory_of(last)) if last else [])]
    ends = coarse_end_notes(last[-1], first[0]) if first and last else []
    return [*(f"coarse stage: {note}" for note in found), *notes, *ends]


def _scf_steps(directory: Path) -> int:
    """Count the SCF iterations that all launches wrote."""
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in directory.glob(OUTPUTS))
    return sum(len(re.findall(r"^\|iter:", text, flags=re.MULTILINE)) for text in texts)


def cores_of(directory: Path) -> int | None:
    """Return the number of ranks of the last launch, from its lock, or the head of its text; None without one."""
    with suppress(OSError, ValueError):  # a text may be of a part of the ranks; older releases wrote nothing there
        return int((directory / LOCK).read_text(encoding="utf-8"))
    outputs = sorted(directory.glob(OUTPUTS), key=lambda path: path.stat().st_mtime)
    if not outputs:
        return None
    with outputs[-1].open(encoding="utf-8", errors="replace") as file:
        head = file.read(_HEAD)
    ranks = re.search(r"^cores: +(\d+)", head, flags=re.MULTILINE)
    return None if ranks is None else int(ranks[1])
