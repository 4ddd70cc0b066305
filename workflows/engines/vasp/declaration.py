"""The part of a campaign that is for VASP: data sets by element, and INCAR tags with the calculations they match."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ...campaign.yaml import InputError, nearest
from ...kinds import KINDS
from ...start_structures import elements
from ..shared.named import refuse_unknown
from .method import described
from .tags import BY_ELEMENT, DISPERSIONS, FUNCTIONALS, HOW, MOVES, is_meta, is_noncollinear, known_tags

if TYPE_CHECKING:
    from ...calculation import Calculation


def divided(tags: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split tags into those that may change a number, which enter the id, and those that do not."""
    return (
        {tag: value for tag, value in tags.items() if tag not in HOW},
        {tag: value for tag, value in tags.items() if tag in HOW},
    )


_TERMS = frozenset({"relax", "static", "atom", "bulk"})
"""Kinds whose energies are subtracted from one another."""

_TYPES: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,)}


class VaspDeclaration:
    """The protocol's data sets, and tags by kind or by pattern of labels; later ones override earlier ones.

    Parameters
    ----------
    incar
        By kind or pattern: ``{"relax": {"POTIM": 0.3}, "WSSe+VS*": {"MAGMOM": {"W": 0.5}}}``.
    where
        For messages.

    Raises
    ------
    InputError
        For a tag that VASP does not have, or a value of a wrong type.
    """

    def __init__(self, incar: Mapping[str, Mapping[str, Any]], where: str) -> None:
        self.where = where
        self._tags = {
            pattern: {tag.upper(): self._typed(pattern, tag.upper(), value) for tag, value in tags.items()}
            for pattern, tags in incar.items()
        }
        self._matched: set[str] = set()
        self._terms: list[tuple[Calculation, dict[str, str], dict[str, str]]] = []

    def protocol(self, calculation: Calculation) -> dict[str, Any]:
        """Return the protocol with the data sets of the elements at hand, and the tags that may change a number."""
        given = self.of(calculation)
        known = {"functional": FUNCTIONALS, "dispersion": DISPERSIONS}
        refuse_unknown("vasp", self.where, calculation.protocol, known)
        self._refuse_nonsense(calculation, given)
        if calculation.kind in _TERMS:
            self._terms.append(self._term(calculation, given))
        enter = divided(given)[0]
        return {**calculation.protocol, "paw": self._data_sets(calculation), "incar": enter or None}

    def execution(self, calculation: Calculation) -> dict[str, Any]:
        """Return the tags that change no number."""
        how = divided(self.of(calculation))[1]
        return {"incar": how} if how else {}

    def of(self, calculation: Calculation) -> dict[str, Any]:
        """Return the tags of one calculation."""
        matches: dict[str, Any] = {}
        for pattern, tags in self._tags.items():
            if pattern == calculation.kind or fnmatchcase(calculation.label, pattern):
                self._matched.add(pattern)
                matches |= tags
        return matches

    def lines(self) -> list[str]:
        """Return the tags as in an INCAR, a line for each pattern and for tags that do and do not enter ids."""
        lines = []
        for pattern, tags in self._tags.items():
            for part, what in zip(divided(tags), ("", ", no part of an id"), strict=True):
                words = ", ".join(f"{tag} = {value}" for tag, value in part.items())
                lines += [f"INCAR of {pattern}: {words}{what}"] if part else []
        return lines

    def refuse_unmatched(self) -> None:
        """Raise `InputError` if a pattern matches no calculation; called after `protocol` was for each."""
        for pattern in self._tags:
            if pattern not in self._matched:
                raise InputError(
                    f"{self.where}: incar: {pattern!r} is neither a kind ({', '.join(KINDS)}) nor does it match "
                    "the label of a calculation (WSSe+VS/V_S@top, WSSe*)."
                )

        self._refuse_incomparable()

    def _refuse_nonsense(self, calculation: Calculation, given: Mapping[str, Any]) -> None:
        """Refuse tags that VASP takes and that mean something else than a calculation of this kind."""
        kind = KINDS[calculation.kind]
        tags = {**FUNCTIONALS.get(calculation.protocol.get("functional", ""), {}), **given}
        said = f"{self.where}: incar: {calculation.label}: "
        if calculation.protocol.get("functional") == "LDA" and not calculation.protocol["paw_release"].startswith(
            "LDA"
        ):
            raise InputError(
                f"{self.where}: protocol.functional LDA needs data sets of LDA; paw_release is "
                f"{calculation.protocol['paw_release']}, say LDA_54."
            )
        if "METAGGA" in tags and "GGA" in given:
            raise InputError(f"{said}GGA beside METAGGA would be added to its energy; leave GGA out.")
        if kind.relaxes and given.get("IBRION", MOVES[0]) not in MOVES:
            raise InputError(
                f"{said}IBRION {given['IBRION']} relaxes nothing (0 is molecular dynamics); it may be "
                f"{', '.join(map(str, MOVES))}."
            )
        if kind.relaxes and not kind.relaxes_cell and given.get("ISIF", 2) not in (0, 1, 2):
            raise InputError(f"{said}ISIF {given['ISIF']} changes the cell, which stays; it may be 2.")
        if calculation.kind == "bands" and is_meta(tags):
            raise InputError(
                f"{said}bands come from a fixed density, which hybrids and meta-GGA do not have; leave bands out of "
                "quantities, or compute them with another functional. A DOS is self-consistent."
            )
        if kind.fixed_density and is_noncollinear(tags):
            raise InputError(
                f"{said}noncollinear bands and DOS cannot be read yet; leave {calculation.kind} out of quantities."
            )

    def _term(
        self, calculation: Calculation, given: Mapping[str, Any]
    ) -> tuple[Calculation, dict[str, str], dict[str, str]]:
        """Return what a term of an energy difference is computed with: what all share, and Hubbard's by element."""
        tags = {**FUNCTIONALS.get(calculation.protocol.get("functional", ""), {}), **given}
        if "METAGGA" in given:
            tags.pop("GGA", None)
        symbols = elements(calculation)
        for tag in ("LDAUL", "LDAUU", "LDAUJ"):
            if isinstance(tags.get(tag), Mapping):
                tags[tag] = [tags[tag].get(symbol, -1 if tag == "LDAUL" else 0) for symbol in symbols]
        found = described(tags, symbols, ["PAW_PBE"])
        common = {
            "functional": found.functional,
            "ENCUT": f"{given.get('ENCUT', calculation.protocol.get('cutoff_ev', 0.0)):g}",
            "IVDW": str(given.get("IVDW", DISPERSIONS.get(calculation.protocol.get("dispersion", ""), 0))),
            **found.settings,
        }
        return calculation, common, dict.fromkeys(symbols, "none") | (found.hubbard or {})

    def _refuse_incomparable(self) -> None:
        """Refuse tags of some calculations alone with which their energies could not be subtracted from others'."""
        seen: dict[str, tuple[Calculation, str]] = {}
        for calculation, common, hubbard in self._terms:
            first, others, _ = self._terms[0]
            for tag in sorted(others.keys() | common.keys()):
                self._refuse_pair(tag, (first, others.get(tag)), (calculation, common.get(tag)))
            for element, words in hubbard.items():
                other = seen.setdefault(element, (calculation, words))
                self._refuse_pair(f"the Hubbard correction of {element}", other, (calculation, words))

    def _refuse_pair(
        self, tag: str, one: tuple[Calculation, str | None], other: tuple[Calculation, str | None]
    ) -> None:
        if one[1] == other[1]:
            return
        said = [f"{value or 'the default'} in {where.label} ({where.kind})" for where, value in (one, other)]
        raise InputError(
            f"{self.where}: {tag} is {' and '.join(said)}: their energies cannot be subtracted. Give it to hosts, "
            "sites, atom and bulk alike."
        )

    def _data_sets(self, calculation: Calculation) -> dict[str, str]:
        """Return the names of the data sets that a calculation uses, so that no other name changes its id."""
        names = calculation.protocol.get("paw") or {}
        present = elements(calculation)
        for element in present:
            if element not in names:
                raise InputError(
                    f"{self.where}: protocol.paw names no data set for {element} ({calculation.label}); "
                    f"add one, such as {element}: {element}."
                )
        return {element: names[element] for element in present}

    def _typed(self, pattern: str, tag: str, value: Any) -> Any:
        """Return a value with pymatgen's type, so that 520 and 520.0 are the same."""
        place = f"{self.where}: incar.{pattern}.{tag}"
        if tag not in known_tags():
            raise InputError(f"{place}: VASP has no tag {tag}{nearest(tag, known_tags())}.")
        if isinstance(value, Mapping):
            if tag not in BY_ELEMENT:
                raise InputError(f"{place}: only {', '.join(BY_ELEMENT)} are given by element.")
            return {str(element): self._typed(pattern, tag, item) for element, item in value.items()}
        from pymatgen.io.vasp.inputs import Incar

        if isinstance(value, list):
            return [self._typed(pattern, tag, item) for item in value]
        if tag in BY_ELEMENT:
            number = float(value)
            return int(number) if tag == "LDAUL" else number
        expected = _TYPES.get(known_tags()[tag], (object,))
        try:
            typed = Incar.proc_val(tag, str(value))
        except (ValueError, TypeError):
            typed = None
        if not isinstance(typed, expected):
            raise InputError(f"{place}: {value!r} is no {known_tags()[tag]}.")
        return typed
