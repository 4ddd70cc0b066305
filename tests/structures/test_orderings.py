"""Mixed orderings: counted by Burnside's lemma, which needs no enumeration, and checked against a bare comparison."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import comb

import numpy as np
import pytest
from ase import Atoms
from sodiate.structures.errors import StructureError
from sodiate.structures.monolayers import Monolayer, build_monolayer
from sodiate.structures.orderings import distinct_orderings, mix, of_mixed
from sodiate.structures.sites import find_sites
from sodiate.structures.symmetry import find_symmetry, permutations
from sodiate.structures.vacancies import Defect, apply_defects

WSE2 = Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546)
JANUS = Monolayer("W", "S", "Se", 3.252, 2.416, 2.538)


def burnside(host: Atoms, count: int) -> float:
    """Orbits of subsets of ``count`` Se: the mean, over the operations, of the subsets that each leaves as it is."""
    sites = [atom.index for atom in host if atom.symbol == "Se"]
    mapped = np.unique(permutations(host, find_symmetry(host)), axis=0)
    fixed = 0
    for operation in mapped:
        ways = np.zeros(count + 1)  # coefficients of the product of (1 + x^length) over the cycles
        ways[0] = 1
        left = set(sites)
        while left:
            start = index = left.pop()
            length = 1
            while (index := int(operation[index])) != start:
                left.discard(index)
                length += 1
            ways[length:] += ways[:-length].copy() if length <= count else 0
        fixed += ways[count]
    return fixed / len(mapped)


@pytest.mark.parametrize(
    ("repeat", "count"), [((1, 1), 1), ((2, 1), 2), ((2, 2), 1), ((2, 2), 2), ((2, 2), 4), ((3, 2), 6)]
)
def test_as_many_as_burnside_counts(repeat: tuple[int, int], count: int) -> None:
    host = build_monolayer(WSE2, repeat)
    found = distinct_orderings(host, "Se", "S", count)
    assert len(found) == pytest.approx(burnside(host, count))
    assert sum(ordering.multiplicity for ordering in found) == comb(2 * repeat[0] * repeat[1], count)


def test_none_is_like_another_and_janus_is_the_first() -> None:
    """Sorted distances between all atoms tell two structures apart: where they differ, so do the structures."""
    host = build_monolayer(WSE2, (2, 2))
    host.cell[2, 2] = 30.0
    found = distinct_orderings(host, "Se", "S", 4)
    assert [ordering.on_top for ordering in found] == sorted((o.on_top for o in found), reverse=True)
    janus = found[0]
    assert (janus.on_top, janus.multiplicity) == (4, 2)
    mixed = replaced(host, janus.indices)
    assert mixed.get_chemical_formula() == "S4Se4W4"
    assert mixed.positions[mixed.symbols == "S", 2].min() > mixed.positions[mixed.symbols == "W", 2].max()
    prints = {ordering.indices: fingerprint(replaced(host, ordering.indices)) for ordering in found}
    assert len(set(prints.values())) == len(found)
    everything = {fingerprint(replaced(host, chosen)) for chosen in combinations(se(host), 4)}
    assert everything == set(prints.values())


def se(host: Atoms) -> list[int]:
    return [atom.index for atom in host if atom.symbol == "Se"]


def replaced(host: Atoms, chosen: tuple[int, ...]) -> Atoms:
    mixed = host.copy()
    mixed.symbols[list(chosen)] = "S"
    return mixed


def fingerprint(atoms: Atoms) -> tuple[tuple[str, str, float], ...]:
    distances = atoms.get_all_distances(mic=True).round(3)
    symbols = atoms.get_chemical_symbols()
    pairs = combinations(range(len(atoms)), 2)
    return tuple(sorted((*sorted((symbols[i], symbols[j])), float(distances[i, j])) for i, j in pairs))


def test_what_cannot_be_shared() -> None:
    janus = build_monolayer(JANUS, (2, 2))
    with pytest.raises(StructureError, match="has 4 Se; 5 of them"):
        distinct_orderings(janus, "Se", "S", 5)
    with pytest.raises(StructureError, match="Te"):
        distinct_orderings(janus, "Te", "S", 1)
    with pytest.raises(StructureError, match="use a smaller supercell"):
        distinct_orderings(build_monolayer(WSE2, (4, 4)), "Se", "S", 16)


@pytest.mark.parametrize("name", ["2+2a", "3+1a"])
def test_a_vacancy_or_substitution_in_a_mixed_sheet(name: str) -> None:
    """Of every atom: the mixed sheet without it, and a site called after it; back to the first element is none."""
    janus = build_monolayer(JANUS, (2, 2))
    mixing = mix(JANUS, (2, 2), name)
    mixed = apply_defects(janus, mixing)
    for index, symbol in enumerate(mixed.symbols):
        without = mixed[[other for other in range(len(mixed)) if other != index]]
        defects = of_mixed(mixing, [Defect(symbol, index)])
        found = apply_defects(janus, defects)
        assert found.get_chemical_symbols() == without.get_chemical_symbols()
        assert found.positions == pytest.approx(without.positions)
        if symbol != "W":
            (vacancy,) = (site.kind for site in find_sites(janus, defects) if site.kind.startswith("V_"))
            assert vacancy == f"V_{symbol}"
        replaced_by = apply_defects(janus, of_mixed(mixing, [Defect(symbol, index, "Te")]))
        assert replaced_by.symbols[index] == "Te"
    moved = mixing[0]
    assert moved.replacement is not None
    assert of_mixed(mixing, [Defect(moved.replacement, moved.index, moved.element)]) == mixing[1:]


def test_hundreds_of_orderings_are_told_as_ranges() -> None:
    host = Monolayer("W", "S", "Se", 3.25, 2.42, 2.53)
    with pytest.raises(StructureError) as refusal:
        mix(host, (3, 3), "mixed")
    words = str(refusal.value).partition("there are ")[2]
    assert words.startswith("9+0, 8+1a to 8+1d, 7+2a to 7+2ae, ")
    assert len(words) < 200
    symmetric = build_monolayer(replace(host, top="Se", bond_top=2.53), (3, 3))
    names = [ordering.name for ordering in distinct_orderings(symmetric, "Se", "S", 9)]
    assert all(name in words for name in (names[0], names[-1]))
