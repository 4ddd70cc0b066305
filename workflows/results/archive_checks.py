"""What an archive may hold: its files read, and everything in them checked before any of it is used.

Archives come from other people: no link in one is followed, no name leads out of it, and its values are those that
were exported, or it is refused.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

from ...analysis.records import SCHEMA_VERSION, one_line
from ...errors import SodiateError
from ..campaign.strict_json import read_json
from ..database.documents import Documents
from ..database.seals import Altered, known_schema, to_entry, to_record
from ..kinds import left_out

INDEX = "archive.json"


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
        refuse_links(path)
        try:
            return io.BytesIO(path.read_bytes())
        except OSError as error:
            raise ArchiveError(f"{path} cannot be read: {error.strerror}.") from None


def exported_arrays(document: Mapping[str, Any]) -> list[str]:
    """Return the arrays of a record's document that an archive holds."""
    return [identifier for name, identifier in document["arrays"].items() if name not in left_out()]


def _read_text(path: Path) -> str:
    refuse_links(path)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ArchiveError(f"{path} is damaged: it is no text in UTF-8.") from None


def refuse_links(path: Path) -> None:
    """Refuse what is neither a file nor a folder of the archive: a link may lead anywhere, a pipe never ends."""
    if path.is_symlink() or (path.exists() and not path.is_file() and not path.is_dir()):
        raise ArchiveError(
            f"{path} is a link, a pipe or a device; an archive has files and folders of its own alone."
        )


def read_index(folder: Path) -> None:
    """Check that a folder is an archive of a schema that this sodiate knows.

    Raises
    ------
    ArchiveError
        If it is none.
    """
    path = folder / INDEX
    if not path.exists():
        raise ArchiveError(f"{folder} is no archive of sodiate: it has no {INDEX}.")
    try:
        version = read_json(_read_text(path))["schema_version"]
    except (ValueError, KeyError, TypeError):
        raise ArchiveError(f"{path} is damaged.") from None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ArchiveError(
            f"{folder} is an archive of schema {version}; this sodiate knows schema {SCHEMA_VERSION} and older. "
            "Update sodiate (pip install --upgrade sodiate)."
        )
    if not known_schema(version, SCHEMA_VERSION):
        raise ArchiveError(f"{path} is damaged: no sodiate wrote an archive of schema {version!r}.")


def read_lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """Return the documents of one collection.

    Raises
    ------
    ArchiveError
        Naming the file and the line that is none.
    """
    path = folder / f"{name}.jsonl"
    documents: list[dict[str, Any]] = []
    text = _read_text(path)
    # A line that was cut short has no end, and is read so that it is told.
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
        try:
            document = read_json(line)
            if not isinstance(document, dict):
                raise ValueError("it is no object")
            if name != "campaigns" and not isinstance(document.get("_id"), str):
                raise ValueError("it has no _id")
        except ValueError as error:
            raise ArchiveError(f"{path}, line {number}, is damaged: {error}.") from None
        documents.append(document)
    return documents


def check_archive(documents: Documents, folder: Path) -> None:
    """Refuse an archive in which a document was changed, or names one or an array that is not there."""
    for name, check in {
        "campaigns": _check_campaigns,
        "calculations": _check_calculations,
        "attempts": _check_attempts,
        "records": _check_records,
    }.items():
        try:
            check(documents)
        except KeyError as error:
            raise ArchiveError(f"{folder / name}.jsonl is damaged: a document has no {error}.") from None
        except (SodiateError, TypeError, AttributeError, ValueError) as error:
            raise ArchiveError(f"{folder / name}.jsonl is damaged: {error}") from None
    for path in (folder / "arrays", folder / "checkpoints"):
        refuse_links(path)
    for document in documents.records.find():
        for identifier in exported_arrays(document):
            path = folder / "arrays" / f"{identifier}.npz"
            refuse_links(path)
            if not is_zipfile(path):
                raise ArchiveError(f"{path} is {'damaged' if path.exists() else 'missing'}.")
            try:
                documents.array_bytes(identifier)
            except SodiateError:
                raise ArchiveError(f"{path} is damaged: it is not what was stored.") from None
    _check_checkpoints(documents, folder / "checkpoints")


def _check_campaigns(documents: Documents) -> None:
    for document in documents.campaigns.find():
        try:
            to_entry(document)
        except Altered as error:
            raise SodiateError(f"campaign {document.get('campaign')!r} was changed: {error}.") from None


def _check_calculations(documents: Documents) -> None:
    known = [document["_id"] for document in documents.calculations.find({}, {"_id": 1})]
    documents.graph([*known, *(identifier for entry in documents.entries() for identifier in entry.ids)])


def _check_attempts(documents: Documents) -> None:
    for document in documents.attempts.find():
        for key in ("_id", "calculation", "label", "host", "directory", "started", "outcome"):
            one_line(_text(document, key))
        seconds = document.get("wall_time_s")
        if seconds is not None and not isinstance(seconds, int | float):
            raise ValueError(f"attempt {document['_id']}: wall_time_s: {seconds!r} is no number.")
        if document.get("ended") is not None:
            datetime.fromisoformat(_text(document, "ended"))
        cores = document.get("cores")
        if cores is not None and (not isinstance(cores, int) or isinstance(cores, bool) or cores < 1):
            raise ValueError(f"attempt {document['_id']}: cores: {cores!r} is no number of cores.")


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document[key]
    if not isinstance(value, str):
        raise TypeError(f"{document['_id']}: {key}: {value!r} is no text.")
    return value


def _check_array_names(document: Mapping[str, Any]) -> None:
    for identifier in document["arrays"].values():
        if not isinstance(identifier, str) or not _ARRAY.fullmatch(identifier):
            raise SodiateError(f"{document.get('label')}: {identifier!r} names no array.")


def _check_records(documents: Documents) -> None:
    known = {document["_id"]: document for document in documents.calculations.find({}, {"label": 1, "record": 1})}
    records, current = set(), set()
    for document in documents.records.find():
        _check_array_names(document)
        try:
            record = to_record(document)
        except Altered as error:
            label = document.get("label")
            raise SodiateError(f"{label}: the values of record {document['_id']} were changed: {error}.") from None
        if record.calculation not in known:
            raise SodiateError(f"{record.label}: the archive lacks its calculation, {record.calculation}.")
        if document["state"] not in ("current", "superseded"):
            raise SodiateError(f"{record.label}: a record is current or superseded, not {document['state']!r}.")
        if document["state"] == "current" and record.calculation in current:
            raise SodiateError(f"{record.label}: it has two current records, {document['_id']} and another.")
        records.add(document["_id"])
        if document["state"] == "current":
            current.add(record.calculation)
    missing = {document["record"] for document in known.values() if document.get("record")} - records
    if missing:
        raise SodiateError(f"it lacks {', '.join(sorted(missing))}.")


def _check_checkpoints(documents: Documents, folder: Path) -> None:
    """Refuse checkpoints of no calculation here, and anything in them that is no plain file."""
    if not folder.exists():
        return
    identifiers = [document["_id"] for document in documents.calculations.find({}, {"_id": 1})]
    known = {calculation.directory_name for calculation in documents.graph(identifiers).values()}
    for path in folder.iterdir():
        refuse_links(path)
        if path.name not in known or not path.is_dir():
            raise ArchiveError(f"{path} is the checkpoint of no calculation in the archive.")
        for file in path.iterdir():
            refuse_links(file)
            if not file.is_file():
                raise ArchiveError(f"{file} is a folder; checkpoints are files.")
