"""From records to results: every quantity of every host of a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...analysis.campaign_entry import CampaignEntry
from ...analysis.model_result import HostRecords, ModelResult
from ...analysis.records import Record
from ..quantities import quantities


def evaluated(
    entry: CampaignEntry, records: Mapping[str, Record], reasons: Mapping[str, str], physical: bool
) -> list[ModelResult]:
    """Evaluate every host of a campaign.

    Parameters
    ----------
    entry
        The campaign.
    records
        Usable records by calculation id.
    reasons
        Why a calculation has none, by id (``stale: …``, ``failed: …``, ``not yet run``).
    physical
        False if the campaign's engine gives mock values.

    Returns
    -------
    list of ModelResult
        A result for each host, complete as far as the records go; ``reasons`` names the missing parts.
    """
    return [_evaluated(HostRecords(entry, model, records, reasons, physical)) for model in entry.models]


def _evaluated(host: HostRecords) -> ModelResult:
    results: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for name, quantity in quantities().items():
        applies = name in host.model.quantities or not quantity.optional
        result = quantity.evaluate(host, results) if applies else None
        if result is not None:
            results[name] = result
        values |= {column.key: None if result is None else column.get(result) for column in quantity.columns}
    reasons = [reason for result in results.values() for reason in result.reasons]
    unknown = [name for name in host.model.quantities if name not in quantities()]
    reasons += [f"{name}: no quantity of this name is installed here" for name in unknown]
    return ModelResult(host, results, values, tuple(reasons))
