"""The kinds of calculations: the single table of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of calculation.

    Attributes
    ----------
    name
        As in calculations, records and cluster files.
    recipe
        Version of the kind's meaning, raised when a fix changes what the same declaration means. It enters the id.
    priority
        Among ready calculations, the highest runs first.
    section
        The section of a protocol file with rules for this kind; None without a section.
    keys
        Protocol keys that exist only for the kinds that name them.
    arrays
        The arrays kept beside its record.
    left_out
        The arrays that archives leave out: a density grid has megabytes, and an archive has to fit into git.
    relaxes, relaxes_cell
        Whether it takes ionic steps, and whether it changes the cell.
    searches
        Whether it looks for the saddle between the geometries of two parents.
    fixed_density
        Whether its eigenvalues belong to a fixed density, so that its energy is not that of a ground state.
    displaces
        Whether it displaces atoms of a relaxed geometry, for the second derivatives of the energy there.
    goes_on
        Whether it goes on from the electrons of the relaxation of the site that its ``lowest`` chose.
    falls_with_parent
        Whether it fails as soon as a parent has failed, so that a choice among its like can go on; others wait.
    chooses
        Whether it compares its parents' records instead of running a code; it runs without parents that failed.
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
    searches: bool = False
    fixed_density: bool = False
    displaces: bool = False
    goes_on: bool = False
    falls_with_parent: bool = False
    chooses: bool = False

    @property
    def moves(self) -> bool:
        """Whether it takes steps until the forces are below a criterion."""
        return self.relaxes or self.searches


_FORCE = frozenset({"max_force_ev_per_a"})

_ALL = (
    Kind("relax", priority=2, keys=_FORCE, arrays=("trajectory",), relaxes=True),
    Kind("relax_cell", priority=3, keys=_FORCE, arrays=("trajectory",), relaxes=True, relaxes_cell=True),
    Kind("static", priority=3, falls_with_parent=True),
    Kind("path", keys=_FORCE, arrays=("path",), searches=True, falls_with_parent=True),
    Kind("vibrations", arrays=("vibrations",), displaces=True, goes_on=True, falls_with_parent=True),
    Kind("atom", priority=3, section="atom", keys=frozenset({"box_a"})),
    Kind("bulk", priority=3, section="bulk"),
    Kind(
        "dos",
        section="dos",
        keys=frozenset({"dos_broadening_ev"}),
        arrays=("bands", "dos"),
        fixed_density=True,
        goes_on=True,
    ),
    Kind("bands", section="bands", keys=frozenset({"band_points"}), arrays=("bands",), fixed_density=True),
    Kind("density", arrays=("density",), left_out=frozenset({"density"})),
    # Recipe 2: the record holds the geometry of the chosen site.
    Kind("lowest", recipe=2, priority=0, chooses=True),
)

KINDS = {kind.name: kind for kind in _ALL}
"""Every kind by its name."""


def sections() -> tuple[str, ...]:
    """Return the sections of a protocol file."""
    return tuple(dict.fromkeys(kind.section for kind in KINDS.values() if kind.section is not None))


def keys_of(kind: str, keys: Iterable[str]) -> set[str]:
    """Return the protocol keys among ``keys`` that a kind has: its own, and those that no kind claims."""
    claimed = frozenset[str]().union(*(row.keys for row in KINDS.values()))
    return {key for key in keys if key not in claimed or key in KINDS[kind].keys}


def array_names() -> tuple[str, ...]:
    """Return the names of all arrays that records have."""
    return tuple(dict.fromkeys(name for kind in KINDS.values() for name in kind.arrays))


def left_out() -> frozenset[str]:
    """Return the names of the arrays that archives leave out."""
    return frozenset[str]().union(*(kind.left_out for kind in KINDS.values()))
