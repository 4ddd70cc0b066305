"""Bands, lattice constants and formation energies of hosts from structure files, as those of monolayers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from sodiate.workflows.campaign.yaml import CONFIGS, InputError
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from sodiate.workflows.start_structures import Host
from support import present
from support.campaigns import small_campaign
from support.cli import Cli

REFERENCES: dict[str, Any] = {
    "Mo": {"lattice": "bcc", "a": 3.6},  # stretched, so that the sheet of the dry run lies below its elements
    "W": {"lattice": "bcc", "a": 3.184},
    "S": {"molecule": "S8.xyz"},
    "Na": {"lattice": "bcc", "a": 4.19},
}
MODELS: list[dict[str, Any]] = [
    {"name": "sheet", "file": "MoS2.cif"},
    {"name": "less-S", "file": "MoS2.cif", "remove": ["S@7"]},
    {"name": "doped", "file": "MoS2.cif", "replace": {"Mo@3": "W"}},
]


def campaign(folder: Path, quantities: list[str], models: Any = MODELS, **changes: Any) -> Path:
    for name in ("MoS2.cif", "S8.xyz"):
        shutil.copy(CONFIGS / "campaigns" / name, folder)
    return small_campaign(
        folder, models=models, sites=["T_Mo@top"], quantities=quantities, bulk_references=REFERENCES, **changes
    )


def planned(folder: Path, quantities: list[str], **changes: Any) -> Plan:
    return plan(campaign(folder, quantities, **changes))


def test_bands_of_a_file_are_those_of_its_cell(tmp_path: Path) -> None:
    found = planned(tmp_path, ["bands"])
    host, bands = found.names["MoS2/1x1"], found.names["MoS2/bands"]
    assert (bands.kind, bands.parents["geometry"].id) == ("bands", host.id)
    assert len(Host(host.structure).atoms) == 3
    assert {name: part.calculations["bands"].id for name, part in found.quantities["bands"].hosts.items()} == {
        "sheet": bands.id, "less-S": bands.id, "doped": bands.id,
    }  # fmt: skip


def test_the_lattice_of_a_file_is_relaxed_and_its_edges_are_declared(tmp_path: Path) -> None:
    rectangular = Atoms("MoS2", [(0, 0, 10), (1.6, 2.5, 11.2), (1.6, 2.5, 8.8)], cell=(3.2, 5.0, 20), pbc=True)
    rectangular.write(tmp_path / "odd.vasp", format="vasp")
    models = [*MODELS, {"name": "odd", "file": "odd.vasp", "sites": ["T_X@top"]}]
    found = planned(tmp_path, ["lattice"], models=models, engine="gpaw").quantities["lattice"]
    assert set(found.shared) == {"MoS2/lattice", "odd/lattice"}
    assert found.hosts["odd"].declared == {
        "layer": "odd", "declared_a": pytest.approx(3.2), "declared_b": pytest.approx(5.0),
    }  # fmt: skip
    assert found.hosts["less-S"].calculations["lattice"].id == found.shared["MoS2/lattice"].id
    with pytest.raises(InputError, match=r"scans one lattice constant, and odd has two, 3\.2000 and 5\.0000 Å"):
        planned(tmp_path, ["lattice"], models=models, engine="gpaw", execution={"cell": "scan"})


def test_two_files_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(CONFIGS / "campaigns" / "MoS2.cif", tmp_path)
    from ase.io import read

    wider = read(tmp_path / "MoS2.cif")
    assert isinstance(wider, Atoms)
    wider.set_cell(wider.cell * [[1.02], [1.02], [1.0]], scale_atoms=True)
    wider.write(tmp_path / "other" / "MoS2.cif")
    models = [*MODELS, {"name": "wider", "file": "other/MoS2.cif"}]
    assert set(planned(tmp_path, ["bands"], models=models).quantities["bands"].shared) == {
        *("MoS2/1x1", "MoS2/bands", "wider/1x1", "wider/bands")
    }
    # A sheet's name is never that of a host from another file: its bands would pass for that host's, or be lost.
    models[-1]["name"] = "MoS2"
    found = planned(tmp_path, ["bands"], models=models)
    assert set(found.quantities["bands"].shared) == {"sheet/1x1", "sheet/bands", "MoS2/1x1", "MoS2/bands"}
    for host in ("sheet", "MoS2"):
        assert found.quantities["bands"].hosts[host].calculations["bands"] == found.names[f"{host}/bands"]


def test_bands_of_two_files_of_one_formula_are_two_figures(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    from ase.io import read

    folder = tmp_path / "two"
    folder.mkdir()
    shutil.copy(CONFIGS / "campaigns" / "MoS2.cif", folder)
    wider = read(folder / "MoS2.cif")
    assert isinstance(wider, Atoms)
    wider.set_cell(wider.cell * [[1.02], [1.02], [1.0]], scale_atoms=True)
    wider.write(folder / "wider.cif")
    models = [{"name": "narrow", "file": "MoS2.cif"}, {"name": "more", "file": "wider.cif"}]
    path = small_campaign(folder, models=models, supercell=[1, 1], sites=["T_Mo@top"], quantities=["bands"])
    place = ("--launchpad", launchpad, "--root", "root")
    assert cli("run", path, *place).returncode == 0
    assert cli("si", "--out", "supplement", *place).returncode == 0
    drawn = {file.name for file in (tmp_path / "supplement" / "figures").glob("bands-*.svg")}
    assert drawn == {"bands-MoS2.svg", "bands-wider.svg"}
    assert len({(tmp_path / "supplement" / "figures" / name).read_bytes() for name in drawn}) == 2


def test_formation_energies_of_a_file_are_against_the_file_without_its_defects(tmp_path: Path) -> None:
    found = planned(tmp_path, ["vacancy_formation"])
    parts = found.quantities["vacancy_formation"].hosts
    assert set(parts) == {"less-S", "doped"}
    assert parts["less-S"].calculations["pristine"].id == found.names["sheet"].id
    assert parts["less-S"].declared == {"removed": {"S": 1}, "unit": {"Mo": 1, "S": 2}, "metal": "Mo"}
    assert parts["doped"].declared["removed"] == {"Mo": 1, "W": -1}
    assert set(parts["doped"].calculations) == {"pristine", "Mo", "S", "W"}


def test_a_dry_run_gives_what_the_formulas_give_by_hand(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    campaign(tmp_path, ["vacancy_formation", "bands"])
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("run", "small.yaml", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        found = {model.model: model for model in results.models()}
        names = ("sheet", "less-S", "doped", "Mo-bcc", "W-bcc", "S-molecule")
        energy = {name: present(results[name].record.energy_ev) for name in names}
        bands = results["MoS2/bands"].record
    assert bands.gap is not None
    sulphur = energy["S-molecule"] / 8
    unit = energy["sheet"] / 4
    less = found["less-S"].quantities["vacancy_formation"]
    assert less.reason is None
    assert less.x_rich_ev == pytest.approx(energy["less-S"] - energy["sheet"] + sulphur, abs=1e-9)
    metal_rich = energy["less-S"] - energy["sheet"] + (unit - energy["Mo-bcc"]) / 2
    assert less.metal_rich_ev == pytest.approx(metal_rich, abs=1e-9)
    doped, change = found["doped"].quantities["vacancy_formation"], energy["doped"] - energy["sheet"]
    assert doped.x_rich_ev == pytest.approx(change + unit - 2 * sulphur - energy["W-bcc"], abs=1e-9)
    assert doped.metal_rich_ev == pytest.approx(change + energy["Mo-bcc"] - energy["W-bcc"], abs=1e-9)
    said = " ".join(cli("results", *place).stdout.split())
    assert "doped: formation energy of 1 Mo less, 1 W more:" in said
    assert "less-S: formation energy of 1 V_S:" in said


def test_a_sheet_without_one_metal_is_refused_when_planned(tmp_path: Path) -> None:
    from ase.build import graphene

    graphene(vacuum=10).write(tmp_path / "graphene.vasp", format="vasp")
    models = [{"name": "holey", "file": "graphene.vasp", "remove": ["C@0"]}]
    with pytest.raises(InputError, match="model holey: its limits are those of a sheet of one metal"):
        plan(
            small_campaign(
                tmp_path, models=models, sites="all", quantities=["vacancy_formation"], engine="gpaw",
                bulk_references={"C": {"lattice": "fcc", "a": 3.5}},
            )
        )  # fmt: skip
