"""Which records may be subtracted: those of one method, and for one cell of one sampling."""

from __future__ import annotations

from collections.abc import Mapping
from math import hypot
from typing import Any

from ...errors import SodiateError
from ..records import Record, Sampling


class ProtocolMismatch(SodiateError):
    """Two records were run in ways that make the difference of their energies meaningless."""


def check_method(first: Record, second: Record) -> None:
    """Refuse two records whose method differs: code, functional, cutoff, dispersion, PAW set of shared elements.

    Raises
    ------
    ProtocolMismatch
        Naming both sides and each value that differs.
    """
    one, other = first.method, second.method
    differing = _differing(one.model_dump(exclude={"paw"}), other.model_dump(exclude={"paw"}))
    for element in sorted(_elements(first) & _elements(second)):
        if one.paw.get(element) != other.paw.get(element):
            differing.append(f"PAW of {element} {one.paw.get(element)} ≠ {other.paw.get(element)}")
    if first.physical != second.physical:
        differing.append("one of them is a mock")
    _refuse(first, second, "method", differing)


def _elements(record: Record) -> set[str]:
    return set(record.geometry.symbols) if record.geometry else set(record.method.paw)


def check_sampling(first: Record, second: Record) -> None:
    """Refuse two records of one slab cell whose sampling differs: cell, k mesh, smearing, spin, dipole.

    Raises
    ------
    ProtocolMismatch
        Naming both sides and each value that differs.
    """
    if first.sampling is None or second.sampling is None:
        raise ProtocolMismatch(f"{(first if first.sampling is None else second).label} has no sampling record.")
    one, other = first.sampling, second.sampling
    differing = _differing(one.model_dump(exclude={"cell_a"}), other.model_dump(exclude={"cell_a"}))
    if _furthest(one, other) > 1e-4:
        differing.append(f"cell {_edges(one)} ≠ {_edges(other)} Å")
    _refuse(first, second, "sampling", differing)


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [f"{key} {one[key]} ≠ {other[key]}" for key in one if one[key] != other[key]]


def _furthest(one: Sampling, other: Sampling) -> float:
    pairs = zip(sum(one.cell_a, ()), sum(other.cell_a, ()), strict=True)
    return max(abs(a - b) for a, b in pairs)


def edges_a(sampling: Sampling) -> list[float]:
    """Return the lengths of the cell vectors, Å."""
    return [hypot(*axis) for axis in sampling.cell_a]


def _edges(sampling: Sampling) -> str:
    return " × ".join(f"{edge:.4f}" for edge in edges_a(sampling))


def _refuse(first: Record, second: Record, what: str, differing: list[str]) -> None:
    if differing:
        raise ProtocolMismatch(f"{what} of {first.label} and {second.label} differs: {'; '.join(differing)}")
