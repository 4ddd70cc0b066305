"""The program of GPAW's processes: ``mpiexec -n 2 gpaw python run.py`` in a calculation's directory.

All ranks run the same code; the first one writes.
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
from gpaw.mpi import world

from ....analysis.arrays import ArrayRecord, Bands, Density, to_arrays
from ....analysis.electrons.bandpath import filled_along, path_points
from ....analysis.electrons.gap_and_dos import MAX_SPACING_EV, dos_from_bands
from ....analysis.electrons.levels import no_vacuum_levels, vacuum_levels
from ....analysis.records import Geometry
from ....version import __version__
from ...kinds import KINDS
from ...stop import Stop
from ..base import Limits, TooManySteps
from ..shared.bfgs import Criteria
from ..shared.checks import BANDS, DOS, GRID, PATH, VIBRATIONS
from ..shared.files import TRAJECTORY, fingerprint, write_arrays, write_json
from ..shared.relax import Ranks, relax
from ..shared.states import scaled_moments
from ..shared.trajectory import Checkpoint, Step
from .dispersion import Dispersed, dispersion_calculator
from .electrons import (
    AtDensity,
    CalculatorFactory,
    StepDensities,
    WithoutMeanForce,
    at_other_settings,
    check_state,
    discard_densities,
    divided,
    new_calculator,
    read_density,
    same_place,
)
from .inputs import COARSE, DENSITY, ERROR, LOCK, PARENT_DENSITY, RESULT, SAME_PLACE_A, GpawInputs
from .path import How, displaced, searched
from .ranks import MpiRanks

_SHELLS = "spd"

LOCK_S = 30.0
"""How long to wait for another GPAW to release the directory."""


def main() -> None:
    """Run the calculation in the current directory."""
    directory = Path.cwd()
    lock = None
    try:
        if world.rank == 0:
            lock = _locked(directory)
        world.barrier()
        _compute(GpawInputs.read(directory))
        world.barrier()
    except Exception as error:
        # The first rank that fails writes the reason; mpiexec then ends the others.
        path = directory / ERROR
        if not path.exists():
            reason = "".join(traceback.format_exception_only(error)).strip()
            values = {"type": type(error).__name__, "reason": reason, "traceback": traceback.format_exc()}
            write_json(path, values | ({"max_steps": error.max_steps} if isinstance(error, TooManySteps) else {}))
        raise
    finally:
        if lock is not None:
            lock.close()


def _locked(directory: Path) -> Any:
    """Lock the directory, so that two codes do not overwrite each other's files; the lock says on how many ranks.

    The ranks of a launch that was killed may take a moment to end.
    """
    lock = (directory / LOCK).open("w")
    end = time.monotonic() + LOCK_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.write(f"{world.size}\n")
            lock.flush()
            return lock
        except OSError:
            if time.monotonic() > end:
                raise RuntimeError(f"another GPAW runs in {directory}") from None
            time.sleep(0.2)


def _output(directory: Path, ranks: Ranks, group: int | None = None) -> str:
    """Return a new name for the text output, so that no launch or other group of ranks overwrites an earlier one."""
    end = ".txt" if group is None else f"-{group + 1}.txt"
    name: str = ranks.shared(lambda: f"gpaw-{len(list(directory.glob('gpaw-*.txt'))) + 1}{end}")
    return str(directory / name)


def _compute(inputs: GpawInputs) -> None:
    ranks = MpiRanks()
    if not inputs.calculator["spinpol"]:
        inputs.atoms.set_initial_magnetic_moments(None)  # otherwise GPAW polarises
    steps, electrons = _run_kind(inputs, ranks)
    calculator = inputs.atoms.calc
    if calculator is None:  # this rank had no share in the last force call
        return
    values = _values(inputs.atoms, calculator, steps, inputs)
    if inputs.kind == "density":
        electrons = _density(inputs, calculator)
    if not KINDS[inputs.kind].fixed_density and inputs.kind != "density" and not inputs.at_density:
        calculator.write(inputs.directory / DENSITY, include_projections=False)
        if world.rank == 0:
            values["density_fingerprint"] = fingerprint(inputs.directory / DENSITY)
    if world.rank == 0:
        write_json(inputs.directory / RESULT, values | electrons)
        discard_densities(inputs.directory)


def _run_kind(inputs: GpawInputs, ranks: MpiRanks) -> tuple[int, dict[str, Any]]:
    """Give the atoms the calculator that their results are from; return steps, and values for the result."""
    if inputs.kind == "bands":
        return 0, _along_path(inputs, _output(inputs.directory, ranks))
    if inputs.kind == "dos":
        return 0, _electrons(inputs, _output(inputs.directory, ranks))
    if inputs.at_density:
        saved, origin = _parent_density(inputs, _output(inputs.directory, ranks))
        inputs.atoms.calc = _with_dispersion(AtDensity(saved, inputs.functional), inputs)
        return 0, {"density_from": origin}
    if KINDS[inputs.kind].relaxes:
        return _relaxed(inputs, ranks), {}
    if KINDS[inputs.kind].searches:
        found, inputs.atoms.calc = searched(inputs, ranks, How(_add_to(inputs), partial(_output, inputs.directory)))
        return found.calls, {"fingerprints": _write(inputs, {PATH: found.path}), "path_notes": found.notes}
    if KINDS[inputs.kind].displaces:
        how = How(_add_to(inputs), partial(_output, inputs.directory))
        derivatives, calls, inputs.atoms.calc = displaced(inputs, ranks, how)
        return calls, {"fingerprints": _write(inputs, {VIBRATIONS: derivatives})}
    inputs.atoms.calc = _with_dispersion(_single_point(inputs, _output(inputs.directory, ranks)), inputs)
    return 0, {}


def _single_point(inputs: GpawInputs, text: str) -> Any:
    """Return a calculator that starts from the density of the relaxation, or, if that is of no use, from the atoms.

    Once an error handler has changed a setting, from the atoms, too.
    """
    saved = None if inputs.host is None or inputs.corrections else _saved_density(inputs)
    calculator = None if saved is None else at_other_settings(saved, inputs.calculator, text)
    return new_calculator(inputs.calculator, text) if calculator is None else calculator


def _with_dispersion(calculator: Any, inputs: GpawInputs) -> Any:
    """Return a calculator with D3 if the protocol has it."""
    if inputs.protocol.get("dispersion") is None:
        return calculator
    return Dispersed(calculator, inputs.functional, MpiRanks(calculator.comm))


def _add_to(inputs: GpawInputs) -> Callable[[Any], Any]:
    return lambda calculator: WithoutMeanForce(_with_dispersion(calculator, inputs))


def _relaxed(inputs: GpawInputs, ranks: Ranks) -> int:
    """Relax, first with the coarse settings if there are any; return the number of steps with the real ones."""
    atoms, execution = inputs.atoms, inputs.execution
    moments = atoms.get_initial_magnetic_moments() if inputs.calculator["spinpol"] else None
    stiffness = execution.get("stiffness_ev_per_a2")
    stiffness = None if stiffness is None else tuple(stiffness)
    cell = KINDS[inputs.kind].relaxes_cell
    coarse_steps: list[Step] = []

    def relax_with(settings: dict[str, Any], max_force: float, name: str) -> list[Step]:
        criteria = Criteria(max_force, execution["max_steps"], execution["max_step_a"], stiffness, cell)
        factory = CalculatorFactory(settings, _add_to(inputs), partial(_output, inputs.directory, ranks))
        densities = StepDensities(inputs.directory, name, factory, moments if settings["spinpol"] else None, ranks)
        checkpoint = Checkpoint(inputs.directory, inputs.key, name, densities)
        return relax(atoms, checkpoint, criteria, Limits(), Stop(), ranks, coarse_steps)

    coarse = execution.get("coarse")
    if coarse is not None:
        coarse_steps = relax_with(coarse["calculator"], coarse["max_force_ev_per_a"], COARSE)
    steps = relax_with(inputs.calculator, inputs.protocol["max_force_ev_per_a"], TRAJECTORY)
    atoms.set_initial_magnetic_moments(moments)
    return steps[-1].step


def _values(atoms: Any, calculator: Any, steps: int, inputs: GpawInputs) -> dict[str, Any]:
    """Return settings and results that the calculator reports; all ranks take part."""
    fixed = KINDS[inputs.kind].fixed_density
    energy = None if fixed else float(atoms.get_potential_energy())
    free_energy = None if fixed else float(atoms.get_potential_energy(force_consistent=True))
    forces = None if fixed or inputs.at_density else atoms.get_forces().tolist()
    spins = calculator.get_number_of_spins()
    dft = calculator.dft
    setups = {setup.symbol: f"{setup.type} {setup.fingerprint}" for setup in dft.setups}
    return {
        "key": inputs.key,
        "steps": steps,
        "energy_ev": energy,
        "free_energy_ev": free_energy,
        "forces_ev_per_a": forces,
        "stress_ev_per_a3": atoms.get_stress().tolist() if KINDS[inputs.kind].relaxes_cell else None,
        "geometry": Geometry.of(atoms).model_dump(mode="json"),
        "start_moments_mub": inputs.atoms.get_initial_magnetic_moments().tolist() if spins == 2 else None,
        "moments_mub": np.asarray(calculator.get_magnetic_moments()).tolist() if spins == 2 else None,
        "total_moment_mub": float(calculator.get_magnetic_moment()) if spins == 2 else None,
        "spins": spins,
        "kmesh": _mesh(dft, inputs.kind),
        "ibz_kpoints": len(dft.ibzwfs.ibz),
        "cutoff_ev": float(calculator.params.todict()["mode"]["ecut"]),
        "functional": _functional(inputs, calculator),
        "occupations": dict(calculator.params.todict()["occupations"]),
        "dipole": "dipolelayer" in (calculator.params.todict().get("poissonsolver") or {}),
        "paw": setups,
        "ranks": world.size,
        "versions": _versions(inputs.protocol.get("dispersion")),
    }


def _functional(inputs: GpawInputs, calculator: Any) -> str:
    own = str(calculator.get_xc_functional())
    return f"{inputs.functional} at the density of {own}" if inputs.at_density else own


def _mesh(dft: Any, kind: str) -> list[int] | None:
    """Return the k mesh; None along a path."""
    if kind == "bands":
        return None
    zone = dft.ibzwfs.ibz.bz
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


def _electrons(inputs: GpawInputs, text: str) -> dict[str, Any]:
    """Compute bands and DOS on a denser mesh, from the parent's density if it is there, for the result."""
    saved, origin = _parent_density(inputs, text)
    keys = ("kpts", "nbands", "occupations", "convergence", "symmetry", "eigensolver")
    settings = {key: inputs.calculator[key] for key in keys if key in inputs.calculator}
    dense_text = text if origin == "file" else text.replace(".txt", "-dense.txt")
    calculator = saved.fixed_density(**settings, **divided(), txt=dense_text, update_fermi_level=True)
    calculator.get_potential_energy()
    inputs.atoms.calc = calculator
    weights = _projections(calculator)
    bands = replace(_bands(calculator), by_atom=weights.sum(axis=-1).astype(np.float16))
    dos = dos_from_bands(
        bands,
        inputs.protocol["dos_broadening_ev"],
        _by_element(calculator, weights),
        min(MAX_SPACING_EV, inputs.protocol["dos_broadening_ev"] / 3.0),
    )
    return {
        "fingerprints": _write(inputs, {BANDS: bands, DOS: dos}),
        "density_from": origin,
        **_vacuum(inputs, calculator),
    }


def _vacuum(inputs: GpawInputs, calculator: Any) -> dict[str, Any]:
    """Return the vacuum levels of a slab, or why it has none; all ranks take part."""
    planes, height = calculator.get_electrostatic_potential().mean(axis=(0, 1)), float(inputs.atoms.cell[2, 2])
    if inputs.atoms.pbc[2]:
        return {"vacuum_ev": None}
    return {"vacuum_ev": vacuum_levels(planes, height), "no_vacuum": no_vacuum_levels(planes, height)}


def _along_path(inputs: GpawInputs, text: str) -> dict[str, Any]:
    """Compute the bands of the parent's density along Γ–M–K–Γ, filled as those of its mesh."""
    saved, origin = _parent_density(inputs, text)
    mesh = _bands(saved)
    path = path_points(inputs.atoms.cell.array, inputs.protocol["band_points"])
    settings = {key: inputs.calculator[key] for key in ("nbands", "occupations", "convergence")} | divided()
    calculator = saved.fixed_density(**settings, kpts=path, symmetry="off", txt=text.replace(".txt", "-path.txt"))
    calculator.get_potential_energy()
    inputs.atoms.calc = calculator
    bands = filled_along(_bands(calculator).energies_ev, path, mesh, _projections(calculator).astype(np.float16))
    fingerprints = _write(inputs, {BANDS: bands})
    return {"fingerprints": fingerprints, "density_from": origin, **_vacuum(inputs, calculator)}


def _write(inputs: GpawInputs, files: dict[str, ArrayRecord]) -> dict[str, str]:
    """Write arrays from the first rank; return the fingerprint of each file there."""
    if world.rank > 0:
        return {}
    for name, value in files.items():
        write_arrays(inputs.directory / name, to_arrays(value))
    return {name: fingerprint(inputs.directory / name) for name in files}


def _density(inputs: GpawInputs, calculator: Any) -> dict[str, Any]:
    """Write the pseudo density with its compensation charges; return values for the result.

    The charges are normalised on the grid, so that the sum over its points counts the valence electrons.
    """
    gathered = calculator.dft.densities().pseudo_densities(add_compensation_charges=True).gather()
    files: dict[str, ArrayRecord] = {}
    if world.rank == 0:  # the other ranks gather nothing
        values = gathered.data.sum(axis=0).astype(np.float32)
        files[GRID] = Density(values, inputs.atoms.cell.array)
    return {"fingerprints": _write(inputs, files), "electrons": float(calculator.get_number_of_electrons())}


def _parent_density(inputs: GpawInputs, text: str) -> tuple[Any, str]:
    """Return a calculator with the parent's density, and where that is from.

    From its ``file``, or computed again: ``anew`` for another functional, on the ``host mesh`` for eigenvalues, or,
    without a parent, on the ``own mesh``. A density that cannot be read, or is not the one that the parent's result
    names, is computed again on the parent's k mesh: eigenvalues at the density of another mesh would be another
    quantity.
    """
    host = inputs.host
    saved = _saved_density(inputs)
    if saved is not None:
        return saved, "file"
    settings, atoms = dict(inputs.calculator), inputs.atoms
    settings["convergence"] = {key: value for key, value in settings["convergence"].items() if key != "bands"}
    if host is not None and host["mesh"] is not None:
        settings["kpts"] = settings["kpts"] | {"size": host["mesh"]}
    start = atoms.copy()
    if host is not None and host["moments_mub"] is not None and settings["spinpol"]:
        start.set_initial_magnetic_moments(scaled_moments(host["moments_mub"], host["total_moment_mub"]))
    calculator = new_calculator(settings, text)
    energy = calculator.get_potential_energy(start)
    if host is None:
        return calculator, "own mesh"
    if host.get("dispersion") is not None:
        energy += dispersion_calculator(settings["xc"]).get_property("energy", start)
    check_state(energy, host)
    return calculator, "anew" if inputs.at_density else "host mesh"


def _saved_density(inputs: GpawInputs) -> Any:
    """Return a calculator with the density of the parent's file; None if that is absent, unreadable or altered.

    Also if its atoms lie elsewhere: where the parent's result is gone, no fingerprint tells one density from another.
    """
    path, expected = inputs.directory / PARENT_DENSITY, (inputs.host or {}).get("density_fingerprint")
    if expected is not None and path.exists() and fingerprint(path) != expected:
        return None
    saved = read_density(path)
    return saved if saved is not None and same_place(saved.atoms, inputs.atoms, SAME_PLACE_A) else None


def _bands(calculator: Any) -> Bands:
    spins = calculator.get_number_of_spins()
    kpoints, weights = calculator.get_ibz_k_points(), calculator.get_k_point_weights()
    occupation_numbers = partial(calculator.get_occupation_numbers, raw=True)
    energies, occupations = (
        np.array([[get(kpt=k, spin=s).copy() for k in range(len(kpoints))] for s in range(spins)])
        for get in (calculator.get_eigenvalues, occupation_numbers)
    )
    return Bands(energies, occupations * (3 - spins), kpoints, weights, float(calculator.get_fermi_level()))


def _projections(calculator: Any) -> Any:
    """Return the weight of each state on the bound PAW projectors of the s, p and d states of each atom.

    Returns
    -------
    array
        Shape (spins, k points, bands, atoms, 3).
    """
    from gpaw.dos import IBZWaveFunctions, get_projector_numbers

    states = IBZWaveFunctions(calculator)
    atoms = []
    for index, setup in enumerate(calculator.dft.setups):
        numbers = [get_projector_numbers(setup, shell) for shell in range(len(_SHELLS))]
        found = {
            shell: states.pdos_weights(index, own).transpose(2, 0, 1) for shell, own in enumerate(numbers) if own
        }
        nothing = np.zeros_like(next(iter(found.values())))
        atoms.append(np.stack([found.get(shell, nothing) for shell in range(len(_SHELLS))], axis=-1))
    return np.stack(atoms, axis=-2)


def _by_element(calculator: Any, weights: Any) -> dict[str, Any]:
    """Return the weights of each element and shell that it has projectors of, as ``W-d``."""
    from gpaw.dos import get_projector_numbers

    found: dict[str, Any] = {}
    for index, setup in enumerate(calculator.dft.setups):
        for shell, name in enumerate(_SHELLS):
            if get_projector_numbers(setup, shell):
                label = f"{setup.symbol}-{name}"
                found[label] = found.get(label, 0.0) + weights[..., index, shell]
    return found
