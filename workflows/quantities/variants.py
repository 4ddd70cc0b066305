"""What an error bar is computed from: the relaxed geometries with one setting changed at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import start_structures
from ..calculation import DENSITY, HOST, WITHOUT
from ..campaign.protocol import flatten
from ..campaign.yaml import InputError
from ..engines.shared.grids import kpoint_mesh
from .statics import energy_atom, energy_of_free, idle, static

if TYPE_CHECKING:
    from ..calculation import Calculation
    from .base import PlannedHost
    from .declare import Declare

EXTRA_VACUUM_A = 5.0
"""By how much the cell of ``vacuum`` is higher."""

_NEXT_CUTOFF = 1.2
"""Cutoff of ``cutoff`` in units of the protocol's, before it is rounded up to 10 eV."""

FUNCTIONALS = ("PBE", "RPBE", "PBEsol")
"""Of ``functional``, each with and without the dispersion correction, as far as the engine has them."""

DISPERSION = "d3bj"


@dataclass(frozen=True)
class Variant:
    """One changed setting.

    Attributes
    ----------
    name, part
        Its name, and the part of the error bar that it belongs to.
    words
        What is changed, as ``k mesh 4×4×1``.
    changes
        Protocol keys.
    extra_vacuum_a
        By how much the cell is higher.
    without
        The variant that is the same without dispersion correction, ``""`` for the energies themselves; None for no
        such relation.
    at_density
        Whether the functional is changed at the density of the energies themselves.
    from_density
        Whether an SCF cycle can start from the density of the relaxation: cell, functional, data sets are kept.
    """

    name: str
    part: str
    words: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    extra_vacuum_a: float | None = None
    without: str | None = None
    at_density: bool = False
    from_density: bool = False


@dataclass(frozen=True)
class PlannedVariant:
    """A variant with its single points, of the host as ``host`` and of the sites by name, and its isolated atom."""

    variant: Variant
    points: Mapping[str, Calculation]
    atom: Calculation


def planned_variants(declare: Declare, host: PlannedHost) -> tuple[list[PlannedVariant], dict[str, str]]:
    """Declare the variants of a host's energies that its campaign asks for.

    Returns
    -------
    tuple
        The variants; and why others cannot be computed, by part, or by part and name (``functional PBEsol``).

    Raises
    ------
    InputError
        If the campaign fixes by hand what is to be varied.
    """
    planned: list[PlannedVariant] = []
    not_known: dict[str, str] = {}
    for variant in _variants(declare, host, not_known):
        try:
            found = _planned(declare, host, variant, _upon(declare, host, variant, planned))
        except InputError as error:
            words = str(error).removeprefix(f"{declare.where}: ").rstrip(".")
            not_known[_key(variant)] = words.removeprefix(f"{host.calculation.label}/{variant.name}: ")
            continue
        lacking = idle(variant.changes, found.points[HOST])
        if lacking:
            not_known[_key(variant)] = f"{lacking[0]} does not act with engine {declare.engine.name}"
        else:
            planned.append(found)
    return planned, _joined(not_known, {one.variant.part for one in planned})


def _joined(not_known: Mapping[str, str], known: set[str]) -> dict[str, str]:
    """Return the reasons, one for a part of which no variant can be computed, all for one reason."""
    reasons: dict[str, set[str]] = {}
    for key, why in not_known.items():
        reasons.setdefault(key.partition(" ")[0], set()).add(why)
    whole = {part: why.pop() for part, why in reasons.items() if part not in known and len(why) == 1}
    return whole | {key: why for key, why in not_known.items() if key.partition(" ")[0] not in whole}


def _key(variant: Variant) -> str:
    return variant.part if variant.name == variant.part else f"{variant.part} {variant.name}"


def _upon(
    declare: Declare, host: PlannedHost, variant: Variant, planned: Sequence[PlannedVariant]
) -> dict[str, dict[str, Calculation]]:
    """Return the energies that a variant goes on from, by role or `_ATOM` and, as in `static`, by what they are."""
    own = {**host.energies, _ATOM: energy_atom(declare, host)}
    kinds: dict[str, Mapping[str, Calculation]] = {}
    if variant.at_density:  # which an energy that goes on from another one has not
        kinds[DENSITY] = {role: energy.parents.get(WITHOUT, energy) for role, energy in own.items()}
    if variant.without is not None and declare.engine.adds_dispersion:
        same = [{**one.points, _ATOM: one.atom} for one in planned if one.variant.name == variant.without]
        kinds[WITHOUT] = own if variant.without == "" else same[0] if same else {}
    return {role: {kind: energies[role] for kind, energies in kinds.items() if role in energies} for role in own}


_ATOM = "isolated atom"
"""Beside the names of sites, which have no blanks."""


def _planned(
    declare: Declare, host: PlannedHost, variant: Variant, upon: Mapping[str, Mapping[str, Calculation]]
) -> PlannedVariant:
    protocol = host.energy_protocol.at_relaxed_geometries(variant.changes)
    extra_a = (host.extra_vacuum_a or 0.0) + (variant.extra_vacuum_a or 0.0) or None
    of_points = protocol
    if variant.from_density and extra_a is None:
        of_points = host.energy_protocol.at_relaxed_geometries({**_within_1_mev(declare, host), **variant.changes})
    points = {
        role: static(declare, parent, variant.name, of_points, extra_a, upon.get(role))
        for role, parent in host.relaxations.items()
    }
    free = energy_of_free(declare, host.protocol, protocol, variant.name, upon[_ATOM])
    return PlannedVariant(variant, points, free)


def _within_1_mev(declare: Declare, host: PlannedHost) -> dict[str, float]:
    """Return the keys of an SCF cycle that starts from the density of the relaxation and need end within a meV."""
    relaxed, values = flatten(host.protocol, "static"), flatten(host.energy_protocol, "static")
    if any(relaxed.get(key) != values.get(key) for key in _OF_DENSITY):
        return {}
    return {key: max(value, values.get(key) or value) for key, value in declare.engine.within_1_mev.items()}


_OF_DENSITY = ("functional", "spin_polarised", "hubbard_u_ev", "paw")
"""Keys of a protocol that are another density's."""


def _variants(declare: Declare, host: PlannedHost, not_known: dict[str, str]) -> Iterator[Variant]:
    """Yield what is asked for and can be varied; of other parts say in ``not_known`` why not."""
    asked = declare.campaign.spec.uncertainty
    values = flatten(host.energy_protocol, "static")
    if "kmesh" in asked:
        yield from _denser_mesh(declare, host, values, not_known)
    if "cutoff" in asked:
        cutoff = values.get("cutoff_ev")
        if cutoff is None:
            not_known["cutoff"] = "the protocol has no cutoff_ev"
        else:
            higher = 10.0 * -(-cutoff * _NEXT_CUTOFF // 10)
            yield Variant("cutoff", "cutoff", f"cutoff {higher:g} eV", {"cutoff_ev": higher}, from_density=True)
    if "vacuum" in asked and start_structures.read_host(host.calculation.structure).periodic:
        not_known["vacuum"] = "a stack that is periodic along c has no vacuum"
    elif "vacuum" in asked:
        yield Variant("vacuum", "vacuum", f"{EXTRA_VACUUM_A:g} Å more vacuum", extra_vacuum_a=EXTRA_VACUUM_A)
    if "functional" in asked:
        yield from _functionals(values, declare.engine.functionals_at_density)
    if "potential" in asked:
        yield from _other_data_sets(declare, host, values, not_known)


def _denser_mesh(
    declare: Declare, host: PlannedHost, values: Mapping[str, Any], not_known: dict[str, str]
) -> Iterator[Variant]:
    """Yield the next mesh along both axes, of the same cell."""
    if "kpoint_mesh" in values and "kpoint_mesh" in declare.engine.protocol_keys:
        raise InputError(
            f"{declare.where}: uncertainty: kmesh: model {host.name}: kpoint_mesh fixes the mesh by hand, so that "
            "there is no next one; give kpoint_length_a in its place, or leave kmesh out."
        )
    length = values.get("kpoint_length_a")
    if length is None:
        not_known["kmesh"] = "the protocol has no kpoint_length_a"
        return
    atoms = start_structures.read_host(host.calculation.structure).pristine
    mesh, edges = kpoint_mesh(atoms, length), atoms.cell.lengths()
    # Half a step beyond, so that no last bit of an edge decides; a tenth of an Å is the same on every machine.
    longer = round(max((count + 0.5) * edge for count, edge in zip(mesh[:2], edges[:2], strict=True)), 1)
    words = "×".join(map(str, kpoint_mesh(atoms, longer)))
    yield Variant("kmesh", "kmesh", f"k mesh {words}", {"kpoint_length_a": longer}, from_density=True)


def _functionals(values: Mapping[str, Any], at_density: frozenset[str]) -> Iterator[Variant]:
    """Yield every functional with and without dispersion, but for the energies' own.

    Where the engine can, the functional is changed at the density of the energies themselves: what another density
    would change is of second order, and the electronic state stays the same.
    """
    own, dispersion = values.get("functional"), values.get("dispersion", "none")
    for functional in dict.fromkeys((own, *FUNCTIONALS)):
        for other in dict.fromkeys(("none", dispersion if dispersion != "none" else DISPERSION)):
            if functional is None or (functional, other) == (own, dispersion):
                continue
            name = functional if other == "none" else f"{functional}+{other}"
            kept = functional != own and {functional, own} <= at_density
            words = f"{name} at the density of {own}" if kept else name
            without = None
            if other != "none":
                without = "" if (functional, "none") == (own, dispersion) else functional
            changes = {"functional": functional, "dispersion": other}
            yield Variant(name, "functional", words, changes, without=without, at_density=kept)


def _other_data_sets(
    declare: Declare, host: PlannedHost, values: Mapping[str, Any], not_known: dict[str, str]
) -> Iterator[Variant]:
    """Yield the energies with other data sets of as many elements as the engine has some for."""
    site = next(iter(host.sites.values()))
    present = start_structures.elements(site)
    changes = declare.engine.other_data_sets(values, present)
    if not changes:
        not_known["potential"] = f"engine {declare.engine.name} has no other data sets of these elements"
        return
    words = ", ".join(f"{element} {name}" for element, name in changes.items() if element in present)
    yield Variant("potential", "potential", f"data sets {words}", {"paw": {**values.get("paw", {}), **changes}})
