"""The INCAR tags that a campaign adds for VASP: read, typed, and matched to its calculations."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from ...campaign.yaml import InputError, nearest
from ...kinds import KINDS
from .tags import BY_ELEMENT, HOW, known_tags


def divided(tags: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the tags that may change a number, which enter the id, and those that say how it is reached."""
    return (
        {tag: value for tag, value in tags.items() if tag not in HOW},
        {tag: value for tag, value in tags.items() if tag in HOW},
    )


_TYPES: Mapping[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,)}


class UserTags:
    """Tags by kind or by pattern of labels; a later one goes over an earlier one.

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

    def of(self, kind: str, label: str) -> dict[str, Any]:
        """Return the tags of one calculation."""
        found: dict[str, Any] = {}
        for pattern, tags in self._given.items():
            if pattern == kind or fnmatchcase(label, pattern):
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
