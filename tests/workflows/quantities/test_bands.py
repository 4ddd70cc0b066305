"""Bands beside the DOS: a mesh that misses the edges of the path is told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sodiate.analysis.records import BandGap
from sodiate.workflows.quantities.bands import BandStructure


def result(mesh_ev: float, path_ev: float, label: str = "WSSe", calculation: str = "1") -> Any:
    def gap(width: float) -> BandGap:
        return BandGap(gap_ev=width, nature="direct" if width else "metal", fermi_ev=0.0)

    records = {
        ("dos", "dos"): SimpleNamespace(label=f"{label}/dos", gap=gap(mesh_ev), calculation=calculation),
        ("bands", "bands"): SimpleNamespace(label="WSSe/bands", gap=gap(path_ev)),
    }
    host = SimpleNamespace(model=SimpleNamespace(label=label), record=lambda *key: records[key])
    return SimpleNamespace(model=label, host=host)


@pytest.mark.parametrize(
    ("mesh_ev", "path_ev", "words"),
    [(1.778, 1.694, "1.778 eV on the mesh and 1.694 eV along the path"), (0.1, 0.0, "and no gap along the path")],
)
def test_a_mesh_that_misses_the_edges_is_told(mesh_ev: float, path_ev: float, words: str) -> None:
    (line,) = BandStructure().remarks([result(mesh_ev, path_ev)])
    assert words in line
    assert "raise dos.kpoint_length_a" in line
    # Two hosts from files of one formula have labels alike; one DOS of two models is told once.
    other = result(mesh_ev, path_ev, calculation="2")
    assert len(BandStructure().remarks([result(mesh_ev, path_ev), other, other])) == 2


def test_a_mesh_that_holds_them_and_a_host_with_vacancies_are_not() -> None:
    """A path narrower by a few meV is another relaxation; levels of a vacancy narrow the gap of the mesh for good."""
    assert BandStructure().remarks([result(1.696, 1.694), result(1.09, 1.694, "WSSe+VS")]) == []
