"""ΔE against the bulk metal, and the voltage of adsorption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...analysis.columns import Column
from ...analysis.elements import ION_CHARGES
from ...analysis.energies.energetics import adsorption_voltage
from ..campaign.yaml import InputError
from .adsorption_energy import site_numbers
from .base import HostPart, Number, PlannedHost, Quantity, QuantityPlan, recorded

if TYPE_CHECKING:
    from ...analysis.model_result import HostRecords, ModelResult
    from .declare import Declare


@dataclass(frozen=True)
class BulkResult:
    """ΔE (eV) of the best site against the bulk metal, and its voltage (V)."""

    adsorption_energy_bulk_ev: float | None
    adsorption_voltage_v: float | None
    reasons: tuple[str, ...]


def ion_charge(declare: Declare, what: str) -> int:
    """Return the charge of the adsorbate's ion; ``what`` needs it.

    Raises
    ------
    InputError
        If the element has several and the campaign says none.
    """
    element, charge = declare.campaign.adsorbate, declare.campaign.spec.adsorbate.charge
    charge = ION_CHARGES.get(element) if charge is None else charge
    if charge is None:
        raise InputError(
            f"{declare.where}: {what}: the voltage needs the charge of {element}'s ion; say it, "
            f"as in adsorbate: {{element: {element}, charge: 2}}."
        )
    return charge


class BulkReference(Quantity):
    """The energy of the adsorbate as a metal."""

    name = "bulk_reference"
    kinds = frozenset({"bulk"})
    of_atoms = "it is no ion and there is no metal of it, so that it has no voltage; ΔE is against the free molecule"
    of_sites = True
    words = {"bulk": "bulk"}
    columns = (
        Column(
            "adsorption_energy_bulk_ev",
            lambda r: r.adsorption_energy_bulk_ev,
            table="vs bulk (eV)",
            page="against bulk{mock} / eV",
            manuscript="ΔE, bulk (eV)",
            only_with_values=True,
            of_sites=True,
        ),
        Column("adsorption_voltage_v", lambda r: r.adsorption_voltage_v, page="voltage{mock} / V", digits=2),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the metal: the campaign's, and another for each host with a protocol of its own."""
        element = declare.campaign.adsorbate
        charge = ion_charge(declare, f"quantities: {self.name}")
        # An element's only charge is not stored, so that what is stored of older campaigns is the same.
        declared = {} if charge == ION_CHARGES.get(element) else {"charge": charge}
        shared = declare.element(element, self.name, declare.campaign.protocol)
        parts = {host.name: declare.element(element, self.name, host.protocol) for host in hosts}
        return QuantityPlan(
            {shared.label: shared},
            {name: HostPart({"bulk": bulk}, declared, (bulk,)) for name, bulk in parts.items()},
        )

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> BulkResult:
        """Take the value of the best site."""
        energy = results["adsorption_energy"].adsorption_energy_bulk_ev
        declared = host.model.quantities[self.name].declared
        charge = declared.get("charge", ION_CHARGES.get(host.campaign.adsorbate, 1))
        voltage = None if energy is None else adsorption_voltage(energy, charge=charge)
        return BulkResult(energy, voltage, host.lacking(self.name, {}))

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """State the sampling of the metal."""
        return [
            f"The bulk metal ({record.label}) had a {'×'.join(map(str, record.sampling.kmesh))} mesh."
            for record in recorded(hosts, self.name)[:1]
            if record.sampling is not None and record.sampling.kmesh is not None
        ]

    def numbers(self, result: ModelResult) -> list[Number]:
        """Return ΔE of each site against the metal."""
        return site_numbers(result, "adsorption_energy_bulk_ev", bulk=True)
