"""Which records may be subtracted: records of the same method and, in the same cell, of the same sampling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import hypot
from typing import Any

from ...errors import SodiateError
from ..records import Record, Sampling


class ProtocolMismatch(SodiateError):
    """The difference of two records' energies means nothing: they were run differently."""


def check_method(first: Record, second: Record) -> None:
    """Refuse two records whose method differs: code, functional, cutoff, dispersion, PAW set of shared elements.

    Raises
    ------
    ProtocolMismatch
        With both sides and each value that differs.
    """
    methods = first.method, second.method
    differences = _differences(*(method.model_dump(exclude={"paw"}) for method in methods))
    for element in sorted(_elements(first) & _elements(second)):
        data_sets = [method.paw.get(element) for method in methods]
        if data_sets[0] != data_sets[1]:
            differences.append(f"PAW of {element} {data_sets[0]} ≠ {data_sets[1]}")
    if first.physical != second.physical:
        differences.append("one of them is a mock")
    _refuse(first, second, "method", differences)


def _elements(record: Record) -> set[str]:
    return set(record.geometry.symbols) if record.geometry else set(record.method.paw)


def check_sampling(first: Record, second: Record) -> None:
    """Refuse two records of the same slab cell whose sampling differs: cell, k mesh, smearing, spin, dipole.

    Raises
    ------
    ProtocolMismatch
        With both sides and each value that differs.
    """
    if first.sampling is None or second.sampling is None:
        raise ProtocolMismatch(f"{(first if first.sampling is None else second).label} has no sampling record.")
    samplings = first.sampling, second.sampling
    differences = _differences(*(sampling.model_dump(exclude={"cell_a"}) for sampling in samplings))
    if _largest_shift(*samplings) > 1e-4:
        differences.append(f"cell {_edges(samplings[0])} ≠ {_edges(samplings[1])} Å")
    _refuse(first, second, "sampling", differences)


def check_atoms(whole: Record, parts: Iterable[Record], what: str) -> None:
    """Refuse a difference of which the atoms do not cancel: the whole has to be its parts, atom for atom.

    Parameters
    ----------
    whole, parts
        Records with their atoms.
    what
        What is to be computed, for the message.

    Raises
    ------
    ProtocolMismatch
        Naming what is too many on either side.
    """
    parts = list(parts)
    total = sum((Counter(symbols(part)) for part in parts), Counter[str]())
    count = Counter(symbols(whole))
    if count == total:
        return
    names = " and ".join(part.label for part in parts)
    sides = [(count - total, whole.label), (total - count, names)]
    excess = ", ".join(f"{_formula(surplus)} more in {side}" for surplus, side in sides if surplus)
    raise ProtocolMismatch(f"{what}: {whole.label} is not {names}: {excess}")


def check_parent(record: Record, role: str, parent: Record) -> None:
    """Refuse a record that was not computed from another one, as what is made of both takes for granted.

    Raises
    ------
    ProtocolMismatch
        Naming both.
    """
    reference = record.parents.get(role)
    if reference is None or reference.calculation != parent.calculation:
        origin = "no record" if reference is None else f"calculation {reference.calculation}"
        raise ProtocolMismatch(
            f"{record.label} was computed from {origin} as its {role}, not from {parent.label} "
            f"({parent.calculation}); the campaign names another one than it was planned with"
        )


def symbols(record: Record) -> tuple[str, ...]:
    """Return the elements of a record's atoms.

    Raises
    ------
    ProtocolMismatch
        If it has no atoms.
    """
    if record.geometry is None:
        raise ProtocolMismatch(f"{record.label}: its record has no geometry")
    return record.geometry.symbols


def element_of(record: Record) -> str:
    """Return the element of a reference.

    Raises
    ------
    ProtocolMismatch
        If it has several, or no atoms.
    """
    elements = sorted(set(symbols(record)))
    if len(elements) != 1:
        raise ProtocolMismatch(f"{record.label}: a reference is of one element, this is of {', '.join(elements)}")
    return elements[0]


def _formula(count: Mapping[str, int]) -> str:
    return " + ".join(f"{number} {element}" for element, number in count.items())


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    return [f"{key} {first[key]} ≠ {second[key]}" for key in first if first[key] != second[key]]


def _largest_shift(first: Sampling, second: Sampling) -> float:
    """Return the largest difference of two cells' components, Å."""
    pairs = zip(sum(first.cell_a, ()), sum(second.cell_a, ()), strict=True)
    return max(abs(a - b) for a, b in pairs)


def edges_a(sampling: Sampling) -> list[float]:
    """Return the lengths of the three cell vectors, Å."""
    return [hypot(*axis) for axis in sampling.cell_a]


def _edges(sampling: Sampling) -> str:
    return " × ".join(f"{edge:.4f}" for edge in edges_a(sampling))


def _refuse(first: Record, second: Record, aspect: str, differences: list[str]) -> None:
    if differences:
        raise ProtocolMismatch(f"{aspect} of {first.label} and {second.label} differs: {'; '.join(differences)}")
