"""Which calculations begin and on how many cores: rules on small examples, and bounds on random graphs."""

from __future__ import annotations

import random

import pytest
from sodiate.workflows.engines.base import Demand
from sodiate.workflows.engines.shared.grids import even_ranks
from sodiate.workflows.launch.schedule import Room, Task, starts, tasks_of
from utilisation import simulate

GB = 1 << 30


def task(core_s: float, *ranks: int, path: float | None = None, gb: float = 0.0) -> Task:
    return Task(Demand(ranks or (1,), int(gb * GB)), core_s, core_s if path is None else path)


def chosen(
    tasks: dict[str, Task], cores: int, *, free: int | None = None, gb: float = 1e9, places: int = 99, **more: bool
) -> dict[str, int]:
    left = sum(one.core_s for one in tasks.values())
    room = Room(cores if free is None else free, cores, gb * GB, places)
    return {start.calculation: start.ranks for start in starts(list(tasks), tasks, left, room, **more)}


def test_the_critical_path_begins_first() -> None:
    tasks = {"short": task(1), "long": task(5), "chain": task(2, path=9)}
    assert list(chosen(tasks, 2)) == ["chain", "long"]


def test_equal_ones_begin_in_the_given_order() -> None:
    assert list(chosen({name: task(1) for name in "cab"}, 2)) == ["c", "a"]


def test_many_equal_ones_have_one_rank_each_and_a_lone_one_all() -> None:
    """On two cores, for which the throughput was measured (benchmarks/workers.py)."""
    tasks = {str(number): task(1, 1, 2, 5, 10) for number in range(9)}
    assert set(chosen(tasks, 2).values()) == {1}
    assert chosen({"alone": task(1, 1, 2, 5, 10)}, 2) == {"alone": 2}
    assert chosen({"alone": task(1, 1, 2, 5, 10)}, 64) == {"alone": 10}


def test_what_nothing_else_can_use_goes_to_those_that_have_work_for_it() -> None:
    """Also at idle time that nothing is given otherwise: 8 ranks for a path whose even share are 4."""

    def path(core_s: float) -> Task:
        return Task(Demand((1, 2, 4), spare_ranks=(8, 12)), core_s, core_s)

    assert chosen({"path": path(40)}, 16) == {"path": 12}
    assert chosen({"path": path(40), "other": path(39)}, 16) == {"path": 8, "other": 8}
    many = {str(number): path(40) for number in range(5)}
    assert set(chosen(many, 16).values()) == {4}


def test_a_long_path_has_the_ranks_with_which_it_ends_in_time() -> None:
    """48 of work on 4 cores take 12, six tenths of it 7.2: the chain of 14 needs two ranks, the others need one."""
    tasks = {"chain": task(14, 1, 2, 4)} | {str(number): task(4.25, 1, 2, 4) for number in range(8)}
    found = chosen(tasks, 4)
    assert found == {"chain": 2, "0": 1, "1": 1}


def test_a_long_path_waits_for_its_ranks_rather_than_begin_on_one() -> None:
    """Once begun it could not have more."""
    tasks = {"chain": task(40, 1, 2, 4)} | {str(number): task(2, 1, 2, 4) for number in range(3)}
    assert chosen(tasks, 4, free=1) == {"0": 1}


def test_what_does_not_fit_waits_and_small_ones_fill_the_gap() -> None:
    tasks = {"first": task(9, gb=6), "large": task(8, gb=6), "small": task(1, gb=1)}
    assert list(chosen(tasks, 4, gb=8)) == ["first", "small"]
    wide = {"whole": Task(Demand(None), 9, 9), "small": task(1)}
    assert chosen(wide, 4, free=2) == {"small": 1}


def test_an_idle_machine_always_begins_one() -> None:
    tasks = {"huge": task(9, 2, gb=100), "other": task(1, gb=100)}
    assert chosen(tasks, 4, gb=8, idle=True) == {"huge": 2}
    assert chosen(tasks, 4, gb=8) == {}
    assert chosen({"whole": Task(Demand(None), 9, 9)}, 4, free=0, idle=True) == {"whole": 4}


def test_no_more_than_there_are_places() -> None:
    assert len(chosen({str(number): task(1) for number in range(9)}, 8, places=3)) == 3


def test_paths() -> None:
    demands = {name: Demand((1,)) for name in ["host", "site", "best", "other"]}
    times = {"host": 3.0, "site": 10.0, "best": 0.0, "other": 1.0}
    parents = {"host": ["done"], "site": ["host"], "best": ["site", "host"], "other": []}
    paths = {name: one.path_core_s for name, one in tasks_of(demands, times, parents).items()}
    assert paths == {"host": 13.0, "site": 10.0, "best": 0.0, "other": 1.0}


@pytest.mark.parametrize(
    ("pieces", "ranks"),
    [(1, (1,)), (2, (1, 2)), (10, (1, 2, 3, 4, 5, 10)), (7, (1, 2, 4, 7)), (26, (1, 2, 3, 4, 5, 6, 7, 9, 13, 26))],
)
def test_even_ranks(pieces: int, ranks: tuple[int, ...]) -> None:
    assert even_ranks(pieces) == ranks
    assert all(-(-pieces // r) * r * 0.8 <= pieces for r in ranks)


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_are_done_in_order_and_near_the_bound(seed: int) -> None:
    """Everything once, no parent later than its child, never more cores than there are; Graham's bound holds."""
    chance, cores = random.Random(seed), 8
    names = [str(number) for number in range(60)]
    parents = {
        name: chance.sample(names[:index], min(index, chance.choice([0, 1, 1, 2])))
        for index, name in enumerate(names)
    }
    times = {name: chance.lognormvariate(0, 1) for name in names}
    demands = {name: Demand(even_ranks(chance.randint(1, 10)), int(chance.random() * GB)) for name in names}
    done = simulate(demands, times, parents, cores, memory_bytes=4 * GB)
    spans = {span.calculation: span for span in done.spans}
    assert sorted(spans) == sorted(names)
    assert len(done.spans) == len(names)
    for name in names:
        assert all(spans[parent].end_s <= spans[name].begin_s + 1e-9 for parent in parents[name])
    for moment in [span.begin_s for span in done.spans]:
        running = [span for span in done.spans if span.begin_s <= moment < span.end_s]
        assert sum(span.ranks for span in running) <= cores
        assert sum(demands[span.calculation].memory_bytes for span in running) <= 4 * GB or len(running) == 1
    assert done.utilisation <= 1
