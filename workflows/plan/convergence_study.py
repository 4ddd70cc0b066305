"""Convergence of adsorption energies with a setting: a campaign for each value, from cheap to dear."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

from ...analysis.energies.adsorption import first_start, named
from ...analysis.energies.convergence import Series, Setting
from ...structures.sites_of_cells import names_in
from ..calculation import HOST
from ..campaign.load import Campaign
from ..campaign.yaml import InputError
from ..engines import make_engine
from ..engines.base import Settings
from ..engines.shared.grids import kpoint_mesh
from ..start_structures import Host, ideal_atoms, read_host
from .graph import Plan
from .planner import plan
from .supercell_series import in_supercells
from .varied_campaign import energies_alone, some_hosts

if TYPE_CHECKING:
    from ase import Atoms

    from ...analysis.model_result import ModelResult
    from ..campaign.campaign_file import CampaignModel
    from ..campaign.protocol import Protocol
    from ..quantities.base import PlannedHost

MESH = "kpoint_mesh"


@dataclass(frozen=True)
class Varied:
    """A quantity that can be varied.

    Attributes
    ----------
    key
        What stands for it in a campaign: a key of the protocol, or of the campaign itself.
    in_protocol
        Which of both.
    unit
        As in words.
    steps
        The values that are tried where none are given: added to the campaign's own, or its multiples.
    added
        Which of both.
    falls
        Whether smaller values are the dearer ones.
    whole
        Whether values are whole numbers.
    of_energies
        Whether it may differ between a geometry and the energy that is taken at it.
    """

    key: str
    in_protocol: bool
    unit: str
    steps: tuple[float, ...]
    added: bool = False
    falls: bool = False
    whole: bool = False
    of_energies: bool = False

    def series(self, own: float) -> tuple[float, ...]:
        """Return the values that are tried where none are given, from cheap to dear."""
        return tuple(round(own + step if self.added else own * step, 6) for step in self.steps)

    def dearer(self, one: float, other: float) -> bool:
        """Tell whether a value costs as much as another one, or more."""
        return one <= other if self.falls else one >= other


QUANTITIES: Mapping[str, Varied] = {
    "cutoff": Varied("cutoff_ev", True, " eV", (1.0, 1.2, 1.4, 1.6, 1.8), of_energies=True),
    "kmesh": Varied("kpoint_length_a", True, "", (0, 1, 2, 3, 4, 5, 6), added=True, whole=True, of_energies=True),
    "smearing": Varied("smearing", True, " eV", (1.0, 0.5, 0.25, 0.125), falls=True, of_energies=True),
    "vacuum": Varied("vacuum_a", False, " Å", (0, 5, 10, 15, 20), added=True, of_energies=True),
    "supercell": Varied("supercell", False, "", (0, 1, 2, 3), added=True, whole=True),
    "force": Varied("max_force_ev_per_a", True, " eV/Å", (1.0, 0.5, 0.25, 0.125), falls=True),
}
"""Every quantity that can be varied, by the name of its option."""


@dataclass(frozen=True)
class Variant:
    """A setting: its value, the campaign's key for it as in YAML, and the plan of the campaign with it."""

    value: float
    key: Any
    plan: Plan


@dataclass(frozen=True)
class Study:
    """One varied quantity.

    Attributes
    ----------
    quantity
        Its name in `QUANTITIES`.
    own
        The campaign's own value; None if it has none.
    fixed
        Whether energies are taken at the relaxed geometries of the campaign.
    variants
        The settings, from cheap to dear.
    remarks
        A sentence on the geometries, one for each part of the campaign that is left out, and for whatever else the
        settings change.
    """

    quantity: str
    own: float | None
    fixed: bool
    variants: tuple[Variant, ...]
    remarks: tuple[str, ...]

    @property
    def varied(self) -> Varied:
        """What is varied."""
        return QUANTITIES[self.quantity]


def parse_values(text: str, option: str) -> tuple[float, ...] | None:
    """Read ``400:600:50`` (first, last, step) or ``2,3,4``, ascending; None for ``auto``.

    Raises
    ------
    InputError
        For anything else, or fewer than two values.
    """
    if text.strip() == AUTO:
        return None
    try:
        if re.fullmatch(r"[\d.]+:[\d.]+:[\d.]+", text):
            first, last, step = map(float, text.split(":"))
            count = int((last - first) / step + 1e-9) + 1 if step > 0 else 0
            values = [round(first + i * step, 9) for i in range(min(count, _MOST + 1))]
        else:
            values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        values = []
    if len(values) < 2 or not all(0 < value < float("inf") for value in values):
        raise InputError(f"{option} {text!r}: give two or more positive values, as 400:600:50 or 2,3,4, or {AUTO}.")
    if len(values) > _MOST:
        raise InputError(f"{option} {text!r}: more than {_MOST} values.")
    return tuple(values)


AUTO = "auto"
"""In place of values: from the campaign's own on."""

_MOST = 100
"""Values of a quantity: each is a campaign of its own."""


def studies(campaign: Campaign, asked: Mapping[str, Sequence[float] | None], relax: bool = False) -> list[Study]:
    """Plan a campaign for each setting of each quantity; all other keys stay as they are.

    Parameters
    ----------
    campaign
        The campaign, or one host of it (`one_host`).
    asked
        By the name of the quantity its values, or None for those of `Varied.series`: cutoffs, eV; points N of an N×N
        k mesh of the hosts in the campaign's supercell; vacuum, Å; n of an n×n supercell; widths of the smearing, eV;
        largest forces, eV/Å.
    relax
        Whether every setting relaxes anew, also where energies at the relaxed geometries of the campaign would do.

    Raises
    ------
    InputError
        If the engine ignores a varied key, the campaign gives it in another way, or a value is no whole number where
        it has to be one; if no host is left to which it applies.
    """
    base = plan(campaign)
    if not any(host.sites for host in base.hosts):
        raise InputError(
            f"campaign {campaign.spec.campaign}: no host has an adsorption site (sites: []), and what is to converge "
            "is an adsorption energy; give sites, such as sites: near-defect."
        )
    return [_Planner(base, quantity, relax).study(values) for quantity, values in asked.items()]


class _Planner:
    """The planning of one study.

    Parameters
    ----------
    base
        The plan of the campaign.
    quantity
        What is varied.
    relax
        Whether every setting relaxes anew in any case.
    """

    def __init__(self, base: Plan, quantity: str, relax: bool) -> None:
        self.base = base
        self.spec = base.campaign.spec
        self.quantity = quantity
        self.varied = QUANTITIES[quantity]
        self.relaxes = relax or not self.varied.of_energies
        final = base.campaign.protocol.final_energy
        self.final: dict[str, Any] = {} if final is None else final.given
        # Of what is varied: that of the energies at relaxed geometries, or of the relaxations.
        self.protocol = base.campaign.protocol
        if not self.relaxes:
            self.protocol = self.protocol.at_relaxed_geometries({} if final is None else final.of_protocol)
        self.where = f"campaign {self.spec.campaign}: --{quantity}"

    def study(self, given: Sequence[float] | None) -> Study:
        """Plan every setting; without values, those that the quantity itself tries."""
        self._refuse_without_effect()
        chosen, remarks = self._without_own()
        own = self._own_value()
        if given is None and own is None:
            raise InputError(f"{self.where}: the campaign has no {self.varied.key} to begin with; give values.")
        values = sorted(self.varied.series(own or 0.0) if given is None else given, reverse=self.varied.falls)
        for value in values:
            if self.varied.whole and value != int(value):
                raise InputError(f"--{self.quantity} {value:g}: {_WHOLE[self.quantity]} are whole numbers.")
        campaigns = [chosen] * len(values)
        if self.quantity == "supercell":
            campaigns, more = in_supercells(chosen, [int(value) for value in values])
            remarks += more
        keys = [self._key(value) for value in values]
        settings = zip(campaigns, values, keys, strict=True)
        plans = [plan(self._campaign(one, value, key)) for one, value, key in settings]
        for one in reversed(plans):  # the campaign's own setting has no single points, in which tags could be seen
            self._refuse_by_hand(one)
        variants = tuple(map(Variant, values, keys, plans))
        meshes = _meshes(variants) if self.quantity == "supercell" else ()
        return Study(self.quantity, own, not self.relaxes, variants, (self._way(), *remarks, *meshes))

    def _way(self) -> str:
        """Say at which geometries ΔE is taken."""
        if not self.relaxes:
            return (
                f"--{self.quantity}: energies at the campaign's relaxed geometries; --relax relaxes at every setting"
            )
        return f"--{self.quantity}: every setting is relaxed anew"

    def _refuse_without_effect(self) -> None:
        """Refuse a key that the engine ignores, or that the campaign gives in another way."""
        if self.relaxes and self.varied.key in self.final:
            raise InputError(
                f"{self.where}: final_energy gives {self.varied.key}, so that --relax would vary the relaxations "
                "alone; take it out of final_energy."
            )
        engine = make_engine(self.spec.engine, Settings())
        if not self.relaxes and "static" not in engine.capabilities:
            raise InputError(
                f"{self.where}: engine {engine.name} has no single points (static); --relax relaxes at every setting."
            )
        if not self.varied.in_protocol:
            return
        if self.varied.key not in engine.protocol_keys:
            raise InputError(f"{self.where}: engine {self.spec.engine} has no use for {self.varied.key}.")
        mesh = self.protocol.kpoint_mesh if self.relaxes else self.final.get(MESH)
        if self.quantity == "kmesh" and mesh is not None:
            raise InputError(f"{self.where}: {MESH} gives the mesh; take it out, so that it can be varied.")
        smearing = self.protocol.smearing
        if self.quantity == "smearing" and (smearing is None or smearing.kind == "fixed"):
            raise InputError(f"{self.where}: the protocol has no smearing whose width could be varied.")

    def _refuse_by_hand(self, varied: Plan) -> None:
        """Refuse a key that has no effect since the campaign's entries for its engine go before it."""
        for host in varied.hosts:
            for calculation in host.energies.values():
                by_hand = varied.declaration.by_hand(calculation).get(self.varied.key)
                if by_hand is not None:
                    raise InputError(
                        f"{self.where}: {calculation.label}: {by_hand} goes before {self.varied.key}; take it out, "
                        "so that it can be varied."
                    )

    def _without_own(self) -> tuple[Campaign, tuple[str, ...]]:
        """Return the campaign without the hosts that give the varied key themselves, and a sentence for each."""
        models = self.spec.models
        fixed = [model.title for model in models if self._gives(model)]
        remarks = tuple(f"--{self.quantity}: {title} has a {self.varied.key} of its own; left out" for title in fixed)
        if self.quantity == "vacuum":
            crystals = [host.name for host in self.base.hosts if read_host(host.calculation.structure).periodic]
            fixed += crystals
            remarks += tuple(f"--vacuum: {title}: periodic along c, without vacuum; left out" for title in crystals)
        if len(fixed) == len(models):
            raise InputError(f"campaign {self.spec.campaign}: {'; '.join(remarks)}; no host remains.")
        if not fixed:
            return self.base.campaign, ()
        kept = [position for position, model in enumerate(models) if model.title not in fixed]
        return some_hosts(self.base.campaign, {position: {} for position in kept}), remarks

    def _gives(self, model: CampaignModel) -> bool:
        """Tell whether a model has the varied key itself, or no energies at relaxed geometries."""
        keys = {self.varied.key, MESH} if self.quantity == "kmesh" else {self.varied.key}
        if not self.relaxes:
            final = model.protocol.final_energy
            return final is not None and (not final.given or bool(keys & final.given.keys()))
        holder = model.protocol if self.varied.in_protocol else model
        return any(getattr(holder, key) is not None for key in keys)

    def _own_value(self) -> float | None:
        """Return the campaign's own value."""
        if self.quantity == "kmesh":
            meshes = [mesh for atoms in self._cells() if (mesh := _points(atoms, self.protocol)) is not None]
            return float(max(map(max, meshes))) if meshes else None
        if self.quantity == "supercell":
            return float(max(self.spec.supercell))
        if self.quantity == "smearing":
            return None if self.protocol.smearing is None else self.protocol.smearing.width_ev
        if not self.relaxes and self.varied.key in self.final:
            return float(self.final[self.varied.key])
        value: float | None = getattr(self.protocol if self.varied.in_protocol else self.spec, self.varied.key)
        return value

    def _key(self, value: float) -> Any:
        """Return the campaign's key for a value, as in YAML."""
        if self.quantity == "kmesh":
            return self._length(value)
        if self.quantity == "supercell":
            return [int(value), int(value)]
        if self.quantity == "smearing" and self.protocol.smearing is not None:
            return {"kind": self.protocol.smearing.kind, "width_ev": value}
        return value

    def _campaign(self, chosen: Campaign, value: float, key: Any) -> Campaign:
        changed, name = {self.varied.key: key}, f"{self.quantity}-{value:g}"
        if not self.relaxes:
            return energies_alone(chosen, f"final-{name}", {"final_energy": {**self.final, **changed}}, {})
        protocol, keys = (changed, {}) if self.varied.in_protocol else ({}, changed)
        return energies_alone(chosen, name, protocol, keys)

    def _cells(self) -> list[Atoms]:
        """Return the ideal atoms of the hosts in the campaign's supercell; of all if none is in it."""
        hosts = [host for host in self.base.hosts if host.repeat == self.spec.supercell] or list(self.base.hosts)
        return [atoms for host in hosts if (atoms := ideal_atoms(host.calculation)) is not None]

    def _length(self, points: float) -> float:
        """Return a length that gives N×N points in the campaign's supercell of all hosts, its own length if possible.

        Hosts in other supercells get the mesh of the same length, which is as dense.
        """
        cells = self._cells()
        shortest = min(float(atoms.cell.lengths()[:2].min()) for atoms in cells)
        for length in (self.protocol.kpoint_length_a, points * shortest):
            if length is not None and all(kpoint_mesh(atoms, length)[:2] == (points, points) for atoms in cells):
                return round(float(length), 6)
        raise InputError(
            f"--kmesh {points:g}: no length gives that mesh in the cells of all hosts, whose edges differ too much."
        )


_WHOLE = {"kmesh": "the points of a mesh", "supercell": "the repeats of a cell"}


def _points(atoms: Atoms, protocol: Protocol) -> tuple[int, int] | None:
    """Return the points of a protocol's mesh along a and b."""
    if protocol.kpoint_mesh is not None:
        return protocol.kpoint_mesh.points[:2]
    return None if protocol.kpoint_length_a is None else kpoint_mesh(atoms, protocol.kpoint_length_a)[:2]


def _meshes(variants: Sequence[Variant]) -> Iterator[str]:
    """Say which meshes the cells of a host have, if these are not equally dense."""
    by_words: dict[str, list[str]] = {}
    for hosts in zip(*(variant.plan.hosts for variant in variants), strict=True):
        meshes = [mesh for host in hosts if (mesh := _mesh(host)) is not None]
        cells = [host.repeat for host in hosts]
        if len({(n * first, m * second) for (first, second), (n, m) in zip(meshes, cells, strict=False)}) > 1:
            words = [f"{first}×{second} in {n}×{m}" for (first, second), (n, m) in zip(meshes, cells, strict=True)]
            by_words.setdefault(", ".join(words), []).append(hosts[0].name)
    for cell_words, names in by_words.items():
        yield f"--supercell: {', '.join(names)}: k points {cell_words}: not equally dense, which changes ΔE, too"


def _mesh(host: PlannedHost) -> tuple[int, int] | None:
    """Return the points of a host's mesh along a and b; None for an engine without k points."""
    calculation = host.energies[HOST]
    length, atoms = calculation.protocol.get("kpoint_length_a"), ideal_atoms(host.calculation)
    return None if length is None or atoms is None else kpoint_mesh(atoms, length)[:2]


def series(study: Study, results: Sequence[Sequence[ModelResult]]) -> list[Series]:
    """Gather ΔE of each site over the settings of a study, with gaps where a setting has no value.

    Of several starts of a site the lowest counts.

    Parameters
    ----------
    study
        The study.
    results
        Of each host, for the first settings of the study.
    """
    settings: dict[str, list[Setting]] = {}
    for variant, models in zip(study.variants, results, strict=False):
        names = _names(study, variant)
        points: dict[str, list[Setting]] = {}
        for model in models:
            for site in model.adsorption.sites:
                label = f"{model.model}/{first_start(site.site)}"
                end = None if site.end is None else named(site.end, names.get(model.model, {}))
                points.setdefault(label, []).append(Setting(variant.value, site.adsorption_energy_ev, end))
        for label, starts in points.items():
            settings.setdefault(label, []).append(min(starts, key=_energy))
    return [Series(label, study.quantity, tuple(found)) for label, found in settings.items()]


def _names(study: Study, variant: Variant) -> dict[str, dict[str, str]]:
    """Return for each host what its sites are called in the first cell of a series of supercells."""
    if study.quantity != "supercell":
        return {}
    first, there = ({host.name: _ideal(host) for host in one.plan.hosts} for one in (study.variants[0], variant))
    return {name: names_in(first[name].surroundings, host.surroundings) for name, host in there.items()}


def _ideal(host: PlannedHost) -> Host:
    return read_host(host.calculation.structure)


def _energy(setting: Setting) -> float:
    return inf if setting.adsorption_energy_ev is None else setting.adsorption_energy_ev
