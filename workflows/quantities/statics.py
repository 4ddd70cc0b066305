"""Single points at relaxed geometries: the same atoms with other settings, and the references of these settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...structures.errors import StructureError
from .. import start_structures
from ..calculation import WITHOUT
from ..campaign.protocol import Protocol, is_off
from ..campaign.yaml import InputError
from .elemental_reference import reference

if TYPE_CHECKING:
    from ..calculation import Calculation
    from .base import PlannedHost
    from .declare import Declare

_CORRECTION = "dispersion"
"""The key of a dispersion correction."""

LEAST_VACUUM_A = 6.0
"""Least vacuum (Å) between a sheet, with the ions on it, and its images."""


def static(
    declare: Declare,
    relaxed: Calculation,
    name: str,
    protocol: Protocol,
    extra_vacuum_a: float | None = None,
    upon: Mapping[str, Calculation] | None = None,
) -> Calculation:
    """Declare a single point at the end of a relaxation, called ``LABEL/NAME`` after it.

    Where the engine adds dispersion corrections, and nothing else tells it from the relaxation, it goes on from the
    energy of that.

    Parameters
    ----------
    relaxed, name, protocol
        The relaxation, the name, the protocol.
    extra_vacuum_a
        More vacuum, Å.
    upon
        Energies of the same atoms that an engine goes on from, by role: ``without`` dispersion correction, to which
        it only adds, and of the ``density`` at which it changes the functional.
    """
    parents = {"geometry": relaxed, **(upon or {})}
    operation = start_structures.geometry(extra_vacuum_a)
    point = declare("static", operation, parents, f"{relaxed.label}/{name}", protocol)
    if upon or extra_vacuum_a is not None or not declare.engine.adds_dispersion or _differ(point, relaxed):
        return point
    return replace(point, parents={**parents, WITHOUT: relaxed})


def _differ(point: Calculation, relaxed: Calculation) -> bool:
    """Tell whether a single point differs from a relaxation by more than a dispersion correction of its own."""
    corrected = not is_off(_CORRECTION, relaxed.protocol.get(_CORRECTION, "none"))
    others = point.protocol.keys() - {_CORRECTION}
    return corrected or any(point.protocol[key] != relaxed.protocol.get(key) for key in others)


def free_adsorbate(declare: Declare, protocol: Protocol) -> Calculation:
    """Declare what is adsorbed alone in a box: the isolated atom, or the molecule, which is relaxed.

    Raises
    ------
    InputError
        If the protocol has no box for it, or one that is too small.
    """
    name, box_a, molecule = declare.campaign.adsorbate, protocol.section("atom").box_a, declare.campaign.molecule
    if molecule is None:
        return isolated_atom(declare, name, protocol)
    if box_a is None:
        raise InputError(f"{declare.where}: its protocol has no atom.box_a for the free molecule {name}.")
    try:
        structure = start_structures.gas(molecule.content, molecule.unpaired_electrons, box_a, name)
    except StructureError as error:
        raise InputError(f"{declare.where}: adsorbate.molecule: {error}") from None
    return declare("relax", structure, {}, name, protocol, "atom")


def isolated_atom(
    declare: Declare,
    element: str,
    protocol: Protocol,
    label: str | None = None,
    upon: Mapping[str, Calculation] | None = None,
) -> Calculation:
    """Declare an isolated atom, by default called after its element; raise `InputError` if there is no box for it."""
    box_a = protocol.section("atom").box_a
    if box_a is None:
        raise InputError(f"{declare.where}: its protocol has no atom.box_a for the isolated {element} atom.")
    return declare("atom", start_structures.atom(element, box_a), upon or {}, label or element, protocol)


def energy_of_free(
    declare: Declare,
    relaxed: Protocol,
    protocol: Protocol,
    name: str,
    upon: Mapping[str, Calculation] | None = None,
) -> Calculation:
    """Declare the energy of the free adsorbate with another protocol than ``relaxed``, called ``ADSORBATE-NAME``.

    Of a molecule it is a single point at the end of its relaxation; ``upon`` as in `static`.
    """
    label = f"{declare.campaign.adsorbate}-{name}"
    if declare.campaign.molecule is None:
        return isolated_atom(declare, declare.campaign.adsorbate, protocol, label, upon)
    parents = {"geometry": free_adsorbate(declare, relaxed), **(upon or {})}
    return declare("static", start_structures.geometry(), parents, label, protocol, "atom")


def energy_atom(declare: Declare, host: PlannedHost) -> Calculation:
    """Declare the isolated atom, or the free molecule, that ΔE of a host is formed with."""
    if not host.finals:
        return free_adsorbate(declare, host.protocol)
    return energy_of_free(declare, host.protocol, host.energy_protocol, "final")


def energy_of_reference(
    declare: Declare, of: str, relaxed: Protocol, protocol: Protocol, name: str
) -> tuple[Calculation, Calculation | None]:
    """Declare an element or compound in its reference state with another protocol than that of its relaxation.

    A lattice is computed as declared; what relaxes (a crystal, a molecule) is a single point at its end.

    Parameters
    ----------
    of
        The element or compound.
    relaxed, protocol, name
        The protocol of its relaxation, that of its energy, and what stands behind its label.

    Returns
    -------
    tuple
        The energy, and the relaxation that it is at the end of; None of a lattice.
    """
    declared = reference(declare.campaign, of, f"{declare.where}: quantities: bulk_reference")
    label, relaxed, protocol = f"{declared.label}-{name}", declared.sampled(relaxed), declared.sampled(protocol)
    if declared.kind != "relax":
        return declare(declared.kind, declared.structure, {}, label, protocol, declared.section), None
    parent = declare(declared.kind, declared.structure, {}, declared.label, relaxed, declared.section)
    structure, parents = start_structures.geometry(), {"geometry": parent}
    return declare("static", structure, parents, label, protocol, declared.section), parent


def refuse_without_statics(declare: Declare, key: str) -> None:
    """Raise `InputError` for a key of the campaign that needs single points, if the engine has none."""
    if "static" not in declare.engine.capabilities:
        raise InputError(f"{declare.where}: {key}: the engine {declare.engine.name} has no single points (static).")


def refuse_lacking(declare: Declare, given: Mapping[str, Any], key: str) -> None:
    """Raise `InputError` for keys of a section that an engine with physical numbers has not.

    Of a dry engine it is said which keys do not act (`idle`).
    """
    engine = declare.engine
    refuse_without_statics(declare, f"protocol.{key}")
    lacking = [name for name, value in given.items() if name not in engine.protocol_keys and not is_off(name, value)]
    if lacking and engine.physical:
        raise InputError(
            f"{declare.where}: protocol.{key}.{lacking[0]}: the engine {engine.name} has no such key; it has "
            f"{', '.join(sorted(engine.protocol_keys))}."
        )


def idle(given: Mapping[str, Any], calculation: Calculation) -> tuple[str, ...]:
    """Return the keys that do not act on a single point: those that its protocol has not taken."""
    return tuple(
        name for name, value in given.items() if name not in calculation.protocol and not is_off(name, value)
    )
