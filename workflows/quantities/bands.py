"""Bands of each relaxed 1×1 host along the path of its lattice, Γ–M–K–Γ of a hexagonal one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...analysis.arrays import Bands
from ...analysis.electrons.bandpath import path_points, path_words
from ...analysis.electrons.characters import characters
from ...analysis.electrons.gap_and_dos import ElectronicError
from ...analysis.report.content import Panel
from ...analysis.report.panels import bands_payload
from ...analysis.words import distinct, listed
from .. import start_structures
from ..campaign.protocol import flatten
from ..campaign.yaml import InputError
from .base import Figure, HostPart, PlannedHost, Quantity, QuantityContent, QuantityPlan, recorded
from .layers import Sheet, sheets_of

if TYPE_CHECKING:
    from pathlib import Path

    from ...analysis.model_result import HostRecords, ModelResult
    from ...analysis.records import Record
    from ..calculation import Calculation
    from ..database.documents import Documents
    from .declare import Declare


MISSED_EV = 0.03
"""A gap on a mesh that is wider than along the path by more misses a band edge; the two cells' relaxations do not."""


class BandStructure(Quantity):
    """Bands of the 1×1 host of each sheet, at fixed density."""

    name = "bands"
    kinds = frozenset({"bands"})
    words = {"bands": "along the path of the relaxed 1×1 host", "1x1": "1×1, relax"}

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the relaxed 1×1 host of each monolayer and structure file, and its bands."""
        protocol = declare.campaign.protocol
        shared: dict[str, Calculation] = {}
        parts: dict[str, HostPart] = {}
        for sheet in sheets_of(declare, hosts):
            structure = declare.primitive_host(sheet.origin)
            host = declare("relax", structure, {}, sheet.name, protocol)
            self._refuse_pathless(declare, sheet, structure)
            bands = declare("bands", start_structures.geometry(), {"geometry": host}, f"{sheet.name}/bands", protocol)
            shared |= {f"{sheet.name}/1x1": host, f"{sheet.name}/bands": bands}
            parts |= {name: HostPart({"bands": bands}) for name in sheet.hosts}
        return QuantityPlan(shared, parts)

    def _refuse_pathless(self, declare: Declare, sheet: Sheet, structure: start_structures.Operation) -> None:
        points = flatten(declare.campaign.protocol, "bands").get("band_points")
        try:
            if points is not None:
                path_points(start_structures.read_host(structure).pristine.cell.array, points)
        except ElectronicError as error:
            raise InputError(f"{declare.where}: quantities: {self.name}: {sheet.name}: {error}.") from None

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """Say where the mesh of a clean host's DOS misses band edges that the path of its 1×1 cell has."""
        lines = {}
        for result in results:
            mesh, path = result.host.record("dos", "dos"), result.host.record(self.name, "bands")
            if mesh is None or path is None or "+" in result.host.model.label:
                continue
            wide, narrow = mesh.gap, path.gap
            if wide is None or narrow is None or wide.gap_ev - narrow.gap_ev <= MISSED_EV:
                continue
            edge = "no gap" if narrow.nature == "metal" else f"{narrow.gap_ev:.3f} eV"
            lines[mesh.calculation] = (
                f"WARNING: {result.model}: the mesh of its DOS misses band edges: the gap is {wide.gap_ev:.3f} eV on "
                f"the mesh and {edge} along the path; raise dos.kpoint_length_a."
            )
        return list(lines.values())

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
        words = f"Bands of the 1×1 host of {result.model} along {path_words(np.array(record.geometry.cell_a))}"
        weights = characters(bands, record.geometry)
        payload = bands_payload(bands, np.array(record.geometry.cell_a), weights)
        thick = f" As thick as the weights on {listed(weights)}, as the code projects, no shares." if weights else ""
        return QuantityContent(panels=[Panel("bands", payload, words, f"{words}; spin down dashed.{thick}")])

    def figures(self, results: Sequence[ModelResult], documents: Documents) -> dict[str, Figure]:
        """Draw the bands of each 1×1 host."""
        hosts = [result.host for result in results]
        names = _sheet_names(hosts)
        sheets = {names[record.calculation]: record for record in recorded(hosts, self.name)}
        return {f"bands-{sheet}": _figure(sheet, record, documents) for sheet, record in sheets.items()}

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Say along which path the bands are."""
        cells = [record.geometry.cell_a for record in recorded(hosts, self.name) if record.geometry is not None]
        if not cells:
            return []
        paths = distinct(path_words(np.array(cell)) for cell in cells)
        return [f"Bands are along {paths} of the 1×1 cells, at fixed density."]


def _sheet_names(hosts: Sequence[HostRecords]) -> dict[str, str]:
    """Return the campaign's name of each sheet by the id of its bands: two files may have one formula."""
    return {
        named.calculation: named.name.rpartition("/")[0]
        for host in hosts[:1]
        for named in host.campaign.calculations
        if named.name.endswith("/bands")
    }


def _figure(sheet: str, record: Record, documents: Documents) -> Figure:
    def draw(path: Path, mock: bool) -> None:
        from ...analysis.figures.plots import BandsDrawn, bands_plot

        bands = documents.arrays(record, "bands")
        if isinstance(bands, Bands) and record.geometry is not None:
            weights = characters(bands, record.geometry)
            bands_plot(BandsDrawn(bands, np.array(record.geometry.cell_a), sheet, weights), path, mock)

    return draw
