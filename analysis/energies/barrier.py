"""Barriers of an adsorbate's paths on one host, and the diffusion that follows: records in, numbers out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..campaign_entry import ModelEntry, QuantityEntry
from ..records import Record, Saddle
from .adsorption import named
from .comparability import ProtocolMismatch, check_method, check_parent, check_sampling
from .hopping import ASSUMED_HZ, BOLTZMANN_EV_PER_K, TEMPERATURE_K, Modes, diffusion_cm2_per_s, rate_hz


@dataclass(frozen=True)
class PathBarrier:
    """The barrier of one path.

    Attributes
    ----------
    path, start, end
        Its name, and those of its sites.
    forward_ev, backward_ev
        Energy of the saddle above the start, and above the end.
    between
        False if the energy rises all the way to one end, which is then the top.
    nearest_a
        Distance of the adsorbate at the saddle from the nearest atom of the host.
    attempt_hz, assumed
        Attempt frequency, and whether it is assumed or Vineyard's from modes.
    rate_hz
        ν exp(−E/kT) at 300 K, forward.
    imaginary_modes, imaginary_per_cm
        How many imaginary modes the saddle has, and the wavenumber of a single one; None without modes.
    records
        Ids behind it: saddle, start, end.
    over
        The bridge that lies midway between its sites, if one does.
    start_at, end_at
        Where the adsorbate lies that was relaxed at its start, and at its end; None where that is the site itself.
    same_as
        Another path that is this one, since sites of the two relaxed into one place; None for one of its own.
    """

    path: str
    start: str
    end: str
    forward_ev: float
    backward_ev: float
    between: bool
    nearest_a: float
    attempt_hz: float
    assumed: bool
    rate_hz: float
    imaginary_modes: int | None
    imaginary_per_cm: float | None
    records: tuple[str, ...]
    over: str | None = None
    start_at: str | None = None
    end_at: str | None = None
    same_as: str | None = None

    @property
    def places(self) -> tuple[str, str]:
        """Where its ends lie."""
        return self.start_at or self.start, self.end_at or self.end

    @property
    def moved(self) -> tuple[str, ...]:
        """Which of its sites ended elsewhere, and where, in words."""
        pairs = [(site, at) for site, at in ((self.start, self.start_at), (self.end, self.end_at)) if at is not None]
        return tuple(f"{site} ended {at if at.startswith('between ') else f'at {at}'}" for site, at in pairs)


_SAME_EV = 0.005
"""Barriers of one path that was found from two starts are closer than this."""

_SAME_A = 0.1
"""Distances of the adsorbate at its saddle are closer than this then."""


@dataclass(frozen=True)
class BarrierResult:
    """The barriers of one host.

    Attributes
    ----------
    paths
        Those that were found; one of them may be the same as another.
    barrier_path, barrier_ev
        The lowest way out of the site of lowest energy among their ends, and the energy of its saddle above that.
    diffusion_cm2_per_s
        Of the adsorbate alone on the sheet at 300 K, over the hops along these paths from the lowest site on.
    reasons
        What is missing, in words.
    """

    paths: tuple[PathBarrier, ...]
    barrier_path: str | None
    barrier_ev: float | None
    diffusion_cm2_per_s: float | None
    reasons: tuple[str, ...]


def barrier_result(
    model: ModelEntry, entry: QuantityEntry, records: Mapping[str, Record], missing: Callable[[str], str]
) -> BarrierResult:
    """Return the barriers of a host.

    Parameters
    ----------
    model, entry
        As stored: ``calculations`` by the names of paths, and ``declared`` with ``ends`` of each and the ``network``
        of hops of one cell.
    records
        Usable records by id.
    missing
        Says why a calculation has none.
    """
    sites = {site.name: site.calculation for site in model.sites}
    found, reasons = [], []
    for path, identifier in entry.calculations.items():
        start, end = entry.declared["ends"][path]
        behind = identifier, sites[start], sites[end]
        lacking = [one for one in behind if one not in records]
        if lacking:
            reasons.append(f"barrier {path}: {missing(lacking[0])}")
            continue
        record, *ends = (records[one] for one in behind)
        try:
            barrier = _barrier(path, (start, end), record, (ends[0], ends[1]))
            found.append(replace(barrier, over=entry.declared.get("over", {}).get(path)))
        except ProtocolMismatch as error:
            reasons.append(f"barrier {path}: {error}")
    found = mark_same(found)
    own = [path for path in found if path.same_as is None]
    energies = {name: records[sites[name]].energy_ev for path in own for name in (path.start, path.end)}
    lowest = min(energies, key=lambda name: (energies[name] or 0.0, name)) if energies else None
    ways = [(path.forward_ev, path.path) for path in own if path.start == lowest]
    ways += [(path.backward_ev, path.path) for path in own if path.end == lowest]
    barrier_ev, barrier_path = min(ways) if ways else (None, None)
    network = entry.declared.get("network")
    diffusion = None
    if network is not None and lowest is not None:
        diffusion, why = _diffusion(network, found, energies, lowest)
        reasons += [] if why is None else [why]
    return BarrierResult(tuple(found), barrier_path, barrier_ev, diffusion, tuple(reasons))


def _barrier(path: str, names: tuple[str, str], record: Record, ends: tuple[Record, Record]) -> PathBarrier:
    for role, end in zip(("geometry", "end"), ends, strict=True):
        check_parent(record, role, end)
        check_method(record, end)
        check_sampling(record, end)
    saddle = record.saddle or Saddle(between=True)
    forward, backward = ((record.energy_ev or 0.0) - (end.energy_ev or 0.0) for end in ends)
    modes = None if saddle.start_hz is None or saddle.saddle_hz is None else Modes(saddle.start_hz, saddle.saddle_hz)
    attempt = None if modes is None else modes.attempt_hz
    return PathBarrier(
        path=path,
        start=names[0],
        end=names[1],
        forward_ev=forward,
        backward_ev=backward,
        between=saddle.between,
        nearest_a=_nearest(record),
        attempt_hz=attempt or ASSUMED_HZ,
        assumed=attempt is None,
        rate_hz=rate_hz(forward, attempt or ASSUMED_HZ),
        imaginary_modes=None if modes is None else modes.imaginary,
        imaginary_per_cm=None if modes is None else modes.imaginary_per_cm,
        records=(record.calculation, ends[0].calculation, ends[1].calculation),
        start_at=_place(names[0], ends[0]),
        end_at=_place(names[1], ends[1]),
    )


def _place(name: str, end: Record) -> str | None:
    """Return where the adsorbate of a site lies, without notes; None where that is the site, or not known."""
    place = None if end.site is None else named(end.site.end, {})
    return None if place == name else place


def mark_same(found: Sequence[PathBarrier]) -> list[PathBarrier]:
    """Name in ``same_as`` the path of sites that stayed which one of a site that did not is."""
    own: list[PathBarrier] = []
    same: dict[str, str] = {}
    for path in sorted(found, key=lambda path: len(path.moved)):
        twin = next((other for other in own if path.moved and _is_one(path, other)), None)
        if twin is None:
            own.append(path)
        else:
            same[path.path] = twin.path
    return [replace(path, same_as=same.get(path.path)) for path in found]


def _is_one(path: PathBarrier, other: PathBarrier) -> bool:
    """Tell whether two paths lead over one saddle between the same places, in either direction."""
    heights = path.forward_ev, path.backward_ev
    ways = [(other.places, (other.forward_ev, other.backward_ev))]
    ways.append((other.places[::-1], (other.backward_ev, other.forward_ev)))
    return abs(path.nearest_a - other.nearest_a) < _SAME_A and any(
        path.places == places and np.allclose(heights, theirs, rtol=0.0, atol=_SAME_EV) for places, theirs in ways
    )


def _nearest(record: Record) -> float:
    assert record.geometry is not None  # a saddle has one
    atoms = record.geometry.atoms()
    return float(atoms.get_distances(len(atoms) - 1, range(len(atoms) - 1), mic=True).min())


def _diffusion(
    network: Mapping[str, Any], paths: Sequence[PathBarrier], energies: Mapping[str, float | None], lowest: str
) -> tuple[float | None, str | None]:
    """Return the diffusion coefficient around a site, or why there is none."""
    barriers = {path.path: path for path in paths}
    names: list[str] = network["sites"]
    if lowest not in names:
        return (
            None,
            f"diffusion: the lowest site, {lowest}, is one of own_sites or a bridge, where hops are not counted",
        )
    around = {names.index(lowest)}
    while grown := {end for start, end, *_ in network["hops"] if start in around} - around:
        around |= grown
    hops = [hop for hop in network["hops"] if hop[0] in around]
    lacking = sorted({hop[4] for hop in hops} - barriers.keys())
    if lacking:
        return None, f"diffusion: no barrier of {', '.join(lacking)}"
    thermal = BOLTZMANN_EV_PER_K * TEMPERATURE_K
    base = energies[lowest] or 0.0
    weights = {number: float(np.exp(-((energies[names[number]] or 0.0) - base) / thermal)) for number in around}
    jumps = []
    for start, end, x, y, name, forward in hops:
        path = barriers[name]
        height = path.forward_ev if forward else path.backward_ev
        jumps.append((start, end, x, y, rate_hz(height, path.attempt_hz)))
    found = diffusion_cm2_per_s(jumps, weights)
    return found, None if found is not None else "diffusion: the hops do not lead on from cell to cell"
