"""Work functions of both faces of each host, from the vacuum levels that its DOS calculation recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...analysis.columns import Column
from ...analysis.electrons.levels import should_have_levels, work_functions
from .base import HostPart, PlannedHost, Quantity, QuantityPlan
from .dos import host_dos

if TYPE_CHECKING:
    from ...analysis.model_result import HostRecords, ModelResult
    from .declare import Declare


@dataclass(frozen=True)
class WorkFunctionResult:
    """Energy (eV) that takes an electron out of the highest filled state through each face.

    ``work_function_step_ev`` is the bottom's less the top's: minus the step of the vacuum levels from bottom to top.
    """

    work_function_bottom_ev: float | None
    work_function_top_ev: float | None
    reasons: tuple[str, ...]

    @property
    def work_function_step_ev(self) -> float | None:
        """The bottom's work function less the top's."""
        below, above = self.work_function_bottom_ev, self.work_function_top_ev
        return None if below is None or above is None else below - above


class WorkFunction(Quantity):
    """Work functions of metals, ionisation energies of semiconductors: their Fermi level is anywhere in the gap."""

    name = "work_function"
    kinds = frozenset({"dos"})
    columns = (
        Column(
            "work_function_bottom_ev", lambda r: r.work_function_bottom_ev, page="work function, bottom{mock} / eV"
        ),
        Column("work_function_top_ev", lambda r: r.work_function_top_ev, page="work function, top{mock} / eV"),
        Column("work_function_step_ev", lambda r: r.work_function_step_ev),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Ask for the DOS of each host: the very calculation of the quantity ``dos``."""
        spectra = {host.name: host_dos(declare, host) for host in hosts}
        parts = {name: HostPart({"dos": dos}, names={f"{name}/dos": dos}) for name, dos in spectra.items()}
        return QuantityPlan(hosts=parts)

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> WorkFunctionResult:
        """Hold the vacuum levels against the highest filled state."""
        record = host.record(self.name, "dos")
        if record is None or record.gap is None:
            return WorkFunctionResult(None, None, host.lacking(self.name, {"dos": "work function"}))
        if record.vacuum_ev is None:
            why = f"work function: the engine {record.engine} recorded no vacuum levels"
            return WorkFunctionResult(None, None, (why,) if should_have_levels(record) else ())
        below, above = work_functions(record.vacuum_ev, record.gap)
        return WorkFunctionResult(below, above, ())

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """Say why there is none of a dry run."""
        dry = any(not result.physical and self.name in result.host.model.quantities for result in results)
        return ["work function: none, for a dry run has no vacuum levels"] if dry else []
