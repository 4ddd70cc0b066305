"""What is different between two models of a campaign, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calculation import Calculation
    from .campaign import Model


def model_changes(
    model: Model, other: Model, supercells: tuple[tuple[int, int], tuple[int, int]], labels: tuple[str, str]
) -> list[str]:
    """Say how the host of a model is other than that of another one.

    Parameters
    ----------
    model, other
        As declared.
    supercells, labels
        Of the host of each.
    """
    cells = ["×".join(map(str, cell)) for cell in supercells]
    changes = [f"supercell {cells[1]} → {cells[0]}"] if cells[0] != cells[1] else []
    if model.ordering != other.ordering:
        changes.append(f"ordering {other.ordering or 'Janus'} → {model.ordering or 'Janus'}")
    elif model.pair != other.pair:
        changes.append(f"pair {other.pair or 'nearest'} → {model.pair or 'nearest'}")
    elif labels[0] != labels[1]:
        changes.append(f"host {labels[1]} → {labels[0]}")
    return changes


def protocol_changes(
    host: Calculation, atom: Calculation, other_host: Calculation, other_atom: Calculation
) -> list[str]:
    """Say which protocol keys two models have otherwise: those of the slabs, then those of the atom alone."""
    slab = _differing(host.protocol, other_host.protocol)
    alone = [change for change in _differing(atom.protocol, other_atom.protocol) if change not in slab]
    return [*slab, *(f"{atom.label} atom: {change}" for change in alone)]


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    keys = dict.fromkeys((*other, *one))
    return [
        f"{key} {_word(other.get(key))} → {_word(one.get(key))}" for key in keys if one.get(key) != other.get(key)
    ]


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "on", False: "off"}[value]
    if isinstance(value, Mapping):
        return " ".join(map(_word, value.values()))
    return f"{value:g}" if isinstance(value, float) else str(value)
