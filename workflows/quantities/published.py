"""The published adsorption energies; a difference only from real values, never from mock values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...analysis.columns import Column
from ...analysis.energies.paper import paper_value
from .base import Number, Quantity

if TYPE_CHECKING:
    from ...analysis.model_result import HostRecords, ModelResult


@dataclass(frozen=True)
class PublishedResult:
    """The published ΔE (eV) of a host, and the computed ΔE minus it."""

    paper_adsorption_energy_ev: float | None
    difference_from_paper_ev: float | None
    reasons: tuple[str, ...] = ()


class PublishedValue(Quantity):
    """The value of Lei et al. for the same host and adsorbate."""

    name = "published"
    optional = False
    of_sites = True
    columns = (
        Column(
            "paper_adsorption_energy_ev",
            lambda r: r.paper_adsorption_energy_ev,
            table="paper (eV)",
            page="paper / eV",
            manuscript="published (eV)",
            physical_only=("manuscript",),
            only_with_values=True,
            of_sites=True,
        ),
        Column(
            "difference_from_paper_ev",
            lambda r: r.difference_from_paper_ev,
            table="less paper (eV)",
            page="less paper / eV",
            physical_only=("table", "page"),
            only_with_values=True,
            of_sites=True,
        ),
    )

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> PublishedResult:
        """Look the host up in the paper."""
        computed = results["adsorption_energy"].adsorption_energy_ev
        published = paper_value(host.model.label, host.campaign.adsorbate) if host.model.sites else None
        comparable = host.physical and computed is not None and published is not None
        return PublishedResult(published, computed - published if comparable else None)

    def numbers(self, result: ModelResult) -> list[Number]:
        """Return nothing: no record is behind a published value."""
        return []
