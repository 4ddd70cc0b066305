"""Documents that say whether they are still what was stored: sealed when they are written, checked at every read.

A record's ``digest`` covers its science, so that what was computed from it knows it again; its ``checksum``, and
that of a campaign, covers every value of the document. The digest of an array is the end of its name. Documents of
older releases have no checksum; a record's digest they all have. None of this is a secret: it finds what a hand, a
script or a disk changed, not a forger.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ...analysis.campaign_entry import CAMPAIGN_SCHEMA, CampaignEntry, upgraded
from ...analysis.records import SCHEMA_VERSION, SCIENCE, Record, digest
from ...errors import SodiateError

ENVELOPE = ("_id", "state", "digest", "token", "superseded", "checksum")
"""Keys of a record's document that are not the record's own."""

Model = TypeVar("Model", bound=BaseModel)

_ARRAY_DIGEST = re.compile(r"-([0-9a-f]{16})\Z")


class Altered(SodiateError):
    """A document in the database is not what was stored; the message is a clause that says in which way."""


def known_schema(version: Any, newest: int) -> bool:
    """Tell whether a schema version is one that this sodiate reads."""
    return isinstance(version, int) and not isinstance(version, bool) and 1 <= version <= newest


def canonical(values: Mapping[str, Any]) -> str:
    """Return a document as text, the same for the same values.

    Raises
    ------
    Altered
        If it holds what no document of sodiate's does, such as NaN.
    """
    try:
        return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        raise Altered(f"it holds what no document of sodiate's does ({error})") from None


def _checksum(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _record_checksum(document: Mapping[str, Any], text: str) -> str:
    return _checksum(str(document["_id"]), str(document["digest"]), text)


def _own(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in ENVELOPE}


def sealed_record(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's document with the checksum that its values give."""
    return {**document, "checksum": _record_checksum(document, canonical(_own(document)))}


def to_record(document: Mapping[str, Any]) -> Record:
    """Return the record that a document of the ``records`` collection holds, if it is as it was stored.

    Raises
    ------
    Altered
        If it was changed since, or is of a schema that this sodiate does not know.
    """
    version = document.get("schema_version")
    if not known_schema(version, SCHEMA_VERSION):
        raise Altered(f"it is of schema {version!r}, and this sodiate knows {_known(SCHEMA_VERSION)}")
    missing = [key for key in ("_id", "digest") if not isinstance(document.get(key), str)]
    if missing:
        raise Altered(f"it has no {missing[0]}")
    values = _own(document)
    if "checksum" in document:
        whole = document["checksum"] == _record_checksum(document, canonical(values))
    else:
        whole = document["digest"] == _science_digest(values)
    if not whole:
        _validated(Record, values, strict=True)  # says more, where a value cannot be one
        raise Altered("its values are not those that were stored")
    record = _validated(Record, values, strict=False)
    # Checked just now, and to work it out again from the record takes as long as all else.
    record.__dict__["digest"] = document["digest"]
    return record


def _science_digest(values: Mapping[str, Any]) -> str:
    """Return the digest of a record's document: that of its record, with no number for a text that says one."""
    try:
        return digest({key: _present(values[key]) for key in SCIENCE if values.get(key) is not None})
    except (ValueError, TypeError, RecursionError) as error:
        raise Altered(f"it holds what no document of sodiate's does ({error})") from None


def _present(value: Any) -> Any:
    """Leave absent values out of nested mappings, as the digest of a record does."""
    if not isinstance(value, Mapping):
        return value
    return {key: _present(inner) for key, inner in value.items() if inner is not None}


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with the checksum that they give."""
    return {**values, "checksum": _checksum(canonical(values))}


def check_seal(document: Mapping[str, Any]) -> str:
    """Return the checksum of a document that `sealed` made.

    Raises
    ------
    Altered
        If its values are others since.
    """
    values = {key: value for key, value in document.items() if key != "checksum"}
    checksum = _checksum(canonical(values))
    if document.get("checksum") != checksum:
        raise Altered("its values are not those that were stored")
    return checksum


def sealed_campaign(entry: CampaignEntry) -> dict[str, Any]:
    """Return the document of a campaign."""
    return sealed(entry.model_dump(mode="json"))


def resealed(collection: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document of a collection with the checksum that its values give now, if it has one."""
    if "checksum" not in document:
        return dict(document)
    if collection == "records":
        return sealed_record(document)
    values = {key: value for key, value in document.items() if key not in ("_id", "checksum")}
    return {**document, **sealed(values)}


def to_entry(document: Mapping[str, Any]) -> CampaignEntry:
    """Return the campaign that a document holds, in the present layout, if it is as it was stored.

    Raises
    ------
    Altered
        If it was changed since, or is of a schema that this sodiate does not know.
    """
    version = document.get("schema_version", 1)
    if not known_schema(version, CAMPAIGN_SCHEMA):
        raise Altered(f"it is of schema {version!r}, and this sodiate knows {_known(CAMPAIGN_SCHEMA)}")
    values = {key: value for key, value in document.items() if key not in ("_id", "checksum")}
    text = canonical(values)
    if "checksum" in document and document["checksum"] != _checksum(text):
        if version == CAMPAIGN_SCHEMA:
            _validated(CampaignEntry, values, strict=True)  # says more, where a value cannot be one
        raise Altered("its values are not those that were stored")
    if version != CAMPAIGN_SCHEMA:
        try:
            values = upgraded(values)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Altered(f"it is no campaign of schema {version}: {error}") from None
    return _validated(CampaignEntry, values, strict=True)


def _known(newest: int) -> str:
    return "schema 1 alone" if newest == 1 else f"schemas 1 to {newest}"


def _validated(model: type[Model], values: Mapping[str, Any], strict: bool) -> Model:
    """Read a document; strictly, no text is taken for a number and no number for a truth value."""
    try:
        # By way of JSON, since there a list stands for a tuple; its keys stay in their order, which tables follow.
        return model.model_validate_json(json.dumps(values), strict=True) if strict else model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise Altered(f"{where}: {first['msg'].removeprefix('Value error, ').rstrip('.')}") from None


def array_name(attempt: str, name: str, content: bytes) -> str:
    """Return the name under which an attempt's array is stored: it ends with the content's digest."""
    return f"{attempt}-{name}-{hashlib.sha256(content).hexdigest()[:16]}"


def check_array(identifier: str, content: bytes) -> None:
    """Refuse an array that is not what its name says; one of an older release says nothing.

    Raises
    ------
    Altered
        If it was changed since it was stored.
    """
    digest = _ARRAY_DIGEST.search(identifier)
    if digest is not None and hashlib.sha256(content).hexdigest()[:16] != digest[1]:
        raise Altered("it is not what was stored")
