"""The data that the report's page draws, as JSON-like values: DOS, relaxations, atoms and bonds, isosurfaces."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import Bands, Density, Dos, Trajectory
from ..cost import Launches
from ..electrons.bandpath import path_axis, zero_of_bands
from ..electrons.defect_levels import DefectLevel, DefectLevels
from ..electrons.density import planar_average
from ..electrons.gap_and_dos import ElectronicError
from ..electrons.levels import work_functions, zero_of
from ..records import BandGap, Record
from .content import CostRow, RelaxationContent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

WINDOW_EV = (-8.0, 6.0)
"""The window of a DOS that the page shows, around the valence band maximum or, for a metal, the Fermi level."""

ISOVALUE = 0.007
"""Isovalue of Δρ, e/Å³ (0.001 e/Bohr³); it is halved until a surface encloses something."""

SCALES = ("VBM", "E_F", "vacuum")


def rounded(values: NDArray[np.floating[Any]], digits: int) -> list[Any]:
    """Return an array, of any shape, as nested lists of the same shape, rounded to ``digits`` decimals."""
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()


def dos_payload(dos: Dos, bands: Bands | None, vacuum_ev: tuple[float, float] | None) -> dict[str, Any]:
    """Return a DOS in a window, with the zeros that the page may draw it from.

    Parameters
    ----------
    dos
        States per eV and cell, shape (spins, points).
    bands
        Eigenvalues of the same calculation; without them every zero is the Fermi level.
    vacuum_ev
        Vacuum levels below and above the slab.

    Returns
    -------
    dict
        ``energies`` (eV, one list), ``curves`` by label (states/eV, a list for each spin), on the scale of the
        eigenvalues; ``zeros``, the energy (eV) of each scale that exists; ``broadening`` in eV.
    """
    zeros = {}
    for scale in SCALES:
        try:
            zeros[scale] = dos.fermi_ev if bands is None else zero_of(bands, scale, vacuum_ev)
        except ElectronicError:
            continue
    middle = zeros.get("VBM", dos.fermi_ev)
    window = (dos.energies_ev >= middle + WINDOW_EV[0]) & (dos.energies_ev <= middle + WINDOW_EV[1])
    curves = {"total": dos.total, **dict(sorted(dos.projected.items()))}
    return {
        "energies": rounded(dos.energies_ev[window], 4),
        "curves": {label: rounded(curve[:, window], 4) for label, curve in curves.items()},
        "zeros": zeros,
        "broadening": dos.broadening_ev,
    }


def bands_payload(bands: Bands, cell_a: NDArray[np.float64], characters: Mapping[str, Any]) -> dict[str, Any]:
    """Return bands along a path.

    Parameters
    ----------
    bands
        At the k points of the path, shape (spins, points, bands).
    cell_a
        Cell vectors as rows, Å, shape (3, 3).
    characters
        Weight of each state on groups of atoms' states, of the shape of the eigenvalues, by their names.

    Returns
    -------
    dict
        ``distance`` (1/Å, points), ``ticks``, the (distance, name) of each special point, ``zero``, the name of the
        zero of energy, and ``spins``: for each spin the bands in the window, each a list of energies (eV, points);
        ``characters``, lists of the same form with weights, by name.
    """
    zero, name = zero_of_bands(bands)
    distance, ticks = path_axis(bands.kpoints, cell_a)
    energies = bands.energies_ev - zero
    windows = (energies.max(axis=1) > WINDOW_EV[0]) & (energies.min(axis=1) < WINDOW_EV[1])
    return {
        "distance": rounded(distance, 4),
        "ticks": ticks,
        "zero": name,
        "spins": [rounded(levels[:, window].T, 3) for levels, window in zip(energies, windows, strict=True)],
        "characters": {
            name: [rounded(one[:, window].T, 2) for one, window in zip(weights, windows, strict=True)]
            for name, weights in characters.items()
        },
    }


def folded_gamma(repeat: Sequence[int], cell_a: Sequence[Sequence[float]]) -> str:
    """Return the name of Γ of a supercell, with K of the smallest cell where that is folded onto it.

    Parameters
    ----------
    repeat
        Of the smallest cell along both lattice vectors.
    cell_a
        Of the supercell, vectors as rows, Å; K is a corner of a hexagonal zone alone.
    """
    vectors = np.array(cell_a)[:2]
    lengths = np.linalg.norm(vectors, axis=1)
    cosine = abs(float(vectors[0] @ vectors[1]) / float(lengths.prod()))
    hexagonal = repeat[0] == repeat[1] and abs(lengths[0] - lengths[1]) < 1e-3 and abs(cosine - 0.5) < 1e-3
    if repeat[0] == repeat[1] == 1:
        return "Γ"
    name = f"Γ of {'×'.join(map(str, repeat))}"
    return f"{name}, onto which K folds" if hexagonal and repeat[0] % 3 == 0 else name


def level_lines(
    gap: BandGap,
    vacuum_ev: tuple[float, float] | None,
    found: DefectLevels | str | None,
    spins: int,
    gamma: str = "Γ",
) -> list[str]:
    """Return what is said of a host's levels, a sentence each: gap, levels of its vacancies, work functions.

    Parameters
    ----------
    gap, vacuum_ev
        As recorded.
    found
        The levels of its vacancies, or why there are none to tell; None for a host without vacancies.
    spins
        1 or 2.
    gamma
        What Γ is called.
    """
    if gap.nature == "metal":
        lines = [f"metal, gap 0 eV ({gap.reason})" if gap.reason else "metal, gap 0 eV"]
    else:
        edges = {"VBM": gap.vbm_k, "CBM": gap.cbm_k}
        at = "; ".join(f"{name} at {_named(k, gamma)}" for name, k in edges.items() if k is not None)
        lines = [f"gap from eigenvalues {gap.gap_ev:.3f} eV, {gap.nature}; {at}"]
        lines += [] if gap.note is None else [gap.note]
    if isinstance(found, str):
        lines.append(f"defect levels: {found}")
    elif found is not None:
        clean = "" if found.clean_gap_ev is None else f" ({found.clean_gap_ev:.3f} eV without vacancies)"
        lines.append(f"gap between the band edges of the host itself {found.host_gap_ev:.3f} eV{clean}")
        lines += _level_lines(found.levels, found.host_vbm_ev, spins)
    if vacuum_ev is not None:
        below, above = work_functions(vacuum_ev, gap)
        name = "work function" if gap.nature == "metal" else "ionisation energy"
        lines.append(f"{name} {below:.2f} eV through the bottom, {above:.2f} eV through the top")
    return lines


def _named(point: Sequence[float], gamma: str) -> str:
    return gamma if not any(round(x, 6) for x in point) else f"k = ({', '.join(f'{x:.3f}' for x in point)})"


def levels_payload(
    gap: BandGap, fermi_ev: float, vacuum_ev: tuple[float, float], found: DefectLevels | str | None
) -> dict[str, Any]:
    """Return levels (eV) against the vacuum above the top.

    Parameters
    ----------
    gap, fermi_ev, vacuum_ev
        As recorded, on the scale of the eigenvalues.
    found
        The levels of vacancies, if they can be told.

    Returns
    -------
    dict
        ``marks``: ``vacuum`` (0), ``below`` (the vacuum under the sheet), the edges ``vbm`` and ``cbm`` of the host
        itself or the Fermi level ``fermi`` of a metal; ``defects``: lowest and highest energy of each level of a
        vacancy, and whether it is filled.
    """
    below, above = vacuum_ev
    known = found if isinstance(found, DefectLevels) else None
    edges: dict[str, float | None]
    if gap.nature == "metal":
        edges = {"fermi": fermi_ev}
    elif known is not None:
        edges = {"vbm": known.host_vbm_ev, "cbm": known.host_cbm_ev}
    else:
        edges = {"vbm": gap.vbm_ev, "cbm": gap.cbm_ev}
    marks = {"vacuum": above, "below": below, **{name: edge for name, edge in edges.items() if edge is not None}}
    levels = [] if known is None else [level for level in known.levels if not level.of_host]
    return {
        "marks": {name: round(energy - above, 3) for name, energy in marks.items()},
        "defects": [
            [round(level.lowest_ev - above, 3), round(level.highest_ev - above, 3), level.occupation > 0.5]
            for level in levels
        ],
    }


def _level_lines(levels: Sequence[DefectLevel], vbm_ev: float, spins: int) -> list[str]:
    """Return a line for each band in the host's gap; what both spins have alike, or one more than once, once."""
    told: dict[tuple[str, str, str], Counter[int]] = {}
    for level in levels:
        filled = "filled" if level.occupation > 0.5 else "empty"
        energies = list(dict.fromkeys(f"{energy - vbm_ev:+.2f}" for energy in (level.lowest_ev, level.highest_ev)))
        place = f"{' to '.join(energies)} eV from the host's VBM, {filled}"
        where = (
            f"{level.share:.0%} of it on the atoms next to the vacancy, where a state spread over the sheet has "
            f"{level.extended_share:.0%}"
        )
        what = "band of the host beyond its edge" if level.of_host else "defect level"
        told.setdefault((what, place, where), Counter())[level.spin] += 1
    lines = []
    for (what, place, where), counts in told.items():
        named = {("spin up", "spin down")[spin]: count for spin, count in sorted(counts.items())}
        if counts[0] == counts[1]:
            named = {"either spin": counts[0]}
        for spin, count in named.items():
            words = what if count == 1 else f"{count} {what.replace('level', 'levels').replace('band ', 'bands ')}"
            lines.append(f"{words} {place}, {f'{spin}, ' if spins == 2 else ''}{where}")
    return lines


STEPS = 41
"""Steps of a relaxation that the page draws at most, evenly over it, the first and the last among them."""


def relaxation_content(
    name: str, trajectory: Trajectory, atoms: Atoms, bonds: Sequence[tuple[int, int]]
) -> RelaxationContent:
    """Return the energy minus the last energy (eV) and the largest force (eV/Å) of each step, and what is drawn.

    Parameters
    ----------
    name
        The campaign's name for it.
    trajectory
        Its steps.
    atoms
        Those of its end, in the order of the trajectory.
    bonds
        Pairs of indices of atoms.
    """
    forces = np.linalg.norm(trajectory.forces_ev_per_a, axis=2).max(axis=1)
    drawn = np.unique(np.linspace(0, len(forces) - 1, min(STEPS, len(forces))).round().astype(int))
    return RelaxationContent(
        name=name,
        energies=rounded(trajectory.energies_ev - trajectory.energies_ev[-1], 5),
        forces=rounded(forces, 4),
        atoms={key: value for key, value in atoms_payload(atoms, bonds).items() if key != "positions"},
        positions=rounded(trajectory.positions_a[drawn], 2),
        vectors=rounded(trajectory.forces_ev_per_a[drawn], 2),
        drawn=drawn.tolist(),
    )


def slice_payload(difference: Density, position_a: NDArray[np.float64], axis: int = 0) -> dict[str, Any]:
    """Return Δρ in the plane through a position that a lattice vector of the plane and the normal span.

    Parameters
    ----------
    difference
        Δρ in e/Å³, shape (nx, ny, nz).
    position_a
        Of an atom, Å, shape (3,).
    axis
        Which lattice vector lies in the plane, 0 or 1.

    Returns
    -------
    dict
        ``along`` that vector and ``heights`` (Å) of the points, and the ``values`` (e/Å³), heights × points.
    """
    other = 1 - axis
    count = difference.values_per_a3.shape[other]
    index = round(float(np.linalg.solve(difference.cell_a.T, position_a)[other]) * count) % count
    plane = np.take(difference.values_per_a3, index, axis=other)
    points = [
        np.arange(n) / n * np.linalg.norm(difference.cell_a[k]) for n, k in zip(plane.shape, (axis, 2), strict=True)
    ]
    return {"along": rounded(points[0], 3), "heights": rounded(points[1], 3), "values": rounded(plane.T, 4)}


def atoms_payload(atoms: Atoms, bonds: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return atoms as the page draws them.

    Returns
    -------
    dict
        ``symbols`` (atoms), ``positions`` (Å, atoms × 3), ``cell`` (Å, 3 × 3, vectors as rows), ``colours`` and
        ``radii`` (Å) by symbol, and ``bonds``, pairs of indices.
    """
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
    """Return the isosurfaces of Δρ, gain and loss, as triangles.

    Parameters
    ----------
    difference
        Δρ in e/Å³, shape (nx, ny, nz).

    Returns
    -------
    dict or None
        ``value`` (e/Å³), and for ``gain`` and ``loss`` their ``vertices`` (Å, vertices × 3) and ``faces`` (triangles
        × 3, indices of vertices). None if Δρ has no surface.
    """
    from skimage.measure import marching_cubes

    values = difference.values_per_a3
    value, largest = ISOVALUE, float(np.abs(values).max())
    while value > largest and value > 1e-6:
        value /= 2
    if value > largest:
        return None
    # The grid is periodic: repeating its first plane at the end closes the surfaces at the cell's sides.
    closed = np.pad(values, [(0, 1)] * 3, mode="wrap")
    surfaces: dict[str, Any] = {"value": value}
    for name, sign in (("gain", 1.0), ("loss", -1.0)):
        if (sign * closed).max() <= value:
            continue
        vertices, faces, _, _ = marching_cubes(sign * closed, value, step_size=2 if min(values.shape) > 60 else 1)
        positions = vertices / np.array(values.shape) @ difference.cell_a
        surfaces[name] = {"vertices": rounded(positions, 2), "faces": faces.tolist()}
    return surfaces


def profile_payload(difference: Density) -> dict[str, Any]:
    """Return Δρ along the normal of a slab.

    Returns
    -------
    dict
        ``heights`` (Å) of the planes, the integral over each of the ``planes`` (e/Å), and the electrons ``below``
        each plane (e); lists of nz values.
    """
    heights, planes = planar_average(difference)
    return {
        "heights": rounded(heights, 3),
        "planes": rounded(planes, 5),
        "below": rounded(np.cumsum(planes) * heights[1], 5),
    }


def cost_row(record: Record, launches: Launches | None) -> CostRow:
    """Return the cost and the origin of a calculation; its cost is unknown without launches."""
    run = record.provenance
    core_s, untimed = (None, 0) if launches is None else (launches.core_s, launches.untimed)
    killed = [f"{untimed} of the launches {'was' if untimed == 1 else 'were'} killed and left no time"] * (
        untimed > 0
    )
    return CostRow(
        label=record.label,
        identifier=record.calculation,
        minutes=None if launches is None else round(launches.wall_s / 60, 2),
        cpu_hours=None if core_s is None else round(core_s / 3600, 4),
        launches=None if launches is None else launches.count,
        untimed=untimed,
        steps=run.ionic_steps,
        scf=run.scf_steps,
        finished=run.finished[:16],
        versions=", ".join(f"{name} {version}" for name, version in sorted(run.versions.items())),
        remarks=[*run.corrections, *killed, *record.notes],
    )
