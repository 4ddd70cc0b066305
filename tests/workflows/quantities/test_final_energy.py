"""Energies at relaxed geometries: planned beside the relaxations, chosen by, refused in words, run by a code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from sodiate.workflows.campaign.load import load_campaign
from sodiate.workflows.campaign.yaml import CONFIGS, InputError
from sodiate.workflows.engines.shared.states import other_state_notes
from sodiate.workflows.launch.corrections import retry
from sodiate.workflows.plan.convergence_study import studies
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.plan.preview import write_inputs
from support.campaigns import Bench, small_campaign
from support.cli import Cli
from support.engine_cases import VASP_PACE
from support.fake_vasp import Behaviour, install

DEAR = {"cutoff_ev": 700.0, "kpoint_length_a": 39.0}


def paper(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((CONFIGS / "protocols" / "paper.yaml").read_text(encoding="utf-8"))
    return values | changes


def with_finals(folder: Path, final: object, engine: str | None = None, **changes: Any) -> Plan:
    return plan(small_campaign(folder, protocol=paper(final_energy=final), **changes), engine)


def ids(planned: Plan) -> dict[str, str]:
    return {name: calculation.id for name, calculation in planned.names.items()}


def test_all_but_the_choice_keeps_its_id(tmp_path: Path) -> None:
    """No relaxation is another one: what is added are single points and references, and what follows the choice."""
    plain, dear = (with_finals(tmp_path, final, "gpaw", quantities=QUANTITIES) for final in (False, DEAR))
    assert ids(plain) == ids(plan(small_campaign(tmp_path, protocol=paper(), quantities=QUANTITIES), "gpaw"))
    before, after = ids(plain), ids(dear)
    assert after.keys() - before.keys() == {
        *("Na-final", "Na-bcc-final", "WSSe+VS/final", "WSSe+VS/V_S@top/final", "WSSe+VS/T_W@bottom/final"),
    }
    assert {name for name in before if before[name] != after[name]} == {"WSSe+VS/lowest"}
    assert plain.method_id != dear.method_id
    assert dear["WSSe+VS/lowest"].calculation.parents.keys() == {
        *("host", "V_S@top", "T_W@bottom", "final host", "final V_S@top", "final T_W@bottom"),
    }


QUANTITIES = ["dos", "bulk_reference"]


def test_a_single_point_has_the_keys_of_its_section_at_the_end_of_its_relaxation(tmp_path: Path) -> None:
    planned = with_finals(tmp_path, DEAR, "gpaw", quantities=QUANTITIES)
    relaxed, final = (planned[f"WSSe+VS/V_S@top{end}"].calculation for end in ("", "/final"))
    assert (final.kind, final.parents) == ("static", {"geometry": relaxed})
    assert {**relaxed.protocol, **DEAR} == {**final.protocol, "max_force_ev_per_a": 0.02}
    # The atom's own section stands; the cutoff, of which it says nothing, is that of the energies.
    atoms = [planned[name].calculation.protocol for name in ("Na", "Na-final")]
    assert {**atoms[0], "cutoff_ev": 700.0} == atoms[1]


def test_a_denser_mesh_alone_needs_no_other_references(tmp_path: Path) -> None:
    """They have sampling rules of their own, so that they are the very same calculations."""
    planned = with_finals(tmp_path, {"kpoint_length_a": 39.0}, "gpaw", quantities=QUANTITIES)
    part = planned.entry().models[0].quantities["final_energy"].calculations
    assert (part["atom"], part["bulk"]) == (planned["Na"].calculation.id, planned["Na-bcc"].calculation.id)
    assert not [name for name in planned if "-final" in name]


@pytest.mark.parametrize("vacuum_a", [12.0, 25.0])
def test_in_another_vacuum_the_sheet_stands_as_it_is_in_the_middle_of_its_cell(
    vacuum_a: float, tmp_path: Path
) -> None:
    plain, dear = (with_finals(tmp_path, final, "gpaw") for final in (False, {"vacuum_a": vacuum_a}))
    assert {name: i for name, i in ids(dear).items() if name in ids(plain) and name != "WSSe+VS/lowest"} == {
        name: i for name, i in ids(plain).items() if name != "WSSe+VS/lowest"
    }
    heights = set()
    for name in ("WSSe+VS", "WSSe+VS/V_S@top"):
        before, after = (dear[each].atoms() for each in (name, f"{name}/final"))
        assert dear[f"{name}/final"].calculation.protocol == {
            key: value for key, value in dear[name].calculation.protocol.items() if key != "max_force_ev_per_a"
        }
        heights.add(round(float(after.cell[2, 2]), 9))
        assert after.cell[2, 2] - before.cell[2, 2] == pytest.approx(vacuum_a - 15)
        assert after.cell[:2] == pytest.approx(before.cell[:2])
        # In z the distance to the middle of the cell is the same for each atom, in the plane nothing is.
        middle = [atoms.positions[:, 2] - atoms.cell[2, 2] / 2 for atoms in (before, after)]
        assert middle[0] == pytest.approx(middle[1], abs=1e-12)
        assert after.positions[:, :2] == pytest.approx(before.positions[:, :2], abs=1e-12)
    assert len(heights) == 1


def test_settings_of_the_relaxations_need_no_single_points(tmp_path: Path) -> None:
    """Their energies are those; also in the vacuum that the relaxations have."""
    plain = with_finals(tmp_path, False, "gpaw")
    for final in ({"vacuum_a": 15.0}, {"kpoint_length_a": 19.5, "cutoff_ev": 500.0}):
        same = with_finals(tmp_path, final, "gpaw")
        assert ids(same) == ids(plain)
        assert same.dropped == ("final_energy: its settings are those of the relaxations, whose energies are taken",)
    # So it is with VASP, unless a tag that moves energies is for single points alone.
    vasp = with_finals(tmp_path, {"cutoff_ev": 500.0}, "vasp")
    assert not vasp.hosts[0].finals
    tagged = with_finals(tmp_path, {"cutoff_ev": 500.0}, "vasp", incar={"static": {"SIGMA": 0.02}})
    assert tagged.hosts[0].finals
    # With a setting of their own they have those of the others, too.
    other = with_finals(tmp_path, {"cutoff_ev": 500.0, "dispersion": "d3bj"}, "gpaw")
    assert other["WSSe+VS/final"].calculation.protocol["dispersion"] == "d3bj"


def test_error_bars_are_of_energies_in_their_own_vacuum(tmp_path: Path) -> None:
    """A denser mesh is tried in the cell of the energies, and more vacuum is more than theirs."""
    planned = with_finals(tmp_path, {"vacuum_a": 20.0}, "gpaw", uncertainty=["vacuum", "kmesh"])
    extra = {name: c.structure.get("extra_vacuum_a") for name, c in planned.names.items() if c.kind == "static"}
    assert {name.rpartition("/")[2]: value for name, value in extra.items()} == {"final": 5, "kmesh": 5, "vacuum": 10}


def test_a_model_may_have_more_keys_or_none(tmp_path: Path) -> None:
    models = [
        "WSSe+VS",
        {"model": "WSSe+VS", "name": "rpbe", "protocol": {"final_energy": {"functional": "RPBE"}}},
        {"model": "WSSe+VS", "name": "plain", "protocol": {"final_energy": False}, "compare_with": "WSSe+VS"},
    ]
    planned = with_finals(tmp_path, DEAR, "gpaw", models=models)
    assert planned["rpbe/final"].calculation.protocol["functional"] == "RPBE"
    assert planned["rpbe/final"].calculation.protocol["cutoff_ev"] == 700.0
    assert planned["rpbe"].calculation == planned["WSSe+VS"].calculation
    assert planned["rpbe/Na-final"].calculation != planned["Na-final"].calculation
    assert "plain/final" not in planned
    assert planned.entry().models[2].changes == (
        "final energy: cutoff_ev 700 → 500",
        "final energy: kpoint_length_a 39 → 19.5",
    )


@pytest.mark.parametrize(
    ("engine", "own", "changes"),
    [
        # The mesh acts on a dry DOS alone, so that a dry single point has none and its energy is no other one.
        ("emt", {"cutoff_ev": 700.0}, ()),
        ("gpaw", {"cutoff_ev": 700.0}, ("final energy: cutoff_ev 500 → 700",)),
        ("vasp", {"hubbard_u_ev": {}}, ("final energy: hubbard_u_ev W d 3 → none",)),
        (
            "vasp",
            {"kpoint_length_a": 39.0},
            ("final energy: kpoint_mesh [3, 3, 1] → none", "final energy: kpoint_length_a 19.5 → 39"),
        ),
    ],
)
def test_what_acts_on_relaxations_alone_is_no_change_of_energies(
    tmp_path: Path, engine: str, own: dict[str, Any], changes: tuple[str, ...]
) -> None:
    common: dict[str, Any] = {}
    if "hubbard_u_ev" in own:
        common["hubbard_u_ev"] = {"W": {"d": 3.0}}
    if "kpoint_length_a" in own:
        common["kpoint_mesh"] = {"points": [3, 3, 1]}
    models = [
        "WSSe+VS",
        {"model": "WSSe+VS", "name": "own", "protocol": {"final_energy": own}, "compare_with": "WSSe+VS"},
    ]
    planned = plan(small_campaign(tmp_path, protocol=paper(**common), models=models), engine)
    assert sorted(planned.entry().models[1].changes) == sorted(changes)


def test_a_length_goes_before_a_mesh_that_the_relaxations_have(tmp_path: Path) -> None:
    given = {"points": [3, 3, 1], "shift": [0.5, 0.5, 0.0]}
    protocol = paper(kpoint_mesh=given, final_energy={"kpoint_length_a": 39.0})
    final = plan(small_campaign(tmp_path, protocol=protocol), "vasp")["WSSe+VS/final"].calculation
    assert "kpoint_mesh" not in final.protocol
    assert final.protocol["kpoint_length_a"] == 39.0


@pytest.mark.parametrize(
    ("engine", "final", "words"),
    [
        ("gpaw", {"spin_orbit": True}, "protocol.final_energy.spin_orbit: the engine gpaw has no such key; it has"),
        ("gpaw", {"kpoint_mesh": {"points": [4, 4, 1]}}, "protocol.final_energy.kpoint_mesh: the engine gpaw has no"),
        ("gpaw", {"functional": "HSE06"}, "'HSE06': a hybrid has no eigenvalues .*protocol.final_energy"),
        ("gpaw", {"dispersion": "d4"}, r"dispersion: the engine gpaw has no 'd4'.*\(protocol.final_energy\)"),
        ("vasp", {"functional": "HSE6"}, r"'HSE6' \(did you mean 'HSE06'\?\).*\(protocol.final_energy\)"),
        ("vasp", {"cutoff": 700}, r"unknown key 'protocol.*final_energy.cutoff' \(did you mean 'cutoff_ev'\?\)"),
        ("vasp", {"cutoff_ev": -1}, "final_energy.cutoff_ev: -1 should be greater than 0"),
        ("vasp", {"max_force_ev_per_a": 0.01}, "unknown key 'protocol.*final_energy.max_force_ev_per_a'"),
        ("vasp", True, "final_energy: true should be a mapping with the keys cutoff_ev, "),
        ("emt", {"spin_orbit": True}, r"the engine emt has no such key.*\(protocol.final_energy\)"),
        ("vasp", {"hubbard_u_ev": {"Mo": {"d": 3.0}}}, "hubbard_u_ev: no calculation here has Mo"),
    ],
)
def test_mistakes_are_named_when_planned(tmp_path: Path, engine: str, final: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        with_finals(tmp_path, final, engine)


def test_a_site_may_not_be_called_as_what_stands_beside_sites(tmp_path: Path) -> None:
    own = {"final": {"at": [0.1, 0.2], "face": "top", "height_a": 2.0}}
    with pytest.raises(InputError, match="own_sites: model WSSe has a site final of its own"):
        plan(small_campaign(tmp_path, models=[{"model": "WSSe", "own_sites": own}]))


def test_the_dry_engine_says_that_no_key_acts(tmp_path: Path) -> None:
    planned = with_finals(tmp_path, {**DEAR, "dispersion": "none"})
    assert planned.dropped == (
        "final_energy: cutoff_ev, kpoint_length_a do not act with engine emt: its energies are those of the "
        "relaxations",
    )


def test_one_key_does_not_act(tmp_path: Path) -> None:
    planned = with_finals(tmp_path, {"kpoint_length_a": 39.0})
    assert planned.dropped[0].startswith("final_energy: kpoint_length_a does not act with engine emt")


def test_an_existing_root_gets_the_single_points_alone(launchpad: Path, tmp_path: Path, cli: Cli) -> None:
    place = "--launchpad", launchpad, "--root", "root"
    first = small_campaign(tmp_path, quantities=QUANTITIES)
    assert cli("run", first, *place).returncode == 0
    second = small_campaign(tmp_path, quantities=QUANTITIES, protocol=paper(final_energy=DEAR))
    run = cli("run", second, *place)
    assert run.returncode == 0, run.stderr
    launched = re.findall(r"^\[\d+/10\] (\S+)", run.stdout, flags=re.MULTILINE)
    assert sorted(launched) == [
        *("WSSe+VS/T_W@bottom/final", "WSSe+VS/V_S@top/final", "WSSe+VS/final", "WSSe+VS/lowest"),
    ]
    assert "WSSe+VS: ΔE is from energies at the relaxed geometries with the settings of the relaxations" in run.stdout
    plain, dear = json.loads(cli("results", "--launchpad", launchpad, "--format", "json").stdout)
    assert (plain["relaxed_adsorption_energy_ev"], dear["reasons"]) == (None, [])
    # A dry single point has the energy of the relaxation's last step, to the last bit.
    assert dear["adsorption_energy_ev"] == plain["adsorption_energy_ev"] == dear["relaxed_adsorption_energy_ev"]
    assert [site["final_energy_ev"] for site in dear["sites"]] == [site["energy_ev"] for site in dear["sites"]]
    several = cli("si", *place, "--out", "si")
    assert f"method {plain['method_id']}; campaign small, engine emt, method {dear['method_id']}" in several.stderr
    assert cli("si", *place, "--out", "si", "--method", dear["method_id"]).returncode == 0
    assert (
        "Energies were taken at these geometries with the same settings." in (tmp_path / "si/methods.md").read_text()
    )
    assert "| ΔE, relaxations (eV) |" in (tmp_path / "si/adsorption.md").read_text()


def test_where_a_relaxation_failed_its_single_point_has_and_the_choice_goes_on(bench: Bench, tmp_path: Path) -> None:
    planned = with_finals(tmp_path, DEAR)
    site = planned["WSSe+VS/V_S@top"].calculation
    blocked = bench.root / site.directory_name
    blocked.mkdir(parents=True)
    (blocked / "thesis.tex").touch()  # a folder of somebody else
    bench.submit(planned)
    bench.launch(planned)
    records = bench.documents.current()
    choice = records[planned["WSSe+VS/lowest"].calculation.id].choice
    assert choice is not None
    assert (choice.site, list(choice.ignored)) == ("T_W@bottom", ["V_S@top"])
    assert choice.ignored["V_S@top"].startswith("failed: ")
    (attempt,) = bench.attempts(planned["WSSe+VS/V_S@top/final"].calculation.id)
    assert (attempt["outcome"], attempt["reason"]) == ("failed", "its geometry, WSSe+VS/V_S@top, has failed")
    (blocked / "thesis.tex").unlink()
    retry(bench, [c.id for c in planned.calculations])
    bench.launch(planned)
    assert len(bench.documents.current()) == len(planned)
    choice = bench.documents.current()[planned["WSSe+VS/lowest"].calculation.id].choice
    assert choice is not None
    assert choice.ignored == {}


def test_single_points_come_in_the_order_of_the_campaign(bench: Bench, tmp_path: Path) -> None:
    planned = with_finals(tmp_path, DEAR, models=["WSSe+VS", "WSSe"], sites=["T_W@bottom", "T_W@top"])
    bench.submit(planned)
    priorities = {d["spec"]["label"]: d["spec"]["_priority"] for d in bench.launchpad.fireworks.find({})}
    points = sorted((name for name in priorities if name.endswith("/final")), key=lambda name: -priorities[name])
    sites = [f"{host}/{site}/final" for site in ("T_W@bottom", "T_W@top") for host in ("WSSe+VS", "WSSe")]
    assert points == ["WSSe+VS/final", "WSSe/final", *sites]


# With a code: VASP's stand-in.


@pytest.mark.usefixtures("vasp")
def test_inputs_of_a_hybrid_and_spin_orbit_at_relaxed_geometries(tmp_path: Path) -> None:
    final = {"functional": "HSE06", "spin_orbit": True, "kpoint_mesh": {"points": [4, 4, 1]}}
    planned = with_finals(tmp_path, final, "vasp")
    write_inputs(planned, tmp_path / "inputs")

    def incar(name: str) -> str:
        return (tmp_path / "inputs" / planned[name].calculation.directory_name / "INCAR").read_text()

    for name in ("WSSe+VS/final", "WSSe+VS/V_S@top/final", "Na-final"):
        assert all(f"{tag} = " in incar(name) for tag in ("LHFCALC", "LSORBIT")), name
    assert not any(tag in incar("WSSe+VS") for tag in ("LHFCALC", "LSORBIT"))
    kpoints = tmp_path / "inputs" / planned["WSSe+VS/final"].calculation.directory_name / "KPOINTS"
    assert "4 4 1" in kpoints.read_text()


def test_a_code_starts_in_the_state_of_the_relaxation(bench: Bench, tmp_path: Path, vasp: Path) -> None:
    """A site's relaxation begins with 1 μB and ends with less, with which its single point begins."""
    protocol = paper(dipole_correction=False, final_energy={"cutoff_ev": 700.0})
    models = [{"model": "WSSe", "supercell": [1, 1], "sites": ["T_W@top"]}]
    planned = plan(
        small_campaign(tmp_path, protocol=protocol, models=models, sites=["T_W@top"], quantities=[]), "vasp"
    )
    install(vasp, Behaviour(states=((1.2, 0.0), (3.0, 0.3))))
    try:
        bench.submit(planned)
        bench.launch(planned)
    finally:
        install(vasp, VASP_PACE)
    records = bench.documents.current()
    assert len(records) == len(planned)
    relaxed, final = (records[planned[f"WSSe/T_W@top{end}"].calculation.id] for end in ("", "/final"))
    assert relaxed.start_moments_mub is not None
    assert final.start_moments_mub is not None
    assert sum(relaxed.start_moments_mub) == pytest.approx(1.0)
    assert relaxed.total_moment_mub == pytest.approx(0.6)  # what the stand-in has in its spheres
    assert sum(final.start_moments_mub) == pytest.approx(0.6)
    assert (relaxed.method.cutoff_ev, final.method.cutoff_ev) == (500.0, 700.0)
    assert not [note for note in final.notes if "magnetic state" in note]


@pytest.mark.parametrize(
    ("relaxed", "now", "notes"),
    [(0.76, 0.0, 1), (0.76, -0.75, 0), (None, 1.0, 0), (1.0, None, 0), (1.0, 1.2, 1)],
)
def test_another_moment_than_that_of_the_relaxation_is_noted(
    relaxed: float | None, now: float | None, notes: int
) -> None:
    """The sign of all moments together means nothing; without spin nothing can be said."""
    assert len(other_state_notes(relaxed, now)) == notes


def test_convergence_is_not_tested_with_a_key_that_the_energies_have_of_their_own(tmp_path: Path) -> None:
    """Each setting would give the same ΔE but for the geometries."""
    path = small_campaign(tmp_path, protocol=paper(final_energy={"cutoff_ev": 700.0}), quantities=[])
    with pytest.raises(InputError, match="final_energy gives cutoff_ev, so that --relax would vary the relaxations"):
        studies(load_campaign(path, "gpaw"), {"cutoff": (400.0, 500.0)}, relax=True)
    # At the relaxed geometries it is that key that is varied.
    (study,) = studies(load_campaign(path, "gpaw"), {"cutoff": (400.0, 600.0)})
    assert [host.finals["host"].protocol["cutoff_ev"] for one in study.variants for host in one.plan.hosts] == [
        400,
        600,
    ]


@pytest.mark.parametrize("engine", ["emt", "gpaw", "vasp"])
def test_a_cell_in_which_sheets_touch_is_refused_when_planned(engine: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"final_energy.vacuum_a: in 2 Å of vacuum images of a sheet overlap; give 6"
    ):
        with_finals(tmp_path, {"vacuum_a": 2.0}, engine)
    assert "WSSe+VS/final" in with_finals(tmp_path, {"vacuum_a": 6.0}, engine)
    model = {"model": "WSSe", "name": "flat", "vacuum_a": 5.0}
    for changes, key in (({"vacuum_a": 5.0}, "vacuum_a"), ({"models": [model]}, "models: flat: vacuum_a")):
        path = small_campaign(tmp_path, sites=["T_W@top"], **changes)
        with pytest.raises(InputError, match=f"yaml: {key}: in 5 Å of vacuum images of a sheet overlap"):
            plan(path, engine)
