"""Which force calls are computed at once, on how many ranks: against every way to share them, and by hand."""

from __future__ import annotations

from functools import cache

import pytest
from sodiate.workflows.engines.shared.grids import even_ranks
from sodiate.workflows.engines.shared.side_by_side import Layout, rounds, wider_ranks


@cache
def shortest(calls: int, ranks: int, pieces: int) -> int:
    """The least time of all orders of layouts, by trying each."""
    if calls == 0:
        return 0
    times = []
    for together in range(1, min(calls, ranks) + 1):
        each = max(number for number in even_ranks(pieces) if number <= ranks // together)
        times.append(-(-pieces // each) + shortest(calls - together, ranks, pieces))
    return min(times)


@pytest.mark.parametrize("pieces", [1, 2, 3, 4, 5, 7, 14])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 6, 8, 16])
def test_no_other_way_ends_sooner(ranks: int, pieces: int) -> None:
    for calls in range(1, 8):
        found = rounds(calls, ranks, pieces)
        assert sum(layout.calls for layout in found) == calls
        assert all(layout.calls * layout.ranks <= ranks for layout in found)
        assert all(layout.ranks in even_ranks(pieces) for layout in found)
        assert sum(-(-pieces // layout.ranks) for layout in found) == shortest(calls, ranks, pieces)
        # What is left after the first of them is computed as if it had been all: a launch may begin anywhere.
        assert found[1:] == (rounds(calls - found[0].calls, ranks, pieces) if found[1:] else ())


@pytest.mark.parametrize(
    ("calls", "ranks", "pieces", "expected"),
    [
        (3, 1, 4, [(1, 1)] * 3),  # a rank alone computes one after the other
        (3, 2, 1, [(2, 1), (1, 1)]),  # Γ alone: no two ranks share it
        (3, 2, 4, [(2, 1), (1, 2)]),  # as long as all three on two ranks, and what cannot be shared is not doubled
        (3, 3, 4, [(3, 1)]),  # three ranks do not share four pieces evenly, and three calls they do
        (3, 12, 4, [(3, 4)]),
        (1, 12, 4, [(1, 4)]),  # an image that climbs alone
        (6, 4, 2, [(4, 1), (2, 2)]),  # displacements of one atom
    ],
)
def test_by_hand(calls: int, ranks: int, pieces: int, expected: list[tuple[int, int]]) -> None:
    assert rounds(calls, ranks, pieces) == tuple(Layout(*layout) for layout in expected)


def test_where_ranks_share_waves_too_none_is_left_out() -> None:
    assert rounds(1, 13, 4, finer=True) == (Layout(1, 12),)
    assert rounds(3, 26, 4, finer=True) == (Layout(3, 8),)


def test_more_ranks_are_asked_for_where_they_help() -> None:
    """Three images and two calls alone take five calls' time on four ranks, four on eight, three on twelve."""
    assert wider_ranks(4, 3, 2) == (8, 12)
    assert wider_ranks(1, 1, 0) == ()  # one call alone
    assert wider_ranks(2, 6, 0) == (4, 6, 12)  # displacements; 8 and 10 are no quicker than 6
    assert wider_ranks(4, 5, 3) == (8, 12)  # 20 would be quicker, and idle for more than half of the time
