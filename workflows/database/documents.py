"""The collections beside FireWorks' own: calculations, campaigns, attempts, records; arrays in GridFS.

docs/database.md describes each document.
"""

from __future__ import annotations

import io
import re
import secrets
import zlib
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np

from ...analysis.arrays import ArrayRecord, from_arrays, to_arrays
from ...analysis.campaign_entry import CampaignEntry
from ...analysis.records import Record, one_line
from ...errors import SodiateError
from ..calculation import Calculation
from ..campaign.yaml import InputError, nearest
from ..kinds import KINDS, left_out
from .lease import Lease, LeaseLost, Leases
from .seals import Altered, array_name, check_array, sealed_campaign, sealed_record, to_entry, to_record

_NO_REVISION = float("inf")

_CHUNK_BYTES = 255 * 1024
"""Of GridFS."""

_DEEPEST = 50
"""Generations of a graph; those that are planned have five."""

RESERVATION = "reservation without a job"
"""Begins what was seen of a calculation that is reserved for nobody; see `Documents.unchanged_s`."""

_PLAN_AGAIN = "`sodiate run` with the campaign's file puts it right."

_REMEDY = "`sodiate import` of an archive restores it, `sodiate run` computes it anew"


@dataclass(frozen=True)
class CurrentRecords:
    """Current records by calculation, and for each calculation whose record may not be used, why."""

    records: dict[str, Record]
    unusable: dict[str, str]


class StorablePlan(Protocol):
    """The parts of a plan that `Documents.add_plan` uses; plans belong to a room above this one."""

    @property
    def calculations(self) -> Iterable[Calculation]:
        """Every calculation once."""

    @property
    def not_applicable(self) -> Iterable[str]:
        """Keys of the protocol that the engine ignores."""

    def execution(self, calculation: Calculation) -> Mapping[str, Any]:
        """Return the execution settings of a calculation."""

    def entry(self) -> CampaignEntry:
        """Return the campaign entry to store."""


class Documents:
    """Sodiate's collections in a database.

    Parameters
    ----------
    db
        A pymongo database (or mongomock's, for an archive).
    lease_seconds
        How long a lease lives without a heartbeat.
    files
        Store of the arrays, with GridFS's ``get``; by default GridFS of the same database.
    """

    def __init__(self, db: Any, lease_seconds: float = 120.0, files: Any = None) -> None:
        self.db = _journaled(db)
        self.files = files
        self.calculations = self.db["calculations"]
        self.campaigns = self.db["campaigns"]
        self.attempts = self.db["attempts"]
        self.records = self.db["records"]
        self.jobs = self.db["jobs"]
        self.leases = Leases(self.calculations, lease_seconds)
        self._rebuilt: dict[str, Calculation] = {}

    def submitting(self) -> AbstractContextManager[None]:
        """Hold the right to add workflows; other processes wait."""
        return self._only_one("submit", "submitting")

    def queueing(self, tag: str) -> AbstractContextManager[None]:
        """Hold the right to count and submit the jobs of a tag; other processes wait."""
        return self._only_one(f"queue {tag}", "queueing")

    def _only_one(self, name: str, label: str) -> AbstractContextManager[None]:
        self.db["sodiate"].update_one({"_id": name}, {"$set": {"label": label}}, upsert=True)
        return Leases(self.db["sodiate"], 60.0).held(name)

    def identity(self) -> str:
        """Return what tells this database from every other one, however it is reached."""
        found = self.db["sodiate"].find_one({"_id": "identity"})  # who may only read, reads
        if found is not None:
            return str(found["value"])
        update = {"$setOnInsert": {"value": secrets.token_hex(8)}}
        document = self.db["sodiate"].find_one_and_update(
            {"_id": "identity"}, update, upsert=True, return_document=True
        )
        return str(document["value"])

    def cancelled(self, identifiers: Iterable[str]) -> set[str]:
        """Return those of some calculations that are taken out of the queue and have no record."""
        query = {"_id": {"$in": list(identifiers)}, "cancelled": True, "record": {"$exists": False}}
        return {document["_id"] for document in self.calculations.find(query, {"_id": 1})}

    def labels(self, identifiers: Iterable[str]) -> dict[str, str]:
        """Return the labels of calculations by id."""
        query = {"_id": {"$in": list(identifiers)}}
        return {document["_id"]: document["label"] for document in self.calculations.find(query, {"label": 1})}

    def close_attempts(self, identifier: str) -> None:
        """Mark the attempts that a dead process left open; they lasted until its last heartbeat, if that is known.

        Their arrays, and those of attempts that lost the database while they published, are removed unless a record
        names them. Call it when nobody works on one of them.
        """
        keys = {"started": 1, "token": 1, "outcome": 1}
        outcomes = {"$in": ["running", "lost"]}
        for attempt in self.attempts.find({"calculation": identifier, "outcome": outcomes}, keys):
            is_recorded = self.records.find_one({"_id": attempt["_id"]}, {"_id": 1}) is not None
            if not is_recorded:
                self._remove_arrays(attempt["_id"])
            if attempt["outcome"] == "lost":
                continue
            outcome = {"outcome": "lost", "reason": "its process ended without a word (killed, or out of wall time)"}
            outcome |= self._until_last_heartbeat(identifier, attempt)
            if is_recorded:
                outcome = {"outcome": "completed"}
            self.attempts.update_one({"_id": attempt["_id"]}, {"$set": outcome})

    def _until_last_heartbeat(self, identifier: str, attempt: Mapping[str, Any]) -> dict[str, Any]:
        """Return end and wall time of an attempt whose process ended without writing them; nothing if none knows."""
        calculation = self.calculations.find_one({"_id": identifier}, {"token": 1, "last_heartbeat": 1}) or {}
        last = calculation.get("last_heartbeat")
        if last is None or calculation["token"] != attempt.get("token"):
            return {}
        end = last.replace(tzinfo=UTC)
        seconds = (end - datetime.fromisoformat(attempt["started"])).total_seconds()
        if seconds <= 0:
            return {}
        return {"ended": as_text(end), "wall_time_s": round(seconds, 3)}

    def unchanged_s(self, identifier: str, what: str) -> float:
        """Return the seconds, on the server's clock, since a calculation was first looked at in a state of affairs.

        Times in documents of FireWorks are from the clocks of those who wrote them. So whoever has to wait until
        nothing has changed for a while writes down what it sees, and the next look, of any process, compares.

        Parameters
        ----------
        identifier
            The calculation.
        what
            The state of affairs as a text; with another one the seconds begin anew.
        """
        since = {"$cond": [{"$eq": ["$seen.what", {"$literal": what}]}, "$seen.since", "$$NOW"]}
        update = [{"$set": {"seen": {"what": {"$literal": what}, "since": since, "last": "$$NOW"}}}]
        document = self.calculations.find_one_and_update({"_id": identifier}, update, return_document=True)
        seen = (document or {}).get("seen")
        return 0.0 if seen is None else float((seen["last"] - seen["since"]).total_seconds())

    def was_doubtful(self, begun: datetime) -> bool:
        """Tell whether, since a time on the server's clock, a firework was seen of which only time tells."""
        query = {
            "seen.last": {"$gte": begun.replace(tzinfo=None)},
            "seen.what": {"$not": {"$regex": f"^{RESERVATION}"}},
        }
        return self.calculations.find_one(query, {"_id": 1}) is not None

    def now(self) -> datetime:
        """Return the present time on the server's clock."""
        local: datetime = self.db.command("hello")["localTime"]
        return local.replace(tzinfo=UTC)

    def age_s(self, moment: str) -> float:
        """Return the seconds since a time on the server's clock, as documents hold it."""
        return (self.now() - datetime.fromisoformat(moment)).total_seconds()

    # -- owners

    def owners(self) -> dict[str, str]:
        """Return the user of each campaign by its name; a campaign of before there were owners has none."""
        return {document["_id"]: document["user"] for document in self.db["owners"].find()}

    def own(self, campaign: str, user: str) -> str:
        """Give a campaign to a user, unless it has one; return whose it is."""
        update = {"$setOnInsert": {"user": user}}
        document = self.db["owners"].find_one_and_update({"_id": campaign}, update, upsert=True, return_document=True)
        return str(document["user"])

    # -- campaigns and calculations

    def add_plan(self, plan: StorablePlan) -> CampaignEntry:
        """Store the calculations and the campaign entry of a plan; storing the same plan again changes nothing.

        A calculation that is known keeps its label, by which its folder is called, whatever other campaigns call it.

        Returns
        -------
        CampaignEntry
            The stored entry; a changed campaign becomes a new revision.
        """
        from pymongo import UpdateOne

        known = self._usable_labels([calculation.id for calculation in plan.calculations])
        self.calculations.bulk_write(
            [
                UpdateOne(
                    {"_id": calculation.id},
                    {
                        "$set": {
                            # Follows from the id: the same again, or what somebody changed is put right.
                            **{"label": known.get(calculation.id, calculation.label), **calculation.declared()},
                            "execution": plan.execution(calculation),
                            "not_applicable": list(plan.not_applicable),
                        },
                        "$unset": {"cancelled": ""},
                    },
                    upsert=True,
                )
                for calculation in plan.calculations
            ],
            ordered=False,
        )
        return self.add_entry(plan.entry())

    def _usable_labels(self, identifiers: Iterable[str]) -> dict[str, str]:
        """Return the labels of known calculations, but for those that somebody made none of."""
        labels = {}
        for document in self.calculations.find({"_id": {"$in": list(identifiers)}}, {"label": 1}):
            with suppress(ValueError):
                labels[document["_id"]] = one_line(str(document.get("label") or "\n"))
        return labels

    def add_entry(self, entry: CampaignEntry) -> CampaignEntry:
        """Store a campaign; the same one again changes nothing, a changed one becomes a new revision."""
        key = {"campaign": entry.campaign, "engine": entry.engine, "method_id": entry.method_id}
        documents = sorted(self.campaigns.find(key), key=_revision)
        if documents:
            document = documents[-1]
            try:
                last = to_entry(document)
                if entry.model_copy(update={"revision": last.revision}) == last:
                    return last
            except Altered:  # it is kept as it is, and a revision after it takes its place
                pass
            numbers = [number for document in documents if (number := _revision(document)) < _NO_REVISION]
            newest = int(max(numbers, default=0))
            if _revision(document) == _NO_REVISION:  # else it would stand after all that come
                newest += 1
                self.campaigns.update_one({"_id": document["_id"]}, {"$set": {"revision": newest}})
            entry = entry.model_copy(update={"revision": newest + 1})
        self.campaigns.insert_one(sealed_campaign(entry))
        return entry

    def read_entries(self) -> tuple[list[CampaignEntry], list[tuple[str, str]]]:
        """Return the last revision of each campaign, engine and method, oldest first.

        Returns
        -------
        tuple
            The entries; and the name and a sentence for each that was changed in the database, which is left out.
        """
        latest: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        for document in sorted(self.campaigns.find(), key=_revision):
            name, engine, method = (str(document.get(key)) for key in ("campaign", "engine", "method_id"))
            latest[name, engine, method] = document
        entries, complaints = [], []
        for (name, engine, method), document in latest.items():
            try:
                entries.append(to_entry(document))
            except Altered as error:
                sentence = (
                    f"campaign {name} ({engine}, method {method}): revision {document.get('revision')} was changed "
                    f"in the database: {error}. `sodiate run` with its file stores it anew; records stay."
                )
                complaints.append((name, sentence))
        return entries, complaints

    def entries(self, campaign: str | None = None) -> list[CampaignEntry]:
        """Return the last revision of each campaign, engine and method, oldest first.

        Parameters
        ----------
        campaign
            Only what was changed of this one matters; of all campaigns by default.

        Raises
        ------
        SodiateError
            If one was changed in the database.
        """
        entries, complaints = self.read_entries()
        sentences = [sentence for name, sentence in complaints if campaign in (None, name)]
        if sentences:
            raise SodiateError("\n".join(sentences))
        return entries

    def matching_entries(self, campaign: str | None, engine: str | None, title: str) -> list[CampaignEntry]:
        """Return the last revisions of campaigns with a name and an engine; None matches all.

        Parameters
        ----------
        campaign, engine
            The name and the engine.
        title
            The database in the message of an error.

        Raises
        ------
        InputError
            If no campaign has this name or this engine.
        SodiateError
            If one of them was changed in the database.
        """
        entries = self.entries(campaign)
        for name, choices, key in (
            (campaign, sorted({entry.campaign for entry in entries}), "campaign"),
            (engine, sorted({entry.engine for entry in entries}), "engine"),
        ):
            if name is not None and name not in choices:
                listing = ", ".join(choices) or "none"
                raise InputError(f"{title} has no {key} {name!r}{nearest(name, choices)}; it has {listing}.")
        return [e for e in entries if campaign in (None, e.campaign) and engine in (None, e.engine)]

    def calculation(self, identifier: str) -> Calculation:
        """Rebuild a calculation with all its parents."""
        return self.graph([identifier])[identifier]

    def claimed(self, lease: Lease) -> Calculation:
        """Rebuild the calculation of a lease; ancestors that were rebuilt before are not read again.

        What they are follows from their ids, so that it cannot have changed.
        """
        parents = parents_of(lease.document)
        unknown = [parent for parent in parents.values() if parent not in self._rebuilt]
        if unknown:
            self._rebuilt |= self.graph(unknown)
        calculation = _rebuild(lease.document, {role: self._rebuilt[parent] for role, parent in parents.items()})
        self._rebuilt[calculation.id] = calculation
        return calculation

    def graph(self, identifiers: Iterable[str]) -> dict[str, Calculation]:
        """Rebuild calculations with all their parents, by id.

        Raises
        ------
        SodiateError
            If a calculation is not in the database, or its declared values no longer give its id.
        """
        documents: dict[str, dict[str, Any]] = {}
        pending = set(identifiers)
        while pending:
            matches = {d["_id"]: d for d in self.calculations.find({"_id": {"$in": sorted(pending)}})}
            missing = pending - matches.keys()
            if missing:
                raise SodiateError(f"no calculation {', '.join(sorted(missing))} in the database.")
            documents |= matches
            pending = {p for d in matches.values() for p in parents_of(d).values()} - documents.keys()
        return rebuilt(documents)

    # -- records

    def record(self, calculation: str) -> Record | None:
        """Return the current record of a calculation; None also if it may not be used."""
        return self.current([calculation]).get(calculation)

    def current(self, calculations: Iterable[str] | None = None) -> dict[str, Record]:
        """Return current records that may be used by calculation; of all calculations if none are named."""
        return self.read_current(calculations).records

    def read_current(self, calculations: Iterable[str] | None = None) -> CurrentRecords:
        """Return current records by calculation, each checked; of all calculations if none are named.

        What was changed in the database since it was stored may not be used, nor what a calculation has two of.
        """
        query: dict[str, Any] = {"state": "current"}
        if calculations is not None:
            query["calculation"] = {"$in": list(calculations)}
        return _checked(self.records.find(query))

    def read_above(self, calculation: str, family: Iterable[str]) -> tuple[CurrentRecords, int]:
        """Return the current records of a calculation and its ancestors, and how many superseded ones it has."""
        current = {"calculation": {"$in": list(family)}, "state": "current"}
        found = list(self.records.find({"$or": [current, {"calculation": calculation, "state": "superseded"}]}))
        valid = [document for document in found if document["state"] == "current"]
        return _checked(valid), len(found) - len(valid)

    def publish(self, lease: Lease, attempt: str, record: Record, arrays: Mapping[str, Any]) -> Record:
        """Store a record if the lease is still held: arrays first, then the record, then the pointer to it.

        Raises
        ------
        LeaseLost
            If another process took over; then nothing of this record stays.
        """
        stored = {name: self._put_array(attempt, name, value) for name, value in arrays.items()}
        record = record.model_copy(update={"arrays": stored})
        document = {**record.model_dump(mode="json"), "_id": attempt, "digest": record.digest}
        self.publish_document(lease, sealed_record(document))
        return record

    def publish_document(self, lease: Lease, document: Mapping[str, Any]) -> None:
        """Store a record's document, whose arrays are already stored, and end the lease.

        Raises
        ------
        LeaseLost
            If another process took over; then nothing of this record stays.
        """
        attempt = document["_id"]
        draft = {**document, "state": "unpublished", "token": lease.token}
        self.records.replace_one({"_id": attempt}, draft, upsert=True)
        update = self.calculations.update_one(
            {"_id": lease.calculation, "token": lease.token, "lease": {"$ne": None}},
            {"$set": {"record": attempt}, "$unset": {"lease": ""}},
        )
        if not update.matched_count:
            self.discard(attempt)
            raise LeaseLost(
                f"{document['label']} ({lease.calculation}): another process took the calculation over; "
                "what this one computed was not recorded."
            )
        self.records.update_one({"_id": attempt}, {"$set": {"state": "current"}})

    def discard(self, attempt: str) -> None:
        """Remove a record that was never published, and its arrays."""
        document = self.records.find_one_and_delete({"_id": attempt, "state": "unpublished"})
        for identifier in (document or {}).get("arrays", {}).values():
            self._files().delete(identifier)

    def supersede(self, calculations: Iterable[str], because: str) -> None:
        """Mark the current records of calculations as superseded, without deleting them."""
        identifiers = list(calculations)
        self.records.update_many(
            {"calculation": {"$in": identifiers}, "state": "current"},
            {"$set": {"state": "superseded", "superseded": because}},
        )
        self.calculations.update_many({"_id": {"$in": identifiers}}, {"$unset": {"record": ""}})

    def settle(self) -> int:
        """Finish or undo records that a killed process left half published; return their number."""
        count = 0
        for document in self.records.find({"state": "unpublished"}, {"calculation": 1}):
            query = {"_id": document["calculation"]}
            calculation = self.calculations.find_one(query, {"record": 1, "lease": 1}) or {}
            if calculation.get("record") == document["_id"]:
                self.records.update_one({"_id": document["_id"]}, {"$set": {"state": "current"}})
            elif calculation.get("lease") is None:
                self.discard(document["_id"])
            else:
                continue
            count += 1
        return count

    # -- arrays

    def _files(self) -> Any:
        if self.files is None:
            from gridfs import GridFS

            self.files = GridFS(self.db, "arrays")
        return self.files

    def _remove_arrays(self, attempt: str) -> None:
        """Remove what a killed attempt put into GridFS: whole files, and chunks of one that was never finished."""
        begins = {"$regex": f"^{re.escape(attempt)}-"}
        self.db["arrays.files"].delete_many({"_id": begins})
        self.db["arrays.chunks"].delete_many({"files_id": begins})

    def _put_array(self, attempt: str, name: str, value: ArrayRecord) -> str:
        content = packed(value)
        identifier = array_name(attempt, name, content)
        self._put(identifier, content)
        return identifier

    def _put(self, identifier: str, content: bytes) -> None:
        """Write a file as GridFS does, but for its looks whether there are indexes, which `initialise` makes."""
        pieces = [content[start : start + _CHUNK_BYTES] for start in range(0, len(content), _CHUNK_BYTES)]
        chunks = [{"files_id": identifier, "n": number, "data": piece} for number, piece in enumerate(pieces)]
        self.db["arrays.chunks"].insert_many(chunks)
        self.db["arrays.files"].insert_one(
            {
                "_id": identifier,
                "filename": f"{identifier}.npz",
                "chunkSize": _CHUNK_BYTES,
                "length": len(content),
                "uploadDate": datetime.now(UTC),
            }
        )

    def put_bytes(self, identifier: str, content: bytes) -> None:
        """Store an npz file; replace the file of an interrupted import."""
        files = self._files()
        files.delete(identifier)
        files.put(content, _id=identifier, filename=f"{identifier}.npz")

    def array_bytes(self, identifier: str) -> bytes:
        """Return one npz file as stored.

        Raises
        ------
        SodiateError
            If it is not there, or was changed since it was stored.
        """
        from gridfs.errors import GridFSError

        try:
            content = bytes(self._files().get(identifier).read())
            check_array(identifier, content)
        except (GridFSError, Altered) as error:
            raise SodiateError(
                f"array {identifier} was changed in the database, or is not there ({error}); {_REMEDY}."
            ) from None
        return content

    def arrays(self, record: Record, name: str) -> ArrayRecord | None:
        """Return ``bands``, ``dos``, ``trajectory`` or ``density`` of a record; None if it has none.

        Raises
        ------
        SodiateError
            If it has one that an archive did not carry, or that was changed since it was stored.
        """
        if name not in record.arrays:
            return None
        identifier = record.arrays[name]
        if name in left_out() and not self._files().exists(identifier):
            raise SodiateError(
                f"{record.label}: its {name} is not here: archives leave it out. It is where it was computed "
                f"({record.provenance.directory} on {record.provenance.host}); `sodiate redo` computes it here."
            )
        try:
            return unpacked(name, self.array_bytes(identifier))
        except Altered as error:
            raise SodiateError(f"{record.label}: its {name}, {identifier}, {error}; {_REMEDY}.") from None


def packed(array: ArrayRecord) -> bytes:
    """Return an array as a compressed npz file."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = to_arrays(array)
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def unpacked(name: str, content: bytes) -> ArrayRecord:
    """Return the array, called as in records, that `packed` wrote.

    Raises
    ------
    Altered
        If it is damaged.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            return from_arrays(name, dict(loaded))
    except (ValueError, OSError, KeyError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        raise Altered(f"is damaged ({error})") from None


def _checked(documents: Iterable[Mapping[str, Any]]) -> CurrentRecords:
    records: dict[str, Record] = {}
    unusable: dict[str, str] = {}
    names: dict[str, str] = {}
    for document in documents:
        calculation, name = document["calculation"], str(document["_id"])
        if calculation in names:
            unusable[calculation] = (
                f"it has two current records, {names[calculation]} and {name}; {_REMEDY.replace('it', 'one', 1)}"
            )
            records.pop(calculation, None)
            continue
        names[calculation] = name
        try:
            records[calculation] = to_record(document)
        except Altered as error:
            unusable[calculation] = f"its record {name} was changed in the database: {error}; {_REMEDY}"
    return CurrentRecords(records, unusable)


def now() -> str:
    """Return the present time as documents hold it, by this machine's clock: for jobs that reach no server."""
    return as_text(datetime.now(UTC))


def as_text(moment: datetime) -> str:
    """Return a time in UTC as documents hold it, to a millisecond."""
    return moment.isoformat(timespec="milliseconds")


def _revision(document: Mapping[str, Any]) -> float:
    """Return the revision of a campaign's document; one that is none comes last, so that it is told."""
    revision = document.get("revision")
    return revision if isinstance(revision, int) and not isinstance(revision, bool) else _NO_REVISION


def _journaled(db: Any) -> Any:
    """Return the database with journaled majority writes; a mongomock database, without a journal, unchanged."""
    if not type(db).__module__.startswith("pymongo"):
        return db
    from pymongo import WriteConcern

    return db.with_options(write_concern=WriteConcern(w="majority", j=True))


def parents_of(document: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the parents that a calculation's document names, by role.

    Raises
    ------
    SodiateError
        If it names none, which an older sodiate does with an empty mapping.
    """
    parents = document.get("parents")
    if not isinstance(parents, Mapping) or not all(isinstance(parent, str) for parent in parents.values()):
        raise SodiateError(f"calculation {document['_id']} was changed by hand: it has no parents. {_PLAN_AGAIN}")
    return parents


def _rebuild(document: Mapping[str, Any], parents: dict[str, Calculation]) -> Calculation:
    try:
        return _calculation(document, parents)
    except (KeyError, TypeError, AttributeError) as error:
        raise SodiateError(
            f"calculation {document['_id']} was changed by hand: it has no usable {error}. {_PLAN_AGAIN}"
        ) from None
    except (ValueError, RecursionError) as error:  # NaN, of which no id can be made
        raise SodiateError(
            f"calculation {document['_id']} was changed by hand: its declared values give no id ({error}). "
            f"{_PLAN_AGAIN}"
        ) from None


def rebuilt(documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Calculation]:
    """Return the calculations of some documents by id; those of all their ancestors are among them.

    Raises
    ------
    SodiateError
        If declared values no longer give an id.
    """
    calculations: dict[str, Calculation] = {}
    descendants: list[str] = []

    def build(identifier: str) -> Calculation:
        if identifier not in calculations:
            document = documents[identifier]
            if identifier in descendants or len(descendants) > _DEEPEST:
                raise SodiateError(
                    f"calculation {identifier} is its own ancestor, or has more than {_DEEPEST}: the documents "
                    f"were changed by hand. {_PLAN_AGAIN}"
                )
            descendants.append(identifier)
            parents = {role: build(parent) for role, parent in document["parents"].items()}
            calculations[identifier] = _rebuild(document, parents)
            descendants.pop()
        return calculations[identifier]

    return {identifier: build(identifier) for identifier in documents}


def _calculation(document: Mapping[str, Any], parents: dict[str, Calculation]) -> Calculation:
    try:
        one_line(document["label"])
    except ValueError as error:  # the id does not cover it, and inputs begin with it
        raise SodiateError(f"calculation {document['_id']}: label: {error}") from None
    if document["kind"] not in KINDS:
        raise SodiateError(
            f"{document['label']}: this sodiate has no kind of calculation {document['kind']!r}; it has "
            f"{', '.join(KINDS)}. Update sodiate (pip install --upgrade sodiate)."
        )
    calculation = Calculation(
        kind=document["kind"],
        structure=document["structure"],
        engine=document["engine"],
        protocol=document["protocol"],
        parents=parents,
        label=document["label"],
        recipe=document["recipe"],
    )
    if calculation.id != document["_id"]:
        raise SodiateError(
            f"{document['label']}: the declared values of calculation {document['_id']} give the id "
            f"{calculation.id}: the document was changed by hand. {_PLAN_AGAIN}"
        )
    return calculation
