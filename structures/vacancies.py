"""Vacancies and substitutions: the symmetry-distinct ones, and removing atoms from a host."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from .errors import StructureError
from .geometry import check_element, describe, face_layers, in_plane_cell, in_plane_fractions, lateral_distances
from .symmetry import AtomImages, find_symmetry

_SITE_ATOM = re.compile(r"([A-Z][a-z]?)@(\d+)")


@dataclass(frozen=True, slots=True)
class Defect:
    """One atom of a complete host removed, or replaced by another element.

    Attributes
    ----------
    element
        Element of the atom in the complete host, checked when the defect is applied.
    index
        Index of the atom in the complete host, from 0.
    replacement
        Chemical symbol of the substitute; None for a vacancy.
    mixed
        Element that is removed, where an ordering had put another one in the atom's place; None elsewhere.
    """

    element: str
    index: int
    replacement: str | None = None
    mixed: str | None = None

    def __str__(self) -> str:
        """Return ``S@12``, or ``S@12→O`` for a substitution."""
        return f"{self.present}@{self.index}" + (f"→{self.replacement}" if self.replacement else "")

    @property
    def present(self) -> str:
        """Element that is removed or replaced."""
        return self.mixed or self.element


@dataclass(frozen=True, slots=True)
class Vacancy:
    """One symmetry-distinct vacancy of an element.

    Attributes
    ----------
    element, index
        The atom that represents its class: the lowest index, on the top face where the class reaches it.
    face
        "top" or "bottom" if that atom is in the outermost layer there, otherwise "inside"; the atoms of a
        host one layer thick count as "top".
    multiplicity
        Number of equivalent atoms.
    """

    element: str
    index: int
    face: str
    multiplicity: int


@dataclass(frozen=True, slots=True)
class VacancyPair:
    """One symmetry-distinct pair of vacancies.

    Attributes
    ----------
    name
        The distance in Å with two decimals, with a letter where distinct pairs share it: ``4.58``, ``6.49a``.
    indices
        The pair with the lowest indices of its class, in the order of the two elements.
    distance
        Between the two atoms of the ideal host, shortest in-plane image, Å.
    multiplicity
        Number of equivalent pairs.
    """

    name: str
    indices: tuple[int, int]
    distance: float
    multiplicity: int


def parse_site_atom(text: str) -> tuple[str, int]:
    """Read ``S@12`` as element and index of an atom.

    Raises
    ------
    StructureError
        If it has another form or names no element.
    """
    match = _SITE_ATOM.fullmatch(text.strip())
    if match is None:
        raise StructureError(f"{text!r} names no atom; write element@index, for example S@12 (counted from 0).")
    check_element(match[1], repr(text))
    return match[1], int(match[2])


def atoms_of(host: Atoms, element: str) -> list[int]:
    """Return the indices of an element's atoms.

    Raises
    ------
    StructureError
        If the host has none, naming the elements it has.
    """
    indices = [i for i, symbol in enumerate(host.symbols) if symbol == element]
    if not indices:
        present = ", ".join(dict.fromkeys(host.symbols))
        formula, _ = host.symbols.formula.reduce()
        raise StructureError(f"{formula} has no {element} to remove; it has {present}.")
    return indices


def check_defects(host: Atoms, defects: Sequence[Defect]) -> None:
    """Check that defects fit the complete host.

    Raises
    ------
    StructureError
        On an index out of range, another element at that index, an atom named twice, a replacement that is
        no element or the same one, or when no atom would be left.
    """
    name = describe(host)
    for defect in defects:
        if not 0 <= defect.index < len(host):
            raise StructureError(f"{defect}: {name} has {len(host)} atoms; indices go from 0 to {len(host) - 1}.")
        symbol = host.symbols[defect.index]
        if symbol != defect.element:
            candidates = ", ".join(str(i) for i in atoms_of(host, defect.element))
            raise StructureError(
                f"atom {defect.index} of {name} is {symbol}, not {defect.element}; "
                f"{defect.element} atoms are {candidates}."
            )
        if defect.replacement is not None:
            check_element(defect.replacement, str(defect))
            if defect.replacement == defect.element:
                raise StructureError(f"{defect}: replaces an atom by its own element.")
    twice = [index for index, count in Counter(defect.index for defect in defects).items() if count > 1]
    if twice:
        raise StructureError(f"atom {host.symbols[twice[0]]}@{twice[0]} of {name} is removed or replaced twice.")
    if sum(defect.replacement is None for defect in defects) == len(host):
        raise StructureError(f"{name}: the vacancies would remove every atom.")


def apply_defects(host: Atoms, defects: Sequence[Defect]) -> Atoms:
    """Remove or replace atoms of a complete host.

    Parameters
    ----------
    host
        The complete host; indices of all defects refer to it.
    defects
        What to remove or replace, in any order.

    Returns
    -------
    Atoms
        A copy; the remaining atoms keep order, positions and cell.

    Raises
    ------
    StructureError
        As `check_defects`.
    """
    check_defects(host, defects)
    defective: Atoms = host.copy()
    for defect in defects:
        if defect.replacement is not None:
            defective.symbols[defect.index] = defect.replacement
    kept = np.ones(len(host), dtype=bool)
    kept[[defect.index for defect in defects if defect.replacement is None]] = False
    return defective[kept]


def face_of(host: Atoms, index: int) -> str:
    """Return on which face an atom of a complete host lies: ``top``, ``bottom`` or, below both, ``inside``.

    Those of a host one layer thick count as ``top``.
    """
    return next((face for face in ("top", "bottom") if index in face_layers(host, face)[0]), "inside")


def distances_between(host: Atoms, indices: Sequence[int]) -> list[float]:
    """Return the distances (Å) between each two of some atoms, shortest in-plane images, ascending."""
    return sorted(
        distance for place, index in enumerate(indices) for distance in _distances(host, index, indices[place + 1 :])
    )


def _distances(host: Atoms, index: int, others: Sequence[int]) -> list[float]:
    if not others:
        return []
    fractions, z = in_plane_fractions(host), host.positions[:, 2]
    chosen = list(others)
    lateral = lateral_distances(fractions[chosen] - fractions[index], in_plane_cell(host))
    distances: list[float] = np.hypot(lateral, z[chosen] - z[index]).tolist()
    return distances


def nearest_group(host: Atoms, counts: Mapping[str, int]) -> tuple[int, ...]:
    """Choose atoms that lie as near to one another as they are found by growing from each distinct first one.

    Each next atom is the one of least distance to all before it together; of equal ones, the lowest index. Of the
    groups that are grown from each symmetry-distinct atom of the first element by name, the one of the least sum of
    distances is taken.

    Parameters
    ----------
    host
        The complete host.
    counts
        How many atoms by element.

    Returns
    -------
    tuple of int
        Indices.

    Raises
    ------
    StructureError
        If the host has not as many atoms of an element.
    """
    atoms = {element: atoms_of(host, element) for element in counts}
    for element, count in counts.items():
        if count > len(atoms[element]):
            raise StructureError(
                f"{describe(host)} has {len(atoms[element])} {element}, not {count} to remove; use a larger cell."
            )
    elements = [element for element, count in sorted(counts.items()) for _ in range(count)]
    groups = []
    for seed in distinct_vacancies(host, elements[0]):
        group, totals = [seed.index], np.zeros(len(host))
        for element in elements[1:]:
            totals += _distances(host, group[-1], range(len(host)))
            # Rounded, so that noise in the last digits cannot change the choice between equal ones.
            left = [(round(float(totals[i]), 4), i) for i in atoms[element] if i not in group]
            group.append(min(left)[1])
        groups.append((round(sum(distances_between(host, group)), 4), tuple(group)))
    return min(groups)[1]


def distinct_vacancies(host: Atoms, element: str) -> tuple[Vacancy, ...]:
    """Find the symmetry-distinct vacancies of an element (spglib, symprec 0.1 Å), lowest index first.

    Raises
    ------
    StructureError
        If the host has no such element.
    """
    indices = atoms_of(host, element)
    images = AtomImages(host, find_symmetry(host))
    top, bottom = (set(face_layers(host, face)[0].tolist()) for face in ("top", "bottom"))
    vacancies: list[Vacancy] = []
    seen: set[int] = set()
    for index in indices:
        if index in seen:
            continue
        orbit = set(images.of_atom(index).tolist())
        seen |= orbit
        representative = min(orbit & top, default=min(orbit))
        face = "top" if representative in top else "bottom" if representative in bottom else "inside"
        vacancies.append(Vacancy(element, representative, face, len(orbit)))
    return tuple(sorted(vacancies, key=lambda vacancy: vacancy.index))


def distinct_pairs(host: Atoms, first: str, second: str) -> tuple[VacancyPair, ...]:
    """Find the symmetry-distinct pairs of vacancies of two elements, nearest first.

    Two pairs are equivalent if an operation of the complete host (spglib, symprec 0.1 Å) maps one onto the
    other.

    Parameters
    ----------
    host
        The complete host.
    first, second
        Elements, which may be the same.

    Raises
    ------
    StructureError
        If the host lacks an element, or has a single atom where two are removed.
    """
    first_atoms, second_atoms = atoms_of(host, first), atoms_of(host, second)
    if first == second and len(first_atoms) < 2:
        raise StructureError(f"{describe(host)} has a single {first}, so no pair to remove; use a larger supercell.")
    images = AtomImages(host, find_symmetry(host))
    fractions, cell, z = in_plane_fractions(host), in_plane_cell(host), host.positions[:, 2]
    orbits: list[tuple[float, tuple[int, int], int]] = []
    for i, j, multiplicity in _pair_orbits(images, first_atoms, second_atoms):
        lateral = lateral_distances(fractions[j] - fractions[i], cell)
        orbits.append((float(np.hypot(lateral, z[j] - z[i])), (i, j), multiplicity))
    # Rounded first, so that noise in the last digits cannot change the order of equal distances.
    orbits.sort(key=lambda entry: (round(entry[0], 4), entry[1]))
    names = lettered([f"{round(distance, 6):.2f}" for distance, _, _ in orbits])
    return tuple(
        VacancyPair(name, indices, distance, multiplicity)
        for name, (distance, indices, multiplicity) in zip(names, orbits, strict=True)
    )


def _pair_orbits(images: AtomImages, ones: Sequence[int], others: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield of each class of equivalent pairs the one of lowest indices, and how many pairs the class has.

    A class is known by its pairs of one atom alone: what those that leave this atom where it is make of the other.
    So the pairs of one atom of each class of atoms are looked at, not all pairs.
    """
    alike = ones == others
    seen: set[int] = set()
    for i in ones:
        if i in seen:
            continue
        moved = images.of_atom(i)
        orbit = set(moved.tolist())
        left = [j for j in others if j != i and not (alike and j in seen)]
        seen |= orbit
        staying = np.flatnonzero(moved == i)
        suborbits = dict(zip(left, map(frozenset, images.of_atoms(left, staying).T.tolist()), strict=True))
        # Of a pair of one element, either atom may be the first: the class has what is seen from both.
        reached, operations = np.unique(moved, return_index=True)
        turned = dict(zip(reached.tolist(), images.before(i, operations).tolist(), strict=True)) if alike else {}
        done: set[int] = set()
        for j in left:
            if j in done:
                continue
            both = suborbits[j] | suborbits[turned[j]] if j in turned else suborbits[j]
            done |= both
            yield i, j, len(orbit) * len(both) // (2 if j in turned else 1)


def lettered(labels: Sequence[str]) -> list[str]:
    """Append letters a, b, … z, aa, … to labels that occur several times, in their order."""
    totals, numbers = Counter(labels), Counter[str]()
    names = []
    for label in labels:
        letters, number = "", numbers[label]
        numbers[label] += 1
        while totals[label] > 1 and number >= 0:
            number, remainder = divmod(number, 26)
            letters = chr(ord("a") + remainder) + letters
            number -= 1
        names.append(label + letters)
    return names
