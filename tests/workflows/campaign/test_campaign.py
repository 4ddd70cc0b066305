"""Campaign files: typed, unknown keys refused with the nearest valid one, every mistake one clear message."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ase.build import bulk, mx2
from ase.io import write
from sodiate.workflows.campaign.load import bundled_campaigns, load_campaign
from sodiate.workflows.campaign.protocol import Changes
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.plan.planner import plan

WSSE = bundled_campaigns()["wsse"].read_text(encoding="utf-8")

LAYER: dict[str, object] = {"metal": "W", "top": "S", "bottom": "Se", "bond_top": 2.416, "bond_bottom": 2.538}
BOHR = {**LAYER, "a": 6.145, "bond_top": 4.57, "bond_bottom": 4.80}
XENON = {"metal": "Xe", "top": "O", "bottom": "O", "a": 3.0, "bond_top": 2.4, "bond_bottom": 2.4}


def written(folder: Path, **changes: object) -> Path:
    """The bundled campaign with some keys changed, as a user's file."""
    data = yaml.safe_load(WSSE) | {"quantities": ["dos"]} | changes
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in data.items() if v is not ...}), encoding="utf-8")
    return path


def complaint(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        plan(path)
    message = str(caught.value)
    assert path.name in message
    return message


def test_the_bundled_campaigns_are_valid() -> None:
    real = {"wsse-gpaw", "wsse-gpaw-best", "wsse-gpaw-diffusion", "wsse-gpaw-interlayer"}
    real |= {"wsse-sensitivity", "validation"}
    own = {"wsse", "wsse-na2s", "wsse-voltage", "wsse-diffusion", "wsse-conversion", "mos2-bilayer", "li-mosse"}
    own |= {"own-host"}
    assert set(bundled_campaigns()) == own | real
    for name in bundled_campaigns():
        assert load_campaign(name).spec.campaign == name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"modles": ["WSe2"]}, ["unknown key 'modles'", "did you mean 'models'"]),
        ({"supercell": [0, 3]}, ["supercell", "greater than or equal to 1"]),
        ({"supercell": [-1, 3]}, ["supercell", "greater than or equal to 1"]),
        ({"supercell": 3}, ["supercell"]),
        ({"supercell": [True, 3]}, ["supercell"]),
        ({"vacuum_a": -15}, ["vacuum_a", "greater than 0"]),
        ({"vacuum_a": "wide"}, ["vacuum_a", "'wide'"]),
        ({"vacuum_a": True}, ["vacuum_a", "truth value"]),
        ({"vacuum_a": 1e12}, ["vacuum_a", "less than or equal to 200"]),
        ({"monolayers": {"WSSe": {**LAYER, "a": 1e-9}}, "models": ["WSSe"]}, ["a lattice vector is 1e-09 Å long"]),
        # In Bohr, as host files are refused, and in pm.
        ({"monolayers": {"WSSe": BOHR}, "models": ["WSSe"]}, ["W–S bond", "4.57 Å, is longer than 3.47", "in Å"]),
        ({"adsorbate": {"element": "Na", "charge": 10**9}}, ["adsorbate.charge", "less than or equal to 8"]),
        ({"adsorbate": {"element": "Na", "start_heights_a": {"H": 1e9}}}, ["start_heights_a.H", "less than"]),
        ({"models": [{"model": "WSSe", "protocol": {"kpoint_length_a": 1e12}}]}, ["kpoint_length_a", "2000"]),
        ({"models": [{"model": "WSSe", "protocol": {"bands": {"band_points": 10**12}}}]}, ["band_points", "10000"]),
        ({"models": [{"model": "WSSe", "name": "y" * 3000}]}, ["it has 3000 characters, at most 100 go"]),
        ({"vacuum_a": float("nan")}, ["line", "nan is no number"]),
        ({"models": ["WSx2"]}, ["no monolayer 'WSx2'", "did you mean 'WSe2'"]),
        ({"models": []}, ["models"]),
        ({"models": ["WSe2", "WSe2"]}, ["two models are called WSe2"]),
        ({"models": ["WSe2+VS"]}, ["WSe2+VS", "S", "Se"]),
        ({"models": ["WSSe+VX"]}, ["WSSe+VX"]),
        ({"models": [{"model": "WSSe+VS+VSe", "pair": 9.99}]}, ["9.99", "3.23", "4.58"]),
        ({"models": [{"model": "WSSe", "sites": ["V_S@top"]}]}, ["model WSSe has none of V_S@top", "T_W@top"]),
        ({"models": [{"model": "WSSe", "sites": "nearly"}]}, ["'nearly' should be near-defect, all, or a list"]),
        ({"execution": {"start_stiffness_ev_per_a2": {"Na": 3.0}}}, ["start_stiffness_ev_per_a2", "needs 'other'"]),
        ({"execution": {"coarse": {"cutof_ev": 300}}}, ["cutof_ev", "did you mean 'cutoff_ev'"]),
        ({"models": [{"model": "WSSe", "remove": ["S@0"]}]}, ["S", "0", "W"]),
        ({"models": [{"model": "WSSe", "remove": ["S@999"]}]}, ["999"]),
        ({"models": [{"model": "WSSe", "remove": ["S12"]}]}, ["S12", "S@12"]),
        ({"models": [{"model": "WSSe", "replace": {"W@3": "Qq"}}]}, ["Qq"]),
        ({"models": [{"file": "x.cif"}]}, ["name"]),
        ({"models": [{"name": "neither"}]}, ["model: NAME", "file"]),
        ({"models": [{"name": "gone", "file": "gone.cif"}]}, ["gone.cif"]),
        ({"models": [{"model": "WSSe", "name": "../escape"}]}, ["no name"]),
        ({"sites": ["T_W@topp"]}, ["T_W@topp", "did you mean 'T_W@top'"]),
        ({"sites": "near"}, ["near-defect"]),
        ({"execution": {"optimizer": "newton"}}, ["execution.optimizer", "newton", "bfgs"]),
        ({"execution": {"max_stpes": 3}}, ["unknown key 'execution.max_stpes'", "did you mean 'max_steps'"]),
        ({"engine": "vosp"}, ["engine 'vosp'", "emt"]),
        ({"protocol": "papre"}, ["papre", "did you mean 'paper'"]),
        ({"protocol": {"functional": "PBE"}}, ["max_force_ev_per_a"]),
        ({"protocol": {"base": "papre"}}, ["papre", "did you mean 'paper'"]),
        ({"protocol": {"base": 3}}, ["protocol.base: 3", "name of a protocol"]),
        ({"protocol": {"cutoff_ev": 400}}, ["protocol: it has neither functional nor base", "`base: paper`"]),
        ({"protocol": {"base": "paper", "smearing": {"widht_ev": 1}}}, ["widht_ev", "did you mean 'width_ev'"]),
        ({"protocol": {"base": "paper", "cutof_ev": 400}}, ["'cutof_ev'", "did you mean 'cutoff_ev'"]),
        ({"protocol": {"base": "paper", "cutoff_ev": -4}}, ["cutoff_ev", "greater than 0"]),
        ({"adsorbate": {"element": "Naa"}}, ["Naa", "no element"]),
        ({"adsorbate": {"element": "Na", "start_heights_a": {"V": -1}}}, ["start_heights_a.V"]),
        ({"monolayers": {"WSSe": {"metal": "W"}}, "models": ["WSSe"]}, ["monolayers.WSSe.top", "missing"]),
        ({"quantities": ["dos", "density_diference"]}, ["density_diference", "did you mean 'density_difference'"]),
        ({"quantities": ["published"]}, ["no quantity 'published'"]),
        ({"quantities": ["bulk_reference"], "bulk_references": {}, "adsorbate": {"element": "F", "charge": 1}},
         ["bulk_references.F"]),
        ({"campaign": "a/b"}, ["no name"]),
        ({"campaign": ...}, ["'campaign' is missing"]),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_mistake_is_one_clear_message(tmp_path: Path, changes: dict[str, object], words: list[str]) -> None:
    message = complaint(written(tmp_path, **changes))
    assert all(word in message for word in words), message
    assert all(line.startswith(("campaign ", "protocol ")) for line in message.splitlines()), message
    assert "Traceback" not in message
    assert "pydantic" not in message


@pytest.mark.parametrize(
    ("text", "word"),
    [("", "is empty"), ("- a\n- b\n", "not a mapping"), ("a: [1\n", "line"), ("just words", "not a mapping"),
     ("on: 1\n", "not text"), ("# only a comment\n", "is empty")],
)  # fmt: skip
def test_not_a_campaign(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert word in complaint(path)


def test_a_directory_a_missing_file_and_a_binary_file(tmp_path: Path) -> None:
    assert "directory" in complaint(tmp_path)
    with pytest.raises(InputError, match=r"no such file and no bundled campaign.*did you mean 'wsse'"):
        plan("wse")
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in complaint(binary)


def test_a_bulk_or_a_broken_host_file(tmp_path: Path) -> None:
    write(tmp_path / "bulk.cif", bulk("NaCl", "rocksalt", a=5.64))
    assert "2D" in complaint(written(tmp_path, models=[{"name": "x", "file": "bulk.cif"}]))
    close = mx2("MoS2", vacuum=8.0)
    close.pbc = True
    close += close[0:1]
    close.positions[-1, 0] += 0.3
    write(tmp_path / "close.vasp", close, format="vasp")
    assert "Mo" in complaint(written(tmp_path, models=[{"name": "x", "file": "close.vasp"}]))


def test_a_protocol_may_be_another_one_with_some_keys_changed(tmp_path: Path) -> None:
    """What it does not name is the base's, sections key by key: as a model changes the campaign's protocol."""
    changed: dict[str, object] = {"kpoint_length_a": 26.0, "dos": {"dos_broadening_ev": 0.1}}
    base, given = plan(written(tmp_path)), plan(written(tmp_path, protocol={"base": "paper", **changed}))
    in_model = plan(written(tmp_path, models=[{"model": "WSe2", "protocol": changed}]))
    assert given.names["WSe2"].id == in_model.names["WSe2"].id != base.names["WSe2"].id
    assert given.names["WSe2/dos"].id == in_model.names["WSe2/dos"].id
    assert given.names["WSe2/dos"].protocol == {
        **base.names["WSe2/dos"].protocol,
        "dos_broadening_ev": 0.1,
    }
    assert given.names["Na"].id == base.names["Na"].id
    nothing = plan(written(tmp_path, protocol={"base": "paper"}))
    assert {name: c.id for name, c in nothing.names.items()} == {name: c.id for name, c in base.names.items()}
    own = tmp_path / "mine.yaml"
    own.write_text("functional: PBE\nmax_force_ev_per_a: 0.03\natom: {box_a: [12, 12.5, 13]}\n", encoding="utf-8")
    path = written(tmp_path, protocol={"base": "mine.yaml", "kpoint_length_a": 26.0}, quantities=[])
    assert plan(path).names["WSe2"].protocol == {"kpoint_length_a": 26.0, "max_force_ev_per_a": 0.03}


def test_metals_without_a_reference_have_that_of_experiment(tmp_path: Path) -> None:
    """bcc Na, hcp Mg, fcc Al as in ASE's table; a line of the plan says so."""
    known = {"Na": ("bcc", 4.23, None), "Mg": ("hcp", 3.21, 5.21), "Al": ("fcc", 4.05, None)}
    for element, (lattice, a_a, c_a) in known.items():
        changes = {"quantities": ["bulk_reference"], "bulk_references": {}, "adsorbate": {"element": element}}
        graph = plan(written(tmp_path, **changes))
        structure = graph.names[f"{element}-{lattice}"].structure
        assert structure["a"] == pytest.approx(a_a, abs=0.01)
        assert structure.get("c") == (None if c_a is None else pytest.approx(c_a, abs=0.01))
        assert any(f"bulk_references.{element}: not given" in remark for remark in graph.remarks)
    assert not any("bulk_references" in remark for remark in plan("wsse").remarks)


def test_the_dry_run_plans_any_element(tmp_path: Path) -> None:
    plan(written(tmp_path, adsorbate={"element": "He"}))
    plan(written(tmp_path, monolayers={"XeO2": XENON}, models=["XeO2"]))


def test_maps_of_a_base_merge(tmp_path: Path) -> None:
    """Of a map what it does not say is the base's, in the campaign, its models and their sections alike."""
    paper = load_campaign(written(tmp_path)).protocol
    partial: dict[str, object] = {"smearing": {"width_ev": 0.1}, "start_moments_mub": {"other": 0.6}}
    partial |= {"paw": {"C": "C_h"}, "atom": {"smearing": {"width_ev": 0.02}}}
    given = load_campaign(written(tmp_path, protocol={"base": "paper", **partial})).protocol
    assert given.smearing == paper.smearing.model_copy(update={"width_ev": 0.1})  # type: ignore[union-attr]
    assert given.start_moments_mub is not None
    assert given.start_moments_mub.model_dump(exclude_none=True) == {
        "adsorbate": 1.0, "next_to_defect": 0.5, "other": 0.6,
    }  # fmt: skip
    assert given.paw == {**(paper.paw or {}), "C": "C_h"}
    assert given.section("atom").smearing == paper.section("atom").smearing.model_copy(update={"width_ev": 0.02})  # type: ignore[union-attr]
    assert given.section("atom").box_a == paper.section("atom").box_a
    in_model = load_campaign(written(tmp_path, models=[{"model": "WSe2", "protocol": partial}]))
    assert in_model.protocol == paper
    assert paper.changed(in_model.spec.models[0].protocol) == given


def test_a_map_that_is_empty_switches_off_what_may_be_off(tmp_path: Path) -> None:
    with_u = {"base": "paper", "hubbard_u_ev": {"W": {"d": 3.0}}, "final_energy": {"cutoff_ev": 600.0}}
    protocol = load_campaign(written(tmp_path, engine="gpaw", protocol=with_u)).protocol
    off = protocol.changed(Changes.model_validate({"hubbard_u_ev": {}, "final_energy": False, "dos": {}, "paw": {}}))
    assert (off.hubbard_u_ev, off.final_energy.given if off.final_energy else None) == ({}, {})
    assert (off.dos, off.paw) == (protocol.dos, protocol.paw)  # type: ignore[attr-defined]
    other = protocol.changed(Changes.model_validate({"hubbard_u_ev": {"W": {"p": 1.0}}}))
    assert other.hubbard_u_ev == {"W": {"p": 1.0}}


def test_protocol_files_have_bases_too_and_no_circles(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: ours.yaml\ncutoff_ev: 450\n", encoding="utf-8")
    (tmp_path / "ours.yaml").write_text("base: paper\nsmearing: {width_ev: 0.2}\n", encoding="utf-8")
    given = load_campaign(written(tmp_path, protocol="mine.yaml")).protocol
    assert (given.cutoff_ev, given.max_force_ev_per_a) == (450.0, 0.02)
    assert given.smearing is not None
    assert given.smearing.width_ev == 0.2
    (tmp_path / "ours.yaml").write_text("base: mine.yaml\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.yaml: base: it is based on itself .*ours\.yaml → .*mine\.yaml"):
        plan(written(tmp_path, protocol="mine.yaml"))
    (tmp_path / "mine.yaml").write_text("base: papre\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.yaml: base: 'papre' .*did you mean 'paper'"):
        plan(written(tmp_path, protocol="mine.yaml"))
    (tmp_path / "mine.yaml").write_text("base: paper\ncutof_ev: 400\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.yaml: unknown key 'cutof_ev' .*did you mean 'cutoff_ev'"):
        plan(written(tmp_path, protocol="mine.yaml"))


def test_yaml_spelling_does_not_matter(tmp_path: Path) -> None:
    """PyYAML reads 1e-5 as text; 500 and 500.0, key order, null and absent are the same campaign."""
    plain = yaml.safe_load(WSSE)
    protocol = {
        "functional": "PBE",
        "max_force_ev_per_a": "2e-2",
        "cutoff_ev": 500,
        "atom": {"box_a": [12, 12.5, 13]},
    }
    other = {"atom": {"box_a": [12.0, 12.5, 13.0]}, "dispersion": None, "cutoff_ev": 500.0,
             "max_force_ev_per_a": 0.02, "functional": "PBE"}  # fmt: skip
    plain["quantities"] = []
    first = plan(written(tmp_path, **plain | {"protocol": protocol}))
    second = plan(written(tmp_path, **dict(reversed(list(plain.items()))) | {"protocol": other, "execution": None}))
    assert [c.id for c in first.calculations] == [c.id for c in second.calculations]
