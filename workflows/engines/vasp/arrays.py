"""Arrays from VASP's files: bands and DOS from vasprun.xml, the density of CHGCAR, the vacuum levels of LOCPOT."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ....analysis.arrays import Bands, Density
from ..base import EngineError
from ..shared.files import DAMAGE
from .inputs import CHARGE, POTENTIAL, VaspInputs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pymatgen.electronic_structure.core import Spin
    from pymatgen.io.vasp.outputs import Vasprun

_SHELLS = "spdf"


def _by_spin(run: Vasprun, values: Mapping[Spin, NDArray[Any]] | None, name: str) -> list[NDArray[Any]]:
    """Return the array of each spin channel that a run has; raise `EngineError` if it has none of this name."""
    from pymatgen.electronic_structure.core import Spin

    if values is None:
        raise EngineError(f"{run.filename}: it has no {name}.")
    return [values[spin] for spin in (Spin.up, Spin.down) if spin in values]


def eigenvalues(run: Vasprun) -> Bands:
    """Return the eigenvalues of a run, with the weight of each state on each atom if it was projected."""
    if run.efermi is None:
        raise EngineError(f"{run.filename}: it has no Fermi level.")
    channels = np.array(_by_spin(run, run.eigenvalues, "eigenvalues"))
    energies, occupations = channels[..., 0], channels[..., 1] * (3 - len(channels))
    weights = np.array(run.actual_kpoints_weights, float)
    kpoints = np.array(run.actual_kpoints, float)
    by_atom = None
    if run.projected_eigenvalues:
        projections = _by_spin(run, run.projected_eigenvalues, "projections")
        by_atom = np.array([channel.sum(axis=-1) for channel in projections]).astype(np.float16)
    return Bands(energies, occupations, kpoints, weights / weights.sum(), float(run.efermi), by_atom)


def with_shells(run: Vasprun, bands: Bands) -> Bands:
    """Return bands with the weights on the s, p and d states of each atom, if the run was projected."""
    if not run.projected_eigenvalues:
        return bands
    projections = np.array(_by_spin(run, run.projected_eigenvalues, "projections"))
    shells = _shells(projections.shape[-1])
    nothing = np.zeros(projections.shape[:-1])
    sums = [projections[..., shells[one]].sum(axis=-1) if one in shells else nothing for one in _SHELLS[:3]]
    return replace(bands, by_shell=np.stack(sums, axis=-1).astype(np.float16))


def electrons(run: Vasprun, broadening_ev: float) -> dict[str, Any]:
    """Return bands and DOS from eigenvalues and their projections, broadened as for every engine."""
    from ....analysis.electrons.gap_and_dos import MAX_SPACING_EV, dos_from_bands

    bands = eigenvalues(run)
    projections: dict[str, Any] = {}
    projected = run.projected_eigenvalues  # none where LORBIT is not set, as in runs of the user's
    channels = _by_spin(run, projected, "projections") if projected else []
    for index, symbol in enumerate(run.atomic_symbols if channels else ()):
        weight = np.array([channel[:, :, index, :] for channel in channels])
        for shell, columns in _shells(weight.shape[-1]).items():
            label = f"{symbol}-{shell}"
            projections[label] = projections.get(label, 0.0) + weight[..., columns].sum(axis=-1)
    spacing = min(MAX_SPACING_EV, broadening_ev / 3.0)
    return {"bands": bands, "dos": dos_from_bands(bands, broadening_ev, projections, spacing)}


def _shells(columns: int) -> dict[str, slice]:
    """Return the columns of each shell, which are s, p, d (, f), or all their m with LORBIT = 11."""
    if columns <= 4:
        return {_SHELLS[i]: slice(i, i + 1) for i in range(columns)}
    return {shell: slice(n * n, (n + 1) ** 2) for n, shell in enumerate(_SHELLS) if (n + 1) ** 2 <= columns}


def density(inputs: VaspInputs) -> Density:
    """Return the charge density of CHGCAR (e/Å³), whose integral is the number of valence electrons."""
    from pymatgen.io.vasp.outputs import Chgcar

    path = inputs.directory / CHARGE
    try:
        charge = Chgcar.from_file(str(path))
        values = np.asarray(charge.data["total"]) / charge.structure.volume
    except DAMAGE as error:
        raise EngineError(f"{path} is missing or damaged ({error}); run the calculation again.") from None
    return Density(values.astype(np.float32), np.array(charge.structure.lattice.matrix))


def vacuum(inputs: VaspInputs) -> dict[str, Any]:
    """Return ``vacuum_ev``, the levels of LOCPOT below and above a slab (eV), or ``no_vacuum``, why it has none."""
    from pymatgen.io.vasp.outputs import Locpot

    from ....analysis.electrons.levels import no_vacuum_levels, vacuum_levels

    path, height = inputs.directory / POTENTIAL, float(inputs.atoms.cell[2, 2])
    if inputs.atoms.pbc[2] or not path.exists():
        return {"vacuum_ev": None}
    try:
        planes = np.asarray(Locpot.from_file(str(path)).get_average_along_axis(2))
    except (*DAMAGE, IndexError):  # truncated: the energies do not depend on it
        return {"vacuum_ev": None, "no_vacuum": f"no vacuum level: {POTENTIAL} is truncated"}
    planes = np.roll(planes, round(inputs.shift[2] * len(planes)))
    return {"vacuum_ev": vacuum_levels(planes, height), "no_vacuum": no_vacuum_levels(planes, height)}
