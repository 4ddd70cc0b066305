"""What a notebook shows: tables of results, plans and records, and the page's figures one at a time."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sodiate.analysis.report.page import drawn
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.plan import plan
from sodiate.workflows.results.results import Results
from support import DOCS
from support import browser as browsers
from support.campaigns import Bench, small_campaign

BEST = "wsse-gpaw-best"


@pytest.fixture(scope="module")
def archive() -> Results:
    return Results.open(DOCS / "reproduction")


def test_results_are_a_table_for_each_campaign(archive: Results) -> None:
    html = archive._repr_html_()
    assert html.count("<h4>") == len(archive.entries())
    own = html.split("PAW-PBE (GPAW), after Lei et al. 2023 (gpaw)</h4>")[1].split("</table>")[0]
    for model in archive.models(BEST):
        assert f"<td>{model.adsorption_energy_ev:.3f}</td>" in own


def test_a_record_is_a_table_of_its_values(archive: Results) -> None:
    finished = archive.get("WSSe+VS/V_S@top", campaign=BEST)
    html = finished._repr_html_()
    assert f"{finished.record.energy_ev:.6f}" in html
    assert finished.record.calculation in html
    assert "mock" not in html


def test_a_plan_is_a_table_of_its_calculations() -> None:
    planned = plan("wsse")
    rows = re.findall(r"<tr><td>([^<]+)</td><td>([^<]+)</td><td>([^<]+)</td>", planned._repr_html_())
    assert rows == [(name, one.kind, one.id) for name, one in planned.names.items()]


def test_bars_are_those_of_one_campaign(archive: Results) -> None:
    with pytest.raises(InputError, match=r"convergence-cutoff-400.*say which, as campaign"):
        archive.plot_adsorption()
    with pytest.raises(InputError, match="no engine 'vasp'; it has gpaw"):
        archive.plot_adsorption(BEST, "vasp")
    (group,) = drawn(archive.plot_adsorption(BEST).html)
    energies = {one["model"]: one["adsorption_energy_ev"] for one in group["objects"]}
    assert energies == {model.model: model.adsorption_energy_ev for model in archive.models(BEST)}


def test_of_two_methods_one_is_chosen(bench: Bench, tmp_path: Path) -> None:
    """Two protocols and an engine more in one database: the words of `results` tell them apart."""
    changes = {"models": ["WSe2"], "sites": ["T_W@top"], "quantities": []}
    coarse, fine = (
        plan(small_campaign(tmp_path, **changes, protocol={"base": "paper", "max_force_ev_per_a": force}))
        for force in (0.5, 0.02)
    )
    planned = [coarse, fine, plan(small_campaign(tmp_path, **changes), "gpaw")]
    for one in planned:
        bench.submit(one)
    bench.launch(coarse)
    bench.launch(fine)
    results = Results(bench.documents, "here")
    methods = [one.entry().method_id for one in planned]
    assert len(set(methods)) == 3
    for ambiguous in (results.plot_adsorption, lambda: results.get("WSe2"), lambda: results.view("WSe2")):
        with pytest.raises(InputError) as caught:
            ambiguous()
        assert all(f"method {method}" in str(caught.value) for method in methods)
        assert "say which, as campaign=…, engine=… or method=…" in str(caught.value)
    for one, method in zip(planned[:2], methods, strict=False):
        name = "WSe2/T_W@top"
        assert results.get(name, method=method).record.calculation == one.names[name].id
        (group,) = drawn(results.plot_adsorption(method=method).html)
        (model,) = results.models(engine="emt", method=method)
        assert [bar["adsorption_energy_ev"] for bar in group["objects"]] == [model.adsorption_energy_ev]
    with pytest.raises(InputError, match=r"here has no method 'abc'.*; it has campaign small, engine emt, method "):
        results.plot_adsorption(method="abc")


def test_atoms_that_are_viewed_are_those_of_the_record(archive: Results) -> None:
    picture = archive.view("WSSe+VS/V_S@top", campaign=BEST)
    (group,) = drawn(picture.html)
    atoms = archive.get("WSSe+VS/V_S@top", campaign=BEST).atoms
    panel = group["hosts"][0]["panels"]["atoms"]
    assert np.array(panel["positions"]) == pytest.approx(atoms.positions, abs=1e-3)
    assert panel["symbols"] == atoms.get_chemical_symbols()
    assert picture._repr_html_().startswith("<iframe srcdoc='&lt;!DOCTYPE html&gt;")
    with pytest.raises(InputError, match=r"has no calculation 'WSSe.VS/V_S@bottom'"):
        archive.view("WSSe+VS/V_S@bottom", campaign=BEST)


def test_of_a_dry_run_every_picture_and_table_says_so(bench: Bench, tmp_path: Path) -> None:
    changes = {"models": ["WSe2"], "supercell": [1, 1], "sites": ["H@top"], "quantities": []}
    planned = plan(small_campaign(tmp_path, **changes))
    bench.submit(planned)
    bench.launch(planned)
    results = Results(bench.documents, "here")
    shown = [results._repr_html_(), results["WSe2"]._repr_html_()]
    assert all("mock" in html for html in [*shown, results.plot_adsorption().html, results.view("WSe2").html])


def test_a_picture_is_drawn_on_its_own(archive: Results, tmp_path: Path, window: browsers.Browser) -> None:
    pictures = {"adsorption": archive.plot_adsorption(BEST), "atoms": archive.view("WSe2", campaign=BEST)}
    for kind, picture in pictures.items():
        page = tmp_path / f"{kind}.html"
        page.write_text(picture.html, encoding="utf-8")
        window.open(page)
        pixels = window.drawn(f".plot.{kind}")
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 30
        assert window.complaints() == []
        assert window.run("return getComputedStyle(document.querySelector('nav')).display") == "none"
