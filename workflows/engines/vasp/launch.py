"""VASP's stages, each run under custodian and resumed by later launches."""

from __future__ import annotations

import logging
import shlex
import shutil
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from custodian.custodian import Custodian, CustodianError, ReturnCodeError

from ...kinds import KINDS
from ...stop import Stop
from ..base import EngineError, Killed, Limits, Stopped, TooManySteps
from ..shared.commands import end_of
from ..shared.files import DAMAGE, fingerprint, tail, write_bytes, write_json
from ..shared.machine import oom_kills, oom_kills_since
from ..shared.processes import locked
from .arrays import vacuum
from .handlers import Ending, LostStateHandler, VaspRun, handlers
from .inputs import LAUNCHES, OUTPUTS, RESULT, WAVES, State, VaspInputs, write_incar, write_path
from .lattice_scan import place_cell
from .results import (
    FILES,
    RUN,
    TEXT,
    Stars,
    check_electrons,
    electrons_missing,
    forces_of,
    launch_number,
    read_vasprun,
    steps_taken,
    unreadable,
)
from .resume import found, go_on, judged, stage_notes, with_start
from .tags import Tags

if TYPE_CHECKING:
    from custodian.custodian import ErrorHandler
    from pymatgen.io.vasp.outputs import Vasprun

_POLL_S = 0.25

_TAIL_BYTES = 100_000

_LEAST_S = 1.0
"""With less time left, no run is started."""


def run_stages(command: str, inputs: VaspInputs, limits: Limits, stop: Stop) -> None:
    """Run all remaining stages.

    Raises
    ------
    Stopped
        When asked to stop or out of time.
    Unconverged
        If there were too many steps, or the electrons do not converge.
    EngineError
        If VASP failed and no handler had a remedy, or left nothing.
    """
    directory = inputs.directory
    end = None if limits.wall_time_s is None else time.monotonic() + limits.wall_time_s
    with locked(directory) as lock:
        state = State.read(directory, inputs.key)
        number = begun = min(state.stage, len(inputs.stages) - 1)
        while number < len(inputs.stages):
            left = None if end is None else end - time.monotonic()
            if left is not None and left < _LEAST_S:
                raise Stopped(f"{directory}: its wall time is nearly over; run it again to resume.")
            if number != begun and stop.requested():
                raise Stopped(f"{directory}: stopped: {stop.reason}; run it again to resume with its next stage.")
            ending = Ending(stop, left)
            state = _run_stage(command, inputs, number, state, ending, lock)
            number = state.stage
        if KINDS[inputs.kind].relaxes:
            notes = dict.fromkeys((*state.notes, *stage_notes(inputs, state)))
            replace(state, notes=tuple(notes)).write(directory)
        files = [name for name in FILES.get(inputs.kind, FILES["dos"]) if (directory / name).exists()]
        prints = {name: fingerprint(directory / name) for name in files}
        write_json(directory / RESULT, {"key": inputs.key, "fingerprints": prints, **vacuum(inputs)})


def _run_stage(command: str, inputs: VaspInputs, number: int, state: State, ending: Ending, lock: int) -> State:
    """Run a stage; return the state after it, in which it is the next one if the relaxation has to begin again."""
    directory = inputs.directory
    state, again = judged(inputs, number, state)  # of a launch that was killed
    state = state if again else _begin(inputs, number, state)
    state.write(directory)
    if again:
        return state
    job, begun = VaspRun(shlex.split(command), lock), state
    lost = LostStateHandler(lambda: found(inputs, number, begun)) if begun.expected else None
    oom_before = oom_kills()
    log, failure = run_custodian(directory, job, handlers(ending, job, lost))
    failure = None if ending.requested else failure
    (directory / "STOPCAR").unlink(missing_ok=True)  # if VASP had ended before it was written
    state, again = judged(inputs, number, _learn(state, log))
    state.write(directory)
    if again:
        return state
    try:
        run = read_vasprun(directory / RUN)
    except DAMAGE as error:
        if isinstance(error, Stars):
            raise EngineError(f"{directory}: {error}.") from None
        run, damage = None, error
    code = _exit_code(failure, job, directory)
    if run is not None and code is not None:
        failure, note = None, f"VASP ended with exit code {code} after a whole run, which is judged by its files"
        state = replace(state, notes=tuple(dict.fromkeys((*state.notes, note))))
    if run is None or not _is_converged(run, inputs):
        if ending.requested:
            raise Stopped(f"{directory}: stopped: {ending.reason}; run it again to resume from its last step.")
        if run is None or failure is not None:
            raise error_of(inputs, command, log, job, oom_before) from (failure or damage)
        check_electrons(run, inputs)
        raise _too_many_steps(inputs)
    if failure is not None:
        raise error_of(inputs, command, log, job, oom_before) from failure
    state = replace(state, stage=number + 1, energies_ev=(*state.energies_ev, float(run.final_energy)))
    state.write(directory)
    return state


def _begin(inputs: VaspInputs, number: int, state: State) -> State:
    """Write the inputs of a stage, or of its next launch; return the state in which that is.

    A relaxation resumes from its last step; the outputs of the launch before are moved aside.
    """
    directory = inputs.directory
    state = replace(state, launch=_move_aside(directory, state))
    tags: Tags = {**inputs.stages[number], **state.changes}
    if KINDS[inputs.kind].relaxes:
        steps_left = inputs.execution["max_steps"] - max(steps_taken(directory), 0)
        if steps_left < 1:
            raise _too_many_steps(inputs)
        tags["NSW"] = steps_left + 1  # VASP counts the start geometry as a step
        if is_whole(directory / "CONTCAR", len(inputs.atoms)):
            write_bytes(directory / "POSCAR", (directory / "CONTCAR").read_bytes())
        state = go_on(inputs, number, state, tags)
        if inputs.scales:
            place_cell(inputs, number, state.energies_ev)
        state = with_start(inputs, state)
    if inputs.path and number == len(inputs.stages) - 1:
        write_path(directory, inputs.path)
    write_incar(directory, {tag: value for tag, value in tags.items() if value is not None})
    return replace(state, began=number + 1)


def _move_aside(directory: Path, state: State) -> int:
    """Move the outputs of the launch before aside; return the number of the next one.

    What that must not begin with is dropped. A directory from an archive does not have its earlier launches.
    """
    number = max([1, state.launch, *(launch_number(path) + 1 for path in (directory / LAUNCHES).glob("*"))])
    if (directory / "OSZICAR").exists():
        archive = directory / LAUNCHES / f"{number:03d}-stage-{state.began}"
        number += 1
        archive.mkdir(parents=True)
        for name in OUTPUTS:
            if (directory / name).exists():
                (directory / name).rename(archive / name)
    for name in ("STOPCAR", RESULT):
        (directory / name).unlink(missing_ok=True)
    if is_torn(directory / WAVES):  # VASP would end with an error where it could begin anew
        (directory / WAVES).unlink()
    return number


def is_torn(path: Path) -> bool:
    """Tell whether a WAVECAR ends before its end, as one does that was being written when VASP was killed.

    Its first record says how long each record is and how many spins there are, the second how many k points and
    bands; then a k point has one record, and one more for each band.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            record, spins, _ = np.fromfile(file, dtype=np.float64, count=3)
            file.seek(int(record))
            kpoints, bands = np.fromfile(file, dtype=np.float64, count=2)
    except FileNotFoundError:
        return False
    except (ValueError, OSError, OverflowError):
        return True
    return bool(size <= record * (1 + spins * kpoints * (1 + bands)))


def _exit_code(failure: Exception | None, job: VaspRun, directory: Path) -> int | None:
    """Return the exit code of a VASP that wrote all of its files and then failed, as launchers of ranks may.

    None if it ended well, or was in the middle of its work: OUTCAR ends with the times that all took.
    """
    if not isinstance(failure, ReturnCodeError) or job.process is None:
        return None
    try:
        text = (directory / TEXT).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return job.process.returncode if "General timing and accounting" in text[-10_000:] else None


def _too_many_steps(inputs: VaspInputs) -> TooManySteps:
    limit = inputs.execution["max_steps"]
    return TooManySteps(
        f"{inputs.directory}: after {steps_taken(inputs.directory)} steps the largest force is not below "
        f"{inputs.protocol['max_force_ev_per_a']:g} eV/Å; raise execution.max_steps (now {limit}) and run it again.",
        limit,
    )


def is_whole(path: Path, natoms: int) -> bool:
    """Tell whether a file has the positions of so many atoms."""
    from pymatgen.io.vasp.inputs import Poscar

    try:
        return len(Poscar.from_str(path.read_text(encoding="utf-8")).structure) == natoms
    except (*DAMAGE, AssertionError, Warning):  # absent, empty as at the start of a run, or truncated
        return False


def run_custodian(
    directory: Path, job: VaspRun, watchers: list[ErrorHandler]
) -> tuple[list[dict[str, Any]], Exception | None]:
    """Run VASP under custodian; return its log, and what it ended with if that is no success."""
    logging.getLogger("custodian").setLevel(logging.CRITICAL + 1)  # its messages are in custodian.json
    custodian = Custodian(
        watchers,
        [job],
        max_errors=10,
        polling_time_step=_POLL_S,
        monitor_freq=1,
        directory=str(directory),
        terminate_on_nonzero_returncode=True,
        skip_over_errors=True,  # a handler that fails on a truncated file must not end VASP
    )
    failure: Exception | None = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about POTCARs that pymatgen has no fingerprints of
            custodian.run()
    except (CustodianError, RuntimeError, OSError) as error:
        failure = error
    finally:
        job.terminate()
    return custodian.run_log, failure


def _learn(state: State, log: list[dict[str, Any]]) -> State:
    """Return the state with custodian's corrections: in words, and as changes of INCAR tags."""
    descriptions, changes = list(state.corrections), dict(state.changes)
    for correction in (correction for entry in log for correction in entry["corrections"]):
        for action in correction["actions"] or ():
            errors = ", ".join(map(str, correction["errors"]))
            descriptions.append(f"{errors}: {_in_words(action)}")
            if action.get("dict") == "INCAR":
                changes |= action["action"].get("_set", {})
                changes |= dict.fromkeys(action["action"].get("_unset", {}))
    return replace(state, corrections=tuple(descriptions), changes=changes)


def _in_words(action: dict[str, Any]) -> str:
    target = action.get("dict", action.get("file", ""))
    for verb, values in action["action"].items():
        if verb == "_set":
            return f"{target} {', '.join(f'{tag} = {value}' for tag, value in values.items())}"
        if verb == "_unset":
            return f"{target} without {', '.join(values)}"
    return f"{target} {action['action']}"


def _is_converged(run: Vasprun, inputs: VaspInputs) -> bool:
    """Return whether a stage is converged: electrons and, in a relaxation, forces.

    The forces are checked here: pymatgen takes a run that STOPCAR ended early for converged.
    """
    if unreadable(run) is not None or electrons_missing(run) is not None:
        return False
    largest = float(np.linalg.norm(forces_of(run, inputs), axis=1).max())
    return not KINDS[inputs.kind].relaxes or largest < inputs.protocol["max_force_ev_per_a"]


def error_of(
    inputs: VaspInputs, command: str, log: list[dict[str, Any]], job: VaspRun, oom_before: int | None
) -> EngineError:
    """Return what the end of a run means: killed, a handler's error, or what VASP or its launcher said."""
    directory = inputs.directory
    said = b"\n".join(tail(directory / name, _TAIL_BYTES) for name in ("vasp.out", "std_err.txt"))
    text = said.decode(errors="replace")
    code = None if job.process is None else job.process.returncode
    end = end_of(code, text, oom_kills_since(oom_before))
    see = "see vasp.out and std_err.txt there"
    if end.killed and not job.ended_here:
        return Killed(f"{directory}: '{command}' {end.words}; {see}.", end.out_of_memory)
    errors = [error for entry in log for correction in entry["corrections"] for error in correction["errors"]]
    if errors:
        told = ", ".join(dict.fromkeys(map(str, errors)))
        return EngineError(f"{directory}: VASP failed: {told}; see vasp.out and custodian.json there.")
    full = "; the disk is full, make room and retry" if shutil.disk_usage(directory).free < 1_000_000 else ""
    return EngineError(f"{directory}: '{command}' {end.words}; {see}{full}.")
