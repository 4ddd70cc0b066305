"""Calculations of a campaign, declared: structure, engine, protocol, and what the engine adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import start_structures
from ..calculation import Calculation
from ..campaign.protocol import Protocol, flatten, split
from .elemental_reference import reference

if TYPE_CHECKING:
    from ...structures.monolayers import Monolayer
    from ...structures.slabs import Slab
    from ...structures.vacancies import Defect
    from ..campaign.load import Campaign
    from ..engines.base import Declaration, Engine


class Declare:
    """Declares the calculations of one campaign with one engine.

    Parameters
    ----------
    campaign
        The campaign.
    engine
        What will compute them.
    declaration
        What the campaign says to that engine alone.
    """

    def __init__(self, campaign: Campaign, engine: Engine, declaration: Declaration) -> None:
        self.campaign = campaign
        self.engine = engine
        self.declaration = declaration
        self.where = f"campaign {campaign.source}"

    def __call__(
        self,
        kind: str,
        structure: start_structures.Operation,
        parents: Mapping[str, Calculation],
        label: str,
        protocol: Protocol,
        section: str | None = None,
    ) -> Calculation:
        """Return a calculation with what its kind, or another ``section``, and the engine use of a protocol."""
        values, _ = split(flatten(protocol, kind, section), self.engine.protocol_keys)
        plain = Calculation(kind, structure, self.engine.name, values, dict(parents), label)
        return replace(plain, protocol=self.declaration.protocol(plain))

    def host_structure(
        self,
        origin: Monolayer | Slab,
        repeat: tuple[int, int],
        defects: tuple[Defect, ...],
        symmetry_breaking_a: float | None = None,
    ) -> start_structures.Operation:
        """Return the structure of a host in the campaign's cell; its own ``symmetry_breaking_a``, if given."""
        spec = self.campaign.spec
        displaced = spec.symmetry_breaking_a if symmetry_breaking_a is None else symmetry_breaking_a
        headroom = spec.adsorbate.start_heights_a.highest
        return start_structures.host(origin, repeat, defects, spec.vacuum_a, headroom, displaced)

    def primitive_host(self, layer: str) -> start_structures.Operation:
        """Return the structure of the 1×1 host of a monolayer."""
        return self.host_structure(self.campaign.spec.monolayers[layer].monolayer(), (1, 1), (), 0.0)

    def element(self, element: str, quantity: str, protocol: Protocol) -> Calculation:
        """Return the declared reference of an element, for a quantity.

        Raises
        ------
        InputError
            If the campaign has none.
        """
        declared = reference(self.campaign, element, f"{self.where}: quantities: {quantity}")
        return self(declared.kind, declared.structure, {}, declared.label, protocol, declared.section)
