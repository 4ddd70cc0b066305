"""The figures and the table of a campaign as files, for runs and supplements."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from ...analysis.campaign_entry import CampaignEntry
from ...analysis.model_result import ModelResult
from ..database.documents import Documents
from ..quantities import quantities
from ..quantities.base import Figure
from .rows import to_csv


def figures(results: Sequence[ModelResult], documents: Documents) -> dict[str, Figure]:
    """Return the functions that draw the figures of all quantities, by the figure's name."""
    return {
        name: draw
        for quantity in quantities().values()
        for name, draw in quantity.figures(results, documents).items()
    }


def prepare_drawing() -> None:
    """Import and warm up what draws figures, in a thread: while workers compute, their run has nothing to do."""

    def prepare() -> None:
        from ...analysis.figures import plots, style  # noqa: F401

        style.warm()

    Thread(target=prepare, name="figures", daemon=True).start()


def write_files(
    documents: Documents, entry: CampaignEntry, results: Sequence[ModelResult], root: Path, anew: bool
) -> list[Path]:
    """Write the figures, then the table; unless ``anew``, keep existing files if the table would not change."""
    folder = root / "results" / f"{entry.campaign}-{entry.engine}-{entry.method_id}"
    table = folder / "results.csv"
    drawings = {folder / f"{name}.png": draw for name, draw in figures(results, documents).items()}
    paths = [table, *drawings]
    content = to_csv(results)
    if not anew and all(path.exists() for path in paths) and table.read_text(encoding="utf-8") == content:
        return paths
    folder.mkdir(parents=True, exist_ok=True)
    mock = not all(result.physical for result in results)
    for path, draw in drawings.items():
        with _whole(path) as draft:
            draw(draft, mock)
    with _whole(table) as draft:
        draft.write_text(content, encoding="utf-8")
    return paths


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a draft's path, and rename the draft once it is complete."""
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
