"""Words for sentences: lists, and values each once."""

from __future__ import annotations

from collections.abc import Iterable


def listed(words: Iterable[str]) -> str:
    """Return ``a, b and c``."""
    items = list(words)
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def distinct(values: Iterable[str | None]) -> str:
    """Return the distinct values that are not empty, as ``a, b and c``."""
    return listed(dict.fromkeys(value for value in values if value))
