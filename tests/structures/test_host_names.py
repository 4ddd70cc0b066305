"""Names of models, and the atoms they remove."""

import pytest
from ase import Atoms
from sodiate.structures.errors import StructureError
from sodiate.structures.host_names import parse_model, resolve_vacancies
from sodiate.structures.monolayers import Monolayer, build_monolayer
from sodiate.structures.vacancies import Defect, apply_defects, distinct_pairs, distinct_vacancies

WSE2 = Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546)
WSSE = Monolayer("W", "S", "Se", 3.252, 2.416, 2.538)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("WSe2", ("WSe2", ())),
        ("WSSe+VS", ("WSSe", ("S",))),
        ("WSSe+VSe", ("WSSe", ("Se",))),
        ("WSSe+VS+VSe", ("WSSe", ("S", "Se"))),
        ("WSSe+VSe+VS", ("WSSe", ("Se", "S"))),
        ("WSSe+VS+VS", ("WSSe", ("S", "S"))),
        ("WSSe+2VS", ("WSSe", ("S", "S"))),
        ("VS2+VV", ("VS2", ("V",))),
        ("VSe2+VSe", ("VSe2", ("Se",))),
        ("my host + VS", ("my host", ("S",))),
    ],
)
def test_parse_model(name: str, expected: tuple[str, tuple[str, ...]]) -> None:
    assert parse_model(name) == expected


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", ["names no host"]),
        ("+VS", ["names no host"]),
        ("WSSe+", ["''", "no vacancy"]),
        ("WSSe+S", ["'S'", "WSSe+VS"]),
        ("WSSe+Vs", ["'Vs'", "no vacancy"]),
        ("WSSe+VXq", ["'Xq'", "not an element"]),
        ("WSSe+3VS", ["'3VS'"]),
        ("WSSe+VS+VS+VSe", ["3 vacancies", "remove"]),
        ("WSSe+2VS+VSe", ["3 vacancies"]),
    ],
)
def test_other_names_are_refused(name: str, words: list[str]) -> None:
    with pytest.raises(StructureError) as error:
        parse_model(name)
    assert all(word in str(error.value) for word in [repr(name), *words]), str(error.value)


def resolve(layer: Monolayer, name: str, pair: str | None = None) -> tuple[Atoms, tuple[Defect, ...]]:
    host = build_monolayer(layer, (3, 3))
    return host, resolve_vacancies(host, parse_model(name)[1], pair)


@pytest.mark.parametrize(
    ("layer", "name", "formula"),
    [
        (WSE2, "WSe2", {"W": 9, "Se": 18}),
        (WSE2, "WSe2+VSe", {"W": 9, "Se": 17}),
        (WSSE, "WSSe+VS", {"W": 9, "S": 8, "Se": 9}),
        (WSSE, "WSSe+VSe", {"W": 9, "S": 9, "Se": 8}),
        (WSSE, "WSSe+VS+VSe", {"W": 9, "S": 8, "Se": 8}),
        (WSSE, "WSSe+2VS", {"W": 9, "S": 7, "Se": 9}),
    ],
)
def test_models_of_the_paper(layer: Monolayer, name: str, formula: dict[str, int]) -> None:
    host, defects = resolve(layer, name)
    assert apply_defects(host, defects).symbols.formula.count() == formula


def test_two_vacancies_take_the_nearest_pair() -> None:
    host, defects = resolve(WSSE, "WSSe+VS+VSe")
    assert defects == (Defect("S", 1), Defect("Se", 2))
    sulfur, selenium = (host.positions[d.index] for d in defects)
    assert sulfur[:2] == pytest.approx(selenium[:2]), "one above the other"


@pytest.mark.parametrize("number", range(4))
def test_pair_by_name(number: int) -> None:
    host = build_monolayer(WSSE, (3, 3))
    pair = distinct_pairs(host, "S", "Se")[number]
    first, second = resolve_vacancies(host, ("S", "Se"), pair.name)
    assert (first.index, second.index) == pair.indices
    other_way = resolve_vacancies(host, ("Se", "S"), pair.name)
    assert [d.element for d in other_way] == ["Se", "S"]
    assert host.get_distance(other_way[0].index, other_way[1].index, mic=True) == pytest.approx(pair.distance)


def test_unknown_pair_lists_those_there_are() -> None:
    with pytest.raises(StructureError, match=r"VS\+VSe.*'5\.00'.*3\.23, 4\.58, 6\.49a, 6\.49b"):
        resolve(WSSE, "WSSe+VS+VSe", "5.00")


@pytest.mark.parametrize("name", ["WSSe", "WSSe+VS"])
def test_pair_without_two_vacancies_is_refused(name: str) -> None:
    with pytest.raises(StructureError, match=r"pair '3\.23'"):
        resolve(WSSE, name, "3.23")


def test_ambiguous_vacancy_lists_the_atoms() -> None:
    host = apply_defects(build_monolayer(WSSE, (3, 3)), [Defect("S", 1, "O")])
    with pytest.raises(StructureError, match=r"VS in .* is ambiguous: S has 3 distinct positions") as error:
        resolve_vacancies(host, ("S",), None)
    for vacancy in distinct_vacancies(host, "S"):
        assert f"S@{vacancy.index} (top, {vacancy.multiplicity} equivalent)" in str(error.value)


def test_missing_element_is_refused() -> None:
    with pytest.raises(StructureError, match="WSe2 has no S to remove; it has W, Se"):
        resolve(WSE2, "WSe2+VS")


def test_more_than_two_are_refused() -> None:
    with pytest.raises(StructureError, match="at most 2"):
        resolve_vacancies(build_monolayer(WSSE, (3, 3)), ("S", "S", "S"), None)
