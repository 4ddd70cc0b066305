"""The state of the isolated atom, start moments of magnetic hosts, and what a voltage is divided by, as planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sodiate.analysis.elements import ION_CHARGES
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.start_structures import start_atoms, start_moments
from support.campaigns import small_campaign
from support.cli import Cli

DFT = ("gpaw", "vasp")
PAW = {element: element for element in ("W", "V", "S", "Se", "Na", "Mg", "Al", "Zn", "Fe", "Cr")}
VS2 = {"metal": "V", "top": "S", "bottom": "S", "a": 3.18, "bond_top": 2.36, "bond_bottom": 2.36}


def planned(folder: Path, engine: str, element: str = "Na", **changes: Any) -> Plan:
    values: dict[str, Any] = {
        "engine": engine,
        "adsorbate": {"element": element},
        "bulk_references": {element: {"lattice": "fcc", "a": 4.5}},
        "models": [{"model": "WSSe+VS", "protocol": {"paw": PAW}}],
        **changes,
    }
    folder.mkdir(exist_ok=True)
    return plan(small_campaign(folder, **values))


def of_host(found: Plan, role: str = "atom") -> Any:
    return found.quantities["adsorption_energy"].hosts["WSSe+VS"].calculations[role]


@pytest.mark.parametrize("engine", DFT)
@pytest.mark.parametrize(("element", "moment"), [("Na", 1.0), ("Mg", 0.0), ("Zn", 0.0), ("Al", 1.0)])
def test_the_isolated_atom_starts_in_its_ground_state(
    tmp_path: Path, engine: str, element: str, moment: float
) -> None:
    atom = of_host(planned_with_sets(tmp_path, engine, element))
    assert start_moments(atom, 1) == [moment]


def planned_with_sets(folder: Path, engine: str, element: str, **changes: Any) -> Plan:
    """With data sets for all elements, which VASP wants."""
    import yaml
    from sodiate.workflows.campaign.yaml import CONFIGS

    protocol = yaml.safe_load((CONFIGS / "protocols" / "paper.yaml").read_text(encoding="utf-8")) | {"paw": PAW}
    (folder / "sets.yaml").write_text(yaml.safe_dump(protocol), encoding="utf-8")
    return planned(folder, engine, element, **changes | {"protocol": "sets.yaml"})


@pytest.mark.parametrize(("element", "moment"), [("Na", 1), ("Mg", 0), ("Al", 1)])
def test_vasp_fixes_the_spin_of_the_ground_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, element: str, moment: int
) -> None:
    from sodiate.workflows.engines.base import Settings
    from sodiate.workflows.engines.vasp.engine import VaspEngine
    from sodiate.workflows.engines.vasp.inputs import VaspInputs

    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)  # the stand-in's library, which other tests set
    atom = of_host(planned_with_sets(tmp_path, "vasp", element))
    atoms = start_atoms(atom, {})
    assert atoms is not None
    atoms.set_initial_magnetic_moments(start_moments(atom, 1))
    VaspEngine(Settings()).prepare(atom, atoms, tmp_path / "run", {})
    assert [stage["NUPDOWN"] for stage in VaspInputs.read(tmp_path / "run").stages] == [moment]


def test_an_atom_of_another_element_has_an_id_of_its_own_and_sodiums_stays(tmp_path: Path) -> None:
    """That of Mg changed from what had 1 μB; that of Na is the bundled campaigns'."""
    import json

    from support import DATA

    golden = json.loads((DATA / "golden_ids.json").read_text(encoding="utf-8"))["wsse-gpaw"]
    assert of_host(planned(tmp_path, "gpaw", models=["WSSe+VS"])).id == golden["Na"]
    magnesium = of_host(planned(tmp_path / "mg", "gpaw", "Mg", models=["WSSe+VS"]))
    assert magnesium.protocol["start_moments_mub"] == {"adsorbate": 0.0, "next_to_defect": 0.5, "other": 0.0}


def magnetic(folder: Path, **changes: Any) -> Plan:
    return planned(folder, "gpaw", monolayers={"VS2": VS2}, models=["VS2", "VS2+VS"], sites="near-defect", **changes)


def test_metals_of_magnetic_hosts_start_at_high_spin(tmp_path: Path) -> None:
    found = magnetic(tmp_path)
    assert start_moments(found.names["VS2"], 12) == [3.0, 0.0, 0.0] * 4
    with_na = next(site for name, site in found.names.items() if name.startswith("VS2/T_V"))
    assert start_moments(with_na, 13) == [3.0, 0.0, 0.0] * 4 + [1.0]
    assert start_moments(found.names["VS2/dos"], 12) == [3.0, 0.0, 0.0] * 4
    assert set(start_moments(found.names["VS2+VS"], 11) or []) == {3.0, 0.0}  # also those next to the vacancy


def test_a_campaign_may_say_another_moment(tmp_path: Path) -> None:
    moments = {"adsorbate": 1.0, "next_to_defect": 0.5, "other": 0.0}
    model = {"model": "VS2", "protocol": {"start_moments_mub": {**moments, "elements": {"V": 1.0, "Fe": 2.0}}}}
    found = planned(tmp_path, "gpaw", monolayers={"VS2": VS2}, models=[model], sites=["T_V@top"])
    assert start_moments(found.names["VS2"], 12) == [1.0, 0.0, 0.0] * 4
    assert found.names["VS2"].protocol["start_moments_mub"]["elements"] == {"V": 1.0}  # of no other element


def test_without_spin_and_without_such_metals_nothing_is_said(tmp_path: Path) -> None:
    plain = planned(tmp_path, "gpaw").names["WSSe+VS"]
    assert "elements" not in plain.protocol["start_moments_mub"]
    unpolarised = {"model": "VS2", "protocol": {"spin_polarised": False}}
    found = planned(tmp_path / "vs2", "gpaw", monolayers={"VS2": VS2}, models=[unpolarised], sites=["T_V@top"])
    assert "elements" not in found.names["VS2"].protocol["start_moments_mub"]


def test_the_plan_shows_the_moments(cli: Cli, tmp_path: Path) -> None:
    path = small_campaign(
        tmp_path, engine="gpaw", monolayers={"VS2": VS2}, models=["VS2"], sites=["T_V@top"], quantities=["dos"]
    )
    done = cli("plan", str(path))
    assert done.returncode == 0, done.stderr
    assert "V starts at 3 μB" in done.stdout


@pytest.mark.parametrize(("molecule", "moments"), [("O2", [1.0, 1.0]), ("N2", [0.0, 0.0])])
def test_a_molecule_of_oxygen_starts_as_the_triplet_that_it_is(
    tmp_path: Path, molecule: str, moments: list[float]
) -> None:
    """As the reference of a vacancy's chemical potential; N2 is a singlet."""
    from ase.build import molecule as built

    built(molecule).write(tmp_path / "dimer.xyz")
    element = molecule[0]
    layer = {"metal": "W", "top": element, "bottom": element, "a": 2.83, "bond_top": 2.05, "bond_bottom": 2.05}
    found = planned(
        tmp_path, "gpaw", monolayers={f"W{element}2": layer}, models=[f"W{element}2+V{element}"], sites="near-defect",
        bulk_references={element: {"molecule": "dimer.xyz"}, "W": {"lattice": "bcc", "a": 3.184}},
        quantities=["vacancy_formation"],
    )  # fmt: skip
    assert start_moments(found.names[f"{element}-molecule"], 2) == moments


@pytest.mark.parametrize(
    ("element", "said", "moment"),
    [
        ("Na", None, 1.0),
        ("Mg", None, 1.0),  # as the protocol says: it comes down, where from zero nothing would ever go up
        ("Fe", None, 4.0),
        ("O", None, 2.0),
        ("Fe", 2.0, 2.0),
        ("Mg", 0.0, 0.0),
    ],
)
def test_an_adsorbate_starts_with_no_fewer_unpaired_electrons_than_its_atom_has(
    tmp_path: Path, cli: Cli, element: str, said: float | None, moment: float
) -> None:
    """Of its free atom by Hund's rules; what the campaign says of the element goes before."""
    given = {"adsorbate": 1.0, "next_to_defect": 0.5, "other": 0.0}
    model: dict[str, Any] = {"model": "WSSe"}
    if said is not None:
        model["protocol"] = {"start_moments_mub": {**given, "elements": {element: said}}}
    found = planned(
        tmp_path, "gpaw", element, models=[model], sites=["T_W@top"], quantities=["density_difference"],
        adsorbate={"element": element, "charge": 2},
    )  # fmt: skip
    assert start_moments(found.names["WSSe/T_W@top"], 13) == [0.0] * 12 + [moment]
    densities = {name: one for name, one in found.names.items() if one.kind == "density"}
    assert start_moments(densities[f"WSSe/density/{element}-on-host"], 13) == [0.0] * 12 + [moment]
    assert start_moments(densities["WSSe/density/host"], 12) == [0.0] * 12
    alone = {"Na": 1.0, "Mg": 0.0, "Fe": 4.0, "O": 2.0}[element]
    assert start_moments(densities[f"WSSe/density/{element}"], 1) == [alone]
    assert start_moments(found.names[element], 1) == [alone]
    if element == "Fe":
        assert f"adsorbed Fe at {moment:g} μB" in cli("plan", str(tmp_path / "small.yaml")).stdout


@pytest.mark.parametrize("charge", [None, 2])
def test_the_charge_changes_no_id_and_stands_in_no_entry_if_it_is_the_only_one(
    tmp_path: Path, charge: int | None
) -> None:
    adsorbate = {"element": "Mg"} if charge is None else {"element": "Mg", "charge": charge}
    found = planned(tmp_path, "gpaw", "Mg", models=["WSSe+VS"], adsorbate=adsorbate, quantities=["bulk_reference"])
    assert found.quantities["bulk_reference"].hosts["WSSe+VS"].declared == {}
    other = {"element": "Mg", "charge": 1}
    again = planned(tmp_path, "gpaw", "Mg", models=["WSSe+VS"], adsorbate=other, quantities=["bulk_reference"])
    assert again.quantities["bulk_reference"].hosts["WSSe+VS"].declared == {"charge": 1}
    assert {name: one.id for name, one in again.names.items()} == {name: one.id for name, one in found.names.items()}


def test_an_element_with_several_ions_must_say_which(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"charge of Fe's ion; say it, as in adsorbate: \{element: Fe, charge: 2\}"):
        planned(tmp_path, "gpaw", "Fe", models=["WSSe+VS"], quantities=["bulk_reference"])
    found = planned(
        tmp_path, "gpaw", "Fe", models=["WSSe+VS"], adsorbate={"element": "Fe", "charge": 3},
        quantities=["bulk_reference"],
    )  # fmt: skip
    assert found.quantities["bulk_reference"].hosts["WSSe+VS"].declared == {"charge": 3}


METALS: dict[str, tuple[dict[str, Any], str, int, int]] = {
    "Li": ({"lattice": "bcc", "a": 3.44}, "Li_sv", 1, 1),
    "Na": ({"lattice": "bcc", "a": 4.19}, "Na_pv", 1, 1),
    "K": ({"lattice": "bcc", "a": 5.28}, "K_sv", 1, 1),
    "Mg": ({"lattice": "hcp", "a": 3.19, "c": 5.18}, "Mg", 0, 2),
    "Ca": ({"lattice": "fcc", "a": 5.53}, "Ca_sv", 0, 2),
    "Zn": ({"lattice": "hcp", "a": 2.64, "c": 5.05}, "Zn", 0, 2),
    "Al": ({"lattice": "fcc", "a": 4.05}, "Al", 1, 3),
}
"""The metal, the data set that VASP's manual recommends, unpaired electrons of the free atom, the ion's charge."""


@pytest.mark.parametrize("element", METALS)
def test_each_ion_has_its_metal_its_data_set_and_its_spin(tmp_path: Path, element: str) -> None:
    given, data_set, unpaired, charge = METALS[element]
    changes: dict[str, Any] = {"models": ["WSSe"], "sites": ["T_W@top"], "quantities": ["bulk_reference"]}
    changes |= {"bulk_references": {element: given}}
    of_vasp = planned(tmp_path, "vasp", element, **changes)
    name = f"{element}-{given['lattice']}"
    for one in (element, name, "WSSe/T_W@top"):
        assert of_vasp.names[one].protocol["paw"][element] == data_set
    for found in (of_vasp, planned(tmp_path, "gpaw", element, **changes)):
        assert start_moments(found.names[element], 1) == [unpaired]
        metal = start_atoms(found.names[name], {})
        assert metal is not None
        mesh = found.names[name].protocol["kpoint_length_a"]
        assert mesh == 60.0
    assert ION_CHARGES[element] == charge


@pytest.mark.parametrize(("element", "nearest"), [("Li", 2.979), ("Mg", 3.179), ("Ca", 3.910), ("Zn", 2.640)])
def test_a_metal_has_the_neighbours_of_its_lattice_by_hand(tmp_path: Path, element: str, nearest: float) -> None:
    """bcc 8 at √3 a/2, fcc 12 at a/√2; hcp 6 in the plane at a and 6 at √(a²/3 + c²/4), which c/a = 1.91 parts."""
    given = METALS[element][0]
    found = planned(tmp_path, "gpaw", element, bulk_references={element: given}, quantities=["bulk_reference"])
    metal = start_atoms(found.names[f"{element}-{given['lattice']}"], {})
    assert metal is not None
    wide = metal.repeat(5)
    middle = int(np.argmin(np.linalg.norm(wide.positions - wide.cell.sum(axis=0) / 2, axis=1)))
    distances = np.sort(np.linalg.norm(wide.positions - wide.positions[middle], axis=1))[1:]
    assert distances[0] == pytest.approx(nearest, abs=1e-3)
    a = given["a"]
    if given["lattice"] == "hcp":
        out_of_plane = (a**2 / 3 + given["c"] ** 2 / 4) ** 0.5
        assert distances[:12] == pytest.approx(sorted([a] * 6 + [out_of_plane] * 6))
        assert metal.cell.volume / len(metal) == pytest.approx(3**0.5 / 4 * a**2 * given["c"])
    else:
        per_atom = {"bcc": a**3 / 2, "fcc": a**3 / 4}[given["lattice"]]
        assert metal.cell.volume / len(metal) == pytest.approx(per_atom)


@pytest.mark.parametrize(
    "given", [{"lattice": "hcp", "a": 3.2}, {"lattice": "fcc", "a": 4.5, "c": 5.0}, {"crystal": "x.cif", "c": 5.0}]
)
def test_two_lattice_constants_are_those_of_hcp(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"bulk_references\.Mg: hcp has two lattice constants, as in \{lattice: hcp"):
        planned(tmp_path, "gpaw", "Mg", bulk_references={"Mg": given})
