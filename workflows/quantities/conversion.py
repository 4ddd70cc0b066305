"""What a host and its ions become when they convert, and at which voltage on average."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ...analysis.columns import Column
from ...analysis.energies.conversion import (
    CONVERSION,
    CRYSTAL,
    IONS,
    ConversionResult,
    UnbalancedReaction,
    balanced,
    conversion_result,
    equation,
    plain,
    relaxed_role,
    sources,
)
from ...analysis.energies.uncertainty import NO_BAR, UNCERTAINTY
from ...analysis.records import MOCK
from ...analysis.words import listed
from ...structures.elemental import formula_of
from ..calculation import HOST
from ..campaign.yaml import InputError
from ..start_structures import read_host
from .base import HostPart, Number, PlannedHost, Quantity, QuantityContent, QuantityPlan, recorded
from .bulk_reference import ion_charge
from .statics import energy_of_reference
from .vacancy_formation import unit_of

if TYPE_CHECKING:
    from ...analysis.model_result import HostRecords, ModelResult
    from ..calculation import Calculation
    from ..database.documents import Documents
    from .declare import Declare


class Conversion(Quantity):
    """The average voltage at which each host converts; asked for by the campaign's key ``conversion``."""

    name = CONVERSION
    optional = False
    words = {
        IONS: "bulk",
        CRYSTAL: "the host as a crystal",
        relaxed_role(CRYSTAL): "the host as a crystal",
        HOST: "energy at the relaxed geometry",
        "": "product of the conversion",
    }
    columns = (
        Column(
            "conversion_voltage_v",
            lambda r: r.voltage_v,
            table="V converts{mock}",
            page="conversion at{mock} / V",
            manuscript="conversion (V)",
            digits=2,
            only_with_values=True,
        ),
        Column(
            "conversion_voltage_crystal_v",
            lambda r: r.crystal_voltage_v,
            page="of the crystal{mock} / V",
            manuscript="of the crystal (V)",
            digits=2,
            only_with_values=True,
        ),
        Column(
            "conversion_capacity_mah_per_g",
            lambda r: r.capacity_mah_per_g,
            table="mAh/g converted{mock}",
            page="capacity by conversion{mock} / (mAh/g)",
            manuscript="capacity by conversion (mAh/g)",
            digits=1,
            only_with_values=True,
        ),
        Column("conversion", asdict, digits=None, in_csv=None),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare the ions' metal, the products, and the host's crystal if the campaign has it.

        Raises
        ------
        InputError
            If a reference lacks, or the reaction cannot be balanced.
        """
        if declare.campaign.spec.conversion is None:
            return QuantityPlan()
        if declare.campaign.molecule is not None:
            raise InputError(
                f"{declare.where}: {CONVERSION}: {declare.campaign.adsorbate} is a molecule and no ion: no host "
                "converts with it; leave conversion out."
            )
        if "bulk" not in declare.engine.capabilities:
            raise InputError(f"{declare.where}: {CONVERSION}: the engine {declare.engine.name} has no bulk crystals.")
        charge = ion_charge(declare, CONVERSION)
        return QuantityPlan(hosts={host.name: self._part(declare, host, charge) for host in hosts})

    def _part(self, declare: Declare, host: PlannedHost, charge: int) -> HostPart:
        asked = declare.campaign.spec.conversion
        assert asked is not None  # `plan` is done without it
        ion, protocol = declare.campaign.adsorbate, host.protocol
        ideal = read_host(host.calculation.structure)
        formula = unit_of(host)
        units = len(ideal.pristine) // sum(formula.values())
        counts = Counter(ideal.atoms.get_chemical_symbols())
        order = sorted(counts, key=[*formula, *counts].index)
        unit = {element: Fraction(counts[element], units) for element in order}
        shown = "".join(
            element if number == 1 else f"{element}{float(number):.3g}" for element, number in unit.items()
        )
        atoms = {product: formula_of(product) for product in asked.products}
        try:
            reaction = balanced(unit, ion, atoms, shown)
        except UnbalancedReaction as error:
            raise InputError(f"{declare.where}: {CONVERSION}: model {host.name}: {error}") from None
        substances = {IONS: ion, **{product: product for product in reaction.products}}
        for reference in declare.campaign.spec.bulk_references:
            if formula_of(reference) == unit:
                substances[CRYSTAL] = reference
        relaxed = {
            role: declare.element(name, CONVERSION, protocol, usual=False) for role, name in substances.items()
        }
        energies = _energies(declare, host, substances)
        calculations = {**relaxed, **energies}
        references = (*relaxed.values(), *(one for one in energies.values() if one not in relaxed.values()))
        declared = {
            "equation": equation(shown, ion, reaction),
            "ion": ion,
            "charge": charge,
            "ions": str(reaction.ions),
            "products": plain(reaction.products),
            "unit": plain(unit),
            "atoms": {product: atoms[product] for product in reaction.products},
        }
        return HostPart(calculations, declared, references)

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> ConversionResult | None:
        """Form the energy of the reaction, and what follows from it."""
        return (
            conversion_result(host.model, host.records, host.missing) if self.name in host.model.quantities else None
        )

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """Say each reaction with its voltage."""
        lines = []
        for result in results:
            if said := self._line(result):
                lines.append(f"{result.model}: {said}{'' if result.physical else f', {MOCK}'}")
        return lines

    def draw(self, result: ModelResult, documents: Documents) -> QuantityContent:
        """Say the reaction with its voltage."""
        said = self._line(result)
        return QuantityContent() if said is None else QuantityContent(lines=[said])

    def _line(self, result: ModelResult) -> str | None:
        """Say the reaction and its voltages: of the sheet, of the crystal, or of both."""
        found: ConversionResult | None = result.quantities.get(self.name)
        voltages = {} if found is None else {"": found.voltage_v, "crystal ": found.crystal_voltage_v}
        said = [f"{words}{value:.2f} V" for words, value in voltages.items() if value is not None]
        if found is None or not said:
            return None
        line = f"{found.equation}: {', '.join(said)} on average, {found.capacity_mah_per_g:.1f} mAh/g"
        return f"{line}; ± {NO_BAR}" if UNCERTAINTY in result.host.model.quantities else line

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Say what was computed of the products, and what the voltage is."""
        records = recorded(hosts, self.name)
        if not records:
            return []
        labels = listed(dict.fromkeys(record.label for record in records))
        entries = [host.model.quantities[self.name] for host in hosts if self.name in host.model.quantities]
        equations = dict.fromkeys(entry.declared["equation"] for entry in entries)
        return [
            f"Average voltages of conversion are those of {listed(equations)}, −ΔE/(n e) with n the charge of the "
            f"ions, from the energies of the crystals ({labels}) and of the sheets, without entropy, pressure and "
            "vibrations; capacities refer to the mass of the host."
        ]

    def numbers(self, result: ModelResult) -> list[Number]:
        """Return the voltages with the records behind them."""
        found: ConversionResult | None = result.quantities.get(self.name)
        if found is None:
            return []
        model = result.host.model
        values = {
            "conversion_voltage_v": (found.voltage_v, sources(model, False)),
            "conversion_voltage_crystal_v": (found.crystal_voltage_v, sources(model, True)),
        }
        return [Number("", key, value, behind) for key, (value, behind) in values.items() if value is not None]


def _energies(declare: Declare, host: PlannedHost, substances: Mapping[str, str]) -> dict[str, Calculation]:
    """Return energies at relaxed geometries by role, if they are asked for, and the relaxations of what has one.

    Every term is such an energy then: of the host, its crystal, the products and the ions' metal.
    """
    if host.final_protocol is None:
        return {}
    energies = {HOST: host.finals[HOST]}
    for role, name in substances.items():
        energies[role], parent = energy_of_reference(declare, name, host.protocol, host.final_protocol, "final")
        if parent is not None:
            energies[relaxed_role(role)] = parent
    return energies
