"""Queries of MongoDB on what results and records print as JSON; keys that these have not are refused."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from threading import current_thread, main_thread
from typing import Any

from ..campaign.strict_json import read_json
from ..campaign.yaml import InputError, nearest

QUERY_S = 5.0
"""So long a query may take."""

Shape = Mapping[str, Any]
"""What objects have: for each key the shape of what is in it, or None if that is a value or not known."""

_LISTS = ("$and", "$or", "$nor")

_EXPRESSION = "$expr"


@dataclass(frozen=True)
class Query:
    """A query that was read and whose keys are known.

    Attributes
    ----------
    text
        As the user wrote it, for messages.
    values
        The query, with other names of keys put into those that objects have.
    fields
        What expressions (`$expr`) in it take from an object, as dotted paths.
    """

    text: str
    values: Mapping[str, Any]
    fields: tuple[str, ...]


def read_query(text: str, shape: Shape, others: Mapping[str, str] | None = None) -> Query:
    """Read a query and check its keys and operators, before there are objects.

    Parameters
    ----------
    text
        JSON.
    shape
        What the objects have.
    others
        Other names of keys.

    Raises
    ------
    InputError
        If it is not a JSON object, has a key that the objects have not, or an unknown operator.
    """
    example = """Example: '{"model": "WSSe"}'."""
    try:
        parsed = read_json(text)
    except ValueError as error:
        raise InputError(f"--query {text!r} is not JSON: {error}. {example}") from None
    if not isinstance(parsed, dict):
        raise InputError(f"--query {text!r} is JSON but not an object. {example}")
    renamed = _renamed(parsed, others or {})
    query = Query(text, renamed, tuple(dict.fromkeys(_fields_of_expressions(renamed))))
    for path in (*_keys(renamed), *query.fields):
        _refuse_unknown(path, shape, query, others or {})
    _found(query, _without_expressions(renamed), [])
    return query


def matches(query: Query, objects: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the places of the objects that a query matches.

    Raises
    ------
    InputError
        If an expression in it cannot be evaluated, or it takes for ever.
    """
    return _found(query, query.values, [_padded(one, query.fields) for one in objects])


def merged_shape(shape: Shape, objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a shape with what some objects have beyond it."""
    merged = dict(shape)
    for one in objects:
        for key, value in one.items():
            inner = [part for part in (value if isinstance(value, list) else [value]) if isinstance(part, Mapping)]
            merged[key] = merged_shape(merged.get(key) or {}, inner) if inner else merged.get(key)
    return merged


def _found(query: Query, values: Mapping[str, Any], objects: Sequence[Mapping[str, Any]]) -> list[int]:
    import mongomock

    collection: Any = mongomock.MongoClient()["memory"]["results"]
    if objects:
        collection.insert_many([{**one, "_id": place} for place, one in enumerate(objects)])
    try:
        with _at_most(QUERY_S):
            return sorted(document["_id"] for document in collection.find(dict(values)))
    except TimeoutError:
        raise InputError(
            f"--query {query.text!r} was not answered within {QUERY_S:.0f} s: a regular expression with repetitions "
            "inside repetitions, such as (a+)+$, may take for ever. Write a simpler one."
        ) from None
    except Exception as error:  # mongomock raises various exceptions for an invalid query
        raise InputError(f"--query {query.text!r} is no valid MongoDB query: {error}") from None


def _renamed(value: Any, others: Mapping[str, str], top: bool = True) -> Any:
    """Return a query with other names of keys replaced, at the top and in expressions."""
    if isinstance(value, list):
        return [_renamed(part, others, top) for part in value]
    if isinstance(value, str) and not top:
        head, dot, rest = value.removeprefix("$").partition(".")
        return f"${others[head]}{dot}{rest}" if value.startswith("$") and head in others else value
    if not isinstance(value, dict):
        return value
    renamed = {}
    for key, part in value.items():
        if key in _LISTS:
            renamed[key] = _renamed(part, others, top)
        elif key.startswith("$"):
            renamed[key] = _renamed(part, others, top=False)
        else:
            renamed[others.get(key, key) if top else key] = part if top else _renamed(part, others, top=False)
    return renamed


def _keys(query: Any, within: str = "") -> Iterator[str]:
    """Yield the dotted keys that a query compares."""
    if not isinstance(query, dict):
        return
    for key, value in query.items():
        if key in _LISTS:
            for part in value if isinstance(value, list) else []:
                yield from _keys(part, within)
        elif not key.startswith("$"):
            yield f"{within}{key}"
            yield from _keys_in(value, f"{within}{key}")


def _keys_in(value: Any, path: str) -> Iterator[str]:
    """Yield the keys that operators on one key compare in what is in it."""
    for operator, part in value.items() if isinstance(value, dict) else ():
        if operator == "$elemMatch":
            yield from _keys(part, f"{path}.")
        elif operator == "$not":
            yield from _keys_in(part, path)


def _fields_of_expressions(query: Any) -> Iterator[str]:
    if isinstance(query, list):
        for part in query:
            yield from _fields_of_expressions(part)
    elif isinstance(query, dict):
        for key, value in query.items():
            yield from _fields(value) if key == _EXPRESSION else _fields_of_expressions(value)


def _fields(expression: Any) -> Iterator[str]:
    if isinstance(expression, str):
        if expression.startswith("$") and not expression.startswith("$$"):
            yield expression[1:]
    elif isinstance(expression, list):
        for part in expression:
            yield from _fields(part)
    elif isinstance(expression, dict):
        for key, value in expression.items():
            if key != "$literal":
                yield from _fields(value)


def _without_expressions(query: Any) -> Any:
    if isinstance(query, list):
        return [_without_expressions(part) for part in query]
    if isinstance(query, dict):
        return {key: _without_expressions(value) for key, value in query.items() if key != _EXPRESSION}
    return query


def _refuse_unknown(path: str, shape: Shape, query: Query, others: Mapping[str, str]) -> None:
    """Refuse a path that the objects have not; places in a list, as in ``sites.0.end``, are none."""
    known: Shape = shape
    before: list[str] = []
    for part in path.split("."):
        if before and part.isdecimal():
            continue
        if part not in known:
            where = f" in {'.'.join(before)}" if before else ""
            hint = nearest(part, [*known, *(() if before else others)])
            also = "" if before else "".join(f"; {word} is {key}" for word, key in others.items())
            raise InputError(
                f"--query {query.text!r}: there is no key {part!r}{where}{hint}; keys: {', '.join(known)}{also}."
            )
        before.append(part)
        inner = known[part]
        if inner is None:
            return
        known = inner


def _padded(one: Mapping[str, Any], fields: Sequence[str]) -> Mapping[str, Any]:
    """Return an object in which each field of an expression is there, if only as null, as MongoDB takes it."""
    if not fields:
        return one
    padded: dict[str, Any] = deepcopy(dict(one))
    for field in fields:
        place: Any = padded
        *parents, last = field.split(".")
        for parent in parents:
            if isinstance(place, dict):
                place[parent] = {} if place.get(parent) is None else place[parent]
                place = place[parent]
        if isinstance(place, dict):
            place.setdefault(last, None)
    return padded


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
