"""A relaxation that goes on does so in the electronic state of its last step, or its record says that it did not.

VASP writes its wave functions at the end of a run alone. A launch therefore computes the last step of the launches
before again, from the wave functions if they are whole, else from the moments that OUTCAR has of that step, and the
first energy in OSZICAR tells whether it is in the same state (`sodiate.workflows.engines.shared.states`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..shared.files import fingerprint
from ..shared.states import Found, coarse_end_notes, jump_notes, lost_state_note, lower_state_note, scaled_moments
from ..shared.trajectory import Step, trajectory_of
from .inputs import CHARGE, WAVES, State, VaspInputs, write_poscar
from .results import TEXT, energies_in, launches, steps_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .tags import Tags

_START = "POSCAR"

_DIGITS = 4


def go_on(inputs: VaspInputs, number: int, state: State, tags: Tags) -> State:
    """Begin a launch where the launches before it left the stage, in their electronic state.

    Writes POSCAR, sets MAGMOM in ``tags``, and returns the state with what the launch is to find at its first step.

    Parameters
    ----------
    inputs
        Of the directory, in which the outputs of the launch before were moved aside.
    number
        Index of the stage.
    state
        Of the directory.
    tags
        INCAR of this launch.
    """
    moments = _last_moments(inputs, state.dropped)
    if moments is not None and np.shape(tags.get("MAGMOM") or ()) == moments.shape:
        tags["MAGMOM"] = [round(float(moment), _DIGITS) for moment in moments]
    steps = steps_of(inputs, number + 1, state.dropped)
    if not steps or _came_no_further(inputs, number, state.dropped):
        return replace(state, expected={})
    last = steps[-1]
    atoms = inputs.atoms.copy()
    last.place(atoms)
    write_poscar(inputs.directory, atoms[list(inputs.order)])
    expected = {
        "step": last.step,
        "energy_ev": last.energy_ev,
        "lowest_ev": min(step.energy_ev for step in steps),
        "total_moment_mub": last.total_moment_mub,
    }
    return replace(state, expected=expected)


def with_start(inputs: VaspInputs, state: State) -> State:
    """Return the state with the start of this launch, which is to be found if its first step is to tell anything."""
    if not state.expected:
        return state
    return replace(state, expected={**state.expected, "start": fingerprint(inputs.directory / _START)})


def _came_no_further(inputs: VaspInputs, number: int, dropped: int) -> bool:
    """Tell whether the launch before computed a step again and had no time for another.

    Then the next one goes on from where VASP moved the atoms to, or no launch would ever come further.
    """
    folders = [folder for folder in launches(inputs.directory, number + 1, dropped) if energies_in(folder)]
    return len(folders) > 1 and len(energies_in(folders[-1])) == 1


def found(inputs: VaspInputs, number: int, state: State) -> tuple[Found, Step, Step] | None:
    """Return what the present launch found at its first step, that step as it was, and as it is now.

    None as long as there is nothing to tell: before that step, where nothing was to be found again, or where the run
    began anew at other positions, as custodian's remedies may do.
    """
    expected, first = state.expected, energies_in(inputs.directory)[:1]
    if not expected or not first or fingerprint(inputs.directory / _START) != expected["start"]:
        return None
    nothing = np.empty((0, 3))
    before = Step(
        expected["step"], expected["energy_ev"], nothing, nothing, total_moment_mub=expected["total_moment_mub"]
    )
    now = replace(before, energy_ev=first[0][0], total_moment_mub=first[0][1])
    if inputs.by_stress:  # each launch has the plane waves of its start cell, so that energies differ anyway
        return Found.SAME, before, now
    verdict = Found.by_energy(now.energy_ev, before.energy_ev, expected["lowest_ev"])
    if verdict is Found.LOWER and inputs.scales and number > 0:
        verdict = Found.HIGHER  # energies of one state make no curve with those of another
    return verdict, before, now


def judged(inputs: VaspInputs, number: int, state: State) -> tuple[State, bool]:
    """Return the state after a launch, with a note if it went on in another electronic state than the one before.

    In a lower one the steps of the launches before are dropped. Otherwise the second value is True: the relaxation
    begins again at its start, from where nothing of the launches so far is kept.
    """
    what = found(inputs, number, state)
    if what is None:
        return state, False
    verdict, before, now = what
    if verdict is Found.SAME:
        told = coarse_end_notes(before, now, "the launch before") if inputs.by_stress else []
        return replace(state, expected={}, notes=(*state.notes, *told)), False
    if verdict is Found.LOWER:
        note = lower_state_note(before, now)
        return replace(state, expected={}, notes=(*state.notes, note), dropped=state.launch - 1), False
    for name in ("CONTCAR", WAVES, CHARGE):
        (inputs.directory / name).unlink(missing_ok=True)
    write_poscar(inputs.directory, inputs.atoms[list(inputs.order)])
    notes = (*state.notes, lost_state_note(before, now))
    return replace(state, stage=0, energies_ev=(), expected={}, notes=notes, dropped=state.launch), True


def stage_notes(inputs: VaspInputs, state: State) -> list[str]:
    """Return what changed of the electronic state within the stages before the last, and from one to the next."""
    last = len(inputs.stages)
    if last == 1:
        return []
    stages = [steps_of(inputs, number, state.dropped, number == last) for number in range(1, last + 1)]
    notes: list[str] = []
    for number, (steps, following) in enumerate(pairwise(stages), start=1):
        notes += [f"stage {number}: {note}" for note in (jump_notes(trajectory_of(steps)) if steps else [])]
        if steps and following and not inputs.scales:  # a scan's stages have cells of their own
            notes += coarse_end_notes(steps[-1], following[0], f"stage {number}")
    return notes


def _last_moments(inputs: VaspInputs, dropped: int) -> NDArray[np.float64] | None:
    """Return the moments of the last step in VASP's order, scaled to that of the cell; None if they are not known."""
    for folder in reversed(launches(inputs.directory, None, dropped)):
        energies = energies_in(folder)
        tables = _moments_in(folder / TEXT, len(inputs.order))[: len(energies)]
        if tables:
            return scaled_moments(tables[-1], energies[len(tables) - 1][1])
    return None


_TABLE = re.compile(r"^ magnetization \(x\)\n(.*?)^tot ", re.DOTALL | re.MULTILINE)
_ROW = re.compile(r"^\s*\d+((?:\s+-?\d+\.\d+)+)\s*$", re.MULTILINE)


def _moments_in(path: Path, natoms: int) -> list[Any]:
    """Return the moments of the ions after each step in an OUTCAR; none with moments along more axes than one."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    if " magnetization (y)" in text:
        return []
    rows = [[float(row.split()[-1]) for row in _ROW.findall(table)] for table in _TABLE.findall(text)]
    return [row for row in rows if len(row) == natoms]
