"""One host of a campaign: its records, and the results that follow from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .campaign_entry import CampaignEntry, ModelEntry
from .energies.adsorption import AdsorptionResult, SiteResult
from .records import Record


@dataclass(frozen=True)
class HostRecords:
    """The records of one host of a campaign, from which its quantities are evaluated.

    Attributes
    ----------
    campaign, model
        As stored.
    records
        Usable records by calculation id.
    reasons
        Why a calculation has none, by id (``stale: …``, ``failed: …``, ``not yet run``).
    physical
        False if the campaign's engine gives mock values.
    """

    campaign: CampaignEntry
    model: ModelEntry
    records: Mapping[str, Record]
    reasons: Mapping[str, str]
    physical: bool

    def identifier(self, quantity: str, role: str) -> str | None:
        """Return the id of a quantity's calculation; None if the campaign has none."""
        entry = self.model.quantities.get(quantity)
        return None if entry is None else entry.calculations.get(role)

    def record(self, quantity: str, role: str) -> Record | None:
        """Return the record of a quantity's calculation, if there is one."""
        return self.records.get(self.identifier(quantity, role) or "")

    def of_site(self, name: str | None) -> Record | None:
        """Return the relaxation at a site by its name, if there is one."""
        return next((self.records.get(site.calculation) for site in self.model.sites if site.name == name), None)

    @property
    def chosen(self) -> str | None:
        """The site whose geometry calculations of the best site have, as the graph chose it."""
        lowest = self.records.get(self.model.lowest or "")
        return None if lowest is None or lowest.choice is None else lowest.choice.site

    def missing(self, identifier: str) -> str:
        """Say why a calculation has no record."""
        return self.reasons.get(identifier, "not yet run")

    def lacking(self, quantity: str, names: Mapping[str, str]) -> tuple[str, ...]:
        """Return a reason for each calculation of a quantity without a record; ``names`` puts roles into words."""
        entry = self.model.quantities[quantity]
        return tuple(
            f"{names.get(role, role)}: {self.missing(identifier)}"
            for role, identifier in entry.calculations.items()
            if identifier not in self.records
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes of all records of the host, each with the label of its calculation; none of a dry run."""
        model = self.model
        identifiers = [model.host, *(site.calculation for site in model.sites)]
        identifiers += [] if model.lowest is None else [model.lowest]
        identifiers += [found for entry in model.quantities.values() for found in entry.calculations.values()]
        records = [self.records[found] for found in dict.fromkeys(identifiers) if found in self.records]
        return tuple(f"{record.label}: {note}" for record in records if record.physical for note in record.notes)

    def of(self, name: str) -> HostRecords:
        """Return the records of another host of the campaign."""
        return replace(self, model=self.campaign.model(name))


@dataclass(frozen=True)
class ModelResult:
    """One host of one campaign with one engine and method, evaluated.

    Every value that tables show is an attribute, by its key: ``result.band_gap_ev``.

    Attributes
    ----------
    host
        Its records.
    quantities
        The result of each quantity that could be evaluated, by its name.
    values
        The values that tables, JSON and csv show, by key.
    reasons
        A sentence for each missing part: what and why.
    """

    host: HostRecords
    quantities: Mapping[str, Any]
    values: Mapping[str, Any]
    reasons: tuple[str, ...]

    @property
    def campaign(self) -> str:
        """Name of the campaign."""
        return self.host.campaign.campaign

    @property
    def model(self) -> str:
        """Name of the host in the campaign."""
        return self.host.model.name

    @property
    def supercell(self) -> str:
        """In-plane repeats, as ``3x3``."""
        return "x".join(map(str, self.host.model.supercell))

    @property
    def adsorbate(self) -> str:
        """Element of the adsorbate."""
        return self.host.campaign.adsorbate

    @property
    def engine(self) -> str:
        """Name of the engine."""
        return self.host.campaign.engine

    @property
    def method_id(self) -> str:
        """Short hash of the engine and the protocol of hosts and sites."""
        return self.host.campaign.method_id

    @property
    def physical(self) -> bool:
        """False for the mock values of a dry run."""
        return self.host.physical

    @property
    def compare_with(self) -> str | None:
        """The model against which the effect of the differences is shown."""
        return self.host.model.compare_with

    @property
    def changes(self) -> tuple[str, ...]:
        """The differences from the model `compare_with`, in words."""
        return self.host.model.changes

    @property
    def notes(self) -> tuple[str, ...]:
        """What the records say of how they were computed, each with the label of its calculation."""
        return self.host.notes

    @property
    def converged(self) -> bool:
        """True only if nothing is missing."""
        return not self.reasons

    @property
    def adsorption(self) -> AdsorptionResult:
        """The adsorption energies of all sites."""
        result: AdsorptionResult = self.quantities["adsorption_energy"]
        return result

    @property
    def sites(self) -> tuple[SiteResult, ...]:
        """The adsorption energies of each site."""
        return self.adsorption.sites

    def __getattr__(self, key: str) -> Any:
        values = self.__dict__.get("values", {})
        if key in values:
            return values[key]
        raise AttributeError(f"a result has no {key!r}; it has {', '.join(values)}.")
