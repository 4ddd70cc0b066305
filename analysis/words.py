"""Words for sentences: lists, and values each once."""

from __future__ import annotations

from collections.abc import Iterable


def listed(words: Iterable[str]) -> str:
    """Return ``a, b and c``."""
    every = list(words)
    return " and ".join([", ".join(every[:-1]), every[-1]]) if len(every) > 1 else "".join(every)


def distinct(values: Iterable[str | None]) -> str:
    """Return the distinct values that there are, as a list."""
    return listed(dict.fromkeys(value for value in values if value))
