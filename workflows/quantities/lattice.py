"""The relaxed in-plane lattice constant of each monolayer, beside the declared constant of its hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...analysis.columns import Column
from ...analysis.energies.comparability import edges_a
from ..start_structures import read_host
from .base import HostPart, PlannedHost, Quantity, QuantityPlan
from .layers import layers_of

if TYPE_CHECKING:
    from ...analysis.model_result import HostRecords, ModelResult
    from .declare import Declare

LATTICE_MARGIN_A = 0.02
"""Warn of a declared lattice constant that differs from the relaxed constant by more than this."""


@dataclass(frozen=True)
class LatticeResult:
    """Lattice constants (Å) of the monolayer that a host repeats: as declared, and relaxed."""

    declared_lattice_a: float
    relaxed_lattice_a: float | None
    reasons: tuple[str, ...]

    @property
    def lattice_difference_a(self) -> float | None:
        """The relaxed constant minus the declared constant."""
        return None if self.relaxed_lattice_a is None else self.relaxed_lattice_a - self.declared_lattice_a


class LatticeConstant(Quantity):
    """The relaxation of the 1×1 cell of each monolayer."""

    name = "lattice"
    kinds = frozenset({"relax_cell"})
    words = {"lattice": "1×1, cell relaxed in the plane"}
    columns = (
        Column("declared_lattice_a", lambda r: r.declared_lattice_a),
        Column("relaxed_lattice_a", lambda r: r.relaxed_lattice_a),
        Column("lattice_difference_a", lambda r: r.lattice_difference_a),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the relaxation of the cell of each monolayer that a host repeats."""
        calculations = {}
        for layer in layers_of(declare, hosts, self.name):
            structure = declare.primitive_host(layer)
            label = f"{read_host(structure).label}/lattice"
            calculations[layer] = declare("relax_cell", structure, {}, label, declare.campaign.protocol)
        constants = {layer: declare.campaign.spec.monolayers[layer].a for layer in calculations}
        return QuantityPlan(
            {f"{layer}/lattice": calculation for layer, calculation in calculations.items()},
            {
                host.name: HostPart(
                    {"lattice": calculations[host.layer]}, {"layer": host.layer, "declared_a": constants[host.layer]}
                )
                for host in hosts
                if host.layer is not None
            },
        )

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> LatticeResult:
        """Take the first edge of the relaxed cell."""
        declared = host.model.quantities[self.name].declared["declared_a"]
        record = host.record(self.name, "lattice")
        relaxed = None if record is None or record.sampling is None else edges_a(record.sampling)[0]
        return LatticeResult(declared, relaxed, host.lacking(self.name, {}))

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """State each relaxed constant beside the declared constant, with a warning where they differ."""
        hosts: dict[tuple[float, float], list[str]] = {}
        for result in results:
            if result.relaxed_lattice_a is not None:
                constants = (result.declared_lattice_a, result.relaxed_lattice_a)
                hosts.setdefault(constants, []).append(result.model)
        lines = []
        for (declared, relaxed), names in hosts.items():
            difference = relaxed - declared
            line = f"{', '.join(names)}: lattice constant {relaxed:.4f} Å relaxed, {declared:.4f} Å declared"
            lines.append(f"{line} ({difference:+.4f} Å)")
            if abs(difference) > LATTICE_MARGIN_A:
                lines.append(
                    f"WARNING: {', '.join(names)}: computed in a cell that is off by more than "
                    f"{LATTICE_MARGIN_A:g} Å; declare the relaxed constant under monolayers, or ask why they differ."
                )
        return lines
