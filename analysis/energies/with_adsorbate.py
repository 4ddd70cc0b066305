"""The electrons of a host with an adsorbate beside those of the host alone: records in, numbers out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..electrons.levels import should_have_levels, work_functions
from ..records import BandGap, Record
from .comparability import ProtocolMismatch, check_method

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..arrays import Dos

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class WithAdsorbate:
    """The electrons of a host with an adsorbate at its best site.

    Attributes
    ----------
    site
        That site.
    best_gap_ev, best_gap_nature
        The band gap; 0 of a metal.
    gap_change
        That of the host and this one, as ``1.55 → 0 (metal)``.
    best_work_function_bottom_ev, best_work_function_top_ev
        Energy that takes an electron out of the highest filled state through each face.
    host_moment_mub, best_moment_mub
        Total moment of the cell without and with the adsorbate, of the relaxations.
    ion_moment_mub
        Moment of the spheres of the adsorbate's atoms, of the relaxation.
    ion_charge_e
        Electrons of the adsorbate alone less those in its basins (Bader) on the sheet; positive if it lost some.
    reasons
        What is missing, in words.
    """

    site: str | None
    best_gap_ev: float | None
    best_gap_nature: Literal["direct", "indirect", "metal"] | None
    gap_change: str | None
    best_work_function_bottom_ev: float | None
    best_work_function_top_ev: float | None
    host_moment_mub: float | None
    best_moment_mub: float | None
    ion_moment_mub: float | None
    ion_charge_e: float | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Behind:
    """The records behind a `WithAdsorbate`; None for those that are missing.

    Attributes
    ----------
    host_dos, best_dos
        The densities of states.
    host, site
        The relaxations of the host and of the best site.
    together, alone
        The densities of the host with the adsorbate and of the adsorbate alone at the same place.
    """

    host_dos: Record | None
    best_dos: Record | None
    host: Record | None
    site: Record | None
    together: Record | None
    alone: Record | None


def with_adsorbate(
    behind: Behind, site: str | None, missing: Sequence[str], adsorbate_atoms: int = 1
) -> WithAdsorbate:
    """Return what the records say; ``missing`` are the reasons for those that there should be."""
    reasons = list(missing)
    best, bare = behind.best_dos, behind.host_dos
    gap = None if best is None else best.gap
    levels = None if best is None or gap is None else best.vacuum_ev
    if best is not None and should_have_levels(best):
        reasons.append(f"work function of {best.label}: the engine {best.engine} recorded no vacuum levels")
    change = None
    if best is not None and bare is not None and gap is not None and bare.gap is not None:
        try:
            check_method(best, bare)
            change = f"{_in_words(bare.gap)} → {_in_words(gap)}"
        except ProtocolMismatch as error:
            reasons.append(f"change of the gap: {error}")
    below, above = (None, None) if levels is None or gap is None else work_functions(levels, gap)
    charge, why = ion_charge_e(behind.together, behind.alone)
    reasons += [] if why is None else [why]
    moments = None if behind.site is None else behind.site.final_moments_mub
    return WithAdsorbate(
        site=site,
        best_gap_ev=None if gap is None else gap.gap_ev,
        best_gap_nature=None if gap is None else gap.nature,
        gap_change=change,
        best_work_function_bottom_ev=below,
        best_work_function_top_ev=above,
        host_moment_mub=None if behind.host is None else behind.host.total_moment_mub,
        best_moment_mub=None if behind.site is None else behind.site.total_moment_mub,
        ion_moment_mub=None if moments is None else sum(moments[-adsorbate_atoms:]),
        ion_charge_e=charge,
        reasons=tuple(reasons),
    )


def _in_words(gap: BandGap) -> str:
    return "0 (metal)" if gap.nature == "metal" else f"{gap.gap_ev:.3f}"


def ion_charge_e(together: Record | None, alone: Record | None) -> tuple[float | None, str | None]:
    """Return the charge of an adsorbate in e, and why there is none where its densities are recorded.

    Parameters
    ----------
    together, alone
        The densities of the host with the adsorbate, whose atoms are the last, and of the adsorbate alone.
    """
    if together is None or alone is None:
        return None, None
    if together.basin_electrons is None or alone.basin_electrons is None:
        return None, f"charge of {alone.label}: its record is of an older sodiate, which counted no basins (redo it)"
    try:
        check_method(together, alone)
    except ProtocolMismatch as error:
        return None, f"charge of {alone.label}: {error}"
    own = alone.basin_electrons
    return sum(own) - sum(together.basin_electrons[-len(own) :]), None


@dataclass(frozen=True)
class CommonZero:
    """One zero of energy for a host alone and with an adsorbate.

    Attributes
    ----------
    host_ev, best_ev
        Where it is on the scale of each one's eigenvalues.
    words
        What it is.
    is_vacuum
        Whether it is a vacuum level, the same for both, or only each one's Fermi level.
    """

    host_ev: float
    best_ev: float
    words: str
    is_vacuum: bool


def common_zero(host: Record, best: Record, adsorbate_atoms: int = 1) -> CommonZero | None:
    """Return the vacuum level on the face without the adsorbate, whose atoms are the last of ``best``.

    On its own face the adsorbate's dipole moves the level. Without vacuum levels, as in dry runs, each has its own
    Fermi level; None if not even that is recorded.
    """
    if host.gap is None or best.gap is None:
        return None
    if host.vacuum_ev is None or best.vacuum_ev is None or best.geometry is None:
        return CommonZero(host.gap.fermi_ev, best.gap.fermi_ev, "each one's Fermi level", False)
    heights = [position[2] for position in best.geometry.positions_a]
    sheet, own = heights[:-adsorbate_atoms], heights[-adsorbate_atoms:]
    above = sum(own) / len(own) >= sum(sheet) / len(sheet)
    side, face = (0, "bottom") if above else (1, "top")
    return CommonZero(host.vacuum_ev[side], best.vacuum_ev[side], f"the vacuum level at the {face} face", True)


@dataclass(frozen=True)
class Spectrum:
    """A density of states from a common zero.

    Attributes
    ----------
    name
        Of what.
    energies_ev
        Shape (points,), in a window about the host's Fermi level.
    total
        States per eV and cell, shape (spins, points).
    fermi_ev
        Fermi level.
    gap
        The gap on the scale of its own eigenvalues, in words.
    """

    name: str
    energies_ev: Floats
    total: Floats
    fermi_ev: float
    gap: str


WINDOW_EV = (-5.0, 3.0)
"""The window that is drawn, about the host's Fermi level."""


def spectra(
    names: tuple[str, str], found: tuple[tuple[Dos, BandGap], tuple[Dos, BandGap]], zero: CommonZero
) -> tuple[Spectrum, Spectrum]:
    """Return the DOS of a host alone and with the adsorbate from one zero, each with its gap."""
    (bare, bare_gap), (best, best_gap) = found
    middle = bare_gap.fermi_ev - zero.host_ev
    return (
        _spectrum(names[0], bare, bare_gap, zero.host_ev, middle),
        _spectrum(names[1], best, best_gap, zero.best_ev, middle),
    )


def _spectrum(name: str, dos: Dos, gap: BandGap, zero_ev: float, middle_ev: float) -> Spectrum:
    energies = dos.energies_ev - zero_ev
    window = (energies > middle_ev + WINDOW_EV[0]) & (energies < middle_ev + WINDOW_EV[1])
    words = "metal" if gap.nature == "metal" else f"gap {gap.gap_ev:.2f} eV"
    return Spectrum(name, energies[window], dos.total[:, window], gap.fermi_ev - zero_ev, words)
