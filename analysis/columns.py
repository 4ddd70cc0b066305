"""Columns of tables: each value that results show, named once for JSON, csv, terminal, page and manuscript."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
        for the element, ``{mock}`` for the mark of dry-run values.
    digits
        Digits after the point in tables; None for text.
    physical_only
        The media (``table``, ``page``, ``manuscript``) that leave it out for mock values.
    in_csv
        Turns the value into a cell of a csv; None for a value that csv leaves out.
    only_with_values
        True for one that tables leave out where no row has a value.
    of_sites
        True for one of adsorption sites, which tables leave out where no row has any.
    in_json
        False for a value that JSON has inside another value.
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
    only_with_values: bool = False
    of_sites: bool = False

    def head(self, medium: str, physical: bool, adsorbate: str = "") -> str | None:
        """Return its head in ``table``, ``page`` or ``manuscript``; None where it is not shown."""
        head: str | None = getattr(self, medium)
        if head is None or (medium in self.physical_only and not physical):
            return None
        mock = {"table": " mock", "page": " (mock)"}.get(medium, "")
        return head.format(adsorbate=adsorbate, mock="" if physical else mock)

    def is_shown(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Tell whether a table with these rows, values by key, shows it."""
        given = list(rows)
        if self.of_sites and given and not any(row["sites"] for row in given):
            return False
        return not self.only_with_values or any(row[self.key] is not None for row in given)

    def text(self, value: Any, digits: int | None = None) -> str | None:
        """Return a value as a table shows it, None if it is missing; ``digits`` overrides those of the column."""
        places = self.digits if digits is None else digits
        return value if value is None or self.digits is None else f"{value:.{places}f}"
