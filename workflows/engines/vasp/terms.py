"""The terms of energy differences in a campaign: what each would be computed with, so that what differs is refused.

A site is held against its host, and each host must find every reference (atom, bulk, crystal, molecule) computed as
it is. Hosts may differ: a model has protocol keys of its own, and references of its own that follow them. So it is
with single points at relaxed geometries: those of a site are held against those of its host, and not against what
relaxed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...calculation import HOST
from ...campaign.yaml import InputError
from ...start_structures import elements
from .method import described

if TYPE_CHECKING:
    from ...calculation import Calculation

KINDS_OF_TERMS = frozenset({"relax", "static", "atom", "bulk"})
"""Kinds whose energies are subtracted from one another."""

_REFERENCES = frozenset({"atom", "gas", "bulk", "elemental"})
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
        references: dict[tuple[str, ...], list[Term]] = {}
        for term in terms:
            operation = _relaxed(term.calculation).structure["op"]
            if operation in _REFERENCES:
                references.setdefault((operation, *elements(term.calculation)), []).append(term)
        for term in terms:
            relaxed = _relaxed(term.calculation)
            if HOST in relaxed.parents:
                _refuse(where, [term.difference(host) for host in self._like(term, relaxed.parents[HOST])])
            if relaxed.structure["op"] == "host":
                for (operation, *_), choices in references.items():
                    # Of error bars there are single points for which no metal was asked.
                    if operation in ("atom", "gas") or term.calculation.kind != "static":
                        _refuse(where, [term.difference(choice) for choice in choices])

    def _like(self, term: Term, host: Calculation) -> list[Term]:
        """Return the terms of a host against which a site's may be held: its relaxation, or its single points."""
        if term.calculation.kind != "static":
            return [self._by_id[host.id]]
        return [
            other
            for other in self._by_id.values()
            if host in other.calculation.parents.values() and other.calculation.kind == "static"
        ]


def _relaxed(calculation: Calculation) -> Calculation:
    """Return the relaxation at whose end a calculation is a single point, or itself."""
    return calculation.parents.get("geometry", calculation)


def _refuse(where: str, differences: list[str | None]) -> None:
    if None not in differences:
        raise InputError(
            f"{where}: {differences[0]}: their energies cannot be subtracted. Give it to hosts, sites, atom and bulk "
            "alike."
        )
