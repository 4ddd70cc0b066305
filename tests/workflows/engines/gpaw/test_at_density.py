"""Another functional at the density of the first: held against self-consistent runs with its own data sets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sodiate.workflows.engines.base import Artefacts
from sodiate.workflows.engines.gpaw.dispersion import dispersion_calculator
from support import present
from support.engine_cases import GPAW
from support.gpaw_points import parent, single_point

pytestmark = pytest.mark.usefixtures("gpaw", "dftd3")


def test_a_difference_of_energies_is_that_of_self_consistent_runs(tmp_path: Path) -> None:
    """The move of Na by 0.6 Å changes by RPBE alike at PBE's density and at its own, whose data sets are others."""
    here = GPAW.atoms()
    there = here.copy()
    there.positions[1] += (0.0, 0.4, 0.45)
    pbe, own, kept = [], [], []
    for name, atoms in (("here", here), ("there", there)):
        outcome = single_point(tmp_path / name, atoms)
        pbe.append(present(outcome.energy_ev))
        own.append(present(single_point(tmp_path / f"{name}-rpbe", atoms, functional="RPBE").energy_ev))
        density = parent(outcome, tmp_path / name)
        changed = single_point(tmp_path / f"{name}-kept", atoms, functional="RPBE", density=density)
        kept.append(present(changed.energy_ev))
        assert not list((tmp_path / f"{name}-kept").glob("gpaw-*.txt"))
        assert changed.method == outcome.method.model_copy(update={"functional": "RPBE at the density of PBE"})
        assert changed.sampling == outcome.sampling
        assert present(changed.total_moment_mub) == pytest.approx(present(outcome.total_moment_mub), abs=1e-6)
        assert (changed.forces_ev_per_a, changed.notes) == (None, ())
    moved_pbe, moved_own, moved_kept = (energies[1] - energies[0] for energies in (pbe, own, kept))
    assert moved_kept == pytest.approx(moved_own, abs=5e-3)
    assert abs(moved_own - moved_pbe) > 1e-2


def test_without_its_file_the_density_is_computed_anew(tmp_path: Path) -> None:
    """The same energy, and a note; of another electronic state there is no energy."""
    atoms = GPAW.atoms()
    outcome = single_point(tmp_path / "pbe", atoms)
    density = parent(outcome, tmp_path / "pbe")
    kept = single_point(tmp_path / "kept", atoms, functional="PBEsol", density=density)
    anew = single_point(tmp_path / "anew", atoms, functional="PBEsol", density=replace(density, directory=None))
    assert anew.energy_ev == pytest.approx(present(kept.energy_ev), abs=1e-3)
    assert anew.notes == ("the density at which the functional is changed was out of reach: it was computed anew",)
    other: Any = SimpleNamespace(**vars(density.record) | {"energy_ev": present(outcome.energy_ev) - 0.1})
    with pytest.raises(Exception, match="another electronic state"):
        single_point(tmp_path / "other", atoms, functional="PBEsol", density=Artefacts(other))


def test_d3_is_added_to_it(tmp_path: Path) -> None:
    """Also where the energy without it is gone."""
    atoms = GPAW.atoms()
    outcome = single_point(tmp_path / "pbe", atoms)
    density = parent(outcome, tmp_path / "pbe")
    kept = single_point(tmp_path / "rpbe", atoms, functional="RPBE", density=density)
    expected = present(kept.energy_ev) + dispersion_calculator("RPBE").get_property("energy", atoms)
    without = Artefacts(density.record, tmp_path / "rpbe")
    cases: dict[str, dict[str, Any]] = {
        "added": {"density": density, "without": without},
        "whole": {"density": density},
    }
    for name, parents in cases.items():
        found = single_point(tmp_path / name, atoms, functional="RPBE", dispersion="d3bj", **parents)
        assert found.energy_ev == pytest.approx(expected, abs=1e-6)
        assert (found.method.functional, found.method.dispersion) == ("RPBE at the density of PBE", "d3bj")
