"""Checks of inputs and outputs that all engines share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ....analysis.arrays import from_arrays
from ...stop import Stop
from ..base import EngineError, Stopped, TooManySteps, Unconverged, Unsupported
from .files import DAMAGE, fingerprint, read_arrays

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from ....analysis.arrays import Bands
    from ..base import Engine


BANDS = "bands.npz"
DOS = "dos.npz"
GRID = "density.npz"

PATH = "path.npz"

VIBRATIONS = "vibrations.npz"

_FILES = {"bands": BANDS, "dos": DOS, "density": GRID, "path": PATH, "vibrations": VIBRATIONS}

BFGS_KEYS = frozenset({"optimizer", "max_steps", "max_step_a"})
"""Execution settings of a relaxation with BFGS."""

IN_PLANE = (1, 1, 0, 0, 0, 1)
"""Mask of the strains that a relaxation of the cell optimizes, in Voigt's order: xx, yy and xy."""


def check_kind(engine: Engine, kind: str, atoms: Atoms | None, directory: Path) -> Atoms:
    """Check that the engine can do a calculation, and return its start geometry.

    Raises
    ------
    Unsupported
        If the engine lacks the kind or an element.
    EngineError
        If there is no geometry.
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
    """Return whether a directory holds a valid result; delete an invalid one.

    Parameters
    ----------
    check
        Reads and checks the result; raises `EngineError` if it is missing or wrong.
    result
        File of the result.
    stop
        Checked before a run begins.

    Raises
    ------
    Stopped
        If a run is needed, but the worker was asked to stop.
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


def bfgs_settings(execution: Mapping[str, Any], engine: str, directory: Path) -> dict[str, Any]:
    """Return the settings of a relaxation with BFGS: ``optimizer``, ``max_steps``, ``max_step_a`` (Å).

    Raises
    ------
    Unsupported
        For another optimizer.
    EngineError
        If a setting is missing or not a number.
    """
    where = f"{directory}: execution"
    if execution.get("optimizer") != "bfgs":
        raise Unsupported(f"{where}: optimizer {execution.get('optimizer')!r}: engine {engine} relaxes with bfgs.")
    return {
        "optimizer": "bfgs",
        "max_steps": int(number(execution, "max_steps", where)),
        "max_step_a": number(execution, "max_step_a", where),
    }


def number(values: Mapping[str, Any], key: str, where: str) -> float:
    """Return a value that must be a number; raise `EngineError` if it is not."""
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise EngineError(f"{where}: {key} is {value!r}; it must be a number.")
    return float(value)


def cell_forces(cell_a: NDArray[np.float64], stress_ev_per_a3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the in-plane force on each cell vector, −∂E/∂a_i at fixed fractional coordinates.

    With the vectors as rows of h this is −V h⁻ᵀ σ, since dE = V tr(σ h⁻¹ dh).

    Parameters
    ----------
    cell_a
        Shape (3, 3), vectors as rows, Å.
    stress_ev_per_a3
        Shape (6,): xx, yy, zz, yz, xz, xy with ASE's sign, positive if the cell tends to shrink.

    Returns
    -------
    ndarray
        Shape (3, 3), eV/Å.
    """
    from ase.stress import voigt_6_to_full_3x3_stress

    stress = voigt_6_to_full_3x3_stress(np.asarray(stress_ev_per_a3) * IN_PLANE)
    forces: NDArray[np.float64] = -abs(np.linalg.det(cell_a)) * np.linalg.inv(cell_a).T @ stress
    return forces


def check_forces(
    forces_ev_per_a: NDArray[np.float64], criterion_ev_per_a: float, steps: int, max_steps: int, directory: Path
) -> None:
    """Raise `Unconverged` unless the largest force is below the criterion, `TooManySteps` after as many as allowed.

    Parameters
    ----------
    forces_ev_per_a
        Shape (atoms, 3), or (atoms + 3, 3) with those on the cell vectors.
    criterion_ev_per_a
        Of the protocol.
    steps, max_steps
        Steps so far, and how many are allowed.
    directory
        For messages.
    """
    largest = float(np.linalg.norm(forces_ev_per_a, axis=1).max())
    if not largest < criterion_ev_per_a:
        message = (
            f"{directory}: after {steps} steps the largest force is {largest:.3g} eV/Å, not below "
            f"{criterion_ev_per_a:g} eV/Å; raise execution.max_steps (now {max_steps}) and run it again."
        )
        raise Unconverged(message) if steps < max_steps else TooManySteps(message, max_steps)


def read_arrays_of(
    directory: Path, kinds: Iterable[str], fingerprints: Mapping[str, str], result: str
) -> dict[str, Any]:
    """Read ``bands``, ``dos``, ``density``, ``path`` or ``vibrations`` of a directory.

    Parameters
    ----------
    directory
        Of the calculation.
    kinds
        Which of them.
    fingerprints
        Of each file, by its name, from the result.
    result
        Name of the result's file, for messages.

    Raises
    ------
    EngineError
        If a file is missing, damaged or of another run.
    """
    arrays: dict[str, Any] = {}
    for kind in kinds:
        path = directory / _FILES[kind]
        try:
            if fingerprint(path) != fingerprints[path.name]:
                raise ValueError(f"it is not the file that {result} was written with")
            arrays[kind] = from_arrays(kind, read_arrays(path))
        except DAMAGE as error:
            raise EngineError(f"{path} is missing or damaged ({error}); run the calculation again.") from None
    return arrays


def whole_up_to(bands: Bands) -> str:
    """Say up to which energy a DOS has all states: where the highest band that was computed begins."""
    above, count = float(bands.energies_ev[:, :, -1].min()) - bands.fermi_ev, bands.energies_ev.shape[2]
    return f"the DOS is whole up to {above:.1f} eV from E_F, where the last of {count} bands begins"
