"""GPAW's ranks: all of a launch, or groups of them that compute side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gpaw.mpi import broadcast, world

from ..shared.relax import Ranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..shared.side_by_side import Layout


class MpiRanks(Ranks):
    """The ranks of a communicator.

    Parameters
    ----------
    comm
        GPAW's communicator; that of all ranks by default.
    """

    def __init__(self, comm: Any = world) -> None:
        self.comm = comm
        self.writes = comm.rank == 0

    def shared(self, make: Callable[[], Any]) -> Any:
        """Call ``make`` in the first rank; return its result in all of them."""
        return broadcast(make() if self.writes else None, 0, comm=self.comm)


class Groups:
    """Groups of equally many of all ranks; what is left over computes nothing.

    Parameters
    ----------
    layout
        How many groups, and of how many ranks.
    ranks
        All of them, which make groups together.

    Attributes
    ----------
    number
        Of the group of this rank, from 0; None if it has none.
    mine
        Its ranks.
    """

    def __init__(self, layout: Layout, ranks: MpiRanks) -> None:
        self._all, self._layout = ranks, layout
        self.number: int | None = None
        self.mine = MpiRanks()
        for group in range(layout.calls):
            comm = ranks.comm.new_communicator(np.arange(layout.ranks) + group * layout.ranks)
            if comm is not None:
                self.number, self.mine = group, MpiRanks(comm)

    def gathered(self, found: Any) -> list[Any]:
        """Return in all ranks what each group has found, in their order."""
        comm, firsts = self._all.comm, [group * self._layout.ranks for group in range(self._layout.calls)]
        return [broadcast(found if comm.rank == first else None, first, comm=comm) for first in firsts]
