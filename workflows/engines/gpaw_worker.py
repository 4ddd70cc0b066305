"""What runs inside GPAW's processes: ``mpiexec -n 2 gpaw python run.py`` in a calculation's directory.

Every rank goes through the same lines; the first one writes.
"""

from __future__ import annotations

import fcntl
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gpaw.dft import GPAW
from gpaw.mpi import broadcast, world

from ... import __version__
from ...analysis.electronic import MAX_SPACING_EV, dos_from_bands
from ...analysis.records import Bands, Geometry, to_arrays
from .base import Limits, Stop
from .files import fingerprint, write_arrays, write_json
from .gpaw_inputs import BANDS, DENSITY, DOS, ERROR, PARENT_DENSITY, RESULT, Inputs
from .relaxation import Criteria, Ranks, relax

_SHELLS = "spdf"


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
    """Hold the directory: two codes that write into one another's files would both be wrong."""
    lock = (directory / "lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise RuntimeError(f"another GPAW runs in {directory}") from None
    return lock


def _output(directory: Path) -> str:
    """Return the name of this launch's text output."""
    number = len(list(directory.glob("gpaw-*.txt"))) + 1
    return str(directory / f"gpaw-{number}.txt")


def _compute(inputs: Inputs) -> None:
    ranks = MpiRanks()
    text = ranks.shared(lambda: _output(inputs.directory))
    if inputs.kind == "dos":
        atoms, steps, fingerprints = inputs.atoms, 0, _electrons(inputs, text)
        calculator = atoms.calc
    else:
        atoms, fingerprints = inputs.atoms, {}
        atoms.calc = calculator = GPAW(**inputs.calculator, txt=text)
        steps = _relaxed(inputs, ranks) if inputs.kind == "relax" else 0
        atoms.calc = calculator
    values = _values(atoms, calculator, steps, inputs)
    if inputs.kind != "dos":
        calculator.write(inputs.directory / DENSITY, include_projections=False)
    if world.rank == 0:
        write_json(inputs.directory / RESULT, values | {"fingerprints": fingerprints})


def _relaxed(inputs: Inputs, ranks: Ranks) -> int:
    execution = inputs.execution
    stiffness = execution.get("stiffness_ev_per_a2")
    criteria = Criteria(
        inputs.protocol["max_force_ev_per_a"],
        execution["max_steps"],
        execution["max_step_a"],
        None if stiffness is None else tuple(stiffness),
    )
    return relax(inputs.atoms, inputs.directory, inputs.key, criteria, Limits(), Stop(), ranks)


def _values(atoms: Any, calculator: Any, steps: int, inputs: Inputs) -> dict[str, Any]:
    """Return what the calculator says that it ran and found; all ranks take part."""
    fixed = inputs.kind == "dos"
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
        "geometry": Geometry.of(atoms).model_dump(mode="json"),
        "start_moments_mub": inputs.atoms.get_initial_magnetic_moments().tolist() if spins == 2 else None,
        "moments_mub": np.asarray(calculator.get_magnetic_moments()).tolist() if spins == 2 else None,
        "total_moment_mub": float(calculator.get_magnetic_moment()) if spins == 2 else None,
        "spins": spins,
        "kmesh": [int(n) for n in ran.ibzwfs.ibz.bz.size_c] if hasattr(ran.ibzwfs.ibz.bz, "size_c") else [1, 1, 1],
        "ibz_kpoints": len(ran.ibzwfs.ibz),
        "cutoff_ev": float(calculator.params.todict()["mode"]["ecut"]),
        "functional": str(calculator.get_xc_functional()),
        "occupations": dict(calculator.params.todict()["occupations"]),
        "dipole": "dipolelayer" in (calculator.params.todict().get("poissonsolver") or {}),
        "paw": setups,
        "ranks": world.size,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    import ase
    import gpaw
    import gpaw_data

    return {
        "gpaw": gpaw.__version__,
        "gpaw_data": str(getattr(gpaw_data, "__version__", "unknown")),
        "ase": ase.__version__,
        "numpy": np.__version__,
        "python": sys.version.split()[0],
        "sodiate": __version__,
    }


def _electrons(inputs: Inputs, text: str) -> dict[str, str]:
    """Compute bands and DOS on a denser mesh, from the parent's density if it is there."""
    settings = dict(inputs.calculator)
    density = inputs.directory / PARENT_DENSITY
    if density.exists():
        kept = {k: settings[k] for k in ("kpts", "nbands", "occupations", "convergence") if k in settings}
        calculator = GPAW(density).fixed_density(**kept, txt=text, update_fermi_level=True)
        calculator.get_potential_energy()
        inputs.atoms.calc = calculator
    else:
        inputs.atoms.calc = calculator = GPAW(**settings, txt=text)
        inputs.atoms.get_potential_energy()
    bands = _bands(calculator)
    dos = dos_from_bands(
        bands,
        inputs.protocol["dos_broadening_ev"],
        _projections(calculator),
        min(MAX_SPACING_EV, inputs.protocol["dos_broadening_ev"] / 3.0),
    )
    fingerprints = {}
    if world.rank == 0:
        for name, value in ((BANDS, bands), (DOS, dos)):
            write_arrays(inputs.directory / name, to_arrays(value))
            fingerprints[name] = fingerprint(inputs.directory / name)
    return fingerprints


def _bands(calculator: Any) -> Bands:
    spins = calculator.get_number_of_spins()
    kpoints, weights = calculator.get_ibz_k_points(), calculator.get_k_point_weights()
    occupation_numbers = partial(calculator.get_occupation_numbers, raw=True)
    energies, occupations = (
        np.array([[get(kpt=k, spin=s).copy() for k in range(len(kpoints))] for s in range(spins)])
        for get in (calculator.get_eigenvalues, occupation_numbers)
    )
    return Bands(energies, occupations * (3 - spins), kpoints, weights, float(calculator.get_fermi_level()))


def _projections(calculator: Any) -> dict[str, Any]:
    """Return the weight of each state on the bound PAW projectors of each element and shell."""
    from gpaw.dos import IBZWaveFunctions, get_projector_numbers

    states = IBZWaveFunctions(calculator)
    found: dict[str, Any] = {}
    for index, setup in enumerate(calculator.dft.setups):
        for shell in range(3):
            numbers = get_projector_numbers(setup, shell)
            if numbers:
                weights = states.pdos_weights(index, numbers).transpose(2, 0, 1)
                label = f"{setup.symbol}-{_SHELLS[shell]}"
                found[label] = found.get(label, 0.0) + weights
    return found
