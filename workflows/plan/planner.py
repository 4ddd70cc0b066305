"""From a campaign to its graph of calculations: pure, no input or output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ...analysis.electrons.density import term_names
from ...structures.errors import StructureError
from ...structures.host_names import parse_model, resolve_vacancies
from ...structures.monolayers import Monolayer, box, build_monolayer
from ...structures.orderings import mix
from ...structures.sites import Site, near_defect
from ...structures.slabs import Slab, build_slab
from ...structures.vacancies import Defect, apply_defects, parse_site_atom
from .. import start_structures
from ..calculation import Calculation
from ..campaign.campaign_file import Model
from ..campaign.load import Campaign, load_campaign
from ..campaign.protocol import Protocol, flatten, split
from ..campaign.yaml import InputError, nearest
from ..engines import make_engine
from ..engines.base import Engine, Settings, Unsupported
from ..engines.vasp.user_tags import UserTags, divided
from ..references import Formation, reference, removed_atoms
from .differences import changes
from .graph import Plan, PlannedModel

KIND_OF_QUANTITY = {
    "dos": "dos",
    "bulk_reference": "bulk",
    "density_difference": "density",
    "lattice": "relax_cell",
    "bands": "bands",
    "vacancy_formation": "bulk",
}


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
        self.tags = UserTags(self.spec.incar, self.where)
        self.dropped: list[str] = []
        self.known_sites: set[str] = set()

    def plan(self) -> Plan:
        self.quantities = self._quantities()
        self._refuse_taken_names()
        models = tuple(map(self._model, self.spec.models))
        self._refuse_unknown_sites()
        own = self.campaign.protocol
        planned = Plan(
            campaign=self.campaign,
            models=self._compared(models),
            atom=self._atom(own),
            bulk=self._bulk(own),
            lattices=self._lattices(models) if "lattice" in self.quantities else {},
            bands=self._bands(models) if "bands" in self.quantities else {},
            dropped=tuple(self.dropped),
            not_applicable=split(flatten(own, "relax"), self.engine.protocol_keys)[1],
            tags=self.tags,
        )
        if "incar" in self.engine.protocol_keys:
            self.tags.refuse_unmatched()
        return planned

    def _compared(self, models: Sequence[PlannedModel]) -> tuple[PlannedModel, ...]:
        """Say what each model has otherwise than the one that it is to be compared with."""
        declared = {model.title: model for model in self.spec.models}
        planned = {model.name: model for model in models}
        against = {name: other for name, model in declared.items() if (other := model.compare_with) is not None}
        for name, other in against.items():
            words = changes(planned[name], planned[other], declared)
            planned[name] = replace(planned[name], compare_with=other, changes=words)
        return tuple(planned.values())

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
        structure: start_structures.Operation,
        parents: Mapping[str, Calculation],
        label: str,
        protocol: Protocol,
        section: str | None = None,
    ) -> Calculation:
        values, _ = split(flatten(protocol, kind, section), self.engine.protocol_keys)
        plain = Calculation(kind, structure, self.engine.name, values, dict(parents), label)
        if "paw" in self.engine.protocol_keys:
            values["paw"] = self._data_sets(plain)
        if "incar" in self.engine.protocol_keys:
            values["incar"] = divided(self.tags.of(kind, label))[0] or None
        return replace(plain, protocol=values)

    def _data_sets(self, calculation: Calculation) -> dict[str, str]:
        """Return the names of the data sets that a calculation uses, so that no other name changes its id."""
        named = calculation.protocol.get("paw") or {}
        needed = start_structures.elements(calculation)
        for element in needed:
            if element not in named:
                raise InputError(
                    f"{self.where}: protocol.paw names no data set for {element} ({calculation.label}); "
                    f"add one, such as {element}: {element}."
                )
        return {element: named[element] for element in needed}

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
        defects = self._defects(model, origin, named, repeat)
        operation = self._host(origin, repeat, defects)
        ideal = start_structures.Host(operation)
        label = ideal.label
        self.engine.check(ideal.atoms)
        host = self._calculation("relax", operation, {}, label, protocol)
        sites = {
            site.name: self._site(host, site, heights.of(site.kind), protocol) for site in self._sites(model, ideal)
        }
        self.engine.check(start_structures.ideal_atoms(next(iter(sites.values()))))
        lowest = Calculation(
            "lowest", start_structures.none(), self.engine.name, {}, {"host": host, **sites}, f"{label}/lowest"
        )
        return PlannedModel(
            name=model.title,
            supercell=repeat,
            atom=self._atom(protocol),
            bulk=self._bulk(protocol),
            host=host,
            dos=self._calculation("dos", start_structures.geometry(), {"geometry": host}, f"{label}/dos", protocol)
            if "dos" in self.quantities
            else None,
            sites=sites,
            multiplicities={name: ideal.sites[name].multiplicity for name in sites},
            lowest=lowest,
            densities=self._densities(label, lowest, protocol) if "density_difference" in self.quantities else {},
            layer=parse_model(model.model)[0] if model.model is not None else None,
            formation=self._formation(origin, repeat, defects, protocol),
        )

    def _host(
        self, origin: Monolayer | Slab, repeat: tuple[int, int], defects: tuple[Defect, ...]
    ) -> start_structures.Operation:
        spec = self.spec
        headroom = spec.adsorbate.start_heights_a.highest
        return start_structures.host(origin, repeat, defects, spec.vacuum_a, headroom, spec.symmetry_breaking_a)

    def _formation(
        self, origin: Monolayer | Slab, repeat: tuple[int, int], defects: tuple[Defect, ...], protocol: Protocol
    ) -> Formation | None:
        """Return what the formation energy of a host's vacancies is held against, if it is wanted and has one."""
        removed = removed_atoms(defects)
        if "vacancy_formation" not in self.quantities or not removed or not isinstance(origin, Monolayer):
            return None
        operation = self._host(origin, repeat, ())
        unit = dict(Counter((origin.metal, origin.top, origin.bottom)))
        return Formation(
            pristine=self._calculation("relax", operation, {}, start_structures.Host(operation).label, protocol),
            removed=removed,
            unit=unit,
            elements={element: self._reference(element, "vacancy_formation", protocol) for element in unit},
            metal=origin.metal,
        )

    def _site(self, host: Calculation, site: Site, height_a: float, protocol: Protocol) -> Calculation:
        operation = start_structures.adsorbate(self.spec.adsorbate.element, site.name, height_a)
        return self._calculation("relax", operation, {"host": host}, f"{host.label}/{site.name}", protocol)

    def _densities(self, label: str, lowest: Calculation, protocol: Protocol) -> dict[str, Calculation]:
        """Return the three terms of Δρ: one cell, grid and sampling, the atoms where the chosen site left them."""
        parts: tuple[start_structures.Part, ...] = ("all", "host", "adsorbate")
        names = term_names(self.spec.adsorbate.element)
        return {
            name: self._calculation(
                "density", start_structures.chosen(part), {"lowest": lowest}, f"{label}/density/{name}", protocol
            )
            for name, part in zip(names, parts, strict=True)
        }

    def _lattices(self, models: Iterable[PlannedModel]) -> dict[str, Calculation]:
        """Return the relaxation of the 1×1 cell of each monolayer that a host repeats."""
        return {
            layer: self._calculation(
                "relax_cell",
                operation,
                {},
                f"{start_structures.Host(operation).label}/lattice",
                self.campaign.protocol,
            )
            for layer, operation in self._primitive_hosts(models, "lattice").items()
        }

    def _bands(self, models: Iterable[PlannedModel]) -> dict[str, Calculation]:
        """Return the bands of the relaxed 1×1 host of each monolayer."""
        protocol, found = self.campaign.protocol, {}
        for layer, operation in self._primitive_hosts(models, "bands").items():
            label = start_structures.Host(operation).label
            host = self._calculation("relax", operation, {}, label, protocol)
            found[layer] = self._calculation(
                "bands", start_structures.geometry(), {"geometry": host}, f"{label}/bands", protocol
            )
        return found

    def _primitive_hosts(
        self, models: Iterable[PlannedModel], quantity: str
    ) -> dict[str, start_structures.Operation]:
        """Declare the 1×1 host of each monolayer that a host repeats."""
        layers = dict.fromkeys(model.layer for model in models if model.layer is not None)
        if not layers:
            raise InputError(f"{self.where}: quantities: {quantity} is that of monolayers; no model is made of one.")
        headroom = self.spec.adsorbate.start_heights_a.highest
        return {
            layer: start_structures.host(
                self.spec.monolayers[layer].monolayer(), (1, 1), (), self.spec.vacuum_a, headroom, 0.0
            )
            for layer in layers
        }

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

    def _sites(self, model: Model, ideal: start_structures.Host) -> list[Site]:
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
        element, box_a = self.spec.adsorbate.element, protocol.section("atom").box_a
        if box_a is None:
            raise InputError(f"{self.where}: its protocol has no atom.box_a for the isolated {element} atom.")
        return self._calculation("atom", start_structures.atom(element, box_a), {}, element, protocol)

    def _bulk(self, protocol: Protocol) -> Calculation | None:
        if "bulk_reference" not in self.quantities:
            return None
        return self._reference(self.spec.adsorbate.element, "bulk_reference", protocol)

    def _reference(self, element: str, quantity: str, protocol: Protocol) -> Calculation:
        found = reference(self.campaign, element, f"{self.where}: quantities: {quantity}")
        return self._calculation(found.kind, found.structure, {}, found.label, protocol, found.section)
