"""The graph of a campaign: its calculations by the campaign's names, and the entry that the database stores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...analysis.campaign_entry import CampaignEntry, ModelEntry, NamedCalculation, QuantityEntry, SiteEntry
from ...analysis.records import digest
from .. import start_structures
from ..calculation import HOST, Calculation
from ..campaign.load import Campaign
from ..campaign.yaml import InputError, nearest
from ..engines.base import Declaration
from ..quantities.base import HostPart, PlannedHost, QuantityPlan

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class PlannedCalculation:
    """A calculation of a plan, with the campaign's name for it."""

    name: str
    calculation: Calculation

    def atoms(self) -> Atoms:
        """Return the start geometry, with all parents at their own start geometries.

        Raises
        ------
        InputError
            If the calculation has no structure, such as ``lowest``, or a ``lowest`` chooses its structure.
        """
        atoms = start_structures.ideal_atoms(self.calculation)
        if atoms is None and "lowest" in self.calculation.parents:
            raise InputError(f"{self.name} takes the atoms of the site that will be the lowest: not known yet.")
        if atoms is None:
            raise InputError(f"{self.name} compares energies; it has no atoms of its own.")
        return atoms


@dataclass(frozen=True)
class Plan:
    """The whole graph of a campaign, known before anything runs.

    Attributes
    ----------
    campaign
        The planned campaign.
    hosts
        The hosts with their sites, in the order of the campaign.
    quantities
        The calculations of each quantity, by its name.
    comparisons
        For each host that is compared with another host: the differences, in words.
    dropped
        A sentence for each quantity that the engine cannot compute.
    remarks
        A sentence for each structure file whose noise gives it more sites than it has, and those of quantities.
    not_applicable
        Protocol keys that the engine ignores.
    declaration
        The campaign's settings for its engine alone.
    """

    campaign: Campaign
    hosts: tuple[PlannedHost, ...]
    quantities: Mapping[str, QuantityPlan]
    comparisons: Mapping[str, tuple[str, ...]]
    dropped: tuple[str, ...]
    remarks: tuple[str, ...]
    not_applicable: tuple[str, ...]
    declaration: Declaration

    @cached_property
    def names(self) -> dict[str, Calculation]:
        """Every calculation by the campaign's name for it, parents before children."""
        names: dict[str, Calculation] = {}
        for quantity in self.quantities.values():
            names |= quantity.shared
        for host in self.hosts:
            parts = [plan.hosts[host.name] for plan in self.quantities.values() if host.name in plan.hosts]
            for reference in (reference for part in parts for reference in part.references):
                if reference not in names.values():
                    name = f"{host.name}/{reference.label}" if reference.label in names else reference.label
                    names[name] = reference
            extra = {name: calculation for part in parts for name, calculation in part.names.items()}
            of_host = {name for name, calculation in extra.items() if follows(calculation, host.calculation)}
            sites = host.sites.values()
            of_sites = {name for name, later in extra.items() if any(follows(later, site) for site in sites)}
            lowest = {} if host.lowest is None else {f"{host.name}/lowest": host.lowest}
            of_choice = {
                name
                for name, calculation in extra.items()
                if any(follows(calculation, choice) for choice in lowest.values())
            }
            names |= {name: calculation for name, calculation in extra.items() if name not in of_host}
            names[host.name] = host.calculation
            names |= {name: calculation for name, calculation in extra.items() if name in of_host - of_sites}
            names |= {f"{host.name}/{site}": calculation for site, calculation in host.sites.items()}
            names |= {f"{host.name}/{_final_name(role)}": calculation for role, calculation in host.finals.items()}
            names |= {name: calculation for name, calculation in extra.items() if name in of_sites - of_choice}
            names |= lowest
            names |= {name: calculation for name, calculation in extra.items() if name in of_choice}
        return names

    @property
    def calculations(self) -> tuple[Calculation, ...]:
        """Every calculation once, parents before children."""
        return tuple({calculation.id: calculation for calculation in self.names.values()}.values())

    def execution(self, calculation: Calculation) -> dict[str, Any]:
        """Return the execution settings of a calculation: the campaign's, and those for its engine alone."""
        common = self.campaign.spec.execution.model_dump(mode="json")
        return common | self.declaration.execution(calculation)

    def __getitem__(self, name: str) -> PlannedCalculation:
        if name not in self.names:
            raise InputError(f"the campaign has no calculation {name!r}{nearest(name, self.names)}.")
        return PlannedCalculation(name, self.names[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def _repr_html_(self) -> str:
        from ...analysis.report.markup import table

        rows = [
            (name, calculation.kind, calculation.id, ", ".join(calculation.parents))
            for name, calculation in self.names.items()
        ]
        heads = (f"{self.campaign.spec.campaign}: {len(self.calculations)} calculations", "kind", "id", "from")
        return table(heads, rows)

    @property
    def method_id(self) -> str:
        """Short hash of the engine and the protocol that all hosts and sites share, and that of final energies."""
        host = self.hosts[0]
        finals = [dict(host.finals[HOST].protocol)] if host.finals else []
        return digest([self.campaign.spec.engine, dict(host.calculation.protocol), *finals])[:8]

    def entry(self) -> CampaignEntry:
        """Return the entry that the database stores."""
        spec = self.campaign.spec
        return CampaignEntry(
            campaign=spec.campaign,
            engine=spec.engine,
            method_id=self.method_id,
            title=spec.title,
            yaml=self.campaign.text,
            adsorbate=self.campaign.adsorbate,
            models=tuple(map(self._model_entry, self.hosts)),
            calculations=tuple(
                NamedCalculation(name=name, calculation=calculation.id) for name, calculation in self.names.items()
            ),
            dropped=self.dropped,
        )

    def _model_entry(self, host: PlannedHost) -> ModelEntry:
        baselines = {model.title: model.compare_with for model in self.campaign.spec.models}
        return ModelEntry(
            name=host.name,
            label=start_structures.read_host(host.calculation.structure).label,
            supercell=host.repeat,
            host=host.calculation.id,
            sites=tuple(
                SiteEntry(name=site, multiplicity=host.multiplicities[site], calculation=calculation.id)
                for site, calculation in host.sites.items()
            ),
            lowest=None if host.lowest is None else host.lowest.id,
            compare_with=baselines[host.name],
            changes=self.comparisons.get(host.name, ()),
            quantities={
                name: _quantity_entry(quantity.hosts[host.name])
                for name, quantity in self.quantities.items()
                if host.name in quantity.hosts
            },
        )


def _final_name(role: str) -> str:
    return "final" if role == HOST else f"{role}/final"


def _quantity_entry(part: HostPart) -> QuantityEntry:
    return QuantityEntry(
        calculations={role: calculation.id for role, calculation in part.calculations.items()},
        declared=dict(part.declared),
    )


def follows(calculation: Calculation, ancestor: Calculation) -> bool:
    """Tell whether a calculation is the ancestor itself, or has it among its ancestors."""
    return calculation == ancestor or any(follows(parent, ancestor) for parent in calculation.parents.values())
