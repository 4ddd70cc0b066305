"""Barriers between neighbouring sites: the saddle of each distinct path, hopping rates and diffusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...analysis.arrays import ReactionPath
from ...analysis.columns import Column
from ...analysis.energies.barrier import BarrierResult, PathBarrier, barrier_result
from ...analysis.energies.hopping import TEMPERATURE_K
from ...analysis.energies.profile import Profile, profile_of
from ...analysis.records import MOCK
from ...analysis.report.content import Panel
from ...analysis.words import listed
from ...errors import SodiateError
from ...structures.errors import StructureError
from ...structures.geometry import FACES, Floats
from ..campaign.yaml import InputError, nearest
from ..start_structures import Host, along, bridge_between, read_host
from .base import Figure, HostPart, Number, PlannedHost, Quantity, QuantityContent, QuantityPlan, recorded

if TYPE_CHECKING:
    from ...analysis.model_result import HostRecords, ModelResult
    from ...structures.paths import Hop
    from ..database.documents import Documents
    from .declare import Declare


_BARRED = (
    "as a rule this dry engine bars the way through the sheet, whose atoms are pushed away; such a path then fails, "
    "and the rest goes on"
)


class Barrier(Quantity):
    """The saddle of each distinct path between sites that the campaign relaxes."""

    name = "barrier"
    of_atoms = "a path has the places of one atom at its ends, not how a molecule turns"
    kinds = frozenset({"path"})
    of_sites = True
    words = {"": "path between two sites"}
    columns = (
        Column("barrier_path", lambda r: r.barrier_path, page="easiest path", digits=None, only_with_values=True),
        Column(
            "barrier_ev",
            lambda r: r.barrier_ev,
            table="barrier (eV){mock}",
            page="barrier{mock} / eV",
            manuscript="barrier (eV)",
            only_with_values=True,
        ),
        Column("diffusion_cm2_per_s", lambda r: r.diffusion_cm2_per_s),
        Column("paths", lambda r: [asdict(path) for path in r.paths], digits=None, in_csv=None),
    )

    def plan(self, declare: Declare, hosts: Sequence[PlannedHost]) -> QuantityPlan:
        """Declare a path for each pair of neighbouring sites, or for those that the campaign names.

        Raises
        ------
        InputError
            If a named path has no sites, or sites of two hosts, or if no host has a path.
        """
        asked = declare.campaign.spec.barrier
        pairs = None if asked.paths is None else [_pair(declare, hosts, pair) for pair in asked.paths]
        parts, through = {}, []
        for host in hosts:
            ideal = read_host(host.calculation.structure)
            hops = _neighbours(ideal, host) if pairs is None else _named(declare, ideal, host, pairs)
            calculations = {
                hop.name: declare(
                    "path",
                    along(hop.name, asked.images, asked.modes),
                    {"geometry": host.sites[hop.start], "end": host.sites[hop.end]},
                    f"{host.calculation.label}/{hop.name}",
                    host.protocol,
                )
                for hop in hops
            }
            through += [f"{host.name}/{hop.name}" for hop in hops if hop.across]
            if calculations:
                names = {f"{host.name}/{name}": calculation for name, calculation in calculations.items()}
                parts[host.name] = HostPart(calculations, _declared(declare, ideal, host, hops), names=names)
        if not parts:
            raise InputError(
                f"{declare.where}: quantities: {self.name}: no two of the campaign's sites are neighbours on a face; "
                "add sites (sites: near-defect), or name pairs of them in barrier.paths."
            )
        barred = through and not declare.engine.physical
        return QuantityPlan({}, parts, (f"{listed(through)}: {_BARRED}",) if barred else ())

    def evaluate(self, host: HostRecords, results: Mapping[str, Any]) -> BarrierResult | None:
        """Evaluate the paths of one host; None for one without."""
        entry = host.model.quantities.get(self.name)
        return None if entry is None else barrier_result(host.model, entry, host.records, host.missing)

    def remarks(self, results: Sequence[ModelResult]) -> list[str]:
        """State each barrier with its rate, and the diffusion of each host."""
        lines = []
        for result in results:
            found: BarrierResult | None = result.quantities.get(self.name)
            mock = "" if result.physical else f", {MOCK}"
            for path in found.paths if found is not None else ():
                lines.append(f"{result.model}/{path.path}: {_words(path)}{mock if path.same_as is None else ''}")
            if found is not None and found.diffusion_cm2_per_s is not None:
                lines.append(
                    f"{result.model}: diffusion coefficient {found.diffusion_cm2_per_s:.1e} cm²/s at "
                    f"{TEMPERATURE_K:g} K (random walk along these paths from its lowest site){mock}"
                )
        return lines

    def draw(self, result: ModelResult, documents: Documents) -> QuantityContent:
        """Draw the energy along each path, and the paths on the map of the sites."""
        paths = _images(result, documents)
        if not paths:
            return QuantityContent()
        curves = []
        for name, path in paths.items():
            profile = profile_of(path)
            lines = {"mode": "lines", **_rounded(*profile.curve())}
            curves.append({"name": name, **lines, "points": _rounded(profile.lengths_a, profile.energies_ev)})
        words = f"Energy along the paths of {result.adsorbate} on {result.model}"
        # Forces are slopes of the free energy; barriers, as ΔE, are of the energy without smearing.
        caption = f"{words}: free energies of the images (points), and a cubic with the slopes of their forces."
        data = {"x": "length of the path / Å", "y": "energy above the start / eV", "curves": curves}
        tracks = {name: path.positions_a[:, -1] for name, path in paths.items()}
        return QuantityContent([], [Panel("curves-barrier", data, words, caption)], tracks=tracks)

    def figures(self, results: Sequence[ModelResult], documents: Documents) -> dict[str, Figure]:
        """Draw the energy along the paths, a panel for each host."""
        drawn: dict[str, dict[str, Profile]] = {}
        for result in results:
            paths = _images(result, documents)
            if paths:
                drawn[result.model] = {name: profile_of(path) for name, path in paths.items()}
        if not drawn:
            return {}
        from ...analysis.figures.profiles import path_profiles

        def draw(path: Path, mock: bool) -> None:
            path_profiles(drawn, path, mock)

        return {"barriers": draw}

    def methods(self, hosts: Sequence[HostRecords]) -> list[str]:
        """Say how saddles were found, and what rates assume."""
        records = recorded(hosts, self.name)
        if not records:
            return []
        assumed = any(record.saddle is None or record.saddle.saddle_hz is None for record in records)
        prefactor = "an assumed attempt frequency of 10 THz" if assumed else "Vineyard's prefactor"
        return [
            "Diffusion paths between neighbouring sites were nudged elastic bands with improved tangents "
            "[@Henkelman2000a] and a climbing image [@Henkelman2000b] between the relaxed sites, started from an "
            "image-dependent pair potential [@Smidstrup2014]; only the climbing image was converged to the criterion "
            f"of the relaxations. Rates are k = ν exp(−E/kT) at {TEMPERATURE_K:g} K with {prefactor}."
        ]

    def numbers(self, result: ModelResult) -> list[Number]:
        """Return the barriers of each path in both directions, and the diffusion coefficient."""
        found: BarrierResult | None = result.quantities.get(self.name)
        if found is None:
            return []
        numbers = []
        for path in (path for path in found.paths if path.same_as is None):
            numbers.append(Number(path.path, "forward_ev", path.forward_ev, path.records))
            numbers.append(Number(path.path, "backward_ev", path.backward_ev, path.records))
        if found.diffusion_cm2_per_s is not None:
            records = tuple(dict.fromkeys(record for path in found.paths for record in path.records))
            numbers.append(Number("", "diffusion_cm2_per_s", found.diffusion_cm2_per_s, records))
        return numbers


def _pair(declare: Declare, hosts: Sequence[PlannedHost], pair: tuple[str, str]) -> tuple[str | None, str, str]:
    """Return the host of a path that a campaign names, None for all of them, and its two sites."""
    where = f"{declare.where}: barrier.paths: {pair[0]} to {pair[1]}"
    names = [host.name for host in hosts]
    split = [text.rpartition("/") for text in pair]
    for named, _, _ in split:
        if named and named not in names:
            raise InputError(f"{where}: no model {named!r}{nearest(named, names)}; models: {', '.join(names)}.")
    (first, _, start), (second, _, end) = split
    if first and second and first != second:
        raise InputError(
            f"{where}: a path leads between two sites of one host, and these are of {first} and {second}; name two "
            "sites of one of them."
        )
    if start == end:
        raise InputError(f"{where}: a path needs two sites; between equivalent ones it goes over a third.")
    return first or second or None, start, end


def _neighbours(ideal: Host, host: PlannedHost) -> list[Hop]:
    """Return the distinct hops between sites that the campaign relaxes; along faces, of which a crystal has none."""
    if not ideal.sites:
        return []
    return [hop for hop in ideal.paths.found.values() if {hop.start, hop.end} <= host.sites.keys()]


def _named(
    declare: Declare, ideal: Host, host: PlannedHost, pairs: Sequence[tuple[str | None, str, str]]
) -> list[Hop]:
    """Return the paths of a host that the campaign names."""
    hops: dict[str, Hop] = {}
    for name, start, end in pairs:
        if name not in (None, host.name):
            continue
        unknown = [site for site in (start, end) if site not in host.sites]
        if unknown and name is None:
            continue
        try:
            if unknown:
                raise StructureError(
                    f"the campaign relaxes no site {unknown[0]!r} of it{nearest(unknown[0], host.sites)}; its sites: "
                    f"{', '.join(host.sites)}"
                )
            operations = [host.sites[site].structure for site in (start, end)]
            inner = [site.name for site in map(ideal.site, operations) if site.face not in FACES]
            if inner:
                raise StructureError(f"{inner[0]} lies between two sheets or within one, and paths lead along faces")
            hop = ideal.paths_with(ideal.others(operations)).between(start, end)
        except StructureError as error:
            raise InputError(
                f"{declare.where}: barrier.paths: {start} to {end}: model {host.name}: {error}."
            ) from None
        hops[hop.name] = hop
    return list(hops.values())


def _declared(declare: Declare, ideal: Host, host: PlannedHost, hops: Sequence[Hop]) -> dict[str, Any]:
    """Return the ends of paths, bridges between, and without defects all hops along them in the smallest cell."""
    ends = {hop.name: [hop.start, hop.end] for hop in hops}
    bridges = {hop.name: bridge_between(ideal, hop) for hop in hops}
    over = {name: bridge for name, bridge in bridges.items() if bridge is not None}
    if host.defects:
        return {"ends": ends, "over": over}
    cell = read_host(declare.primitive_host(host.origin))
    if cell.paths.found.keys() != ideal.paths.found.keys():
        return {"ends": ends, "over": over}
    network = cell.paths.network
    asked = [list(hop) for hop in network.hops if hop[4] in ends]
    return {"ends": ends, "over": over, "network": {"sites": list(network.sites), "hops": asked}}


def _words(path: PathBarrier) -> str:
    if path.same_as is not None:
        return f"{' and '.join(path.moved)}: this is {path.same_as}, which counts once"
    top = (
        ""
        if path.between
        else f", its top is {path.end if abs(path.backward_ev) < abs(path.forward_ev) else path.start} itself"
    )
    over = "" if path.over is None else f", over {path.over}"
    origin = "ν = 10 THz assumed" if path.assumed else f"ν = {path.attempt_hz / 1e12:.1f} THz from modes"
    mode = ""
    if path.imaginary_modes is not None:
        mode = f", {path.imaginary_modes} imaginary mode{'' if path.imaginary_modes == 1 else 's'}"
        mode += "" if path.imaginary_per_cm is None else f" ({path.imaginary_per_cm:.0f}i cm⁻¹)"
    return (
        f"barrier {path.forward_ev:z.3f} eV forward, {path.backward_ev:z.3f} eV back{over}{top}{mode}"
        f"{''.join(f', {words}' for words in path.moved)}; "
        f"{path.rate_hz:.1e} hops/s at {TEMPERATURE_K:g} K ({origin})"
    )


def _rounded(lengths_a: Floats, energies_ev: Floats) -> dict[str, list[float]]:
    return {"x": lengths_a.round(3).tolist(), "y": energies_ev.round(4).tolist()}


def _images(result: ModelResult, documents: Documents) -> dict[str, ReactionPath]:
    """Return the images of each path that was found, by its name, each path once."""
    found: BarrierResult | None = result.quantities.get(Barrier.name)
    paths: dict[str, ReactionPath] = {}
    for path in () if found is None else found.paths:
        if path.same_as is not None:
            continue
        try:
            array = documents.arrays(result.host.records[path.records[0]], "path")
        except SodiateError:  # damaged; the numbers stand in the record
            continue
        if isinstance(array, ReactionPath):
            paths[path.path] = array
    return paths
