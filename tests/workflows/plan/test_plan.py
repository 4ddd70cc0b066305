"""The graph: what enters an id and what does not, what belongs to a campaign, and the ids of the bundled ones."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.campaign.load import bundled_campaigns
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.cli.plan_view import plan_objects
from sodiate.workflows.cli.run import announce
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.start_structures import Host, start_atoms, start_moments
from support import DATA, present
from support.campaigns import small_campaign
from support.cli import Cli

GOLDEN = DATA / "golden_ids.json"


def changed(folder: Path, name: str = "wsse", **changes: Any) -> Plan:
    """A bundled campaign with some keys changed."""
    data = yaml.safe_load(bundled_campaigns()[name].read_text(encoding="utf-8"))
    data["quantities"] = ["dos", "bulk_reference"]
    for key, value in changes.items():
        data[key] = value(data.get(key)) if callable(value) else value
    path = folder / f"{len(list(folder.iterdir()))}.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return plan(path)


def ids(one: Plan) -> dict[str, str]:
    return {name: calculation.id for name, calculation in one.names.items()}


def test_the_bundled_campaign_is_what_the_paper_needs() -> None:
    """Counted by hand: 5 hosts, 3 + 6 + 7 + 7 + 8 sites, 5 DOS, 5 choices, the atom and the bulk."""
    wsse = plan("wsse")
    kinds = [calculation.kind for calculation in wsse.calculations]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "relax": 5 + 31, "dos": 5, "lowest": 5, "atom": 1, "bulk": 1}  # fmt: skip
    assert [host.name for host in wsse.hosts] == ["WSe2", "WSSe", "WSSe+VS", "WSSe+VSe", "WSSe+VS+VSe"]
    assert wsse.dropped == ("engine emt has no density difference; left out",)
    assert "cutoff_ev" in wsse.not_applicable
    assert set(wsse.hosts[4].sites) >= {"V_S@top", "V_Se@bottom"}


def test_golden_ids() -> None:
    """Pinned: an id may change only with a recipe version (then run tests/data/golden_ids.py and say why)."""
    assert {name: ids(plan(name)) for name in bundled_campaigns()} == json.loads(GOLDEN.read_text())


def test_the_same_id_in_another_process_and_hash_seed() -> None:
    code = "from sodiate.workflows.plan.planner import plan; print(plan('wsse')['WSSe+VS/V_S@top'].calculation.id)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "7", "LC_ALL": "C"}, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == plan("wsse")["WSSe+VS/V_S@top"].calculation.id


def test_every_id_and_directory_is_unique_and_parents_come_first() -> None:
    for name in bundled_campaigns():
        one = plan(name)
        assert len({c.id for c in one.calculations}) == len(one.calculations) <= len(one)
        # Only models that are compared with one another share calculations under several names, and a crystal of one
        # cell is its own layers at the declared distance.
        itself = [
            name
            for name in one.names
            if "/interlayer-" in name and one.names[name].id == one.names[name.partition("/")[0]].id
        ]
        compared = any(model.compare_with for model in one.campaign.spec.models)
        assert len(one.calculations) == len(one) - len(itself) or compared
        assert len({c.directory_name for c in one.calculations}) == len(one.calculations)
        seen: set[str] = set()
        for calculation in one.calculations:
            assert {parent.id for parent in calculation.parents.values()} <= seen
            seen.add(calculation.id)


def test_what_does_not_define_the_number_is_not_in_the_id(tmp_path: Path) -> None:
    base = ids(changed(tmp_path))
    for changes in (
        {"execution": {"max_steps": 7}},
        {"title": "another"},
        {"campaign": "another"},
        {"models": lambda models: list(reversed(models))},
    ):
        assert ids(changed(tmp_path, **changes)) == base
    without_cutoff = yaml.safe_load((bundled_campaigns()["wsse"].parents[1] / "protocols/paper.yaml").read_text())
    without_cutoff["cutoff_ev"] = 300  # of no use to EMT
    assert ids(changed(tmp_path, protocol=without_cutoff)) == base


def test_what_defines_the_number_is_in_the_id(tmp_path: Path) -> None:
    base = ids(changed(tmp_path))
    paper = yaml.safe_load((bundled_campaigns()["wsse"].parents[1] / "protocols/paper.yaml").read_text())
    vacuum = ids(changed(tmp_path, vacuum_a=16.0))
    assert vacuum["Na"] == base["Na"]
    assert not {v for k, v in vacuum.items() if "Na" not in k} & set(base.values())
    force = ids(changed(tmp_path, protocol=paper | {"max_force_ev_per_a": 0.05}))
    assert (force["Na"], force["WSe2"] == base["WSe2"]) == (base["Na"], False)
    mesh = ids(changed(tmp_path, protocol=paper | {"dos": {"kpoint_length_a": 60.0}}))
    assert {k for k in base if mesh[k] != base[k]} == {k for k in base if k.endswith("/dos")}
    a = ids(changed(tmp_path, monolayers=lambda m: m | {"WSe2": m["WSe2"] | {"a": 3.32}}))
    assert {k for k in base if a[k] != base[k]} == {k for k in base if k.startswith("WSe2")}


def test_adding_a_site_adds_only_that_site_and_the_choice(tmp_path: Path) -> None:
    few = ids(changed(tmp_path, models=["WSSe"], sites=["T_W@top"]))
    more = ids(changed(tmp_path, models=["WSSe"], sites=["T_W@top", "H@top"]))
    assert set(more.values()) - set(few.values()) == {more["WSSe/H@top"], more["WSSe/lowest"]}


def test_two_ways_to_say_one_host_are_one_calculation(tmp_path: Path) -> None:
    """By name, by pair, and by atom: the same atoms are gone, so it is the same calculation."""
    host = Host(plan("wsse")["WSSe+VS+VSe"].calculation.structure)
    by_atom = [f"{d.element}@{d.index}" for d in host.defects]
    hosts = changed(
        tmp_path,
        models=[
            "WSSe+VS+VSe",
            {"model": "WSSe+VS+VSe", "pair": 3.23, "name": "by-pair"},
            {"model": "WSSe", "remove": list(reversed(by_atom)), "name": "by-atom"},
        ],
    )
    assert len({host.calculation.id for host in hosts.hosts}) == 1
    assert {host.calculation.label for host in hosts.hosts} == {"WSSe+VS+VSe"}


def test_other_pairs_and_dopants_have_names_of_their_own(tmp_path: Path) -> None:
    hosts = changed(
        tmp_path,
        models=[
            {"model": "WSSe+VS+VSe", "pair": "4.58", "name": "far"},
            {"model": "WSSe", "replace": {"W@3": "Mo"}, "name": "doped"},
        ],
    )
    assert [host.calculation.label for host in hosts.hosts] == ["WSSe+VS+VSe@4.58", "WSSe+Mo_W3"]
    assert hosts["doped"].atoms().get_chemical_symbols().count("Mo") == 1


def test_one_cell_for_a_host_and_all_its_sites() -> None:
    """c = ideal thickness + highest start height + vacuum, and the host in its middle."""
    one = plan("wsse")
    for model in one.hosts:
        ideal = Host(model.calculation.structure).pristine
        thickness = float(ideal.positions[:, 2].max() - ideal.positions[:, 2].min())
        cells = {
            round(float(one[n].atoms().cell[2, 2]), 9)
            for n in (model.name, *(f"{model.name}/{s}" for s in model.sites))
        }
        assert cells == {round(thickness + 2.7 + 15.0, 9)}
        middle = (ideal.positions[:, 2].max() + ideal.positions[:, 2].min()) / 2
        assert middle == pytest.approx(ideal.cell[2, 2] / 2)


def test_atoms_before_anything_runs() -> None:
    one = plan("wsse")
    atoms = one["WSSe+VS/V_S@top"].atoms()
    assert atoms.get_chemical_formula() == "NaS8Se9W9"
    assert len(one["Na"].atoms()) == 1
    assert len(set(one["Na"].atoms().cell.lengths())) == 3
    with pytest.raises(InputError, match="no atoms of its own"):
        one["WSe2/lowest"].atoms()
    with pytest.raises(InputError, match=r"did you mean 'WSSe\+VS/V_S@top'"):
        one["WSSe+VS/V_S@topp"]


def test_a_clean_vacancy_starts_without_symmetry_and_a_pristine_host_with_it() -> None:
    one = plan("wsse")
    vacancy, ideal = one["WSSe+VS"].atoms(), Host(one["WSSe+VS"].calculation.structure).atoms
    away = abs(vacancy.positions - ideal.positions)
    assert 0.001 < away.max() < 0.1
    pristine = one["WSe2"].atoms()
    assert abs(pristine.positions - Host(one["WSe2"].calculation.structure).pristine.positions).max() == 0


def test_a_site_of_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no model has 'V_S@botom'.*did you mean"):
        changed(tmp_path, models=["WSSe+VS"], sites=["V_S@top", "V_S@botom"])


def test_a_density_difference_has_three_terms_of_one_sampling() -> None:
    """Each follows from the choice of the site alone, so that it is stale with it; the choice has the sites."""
    one = plan("wsse", "gpaw")
    assert not one.dropped
    densities = one.quantities["density_difference"].hosts
    for model in one.hosts:
        terms = [one.names[f"{model.name}/density/{part}"] for part in ("Na-on-host", "host", "Na")]
        assert list(densities[model.name].calculations.values()) == terms
        assert {term.kind for term in terms} == {"density"}
        assert all(dict(term.parents) == {"lowest": model.lowest} for term in terms)
        assert all(term.protocol == terms[0].protocol for term in terms)
        differing = {"max_force_ev_per_a"}  # of no use to a single point; the sampling is that of the slab
        assert dict(terms[0].protocol) == {k: v for k, v in model.calculation.protocol.items() if k not in differing}
        assert set(present(model.lowest).parents.values()) == {model.calculation, *model.sites.values()}
    entry = one.entry()
    assert entry.models[2].quantities["density_difference"].calculations == {
        part: one.names[f"WSSe+VS/density/{part}"].id for part in ("Na-on-host", "host", "Na")
    }
    with pytest.raises(InputError, match="the site that will be the lowest"):
        one["WSe2/density/host"].atoms()


def test_parts_of_the_chosen_geometry_with_their_moments() -> None:
    one = plan("wsse", "gpaw")
    site = one["WSSe+VS/V_S@top"].atoms()
    site.positions += 0.1  # as if relaxed
    moments = start_moments(one.names["WSSe+VS"], 26)
    assert moments is not None
    expected = {"Na-on-host": (site, [*moments, 1.0]), "host": (site[:-1], moments), "Na": (site[-1:], [1.0])}
    for part, (atoms, start) in expected.items():
        calculation = one.names[f"WSSe+VS/density/{part}"]
        found = start_atoms(calculation, {"lowest": site})
        assert found == atoms
        assert start_moments(calculation, len(atoms)) == start
    assert sorted(set(moments)) == [0.0, 0.5]


def test_the_lattice_of_each_monolayer_is_one_calculation_in_the_hosts_height(tmp_path: Path) -> None:
    base = ids(changed(tmp_path, engine="gpaw"))
    one = changed(tmp_path, engine="gpaw", quantities=["dos", "bulk_reference", "lattice"])
    assert {name: i for name, i in ids(one).items() if name in base} == base
    assert set(one) - base.keys() == {"WSe2/lattice", "WSSe/lattice"}
    for layer, a in (("WSe2", 3.319), ("WSSe", 3.252)):
        atoms = one[f"{layer}/lattice"].atoms()
        assert atoms.get_chemical_formula() == {"WSe2": "Se2W", "WSSe": "SSeW"}[layer]
        assert atoms.cell.lengths()[:2] == pytest.approx([a, a])
        assert atoms.cell[2].tolist() == one[layer].atoms().cell[2].tolist()
        assert one.names[f"{layer}/lattice"].protocol["max_force_ev_per_a"] == 0.02
    lattices = [model.quantities["lattice"].declared["layer"] for model in one.entry().models]
    assert lattices == ["WSe2", *["WSSe"] * 4]


def test_the_same_file_is_the_same_plan_bundled_or_copied(tmp_path: Path) -> None:
    """One campaign file runs dry, with GPAW and with VASP: what an engine lacks is left out, with a line."""
    for name, path in bundled_campaigns().items():
        for file in path.parent.glob("*.*"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
        copied = plan(tmp_path / path.name)
        assert ids(copied) == ids(plan(name))
        assert copied.dropped == plan(name).dropped
    assert plan(tmp_path / "wsse.yaml").dropped == ("engine emt has no density difference; left out",)


def test_a_lattice_that_cannot_be_relaxed(tmp_path: Path) -> None:
    one = changed(tmp_path, quantities=["lattice"])
    assert one.dropped == ("engine emt has no lattice; left out",)
    assert not any("lattice" in name for name in one.names)
    (tmp_path / "MoS2.cif").write_bytes((bundled_campaigns()["own-host"].parent / "MoS2.cif").read_bytes())
    of_file = changed(tmp_path, "own-host", engine="gpaw", quantities=["lattice"])
    assert [name for name in of_file.names if "lattice" in name] == ["MoS2/lattice"]


def test_label_and_null_are_not_hashed() -> None:
    first = Calculation("relax", {"op": "none", "x": None}, "emt", {"a": 1.0}, {}, "one")
    second = Calculation("relax", {"op": "none"}, "emt", {"a": 1.0, "b": None}, {}, "two")
    assert first == second
    assert first.id != Calculation("relax", {"op": "none"}, "emt", {"a": 2.0}).id


def test_a_file_whose_noise_hides_its_symmetry_is_told_where_sites_are_listed(cli: Cli, tmp_path: Path) -> None:
    noisy = box(build_monolayer(Monolayer("W", "S", "Se", 3.252, 2.42, 2.54), (2, 2)), 15.0, 2.0)
    noisy.rattle(0.05, seed=1)
    noisy.pbc = True
    noisy.write(tmp_path / "noisy.vasp", format="vasp")
    models = [{"name": "noisy", "file": "noisy.vasp"}, {"name": "less", "file": "noisy.vasp", "remove": ["S@1"]}]
    keys = {"models": models, "supercell": [1, 1], "quantities": []}
    path = small_campaign(tmp_path, **keys, sites=["T_W@top"])
    words = "noisy.vasp: 24 distinct sites in its cell, of which 6 are distinct at a tolerance of 0.3 Å"
    (remark,) = plan(path).remarks
    assert remark.startswith(words)
    for command in (["plan"], ["structures", "--out", "out"]):
        done = cli(command[0], str(path), *command[1:])
        assert words in " ".join(done.stdout.split()), done.stderr
    assert plan_objects(plan(path))["remarks"] == [remark]
    printed = StringIO()
    announce(plan(path), tmp_path, Console(file=printed, width=500))
    assert remark in printed.getvalue()
    with pytest.raises(InputError, match=r"its sites: .*noisy\.vasp: 24 distinct sites"):
        plan(small_campaign(tmp_path, **keys, sites=["T_Q@top"]))
