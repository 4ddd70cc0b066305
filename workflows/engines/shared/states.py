"""The electronic state of a relaxation: kept over a kill, checked on resume, noted where it changes.

An SCF cycle may have several solutions at the same positions and ends in one near its start. A run that resumes from
positions alone may therefore continue in another state than before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ....analysis.arrays import Trajectory
    from .trajectory import Step

SAME_STATE_EV = 0.005
"""Two energies at the same positions that differ by more are those of two states."""

SAME_MOMENT_MUB = 0.1
"""Two moments of the cell that differ by more are those of two states."""

_JUMP_EV = 0.010
_JUMP_SHARE = 0.05
"""By how much the change of energy in a step may differ from the work of the forces: a constant, and a share of the
work on all atoms at both ends. Of 80 steps of PBE relaxations of 3×3 sheets, 76 are within 0.004 eV; the other four
are of one relaxation, in which the electrons did change their state."""


def lower_state_note(before: Step, now: Step) -> str:
    """Return the note of a resumed relaxation that found a lower state at the last step."""
    return (
        f"resumed after step {before.step} in another electronic state, {before.energy_ev - now.energy_ev:.3f} eV "
        f"lower at the same positions{_moments(before, now)}: relaxed from there in the lower state, and the "
        f"{before.step + 1} steps in the other one were dropped"
    )


def lost_state_note(before: Step, now: Step) -> str:
    """Return the note of a resumed relaxation that did not find the state of the last step, nor a lower one."""
    return (
        f"the electronic state of step {before.step} was not found again ({now.energy_ev - before.energy_ev:+.3f} eV"
        f"{_moments(before, now)}): relaxed again from the start"
    )


def coarse_end_notes(coarse: Step, first: Step) -> list[str]:
    """Return a note if a relaxation begins in another state than its coarse stage ended in, judged by the moment.

    Energies cannot be compared: the settings differ.
    """
    if coarse.total_moment_mub is None or first.total_moment_mub is None:
        return []
    # The overall sign of the moments is arbitrary.
    if abs(abs(coarse.total_moment_mub) - abs(first.total_moment_mub)) <= SAME_MOMENT_MUB:
        return []
    return [
        f"the coarse stage ended with {coarse.total_moment_mub:.2f} μB, and the relaxation began at the same "
        f"positions with {first.total_moment_mub:.2f} μB: two electronic states"
    ]


def jump_notes(trajectory: Trajectory) -> list[str]:
    """Return a note for each step whose change of energy is not the work of the forces along it.

    The work is that of the trapezoidal rule, from the forces at both ends of the step. Relaxations of the cell are
    left out: the work of the stress is not known from the forces.
    """
    if trajectory.cells_a is not None:
        return []
    moves = np.diff(trajectory.positions_a, axis=0)
    before, after = ((forces * moves).sum(axis=2) for forces in _ends(trajectory.forces_ev_per_a))
    work = (before + after).sum(axis=1) / 2
    changes = np.diff(trajectory.energies_ev)
    tolerance = _JUMP_EV + _JUMP_SHARE * (np.abs(before) + np.abs(after)).sum(axis=1)
    return [
        f"from step {step} to step {step + 1} the energy changed by {changes[step]:+.3f} eV, where the forces give "
        f"{-work[step]:+.3f} eV: the electrons changed their state"
        for step in np.flatnonzero(np.abs(changes + work) > tolerance)
    ]


def _ends(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return values[:-1], values[1:]


def _moments(before: Step, now: Step) -> str:
    if before.total_moment_mub is None or now.total_moment_mub is None:
        return ""
    return f", {before.total_moment_mub:.2f} μB then and {now.total_moment_mub:.2f} μB now"
