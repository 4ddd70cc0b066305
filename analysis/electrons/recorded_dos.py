"""Pymatgen's density of states with the band gap of the eigenvalues, not of the broadened curve.

It is imported where it is asked for, since pymatgen takes a while.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymatgen.electronic_structure.dos import CompleteDos

if TYPE_CHECKING:
    from pymatgen.electronic_structure.core import Spin

    from ..records import BandGap


class RecordedDos(CompleteDos):
    """A complete DOS whose gap is the recorded one.

    The curve is broadened, so that its own gap is smaller by some widths of the Gaussians; `recorded` is that of the
    eigenvalues. For one spin, and where nothing is recorded, it is the curve's, as pymatgen's.
    """

    recorded: BandGap | None = None

    def get_interpolated_gap(
        self, tol: float = 1e-4, abs_tol: bool = False, spin: Spin | None = None
    ) -> tuple[float, float, float]:
        """Return gap, conduction band minimum and valence band maximum in eV; for a metal 0 and twice E_F.

        Parameters
        ----------
        tol, abs_tol
            Of no use to what is recorded.
        spin
            Only the curve of this spin, whose gap is not recorded.
        """
        gap = self.recorded
        if gap is None or spin is not None:
            found: tuple[float, float, float] = super().get_interpolated_gap(tol, abs_tol, spin)
            return found
        if gap.cbm_ev is None or gap.vbm_ev is None:
            return 0.0, gap.fermi_ev, gap.fermi_ev
        return gap.gap_ev, gap.cbm_ev, gap.vbm_ev

    def as_dict(self) -> dict[str, Any]:
        """Return it as pymatgen's own class, which any pymatgen reads; the recorded gap is not part of it."""
        return {**super().as_dict(), "@module": CompleteDos.__module__, "@class": CompleteDos.__name__}
