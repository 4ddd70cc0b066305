"""Mixed instead of Janus: the symmetry-distinct ways to share one sublattice between two elements."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import Final

import numpy as np
from ase import Atoms

from .errors import StructureError
from .geometry import Ints, check_element, describe, face_layers
from .monolayers import Monolayer, build_monolayer
from .symmetry import find_symmetry, permutations
from .vacancies import Defect, atoms_of, lettered

LARGEST: Final = 200_000
"""More ways than this are not enumerated: twelve of twenty-four sites are 2.7 million."""


@dataclass(frozen=True, slots=True)
class Ordering:
    """One way to replace some atoms of an element.

    Attributes
    ----------
    name
        Replaced atoms on the top and on the other face, with a letter where several share that: ``4+0``, ``2+2b``.
    indices
        Atoms of the host that are replaced, ascending; of all equivalent sets, the first.
    multiplicity
        Equivalent sets.
    on_top
        How many of the replaced atoms lie on the top face; all of them in the Janus ordering, or none.
    """

    name: str
    indices: tuple[int, ...]
    multiplicity: int
    on_top: int


def distinct_orderings(host: Atoms, element: str, replacement: str, count: int) -> tuple[Ordering, ...]:
    """Find the symmetry-distinct ways to replace some atoms of an element.

    Two ways are equivalent if an operation of the host takes one to the other (spglib, symprec 0.1 Å; the
    translations of a supercell and, where the faces are equivalent, turning the sheet over are among them).

    Parameters
    ----------
    host
        The host with one element on the sublattice, such as WSe2 for W(S, Se)2.
    element, replacement
        What is replaced by what.
    count
        How many atoms are replaced.

    Returns
    -------
    tuple of Ordering
        Most of the replaced atoms on the top face first; multiplicities add up to all ways.

    Raises
    ------
    StructureError
        If the host lacks the element or has too few atoms of it, or if there are too many ways.
    """
    check_element(replacement, "replacement")
    sites = atoms_of(host, element)
    if not 0 < count <= len(sites):
        raise StructureError(f"{describe(host)} has {len(sites)} {element}; {count} of them cannot be replaced.")
    if comb(len(sites), count) > LARGEST:
        raise StructureError(
            f"{comb(len(sites), count)} ways to replace {count} of {len(sites)} {element} are more than {LARGEST}; "
            "use a smaller supercell."
        )
    mapped = permutations(host, find_symmetry(host))
    top = set(face_layers(host, "top")[0].tolist())
    found = [(-len(top.intersection(first)), first, size) for first, size in _orbits(mapped, sites, count)]
    found.sort()
    names = lettered([f"{-minus}+{count + minus}" for minus, _, _ in found])
    return tuple(Ordering(name, first, size, -minus) for name, (minus, first, size) in zip(names, found, strict=True))


def mix(layer: Monolayer, repeat: tuple[int, int], name: str) -> tuple[Defect, ...]:
    """Share the chalcogens of a Janus layer between its faces in another way.

    Which ways are distinct is counted on the lattice without the two elements, whose faces are equivalent.

    Parameters
    ----------
    layer
        A Janus layer, which is the ordering ``n+0`` of n cells.
    repeat
        In-plane repeats.
    name
        Of an `Ordering` of as many atoms of the top element as the Janus supercell has.

    Returns
    -------
    tuple of Defect
        The atoms that are replaced in the Janus supercell; what replaces them begins at their heights.

    Raises
    ------
    StructureError
        If both faces are of one element, or there is no ordering of that name.
    """
    top, bottom = layer.top, layer.bottom
    if top == bottom:
        raise StructureError(f"{layer.formula} has one chalcogen; only a Janus layer can be mixed.")
    alike = replace(layer, top=bottom, bond_top=layer.bond_bottom)
    janus, lattice = build_monolayer(layer, repeat), build_monolayer(alike, repeat)
    own = set(atoms_of(janus, top))
    found = {one.name: one for one in distinct_orderings(lattice, bottom, top, len(own))}
    if name not in found:
        known = ", ".join(found)
        raise StructureError(f"{describe(janus)}: no ordering {name!r} of its {top} and {bottom}; there are {known}.")
    wanted = set(found[name].indices)
    swapped = [Defect(top, index, bottom) for index in own - wanted]
    swapped += [Defect(bottom, index, top) for index in wanted - own]
    return tuple(sorted(swapped, key=lambda defect: defect.index))


def _orbits(mapped: Ints, sites: list[int], count: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield the first set of each orbit and the orbit's size."""
    seen: set[tuple[int, ...]] = set()
    for chosen in combinations(sites, count):
        if chosen in seen:
            continue
        images = np.sort(mapped[:, list(chosen)], axis=1)
        orbit = set(map(tuple, np.unique(images, axis=0).tolist()))
        seen |= orbit
        yield chosen, len(orbit)
