"""Which sites of one host are the same place in two of its supercells: names are numbered anew in each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .geometry import in_plane_cell, in_plane_fractions, lateral_distances

if TYPE_CHECKING:
    from ase import Atoms

    from .sites import Site

SAME_A = 0.05
"""By how much distances may differ at sites that are the same place: hosts are ideal."""

Surroundings = tuple[float, ...]
"""How far a site is from the nearest defect, and from the nearest atom bonded to one, in Å; nothing without defects.

Two sites as far from a vacancy may lie on different sides of it.
"""


def surroundings(atoms: Atoms, near: Sequence[bool], sites: Mapping[str, Site]) -> dict[str, Surroundings]:
    """Return the surroundings of each site.

    Parameters
    ----------
    atoms
        The ideal host with its defects.
    near
        Of each atom, whether it is bonded to a defect.
    sites
        The sites by name.
    """
    if not any(near):
        return dict.fromkeys(sites, ())
    fractions, cell = in_plane_fractions(atoms)[list(near)], in_plane_cell(atoms)
    return {
        name: (site.defect_distance or 0.0, float(lateral_distances(fractions - site.fractional, cell).min()))
        for name, site in sites.items()
    }


def apart(first: Surroundings, second: Surroundings) -> float:
    """Return by how much surroundings differ at most, in Å; 0 on hosts without defects."""
    return max((abs(one - other) for one, other in zip(first, second, strict=True)), default=0.0)


def names_in(own: Mapping[str, Surroundings], other: Mapping[str, Surroundings]) -> dict[str, str]:
    """Return how the sites of another cell are called in one's own; ``NAME of that cell`` where it has no such place.

    A name begins with the kind of the site and its face; the number after these is that of one cell. Of several with
    the same surroundings the one of the same name is taken, or else the first.
    """
    found = {}
    for name, distances in other.items():
        same = [one for one in own if _class(one) == _class(name) and apart(own[one], distances) < SAME_A]
        found[name] = name if name in same else same[0] if same else f"{name} of that cell"
    return found


def _class(name: str) -> str:
    """Return kind and face: ``T_W@top-2`` is a ``T_W@top``."""
    head, at, tail = name.partition("@")
    return head + at + tail.partition("-")[0]
