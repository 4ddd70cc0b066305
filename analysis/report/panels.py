"""What the report's page draws, as JSON-like values: DOS, relaxations, atoms and bonds, isosurfaces."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Bands, Density, Dos, Trajectory
from ..electrons.bandpath import path_axis, zero_of_bands
from ..electrons.density import planar_average
from ..electrons.gap_and_dos import ElectronicError
from ..electrons.levels import DefectLevel, defect_levels, work_functions, zero_of
from ..records import BandGap, Record
from .content import CostRow, RelaxationContent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

WINDOW_EV = (-8.0, 6.0)
"""Energies kept of a DOS, about the Fermi level and the valence band maximum."""

ISOVALUE = 0.007
"""Of Δρ, e/Å³ (0.001 e/Bohr³); halved until a surface encloses something."""

SCALES = ("VBM", "E_F", "vacuum")


def rounded(values: NDArray[np.floating[Any]], digits: int) -> list[Any]:
    """Return an array as nested lists with so many digits."""
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()


def dos_payload(dos: Dos, bands: Bands | None, vacuum_ev: tuple[float, float] | None) -> dict[str, Any]:
    """Return a DOS in a window, with the zeros it may be drawn from.

    Returns
    -------
    dict
        ``energies`` (eV) and ``curves`` (states/eV, a list a spin) by label, on the scale of the eigenvalues;
        ``zeros`` has the energy of each scale that there is; ``broadening`` in eV.
    """
    zeros = {}
    for scale in SCALES:
        try:
            zeros[scale] = dos.fermi_ev if bands is None else zero_of(bands, scale, vacuum_ev)
        except ElectronicError:
            continue
    middle = zeros.get("VBM", dos.fermi_ev)
    kept = (dos.energies_ev >= middle + WINDOW_EV[0]) & (dos.energies_ev <= middle + WINDOW_EV[1])
    curves = {"total": dos.total, **dict(sorted(dos.projected.items()))}
    return {
        "energies": rounded(dos.energies_ev[kept], 4),
        "curves": {label: rounded(curve[:, kept], 4) for label, curve in curves.items()},
        "zeros": zeros,
        "broadening": dos.broadening_ev,
    }


def bands_payload(bands: Bands, cell_a: NDArray[np.float64]) -> dict[str, Any]:
    """Return bands along a path: distances (1/Å), special points, and energies (eV) of each band from ``zero``."""
    zero, name = zero_of_bands(bands)
    distance, ticks = path_axis(bands.kpoints, cell_a)
    energies = bands.energies_ev - zero
    near = (energies.max(axis=1) > WINDOW_EV[0]) & (energies.min(axis=1) < WINDOW_EV[1])
    return {
        "distance": rounded(distance, 4),
        "ticks": ticks,
        "zero": name,
        "spins": [rounded(levels[:, kept].T, 3) for levels, kept in zip(energies, near, strict=True)],
    }


def level_lines(
    bands: Bands, gap: BandGap, vacuum_ev: tuple[float, float] | None, next_to: Sequence[int]
) -> list[str]:
    """Return what is said of a host's levels, a sentence each: gap, defect levels, work functions."""
    if gap.nature == "metal":
        lines = [f"metal, gap 0 eV ({gap.reason})" if gap.reason else "metal, gap 0 eV"]
    else:
        at = "; ".join(f"{name} at k = ({', '.join(f'{x:.3f}' for x in k)})" for name, k in
                       (("VBM", gap.vbm_k), ("CBM", gap.cbm_k)) if k is not None)  # fmt: skip
        lines = [f"gap from eigenvalues {gap.gap_ev:.3f} eV, {gap.nature}; {at}"]
    if next_to:
        try:
            found = defect_levels(bands, next_to)
        except ElectronicError as error:
            lines.append(f"defect levels: {error}")
        else:
            lines.append(f"gap of the host without its defect levels {found.host_gap_ev:.3f} eV")
            lines += _level_lines(found.levels, found.host_vbm_ev, len(bands.energies_ev))
    if vacuum_ev is not None:
        below, above = work_functions(vacuum_ev, gap)
        what = "work function" if gap.nature == "metal" else "ionisation energy"
        lines.append(f"{what} {below:.2f} eV through the bottom, {above:.2f} eV through the top")
    return lines


def _level_lines(levels: Sequence[DefectLevel], vbm_ev: float, spins: int) -> list[str]:
    """Return a line for each defect level; what both spins have alike, or a spin more than once, is told once."""
    told: dict[tuple[str, str], Counter[int]] = {}
    for level in levels:
        filled = "filled" if level.occupation > 0.5 else "empty"
        place = (
            f"{level.lowest_ev - vbm_ev:+.2f} to {level.highest_ev - vbm_ev:+.2f} eV from the host's VBM, {filled}"
        )
        where = f"{level.share:.0%} of it on the atoms next to the vacancy"
        told.setdefault((place, where), Counter())[level.spin] += 1
    lines = []
    for (place, where), counts in told.items():
        named = {("spin up", "spin down")[spin]: count for spin, count in sorted(counts.items())}
        if counts[0] == counts[1]:
            named = {"either spin": counts[0]}
        for spin, count in named.items():
            what = "defect level" if count == 1 else f"{count} defect levels"
            lines.append(f"{what} {place}, {f'{spin}, ' if spins == 2 else ''}{where}")
    return lines


def relaxation_content(name: str, trajectory: Trajectory) -> RelaxationContent:
    """Return energies less the last one (eV) and the largest force (eV/Å) of each step."""
    forces = np.linalg.norm(trajectory.forces_ev_per_a, axis=2).max(axis=1)
    return RelaxationContent(
        name, rounded(trajectory.energies_ev - trajectory.energies_ev[-1], 5), rounded(forces, 4)
    )


def atoms_payload(atoms: Atoms, bonds: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return symbols, positions (Å), colours, radii, cell and bonds."""
    from ase.data import covalent_radii
    from ase.data.colors import jmol_colors

    symbols = list(dict.fromkeys(atoms.get_chemical_symbols()))
    numbers = {symbol: int(atoms.numbers[atoms.get_chemical_symbols().index(symbol)]) for symbol in symbols}
    colour = {
        symbol: "#" + "".join(f"{round(255 * c):02x}" for c in jmol_colors[number])
        for symbol, number in numbers.items()
    }
    return {
        "symbols": atoms.get_chemical_symbols(),
        "positions": rounded(atoms.positions, 3),
        "cell": rounded(atoms.cell.array, 4),
        "colours": colour,
        "radii": {symbol: float(covalent_radii[number]) for symbol, number in numbers.items()},
        "bonds": [list(pair) for pair in bonds],
    }


def isosurfaces(difference: Density) -> dict[str, Any] | None:
    """Return the surfaces on which Δρ has an isovalue, gain and loss, as triangles; None if it has none.

    Returns
    -------
    dict
        ``value`` (e/Å³), and for ``gain`` and ``loss`` vertices (Å) and triangles of vertices.
    """
    from skimage.measure import marching_cubes

    values = difference.values_per_a3
    value, largest = ISOVALUE, float(np.abs(values).max())
    while value > largest and value > 1e-6:
        value /= 2
    if value > largest:
        return None
    # The grid is periodic: its first plane once more at the end closes the surfaces at the cell's sides.
    closed = np.pad(values, [(0, 1)] * 3, mode="wrap")
    found: dict[str, Any] = {"value": value}
    for name, sign in (("gain", 1.0), ("loss", -1.0)):
        if (sign * closed).max() <= value:
            continue
        vertices, faces, _, _ = marching_cubes(sign * closed, value, step_size=2 if min(values.shape) > 60 else 1)
        places = vertices / np.array(values.shape) @ difference.cell_a
        found[name] = {"vertices": rounded(places, 2), "faces": faces.tolist()}
    return found


def profile_payload(difference: Density) -> dict[str, Any]:
    """Return Δρ along the normal: ``heights`` (Å), its sum over ``planes`` (e/Å), and that ``below`` each (e)."""
    heights, planes = planar_average(difference)
    return {
        "heights": rounded(heights, 3),
        "planes": rounded(planes, 5),
        "below": rounded(np.cumsum(planes) * heights[1], 5),
    }


def cost_row(record: Record) -> CostRow:
    """Return what a calculation cost and where it comes from."""
    run = record.provenance
    return CostRow(
        label=record.label,
        identifier=record.calculation,
        minutes=round(run.wall_time_s / 60, 2),
        launches=run.launches,
        steps=run.ionic_steps,
        scf=run.scf_steps,
        finished=run.finished[:16],
        versions=", ".join(f"{name} {version}" for name, version in sorted(run.versions.items())),
        remarks=[*run.corrections, *record.notes],
    )
