"""What a GPAW run left in its directory: read, checked, and turned into an outcome."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...analysis.records import Geometry, Method, Sampling
from .base import EngineError, Outcome
from .checks import check_forces, read_electrons
from .files import DAMAGE, read_json
from .gpaw_inputs import INPUT, OUTPUTS, RESULT, Inputs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Result:
    """What the worker wrote, checked."""

    inputs: Inputs
    values: dict[str, Any]
    geometry: Geometry
    forces: Any
    arrays: dict[str, Any]

    @classmethod
    def read(cls, inputs: Inputs) -> Result:
        """Read what the kind must have left; raise `EngineError` if it is missing, damaged or of other inputs."""
        path = inputs.directory / RESULT
        try:
            values = read_json(path)
            geometry = Geometry.model_validate(values["geometry"])
            forces = None if values["forces_ev_per_a"] is None else np.array(values["forces_ev_per_a"])
            natoms = len(inputs.atoms)
            if len(geometry.symbols) != natoms or (forces is not None and forces.shape != (natoms, 3)):
                raise ValueError(f"it is not of {natoms} atoms")
            numbers = [n for n in (values["energy_ev"], values["free_energy_ev"]) if n is not None]
            if not (np.isfinite(numbers).all() and (forces is None or np.isfinite(forces).all())):
                raise ValueError("an energy or a force is not finite")
        except DAMAGE as error:
            raise EngineError(f"{path} is missing or damaged ({error}); run the calculation again.") from None
        if values["key"] != inputs.key:
            raise EngineError(f"{path} is of other inputs than {INPUT} there; run the calculation again.")
        return cls(inputs, values, geometry, forces, _arrays(inputs, values))

    def check(self) -> None:
        """Raise `Unconverged` unless a relaxation is below its criterion."""
        inputs = self.inputs
        if inputs.kind == "relax":
            criterion, limit = inputs.protocol["max_force_ev_per_a"], inputs.execution["max_steps"]
            check_forces(self.forces, criterion, self.values["steps"], limit, inputs.directory)

    def outcome(self, engine: str) -> Outcome:
        """Return it as an engine's outcome."""
        values, inputs = self.values, self.inputs
        occupations = values["occupations"]
        return Outcome(
            atoms=self.geometry.atoms(),
            energy_ev=values["energy_ev"],
            free_energy_ev=values["free_energy_ev"],
            forces_ev_per_a=self.forces,
            converged=True,
            method=Method(
                engine=engine,
                engine_version=values["versions"]["gpaw"].split(".")[0],
                functional=values["functional"],
                cutoff_ev=values["cutoff_ev"],
                paw=values["paw"],
            ),
            sampling=Sampling(
                cell_a=self.geometry.cell_a,
                kmesh=tuple(values["kmesh"]),
                smearing=_smearing_name(occupations),
                smearing_width_ev=occupations["width"],
                spin_polarised=values["spins"] == 2,
                dipole_correction=values["dipole"],
            ),
            versions=values["versions"],
            ionic_steps=values["steps"] if inputs.kind == "relax" else None,
            scf_steps=_scf_steps(inputs.directory),
            start_moments_mub=_floats(values["start_moments_mub"]),
            final_moments_mub=_floats(values["moments_mub"]),
            total_moment_mub=values["total_moment_mub"],
            corrections=inputs.corrections,
            notes=_notes(values),
            command=_command_of(inputs.directory),
            **self.arrays,
        )


def _arrays(inputs: Inputs, values: Mapping[str, Any]) -> dict[str, Any]:
    if inputs.kind == "relax":
        from .relaxation import read_trajectory

        return {"trajectory": read_trajectory(inputs.directory, len(inputs.atoms), values["steps"])}
    return read_electrons(inputs.directory, values["fingerprints"], RESULT) if inputs.kind == "dos" else {}


def _scf_steps(directory: Path) -> int:
    """Count the SCF iterations that all launches wrote."""
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in directory.glob(OUTPUTS))
    return sum(len(re.findall(r"^\|iter:", text, flags=re.MULTILINE)) for text in texts)


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


def _notes(values: Mapping[str, Any]) -> tuple[str, ...]:
    if not values.get("self_consistent"):
        return ()
    return ("the host's density was out of reach: bands and DOS are self-consistent on the denser mesh",)
