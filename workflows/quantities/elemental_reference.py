"""Elements in their reference states: metals, and crystals and molecules from files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import start_structures
from ..campaign.yaml import InputError

if TYPE_CHECKING:
    from ..campaign.load import Campaign


@dataclass(frozen=True)
class Reference:
    """The template of a reference calculation: its kind, the section of the protocol, the structure, the label."""

    kind: str
    section: str
    structure: start_structures.Operation
    label: str


def reference(campaign: Campaign, element: str, where: str) -> Reference:
    """Return the template of an element's reference calculation.

    Raises
    ------
    InputError
        If the campaign has none.
    """
    spec = campaign.spec.bulk_references.get(element)
    if spec is None:
        raise InputError(
            f"{where} needs bulk_references.{element}: {{lattice, a}}, {{crystal: FILE}} or {{molecule: FILE}}."
        )
    label = f"{element}-{spec.form}"
    if spec.lattice is not None and spec.a is not None:
        return Reference("bulk", "bulk", start_structures.bulk(element, spec.lattice, spec.a, spec.c), label)
    # Relax the atoms of a crystal with the sampling of bulk, those of a molecule with that of the isolated atom.
    section = "bulk" if spec.crystal is not None else "atom"
    return Reference("relax", section, start_structures.elemental(campaign.elements[element]), label)
