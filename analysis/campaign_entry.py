"""What is stored of a campaign: its names, and the ids of its calculations by their role for each host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .records import Frozen, Line, Plain

CAMPAIGN_SCHEMA = 2
"""Version of the layout of campaigns; `upgraded` brings an older one to it."""


class SiteEntry(Frozen):
    """One adsorption site of a host: its name, how often it occurs in the cell, and its calculation's id."""

    name: Plain
    multiplicity: int
    calculation: str


class QuantityEntry(Frozen):
    """What a campaign holds of one quantity of one host.

    Attributes
    ----------
    calculations
        Ids of its calculations by role, such as ``dos`` or ``pristine``.
    declared
        Plain values that were declared, such as a lattice constant in Å, with units in their names.
    """

    calculations: dict[str, str] = {}
    declared: dict[str, Any] = {}


class ModelEntry(Frozen):
    """One host of a campaign: its name there, what it is (the host's label), and ids of its calculations.

    A host without adsorption sites has no ``lowest``.
    ``changes`` states the differences from ``compare_with``; ``quantities`` has an entry for each quantity by name.
    """

    name: Plain
    label: Line
    supercell: tuple[int, int]
    host: str
    sites: tuple[SiteEntry, ...]
    lowest: str | None = None
    compare_with: str | None = None
    changes: tuple[str, ...] = ()
    quantities: dict[str, QuantityEntry] = {}


class NamedCalculation(Frozen):
    """A calculation's id under the name that a campaign gives it."""

    name: Plain
    calculation: str


class CampaignEntry(Frozen):
    """One revision of a campaign with one engine and method, as stored: names, and ids of calculations."""

    schema_version: int = CAMPAIGN_SCHEMA
    campaign: Plain
    engine: Plain
    method_id: Plain
    revision: int = 1
    title: str
    yaml: str
    adsorbate: Plain
    models: tuple[ModelEntry, ...]
    calculations: tuple[NamedCalculation, ...]
    dropped: tuple[str, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """Every calculation of the campaign once, in its order."""
        return tuple(dict.fromkeys(named.calculation for named in self.calculations))

    @property
    def names(self) -> dict[str, str]:
        """Ids by the campaign's names."""
        return {named.name: named.calculation for named in self.calculations}

    def model(self, name: str) -> ModelEntry:
        """Return the host with this name."""
        return next(model for model in self.models if model.name == name)


def upgraded(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored campaign in the present layout.

    Schema 1 had a field for each quantity (``dos``, ``bands``, ``densities``, ``lattice``, ``formation``, ``atom``,
    ``bulk``); schema 2 has ``quantities``. A model without references of its own used the campaign's.
    """
    values = dict(document)
    if values.get("schema_version", 1) >= CAMPAIGN_SCHEMA:
        return values
    references = {name: values.pop(name, None) for name in ("atom", "bulk")}
    return values | {
        "schema_version": CAMPAIGN_SCHEMA,
        "models": [_upgraded_model(model, references) for model in values["models"]],
    }


def _upgraded_model(model: Mapping[str, Any], references: Mapping[str, str | None]) -> dict[str, Any]:
    values = dict(model)
    old = {name: values.pop(name, None) for name in ("dos", "bands", "densities", "lattice", "formation")}
    atom, bulk = (values.pop(name, None) or references[name] for name in ("atom", "bulk"))
    quantities: dict[str, dict[str, Any]] = {"adsorption_energy": {"calculations": {"atom": atom}}}
    if bulk:
        quantities["bulk_reference"] = {"calculations": {"bulk": bulk}}
    for name in ("dos", "bands"):
        if old[name]:
            quantities[name] = {"calculations": {name: old[name]}}
    if old["lattice"]:
        declared = {key: old["lattice"][key] for key in ("layer", "declared_a")}
        quantities["lattice"] = {"calculations": {"lattice": old["lattice"]["calculation"]}, "declared": declared}
    if old["formation"]:
        formation = old["formation"]
        quantities["vacancy_formation"] = {
            "calculations": {"pristine": formation["pristine"], **formation["elements"]},
            "declared": {key: formation.get(key) for key in ("removed", "unit", "metal")},
        }
    if old["densities"]:
        quantities["density_difference"] = {"calculations": dict(old["densities"])}
    return values | {"quantities": quantities}
