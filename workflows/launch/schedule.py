"""Which calculations begin, and on how many cores each: pure planning, for the pool and for simulations alike.

The critical path goes first. A calculation gets as many ranks as it needs, with all that follows from it, to end well
before the machine would be done with everything; cores that are then left over go to the longest path. What does not
fit beside the running ones waits, and smaller ones fill the gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter

from ..engines.base import Demand

_SOON = 0.6
"""Share of the time that all the work takes by which paths are to end: what is left then fills the cores, while after
a path that takes longer than expected they would stand idle."""

_LEAST = 0.7
"""A calculation waits rather than begin on a smaller share of the ranks that it needs; it cannot get more later."""


@dataclass(frozen=True)
class Task:
    """A calculation as a machine sees it.

    Attributes
    ----------
    demand
        Its ranks and its memory.
    core_s
        Expected time on one core, s, or any other measure that all tasks share.
    path_core_s
        That of the longest chain of calculations which begins with it.
    """

    demand: Demand
    core_s: float
    path_core_s: float

    def ranks(self, cores: int) -> tuple[int, ...]:
        """Return the numbers of ranks, ascending, on which it may run on a machine with so many cores."""
        ranks = (cores,) if self.demand.ranks is None else self.demand.ranks
        return tuple(number for number in ranks if number <= cores) or (1,)


def tasks_of(
    demands: Mapping[str, Demand], core_s: Mapping[str, float], parents: Mapping[str, Iterable[str]]
) -> dict[str, Task]:
    """Return the tasks of calculations by id, with their paths.

    Parameters
    ----------
    demands, core_s
        Of each calculation that is to be done.
    parents
        Of each of them; those that are done already do not count.
    """
    order = TopologicalSorter({key: [p for p in parents[key] if p in demands] for key in demands})
    children: dict[str, list[str]] = {key: [] for key in demands}
    for key in demands:
        for parent in parents[key]:
            if parent in children:
                children[parent].append(key)
    path: dict[str, float] = {}
    for key in reversed(tuple(order.static_order())):
        path[key] = core_s[key] + max((path[child] for child in children[key]), default=0.0)
    return {key: Task(demands[key], core_s[key], path[key]) for key in demands}


@dataclass(frozen=True)
class Room:
    """What is free of a machine: cores, of how many in all, bytes of memory, and places for further calculations."""

    free_cores: int
    cores: int
    memory_bytes: float
    places: int


@dataclass(frozen=True)
class Start:
    """A calculation that is to begin, and its number of ranks."""

    calculation: str
    ranks: int


def starts(
    ready: Sequence[str], tasks: Mapping[str, Task], left_core_s: float, room: Room, idle: bool = False
) -> list[Start]:
    """Return what begins now.

    Parameters
    ----------
    ready
        Calculations of which all parents are done.
    tasks
        Those and others by id.
    left_core_s
        Of all that is to be done, the running ones among it.
    room
        What is free.
    idle
        Whether nothing runs: then the first one begins even if its memory does not fit, since it never would, and
        even if others have the cores.
    """
    fastest = (tasks[key].path_core_s / tasks[key].ranks(room.cores)[-1] for key in ready)
    end_s = max(_SOON * left_core_s / room.cores, *fastest, 0.0)
    free, memory, chosen = room.free_cores, room.memory_bytes, dict[str, int]()
    for key in sorted(ready, key=lambda key: -tasks[key].path_core_s):  # stable: equal ones in the given order
        if len(chosen) == room.places:
            break
        task = tasks[key]
        ranks = task.ranks(room.cores)
        needed = next(number for number in ranks if task.path_core_s / number <= end_s)
        possible = [number for number in ranks if _LEAST * needed <= number <= min(needed, free)]
        if idle and not chosen:
            possible = possible or [ranks[0]]
        else:
            possible = [number for number in possible if task.demand.bytes_on(number) <= memory]
        if possible:
            chosen[key] = possible[-1]
            free -= chosen[key]
            memory -= task.demand.bytes_on(chosen[key])
    left_over = len(chosen) == len(ready) or len(chosen) == room.places
    while left_over and (wider := _wider(chosen, tasks, room.cores, free)) is not None:
        free -= wider.ranks - chosen[wider.calculation]
        chosen[wider.calculation] = wider.ranks
    return [Start(key, ranks) for key, ranks in chosen.items()]


def _wider(chosen: Mapping[str, int], tasks: Mapping[str, Task], cores: int, free: int) -> Start | None:
    """Return the next number of ranks of the longest of the chosen paths that can have more; None if none can."""
    for key in sorted(chosen, key=lambda key: -tasks[key].path_core_s / chosen[key]):
        ranks = *tasks[key].ranks(cores), *tasks[key].demand.spare_ranks
        more = [number for number in ranks if 0 < number - chosen[key] <= free]
        if more:
            return Start(key, more[0])
    return None
