"""Structure operations: declared values on named parents, and the atoms that follow from them.

An operation is a mapping of plain values with its name in ``op`` and its own recipe version; it enters the id of
its calculation. Its atoms are computed on demand and never enter an id.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..analysis.energies.adsorption import DESORBED
from ..analysis.energies.coverage import TWO_AT_ONE
from ..analysis.records import digest
from ..structures.elemental import Elemental, metal
from ..structures.geometry import FACES, bond_reach
from ..structures.host_names import vacancies_label
from ..structures.inner_sites import WITHIN, InnerSites
from ..structures.ion_points import IonPoints, Place, ion_points
from ..structures.molecules import Molecule, MoleculeStart, place_molecule, reached_site
from ..structures.monolayers import Monolayer, box, build_monolayer
from ..structures.paths import BETWEEN, Hop, PathEnds, Paths
from ..structures.placed_ions import place_ions, reached_ions
from ..structures.site_candidates import BRIDGE
from ..structures.sites import (
    EndSite,
    Site,
    bridge_sites,
    end_site,
    find_sites,
    own_site,
    place,
    point_over,
    same_place,
)
from ..structures.sites_of_cells import Surroundings, surroundings
from ..structures.slabs import Slab, build_slab
from ..structures.stacks import Stack, build_stack
from ..structures.symmetry import find_symmetry
from ..structures.vacancies import Defect, apply_defects, distinct_pairs, distinct_vacancies, nearest_group
from .calculation import Calculation, without_nulls

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

Operation = Mapping[str, Any]
Part = Literal["all", "host", "adsorbate"]

RECIPES: Mapping[str, int] = {
    "host": 1,
    "adsorbate": 1,
    "molecule": 1,
    "gas": 1,
    "ions": 1,
    "geometry": 1,
    "chosen": 1,
    "atom": 1,
    "bulk": 1,
    "elemental": 1,
    "none": 1,
}
"""Version of each operation's meaning, raised when a fix changes the atoms that the same values give."""

_SEED = 20230101
"""Seed of the displacements that break the symmetry of a clean vacancy; part of the host recipe."""

_AROUND_A = 4.0
"""Atoms this near to an adsorbate are displaced with it in its further starts."""

_DISPLACEMENT_A = 0.05
"""Standard deviation of these displacements: enough to leave a saddle, too little to leave a site."""

COORDINATES = ("fractional", "cartesian_a")
"""Keys of a point in the cell of the ideal host."""

_OF_LAYER = ("metal", "top", "bottom")

ON_SITE = frozenset({"adsorbate", "molecule"})
"""Operations that put an adsorbate, an atom or a molecule, on one site of a host; its atoms are the last."""


def _operation(name: str, **values: Any) -> Operation:
    return {"op": name, "recipe": RECIPES[name], **values}


def host(
    origin: Monolayer | Slab | Stack,
    repeat: tuple[int, int],
    defects: Sequence[Defect],
    vacuum_a: float,
    headroom_a: float,
    symmetry_breaking_a: float,
) -> Operation:
    """Declare a host: n×m cells of a monolayer, a stack or a user's slab, with defects, in a cell with vacuum.

    Parameters
    ----------
    origin
        The monolayer, stack or slab to repeat.
    repeat
        In-plane repeats.
    defects
        Atoms removed or replaced.
    vacuum_a, headroom_a
        The height of the cell is the sum of the ideal thickness, ``headroom_a`` for the highest start of an
        adsorbate, and ``vacuum_a`` (Å); a stack that is periodic along c has neither.
    symmetry_breaking_a
        Standard deviation (Å) of start displacements; only a host with defects has them.
    """
    if isinstance(origin, Monolayer):
        source: dict[str, Any] = {"layer": asdict(origin)}
    elif isinstance(origin, Stack):
        order = {"order": origin.order, "layers": origin.layers, "distance_a": float(origin.distance_a)}
        source = {"layer": asdict(origin.layer), "stack": order}
    else:
        source = {"slab": {"symbols": origin.symbols, "cell": origin.cell, "positions": origin.positions}}
    boxed = not (isinstance(origin, Stack) and origin.periodic)
    return _operation(
        "host",
        **source,
        repeat=list(repeat),
        defects=[
            [d.element, d.index, d.replacement, *([d.mixed] if d.mixed else [])]
            for d in sorted(defects, key=lambda d: d.index)
        ],
        vacuum_a=float(vacuum_a) if boxed else None,
        headroom_a=float(headroom_a) if boxed else None,
        symmetry_breaking_a=float(symmetry_breaking_a) if defects else None,
    )


def adsorbate(element: str, site: str, height_a: float, own: tuple[str, Sequence[float]] | None = None) -> Operation:
    """Declare an adsorbate at a named site of the parent ``host``; of one that no rule gives, its face and point."""
    return _operation("adsorbate", element=element, site=site, height_a=float(height_a), **_own(own))


def molecule(
    content: Molecule, anchor: int | None, unpaired_electrons: int, orientation: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return what is declared of a molecule wherever it is adsorbed: see `on_site`."""
    return {
        "symbols": list(content.symbols),
        "positions": [list(position) for position in content.positions],
        "anchor": anchor,
        "unpaired_electrons": unpaired_electrons,
        "orientation": dict(orientation),
    }


def on_site(
    declared: Mapping[str, Any], site: str, height_a: float, own: tuple[str, Sequence[float]] | None = None
) -> Operation:
    """Declare a `molecule` at a site of the parent ``host``, as `adsorbate`; the height is the lowest one's."""
    return _operation("molecule", **declared, site=site, height_a=float(height_a), **_own(own))


def molecule_at(declared: Mapping[str, Any], site: str, coordinates: str, point: Sequence[float]) -> Operation:
    """Declare a `molecule` over a point of the ideal ``host``, as `adsorbate_at`; its lowest atom is that high."""
    return _operation("molecule", **declared, site=site, **{coordinates: [float(part) for part in point]})


def gas(content: Molecule, unpaired_electrons: int, box_a: Sequence[float], where: str) -> Operation:
    """Declare a free molecule in a box with three edges (Å).

    Raises
    ------
    StructureError
        If the box is too small; the message begins with ``where``.
    """
    content.in_box(box_a, where)
    return _operation(
        "gas",
        symbols=list(content.symbols),
        positions=[list(position) for position in content.positions],
        unpaired_electrons=unpaired_electrons,
        box_a=[float(edge) for edge in box_a],
    )


def _own(own: tuple[str, Sequence[float]] | None) -> dict[str, Any]:
    return {} if own is None else {"face": own[0], "at": [float(part) for part in own[1]]}


def inner_adsorbate(element: str, site: str) -> Operation:
    """Declare an adsorbate at a named site between two sheets of the parent ``host``."""
    return _operation("adsorbate", element=element, site=site)


def adsorbate_at(element: str, site: str, coordinates: str, point: Sequence[float]) -> Operation:
    """Declare an adsorbate at a point of the ideal ``host``: ``fractional`` of its cell, or ``cartesian_a`` (Å)."""
    return _operation("adsorbate", element=element, site=site, **{coordinates: [float(part) for part in point]})


def another_start(operation: Operation, start: int) -> Operation:
    """Declare the start number ``start`` (2, 3, …) of an adsorbate at its site.

    The adsorbate and the host's atoms around it are displaced at random, and every second of these starts, from the
    third, has other start moments: that of the adsorbate reversed, or none at all on a host without moments.
    """
    return {**operation, "start": start}


def ions(
    element: str,
    places: Sequence[Place],
    heights_a: Mapping[str, float],
    second: Sequence[Place] = (),
    spacing_a: float | None = None,
) -> Operation:
    """Declare several ions of an element on points of the parent ``host``.

    Parameters
    ----------
    element
        Of all ions.
    places
        The points of those on the sheet: the name of a site, and its number among the points of that site.
    heights_a
        Height above the face at the start (Å) of each of these sites.
    second
        The points above which an ion lies on those of a full first layer.
    spacing_a
        How far such an ion starts from the nearest one below, Å.
    """
    values = {"second": [list(place) for place in second], "spacing_a": spacing_a} if second else {}
    used = {site: float(heights_a[site]) for site in dict.fromkeys(site for site, _ in places)}
    return _operation("ions", element=element, places=[list(p) for p in places], heights_a=used, **values)


def name_of_ions(element: str, repeat: Sequence[int], places: Sequence[Place], second: Sequence[Place] = ()) -> str:
    """Return the name of ions on points of a host in a cell, ``4Na-3fa2c1``, that follows from these alone."""
    points = [list(repeat), [list(place) for place in places], [list(place) for place in second]]
    return f"{len(places) + len(second)}{element}-{digest(points)[:6]}"


def geometry(extra_vacuum_a: float | None = None) -> Operation:
    """Declare the final geometry of the parent ``geometry``; with more vacuum (Å) along c, in the middle of it."""
    return _operation("geometry") if extra_vacuum_a is None else _operation("geometry", extra_vacuum_a=extra_vacuum_a)


def along(path: str, images: int, modes: bool) -> Operation:
    """Declare a path from the final geometry of the parent ``geometry`` to that of the parent ``end``.

    Parameters
    ----------
    path
        Its name among the paths of the host, or of the two sites.
    images
        Number of images between the ends.
    modes
        Whether the modes of the adsorbate and its neighbours are computed too.
    """
    return _operation("geometry", path=path, images=images, modes=modes or None)


def chosen(part: Part) -> Operation:
    """Declare the geometry that the parent ``lowest`` chose, or only its host, or only its adsorbate.

    The atoms keep their positions from the joint relaxation, in the cell of the host.
    """
    return _operation("chosen", part=part)


def vibrating(around_a: float | None, of_choice: bool) -> Operation:
    """Declare the final geometry of the parent ``geometry``, or that which ``lowest`` chose, where atoms vibrate.

    Parameters
    ----------
    around_a
        Atoms nearer to the adsorbate than this (Å) vibrate with it; None for the adsorbate alone.
    of_choice
        Whether it is the geometry that was chosen.
    """
    radius = None if around_a is None else float(around_a)
    if of_choice:
        return _operation("chosen", part="all", around_a=radius)
    return _operation("geometry", around_a=radius)


def atom(element: str, box_a: Sequence[float]) -> Operation:
    """Declare an isolated atom in a box with three edges (Å)."""
    return _operation("atom", element=element, box_a=[float(edge) for edge in box_a])


def bulk(element: str, lattice: str, a: float, c: float | None = None) -> Operation:
    """Declare the primitive cell of a metal with conventional lattice constants (Å), ``c`` that of hcp alone."""
    values = {} if c is None else {"c": float(c)}
    return _operation("bulk", element=element, lattice=lattice, a=float(a), **values)


def elemental(solid_or_molecule: Elemental) -> Operation:
    """Declare the crystal or molecule of an element or a compound with all its coordinates."""
    return _operation("elemental", **asdict(solid_or_molecule))


def none() -> Operation:
    """Declare that a calculation has no structure of its own."""
    return _operation("none")


class Host:
    """The host that an operation declares: its ideal atoms, pristine and with defects, and its Na sites."""

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.defects = tuple(Defect(*values) for values in operation["defects"])

    @cached_property
    def pristine(self) -> Atoms:
        """Ideal host without its defects, in its cell."""
        repeat = tuple(self.operation["repeat"])
        if self.stack is not None:
            atoms = build_stack(self.stack, repeat)
            if self.stack.periodic:
                return atoms
        elif "layer" in self.operation:
            atoms = build_monolayer(Monolayer(**self.operation["layer"]), repeat)
        else:
            values = self.operation["slab"]
            slab = Slab(tuple(values["symbols"]), _tuples(values["cell"]), _tuples(values["positions"]))
            atoms = build_slab(slab, repeat)
        return box(atoms, self.operation["vacuum_a"], self.operation["headroom_a"])

    @cached_property
    def stack(self) -> Stack | None:
        """The stack that it repeats, if it is one."""
        values = self.operation.get("stack")
        if values is None:
            return None
        layer = Monolayer(**self.operation["layer"])
        return Stack(layer, values["order"], values.get("layers"), values["distance_a"])

    @property
    def periodic(self) -> bool:
        """Whether it repeats along c, so that it has no faces."""
        return self.stack is not None and self.stack.periodic

    @property
    def atoms(self) -> Atoms:
        """Ideal host with its defects."""
        return apply_defects(self.pristine, self.defects)

    @property
    def start(self) -> Atoms:
        """Start of a relaxation: with defects, displaced to break the symmetry."""
        atoms = self.atoms
        width = self.operation.get("symmetry_breaking_a")
        if width:
            atoms.rattle(width, seed=_SEED)
        return atoms

    @cached_property
    def sites(self) -> dict[str, Site]:
        """Symmetry-distinct adsorption sites of its faces by name, but for bridges."""
        if self.periodic:
            return {}
        return {site.name: site for site in find_sites(self.pristine, self.defects)}

    @cached_property
    def bridges(self) -> dict[str, Site]:
        """Symmetry-distinct bridges by name: sites for campaigns that name them."""
        if self.periodic:
            return {}
        return {site.name: site for site in bridge_sites(self.pristine, self.defects)}

    @property
    def sites_by_rule(self) -> dict[str, Site]:
        """Every site that a campaign has without a list: of its faces, and between its sheets."""
        return {**self.sites, **self.galleries}

    @property
    def named_sites(self) -> dict[str, Site]:
        """Every site that a campaign may name."""
        return {**self.sites_by_rule, **self.bridges}

    def named_site(self, name: str) -> Site:
        """Return one of `named_sites`; bridges, which take as long as all others, are found for their names alone."""
        by_rule = self.sites_by_rule
        return by_rule[name] if name in by_rule else self.bridges[name]

    @cached_property
    def inner(self) -> InnerSites:
        """Its sites between sheets, and points within it."""
        return InnerSites(self.pristine, self.defects)

    @property
    def galleries(self) -> dict[str, Site]:
        """Symmetry-distinct sites between its sheets by name; a monolayer has none."""
        return {} if "layer" in self.operation and self.stack is None else self.inner.sites

    @cached_property
    def points(self) -> IonPoints:
        """Every point of these sites."""
        return ion_points(self.pristine, self.defects, tuple(self.sites.values()))

    def site(self, operation: Operation) -> Site:
        """Return the site of an adsorbate."""
        for coordinates in COORDINATES:
            if coordinates in operation:
                return self.own_site(operation["site"], coordinates, operation[coordinates])
        if "at" not in operation:
            return self.named_site(operation["site"])
        first, second = operation["at"]
        return own_site(self.pristine, self.defects, operation["site"], operation["face"], (first, second))

    def own_site(self, name: str, coordinates: str, point: Sequence[float]) -> Site:
        """Make a site of a point: above a face where it lies beyond its outermost layer, or else within the host."""
        position = np.array(point, dtype=np.float64)
        if coordinates == "fractional":
            position = position @ np.asarray(self.pristine.cell)
        outside = None if self.periodic else point_over(self.pristine, self.defects, name, position)
        return self.inner.own(name, position) if outside is None else outside

    @property
    def roles(self) -> list[str]:
        """Role of each atom in the start moments: ``next_to_defect`` if it is bonded to a defect, else ``other``."""
        pristine = self.pristine
        removed = {d.index for d in self.defects if d.replacement is None}
        near: set[int] = set()
        for defect in self.defects:
            reach = bond_reach(pristine.numbers[defect.index], pristine.numbers)
            near |= set((pristine.get_distances(defect.index, range(len(pristine)), mic=True) < reach).nonzero()[0])
        return ["next_to_defect" if i in near else "other" for i in range(len(pristine)) if i not in removed]

    @cached_property
    def surroundings(self) -> dict[str, Surroundings]:
        """Surroundings of each site, by which it is found in another cell."""
        return surroundings(self.atoms, [role == "next_to_defect" for role in self.roles], self.named_sites)

    @cached_property
    def paths(self) -> Paths:
        """Paths between its sites, but for bridges."""
        return Paths(self.pristine, self.defects, tuple(self.sites.values()))

    def paths_with(self, others: Sequence[Site]) -> Paths:
        """Return the paths between its sites and others: bridges, and the campaign's own."""
        return Paths(self.pristine, self.defects, (*self.sites.values(), *others)) if others else self.paths

    def others(self, operations: Sequence[Operation]) -> list[Site]:
        """Return, of adsorbates on sites, those sites that `paths` do not know: bridges and the campaign's own."""
        return [site for site in map(self.site, operations) if site.name not in self.sites]

    @property
    def label(self) -> str:
        """Name that follows from the operation alone: ``WSSe+VS``, ``WSSe+VS+VSe@4.58``, ``MoS2+V_S5``."""
        if "layer" in self.operation:
            name = Monolayer(**self.operation["layer"]).formula
            name += "" if self.stack is None else f"-{self.stack.words}"
        else:
            from ase.formula import Formula

            name = Formula.from_list(list(self.operation["slab"]["symbols"])).reduce()[0].format("metal")
        return name + self.defects_label

    @property
    def defects_label(self) -> str:
        """The part of the label that tells the defects; empty for a clean host."""
        vacancies = [d.element for d in self.defects]
        if not self.defects:
            return ""
        if all(d.replacement is None and d.mixed is None for d in self.defects):
            if len(vacancies) > 2:
                counts = Counter(vacancies)
                if {defect.index for defect in self.defects} == set(nearest_group(self.pristine, counts)):
                    return vacancies_label(counts)
            elif (pair := self._pair_name(vacancies)) is not None:
                return "".join(f"+V{element}" for element in vacancies) + (f"@{pair}" if pair else "")
        return "".join(
            f"+V_{d.present}{d.index}" if d.replacement is None else f"+{d.replacement}_{d.element}{d.index}"
            for d in self.defects
        )

    def _pair_name(self, vacancies: list[str]) -> str | None:
        """Return which of all vacancies of these elements the host has: a pair's name, or nothing for the usual one.

        None if its vacancies are none that a name chooses, so that only their indices tell.
        """
        indices = {defect.index for defect in self.defects}
        if len(vacancies) == 1:
            distinct = distinct_vacancies(self.pristine, vacancies[0])
            return "" if len(distinct) == 1 and {distinct[0].index} == indices else None
        pairs = distinct_pairs(self.pristine, vacancies[0], vacancies[1])
        names = [pair.name for pair in pairs if set(pair.indices) == indices]
        return None if not names else "" if set(pairs[0].indices) == indices else names[0]


def read_host(operation: Operation) -> Host:
    """Read a host operation; the same one again is not worked out twice, since finding sites takes a while."""
    return _read_host(json.dumps(without_nulls(operation)))


@lru_cache(maxsize=64)
def _read_host(text: str) -> Host:
    return Host(json.loads(text))


def _tuples(rows: Sequence[Sequence[float]]) -> Any:
    return tuple(tuple(row) for row in rows)


def _host_of(calculation: Calculation) -> Host:
    return read_host(calculation.structure)


def start_atoms(calculation: Calculation, parents: Mapping[str, Atoms]) -> Atoms | None:
    """Return the atoms that a calculation starts from.

    Parameters
    ----------
    calculation
        The calculation.
    parents
        Final geometries of its parents by role.

    Returns
    -------
    Atoms or None
        None for a calculation without a structure.
    """
    operation = calculation.structure
    match operation["op"]:
        case "host":
            return read_host(operation).start
        case "adsorbate" | "molecule":
            atoms = placed(_host_of(calculation.parents["host"]), parents["host"], operation)
            count = adsorbed_atoms(calculation)
            return _displaced(atoms, count, operation["start"]) if "start" in operation else atoms
        case "ions":
            points = _host_of(calculation.parents["host"]).points
            heights = {points.index(place): operation["heights_a"][place[0]] for place in operation["places"]}
            second = [points.index(place) for place in operation.get("second", ())]
            spacing = operation.get("spacing_a")
            return place_ions(parents["host"], points, heights, second, operation["element"], spacing)
        case "geometry":
            return _taller(parents["geometry"], operation.get("extra_vacuum_a", 0.0))
        case "chosen":
            return _part(calculation, parents["lowest"]) if "lowest" in parents else None
        case _:
            return _without_parents(calculation)


def _without_parents(calculation: Calculation) -> Atoms | None:
    """Return the atoms of a reference; None for a calculation without atoms."""
    operation = calculation.structure
    match operation["op"]:
        case "atom":
            return _isolated(operation["element"], operation["box_a"])
        case "gas":
            return _content(operation).in_box(operation["box_a"], calculation.label)
        case "bulk":
            return metal(operation["element"], operation["lattice"], operation["a"], operation.get("c"))
        case "elemental":
            return Elemental(*(tuple(operation[key]) for key in ("symbols", "cell", "positions"))).atoms()
        case _:
            return None


def placed(host: Host, atoms: Atoms, operation: Operation) -> Atoms:
    """Return a host's atoms, which may be relaxed, with an atom or a molecule as an operation declares it.

    Raises
    ------
    StructureError
        If it is a molecule and the site lies on no face, or if it comes too near to its own image.
    """
    site = host.site(operation)
    height = operation.get("height_a", site.height_a)
    if operation["op"] == "molecule":
        turned = operation["orientation"]
        return place_molecule(atoms, site, _content(operation), operation.get("anchor"), turned, height)
    if site.face not in FACES:
        return host.inner.place(atoms, site, operation["element"])
    return place(atoms, site, operation["element"], height)


def bridge_between(host: Host, hop: Hop) -> str | None:
    """Return the name of the bridge midway between the ends of a path on one face, if there is one."""
    start = host.named_sites.get(hop.start)
    if start is None or hop.across:
        return None
    u, v = (np.array(start.fractional) + hop.point) / 2
    middle = replace(start, fractional=(float(u), float(v)))
    same = (name for name, site in host.bridges.items() if same_place(host.pristine, host.defects, site, middle))
    return next(same, None)


def hop_of(paths: Paths, path: str) -> Hop:
    """Return a path of a host by its name, or the shortest one between the two sites that it names.

    Raises
    ------
    StructureError
        If the host has no such sites.
    """
    start, _, end = path.partition(BETWEEN)
    return paths.found.get(path) or paths.between(start, end)


def path_ends(calculation: Calculation, start: Atoms, end: Atoms) -> PathEnds:
    """Return the ends of a calculation's path from the final geometries of its two sites.

    Raises
    ------
    StructureError
        If both are in one place.
    """
    sites = [calculation.parents[role] for role in ("geometry", "end")]
    host = _host_of(sites[0].parents["host"])
    paths = host.paths_with(host.others([site.structure for site in sites]))
    return paths.ends(hop_of(paths, calculation.structure["path"]), start, end)


def _taller(atoms: Atoms, extra_a: float) -> Atoms:
    """Return a copy in a cell that is higher along c, moved by half of the difference."""
    copy: Atoms = atoms.copy()
    if extra_a:
        copy.cell[2, 2] += extra_a
        copy.positions[:, 2] += extra_a / 2
    return copy


def _content(operation: Operation) -> Molecule:
    return Molecule(tuple(operation["symbols"]), _tuples(operation["positions"]))


def _part(calculation: Calculation, atoms: Atoms) -> Atoms:
    """Return the part of a host with its adsorbate that a calculation at the chosen site has."""
    first = len(atoms) - adsorbed_atoms(_a_site_of(calculation.parents["lowest"]))
    part: Part = calculation.structure["part"]
    chosen_atoms: Atoms = atoms[{"all": slice(None), "host": slice(first), "adsorbate": slice(first, None)}[part]]
    return chosen_atoms


def adsorbed_atoms(calculation: Calculation) -> int:
    """Return how many atoms of a calculation on a site are the adsorbate's; these are the last."""
    return len(calculation.structure["symbols"]) if calculation.structure["op"] == "molecule" else 1


def _displaced(atoms: Atoms, count: int, start: int) -> Atoms:
    """Return atoms with the last ``count`` and those around them displaced at random, the same for the same start."""
    displaced: Atoms = atoms.copy()
    own = range(len(atoms) - count, len(atoms))
    near = np.min([atoms.get_distances(one, range(len(atoms)), mic=True) for one in own], axis=0) < _AROUND_A
    steps = np.random.default_rng(_SEED + start).normal(scale=_DISPLACEMENT_A, size=(len(atoms), 3))
    displaced.positions[near] += steps[near]
    return displaced


def start_moments(calculation: Calculation, natoms: int) -> list[float] | None:
    """Return the start moment of each atom in μB, or None if the protocol has none for this engine."""
    given = calculation.protocol.get("start_moments_mub")
    if given is None:
        return None
    by_element = given.get("elements") or {}
    roles = _roles(calculation, natoms)
    own = symbols(calculation) if by_element else [""] * len(roles)
    moments = [
        float(given[role] if role == "adsorbate" else by_element.get(symbol, given[role]))
        for role, symbol in zip(roles, own, strict=True)
    ]
    if not _has_other_moments(calculation.structure.get("start", 1)):
        return moments
    return _other_moments(moments, adsorbed_atoms(calculation))


def _has_other_moments(start: int) -> bool:
    return start > 1 and start % 2 == 1


def _other_moments(moments: Sequence[float], count: int) -> list[float]:
    """Return other start moments of a host with an adsorbate of some atoms, which are the last."""
    host, own = list(moments[:-count]), moments[-count:]
    return [*host, *(-moment for moment in own)] if any(host) else [0.0] * len(moments)


def host_elements(operation: Operation, parents: Mapping[str, Calculation]) -> set[str]:
    """Return the elements of a calculation's atoms but for an adsorbate; nothing for an isolated atom."""
    match operation["op"]:
        case "host":
            layer = operation.get("layer")
            own = set(operation["slab"]["symbols"]) if layer is None else {layer[key] for key in _OF_LAYER}
            return own | {defect[2] for defect in operation["defects"] if defect[2] is not None}
        case "adsorbate" | "molecule" | "ions":
            return host_elements(parents["host"].structure, parents["host"].parents)
        case "geometry":
            return host_elements(parents["geometry"].structure, parents["geometry"].parents)
        case "chosen":
            host = parents["lowest"].parents["host"]
            return set() if operation["part"] == "adsorbate" else host_elements(host.structure, host.parents)
        case "bulk":
            return {operation["element"]}
        case "elemental":
            return set(operation["symbols"])
        case _:
            return set()


def adsorbed(operation: Operation, parents: Mapping[str, Calculation]) -> Operation | None:
    """Return the operation that names a calculation's adsorbate, alone or on a host; None if it has none."""
    match operation["op"]:
        case "adsorbate" | "molecule" | "ions" | "atom" | "gas":
            return operation
        case "geometry":
            return adsorbed(parents["geometry"].structure, parents["geometry"].parents)
        case "chosen" if operation["part"] != "host":
            return _a_site_of(parents["lowest"]).structure
        case _:
            return None


def _a_site_of(lowest: Calculation) -> Calculation:
    """Return one of the sites among which a choice is made; their atoms are the same."""
    return next(parent for parent in lowest.parents.values() if parent.structure["op"] in ON_SITE)


def next_to_defects(host: Calculation) -> list[int]:
    """Return the indices of the host's atoms that are bonded to a removed or replaced atom."""
    return [index for index, role in enumerate(_host_of(host).roles) if role == "next_to_defect"]


def sublattices(host: Calculation) -> list[int]:
    """Return a number for each atom of a host, the same for atoms that its pristine repeats exchange.

    A replaced atom has a number of its own.
    """
    found, cells = _host_of(host), host.structure["repeat"][0] * host.structure["repeat"][1]
    of_cell = len(found.pristine) // cells
    others = {defect.index: defect.replacement for defect in found.defects}
    kept = [index for index in range(len(found.pristine)) if index not in others or others[index] is not None]
    return [of_cell + index if index in others else index % of_cell for index in kept]


def without_defects(operation: Operation) -> Operation:
    """Return the host operation of the same cell without defects."""
    return {**operation, "defects": [], "symmetry_breaking_a": None}


def _roles(calculation: Calculation, natoms: int) -> list[str]:
    match calculation.structure["op"]:
        case "host":
            return _host_of(calculation).roles
        case "adsorbate" | "molecule" | "ions":
            roles = _host_of(calculation.parents["host"]).roles
            return [*roles, *["adsorbate"] * (natoms - len(roles))]
        case "geometry":
            return _roles(calculation.parents["geometry"], natoms)
        case "chosen":
            of_host = _host_of(calculation.parents["lowest"].parents["host"]).roles
            part, own = calculation.structure["part"], adsorbed_atoms(_a_site_of(calculation.parents["lowest"]))
            return [*(of_host if part != "adsorbate" else []), *(["adsorbate"] * own if part != "host" else [])]
        case "atom" | "gas":
            return ["adsorbate"] * natoms
        case _:
            return ["other"] * natoms


def _isolated(element: str, box_a: Sequence[float]) -> Atoms:
    from ase import Atoms

    return Atoms([element], positions=[[edge / 2 for edge in box_a]], cell=box_a, pbc=True)


def ideal_atoms(calculation: Calculation) -> Atoms | None:
    """Return the start of a calculation as if its parents had kept their own start geometries."""
    parents = {role: ideal_atoms(parent) for role, parent in calculation.parents.items()}
    return start_atoms(calculation, {role: atoms for role, atoms in parents.items() if atoms is not None})


def elements(calculation: Calculation) -> list[str]:
    """Return the elements of a calculation's atoms, each once, in the order of the atoms."""
    return list(dict.fromkeys(symbols(calculation)))


def symbols(calculation: Calculation) -> list[str]:
    """Return the element of each of a calculation's atoms, in their order; nothing for one without atoms."""
    atoms = typical_atoms(calculation)
    return [] if atoms is None else list(atoms.get_chemical_symbols())


def typical_atoms(calculation: Calculation) -> Atoms | None:
    """Return `ideal_atoms`, and for a calculation at the chosen site those of any of the sites.

    These have its elements and its cell. None for a calculation without a structure.
    """
    if calculation.structure["op"] != "chosen":
        return ideal_atoms(calculation)
    atoms = ideal_atoms(_a_site_of(calculation.parents["lowest"]))
    return None if atoms is None else _part(calculation, atoms)


def turns(calculation: Calculation) -> list[NDArray[np.int64]]:
    """Return the rotations of fractions under which a calculation's start is the same: of an adsorbate's host, all.

    The identity is the first.
    """
    identity = np.eye(3, dtype=np.int64)
    if calculation.structure["op"] != "adsorbate":
        return [identity]
    symmetry = find_symmetry(_host_of(calculation.parents["host"]).atoms)
    found = {identity.tobytes(): identity}
    for rotation, flip in zip(symmetry.rotations, symmetry.flips, strict=True):
        turn = np.diag([0, 0, -1 if flip else 1])
        turn[:2, :2] = rotation.T
        found.setdefault(turn.tobytes(), turn)
    return list(found.values())


def site_reached(calculation: Calculation, final: Atoms) -> EndSite | None:
    """Return the site that a relaxed adsorbate reached, or None for a calculation without an adsorbate.

    Of several ions it is the name of their arrangement, that of the first of its orbit.
    """
    if calculation.structure["op"] == "ions":
        return _ions_reached(calculation, final)
    if calculation.structure["op"] not in ON_SITE:
        return None
    host = _host_of(calculation.parents["host"])
    operation = calculation.structure
    start = host.site(operation)
    if operation["op"] == "adsorbate":
        return _end(host, start, final)
    own = MoleculeStart(_content(operation), operation.get("anchor"), placed(host, host.atoms, operation))
    return reached_site(partial(_end, host, start), final, own)


def _end(host: Host, start: Site, final: Atoms) -> EndSite:
    """Name the site where the last atom ended, which was placed on another one."""
    if start.face not in FACES or host.galleries:
        inner = host.inner.end(final, start)
        if inner is not None or host.periodic:
            return inner or EndSite(WITHIN, True, None, start.name)
    # The middle of a path is told by its two ends, but to those who ask for the sites there.
    sites = {**host.sites, **(host.bridges if start.kind == BRIDGE else {})}
    sites |= {start.name: start} if start.face in FACES else {}
    return end_site(host.pristine, host.defects, tuple(sites.values()), final, start)


def _ions_reached(calculation: Calculation, final: Atoms) -> EndSite:
    operation, host = calculation.structure, _host_of(calculation.parents["host"])
    points, repeat, element = host.points, host.operation["repeat"], operation["element"]
    starts = [points.index(place) for place in (*operation["places"], *operation.get("second", ()))]
    count, before = len(starts), len(operation["places"])

    def name(first: Sequence[int], second: Sequence[int]) -> str:
        orbit = points.first_of_orbit(first, second)
        return name_of_ions(element, repeat, *([points.place(index) for index in one] for one in orbit))

    start, reached = name(starts[:before], starts[before:]), reached_ions(points, final, starts)
    notes = [f"{reached.between} of {count} ions lie between sites"] if reached.between else []
    notes += [f"{reached.crossed} of {count} ions went through"] if reached.crossed else []
    if reached.desorbed:
        notes.append(f"{reached.desorbed} of {count} ions left the sheet")
        return EndSite(DESORBED, True, "; ".join(notes), start)
    if not reached.on_points:
        return EndSite(TWO_AT_ONE, True, "; ".join(notes) or None, start)
    end = name(reached.first, reached.second)
    return EndSite(end, end != start, "; ".join(notes) or None, start)
