"""Archives: a folder of plain files that carries campaigns and records between machines, and into a paper.

``archive.json`` names the schema; each collection is a file of JSON lines, each array an npz file (except density
grids, which are left out), and ``checkpoints`` has the files from which engines continue unfinished calculations.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from pydantic import ValidationError

from ...analysis.records import SCHEMA_VERSION
from ...errors import SodiateError
from ...version import __version__
from ..database.documents import Documents, to_record
from ..database.lease import Cancelled, LeaseHeld, Owner
from ..engines import engine_of
from ..engines.base import Settings
from ..kinds import left_out
from ..runner.workdir import CLAIM

INDEX = "archive.json"
COLLECTIONS = ("calculations", "campaigns", "attempts", "records")

PAGE = "report.html"
"""The page of `sodiate report`, which may lie in the folder of an archive."""

OWN = {INDEX, "arrays", "checkpoints", *(f"{name}.jsonl" for name in COLLECTIONS)}
"""The parts of an archive: an export replaces only these."""

_HIDDEN = {"calculations": {"lease": 0, "cancelled": 0}, "campaigns": {"_id": 0}}


class ArchiveError(SodiateError):
    """A folder is not an archive that this sodiate can read, or cannot become one."""


_ARRAY = re.compile(r"[0-9a-z-]+")
"""Names of arrays, which are file names in an archive and must not be paths."""


class FolderArrays:
    """The arrays of an archive, with the reading methods of GridFS."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def exists(self, identifier: str) -> bool:
        """Tell whether an array exists."""
        return (self.folder / f"{identifier}.npz").exists()

    def get(self, identifier: str) -> io.BytesIO:
        """Return the npz file of an array."""
        path = self.folder / f"{identifier}.npz"
        try:
            return io.BytesIO(path.read_bytes())
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {error.strerror}.") from None


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
        counts = {name: _write_lines(documents, name, partial, root) for name in COLLECTIONS}
        for document in documents.records.find({}, {"arrays": 1}):
            for identifier in _exported_arrays(document):
                (partial / "arrays" / f"{identifier}.npz").write_bytes(documents.array_bytes(identifier))
        checkpoints = sum(_copy_checkpoint(documents, i, root, partial) for i in _unfinished(documents))
        index = {
            "schema_version": SCHEMA_VERSION,
            "sodiate": __version__,
            "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        (partial / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        if (folder / PAGE).exists():
            shutil.copyfile(folder / PAGE, partial / PAGE)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise ArchiveError(f"{folder}: cannot be written: {error.strerror}.") from None
    return ArchiveCounts(counts["campaigns"], counts["records"], checkpoints)


def _exported_arrays(document: Mapping[str, Any]) -> list[str]:
    """Return the arrays of a record's document that an archive holds."""
    return [identifier for name, identifier in document["arrays"].items() if name not in left_out()]


def _write_lines(documents: Documents, name: str, folder: Path, root: Path) -> int:
    """Write a collection and return the number of its documents; make paths below the root relative to it."""
    prefix = json.dumps(f"{root.resolve()}/")[1:-1]
    query: dict[str, Any] = {"state": {"$ne": "unpublished"}} if name == "records" else {}
    matches = documents.db[name].find(query, _HIDDEN.get(name))
    lines = sorted(json.dumps(document, sort_keys=True).replace(prefix, "") for document in matches)
    (folder / f"{name}.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return len(lines)


def _unfinished(documents: Documents) -> Iterable[str]:
    finished = set(documents.records.distinct("calculation", {"state": "current"}))
    return [d["_id"] for d in documents.calculations.find({}, {"_id": 1}) if d["_id"] not in finished]


def _copy_checkpoint(documents: Documents, identifier: str, root: Path, folder: Path) -> bool:
    """Copy the checkpoint of a calculation; return whether it has one."""
    calculation = documents.calculation(identifier)
    directory = root / calculation.directory_name
    names = (CLAIM, *engine_of(calculation, Settings()).checkpoint_files)
    files = [path for name in names for path in directory.glob(name)]
    if files:
        target = folder / "checkpoints" / directory.name
        target.mkdir(parents=True)
        for path in files:
            shutil.copy2(path, target / path.name)
    return bool(files)


def _read_index(folder: Path) -> None:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        version = int(index["schema_version"])
    except FileNotFoundError:
        raise ArchiveError(f"{folder} is no archive of sodiate: it has no {INDEX}.") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ArchiveError(f"{folder / INDEX} is damaged.") from None
    if version > SCHEMA_VERSION:
        raise ArchiveError(
            f"{folder} is an archive of schema {version}; this sodiate knows schema {SCHEMA_VERSION} and older. "
            "Update sodiate (pip install --upgrade sodiate)."
        )


def _read_lines(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / f"{name}.jsonl"
    documents: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                document = json.loads(line)
                if not isinstance(document, dict):
                    raise ValueError("it is no object")
                documents.append(document)
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise ArchiveError(f"{path}, line {len(documents) + 1}, is damaged: {error}.") from None
    return documents


def open_archive(folder: Path) -> Documents:
    """Return an archive as documents in memory, to be read like a database.

    Raises
    ------
    ArchiveError
        If the folder is no archive, or the archive has a newer schema or is damaged.
    """
    import mongomock
    from pymongo.errors import BulkWriteError

    _read_index(folder)
    db: Any = mongomock.MongoClient()["archive"]
    for name in COLLECTIONS:
        lines = _read_lines(folder, name)
        try:
            if lines:
                db[name].insert_many(lines)
        except BulkWriteError:
            raise ArchiveError(f"{folder / name}.jsonl is damaged: it has a document twice.") from None
    documents = Documents(db, files=FolderArrays(folder / "arrays"))
    _check_documents(documents, folder)
    _check_references(documents, folder)
    return documents


def _check_documents(documents: Documents, folder: Path) -> None:
    """Refuse an archive with a document that was changed or cannot be read."""
    name = "campaigns"
    try:
        entries = documents.entries()
        name = "calculations"
        documents.graph(
            [d["_id"] for d in documents.calculations.find({}, {"_id": 1})] + [i for e in entries for i in e.ids]
        )
        name = "records"
        for document in documents.records.find():
            record = to_record(document)
            if record.schema_version == SCHEMA_VERSION and record.digest != document["digest"]:
                raise SodiateError(f"{record.label}: the values of record {document['_id']} were changed.")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArchiveError(f"{folder / name}.jsonl is damaged: {where}: {first['msg']}.") from None
    except KeyError as error:
        raise ArchiveError(f"{folder / name}.jsonl is damaged: a document has no {error}.") from None
    except (SodiateError, TypeError, AttributeError) as error:
        raise ArchiveError(f"{folder / name}.jsonl is damaged: {error}") from None


def _check_references(documents: Documents, folder: Path) -> None:
    """Refuse an archive that lacks a record or an array which its documents name."""
    records = list(documents.records.find())
    missing = set(documents.calculations.distinct("record")) - {None, *(d["_id"] for d in records)}
    if missing:
        raise ArchiveError(f"{folder / 'records.jsonl'} is damaged: it lacks {', '.join(sorted(missing))}.")
    for identifier in (i for document in records for i in document["arrays"].values()):
        if not _ARRAY.fullmatch(identifier):
            raise ArchiveError(f"{folder / 'records.jsonl'} is damaged: {identifier!r} names no array.")
    for identifier in (i for document in records for i in _exported_arrays(document)):
        path = folder / "arrays" / f"{identifier}.npz"
        if not is_zipfile(path):
            raise ArchiveError(f"{path} is {'damaged' if path.exists() else 'missing'}.")


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
    present = set(documents.records.distinct("calculation", {"state": "current"}))
    for document in source.calculations.find({}, {"record": 0, "token": 0}):
        documents.calculations.update_one({"_id": document["_id"]}, {"$setOnInsert": document}, upsert=True)
    for document in source.records.find():
        if document["state"] != "current":
            _import_arrays(documents, source, document)
            documents.records.update_one({"_id": document["_id"]}, {"$setOnInsert": document}, upsert=True)
        elif document["calculation"] not in present:
            _import_record(documents, source, document)
    for document in source.attempts.find():
        documents.attempts.update_one({"_id": document["_id"]}, {"$setOnInsert": document}, upsert=True)
    entries = [documents.add_entry(entry) for entry in source.entries()]
    records = len(set(documents.records.distinct("calculation", {"state": "current"})) - present)
    checkpoints = sum(_import_checkpoint(path, root) for path in sorted((folder / "checkpoints").glob("*")))
    return ArchiveCounts(len(entries), records, checkpoints)


def _import_record(documents: Documents, source: Documents, document: Mapping[str, Any]) -> None:
    """Publish a record as if it had been computed here, under a lease; skip it if another process computes it."""
    try:
        lease = documents.leases.claim(document["calculation"], Owner.here())
    except (LeaseHeld, Cancelled):
        return
    try:
        if documents.record(document["calculation"]) is None:
            _import_arrays(documents, source, document)
            documents.publish_document(lease, document)
    finally:
        documents.leases.release(lease)


def _import_arrays(documents: Documents, source: Documents, document: Mapping[str, Any]) -> None:
    for array in _exported_arrays(document):
        documents.put_bytes(array, source.array_bytes(array))


def _import_checkpoint(path: Path, root: Path) -> bool:
    """Copy a checkpoint to the directory of its calculation, unless that exists; return whether it was copied."""
    target = root / path.name
    if target.exists():
        return False
    root.mkdir(parents=True, exist_ok=True)
    shutil.copytree(path, target)
    return True
