"""The references of a campaign: the isolated atom, elements as they are found, and a vacancy's pristine host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..structures.vacancies import Defect
from . import start_structures
from .calculation import Calculation
from .campaign.yaml import InputError

if TYPE_CHECKING:
    from .campaign.load import Campaign


@dataclass(frozen=True)
class Formation:
    """What the formation energy of a host's vacancies is held against.

    Attributes
    ----------
    pristine
        The same cell without vacancies.
    removed
        How many atoms of each element are missing.
    unit
        Atoms of each element in the formula unit.
    elements
        The reference of each element of the unit.
    metal
        The element of the unit that is none of its chalcogens.
    """

    pristine: Calculation
    removed: Mapping[str, int]
    unit: Mapping[str, int]
    elements: Mapping[str, Calculation]
    metal: str


@dataclass(frozen=True)
class Reference:
    """An element's reference before it is a calculation: its kind, the section of the protocol, its operation."""

    kind: str
    section: str
    structure: start_structures.Operation
    label: str


def reference(campaign: Campaign, element: str, where: str) -> Reference:
    """Return the declared reference of an element.

    Raises
    ------
    InputError
        If the campaign has none.
    """
    given = campaign.spec.bulk_references.get(element)
    if given is None:
        raise InputError(
            f"{where} needs bulk_references.{element}: {{lattice, a}}, {{crystal: FILE}} or {{molecule: FILE}}."
        )
    label = f"{element}-{given.form}"
    if given.lattice is not None and given.a is not None:
        return Reference("bulk", "bulk", start_structures.bulk(element, given.lattice, given.a), label)
    # Atoms in a crystal are relaxed with the sampling of bulk, those of a molecule with that of the isolated atom.
    section = "bulk" if given.crystal is not None else "atom"
    return Reference("relax", section, start_structures.elemental(campaign.elements[element]), label)


def removed_atoms(defects: tuple[Defect, ...]) -> dict[str, int]:
    """Return how many atoms of each element are missing; nothing if an atom is replaced, which is no vacancy."""
    if any(defect.replacement is not None for defect in defects):
        return {}
    return dict(Counter(defect.element for defect in defects))
