"""The terms of energy differences in a campaign: what each would be computed with, so that what differs is refused.

A site is held against its host, and each host must find every reference (atom, bulk, crystal, molecule) computed as
it is. Hosts may differ: a model has protocol keys of its own, and references of its own that follow them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...campaign.yaml import InputError
from .method import described

if TYPE_CHECKING:
    from ...calculation import Calculation

KINDS_OF_TERMS = frozenset({"relax", "static", "atom", "bulk"})
"""Kinds whose energies are subtracted from one another."""

_REFERENCES = frozenset({"atom", "bulk", "elemental"})
"""Structure operations of references."""


@dataclass(frozen=True)
class Term:
    """One term: what all terms of a difference share, and Hubbard's correction by element, in words."""

    calculation: Calculation
    shared: Mapping[str, str]
    hubbard: Mapping[str, str]

    @classmethod
    def of(cls, calculation: Calculation, tags: Mapping[str, Any], species: list[str]) -> Term:
        """Return the term of a calculation with all its INCAR tags, those by species in VASP's order."""
        found = described(tags, species, ["PAW_PBE"])
        shared = {
            "functional": found.functional,
            "ENCUT": f"{tags.get('ENCUT', 0.0):g}",
            "IVDW": str(tags.get("IVDW", 0)),
            **found.settings,
        }
        return cls(calculation, shared, dict.fromkeys(species, "none") | (found.hubbard or {}))

    def difference(self, other: Term) -> str | None:
        """Say in what two terms differ; None if they can be subtracted."""
        for name, one, two in self._pairs(other):
            if one != two:
                sides = [
                    f"{value or 'the default'} in {term.calculation.label} ({term.calculation.kind})"
                    for term, value in ((self, one), (other, two))
                ]
                return f"{name} is {' and '.join(sides)}"
        return None

    def _pairs(self, other: Term) -> Iterator[tuple[str, str | None, str | None]]:
        for tag in sorted(self.shared.keys() | other.shared.keys()):
            yield tag, self.shared.get(tag), other.shared.get(tag)
        for element in sorted(self.hubbard.keys() & other.hubbard.keys()):
            yield f"the Hubbard correction of {element}", self.hubbard[element], other.hubbard[element]


class Terms:
    """All terms of a campaign."""

    def __init__(self) -> None:
        self._by_id: dict[str, Term] = {}

    def add(self, term: Term, protocol: Mapping[str, Any]) -> None:
        """Take a term, with the whole protocol that its calculation will have."""
        self._by_id[replace(term.calculation, protocol=protocol).id] = term

    def refuse(self, where: str) -> None:
        """Raise `InputError` for terms that could not be subtracted from one another."""
        terms = self._by_id.values()
        references: dict[str, list[Term]] = {}
        for term in terms:
            if term.calculation.structure["op"] in _REFERENCES:
                references.setdefault(f"{term.calculation.label} {term.calculation.kind}", []).append(term)
        for term in terms:
            for parent in term.calculation.parents.values():
                if parent.id in self._by_id:
                    _refuse(where, [term.difference(self._by_id[parent.id])])
            if term.calculation.structure["op"] == "host":
                for choices in references.values():
                    _refuse(where, [term.difference(choice) for choice in choices])


def _refuse(where: str, differences: list[str | None]) -> None:
    if None not in differences:
        raise InputError(
            f"{where}: {differences[0]}: their energies cannot be subtracted. Give it to hosts, sites, atom and bulk "
            "alike."
        )
