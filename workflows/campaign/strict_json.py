"""JSON as programs write it: every value one that JSON knows, and none that only a mistake or malice gives."""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 50
"""Levels of nesting; what sodiate reads has ten."""

_LONGEST_NUMBER = 40


def read_json(text: str) -> Any:
    """Read one JSON value.

    Raises
    ------
    ValueError
        If it is not JSON; if a key is given twice, a number is not finite or takes more than 64 bits, or it is nested
        too deeply.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_no_number,
            parse_float=_finite,
            parse_int=_short,
        )
    except RecursionError:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep") from None
    _refuse_deep(value)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return values


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no finite number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text[:_LONGEST_NUMBER])


def _short(text: str) -> int:
    if len(text) > _LONGEST_NUMBER or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"the number {text[:20]}… takes more than 64 bits")
    return int(text)


def _refuse_deep(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")
