"""One calculation in its own directory: claim, prepare, run, collect, record.

The record is the truth and the lease guards it; FireWorks' states follow (`sodiate.workflows.launch.loop`).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError
from pymongo import timeout
from pymongo.errors import ConnectionFailure, PyMongoError

from ...analysis.electrons.gap_and_dos import band_gap
from ...analysis.energies.hopping import saddle_of
from ...analysis.energies.vibrations import vibrations_of
from ...analysis.records import Geometry, ParentRef, Provenance, Record, SiteChange
from ...errors import SodiateError
from .. import start_structures
from ..calculation import GEOMETRY, LOWEST, Calculation, sources
from ..database.account import Account
from ..database.documents import Documents, as_text, now
from ..database.lease import Lease, LeaseLost, Owner
from ..database.outage import outage_of
from ..database.room import no_room
from ..database.standing import failure, failures, standing_above
from ..engines import engine_of
from ..engines.base import (
    Artefacts,
    Engine,
    EngineError,
    Killed,
    Limits,
    Outcome,
    Settings,
    Stopped,
    TooManySteps,
)
from ..engines.shared.states import jump_notes, other_state_notes, scaled_moments
from ..engines.shared.trajectory import how_far
from ..kinds import KINDS, array_names
from ..stop import Stop
from .scratch import computing_in
from .workdir import Workdir, own_directory

if TYPE_CHECKING:
    from ase import Atoms


_KILLS = 5
"""After so many kills in a row of a code that does not come a step further, it has failed."""

_OUT_OF_MEMORY = 3
"""As `_KILLS`, where the system says that it was for want of memory: jobs of a cluster get more each time."""


class NotReady(SodiateError):
    """A parent has no usable record."""


class OldRecipe(SodiateError):
    """The calculation is from an older sodiate, and the meaning of its declaration has changed since."""


@dataclass(frozen=True)
class WorkerSettings:
    """Where this process computes and how far: root of the directories, the FWorker's ``env``, wall time, a stop.

    ``account`` says for whom and in which job; attempts name it. With ``finished`` the directories hold finished runs
    already: nothing is prepared, and no code is started.
    """

    root: Path
    env: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    stop: Stop = field(default_factory=Stop)
    finished: bool = False
    account: Account = field(default_factory=Account.here)


@dataclass(frozen=True)
class Task:
    """What a calculation is computed from, with no database.

    Attributes
    ----------
    calculation
        The calculation.
    parents
        Usable records of what it is computed from by role (`sources`), and their directories if they are on this
        machine.
    without
        Why it runs without a parent, by role.
    execution
        Settings of how its number is reached.
    not_applicable
        Keys of the protocol that the engine ignores.
    generation
        Number of superseded records of this calculation.
    """

    calculation: Calculation
    parents: Mapping[str, Artefacts]
    without: Mapping[str, str]
    execution: Mapping[str, Any]
    not_applicable: tuple[str, ...]
    generation: int

    @property
    def references(self) -> dict[str, ParentRef]:
        """What a record says of the parents that the calculation names."""
        return {
            role: ParentRef(calculation=parent.record.calculation, digest=parent.record.digest)
            for role, parent in self.parents.items()
            if role in self.calculation.parents
        }


@dataclass(frozen=True)
class Computed:
    """What was computed: the record, still without its arrays, and the outcome, which has them."""

    record: Record
    outcome: Outcome

    @property
    def arrays(self) -> dict[str, Any]:
        """The arrays to keep beside the record, by name."""
        arrays = {name: getattr(self.outcome, name) for name in array_names()}
        return {name: array for name, array in arrays.items() if array is not None}


def run_calculation(
    documents: Documents, identifier: str, worker: WorkerSettings, firework_id: int | None = None
) -> str:
    """Compute and record a calculation, unless its record exists.

    Parameters
    ----------
    documents
        The database.
    identifier
        The calculation's id.
    worker
        Settings of this process.
    firework_id
        For the provenance.

    Returns
    -------
    str
        ``"recorded"``, or ``"already recorded"`` if there was nothing to do.

    Raises
    ------
    LeaseHeld, Cancelled, NotReady, OldRecipe
        Before any file was touched.
    Stopped
        If a stop was requested; the next launch continues.
    Killed
        If the code was ended from outside; the next launch continues.
    LeaseLost
        If another process took over.
    EngineError, WrongDirectory
        If the code failed, or its directory belongs to another calculation; only the attempt is recorded.
    """
    owner = Owner.here()
    lease = documents.leases.claim(identifier, owner)
    with _released(documents, lease):
        calculation = documents.claimed(lease)
        refuse_old_recipe(calculation)
        task = task_of(documents, calculation, lease, worker.root)
        if task is None:
            documents.leases.release(lease)
            return "already recorded"
        stop = Stop(above=worker.stop)
        clock = partial(_time_of, lease)
        with documents.leases.heartbeat(lease, owner, stop):
            _Run(documents, Computation(task, worker, stop, firework_id, clock), lease).go()
    return "recorded"


def _time_of(lease: Lease) -> str:
    """Return the present time on the server's clock as documents hold it."""
    return as_text(lease.now())


@contextmanager
def _released(documents: Documents, lease: Lease) -> Iterator[None]:
    """Release a lease after a block that did not publish, which ends it; an absent database is tried for a moment."""
    try:
        yield
    except ConnectionFailure:
        with _for_a_moment():
            documents.leases.release(lease)
        raise
    except BaseException:
        documents.leases.release(lease)
        raise


@contextmanager
def _for_a_moment() -> Iterator[None]:
    """Let what the block asks of the database take a second at most, and go through or not."""
    with suppress(PyMongoError), timeout(1.0):
        yield


def task_of(documents: Documents, calculation: Calculation, lease: Lease, root: Path) -> Task | None:
    """Return what a calculation is computed from; None if it is recorded.

    Parameters
    ----------
    documents
        The database.
    calculation
        The calculation.
    lease
        That of the calculation: its previous owner may have recorded it, or a parent.
    root
        Folder of the directories.

    Raises
    ------
    NotReady
        If a parent has no usable record.
    EngineError
        If it falls with a parent that failed.
    """
    standing, generation = standing_above(documents, calculation)
    if standing.complete:
        return None
    without = failures(documents, calculation, standing.records)
    if KINDS[calculation.kind].falls_with_parent:
        _refuse_fallen(documents, calculation, standing.records, lease)
    if without is None:
        raise NotReady(f"{calculation.label}: a parent has no record that could be used yet.")
    if calculation.id in standing.stale:
        documents.supersede([calculation.id], standing.stale[calculation.id])
        generation += 1
    return Task(
        calculation=calculation,
        parents=_parents(calculation, standing.records, root),
        without=without,
        execution=lease.document.get("execution", {}),
        not_applicable=tuple(lease.document.get("not_applicable", ())),
        generation=generation,
    )


def refuse_old_recipe(calculation: Calculation) -> None:
    """Raise `OldRecipe` if the calculation's declaration means something else today."""
    kind, operation = calculation.kind, calculation.structure
    recipes = (KINDS[kind].recipe, start_structures.RECIPES[operation["op"]])
    planned_recipes = (calculation.recipe or KINDS[kind].recipe, operation["recipe"])
    if planned_recipes != recipes:
        raise OldRecipe(
            f"{calculation.label} ({calculation.id}) was planned by a sodiate with other recipes ({planned_recipes}, "
            f"now {recipes}); `sodiate run` on its campaign plans it anew."
        )


def _refuse_fallen(
    documents: Documents, calculation: Calculation, records: Mapping[str, Record], lease: Lease
) -> None:
    """Raise `EngineError`, as an attempt that failed, if a parent without a record has failed."""
    for role, parent in calculation.parents.items():
        reason = None if parent.id in records else failure(documents, parent)
        if reason is None:
            continue
        moment = as_text(lease.now())
        words = f"its {role}, {parent.label}, has failed"
        document = _attempt(calculation, lease, Owner.here()) | {
            "started": moment, "ended": moment, "outcome": "failed", "reason": words, "wall_time_s": 0.0
        }  # fmt: skip
        documents.attempts.insert_one(document)
        raise EngineError(f"{calculation.label}: {words}: {reason}")


def _attempt(calculation: Calculation, lease: Lease, owner: Owner) -> dict[str, Any]:
    """Return the document of an attempt: of what, by whom."""
    return {
        "_id": f"{calculation.id}-{lease.token}-{secrets.token_hex(3)}",
        "calculation": calculation.id,
        "label": calculation.label,
        "host": owner.host,
        "pid": owner.pid,
        "token": lease.token,
    }


def _parents(calculation: Calculation, records: Mapping[str, Record], root: Path) -> dict[str, Artefacts]:
    """Return the usable records of what a calculation is computed from, and the directories on this machine."""
    lowest = calculation.parents.get(LOWEST)
    choice = None if lowest is None or lowest.id not in records else records[lowest.id].choice
    found = sources(calculation, choice)
    directories = {role: root / parent.directory_name for role, parent in found.items()}
    return {
        role: Artefacts(records[parent.id], directories[role] if directories[role].is_dir() else None)
        for role, parent in found.items()
        if parent.id in records
    }


@dataclass
class Computation:
    """One calculation in its directory, with no database: prepare, run, collect."""

    task: Task
    worker: WorkerSettings
    stop: Stop
    firework_id: int | None
    clock: Callable[[], str] = now

    def __post_init__(self) -> None:
        self.calculation, self.parents = self.task.calculation, self.task.parents
        self.directory = self.worker.root.resolve() / self.calculation.directory_name
        self.started = self.clock()
        self.engine: Engine | None = None

    def cores(self) -> int | None:
        """Return on how many cores the code ran, if its outputs say so."""
        return None if self.engine is None else self.engine.cores(self.directory)

    def go(self) -> Computed:
        """Prepare the directory, run the code there or go on with its run, and collect.

        Raises
        ------
        Stopped
            If a stop was requested; the next launch continues.
        EngineError, WrongDirectory
            If the code failed, or its directory belongs to another calculation.
        """
        task = self.task
        settings = Settings(execution=task.execution, worker=self.worker.env)
        engine = self.engine = engine_of(self.calculation, settings, task.without)
        atoms = start_structures.start_atoms(
            self.calculation,
            {role: p.record.geometry.atoms() for role, p in self.parents.items() if p.record.geometry},
        )
        workdir = own_directory(self.directory.parent, self.calculation, atoms, task.generation)
        start = workdir.start
        moments = None if start is None else self._start_moments(len(start))
        if start is not None and moments is not None:
            start.set_initial_magnetic_moments(moments)
        if not self.worker.finished:
            engine.prepare(self.calculation, start, self.directory, self.parents)
            scratch = self.worker.env.get("scratch")
            with computing_in(self.directory, scratch) as place:
                engine.run(place, self.worker.limits, self.stop)
        outcome = engine.collect(self.directory)
        execution, idle = divided(settings.execution, engine.execution_keys(self.calculation))
        not_applicable = (*task.not_applicable, *idle)
        try:
            return Computed(self._record(outcome, engine, workdir, execution, not_applicable), outcome)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise EngineError(
                f"{self.directory}: {'.'.join(map(str, first['loc']))} is {first['input']!r} and no number that can "
                f"be recorded ({first['msg']}). Read the code's outputs there, and check the start geometry."
            ) from None

    def _start_moments(self, natoms: int) -> Any:
        """Return the start moments: at the end of a relaxation with spin those that it ended with, if it had some.

        Other moments may lead to another electronic state than that of the relaxation.
        """
        declared = start_structures.start_moments(self.calculation, natoms)
        relaxed = self._relaxed()
        if declared is None or relaxed is None or relaxed.final_moments_mub is None:
            return declared
        return scaled_moments(relaxed.final_moments_mub, relaxed.total_moment_mub)

    def _relaxed(self) -> Record | None:
        """Return the record of the relaxation at whose end this is a single point, or displaces atoms."""
        parent, kind = self.parents.get(GEOMETRY), self.calculation.kind
        return parent.record if parent is not None and (kind == "static" or KINDS[kind].displaces) else None

    def _record(
        self,
        outcome: Outcome,
        engine: Engine,
        workdir: Workdir,
        execution: Mapping[str, Any],
        not_applicable: Iterable[str],
    ) -> Record:
        forces = outcome.forces_ev_per_a
        return Record(
            calculation=self.calculation.id,
            label=self.calculation.label,
            kind=self.calculation.kind,
            engine=self.calculation.engine,
            physical=engine.physical and all(p.record.physical for p in self.parents.values()),
            energy_ev=outcome.energy_ev,
            free_energy_ev=outcome.free_energy_ev,
            max_force_ev_per_a=None if forces is None else float(np.linalg.norm(forces, axis=1).max()),
            geometry=None if outcome.atoms is None else Geometry.of(outcome.atoms),
            forces_ev_per_a=None if forces is None else tuple((f[0], f[1], f[2]) for f in forces.tolist()),
            stress_ev_per_a3=outcome.stress_ev_per_a3,
            start_moments_mub=outcome.start_moments_mub,
            final_moments_mub=outcome.final_moments_mub,
            total_moment_mub=outcome.total_moment_mub,
            method=outcome.method,
            sampling=outcome.sampling,
            not_applicable=tuple(not_applicable),
            vacuum_ev=outcome.vacuum_ev,
            basin_electrons=_in_basins(outcome),
            gap=None if outcome.bands is None else band_gap(outcome.bands),
            site=self._site(outcome.atoms),
            choice=outcome.choice,
            saddle=None if outcome.path is None else saddle_of(outcome.path, _masses(outcome.atoms)),
            vibrations=None
            if outcome.vibrations is None
            else vibrations_of(outcome.vibrations, _masses(outcome.atoms)),
            notes=(*outcome.notes, *_jumps(outcome, engine), *self._other_state(outcome)),
            input_digest=workdir.input_digest,
            parents=self.task.references,
            provenance=self._provenance(outcome, workdir, execution),
        )

    def _other_state(self, outcome: Outcome) -> list[str]:
        relaxed = self._relaxed()
        return [] if relaxed is None else other_state_notes(relaxed.total_moment_mub, outcome.total_moment_mub)

    def _site(self, final: Atoms | None) -> SiteChange | None:
        end = None if final is None else start_structures.site_reached(self.calculation, final)
        if end is None:
            return None
        return SiteChange(start=end.start, end=end.label, moved=end.moved, note=end.note)

    def _provenance(self, outcome: Outcome, workdir: Workdir, execution: Mapping[str, Any]) -> Provenance:
        finished = self.clock()
        return Provenance(
            versions=outcome.versions,
            host=Owner.here().host,
            directory=str(self.directory),
            firework_id=self.firework_id,
            command=outcome.command,
            execution=dict(execution),
            started=self.started,
            finished=finished,
            wall_time_s=seconds_between(self.started, finished),
            launches=workdir.launches,
            ionic_steps=outcome.ionic_steps,
            scf_steps=outcome.scf_steps,
            corrections=outcome.corrections,
        )


@dataclass
class _Run:
    """An attempt at a calculation, under a lease."""

    documents: Documents
    computation: Computation
    lease: Lease

    def __post_init__(self) -> None:
        self.calculation = self.computation.calculation
        self.begun = _attempt(self.calculation, self.lease, Owner.here())
        self.attempt: str = self.begun["_id"]

    def go(self) -> None:
        """Prepare, run, collect and record; write the outcome into the attempt, also after an error."""
        self._begin_attempt()
        try:
            computed = self.computation.go()
            self.documents.publish(self.lease, self.attempt, computed.record, computed.arrays)
        except Stopped as error:
            self._refuse_to_go_on()
            self._end_attempt("lost" if self._lease_is_lost() else "stopped", str(error))
            raise
        except LeaseLost as error:
            self._end_attempt("lost", str(error))
            raise
        except Killed as error:
            end = killed_end(self.computation, error)
            self._write_end(judged_kill(self.documents, self.calculation.id, self.attempt, end))
            raise
        except TooManySteps as error:  # `reconcile` goes on once it may take more
            self._end_attempt("failed", str(error), max_steps=error.max_steps)
            raise
        except SodiateError as error:
            self._refuse_to_go_on(error)
            self._end_attempt("failed", str(error))
            raise
        except Exception as error:
            raise self._unexpected(error) from error
        self._end_attempt("completed", None, computed.outcome)

    def _unexpected(self, error: Exception) -> Exception:
        """Write an error of nobody's into the attempt, and return what it means."""
        outage = outage_of(error)
        if outage is not None:  # not of the calculation, whose files stay; the next launch goes on
            self._lose(f"the database could not be reached: {str(outage).splitlines()[0]}")
            return outage
        self._refuse_to_go_on(error)
        reason = f"{type(error).__name__}: {error}"
        self._end_attempt("failed", reason)
        return EngineError(f"{self.calculation.label} failed in {self.computation.directory}: {reason}")

    def _refuse_to_go_on(self, error: Exception | None = None) -> None:
        """Raise what ends the whole run, and is no failure of the calculation: a full disk, a database that ended."""
        full = None if error is None else no_room(self.computation.directory, error)
        if full is not None:
            self.computation.worker.stop.request("the disk is full", error=full)
        cause = full or self.computation.stop.error
        if cause is not None:
            self._lose(str(cause))
            raise cause

    def _lose(self, reason: str) -> None:
        with _for_a_moment():
            self._end_attempt("lost", reason)

    def _begin_attempt(self) -> None:
        if self.lease.token > 1:  # under the lease, so that nobody works on one of them
            self.documents.close_attempts(self.calculation.id)
        self.documents.attempts.insert_one(
            {
                **self.begun,
                "firework_id": self.computation.firework_id,
                **asdict(self.computation.worker.account),
                "directory": str(self.computation.directory),
                "started": self.computation.started,
                "outcome": "running",
            }
        )

    def _end_attempt(
        self, outcome: str, reason: str | None, result: Outcome | None = None, max_steps: int | None = None
    ) -> None:
        more = {} if max_steps is None else {"max_steps": max_steps}
        self._write_end(attempt_end(self.computation, outcome, reason, result) | more)

    def _write_end(self, end: Mapping[str, Any]) -> None:
        self.documents.attempts.update_one({"_id": self.attempt}, {"$set": dict(end)})

    def _lease_is_lost(self) -> bool:
        try:
            return not self.documents.leases.renew(self.lease, Owner.here())
        except ConnectionFailure:  # nobody can tell
            return True


def attempt_end(
    computation: Computation, outcome: str, reason: str | None, result: Outcome | None = None
) -> dict[str, Any]:
    """Return what an attempt's document says at its end."""
    end = computation.clock()
    return {
        "outcome": outcome,
        "reason": reason,
        "ended": end,
        "wall_time_s": seconds_between(computation.started, end),
        "cores": computation.cores(),
        "ionic_steps": result.ionic_steps if result else None,
        "corrections": list(result.corrections) if result else [],
    }


def killed_end(computation: Computation, error: Killed) -> dict[str, Any]:
    """Return what an attempt's document says where the code was killed, for `judged_kill`."""
    progress = None if computation.engine is None else how_far(computation.engine, computation.directory)
    place = "" if progress is None else f"{progress.stage} {progress.step}"
    end = attempt_end(computation, "lost", str(error))
    return {**end, "killed_at": place, "out_of_memory": error.out_of_memory}


def judged_kill(documents: Documents, calculation: str, attempt: str, end: Mapping[str, Any]) -> dict[str, Any]:
    """Return the end of an attempt whose code was killed: no failure of it, unless that happens again and again.

    Parameters
    ----------
    documents
        The database.
    calculation, attempt
        Their ids.
    end
        From `killed_end`.
    """
    values = {key: value for key, value in end.items() if key != "out_of_memory"}
    most = _OUT_OF_MEMORY if end["out_of_memory"] else _KILLS
    before = documents.attempts.find({"calculation": calculation, "_id": {"$ne": attempt}})
    earlier = list(before.sort("started", -1).limit(most - 1))
    again = [one.get("killed_at") == end["killed_at"] and one["outcome"] == "lost" for one in earlier]
    if len(again) < most - 1 or not all(again):
        return values
    remedy = "give it more memory or fewer ranks, and retry" if end["out_of_memory"] else "find out why, and retry"
    reason = f"{end['reason']} That was so {most} times at the same step: {remedy}."
    return {**values, "outcome": "failed", "reason": reason}


def divided(execution: Mapping[str, Any], acting: frozenset[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Divide settings into those that act on a calculation and the names of those that are set but do not act."""
    settings = {key: value for key, value in execution.items() if key in acting}
    idle = sorted(key for key, value in execution.items() if key not in acting and value is not None)
    return settings, tuple(idle)


def seconds_between(start: str, end: str) -> float:
    """Return the seconds between two times, to a millisecond."""
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds(), 3)


def _masses(atoms: Atoms | None) -> list[float]:
    return [] if atoms is None else atoms.get_masses().tolist()


def _in_basins(outcome: Outcome) -> tuple[float, ...] | None:
    """Return the electrons in the basin of each atom of a density: archives leave its grid out."""
    if outcome.density is None or outcome.atoms is None:
        return None
    from ...analysis.electrons.bader import basin_electrons

    return tuple(basin_electrons(outcome.density, outcome.atoms.positions).tolist())


def _jumps(outcome: Outcome, engine: Engine) -> list[str]:
    """Return notes on steps in which the electrons changed their state; a dry potential has no electrons."""
    return jump_notes(outcome.trajectory) if engine.physical and outcome.trajectory is not None else []
