"""The graph of a campaign: its calculations by the campaign's names, and what the database stores of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...analysis.campaign_entry import CampaignEntry, FormationEntry, LatticeEntry, ModelEntry, Named, SiteEntry
from ...analysis.records import digest
from .. import start_structures
from ..calculation import Calculation
from ..campaign.load import Campaign
from ..campaign.yaml import InputError, nearest
from ..engines.vasp.user_tags import UserTags, divided
from ..references import Formation

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class PlannedModel:
    """One host of a campaign with the calculations that belong to it, its references among them.

    ``densities`` are the terms of Δρ by part; ``layer`` is the monolayer that the host repeats, if it is one;
    ``formation`` is what its vacancies' formation energy is held against; ``changes`` says in words what is different
    from the model ``compare_with``.
    """

    name: str
    supercell: tuple[int, int]
    atom: Calculation
    bulk: Calculation | None
    host: Calculation
    dos: Calculation | None
    sites: Mapping[str, Calculation]
    multiplicities: Mapping[str, int]
    lowest: Calculation
    densities: Mapping[str, Calculation]
    layer: str | None
    formation: Formation | None
    compare_with: str | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """One calculation of a plan, under the campaign's name for it."""

    name: str
    calculation: Calculation

    def atoms(self) -> Atoms:
        """Return the start geometry, as if its parents kept theirs.

        Raises
        ------
        InputError
            For a calculation that has no structure, such as ``lowest``, or whose structure a ``lowest`` chooses.
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
        What was planned.
    models
        The hosts, in the order of the campaign.
    atom, bulk
        The references; ``bulk`` is None if the campaign has none.
    lattices
        The relaxation of the 1×1 cell of each monolayer, by its name, if the campaign asks for it.
    bands
        The bands of the 1×1 host of each monolayer, by its name, if the campaign asks for them.
    dropped
        One sentence for each quantity that the engine cannot give.
    not_applicable
        Protocol keys that the engine has no use for.
    tags
        The INCAR tags that the campaign adds.
    """

    campaign: Campaign
    models: tuple[PlannedModel, ...]
    atom: Calculation
    bulk: Calculation | None
    lattices: Mapping[str, Calculation]
    bands: Mapping[str, Calculation]
    dropped: tuple[str, ...]
    not_applicable: tuple[str, ...]
    tags: UserTags

    @cached_property
    def names(self) -> dict[str, Calculation]:
        """Every calculation by the campaign's name for it, parents before children."""
        adsorbate = self.campaign.spec.adsorbate.element
        out = {adsorbate: self.atom}
        if self.bulk is not None:
            out[self.bulk.label] = self.bulk
        out |= {f"{layer}/lattice": calculation for layer, calculation in self.lattices.items()}
        for layer, calculation in self.bands.items():
            out |= {f"{layer}/1x1": calculation.parents["geometry"], f"{layer}/bands": calculation}
        for model in self.models:
            for reference in (model.atom, model.bulk):
                if reference is not None and all(reference.id != known.id for known in out.values()):
                    out[f"{model.name}/{reference.label}"] = reference
            out |= self._formation_names(model, out)
            out[model.name] = model.host
            if model.dos is not None:
                out[f"{model.name}/dos"] = model.dos
            out |= {f"{model.name}/{site}": calculation for site, calculation in model.sites.items()}
            out[f"{model.name}/lowest"] = model.lowest
            out |= {f"{model.name}/density/{part}": calculation for part, calculation in model.densities.items()}
        return out

    @property
    def elements(self) -> dict[str, Calculation]:
        """References of formation energies that no model has of its own, by their names."""
        found = [model.formation.elements.values() for model in self.models if model.formation is not None]
        labels = {calculation.label for group in found for calculation in group}
        return {name: calculation for name, calculation in self.names.items() if name in labels}

    def _formation_names(self, model: PlannedModel, known: Mapping[str, Calculation]) -> dict[str, Calculation]:
        """Name the references of vacancies: an element's once, a pristine host only if it is no model itself."""
        if model.formation is None:
            return {}
        out = {}
        for reference in model.formation.elements.values():
            plain = reference.label not in known or known[reference.label].id == reference.id
            out[reference.label if plain else f"{model.name}/{reference.label}"] = reference
        pristine = model.formation.pristine
        if all(pristine.id != other.host.id for other in self.models):
            out[f"{model.name}/pristine"] = pristine
        return out

    @property
    def calculations(self) -> tuple[Calculation, ...]:
        """Every calculation once, parents before children."""
        return tuple({calculation.id: calculation for calculation in self.names.values()}.values())

    def execution(self, calculation: Calculation) -> dict[str, Any]:
        """Return how a calculation is to be reached: the campaign's settings, and INCAR tags that say how."""
        how = divided(self.tags.of(calculation.kind, calculation.label))[1]
        return self.campaign.spec.execution.model_dump(mode="json") | ({"incar": how} if how else {})

    def __getitem__(self, name: str) -> Planned:
        if name not in self.names:
            raise InputError(f"the campaign has no calculation {name!r}{nearest(name, self.names)}.")
        return Planned(name, self.names[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def method_id(self) -> str:
        """Short hash of the engine and the protocol that all hosts and sites share."""
        return digest([self.campaign.spec.engine, dict(self.models[0].host.protocol)])[:8]

    def entry(self) -> CampaignEntry:
        """Return what the database stores of the campaign."""
        spec = self.campaign.spec
        models = tuple(
            ModelEntry(
                name=model.name,
                label=model.host.label,
                supercell=model.supercell,
                host=model.host.id,
                dos=model.dos.id if model.dos else None,
                sites=tuple(
                    SiteEntry(name=site, multiplicity=model.multiplicities[site], calculation=calculation.id)
                    for site, calculation in model.sites.items()
                ),
                lowest=model.lowest.id,
                densities={part: calculation.id for part, calculation in model.densities.items()},
                lattice=self._lattice_entry(model.layer),
                bands=bands.id if (bands := self.bands.get(model.layer or "")) else None,
                atom=model.atom.id,
                bulk=model.bulk.id if model.bulk else None,
                compare_with=model.compare_with,
                changes=model.changes,
                formation=None if model.formation is None else _formation_entry(model.formation),
            )
            for model in self.models
        )
        return CampaignEntry(
            campaign=spec.campaign,
            engine=spec.engine,
            method_id=self.method_id,
            title=spec.title,
            yaml=self.campaign.text,
            adsorbate=spec.adsorbate.element,
            models=models,
            atom=self.atom.id,
            bulk=self.bulk.id if self.bulk else None,
            calculations=tuple(
                Named(name=name, calculation=calculation.id) for name, calculation in self.names.items()
            ),
            dropped=self.dropped,
        )

    def _lattice_entry(self, layer: str | None) -> LatticeEntry | None:
        if layer is None or layer not in self.lattices:
            return None
        declared = self.campaign.spec.monolayers[layer].a
        return LatticeEntry(layer=layer, declared_a=declared, calculation=self.lattices[layer].id)


def _formation_entry(formation: Formation) -> FormationEntry:
    return FormationEntry(
        pristine=formation.pristine.id,
        removed=dict(formation.removed),
        unit=dict(formation.unit),
        elements={element: calculation.id for element, calculation in formation.elements.items()},
        metal=formation.metal,
    )
