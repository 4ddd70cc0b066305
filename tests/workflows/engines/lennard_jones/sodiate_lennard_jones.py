"""ASE's Lennard-Jones potential as an engine of sodiate: every element is the same, and no number is physical."""

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.lj import LennardJones
from ase.io import iread
from sodiate import __version__
from sodiate.analysis.codes import CodeDescription
from sodiate.analysis.records import Geometry, Method, Record, Sampling, digest
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.engines import base
from sodiate.workflows.engines.shared import checks
from sodiate.workflows.engines.shared.bfgs import Criteria
from sodiate.workflows.engines.shared.files import DAMAGE, TRAJECTORY, exact_xyz, read_json, write_bytes, write_json
from sodiate.workflows.engines.shared.relax import relax
from sodiate.workflows.engines.shared.trajectory import Checkpoint, read_trajectory
from sodiate.workflows.stop import Stop

PARAMETERS = {"sigma": 2.2, "epsilon": 0.8, "rc": 6.0, "smooth": True}
NOBLE = {"He", "Ne", "Ar", "Kr", "Xe", "Rn"}
JONES = """@article{Jones1924,
  author = {Jones, J. E.},
  title = {On the Determination of Molecular Fields. II. From the Equation of State of a Gas},
  journal = {Proc. R. Soc. Lond. A}, volume = {106}, pages = {463--477}, year = {1924},
  doi = {10.1098/rspa.1924.0082},
}"""


class LennardJonesEngine(base.PlainEngine):
    """One potential for all elements but the noble gases, in this process; checkpoints are the trajectory."""

    name = "lennard-jones"
    physical = False
    capabilities = frozenset({"relax", "static", "atom", "bulk"})
    protocol_keys = frozenset({"max_force_ev_per_a"})
    checkpoint_files: tuple[str, ...] = (TRAJECTORY,)

    def check(self, atoms: Atoms) -> None:
        for symbol in sorted(NOBLE & set(atoms.get_chemical_symbols())):
            raise base.Unsupported(f"engine {self.name}: {symbol} binds to nothing.")

    def execution_keys(self, calculation: Calculation) -> frozenset[str]:
        return checks.BFGS_KEYS if calculation.kind == "relax" else frozenset()

    def prepare(
        self, calculation: Calculation, atoms: Atoms | None, directory: Path, parents: Mapping[str, base.Artefacts]
    ) -> None:
        atoms = checks.check_kind(self, calculation.kind, atoms, directory)
        values: dict[str, Any] = {"kind": calculation.kind, "execution": {}, "max_force_ev_per_a": None}
        if calculation.kind == "relax":
            values["execution"] = checks.bfgs_settings(self.settings.execution, self.name, directory)
            values["max_force_ev_per_a"] = checks.number(calculation.protocol, "max_force_ev_per_a", str(directory))
        directory.mkdir(parents=True, exist_ok=True)
        write_bytes(directory / "start.extxyz", exact_xyz(atoms).encode())
        write_json(directory / "input.json", values)

    def run(self, directory: Path, limits: base.Limits, stop: Stop) -> None:
        inputs, atoms, key = _read_inputs(directory)
        if checks.is_done(lambda: self.collect(directory), directory / "result.json", stop):
            return
        atoms.calc, steps = LennardJones(**PARAMETERS), 0
        if inputs["kind"] == "relax":
            execution = inputs["execution"]
            criteria = Criteria(inputs["max_force_ev_per_a"], execution["max_steps"], execution["max_step_a"])
            steps = relax(atoms, Checkpoint(directory, key), criteria, limits, stop)[-1].step
        arrays = {"positions": atoms.positions.tolist(), "forces": atoms.get_forces().tolist()}
        values = {"key": key, "steps": steps, "energy": float(atoms.get_potential_energy()), **arrays}
        write_json(directory / "result.json", values)

    def collect(self, directory: Path) -> base.Outcome:
        inputs, atoms, key = _read_inputs(directory)
        try:
            result = read_json(directory / "result.json")
            atoms.positions, forces = np.array(result["positions"]), np.array(result["forces"])
            energy, steps, same = float(result["energy"]), int(result["steps"]), result["key"] == key
        except DAMAGE as error:
            raise base.EngineError(f"{directory}/result.json is missing or damaged ({error}).") from None
        if not same:
            raise base.EngineError(f"{directory}/result.json is of other inputs; run it again.")
        relaxed = inputs["kind"] == "relax"
        if relaxed:
            limit = inputs["execution"]["max_steps"]
            checks.check_forces(forces, inputs["max_force_ev_per_a"], steps, limit, directory)
        return base.Outcome(
            atoms=atoms,
            energy_ev=energy,
            free_energy_ev=energy,
            forces_ev_per_a=forces,
            converged=True,
            method=Method(engine=self.name, engine_version="1"),
            sampling=Sampling(cell_a=Geometry.of(atoms).cell_a),
            versions={"ase": version("ase"), "sodiate": __version__},
            ionic_steps=steps if relaxed else None,
            trajectory=read_trajectory(directory, len(atoms), steps) if relaxed else None,
        )

    def description(self, records: Sequence[Record]) -> CodeDescription:
        return CodeDescription(self.name, data="Atoms attract by Jones's potential [@Jones1924].", references=JONES)


def _read_inputs(directory: Path) -> tuple[dict[str, Any], Atoms, str]:
    """Return the inputs, the start, and a hash of what the numbers follow from."""
    try:
        inputs, atoms = read_json(directory / "input.json"), next(iread(directory / "start.extxyz"))
    except DAMAGE as error:
        raise base.EngineError(f"{directory}: the inputs cannot be read ({error}); prepare it again.") from None
    what = [inputs["kind"], inputs["max_force_ev_per_a"], PARAMETERS, Geometry.of(atoms).model_dump(mode="json")]
    return inputs, atoms, digest(what)


_contract: Callable[[base.Settings], base.Engine] = LennardJonesEngine  # mypy tells what of the contract is missing
