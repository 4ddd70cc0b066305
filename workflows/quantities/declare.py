"""Declaring calculations of a campaign: structure, engine, protocol, and the engine's additions to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ...analysis.elements import HIGH_SPIN_MUB, TRIPLET_DIMERS, ground_state_moment
from ...structures.molecules import turned
from .. import start_structures
from ..calculation import Calculation
from ..campaign.protocol import MUST_ACT, Protocol, flatten, split
from ..campaign.yaml import InputError
from .elemental_reference import reference

if TYPE_CHECKING:
    from ...structures.monolayers import Monolayer
    from ...structures.slabs import Slab
    from ...structures.stacks import Stack
    from ...structures.vacancies import Defect
    from ..campaign.campaign_file import StartHeights
    from ..campaign.load import Campaign
    from ..engines.base import Declaration, Engine


class Declare:
    """Declares the calculations of one campaign with one engine.

    Parameters
    ----------
    campaign
        The campaign.
    engine
        The engine that computes them.
    declaration
        The campaign's settings for this engine alone.
    """

    def __init__(self, campaign: Campaign, engine: Engine, declaration: Declaration) -> None:
        self.campaign = campaign
        self.engine = engine
        self.declaration = declaration
        self.where = f"campaign {campaign.source}"
        self.remarks: dict[str, str] = {}
        self._corrected: dict[str, bool] = {}

    def __call__(
        self,
        kind: str,
        structure: start_structures.Operation,
        parents: Mapping[str, Calculation],
        label: str,
        protocol: Protocol,
        section: str | None = None,
    ) -> Calculation:
        """Return a calculation with the keys of a protocol that its kind and the engine use.

        Parameters
        ----------
        kind, structure, parents, label
            Of the calculation.
        protocol
            The protocol of the host or the campaign.
        section
            The section of the protocol to follow, by default that of the kind.
        """
        values, ignored = split(flatten(protocol, kind, section), self.engine.protocol_keys)
        self._refuse_ignored(ignored)
        values = _with_moments(values, structure, parents)
        plain = Calculation(kind, structure, self.engine.name, values, dict(parents), label)
        plain = self._with_own_corrections(plain)
        return replace(plain, protocol=self.declaration.protocol(plain))

    def refuse_unmatched(self) -> None:
        """Raise `InputError` for a Hubbard correction of an element that no calculation has; called after all."""
        for element, is_there in self._corrected.items():
            if not is_there:
                raise InputError(
                    f"{self.where}: protocol.hubbard_u_ev: no calculation here has {element}; leave it out."
                )

    def _refuse_ignored(self, ignored: tuple[str, ...]) -> None:
        for key in MUST_ACT:
            if key in ignored:
                raise InputError(
                    f"{self.where}: protocol.{key}: the engine {self.engine.name} has no such key, and without it "
                    f"energies are another method's; it has {', '.join(sorted(self.engine.protocol_keys))}."
                )

    def _with_own_corrections(self, calculation: Calculation) -> Calculation:
        """Return a calculation with the Hubbard corrections of its own elements, so that others change no id."""
        given = calculation.protocol.get("hubbard_u_ev")
        if given is None:
            return calculation
        present = start_structures.elements(calculation)
        own = {element: shells for element, shells in sorted(given.items()) if element in present}
        for element in given:
            self._corrected[element] = self._corrected.get(element, False) or element in own
        rest = {key: value for key, value in calculation.protocol.items() if key != "hubbard_u_ev"}
        return replace(calculation, protocol=rest | ({"hubbard_u_ev": own} if own else {}))

    def host_structure(
        self,
        origin: Monolayer | Slab | Stack,
        repeat: tuple[int, int],
        defects: tuple[Defect, ...],
        symmetry_breaking_a: float | None = None,
        vacuum_a: float | None = None,
        headroom_a: float | None = None,
    ) -> start_structures.Operation:
        """Return the structure of a host; lengths (Å) that are not given are the campaign's."""
        spec = self.campaign.spec
        displacement = spec.symmetry_breaking_a if symmetry_breaking_a is None else symmetry_breaking_a
        headroom = self.headroom_a(spec.adsorbate.start_heights_a) if headroom_a is None else headroom_a
        vacuum = vacuum_a or spec.vacuum_a
        return start_structures.host(origin, repeat, defects, vacuum, headroom, displacement)

    def headroom_a(self, heights: StartHeights) -> float:
        """Return the room (Å) for the adsorbate in the cell of a host: its highest start, and a molecule's height."""
        return heights.highest + self._molecule_height_a

    @cached_property
    def _molecule_height_a(self) -> float:
        molecule = self.campaign.molecule
        if molecule is None:
            return 0.0
        declared = self.campaign.spec.adsorbate.declared_orientations.values()
        turns = [turned(molecule.content, molecule.anchor, one) for one in declared]
        # Rounded up: a computed length is no part of an id.
        return float(np.ceil(max(np.ptp(positions[:, 2]) for positions in turns) - 1e-3))

    def primitive_host(self, origin: Monolayer | Slab | Stack) -> start_structures.Operation:
        """Return the structure of the 1×1 host of a monolayer or stack, or of the cell of a structure file."""
        return self.host_structure(origin, (1, 1), (), 0.0)

    def element(self, element: str, quantity: str, protocol: Protocol, usual: bool = True) -> Calculation:
        """Declare the reference calculation of an element, or of a compound by its formula, for a quantity.

        With ``usual``, a metal that the campaign does not name has the lattice constants of experiment.

        Raises
        ------
        InputError
            If the campaign has none.
        """
        declared = reference(self.campaign, element, f"{self.where}: quantities: {quantity}", usual)
        if element not in self.campaign.spec.bulk_references:
            self.remarks[element] = (
                f"bulk_references.{element}: not given, so {declared.label} with the lattice constants of experiment "
                f"(ASE's table): {declared.lengths}; those of your functional are better"
            )
        sampled = declared.sampled(protocol)
        return self(declared.kind, declared.structure, {}, declared.label, sampled, declared.section)


def _with_moments(
    values: dict[str, Any], structure: start_structures.Operation, parents: Mapping[str, Calculation]
) -> dict[str, Any]:
    """Return a protocol with the start moments that the elements at hand have.

    An isolated atom has that of its ground state, as has an adsorbate with more unpaired electrons than the protocol
    says: from too many a self-consistent run comes down. Of a host's elements those stand there that are there, so
    that what is said of others changes no id.
    """
    given = values.get("start_moments_mub")
    if given is None or values.get("spin_polarised") is False:
        return values
    known = {**HIGH_SPIN_MUB, **_of_dimer(structure), **(given.get("elements") or {})}
    found = start_structures.host_elements(structure, parents)
    elements = {element: known[element] for element in sorted(known.keys() & found)}
    moments = {**_roles(given), **_of_adsorbate(given, start_structures.adsorbed(structure, parents), bool(found))}
    return {**values, "start_moments_mub": {**moments, **({"elements": elements} if elements else {})}}


def _of_dimer(structure: start_structures.Operation) -> dict[str, float]:
    """Return the start moment of each atom of a molecule in a triplet, O2 and its like, by element."""
    symbols: list[str] = list(structure["symbols"]) if structure["op"] == "elemental" else []
    return {symbols[0]: 1.0} if len(symbols) == 2 and TRIPLET_DIMERS.issuperset(symbols) else {}


def _of_adsorbate(
    given: Mapping[str, Any], adsorbed: start_structures.Operation | None, on_host: bool
) -> dict[str, float]:
    """Return the start moment of each atom of a free or adsorbed atom or molecule; nothing if there is none.

    A molecule has as many unpaired electrons on a host as when it is free, or as the protocol says of an adsorbate.
    """
    if adsorbed is None:
        return {}
    if "symbols" in adsorbed:
        ground = adsorbed["unpaired_electrons"] / len(adsorbed["symbols"])
        return {"adsorbate": max(given["adsorbate"] / len(adsorbed["symbols"]), ground) if on_host else ground}
    element = adsorbed["element"]
    ground = ground_state_moment(element)
    if not on_host:
        return {"adsorbate": ground}
    said = (given.get("elements") or {}).get(element)
    return {"adsorbate": float(max(given["adsorbate"], ground) if said is None else said)}


def _roles(given: Mapping[str, Any]) -> dict[str, Any]:
    return {role: moment for role, moment in given.items() if role != "elements"}
