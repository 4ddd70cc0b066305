"""Densities of states, band gaps, levels of vacancies and work functions of the hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ...analysis.arrays import Bands, Dos
from ...analysis.columns import Column
from ...analysis.electrons.defect_levels import CleanHost, DefectLevels, defect_levels
from ...analysis.electrons.gap_and_dos import ElectronicError, projected_fraction
from ...analysis.energies.comparability import ProtocolMismatch, check_method
from ...analysis.report.content import Panel
from ...analysis.report.panels import dos_payload, folded_gamma, level_lines, levels_payload
from ...analysis.words import distinct
from .. import start_structures
from ..calculation import LOWEST, without_nulls
from ..campaign.protocol import Changes, Protocol, flatten
from ..engines.shared.grids import length_that_holds_k
from ..start_structures import next_to_defects, sublattices, without_defects
from .base import Figure, HostPart, PlannedHost, Quantity, QuantityContent, QuantityPlan, recorded

if TYPE_CHECKING:
    from pathlib import Path

    from ...analysis.model_result import HostRecords, ModelResult
    from ...analysis.records import Record
    from ..calculation import Calculation
    from ..database.documents import Documents
    from .declare import Declare


@dataclass(frozen=True)
class GapResult:
    """The band gap (eV) from the eigenvalues of a host's DOS calculation."""

    band_gap_ev: float | None
    gap_nature: Literal["direct", "indirect", "metal"] | None
    reasons: tuple[str, ...]


def host_dos(declare: Declare, host: PlannedHost) -> Calculation:
    """Declare the DOS of a relaxed host, on a given mesh, or on one that holds K if it is hexagonal."""
    label = f"{host.calculation.label}/dos"
    return declare("dos", start_structures.geometry(), {"geometry": host.calculation}, label, _protocol(host))


def best_dos(declare: Declare, host: PlannedHost) -> Calculation:
    """Declare the DOS of a host with the adsorbate at its best site, on the mesh of the host's."""
    assert host.lowest is not None  # the planner leaves out hosts without sites
    label = f"{host.calculation.label}/dos/best"
    return declare("dos", start_structures.chosen("all"), {LOWEST: host.lowest}, label, _protocol(host))


def _protocol(host: PlannedHost) -> Protocol:
    """Return the protocol of a host with the mesh of its DOS."""
    protocol, keys = host.protocol, flatten(host.protocol, "dos")
    given = keys.get("kpoint_length_a")
    if given is not None and "kpoint_mesh" not in keys:
        ideal = start_structures.read_host(host.calculation.structure).pristine
        length = length_that_holds_k(ideal, host.repeat, given)
        if length != given:
            protocol = protocol.changed(Changes.model_validate({"dos": {"kpoint_length_a": length}}))
    return protocol


def _projections(dos: Dos) -> str:
    fraction = projected_fraction(dos)
    if fraction is None or abs(fraction - 1.0) < 0.005:
        return ""
    return (
        f" Projections are weights on atoms, no shares: over the valence bands they add up to {fraction:.2f} of the "
        "total."
    )


def _levels(host: HostRecords, record: Record, bands: Bands, documents: Documents) -> DefectLevels | str | None:
    """Return the levels of a host's vacancies, or why they cannot be told; None if it has none."""
    calculation = documents.calculation(host.model.host)
    next_to = next_to_defects(calculation)
    if not next_to:
        return None
    clean = _clean(host, record, calculation, documents)
    try:
        return defect_levels(bands, next_to, sublattices(calculation), record.vacuum_ev, clean)
    except ElectronicError as error:
        return str(error)


def _clean(host: HostRecords, own: Record, calculation: Calculation, documents: Documents) -> CleanHost | None:
    """Return the bands of the campaign's model of the same cell without defects, if they are recorded."""
    wanted = without_nulls(without_defects(calculation.structure))
    for model in host.campaign.models:
        record = host.of(model.name).record("dos", "dos")
        other = documents.calculation(model.host)
        if record is None or without_nulls(other.structure) != wanted:
            continue
        try:
            check_method(own, record)
        except ProtocolMismatch:
            continue
        bands = documents.arrays(record, "bands")
        if isinstance(bands, Bands) and bands.by_atom is not None:
            return CleanHost(bands, sublattices(other), record.vacuum_ev)
    return None


class DensityOfStates(Quantity):
    """The DOS of each host, and its band gap."""

    name = "dos"
    kinds = frozenset({"dos"})
    words = {"dos": "DOS and gap"}
    columns = (
        Column(
            "band_gap_ev",
            lambda r: r.band_gap_ev,
            table="gap (eV){mock}",
            page="gap{mock} / eV",
            manuscript="gap (eV)",
            only_with_values=True,
        ),
        Column("gap_nature", lambda r: r.gap_nature, digits=None),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare a DOS for each host."""
        calculations = {host.name: host_dos(declare, host) for host in hosts}
        return QuantityPlan(
            {}, {name: HostPart({"dos": dos}, names={f"{name}/dos": dos}) for name, dos in calculations.items()}
        )

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> GapResult:
        """Take the gap from the record of the eigenvalues."""
        record = host.record(self.name, "dos")
        gap = None if record is None else record.gap
        reasons = host.lacking(self.name, {"dos": "gap"})
        return GapResult(gap.gap_ev if gap else None, gap.nature if gap else None, reasons)

    def draw(self, result: ModelResult, documents: Documents) -> QuantityContent:
        """Draw the DOS with its zeros, and state gap, levels of vacancies and work functions."""
        record = result.host.record(self.name, "dos")
        if record is None:
            return QuantityContent()
        dos, bands = documents.arrays(record, "dos"), documents.arrays(record, "bands")
        bands = bands if isinstance(bands, Bands) else None
        lines, found = [], None
        if record.gap is not None and bands is not None:
            found = _levels(result.host, record, bands, documents)
            gamma = "Γ"
            if record.sampling is not None:
                gamma = folded_gamma(result.host.model.supercell, record.sampling.cell_a)
            lines = level_lines(record.gap, record.vacuum_ev, found, len(bands.energies_ev), gamma)
        if not isinstance(dos, Dos):
            return QuantityContent(lines)
        payload = dos_payload(dos, bands, record.vacuum_ev)
        published = "" if result.paper_adsorption_energy_ev is None else "The paper's Figure 5g–i, S22. "
        caption = (
            f"{published}Broadened by Gaussians of {payload['broadening']} eV; dotted: the Fermi level"
            f"{'; spin down below zero' if len(dos.total) > 1 else ''}. Further curves by a click on their names."
            f"{_projections(dos)}"
        )
        panels = [Panel("dos", payload, f"Density of states of {result.model}; {'; '.join(lines)}", caption)]
        if record.gap is not None and record.vacuum_ev is not None:
            levels = levels_payload(record.gap, dos.fermi_ev, record.vacuum_ev, found)
            words = f"Levels of {result.model} against the vacuum above its top"
            panels.append(Panel("levels", levels, words, f"{words}; levels of vacancies between the band edges."))
        return QuantityContent(lines, panels)

    def figures(self, results: Sequence[ModelResult], documents: Documents) -> dict[str, Figure]:
        """Draw the DOS of all hosts in one figure."""
        records = {result.model: result.host.record(self.name, "dos") for result in results}
        dos_records = {name: record for name, record in records.items() if record is not None}
        if not dos_records:
            return {}

        def draw(path: Path, mock: bool) -> None:
            from ...analysis.figures.plots import dos_plot

            arrays = {name: documents.arrays(record, "dos") for name, record in dos_records.items()}
            gaps = {name: record.gap for name, record in dos_records.items() if record.gap is not None}
            dos_plot({name: dos for name, dos in arrays.items() if isinstance(dos, Dos)}, gaps, path, mock)

        return {"dos": draw}

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Name the meshes of the eigenvalues."""
        samplings = [record.sampling for record in recorded(hosts, self.name) if record.sampling is not None]
        meshes = distinct("×".join(map(str, s.kmesh)) for s in samplings if s.kmesh is not None)
        return [f"Densities of states and band gaps are from eigenvalues on {meshes} meshes."] if meshes else []
