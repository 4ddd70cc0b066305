"""Calculations of a campaign, declared: structure, engine, protocol, and what the engine adds to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .. import start_structures
from ..calculation import Calculation
from ..campaign.protocol import Protocol, flatten, split
from ..campaign.yaml import InputError
from ..engines.vasp.user_tags import UserTags, divided
from .elemental_reference import reference

if TYPE_CHECKING:
    from ...structures.monolayers import Monolayer
    from ...structures.slabs import Slab
    from ...structures.vacancies import Defect
    from ..campaign.load import Campaign
    from ..engines.base import Engine


class Declare:
    """Declares the calculations of one campaign with one engine.

    Parameters
    ----------
    campaign
        The campaign.
    engine
        What will compute them.
    tags
        The tags that the campaign adds.
    """

    def __init__(self, campaign: Campaign, engine: Engine, tags: UserTags) -> None:
        self.campaign = campaign
        self.engine = engine
        self.tags = tags
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
        if "paw" in self.engine.protocol_keys:
            values["paw"] = self._data_sets(plain)
        if "incar" in self.engine.protocol_keys:
            values["incar"] = divided(self.tags.of(kind, label))[0] or None
        return replace(plain, protocol=values)

    def _data_sets(self, calculation: Calculation) -> dict[str, str]:
        """Return the names of the data sets that a calculation uses, so that no other name changes its id."""
        named = calculation.protocol.get("paw") or {}
        needed = start_structures.elements(calculation)
        for element in needed:
            if element not in named:
                raise InputError(
                    f"{self.where}: protocol.paw names no data set for {element} ({calculation.label}); "
                    f"add one, such as {element}: {element}."
                )
        return {element: named[element] for element in needed}

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
