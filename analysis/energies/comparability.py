"""Which records may be subtracted: records of the same method and, in the same cell, of the same sampling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from math import hypot
from typing import Any

from ...errors import SodiateError
from ..records import Method, Record, Sampling

UNSET = "not set"
"""A setting that is the code's own."""


class ProtocolMismatch(SodiateError):
    """The difference of two records' energies means nothing: they were run differently."""


def check_method(first: Record, second: Record) -> None:
    """Refuse two records whose method differs: code, functional, cutoff, dispersion, whatever else moves energies.

    Data set and Hubbard correction are compared of shared elements.

    Raises
    ------
    ProtocolMismatch
        With both sides and each value that differs.
    """
    differences = method_differences(first.method, second.method, _elements(first) & _elements(second))
    if first.physical != second.physical:
        differences.append("one of them is a mock")
    _refuse(first, second, "method", differences)


def method_differences(first: Method, second: Method, shared: Iterable[str]) -> list[str]:
    """Return what differs in two methods, as ``cutoff_ev 500.0 ≠ 450.0``.

    Parameters
    ----------
    first, second
        The methods.
    shared
        Elements of both, of which data set and Hubbard correction are compared.
    """
    methods = first, second
    apart = {"paw", "hubbard", "settings", "numerics"}
    differences = _differences(*(method.model_dump(exclude=apart) for method in methods))
    differences += _differences(*_settings(*methods))
    for element in sorted(shared):
        data_sets = [method.paw.get(element) for method in methods]
        if data_sets[0] != data_sets[1]:
            differences.append(f"PAW of {element} {data_sets[0]} ≠ {data_sets[1]}")
        corrections = [(method.hubbard or {}).get(element, "none") for method in methods]
        if corrections[0] != corrections[1]:
            differences.append(f"Hubbard correction of {element} {corrections[0]} ≠ {corrections[1]}")
    return differences


def _settings(first: Method, second: Method) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the further settings of two methods, as far as both records state them.

    Records of older releases state only a few; newer ones are compared with these by the same few.
    """
    if first.settings is not None and second.settings is not None:
        return _same_keys(first.settings, second.settings)
    if first.settings is None and second.settings is None:
        return {"numerics": first.numerics}, {"numerics": second.numerics}
    few, others = first.numerics or {}, second.numerics or {}
    shared = few.keys() & others.keys()
    return {key: few[key] for key in shared}, {key: others[key] for key in shared}


def _same_keys(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    keys = sorted(first.keys() | second.keys())
    return {key: first.get(key, UNSET) for key in keys}, {key: second.get(key, UNSET) for key in keys}


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
    differences = sampling_differences(*samplings)
    if _largest_shift(*samplings) > 1e-4:
        differences.append(f"cell {_edges(samplings[0])} ≠ {_edges(samplings[1])} Å")
    _refuse(first, second, "sampling", differences)


def sampling_differences(first: Sampling, second: Sampling, *but: str) -> list[str]:
    """Return what differs in two samplings beside the cell, without the fields ``but``."""
    samplings = first, second
    apart = {"cell_a", "settings", *but}
    differences = _differences(*(sampling.model_dump(exclude=apart) for sampling in samplings))
    return differences + _differences(*_same_keys(*(sampling.settings or {} for sampling in samplings)))


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
