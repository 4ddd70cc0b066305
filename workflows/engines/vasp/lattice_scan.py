"""The lattice constant without a relaxation of the cell: E(a) of a sheet, for a VASP that cannot keep c.

Each a has a stage of its own, in which the atoms relax; a last stage is at the a of least energy. All have the same
cutoff, so that a is that of the energies and not of a stress at too few plane waves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..base import EngineError
from .inputs import Inputs, write_poscar
from .tags import Tags

SCALES = (0.98, 0.99, 1.0, 1.01, 1.02)
"""Lattice constants in those that are declared."""


def scan_of(stages: Sequence[Tags]) -> tuple[list[Tags], list[float | None]]:
    """Return the stages of a scan and their lattice constants in those declared; None is that of least energy.

    Parameters
    ----------
    stages
        Those of a relaxation in a fixed cell; with dipole correction the first is without, and is run once.
    """
    count = len(SCALES) + 1
    before: list[float | None] = [1.0] * (len(stages) - 1)
    return [*stages[:-1], *[stages[-1]] * count], [*before, *SCALES, None]


def least(scales: Sequence[float], energies_ev: Sequence[float], where: str) -> tuple[float, float]:
    """Return where a cubic through energies is least, and its largest distance from them (eV).

    Parameters
    ----------
    scales, energies_ev
        Lattice constants in those declared, and energies (eV).
    where
        Directory, for messages.

    Raises
    ------
    EngineError
        If the least energy is at an end: the declared lattice constant is too far off.
    """
    x, energies = np.array(scales), np.array(energies_ev)
    if int(energies.argmin()) in (0, len(x) - 1):
        told = ", ".join(f"{a:g}: {e:.4f} eV" for a, e in zip(x, energies, strict=True))
        raise EngineError(
            f"{where}: the energy is least at an end of the scan ({told}, in units of the declared a): declare a "
            "nearer lattice constant."
        )
    # About the middle, since powers of numbers near one are nearly the same.
    fit = np.polynomial.Polynomial.fit(x, energies, 3)
    inner = [float(r.real) for r in fit.deriv().roots() if abs(r.imag) < 1e-9 and x[0] < r.real < x[-1]]
    best = min(inner, key=lambda root: float(fit(root)))
    return best, float(np.abs(fit(x) - energies).max())


def place_cell(inputs: Inputs, stage: int, energies_ev: Sequence[float]) -> None:
    """Write the POSCAR of a stage: where the atoms were last in the directory, in the cell of the stage.

    Parameters
    ----------
    inputs
        Of the directory.
    stage
        Its index.
    energies_ev
        Of the stages before it.
    """
    from pymatgen.io.vasp.inputs import Poscar

    atoms = inputs.atoms[list(inputs.order)]
    structure = Poscar.from_file(str(inputs.directory / "POSCAR"), check_for_potcar=False).structure
    cell = inputs.atoms.cell.array.copy()
    cell[:2] *= scale_of(inputs, stage, energies_ev)[0]
    atoms.set_cell(cell)
    atoms.set_scaled_positions(structure.frac_coords)
    write_poscar(inputs.directory, atoms)


def scale_of(inputs: Inputs, stage: int, energies_ev: Sequence[float]) -> tuple[float, float]:
    """Return the lattice constant of a stage in that declared, and how well the energies fit (eV)."""
    scale = inputs.scales[stage]
    if scale is not None:
        return scale, 0.0
    scanned = slice(stage - len(SCALES), stage)
    return least(SCALES, energies_ev[scanned], str(inputs.directory))


def note(inputs: Inputs, energies_ev: Sequence[float]) -> tuple[str, ...]:
    """Say how the lattice constant was found, if it was by a scan."""
    if not inputs.scales:
        return ()
    scale, off = scale_of(inputs, len(inputs.scales) - 1, energies_ev)
    a = scale * inputs.atoms.cell.lengths()[0]
    return (f"a = {a:.4f} Å by E(a): a cubic through {len(SCALES)} energies, none further from it than {off:.1e} eV",)
