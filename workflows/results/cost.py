"""What calculations took, launch by launch, and what those that are to be done may take.

The launches of a calculation are in the attempts of a database or an archive; a record has the last one alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ...analysis.cost import CostModel, Estimate, Launches, Spent, Work, valence_electrons
from ...analysis.records import IMPORTED, Record
from ..calculation import UPON, Calculation
from ..database.documents import Documents
from ..engines.shared.grids import irreducible_kpoints, kpoint_mesh
from ..kinds import KINDS
from ..start_structures import typical_atoms

if TYPE_CHECKING:
    from ase import Atoms

_HAMILTONIAN = ("functional", "spin_orbit")
"""Protocol keys of which another value costs another multiple: a hybrid's records say nothing of a GGA's."""


def launches_of(documents: Documents, records: Mapping[str, Record]) -> dict[str, Launches]:
    """Return the launches behind current records, by calculation.

    Those of a superseded record are not counted, and nothing is known of runs that sodiate did not make: they are
    left out.
    """
    identifiers = [identifier for identifier, record in records.items() if not is_imported(record)]
    attempts: dict[str, list[Mapping[str, Any]]] = {identifier: [] for identifier in identifiers}
    for attempt in documents.attempts.find({"calculation": {"$in": identifiers}}).sort("started", 1):
        attempts[attempt["calculation"]].append(attempt)
    superseded = _last_finished(documents, {"calculation": {"$in": identifiers}, "state": "superseded"})
    return {
        identifier: _launches(records[identifier], attempts[identifier], superseded.get(identifier, ""))
        for identifier in identifiers
    }


def is_imported(record: Record) -> bool:
    """Tell whether a record is of a run that sodiate did not make."""
    return any(note.startswith(IMPORTED) for note in record.notes)


def _launches(record: Record, attempts: Sequence[Mapping[str, Any]], after: str) -> Launches:
    run = record.provenance
    own = [one for one in attempts if after < one["started"] <= run.finished and one["outcome"] != "running"]
    of_command = re.search(r"(?:^| )-{1,2}np?[ =](\d+)", run.command or "")
    usual = int(of_command[1]) if of_command else None
    if KINDS[record.kind].chooses:  # no code runs
        return Launches(run.wall_time_s, run.launches, 0, 0.0, None)
    if not own:  # an archive without attempts
        core_s = None if usual is None else run.wall_time_s * usual
        return Launches(run.wall_time_s, run.launches, run.launches - 1, core_s, usual)
    timed = [one for one in own if one.get("wall_time_s") is not None]
    said = [one["cores"] for one in own if one.get("cores")]
    usual = said[-1] if said else usual
    cores = [one.get("cores") or usual for one in timed]
    core_s = None
    if None not in cores:
        core_s = sum(float(one["wall_time_s"]) * (n or 1) for one, n in zip(timed, cores, strict=True))
    wall_s = sum(float(one["wall_time_s"]) for one in timed)
    return Launches(wall_s, len(own), len(own) - len(timed), core_s, usual)


_SINGLE_POINTS = ("static", "density")
"""Kinds that are one self-consistent density of a sheet: records of one say what the other takes."""


def _takes_no_code(calculation: Calculation) -> bool:
    return KINDS[calculation.kind].chooses or not calculation.parents.keys().isdisjoint(UPON)


def work_of(calculation: Calculation, cores: int | None = None) -> Work | None:
    """Return the size of a calculation, from what it declares; None of one that runs no code.

    Its atoms are those of its start, as if nothing relaxed.
    """
    work = _work_of(calculation)
    return work if work is None or cores is None else replace(work, cores=cores)


@lru_cache(maxsize=4096)
def _work_of(calculation: Calculation) -> Work | None:
    if _takes_no_code(calculation):
        return None
    atoms, protocol = typical_atoms(calculation), calculation.protocol
    if atoms is None or protocol.get("cutoff_ev") is None:
        return None
    method = [calculation.engine, *(str(protocol.get(key) or "") for key in _HAMILTONIAN)]
    group = "static" if calculation.kind in _SINGLE_POINTS else calculation.kind
    adsorbate = calculation.structure["op"] in ("adsorbate", "molecule", "ions")
    return Work(
        method=" ".join(filter(None, method)),
        group=f"{group}, adsorbate" if adsorbate else group,
        electrons=float(sum(valence_electrons(number) for number in atoms.numbers)),
        volume_a3=float(atoms.get_volume()),
        cutoff_ev=float(protocol["cutoff_ev"]),
        kpoints=_kpoints(atoms, protocol),
        spins=2 if protocol.get("spin_polarised") else 1,
    )


def _kpoints(atoms: Atoms, protocol: Mapping[str, Any]) -> int:
    """Return the number of irreducible k points, or of those on a path."""
    if protocol.get("band_points") is not None:
        return int(protocol["band_points"])
    given = protocol.get("kpoint_mesh")
    points = kpoint_mesh(atoms, protocol.get("kpoint_length_a") or 0.0) if given is None else given["points"]
    return irreducible_kpoints(atoms, points)


def spent(documents: Documents, methods: Collection[str]) -> dict[str, Spent]:
    """Return what the current records of some methods took, by calculation; none whose number of cores is unknown.

    Parameters
    ----------
    documents
        The database or archive.
    methods
        As in `Work`: the engine and the Hamiltonian.
    """
    if not methods:
        return {}
    engines = {method.split()[0] for method in methods}
    records = {
        identifier: record
        for identifier, record in documents.current().items()
        if record.engine in engines and record.physical and not KINDS[record.kind].chooses
    }
    graph = documents.graph(records)
    found = {}
    for identifier, launches in launches_of(documents, records).items():
        work = work_of(graph[identifier], launches.cores)
        if work is not None and work.method in methods and launches.core_s:
            found[identifier] = Spent(work, launches.core_s, records[identifier].provenance.host)
    return found


@dataclass(frozen=True)
class Share:
    """Calculations of one kind or class that are to be done.

    Attributes
    ----------
    name
        The kind or the class.
    count
        How many.
    estimate
        Of those of which records say something; None if they do of none.
    unknown
        How many the others are.
    """

    name: str
    count: int
    estimate: Estimate | None
    unknown: int


@dataclass(frozen=True)
class Outlook:
    """What calculations that are to be done may take.

    Attributes
    ----------
    methods
        Engines and Hamiltonians of the calculations.
    history
        What the records of these methods took, by calculation.
    models
        The fit to those of each method that has any.
    items
        The calculations that run a code, their sizes and estimates; None where the records say nothing.
    hosts
        The machines of the records.
    """

    methods: tuple[str, ...]
    history: Mapping[str, Spent]
    models: Mapping[str, CostModel]
    items: tuple[tuple[Calculation, Work | None, Estimate | None], ...]
    hosts: tuple[str, ...] = ()

    def shares(self, name_of: Callable[[Calculation], str]) -> list[Share]:
        """Return the calculations by a name that each has, such as its kind."""
        found: dict[str, list[Estimate | None]] = {}
        for calculation, _, estimate in self.items:
            found.setdefault(name_of(calculation), []).append(estimate)
        return [_share(name, estimates) for name, estimates in found.items()]

    @property
    def total(self) -> Share:
        """All calculations."""
        return _share("total", [estimate for _, _, estimate in self.items])

    @property
    def times_the_largest(self) -> float:
        """How many times the size of the largest record the largest of those with an estimate has; 0 without one."""
        ratios = [
            work.size / self.models[work.method].largest
            for _, work, estimate in self.items
            if work is not None and estimate is not None
        ]
        return max(ratios, default=0.0)

    @property
    def cores(self) -> tuple[int, int]:
        """The smallest and the largest number of cores of the records; only with a model."""
        ranges = [model.cores for model in self.models.values()]
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    @property
    def most_cores(self) -> int:
        """The largest number of cores that a calculation is to run on; 0 if none is known."""
        return max((work.cores or 0 for _, work, _ in self.items if work is not None), default=0)


def _share(name: str, estimates: Sequence[Estimate | None]) -> Share:
    known = [estimate for estimate in estimates if estimate is not None]
    total = Estimate.total(known) if known else None
    return Share(name, len(estimates), total, len(estimates) - len(known))


def methods_of(calculations: Iterable[Calculation]) -> tuple[str, ...]:
    """Return the methods of calculations that run a code, as in `Work`."""
    works = map(work_of, calculations)
    return tuple(dict.fromkeys(work.method for work in works if work is not None))


def outlook(
    documents: Documents | None, calculations: Sequence[Calculation], cores: Mapping[str, int] | None = None
) -> Outlook:
    """Return what calculations may take, by the records of the same method.

    Parameters
    ----------
    documents
        The database or archive; None without one.
    calculations
        Those to be done, of one engine.
    cores
        On how many each kind is to run; without, on as many as the records did.
    """
    methods = methods_of(calculations)
    return expected_of(calculations, {} if documents is None else spent(documents, methods), cores)


def expected_of(
    calculations: Sequence[Calculation], past: Mapping[str, Spent], cores: Mapping[str, int] | None = None
) -> Outlook:
    """Return what calculations may take, by what others took; of ``past`` (`spent`) those of the same method count.

    Parameters
    ----------
    calculations, cores
        As in `outlook`.
    past
        By calculation; of any methods.
    """
    works = [
        (calculation, work_of(calculation, (cores or {}).get(calculation.kind)))
        for calculation in calculations
        if not _takes_no_code(calculation)
    ]
    methods = methods_of(calculations)
    history = {identifier: one for identifier, one in past.items() if one.work.method in methods}
    by_method: dict[str, list[Spent]] = {}
    for one in history.values():
        by_method.setdefault(one.work.method, []).append(one)
    models = {method: CostModel(by_method[method]) for method in methods if method in by_method}

    def estimate(work: Work | None) -> Estimate | None:
        return None if work is None or work.method not in models else models[work.method].estimate(work)

    items = tuple((calculation, work, estimate(work)) for calculation, work in works)
    return Outlook(methods, history, models, items, tuple(sorted({one.host for one in history.values()})))


def started_s(documents: Documents, expected: Outlook) -> float:
    """Return wall time × cores of the launches that calculations to be done have had, where both are known, s."""
    identifiers = [calculation.id for calculation, _, _ in expected.items]
    finished = _last_finished(documents, {"calculation": {"$in": identifiers}})
    return sum(
        float(one.get("wall_time_s") or 0.0) * (one.get("cores") or 0)
        for one in documents.attempts.find({"calculation": {"$in": identifiers}})
        if one["started"] > finished.get(one["calculation"], "")
    )


def _last_finished(documents: Documents, query: Mapping[str, Any]) -> dict[str, str]:
    """Return when the last of some records was finished, by calculation."""
    found: dict[str, str] = {}
    for document in documents.records.find(query, {"calculation": 1, "provenance.finished": 1}):
        identifier, finished = document["calculation"], document["provenance"]["finished"]
        found[identifier] = max(finished, found.get(identifier, ""))
    return found


_LAST = 10
"""Launches that a rate is of."""


@dataclass(frozen=True)
class Pace:
    """The rate at which the last launches of a method worked: cores at work on average, while any was."""

    cores: float
    launches: int


def pace(documents: Documents, history: Mapping[str, Spent]) -> Pace | None:
    """Return the rate of the last launches behind some records; None if none says when it began and ended."""
    query = {"calculation": {"$in": list(history)}, "wall_time_s": {"$gt": 0}, "ended": {"$ne": None}}
    last = list(documents.attempts.find(query).sort("ended", -1).limit(_LAST))
    core_s = sum(
        float(one["wall_time_s"]) * (one.get("cores") or history[one["calculation"]].work.cores or 1) for one in last
    )
    ends = [datetime.fromisoformat(one["ended"]).timestamp() for one in last]
    spans = sorted((end - float(one["wall_time_s"]), end) for end, one in zip(ends, last, strict=True))
    busy_s, until = 0.0, 0.0
    for begin, end in spans:
        busy_s += max(0.0, end - max(begin, until))
        until = max(until, end)
    return Pace(core_s / busy_s, len(last)) if busy_s > 0 else None
