"""References of elements and compounds: lattices, and crystals and molecules from files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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

    @property
    def lengths(self) -> str:
        """The lattice constants, in words."""
        return ", ".join(f"{key} = {self.structure[key]:g} Å" for key in ("a", "c") if key in self.structure)

    def sampled(self, protocol: Protocol) -> Protocol:
        """Return a protocol with its own k points."""
        if self.kpoint_length_a is None:
            return protocol
        return protocol.changed(Changes.model_validate({self.section: {"kpoint_length_a": self.kpoint_length_a}}))


def usual_reference(element: str) -> Reference | None:
    """Return a metal with its experimental lattice constants, from `ase.data.reference_states`; None for others."""
    from ase.data import atomic_numbers, reference_states

    state: dict[str, Any] = reference_states[atomic_numbers.get(element, 0)] or {}
    lattice = state.get("symmetry")
    if lattice not in ("bcc", "fcc", "hcp"):
        return None
    a = float(state["a"])
    c = round(a * float(state["c/a"]), 4) if lattice == "hcp" else None
    return Reference("bulk", "bulk", start_structures.bulk(element, lattice, a, c), f"{element}-{lattice}")


def reference(campaign: Campaign, name: str, where: str, usual: bool = True) -> Reference:
    """Return the template of the reference calculation of an element or a compound.

    Parameters
    ----------
    campaign, name
        The campaign, and what it is of.
    where
        For messages.
    usual
        Whether a metal that the campaign does not name is taken as in experiment.

    Raises
    ------
    InputError
        If the campaign has none, and it is no metal of a simple lattice.
    """
    spec = campaign.spec.bulk_references.get(name)
    if spec is None and usual and (metal := usual_reference(name)) is not None:
        return metal
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
