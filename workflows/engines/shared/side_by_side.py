"""How many independent force calls are computed at once on the ranks of a launch, and each on how many."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from .grids import even_ranks


class Layout(NamedTuple):
    """How many force calls are computed at once, and on how many ranks each."""

    calls: int
    ranks: int


def rounds(calls: int, ranks: int, pieces: int, finer: bool = False) -> tuple[Layout, ...]:
    """Return the layouts in which independent force calls are over soonest, one after the other.

    Where it makes no difference more of them are at once: what ranks cannot share of a call is done side by side too.

    Parameters
    ----------
    calls
        How many there are.
    ranks
        Of the launch.
    pieces
        Of a call, which ranks can share: k points times spins.
    finer
        Whether several ranks can share a piece; those that have nothing else to do then take part.
    """
    found, left = [], calls
    while left:
        layout = _best(left, ranks, pieces, finer)[-1][1]
        found.append(layout)
        left -= layout.calls
    return tuple(found)


def wider_ranks(pieces: int, together: int, alone: int) -> tuple[int, ...]:
    """Return numbers of ranks beyond the pieces of one call that make many calls quicker, at most half of them idle.

    Parameters
    ----------
    pieces
        Of a call, which ranks can share.
    together
        How many independent calls there are at once.
    alone
        How many calls there are beside each such round of which each needs the one before.
    """

    def time(ranks: int) -> int:
        return _best(together, ranks, pieces, False)[-1][0] + alone

    found, best = [], time(pieces)
    for ranks in range(2 * pieces, together * pieces + 1, pieces):
        now = time(ranks)
        if now < best and ranks * now <= 2 * pieces * (together + alone):
            found.append(ranks)
            best = now
    return tuple(found)


@cache
def _best(calls: int, ranks: int, pieces: int, finer: bool) -> tuple[tuple[int, Layout], ...]:
    """Return for 1, 2 … calls how long they take, in pieces that follow one another, and the layout of the first."""
    best: list[tuple[int, Layout]] = []
    for number in range(1, calls + 1):
        choices = []
        for together in range(min(number, ranks), 0, -1):
            layout = Layout(together, _share(ranks // together, pieces, finer))
            rest = best[number - together - 1][0] if number > together else 0
            choices.append((-(-pieces // min(layout.ranks, pieces)) + rest, layout))
        best.append(min(choices, key=lambda choice: choice[0]))  # the first of equal ones
    return tuple(best)


def _share(ranks: int, pieces: int, finer: bool) -> int:
    """Return the most ranks, of so many at hand, that share pieces evenly."""
    if finer and ranks >= pieces:
        return ranks - ranks % pieces
    return max(number for number in even_ranks(pieces) if number <= ranks)
