"""Campaigns and models without adsorption sites: hosts, their DOS and bands, and no word of ΔE."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from sodiate.analysis.report.page import render
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.plan.convergence_study import studies
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.quantities.dos_of_best import DosOfBest
from sodiate.workflows.results.report_data import gather
from sodiate.workflows.results.results import Results
from sodiate.workflows.results.rows import to_json
from sodiate.workflows.results.supplement import write_supplement
from sodiate.workflows.results.tables import remark_lines, results_table
from support.campaigns import Bench, small_campaign


def test_its_hosts_are_those_of_the_campaign_with_sites(tmp_path: Path) -> None:
    with_sites, without = plan(small_campaign(tmp_path)), plan(small_campaign(tmp_path, sites=[]))
    assert set(without.names) == {"WSSe+VS", "WSSe+VS/dos"}
    assert {name: c.id for name, c in without.names.items()}.items() <= {
        name: c.id for name, c in with_sites.names.items()
    }.items()


def test_a_run_without_sites_is_complete_and_says_nothing_of_adsorption(bench: Bench, tmp_path: Path) -> None:
    models = ["WSSe", {"model": "WSSe+VS", "compare_with": "WSSe"}]
    one = plan(small_campaign(tmp_path, models=models, sites=[], quantities=["dos", "bands"]))
    bench.submit(one)
    bench.launch(one)
    results = Results(bench.documents, "here")
    found = results.models()
    assert [result.converged for result in found] == [True, True]
    assert all(result.band_gap_ev is not None for result in found)
    assert not len(results.adsorption())
    console = Console(file=io.StringIO(), width=160)
    console.print(results_table(found, "here"))
    written = console.file.getvalue()  # type: ignore[attr-defined]
    heads = next(line for line in written.splitlines() if "model" in line)
    assert [head.strip() for head in heads.split("┃")[1:-1]] == ["model", "gap (eV) mock"]
    assert remark_lines(found) == []
    assert {one["model"]: (one["sites"], one["adsorption_energy_ev"]) for one in json.loads(to_json(found))} == {
        "WSSe": ([], None),
        "WSSe+VS": ([], None),
    }
    page = render("here", gather(results))
    body = page.partition("<body")[2].partition("<script")[0]
    assert "without adsorbate" in body
    assert not [word for word in ("Adsorption", "best site", "Figure 5") if word in body]
    write_supplement(results, tmp_path / "si", None, None)
    assert "Adsorption" not in (tmp_path / "si" / "methods.md").read_text()
    table = (tmp_path / "si" / "adsorption.md").read_text()
    assert "ΔE" not in table
    assert "| host | gap (eV) |" in table


def test_what_is_of_sites_is_left_out_with_a_line(tmp_path: Path) -> None:
    names = ["dos", "bulk_reference", "vibrations"]
    keys = {"quantities": names, "dos": {"of": ["host", "best"]}, "uncertainty": ["kmesh"], "coverage": ["1/4"]}
    protocol = {"base": "paper", "final_energy": {"cutoff_ev": 600}}
    one = plan(small_campaign(tmp_path, sites=[], protocol=protocol, **keys))
    assert set(one.names) == {"WSSe+VS", "WSSe+VS/dos"}
    for name in ("bulk reference", "uncertainty", "coverage", "final energy", "dos of best", "vibrations"):
        assert f"{name} is of adsorption sites, and no host has one; left out" in one.dropped


def test_one_model_without_sites_beside_others(bench: Bench, tmp_path: Path) -> None:
    models = ["WSSe+VS", {"model": "WSSe", "sites": []}]
    keys = {"quantities": ["dos", "bulk_reference"], "dos": {"of": ["host", "best"]}}
    one = plan(small_campaign(tmp_path, models=models, sites=["V_S@top"], **keys))
    assert [name for name in one.names if name.startswith("WSSe/")] == ["WSSe/dos"]
    assert "WSSe+VS/dos/best" in one.names
    assert one.dropped == ()
    bench.submit(one)
    bench.launch(one)
    with_sites, without = Results(bench.documents, "here").models()
    assert (with_sites.adsorption_energy_ev is None, without.adsorption_energy_ev) == (False, None)
    # What a dry run has not is said, and lacks nothing.
    assert (with_sites.converged, with_sites.reasons) == (True, ())
    assert "no work function, for a dry run has no vacuum levels" in DosOfBest().remarks([with_sites])[0]
    assert (without.converged, without.reasons) == (True, ())
    console = Console(file=io.StringIO(), width=160)
    console.print(results_table([with_sites, without], "here"))
    row = next(line for line in console.file.getvalue().splitlines() if "│ WSSe " in line)  # type: ignore[attr-defined]
    assert row.rstrip(" │").endswith("—")


def test_no_adsorption_energy_to_converge(tmp_path: Path) -> None:
    campaign = plan(small_campaign(tmp_path, sites=[])).campaign
    with pytest.raises(InputError, match=r"no host has an adsorption site \(sites: \[\]\)"):
        studies(campaign, {"supercell": (2, 3)})
