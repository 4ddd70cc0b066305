"""Results as people read them: the table in a terminal, and the lines under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...analysis.adsorbates import written
from ...analysis.model_result import ModelResult
from ...analysis.records import MOCK
from ..quantities import quantities
from .rows import columns

if TYPE_CHECKING:
    from rich.table import Table


def results_table(results: Sequence[ModelResult], title: str) -> Table:
    """Return the table of the best site of each host, the paper's value in a column of its own."""
    from rich.table import Table
    from rich.text import Text

    physical = all(result.physical for result in results)
    header = Text(title)
    if not physical:
        header.append(f"\n{MOCK}", style="bold red")
    # Values that all rows share stand in the title, so that the numbers fit into 80 columns.
    words = {"supercell": "{} cells", "engine": "engine {}", "method_id": "method {}"}
    row_keys = [key for key in words if len({getattr(result, key) for result in results}) > 1]
    if results:
        shared = [words[key].format(getattr(results[0], key)) for key in words if key not in row_keys]
        header.append(f"\n{', '.join(shared)}" if shared else "")
    table = Table(title=header, title_justify="left")
    adsorbates = "/".join(sorted({written(result.adsorbate) for result in results}) or ["Na"])
    shown = [column for column in columns() if column.is_shown(result.values for result in results)]
    heads = {column: head for column in shown if (head := column.head("table", physical, adsorbates)) is not None}
    texts = [column for column in heads if column.digits is None]
    numbers = [column for column in heads if column.digits is not None]
    for name in ("model", *(key.split("_")[0] for key in row_keys), *(heads[column] for column in texts)):
        table.add_column(name, overflow="fold")
    for column in numbers:
        table.add_column(heads[column], justify="right", min_width=6)
    with_sites = any(result.adsorption.sites for result in results) or not results
    if with_sites:
        table.add_column("sites", justify="right", min_width=3)
    for result in results:
        sites = result.adsorption.sites
        count = sum(site.adsorption_energy_ev is not None for site in sites)
        table.add_row(
            *(getattr(result, key) for key in ("model", *row_keys)),
            *(column.text(result.values[column.key]) or "—" for column in (*texts, *numbers)),
            *([f"{count}/{len(sites)}" if sites else "—"] if with_sites else []),
        )
    return table


def remark_lines(results: Sequence[ModelResult]) -> list[str]:
    """Return the lines under the table: effects of changes, remarks of quantities, notes, missing parts."""
    return [*effect_lines(results), *note_lines(results)]


def note_lines(results: Sequence[ModelResult]) -> list[str]:
    """Return the lines under the table except for effects, for which the page has a table."""
    remarks = [line for quantity in quantities().values() for line in quantity.remarks(results)]
    return [*remarks, *grouped_lines(results, "notes"), *grouped_lines(results, "reasons")]


def effect_lines(results: Sequence[ModelResult]) -> list[str]:
    """Return a line for each model with a baseline: the differences, and their effect on ΔE."""
    return [
        f"{result.model} against {result.compare_with}: {'; '.join(result.changes) or 'nothing differs'}: "
        + ("not known yet" if result.effect_ev is None else f"{result.effect_ev:+.3f} eV")
        + ("" if result.physical else f", {MOCK}")
        for result in results
        if result.compare_with is not None and result.adsorption.sites
    ]


def grouped_lines(results: Sequence[ModelResult], key: str) -> list[str]:
    """Return a line for each host and different reason or note (``key``), with all parts that have it."""
    lines = []
    for result in results:
        parts: dict[str, list[str]] = {}
        for text in getattr(result, key):
            part, _, words = text.partition(": ")
            parts.setdefault(words, []).append(part)
        lines += [f"{result.model}: {', '.join(names)}: {words}" for words, names in parts.items()]
    return lines
