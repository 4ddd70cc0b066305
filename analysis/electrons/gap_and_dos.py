"""Band gaps from eigenvalues, and densities of states.

A gap is taken from the eigenvalues, per spin, and never from a DOS on a grid. It is the gap of the k points
that were sampled: an n×n supercell with an N×N Γ-centred mesh holds the K point of the primitive cell only if
3 divides n·N, and elsewhere the gap of a 2H monolayer comes out too large.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import SodiateError
from ..arrays import Bands, Dos
from ..records import BandGap

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

ELECTRON_TOLERANCE = 0.01
"""Electrons per spin that may be missing from, or be left over by, whole bands."""

PARTIAL_OCCUPATION = 0.05
"""An occupation (0 to 1) further than this from both 0 and 1 is partial. A smaller distance is the tail of a
smearing: Fermi-Dirac occupations reach it at the edges of a gap of 6 kT, Gaussian ones at those of 2.3 widths."""

EDGE_TOLERANCE_EV = 1e-3
"""Eigenvalues closer than this are degenerate: codes converge them no better."""

MAX_SPACING_EV = 0.01
"""Coarsest energy grid of a DOS."""

_INVERSION = 0.25
"""Of an occupation (0 to 1), by which a higher state may be fuller than a lower one: Methfessel–Paxton's do so."""

_REACH = 8.0
"""Standard deviations beyond which a Gaussian is cut off; this leaves out 1e-14 of its weight."""

_CHUNK = 512
"""Number of states broadened at once; they are sorted by energy, so that each chunk touches little of the grid."""


class ElectronicError(SodiateError):
    """Eigenvalues or a DOS do not give the number; the message says why."""


def band_gap(bands: Bands) -> BandGap:
    """Return the band gap from eigenvalues and occupations.

    Per spin, N = Σ_k w_k Σ_n f_kn. If N is no integer, or an occupation is partial, the system is a metal. Otherwise
    the valence band maximum is max_k ε[N] and the conduction band minimum min_k ε[N+1], the highest and the lowest
    over the spins; a metal, too, if they overlap. N is never rounded first: an odd electron in a flat band would look
    like a gap. Whole bands and a gap make an insulator wherever the code put the Fermi level (tetrahedra and fixed
    moments leave it inside a band edge); ``note`` says so then.

    Parameters
    ----------
    bands
        Eigenvalues in eV, shape (spins, k points, bands), with at least one empty band unless the system is a metal;
        occupations from 0 to 1 if spin-polarised, else from 0 to 2.

    Returns
    -------
    BandGap
        Edges in eV on the scale of the eigenvalues, k points fractional. The gap is direct if any k point holds both
        edges within 1 meV. A metal has gap 0, no edges, and the reason in words.

    Raises
    ------
    ElectronicError
        Shapes that do not fit, values that are not finite, occupations in the other convention or not from the lowest
        state upwards, no electrons, or no empty band.
    """
    energies, filling = _checked(bands)
    # Codes write weights to eight digits or fewer, which is not negligible for some hundred electrons.
    electrons = np.einsum("k,skn->s", bands.weights / bands.weights.sum(), filling)
    names = ("spin up", "spin down") if len(energies) == 2 else ("either spin",)
    _refuse_excited(energies, filling, bands.kpoints, names)
    reason = _open_shell(electrons, names) or _partial(filling, bands.kpoints, names)
    if reason:
        return _metal(bands, reason)
    filled = electrons.round().astype(int)
    valence, conduction = _edges(energies, filled, names)
    vbm, cbm = float(valence.max()), float(conduction.min())
    reason = _overlap(vbm, cbm)
    if reason:
        return _metal(bands, reason)
    both = (valence >= vbm - EDGE_TOLERANCE_EV) & (conduction <= cbm + EDGE_TOLERANCE_EV)
    at_vbm, at_cbm = int(valence.argmax()), int(conduction.argmin())
    if both.any():
        at_vbm = at_cbm = int(np.where(both, conduction - valence, np.inf).argmin())
    return BandGap(
        gap_ev=cbm - vbm,
        nature="direct" if both.any() else "indirect",
        vbm_ev=vbm,
        cbm_ev=cbm,
        vbm_k=_vector(bands.kpoints[at_vbm]),
        cbm_k=_vector(bands.kpoints[at_cbm]),
        fermi_ev=bands.fermi_ev,
        note=_misplaced(vbm, cbm, bands.fermi_ev),
    )


def dos_from_bands(
    bands: Bands,
    broadening_ev: float,
    projections: Mapping[str, Array] | None = None,
    spacing_ev: float = MAX_SPACING_EV,
    window: tuple[float, float] | None = None,
) -> Dos:
    """Broaden eigenvalues into a density of states with normalised Gaussians.

    Parameters
    ----------
    bands
        Eigenvalues; without spin polarisation every state counts twice.
    broadening_ev
        Standard deviation of the Gaussians, at least ``spacing_ev``: narrower Gaussians would fall between grid
        points.
    projections
        Weight (0 to 1) of each state on an element's orbital, shape (spins, k points, bands), by names such as
        ``"W-d"``.
    spacing_ev
        Of the energy grid, at most 0.01 eV.
    window
        First and last energy on the scale of the eigenvalues; by default all states with their tails, so that
        the integral of the total is the number of states.

    Returns
    -------
    Dos
        States per eV and cell, shape (spins, points).

    Raises
    ------
    ElectronicError
        If the grid is too coarse or too narrow, the broadening is below its spacing, or a projection has another
        shape.
    """
    _checked(bands)
    grid = _grid(bands, broadening_ev, spacing_ev, window)
    names = ["", *(projections or {})]
    shares = [np.ones_like(bands.energies_ev), *(projections or {}).values()]
    for name, share in zip(names, shares, strict=True):
        if np.shape(share) != bands.energies_ev.shape:
            raise ElectronicError(
                f"projection {name!r} has shape {np.shape(share)}, the eigenvalues {bands.energies_ev.shape}"
            )
    counts = np.stack(shares, axis=1) * (bands.weights * (3 - len(bands.energies_ev)))[:, None]
    spins = [
        _broadened(grid, levels.ravel(), count.reshape(len(names), -1), broadening_ev)
        for levels, count in zip(bands.energies_ev, counts, strict=True)
    ]
    curves = dict(zip(names, np.stack(spins, axis=1), strict=True))
    return Dos(
        energies_ev=grid,
        total=curves.pop(""),
        projected=curves,
        fermi_ev=bands.fermi_ev,
        broadening_ev=broadening_ev,
    )


def dos_gap(dos: Dos, threshold: float) -> float:
    """Return the width around the Fermi level in which a DOS stays below a threshold: a cross-check only.

    Broadening narrows it by some widths on either side. A Fermi level on a band edge, where some codes put it,
    gives 0: move it into the gap first (``dataclasses.replace(dos, fermi_ev=...)``).

    Parameters
    ----------
    dos
        With ``total`` of shape (spins, points); this sums over the spins.
    threshold
        States per eV and cell.

    Returns
    -------
    float
        Gap in eV, linear between grid points; 0 if the DOS at the Fermi level reaches the threshold.

    Raises
    ------
    ElectronicError
        If the Fermi level lies off the grid, or the DOS has no states on one side of it.
    """
    grid, excess = dos.energies_ev, dos.total.sum(axis=0) - threshold
    if not grid[0] <= dos.fermi_ev <= grid[-1]:
        raise ElectronicError(
            f"the Fermi level {dos.fermi_ev:.3f} eV lies off the DOS ({grid[0]:.3f} to {grid[-1]:.3f} eV)"
        )
    if np.interp(dos.fermi_ev, grid, excess) >= 0:
        return 0.0
    below = np.flatnonzero((excess >= 0) & (grid <= dos.fermi_ev))
    above = np.flatnonzero((excess >= 0) & (grid >= dos.fermi_ev))
    if not below.size or not above.size:
        side = "above" if below.size else "below"
        raise ElectronicError(f"the DOS holds no states {side} the Fermi level; widen its window to measure a gap")
    edges = [
        np.interp(0.0, [excess[empty], excess[full]], [grid[empty], grid[full]])
        for empty, full in ((below[-1] + 1, below[-1]), (above[0] - 1, above[0]))
    ]
    return float(edges[1] - edges[0])


VALENCE_EV = 8.0
"""Depth of the valence bands of these sheets below the Fermi level; deeper states are semicore."""


def projected_fraction(dos: Dos) -> float | None:
    """Return the sum of the projected densities as a fraction of the total density over the valence bands.

    Projections are weights on atoms (PAW projectors, spheres) and do not divide space: overlapping projectors count a
    state more than once, spheres leave out the space between them. Only orthogonal orbitals add up to 1.

    Parameters
    ----------
    dos
        Density of states; ``projected`` and ``total`` of shape (spins, points).

    Returns
    -------
    float or None
        None without projections, or without states in the window.
    """
    window = (dos.energies_ev > dos.fermi_ev - VALENCE_EV) & (dos.energies_ev < dos.fermi_ev)
    total = float(dos.total[:, window].sum())
    if not dos.projected or total <= 0:
        return None
    return float(sum(curve[:, window].sum() for curve in dos.projected.values())) / total


def to_pymatgen_dos(dos: Dos, atoms: Atoms, gap: BandGap | None = None) -> Any:
    """Convert a DOS to pymatgen's.

    Parameters
    ----------
    dos
        With projections summed over the atoms of an element and the orbitals of a shell.
    atoms
        The structure it belongs to.
    gap
        The gap of its eigenvalues, which ``get_gap()`` and ``get_cbm_vbm()`` then return: those of the broadened
        curve are smaller.

    Returns
    -------
    sodiate.analysis.electrons.recorded_dos.RecordedDos
        A pymatgen.electronic_structure.dos.CompleteDos.
        Each projection is spread evenly over its atoms and orbitals: sums by element and by shell are right, the
        curve of a single atom or orbital is only a mean. A DOS without spin keeps both spins in ``Spin.up``, as
        pymatgen itself does.

    Raises
    ------
    ElectronicError
        If the structure lacks the element of a projection, or a projection is not named like ``"W-d"``.
    """
    from pymatgen.electronic_structure.core import Orbital, Spin
    from pymatgen.electronic_structure.dos import Dos as PymatgenDos
    from pymatgen.io.ase import AseAtomsAdaptor

    from .recorded_dos import RecordedDos

    structure = AseAtomsAdaptor.get_structure(atoms)
    spins = (Spin.up, Spin.down)[: len(dos.total)]
    by_site: dict[Any, dict[Any, Any]] = {site: {} for site in structure}
    for key, curve in dos.projected.items():
        element, _, shell = key.partition("-")
        sites = [site for site in structure if site.specie.symbol == element]
        orbitals = [orbital for orbital in Orbital if orbital.orbital_type.name == shell]
        if not sites or not orbitals:
            raise ElectronicError(
                f"DOS projection {key!r} fits no atom of {structure.formula}; expected such as 'W-d'"
            )
        share = curve / (len(sites) * len(orbitals))
        for site in sites:
            by_site[site] |= {orbital: dict(zip(spins, share, strict=True)) for orbital in orbitals}
    total = PymatgenDos(dos.fermi_ev, dos.energies_ev, dict(zip(spins, dos.total, strict=True)))
    found = RecordedDos(structure, total, by_site)
    found.recorded = gap
    return found


def _checked(bands: Bands) -> tuple[Array, Array]:
    """Return eigenvalues ascending at every k point, and their occupations from 0 to 1."""
    shape = bands.energies_ev.shape
    if len(shape) != 3 or shape[0] not in (1, 2) or 0 in shape or bands.occupations.shape != shape:
        raise ElectronicError(
            f"eigenvalues {shape} and occupations {bands.occupations.shape} must have one shape: "
            "(1 or 2 spins, k points, bands)"
        )
    if bands.kpoints.shape != (shape[1], 3) or bands.weights.shape != (shape[1],):
        raise ElectronicError(
            f"eigenvalues stand at {shape[1]} k points, but k points are {bands.kpoints.shape} "
            f"and weights {bands.weights.shape}"
        )
    if not all(np.isfinite(a).all() for a in (bands.energies_ev, bands.occupations, bands.weights, bands.fermi_ev)):
        raise ElectronicError(
            "eigenvalues, occupations, weights or the Fermi level are not finite: the run is damaged"
        )
    if abs(bands.weights.sum() - 1) > 1e-4:
        raise ElectronicError(f"the k-point weights add up to {bands.weights.sum():.6f}, not to 1: normalise them")
    deep = bands.energies_ev < bands.fermi_ev - 1.0
    if shape[0] == 1 and deep.any() and bands.occupations[deep].max() < 1.5:
        raise ElectronicError(
            "states more than 1 eV below the Fermi level hold one electron each: without spin polarisation "
            "occupations run from 0 to 2, so double them"
        )
    order = bands.energies_ev.argsort(axis=2, kind="stable")
    energies = np.take_along_axis(bands.energies_ev, order, axis=2)
    return energies, np.take_along_axis(bands.occupations, order, axis=2) / (3 - shape[0])


def _open_shell(electrons: Array, names: tuple[str, ...]) -> str | None:
    """Return why a count of electrons per spin makes a metal."""
    for name, count in zip(names, electrons, strict=True):
        if abs(count - round(count)) > ELECTRON_TOLERANCE:
            return f"{count:.3f} electrons of {name} fill no whole number of bands"
    return None


def _partial(filling: Array, kpoints: Array, names: tuple[str, ...]) -> str | None:
    """Return which occupation is the most partial, if any is."""
    distance = np.minimum(abs(filling), abs(filling - 1))
    spin, k, band = np.unravel_index(distance.argmax(), distance.shape)
    if distance[spin, k, band] <= PARTIAL_OCCUPATION:
        return None
    return (
        f"band {band + 1} of {names[spin]} is partially occupied, {filling[spin, k, band]:.2f} "
        f"at k = ({_at(kpoints[k])}); a gap narrower than the smearing is not told from a metal"
    )


def _overlap(vbm: float, cbm: float) -> str | None:
    """Return by how much the bands overlap, if they do."""
    if cbm - vbm > EDGE_TOLERANCE_EV:
        return None
    if cbm >= vbm - EDGE_TOLERANCE_EV:
        return "valence and conduction bands touch"
    return f"the conduction band minimum lies {vbm - cbm:.3f} eV below the valence band maximum"


def _misplaced(vbm: float, cbm: float, fermi_ev: float) -> str | None:
    """Return where the Fermi level lies if that is not in the gap."""
    if vbm - EDGE_TOLERANCE_EV <= fermi_ev <= cbm + EDGE_TOLERANCE_EV:
        return None
    off, edge = (vbm - fermi_ev, "below the valence band maximum")
    if fermi_ev > cbm:
        off, edge = (fermi_ev - cbm, "above the conduction band minimum")
    return (
        f"the Fermi level that the code gave lies in a band, {off:.3f} eV {edge}; all bands are whole, so the gap "
        "stands and the edges are counted from the electrons"
    )


def _refuse_excited(energies: Array, filling: Array, kpoints: Array, names: tuple[str, ...]) -> None:
    """Raise `ElectronicError` if an emptier state lies below a fuller one: an excited state, or sorted wrongly.

    Within a k point any such pair is; between k points only where whole bands are filled here more than there, since
    bands that overlap may be filled alike by a code that was told their number.
    """
    for spin, name in enumerate(names):
        # Fuller than the least full state at or below it, among those that are not degenerate with it.
        for k, (levels, filled) in enumerate(zip(energies[spin], filling[spin], strict=True)):
            emptiest = np.minimum.accumulate(filled)
            below = np.searchsorted(levels, levels - EDGE_TOLERANCE_EV, side="left") - 1
            inverted = np.flatnonzero((below >= 0) & (filled - emptiest[below] > _INVERSION))
            if inverted.size:
                band = int(inverted[0])
                lower = int(filled[: below[band] + 1].argmin())
                raise ElectronicError(
                    f"the occupations are not those of a ground state: at k = ({_at(kpoints[k])}) band {lower + 1} "
                    f"of {name} at {levels[lower]:.3f} eV holds {filled[lower]:.2f} and band {band + 1} at "
                    f"{levels[band]:.3f} eV above it {filled[band]:.2f}; let the code fill bands from the lowest"
                )
        whole = np.abs(filling[spin] - filling[spin].round()).max() <= PARTIAL_OCCUPATION
        counts = filling[spin].round().sum(axis=1).astype(int)
        if not whole or counts.min() == counts.max():
            continue
        full = filling[spin] > 0.5
        highest, lowest = energies[spin][full].max(initial=-np.inf), energies[spin][~full].min(initial=np.inf)
        if highest > lowest + EDGE_TOLERANCE_EV:
            raise ElectronicError(
                f"the occupations are not those of a ground state: a state of {name} at {highest:.3f} eV is filled "
                f"and one at {lowest:.3f} eV at another k point is empty; let the code fill bands from the lowest"
            )


def _edges(energies: Array, filled: NDArray[np.int_], names: tuple[str, ...]) -> tuple[Array, Array]:
    """Return the highest filled and the lowest empty eigenvalue at each k point, over the spins."""
    if not filled.any():
        raise ElectronicError("no band is occupied: these eigenvalues hold no electrons")
    bands = energies.shape[2]
    valence, conduction = np.full(energies.shape[1], -np.inf), np.full(energies.shape[1], np.inf)
    for levels, count, name in zip(energies, filled, names, strict=True):
        if count >= bands:
            raise ElectronicError(
                f"all {bands} bands of {name} are occupied, so there is no conduction band: "
                "compute more bands (the protocol's dos.empty_bands, or the code's own setting)"
            )
        if count:
            valence = np.maximum(valence, levels[:, count - 1])
        conduction = np.minimum(conduction, levels[:, count])
    return valence, conduction


def _at(k: Array) -> str:
    return ", ".join(f"{x:.3f}" for x in k)


def _metal(bands: Bands, reason: str) -> BandGap:
    return BandGap(gap_ev=0.0, nature="metal", fermi_ev=bands.fermi_ev, reason=reason)


def _vector(k: Array) -> tuple[float, float, float]:
    return float(k[0]), float(k[1]), float(k[2])


def _grid(bands: Bands, broadening_ev: float, spacing_ev: float, window: tuple[float, float] | None) -> Array:
    """Return the energies of a DOS (eV, shape (points,)), by default those of all states with their tails."""
    if not 0 < spacing_ev <= MAX_SPACING_EV:
        raise ElectronicError(
            f"a DOS grid of {spacing_ev} eV is refused; give a spacing of at most {MAX_SPACING_EV} eV"
        )
    if broadening_ev < spacing_ev:
        raise ElectronicError(
            f"a broadening of {broadening_ev} eV falls between grid points {spacing_ev} eV apart; "
            "widen it or refine the spacing"
        )
    reach = _REACH * broadening_ev
    low, high = window or (
        float(bands.energies_ev.min()) - reach,
        float(bands.energies_ev.max()) + reach,
    )
    if not high > low:
        raise ElectronicError(f"the energy window ({low}, {high}) eV of a DOS is empty; give (lowest, highest)")
    points = int(np.ceil((high - low) / spacing_ev - 1e-9)) + 1
    return np.asarray(low + spacing_ev * np.arange(points), dtype=np.float64)


def _broadened(grid: Array, levels: Array, counts: Array, width: float) -> Array:
    """Sum Gaussians at ``levels`` (states,), weighted by each row of ``counts`` (rows, states): (rows, points)."""
    curves: Array = np.zeros((len(counts), len(grid)))
    order = levels.argsort()
    for part in np.array_split(order, max(1, len(order) // _CHUNK)):
        first = np.searchsorted(grid, levels[part[0]] - _REACH * width)
        last = np.searchsorted(grid, levels[part[-1]] + _REACH * width, side="right")
        x = (grid[None, first:last] - levels[part, None]) / width
        curves[:, first:last] += counts[:, part] @ np.exp(-0.5 * x * x)
    curves /= width * np.sqrt(2 * np.pi)
    return curves
