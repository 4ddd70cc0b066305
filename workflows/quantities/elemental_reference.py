"""Elements as they are found, declared as references: cubic metals, crystals and molecules of files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import start_structures
from ..campaign.yaml import InputError

if TYPE_CHECKING:
    from ..campaign.load import Campaign


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
