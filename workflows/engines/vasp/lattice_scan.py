"""The lattice constant without a relaxation of the cell: E(a) of a sheet, for versions of VASP that cannot fix c.

The atoms relax at each a in a stage of its own; the last stage is at the a of least energy. All stages have the same
cutoff, so that a minimizes the energy and does not follow from a stress at too few plane waves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..base import EngineError
from .inputs import VaspInputs, write_poscar
from .tags import Tags

SCALES = (0.98, 0.99, 1.0, 1.01, 1.02)
"""Lattice constants in units of the declared one."""


def scan_of(stages: Sequence[Tags]) -> tuple[list[Tags], list[float | None]]:
    """Return the stages of a scan and their lattice constants.

    Constants are in units of the declared one; None stands for that of least energy.

    Parameters
    ----------
    stages
        Those of a relaxation in a fixed cell. With dipole correction the first one, without it, is run once.
    """
    count = len(SCALES) + 1
    before: list[float | None] = [1.0] * (len(stages) - 1)
    return [*stages[:-1], *[stages[-1]] * count], [*before, *SCALES, None]


def least(scales: Sequence[float], energies_ev: Sequence[float], where: str) -> tuple[float, float]:
    """Fit a cubic to E(a).

    Parameters
    ----------
    scales, energies_ev
        Lattice constants in units of the declared one, and energies, shape (points,).
    where
        Directory, for messages.

    Returns
    -------
    scale, deviation_ev
        The lattice constant of least energy, and the largest deviation of the fit from the energies.

    Raises
    ------
    EngineError
        If the least energy is at an end: the declared lattice constant is too far off.
    """
    x, energies = np.array(scales), np.array(energies_ev)
    if int(energies.argmin()) in (0, len(x) - 1):
        values = ", ".join(f"{a:g}: {e:.4f} eV" for a, e in zip(x, energies, strict=True))
        raise EngineError(
            f"{where}: the energy is least at an end of the scan ({values}, in units of the declared a): declare a "
            "nearer lattice constant."
        )
    # Polynomial.fit shifts and scales x: powers of numbers near one are nearly equal.
    fit = np.polynomial.Polynomial.fit(x, energies, 3)
    extrema = [float(r.real) for r in fit.deriv().roots() if abs(r.imag) < 1e-9 and x[0] < r.real < x[-1]]
    best = min(extrema, key=lambda root: float(fit(root)))
    return best, float(np.abs(fit(x) - energies).max())


def place_cell(inputs: VaspInputs, stage: int, energies_ev: Sequence[float]) -> None:
    """Write the POSCAR of a stage: the last positions in the directory, in the cell of the stage.

    Parameters
    ----------
    inputs
        Of the directory.
    stage
        Index of the stage.
    energies_ev
        Energies of the stages before it.
    """
    from pymatgen.io.vasp.inputs import Poscar

    atoms = inputs.atoms[list(inputs.order)]
    structure = Poscar.from_file(str(inputs.directory / "POSCAR"), check_for_potcar=False).structure
    cell = inputs.atoms.cell.array.copy()
    cell[:2] *= scale_of(inputs, stage, energies_ev)[0]
    atoms.set_cell(cell)
    atoms.set_scaled_positions(structure.frac_coords)
    write_poscar(inputs.directory, atoms)


def scale_of(inputs: VaspInputs, stage: int, energies_ev: Sequence[float]) -> tuple[float, float]:
    """Return the lattice constant of a stage in units of the declared one, and the deviation of the fit (eV)."""
    scale = inputs.scales[stage]
    if scale is not None:
        return scale, 0.0
    scanned = slice(stage - len(SCALES), stage)
    return least(SCALES, energies_ev[scanned], str(inputs.directory))


def note(inputs: VaspInputs, energies_ev: Sequence[float]) -> tuple[str, ...]:
    """Return a note for the record on the lattice constant of a scan; nothing without a scan."""
    if not inputs.scales:
        return ()
    scale, deviation = scale_of(inputs, len(inputs.scales) - 1, energies_ev)
    a = scale * inputs.atoms.cell.lengths()[0]
    fit = f"a cubic through {len(SCALES)} energies, none further from it than {deviation:.1e} eV"
    return (f"a = {a:.4f} Å by E(a): {fit}",)
