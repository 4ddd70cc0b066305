"""The distance of layers above each other: of a crystal by E(d), of layers in vacuum in their relaxed geometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...analysis.columns import Column
from ...analysis.energies.interlayer import distance_between, least_distance
from ...analysis.records import MOCK
from ...structures.geometry import sheets
from ...structures.stacks import Stack
from ..campaign.yaml import InputError
from ..start_structures import Host, read_host
from .base import HostPart, PlannedHost, Quantity, QuantityPlan

if TYPE_CHECKING:
    from ...analysis.model_result import HostRecords, ModelResult
    from ...analysis.records import Record
    from .declare import Declare

SCALES = (0.96, 0.98, 1.0, 1.02, 1.04)
"""Distances of a crystal's layers in units of the declared one."""

MARGIN_A = 0.1
"""Warn of a declared distance that differs from the computed one by more than this."""


@dataclass(frozen=True)
class InterlayerResult:
    """Distances (Å) of neighbouring layers: as declared, computed without an adsorbate, and with it at its best site.

    The last is of layers in vacuum alone: a crystal has the cell that was declared.
    """

    declared_interlayer_a: float
    interlayer_a: float | None
    interlayer_with_adsorbate_a: float | None
    by_energy: bool
    reasons: tuple[str, ...]


class Interlayer(Quantity):
    """The distance of layers of each host that has several."""

    name = "interlayer"
    kinds = frozenset({"relax"})
    of_some_hosts = True
    words = {"": "layers at another distance, 1×1"}
    columns = (
        Column("declared_interlayer_a", lambda r: r.declared_interlayer_a),
        Column(
            "interlayer_a",
            lambda r: r.interlayer_a,
            page="interlayer distance{mock} / Å",
            manuscript="interlayer distance (Å)",
            only_with_values=True,
        ),
        Column(
            "interlayer_with_adsorbate_a",
            lambda r: r.interlayer_with_adsorbate_a,
            page="with the adsorbate{mock} / Å",
            only_with_values=True,
        ),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare relaxations of each crystal at several distances; of layers in vacuum take what is there.

        Raises
        ------
        InputError
            If no host has layers above each other.
        """
        parts = {}
        for host in hosts:
            ideal = read_host(host.calculation.structure)
            if isinstance(host.origin, Stack) and host.origin.periodic:
                parts[host.name] = _scan(declare, host, host.origin)
            elif ideal.galleries:
                parts[host.name] = HostPart({"host": host.calculation}, _layers(ideal))
        if not parts:
            raise InputError(
                f"{declare.where}: quantities: {self.name}: no model has layers above each other; give one a stack."
            )
        return QuantityPlan({}, parts)

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> InterlayerResult | None:
        """Fit E(d), or measure the relaxed geometry; None for a host with a single layer."""
        entry = host.model.quantities.get(self.name)
        if entry is None:
            return None
        said = entry.declared
        lacking = host.lacking(self.name, {"host": "interlayer distance"})
        if "scan" not in said:
            bare, best = host.record(self.name, "host"), host.of_site(results["adsorption_energy"].site)
            return InterlayerResult(said["declared_a"], _measured(said, bare), _measured(said, best), False, lacking)
        empty = InterlayerResult(said["declared_a"], None, None, True, lacking)
        records = {distance: host.record(self.name, role) for role, distance in said["scan"].items()}
        energies = {d: record.energy_ev for d, record in records.items() if record and record.energy_ev is not None}
        if len(energies) < len(records):
            return empty
        found = least_distance(energies)
        if isinstance(found, str):
            return replace(empty, reasons=(f"interlayer distance: {found}",))
        return replace(empty, interlayer_a=found[0])

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """Say each distance beside the declared one, with a warning where they are apart."""
        lines = []
        for result in results:
            found: InterlayerResult | None = result.quantities.get(self.name)
            if found is None or found.interlayer_a is None:
                continue
            mock = "" if result.physical else f", {MOCK}"
            how = "by E(d)" if found.by_energy else "relaxed"
            with_ion = found.interlayer_with_adsorbate_a
            more = "" if with_ion is None else f", {with_ion:.3f} Å with {result.adsorbate} at its best site"
            lines.append(
                f"{result.model}: layers {found.interlayer_a:.3f} Å apart {how}{more}, "
                f"{found.declared_interlayer_a:.3f} Å declared{mock}"
            )
            if (
                abs(found.interlayer_a - found.declared_interlayer_a) > MARGIN_A
                and found.by_energy
                and result.physical
            ):
                lines.append(
                    f"WARNING: {result.model}: computed in a cell that is off by more than {MARGIN_A:g} Å along c; "
                    "declare the computed distance as interlayer_a, or ask why they differ."
                )
        return lines

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Say how distances of crystals were found."""
        asked = [entry for host in hosts if (entry := host.model.quantities.get(self.name)) is not None]
        if not any("scan" in entry.declared for entry in asked):
            return []
        return [
            f"Distances of layers in crystals are those of least energy of a cubic through {len(SCALES)} relaxations "
            "at fixed distances, the lattice in the plane as declared."
        ]


def _scan(declare: Declare, host: PlannedHost, stack: Stack) -> HostPart:
    """Return the relaxations of a crystal's smallest cell with its layers at several distances."""
    if "kpoint_mesh" in host.calculation.protocol:
        raise InputError(
            f"{declare.where}: quantities: interlayer: model {host.name}: kpoint_mesh fixes the mesh of one cell by "
            "hand, and its layers are moved in the smallest one; give kpoint_length_a."
        )
    calculations, distances = {}, {}
    for scale in SCALES:
        distance = round(stack.distance_a * scale, 4)
        structure = declare.primitive_host(replace(stack, distance_a=distance))
        role = f"interlayer-{distance:g}"
        label = f"{read_host(structure).label}/{role}"
        calculations[role] = declare("relax", structure, {}, label, host.protocol)
        distances[role] = distance
    names = {f"{host.name}/{role}": calculation for role, calculation in calculations.items()}
    return HostPart(calculations, {"declared_a": stack.distance_a, "scan": distances}, names=names)


def _layers(ideal: Host) -> dict[str, Any]:
    """Return the sheets of an ideal host in vacuum as they are measured."""
    missing = {defect.index for defect in ideal.defects if defect.replacement is None}
    kept = [index for index in range(len(ideal.pristine)) if index not in missing]
    numbers = {index: number for number, index in enumerate(kept)}
    heights = ideal.pristine.positions[:, 2]
    found = sheets(ideal.pristine)
    own = [[numbers[index] for index in sheet.tolist() if index in numbers] for sheet in found]
    distances = np.diff([float(heights[sheet].mean()) for sheet in found])
    return {
        "declared_a": round(float(distances.mean()), 6),
        "distances_a": distances.round(6).tolist(),
        "sheets": own,
        "ideal_a": [round(float(heights[kept][one].mean()), 6) for one in own],
    }


def _measured(said: Mapping[str, Any], record: Record | None) -> float | None:
    if record is None or record.geometry is None:
        return None
    return distance_between(said["sheets"], said["ideal_a"], said["distances_a"], record.geometry.positions_a)
