"""Barriers of a campaign: planned, found dry, held against a constrained scan, shown, and refused."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixedLine, FixedPlane
from ase.optimize import BFGS
from sodiate.analysis.arrays import ReactionPath
from sodiate.analysis.report.page import drawn
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.engines.emt.parameters import load_parameters
from sodiate.workflows.engines.emt.potential import potential
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from sodiate.workflows.start_structures import path_ends, read_host
from support import present
from support.campaigns import small_campaign
from support.cli import Cli


def campaign(folder: Path, **changes: Any) -> Path:
    given = {"models": ["WSe2"], "sites": ["T_W@top", "H@top"], "quantities": ["barrier"]}
    return small_campaign(folder, **given | changes)


def scan(start: Atoms, end: Atoms, points: int) -> np.ndarray:
    """Relaxed energies with the ion held in planes across the way, and a far metal atom held against drifting.

    Each begins where the last one ended: begun from both ends mixed, rounding decides near the crest in which of two
    states the sheet ends.
    """
    way = (end.positions - start.positions)[-1] * (1, 1, 0)
    ion = len(start) - 1
    metal = np.flatnonzero(start.symbols == "W")
    far = int(metal[np.argmax(start.get_distances(ion, metal, mic=True))])
    atoms, energies = start.copy(), []
    for number in range(points):
        if number:
            atoms.positions += (end.positions - start.positions) / (points - 1)
        atoms.set_constraint([FixedPlane(ion, way / np.linalg.norm(way)), FixedLine(far, (0, 0, 1))])
        atoms.calc = potential(atoms.get_chemical_symbols(), load_parameters())
        BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
        energies.append(atoms.get_potential_energy())
        atoms.set_constraint()
    return np.array(energies)


def test_a_dry_barrier_is_that_of_a_constrained_scan(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """Fifty relaxations along the way, without a band: their highest energy is the saddle's, to 3 meV."""
    campaign(tmp_path, barrier={"modes": True})
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("run", "small.yaml", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        (host,) = results.models()
        found = results["WSe2/T_W@top..H@top"]
        start, end = (results[f"WSe2/{name}"] for name in ("T_W@top", "H@top"))
        path = results.documents.arrays(found.record, "path")
    calculation = plan(tmp_path / "small.yaml")["WSe2/T_W@top..H@top"].calculation
    ends = path_ends(calculation, start.atoms, end.atoms)
    energies = scan(ends.start, ends.end, 51)
    reference = present(start.record.energy_ev)
    (one,) = host.paths
    assert one["forward_ev"] == pytest.approx(energies.max() - reference, abs=0.003)
    assert one["backward_ev"] == pytest.approx(energies.max() - present(end.record.energy_ev), abs=0.003)
    assert host.barrier_ev == one["backward_ev"]  # the end is the lower one
    # The record is the saddle: no force is left, and the energy falls to both sides of it, in one direction only.
    assert present(found.record.max_force_ev_per_a) < 0.02
    assert isinstance(path, ReactionPath)
    np.testing.assert_allclose(path.positions_a[path.saddle], found.atoms.positions, atol=1e-12)
    assert one["imaginary_modes"] == 1
    assert 5e11 < one["attempt_hz"] < 5e13
    assert not one["assumed"]
    # Three of six neighbours of a site are of the other kind, and both ways are the same path.
    rates = [one["attempt_hz"] * np.exp(-one[key] / 8.617333e-5 / 300.0) for key in ("forward_ev", "backward_ev")]
    expected = 3.319**2 / 2 * rates[0] * rates[1] / sum(rates) * 1e-16
    assert host.diffusion_cm2_per_s == pytest.approx(expected, rel=1e-5)

    said = cli("results", *place)
    assert "WSe2/T_W@top..H@top: barrier 0.07" in said.stdout
    assert "diffusion coefficient" in said.stdout
    rows = list(csv.DictReader(io.StringIO(cli("results", *place, "--format", "csv").stdout)))
    assert float(rows[0]["barrier_ev"]) == pytest.approx(host.barrier_ev)
    (shown,) = json.loads(cli("results", *place, "--format", "json").stdout)
    assert shown["paths"] == json.loads(json.dumps(host.paths))
    assert "diffusion_cm2_per_s" in shown
    page = cli("report", *place, "--out", "page.html")
    assert page.returncode == 0, page.stderr
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Energy along the paths of Na on WSe2" in text
    ((curve, *_),) = (host["panels"]["curves-barrier"]["curves"] for group in drawn(text) for host in group["hosts"])
    # A point for each image: the path's ends, three images and none of the curve's.
    assert len(curve["points"]["x"]) < len(curve["x"]) / 10
    assert set(curve["points"]["y"]) <= set(curve["y"])
    assert "tracks" in text
    made = cli("si", *place, "--out", "si")
    assert made.returncode == 0, made.stderr
    assert list((tmp_path / "si").rglob("barriers.*"))
    assert "Henkelman2000b" in "".join(file.read_text() for file in (tmp_path / "si").rglob("*.bib"))


def test_paths_are_planned_between_relaxed_sites_that_are_neighbours(tmp_path: Path) -> None:
    planned = plan(campaign(tmp_path, models=["WSSe", "WSSe+VS"], sites="near-defect", supercell=[3, 3]))
    paths = [name for name in planned.names if ".." in name]
    assert [name for name in paths if name.startswith("WSSe/")] == [
        *("WSSe/T_W@top..H@top", "WSSe/T_W@top..T_X@top", "WSSe/H@top..T_X@top"),
        *("WSSe/T_W@bottom..H@bottom", "WSSe/T_W@bottom..T_X@bottom", "WSSe/H@bottom..T_X@bottom"),
    ]
    assert [name for name in paths if name.startswith("WSSe+VS/")] == [
        *("WSSe+VS/V_S@top..T_W@top", "WSSe+VS/V_S@top..H@top", "WSSe+VS/V_S@top..H@bottom"),
        "WSSe+VS/T_W@top..H@top",
    ]
    one = planned["WSSe/T_W@top..H@top"].calculation
    # No site is relaxed twice: the ends are the campaign's own relaxations.
    assert one.parents["geometry"] == planned["WSSe/T_W@top"].calculation
    assert one.parents["end"] == planned["WSSe/H@top"].calculation


def test_paths_that_a_campaign_names(tmp_path: Path) -> None:
    pairs = [["WSSe+VS/V_S@top", "H@top"], ["T_W@top", "H@top"]]
    planned = plan(
        campaign(
            tmp_path, models=["WSSe", "WSSe+VS"], sites=["V_S@top", "T_W@top", "H@top"], barrier={"paths": pairs}
        )
    )
    assert [name for name in planned.names if ".." in name] == [
        *("WSSe/T_W@top..H@top", "WSSe+VS/V_S@top..H@top", "WSSe+VS/T_W@top..H@top")
    ]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            [["WSe2/T_W@top", "WSSe/H@top"]],
            "WSe2/T_W@top to WSSe/H@top: a path leads between two sites of one host, and these are of WSe2 and WSSe",
        ),
        (
            [["WSSe/T_W@top", "H@topp"]],
            "model WSSe: the campaign relaxes no site 'H@topp' of it (did you mean 'H@top'?)",
        ),
        ([["WS2/T_W@top", "H@top"]], "no model 'WS2'"),
        ([["T_W@top", "T_W@top"]], "a path needs two sites"),
        ([["T_W@top", "H@bottom"]], "no two of the campaign's sites are neighbours"),
    ],
)
def test_bad_paths_are_refused_when_planned(tmp_path: Path, paths: list[list[str]], message: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(campaign(tmp_path, models=["WSe2", "WSSe"], barrier={"paths": paths}))
    assert message in str(caught.value)
    assert "small.yaml" in str(caught.value)


def test_a_path_to_an_own_site_is_that_to_the_named_site_there(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """The hollow as a point of the user's, in another cell: barrier and hop are the same."""
    host = plan(campaign(tmp_path))["WSe2"].calculation.structure
    first, second = read_host(host).sites["H@top"].fractional
    own = {"mine": {"at": [first + 0.5, second], "face": "top", "height_a": 2.0}}
    campaign(
        tmp_path,
        models=["WSe2", {"model": "WSe2", "name": "own", "sites": ["T_W@top"], "own_sites": own}],
        barrier={"paths": [["WSe2/T_W@top", "H@top"], ["own/T_W@top", "mine"]]},
    )
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("run", "small.yaml", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        named, mine = results.models()
    assert [path["path"] for path in (*named.paths, *mine.paths)] == ["T_W@top..H@top", "T_W@top..mine"]
    for key in ("forward_ev", "backward_ev"):
        assert mine.paths[0][key] == pytest.approx(named.paths[0][key], abs=0.002)
    # Hops between the named sites are known by symmetry, those to a point of the user's are not looked for.
    assert mine.diffusion_cm2_per_s is None
    assert "diffusion: the lowest site, mine, is one of own_sites" in cli("results", *place).stdout


def test_own_sites_have_the_paths_that_a_campaign_names(tmp_path: Path) -> None:
    own = {name: {"at": at, "face": "top", "height_a": 2.0} for name, at in (("a", [0.1, 0.2]), ("b", [0.35, 0.3]))}
    models = [{"model": "WSe2", "own_sites": own}]
    planned = plan(campaign(tmp_path, models=models, barrier={"paths": [["a", "b"], ["H@top", "b"]]}))
    assert [name for name in planned.names if ".." in name] == ["WSe2/a..b", "WSe2/H@top..b"]
    assert planned["WSe2/a..b"].calculation.parents["end"] == planned["WSe2/b"].calculation
    # By default only the named sites have neighbours.
    assert [name for name in plan(campaign(tmp_path, models=models)).names if ".." in name] == ["WSe2/T_W@top..H@top"]


def own(at: Sequence[float], face: str = "top") -> dict[str, Any]:
    return {"at": list(at), "face": face, "height_a": 2.0}


def test_two_sites_in_one_place_are_refused_when_planned(tmp_path: Path) -> None:
    """An own site 0.15 Å beside the hollow, which the hollow's own name already means."""
    first, second = read_host(plan(campaign(tmp_path))["WSe2"].calculation.structure).sites["H@top"].fractional
    models = [{"model": "WSe2", "own_sites": {"mine": own((first + 0.02, second + 0.01))}}]
    with pytest.raises(InputError, match="mine and H@top are in one place; a path needs two"):
        plan(campaign(tmp_path, models=models, barrier={"paths": [["mine", "H@top"]]}))


def test_paths_that_lead_nowhere_are_told_and_the_rest_goes_on(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """An own site that relaxes into the vacancy beside it, and a way through the sheet, which is barred dry."""
    named = campaign(tmp_path, models=["WSSe+VS"], sites=["V_S@top", "T_W@top"])
    first, second = read_host(plan(named)["WSSe+VS"].calculation.structure).sites["V_S@top"].fractional
    campaign(
        tmp_path,
        models=[{"model": "WSSe+VS", "own_sites": {"beside": own((first + 0.08, second))}}],
        sites=["V_S@top", "T_W@top", "H@bottom"],
        barrier={"paths": [["beside", "V_S@top"], ["V_S@top", "H@bottom"], ["V_S@top", "T_W@top"]]},
        protocol={"base": "paper", "max_force_ev_per_a": 0.05},
    )
    place = ("--launchpad", launchpad, "--root", "root")
    planned = " ".join(cli("plan", "small.yaml").stdout.split())
    assert "WSSe+VS/V_S@top..H@bottom: as a rule this dry engine bars the way through the sheet" in planned
    done = cli("run", "small.yaml", *place)
    assert done.returncode != 0
    with Results.open(launchpad) as results:
        (host,) = results.models()
    assert [path["path"] for path in host.paths] == ["V_S@top..T_W@top"]
    assert host.barrier_ev is not None
    said = " ".join(cli("results", *place).stdout.split())
    assert "barrier V_S@top..beside: failed" in said or "barrier beside..V_S@top: failed" in said
    assert "relaxed into one place" in said
    assert "barrier V_S@top..H@bottom: failed" in said
    assert "The way between these two sites is barred" in said


def test_a_path_that_begins_in_another_site_s_place_counts_once(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """Li put over Mo next to a vacancy falls into it, as the geometries say: of two equal paths one is told."""
    campaign(
        tmp_path,
        models=["MoSSe+VS"],
        sites=["T_Mo@top", "H@top", "V_S@top"],
        adsorbate={"element": "Li"},
        bulk_references={},
        vacuum_a=12.0,
        barrier={"paths": [["T_Mo@top", "H@top"], ["V_S@top", "H@top"]]},
    )
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("run", "small.yaml", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        (host,) = results.models()
        records = {name: results[f"MoSSe+VS/{name}"] for name in ("T_Mo@top", "V_S@top", "H@top")}
        saddles = [present(results[f"MoSSe+VS/{name}..H@top"].record.energy_ev) for name in ("T_Mo@top", "V_S@top")]
    # The ion has three metal atoms around it in both, as over the vacancy, and is over one of them in neither.
    heights = []
    for name in ("T_Mo@top", "V_S@top"):
        atoms = present(records[name].atoms)
        metals = [index for index, symbol in enumerate(atoms.symbols) if symbol == "Mo"]
        near = np.sort(atoms.get_distances(len(atoms) - 1, metals, mic=True))
        assert near[2] - near[0] < 0.3 < near[3] - near[2]
        heights.append(near[0])
    assert heights[0] == pytest.approx(heights[1], abs=0.05)
    assert saddles[0] == pytest.approx(saddles[1], abs=0.005)
    paths = {path["path"]: path for path in host.paths}
    moved, stayed = paths["T_Mo@top..H@top"], paths["V_S@top..H@top"]
    assert (moved["same_as"], moved["start_at"], moved["end_at"]) == ("V_S@top..H@top", "V_S@top", None)
    assert (stayed["same_as"], stayed["start_at"], stayed["end_at"]) == (None, None, None)
    assert host.barrier_path == "V_S@top..H@top"
    said = " ".join(cli("results", *place).stdout.split())
    assert "MoSSe+VS/T_Mo@top..H@top: T_Mo@top ended at V_S@top: this is V_S@top..H@top, which counts once" in said
    assert "MoSSe+VS/V_S@top..H@top: barrier 0." in said
    assert cli("report", *place, "--out", "page.html").returncode == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    (curves,) = (one["panels"]["curves-barrier"]["curves"] for group in drawn(text) for one in group["hosts"])
    assert [curve["name"] for curve in curves] == ["V_S@top..H@top"]
