"""Convergence tests: which settings are made of a campaign, and what is made of their results."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from sodiate.analysis.energies.convergence import Series, Setting, judge
from sodiate.analysis.figures.convergence import convergence_plot
from sodiate.workflows.campaign.load import Campaign, bundled_campaigns, load_campaign
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.database.connection import open_launchpad
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Settings
from sodiate.workflows.engines.emt.engine import EmtEngine
from sodiate.workflows.engines.shared.grids import kpoint_mesh
from sodiate.workflows.plan.convergence_study import QUANTITIES, Study, parse_values, series, studies
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.plan.varied_campaign import one_host
from sodiate.workflows.results.convergence import sentences, suggestion
from sodiate.workflows.start_structures import ideal_atoms
from support.campaigns import small_campaign
from support.cli import Cli

TRIED = {
    "cutoff": (450.0, 500.0),
    "kmesh": (2.0, 3.0),
    "smearing": (0.05, 0.1),
    "vacuum": (15.0, 20.0),
    "supercell": (2.0, 3.0),
    "force": (0.02, 0.05),
}


def study_of(campaign: Campaign | str | Path, quantity: str, *values: float, relax: bool = False) -> Study:
    """One study; without values, of those that it chooses itself."""
    loaded = campaign if isinstance(campaign, Campaign) else load_campaign(campaign, None)
    (study,) = studies(loaded, {quantity: values or None}, relax)
    return study


def test_values_as_range_and_list() -> None:
    assert parse_values("400:600:50", "--cutoff") == (400, 450, 500, 550, 600)
    assert parse_values("4,2,3", "--kmesh") == (2, 3, 4)
    assert parse_values("0.1:0.3:0.1", "--cutoff") == (0.1, 0.2, 0.3)


def test_auto_leaves_the_values_to_the_study() -> None:
    assert parse_values("auto", "--kmesh") is None


@pytest.mark.parametrize(
    "text", ["", "2", "400:600", "400:600:0", "600:400:50", "a,b", "0,1", "400:600:-50", "1,inf", "nan,1"]
)
def test_values_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="two or more positive values"):
        parse_values(text, "--cutoff")


def test_so_many_values_that_nobody_means_them() -> None:
    with pytest.raises(InputError, match="more than 100 values"):
        parse_values("1:1e9:0.001".replace("e9", "000000000"), "--cutoff")


def test_one_setting_is_varied_at_a_time() -> None:
    """What is not varied has the very ids of the campaign, so nothing is computed twice."""
    made = studies(load_campaign("wsse-gpaw", None), {"cutoff": (450.0, 500.0), "kmesh": (1.0, 2.0, 3.0)}, True)
    base = plan("wsse-gpaw")
    settings = [(study.quantity, one) for study in made for one in study.variants]
    assert [(quantity, one.value) for quantity, one in settings] == [
        ("cutoff", 450), ("cutoff", 500), ("kmesh", 1), ("kmesh", 2), ("kmesh", 3)
    ]  # fmt: skip
    for quantity, one in settings:
        ids = {name: c.id for name, c in one.plan.names.items() if not name.endswith("/lowest")}
        same = {name: i for name, i in ids.items() if base.names[name].id == i}
        if one.value in (500, 2):
            assert same == ids
        elif quantity == "cutoff":
            assert not same
        else:
            assert set(same) == {"Na"}
        mesh = int(one.value) if quantity == "kmesh" else 2
        for host in one.plan.hosts:
            atoms = ideal_atoms(host.calculation)
            assert atoms is not None
            assert kpoint_mesh(atoms, host.calculation.protocol["kpoint_length_a"]) == (mesh, mesh, 1)
        assert "dos" not in one.plan.quantities


def relaxations(one: Plan) -> dict[str, str]:
    """Ids of the hosts and sites of a plan, relaxed."""
    return {name: c.id for name, c in one.names.items() if c.kind == "relax"}


def test_at_fixed_geometries_nothing_is_relaxed_that_the_campaign_does_not_relax() -> None:
    """Single points alone are new, and the atom where the basis is another."""
    base = plan("wsse-gpaw")
    asked = {"cutoff": (450.0, 500.0), "kmesh": (1.0, 2.0, 3.0), "smearing": (0.1, 0.05), "vacuum": (15.0, 20.0)}
    new: dict[tuple[str, float], set[str]] = {}
    for study in studies(base.campaign, asked):
        assert study.fixed
        for one in study.variants:
            assert relaxations(one.plan) == relaxations(base)
            known = {c.id for c in base.calculations}
            own = {name: c for name, c in one.plan.names.items() if c.id not in known and c.kind != "lowest"}
            new[study.quantity, one.value] = set(own)
            if one.value == {"cutoff": 500.0, "kmesh": 2.0, "smearing": 0.05, "vacuum": 15.0}[study.quantity]:
                assert not own  # the campaign's own setting: its relaxations have these energies
                continue
            points = {c.id for c in own.values() if c.kind == "static"}
            assert len(points) == len(relaxations(base))
            key = QUANTITIES[study.quantity].key
            vacuum_a = {name: 15 + c.structure.get("extra_vacuum_a", 0.0) for name, c in own.items()}
            assert all(
                {"vacuum_a": vacuum_a[name], **c.protocol}[key] == one.key
                for name, c in own.items()
                if c.kind == "static"
            )
            # Each is the end of its own relaxation.
            ends = {c.parents["geometry"].id for c in own.values() if c.kind == "static"}
            assert ends == set(relaxations(base).values())
    assert {key for key, names in new.items() if any("/" not in name for name in names)} == {("cutoff", 450.0)}
    assert {name for name in new["cutoff", 450.0] if "/" not in name} == {"Na-final"}


ROOMY = (3.0, 4.0)
"""Supercells in which a molecule is apart from its images."""

CASES = [
    *((quantity, False) for quantity in QUANTITIES),
    *((q, True) for q, v in QUANTITIES.items() if v.of_energies),
]


@cache
def bundled(name: str) -> Plan:
    """A bundled campaign, planned once for all tests, which only read it."""
    return plan(name)


@pytest.mark.parametrize(("quantity", "relax"), CASES)
@pytest.mark.parametrize("name", bundled_campaigns())
def test_every_bundled_campaign_can_be_varied(name: str, quantity: str, relax: bool) -> None:
    """Also one that names structure files beside it, such as Se.cif, which a copy elsewhere would no longer find."""
    base, varied = bundled(name), QUANTITIES[quantity]
    tried = TRIED[quantity]
    if not any(host.sites for host in base.hosts):
        with pytest.raises(InputError, match=r"no host has an adsorption site \(sites: \[\]\)"):
            study_of(base.campaign, quantity, *tried, relax=relax)
        return
    if base.campaign.molecule is not None and quantity == "supercell":
        with pytest.raises(InputError, match=r"Na2S comes within 2\.\d+ Å of its own image"):
            study_of(base.campaign, quantity, *tried, relax=relax)
        tried = ROOMY
    engine = base.campaign.spec.engine
    if varied.in_protocol and varied.key not in make_engine(engine, Settings()).protocol_keys:
        with pytest.raises(InputError, match=f"--{quantity}: engine {engine} has no use for {varied.key}"):
            study_of(base.campaign, quantity, *TRIED[quantity])
        return
    study = study_of(base.campaign, quantity, *tried, relax=relax)
    assert study.fixed is (varied.of_energies and not relax)
    assert [one.value for one in study.variants] == sorted(tried, reverse=varied.falls)
    hosts = {host.name: host for host in base.hosts}
    left_out = [
        name for name in hosts if any(f"{name} has a" in words or f"{name}: " in words for words in study.remarks)
    ]
    for made in study.variants:
        assert made.plan.campaign.substances == base.campaign.substances
        assert made.plan.campaign.slabs == base.campaign.slabs
        names = [host.name for host in made.plan.hosts]
        assert names == [name for name in hosts if name in names]
        assert set(hosts) - set(names) <= set(left_out)
        # The bulk references that hosts need are those of the files: the very atoms, cell and element.
        structures = [c.structure for c in made.plan.calculations if c.structure["op"] == "elemental"]
        assert all(structure in [c.structure for c in base.calculations] for structure in structures)
        # The same sites at every setting, and only those of the campaign.
        assert [list(host.sites) for host in made.plan.hosts] == [
            list(host.sites) for host in study.variants[0].plan.hosts
        ]
        assert all(host.sites.keys() <= hosts[host.name].sites.keys() for host in made.plan.hosts)
        # Read again, the stored text is the same plan.
        assert yaml.safe_load(made.plan.campaign.text)["campaign"] == made.plan.campaign.spec.campaign
    # The setting that the campaign has itself is the campaign.
    ids = {c.id for c in base.calculations}
    own = [one for one in study.variants if one.value == study.own]
    assert all(c.id in ids for one in own for c in one.plan.calculations if c.kind not in ("lowest", "static"))


@pytest.mark.parametrize("name", bundled_campaigns())
def test_one_host_has_the_calculations_that_it_has_in_its_campaign(name: str) -> None:
    base = bundled(name)
    for host in base.hosts:
        alone = plan(one_host(base.campaign, host.name))
        assert [other.name for other in alone.hosts] == [host.name]
        ids = {c.id for c in base.calculations}
        assert {c.id for label, c in alone.names.items() if not label.endswith("/lowest")} <= ids
        again = yaml.safe_load(alone.campaign.text)
        assert again["campaign"] == alone.campaign.spec.campaign
        assert len(again["models"]) == 1


def test_one_host_of_a_list_of_sites_that_others_have_alone(tmp_path: Path) -> None:
    """V_S@top is in the campaign's list and no site of WSSe, which is no mistake of WSSe's."""
    campaign = load_campaign(small_campaign(tmp_path, models=["WSSe", "WSSe+VS"]), None)
    (host,) = plan(one_host(campaign, "WSSe")).hosts
    assert list(host.sites) == ["T_W@bottom"]
    assert host.calculation == plan(campaign).hosts[0].calculation


def test_what_cannot_be_varied(tmp_path: Path) -> None:
    wsse = load_campaign("wsse", None)
    with pytest.raises(InputError, match="--cutoff: engine emt has no use for cutoff_ev"):
        study_of(wsse, "cutoff", 400, 500)
    for quantity in ("kmesh", "supercell"):
        with pytest.raises(InputError, match=f"--{quantity} 1.5: .* are whole numbers"):
            study_of(wsse, quantity, 1.5, 2)
    with pytest.raises(InputError, match=r"no model 'WSe3' \(did you mean 'WSe2'\?\); models: WSe2, WSSe, "):
        one_host(wsse, "WSe3")
    for relax in (False, True):
        with pytest.raises(InputError, match=r"vacuum_a.*less than or equal to 200"):
            study_of(wsse, "vacuum", 100, 300, relax=relax)
        with pytest.raises(InputError, match=r"kpoint_length_a.*less than or equal to 2000"):
            study_of("li-mosse", "kmesh", 100, 300, relax=relax)
    given: Any = {"base": "paper", "kpoint_mesh": {"points": [2, 2, 1]}}
    by_hand = load_campaign(small_campaign(tmp_path, protocol=given), "vasp")
    with pytest.raises(InputError, match="kpoint_mesh gives the mesh; take it out"):
        study_of(by_hand, "kmesh", 2, 3, relax=True)
    assert [one.value for one in study_of(by_hand, "kmesh", 2, 3).variants] == [2, 3]
    given = {"base": "paper", "final_energy": {"kpoint_mesh": {"points": [4, 4, 1]}}}
    by_hand = load_campaign(small_campaign(tmp_path, protocol=given), "vasp")
    with pytest.raises(InputError, match="kpoint_mesh gives the mesh; take it out"):
        study_of(by_hand, "kmesh", 2, 3)
    fixed = load_campaign(
        small_campaign(tmp_path, protocol={"base": "paper", "smearing": {"kind": "fixed", "width_ev": 0.0}}), "vasp"
    )
    with pytest.raises(InputError, match="no smearing whose width"):
        study_of(fixed, "smearing", 0.1, 0.2)


def test_an_engine_without_single_points_can_only_relax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmtEngine, "capabilities", EmtEngine.capabilities - {"static"})
    path = small_campaign(tmp_path, quantities=[])
    with pytest.raises(InputError, match=r"engine emt has no single points \(static\); --relax relaxes"):
        study_of(path, "vacuum", 15, 20)
    assert not study_of(path, "vacuum", 15, 20, relax=True).fixed


def test_hosts_that_give_the_key_themselves_are_left_out_and_said(tmp_path: Path) -> None:
    """Their ΔE would be the same at every setting, and look converged."""
    models: list[Any] = ["WSSe", {"model": "WSSe+VS", "compare_with": "WSSe"}]
    own: dict[str, dict[str, Any]] = {
        "kmesh": {"protocol": {"kpoint_length_a": 20.0}},
        "vacuum": {"vacuum_a": 20.0},
        "supercell": {"supercell": [2, 2]},
    }
    for quantity, keys in own.items():
        path = small_campaign(tmp_path, models=[{"model": "WSSe", **keys}, models[1]], sites="near-defect")
        study = study_of(path, quantity, *TRIED[quantity], relax=True)
        (_, remark, *_) = study.remarks
        assert remark == f"--{quantity}: WSSe has a {QUANTITIES[quantity].key} of its own; left out"
        assert [[host.name for host in one.plan.hosts] for one in study.variants] == [["WSSe+VS"], ["WSSe+VS"]]
        alone = small_campaign(tmp_path, models=[{"model": "WSSe", **keys}], sites="near-defect")
        with pytest.raises(InputError, match="no host remains"):
            study_of(alone, quantity, *TRIED[quantity], relax=True)
    # At fixed geometries that is the mesh of the energies; a host without such energies says so.
    for final in ({"kpoint_length_a": 30.0}, False):
        host = {"model": "WSSe", "protocol": {"kpoint_length_a": 20.0, "final_energy": final}}
        study = study_of(small_campaign(tmp_path, models=[host, "WSSe+VS"], sites="near-defect"), "kmesh", 2, 3)
        assert "--kmesh: WSSe has a kpoint_length_a of its own; left out" in study.remarks
    host = {"model": "WSSe", "protocol": {"kpoint_length_a": 20.0}}
    study = study_of(small_campaign(tmp_path, models=[host, "WSSe+VS"], sites="near-defect"), "kmesh", 2, 3)
    assert [host.name for host in study.variants[0].plan.hosts] == ["WSSe", "WSSe+VS"]


def test_a_supercell_series_has_the_sites_that_all_cells_have(tmp_path: Path) -> None:
    """The third T_W from the vacancy, at 5 Å, is beyond the middle of a 2×2 cell."""
    campaign = small_campaign(tmp_path, sites=["V_S@top", "T_W@top", "T_W@top-3"], supercell=[3, 3])
    study = study_of(campaign, "supercell", 2, 3)
    assert [list(host.sites) for one in study.variants for host in one.plan.hosts] == [["V_S@top", "T_W@top"]] * 2
    assert "--supercell: WSSe+VS: T_W@top-3 is not the same in 2×2, 3×3; left out" in study.remarks
    # What the sites of the campaign's own cell are in that cell.
    base = plan(campaign)
    assert all(c == base.hosts[0].sites[name] for name, c in study.variants[1].plan.hosts[0].sites.items())
    assert [one.plan.hosts[0].repeat for one in study.variants] == [(2, 2), (3, 3)]
    assert any(
        "k points 3×3 in 2×2, 2×2 in 3×3" in words for words in study_of(campaign, "supercell", 2, 3, 4).remarks
    )


def test_what_belongs_to_one_cell_is_no_supercell_series(tmp_path: Path) -> None:
    models: list[Any] = [
        {"model": "WSSe", "own_sites": {"bridge@top": {"at": [0.25, 0.5], "face": "top", "height_a": 2.0}}},
        {"model": "WSSe", "name": "mixed", "ordering": "2+2a"},
        {"model": "WSSe", "name": "two", "remove": ["S@1", "S@4"]},
        {"model": "WSSe", "name": "one", "remove": ["S@13"]},
        {"model": "WSSe+VS+VS", "name": "pair"},
    ]
    path = small_campaign(tmp_path, models=models, sites="near-defect", supercell=[3, 3])
    with pytest.raises(InputError, match="ordering"):
        plan(path)  # 2+2a is of 2×2
    path = small_campaign(tmp_path, models=[models[0], *models[2:]], sites="near-defect", supercell=[3, 3])
    study = study_of(path, "supercell", 1, 2)
    assert [host.name for host in study.variants[0].plan.hosts] == ["WSSe", "one"]
    words = "\n".join(study.remarks)
    assert "WSSe: own_sites are points of one cell; left out" in words
    assert "two: more than one atom is named by its number in one cell; left out" in words
    assert "pair: not in 1×1 (" in words
    # S@13 of 3×3 is the S of the fifth cell: that of the only one in 1×1.
    assert all(atoms is not None for atoms in (ideal_atoms(one.plan.hosts[1].calculation) for one in study.variants))
    assert [one.plan.hosts[1].defects[0].index for one in study.variants] == [1, 1]
    # Where a cell has that number, it is kept.
    assert [
        h.defects[0].index
        for one in study_of(path, "supercell", 3, 4).variants
        for h in one.plan.hosts
        if h.name == "one"
    ] == [13, 13]


def test_of_several_starts_of_a_site_the_lowest_counts(tmp_path: Path) -> None:
    """Another start may be in another state, of which nobody asks whether it is converged."""
    path = small_campaign(tmp_path, starts=3, sites=["V_S@top", "T_W@bottom"], quantities=[])
    study = study_of(path, "supercell", 2, 3)
    starts = [name for name in study.variants[0].plan.hosts[0].sites if name.startswith("V_S@top")]
    assert starts == ["V_S@top", "V_S@top#2", "V_S@top#3"]

    def results(*energies: float | None) -> list[Any]:
        sites = [
            SimpleNamespace(site=name, adsorption_energy_ev=energy, end=f"end of {name}")
            for name, energy in zip(starts, energies, strict=True)
        ]
        return [SimpleNamespace(model="WSSe+VS", adsorption=SimpleNamespace(sites=sites))]

    (one,) = series(study, [results(-1.0, -1.1, None), results(-1.2, None, None)])
    assert one.label == "WSSe+VS/V_S@top"
    assert one.settings == (Setting(2, -1.1, "end of V_S@top#2"), Setting(3, -1.2, "end of V_S@top"))
    (one,) = series(study, [results(None, None, None)])
    assert [point.adsorption_energy_ev for point in one.settings] == [None]


def test_no_setting_computes_error_bars(tmp_path: Path) -> None:
    path = small_campaign(tmp_path, campaign="bars", uncertainty=["vacuum", "kmesh"])
    plain = study_of(small_campaign(tmp_path), "kmesh", 2, 3)
    assert len(plan(path)) > len(plan(small_campaign(tmp_path)))
    (one, _) = study_of(path, "kmesh", 2, 3).variants
    assert {c.id for c in one.plan.calculations} == {c.id for c in plain.variants[0].plan.calculations}
    assert yaml.safe_load(one.plan.campaign.text)["uncertainty"] == []


def test_the_mesh_is_that_of_the_campaign_s_supercell_and_as_dense_in_others() -> None:
    """wsse-sensitivity is 2×2, with one host in 1×1 and one in 3×3."""
    study = study_of("wsse-sensitivity", "kmesh", 3, 6, relax=True)
    found = []
    for one in study.variants:
        atoms = {host.repeat: (ideal_atoms(host.calculation), host) for host in one.plan.hosts}
        found.append(
            {n: kpoint_mesh(a, h.calculation.protocol["kpoint_length_a"])[0] for (n, _), (a, h) in atoms.items() if a}
        )
    assert found == [{2: 3, 1: 6, 3: 2}, {2: 6, 1: 12, 3: 4}]


def test_a_series_of_its_own_goes_from_the_campaign_to_what_is_dearer() -> None:
    tried = {name: [one.value for one in study_of("wsse-gpaw", name).variants] for name in QUANTITIES}
    assert tried == {
        "cutoff": [500, 600, 700, 800, 900],
        "kmesh": [2, 3, 4, 5, 6, 7, 8],
        "smearing": [0.05, 0.025, 0.0125, 0.00625],
        "vacuum": [15, 20, 25, 30, 35],
        "supercell": [3, 4, 5, 6],
        "force": [0.02, 0.01, 0.005, 0.0025],
    }


def found(study: Study, energies: list[float | None], tolerance_ev: float = 0.01) -> tuple[Study, Any]:
    settings = [Setting(one.value, energy) for one, energy in zip(study.variants, energies, strict=False)]
    return study, judge([Series("A/T", study.quantity, tuple(settings))], tolerance_ev)


def test_the_suggestion_can_be_pasted_and_is_what_was_computed(tmp_path: Path) -> None:
    path = small_campaign(tmp_path, quantities=[])
    kmesh = study_of(path, "kmesh", 2, 3, 4, 5, 6, relax=True)
    vacuum = study_of(path, "vacuum", 15, 20, 25, 30, relax=True)
    force = study_of(path, "force", 0.1, 0.02, 0.01, 0.005)
    verdicts = [found(kmesh, [-1.2, -1.1, -1.001, -1.0, -1.0005]), found(vacuum, [-1.1, -1.001, -1.0, -1.0005])]
    assert [verdict.reached[0] for _, verdict in verdicts] == [4, 20]
    lines = suggestion(load_campaign(path, None), verdicts)
    assert lines == "vacuum_a: 20\nprotocol: {base: paper, kpoint_length_a: 26.016}\n"
    text = yaml.safe_load(path.read_text()) | yaml.safe_load(
        suggestion(load_campaign(path, None), verdicts[:1]) or ""
    )
    path.write_text(yaml.safe_dump(text))
    pasted = {c.id for c in plan(path).calculations}
    assert pasted == {c.id for c in kmesh.variants[2].plan.calculations}
    # The campaign's own value needs no change, and nothing that is not shown is suggested.
    assert suggestion(load_campaign(path, None), [found(force, [-1.2, -1.0, -1.001, -1.0])]) is None
    assert suggestion(load_campaign(path, None), [found(force, [-1.2, -1.0, -1.1, -1.3])]) is None


def test_the_suggestion_at_fixed_geometries_is_a_final_energy(tmp_path: Path) -> None:
    """Of the keys that the energies of the campaign have already, those beside the varied one stay."""
    final = {"dispersion": "d3bj", "kpoint_length_a": 19.5}
    path = small_campaign(tmp_path, protocol={"base": "paper", "final_energy": final}, engine="vasp", quantities=[])
    study = study_of(path, "kmesh", 2, 3, 4, 5, 6)
    assert study.own == 3
    dear = found(study, [-1.2, -1.1, -1.001, -1.0, -1.0005])
    lines = suggestion(load_campaign(path, None), [dear])
    assert yaml.safe_load(lines or "") == {
        "protocol": {"base": "paper", "final_energy": {"dispersion": "d3bj", "kpoint_length_a": 26.016}}
    }
    text = yaml.safe_load(path.read_text()) | yaml.safe_load(lines or "")
    path.write_text(yaml.safe_dump(text))
    assert {c.id for c in plan(path).calculations} == {c.id for c in study.variants[2].plan.calculations}
    # So with the vacuum, which is none of the protocol's own keys.
    text["protocol"]["final_energy"]["vacuum_a"] = 20.0
    path.write_text(yaml.safe_dump(text))
    vacuum = study_of(path, "vacuum", 15, 20, 25, 30, 35)
    assert vacuum.own == 20
    lines = suggestion(load_campaign(path, None), [found(vacuum, [-1.2, -1.1, -1.001, -1.0, -1.0005])])
    assert yaml.safe_load(lines or "")["protocol"]["final_energy"] == {
        **final,
        "kpoint_length_a": 26.016,
        "vacuum_a": 25,
    }
    with pytest.raises(InputError, match="final_energy gives vacuum_a, so that --relax would vary the relaxations"):
        study_of(path, "vacuum", 15, 20, relax=True)
    # Energies that are cheaper than those that the campaign has anyway are of no use.
    assert suggestion(load_campaign(path, None), [found(study, [-1.0, -1.001, -1.0])]) is None


def test_the_suggestion_keeps_what_the_protocol_says_beside_it(tmp_path: Path) -> None:
    path = small_campaign(tmp_path, protocol={"base": "paper", "kpoint_length_a": 25.0})
    found_force = found(study_of(path, "force", 0.1, 0.05, 0.02), [-1.0, -1.001, -1.0])
    lines = suggestion(load_campaign(path, None), [found_force])
    assert yaml.safe_load(lines or "") == {
        "protocol": {"base": "paper", "kpoint_length_a": 25.0, "max_force_ev_per_a": 0.1}
    }


def test_what_was_found_is_said_in_words(tmp_path: Path) -> None:
    study = study_of(small_campaign(tmp_path), "force", 0.1, 0.05, 0.02, 0.01)
    (words,) = sentences(*found(study, [-1.1, -1.0, -1.004, -1.0]))
    assert words == (
        "force: 0.05 eV/Å reaches 0.01 eV: over 0.05, 0.02, 0.01 eV/Å no ΔE varies by more than 0.0040 eV (A/T); "
        "the campaign has 0.02 eV/Å"
    )
    (words,) = sentences(*found(study, [-1.1, -1.0, -1.2, -1.0]))
    assert words == (
        "force: no setting is shown to reach 0.01 eV: over 0.05, 0.02, 0.01 eV/Å ΔE varies by 0.2000 eV (A/T); "
        "go on with dearer ones"
    )
    words, gap = sentences(*found(study, [-1.0, None, -1.002]))
    assert words == "force: two settings show nothing, give 3 or more: 0.1, 0.02 eV/Å differ by 0.0020 eV (A/T)"
    assert gap == "force: no ΔE of A/T at 0.05 eV/Å; a setting without a site does not count"
    assert sentences(*found(study, [None, None]))[0] == "force: nothing is known: no setting has ΔE of every site"
    assert sentences(*found(study, [-1.0] * 3))[0] == "force: no ΔE depends on it: the same for 0.1, 0.05, 0.02 eV/Å"


def drawn(tmp_path: Path, quantity: str, energies: dict[float, float | None]) -> Any:
    one = Series("A/T", quantity, tuple(Setting(value, energy) for value, energy in energies.items()))
    figure = convergence_plot([one], [judge([one], 0.01)], tmp_path / "figure.png", physical=True)
    (axes,) = figure.axes
    assert (tmp_path / "figure.png").stat().st_size > 1000
    return axes


def test_the_figure_has_the_changes_against_the_last_value_that_is_known(tmp_path: Path) -> None:
    axes = drawn(tmp_path, "cutoff", {400: -1.0, 450: None, 500: -1.25, 550: None})
    assert np.asarray(axes.lines[0].get_xydata()).tolist() == [[400, 250], [500, 0]]


def test_the_figure_has_the_tolerance_as_a_band_and_marks_what_reaches_it(tmp_path: Path) -> None:
    axes = drawn(tmp_path, "cutoff", {400: -1.03, 450: -1.004, 500: -1.0, 550: -1.001})
    (band,) = [patch for patch in axes.patches if patch.get_label() == "±0.01 eV"]
    extents = band.get_extents()
    bottom, top = axes.transData.inverted().transform([[0, extents.y0], [0, extents.y1]])[:, 1]
    assert (bottom, top) == pytest.approx((-10, 10))
    (mark,) = [line for line in axes.lines if line.get_label() == "reached from 450 on"]
    assert list(mark.get_xdata()) == [450, 450]
    low, high = axes.get_ylim()
    assert low < -10 < 10 < high
    # Of dearer settings to the right, and a series that is far out on an axis on which the band is seen.
    axes = drawn(tmp_path, "force", {0.1: -1.4, 0.05: -1.2, 0.02: -1.0})
    left, right = axes.get_xlim()
    assert left > right
    assert axes.get_yscale() == "symlog"


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
    # Of two meshes there is one relaxation each, and one single point, since no key acts on it.
    assert "final_energy: kpoint_length_a" in done.stdout
    assert [done.stdout.count(f"] {name}  ") for name in ("WSSe+VS/V_S@top", "WSSe+VS/V_S@top/final")] == [1, 0]
    assert {row["note"] for row in found} == {"mock (dry run, not physical)"}
    assert (folder / "convergence.png").exists()
    assert "give one or more of --cutoff, --kmesh, --smearing, " in cli("converge", path, *place).stderr
    alone = cli("converge", path, "--kmesh", "1,2", "--model", "WSSe+VS", *place)
    assert alone.returncode == 0, alone.stderr
    assert (folder.with_name("small-WSSe+VS-convergence") / "convergence.csv").read_text() == (
        folder / "convergence.csv"
    ).read_text()


def test_several_calculations_at_once(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """The workers of one campaign after the other: the same table as with one calculation at a time."""
    path = small_campaign(tmp_path, quantities=[], sites=["V_S@top", "H@top"], supercell=[2, 2])
    tables = []
    for workers in ("2", "1"):
        place = ("--launchpad", launchpad, "--root", f"root-{workers}", "--workers", workers)
        done = cli("converge", path, "--force", "0.1,0.05", *place)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        tables.append(table(tmp_path / f"root-{workers}" / "results" / "small-convergence"))
        with open_launchpad(launchpad) as database:
            pids = {attempt["pid"] for attempt in database.db["attempts"].find()}
            database.db.client.drop_database(database.db.name)
        assert len(pids) == (1 if workers == "1" else 4)
    assert tables[0] == tables[1]


def table(folder: Path) -> dict[tuple[str, float], list[dict[str, str]]]:
    """The rows of a convergence.csv by quantity and value."""
    found: dict[tuple[str, float], list[dict[str, str]]] = {}
    for row in csv.DictReader((folder / "convergence.csv").open(encoding="utf-8")):
        found.setdefault((row["quantity"], float(row["value"])), []).append(row)
    return found


def test_it_stops_by_itself_goes_on_and_says_which_settings_reach_it(
    cli: Cli, launchpad: Path, tmp_path: Path
) -> None:
    """The dry engine acts on forces, cells and vacuum: the largest force moves ΔE by some meV, the vacuum by none."""
    path = small_campaign(tmp_path, quantities=[], sites=["V_S@top"])
    place = ("--launchpad", launchpad, "--root", "root")
    folder = tmp_path / "root" / "results" / "small-convergence"
    done = cli("converge", path, "--force", "0.1,0.05,0.02,0.001", "--vacuum", "15,20,25,30", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    # The vacuum is that of the cells, and the potential does not reach across it, so that sheets stood as they were;
    # in the campaign's own vacuum the relaxations have these energies.
    assert done.stdout.count("WSSe+VS/V_S@top/final") == 2
    # Three that agree are enough: 0.001 eV/Å and 30 Å are not computed.
    assert table(folder).keys() == {
        (name, v) for name, vs in {"force": (0.1, 0.05, 0.02), "vacuum": (15, 20, 25)}.items() for v in vs
    }
    assert "force: 0.1 eV/Å reaches 0.01 eV: over 0.1, 0.05, 0.02 eV/Å no ΔE varies by more than" in done.stdout
    assert "vacuum: no ΔE depends on it: the same for 15, 20, 25 Å." in done.stdout
    assert "protocol: {base: paper, max_force_ev_per_a: 0.1}" in done.stdout
    # The same command with a tighter tolerance goes on from there, and says that none reaches it, with its exit code.
    again = cli("converge", path, "--force", "0.1,0.05,0.02,0.01", "--tolerance", "1e-7", *place)
    assert again.returncode == 3, again.stdout + again.stderr
    assert "[5/5]" not in again.stdout.split("small-force-0.01")[0]
    assert "force: no setting is shown to reach 1e-07 eV: over 0.05, 0.02, 0.01 eV/Å ΔE varies by" in again.stdout
    assert [value for _, value in table(folder)] == [0.1, 0.05, 0.02, 0.01]
    assert "In the campaign" not in again.stdout


def test_supercells_are_relaxed_each(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    path = small_campaign(tmp_path, quantities=[], sites=["V_S@top", "T_W@top-3"], supercell=[3, 3])
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("converge", path, "--supercell", "2,3", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "--supercell: WSSe+VS: T_W@top-3 is not the same in 2×2, 3×3; left out." in done.stdout
    assert "supercell: two settings show nothing, give 3 or more: 2, 3 differ by" in done.stdout
    found = table(tmp_path / "root" / "results" / "small-convergence")
    assert {(key, row["site"]) for key, rows in found.items() for row in rows} == {
        (("supercell", 2.0), "WSSe+VS/V_S@top"),
        (("supercell", 3.0), "WSSe+VS/V_S@top"),
    }


def test_what_the_dry_engine_ignores_is_refused_before_anything_runs(cli: Cli, tmp_path: Path) -> None:
    path = small_campaign(tmp_path)
    for option, key in (("--smearing", "smearing"), ("--cutoff", "cutoff_ev")):
        done = cli("converge", path, option, "auto", "--root", "root")
        assert done.returncode == 2
        assert f"{option}: engine emt has no use for {key}" in done.stderr
    done = cli("converge", path, "--kmesh", "auto", "--tolerance", "-1", "--root", "root")
    assert "--tolerance -1: it has to be positive, in eV" in done.stderr
    assert not (tmp_path / "root").exists()
