"""The differences between two models of a campaign, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..calculation import HOST
from ..campaign.campaign_file import StartHeights
from ..campaign.protocol import is_off
from ..kinds import KINDS
from ..start_structures import read_host

if TYPE_CHECKING:
    from ..calculation import Calculation
    from ..campaign.campaign_file import CampaignModel
    from ..quantities.base import PlannedHost


@dataclass(frozen=True)
class ComparisonSide:
    """One side of a comparison: the planned host, its isolated atom, and the model as the campaign declares it.

    A host without adsorption sites has no atom.
    """

    host: PlannedHost
    atom: Calculation | None
    model: CampaignModel


def changes(side: ComparisonSide, baseline: ComparisonSide) -> tuple[str, ...]:
    """Return the changes from the baseline: in the host, the protocol of the slabs, then that of the atom."""
    slab = _protocol_changes(side.host.calculation.protocol, baseline.host.calculation.protocol)
    final = [] if not (side.host.finals or baseline.host.finals) else _final_changes(side.host, baseline.host, slab)
    known = {*slab, *final}
    atom = [change for change in _atom_changes(side.atom, baseline.atom) if change not in known]
    return (
        *_host_changes(side, baseline),
        *slab,
        *(f"final energy: {change}" for change in final),
        *(f"{_free(side.atom)}: {change}" for change in atom if side.atom is not None),
    )


def _free(calculation: Calculation) -> str:
    """Return the words for the isolated atom, or the free molecule."""
    return calculation.label if calculation.kind != "atom" else f"{calculation.structure['element']} atom"


def _atom_changes(atom: Calculation | None, baseline: Calculation | None) -> list[str]:
    return [] if atom is None or baseline is None else _protocol_changes(atom.protocol, baseline.protocol)


def _final_changes(host: PlannedHost, baseline: PlannedHost, known: list[str]) -> list[str]:
    """Return the changes of what energies are taken with, where it is not that of the relaxations in both."""
    ours, theirs = (
        {
            **{
                key: value
                for key, value in one.finals.get(HOST, one.calculation).protocol.items()
                if key not in _FORCES
            },
            "extra_vacuum_a": one.extra_vacuum_a,
        }
        for one in (host, baseline)
    )
    # What acts on a relaxation of this engine but on no single point of it is no change of the energies.
    idle = _idle(host) | _idle(baseline)
    ours, theirs = ({key: value for key, value in one.items() if key not in idle} for one in (ours, theirs))
    return [change for change in _protocol_changes(ours, theirs) if change not in known]


def _idle(host: PlannedHost) -> set[str]:
    """Return the keys of a relaxation that its single point would have, too, if they acted on it."""
    if not host.finals:
        return set()
    lacking = host.calculation.protocol.keys() - host.finals[HOST].protocol.keys()
    return {
        key
        for key in lacking
        if (value := getattr(host.energy_protocol, key, None)) is not None and not is_off(key, value)
    }


_FORCES = KINDS["relax"].keys
"""Protocol keys of relaxations alone."""


def _host_changes(side: ComparisonSide, baseline: ComparisonSide) -> Iterator[str]:
    model, base = side.model, baseline.model
    cell, base_cell = ("×".join(map(str, host.repeat)) for host in (side.host, baseline.host))
    if cell != base_cell:
        yield f"supercell {base_cell} → {cell}"
    if model.ordering != base.ordering:
        yield f"ordering {base.ordering or 'Janus'} → {model.ordering or 'Janus'}"
    if model.pair != base.pair:
        yield f"pair {base.pair or 'nearest'} → {model.pair or 'nearest'}"
    if side.host.heights != baseline.host.heights:
        yield f"start heights {_height_changes(side.host.heights, baseline.host.heights)}"
    if model.starts != base.starts:
        yield f"starts {base.starts or 'as the campaign'} → {model.starts or 'as the campaign'}"
    if any(getattr(model, key) != getattr(base, key) for key in ("model", "file", "vacancies", "remove", "replace")):
        ours, theirs = (read_host(one.host.calculation.structure).label for one in (side, baseline))
        yield f"host {theirs} → {ours}"


def _height_changes(heights: StartHeights, baseline: StartHeights) -> str:
    kinds = [kind for kind in StartHeights.model_fields if getattr(heights, kind) != getattr(baseline, kind)]
    return ", ".join(f"{kind} {_word(getattr(baseline, kind))} → {_word(getattr(heights, kind))}" for kind in kinds)


def _protocol_changes(protocol: Mapping[str, Any], baseline: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} {_word(baseline.get(key))} → {_word(protocol.get(key))}"
        for key in dict.fromkeys((*baseline, *protocol))
        if protocol.get(key) != baseline.get(key)
    ]


def _word(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "on", False: "off"}[value]
    if isinstance(value, Mapping):
        deep = value and all(isinstance(part, Mapping) for part in value.values())
        return _pairs(value) if deep else " ".join(map(_word, value.values()))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _pairs(value: Mapping[str, Any]) -> str:
    """Return nested values with their keys, as ``Mo d 3`` of Hubbard corrections."""
    return ", ".join(
        f"{key} {shell} {_word(number)}" for key, part in value.items() for shell, number in part.items()
    )
