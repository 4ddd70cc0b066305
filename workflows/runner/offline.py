"""One calculation with no database: a sealed folder goes to a job, and comes back with what was computed in it.

The folder holds all that the calculation is computed from: its declaration, its parents' records and the files that
its engine reads of theirs, and the directory of the calculation with what earlier launches left. A seal (a checksum)
covers them, and the result names the seal that it was computed from. Like those of documents it is no secret: it
finds what a hand, a script or a disk changed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...analysis.arrays import ArrayRecord
from ...analysis.records import Record
from ...errors import SodiateError
from ..calculation import LOWEST, Calculation, sources
from ..database.documents import as_text, now, packed, rebuilt, unpacked
from ..database.lease import Owner
from ..database.seals import Altered, array_name, check_array, check_seal, sealed, sealed_record, to_record
from ..engines import engine_of
from ..engines.base import Artefacts, EngineError, Killed, Settings, Stopped, TooManySteps
from ..engines.shared.files import DAMAGE, fingerprint, read_json, write_bytes, write_json
from ..engines.shared.processes import locked
from ..kinds import array_names
from ..stop import Stop, meanwhile
from .run_calculation import (
    Computation,
    Computed,
    Task,
    WorkerSettings,
    attempt_end,
    killed_end,
    refuse_old_recipe,
    seconds_between,
)

FOLDERS = "offline"
"""Where the folders lie, below the root."""

STOP = "stop"
"""A file of this name asks the job to stop."""

TASK, BEGUN, RESULT = "task.json", "begun.json", "result.json"

_PARENTS, _ARRAYS, _ROOM = "parents", "arrays", "room"

_ROOM_BYTES = 65536
"""Is kept free, so that a job on a full disk can still say so."""

_LOOK_S = 5.0

_ATTEMPT = (
    *("host", "pid", "started", "ended", "wall_time_s", "outcome", "reason"),
    *("cores", "ionic_steps", "corrections"),
)
"""What a result says of its attempt."""

_PERHAPS = ("killed_at", "out_of_memory", "max_steps")
"""What it says of some: see `judged_kill`."""


@dataclass(frozen=True)
class Sealed:
    """What a folder says is to be computed: the task, the firework, its seal, and the digests of parents' files."""

    task: Task
    firework_id: int | None
    seal: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class Returned:
    """What came back in a folder.

    Attributes
    ----------
    attempt
        What the attempt's document says at its end: outcome, reason, host, times.
    record
        None unless it is completed.
    arrays
        To be kept beside the record, by name.
    """

    attempt: Mapping[str, Any]
    record: Record | None
    arrays: Mapping[str, ArrayRecord]


# -- on the login node: what goes into a folder


def seal(folder: Path, task: Task, firework_id: int | None) -> str:
    """Write into a folder what a calculation is computed from; return the seal.

    Parents' files are links where the file system has some, else copies.
    """
    engine = engine_of(task.calculation, Settings(execution=task.execution), task.without)
    files = {}
    directories = [parent.directory for parent in task.parents.values() if parent.directory is not None]
    for directory in directories:
        for name in engine.inherited_files:
            if (directory / name).is_file():
                path = Path(_PARENTS, directory.name, name)
                _link(directory / name, folder / path)
                files[path.as_posix()] = fingerprint(folder / path)
    records = {role: parent.record for role, parent in task.parents.items()}
    content = {
        "calculation": task.calculation.id,
        "graph": _graph(task.calculation),
        "records": {role: _document(record) for role, record in records.items()},
        "without": dict(task.without),
        "execution": dict(task.execution),
        "not_applicable": list(task.not_applicable),
        "generation": task.generation,
        "firework": firework_id,
        "files": files,
    }
    document = sealed(content)
    write_json(folder / TASK, document)
    return str(document["checksum"])


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _graph(calculation: Calculation) -> dict[str, Any]:
    """Return the declarations of a calculation and all its ancestors by id."""
    documents = {calculation.id: {"_id": calculation.id, "label": calculation.label, **calculation.declared()}}
    for parent in calculation.parents.values():
        documents |= _graph(parent)
    return documents


def _document(record: Record) -> dict[str, Any]:
    return sealed_record({**record.model_dump(mode="json"), "_id": record.calculation, "digest": record.digest})


# -- in the job


def unsealed(folder: Path, expected: str | None = None) -> Sealed:
    """Read what is to be computed in a folder.

    Parameters
    ----------
    folder
        The folder.
    expected
        The seal that it went out with, where that is known.

    Raises
    ------
    Altered
        If it is not what was sealed.
    """
    try:
        document = read_json(folder / TASK)
    except DAMAGE as error:
        raise Altered(f"{folder / TASK} cannot be read ({error})") from None
    try:
        checksum = check_seal(document)
    except Altered:
        raise Altered(f"{folder / TASK} is not what was sealed") from None
    if expected not in (None, checksum):
        raise Altered(f"{folder / TASK} is not the one that went out")
    try:
        return Sealed(_task(folder, document), document["firework"], checksum, document["files"])
    except (KeyError, TypeError, AttributeError) as error:
        raise Altered(f"{folder / TASK} is not of this sodiate: it has no usable {error}") from None


def _task(folder: Path, document: Mapping[str, Any]) -> Task:
    calculation = rebuilt(document["graph"])[document["calculation"]]
    records = {role: to_record(values) for role, values in document["records"].items()}
    known = sources(calculation, records[LOWEST].choice if LOWEST in records else None)
    parents = {}
    for role, record in records.items():
        directory = folder / _PARENTS / known[role].directory_name
        parents[role] = Artefacts(record, directory if directory.is_dir() else None)
    return Task(
        calculation=calculation,
        parents=parents,
        without=document["without"],
        execution=document["execution"],
        not_applicable=tuple(document["not_applicable"]),
        generation=document["generation"],
    )


def compute_sealed(folder: Path, worker: WorkerSettings) -> str:
    """Compute what lies in a folder, and leave the result there; return in words what became of it.

    Parameters
    ----------
    folder
        Sealed by `seal`.
    worker
        Settings of this process.

    Raises
    ------
    SodiateError
        If there is no such folder, it was changed, or another process computes there; then it has no result.
    OSError
        If the result cannot be written.
    """
    folder = folder.resolve()
    if not (folder / TASK).is_file():
        raise SodiateError(
            f"{folder}: there is nothing to compute: its calculation came back already, or was given to another job."
        )
    with locked(folder):
        if (folder / RESULT).exists():
            return "computed already, nothing to do"
        write_json(folder / BEGUN, {**_here(), "started": now()})
        write_bytes(folder / _ROOM, bytes(_ROOM_BYTES))
        try:
            given = unsealed(folder)
        except Altered as error:
            raise SodiateError(f"nothing is computed: {error}.") from None
        stop = Stop(above=worker.stop)
        with _watching(folder, stop):
            attempt, computed = _attempted(folder, given, replace(worker, root=folder), stop)
        return _leave(folder, given, attempt, computed)


def _here() -> dict[str, Any]:
    owner = Owner.here()
    return {"host": owner.host, "pid": owner.pid}


def _attempted(
    folder: Path, given: Sealed, worker: WorkerSettings, stop: Stop
) -> tuple[dict[str, Any], Computed | None]:
    """Compute; return what the attempt's document says at its end, and what was computed if it is complete."""
    computation = Computation(given.task, worker, stop, given.firework_id)

    def ended(outcome: str, reason: str | None, computed: Computed | None = None) -> dict[str, Any]:
        end = attempt_end(computation, outcome, reason, None if computed is None else computed.outcome)
        return {**_here(), "started": computation.started, **end}

    try:
        refuse_old_recipe(given.task.calculation)
        _check_files(folder, given)
        computed = computation.go()
    except Stopped as error:
        return ended("stopped", str(error)), None
    except Killed as error:
        return {**ended("lost", str(error)), **killed_end(computation, error)}, None
    except TooManySteps as error:
        return {**ended("failed", str(error)), "max_steps": error.max_steps}, None
    except SodiateError as error:
        return ended("failed", str(error)), None
    except Exception as error:
        return ended("failed", f"{type(error).__name__}: {error}"), None
    return ended("completed", None, computed), computed


def _check_files(folder: Path, given: Sealed) -> None:
    for name, digest in given.files.items():
        if not (folder / name).is_file() or fingerprint(folder / name) != digest:
            raise EngineError(f"{folder / name} is not the parent's file that was sealed.")


def _leave(folder: Path, given: Sealed, attempt: Mapping[str, Any], computed: Computed | None) -> str:
    """Write the result; where there is no room for it, that it failed."""
    try:
        values = {"task": given.seal, "attempt": dict(attempt), "record": None, "arrays": {}}
        if computed is not None:
            values |= {"record": _document(computed.record), "arrays": _write_arrays(folder, computed.arrays)}
        write_json(folder / RESULT, sealed(values))
    except (OSError, Altered) as error:
        attempt = {**attempt, "outcome": "failed", "reason": f"{folder}: the result cannot be written: {error}"}
        (folder / _ROOM).unlink(missing_ok=True)
        write_json(folder / RESULT, sealed({"task": given.seal, "attempt": attempt, "record": None, "arrays": {}}))
    (folder / _ROOM).unlink(missing_ok=True)
    return f"{attempt['outcome']}: {attempt['reason']}" if attempt["reason"] else str(attempt["outcome"])


def _write_arrays(folder: Path, arrays: Mapping[str, ArrayRecord]) -> dict[str, str]:
    names = {}
    (folder / _ARRAYS).mkdir(exist_ok=True)
    for name, array in arrays.items():
        content = packed(array)
        names[name] = array_name("array", name, content)
        write_bytes(folder / _ARRAYS / names[name], content)
    return names


@contextmanager
def _watching(folder: Path, stop: Stop) -> Iterator[None]:
    """Request a stop as soon as the folder says so, or is taken away."""

    def look() -> bool:
        with suppress(OSError):
            if (folder / STOP).exists() or not (folder / TASK).exists():
                stop.request("it was cancelled, or given to another")
                return True
        return False

    with meanwhile(look, _LOOK_S, "folder"):
        yield


# -- on the login node: what came back


def returned(folder: Path, seal: str) -> Returned | None:
    """Read what came back in a folder; None if there is no result.

    Parameters
    ----------
    folder
        The folder.
    seal
        The seal that it went out with.

    Raises
    ------
    Altered
        If anything is not as it was sealed, or as the job wrote it; the message is a clause.
    """
    if not folder.is_dir():
        return None
    given = unsealed(folder, seal)
    if not (folder / RESULT).exists():
        return None
    try:
        document = read_json(folder / RESULT)
        check_seal(document)
        if document["task"] != seal:
            raise Altered("it was computed from another task")
        record = None if document["record"] is None else to_record(document["record"])
        arrays = {name: _array(folder, name, file) for name, file in document["arrays"].items()}
        attempt = {key: document["attempt"][key] for key in _ATTEMPT}
        attempt |= {key: document["attempt"][key] for key in _PERHAPS if key in document["attempt"]}
    except DAMAGE as error:
        raise Altered(f"{folder / RESULT}: it cannot be read ({error})") from None
    except Altered as error:
        raise Altered(f"{folder / RESULT}: {error}") from None
    if record is not None:
        _check_record(folder, given.task, record)
    outcomes = ("failed", "stopped", "lost") if record is None else ("completed",)
    if attempt["outcome"] not in outcomes:
        raise Altered(f"{folder / RESULT}: it says {attempt['outcome']!r}, which its record does not")
    return Returned(attempt, record, arrays)


def _array(folder: Path, name: str, file: str) -> ArrayRecord:
    path = folder / _ARRAYS / file
    if name not in array_names() or Path(file).name != file:
        raise Altered(f"it names no array of sodiate's: {name}")
    content = path.read_bytes()
    try:
        check_array(file, content)
        return unpacked(name, content)
    except Altered as error:
        raise Altered(f"its {name}, {path}: {error}") from None


def _check_record(folder: Path, task: Task, record: Record) -> None:
    """Refuse a record that is of something else than what went out."""
    calculation = task.calculation
    expected = (calculation.id, calculation.label, calculation.kind, calculation.engine, task.references)
    if (record.calculation, record.label, record.kind, record.engine, record.parents) != expected:
        raise Altered(f"{folder / RESULT}: its record is of another calculation, or of other parents")


def begun(folder: Path) -> Mapping[str, Any] | None:
    """Return host, process and time of a job that began in a folder; None if none did."""
    try:
        values = read_json(folder / BEGUN)
        return {key: values[key] for key in ("host", "pid", "started")}
    except DAMAGE:
        return None


def lasted(folder: Path, directory: str, begin: Mapping[str, Any]) -> dict[str, Any]:
    """Return the end of a job that began and left no result, the time of its last file, and its wall time."""
    times = [path.stat().st_mtime for path in (folder / directory).rglob("*") if path.is_file()]
    times.append((folder / BEGUN).stat().st_mtime)
    last = as_text(datetime.fromtimestamp(max(times), UTC))
    return {"ended": last, "wall_time_s": max(0.0, seconds_between(begin["started"], last))}
