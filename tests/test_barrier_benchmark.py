"""The saddles of the dry engine against a plain ASE script and a scan: benchmarks/barrier.py on its hardest path."""

from __future__ import annotations

import pytest
from barrier import Dry, ours, plain, scanned, tasks


def test_an_image_that_passes_another_one_makes_no_fold() -> None:
    """The sheet has several states near this saddle: the climbing image alone goes past the images beside it."""
    forces = Dry()
    forces.sites = ("T_W", "H")
    task = tasks("WSSe", forces)["T_W@top..H@top"]
    height, calls = ours(task, forces)
    other, others = plain(task, forces)
    assert height == pytest.approx(other, abs=5e-3)
    assert height == pytest.approx(scanned(task, forces), abs=5e-3)
    assert calls < others
