"""Saddles and vibrations by an engine's own single points: for codes that run as a program, one run a force call.

Each image has a folder in the directory of the path, in which the engine prepares, runs and collects a calculation of
kind ``static`` as any other, so that its checks and corrections hold for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....analysis.arrays import to_arrays
from ....analysis.records import digest
from ...calculation import Calculation
from ...kinds import KINDS
from ..base import EngineError, Limits, Outcome, Progress
from .checks import PATH, VIBRATIONS, bfgs_settings, check_forces, is_done, number, read_arrays_of
from .files import DAMAGE, exact_xyz, fingerprint, read_json, read_xyz, write_arrays, write_bytes, write_json
from .path_task import SADDLE, TAPE, PathTask
from .vibrations import THE_SITE, VIBRATIONS_TAPE, VibrationTask, second_derivatives

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from ....analysis.arrays import ReactionPath, SecondDerivatives
    from ...stop import Stop
    from ..base import Artefacts, Engine
    from .path_search import Search
    from .relax import Clock
    from .tape import Compute
    from .trajectory import Step

    Floats = NDArray[np.float64]
    RelaxBand = Callable[[Search, PathTask], tuple[Sequence[Floats] | None, tuple[str, ...]]]

_INPUT = "path-input.json"
_RESULT = "path-result.json"
_START = "path-start.extxyz"
_BAND = "band"


RelaxedBand = Callable[
    [Path, "Sequence[Atoms]", tuple[float, int], Limits, "Stop"], tuple["list[Floats]", tuple[str, ...]]
]
"""Relaxes a band in a folder in which a static calculation was prepared, to a largest force (eV/Å) in so many steps;
returns the positions of all images (Å), and what is to be noted. A launch after a kill goes on."""


class SinglePointPaths:
    """Paths and vibrations of an engine that has the kind ``static``.

    Parameters
    ----------
    engine
        The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @staticmethod
    def are_in(directory: Path) -> bool:
        """Tell whether a directory was prepared for a path or vibrations."""
        return (directory / _INPUT).exists()

    def prepare(
        self,
        calculation: Calculation,
        atoms: Atoms,
        directory: Path,
        parents: Mapping[str, Artefacts],
        execution: Mapping[str, Any],
    ) -> None:
        """Write what is asked and how; raise `EngineError` as `PathTask.of` does."""
        searches = KINDS[calculation.kind].searches
        task: PathTask | VibrationTask
        if searches:
            task = PathTask.of(calculation, parents, directory)
        else:
            task = VibrationTask.of(calculation, atoms, parents)
        directory.mkdir(parents=True, exist_ok=True)
        task.write(directory)
        where = f"{directory}: the protocol"
        max_force = number(calculation.protocol, "max_force_ev_per_a", where) if searches else None
        protocol = {key: value for key, value in calculation.protocol.items() if key != "max_force_ev_per_a"}
        write_bytes(directory / _START, exact_xyz(atoms).encode())
        moments = atoms.get_initial_magnetic_moments().tolist()
        values = {
            "label": calculation.label,
            "kind": calculation.kind,
            "protocol": protocol,
            "max_force_ev_per_a": max_force,
            "execution": bfgs_settings(execution, self.engine.name, directory) if searches else {},
            "start_moments_mub": moments,
            "key": digest([task.key, protocol, max_force, moments]),
        }
        write_json(directory / _INPUT, values)
        first = "image 1" if searches else THE_SITE
        self._prepare(values, self._start(directory, values), _folder(directory, first))  # what is wrong is said now

    def _start(self, directory: Path, values: Mapping[str, Any]) -> Atoms:
        atoms = read_xyz(directory / _START)
        atoms.set_initial_magnetic_moments(values["start_moments_mub"])
        return atoms

    def _prepare(self, values: Mapping[str, Any], atoms: Atoms, folder: Path) -> None:
        operation = {"op": "geometry", "recipe": 1}
        one = Calculation("static", operation, self.engine.name, values["protocol"], {}, values["label"])
        self.engine.prepare(one, atoms, folder, {})

    def run(self, directory: Path, limits: Limits, stop: Stop, relaxed: RelaxedBand | None = None) -> None:
        """Search, or go on where the tape ends; raise as the engine's ``run`` does.

        With ``relaxed`` the band comes from a run of the engine that takes all images together.
        """
        if is_done(lambda: self.collect(directory), directory / _RESULT, stop):
            return
        from .relax import Clock
        from .tape import one_by_one
        from .trajectory import Step

        values = self._read(directory)
        end = None if limits.wall_time_s is None else time.monotonic() + limits.wall_time_s

        def compute(atoms: Atoms, image: str, count: int) -> Step:
            outcome = self._single_point(values, atoms, _folder(directory, image), _left(end), stop)
            forces, energy = outcome.forces_ev_per_a, outcome.free_energy_ev
            if forces is None or energy is None:
                raise EngineError(f"{directory}: a single point of {image} has no energy or forces.")
            return Step(count, energy, atoms.get_positions(), forces - forces.mean(axis=0))

        def relax_band(settings: Search, task: PathTask) -> tuple[Sequence[Floats] | None, tuple[str, ...]]:
            if relaxed is None:
                return None, ()
            from .path_search import first_band

            folder = directory / _BAND
            self._prepare(values, self._start(directory, values), folder)
            criteria = settings.max_force_ev_per_a, settings.max_steps
            return relaxed(folder, first_band(task), criteria, _left(end), stop)

        clock = Clock(directory, limits, stop)
        if _searches(values):
            found = _searched(directory, values, one_by_one(compute), clock, relax_band)
        else:
            found = _displaced(directory, values, one_by_one(compute), clock)
        atoms = self._start(directory, values)
        atoms.positions = found.positions_a
        self._single_point(values, atoms, _folder(directory, found.image), _left(end), stop)
        write_arrays(directory / found.file, to_arrays(found.array))
        result = {
            "key": values["key"],
            "calls": found.calls,
            "notes": found.notes,
            "fingerprints": {found.file: fingerprint(directory / found.file)},
        }
        write_json(directory / _RESULT, result)

    def _single_point(
        self, values: Mapping[str, Any], image: Atoms, folder: Path, limits: Limits, stop: Stop
    ) -> Outcome:
        atoms = image.copy()
        atoms.set_initial_magnetic_moments(values["start_moments_mub"])
        self._prepare(values, atoms, folder)
        self.engine.run(folder, limits, stop)
        return self.engine.collect(folder)

    def _read(self, directory: Path) -> dict[str, Any]:
        try:
            return read_json(directory / _INPUT)
        except DAMAGE as error:
            raise EngineError(f"{directory / _INPUT} cannot be read ({error}); prepare it again.") from None

    def progress(self, directory: Path) -> Progress | None:
        """Return the last force call, and the SCF iteration of the next one; None without inputs."""
        from .trajectory import steps_so_far

        try:
            values = self._read(directory)
        except EngineError:
            return None
        criterion = values["max_force_ev_per_a"]
        tape, stage = (TAPE, "path") if _searches(values) else (VIBRATIONS_TAPE, "vibrations")
        found = steps_so_far(directory / tape, stage, criterion) or Progress()
        now = next(map(self.engine.progress, _newest_first(directory)), None)
        return found if now is None else replace(found, scf_iteration=now.scf_iteration)

    def cores(self, directory: Path) -> int | None:
        """Return on how many cores the last single point ran that says it."""
        said = map(self.engine.cores, _newest_first(directory))
        return next((cores for cores in said if cores is not None), None)

    def collect(self, directory: Path) -> Outcome:
        """Return the saddle, as the engine's single point there, with the path; or what is at rest, with its modes.

        Raises
        ------
        Unconverged
            If a force is not below the criterion.
        EngineError
            If an output is missing, damaged or of other inputs.
        """
        values = self._read(directory)
        try:
            result = read_json(directory / _RESULT)
            calls, notes, same = int(result["calls"]), tuple(result["notes"]), result["key"] == values["key"]
        except DAMAGE as error:
            raise EngineError(f"{directory / _RESULT} is missing or damaged ({error}); run it again.") from None
        if not same:
            raise EngineError(f"{directory / _RESULT} is of other inputs than {_INPUT} there; run it again.")
        if not _searches(values):
            arrays = read_arrays_of(directory, ("vibrations",), result["fingerprints"], _RESULT)
            outcome = self.engine.collect(_folder(directory, THE_SITE))
            return replace(outcome, ionic_steps=calls, vibrations=arrays["vibrations"])
        arrays = read_arrays_of(directory, ("path",), result["fingerprints"], _RESULT)
        outcome = self.engine.collect(_folder(directory, SADDLE))
        assert outcome.forces_ev_per_a is not None  # single points have forces
        forces = outcome.forces_ev_per_a - outcome.forces_ev_per_a.mean(axis=0)
        criterion, limit = values["max_force_ev_per_a"], values["execution"]["max_steps"]
        check_forces(forces, criterion, calls, limit, directory)
        path = arrays["path"]
        saddle = path.positions_a[path.saddle]
        if outcome.atoms is None or not np.allclose(outcome.atoms.positions, saddle, atol=1e-4):
            where = _folder(directory, SADDLE)
            raise EngineError(f"{where} is not at the saddle of {PATH}; run the calculation again.")
        return replace(outcome, ionic_steps=calls, path=path, notes=(*outcome.notes, *notes))


@dataclass(frozen=True)
class _Done:
    """What force calls led to: an array and its file, and the image of which the record is, where it lies."""

    array: ReactionPath | SecondDerivatives
    file: str
    image: str
    positions_a: NDArray[np.float64]
    calls: int
    notes: tuple[str, ...] = ()


def _searched(
    directory: Path, values: Mapping[str, Any], compute: Compute, clock: Clock, relax_band: RelaxBand
) -> _Done:
    """Find the saddle of a path."""
    from .path_search import Search, search
    from .tape import Tape
    from .trajectory import Checkpoint

    task, execution = PathTask.read(directory), values["execution"]
    settings = Search(values["max_force_ev_per_a"], execution["max_steps"], execution["max_step_a"])
    tape = Tape(task, Checkpoint(directory, values["key"], TAPE), compute, clock)
    band, told = relax_band(settings, task)
    found = search(task, settings, tape, band)
    saddle = found.path.positions_a[found.path.saddle]
    return _Done(found.path, PATH, SADDLE, saddle, found.calls, (*told, *found.notes))


def _displaced(directory: Path, values: Mapping[str, Any], compute: Compute, clock: Clock) -> _Done:
    """Compute the second derivatives of a relaxed geometry."""
    from .tape import Tape
    from .trajectory import Checkpoint

    task, checkpoint = VibrationTask.read(directory), Checkpoint(directory, values["key"], VIBRATIONS_TAPE)
    tape = Tape(task, checkpoint, compute, clock)
    found = second_derivatives(task, tape)
    return _Done(found, VIBRATIONS, THE_SITE, task.atoms.positions, tape.calls)


def _searches(values: Mapping[str, Any]) -> bool:
    """Tell what a directory is of; those of older releases are all of paths."""
    return KINDS[values.get("kind", "path")].searches


def _folder(directory: Path, image: str) -> Path:
    return directory / image.replace(" ", "-")


def _newest_first(directory: Path) -> list[Path]:
    """Return the folders of the images, the one that was written to last first."""
    folders = [path for path in directory.iterdir() if path.is_dir()]
    return sorted(folders, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _left(end: float | None) -> Limits:
    return Limits(None if end is None else max(0.0, end - time.monotonic()))
