"""The figures of a campaign, from its results and records: a run draws them, and so does a supplement."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...analysis.arrays import Bands, Dos
from ...analysis.campaign_entry import CampaignEntry
from ...analysis.energies.adsorption import ModelResult
from ...analysis.records import Record
from ..database.documents import Documents
from .rows import as_objects, to_csv


def spectra_of(entry: CampaignEntry, records: Mapping[str, Record]) -> dict[str, Record]:
    """Return the recorded DOS calculation of each host that has one, by the host's name."""
    return {m.name: records[m.dos] for m in entry.models if m.dos is not None and m.dos in records}


def draw_bars(models: Sequence[ModelResult], path: Path, mock: bool) -> None:
    """Draw the adsorption energies of the best sites, in the format of the path's suffix."""
    from ...analysis.figures.plots import AdsorptionBar, adsorption_bars

    rows = [
        AdsorptionBar(
            m.model,
            m.adsorption_energy_ev,
            m.paper_adsorption_energy_ev,
            m.site,
            m.reasons[0] if m.reasons and m.adsorption_energy_ev is None else None,
        )
        for m in models
    ]
    adsorption_bars(rows, path, mock)


def draw_bands(documents: Documents, record: Record, path: Path, mock: bool) -> None:
    """Draw the bands of a 1×1 host along their path, in the format of the path's suffix."""
    from ...analysis.figures.plots import bands_plot

    bands = documents.arrays(record, "bands")
    if isinstance(bands, Bands) and record.geometry is not None:
        bands_plot(bands, np.array(record.geometry.cell_a), record.label.partition("/")[0], path, mock)


def draw_dos(documents: Documents, spectra: Mapping[str, Record], path: Path, mock: bool) -> None:
    """Draw the densities of states of `spectra_of`, in the format of the path's suffix."""
    from ...analysis.figures.plots import dos_plot

    arrays = {name: documents.arrays(record, "dos") for name, record in spectra.items()}
    gaps = {name: record.gap for name, record in spectra.items() if record.gap is not None}
    dos_plot({name: dos for name, dos in arrays.items() if isinstance(dos, Dos)}, gaps, path, mock)


def result_files(
    documents: Documents,
    entry: CampaignEntry,
    models: list[ModelResult],
    records: Mapping[str, Record],
    root: Path,
    anew: bool,
) -> list[Path]:
    """Write the figures and the table, which comes last; what is there stays if nothing changed since."""
    folder = root / "results" / f"{entry.campaign}-{entry.engine}-{entry.method_id}"
    table, bars, dos = folder / "results.csv", folder / "adsorption.png", folder / "dos.png"
    wanted = [table]
    if any(model.adsorption_energy_ev is not None for model in models):
        wanted.append(bars)
    spectra = spectra_of(entry, records)
    if spectra:
        wanted.append(dos)
    content = to_csv(as_objects(models))
    if not anew and all(path.exists() for path in wanted) and table.read_text(encoding="utf-8") == content:
        return wanted
    folder.mkdir(parents=True, exist_ok=True)
    mock = not all(model.physical for model in models)
    if bars in wanted:
        with _whole(bars) as draft:
            draw_bars(models, draft, mock)
    if spectra:
        with _whole(dos) as draft:
            draw_dos(documents, spectra, draft, mock)
    with _whole(table) as draft:
        draft.write_text(content, encoding="utf-8")
    return wanted


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Yield a name to write to; the file gets its own name once it is whole."""
    draft = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
