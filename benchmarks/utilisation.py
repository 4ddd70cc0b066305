"""How well a machine is used: campaigns of the archive, launched in simulation as `sodiate run` and a queue would.

    python benchmarks/utilisation.py

The calculation times are those of docs/reproduction (wall time × cores of all launches of a record); what has no
record there is estimated by the same fit as `sodiate plan` shows. The rules are the code of the pool
(sodiate.workflows.launch.schedule); only time passes faster. On n ranks a calculation of p k points × spins takes its
time on one core times the share of the fullest rank, ceil(p/n)/p. A cluster's nodes each take one calculation at a
time, on as many of their cores as it can use.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sodiate.workflows.engines import engine_of
from sodiate.workflows.engines.base import Demand, Settings
from sodiate.workflows.launch.schedule import Room, starts, tasks_of
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.cost import outlook, spent
from sodiate.workflows.results.results import Results

ARCHIVE = Path(__file__).resolve().parents[1] / "docs" / "reproduction"

GB = 1 << 30


@dataclass(frozen=True)
class Span:
    """A calculation that ran: when, and on how many ranks."""

    calculation: str
    ranks: int
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Run:
    """What a simulation gave: the spans, on so many cores, and the least time that any order needs."""

    spans: tuple[Span, ...]
    cores: int
    bound_s: float

    @property
    def end_s(self) -> float:
        return max(span.end_s for span in self.spans)

    @property
    def utilisation(self) -> float:
        """The share of all cores' time in which they belonged to a calculation."""
        return sum(span.ranks * (span.end_s - span.begin_s) for span in self.spans) / (self.cores * self.end_s)


def wall_s(core_s: float, demand: Demand, ranks: int) -> float:
    """Return how long a calculation takes on some ranks: as long as the fullest of them works."""
    pieces = (demand.ranks or (1,))[-1]
    return core_s * -(-pieces // ranks) / pieces


def simulate(
    demands: Mapping[str, Demand],
    core_s: Mapping[str, float],
    parents: Mapping[str, Iterable[str]],
    cores: int,
    memory_bytes: float = float("inf"),
) -> Run:
    """Run calculations on a machine by the rules of the pool."""
    tasks = tasks_of(demands, core_s, parents)
    waiting = {key: {parent for parent in parents[key] if parent in demands} for key in demands}
    running: list[tuple[float, str, int]] = []
    spans: list[Span] = []
    now, free, memory, left = 0.0, cores, memory_bytes, sum(core_s.values())
    begun: set[str] = set()
    while len(begun) < len(demands) or running:
        ready = [key for key in demands if key not in begun and not waiting[key]]
        room = Room(free, cores, memory, len(demands))
        for start in starts(ready, tasks, left, room, idle=not running):
            end = now + wall_s(core_s[start.calculation], demands[start.calculation], start.ranks)
            heapq.heappush(running, (end, start.calculation, start.ranks))
            spans.append(Span(start.calculation, start.ranks, now, end))
            begun.add(start.calculation)
            free -= start.ranks
            memory -= demands[start.calculation].bytes_on(start.ranks)
        now, done, ranks = heapq.heappop(running)
        free += ranks
        memory += demands[done].bytes_on(ranks)
        left -= core_s[done]
        for above in waiting.values():
            above.discard(done)
    fastest = {key: wall_s(core_s[key], demands[key], tasks[key].ranks(cores)[-1]) for key in demands}
    path = tasks_of(demands, fastest, parents)
    bound = max(sum(core_s.values()) / cores, max(task.path_core_s for task in path.values()))
    return Run(tuple(spans), cores, bound)


@dataclass(frozen=True)
class Load:
    """What is to be done: demands, times on one core and parents, by calculation."""

    demands: dict[str, Demand]
    core_s: dict[str, float]
    parents: dict[str, list[str]]

    def times(self, copies: int) -> Load:
        """Return as many campaigns that share nothing, such as other hosts or another metal."""
        names = [f"-{number}" for number in range(copies)]
        return Load(
            {key + name: demand for name in names for key, demand in self.demands.items()},
            {key + name: time for name in names for key, time in self.core_s.items()},
            {key + name: [p + name for p in above] for name in names for key, above in self.parents.items()},
        )


def load_of(campaigns: Iterable[str]) -> Load:
    """Return the calculations of bundled campaigns with what they took or are expected to take."""
    calculations = {c.id: c for name in campaigns for c in plan(name).calculations}
    with Results.open(ARCHIVE) as results:
        documents = results.documents
        expected = outlook(documents, list(calculations.values()))
        took = spent(documents, expected.methods)
    core_s = dict.fromkeys(calculations, 0.0)
    core_s |= {c.id: estimate.cpu_s for c, _, estimate in expected.items if estimate is not None}
    core_s |= {key: one.cpu_s for key, one in took.items() if key in calculations}
    demands = {key: engine_of(c, Settings()).demand(c) for key, c in calculations.items()}
    parents = {key: [parent.id for parent in c.parents.values()] for key, c in calculations.items()}
    return Load(demands, core_s, parents)


def on_nodes(load: Load, cores: int) -> Load:
    """Return a load whose unit is a node with so many cores."""
    walls = {
        key: wall_s(time, load.demands[key], max(n for n in load.demands[key].ranks or (1,) if n <= cores))
        for key, time in load.core_s.items()
    }
    return Load({key: Demand((1,)) for key in load.demands}, walls, load.parents)


def line(name: str, load: Load, run: Run, what: str) -> str:
    hours = sum(load.core_s.values()) / 3600
    times = f"{run.end_s / 3600:.2f} | {run.bound_s / 3600:.2f}"
    return f"| {name} | {len(load.demands)} | {hours:.0f} | {what} | {times} | {run.utilisation:.0%} |"


def main() -> None:
    one = load_of(["wsse-gpaw"])
    print("| campaigns | calculations | core-hours | machine | ends after (h) | no order ends before (h) | in use |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for copies in (1, 3, 10, 30):
        load, name = one.times(copies), f"{copies} × wsse-gpaw"
        for cores in (2, 16, 64):
            run = simulate(load.demands, load.core_s, load.parents, cores, 4 * cores * GB)
            print(line(name, load, run, f"{cores} cores"))
        nodes = on_nodes(load, 32)
        run = simulate(nodes.demands, nodes.core_s, nodes.parents, 20)
        print(line(name, load, run, "20 nodes"))


if __name__ == "__main__":
    main()
