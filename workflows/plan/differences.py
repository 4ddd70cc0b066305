"""What is different between two models of a campaign, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..calculation import Calculation
    from ..campaign.campaign_file import CampaignModel
    from ..quantities.base import PlannedHost


@dataclass(frozen=True)
class ComparisonSide:
    """One side of a comparison: the planned host, its isolated atom, and the model as the campaign declares it."""

    host: PlannedHost
    atom: Calculation
    model: CampaignModel


def changes(this: ComparisonSide, other: ComparisonSide) -> tuple[str, ...]:
    """Say what a model has otherwise than another one: the host, the protocol of the slabs, then that of the atom."""
    slab = _differing(this.host.calculation.protocol, other.host.calculation.protocol)
    alone = [change for change in _differing(this.atom.protocol, other.atom.protocol) if change not in slab]
    return (*_host_changes(this, other), *slab, *(f"{this.atom.label} atom: {change}" for change in alone))


def _host_changes(this: ComparisonSide, other: ComparisonSide) -> Iterator[str]:
    mine, theirs = this.model, other.model
    cells = ["×".join(map(str, side.host.repeat)) for side in (this, other)]
    if cells[0] != cells[1]:
        yield f"supercell {cells[1]} → {cells[0]}"
    if mine.ordering != theirs.ordering:
        yield f"ordering {theirs.ordering or 'Janus'} → {mine.ordering or 'Janus'}"
    if mine.pair != theirs.pair:
        yield f"pair {theirs.pair or 'nearest'} → {mine.pair or 'nearest'}"
    origins = [(model.model, model.file, model.remove, model.replace) for model in (mine, theirs)]
    if origins[0] != origins[1]:
        yield f"host {other.host.calculation.label} → {this.host.calculation.label}"


def _differing(this: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    keys = dict.fromkeys((*other, *this))
    return [
        f"{key} {_word(other.get(key))} → {_word(this.get(key))}" for key in keys if this.get(key) != other.get(key)
    ]


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "on", False: "off"}[value]
    if isinstance(value, Mapping):
        return " ".join(map(_word, value.values()))
    return f"{value:g}" if isinstance(value, float) else str(value)
