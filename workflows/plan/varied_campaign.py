"""A campaign made from another one: some of its hosts, other keys.

The loaded campaign is changed and not its file, so that relative paths in the file stay valid. The text of the result
has what was changed in full, and the other keys as the user wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from ...analysis.energies.adsorption import site_of
from ..campaign.campaign_file import CampaignFile, CampaignModel
from ..campaign.load import Campaign
from ..campaign.protocol import Protocol
from ..campaign.yaml import refuse_unknown_model, validate
from ..quantities import quantities
from .planner import plan

if TYPE_CHECKING:
    from ..quantities.base import PlannedHost


def one_host(campaign: Campaign, title: str) -> Campaign:
    """Return a campaign of one of its hosts, called after both.

    Raises
    ------
    InputError
        If it has no such host.
    """
    titles = [model.title for model in campaign.spec.models]
    refuse_unknown_model(title, titles)
    chosen = some_hosts(campaign, {titles.index(title): {}})
    return _renamed(chosen, f"{campaign.spec.campaign}-{title}")


def some_hosts(campaign: Campaign, changes: Mapping[int, Mapping[str, Any]]) -> Campaign:
    """Return a campaign of some of its hosts, in its order; none is compared with one that is left out.

    Parameters
    ----------
    campaign
        The campaign.
    changes
        The changed keys of each host, by its position; None takes a key out.
    """
    raw: dict[str, Any] = yaml.safe_load(campaign.text)
    overrides: dict[str, Any] = _without_list(campaign)
    planned = plan(campaign).hosts if overrides else ()
    kept = {campaign.spec.models[position].title for position in changes}
    models, entries = [], []
    for position, asked in sorted(changes.items()):
        model, changed = campaign.spec.models[position], dict(asked)
        if planned and model.sites is None:
            changed.setdefault("sites", sites_by_rule(planned[position], model))
        if model.compare_with is not None and model.compare_with not in kept:
            changed["compare_with"] = None
        values = model.model_dump(mode="json", exclude_none=True) | changed
        models.append(CampaignModel.model_validate(_present(values)))
        entry: Any = raw["models"][position]
        written: dict[str, Any] = entry if isinstance(entry, dict) else {"model": entry}
        entries.append(_present({**written, **changed}) if changed else entry)
    left = _quantities_of(campaign, kept)
    updates = {**overrides, "quantities": left, "models": tuple(models)}
    if left != campaign.spec.quantities:
        overrides["quantities"] = list(left)
    text = yaml.safe_dump(raw | overrides | {"models": entries}, sort_keys=False, allow_unicode=True)
    return replace(campaign, spec=campaign.spec.model_copy(update=updates), text=text)


def sites_by_rule(host: PlannedHost, model: CampaignModel) -> list[str]:
    """Return the names of a planned host's sites as a campaign may list them: none of its own, each start once."""
    names = dict.fromkeys(map(site_of, host.sites))
    return [name for name in names if name not in model.own_sites]


def _quantities_of(campaign: Campaign, kept: set[str]) -> tuple[str, ...]:
    """Return a campaign's quantities, without those that none of the hosts that are kept can have."""
    asked, known = campaign.spec.quantities, quantities()
    of_some = [name for name in asked if name in known and known[name].of_some_hosts]
    found = plan(campaign).quantities if of_some else {}
    left_out = [name for name in of_some if name in found and not kept & found[name].hosts.keys()]
    return tuple(name for name in asked if name not in left_out)


def _without_list(campaign: Campaign) -> dict[str, str]:
    """Return a rule in place of a campaign's list of sites, of which hosts that are left out may have some alone."""
    return {} if isinstance(campaign.spec.sites, str) else {"sites": "near-defect"}


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _renamed(campaign: Campaign, name: str) -> Campaign:
    text = yaml.safe_dump(yaml.safe_load(campaign.text) | {"campaign": name}, sort_keys=False, allow_unicode=True)
    return replace(campaign, spec=campaign.spec.model_copy(update={"campaign": name}), text=text)


def energies_alone(campaign: Campaign, suffix: str, protocol: Mapping[str, Any], keys: Mapping[str, Any]) -> Campaign:
    """Return the campaign with other keys, called after both, and without quantities beyond ΔE or error bars.

    Parameters
    ----------
    campaign
        The campaign.
    suffix
        What its name is to end with.
    protocol, keys
        Changed keys of its protocol, and of the campaign itself.

    Raises
    ------
    InputError
        If a value is out of bounds.
    """
    name = f"{campaign.spec.campaign}-{suffix}"
    values = campaign.protocol.model_dump(mode="json", exclude_none=True) | dict(protocol)
    changed = validate(Protocol, values, f"campaign {name}: protocol")
    overrides: dict[str, Any] = {
        "campaign": name,
        "engine": campaign.spec.engine,
        "quantities": [],
        "uncertainty": [],
        "coverage": [],
    }
    overrides |= {**keys, "protocol": changed.model_dump(mode="json", exclude_none=True)}
    text = yaml.safe_dump(yaml.safe_load(campaign.text) | overrides, sort_keys=False, allow_unicode=True)
    whole = campaign.spec.model_dump(mode="json", exclude_none=True) | overrides
    return replace(campaign, spec=validate(CampaignFile, whole, f"campaign {name}"), protocol=changed, text=text)
