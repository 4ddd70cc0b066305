"""Convergence of adsorption energies with the cutoff and the k mesh: a campaign for each setting."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import yaml

from ...analysis.figures.convergence import Series, Setting
from ..campaign.load import Campaign
from ..campaign.protocol import Protocol
from ..campaign.yaml import InputError, refuse_unknown_model
from ..engines.shared.grids import kpoint_mesh
from ..start_structures import ideal_atoms
from .graph import Plan
from .planner import plan

if TYPE_CHECKING:
    from ...analysis.model_result import ModelResult

KEYS = {"cutoff": "cutoff_ev", "kmesh": "kpoint_length_a"}
"""The varied quantities, and the protocol key of each."""


@dataclass(frozen=True)
class Variant:
    """A setting: the varied quantity, its value, and the plan of the campaign with this value."""

    quantity: str
    value: float
    plan: Plan


def parse_values(text: str, option: str) -> tuple[float, ...]:
    """Read ``400:600:50`` (first, last, step) or ``2,3,4``, ascending.

    Raises
    ------
    InputError
        For anything else, or fewer than two values.
    """
    try:
        if re.fullmatch(r"[\d.]+:[\d.]+:[\d.]+", text):
            first, last, step = map(float, text.split(":"))
            count = int((last - first) / step + 1e-9) + 1 if step > 0 else 0
            values = [first + i * step for i in range(count)]
        else:
            values = sorted({float(part) for part in text.split(",")})
    except ValueError:
        values = []
    if len(values) < 2 or values[0] <= 0:
        raise InputError(f"{option} {text!r}: give two or more positive values, as 400:600:50 or 2,3,4.")
    return tuple(values)


def variants(campaign: Campaign, cutoffs: Sequence[float], meshes: Sequence[float]) -> Iterator[Variant]:
    """Plan a campaign for each setting; all other keys stay as they are.

    Parameters
    ----------
    campaign
        The campaign, or one host of it (`one_host`).
    cutoffs
        Plane-wave cutoffs, eV.
    meshes
        Points N of an N×N k mesh of the hosts, whole numbers.

    Raises
    ------
    InputError
        If the engine ignores a varied key, or a mesh is no whole number.
    """
    base, name = plan(campaign), campaign.spec.campaign
    for quantity, values in (("cutoff", cutoffs), ("kmesh", meshes)):
        key = KEYS[quantity]
        if values and key in base.not_applicable:
            raise InputError(f"campaign {name}: engine {base.campaign.spec.engine} has no use for {key}.")
        if values and quantity == "kmesh" and any(host.protocol.kpoint_mesh is not None for host in base.hosts):
            raise InputError(
                f"campaign {name}: kpoint_mesh gives the mesh; take it out, so that --kmesh can vary it."
            )
        sections = [host.protocol.final_energy for host in base.hosts if host.finals]
        if values and any(section is not None and key in section.given for section in sections):
            raise InputError(
                f"campaign {name}: final_energy gives {key}, so that --{quantity} would vary the relaxations alone; "
                "take it out of final_energy."
            )
        for value in values:
            setting = value if quantity == "cutoff" else _length(value, base)
            yield Variant(quantity, value, plan(_varied(base.campaign, f"{quantity}-{value:g}", {key: setting})))


def one_host(campaign: Campaign, title: str) -> Campaign:
    """Return a campaign of one of its hosts, called after both.

    Raises
    ------
    InputError
        If it has no such host.
    """
    titles = [model.title for model in campaign.spec.models]
    refuse_unknown_model(title, titles)
    name, position = f"{campaign.spec.campaign}-{title}", titles.index(title)
    models = (campaign.spec.models[position].model_copy(update={"compare_with": None}),)
    data = yaml.safe_load(campaign.text)
    entry = data["models"][position]
    if isinstance(entry, dict):
        entry = {key: value for key, value in entry.items() if key != "compare_with"}
    text = yaml.safe_dump(data | {"campaign": name, "models": [entry]}, sort_keys=False, allow_unicode=True)
    return replace(campaign, spec=campaign.spec.model_copy(update={"campaign": name, "models": models}), text=text)


def _length(points: float, base: Plan) -> float:
    """Return a length that gives N×N points in the cells of all hosts, the campaign's own if possible."""
    if points != int(points):
        raise InputError(f"--kmesh {points:g}: the points of a mesh are whole numbers.")
    hosts = [atoms for host in base.hosts if (atoms := ideal_atoms(host.calculation)) is not None]
    shortest = min(float(atoms.cell.lengths()[:2].min()) for atoms in hosts)
    for length in (base.campaign.protocol.kpoint_length_a, points * shortest):
        if length is not None and all(kpoint_mesh(atoms, length)[:2] == (points, points) for atoms in hosts):
            return float(length)
    raise InputError(f"--kmesh {points:g}: the hosts' cells differ too much for one length to give that mesh.")


def _varied(campaign: Campaign, suffix: str, changes: dict[str, Any]) -> Campaign:
    """Return the campaign with another name and protocol, and without quantities beyond ΔE.

    Vary the loaded campaign, not its file, so that relative paths in the file stay valid. The text of the result has
    the protocol in full and the other keys as the user wrote them.
    """
    protocol = Protocol.model_validate(campaign.protocol.model_dump(mode="json", exclude_none=True) | changes)
    name = f"{campaign.spec.campaign}-{suffix}"
    overrides: dict[str, Any] = {"campaign": name, "engine": campaign.spec.engine, "quantities": []}
    overrides["protocol"] = protocol.model_dump(mode="json", exclude_none=True)
    text = yaml.safe_dump(yaml.safe_load(campaign.text) | overrides, sort_keys=False, allow_unicode=True)
    spec = campaign.spec.model_copy(update={"campaign": name, "quantities": (), "protocol": protocol})
    return replace(campaign, spec=spec, protocol=protocol, text=text)


def series(quantity: str, results: Sequence[tuple[float, Sequence[ModelResult]]]) -> list[Series]:
    """Gather ΔE of each site over the settings of one quantity, with gaps where a setting has no value."""
    settings: dict[str, list[Setting]] = {}
    for value, models in results:
        for model in models:
            for site in model.adsorption.sites:
                label = f"{model.model}/{site.site}"
                settings.setdefault(label, []).append(Setting(value, site.adsorption_energy_ev))
    return [Series(label, quantity, tuple(points)) for label, points in settings.items()]
