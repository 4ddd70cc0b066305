"""What runs inside GPAW's processes: ``mpiexec -n 2 gpaw python run.py`` in a calculation's directory.

Every rank goes through the same lines; the first one writes.
"""

from __future__ import annotations

import fcntl
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gpaw.dft import GPAW
from gpaw.mpi import broadcast, world

from ....analysis.arrays import ArrayRecord, Bands, Density, to_arrays
from ....analysis.electrons.bandpath import filled_along, path_points
from ....analysis.electrons.gap_and_dos import MAX_SPACING_EV, dos_from_bands
from ....analysis.electrons.levels import vacuum_levels
from ....analysis.records import Geometry
from ....version import __version__
from ...kinds import KINDS
from ...stop import Stop
from ..base import Limits
from ..shared.bfgs import Criteria
from ..shared.checks import BANDS, DOS, GRID
from ..shared.files import TRAJECTORY, fingerprint, write_arrays, write_json
from ..shared.relax import Ranks, relax
from ..shared.trajectory import Step
from .dispersion import Dispersed
from .inputs import COARSE, DENSITY, ERROR, PARENT_DENSITY, RESULT, Inputs

_SHELLS = "spd"

LOCK_S = 30.0
"""How long to wait for another GPAW to leave the directory."""


class MpiRanks(Ranks):
    """GPAW's ranks."""

    writes = world.rank == 0

    def shared(self, make: Callable[[], Any]) -> Any:
        """Return what the first rank makes, in all of them."""
        return broadcast(make() if self.writes else None, 0, comm=world)


def main() -> None:
    """Compute what the present directory asks for."""
    directory = Path.cwd()
    lock = None
    try:
        if world.rank == 0:
            lock = _locked(directory)
        world.barrier()
        _compute(Inputs.read(directory))
    except Exception as error:
        # The first rank to fail tells; mpiexec then ends the others.
        path = directory / ERROR
        if not path.exists():
            reason = "".join(traceback.format_exception_only(error)).strip()
            write_json(path, {"type": type(error).__name__, "reason": reason, "traceback": traceback.format_exc()})
        raise
    finally:
        if lock is not None:
            lock.close()


def _locked(directory: Path) -> Any:
    """Hold the directory: two codes that write into one another's files would both be wrong.

    The ranks of a launch that was killed may take a moment to end.
    """
    lock = (directory / "lock").open("w")
    end = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError:
            if time.monotonic() > end:
                raise RuntimeError(f"another GPAW runs in {directory}") from None
            time.sleep(0.2)


def _output(directory: Path, ranks: Ranks) -> str:
    """Return the name of the next text output, with which a launch does not overwrite an earlier one's."""
    name: str = ranks.shared(lambda: f"gpaw-{len(list(directory.glob('gpaw-*.txt'))) + 1}.txt")
    return str(directory / name)


def _compute(inputs: Inputs) -> None:
    ranks = MpiRanks()
    steps, electrons = 0, {}
    if not inputs.calculator["spinpol"]:
        inputs.atoms.set_initial_magnetic_moments(None)  # GPAW would take them for a wish to polarise
    if inputs.kind == "bands":
        electrons = _along_path(inputs, _output(inputs.directory, ranks))
    elif inputs.kind == "dos":
        electrons = _electrons(inputs, _output(inputs.directory, ranks))
    elif KINDS[inputs.kind].relaxes:
        steps = _relaxed(inputs, ranks)
    else:
        inputs.atoms.calc = _calculator(inputs, inputs.calculator, ranks)
    calculator = inputs.atoms.calc
    values = _values(inputs.atoms, calculator, steps, inputs)
    if inputs.kind == "density":
        electrons = _density(inputs, calculator)
    if not KINDS[inputs.kind].fixed_density and inputs.kind != "density":
        calculator.write(inputs.directory / DENSITY, include_projections=False)
    if world.rank == 0:
        write_json(inputs.directory / RESULT, values | electrons)


def _calculator(inputs: Inputs, settings: dict[str, Any], ranks: Ranks) -> Any:
    """Return GPAW's calculator, with D3 if the protocol has it."""
    calculator = GPAW(**settings, txt=_output(inputs.directory, ranks))
    if inputs.protocol.get("dispersion") is None:
        return calculator
    return Dispersed(calculator, settings["xc"], ranks)


def _relaxed(inputs: Inputs, ranks: Ranks) -> int:
    """Relax, first with the cheaper settings if there are some; return the steps with the real ones."""
    atoms, execution = inputs.atoms, inputs.execution
    moments = atoms.get_initial_magnetic_moments()
    stiffness = execution.get("stiffness_ev_per_a2")
    stiffness = None if stiffness is None else tuple(stiffness)
    cell = KINDS[inputs.kind].relaxes_cell
    learned: list[Step] = []

    def settle(settings: dict[str, Any], max_force: float, name: str) -> list[Step]:
        criteria = Criteria(max_force, execution["max_steps"], execution["max_step_a"], stiffness, cell)
        atoms.calc = _calculator(inputs, settings, ranks)
        return relax(atoms, inputs.directory, inputs.key, criteria, Limits(), Stop(), ranks, name, learned)

    coarse = execution.get("coarse")
    if coarse is not None:
        if not coarse["calculator"]["spinpol"]:
            atoms.set_initial_magnetic_moments(None)
        learned = settle(coarse["calculator"], coarse["max_force_ev_per_a"], COARSE)
        atoms.set_initial_magnetic_moments(moments)
    return settle(inputs.calculator, inputs.protocol["max_force_ev_per_a"], TRAJECTORY)[-1].step


def _values(atoms: Any, calculator: Any, steps: int, inputs: Inputs) -> dict[str, Any]:
    """Return what the calculator says that it ran and found; all ranks take part."""
    fixed = KINDS[inputs.kind].fixed_density
    energy = None if fixed else float(atoms.get_potential_energy())
    free = None if fixed else float(atoms.get_potential_energy(force_consistent=True))
    forces = None if fixed else atoms.get_forces().tolist()
    spins = calculator.get_number_of_spins()
    ran = calculator.dft
    setups = {setup.symbol: f"{setup.type} {setup.fingerprint}" for setup in ran.setups}
    return {
        "key": inputs.key,
        "steps": steps,
        "energy_ev": energy,
        "free_energy_ev": free,
        "forces_ev_per_a": forces,
        "stress_ev_per_a3": atoms.get_stress().tolist() if KINDS[inputs.kind].relaxes_cell else None,
        "geometry": Geometry.of(atoms).model_dump(mode="json"),
        "start_moments_mub": inputs.atoms.get_initial_magnetic_moments().tolist() if spins == 2 else None,
        "moments_mub": np.asarray(calculator.get_magnetic_moments()).tolist() if spins == 2 else None,
        "total_moment_mub": float(calculator.get_magnetic_moment()) if spins == 2 else None,
        "spins": spins,
        "kmesh": _mesh(ran, inputs.kind),
        "ibz_kpoints": len(ran.ibzwfs.ibz),
        "cutoff_ev": float(calculator.params.todict()["mode"]["ecut"]),
        "functional": str(calculator.get_xc_functional()),
        "occupations": dict(calculator.params.todict()["occupations"]),
        "dipole": "dipolelayer" in (calculator.params.todict().get("poissonsolver") or {}),
        "paw": setups,
        "ranks": world.size,
        "versions": _versions(inputs.protocol.get("dispersion")),
    }


def _mesh(ran: Any, kind: str) -> list[int] | None:
    """Return the k mesh; None along a path."""
    if kind == "bands":
        return None
    zone = ran.ibzwfs.ibz.bz
    return [int(n) for n in zone.size_c] if hasattr(zone, "size_c") else [1, 1, 1]


def _versions(d3: str | None) -> dict[str, str]:
    from importlib.metadata import version

    import ase
    import gpaw
    import gpaw_data

    return {
        **({} if d3 is None else {"dftd3": version("dftd3")}),
        "gpaw": gpaw.__version__,
        "gpaw_data": str(getattr(gpaw_data, "__version__", "unknown")),
        "ase": ase.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "sodiate": __version__,
    }


def _electrons(inputs: Inputs, text: str) -> dict[str, Any]:
    """Compute bands and DOS on a denser mesh, from the parent's density if it is there; return what to keep of it."""
    calculator = _from_density(inputs, text)
    self_consistent = calculator is None
    if calculator is None:
        calculator = GPAW(**inputs.calculator, txt=text)
        calculator.get_potential_energy(inputs.atoms)
    inputs.atoms.calc = calculator
    by_shell, by_atom = _projections(calculator)
    bands = replace(_bands(calculator), by_atom=by_atom)
    dos = dos_from_bands(
        bands,
        inputs.protocol["dos_broadening_ev"],
        by_shell,
        min(MAX_SPACING_EV, inputs.protocol["dos_broadening_ev"] / 3.0),
    )
    return {
        "fingerprints": _keep(inputs, {BANDS: bands, DOS: dos}),
        "self_consistent": self_consistent,
        "vacuum_ev": _vacuum(inputs, calculator),
    }


def _vacuum(inputs: Inputs, calculator: Any) -> tuple[float, float] | None:
    planes = calculator.get_electrostatic_potential().mean(axis=(0, 1))
    return None if inputs.atoms.pbc[2] else vacuum_levels(planes, float(inputs.atoms.cell[2, 2]))


def _along_path(inputs: Inputs, text: str) -> dict[str, Any]:
    """Compute the bands of the parent's density along Γ–M–K–Γ, filled as those of its mesh."""
    saved = _saved_density(inputs)
    self_consistent = saved is None
    if saved is None:
        saved = GPAW(**inputs.calculator, txt=text)
        saved.get_potential_energy(inputs.atoms)
    mesh = _bands(saved)
    path = path_points(inputs.atoms.cell.array, inputs.protocol["band_points"])
    kept = {key: inputs.calculator[key] for key in ("nbands", "occupations", "convergence")}
    calculator = saved.fixed_density(**kept, kpts=path, symmetry="off", txt=text.replace(".txt", "-path.txt"))
    calculator.get_potential_energy()
    inputs.atoms.calc = calculator
    bands = filled_along(_bands(calculator).energies_ev, path, mesh, _projections(calculator)[1])
    kept_files = _keep(inputs, {BANDS: bands})
    return {"fingerprints": kept_files, "self_consistent": self_consistent, "vacuum_ev": _vacuum(inputs, calculator)}


def _keep(inputs: Inputs, files: dict[str, ArrayRecord]) -> dict[str, str]:
    """Write arrays, the first rank alone, and return the fingerprint of each file."""
    if world.rank > 0:
        return {}
    for name, value in files.items():
        write_arrays(inputs.directory / name, to_arrays(value))
    return {name: fingerprint(inputs.directory / name) for name in files}


def _density(inputs: Inputs, calculator: Any) -> dict[str, Any]:
    """Write the pseudo density with its compensation charges; return what to keep of it.

    The charges are normalised on the grid, so that the sum over its points counts the valence electrons.
    """
    gathered = calculator.dft.densities().pseudo_densities(add_compensation_charges=True).gather()
    files: dict[str, ArrayRecord] = {}
    if world.rank == 0:  # the others gathered nothing
        values = gathered.data.sum(axis=0).astype(np.float32)
        files[GRID] = Density(values, inputs.atoms.cell.array)
    return {"fingerprints": _keep(inputs, files), "electrons": float(calculator.get_number_of_electrons())}


def _from_density(inputs: Inputs, text: str) -> Any:
    """Return the converged bands of the parent's density; None if it is not there or cannot be read."""
    saved = _saved_density(inputs)
    if saved is None:
        return None
    keys = ("kpts", "nbands", "occupations", "convergence", "symmetry", "eigensolver")
    kept = {key: inputs.calculator[key] for key in keys if key in inputs.calculator}
    calculator = saved.fixed_density(**kept, txt=text, update_fermi_level=True)
    calculator.get_potential_energy()
    return calculator


def _saved_density(inputs: Inputs) -> Any:
    try:
        return GPAW(inputs.directory / PARENT_DENSITY)
    except Exception:  # absent, truncated, of another GPAW: whatever its reader makes of that
        return None


def _bands(calculator: Any) -> Bands:
    spins = calculator.get_number_of_spins()
    kpoints, weights = calculator.get_ibz_k_points(), calculator.get_k_point_weights()
    occupation_numbers = partial(calculator.get_occupation_numbers, raw=True)
    energies, occupations = (
        np.array([[get(kpt=k, spin=s).copy() for k in range(len(kpoints))] for s in range(spins)])
        for get in (calculator.get_eigenvalues, occupation_numbers)
    )
    return Bands(energies, occupations * (3 - spins), kpoints, weights, float(calculator.get_fermi_level()))


def _projections(calculator: Any) -> tuple[dict[str, Any], Any]:
    """Return the weight of each state on the bound PAW projectors of each element and shell, and of each atom."""
    from gpaw.dos import IBZWaveFunctions, get_projector_numbers

    states = IBZWaveFunctions(calculator)
    found: dict[str, Any] = {}
    by_atom = []
    for index, setup in enumerate(calculator.dft.setups):
        atom: Any = 0.0
        for shell in range(3):
            numbers = get_projector_numbers(setup, shell)
            if numbers:
                weights = states.pdos_weights(index, numbers).transpose(2, 0, 1)
                label = f"{setup.symbol}-{_SHELLS[shell]}"
                found[label] = found.get(label, 0.0) + weights
                atom = atom + weights
        by_atom.append(atom)
    return found, np.stack(by_atom, axis=-1).astype(np.float16)
