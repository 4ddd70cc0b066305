"""What every engine checks of its inputs and outputs, in one wording."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ....analysis.arrays import from_arrays
from ...stop import Stop
from ..base import EngineError, Stopped, Unconverged, Unsupported
from .files import DAMAGE, fingerprint, read_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from ..base import Engine


WITHOUT_DENSITY = {
    "dos": "the host's density was out of reach: bands and DOS are self-consistent on the denser mesh",
    "bands": "the host's density was out of reach: that of the bands was computed anew, on the host's mesh",
}
"""What a record says of a density that was not there to begin with."""

BANDS = "bands.npz"
DOS = "dos.npz"
GRID = "density.npz"

_FILES = {"bands": BANDS, "dos": DOS, "density": GRID}

BFGS_KEYS = frozenset({"optimizer", "max_steps", "max_step_a"})
"""Execution settings of a relaxation with BFGS."""

IN_PLANE = (1, 1, 0, 0, 0, 1)
"""Strains that a relaxation of the cell has, in Voigt's order: xx, yy and xy."""


def check_kind(engine: Engine, kind: str, atoms: Atoms | None, directory: Path) -> Atoms:
    """Return the start geometry of a calculation that the engine can do.

    Raises
    ------
    Unsupported
        For a kind or an element that it does not have.
    EngineError
        Without a geometry.
    """
    if kind not in engine.capabilities:
        raise Unsupported(
            f"The engine {engine.name} has no {kind!r}; it does {', '.join(sorted(engine.capabilities))}."
        )
    if atoms is None:
        raise EngineError(f"{directory}: a calculation of kind {kind!r} needs a start geometry.")
    engine.check(atoms)
    return atoms


def is_done(check: Callable[[], object], result: Path, stop: Stop) -> bool:
    """Tell whether a directory holds a result that stands; one that does not is removed.

    Parameters
    ----------
    check
        Reads and checks the result; raises `EngineError` if it is not there or wrong.
    result
        Its file.
    stop
        Read before a run begins.

    Raises
    ------
    Stopped
        If there is something to run, and the worker was asked to end.
    """
    try:
        check()
    except EngineError:
        result.unlink(missing_ok=True)
    else:
        return True
    if stop.requested():
        raise Stopped(f"{result.parent}: stopped before it began: {stop.reason}; run it again.")
    return False


def bfgs_settings(given: Mapping[str, Any], engine: str, directory: Path) -> dict[str, Any]:
    """Return the settings of a relaxation with BFGS: ``optimizer``, ``max_steps``, ``max_step_a`` (Å).

    Raises
    ------
    Unsupported
        For another optimizer.
    EngineError
        If a setting is missing or no number.
    """
    where = f"{directory}: execution"
    if given.get("optimizer") != "bfgs":
        raise Unsupported(f"{where}: optimizer {given.get('optimizer')!r}: the engine {engine} relaxes with bfgs.")
    return {
        "optimizer": "bfgs",
        "max_steps": int(number(given, "max_steps", where)),
        "max_step_a": number(given, "max_step_a", where),
    }


def number(values: Mapping[str, Any], key: str, where: str) -> float:
    """Return a value that must be a number; raise `EngineError` if it is none."""
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EngineError(f"{where}: {key} is {value!r}; it must be a number.")
    return float(value)


def cell_forces(cell_a: NDArray[np.float64], stress_ev_per_a3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the force on each cell vector, −∂E/∂a_i at fixed fractional coordinates, as far as it lies in the plane.

    With the vectors as rows of h it is −V h⁻ᵀ σ, since dE = V tr(σ h⁻¹ dh).

    Parameters
    ----------
    cell_a
        Shape (3, 3), vectors as rows, Å.
    stress_ev_per_a3
        Shape (6,): xx, yy, zz, yz, xz, xy as ASE has it, positive if the cell wants to shrink.

    Returns
    -------
    array
        Shape (3, 3), eV/Å.
    """
    from ase.stress import voigt_6_to_full_3x3_stress

    stress = voigt_6_to_full_3x3_stress(np.asarray(stress_ev_per_a3) * IN_PLANE)
    forces: NDArray[np.float64] = -abs(np.linalg.det(cell_a)) * np.linalg.inv(cell_a).T @ stress
    return forces


def check_forces(
    forces_ev_per_a: NDArray[np.float64], criterion_ev_per_a: float, steps: int, max_steps: int, directory: Path
) -> None:
    """Raise `Unconverged` unless the largest force is below the criterion: a row an atom, or a cell vector."""
    largest = float(np.linalg.norm(forces_ev_per_a, axis=1).max())
    if not largest < criterion_ev_per_a:
        raise Unconverged(
            f"{directory}: after {steps} steps the largest force is {largest:.3g} eV/Å, not below "
            f"{criterion_ev_per_a:g} eV/Å; raise execution.max_steps (now {max_steps}) and retry."
        )


def read_arrays_of(
    directory: Path, kinds: Iterable[str], fingerprints: Mapping[str, str], result: str
) -> dict[str, Any]:
    """Return ``bands``, ``dos`` or ``density`` of a directory, if they are the files ``result`` was written with.

    Raises
    ------
    EngineError
        If one is missing, damaged or another run's.
    """
    found: dict[str, Any] = {}
    for kind in kinds:
        path = directory / _FILES[kind]
        try:
            if fingerprint(path) != fingerprints[path.name]:
                raise ValueError(f"it is not the file that {result} was written with")
            found[kind] = from_arrays(kind, read_arrays(path))
        except DAMAGE as error:
            raise EngineError(f"{path} is missing or damaged ({error}); run the calculation again.") from None
    return found
