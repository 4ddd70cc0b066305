"""Words for sentences: lists, and values each once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def listed(words: Iterable[str]) -> str:
    """Return ``a, b and c``."""
    items = list(words)
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def distinct(values: Iterable[str | None]) -> str:
    """Return the distinct values that are not empty, as ``a, b and c``."""
    return listed(dict.fromkeys(value for value in values if value))


def formula(count: Mapping[str, int]) -> str:
    """Return how many atoms there are of each element as ``MoS2``, in the order given."""
    return "".join(f"{element}{number if number > 1 else ''}" for element, number in count.items())
