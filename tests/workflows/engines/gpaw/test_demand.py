"""What GPAW asks of a machine: ranks by k points and spins, memory that grows as wavefunctions do."""

from __future__ import annotations

import pytest
from sodiate.workflows.engines.gpaw.demand import demand_of
from sodiate.workflows.plan.planner import plan


@pytest.mark.parametrize(
    ("campaign", "name", "pieces"),
    [
        # In the irreducible wedge of a hexagonal sheet 6×6 has 7 points, and 2×2 has Γ and M; two spins.
        ("validation", "WSe2", 14),
        ("wsse-gpaw", "WSe2", 4),
        ("wsse-gpaw", "Na", 1),
    ],
)
def test_ranks_share_the_points_of_the_irreducible_wedge(campaign: str, name: str, pieces: int) -> None:
    ranks = demand_of(plan(campaign).names[name]).ranks
    assert ranks is not None
    assert ranks[0] == 1
    assert ranks[-1] == pieces


def test_memory_is_that_of_the_wavefunctions() -> None:
    """A 3×3 cell has nine times the waves and nine times the bands of 1×1; 81 times for a k point, but for grids."""
    small, large = (demand_of(plan(name).names["WSe2"]) for name in ("validation", "wsse-gpaw"))
    assert 1 << 28 < large.bytes_on(2) < 8 << 30
    per_piece = [one.memory_bytes / (one.ranks or (1,))[-1] for one in (small, large)]
    assert 20 < per_piece[1] / per_piece[0] < 90


def test_paths_and_vibrations_have_work_for_more_ranks() -> None:
    """Three images at once, on all the ranks that share one of them."""
    planned = plan("wsse-gpaw-diffusion")
    path = demand_of(planned.names["WSe2/T_W@top..H@top"])
    site = demand_of(planned.names["WSe2/T_W@top"])
    assert path.ranks == site.ranks
    most = (path.ranks or (0,))[-1]
    assert path.spare_ranks == (2 * most, 3 * most)
    assert site.spare_ranks == ()
    assert 0 < (path.memory_bytes - site.memory_bytes) / 3 < site.memory_bytes  # four wavefunctions for one
