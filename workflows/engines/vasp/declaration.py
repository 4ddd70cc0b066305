"""The part of a campaign that is for VASP: data sets by element, and INCAR tags with the calculations they match."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from ...campaign.yaml import InputError, nearest
from ...kinds import KINDS
from ...start_structures import symbols
from ..shared.named import refuse_unknown
from .data_sets import recommended
from .nonsense import refuse_nonsense
from .tags import (
    BY_ELEMENT,
    DISPERSIONS,
    FUNCTIONALS,
    HOW,
    VECTORS,
    known_tags,
    method_tags,
    with_user_tags,
)
from .terms import KINDS_OF_TERMS, Term, Terms

if TYPE_CHECKING:
    from ...calculation import Calculation


def divided(tags: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split tags into those that may change a number, which enter the id, and those that do not."""
    return (
        {tag: value for tag, value in tags.items() if tag not in HOW},
        {tag: value for tag, value in tags.items() if tag in HOW},
    )


_KEYS: Mapping[str, str] = {
    "ENCUT": "cutoff_ev",
    "ENMAX": "cutoff_ev",
    "ISMEAR": "smearing",
    "SIGMA": "smearing",
    "EDIFFG": "max_force_ev_per_a",
}
"""Tags that go before a key of the protocol."""

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
        self._terms = Terms()
        self._recommended: dict[str, str] = {}

    def protocol(self, calculation: Calculation) -> dict[str, Any]:
        """Return the protocol with the data sets of the elements at hand, and the tags that may change a number."""
        given, protocol = self.of(calculation), dict(calculation.protocol)
        if not KINDS[calculation.kind].fixed_density:
            protocol.pop("empty_bands", None)  # an energy does not depend on it: VASP's own number
        refuse_unknown("vasp", self.where, protocol, {"functional": FUNCTIONALS, "dispersion": DISPERSIONS})
        atoms = symbols(calculation)
        species = list(dict.fromkeys(atoms))
        order = sorted(atoms, key=species.index)
        tags = with_user_tags({"ENCUT": protocol.get("cutoff_ev", 0.0), **method_tags(protocol, order)}, given, order)
        refuse_nonsense(calculation, given, tags, order, self.where)
        whole = {
            **protocol,
            "paw": self._data_sets(calculation.label, protocol, species),
            "incar": divided(given)[0] or None,
        }
        if calculation.kind in KINDS_OF_TERMS:
            self._terms.add(Term.of(calculation, tags, species), whole)
        return whole

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
        if self._recommended:
            words = ", ".join(f"{element}: {name}" for element, name in self._recommended.items())
            lines.append(f"Data sets that protocol.paw does not name, as VASP recommends: {words}")
        return lines

    def by_hand(self, calculation: Calculation) -> dict[str, str]:
        """Return the keys of a calculation's protocol that tags override, with the name of each tag."""
        return {_KEYS[tag]: f"incar: {tag}" for tag in self.of(calculation) if tag in _KEYS}

    def refuse_unmatched(self) -> None:
        """Raise `InputError` if a pattern matches no calculation; called after `protocol` was for each."""
        for pattern in self._tags:
            if pattern not in self._matched:
                raise InputError(
                    f"{self.where}: incar: {pattern!r} is neither a kind ({', '.join(KINDS)}) nor does it match "
                    "the label of a calculation (WSSe+VS/V_S@top, WSSe*)."
                )
        self._terms.refuse(self.where)

    def _data_sets(self, label: str, protocol: Mapping[str, Any], species: list[str]) -> dict[str, str]:
        """Return the names of the data sets that a calculation uses, so that no other name changes its id.

        Of an element that the protocol does not name, it is the one that VASP recommends.
        """
        named, usual = protocol.get("paw") or {}, recommended(str(protocol.get("paw_release")))
        for element in species:
            if element not in named:
                if element not in usual:
                    raise InputError(
                        f"{self.where}: protocol.paw names no data set for {element} ({label}), and VASP recommends "
                        f"none; add the one to take under protocol: {{base: paper, paw: {{{element}: …}}}}."
                    )
                self._recommended[element] = usual[element]
        return {element: named.get(element) or usual[element] for element in species}

    def _typed(self, pattern: str, tag: str, value: Any) -> Any:
        """Return a value with pymatgen's type, so that 520 and 520.0 are the same."""
        place = f"{self.where}: incar.{pattern}.{tag}"
        if tag not in known_tags():
            raise InputError(f"{place}: VASP has no tag {tag}{nearest(tag, known_tags())}.")
        if isinstance(value, Mapping):
            if tag not in BY_ELEMENT:
                raise InputError(f"{place}: only {', '.join(BY_ELEMENT)} are given by element.")
            return {str(element): self._typed(pattern, tag, item) for element, item in value.items()}
        if isinstance(value, list):
            return self._typed_list(place, tag, value)
        return _typed(place, tag, value)

    def _typed_list(self, place: str, tag: str, values: list[Any]) -> list[Any]:
        if tag not in BY_ELEMENT and known_tags()[tag] in _TYPES:
            raise InputError(f"{place}: {values!r} is a list; VASP reads one {known_tags()[tag]}.")
        flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
        if tag in BY_ELEMENT or tag in VECTORS:
            return [_typed(place, tag, value) for value in flat]
        return list(_typed(place, tag, " ".join(map(str, flat))))


def _typed(place: str, tag: str, value: Any) -> Any:
    """Return one value with pymatgen's type; of a list of numbers, one of them."""
    from pymatgen.io.vasp.inputs import Incar

    try:
        if tag == "LATTICE_CONSTRAINTS":
            return bool(Incar.proc_val("LCHARG", str(value)))
        if tag in BY_ELEMENT or (tag in VECTORS and not isinstance(value, str)):
            number = float(value)
            return int(number) if tag == "LDAUL" else number
        typed = Incar.proc_val(tag, str(value))
    except (ValueError, TypeError):
        typed = None
    if typed is None or not isinstance(typed, _TYPES.get(known_tags()[tag], (object,))):
        raise InputError(f"{place}: {value!r} is no {known_tags()[tag]}.")
    return typed
