"""Names: of folders after the campaign's own, of two polymorphs, of what vacancies took; folders of old roots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ase.build import graphene, mx2
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.database.connection import initialise, open_root
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.archive import export_archive, import_archive
from sodiate.workflows.start_structures import read_host
from support.campaigns import Bench, small_campaign
from support.cli import Cli

LAYER = {"metal": "Mo", "top": "S", "bottom": "S", "a": 3.184, "bond_top": 2.41, "bond_bottom": 2.41}


def campaign(folder: Path, models: list[Any], **keys: Any) -> Path:
    path = folder / "mine.yaml"
    values = {"campaign": "mine", "monolayers": {"MoS2": LAYER}, "models": models, "engine": "gpaw", **keys}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def folders(one: Plan, host: str) -> set[str]:
    """What the folders of a host and its sites are called by, without their ids."""
    found = next(planned for planned in one.hosts if planned.name == host)
    return {c.directory_name.rpartition("-")[0].partition("_")[0] for c in (found.calculation, *found.sites.values())}


def test_a_host_from_a_file_has_folders_of_its_name(tmp_path: Path) -> None:
    """Carbon's folders were called C, those of two MoS2 both MoS2."""
    sheet = graphene(vacuum=8)
    sheet.pbc = True
    sheet.write(tmp_path / "graphene.cif")
    for kind in ("1T", "2H"):
        mx2("MoS2", kind=kind, a=3.18, vacuum=8).write(tmp_path / f"{kind}.vasp")
    models = [
        {"name": "graphene", "file": "graphene.cif"},
        {"name": "MoS2-1T", "file": "1T.vasp"},
        {"name": "MoS2-2H", "file": "2H.vasp"},
        {"name": "MoS2-2H-holes", "file": "2H.vasp", "vacancies": {"S": 3}},
    ]
    one = plan(campaign(tmp_path, models, quantities=["dos", "bands"], sites=[], supercell=[2, 2]))
    for name in ("graphene", "MoS2-1T", "MoS2-2H", "MoS2-2H-holes"):
        assert folders(one, name) == {name}
    assert not {calculation.label.partition("/")[0] for calculation in one.calculations} & {"C", "MoS2"}
    assert [model.label for model in one.entry().models] == ["C", "MoS2", "MoS2", "MoS2+3VS"], "what they are"


def test_two_monolayers_of_one_formula_are_told_apart(tmp_path: Path) -> None:
    layers = {"MoS2": LAYER, "strained": {**LAYER, "a": 3.3}}
    one = plan(campaign(tmp_path, ["MoS2", "MoS2+VS", "strained", "strained+VS"], monolayers=layers))
    assert [host.calculation.label for host in one.hosts] == ["MoS2", "MoS2+VS", "strained", "strained+VS"]


def test_a_name_is_no_part_of_an_id(tmp_path: Path) -> None:
    sheet = graphene(vacuum=8)
    sheet.pbc = True
    sheet.write(tmp_path / "graphene.cif")
    first, second = (plan(campaign(tmp_path, [{"name": name, "file": "graphene.cif"}])) for name in ("C", "another"))
    assert [c.id for c in first.calculations] == [c.id for c in second.calculations]


def older(bench: Bench, one: Plan) -> None:
    """Let a database be one of before there were names: labels are formulas."""
    for host in one.hosts:
        formula = read_host(host.calculation.structure).label
        for calculation in one.calculations:
            if calculation.label.partition("/")[0] == host.calculation.label:
                label = calculation.label.replace(host.calculation.label, formula, 1)
                bench.documents.calculations.update_one({"_id": calculation.id}, {"$set": {"label": label}})


def small(folder: Path) -> Plan:
    """One host with two sites, called `sheet`, whose folders an older sodiate called WSSe."""
    layer = {"metal": "W", "top": "S", "bottom": "Se", "a": 3.252, "bond_top": 2.416, "bond_bottom": 2.538}
    keys = {"monolayers": {"sheet": layer}, "models": ["sheet"], "sites": ["T_W@top", "T_W@bottom"]}
    return plan(small_campaign(folder, **keys))


def test_an_older_root_goes_on_in_its_own_folders(bench: Bench, tmp_path: Path) -> None:
    one = small(tmp_path)
    bench.submit(one)
    older(bench, one)
    bench.submit(one)
    host = one["sheet"].calculation
    assert bench.documents.calculation(host.id).label == "WSSe"
    bench.launch(one)
    made = sorted(path.name for path in bench.root.iterdir() if path.name.startswith(("WSSe", "sheet")))
    assert f"WSSe-{host.id}" in made
    assert not [name for name in made if name.startswith("sheet")]
    assert bench.standing([calculation.id for calculation in one.calculations]).complete


def test_a_label_that_is_none_is_put_right(bench: Bench, tmp_path: Path) -> None:
    one = small(tmp_path)
    bench.submit(one)
    host = one["sheet"].calculation
    for label in ("x\nNSW = 0", None, ""):
        bench.documents.calculations.update_one({"_id": host.id}, {"$set": {"label": label}})
        bench.submit(one)
        assert bench.documents.calculation(host.id).label == "sheet"


def test_a_checkpoint_of_an_older_archive_goes_to_the_folder_that_its_calculation_has_here(
    bench: Bench, tmp_path: Path
) -> None:
    one = small(tmp_path)
    bench.submit(one)
    older(bench, one)
    host = one["sheet"].calculation
    claim = bench.root / f"WSSe-{host.id}" / "calculation.json"
    claim.parent.mkdir(parents=True)
    claim.write_text("{}")
    export_archive(bench.documents, bench.root, tmp_path / "archive")
    with open_root(tmp_path / "elsewhere") as database:
        other = Bench(database, tmp_path / "elsewhere")
        initialise(database, other.launchpad)
        other.submit(one)
        counts = import_archive(other.documents, other.root, tmp_path / "archive")
    assert counts.checkpoints == 1
    assert (tmp_path / "elsewhere" / f"sheet-{host.id}" / "calculation.json").read_text() == "{}"


def test_the_plan_says_which_atoms_vacancies_took(cli: Cli, tmp_path: Path) -> None:
    """Counted by ASE: distances of the atoms that it says are gone."""
    models = ["MoS2", "MoS2+VS", "MoS2+2VS", {"model": "MoS2", "vacancies": {"S": 3}}, {"model": "MoS2+2VS",
        "pair": "3.18", "name": "beside"}, {"model": "MoS2", "name": "doped", "replace": {"Mo@0": "W"}}]  # fmt: skip
    path = campaign(tmp_path, models, sites=[])
    printed = cli("plan", path).stdout
    lines = {line.split()[1]: line for line in printed.splitlines() if " relax" in line}
    assert "less" not in lines["MoS2"]
    assert lines["MoS2+VS"].endswith("3×3, relax, less S@1 (top)")
    assert "less S@1 (top) and S@2 (bottom), 3.12 Å apart (pairs: 3.12, 3.18, " in lines["MoS2+2VS"]
    assert "less S@1 (top), S@2 (bottom) and S@4 (top), 3.12 to 4.46 Å apart" in lines["MoS2+3VS"]
    assert "3.18 Å apart" in lines["beside"]
    assert "with Mo@0→W (inside)" in lines["doped"]
    hosts = {host["name"]: host for host in json.loads(cli("plan", path, "--json").stdout)["hosts"]}
    atoms = read_host(plan(path)["MoS2"].calculation.structure).pristine
    for name in ("MoS2+2VS", "MoS2+3VS", "beside"):
        gone = [int(one["atom"].partition("@")[2]) for one in hosts[name]["removed"]]
        apart = sorted(atoms.get_distance(i, j, mic=True) for k, i in enumerate(gone) for j in gone[k + 1 :])
        assert hosts[name]["distances_a"] == pytest.approx(apart, abs=1e-3)
        for one in hosts[name]["removed"]:
            above = atoms.positions[int(one["atom"][2:]), 2] > atoms.positions[:, 2].mean()
            assert one["face"] == ("top" if above else "bottom")


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"model": "MoS2", "vacancies": {"S": 30}}, ["MoS2+30VS", "has 18 S, not 30"]),
        ({"model": "MoS2", "vacancies": {"Se": 3}}, ["no Se to remove; it has Mo, S"]),
        ({"model": "MoS2+VS", "vacancies": {"S": 2}}, ["give them in one place"]),
        ({"model": "MoS2", "vacancies": {"S": 3}, "pair": "3.18"}, ["pair '3.18'", "3 vacancies"]),
        ({"model": "MoS2", "vacancies": {"S": 1}, "remove": ["S@1"]}, ["S@1", "twice"]),
        ("MoS2+2VS+VMo", ["3 vacancies", "vacancies: {S: 3}", "remove"]),
    ],
)
def test_vacancies_that_cannot_be(model: Any, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        plan(campaign(tmp_path, [model]))
    assert all(word in str(error.value) for word in words), str(error.value)


def test_one_and_two_vacancies_by_count_are_those_by_name(tmp_path: Path) -> None:
    by_name = plan(campaign(tmp_path, ["MoS2+VS", "MoS2+2VS"]))
    counts = [{"model": "MoS2", "vacancies": {"S": count}} for count in (1, 2)]
    by_count = plan(campaign(tmp_path, counts))
    assert list(by_count.names) == list(by_name.names)
    assert [c.id for c in by_count.calculations] == [c.id for c in by_name.calculations]
