"""What a campaign says to VASP: data sets by element, and INCAR tags, typed and matched to its calculations."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ...campaign.yaml import InputError, nearest
from ...kinds import KINDS
from ...start_structures import elements
from .tags import BY_ELEMENT, HOW, known_tags

if TYPE_CHECKING:
    from ...calculation import Calculation


def divided(tags: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the tags that may change a number, which enter the id, and those that say how it is reached."""
    return (
        {tag: value for tag, value in tags.items() if tag not in HOW},
        {tag: value for tag, value in tags.items() if tag in HOW},
    )


_TYPES: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,)}


class VaspDeclaration:
    """The protocol's data sets, and tags by kind or by pattern of labels; a later one goes over an earlier one.

    Parameters
    ----------
    given
        ``{"relax": {"POTIM": 0.3}, "WSSe+VS*": {"MAGMOM": {"W": 0.5}}}``.
    where
        For messages.

    Raises
    ------
    InputError
        For a tag that VASP does not know, or a value that it cannot have.
    """

    def __init__(self, given: Mapping[str, Mapping[str, Any]], where: str) -> None:
        self.where = where
        self._given = {
            pattern: {tag.upper(): self._typed(pattern, tag.upper(), value) for tag, value in tags.items()}
            for pattern, tags in given.items()
        }
        self._matched: set[str] = set()

    def protocol(self, calculation: Calculation) -> dict[str, Any]:
        """Return the protocol with the data sets of the elements at hand, and the tags that may change a number."""
        enter = divided(self.of(calculation))[0]
        return {**calculation.protocol, "paw": self._data_sets(calculation), "incar": enter or None}

    def execution(self, calculation: Calculation) -> dict[str, Any]:
        """Return the tags that say how."""
        how = divided(self.of(calculation))[1]
        return {"incar": how} if how else {}

    def of(self, calculation: Calculation) -> dict[str, Any]:
        """Return the tags of one calculation."""
        found: dict[str, Any] = {}
        for pattern, tags in self._given.items():
            if pattern == calculation.kind or fnmatchcase(calculation.label, pattern):
                self._matched.add(pattern)
                found |= tags
        return found

    def lines(self) -> list[str]:
        """Return what was given, a line a pattern and class of tags, as INCAR has it."""
        found = []
        for pattern, tags in self._given.items():
            for part, what in zip(divided(tags), ("", ", no part of an id"), strict=True):
                words = ", ".join(f"{tag} = {value}" for tag, value in part.items())
                found += [f"INCAR of {pattern}: {words}{what}"] if part else []
        return found

    def refuse_unmatched(self) -> None:
        """Raise `InputError` if a pattern belongs to no calculation, once all were asked for."""
        for pattern in self._given:
            if pattern not in self._matched:
                raise InputError(
                    f"{self.where}: incar: {pattern!r} is neither a kind ({', '.join(KINDS)}) nor does it match "
                    "the label of a calculation (WSSe+VS/V_S@top, WSSe*)."
                )

    def _data_sets(self, calculation: Calculation) -> dict[str, str]:
        """Return the names of the data sets that a calculation uses, so that no other name changes its id."""
        named = calculation.protocol.get("paw") or {}
        needed = elements(calculation)
        for element in needed:
            if element not in named:
                raise InputError(
                    f"{self.where}: protocol.paw names no data set for {element} ({calculation.label}); "
                    f"add one, such as {element}: {element}."
                )
        return {element: named[element] for element in needed}

    def _typed(self, pattern: str, tag: str, value: Any) -> Any:
        """Return a value as pymatgen types it, so that 520 and 520.0 are one."""
        place = f"{self.where}: incar.{pattern}.{tag}"
        if tag not in known_tags():
            raise InputError(f"{place}: VASP has no tag {tag}{nearest(tag, known_tags())}.")
        if isinstance(value, Mapping):
            if tag not in BY_ELEMENT:
                raise InputError(f"{place}: only {', '.join(BY_ELEMENT)} are given by element.")
            return {str(element): self._typed(pattern, tag, one) for element, one in value.items()}
        from pymatgen.io.vasp.inputs import Incar

        if isinstance(value, list):
            return [self._typed(pattern, tag, one) for one in value]
        if tag in BY_ELEMENT:
            number = float(value)
            return int(number) if tag == "LDAUL" else number
        wanted = _TYPES.get(known_tags()[tag], (object,))
        try:
            typed = Incar.proc_val(tag, str(value))
        except (ValueError, TypeError):
            typed = None
        if not isinstance(typed, wanted):
            raise InputError(f"{place}: {value!r} is no {known_tags()[tag]}.")
        return typed
