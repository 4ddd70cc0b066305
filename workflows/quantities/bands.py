"""Bands of each relaxed 1×1 host along Γ–M–K–Γ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...analysis.arrays import Bands
from ...analysis.electrons.bandpath import PATH
from ...analysis.report.content import Panel
from ...analysis.report.panels import bands_payload
from .. import start_structures
from .base import Figure, HostPart, PlannedHost, Quantity, QuantityContent, QuantityPlan, recorded
from .layers import layers_of

if TYPE_CHECKING:
    from pathlib import Path

    from ...analysis.model_result import HostRecords, ModelResult
    from ...analysis.records import Record
    from ..calculation import Calculation
    from ..database.documents import Documents
    from .declare import Declare


class BandStructure(Quantity):
    """Bands of the 1×1 host of each monolayer, at fixed density."""

    name = "bands"
    kinds = frozenset({"bands"})
    words = {"bands": "Γ–M–K–Γ of the relaxed 1×1 host", "1x1": "1×1, relax"}

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the relaxed 1×1 host of each monolayer, and its bands."""
        protocol = declare.campaign.protocol
        shared: dict[str, Calculation] = {}
        bands: dict[str, Calculation] = {}
        for layer in layers_of(declare, hosts, self.name):
            structure = declare.primitive_host(layer)
            label = start_structures.read_host(structure).label
            host = declare("relax", structure, {}, label, protocol)
            bands[layer] = declare(
                "bands", start_structures.geometry(), {"geometry": host}, f"{label}/bands", protocol
            )
            shared |= {f"{layer}/1x1": host, f"{layer}/bands": bands[layer]}
        parts = {host.name: HostPart({"bands": bands[host.layer]}) for host in hosts if host.layer is not None}
        return QuantityPlan(shared, parts)

    def draw(self, result: ModelResult, documents: Documents) -> QuantityContent:
        """Draw the bands under the first model that the 1×1 host belongs to."""
        identifier = result.host.identifier(self.name, "bands")
        record = result.host.record(self.name, "bands")
        models = result.host.campaign.models
        first = next(m for m in models if result.host.of(m.name).identifier(self.name, "bands") == identifier)
        if record is None or record.geometry is None or first.name != result.model:
            return QuantityContent()
        bands = documents.arrays(record, "bands")
        if not isinstance(bands, Bands):
            return QuantityContent()
        words = f"Bands of the 1×1 host of {result.model} along {'–'.join(PATH)}"
        payload = bands_payload(bands, np.array(record.geometry.cell_a))
        return QuantityContent(panels=[Panel("bands", payload, words, f"{words}; spin down dashed.")])

    def figures(self, results: Sequence[ModelResult], documents: Documents) -> dict[str, Figure]:
        """Draw the bands of each 1×1 host."""
        records = recorded([result.host for result in results], self.name)
        return {f"bands-{record.label.partition('/')[0]}": _figure(record, documents) for record in records}

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Name the path of the bands."""
        if not recorded(hosts, self.name):
            return []
        return [f"Bands are along {'–'.join(PATH)} of the 1×1 cells, at fixed density."]


def _figure(record: Record, documents: Documents) -> Figure:
    def draw(path: Path, mock: bool) -> None:
        from ...analysis.figures.plots import bands_plot

        bands = documents.arrays(record, "bands")
        if isinstance(bands, Bands) and record.geometry is not None:
            bands_plot(bands, np.array(record.geometry.cell_a), record.label.partition("/")[0], path, mock)

    return draw
