"""A campaign in a series of supercells: the hosts that are the same in each cell, with the sites that all have.

Atoms and points that a campaign names by their number or fraction belong to one cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...structures.host_names import parse_model
from ...structures.sites_of_cells import SAME_A, Surroundings, apart
from ...structures.slabs import Slab
from .. import start_structures
from ..campaign.load import Campaign
from ..campaign.yaml import InputError
from .planner import plan
from .varied_campaign import energies_alone, sites_by_rule, some_hosts

if TYPE_CHECKING:
    from ..campaign.campaign_file import CampaignModel


def in_supercells(campaign: Campaign, repeats: Sequence[int]) -> tuple[list[Campaign], tuple[str, ...]]:
    """Return for each n the campaign of the hosts and sites that every n×n cell has.

    Parameters
    ----------
    campaign
        The campaign; none of its hosts has a supercell of its own.
    repeats
        Each n.

    Returns
    -------
    tuple
        For each n the campaign as it is to be put into n×n cells, sites chosen by name and atoms numbered as there;
        and a sentence for each host or site that is left out.

    Raises
    ------
    InputError
        If no host is left.
    """
    own = plan(campaign).hosts
    sites: dict[int, list[str]] = {}
    remarks: list[str] = []
    for position, model in enumerate(campaign.spec.models):
        wanted = sites_by_rule(own[position], model)
        sites[position], words = _shared_sites(campaign, position, wanted, repeats)
        remarks += [f"--supercell: {model.title}: {word}" for word in words]
    if not any(sites.values()):
        raise InputError(f"campaign {campaign.spec.campaign}: {'; '.join(remarks)}; no host remains.")
    campaigns = [
        some_hosts(
            campaign, {position: _keys(campaign, position, n, names) for position, names in sites.items() if names}
        )
        for n in repeats
    ]
    return campaigns, tuple(remarks)


def _shared_sites(
    campaign: Campaign, position: int, wanted: Sequence[str], repeats: Sequence[int]
) -> tuple[list[str], list[str]]:
    """Return the sites of a host that are the same in all cells, none if it is another host, and what is left out."""
    model = campaign.spec.models[position]
    if model.ordering is not None:
        return [], ["an ordering is of the atoms of one cell; left out"]
    if len(model.remove) + len(model.replace) > 1:
        return [], ["more than one atom is named by its number in one cell; left out"]
    words = ["own_sites are points of one cell; left out"] if model.own_sites else []
    found: list[dict[str, Surroundings]] = []
    for n in repeats:
        alone = some_hosts(campaign, {position: _keys(campaign, position, n, "all")})
        try:
            host = plan(energies_alone(alone, f"{n}", {}, {"supercell": [n, n]})).hosts[0]
        except InputError as error:
            reason = str(error).rpartition(f"model {model.title}: ")[2].rstrip(".")
            return [], [f"not in {n}×{n} ({reason}); left out"]
        found.append(start_structures.read_host(host.calculation.structure).surroundings)
    shared = [name for name in wanted if _is_one_site([sites.get(name) for sites in found])]
    lost = [name for name in wanted if name not in shared]
    if not wanted:
        return [], [*words, "no other site is left"]
    if lost:
        cells = ", ".join(f"{n}×{n}" for n in repeats)
        words.append(f"{', '.join(lost)} {'is' if len(lost) == 1 else 'are'} not the same in {cells}; left out")
    return shared, words


def _keys(campaign: Campaign, position: int, n: int, sites: Sequence[str]) -> dict[str, Any]:
    """Return the changed keys of a host in an n×n cell."""
    return {**_renumbered(campaign, campaign.spec.models[position], n), "own_sites": None, "sites": sites}


def _is_one_site(surroundings: Sequence[Surroundings | None]) -> bool:
    """Tell whether each cell has a site, and with the same surroundings."""
    known = [distances for distances in surroundings if distances is not None]
    return len(known) == len(surroundings) and all(apart(known[0], distances) < SAME_A for distances in known)


def _renumbered(campaign: Campaign, model: CampaignModel, n: int) -> dict[str, Any]:
    """Return the keys for an atom that is removed or replaced, by a number that the n×n cell has.

    Supercells are numbered cell by cell, so that it is the same atom of another cell of the repeats.
    """
    atoms = _atoms_of_cell(campaign, model)
    numbers = {text: int(text.partition("@")[2]) for text in (*model.remove, *model.replace)}
    if all(number < n**2 * atoms for number in numbers.values()):
        return {}
    names = {text: f"{text.partition('@')[0]}@{number % atoms}" for text, number in numbers.items()}
    return {
        "remove": [names[text] for text in model.remove],
        "replace": {names[text]: element for text, element in model.replace.items()},
    }


def _atoms_of_cell(campaign: Campaign, model: CampaignModel) -> int:
    if model.file is not None:
        return len(campaign.slabs[model.file].symbols)
    origin = campaign.sheet(parse_model(model.model or "")[0])
    return len(origin.symbols) if isinstance(origin, Slab) else 3
