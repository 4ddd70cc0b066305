"""Results as programs read them: objects, JSON, CSV, and queries on them."""

from __future__ import annotations

import csv
import io
import json
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

from ...analysis.columns import Column
from ...analysis.model_result import ModelResult
from ...analysis.records import MOCK
from ..campaign.strict_json import read_json
from ..campaign.yaml import InputError
from ..quantities import quantities

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


QUERY_S = 5.0
"""So long a query may take."""


def matching(results: Sequence[ModelResult], query: str | None) -> list[ModelResult]:
    """Keep the results whose objects a MongoDB query matches.

    Raises
    ------
    InputError
        If the query is not a JSON object, uses an unknown operator, or takes for ever.
    """
    if query is None:
        return list(results)
    example = """Example: '{"model": "WSSe"}'."""
    try:
        parsed = read_json(query)
    except ValueError as error:
        raise InputError(f"--query {query!r} is not JSON: {error}. {example}") from None
    if not isinstance(parsed, dict):
        raise InputError(f"--query {query!r} is JSON but not an object. {example}")
    import mongomock

    collection: Any = mongomock.MongoClient()["memory"]["results"]
    if results:
        collection.insert_many([{"_id": index, **row} for index, row in enumerate(as_objects(results))])
    try:
        with _at_most(QUERY_S):
            indices = [document["_id"] for document in collection.find(parsed)]
    except TimeoutError:
        raise InputError(
            f"--query {query!r} was not answered within {QUERY_S:.0f} s: a regular expression with repetitions "
            "inside repetitions, such as (a+)+$, may take for ever. Write a simpler one."
        ) from None
    except Exception as error:  # mongomock raises various exceptions for an invalid query
        raise InputError(f"--query {query!r} is no valid MongoDB query: {error}") from None
    return [results[index] for index in sorted(indices)]


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise `TimeoutError` in a block that takes longer; in a thread, which no signal reaches, there is no limit."""

    def end(_number: int, _frame: object) -> None:
        raise TimeoutError

    if current_thread() is not main_thread():
        yield
        return
    previous = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def to_json(results: Iterable[ModelResult]) -> str:
    """Return the results as indented JSON."""
    return json.dumps(as_objects(results), indent=1, ensure_ascii=False, allow_nan=False)


def to_csv(results: Iterable[ModelResult]) -> str:
    """Return the results as csv, a line for each host; semicolons join sites and reasons."""
    forms = {column.key: column.in_csv for column in columns() if column.in_csv is not None}
    state = ("physical", "note", "converged", "reasons", "notes", "compare_with", "changes")
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [*_IDENTITY, *forms, *state], lineterminator="\n")
    writer.writeheader()
    for result in results:
        cells = {key: None if result.values[key] is None else form(result.values[key]) for key, form in forms.items()}
        lists = {key: "; ".join(getattr(result, key)) for key in ("reasons", "notes", "changes")}
        writer.writerow({key: getattr(result, key) for key in _IDENTITY} | cells | _state(result) | lists)
    return buffer.getvalue()
