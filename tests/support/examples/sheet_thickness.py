"""The thickness of each relaxed sheet: a quantity of a group's own, in a package of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sodiate.analysis.columns import Column
from sodiate.workflows.quantities.base import HostPart, PlannedHost, Quantity, QuantityPlan

if TYPE_CHECKING:
    from sodiate.analysis.model_result import HostRecords
    from sodiate.workflows.quantities.declare import Declare


@dataclass(frozen=True)
class Thickness:
    """Distance (Å) of the highest from the lowest atom along the normal; None if the host is not there yet."""

    sheet_thickness_a: float | None
    reasons: tuple[str, ...]


class SheetThickness(Quantity):
    """Needs no calculation of its own: the relaxed host says it."""

    name = "sheet_thickness"
    kinds = frozenset({"relax"})
    columns = (Column("sheet_thickness_a", lambda r: r.sheet_thickness_a, page="thickness{mock} / Å"),)

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Ask for the relaxation of each host, which the campaign has."""
        return QuantityPlan(hosts={host.name: HostPart({"host": host.calculation}) for host in hosts})

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> Thickness:
        """Take it from the relaxed geometry."""
        record = host.record(self.name, "host")
        if record is None or record.geometry is None:
            return Thickness(None, host.lacking(self.name, {}))
        heights = [position[2] for position in record.geometry.positions_a]
        return Thickness(max(heights) - min(heights), ())
