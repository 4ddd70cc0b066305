"""Records as people and programs read them: what is recorded of campaigns, with the names that these give it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from ...analysis.records import MOCK, Record
from ..database.standing import standing_of
from .query import matches, read_query

if TYPE_CHECKING:
    from rich.table import Table

    from .results import Results

_NAMES = ("names", "campaigns")

_FINISHED = "provenance.finished"

_MINUTE = 16
"""Letters of a time down to its minute."""

_COLUMNS: Mapping[str, tuple[str, int | None]] = {
    "kind": ("kind", None),
    "engine": ("engine", None),
    "energy_ev": ("energy (eV)", 4),
    "max_force_ev_per_a": ("force (eV/Å)", 3),
    "gap.gap_ev": ("gap (eV)", 3),
    "site.end": ("ended at", None),
    "provenance.ionic_steps": ("steps", 0),
    _FINISHED: ("finished", None),
}
"""Keys of the table, dotted where they lie deeper, with their heads and digits."""


def recorded(results: Results, campaign: str | None, engine: str | None, model: str | None) -> list[dict[str, Any]]:
    """Return every usable record of the campaigns here as a JSON-like object.

    Parameters
    ----------
    results
        The results.
    campaign, engine, model
        Only what these need: a campaign's records, of an engine, of one of its hosts by name.

    Returns
    -------
    list of dict
        A record's fields, and beside them ``names``, the campaigns' for it, and ``campaigns``.
    """
    found: dict[str, dict[str, Any]] = {}
    for entry in results.entries(campaign, engine):
        records = standing_of(results.documents, entry.ids).records
        for name, identifier in entry.names.items():
            if identifier not in records or model not in (None, name.partition("/")[0]):
                continue
            one = found.setdefault(identifier, {"names": [], "campaigns": [], **_plain(records[identifier])})
            for key, value in (("names", name), ("campaigns", entry.campaign)):
                if value not in one[key]:
                    one[key].append(value)
    return list(found.values())


def _plain(record: Record) -> dict[str, Any]:
    plain: dict[str, Any] = record.model_dump(mode="json")
    return plain


def matching_records(objects: Sequence[dict[str, Any]], query: str | None) -> list[dict[str, Any]]:
    """Keep the records that a MongoDB query matches; without records, only check the query.

    Raises
    ------
    InputError
        As `sodiate.workflows.results.query.read_query` does.
    """
    if query is None:
        return list(objects)
    read = read_query(query, {**dict.fromkeys(_NAMES), **_shape(Record)})
    return [objects[place] for place in matches(read, objects)] if objects else []


def _shape(model: type[BaseModel]) -> dict[str, Any]:
    """Return the keys of a model, and what is in those that are models."""
    return {name: _inner(field.annotation) for name, field in model.model_fields.items()}


def _inner(annotation: Any) -> dict[str, Any] | None:
    choices = [part for part in (annotation, *get_args(annotation)) if isinstance(part, type)]
    return next((_shape(part) for part in choices if issubclass(part, BaseModel)), None)


def records_json(objects: Sequence[dict[str, Any]]) -> str:
    """Return records as indented JSON."""
    return json.dumps(list(objects), indent=1, ensure_ascii=False, allow_nan=False)


def records_csv(objects: Sequence[dict[str, Any]]) -> str:
    """Return the columns of the table, with ids and all digits, as csv."""
    buffer = io.StringIO()
    heads = ["names", "campaigns", "calculation", "physical", *_COLUMNS]
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(heads)
    for one in objects:
        lists = ("; ".join(one[key]) for key in _NAMES)
        writer.writerow([*lists, *(_at(one, key) for key in heads[len(_NAMES) :])])
    return buffer.getvalue()


def records_table(objects: Sequence[dict[str, Any]], title: str) -> Table:
    """Return the table of records; of the columns those in which some record has a value."""
    from rich.table import Table

    mock = not all(one["physical"] for one in objects)
    table = Table(title=f"{title}\n{MOCK}" if mock else title, title_justify="left")
    shown = {key: column for key, column in _COLUMNS.items() if any(_at(one, key) is not None for one in objects)}
    table.add_column("name", overflow="fold")
    for head, digits in shown.values():
        marked = f"{head} mock" if mock and "eV" in head else head
        table.add_column(marked, justify="left" if digits is None else "right", overflow="fold")
    for one in objects:
        cells = (_text(one, key, digits) for key, (_, digits) in shown.items())
        table.add_row(", ".join(one["names"]), *cells)
    return table


def _at(one: Mapping[str, Any], key: str) -> Any:
    value: Any = one
    for part in key.split("."):
        value = None if value is None else value.get(part)
    return value


def _text(one: Mapping[str, Any], key: str, digits: int | None) -> str:
    value = _at(one, key)
    if value is None:
        return "—"
    if key == _FINISHED:
        return str(value)[:_MINUTE]
    return str(value) if digits is None else f"{value:.{digits}f}"
