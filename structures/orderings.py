"""Mixed instead of Janus: the symmetry-distinct ways to share one sublattice between two elements."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, groupby
from math import comb
from string import ascii_lowercase
from typing import Final

import numpy as np
from ase import Atoms

from .errors import StructureError
from .geometry import Ints, check_element, describe, face_layers
from .monolayers import Monolayer, build_monolayer
from .symmetry import find_symmetry, permutations
from .vacancies import Defect, atoms_of, lettered

LARGEST: Final = 200_000
"""Upper limit of the ways that are enumerated: twelve of twenty-four sites give 2.7 million."""


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
    orbits = [(len(top.intersection(first)), first, size) for first, size in _orbits(mapped, sites, count)]
    orbits.sort(key=lambda orbit: (-orbit[0], *orbit[1:]))
    names = lettered([f"{on_top}+{count - on_top}" for on_top, _, _ in orbits])
    return tuple(
        Ordering(name, first, size, on_top) for name, (on_top, first, size) in zip(names, orbits, strict=True)
    )


def mix(layer: Monolayer, repeat: tuple[int, int], name: str) -> tuple[Defect, ...]:
    """Share the chalcogens of a Janus layer between its faces in another way.

    The distinct ways are those of the lattice with one chalcogen, whose faces are equivalent.

    Parameters
    ----------
    layer
        A Janus layer, which is the ordering ``n+0`` of n cells.
    repeat
        In-plane repeats.
    name
        Name of an `Ordering` with as many atoms of the top element as the Janus supercell.

    Returns
    -------
    tuple of Defect
        The atoms that are replaced in the Janus supercell; the substitutes start at their heights.

    Raises
    ------
    StructureError
        If both faces are of one element, or there is no ordering of that name.
    """
    top, bottom = layer.top, layer.bottom
    if top == bottom:
        raise StructureError(f"{layer.formula} has one chalcogen; only a Janus layer can be mixed.")
    symmetric = replace(layer, top=bottom, bond_top=layer.bond_bottom)
    janus, lattice = build_monolayer(layer, repeat), build_monolayer(symmetric, repeat)
    present = set(atoms_of(janus, top))
    orderings = {ordering.name: ordering for ordering in distinct_orderings(lattice, bottom, top, len(present))}
    if name not in orderings:
        names = _in_ranges(orderings)
        raise StructureError(f"{describe(janus)}: no ordering {name!r} of its {top} and {bottom}; there are {names}.")
    target = set(orderings[name].indices)
    defects = [Defect(top, index, bottom) for index in present - target]
    defects += [Defect(bottom, index, top) for index in target - present]
    return tuple(sorted(defects, key=lambda defect: defect.index))


def _in_ranges(names: Iterable[str]) -> str:
    """List orderings, those of one distribution over the faces as a range: ``3+0, 2+1a to 2+1d``."""
    alike = [list(group) for _, group in groupby(names, lambda name: name.rstrip(ascii_lowercase))]
    return ", ".join(", ".join(group) if len(group) < _RANGE else f"{group[0]} to {group[-1]}" for group in alike)


_RANGE = 4
"""So many names are told as a range: of 3×3 there are hundreds."""


def of_mixed(mixing: Sequence[Defect], defects: Sequence[Defect]) -> tuple[Defect, ...]:
    """Return the defects of a mixed host as those of the host before it was mixed.

    Parameters
    ----------
    mixing
        Replacements in the complete host, as `mix` gives them.
    defects
        Of the host that these make: their elements are those after mixing.

    Returns
    -------
    tuple of Defect
        ``defects`` and then ``mixing``, each atom once and by its element in the complete host.
    """
    before = {defect.index: defect.element for defect in mixing}
    own = [
        replace(defect, element=before[defect.index], mixed=None if defect.replacement else defect.element)
        if defect.index in before
        else defect
        for defect in defects
    ]
    taken = {defect.index for defect in defects}
    rest = [defect for defect in mixing if defect.index not in taken]
    return (*(defect for defect in own if defect.replacement != defect.element), *rest)


def _orbits(mapped: Ints, sites: list[int], count: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield the first set of each orbit and the orbit's size."""
    seen: set[tuple[int, ...]] = set()
    for subset in combinations(sites, count):
        if subset in seen:
            continue
        images = np.sort(mapped[:, list(subset)], axis=1)
        orbit = set(map(tuple, np.unique(images, axis=0).tolist()))
        seen |= orbit
        yield subset, len(orbit)
