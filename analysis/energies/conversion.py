"""Conversion of a host and its ions into other substances: the balanced reaction, its energy and its voltage.

V = −[Σ cᵢ E(product i) − E(host) − n E(bulk metal)] / (n z e), the average over the n ions of charge z.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from math import fsum
from typing import Any

from ...errors import SodiateError
from ..campaign_entry import ModelEntry
from ..records import Record
from ..words import listed
from .comparability import ProtocolMismatch, check_method, check_parent, symbols
from .coverage import theoretical_capacity

CONVERSION = "conversion"
"""The quantity of what a host and its ions become."""

CRYSTAL = "crystal"
"""The role of the host as a crystal, beside the sheet."""

IONS = "bulk"
"""The role of the ions as a metal."""


HOST = "host"
"""The role of the energy of the sheet at its relaxed geometry; without it that of the relaxation is taken."""


def relaxed_role(role: str) -> str:
    """Return the role of a relaxation at whose end the energy of ``role`` was taken."""
    return f"relaxed {role}"


class UnbalancedReaction(SodiateError):
    """No amounts of the products make up the host and its ions, or more than one choice of amounts does."""


@dataclass(frozen=True)
class Reaction:
    """What one formula unit of a host takes up and becomes; amounts are per formula unit, and none is zero."""

    ions: Fraction
    products: Mapping[str, Fraction]


def balanced(
    unit: Mapping[str, Fraction], ion: str, products: Mapping[str, Mapping[str, int]], host: str
) -> Reaction:
    """Balance host + n ions → Σ cᵢ products, element by element.

    Parameters
    ----------
    unit
        Atoms of each element in a formula unit of the host.
    ion
        The element of the ions.
    products
        Atoms of each element in a formula unit of each product, by its formula.
    host
        Its name, for messages.

    Returns
    -------
    Reaction
        Without the products of which nothing forms, as of Na2S from WSe2.

    Raises
    ------
    UnbalancedReaction
        If there is not exactly one choice of amounts, or if it would consume a product or give off ions.
    """
    names = list(products)
    elements = dict.fromkeys((*unit, ion, *(element for atoms in products.values() for element in atoms)))
    for element in unit:
        if not any(element in atoms for atoms in products.values()):
            raise UnbalancedReaction(f"{element} of {host} is in none of the products {listed(names)}.")
    # Row by row: what an element has in each product, less one if it is the ion, is what the host has of it.
    rows = [
        [
            *(Fraction(products[name].get(element, 0)) for name in names),
            Fraction(-(element == ion)),
            Fraction(unit.get(element, 0)),
        ]
        for element in elements
    ]
    what = f"{host} + n {ion} → {' + '.join(names)}"
    amounts = _solved(rows, what)
    ions = amounts.pop()
    consumed = [name for name, amount in zip(names, amounts, strict=True) if amount < 0]
    if consumed:
        raise UnbalancedReaction(f"{what} is balanced only if {listed(consumed)} is consumed; name other products.")
    if ions <= 0:
        raise UnbalancedReaction(f"{what} is balanced without {ion}: it takes up no ion.")
    return Reaction(ions, {name: amount for name, amount in zip(names, amounts, strict=True) if amount})


def _solved(rows: list[list[Fraction]], what: str) -> list[Fraction]:
    """Return the one solution of linear equations, each a row of coefficients with its right side last."""
    count = len(rows[0]) - 1
    for column in range(count):
        pivot = next((row for row in rows[column:] if row[column]), None)
        if pivot is None:
            raise UnbalancedReaction(f"{what} is balanced in more than one way, or not at all; name fewer products.")
        rows.remove(pivot)
        pivot = [value / pivot[column] for value in pivot]
        rows = [[value - row[column] * own for value, own in zip(row, pivot, strict=True)] for row in rows]
        rows.insert(column, pivot)
    if any(row[-1] for row in rows[count:]):
        raise UnbalancedReaction(f"{what}: no amounts of these products balance it.")
    return [row[-1] for row in rows[:count]]


def equation(host: str, ion: str, reaction: Reaction) -> str:
    """Return the reaction, as ``WSSe + 4 Na → Na2Se + Na2S + W``."""
    products = " + ".join(_amount(number, name) for name, number in reaction.products.items())
    return f"{host} + {_amount(reaction.ions, ion)} → {products}"


def _amount(number: Fraction, name: str) -> str:
    return name if number == 1 else f"{number} {name}"


@dataclass(frozen=True)
class ConversionResult:
    """The conversion of a host.

    Attributes
    ----------
    equation
        The reaction of one formula unit.
    electrons
        That it takes up: the number of ions times their charge.
    energy_ev
        Of the reaction, per formula unit of the sheet.
    voltage_v
        Against the bulk metal of the ions, from the sheet.
    crystal_energy_ev, crystal_voltage_v
        The same from the host's crystal; None if the campaign has none.
    capacity_mah_per_g
        Theoretical, by the mass of the host alone.
    reasons
        A sentence for each missing part.
    """

    equation: str
    electrons: float
    energy_ev: float | None = None
    voltage_v: float | None = None
    crystal_energy_ev: float | None = None
    crystal_voltage_v: float | None = None
    capacity_mah_per_g: float | None = None
    reasons: tuple[str, ...] = ()


def conversion_result(
    model: ModelEntry, records: Mapping[str, Record], missing: Callable[[str], str]
) -> ConversionResult:
    """Evaluate the conversion of one host, as a sheet and, where the campaign has it, as a crystal.

    Parameters
    ----------
    model
        The host.
    records
        Usable records by calculation id.
    missing
        Gives the reason why a calculation has none.
    """
    entry = model.quantities[CONVERSION]
    declared = entry.declared
    ions, products = Fraction(declared["ions"]), {name: Fraction(n) for name, n in declared["products"].items()}
    electrons = ions * declared["charge"]
    unit = {element: Fraction(number) for element, number in declared["unit"].items()}
    reasons = [
        f"{CONVERSION}: {role}: {missing(identifier)}"
        for role, identifier in entry.calculations.items()
        if identifier not in records
    ]
    ids = {HOST: model.host, **entry.calculations}
    relaxed = {role: ids.get(relaxed_role(role)) for role in ids} | {HOST: _relaxed_host(model)}
    others = [_Term(ids[IONS], relaxed[IONS], {declared["ion"]: Fraction(1)}, -ions)]
    others += [
        _Term(ids[name], relaxed[name], {e: Fraction(n) for e, n in declared["atoms"][name].items()}, number)
        for name, number in products.items()
    ]
    found: list[float | None] = []
    for role in (HOST, CRYSTAL):
        terms = [_Term(ids.get(role, ""), relaxed.get(role), unit, Fraction(-1)), *others]
        found.append(None)
        if all(identifier in records for term in terms for identifier in term.ids):
            try:
                found[-1] = _energy(terms, records)
            except ProtocolMismatch as error:
                reasons.append(f"{CONVERSION}: {error}")
    voltages = [None if energy is None else -energy / float(electrons) for energy in found]
    known = any(energy is not None for energy in found)
    return ConversionResult(
        declared["equation"],
        float(electrons),
        found[0],
        voltages[0],
        found[1],
        voltages[1],
        theoretical_capacity(float(ions), declared["charge"], _mass(unit)) if known else None,
        tuple(reasons),
    )


@dataclass(frozen=True)
class _Term:
    """A substance of the reaction.

    Attributes
    ----------
    calculation, relaxed
        Of its energy, and the relaxation at whose end that was taken; None if it is one itself.
    unit, amount
        Its formula unit, and how many form of one unit of the host.
    """

    calculation: str
    relaxed: str | None
    unit: Mapping[str, Fraction]
    amount: Fraction

    @property
    def ids(self) -> tuple[str, ...]:
        """What it is made of, its energy first."""
        return (self.calculation,) if self.relaxed is None else (self.calculation, self.relaxed)

    def energy_ev(self, record: Record) -> float:
        """Return the energy of a formula unit; refuse a record of other atoms."""
        counts = Counter(symbols(record))
        units = Fraction(sum(counts.values())) / sum(self.unit.values())
        if {element: units * number for element, number in self.unit.items()} != counts:
            wanted = " ".join(f"{element}{number}" for element, number in self.unit.items())
            raise ProtocolMismatch(f"{record.label} is of {dict(counts)}, no whole number of units {wanted}")
        if record.energy_ev is None:
            raise ProtocolMismatch(f"{record.label}: its record has no energy")
        return record.energy_ev / float(units)


def _relaxed_host(model: ModelEntry) -> str | None:
    return model.host if HOST in model.quantities[CONVERSION].calculations else None


def _energy(terms: Sequence[_Term], records: Mapping[str, Record]) -> float:
    """Return the energy of the reaction, eV per formula unit of the host; every two records need the same method."""
    for term in terms:
        if term.relaxed is not None:
            check_parent(records[term.calculation], "geometry", records[term.relaxed])
    for first, second in combinations([records[term.calculation] for term in terms], 2):
        check_method(first, second)
    # Exactly rounded, so that an archive, whose keys are in another order, gives the same.
    return fsum(float(term.amount) * term.energy_ev(records[term.calculation]) for term in terms)


def _mass(unit: Mapping[str, Fraction]) -> float:
    from ase.data import atomic_masses, atomic_numbers

    return fsum(float(number) * float(atomic_masses[atomic_numbers[element]]) for element, number in unit.items())


def sources(model: ModelEntry, crystal: bool) -> tuple[str, ...]:
    """Return the calculations behind the voltage from the sheet, or from the crystal."""
    others = dict(model.quantities[CONVERSION].calculations)
    own = {role: others.pop(role, "") for role in (CRYSTAL, relaxed_role(CRYSTAL), HOST)}
    host = [own[CRYSTAL], own[relaxed_role(CRYSTAL)]] if crystal else [own[HOST], model.host]
    return tuple(dict.fromkeys(identifier for identifier in (*host, *others.values()) if identifier))


def plain(amounts: Mapping[str, Fraction]) -> dict[str, Any]:
    """Return amounts as they are stored, as text: ``{"Na2S": "1"}``."""
    return {name: str(number) for name, number in amounts.items()}
