"""The calculation: a frozen declaration whose id follows from its content.

The id is a hash of declared, typed values and of the parents' ids (a Merkle graph). Computed coordinates never enter
it, so YAML spelling, key order, platform and Python version do not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..analysis.records import Choice, digest
from .kinds import KINDS

HOST = "host"
"""The role of the host among the parents of a site, and of the choice of the best site."""

LOWEST, GEOMETRY = "lowest", "geometry"
"""Roles of the choice of the best site among the parents of what is computed there, and of a relaxation at whose end
something is computed."""

DENSITY, WITHOUT = UPON = "density", "without"
"""Roles of a parent whose energy a single point goes on from, without a self-consistent cycle of its own: at its
density with another functional, and without the dispersion correction that, if there is one, is added to it."""


def final_role(role: str) -> str:
    """Return the role of a single point at the geometry of a host or site among the parents of the choice."""
    return f"final {role}"


@dataclass(frozen=True)
class Calculation:
    """One node of the graph.

    Attributes
    ----------
    kind
        One of `sodiate.workflows.kinds.KINDS`.
    structure
        The declared structure operation, from `sodiate.workflows.start_structures`: its ``op``, its recipe version,
        and typed values. ``parents`` holds the parents that it names.
    engine
        Name of the engine.
    protocol
        The keys that define the number, flattened for this kind and engine (keys that the engine ignores are absent).
    parents
        Calculations by role (``host``, ``geometry``, a site's name …).
    label
        Human name that follows from the calculation alone, such as ``WSSe+VS/V_S@top``; not part of the id.
    recipe
        Version of the kind's meaning; None for the present version, a number in a calculation of an older sodiate.
    """

    kind: str
    structure: Mapping[str, Any]
    engine: str
    protocol: Mapping[str, Any]
    parents: Mapping[str, Calculation] = field(default_factory=dict)
    label: str = ""
    recipe: int | None = None

    def declared(self) -> dict[str, Any]:
        """Return the values that the id is the hash of, as JSON-like values."""
        return {
            "kind": self.kind,
            "recipe": KINDS[self.kind].recipe if self.recipe is None else self.recipe,
            "structure": without_nulls(self.structure),
            "engine": self.engine,
            "protocol": without_nulls(self.protocol),
            "parents": {role: parent.id for role, parent in sorted(self.parents.items())},
        }

    @cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits that follow from `declared`."""
        return digest(self.declared())

    @property
    def directory_name(self) -> str:
        """Name of its directory below the root: label and id, safe for any file system."""
        safe = "".join(c if c.isalnum() or c in "+-_.@" else "_" for c in self.label)
        return f"{safe}-{self.id}"

    def __hash__(self) -> int:
        return hash(self.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Calculation) and self.id == other.id


def sources(calculation: Calculation, choice: Choice | None) -> dict[str, Calculation]:
    """Return what a calculation is computed from, by role: its parents, and the relaxation of the chosen site.

    Parameters
    ----------
    calculation
        The calculation.
    choice
        What its parent ``lowest`` chose; None without one.

    Returns
    -------
    dict
        The relaxation is in the role ``geometry``, as if the calculation had named it, for kinds that go on from the
        electrons of a relaxation. It is no parent: which one it is was not known when the graph was planned.
    """
    found = dict(calculation.parents)
    if choice is not None and LOWEST in found and KINDS[calculation.kind].goes_on:
        found[GEOMETRY] = found[LOWEST].parents[choice.site]
    return found


def without_nulls(value: Any) -> Any:
    """Drop absent keys and unify JSON-like values, so that absent and null hash the same."""
    if isinstance(value, Mapping):
        return {str(k): without_nulls(v) for k, v in sorted(value.items()) if v is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(v) for v in value]
    return value
