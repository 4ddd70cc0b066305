"""The adsorbate at the sites of a model: those by rule, and those of its own, checked and told where a rule has them.

An atom has one start on each site, a molecule one in each orientation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from ...analysis.energies.adsorption import ORIENTATION
from ...structures.errors import StructureError
from ...structures.geometry import FACES, OVERLAP
from ...structures.sites import DESORBED, same_place
from .. import start_structures

if TYPE_CHECKING:
    from ase import Atoms

    from ...structures.sites import Site
    from ..campaign.campaign_file import CampaignModel, OwnSite, StartHeights


@dataclass(frozen=True)
class Adsorbed:
    """What is put on sites.

    Attributes
    ----------
    name
        The element of an atom, or the formula of a molecule.
    orientations
        What is declared of a molecule in each orientation, by name; None of an atom.
    """

    name: str
    orientations: Mapping[str, Mapping[str, Any]] | None

    def on_face(
        self, site: str, height_a: float, own: tuple[str, Sequence[float]] | None = None
    ) -> dict[str, start_structures.Operation]:
        """Declare it on a site of a face; by the names of its starts."""
        if self.orientations is None:
            return {site: start_structures.adsorbate(self.name, site, height_a, own)}
        return {
            f"{site}{ORIENTATION}{name}": start_structures.on_site(declared, site, height_a, own)
            for name, declared in self.orientations.items()
        }

    def at(self, site: str, coordinates: str, point: Sequence[float]) -> dict[str, start_structures.Operation]:
        """Declare it at a point of the ideal host; by the names of its starts."""
        if self.orientations is None:
            return {site: start_structures.adsorbate_at(self.name, site, coordinates, point)}
        return {
            f"{site}{ORIENTATION}{name}": start_structures.molecule_at(declared, site, coordinates, point)
            for name, declared in self.orientations.items()
        }


def own_operations(
    model: CampaignModel, ideal: start_structures.Host, adsorbed: Adsorbed
) -> dict[str, start_structures.Operation]:
    """Declare the adsorbate at each of a model's own sites, by the names of its starts.

    Raises
    ------
    StructureError
        If a point lies outside of the sheet and its surroundings, too near to an atom, or within the host of a
        molecule.
    """
    found: dict[str, start_structures.Operation] = {}
    for name, site in model.own_sites.items():
        operations = _declared(name, site, adsorbed)
        for operation in operations.values():
            _check(ideal, operation, f"own_sites: {name}")
        found |= operations
    return found


def _declared(name: str, site: OwnSite, adsorbed: Adsorbed) -> dict[str, start_structures.Operation]:
    if site.point is not None:
        return adsorbed.at(name, *site.point)
    assert site.at is not None  # one of the three is given
    assert site.face is not None
    assert site.height_a is not None
    return adsorbed.on_face(name, site.height_a, (site.face, site.at))


def _check(ideal: start_structures.Host, operation: start_structures.Operation, where: str) -> None:
    if "at" in operation and ideal.periodic:
        raise StructureError(
            f"{where}: a stack that is periodic along c has no faces; give fractional or cartesian_a."
        )
    if "fractional" in operation and not ideal.periodic and not 0 <= operation["fractional"][2] <= 1:
        raise StructureError(
            f"{where}: {operation['fractional'][2]:g} along c is outside of the cell of the sheet and its vacuum; "
            "give 0 to 1."
        )
    site = ideal.site(operation)
    height = operation.get("height_a", site.height_a)
    if site.face in FACES and height > DESORBED:
        raise StructureError(
            f"{where}: lies {height:.2f} Å above the {site.face} face (in the cell of the ideal host, "
            f"{ideal.pristine.cell[2, 2]:.2f} Å high), and nothing binds further than {DESORBED:g} Å away."
        )
    if operation["op"] == "molecule":  # lifted until it has room
        if site.face not in FACES:
            raise StructureError(f"{where}: lies within the host, and a molecule is put on faces alone.")
        return
    words = too_near(start_structures.placed(ideal, ideal.atoms, operation))
    if words is not None:
        raise StructureError(f"{where}: {words}; give a point with more room.")


def too_near(atoms: Atoms) -> str | None:
    """Say which atom the last one overlaps with; None if there is none."""
    own = len(atoms) - 1
    distances = atoms.get_distances(own, range(own), mic=True)
    # In a cell so small that an atom has several images near, the nearest counts, which minimum images are.
    radii = covalent_radii[atoms.numbers[:own]] + covalent_radii[atomic_numbers[atoms.symbols[own]]]
    worst = int(np.argmin(distances / radii))
    if distances[worst] >= OVERLAP * radii[worst]:
        return None
    return f"{atoms.symbols[own]} would be {distances[worst]:.2f} Å from {atoms.symbols[worst]} {worst}"


def told_duplicates(ideal: start_structures.Host, sites: Mapping[str, start_structures.Operation]) -> Iterator[str]:
    """Say which own sites are by symmetry a site that a rule gives, or one another."""
    earlier: dict[str, Site] = dict(ideal.named_sites) if sites else {}
    for name, operation in {one["site"]: one for one in sites.values()}.items():
        site = ideal.site(operation)
        same = [other for other, place in earlier.items() if _same(ideal, place, site)]
        if same:
            yield f"own_sites: {name} is by symmetry {same[0]}, but for its start"
        earlier[name] = site


def told_of_coverage(ideal: start_structures.Host, names: Iterable[str]) -> Iterator[str]:
    """Say which of a host's sites take no part in coverages."""
    apart = [name for name in names if name in ideal.bridges or name in ideal.galleries]
    if apart:
        yield f"coverage: {', '.join(apart)} takes no part; ions are distributed over the sites of faces"


def _same(ideal: start_structures.Host, first: Site, second: Site) -> bool:
    if (first.face in FACES) != (second.face in FACES):
        return False
    if first.face in FACES:
        return same_place(ideal.pristine, ideal.defects, first, second)
    return ideal.inner.same(first, second)


def operations_at(
    ideal: start_structures.Host, sites: Sequence[Site], heights: StartHeights, adsorbed: Adsorbed, listed: bool
) -> tuple[dict[str, start_structures.Operation], list[str]]:
    """Declare the adsorbate at sites that rules give, and say which of them have no room for it.

    A molecule is put on faces alone.

    Parameters
    ----------
    ideal, sites, heights, adsorbed
        The host, some of its sites, the heights of starts on faces, and what is adsorbed.
    listed
        Whether a campaign lists these sites by name: what has no room is then refused, and left out otherwise.

    Raises
    ------
    StructureError
        If a listed site has no room, or is none for a molecule.
    """
    operations: dict[str, start_structures.Operation] = {}
    told = []
    for site in sites:
        if site.face in FACES:
            operations |= adsorbed.on_face(site.name, heights.of(site.kind))
            continue
        if adsorbed.orientations is not None:
            reason = f"lies between sheets, and {adsorbed.name}, a molecule, is put on faces alone"
            if listed:
                raise StructureError(f"sites: {site.name} {reason}; leave it out.")
            told.append(f"{site.name} {reason}; left out")
            continue
        operation = start_structures.inner_adsorbate(adsorbed.name, site.name)
        words = too_near(start_structures.placed(ideal, ideal.atoms, operation))
        if words is None:
            operations[site.name] = operation
        elif listed:
            raise StructureError(f"sites: {site.name} has no room: {words}; leave it out, or raise interlayer_a.")
        else:
            told.append(f"{site.name} has no room: {words}; left out")
    return operations, told
