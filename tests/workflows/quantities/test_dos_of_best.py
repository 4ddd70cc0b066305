"""The electrons of the best site beside the host's: planned, computed dry, held against hand values, shown."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sodiate.analysis.arrays import Dos
from sodiate.analysis.energies.with_adsorbate import Behind, common_zero, spectra, with_adsorbate
from sodiate.analysis.records import BandGap, Geometry, Method, Record, Sampling
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from sodiate.workflows.runner import run_calculation
from sodiate.workflows.runner.offline import seal, unsealed
from support import present
from support.campaigns import small_campaign
from support.cli import Cli

from ..engines.test_best_site import PROVENANCE

CELL = ((6.0, 0.0, 0.0), (0.0, 6.0, 0.0), (0.0, 0.0, 20.0))
BOTH = {"of": ["host", "best"]}


def record(label: str, ion_z_a: float | None = None, **values: Any) -> Record:
    """A sheet from 8 to 11 Å, with an ion at a height if one is given."""
    heights = [8.0, 9.5, 11.0, *([] if ion_z_a is None else [ion_z_a])]
    symbols = ("Se", "W", "S", "Na")[: len(heights)]
    places = tuple((0.0, 0.0, z) for z in heights)
    given: dict[str, Any] = {
        "calculation": label, "label": label, "kind": "dos", "engine": "gpaw", "physical": True, "energy_ev": None,
        "free_energy_ev": None, "max_force_ev_per_a": None, "method": Method(engine="gpaw", engine_version="26"),
        "geometry": Geometry(symbols=symbols, positions_a=places, cell_a=CELL, pbc=(True, True, False)),
        "sampling": Sampling(cell_a=CELL), "input_digest": "", "parents": {}, "provenance": PROVENANCE,
    }  # fmt: skip
    return Record(**given | values)


INSULATOR = BandGap(gap_ev=1.5, nature="direct", vbm_ev=-1.0, cbm_ev=0.5, fermi_ev=-0.2)
METAL = BandGap(gap_ev=0.0, nature="metal", fermi_ev=0.75)


def behind(**changes: Any) -> Behind:
    values = {
        "host_dos": record("host/dos", gap=INSULATOR, vacuum_ev=(4.25, 5.0)),
        "best_dos": record("best/dos", 13.5, gap=METAL, vacuum_ev=(4.5, 2.5)),
        "host": record("host", total_moment_mub=0.0),
        "site": record("site", 13.5, total_moment_mub=1.0, final_moments_mub=(0.0, 0.75, 0.125, 0.0625)),
        "together": record("*Na", 13.5, basin_electrons=(6.5, 14.0, 6.25, 6.25)),
        "alone": record("Na", basin_electrons=(7.0,)),
    }
    return Behind(**values | changes)


def test_numbers_by_hand() -> None:
    found = with_adsorbate(behind(), "T_W@top", ())
    assert (found.site, found.gap_change) == ("T_W@top", "1.500 → 0 (metal)")
    # A metal's work function is from its Fermi level to the vacuum of each face.
    assert (found.best_work_function_bottom_ev, found.best_work_function_top_ev) == (4.5 - 0.75, 2.5 - 0.75)
    assert (found.host_moment_mub, found.best_moment_mub, found.ion_moment_mub) == (0.0, 1.0, 0.0625)
    assert found.ion_charge_e == 0.75  # seven electrons alone, 6.25 in its basin
    assert found.reasons == ()


def test_what_cannot_be_told_is_said() -> None:
    foreign = record("best/dos", 13.5, gap=METAL, method=Method(engine="gpaw", engine_version="26", cutoff_ev=300.0))
    old = record("*Na", 13.5)
    found = with_adsorbate(behind(best_dos=foreign, together=old), None, ("DOS: stale",))
    assert (found.gap_change, found.ion_charge_e, found.best_work_function_top_ev) == (None, None, None)
    assert found.best_gap_ev == 0.0
    words = "\n".join(found.reasons)
    assert "DOS: stale" in words
    assert "cutoff_ev" in words
    assert "of an older sodiate, which counted no basins" in words
    assert "recorded no vacuum levels" in words
    dry = record("best/dos", 13.5, gap=METAL, physical=False)
    assert not any("vacuum" in reason for reason in with_adsorbate(behind(best_dos=dry), None, ()).reasons)
    none = with_adsorbate(behind(best_dos=None, together=None, alone=None), None, ())
    assert (none.best_gap_ev, none.ion_charge_e, none.reasons) == (None, None, ())


@pytest.mark.parametrize(("ion_z_a", "host_ev", "words"), [(13.5, 4.25, "bottom"), (6.0, 5.0, "top")])
def test_the_common_zero_is_the_vacuum_of_the_bare_face(ion_z_a: float, host_ev: float, words: str) -> None:
    """The ion's dipole moves the level on its own face, and both sheets have the same vacuum on the other."""
    both = behind(best_dos=record("best/dos", ion_z_a, gap=METAL, vacuum_ev=(4.5, 2.5)))
    zero = present(common_zero(present(both.host_dos), present(both.best_dos)))
    assert (zero.host_ev, zero.best_ev) == (host_ev, 4.5 if words == "bottom" else 2.5)
    assert (zero.words, zero.is_vacuum) == (f"the vacuum level at the {words} face", True)
    grid = np.linspace(-6.0, 6.0, 121)
    dos = Dos(grid, np.ones((1, 121)), {}, 0.0, 0.1)
    bare, best = spectra(("host", "with"), ((dos, INSULATOR), (dos, METAL)), zero)
    assert (bare.fermi_ev, best.fermi_ev) == (-0.2 - zero.host_ev, 0.75 - zero.best_ev)
    assert (bare.gap, best.gap) == ("gap 1.50 eV", "metal")


def test_a_molecule_counts_with_all_its_atoms() -> None:
    """The last one alone has another charge and moment, and lies on the other side of the sheet's middle."""
    lying = Geometry(
        symbols=("Se", "W", "S", "Na", "Na", "S"),
        positions_a=tuple((0.0, 0.0, z) for z in (8.0, 9.5, 11.0, 6.0, 7.0, 9.75)),
        cell_a=CELL,
        pbc=(True, True, False),
    )
    both = behind(
        site=record("site", geometry=lying, final_moments_mub=(0.0, 0.5, 0.125, 0.25, 0.125, 0.0625)),
        together=record("*Na2S", basin_electrons=(6.5, 14.0, 6.25, 6.25, 6.5, 7.0)),
        alone=record("Na2S", basin_electrons=(6.75, 6.75, 7.0)),
        best_dos=record("best/dos", geometry=lying, gap=METAL, vacuum_ev=(4.5, 2.5)),
    )
    found = with_adsorbate(both, "T_W@bottom:flat", (), 3)
    assert found.ion_charge_e == 20.5 - 19.75
    assert found.ion_moment_mub == 0.4375
    zero = present(common_zero(present(both.host_dos), present(both.best_dos), 3))
    assert zero.words == "the vacuum level at the top face"


def test_without_vacuum_levels_each_has_its_fermi_level() -> None:
    zero = present(common_zero(record("a", gap=INSULATOR), record("b", 13.5, gap=METAL)))
    assert (zero.host_ev, zero.best_ev, zero.words) == (-0.2, 0.75, "each one's Fermi level")
    assert common_zero(record("a"), record("b", 13.5, gap=METAL)) is None


def test_it_is_planned_at_the_chosen_site_and_changes_no_other_id(tmp_path: Path) -> None:
    plain, both = (plan(small_campaign(tmp_path, **given)) for given in ({}, {"dos": BOTH}))
    assert {name: c.id for name, c in both.names.items() if name != "WSSe+VS/dos/best"} == {
        name: c.id for name, c in plain.names.items()
    }
    best, host = (both.names[f"WSSe+VS/{name}"] for name in ("dos/best", "dos"))
    assert best.parents == {"lowest": both.names["WSSe+VS/lowest"]}
    assert (best.kind, best.protocol) == ("dos", host.protocol)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dos": {"of": ["best"]}}, "dos.of: it lacks host, beside which the others are shown: [host, best]."),
        ({"dos": {"of": ["host", "T_W@top"]}}, "dos.of"),
        ({"dos": BOTH, "quantities": ["work_function"]}, "dos.of: quantities have no dos; add it there"),
    ],
)
def test_bad_input_is_refused_when_planned(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(small_campaign(tmp_path, **changes))
    assert message in str(caught.value)
    assert "small.yaml" in str(caught.value)


def test_a_dry_campaign_shows_both(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    small_campaign(tmp_path, models=["WSe2"], sites=["T_W@top"], dos=BOTH)
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("run", "small.yaml", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        (host,) = results.models()
        best, site = results["WSe2/dos/best"].record, results["WSe2/T_W@top"].record
        dos = results.documents.arrays(best, "dos")
    # The ion brings one electron to a sheet whose bands were whole: of an odd number none fills whole bands.
    assert (host.gap_nature, host.best_gap_nature, host.best_gap_ev) == ("direct", "metal", 0.0)
    assert host.gap_change.endswith("→ 0 (metal)")
    assert best.geometry == site.geometry
    assert best.parents.keys() == {"lowest"}
    assert isinstance(dos, Dos)
    assert dos.projected["Na-s"].max() > 0

    said = cli("results", *place).stdout
    assert "WSe2: with Na at T_W@top: gap 1." in said
    (row,) = csv.DictReader(io.StringIO(cli("results", *place, "--format", "csv").stdout))
    assert (row["best_gap_ev"], row["best_gap_nature"], row["ion_charge_e"]) == ("0.0", "metal", "")
    (shown,) = json.loads(cli("results", *place, "--format", "json").stdout)
    assert shown["best_gap_ev"] == 0.0
    page = cli("report", *place, "--out", "page.html")
    assert page.returncode == 0, page.stderr
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Density of states of WSe2 alone and with Na" in text
    assert "zero is each one's Fermi level, spin down" in text.replace("&#39;", "'").replace("&#x27;", "'")
    assert "Fermi level of WSe2" not in text  # both are at zero, where the axis is
    made = cli("si", *place, "--out", "si")
    assert made.returncode == 0, made.stderr
    assert list((tmp_path / "si").rglob("dos-of-best.*"))
    check_sources(launchpad, tmp_path)


def check_sources(launchpad: Path, folder: Path) -> None:
    """It goes on from the relaxation that was chosen, also in a folder that a job takes away; a density does not."""
    with Results.open(launchpad) as results:
        documents = results.documents
        (host,) = results.models()
        calculation = documents.calculation(present(host.host.identifier("dos_of_best", "best")))
        records = host.host.records
    parents = run_calculation._parents(calculation, records, folder / "root")
    chosen = records[host.host.model.sites[0].calculation]
    assert parents["geometry"].record == chosen
    assert present(parents["geometry"].directory).name.startswith("WSe2_T_W@top-")
    density = run_calculation._parents(replace(calculation, kind="density"), records, folder / "root")
    assert density.keys() == {"lowest"}
    task = run_calculation.Task(calculation, parents, {}, {}, (), 0)
    assert task.references.keys() == {"lowest"}
    (folder / "away").mkdir()
    seal(folder / "away", task, None)
    assert unsealed(folder / "away").task.parents["geometry"].record == chosen
