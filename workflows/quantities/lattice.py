"""The in-plane lattice constants of each sheet, relaxed, beside the declared one that its hosts have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...analysis.columns import Column
from ...analysis.energies.comparability import edges_a
from ...structures.monolayers import Monolayer
from ...structures.stacks import Stack
from ..campaign.yaml import InputError
from .base import HostPart, PlannedHost, Quantity, QuantityPlan
from .layers import sheets_of

if TYPE_CHECKING:
    from ...analysis.model_result import HostRecords, ModelResult
    from ..calculation import Calculation
    from .declare import Declare

LATTICE_MARGIN_A = 0.02
"""Warn of a declared lattice constant that differs from the relaxed constant by more than this."""


_ONE_LENGTH_A = 1e-3


@dataclass(frozen=True)
class LatticeResult:
    """Lattice constants (Å) of the sheet that a host repeats, as declared and relaxed; b of structure files alone."""

    declared_lattice_a: float
    relaxed_lattice_a: float | None
    reasons: tuple[str, ...]
    declared_lattice_b_a: float | None = None
    relaxed_lattice_b_a: float | None = None

    @property
    def lattice_difference_a(self) -> float | None:
        """The relaxed constant minus the declared constant."""
        return None if self.relaxed_lattice_a is None else self.relaxed_lattice_a - self.declared_lattice_a


class LatticeConstant(Quantity):
    """The relaxation of the 1×1 cell of each monolayer, and of the cell of each structure file."""

    name = "lattice"
    kinds = frozenset({"relax_cell"})
    words = {"lattice": "1×1, cell relaxed in the plane"}
    columns = (
        Column("declared_lattice_a", lambda r: r.declared_lattice_a),
        Column("relaxed_lattice_a", lambda r: r.relaxed_lattice_a),
        Column("lattice_difference_a", lambda r: r.lattice_difference_a),
        Column("declared_lattice_b_a", lambda r: r.declared_lattice_b_a),
        Column("relaxed_lattice_b_a", lambda r: r.relaxed_lattice_b_a),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the relaxation of the cell of each sheet that a host repeats."""
        shared: dict[str, Calculation] = {}
        parts: dict[str, HostPart] = {}
        for sheet in sheets_of(declare, hosts):
            structure = declare.primitive_host(sheet.origin)
            label = f"{sheet.name}/lattice"
            calculation = declare("relax_cell", structure, {}, label, declare.campaign.protocol)
            first, second = sheet.edges_a
            one = isinstance(sheet.origin, Monolayer | Stack)
            if not one and declare.campaign.spec.execution.cell == "scan" and abs(first - second) > _ONE_LENGTH_A:
                raise InputError(
                    f"{declare.where}: execution: {{cell: scan}} scans one lattice constant, and {sheet.name} has "
                    f"two, {first:.4f} and {second:.4f} Å; leave it out, so that the cell relaxes by its stress."
                )
            declared = {"layer": sheet.name, "declared_a": first} | ({} if one else {"declared_b": second})
            shared[f"{sheet.name}/lattice"] = calculation
            parts |= {name: HostPart({"lattice": calculation}, declared) for name in sheet.hosts}
        return QuantityPlan(shared, parts)

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> LatticeResult:
        """Take the first edge of the relaxed cell."""
        declared = host.model.quantities[self.name].declared["declared_a"]
        record = host.record(self.name, "lattice")
        edges = None if record is None or record.sampling is None else edges_a(record.sampling)[:2]
        relaxed, second = (None, None) if edges is None else edges
        declared_b = host.model.quantities[self.name].declared.get("declared_b")
        lacking = host.lacking(self.name, {})
        return LatticeResult(declared, relaxed, lacking, declared_b, None if declared_b is None else second)

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """Say each relaxed constant beside the declared one, with a warning where they are apart."""
        hosts: dict[tuple[tuple[float, float], ...], list[str]] = {}
        for result in results:
            if result.relaxed_lattice_a is not None:
                constants = [(result.declared_lattice_a, result.relaxed_lattice_a)]
                if result.relaxed_lattice_b_a is not None:
                    constants.append((result.declared_lattice_b_a, result.relaxed_lattice_b_a))
                hosts.setdefault(tuple(constants), []).append(result.model)
        lines = []
        for pairs, names in hosts.items():
            for name, (declared, relaxed) in zip(("", "b, "), pairs, strict=False):
                line = (
                    f"{', '.join(names)}: lattice constant {name}{relaxed:.4f} Å relaxed, {declared:.4f} Å declared"
                )
                lines.append(f"{line} ({relaxed - declared:+.4f} Å)")
            if max(abs(relaxed - declared) for declared, relaxed in pairs) > LATTICE_MARGIN_A:
                lines.append(
                    f"WARNING: {', '.join(names)}: computed in a cell that is off by more than "
                    f"{LATTICE_MARGIN_A:g} Å; declare the relaxed constant under monolayers, or ask why they differ."
                )
        return lines
