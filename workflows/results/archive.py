"""Archives: a folder of plain files that carries campaigns and records between machines, and into a paper.

``archive.json`` names the schema; each collection is a file of JSON lines, each array an npz file (except density
grids, which are left out), and ``checkpoints`` has the files from which engines continue unfinished calculations.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ...analysis.records import SCHEMA_VERSION
from ...errors import SodiateError
from ...version import __version__
from ..calculation import Calculation
from ..database.documents import Documents
from ..database.lease import Cancelled, LeaseHeld, Owner
from ..database.seals import resealed, to_record
from ..engines import engine_of
from ..engines.base import Settings
from ..runner.workdir import CLAIM
from .archive_checks import (
    INDEX,
    ArchiveError,
    FolderArrays,
    check_archive,
    exported_arrays,
    read_index,
    read_lines,
)

COLLECTIONS = ("calculations", "campaigns", "attempts", "records")

PAGE = "report.html"
"""The page of `sodiate report`, which may lie in the folder of an archive."""

OWN = {INDEX, "arrays", "checkpoints", *(f"{name}.jsonl" for name in COLLECTIONS)}
"""The parts of an archive: an export replaces only these."""

_DIRECTORY = re.compile(r'"directory": "(/(?:[^"/]+/)*)[^"/]+-[0-9a-f]{16}"')
"""Where the directory of a calculation lies."""

_HIDDEN = {"calculations": {"lease": 0, "last_heartbeat": 0, "cancelled": 0}, "campaigns": {"_id": 0}}


@dataclass(frozen=True)
class ArchiveCounts:
    """The numbers of documents and checkpoints that an export wrote or an import added."""

    campaigns: int
    records: int
    checkpoints: int


def export_archive(documents: Documents, root: Path, folder: Path) -> ArchiveCounts:
    """Write sodiate's part of the database into a folder.

    Parameters
    ----------
    documents
        The database.
    root
        Folder of the calculations' directories, for the checkpoints of unfinished calculations.
    folder
        New, empty, or an earlier archive; a report in it stays.

    Raises
    ------
    ArchiveError
        If the folder has other files or cannot be written.
    """
    if folder.is_file():
        raise ArchiveError(f"{folder} is a file; an archive is a folder.")
    if folder.exists():
        names = {path.name for path in folder.iterdir()}
        foreign = sorted(names - OWN - {PAGE} if INDEX in names else names)
        if foreign:
            raise ArchiveError(f"{folder} holds other files ({', '.join(foreign[:3])}); name a new folder.")
    documents.settle()
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / "arrays").mkdir(parents=True)
        excluded = _altered_records(documents)
        counts = {name: _write_lines(documents, name, partial, root, excluded) for name in COLLECTIONS}
        for document in documents.records.find(_published(excluded), {"arrays": 1}):
            for identifier in exported_arrays(document):
                (partial / "arrays" / f"{identifier}.npz").write_bytes(documents.array_bytes(identifier))
        checkpoints = sum(_copy_checkpoint(documents, i, root, partial) for i in _unfinished(documents))
        index = {
            "schema_version": SCHEMA_VERSION,
            "sodiate": __version__,
            "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        (partial / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        if (folder / PAGE).is_file() and not (folder / PAGE).is_symlink():
            shutil.copyfile(folder / PAGE, partial / PAGE)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        raise ArchiveError(f"{folder}: cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return ArchiveCounts(counts["campaigns"], counts["records"], checkpoints)


def _published(excluded: Iterable[str]) -> dict[str, Any]:
    """Return the query for the records that an archive holds."""
    return {"state": {"$ne": "unpublished"}, "_id": {"$nin": sorted(excluded)}}


def _write_lines(documents: Documents, name: str, folder: Path, root: Path, excluded: Iterable[str]) -> int:
    """Write a collection and return the number of its documents; make paths relative to the root.

    That may be another one than the calculation ran in: a root can be moved, and a database can have several.
    """
    prefix = json.dumps(f"{root.resolve()}/")[1:-1]
    query = _published(excluded) if name == "records" else {}
    lines = []
    for document in documents.db[name].find(query, _HIDDEN.get(name)):
        line = json.dumps(document, sort_keys=True)
        relative = line
        for path in sorted({prefix, *_DIRECTORY.findall(line)}, key=len, reverse=True):
            relative = relative.replace(path, "")
        if relative != line:
            line = json.dumps(resealed(name, json.loads(relative)), sort_keys=True)
        lines.append(line)
    lines.sort()
    (folder / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return len(lines)


def _altered_records(documents: Documents) -> set[str]:
    """Return the superseded records that were changed in the database, for which an archive has no use.

    Raises
    ------
    ArchiveError
        If a current record was changed.
    """
    excluded = set()
    for document in documents.records.find({"state": {"$ne": "unpublished"}}):
        try:
            to_record(document)
            if document["state"] == "superseded":
                for identifier in exported_arrays(document):
                    documents.array_bytes(identifier)
        except SodiateError as error:
            if document["state"] == "current":
                raise ArchiveError(
                    f"{document.get('label')}: its record {document['_id']} was changed in the database: {error}. "
                    "Before it is exported, restore it (`sodiate import` of an older archive) or compute it anew "
                    "(`sodiate run`)."
                ) from None
            excluded.add(document["_id"])
    return excluded


def _unfinished(documents: Documents) -> Iterable[str]:
    finished = set(documents.records.distinct("calculation", {"state": "current"}))
    return [d["_id"] for d in documents.calculations.find({}, {"_id": 1}) if d["_id"] not in finished]


def _copy_checkpoint(documents: Documents, identifier: str, root: Path, folder: Path) -> bool:
    """Copy the checkpoint of a calculation; return whether it has one."""
    calculation = documents.calculation(identifier)
    directory = root / calculation.directory_name
    names = (CLAIM, *engine_of(calculation, Settings()).checkpoint_files)
    files = [path for name in names for path in directory.glob(name) if path.is_file()]
    if files:
        target = folder / "checkpoints" / directory.name
        target.mkdir(parents=True)
        for path in files:
            shutil.copy2(path, target / path.name)
    return bool(files)


def open_archive(folder: Path) -> Documents:
    """Return an archive as documents in memory, to be read like a database.

    Raises
    ------
    ArchiveError
        If the folder is no archive, or the archive has a newer schema or is damaged.
    """
    import mongomock
    from pymongo.errors import BulkWriteError

    read_index(folder)
    db: Any = mongomock.MongoClient()["archive"]
    for name in COLLECTIONS:
        lines = read_lines(folder, name)
        try:
            if lines:
                db[name].insert_many(lines)
        except BulkWriteError:
            raise ArchiveError(f"{folder / name}.jsonl is damaged: it has a document twice.") from None
    documents = Documents(db, files=FolderArrays(folder / "arrays"))
    check_archive(documents, folder)
    return documents


def import_archive(documents: Documents, root: Path, folder: Path) -> ArchiveCounts:
    """Add an archive to a database; existing documents stay as they are.

    Parameters
    ----------
    documents
        The database, initialised.
    root
        Folder of the calculations' directories, for the checkpoints of unfinished calculations.
    folder
        The archive.

    Raises
    ------
    ArchiveError
        If the folder is no archive, or the archive has a newer schema or is damaged; then nothing is written.
    """
    source = open_archive(folder)
    present = set(documents.current())
    graph = source.graph([document["_id"] for document in source.calculations.find({}, {"_id": 1})])
    for document in source.calculations.find():
        own = {key: document[key] for key in ("execution", "not_applicable") if key in document}
        declared = {"label": document["label"], **graph[document["_id"]].declared()}
        documents.calculations.update_one({"_id": document["_id"]}, {"$setOnInsert": declared | own}, upsert=True)
    for document in source.records.find():
        if document["state"] != "current":
            _import_arrays(documents, source, document)
            documents.records.update_one({"_id": document["_id"]}, {"$setOnInsert": document}, upsert=True)
        elif document["calculation"] not in present:
            _import_record(documents, source, document)
    for document in source.attempts.find():
        documents.attempts.update_one({"_id": document["_id"]}, {"$setOnInsert": document}, upsert=True)
    entries = [documents.add_entry(entry) for entry in source.entries()]
    records = len(set(documents.current()) - present)
    checkpoints = sum(_import_checkpoint(documents, calculation, folder, root) for calculation in graph.values())
    return ArchiveCounts(len(entries), records, checkpoints)


def _import_record(documents: Documents, source: Documents, document: Mapping[str, Any]) -> None:
    """Publish a record as if it had been computed here, under a lease; skip it if another process computes it.

    It replaces one that was changed in the database.
    """
    try:
        lease = documents.leases.claim(document["calculation"], Owner.here())
    except (LeaseHeld, Cancelled):
        return
    try:
        if documents.record(document["calculation"]) is None:
            documents.supersede([document["calculation"]], "changed in the database; restored from an archive")
            _import_arrays(documents, source, document)
            documents.publish_document(lease, document)
    finally:
        documents.leases.release(lease)


def _import_arrays(documents: Documents, source: Documents, document: Mapping[str, Any]) -> None:
    for array in exported_arrays(document):
        documents.put_bytes(array, source.array_bytes(array))


def _import_checkpoint(documents: Documents, calculation: Calculation, folder: Path, root: Path) -> bool:
    """Copy the checkpoint of a calculation to its directory, unless that exists; return whether it was copied.

    Only the files from which its engine continues are copied.
    """
    path = folder / "checkpoints" / calculation.directory_name
    if not path.is_dir():
        return False
    target = root / documents.calculation(calculation.id).directory_name  # which may have another name here
    if target.exists():
        return False
    patterns = (CLAIM, *engine_of(calculation, Settings()).checkpoint_files)
    target.mkdir(parents=True)
    for file in path.iterdir():
        if any(fnmatchcase(file.name, pattern) for pattern in patterns):
            shutil.copy2(file, target / file.name, follow_symlinks=False)
    return True
