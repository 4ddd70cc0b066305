"""Several starts of a site: where they are planned, what differs in them, and which one is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.start_structures import ideal_atoms, start_moments
from support.campaigns import small_campaign
from support.cli import Cli

VS2 = {"metal": "V", "top": "S", "bottom": "S", "a": 3.18, "bond_top": 2.36, "bond_bottom": 2.36}


def planned(folder: Path, **changes: Any) -> Plan:
    values: dict[str, Any] = {"engine": "gpaw", "quantities": [], "bulk_references": {}, **changes}
    return plan(small_campaign(folder, **values))


def test_sites_next_to_a_vacancy_have_the_starts_of_the_campaign(tmp_path: Path) -> None:
    models = ["WSSe", {"model": "WSSe+VS", "sites": "all"}]
    hosts = planned(tmp_path, starts=3, models=models, sites=["T_W@top"]).hosts
    assert list(hosts[0].sites) == ["T_W@top"]
    names = set(hosts[1].sites)
    assert {"V_S@top", "V_S@top#2", "V_S@top#3", "T_W@top#3"} <= names
    # The farther T_W, of which there is one in four, has no neighbour that is missing.
    assert "T_W@top-2" in names
    assert "T_W@top-2#2" not in names


def test_a_models_own_starts_are_those_of_each_of_its_sites(tmp_path: Path) -> None:
    models = [{"model": "WSSe", "starts": 2}, {"model": "WSSe+VS", "starts": 1, "sites": ["V_S@top"]}]
    hosts = planned(tmp_path, starts=3, models=models, sites=["T_W@top"]).hosts
    assert [list(host.sites) for host in hosts] == [["T_W@top", "T_W@top#2"], ["V_S@top"]]


def test_sites_of_a_magnetic_host_have_the_starts_of_the_campaign(tmp_path: Path) -> None:
    host = planned(tmp_path, starts=2, monolayers={"VS2": VS2}, models=["VS2"], sites=["T_V@top"]).hosts[0]
    assert list(host.sites) == ["T_V@top", "T_V@top#2"]


def test_the_first_start_has_the_id_that_it_had_alone(tmp_path: Path) -> None:
    alone, several = (planned(tmp_path, starts=starts).hosts[0].sites for starts in (1, 3))
    assert {name: several[name].id for name in alone} == {name: site.id for name, site in alone.items()}
    assert len({site.id for site in several.values()}) == len(several)


def test_a_further_start_moves_the_adsorbate_and_what_is_around_it(tmp_path: Path) -> None:
    sites = planned(tmp_path, starts=3, supercell=[4, 4]).hosts[0].sites
    atoms = {name: ideal_atoms(sites[name]) for name in ("V_S@top", "V_S@top#2", "V_S@top#3")}
    first = atoms["V_S@top"]
    again = ideal_atoms(planned(tmp_path, starts=3, supercell=[4, 4]).hosts[0].sites["V_S@top#2"])
    assert first is not None
    assert again is not None
    distances = first.get_distances(-1, range(len(first)), mic=True)
    moves = []
    for name in ("V_S@top#2", "V_S@top#3"):
        other = atoms[name]
        assert other is not None
        move = np.linalg.norm(other.positions - first.positions, axis=1)
        assert (move[distances < 4.0] > 0).all()
        assert (move[distances >= 4.0] == 0).all()
        # Three components of 0.05 Å each: 0.087 Å on average, and none leaves its place.
        assert 0.05 < np.sqrt((move[distances < 4.0] ** 2).mean()) < 0.13
        assert move.max() < 0.3
        moves.append(other.positions)
    assert not np.allclose(moves[0], moves[1])
    assert np.array_equal(moves[0], again.positions)


@pytest.mark.parametrize(
    ("model", "site", "third"),
    [
        # Three W next to the vacancy at 0.5 μB, Na's reversed.
        ("WSSe+VS", "V_S@top", {0.5: 3, 0.0: 8, -1.0: 1}),
        # From no moment at all: the state that a run from Na's own moment does not look for.
        ("WSSe", "T_W@top", {0.0: 13}),
        ("VS2", "T_V@top", {3.0: 4, 0.0: 8, -1.0: 1}),
    ],
)
def test_every_second_start_has_other_moments(tmp_path: Path, model: str, site: str, third: dict[float, int]) -> None:
    layers = {"WSSe": {"metal": "W", "top": "S", "bottom": "Se", "a": 3.252, "bond_top": 2.416, "bond_bottom": 2.538}}
    models = [{"model": model, "starts": 4, "sites": [site]}]
    layers["VS2"] = VS2
    sites = planned(tmp_path, monolayers=layers, models=models, sites=[site]).hosts[0].sites
    natoms = sum(third.values())
    moments = {name: start_moments(calculation, natoms) for name, calculation in sites.items()}
    assert moments[site] == moments[f"{site}#2"] == moments[f"{site}#4"]
    found = moments[f"{site}#3"]
    assert found is not None
    assert {value: found.count(value) for value in set(found)} == third
    assert found[-1] == min(third)


@pytest.mark.mongo
def test_the_lowest_start_is_taken_and_the_others_are_listed(tmp_path: Path, cli: Cli) -> None:
    # The dry potential's T_W next to the vacancy is a saddle: whoever starts there in symmetry, stays.
    path = small_campaign(tmp_path, starts=2, sites=["T_W@top"], quantities=[])
    assert cli("run", str(path), "--root", str(tmp_path / "root")).returncode == 0
    printed = cli("results", "--root", str(tmp_path / "root"), "--format", "json").stdout
    results = json.loads(printed)
    sites = {site["start"]: site for site in results[0]["sites"]}
    assert list(sites) == ["T_W@top", "T_W@top#2"]
    lower = sites["T_W@top#2"]["energy_ev"] - sites["T_W@top"]["energy_ev"]
    assert lower < -0.1
    assert results[0]["site"] == "T_W@top#2"
    table = " ".join(cli("results", "--root", str(tmp_path / "root")).stdout.split())
    assert f"WSSe+VS/T_W@top: 2 starts, above the lowest: {-lower:+.3f} (T_W@top), +0.000 (" in table
