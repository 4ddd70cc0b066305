"""Relaxed structures as OPTIMADE serves them: entries of type ``structures``, and what its own properties mean.

Written by hand, as it is two short documents; the package ``optimade``, which the tests hold them against, brings a
server and its own data models along, and its adapters take a slab for a crystal or know no energies.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...version import __version__
from ..campaign.yaml import InputError
from ..kinds import KINDS
from ..plan.preview import new_folder
from .published import Published, published

if TYPE_CHECKING:
    from ...analysis.records import Geometry
    from ..calculation import Calculation
    from .results import Results

STRUCTURES, INFO = "structures.json", "info-structures.json"
_API = "1.2.0"
_PREFIX = "_sodiate_"

# UCUM, as OPTIMADE asks: an ångström is Ao there.
_OWN: Mapping[str, tuple[str, str | None, str]] = {
    "role": (
        "host, site (a host with its adsorbate), reference (an atom, a molecule, a crystal) or other",
        None,
        "string",
    ),
    "names": ("the campaigns' names for the calculation", None, "list"),
    "campaigns": ("the campaigns that need it", None, "list"),
    "label": ("a name that follows from the calculation alone", None, "string"),
    "kind": ("the kind of calculation", None, "string"),
    "engine": ("sodiate's name of the code", None, "string"),
    "engine_version": ("the version of the code", None, "string"),
    "functional": ("the exchange-correlation functional", None, "string"),
    "dispersion": ("the dispersion correction, null without one", None, "string"),
    "cutoff_ev": ("the cutoff of the plane waves", "eV", "float"),
    "kmesh": ("points of the k mesh along the reciprocal lattice vectors", None, "list"),
    "energy_ev": (
        "total energy of the cell, extrapolated to zero smearing; to be compared within a method",
        "eV",
        "float",
    ),
    "free_energy_ev": ("energy of the cell that the forces belong to", "eV", "float"),
    "max_force_ev_per_a": ("largest force on an atom", "eV/Ao", "float"),
    "total_moment_mub": ("magnetic moment of the cell in Bohr magnetons", None, "float"),
    "adsorption_energy_ev": (
        "of a site: its energy less those of host and isolated adsorbate; null where campaigns differ in it",
        "eV",
        "float",
    ),
    "adsorption_energy_bulk_ev": (
        "of a site: the same against the bulk metal in place of the isolated atom",
        "eV",
        "float",
    ),
    "site_start": ("of a site: where the adsorbate was put", None, "string"),
    "site_end": ("of a site: where the relaxation left it", None, "string"),
    "digest": ("hash of the record's scientific content", None, "string"),
}
"""Properties of its own: description, unit and type."""


def write_optimade(results: Results, folder: Path, campaign: str | None) -> str:
    """Write the relaxed hosts and sites and their references as OPTIMADE structures; return a sentence about it.

    Parameters
    ----------
    results
        The results.
    folder
        New or empty.
    campaign
        Only this campaign.

    Raises
    ------
    InputError
        If there is nothing physical to publish, or the folder has content.
    """
    source = published(results, campaign, None)
    adsorption, roles = _adsorption(source, results), _roles(source)
    entries = [
        _entry(source, identifier, roles[identifier], record.geometry, adsorption.get(identifier, {}))
        for identifier, record in source.records.items()
        if record.geometry is not None and (KINDS[record.kind].relaxes or record.kind in _AS_THEY_ARE)
    ]
    if not entries:
        raise InputError(f"{results.title}: nothing to write as optimade: no relaxed structure yet.")
    documents = {
        STRUCTURES: {"data": entries, "meta": _meta("/structures", len(entries))},
        INFO: {"data": _info(entries[0]["attributes"]), "meta": _meta("/info/structures", 1)},
    }
    with new_folder(folder, "structures") as place:
        for name, document in documents.items():
            text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
            (place / name).write_text(text + "\n", encoding="utf-8")
    return f"{len(entries)} structures for OPTIMADE {_API} in {folder / STRUCTURES}{source.left_behind}"


_AS_THEY_ARE = ("atom", "bulk")
"""Kinds without relaxation whose geometry is that of a thing of its own."""

_REFERENCES = ("atom", "gas", "bulk", "elemental")
"""Structure operations that declare references."""


def _is_isolated(calculation: Calculation) -> bool:
    """Tell whether a calculation is of an atom or molecule alone, in a box that is periodic for the code."""
    operation = calculation.structure["op"]
    # Molecules among the elemental references are told from crystals by their k mesh, which is Γ whatever the cell.
    molecule = operation == "elemental" and calculation.protocol.get("kpoint_length_a") == 0
    return operation in ("atom", "gas") or molecule


def _entry(
    source: Published, identifier: str, role: str, geometry: Geometry, adsorption: Mapping[str, float | None]
) -> dict[str, Any]:
    record = source.records[identifier]
    sampling = record.sampling
    own = {
        "role": role,
        "names": list(source.names[identifier]),
        "campaigns": sorted({entry.campaign for entry in source.entries if identifier in entry.ids}),
        "label": record.label,
        "kind": record.kind,
        "engine": record.method.engine,
        "engine_version": record.method.engine_version,
        "functional": record.method.functional,
        "dispersion": record.method.dispersion,
        "cutoff_ev": record.method.cutoff_ev,
        "kmesh": None if sampling is None or sampling.kmesh is None else list(sampling.kmesh),
        "energy_ev": record.energy_ev,
        "free_energy_ev": record.free_energy_ev,
        "max_force_ev_per_a": record.max_force_ev_per_a,
        "total_moment_mub": record.total_moment_mub,
        "adsorption_energy_ev": adsorption.get("adsorption_energy_ev"),
        "adsorption_energy_bulk_ev": adsorption.get("adsorption_energy_bulk_ev"),
        "site_start": None if record.site is None else record.site.start,
        "site_end": None if record.site is None else record.site.end,
        "digest": record.digest,
    }
    return {
        "id": identifier,
        "type": "structures",
        "attributes": {
            "immutable_id": f"{identifier}-{record.digest}",
            "last_modified": _moment(record.provenance.finished),
            **structure_attributes(geometry, isolated=_is_isolated(source.calculations[identifier])),
            **{f"{_PREFIX}{key}": value for key, value in own.items()},
        },
    }


def _roles(source: Published) -> dict[str, str]:
    """Return what each calculation is to the campaigns."""
    roles = {
        identifier: "reference" if calculation.structure["op"] in _REFERENCES else "other"
        for identifier, calculation in source.calculations.items()
    }
    models = [model for entry in source.entries for model in entry.models]
    roles |= {site.calculation: "site" for model in models for site in model.sites}
    return roles | {model.host: "host" for model in models}


def structure_attributes(geometry: Geometry, isolated: bool = False) -> dict[str, Any]:
    """Return what OPTIMADE says of a structure itself.

    Parameters
    ----------
    geometry
        Atoms, all sites occupied by one element each.
    isolated
        Whether it is an atom or molecule of its own, though its box is periodic for the code.
    """
    counts = Counter(geometry.symbols)
    elements = sorted(counts)
    periodic = [0 if isolated else int(axis) for axis in geometry.pbc]
    divisor = gcd(*counts.values())
    ordered = sorted((number // divisor for number in counts.values()), reverse=True)
    return {
        "elements": elements,
        "nelements": len(elements),
        "elements_ratios": [counts[element] / len(geometry.symbols) for element in elements],
        "chemical_formula_descriptive": _formula(_hill(elements), counts, 1),
        "chemical_formula_reduced": _formula(elements, counts, divisor),
        "chemical_formula_hill": _formula(_hill(elements), counts, 1),
        "chemical_formula_anonymous": "".join(
            f"{letter}{number if number > 1 else ''}" for letter, number in zip(_letters(), ordered, strict=False)
        ),
        "dimension_types": periodic,
        "nperiodic_dimensions": sum(periodic),
        "lattice_vectors": [list(vector) for vector in geometry.cell_a],
        "cartesian_site_positions": [list(position) for position in geometry.positions_a],
        "nsites": len(geometry.symbols),
        "species": [{"name": e, "chemical_symbols": [e], "concentration": [1.0]} for e in elements],
        "species_at_sites": list(geometry.symbols),
        "structure_features": [],
    }


def _hill(elements: Sequence[str]) -> list[str]:
    """Return elements in the order of Hill: carbon and hydrogen first if there is carbon."""
    first = [element for element in ("C", "H") if "C" in elements and element in elements]
    return [*first, *(element for element in elements if element not in first)]


def _formula(elements: Sequence[str], counts: Mapping[str, int], divisor: int) -> str:
    numbers = {element: counts[element] // divisor for element in elements}
    return "".join(f"{element}{number if number > 1 else ''}" for element, number in numbers.items())


def _letters() -> Any:
    """Yield A to Z, then Aa to Za, and so on, as OPTIMADE does."""
    capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    yield from capitals
    for place in count():
        yield from (f"{capital}{chr(ord('a') + place)}" for capital in capitals)


def _moment(text: str) -> str:
    """Return a time as OPTIMADE has it: in UTC, to the second, with a Z."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _adsorption(source: Published, results: Results) -> dict[str, dict[str, float | None]]:
    """Return ΔE by the id of the site's calculation; None where two campaigns do not agree on it."""
    found: dict[str, dict[str, float | None]] = {}
    for entry in source.entries:
        for result in results.of(entry):
            ids = {site.name: site.calculation for site in result.host.model.sites}
            for site in result.adsorption.sites:
                values = {key: getattr(site, key) for key in ("adsorption_energy_ev", "adsorption_energy_bulk_ev")}
                known = found.setdefault(ids[site.site], dict(values))
                for key, value in values.items():
                    known[key] = known[key] if known[key] == value else None
    return found


def _meta(query: str, number: int) -> dict[str, Any]:
    return {
        "query": {"representation": query},
        "api_version": _API,
        "more_data_available": False,
        "data_returned": number,
        "data_available": number,
        "time_stamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "implementation": {"name": "sodiate", "version": __version__},
        "provider": {
            "name": "sodiate",
            "description": "Relaxed structures of ions on two-dimensional electrodes, exported as files",
            "prefix": _PREFIX.strip("_"),
        },
    }


def _info(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the properties are: sodiate's own in full, the others by OPTIMADE's definition."""
    properties: dict[str, Any] = {
        key: {"description": f"As OPTIMADE defines {key}."} for key in attributes if not key.startswith(_PREFIX)
    }
    for key, (description, unit, kind) in _OWN.items():
        properties[f"{_PREFIX}{key}"] = {"description": description, "unit": unit, "type": kind, "sortable": False}
    return {
        "id": "structures",
        "type": "info",
        "description": "Relaxed hosts, hosts with their adsorbate, and references",
        "formats": ["json"],
        "properties": properties,
        "output_fields_by_format": {"json": list(properties)},
    }
