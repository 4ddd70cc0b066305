"""Single points that start from the density of the relaxation: held against such that start from the atoms."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sodiate.workflows.engines.gpaw.inputs import DENSITY, WITHIN_1_MEV
from support import present
from support.engine_cases import GPAW
from support.gpaw_points import parent, single_point

pytestmark = pytest.mark.usefixtures("gpaw")

PAPER = {"energy_convergence_ev": 1e-5, "density_convergence": 1e-4, "eigenstate_convergence_ev2": 1e-5}
"""SCF criteria of configs/protocols/paper.yaml."""


def iterations(directory: Path) -> int:
    (text,) = directory.glob("gpaw-*.txt")
    return len(re.findall(r"^\|iter:", text.read_text(), re.MULTILINE))


@pytest.mark.parametrize("change", [{"kpoint_length_a": 8.2}, {"cutoff_ev": 240.0}], ids=["mesh", "cutoff"])
def test_one_for_an_error_bar_ends_sooner_and_within_a_mev(tmp_path: Path, change: dict[str, Any]) -> None:
    atoms = GPAW.atoms()
    geometry = parent(single_point(tmp_path / "relaxed", atoms, **PAPER), tmp_path / "relaxed")
    whole = single_point(tmp_path / "whole", atoms, **PAPER, **change)
    found = single_point(tmp_path / "bar", atoms, geometry=geometry, **change, **WITHIN_1_MEV)
    assert found.energy_ev == pytest.approx(present(whole.energy_ev), abs=1e-3)
    assert abs(present(whole.energy_ev) - present(geometry.record.energy_ev)) > 1e-2
    assert iterations(tmp_path / "bar") <= 0.75 * iterations(tmp_path / "whole")
    assert (found.method, found.sampling) == (whole.method, whole.sampling)


def test_the_electronic_state_is_that_of_the_density(tmp_path: Path) -> None:
    """An odd electron stays polarised without a start moment; from the atoms it would begin without spin and stay so.

    From the atoms it starts where there is no such density: an altered file, other places, none at all.
    """
    atoms = GPAW.atoms()
    relaxed = single_point(tmp_path / "relaxed", atoms, **PAPER)
    geometry = parent(relaxed, tmp_path / "relaxed")
    other: dict[str, Any] = {"cutoff_ev": 220.0, **PAPER}
    kept = single_point(tmp_path / "kept", atoms, 0.0, geometry=geometry, **other)
    moment = present(relaxed.total_moment_mub)
    assert abs(moment) > 0.5
    assert present(kept.total_moment_mub) == pytest.approx(moment, abs=0.02)
    moved = atoms.copy()
    moved.positions[1, 2] += 1e-3
    anew = [
        single_point(tmp_path / "moved", moved, 0.0, geometry=geometry, **other),
        single_point(tmp_path / "none", atoms, 0.0, geometry=replace(geometry, directory=None), **other),
    ]
    density = tmp_path / "relaxed" / DENSITY
    density.write_bytes(density.read_bytes()[:-1] + b"x")
    anew.append(single_point(tmp_path / "altered", atoms, 0.0, geometry=geometry, **other))
    assert [abs(present(outcome.total_moment_mub)) < 0.02 for outcome in anew] == [True] * 3
