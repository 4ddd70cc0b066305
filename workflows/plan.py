"""From a campaign to its graph of calculations: pure, no input or output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis.records import CampaignEntry, ModelEntry, Named, SiteEntry, digest
from ..structures.errors import StructureError
from ..structures.models import parse_model, resolve_vacancies
from ..structures.monolayers import Monolayer, box, build_monolayer
from ..structures.orderings import mix
from ..structures.sites import Site, near_defect
from ..structures.slabs import Slab, build_slab
from ..structures.vacancies import Defect, apply_defects, parse_site_atom
from . import operations
from .calculation import Calculation
from .campaign import Campaign, Model, load_campaign
from .comparison import model_changes, protocol_changes
from .engines import make_engine
from .engines.base import Engine, Settings, Unsupported
from .protocol import Protocol, flatten, split
from .reading import InputError, nearest

if TYPE_CHECKING:
    from ase import Atoms

KIND_OF_QUANTITY = {"dos": "dos", "bulk_reference": "bulk", "density_difference": "density"}


@dataclass(frozen=True)
class PlannedModel:
    """One host of a campaign with the calculations that belong to it, its references among them.

    ``changes`` says in words what is different from the model ``compare_with``.
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
            For a calculation that has no structure, such as ``lowest``.
        """
        atoms = operations.ideal_atoms(self.calculation)
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
    dropped
        One sentence for each quantity that the engine cannot give.
    not_applicable
        Protocol keys that the engine has no use for.
    """

    campaign: Campaign
    models: tuple[PlannedModel, ...]
    atom: Calculation
    bulk: Calculation | None
    dropped: tuple[str, ...]
    not_applicable: tuple[str, ...]

    @cached_property
    def names(self) -> dict[str, Calculation]:
        """Every calculation by the campaign's name for it, parents before children."""
        adsorbate = self.campaign.spec.adsorbate.element
        out = {adsorbate: self.atom}
        if self.bulk is not None:
            out[f"{adsorbate}-{self.bulk.structure['lattice']}"] = self.bulk
        for model in self.models:
            for reference in (model.atom, model.bulk):
                if reference is not None and all(reference.id != known.id for known in out.values()):
                    out[f"{model.name}/{reference.label}"] = reference
            out[model.name] = model.host
            if model.dos is not None:
                out[f"{model.name}/dos"] = model.dos
            out |= {f"{model.name}/{site}": calculation for site, calculation in model.sites.items()}
            out[f"{model.name}/lowest"] = model.lowest
        return out

    @property
    def calculations(self) -> tuple[Calculation, ...]:
        """Every calculation once, parents before children."""
        return tuple({calculation.id: calculation for calculation in self.names.values()}.values())

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
                atom=model.atom.id,
                bulk=model.bulk.id if model.bulk else None,
                compare_with=model.compare_with,
                changes=model.changes,
                host=model.host.id,
                dos=model.dos.id if model.dos else None,
                sites=tuple(
                    SiteEntry(name=site, multiplicity=model.multiplicities[site], calculation=calculation.id)
                    for site, calculation in model.sites.items()
                ),
                lowest=model.lowest.id,
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


def plan(campaign: Campaign | str | Path, engine: str | None = None) -> Plan:
    """Plan a campaign.

    Parameters
    ----------
    campaign
        A loaded campaign, or what `load_campaign` takes.
    engine
        Instead of the one the campaign names (only with a name or path).

    Raises
    ------
    InputError
        If the campaign asks for something that does not exist or that its engine cannot do.
    """
    if not isinstance(campaign, Campaign):
        campaign = load_campaign(campaign, engine)
    return _Planner(campaign).plan()


class _Planner:
    """The pieces of one planning: the campaign, and the engine that must be able to do it."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.spec = campaign.spec
        self.where = f"campaign {campaign.source}"
        try:
            self.engine: Engine = make_engine(self.spec.engine, Settings())
        except InputError as error:
            raise InputError(f"{self.where}: {error}") from None
        self.dropped: list[str] = []
        self.known_sites: set[str] = set()

    def plan(self) -> Plan:
        self.quantities = self._quantities()
        self._refuse_taken_names()
        models = tuple(map(self._model, self.spec.models))
        self._refuse_unknown_sites()
        own = self.campaign.protocol
        return Plan(
            campaign=self.campaign,
            models=tuple(self._compared(model, one, models) for model, one in zip(self.spec.models, models, strict=True)),
            atom=self._atom(own),
            bulk=self._bulk(own),
            dropped=tuple(self.dropped),
            not_applicable=split(flatten(own, "relax"), self.engine.protocol_keys)[1],
        )

    def _compared(self, model: Model, planned: PlannedModel, all_planned: Sequence[PlannedModel]) -> PlannedModel:
        """Say what a model has otherwise than the one that it is to be compared with."""
        if model.compare_with is None:
            return planned
        index = [other.title for other in self.spec.models].index(model.compare_with)
        other = all_planned[index]
        changes = model_changes(
            model,
            self.spec.models[index],
            (planned.supercell, other.supercell),
            (planned.host.label, other.host.label),
        )
        changes += protocol_changes(planned.host, planned.atom, other.host, other.atom)
        return replace(planned, compare_with=model.compare_with, changes=tuple(changes))

    def _quantities(self) -> set[str]:
        """Return what the engine can give of what is asked for; refuse what the user named and it cannot."""
        kept: set[str] = set()
        for quantity in self.spec.quantities:
            if KIND_OF_QUANTITY[quantity] in self.engine.capabilities:
                kept.add(quantity)
                continue
            lack = f"engine {self.engine.name} has no {quantity.replace('_', ' ')}"
            if not self.campaign.bundled:
                raise InputError(f"{self.where}: quantities: {lack}; leave it out or use another engine.")
            self.dropped.append(f"{lack}; left out")
        return kept

    def _calculation(
        self,
        kind: str,
        structure: operations.Operation,
        parents: Mapping[str, Calculation],
        label: str,
        protocol: Protocol,
    ) -> Calculation:
        values, _ = split(flatten(protocol, kind), self.engine.protocol_keys)
        return Calculation(kind, structure, self.engine.name, values, dict(parents), label)

    def _model(self, model: Model) -> PlannedModel:
        try:
            return self._planned_model(model)
        except (StructureError, Unsupported) as error:
            raise InputError(f"{self.where}: model {model.title}: {error}") from None

    def _planned_model(self, model: Model) -> PlannedModel:
        protocol = self.campaign.protocol.changed(model.protocol)
        repeat = model.supercell or self.spec.supercell
        heights = self.spec.adsorbate.start_heights_a
        origin, named = self._origin(model)
        operation = operations.host(
            origin,
            repeat,
            self._defects(model, origin, named, repeat),
            self.spec.vacuum_a,
            heights.highest,
            self.spec.symmetry_breaking_a,
        )
        ideal = operations.Host(operation)
        label = ideal.label
        self.engine.check(ideal.atoms)
        host = self._calculation("relax", operation, {}, label, protocol)
        sites = {
            site.name: self._site(host, site, heights.of(site.kind), protocol) for site in self._sites(model, ideal)
        }
        self.engine.check(operations.ideal_atoms(next(iter(sites.values()))))
        return PlannedModel(
            name=model.title,
            supercell=repeat,
            atom=self._atom(protocol),
            bulk=self._bulk(protocol),
            host=host,
            dos=self._calculation("dos", operations.geometry(), {"geometry": host}, f"{label}/dos", protocol)
            if "dos" in self.quantities
            else None,
            sites=sites,
            multiplicities={name: ideal.sites[name].multiplicity for name in sites},
            lowest=Calculation(
                "lowest", operations.none(), self.engine.name, {}, {"host": host, **sites}, f"{label}/lowest"
            ),
        )

    def _site(self, host: Calculation, site: Site, height_a: float, protocol: Protocol) -> Calculation:
        operation = operations.adsorbate(self.spec.adsorbate.element, site.name, height_a)
        return self._calculation("relax", operation, {"host": host}, f"{host.label}/{site.name}", protocol)

    def _origin(self, model: Model) -> tuple[Monolayer | Slab, tuple[str, ...]]:
        """Return what the host repeats and the vacancies that its model's name asks for."""
        if model.file is not None:
            return self.campaign.slabs[model.file], ()
        layer, vacancies = parse_model(model.model or "")
        if layer not in self.spec.monolayers:
            known = self.spec.monolayers
            raise InputError(
                f"{self.where}: model {model.title}: no monolayer {layer!r}{nearest(layer, known)}; "
                f"monolayers of this campaign: {', '.join(known) or 'none'}."
            )
        return self.spec.monolayers[layer].monolayer(), vacancies

    def _defects(
        self, model: Model, origin: Monolayer | Slab, named: tuple[str, ...], repeat: tuple[int, int]
    ) -> tuple[Defect, ...]:
        atoms = build_monolayer(origin, repeat) if isinstance(origin, Monolayer) else build_slab(origin, repeat)
        atoms = box(atoms, self.spec.vacuum_a, self.spec.adsorbate.start_heights_a.highest)
        by_atom = [Defect(*parse_site_atom(text)) for text in model.remove]
        by_atom += [Defect(*parse_site_atom(text), other) for text, other in model.replace.items()]
        if model.ordering is not None:
            if not isinstance(origin, Monolayer):
                raise StructureError("ordering mixes the chalcogens of a named Janus layer, not of a file.")
            by_atom += mix(origin, repeat, model.ordering)
        defects = (*resolve_vacancies(atoms, named, model.pair), *by_atom)
        apply_defects(atoms, defects)  # refuses what the host does not have
        return defects

    def _sites(self, model: Model, ideal: operations.Host) -> list[Site]:
        sites, asked = ideal.sites, self.spec.sites if model.sites is None else model.sites
        self.known_sites |= set(sites)
        if asked == "all":
            return list(sites.values())
        if asked == "near-defect":
            return list(near_defect(tuple(sites.values())))
        wanted = [sites[name] for name in asked if name in sites]
        unknown = [name for name in asked if name not in sites]
        if not wanted or (unknown and model.sites is not None):
            raise InputError(
                f"{self.where}: sites: model {model.title} has none of {', '.join(unknown) or '[]'}"
                f"{nearest((unknown or [''])[0], sites)}; its sites: {', '.join(sites)}."
            )
        return wanted

    def _refuse_taken_names(self) -> None:
        element = self.spec.adsorbate.element
        for model in self.spec.models:
            if model.title == element or model.title.startswith(f"{element}-"):
                raise InputError(f"{self.where}: model {model.title}: the name is that of a reference; give another.")

    def _refuse_unknown_sites(self) -> None:
        if isinstance(self.spec.sites, str):
            return
        for name in self.spec.sites:
            if name not in self.known_sites:
                known = sorted(self.known_sites)
                raise InputError(
                    f"{self.where}: sites: no model has {name!r}{nearest(name, known)}; sites: {', '.join(known)}."
                )

    def _atom(self, protocol: Protocol) -> Calculation:
        element = self.spec.adsorbate.element
        box_a = protocol.atom.box_a
        if box_a is None:
            raise InputError(f"{self.where}: its protocol has no atom.box_a for the isolated {element} atom.")
        return self._calculation("atom", operations.atom(element, box_a), {}, element, protocol)

    def _bulk(self, protocol: Protocol) -> Calculation | None:
        element = self.spec.adsorbate.element
        if "bulk_reference" not in self.quantities:
            return None
        if element not in self.spec.bulk_references:
            raise InputError(
                f"{self.where}: quantities: bulk_reference needs bulk_references.{element}: {{lattice, a}}."
            )
        given = self.spec.bulk_references[element]
        operation = operations.bulk(element, given.lattice, given.a)
        return self._calculation("bulk", operation, {}, f"{element}-{given.lattice}", protocol)
