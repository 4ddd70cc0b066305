"""Columns of tables: each value that results show, named once for JSON, csv, terminal, page and manuscript."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Column:
    """One value of a host.

    Attributes
    ----------
    key
        In JSON and csv, with its unit; also the attribute of a `sodiate.analysis.model_result.ModelResult`.
    get
        Takes it from the result of the quantity that it belongs to.
    table, page, manuscript
        Its head in the terminal, on the page and in a manuscript; None where it is not shown. ``{adsorbate}`` stands
        for the element, ``{mock}`` for what marks a value of a dry run.
    digits
        Digits after the point in tables; None for text.
    physical_only
        Where (``table``, ``page``, ``manuscript``) it is not shown beside mock values.
    in_csv
        What a csv has of it; None for a value that is no single cell.
    in_json
        False for what JSON has inside another value.
    """

    key: str
    get: Callable[[Any], Any]
    table: str | None = None
    page: str | None = None
    manuscript: str | None = None
    digits: int | None = 3
    physical_only: tuple[str, ...] = ()
    in_csv: Callable[[Any], Any] | None = _same
    in_json: bool = True

    def head(self, where: str, physical: bool, adsorbate: str = "") -> str | None:
        """Return its head in ``table``, ``page`` or ``manuscript``; None where it is not shown."""
        head: str | None = getattr(self, where)
        if head is None or (where in self.physical_only and not physical):
            return None
        mock = {"table": " mock", "page": " (mock)"}.get(where, "")
        return head.format(adsorbate=adsorbate, mock="" if physical else mock)

    def text(self, value: Any, digits: int | None = None) -> str | None:
        """Return a value as a table shows it, with other digits if some are given; None for one that is not there."""
        places = self.digits if digits is None else digits
        return value if value is None or self.digits is None else f"{value:.{places}f}"
