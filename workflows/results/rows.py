"""Results as programs read them: objects, JSON, CSV, and queries on them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from ...analysis.energies.adsorption import ModelResult, SiteResult
from ...analysis.energies.energetics import adsorption_voltage
from ...analysis.records import MOCK
from ..campaign.yaml import InputError


def as_objects(models: Iterable[ModelResult]) -> list[dict[str, Any]]:
    """Return one JSON-like object for each (campaign, model, engine, method)."""
    return [
        {
            "campaign": m.campaign,
            "model": m.model,
            "supercell": m.supercell,
            "adsorbate": m.adsorbate,
            "engine": m.engine,
            "method_id": m.method_id,
            "site": m.site,
            "adsorption_energy_ev": m.adsorption_energy_ev,
            "adsorption_energy_bulk_ev": m.adsorption_energy_bulk_ev,
            "adsorption_voltage_v": _voltage(m),
            "paper_adsorption_energy_ev": m.paper_adsorption_energy_ev,
            "difference_from_paper_ev": _difference(m),
            "band_gap_ev": m.band_gap_ev,
            "gap_nature": m.gap_nature,
            "declared_lattice_a": m.declared_lattice_a,
            "relaxed_lattice_a": m.relaxed_lattice_a,
            "lattice_difference_a": _lattice_difference(m),
            "physical": m.physical,
            "note": None if m.physical else MOCK,
            "converged": m.converged,
            "reasons": list(m.reasons),
            "compare_with": m.compare_with,
            "changes": list(m.changes),
            "effect_ev": m.effect_ev,
            "vacancy_formation": None if m.formation is None else asdict(m.formation),
            "sites": list(map(_site_object, m.sites)),
        }
        for m in models
    ]


def _site_object(site: SiteResult) -> dict[str, Any]:
    return {
        "start": site.site,
        "end": site.end,
        "multiplicity": site.multiplicity,
        "energy_ev": site.energy_ev,
        "adsorption_energy_ev": site.adsorption_energy_ev,
        "adsorption_energy_bulk_ev": site.adsorption_energy_bulk_ev,
        "total_moment_mub": site.total_moment_mub,
        "same_as": site.same_as,
        "reason": site.reason,
    }


def _difference(model: ModelResult) -> float | None:
    """Return ΔE less the paper's; None for a mock value, with which none may be formed."""
    ours, theirs = model.adsorption_energy_ev, model.paper_adsorption_energy_ev
    return ours - theirs if model.physical and ours is not None and theirs is not None else None


def _voltage(model: ModelResult) -> float | None:
    """Return the voltage against the bulk metal at which the sheet takes the adsorbate up."""
    energy = model.adsorption_energy_bulk_ev
    return None if energy is None else adsorption_voltage(energy)


def _lattice_difference(model: ModelResult) -> float | None:
    """Return the relaxed lattice constant less the declared one."""
    declared, relaxed = model.declared_lattice_a, model.relaxed_lattice_a
    return relaxed - declared if declared is not None and relaxed is not None else None


def matching(objects: list[dict[str, Any]], query: str | None) -> list[dict[str, Any]]:
    """Keep the result objects that a MongoDB query matches.

    Raises
    ------
    InputError
        If the query is not a JSON object or uses an operator that is unknown.
    """
    if query is None:
        return objects
    example = """Example: '{"model": "WSSe"}'."""
    try:
        parsed = json.loads(query)
    except ValueError as error:
        raise InputError(f"--query {query!r} is not JSON: {error}. {example}") from None
    if not isinstance(parsed, dict):
        raise InputError(f"--query {query!r} is JSON but not an object. {example}")
    import mongomock

    collection: Any = mongomock.MongoClient()["memory"]["results"]
    if objects:
        collection.insert_many([{"_id": i, **one} for i, one in enumerate(objects)])
    try:
        kept = [one["_id"] for one in collection.find(parsed)]
    except Exception as error:  # mongomock raises several kinds for a query that MongoDB would refuse
        raise InputError(f"--query {query!r} is no valid MongoDB query: {error}") from None
    return [objects[index] for index in sorted(kept)]


def to_json(objects: Sequence[dict[str, Any]]) -> str:
    """Return the objects as indented JSON."""
    return json.dumps(list(objects), indent=1, ensure_ascii=False, allow_nan=False)


def to_csv(objects: Sequence[dict[str, Any]]) -> str:
    """Return one line a host; sites and reasons are joined by semicolons."""
    columns = [
        *("campaign", "model", "supercell", "adsorbate", "engine", "method_id", "site"),
        *("adsorption_energy_ev", "adsorption_energy_bulk_ev", "adsorption_voltage_v"),
        *("paper_adsorption_energy_ev", "difference_from_paper_ev"),
        *("band_gap_ev", "gap_nature", "declared_lattice_a", "relaxed_lattice_a", "lattice_difference_a"),
        *("physical", "note", "converged", "reasons", "sites", "compare_with", "changes", "effect_ev"),
        *("formation_x_rich_ev", "formation_metal_rich_ev"),
    ]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    for one in objects:
        sites = [f"{s['start']}={_number(s['adsorption_energy_ev'], '-')}" for s in one["sites"]]
        joined = {key: "; ".join(one[key]) for key in ("reasons", "changes")}
        row = one | joined | {"sites": "; ".join(sites)}
        formation = row.pop("vacancy_formation", None) or {}
        writer.writerow(row | {f"formation_{key}": formation.get(key) for key in ("x_rich_ev", "metal_rich_ev")})
    return buffer.getvalue()


def _number(value: float | None, missing: str = "—") -> str:
    return missing if value is None else f"{value:.3f}"
