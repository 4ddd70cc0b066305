"""Vacancy formation energies of a campaign: planned, run, held against the formula by hand, and refused."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sodiate.analysis.records import MOCK
from sodiate.structures.elemental import read_crystal, read_molecule
from sodiate.structures.errors import StructureError
from sodiate.workflows.campaign.yaml import CONFIGS, InputError
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from support import present
from support.campaigns import small_campaign
from support.cli import Cli

FILES = CONFIGS / "campaigns"

REFERENCES: dict[str, Any] = {
    "W": {"lattice": "bcc", "a": 3.184},
    "Se": {"crystal": "Se.cif"},
    "S": {"molecule": "S8.xyz"},
    "Na": {"lattice": "bcc", "a": 4.19},
}


def campaign(folder: Path, **changes: Any) -> Path:
    for name in ("Se.cif", "S8.xyz"):
        shutil.copy(FILES / name, folder)
    given = {"sites": ["T_W@bottom"], "quantities": ["vacancy_formation"], "bulk_references": REFERENCES}
    return small_campaign(folder, **given | changes)


def test_the_references_of_the_bundled_campaign_have_the_right_bonds() -> None:
    """S8: bonds of 2.05 Å, angles of 108°. Selenium: chains of bonds of 2.37 Å, 3.4 Å apart (experiment)."""
    ring = read_molecule(FILES / "S8.xyz", "S", (12.0, 12.5, 13.0)).atoms()
    near = np.sort(ring.get_all_distances(mic=True), axis=1)
    assert near[:, 1:3] == pytest.approx(np.full((8, 2), 2.05), abs=0.02)
    assert ring.get_angle(0, 1, 2) == pytest.approx(108.0, abs=1.0)
    assert ring.positions.mean(axis=0) == pytest.approx([6.0, 6.25, 6.5])
    crystal = read_crystal(FILES / "Se.cif", "Se").atoms()
    near = np.sort(crystal.repeat(3).get_all_distances(mic=True)[0])
    assert near[1:3] == pytest.approx([2.37, 2.37], abs=0.04)
    assert 3.2 < near[3] < 3.8
    assert crystal.cell.volume / 3 == pytest.approx(29.7, abs=0.2)


def test_a_dry_run_gives_what_the_formula_gives_by_hand(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """E_f = E(defect) − E(host) + μ_S, the energies those of the records, the limits written out here once more."""
    campaign(tmp_path, models=["WSSe", "WSSe+VS"])
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("run", "small.yaml", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        (clean, defective) = results.models()
        energy = {name: present(results[name].record.energy_ev) for name in ("WSSe", "WSSe+VS", "W-bcc")}
        sulphur = results["S-molecule"].record
        selenium = results["Se-crystal"].record
    assert "vacancy_formation" not in clean.quantities
    formation = defective.quantities["vacancy_formation"]
    assert sulphur.sampling is not None
    assert sulphur.sampling.kmesh is None  # the dry engine has no k points
    assert sulphur.max_force_ev_per_a is not None
    assert sulphur.max_force_ev_per_a < 0.02
    assert sulphur.energy_ev is not None
    assert selenium.energy_ev is not None
    mu_s, mu_se = sulphur.energy_ev / 8, selenium.energy_ev / 3
    rich = energy["WSSe+VS"] - energy["WSSe"] + mu_s
    assert formation.x_rich_ev == pytest.approx(rich, abs=1e-9)
    formed = energy["WSSe"] / 4 - energy["W-bcc"] - mu_s - mu_se
    assert formed < 0
    assert formation.metal_rich_ev == pytest.approx(rich + formed / 2, abs=1e-9)
    said = " ".join(cli("results", *place).stdout.split())
    assert f"WSSe+VS: formation energy of 1 V_S: {rich:.3f} eV X-rich" in said
    assert MOCK in said.split("formation energy of")[1]
    assert cli("si", *place, "--out", "si").returncode == 0
    methods = (tmp_path / "si" / "methods.md").read_text(encoding="utf-8")
    assert "formation energies of vacancies are those of W-bcc, S-molecule and Se-crystal" in methods
    one = json.loads(cli("results", *place, "--format", "json").stdout)[1]
    assert one["vacancy_formation"]["removed"] == {"S": 1}
    # An archive's keys are in another order, which must not make sulphur the metal.
    assert cli("export", "archive", *place).returncode == 0
    (again,) = json.loads(cli("results", "--archive", "archive", "--model", "WSSe+VS", "--format", "json").stdout)
    assert again["vacancy_formation"] == one["vacancy_formation"]
    _, row = csv.DictReader(io.StringIO(cli("results", *place, "--format", "csv").stdout))
    assert float(row["formation_x_rich_ev"]) == pytest.approx(rich)
    assert float(row["formation_metal_rich_ev"]) == pytest.approx(formation.metal_rich_ev)


def test_a_host_that_is_no_model_is_planned_for_its_vacancies(tmp_path: Path) -> None:
    planned = plan(campaign(tmp_path, models=["WSSe+VS", "WSSe+VS+VSe", "WSSe+VSe"]))
    pristine = planned.names["WSSe+VS/pristine"]
    assert pristine.id == plan(campaign(tmp_path, models=["WSSe"])).names["WSSe"].id
    (both,) = [model for model in planned.entry().models if model.name == "WSSe+VS+VSe"]
    entry = both.quantities["vacancy_formation"]
    assert entry.declared == {"removed": {"S": 1, "Se": 1}, "unit": {"W": 1, "S": 1, "Se": 1}, "metal": "W"}
    elements = {"W": "W-bcc", "Se": "Se-crystal", "S": "S-molecule"}
    expected = {element: planned.names[name].id for element, name in elements.items()}
    assert entry.calculations == {"pristine": pristine.id, **expected}


def test_ids_of_a_campaign_do_not_change_with_the_quantity(tmp_path: Path) -> None:
    with_it = plan(campaign(tmp_path, models=["WSSe", "WSSe+VS"])).names
    without = plan(campaign(tmp_path, models=["WSSe", "WSSe+VS"], quantities=[])).names
    assert {name: with_it[name].id for name in without} == {name: one.id for name, one in without.items()}
    assert set(with_it) - set(without) == {"W-bcc", "Se-crystal", "S-molecule"}


def test_elements_are_sampled_as_what_they_are(tmp_path: Path) -> None:
    """A molecule as the isolated atom is, at Γ; a crystal as bulk; neither with a dipole correction."""
    names = plan(campaign(tmp_path, models=["WSSe+VS"], engine="gpaw")).names
    molecule, crystal, metal = (names[name] for name in ("S-molecule", "Se-crystal", "W-bcc"))
    assert [one.kind for one in (molecule, crystal, metal)] == ["relax", "relax", "bulk"]
    assert [one.protocol["kpoint_length_a"] for one in (molecule, crystal, metal)] == [0.0, 60.0, 60.0]
    assert not any(one.protocol["dipole_correction"] for one in (molecule, crystal, metal))
    assert molecule.protocol["max_force_ev_per_a"] == crystal.protocol["max_force_ev_per_a"] == 0.02


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ({"S": None}, r"vacancy_formation needs bulk_references\.S: \{lattice, a\}, \{crystal: FILE\} or"),
        ({"S": {"crystal": "Se.cif"}}, r"bulk_references\.S: .*Se\.cif: has Se, but must be of S alone"),
        ({"S": {"crystal": "S8.xyz"}}, r"bulk_references\.S: .*S8\.xyz: a crystal needs three cell vectors"),
        ({"S": {"molecule": "S9.xyz"}}, r"bulk_references\.S: .*S9\.xyz: no such structure file"),
        ({"S": {"molecule": "S8.xyz", "a": 3.0}}, r"a reference is \{lattice, a\}, or \{crystal: FILE\}"),
        ({"S": {"lattice": "bcc"}}, r"a reference is \{lattice, a\}, or \{crystal: FILE\}"),
    ],
)
def test_references_that_cannot_be_are_refused(references: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {key: value for key, value in (REFERENCES | references).items() if value is not None}
    path = campaign(tmp_path, bulk_references=given)
    if "S" in references and references["S"] is None:
        path.write_text(path.read_text().replace("  S:\n    molecule: S8.xyz\n", ""))
    with pytest.raises(InputError, match=message) as caught:
        plan(path)
    assert str(path) in str(caught.value)


def test_a_molecule_that_meets_its_images_is_refused() -> None:
    with pytest.raises(StructureError, match=re.escape("in a box of 9 × 9 × 9 Å only 4.3 Å are left")):
        read_molecule(FILES / "S8.xyz", "S", (9.0, 9.0, 9.0))
