"""The figures of a campaign, from its results and records: a run draws them, and so does a supplement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..analysis.arrays import Bands, Dos
from ..analysis.campaign_entry import CampaignEntry
from ..analysis.energies.adsorption import ModelResult
from ..analysis.records import Record
from .database.documents import Documents


def spectra_of(entry: CampaignEntry, records: Mapping[str, Record]) -> dict[str, Record]:
    """Return the recorded DOS calculation of each host that has one, by the host's name."""
    return {m.name: records[m.dos] for m in entry.models if m.dos is not None and m.dos in records}


def draw_bars(models: Sequence[ModelResult], path: Path, mock: bool) -> None:
    """Draw the adsorption energies of the best sites, in the format of the path's suffix."""
    from ..analysis.figures.plots import AdsorptionBar, adsorption_bars

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
    from ..analysis.figures.plots import bands_plot

    bands = documents.arrays(record, "bands")
    if isinstance(bands, Bands) and record.geometry is not None:
        bands_plot(bands, np.array(record.geometry.cell_a), record.label.partition("/")[0], path, mock)


def draw_dos(documents: Documents, spectra: Mapping[str, Record], path: Path, mock: bool) -> None:
    """Draw the densities of states of `spectra_of`, in the format of the path's suffix."""
    from ..analysis.figures.plots import dos_plot

    arrays = {name: documents.arrays(record, "dos") for name, record in spectra.items()}
    gaps = {name: record.gap for name, record in spectra.items() if record.gap is not None}
    dos_plot({name: dos for name, dos in arrays.items() if isinstance(dos, Dos)}, gaps, path, mock)
