"""Convergence tests: which settings are made of a campaign, and what is made of their results."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml
from sodiate.analysis.figures.convergence import Series, Setting, convergence_plot
from sodiate.workflows.campaign.load import bundled_campaigns, load_campaign
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.engines.shared.grids import kpoint_mesh
from sodiate.workflows.plan.convergence_study import one_host, parse_values, variants
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.start_structures import ideal_atoms
from support.campaigns import small_campaign
from support.cli import Cli


def test_values_as_range_and_list() -> None:
    assert parse_values("400:600:50", "--cutoff") == (400, 450, 500, 550, 600)
    assert parse_values("4,2,3", "--kmesh") == (2, 3, 4)
    assert parse_values("0.1:0.3:0.1", "--cutoff") == pytest.approx((0.1, 0.2, 0.3))


@pytest.mark.parametrize("text", ["", "2", "400:600", "400:600:0", "600:400:50", "a,b", "0,1", "400:600:-50"])
def test_values_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="two or more positive values"):
        parse_values(text, "--cutoff")


def test_one_setting_is_varied_at_a_time() -> None:
    """What is not varied has the very ids of the campaign, so nothing is computed twice."""
    made = list(variants(load_campaign("wsse-gpaw", None), (450.0, 500.0), (1.0, 2.0, 3.0)))
    base = plan("wsse-gpaw")
    assert [(one.quantity, one.value) for one in made] == [
        ("cutoff", 450), ("cutoff", 500), ("kmesh", 1), ("kmesh", 2), ("kmesh", 3)
    ]  # fmt: skip
    for one in made:
        ids = {name: c.id for name, c in one.plan.names.items() if not name.endswith("/lowest")}
        same = {name: i for name, i in ids.items() if base.names[name].id == i}
        if one.value in (500, 2):
            assert same == ids
        elif one.quantity == "cutoff":
            assert not same
        else:
            assert set(same) == {"Na"}
        mesh = int(one.value) if one.quantity == "kmesh" else 2
        for host in one.plan.hosts:
            atoms = ideal_atoms(host.calculation)
            assert atoms is not None
            assert kpoint_mesh(atoms, host.calculation.protocol["kpoint_length_a"]) == (mesh, mesh, 1)
        assert "dos" not in one.plan.quantities


@pytest.mark.parametrize("name", bundled_campaigns())
def test_every_bundled_campaign_can_be_varied(name: str) -> None:
    """Also one that names structure files beside it, such as Se.cif, which a copy elsewhere would no longer find."""
    base = plan(name)
    (made,) = (
        variants(base.campaign, (), (2.0,))
        if "cutoff_ev" in base.not_applicable
        else variants(base.campaign, (450.0,), ())
    )
    assert made.plan.campaign.elements == base.campaign.elements
    assert made.plan.campaign.slabs == base.campaign.slabs
    assert [host.name for host in made.plan.hosts] == [host.name for host in base.hosts]
    # The bulk references that hosts need are those of the files: the very atoms, cell and element.
    structures = [c.structure for c in made.plan.calculations if c.structure["op"] == "elemental"]
    assert all(structure in [c.structure for c in base.calculations] for structure in structures)


@pytest.mark.parametrize("name", bundled_campaigns())
def test_one_host_has_the_calculations_that_it_has_in_its_campaign(name: str) -> None:
    base = plan(name)
    for host in base.hosts:
        alone = plan(one_host(base.campaign, host.name))
        assert [other.name for other in alone.hosts] == [host.name]
        ids = {c.id for c in base.calculations}
        assert {c.id for label, c in alone.names.items() if not label.endswith("/lowest")} <= ids
        again = yaml.safe_load(alone.campaign.text)
        assert again["campaign"] == alone.campaign.spec.campaign
        assert len(again["models"]) == 1


def test_what_cannot_be_varied() -> None:
    with pytest.raises(InputError, match="engine emt has no use for cutoff_ev"):
        list(variants(load_campaign("wsse", None), (400.0, 500.0), ()))
    with pytest.raises(InputError, match="whole numbers"):
        list(variants(load_campaign("wsse", None), (), (1.5, 2.0)))
    with pytest.raises(InputError, match=r"no model 'WSe3' \(did you mean 'WSe2'\?\); models: WSe2, WSSe, "):
        one_host(load_campaign("wsse", None), "WSe3")


def test_changes_are_against_the_last_value_that_is_known(tmp_path: Path) -> None:
    one = Series("A/T", "cutoff", (Setting(400, -1.0), Setting(450, None), Setting(500, -1.25), Setting(550, None)))
    assert one.changes_ev() == (0.25, None, 0.0, None)
    figure = convergence_plot([one], tmp_path / "figure.png", physical=True)
    (axes,) = figure.axes
    assert np.asarray(axes.lines[0].get_xydata()).tolist() == [[400, 250], [500, 0]]
    assert (tmp_path / "figure.png").stat().st_size > 1000


def test_a_potential_without_k_points_is_converged_at_once(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    path = small_campaign(tmp_path, quantities=[])
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("converge", path, "--kmesh", "1,2", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mock (dry run, not physical)" in done.stdout
    folder = tmp_path / "root" / "results" / "small-convergence"
    found = list(csv.DictReader((folder / "convergence.csv").open(encoding="utf-8")))
    assert len(found) == 4
    assert {float(row["change_ev"]) for row in found} == {0.0}
    assert {row["note"] for row in found} == {"mock (dry run, not physical)"}
    assert (folder / "convergence.png").exists()
    assert "give --cutoff, --kmesh or both" in cli("converge", path, *place).stderr
    alone = cli("converge", path, "--kmesh", "1,2", "--model", "WSSe+VS", *place)
    assert alone.returncode == 0, alone.stderr
    assert (folder.with_name("small-WSSe+VS-convergence") / "convergence.csv").read_text() == (
        folder / "convergence.csv"
    ).read_text()
