"""References of elements and compounds: lattices, and crystals and molecules from files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import start_structures
from ..campaign.protocol import Changes, Protocol
from ..campaign.yaml import InputError

if TYPE_CHECKING:
    from ..campaign.load import Campaign


@dataclass(frozen=True)
class Reference:
    """The template of a reference calculation.

    Attributes
    ----------
    kind, section, structure, label
        Its kind, the section of the protocol, the structure, the label.
    kpoint_length_a
        Of its own, instead of that of the section.
    """

    kind: str
    section: str
    structure: start_structures.Operation
    label: str
    kpoint_length_a: float | None = None

    def sampled(self, protocol: Protocol) -> Protocol:
        """Return a protocol with its own k points."""
        if self.kpoint_length_a is None:
            return protocol
        return protocol.changed(Changes.model_validate({self.section: {"kpoint_length_a": self.kpoint_length_a}}))


def reference(campaign: Campaign, name: str, where: str) -> Reference:
    """Return the template of the reference calculation of an element or a compound.

    Raises
    ------
    InputError
        If the campaign has none.
    """
    spec = campaign.spec.bulk_references.get(name)
    if spec is None:
        raise InputError(
            f"{where} needs bulk_references.{name}: {{lattice, a}}, {{crystal: FILE}} or {{molecule: FILE}}."
        )
    label = f"{name}-{spec.form}"
    atoms = campaign.substances.get(name)
    if atoms is None:
        structure = start_structures.bulk(name, str(spec.lattice), spec.a or 0.0, spec.c)
    else:
        structure = start_structures.elemental(atoms)
    # Relax the atoms of a crystal with the sampling of bulk, those of a molecule with that of the isolated atom.
    kind, section = "bulk" if spec.lattice else "relax", "atom" if spec.molecule else "bulk"
    return Reference(kind, section, structure, label, spec.kpoint_length_a)
