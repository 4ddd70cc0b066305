"""Names of models, as in the literature: WSSe+VS+VSe is WSSe with one S and one Se vacancy."""

import re
from collections.abc import Mapping

from ase import Atoms

from .errors import StructureError
from .geometry import check_element, describe
from .vacancies import Defect, distinct_pairs, distinct_vacancies, nearest_group

_VACANCY = re.compile(r"(2?)V([A-Z][a-z]?)")

_MOST_VACANCIES = 2


def parse_model(name: str) -> tuple[str, tuple[str, ...]]:
    """Split the name of a model into its host and the elements of its vacancies.

    Parameters
    ----------
    name
        Host, then ``+V`` and the element for each vacancy; ``+2VS`` is short for ``+VS+VS``.

    Returns
    -------
    tuple
        ``"WSSe+VS+VSe"`` gives ``("WSSe", ("S", "Se"))``. The host is not looked up.

    Raises
    ------
    StructureError
        On another form, an unknown element, or more than two vacancies.
    """
    host, *parts = (part.strip() for part in name.split("+"))
    if not host:
        raise StructureError(f"model {name!r}: names no host; write for example WSSe or WSSe+VS.")
    vacancies: list[str] = []
    for part in parts:
        match = _VACANCY.fullmatch(part)
        if match is None:
            raise StructureError(f"model {name!r}: {part!r} is no vacancy; write V and the element, as in WSSe+VS.")
        check_element(match[2], f"model {name!r}")
        vacancies += [match[2]] * (2 if match[1] else 1)
    if len(vacancies) > _MOST_VACANCIES:
        raise StructureError(
            f"model {name!r}: {len(vacancies)} vacancies; a name describes at most {_MOST_VACANCIES}. Give more by "
            f"count, as in `vacancies: {{{vacancies[0]}: {len(vacancies)}}}`, or by atom under `remove` (S@12)."
        )
    return host, tuple(vacancies)


def vacancies_label(counts: Mapping[str, int]) -> str:
    """Return what numbers of vacancies by element add to the name of their host: ``+3VS``, ``+VS+2VSe``."""
    return "".join(f"+{count if count > 1 else ''}V{element}" for element, count in sorted(counts.items()))


def resolve_vacancies(host: Atoms, vacancies: tuple[str, ...], pair: str | None) -> tuple[Defect, ...]:
    """Choose the atoms that the vacancies of a model remove.

    Parameters
    ----------
    host
        The complete host.
    vacancies
        Elements as `parse_model` gives them.
    pair
        For two vacancies, the name of a pair (`distinct_pairs`); None takes the nearest.

    Returns
    -------
    tuple of Defect
        In the order of `vacancies`.

    Raises
    ------
    StructureError
        If the host lacks the element, has several distinct atoms of it for one vacancy, or has no such pair.
    """
    if len(vacancies) > _MOST_VACANCIES:
        raise StructureError(f"{describe(host)}: at most {_MOST_VACANCIES} vacancies can be chosen by element.")
    if len(vacancies) == _MOST_VACANCIES:
        return _pair(host, vacancies[0], vacancies[1], pair)
    if pair is not None:
        raise StructureError(f"{describe(host)}: pair {pair!r} is given, but {len(vacancies)} vacancies, not two.")
    return tuple(_single(host, element) for element in vacancies)


def vacancies_by_count(host: Atoms, counts: Mapping[str, int], pair: str | None) -> tuple[Defect, ...]:
    """Choose the atoms of as many vacancies of each element: one or two as by name, more as near as they go.

    Parameters
    ----------
    host
        The complete host.
    counts
        How many vacancies by element.
    pair
        As in `resolve_vacancies`.

    Raises
    ------
    StructureError
        As `resolve_vacancies` and `sodiate.structures.vacancies.nearest_group` do.
    """
    elements = tuple(element for element, count in counts.items() for _ in range(count))
    if len(elements) <= _MOST_VACANCIES:
        return resolve_vacancies(host, elements, pair)
    if pair is not None:
        raise StructureError(f"{describe(host)}: pair {pair!r} is given, but {len(elements)} vacancies, not two.")
    return tuple(Defect(str(host.symbols[index]), index) for index in nearest_group(host, counts))


def _single(host: Atoms, element: str) -> Defect:
    vacancies = distinct_vacancies(host, element)
    if len(vacancies) > 1:
        choices = ", ".join(f"{element}@{v.index} ({v.face}, {v.multiplicity} equivalent)" for v in vacancies)
        raise StructureError(
            f"V{element} in {describe(host)} is ambiguous: {element} has {len(vacancies)} distinct positions. "
            f"Name one under `remove`: {choices}."
        )
    return Defect(element, vacancies[0].index)


def _pair(host: Atoms, first: str, second: str, pair: str | None) -> tuple[Defect, ...]:
    pairs = distinct_pairs(host, first, second)
    by_name = {candidate.name: candidate for candidate in pairs}
    selected = pairs[0] if pair is None else by_name.get(pair)
    if selected is None:
        raise StructureError(
            f"{describe(host)}: no pair V{first}+V{second} called {pair!r}; "
            f"the distances in Å are {', '.join(by_name)}."
        )
    return Defect(first, selected.indices[0]), Defect(second, selected.indices[1])
