"""Results as programs read them: objects, JSON, CSV, and queries on them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

from ...analysis.columns import Column
from ...analysis.model_result import ModelResult
from ...analysis.records import MOCK
from ..quantities import quantities
from .query import matches, merged_shape, read_query

_STATE = ("physical", "note", "converged", "reasons", "notes", "compare_with", "changes")

_IDENTITY = ("campaign", "model", "supercell", "adsorbate", "engine", "method_id")


def columns() -> list[Column]:
    """Return the columns of all quantities, in their order."""
    return [column for quantity in quantities().values() for column in quantity.columns]


def as_objects(results: Iterable[ModelResult]) -> list[dict[str, Any]]:
    """Return a JSON-like object for each (campaign, model, engine, method)."""
    return [
        {key: getattr(result, key) for key in _IDENTITY}
        | {column.key: result.values[column.key] for column in columns() if column.in_json}
        | _state(result)
        for result in results
    ]


def _state(result: ModelResult) -> dict[str, Any]:
    return {
        "physical": result.physical,
        "note": None if result.physical else MOCK,
        "converged": result.converged,
        "reasons": list(result.reasons),
        "notes": list(result.notes),
        "compare_with": result.compare_with,
        "changes": list(result.changes),
    }


OTHER_NAMES = {"host": "model"}
"""Other names of keys in queries: the page and the supplement say host."""


def matching(results: Sequence[ModelResult], query: str | None) -> list[ModelResult]:
    """Keep the results whose objects a MongoDB query matches; without results, only check the query.

    Raises
    ------
    InputError
        If the query is not a JSON object, has a key that results have not, uses an unknown operator, or takes for
        ever.
    """
    if query is None:
        return list(results)
    objects = as_objects(results)
    own = dict.fromkeys((*_IDENTITY, *(column.key for column in columns() if column.in_json), *_STATE))
    read = read_query(query, merged_shape(own, objects), OTHER_NAMES)
    return [results[place] for place in matches(read, objects)] if results else []


def to_json(results: Iterable[ModelResult]) -> str:
    """Return the results as indented JSON."""
    return json.dumps(as_objects(results), indent=1, ensure_ascii=False, allow_nan=False)


def to_csv(results: Iterable[ModelResult]) -> str:
    """Return the results as csv, a line for each host; semicolons join sites and reasons."""
    forms = {column.key: column.in_csv for column in columns() if column.in_csv is not None}
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*_IDENTITY, *forms, *_STATE], lineterminator="\n")
    writer.writeheader()
    for result in results:
        cells = {key: None if result.values[key] is None else form(result.values[key]) for key, form in forms.items()}
        lists = {key: "; ".join(getattr(result, key)) for key in ("reasons", "notes", "changes")}
        writer.writerow({key: getattr(result, key) for key in _IDENTITY} | cells | _state(result) | lists)
    return buffer.getvalue()
