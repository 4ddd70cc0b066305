"""Distinct vacancies and pairs, against pymatgen's generator and environments compared by brute force."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import graphene
from ase.utils.structure_comparator import SymmetryEquivalenceCheck
from sodiate.structures.errors import StructureError
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.vacancies import (
    Defect,
    apply_defects,
    distances_between,
    distinct_pairs,
    distinct_vacancies,
    nearest_group,
    parse_site_atom,
)

WSE2 = Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546)
WS2 = Monolayer("W", "S", "S", 3.186, 2.42, 2.42)
# Bonds that round to C2DB's 2.42 and 2.54 Å and give its thickness more closely than those.
WSSE = Monolayer("W", "S", "Se", 3.252, 2.416, 2.538)
IMAGES = np.array([(i, j, 0) for i, j in product(range(-2, 3), repeat=2)])


def host(layer: Monolayer, repeat: tuple[int, int] = (3, 3)) -> Atoms:
    return box(build_monolayer(layer, repeat), vacuum=15.0, headroom=2.7)


def image_distances(atoms: Atoms) -> np.ndarray:
    """Sorted distances from each atom to the nearest images of each other one, shape (N, N, 8)."""
    shifts = IMAGES @ atoms.cell[:]
    offsets = atoms.positions[None, :, None] - atoms.positions[:, None, None] + shifts
    return np.sort(np.linalg.norm(offsets, axis=-1), axis=-1)[..., :8].round(3)


def pair_environments(atoms: Atoms, first: str, second: str) -> Counter[tuple[Any, ...]]:
    """Count the pairs by what all atoms see of both removed ones: no symmetry is searched for."""
    seen = image_distances(atoms)
    ones, others = ([i for i, s in enumerate(atoms.symbols) if s == element] for element in (first, second))
    pairs = combinations(ones, 2) if first == second else product(ones, others)
    found: Counter[tuple[Any, ...]] = Counter()
    for i, j in pairs:
        views = []
        for k, symbol in enumerate(atoms.symbols):
            view = [tuple(seen[i, k]), tuple(seen[j, k])]
            views.append((symbol, *(sorted(view) if first == second else view)))
        found[tuple(sorted(views))] += 1
    return found


def test_pairs_of_wsse_are_those_of_the_dry_run() -> None:
    """Reference numbers: 4 pairs VS+VSe at 3.23, 4.58, 6.49, 6.49 Å, 2 pairs 2VS."""
    found = distinct_pairs(host(WSSE), "S", "Se")
    assert [pair.name for pair in found] == ["3.23", "4.58", "6.49a", "6.49b"]
    assert [pair.distance for pair in found] == pytest.approx([3.23, 4.58, 6.49, 6.49], abs=0.01)
    assert [pair.multiplicity for pair in found] == [9, 54, 9, 9]
    assert [pair.indices for pair in found] == [(1, 2), (1, 5), (1, 17), (1, 23)], "pinned"
    same = distinct_pairs(host(WSSE), "S", "S")
    assert [pair.distance for pair in same] == pytest.approx([3.252, 3.252 * np.sqrt(3)])
    assert [pair.multiplicity for pair in same] == [27, 9]


@pytest.mark.parametrize(
    ("layer", "repeat", "first", "second"),
    [
        (WSSE, (3, 3), "S", "Se"),
        (WSSE, (3, 3), "Se", "S"),
        (WSSE, (3, 3), "S", "S"),
        (WSSE, (3, 3), "W", "S"),
        (WSSE, (2, 3), "S", "Se"),
        (WSE2, (3, 3), "Se", "Se"),
        (WS2, (4, 4), "S", "S"),
        (WSE2, (2, 3), "Se", "Se"),
    ],
)
def test_pairs_are_the_distinct_environments(
    layer: Monolayer, repeat: tuple[int, int], first: str, second: str
) -> None:
    atoms = host(layer, repeat)
    found = distinct_pairs(atoms, first, second)
    environments = pair_environments(atoms, first, second)
    assert sorted(pair.multiplicity for pair in found) == sorted(environments.values())
    assert sum(pair.multiplicity for pair in found) == sum(environments.values())
    assert (np.diff([pair.distance for pair in found]) > -1e-9).all()
    assert len({pair.name for pair in found}) == len(found)
    for pair in found:
        i, j = pair.indices
        assert (atoms.symbols[i], atoms.symbols[j]) == (first, second)
        assert pair.distance == pytest.approx(atoms.get_distance(i, j, mic=True))
        assert pair.name.rstrip("abcde") == f"{pair.distance:.2f}"


def test_equal_pairs_read_in_either_order() -> None:
    forward, backward = distinct_pairs(host(WSSE), "S", "Se"), distinct_pairs(host(WSSE), "Se", "S")
    assert Counter((p.distance, p.multiplicity) for p in forward) == Counter(
        (p.distance, p.multiplicity) for p in backward
    )


def test_pairs_at_one_distance_are_two_structures() -> None:
    """ASE's comparison of whole structures sorts the 18 pairs at 6.49 Å into the same two classes."""
    atoms = host(WSSE)
    atoms.pbc = True
    compare: Callable[[Atoms, Atoms], bool] = SymmetryEquivalenceCheck(stol=0.02).compare
    found = {pair.name: pair.indices for pair in distinct_pairs(atoms, "S", "Se")}
    first, second = (defective(atoms, *found[name]) for name in ("6.49a", "6.49b"))
    assert not compare(first, second)
    for i, j in [(4, 11), (4, 26), (7, 14), (7, 20)]:
        assert atoms.get_distance(i, j, mic=True) == pytest.approx(6.49, abs=0.01)
        other = defective(atoms, i, j)
        assert compare(first, other) != compare(second, other)


def defective(atoms: Atoms, sulfur: int, selenium: int) -> Atoms:
    return apply_defects(atoms, [Defect("S", sulfur), Defect("Se", selenium)])


def test_many_pairs_at_one_distance_have_different_names() -> None:
    """A host without symmetry: every pair its own class, some at distances equal to two decimals."""
    corners = [(0, 0, 8), (3, 0, 8), (3, 3, 8), (0, 3, 8), (6.1, 1.2, 8), (1.4, 6.3, 8.2), (6.6, 5.1, 8.1)]
    atoms = Atoms("C4NOF", positions=corners, cell=(9, 9.5, 20), pbc=(True, True, False))
    names = [pair.name for pair in distinct_pairs(atoms, "C", "C")]
    assert names == ["3.00a", "3.00b", "3.00c", "3.00d", "4.24a", "4.24b"]


@pytest.mark.parametrize("layer", [WSE2, WSSE, WS2])
def test_vacancies_are_those_of_pymatgen(layer: Monolayer) -> None:
    from pymatgen.analysis.defects.generators import VacancyGenerator
    from pymatgen.io.ase import AseAtomsAdaptor

    atoms = host(layer)
    structure = AseAtomsAdaptor.get_structure(atoms)
    theirs = Counter(
        (v.site.specie.symbol, v.multiplicity) for v in VacancyGenerator(symprec=0.1).generate(structure)
    )
    ours = Counter((v.element, v.multiplicity) for e in set(atoms.symbols) for v in distinct_vacancies(atoms, e))
    assert ours == theirs


def test_vacancy_faces() -> None:
    symmetric, janus = host(WSE2), host(WSSE)
    (vacancy,) = distinct_vacancies(symmetric, "Se")
    assert (vacancy.index, vacancy.face, vacancy.multiplicity) == (1, "top", 18)
    assert [(v.index, v.face) for v in distinct_vacancies(janus, "S")] == [(1, "top")]
    assert [(v.index, v.face) for v in distinct_vacancies(janus, "Se")] == [(2, "bottom")]
    assert [(v.index, v.face) for v in distinct_vacancies(janus, "W")] == [(0, "inside")]
    assert [(v.face, v.multiplicity) for v in distinct_vacancies(graphene(size=(3, 3, 1), vacuum=8), "C")] == [
        ("top", 18)
    ]


def test_vacancy_of_a_symmetric_host_is_on_top_though_the_bottom_comes_first() -> None:
    atoms = host(WSE2)[[i for k in range(9) for i in (3 * k, 3 * k + 2, 3 * k + 1)]]
    (vacancy,) = distinct_vacancies(atoms, "Se")
    assert (vacancy.index, vacancy.face) == (2, "top")


def test_several_distinct_vacancies_of_one_element() -> None:
    """One S of the Janus layer made a defect of the host: the other S fall into shells round it."""
    atoms = apply_defects(host(WSSE), [Defect("S", 1, "O")])
    found = distinct_vacancies(atoms, "S")
    assert sorted(v.multiplicity for v in found) == [1, 1, 6]
    assert [v.index for v in found] == sorted(v.index for v in found)


@pytest.mark.parametrize("seed", range(4))
def test_relaxed_hosts_keep_their_classes(seed: int) -> None:
    atoms = host(WSSE)
    atoms.positions += np.random.default_rng(seed).uniform(-0.02, 0.02, atoms.positions.shape)
    assert [v.multiplicity for v in distinct_vacancies(atoms, "S")] == [9]
    assert sorted(p.multiplicity for p in distinct_pairs(atoms, "S", "Se")) == [9, 9, 9, 54]


def test_apply_defects_leaves_the_rest_in_place() -> None:
    atoms = host(WSSE)
    defective = apply_defects(atoms, [Defect("Se", 5), Defect("S", 1), Defect("S", 4, "O")])
    kept = [i for i in range(27) if i not in (1, 5)]
    np.testing.assert_array_equal(defective.positions, atoms.positions[kept])
    np.testing.assert_array_equal(defective.cell[:], atoms.cell[:])
    expected = [{4: "O"}.get(i, atoms.symbols[i]) for i in kept]
    assert list(defective.symbols) == expected
    assert len(atoms) == 27, "the argument is left alone"
    assert atoms.symbols[4] == "S"
    assert apply_defects(atoms, ()) == atoms


@pytest.mark.parametrize(
    ("defects", "words"),
    [
        ([Defect("S", 2)], ["atom 2 of WSSe × 9 is Se, not S", "S atoms are 1, 4, 7"]),
        ([Defect("S", 27)], ["S@27", "27 atoms", "0 to 26"]),
        ([Defect("S", -1)], ["S@-1", "0 to 26"]),
        ([Defect("Mo", 0)], ["WSSe has no Mo to remove; it has W, S, Se"]),
        ([Defect("S", 1), Defect("S", 1)], ["S@1", "twice"]),
        ([Defect("S", 1), Defect("S", 1, "O")], ["S@1", "twice"]),
        ([Defect("S", 1, "Xy")], ["'Xy'", "not an element"]),
        ([Defect("S", 1, "S")], ["S@1→S", "own element"]),
        ([Defect(s, i) for i, s in enumerate(["W", "S", "Se"] * 9)], ["every atom"]),
    ],
)
def test_defects_that_do_not_fit_are_refused(defects: list[Defect], words: list[str]) -> None:
    with pytest.raises(StructureError) as error:
        apply_defects(host(WSSE), defects)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_elements_the_host_lacks_are_refused() -> None:
    with pytest.raises(StructureError, match="WSe2 has no S to remove; it has W, Se"):
        distinct_vacancies(host(WSE2), "S")
    with pytest.raises(StructureError, match="WSe2 has no S to remove; it has W, Se"):
        distinct_pairs(host(WSE2), "Se", "S")
    with pytest.raises(StructureError, match=r"WSSe has a single S.*larger supercell"):
        distinct_pairs(host(WSSE, (1, 1)), "S", "S")


def test_parse_site_atom() -> None:
    assert parse_site_atom("S@12") == ("S", 12)
    assert parse_site_atom(" Se@0 ") == ("Se", 0)


@pytest.mark.parametrize("text", ["S", "12", "@12", "S@", "S@-1", "S@1.5", "s@1", "Xx@1", "S@1@2", "S 1", ""])
def test_parse_site_atom_refuses_other_forms(text: str) -> None:
    with pytest.raises(StructureError, match=r"names no atom|not an element"):
        parse_site_atom(text)


@pytest.mark.parametrize(
    ("layer", "counts"),
    [(WSE2, {"Se": 3}), (WSE2, {"Se": 4}), (WSSE, {"S": 3}), (WSSE, {"Se": 1, "S": 2}), (WSSE, {"W": 1, "S": 2})],
)
def test_many_vacancies_lie_as_near_as_any(layer: Monolayer, counts: dict[str, int]) -> None:
    """The oracle tries every choice of atoms, with ASE's distances."""
    atoms = host(layer)
    apart = atoms.get_all_distances(mic=True)

    def total(group: Sequence[int]) -> float:
        return sum(float(apart[i, j]) for i, j in combinations(group, 2))

    found = nearest_group(atoms, counts)
    assert Counter(atoms.symbols[list(found)]) == counts
    choices = [combinations(np.flatnonzero(atoms.symbols == e).tolist(), n) for e, n in counts.items()]
    best = min(total([i for part in parts for i in part]) for parts in product(*choices))
    assert total(found) == pytest.approx(best, abs=1e-6)
    assert distances_between(atoms, found) == pytest.approx(sorted(apart[i, j] for i, j in combinations(found, 2)))
    assert found == nearest_group(atoms, dict(reversed(counts.items())))


def test_more_vacancies_than_atoms_are_refused() -> None:
    with pytest.raises(StructureError, match=r"WSe2 × 9 has 18 Se, not 19 to remove"):
        nearest_group(host(WSE2), {"Se": 19})
