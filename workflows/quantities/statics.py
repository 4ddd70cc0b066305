"""Single points at relaxed geometries: the same atoms with other settings, and the references of these settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import start_structures
from ..campaign.protocol import Protocol, is_off
from ..campaign.yaml import InputError
from .elemental_reference import reference

if TYPE_CHECKING:
    from ..calculation import Calculation
    from .base import PlannedHost
    from .declare import Declare

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
    return declare("static", operation, parents, f"{relaxed.label}/{name}", protocol)


def isolated_atom(
    declare: Declare, protocol: Protocol, name: str = "", upon: Mapping[str, Calculation] | None = None
) -> Calculation:
    """Declare the isolated atom of the campaign's adsorbate, called ``ELEMENT-NAME``; ``upon`` as in `static`.

    Raises
    ------
    InputError
        If the protocol has no box for it.
    """
    element, box_a = declare.campaign.spec.adsorbate.element, protocol.section("atom").box_a
    if box_a is None:
        raise InputError(f"{declare.where}: its protocol has no atom.box_a for the isolated {element} atom.")
    label = f"{element}-{name}" if name else element
    return declare("atom", start_structures.atom(element, box_a), upon or {}, label, protocol)


def energy_atom(declare: Declare, host: PlannedHost) -> Calculation:
    """Declare the isolated atom that ΔE of a host is formed with."""
    return isolated_atom(declare, host.energy_protocol, "final" if host.finals else "")


def metal(declare: Declare, relaxed: Protocol, protocol: Protocol, name: str) -> Calculation:
    """Declare the adsorbate's element in its reference state with another protocol than that of its relaxation.

    A metal is computed as declared; what relaxes (a crystal, a molecule) is a single point at its end.
    """
    element = declare.campaign.spec.adsorbate.element
    declared = reference(declare.campaign, element, f"{declare.where}: quantities: bulk_reference")
    label, relaxed, protocol = f"{declared.label}-{name}", declared.sampled(relaxed), declared.sampled(protocol)
    if declared.kind != "relax":
        return declare(declared.kind, declared.structure, {}, label, protocol, declared.section)
    parent = declare(declared.kind, declared.structure, {}, declared.label, relaxed, declared.section)
    return declare("static", start_structures.geometry(), {"geometry": parent}, label, protocol, declared.section)


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
