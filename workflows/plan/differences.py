"""What is different between two models of a campaign, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..campaign.campaign_file import Model
    from .graph import PlannedModel


def changes(one: PlannedModel, other: PlannedModel, declared: Mapping[str, Model]) -> tuple[str, ...]:
    """Say what a model has otherwise than another one: the host, the protocol of the slabs, then that of the atom.

    Parameters
    ----------
    one, other
        As planned.
    declared
        The campaign's models by name.
    """
    slab = _differing(one.host.protocol, other.host.protocol)
    alone = [change for change in _differing(one.atom.protocol, other.atom.protocol) if change not in slab]
    host = _host_changes(one, other, declared[one.name], declared[other.name])
    return (*host, *slab, *(f"{one.atom.label} atom: {change}" for change in alone))


def _host_changes(one: PlannedModel, other: PlannedModel, mine: Model, theirs: Model) -> Iterator[str]:
    cells = ["×".join(map(str, model.supercell)) for model in (one, other)]
    if cells[0] != cells[1]:
        yield f"supercell {cells[1]} → {cells[0]}"
    if mine.ordering != theirs.ordering:
        yield f"ordering {theirs.ordering or 'Janus'} → {mine.ordering or 'Janus'}"
    if mine.pair != theirs.pair:
        yield f"pair {theirs.pair or 'nearest'} → {mine.pair or 'nearest'}"
    origins = [(model.model, model.file, model.remove, model.replace) for model in (mine, theirs)]
    if origins[0] != origins[1]:
        yield f"host {other.host.label} → {one.host.label}"


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
