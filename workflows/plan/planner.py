"""From a campaign to its graph of calculations: pure, no input or output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ...analysis.energies.adsorption import ANOTHER_START, FINAL, first_start, site_of, start_of
from ...analysis.energies.uncertainty import PARTS
from ...analysis.words import listed
from ...structures.errors import StructureError
from ...structures.geometry import Floats
from ...structures.host_names import parse_model, resolve_vacancies, vacancies_by_count
from ...structures.molecules import same_start, turned
from ...structures.monolayers import Monolayer
from ...structures.orderings import mix, of_mixed
from ...structures.sites import Site, near_defect, noise_in_symmetry
from ...structures.sites_of_cells import SAME_A, apart
from ...structures.slabs import SUFFIXES, Slab, build_slab
from ...structures.stacks import Stack
from ...structures.vacancies import Defect, apply_defects, parse_site_atom
from .. import start_structures
from ..calculation import HOST, Calculation, final_role
from ..campaign.campaign_file import CampaignFile, CampaignModel
from ..campaign.load import Campaign, load_campaign
from ..campaign.protocol import Protocol, flatten, split
from ..campaign.yaml import InputError, nearest
from ..engines import make_engine
from ..engines.base import Engine, Settings, Unsupported
from ..kinds import keys_of
from ..quantities import quantities
from ..quantities.base import PlannedHost, Quantity, QuantityPlan
from ..quantities.declare import Declare
from ..quantities.statics import LEAST_VACUUM_A, idle, refuse_lacking, static
from .differences import ComparisonSide, changes
from .graph import Plan
from .own_sites import Adsorbed, operations_at, own_operations, told_duplicates, told_of_coverage
from .stacked import of_crystal, told_of_layers


def plan(campaign: Campaign | str | Path, engine: str | None = None) -> Plan:
    """Plan a campaign.

    Parameters
    ----------
    campaign
        A loaded campaign, or what `load_campaign` takes.
    engine
        Overrides the campaign's engine (only with a name or path).

    Raises
    ------
    InputError
        If the campaign names something that does not exist or that its engine cannot do.
    """
    if not isinstance(campaign, Campaign):
        campaign = load_campaign(campaign, engine)
    return _Planner(campaign).plan()


def _not_known(quantity_plans: Mapping[str, QuantityPlan]) -> list[str]:
    """Return a sentence for each part of an error bar that cannot be computed."""
    reasons: dict[str, list[str]] = {}
    for part in quantity_plans["uncertainty"].hosts.values():
        for name, why in part.declared["not_known"].items():
            reasons.setdefault(why, []).append(name)
    return [f"uncertainty: {listed(dict.fromkeys(names))} will not be known: {why}" for why, names in reasons.items()]


class _Planner:
    """The planning of one campaign with one engine."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.spec = campaign.spec
        self.where = f"campaign {campaign.source}"
        try:
            self.engine: Engine = make_engine(self.spec.engine, Settings())
        except InputError as error:
            raise InputError(f"{self.where}: {error}") from None
        self.declaration = self.engine.declaration(self.spec, self.where)
        self.declare = Declare(campaign, self.engine, self.declaration)
        self.dropped: list[str] = []
        self.known_sites: set[str] = set()
        self.told: list[str] = []

    def plan(self) -> Plan:
        table = self._quantities()
        self._refuse_taken_names()
        hosts = tuple(map(self._model, self.spec.models))
        self._refuse_unknown_sites()
        quantity_plans = self._quantity_plans(table, hosts)
        self.dropped += _not_known(quantity_plans)
        keys = {**flatten(self.campaign.protocol, "relax"), **dict.fromkeys(self.spec.for_one_code)}
        plan = Plan(
            campaign=self.campaign,
            hosts=hosts,
            quantities=quantity_plans,
            comparisons=self._comparisons(hosts, quantity_plans),
            dropped=tuple(self.dropped),
            remarks=(
                *self.remarks,
                *self.told,
                *self.declare.remarks.values(),
                *(words for part in quantity_plans.values() for words in part.remarks),
            ),
            not_applicable=split(keys, self.engine.protocol_keys)[1],
            declaration=self.declaration,
        )
        self.declare.refuse_unmatched()
        self.declaration.refuse_unmatched()
        return plan

    def _quantity_plans(self, table: Mapping[str, Quantity], hosts: Sequence[PlannedHost]) -> dict[str, QuantityPlan]:
        """Plan each quantity for the hosts that it applies to; one that no host is left to, not at all."""
        with_sites = [host for host in hosts if host.sites]
        plans: dict[str, QuantityPlan] = {}
        for name, quantity in table.items():
            chosen = with_sites if quantity.of_sites else hosts
            if not chosen and self._is_asked(name, quantity):
                self._drop(f"{name.replace('_', ' ')} is of adsorption sites, and no host has one; left out")
            plans[name] = quantity.plan(self.declare, chosen) if chosen else QuantityPlan()
        return plans

    def _is_asked(self, name: str, quantity: Quantity) -> bool:
        """Tell whether the campaign asks for a quantity: in its list, by a key of that name, or by its protocol."""
        # Energies at relaxed geometries are of conversion, too, which needs no site.
        final = self.campaign.protocol.final_energy is not None and self.spec.conversion is None
        by_other = {FINAL: final, "dos_of_best": "best" in self.spec.dos.of}
        return quantity.optional or bool(getattr(self.spec, name, None) or by_other.get(name))

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        """A sentence for each structure file whose noise hides its symmetry."""
        noise = {file: noise_in_symmetry(build_slab(slab, (1, 1))) for file, slab in self.campaign.slabs.items()}
        return tuple(f"{file}: {words}" for file, words in noise.items() if words is not None)

    def _comparisons(
        self, hosts: Sequence[PlannedHost], quantity_plans: Mapping[str, QuantityPlan]
    ) -> dict[str, tuple[str, ...]]:
        """Say how each model differs from the model it is compared with."""
        models = {model.title: model for model in self.spec.models}
        finals, relaxed = (quantity_plans[name].hosts for name in ("final_energy", "adsorption_energy"))
        parts = {**relaxed, **finals}
        atoms = {name: part.calculations["atom"] for name, part in parts.items()}
        sides = {host.name: ComparisonSide(host, atoms.get(host.name), models[host.name]) for host in hosts}
        baselines = {name: model.compare_with for name, model in models.items() if model.compare_with is not None}
        return {name: changes(sides[name], sides[baseline]) for name, baseline in baselines.items()}

    def _quantities(self) -> dict[str, Quantity]:
        """Return the campaign's quantities that the engine can compute; drop the others with a sentence each."""
        choices = [name for name, quantity in quantities().items() if quantity.optional]
        for name in self.spec.quantities:
            if name not in choices and name in CampaignFile.model_fields:
                raise InputError(
                    f"{self.where}: quantities: {name} is asked for by its own key `{name}:`, not in this list."
                )
            if name not in choices:
                raise InputError(
                    f"{self.where}: quantities: no quantity {name!r}{nearest(name, choices)}; "
                    f"quantities: {', '.join(choices)}."
                )
        table = {}
        for name, quantity in quantities().items():
            if quantity.optional and name not in self.spec.quantities:
                continue
            self._refuse_for_molecules(name, quantity)
            if quantity.kinds <= self.engine.capabilities:
                table[name] = quantity
            elif quantity.optional:
                self.dropped.append(f"engine {self.engine.name} has no {name.replace('_', ' ')}; left out")
            else:
                lack = ", ".join(sorted(quantity.kinds - self.engine.capabilities))
                raise InputError(f"{self.where}: engine {self.engine.name} has no {lack}, which each campaign needs.")
        return table

    def _refuse_for_molecules(self, name: str, quantity: Quantity) -> None:
        if quantity.of_atoms and self.campaign.molecule is not None:
            raise InputError(
                f"{self.where}: quantities: {name}: {self.campaign.adsorbate} is a molecule: {quantity.of_atoms}."
            )

    def _model(self, model: CampaignModel) -> PlannedHost:
        try:
            host = self._planned_host(model)
            wanted = "supercell" in self.spec.uncertainty and host.sites
            return replace(host, larger=self._larger(model, host)) if wanted else host
        except (StructureError, Unsupported) as error:
            raise InputError(f"{self.where}: model {model.title}: {error}") from None

    def _larger(self, model: CampaignModel, host: PlannedHost) -> PlannedHost | str:
        """Return the host with one cell more along both axes and the same sites, or why there is none.

        Raises
        ------
        InputError
            If its sites cannot be told by their names there, or a mesh that is given by hand holds for one cell.
        """
        if model.remove or model.replace or model.ordering is not None:
            return "atoms that are chosen by number, or an ordering, are others in another cell"
        if model.own_sites:
            return "own_sites are given by fractions of one cell"
        repeat = host.repeat[0] + 1, host.repeat[1] + 1
        cell = "×".join(map(str, repeat))
        if "kpoint_mesh" in host.calculation.protocol:
            raise InputError(
                f"{self.where}: uncertainty: supercell: model {host.name}: kpoint_mesh fixes the mesh of one cell by "
                f"hand; give kpoint_length_a, which gives {cell} cells one, or leave supercell out."
            )
        names = tuple(dict.fromkeys(map(site_of, host.sites)))
        changes = {"supercell": repeat, "sites": names, "starts": 1}
        ideal = start_structures.read_host(host.calculation.structure)
        try:
            larger = self._planned_host(model.model_copy(update=changes))
        except InputError as error:
            raise InputError(f"{error} (uncertainty: supercell, in {cell} cells)") from None
        there = start_structures.read_host(larger.calculation.structure)
        for name in names:
            near, far = ideal.surroundings[name], there.surroundings[name]
            if apart(near, far) > SAME_A:
                raise InputError(
                    f"{self.where}: uncertainty: supercell: model {host.name}: its site {name} is {near[0]:.2f} Å "
                    f"from a defect and {near[1]:.2f} Å from an atom next to one, and the site of this name in "
                    f"{cell} cells {far[0]:.2f} and {far[1]:.2f} Å; name sites that are the same in both, or leave "
                    "supercell out."
                )
        return larger

    def _planned_host(self, model: CampaignModel) -> PlannedHost:
        protocol = self.campaign.protocol.changed(model.protocol)
        if model.stack is not None and model.layers is None:
            protocol = of_crystal(protocol, model)
        repeat = model.supercell or self.spec.supercell
        origin, vacancies = self._origin(model)
        defects = self._defects(model, origin, vacancies, repeat)
        self._refuse_overlap("vacuum_a", self.spec.vacuum_a)
        self._refuse_overlap(f"models: {model.title}: vacuum_a", model.vacuum_a)
        heights = self.spec.adsorbate.start_heights_a.changed(model.own_heights)
        headroom = self.declare.headroom_a(heights)
        structure = self.declare.host_structure(origin, repeat, defects, vacuum_a=model.vacuum_a, headroom_a=headroom)
        ideal = start_structures.read_host(structure)
        label = _label(model, ideal)
        self.engine.check(ideal.atoms)
        host = self.declare("relax", structure, {}, label, protocol)
        listed = not isinstance(self.spec.sites if model.sites is None else model.sites, str)
        by_rule, told = operations_at(ideal, self._sites(model, ideal), heights, self._adsorbed, listed)
        own = self._own_sites(model, ideal)
        operations = by_rule | own
        if not operations and told:
            raise StructureError(f"has no site with room for {self.campaign.adsorbate}: {'; '.join(told)}.")
        told += told_duplicates(ideal, own)
        told += told_of_coverage(ideal, by_rule) if self.spec.coverage else ()
        operations = dict(self._starts(model, ideal, host, operations))
        sites = {name: self._site(host, name, operation, protocol) for name, operation in operations.items()}
        self._check_starts(sites)
        wanted = bool(sites) or self.spec.conversion is not None
        final_protocol, finals = self._finals(protocol, {HOST: host, **sites}) if wanted else (None, {})
        told += told_of_layers(ideal, protocol)
        self.told += [sentence for words in told if (sentence := f"{model.title}: {words}") not in self.told]
        lowest = None
        if sites:
            candidates = {HOST: host, **sites, **{final_role(role): final for role, final in finals.items()}}
            none = start_structures.none()
            lowest = Calculation("lowest", none, self.engine.name, {}, candidates, f"{label}/lowest")
        return PlannedHost(
            name=model.title,
            layer=parse_model(model.model)[0] if isinstance(origin, Monolayer) and model.model else None,
            origin=origin,
            repeat=repeat,
            defects=defects,
            protocol=protocol,
            heights=heights,
            calculation=host,
            sites=sites,
            multiplicities={name: ideal.site(site.structure).multiplicity for name, site in sites.items()},
            lowest=lowest,
            final_protocol=final_protocol,
            finals=finals,
        )

    def _check_starts(self, sites: Mapping[str, Calculation]) -> None:
        """Refuse what an engine cannot compute, and a molecule that is too large for the cell in some orientation."""
        orientations: dict[str | None, Calculation] = {}
        for name, calculation in sites.items():
            orientations.setdefault(start_of(first_start(name)), calculation)
        for calculation in orientations.values():
            start = start_structures.ideal_atoms(calculation)
            assert start is not None  # a site's atoms follow from its host's alone
            self.engine.check(start)

    def _refuse_overlap(self, key: str, vacuum_a: float | None) -> None:
        if vacuum_a is not None and vacuum_a < LEAST_VACUUM_A:
            raise InputError(
                f"{self.where}: {key}: in {vacuum_a:g} Å of vacuum images of a sheet overlap; give "
                f"{LEAST_VACUUM_A:g} Å or more."
            )

    def _finals(
        self, protocol: Protocol, relaxed: Mapping[str, Calculation]
    ) -> tuple[Protocol | None, dict[str, Calculation]]:
        """Declare the energies at relaxed geometries, if the protocol asks for some."""
        asked = protocol.final_energy
        if asked is None or not asked.given:
            return None, {}
        given = asked.of_protocol
        refuse_lacking(self.declare, given, "final_energy")
        final = protocol.at_relaxed_geometries(given)
        self._refuse_overlap("protocol.final_energy.vacuum_a", asked.vacuum_a)
        own = relaxed[HOST].structure["vacuum_a"]
        if asked.vacuum_a is not None and own is None:
            raise StructureError("protocol.final_energy.vacuum_a: a stack that is periodic along c has no vacuum.")
        extra = None if asked.vacuum_a in (None, own) else asked.vacuum_a - own
        try:
            finals = {role: static(self.declare, parent, "final", final, extra) for role, parent in relaxed.items()}
        except InputError as error:
            raise InputError(f"{error} (protocol.final_energy)") from None
        common = flatten(final, "static")
        same = extra is None and common == flatten(protocol, "static")
        if same and all(_has_tags_of(finals[role], relaxation, common) for role, relaxation in relaxed.items()):
            sentence = "final_energy: its settings are those of the relaxations, whose energies are taken"
            self._drop(sentence)
            return None, {}
        left_out = idle(given, finals[HOST])
        if left_out:
            act = "does not act" if len(left_out) == 1 else "do not act"
            sentence = f"final_energy: {', '.join(left_out)} {act} with engine {self.engine.name}"
            if not given.keys() & finals[HOST].protocol.keys():
                sentence += ": its energies are those of the relaxations"
            self._drop(sentence)
        return final, finals

    def _drop(self, sentence: str) -> None:
        """Say once, for all hosts that it is true of, what is left out."""
        if sentence not in self.dropped:
            self.dropped.append(sentence)

    def _site(
        self, host: Calculation, name: str, operation: start_structures.Operation, protocol: Protocol
    ) -> Calculation:
        return self.declare("relax", operation, {"host": host}, f"{host.label}/{name}", protocol)

    def _starts(
        self,
        model: CampaignModel,
        ideal: start_structures.Host,
        host: Calculation,
        sites: Mapping[str, start_structures.Operation],
    ) -> Iterator[tuple[str, start_structures.Operation]]:
        """Yield the starts of each site by name, the first by that of the site."""
        moments = host.protocol.get("start_moments_mub") or {}
        magnetic = any((moments.get("other"), *(moments.get("elements") or {}).values()))
        for name, operation in sites.items():
            yield name, operation
            site = site_of(name)
            own = site in model.own_sites
            open_shell = magnetic or bool(ideal.defects and (own or near_defect([ideal.named_site(site)])))
            starts = model.starts or (self.spec.starts if open_shell else 1)
            for start in range(2, starts + 1):
                yield f"{name}{ANOTHER_START}{start}", start_structures.another_start(operation, start)

    def _own_sites(self, model: CampaignModel, ideal: start_structures.Host) -> dict[str, start_structures.Operation]:
        if not model.own_sites:
            return {}
        taken = sorted((ideal.named_sites.keys() | {HOST, "final", "lowest", *PARTS}) & model.own_sites.keys())
        if taken:
            raise InputError(f"{self.where}: own_sites: model {model.title} has a site {taken[0]} of its own.")
        return own_operations(model, ideal, self._adsorbed)

    @cached_property
    def _adsorbed(self) -> Adsorbed:
        """What is put on sites."""
        return Adsorbed(self.campaign.adsorbate, None if self.campaign.molecule is None else self._orientations)

    @cached_property
    def _orientations(self) -> dict[str, Mapping[str, Any]]:
        """What is declared of the molecule in each orientation, by name; of two that are the same the first."""
        given, kept = self.campaign.molecule, dict[str, Floats]()
        assert given is not None  # asked for molecules alone
        declared: dict[str, Mapping[str, Any]] = {}
        for name, orientation in self.spec.adsorbate.declared_orientations.items():
            positions = turned(given.content, given.anchor, orientation)
            twin = next((one for one, other in kept.items() if same_start(given.content, positions, other)), None)
            if twin is None:
                kept[name] = positions
                declared[name] = start_structures.molecule(
                    given.content, given.anchor, given.unpaired_electrons, orientation
                )
            else:
                self._drop(f"orientation {name} of {self.campaign.adsorbate} is {twin} again; left out")
        return declared

    def _origin(self, model: CampaignModel) -> tuple[Monolayer | Slab | Stack, tuple[str, ...]]:
        """Return the monolayer, stack or slab of a model, and the vacancies in its name."""
        if model.file is not None:
            return self.campaign.slabs[model.file], ()
        layer, vacancies = parse_model(model.model or "")
        own, sheets = self.spec.monolayers, self.campaign.sheets
        if layer not in sheets:
            hint = nearest(layer, own) or nearest(layer, sheets)
            if Path(model.model or "").suffix.lower() in SUFFIXES:
                hint = f"; a structure file is written {{name: NAME, file: {model.model}}}"
            raise InputError(
                f"{self.where}: model {model.title}: no monolayer {layer!r}{hint}; "
                f"monolayers of this campaign: {', '.join(own) or 'none'}; "
                f"bundled hosts: {', '.join(self.campaign.hosts)}."
            )
        sheet = self.campaign.sheet(layer)
        if model.stack is None:
            return sheet, vacancies
        if not isinstance(sheet, Monolayer):
            raise StructureError(
                f"stack is of a 2H monolayer, and {layer} is another sheet; give the stack as a file."
            )
        assert model.interlayer_a is not None  # the campaign's file was refused without
        return Stack(sheet, model.stack, model.layers, model.interlayer_a), vacancies

    def _defects(
        self,
        model: CampaignModel,
        origin: Monolayer | Slab | Stack,
        vacancies: tuple[str, ...],
        repeat: tuple[int, int],
    ) -> tuple[Defect, ...]:
        complete = self.declare.host_structure(origin, repeat, ())
        atoms = start_structures.read_host(complete).pristine
        by_atom = [Defect(*parse_site_atom(text)) for text in model.remove]
        by_atom += [Defect(*parse_site_atom(text), element) for text, element in model.replace.items()]
        mixing: tuple[Defect, ...] = ()
        if model.ordering is not None:
            if not isinstance(origin, Monolayer):
                raise StructureError("ordering mixes the chalcogens of a named Janus layer, not of a file.")
            mixing = mix(origin, repeat, model.ordering)
            atoms = apply_defects(atoms, mixing)
        if vacancies and model.vacancies:
            raise StructureError("its name has vacancies, and so has its key 'vacancies'; give them in one place.")
        if model.vacancies:
            removed = vacancies_by_count(atoms, model.vacancies, model.pair)
        else:
            removed = resolve_vacancies(atoms, vacancies, model.pair)
        defects = (*removed, *by_atom)
        apply_defects(atoms, defects)  # refuses atoms that the host does not have
        return of_mixed(mixing, defects)

    def _sites(self, model: CampaignModel, ideal: start_structures.Host) -> list[Site]:
        selection = self.spec.sites if model.sites is None else model.sites
        if self.spec.sites and not isinstance(self.spec.sites, str):
            self.known_sites |= set(ideal.named_sites)
        by_rule = list(ideal.sites_by_rule.values())
        if selection == "all":
            return by_rule
        if selection == "near-defect":
            return list(near_defect(by_rule))
        if not selection:
            return []
        sites = ideal.named_sites
        matches = [sites[name] for name in selection if name in sites]
        unknown = [name for name in selection if name not in sites]
        if (not matches and not model.own_sites) or (unknown and model.sites is not None):
            raise InputError(
                f"{self.where}: sites: model {model.title} has none of {', '.join(unknown)}"
                f"{nearest(unknown[0], sites)}; its sites: {'. '.join((', '.join(sites), *self.remarks))}."
            )
        return matches

    def _refuse_taken_names(self) -> None:
        free = self.campaign.adsorbate
        for model in self.spec.models:
            if model.title == free or model.title.startswith(f"{free}-"):
                raise InputError(f"{self.where}: model {model.title}: the name is that of a reference; give another.")

    def _refuse_unknown_sites(self) -> None:
        if isinstance(self.spec.sites, str):
            return
        sites = sorted(self.known_sites)
        for name in self.spec.sites:
            if name not in sites:
                raise InputError(
                    f"{self.where}: sites: no model has {name!r}{nearest(name, sites)}; "
                    f"sites: {'. '.join((', '.join(sites), *self.remarks))}."
                )


def _label(model: CampaignModel, ideal: start_structures.Host) -> str:
    """Return what the folders of a host and all that follows from it are called by.

    A formula does not tell two polymorphs apart, and nothing of a file from another one: these have the campaign's
    names, of the monolayer or the model.
    """
    if model.file is not None:
        return model.title
    return parse_model(model.model or "")[0] + ideal.defects_label


def _has_tags_of(point: Calculation, relaxation: Calculation, common: Mapping[str, Any]) -> bool:
    """Tell whether a single point has a relaxation's settings for one code alone.

    The ``common`` keys are the same; one that does not act on single points, as a dry run's mesh, is in no point.
    """
    tags, theirs = (
        {key: value for key, value in one.protocol.items() if key not in common and key in keys_of("static", [key])}
        for one in (point, relaxation)
    )
    return tags == theirs
