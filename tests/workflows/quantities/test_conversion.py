"""Conversion of a campaign: planned, run dry, held against the energies of its records by hand, shown, refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sodiate.analysis.energies.conversion import ConversionResult, conversion_result, sources
from sodiate.analysis.model_result import HostRecords, ModelResult
from sodiate.analysis.records import MOCK, Geometry, Method, ParentRef, Provenance, Record
from sodiate.workflows.campaign.yaml import CONFIGS, InputError
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.quantities.conversion import Conversion
from sodiate.workflows.results.results import Results
from sodiate.workflows.start_structures import ideal_atoms
from support import present
from support.campaigns import Bench, small_campaign
from support.cli import Cli

FILES = CONFIGS / "campaigns"

REFERENCES: dict[str, Any] = {
    "Na": {"lattice": "bcc", "a": 4.19},
    "W": {"lattice": "bcc", "a": 3.184},
    "Na2S": {"lattice": "antifluorite", "a": 6.57, "kpoint_length_a": 30.0},
    "Na2Se": {"lattice": "antifluorite", "a": 6.85},
    "WSSe": {"crystal": "WSSe.cif", "kpoint_length_a": 30.0},
}

MASS = 183.84 + 32.06 + 78.971


def campaign(folder: Path, **changes: Any) -> Path:
    shutil.copy(FILES / "WSSe.cif", folder)
    given: dict[str, Any] = {
        "models": ["WSSe"],
        "sites": ["T_W@top"],
        "supercell": [1, 1],
        "quantities": [],
        "conversion": {"products": ["Na2Se", "Na2S", "W"]},
        "bulk_references": REFERENCES,
    }
    return small_campaign(folder, **given | changes)


def test_what_is_planned(tmp_path: Path) -> None:
    planned = plan(campaign(tmp_path), engine="gpaw")
    entry = planned.entry().models[0].quantities["conversion"]
    names = planned.names
    assert entry.calculations == {
        "bulk": names["Na-bcc"].id,
        "Na2Se": names["Na2Se-antifluorite"].id,
        "Na2S": names["Na2S-antifluorite"].id,
        "W": names["W-bcc"].id,
        "crystal": names["WSSe-crystal"].id,
    }
    assert entry.declared["equation"] == "WSSe + 4 Na → Na2Se + Na2S + W"
    assert (entry.declared["ions"], entry.declared["charge"]) == ("4", 1)
    # What a lattice gives is computed as it is; a crystal is relaxed in its cell; each with its own k points.
    kinds = {name: names[name].kind for name in ("Na2S-antifluorite", "WSSe-crystal")}
    assert kinds == {"Na2S-antifluorite": "bulk", "WSSe-crystal": "relax"}
    lengths = [names[name].protocol["kpoint_length_a"] for name in ("Na2S-antifluorite", "Na2Se-antifluorite")]
    assert lengths == [30.0, 60.0]
    assert names["WSSe-crystal"].protocol["kpoint_length_a"] == 30.0
    assert not names["WSSe-crystal"].protocol["dipole_correction"]
    assert present(ideal_atoms(names["WSSe-crystal"])).pbc.all()


def test_ids_of_a_campaign_do_not_change_with_it(tmp_path: Path) -> None:
    with_it = plan(campaign(tmp_path)).names
    without = plan(campaign(tmp_path, conversion=None)).names
    assert {name: with_it[name].id for name in without} == {name: one.id for name, one in without.items()}
    assert set(with_it) - set(without) == {
        *("Na-bcc", "W-bcc", "Na2S-antifluorite", "Na2Se-antifluorite", "WSSe-crystal")
    }


def test_a_vacancy_takes_fewer_ions(tmp_path: Path) -> None:
    """WSSe less a quarter of its S takes 3.5 Na; it has no crystal of its own."""
    planned = plan(campaign(tmp_path, models=["WSSe+VS"], sites=["V_S@top"], supercell=[2, 2]))
    entry = planned.entry().models[0].quantities["conversion"]
    assert entry.declared["equation"] == "WS0.75Se + 7/2 Na → Na2Se + 3/4 Na2S + W"
    assert "crystal" not in entry.calculations


def test_the_charge_of_the_ion_counts(tmp_path: Path) -> None:
    """Two Mg give as many electrons as four Na."""
    lattice = {"lattice": "fcc", "a": 4.52}
    references = {"Mg": lattice, "W": REFERENCES["W"], "MgS": {"crystal": "MgS.cif"}, "MgSe": {"crystal": "MgSe.cif"}}
    from ase.build import bulk
    from ase.io import write

    write(tmp_path / "MgS.cif", bulk("MgS", "rocksalt", a=5.2))
    write(tmp_path / "MgSe.cif", bulk("MgSe", "rocksalt", a=5.46))
    path = campaign(
        tmp_path,
        adsorbate={"element": "Mg"},
        bulk_references=references,
        conversion={"products": ["MgS", "MgSe", "W"]},
    )
    declared = plan(path).entry().models[0].quantities["conversion"].declared
    assert declared["equation"] == "WSSe + 2 Mg → MgS + MgSe + W"
    assert (declared["ions"], declared["charge"]) == ("2", 2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"conversion": {"products": ["Na2Se", "W"]}},
            "model WSSe: S of WSSe is in none of the products Na2Se and W",
        ),
        (
            {"conversion": {"products": ["Na2Se", "Na2S", "W", "Na"]}},
            "is balanced in more than one way, or not at all",
        ),
        ({"conversion": {"products": ["Na2Se", "Na2S", "W", "Na2Te"]}}, None),  # nothing of it forms
        ({"conversion": {"products": ["Na2Se", "Na2S", "Wo"]}}, "'Wo' is no element, and no formula"),
        ({"conversion": {"products": []}}, "conversion.products"),
        ({"conversion": {"product": ["W"]}}, "did you mean 'products'"),
        ({"bulk_references": {**REFERENCES, "Na2S": None}}, "conversion needs bulk_references.Na2S: {lattice, a}"),
        ({"bulk_references": {**REFERENCES, "Na": None}}, "conversion needs bulk_references.Na: "),
        (
            {"bulk_references": {**REFERENCES, "Na2S": {"lattice": "bcc", "a": 4.0}}},
            "bulk_references.Na2S: bcc is the lattice of an element; a compound has {lattice: antifluorite, a}",
        ),
        (
            {"bulk_references": {**REFERENCES, "NaS": {"lattice": "antifluorite", "a": 6.0}}},
            "bulk_references.NaS: antifluorite has two atoms of one element",
        ),
        ({"bulk_references": {**REFERENCES, "Na4S2": {"crystal": "WSSe.cif"}}}, "write Na2S"),
        ({"bulk_references": {**REFERENCES, "WSe2": {"crystal": "WSSe.cif"}}}, "has S, but must be of WSe2 alone"),
        (
            {"bulk_references": {**REFERENCES, "S": {"molecule": "S8.xyz", "kpoint_length_a": 3.0}}},
            "a molecule is computed at Γ; leave kpoint_length_a out",
        ),
        (
            {"adsorbate": {"element": "Fe"}, "bulk_references": {"Fe": {"lattice": "bcc", "a": 2.8}}},
            "conversion: the voltage needs the charge of Fe's ion",
        ),
    ],
)
def test_mistakes_are_told_when_planned(tmp_path: Path, changes: dict[str, Any], words: str | None) -> None:
    references = {name: one for name, one in changes.get("bulk_references", REFERENCES).items() if one is not None}
    path = campaign(tmp_path, **changes | {"bulk_references": references})
    if words is None:
        assert "Na2Te" not in plan(path).entry().models[0].quantities["conversion"].calculations
        return
    with pytest.raises(InputError) as caught:
        plan(path)
    assert words in str(caught.value), caught.value


@pytest.mark.parametrize("engine", ["gpaw", "vasp"])
def test_the_codes_have_inputs_of_all_crystals(cli: Cli, tmp_path: Path, engine: str) -> None:
    campaign(tmp_path)
    done = cli("inputs", "small.yaml", "--engine", engine, "--out", "inputs")
    assert done.returncode == 0, done.stderr
    folders = {path.name.rpartition("-")[0] for path in (tmp_path / "inputs").iterdir()}
    assert {"Na2S-antifluorite", "Na2Se-antifluorite", "W-bcc", "Na-bcc", "WSSe-crystal"} <= folders


def test_a_dry_run_gives_what_the_energies_give_by_hand(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """−[E(Na2Se) + E(Na2S) + E(W) − E(WSSe) − 4 E(Na)]/4 from the raw energies: the crystal has two units."""
    campaign(tmp_path)
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("run", "small.yaml", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        (result,) = results.models()
        names = ("Na2Se-antifluorite", "Na2S-antifluorite", "W-bcc", "Na-bcc", "WSSe", "WSSe-crystal")
        se, s, w, na, sheet, crystal = (present(results[name].record.energy_ev) for name in names)
        assert [len(results[name].atoms) for name in names] == [3, 3, 1, 1, 3, 6]
    assert result.conversion_voltage_v == pytest.approx(-(se + s + w - sheet - 4 * na) / 4, abs=1e-9)
    assert result.conversion_voltage_crystal_v == pytest.approx(-(se + s + w - crystal / 2 - 4 * na) / 4, abs=1e-9)
    assert result.conversion["energy_ev"] == pytest.approx(-4 * result.conversion_voltage_v)
    assert result.conversion_capacity_mah_per_g == pytest.approx(4 * 96485.332 / 3.6 / MASS, rel=1e-4)
    assert result.conversion_capacity_mah_per_g == pytest.approx(363.6, abs=0.1)  # the paper's formula
    assert result.reasons == ()
    _shown(cli, place, tmp_path, result)


def _shown(cli: Cli, place: tuple[Any, ...], folder: Path, result: Any) -> None:
    """In table, JSON, csv, page, supplement and archive."""
    said = " ".join(cli("results", *place).stdout.split())
    words = f"WSSe + 4 Na → Na2Se + Na2S + W: {result.conversion_voltage_v:.2f} V, crystal "
    assert f"WSSe: {words}" in said
    assert MOCK in said.split(words)[1]
    (one,) = json.loads(cli("results", *place, "--format", "json").stdout)
    assert one["conversion"]["voltage_v"] == pytest.approx(result.conversion_voltage_v)
    (row,) = csv.DictReader(io.StringIO(cli("results", *place, "--format", "csv").stdout))
    for key in ("conversion_voltage_v", "conversion_voltage_crystal_v", "conversion_capacity_mah_per_g"):
        assert float(row[key]) == pytest.approx(getattr(result, key))
    assert cli("report", *place, "--out", "report.html").returncode == 0
    assert "WSSe + 4 Na → Na2Se + Na2S + W: " in (folder / "report.html").read_text(encoding="utf-8")
    assert cli("si", *place, "--out", "si").returncode == 0
    methods = (folder / "si" / "methods.md").read_text(encoding="utf-8")
    assert "Average voltages of conversion are those of WSSe + 4 Na → Na2Se + Na2S + W" in " ".join(methods.split())
    numbers = list(csv.DictReader((folder / "si" / "numbers.csv").open(encoding="utf-8")))
    behind = {line["quantity"]: line["records"].split() for line in numbers}
    assert len(behind["conversion_voltage_v"]) == len(behind["conversion_voltage_crystal_v"]) == 5
    assert cli("export", "archive", *place).returncode == 0
    (again,) = json.loads(cli("results", "--archive", "archive", "--format", "json").stdout)
    assert again["conversion"] == one["conversion"]


DEAR = {"base": "paper", "final_energy": {"cutoff_ev": 700.0}}

FINAL_EV = {
    **{"WSSe/final": -20.0, "WSSe-crystal-final": -41.0, "Na-bcc-final": -1.3},
    **{"Na2S-antifluorite-final": -10.0, "Na2Se-antifluorite-final": -9.5, "W-bcc-final": -12.0},
}
"""Of one Na, and of two formula units of the crystal."""


def _recorded(planned: Plan, **changes: dict[str, Any]) -> dict[str, Record]:
    """Records of a plan by id: single points with the energies above, relaxations with one that may not enter."""
    records = {}
    for name, one in planned.names.items():
        if one.kind == "lowest":
            continue
        atoms = present(ideal_atoms(one.parents.get("geometry", one)))
        method = Method(engine="gpaw", engine_version="26", cutoff_ev=one.protocol["cutoff_ev"])
        given: dict[str, Any] = {
            **{"calculation": one.id, "label": name, "kind": one.kind, "engine": "gpaw", "physical": True},
            **{"free_energy_ev": None, "max_force_ev_per_a": None, "geometry": Geometry.of(atoms), "method": method},
            **{"sampling": None, "energy_ev": FINAL_EV.get(name, -999.0), "input_digest": ""},
            "parents": {role: ParentRef(calculation=parent.id, digest="") for role, parent in one.parents.items()},
            "provenance": Provenance(
                **dict.fromkeys(("host", "directory", "started", "finished"), ""),
                **{"versions": {}, "firework_id": None, "command": None, "execution": {}, "wall_time_s": 0.0},
                **{"launches": 1, "ionic_steps": 1, "scf_steps": None},
            ),
        }
        records[one.id] = Record(**given | changes.get(name, {}))
    return records


@pytest.mark.parametrize("sites", [["T_W@top"], []])
def test_with_final_energies_every_term_is_one(tmp_path: Path, sites: list[str]) -> None:
    """By hand −(−9.5 − 10 − 12 + 20 + 4 · 1.3)/4 = 1.575 V, and −(−31.5 + 20.5 + 5.2)/4 = 1.45 V of the crystal."""
    plain, planned = (plan(campaign(tmp_path, sites=sites, protocol=one), engine="gpaw") for one in ("paper", DEAR))
    assert {name: one.id for name, one in plain.names.items() if "lowest" not in name}.items() <= {
        name: one.id for name, one in planned.names.items()
    }.items()
    assert not planned.dropped
    model = planned.entry().models[0]
    records = _recorded(planned)
    found = conversion_result(model, records, str)
    assert (found.voltage_v, found.crystal_voltage_v) == pytest.approx((1.575, 1.45))
    assert found.reasons == ()
    # What the voltages are of: six energies, and the relaxations of what has one.
    of_sheet, of_crystal = ({records[i].label for i in sources(model, crystal)} for crystal in (False, True))
    products = {name for name in FINAL_EV if name not in ("WSSe/final", "WSSe-crystal-final")}
    assert of_sheet == {"WSSe/final", "WSSe", *products}
    assert of_crystal == {"WSSe-crystal-final", "WSSe-crystal", *products}


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("WSSe/final", {"parents": {}}, "WSSe/final was computed from no record as its geometry"),
        ("W-bcc-final", {"method": Method(engine="gpaw", engine_version="26", cutoff_ev=500.0)}, "cutoff_ev 700.0"),
    ],
)
def test_a_term_of_another_method_is_refused(tmp_path: Path, name: str, change: dict[str, Any], words: str) -> None:
    planned = plan(campaign(tmp_path, protocol=DEAR), engine="gpaw")
    found = conversion_result(planned.entry().models[0], _recorded(planned, **{name: change}), str)
    assert found.voltage_v is None
    assert any(words in reason for reason in found.reasons), found.reasons


@pytest.mark.parametrize(("changes", "told"), [({}, False), ({"uncertainty": ["cutoff"]}, True)])
def test_that_it_has_no_error_bar_is_said(tmp_path: Path, changes: dict[str, Any], told: bool) -> None:
    entry = plan(campaign(tmp_path, **changes), engine="gpaw").entry()
    found = ConversionResult("WSSe + 4 Na → …", 4.0, -4.4, 1.1, capacity_mah_per_g=363.6)
    result = ModelResult(HostRecords(entry, entry.models[0], {}, {}, True), {"conversion": found}, {}, ())
    (line,) = Conversion().remarks([result])
    assert line.endswith("363.6 mAh/g; ± not known: uncertainty is of ΔE alone" if told else "363.6 mAh/g")


def test_what_lacks_or_differs_is_told(bench: Bench, tmp_path: Path) -> None:
    """Without the crystal the sheet's voltage stands; without W, or with W of another functional, there is none."""
    planned = plan(campaign(tmp_path))
    bench.submit(planned)
    bench.launch(planned)
    names, records = planned.names, bench.documents.records
    records.delete_many({"calculation": names["WSSe-crystal"].id})
    (result,) = Results(bench.documents, "here").models()
    assert result.conversion_voltage_v is not None
    assert result.conversion_voltage_crystal_v is None
    assert any(reason.startswith("conversion: crystal: ") for reason in result.reasons)
    records.update_one({"calculation": names["W-bcc"].id}, {"$set": {"method.functional": "LDA"}})
    (result,) = Results(bench.documents, "here").models()
    assert result.conversion_voltage_v is None
    records.delete_many({"calculation": names["W-bcc"].id})
    (result,) = Results(bench.documents, "here").models()
    assert (result.conversion_voltage_v, result.conversion_capacity_mah_per_g) == (None, None)
    assert any(reason.startswith("conversion: W: ") for reason in result.reasons)


@pytest.mark.long
def test_the_bundled_campaign_dry(cli: Cli, launchpad: Path) -> None:
    done = cli("run", "wsse-conversion", "--launchpad", launchpad)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(cli("results", "--format", "json", "--launchpad", launchpad).stdout)
    assert [row["model"] for row in rows] == ["WSe2", "WSSe", "WS2"]
    for row, capacity in zip(rows, (313.7, 363.6, 432.4), strict=True):
        assert row["converged"]
        assert row["conversion_capacity_mah_per_g"] == pytest.approx(capacity, abs=0.1)
        assert row["conversion_voltage_crystal_v"] is not None
