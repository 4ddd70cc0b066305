"""The kinds of calculations: one table, which everything else asks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """What a kind of calculation is.

    Attributes
    ----------
    name
        As in calculations, records and cluster files.
    recipe
        Version of what the kind means; raised when a fix changes what the same words mean. It enters the id.
    priority
        Of what is ready, the higher goes first.
    section
        Part of a protocol file with rules of its own for this kind, None without one.
    keys
        Protocol keys that only kinds which name them have.
    arrays
        What is kept beside its record.
    left_out
        Of these, what archives leave out: a density grid has megabytes, and an archive has to fit into git.
    relaxes, relaxes_cell
        Whether it takes ionic steps, and whether the cell takes part.
    fixed_density
        Whether its eigenvalues are those of a given density, so that its energy is none of a ground state.
    chooses
        Whether it compares its parents' records instead of running a code; it does without parents that failed.
    """

    name: str
    recipe: int = 1
    priority: int = 1
    section: str | None = None
    keys: frozenset[str] = frozenset()
    arrays: tuple[str, ...] = ()
    left_out: frozenset[str] = frozenset()
    relaxes: bool = False
    relaxes_cell: bool = False
    fixed_density: bool = False
    chooses: bool = False


_FORCE = frozenset({"max_force_ev_per_a"})

_ALL = (
    Kind("relax", priority=2, keys=_FORCE, arrays=("trajectory",), relaxes=True),
    Kind("relax_cell", priority=3, keys=_FORCE, arrays=("trajectory",), relaxes=True, relaxes_cell=True),
    Kind("static", priority=3),
    Kind("atom", priority=3, section="atom", keys=frozenset({"box_a"})),
    Kind("bulk", priority=3, section="bulk"),
    Kind("dos", section="dos", keys=frozenset({"dos_broadening_ev"}), arrays=("bands", "dos"), fixed_density=True),
    Kind("bands", section="bands", keys=frozenset({"band_points"}), arrays=("bands",), fixed_density=True),
    Kind("density", arrays=("density",), left_out=frozenset({"density"})),
    # Recipe 2: the record holds the geometry of the site that was chosen.
    Kind("lowest", recipe=2, priority=0, chooses=True),
)

KINDS = {kind.name: kind for kind in _ALL}
"""Every kind by its name."""


def sections() -> tuple[str, ...]:
    """Return the sections of a protocol file."""
    return tuple(dict.fromkeys(kind.section for kind in KINDS.values() if kind.section is not None))


def keys_of(kind: str, keys: Iterable[str]) -> set[str]:
    """Return those of some protocol keys that a kind has: its own, and those that belong to no kind alone."""
    owned = frozenset[str]().union(*(other.keys for other in KINDS.values()))
    return {key for key in keys if key not in owned or key in KINDS[kind].keys}


def array_names() -> tuple[str, ...]:
    """Return the names of all arrays that records have."""
    return tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.arrays))


def left_out() -> frozenset[str]:
    """Return the names of the arrays that archives leave out."""
    return frozenset[str]().union(*(kind.left_out for kind in KINDS.values()))
