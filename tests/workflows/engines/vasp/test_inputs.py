"""VASP's inputs: what stands in INCAR, KPOINTS, POSCAR and POTCAR, by pymatgen's readers and VASP's rules."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, mx2
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar
from pymatgen.io.vasp.outputs import Vasprun
from sodiate.workflows.campaign.load import load_campaign
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import EngineError, Settings
from sodiate.workflows.engines.vasp.inputs import data_sets, vasp_order
from sodiate.workflows.engines.vasp.method import functional_of
from sodiate.workflows.engines.vasp.parallel import least_kpoints
from sodiate.workflows.engines.vasp.tags import (
    DISPERSIONS,
    FUNCTIONALS,
    fine_grid,
    mixed_shells,
    stages,
    with_user_tags,
)
from sodiate.workflows.plan.convergence_study import studies
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from support import DATA
from support.campaigns import small_campaign
from support.cli import Cli
from support.fake_vasp import library as make_library

SITE = "WSSe+VS/V_S@top"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A library of what are no POTCARs, as VASP ships it."""
    return make_library(tmp_path / "library")


def prepared(name: str, directory: Path, planned: Plan | None = None, **worker: Any) -> Path:
    planned = planned or plan("wsse-gpaw", "vasp")
    calculation, atoms = planned.names[name], planned[name].atoms()
    from sodiate.workflows.start_structures import start_moments

    atoms.set_initial_magnetic_moments(start_moments(calculation, len(atoms)))
    settings = Settings(execution=planned.execution(calculation), worker=worker)
    make_engine("vasp", settings).prepare(calculation, atoms, directory, {})
    return directory


@pytest.fixture(autouse=True)
def _no_library_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)


# What the files say.


def test_a_site_as_vasp_reads_it(tmp_path: Path, library: Path) -> None:
    directory = prepared(SITE, tmp_path / "run", potcars=str(library))
    incar = Incar.from_file(directory / "INCAR.stage-2")
    expected = {"ENCUT": 500, "PREC": "Accurate", "EDIFF": 1e-5, "EDIFFG": -0.02, "IBRION": 2, "ISIF": 2, "ISMEAR": 0}
    expected |= {"SIGMA": 0.05, "ISPIN": 2, "LASPH": True, "LREAL": False, "IDIPOL": 3, "LDIPOL": True, "NSW": 300}
    assert {tag: incar[tag] for tag in expected} == expected
    assert "LDIPOL" not in Incar.from_file(directory / "INCAR")  # first without, which converges
    kpoints = Kpoints.from_file(directory / "KPOINTS")
    assert (kpoints.style.name, tuple(kpoints.kpts[0])) == ("Gamma", (2, 2, 1))
    atoms = plan("wsse-gpaw")[SITE].atoms()
    structure = Poscar.from_file(directory / "POSCAR").structure
    order = vasp_order(atoms.get_chemical_symbols())
    assert [site.specie.symbol for site in structure] == [atoms.symbols[i] for i in order]
    assert structure.cart_coords == pytest.approx(atoms.positions[order], abs=1e-9)
    moments = dict(zip(order, incar["MAGMOM"], strict=True))
    assert moments[len(atoms) - 1] == 1.0
    assert [atoms.symbols[i] for i, moment in moments.items() if moment == 0.5] == ["W"] * 3
    text = (directory / "POTCAR").read_text()
    assert [line.split()[-2] for line in text.splitlines() if "TITEL" in line] == ["W_sv", "Se", "S", "Na_pv"]
    assert stat.S_IMODE((directory / "POTCAR").stat().st_mode) == 0o600
    assert "local part" not in (directory / "input.json").read_text()


def test_kinds_differ_in_what_they_must(tmp_path: Path) -> None:
    atom = Incar.from_file(prepared("Na", tmp_path / "atom") / "INCAR")
    assert (atom["NUPDOWN"], atom["SIGMA"], atom["ISPIN"], atom["NSW"]) == (1, 0.01, 2, 0)
    assert "IDIPOL" not in atom
    assert tuple(Kpoints.from_file(tmp_path / "atom" / "KPOINTS").kpts[0]) == (1, 1, 1)
    dos = Incar.from_file(prepared("WSSe/dos", tmp_path / "dos") / "INCAR")
    assert (dos["ICHARG"], dos["LORBIT"], dos["NEDOS"], dos["LCHARG"]) == (11, 11, 3001, False)
    assert tuple(Kpoints.from_file(tmp_path / "dos" / "KPOINTS").kpts[0]) == (4, 4, 1)
    along = plan("wsse-gpaw-best", "vasp")
    for number, (charge, dipole) in enumerate([(None, None), (None, True), (11, True)], start=1):
        incar = Incar.from_file(prepared("WSSe/bands", tmp_path / "bands", along) / f"INCAR.stage-{number}")
        assert (incar.get("ICHARG"), incar.get("LDIPOL"), incar["LCHARG"]) == (charge, dipole, charge is None)
    assert tuple(Kpoints.from_file(tmp_path / "bands" / "KPOINTS").kpts[0]) == (6, 6, 1)
    lattice = plan("validation", "vasp")
    cell = Incar.from_file(prepared("WSe2/lattice", tmp_path / "cell", lattice) / "INCAR")
    assert (cell["ISIF"], cell["LATTICE_CONSTRAINTS"]) == (3, [True, True, False])
    assert (tmp_path / "atom" / "POTCAR.spec").read_text().split() == ["PBE_54", "Na_pv"]
    assert not (tmp_path / "atom" / "POTCAR").exists()


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.5, 0.9])
def test_the_dipole_is_about_the_middle_of_the_slab_wherever_it_lies(shift: float) -> None:
    """A slab across the boundary has its middle in it, not half a cell away."""
    atoms = Atoms("WSe2", [[0, 0, 0], [0, 0, 1.7], [0, 0, -1.7]], cell=[3, 3, 20], pbc=(True, True, False))
    atoms.set_initial_magnetic_moments([0, 0, 0])
    atoms.positions[:, 2] += 20 * shift
    atoms.wrap(pbc=True)
    protocol = plan("wsse-gpaw", "vasp").names["WSe2"].protocol
    (_, corrected) = stages(protocol, "relax", atoms, 10, True, "here")
    assert corrected["DIPOL"][:2] == [0.5, 0.5]
    assert abs((corrected["DIPOL"][2] - shift + 0.5) % 1.0 - 0.5) < 1e-6


def test_the_fine_grid_holds_what_prec_accurate_asks_for() -> None:
    """Each axis holds waves up to twice the cutoff's, and the grid is twice that fine; factors 2, 3, 5, 7 only."""
    cell = np.diag([9.756, 4.1, 20.9282])
    wave = np.sqrt(500.0 / 3.80998)  # 1/Å; ħ²/2m = 3.80998 eV Å²
    for points, length in zip(fine_grid(cell, 500.0), np.diag(cell), strict=True):
        assert points / 2 >= 2 * wave * length / np.pi
        assert points / 2 <= 1.2 * 2 * wave * length / np.pi
        for prime in (2, 3, 5, 7):
            while points % prime == 0:
                points //= prime
        assert points == 1


# POTCARs.


def test_potcars_that_are_not_there(tmp_path: Path, library: Path) -> None:
    names = {"W": "W_sv", "Se": "Se"}
    with pytest.raises(EngineError, match=r"nowhere: no POTCARs of release PBE_54 .* potpaw_PBE.54"):
        data_sets(names, "PBE_54", ["W"], tmp_path / "nowhere")
    with pytest.raises(EngineError, match=r"no POTCARs of release PBE_64"):
        data_sets(names, "PBE_64", ["W"], library)
    with pytest.raises(EngineError, match=r"no POTCAR W_sv_GW for W there; .*protocol.paw.W"):
        data_sets({"W": "W_sv_GW"}, "PBE_54", ["W"], library)
    with pytest.raises(EngineError, match=r"is the POTCAR of Se, not of S"):
        data_sets({"S": "Se"}, "PBE_54", ["S"], library)
    (library / "potpaw_PBE.54" / "Se" / "POTCAR").write_text("hello")
    with pytest.raises(EngineError, match=r"Se/POTCAR is no POTCAR"):
        data_sets(names, "PBE_54", ["Se"], library)


def test_a_cutoff_below_enmax_is_told_with_both(tmp_path: Path, library: Path) -> None:
    text = small_campaign(tmp_path, protocol=json.loads(json.dumps(_protocol(240.0)))).read_text()
    (tmp_path / "low.yaml").write_text(text)
    directory = prepared("WSSe+VS", tmp_path / "run", plan(tmp_path / "low.yaml", "vasp"), potcars=str(library))
    notes = json.loads((directory / "input.json").read_text())["notes"]
    assert notes == ["ENCUT 240 eV is below the 258.689 eV (ENMAX) of POTCAR S"]


def _protocol(cutoff_ev: float) -> dict[str, Any]:
    from sodiate.workflows.campaign.load import load_campaign

    given = load_campaign("wsse-gpaw").protocol.model_dump(mode="json", exclude_none=True)
    return given | {"cutoff_ev": cutoff_ev}


def test_an_element_without_a_data_set_has_the_recommended_one(tmp_path: Path) -> None:
    """And is then the very calculation in which the protocol names that one."""
    protocol = _protocol(500.0)
    named = plan(small_campaign(tmp_path, protocol=protocol), "vasp").names["WSSe+VS"]
    del protocol["paw"]["S"]
    assert plan(small_campaign(tmp_path, protocol=protocol), "vasp").names["WSSe+VS"].id == named.id
    assert named.protocol["paw"]["S"] == "S"


# The user's tags.


def with_tags(tmp_path: Path, tags: dict[str, Any]) -> Plan:
    return plan(small_campaign(tmp_path, incar=tags), "vasp")


def test_tags_that_say_how_change_no_id_and_others_do(tmp_path: Path) -> None:
    plain = with_tags(tmp_path, {})
    how = with_tags(tmp_path, {"relax": {"NCORE": 4, "algo": "Fast", "POTIM": 0.3}})
    assert {name: c.id for name, c in how.names.items()} == {name: c.id for name, c in plain.names.items()}
    assert how.execution(how.names["WSSe+VS"])["incar"] == {"NCORE": 4, "ALGO": "Fast", "POTIM": 0.3}
    what = with_tags(tmp_path, {"WSSe+VS/*": {"NBANDS": 200}})
    assert what.names["WSSe+VS"].id == plain.names["WSSe+VS"].id
    assert what.names[SITE].id != plain.names[SITE].id
    same = with_tags(tmp_path, {"WSSe+VS/*": {"NBANDS": "200"}})
    assert same.names[SITE].id == what.names[SITE].id


def test_the_users_tags_win_and_those_by_element_are_expanded(tmp_path: Path) -> None:
    tags = {"relax": {"ISMEAR": -1, "NELM": 300, "MAGMOM": {"W": 0.7, "Na": 2}, "LDAUU": {"W": 3}, "LDAUL": {"W": 2}}}
    planned = with_tags(tmp_path, tags)
    incar = Incar.from_file(prepared(SITE, tmp_path / "run", planned, incar={"NPAR": 2, "NELM": 100}) / "INCAR")
    species = list(dict.fromkeys(Poscar.from_file(tmp_path / "run" / "POSCAR").site_symbols))
    assert (incar["ISMEAR"], incar["NELM"], incar["NPAR"]) == (-1, 300, 2)
    assert incar["LDAUU"] == [3.0 if symbol == "W" else 0.0 for symbol in species]
    assert incar["LDAUL"] == [2 if symbol == "W" else -1 for symbol in species]
    assert (incar["MAGMOM"][0], incar["MAGMOM"][-1], sum(incar["MAGMOM"])) == (0.7, 2.0, pytest.approx(4 * 0.7 + 2))


@pytest.mark.parametrize(
    ("option", "relax", "tags", "words"),
    [
        ("cutoff", False, {"*": {"ENCUT": 600}}, r"WSSe\+VS/final: incar: ENCUT goes before cutoff_ev"),
        ("cutoff", True, {"*": {"ENCUT": 600}}, r"WSSe\+VS: incar: ENCUT goes before cutoff_ev"),
        ("smearing", True, {"WSSe+VS/V_S*": {"SIGMA": 0.1}}, r"WSSe\+VS/V_S@top: incar: SIGMA goes before smearing"),
        ("force", False, {"relax": {"EDIFFG": -0.01}}, "incar: EDIFFG goes before max_force_ev_per_a"),
    ],
)
def test_what_a_tag_sets_by_hand_cannot_be_varied(
    option: str, relax: bool, tags: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """ΔE would be the same at every setting, and look converged."""
    campaign = load_campaign(small_campaign(tmp_path, incar=tags), "vasp")
    with pytest.raises(InputError, match=words):
        studies(campaign, {option: None}, relax)
    # The smearing of the atom alone, and what a tag says beside it, are no obstacle.
    plain = load_campaign(small_campaign(tmp_path, incar={"atom": {"SIGMA": 0.02}, "relax": {"NELM": 80}}), "vasp")
    (study,) = studies(plain, {option: None}, relax)
    assert len(study.variants) > 3


def test_expansion_follows_the_order_of_atoms_and_species() -> None:
    tags = with_user_tags({"A": 1}, {"MAGMOM": {"B": 2.0}, "LDAUJ": {"B": 1.0}, "A": 3}, ["C", "C", "B"])
    assert tags == {"A": 3, "MAGMOM": [0, 0, 2.0], "LDAUJ": [0, 1.0]}


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"relax": {"ISMAER": 0}}, r"VASP has no tag ISMAER.*ISMEAR"),
        ({"WSSe+VT*": {"NCORE": 4}}, r"'WSSe\+VT\*' is neither a kind"),
        ({"relax": {"ENCUT": {"W": 500}}}, r"only MAGMOM, LDAUL"),
        ({"relax": {"NSW": "many"}}, r"incar.relax.NSW"),
        ({"relax": {"IBRION": 0}}, r"IBRION 0 relaxes nothing .0 is molecular dynamics.; it may be 1, 2, 3"),
        ({"relax": {"ISIF": 3}}, r"ISIF 3 changes the cell"),
        ({"relax": {"NSW": 0}}, r"NSW 0 relaxes nothing"),
        ({"relax": {"ICHARG": 11}}, r"ICHARG 11 holds the density fixed"),
        ({"*": {"ICHARG": 12}}, r"ICHARG 12 holds the density fixed"),
        ({"*": {"NELECT": 105}}, r"NELECT gives the cell a charge"),
        ({"*": {"KSPACING": 0.2}}, r"KSPACING does nothing beside the KPOINTS"),
        ({"*": {"EDIFF": 1e-3}}, r"EDIFF 0.001 is above protocol.energy_convergence_ev, 1e-05 eV"),
        ({"*": {"METAGGA": "SCAN", "GGA": "PE"}}, r"GGA beside METAGGA"),
        ({"relax": {"IVDW": 11}}, r"IVDW is (11|0) in .* and (0|11) in .*: their energies cannot be subtracted"),
        ({"atom": {"ENCUT": 600}}, r"ENCUT is .* cannot be subtracted"),
        ({"WSSe+VS/*": {"ADDGRID": True}}, r"ADDGRID is .* cannot be subtracted"),
        ({"relax": {"METAGGA": "R2SCAN"}}, r"functional is .*r2SCAN.* cannot be subtracted"),
        (
            {"WSSe+VS/*": {"LDAU": True, "LDAUL": {"W": 2}, "LDAUU": {"W": 3}}},
            r"the Hubbard correction of W is .* cannot be subtracted",
        ),
        ({"dos": {"LSORBIT": True}}, r"noncollinear bands and DOS cannot be read yet"),
    ],
)
def test_tags_that_cannot_be(tags: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        with_tags(tmp_path, tags)


def test_a_correction_of_hosts_and_sites_alone_may_be(tmp_path: Path) -> None:
    """Na has none, and its atom needs no LDAU."""
    tags = {"relax": {"LDAU": True, "LDAUL": {"W": 2}, "LDAUU": {"W": 3}}}
    assert with_tags(tmp_path, tags).names[SITE].protocol["incar"]["LDAU"] is True


def incar_of(tmp_path: Path, name: str, tags: dict[str, Any], **changes: Any) -> Incar:
    planned = plan(small_campaign(tmp_path, incar=tags, **changes), "vasp")
    return Incar.from_file(prepared(name, tmp_path / name.replace("/", "-"), planned) / "INCAR")


def test_a_meta_gga_stands_alone(tmp_path: Path) -> None:
    assert "GGA" not in incar_of(tmp_path, SITE, {"*": {"METAGGA": "SCAN"}})


def test_hybrids_and_meta_gga_have_no_fixed_density(tmp_path: Path) -> None:
    """Their DOS is self-consistent; their bands are refused when planned."""
    tags = {"*": {"LHFCALC": True, "HFSCREEN": 0.2}}
    dos = incar_of(tmp_path, "WSSe+VS/dos", tags)
    assert "ICHARG" not in dos
    values = json.loads((tmp_path / "WSSe+VS-dos" / "input.json").read_text())
    assert "hybrids and meta-GGA have no fixed density" in values["notes"][-1]
    with pytest.raises(InputError, match="bands come from a fixed density, which hybrids"):
        plan(small_campaign(tmp_path, incar={"*": {"METAGGA": "SCAN"}}, quantities=["bands"]), "vasp")


def test_noncollinear_moments_have_three_parts(tmp_path: Path) -> None:
    tags = {"*": {"LSORBIT": True}}
    for name, atoms in ((SITE, 12), ("Na", 1)):
        incar = incar_of(tmp_path, name, tags, quantities=[])
        assert np.shape(incar["MAGMOM"]) == (atoms, 3)
        assert "NUPDOWN" not in incar  # of the atom: there is no up and down
        assert np.array(incar["MAGMOM"])[-1].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"WSSe+VS/*": {"MAGMOM": [1.0, 0.5]}}, r"MAGMOM has 2 values for 12 atoms; give it by element"),
        ({"*": {"LSORBIT": True, "MAGMOM": [1.0] * 7}}, r"MAGMOM has 7 values for \d+ moments along x, y, z"),
        ({"*": {"LSORBIT": True, "M_CONSTR": [0.0, 1.0]}}, r"M_CONSTR has 2 values for \d+ moments along x, y, z"),
        ({"relax": {"LDAUL": [2, -1]}}, r"LDAUL has 2 values for 3 species"),
        ({"relax": {"LDAUU": [3.0, 0.0, 0.0]}}, r"V_S@top: LDAUU has 3 values for 4 species"),
        ({"relax": {"LDAUJ": [0.0]}}, r"LDAUJ has 1 values for 3 species"),
        ({"relax": {"RWIGS": [1.3, 1.2]}}, r"RWIGS has 2 values for 3 species"),
        ({"relax": {"ROPT": [1.3, 1.2]}}, r"ROPT has 2 values for 3 species"),
        ({"relax": {"LANGEVIN_GAMMA": [10.0]}}, r"LANGEVIN_GAMMA has 1 values for 3 species"),
        ({"relax": {"POMASS": [184.0, 79.0]}}, r"POMASS has 2 values for 3 species"),
        ({"relax": {"RWIGS": {"W": 1.4, "S": 1.1}}}, r"RWIGS has no value for Se; VASP needs one for each element"),
        ({"*": {"DIPOL": [0.5, 0.5]}}, r"DIPOL has 2 values; VASP reads three"),
        ({"*": {"SAXIS": [1.0, 0.0]}}, r"SAXIS has 2 values; VASP reads three"),
        ({"*": {"EFIELD": [0.1, 0.2]}}, r"incar.\*.EFIELD: \[0.1, 0.2\] is a list; VASP reads one float"),
        ({"relax": {"NSW": [100, 200]}}, r"NSW: \[100, 200\] is a list; VASP reads one int"),
        ({"relax": {"LDAUU": {"W": "much"}}}, r"LDAUU: 'much' is no list"),
    ],
)
def test_lists_of_the_wrong_length_are_refused_when_planned(tags: dict[str, Any], words: str, tmp_path: Path) -> None:
    """Whatever has a value for each atom or species, and vectors: VASP would read on in the next number, or stop."""
    with pytest.raises(InputError, match=words):
        plan(small_campaign(tmp_path, incar=tags, quantities=[]), "vasp")


def test_lists_of_the_right_length_are_written_as_they_are(tmp_path: Path) -> None:
    tags = {"WSSe+VS": {"RWIGS": [1.4, 1.2, 1.1], "DIPOL": [0.5, 0.5, 0.4], "MAGMOM": [0.5] * 11}}
    incar = incar_of(tmp_path, "WSSe+VS", tags)
    assert (incar["RWIGS"], incar["DIPOL"], incar["MAGMOM"]) == ([1.4, 1.2, 1.1], [0.5, 0.5, 0.4], [0.5] * 11)
    by_element = {"WSSe+VS/*": {"RWIGS": {"W": 1.4, "Se": 1.2, "S": 1.1, "Na": 1.7}, "LANGEVIN_GAMMA": {"Na": 10}}}
    site = incar_of(tmp_path, SITE, by_element)
    assert dict(zip(["W", "Se", "S", "Na"], site["RWIGS"], strict=True)) == by_element["WSSe+VS/*"]["RWIGS"]
    assert site["LANGEVIN_GAMMA"] == [0.0, 0.0, 0.0, 10.0]
    cell = {"relax_cell": {"LATTICE_CONSTRAINTS": [True, False, "F"]}}
    lattice = incar_of(tmp_path, "WSSe/lattice", cell, models=["WSSe"], sites=["T_W@top"], quantities=["lattice"])
    assert lattice["LATTICE_CONSTRAINTS"] == [True, False, False]


# Empty bands.


def test_empty_bands_of_a_dos_are_nbands(tmp_path: Path, library: Path) -> None:
    """Counted by hand: W_sv has 14 valence electrons, S and Se 6; VSe leaves 4·14 + 4·6 + 3·6 = 98, and 1.5 μB begin.

    (98 + 1.5)/2 · 1.4 = 69.65.
    """
    planned = plan(small_campaign(tmp_path), "vasp")
    dos = Incar.from_file(prepared("WSSe+VS/dos", tmp_path / "dos", planned, potcars=str(library)) / "INCAR")
    assert dos["NBANDS"] == 70
    for values in json.loads((tmp_path / "dos" / "input.json").read_text())["without_charge"]:
        assert values["NBANDS"] == 70
    relaxed = prepared("WSSe+VS", tmp_path / "relax", planned, potcars=str(library))
    assert "NBANDS" not in Incar.from_file(relaxed / "INCAR")
    assert "NBANDS" not in Incar.from_file(prepared("WSSe+VS/dos", tmp_path / "preview", planned) / "INCAR")
    own = plan(small_campaign(tmp_path, incar={"dos": {"NBANDS": 96}}), "vasp")
    incar = Incar.from_file(prepared("WSSe+VS/dos", tmp_path / "own", own, potcars=str(library)) / "INCAR")
    assert incar["NBANDS"] == 96
    fewer = plan(small_campaign(tmp_path, incar={"dos": {"NELECT": 90}}), "vasp")
    incar = Incar.from_file(prepared("WSSe+VS/dos", tmp_path / "fewer", fewer, potcars=str(library)) / "INCAR")
    assert incar["NBANDS"] == 65  # (90 + 1.5)/2 · 1.4 = 64.05


def test_empty_bands_of_bands_are_those_of_every_stage(tmp_path: Path, library: Path) -> None:
    """WSSe has 14 + 6 + 6 electrons: 13 · 1.4 = 18.2."""
    along = plan("wsse-gpaw-best", "vasp")
    directory = prepared("WSSe/bands", tmp_path / "bands", along, potcars=str(library))
    assert [Incar.from_file(path)["NBANDS"] for path in sorted(directory.glob("INCAR.stage-*"))] == [19, 19, 19]


def test_empty_bands_change_the_id_of_what_has_them(tmp_path: Path) -> None:
    """A DOS up to another energy is another one; energies do not depend on it."""
    protocol = _protocol(500.0)
    more = {**protocol, "empty_bands": 0.3, "dos": {**protocol["dos"], "empty_bands": 0.9}}
    plans = [
        plan(small_campaign(tmp_path, protocol=p, quantities=["dos", "bands", "density_difference"]), "vasp")
        for p in (protocol, more)
    ]
    differ = {name for name in plans[0].names if plans[0].names[name].id != plans[1].names[name].id}
    assert differ == {"WSSe+VS/dos"}  # bands have a share of their own in both


def test_bands_begin_without_wave_functions_of_other_k_points(tmp_path: Path) -> None:
    """ISTART = 0 in the stage along the path alone: those before leave a WAVECAR of the mesh's k points."""
    directory = prepared("WSSe/bands", tmp_path / "bands", plan("wsse-gpaw-best", "vasp"))
    stages_of = [Incar.from_file(path) for path in sorted(directory.glob("INCAR.stage-*"))]
    assert [incar.get("ISTART") for incar in stages_of] == [None, None, 0]
    assert [incar.get("ICHARG") for incar in stages_of] == [None, None, 11]


@pytest.mark.parametrize(("numbers", "expected"), [([11, 16], 2), ([74, 34, 16, 11], 4), ([64, 8], 6)])
def test_the_density_has_d_and_f_electrons_whole(numbers: list[int], expected: int) -> None:
    assert mixed_shells(numbers) == expected


@pytest.mark.parametrize("name", sorted(FUNCTIONALS))
def test_a_functional_by_name_is_what_a_run_of_it_is_called(name: str) -> None:
    """There and back: its tags, read as those of a finished run."""
    assert functional_of(FUNCTIONALS[name], ["PAW_PBE W"]) == name


@pytest.mark.parametrize(
    ("engine", "changes", "words"),
    [
        (
            "vasp",
            {"functional": "PBEE"},
            r"protocol.functional: the engine vasp has no 'PBEE'.*PBE.*; it has PBE, PBEsol",
        ),
        ("vasp", {"functional": "LDA"}, r"functional LDA needs data sets of LDA; paw_release is PBE_54, say LDA_54"),
        ("gpaw", {"dispersion": "d4"}, r"protocol.dispersion: the engine gpaw has no 'd4'.*; it has d3bj"),
    ],
)
def test_what_an_engine_lacks_is_refused_when_planned(
    engine: str, changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=words):
        plan(small_campaign(tmp_path, protocol=_protocol(500.0) | changes), engine)


def settings_of_pymatgen(name: str) -> dict[str, Any]:
    """What pymatgen's collection of input sets has, which others made of the VASP wiki."""
    import yaml
    from pymatgen.io.vasp import inputs

    return dict(yaml.safe_load((Path(inputs.__file__).parent / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("name", "theirs"), [("optB88-vdW", "optb88"), ("optB86b-vdW", "optb86b"), ("vdW-DF2", "df2")]
)
def test_nonlocal_functionals_are_those_of_another_collection(name: str, theirs: str) -> None:
    expected = settings_of_pymatgen("vdW_parameters.yaml")[theirs]
    own = FUNCTIONALS[name]
    assert own.keys() == expected.keys()
    for tag, value in expected.items():
        assert own[tag] == (value if isinstance(value, str | bool) else pytest.approx(value, abs=1e-7))


# VASP's wiki: GGA, METAGGA, LHFCALC, Nonlocal vdW-DF functionals.
WIKI: dict[str, dict[str, Any]] = {
    **{"PBE": {"GGA": "PE"}, "PBEsol": {"GGA": "PS"}, "RPBE": {"GGA": "RP"}, "revPBE": {"GGA": "RE"}},
    **{"AM05": {"GGA": "AM"}, "LDA": {"GGA": "CA"}, "SCAN": {"METAGGA": "SCAN"}, "r2SCAN": {"METAGGA": "R2SCAN"}},
    "HSE06": {"GGA": "PE", "LHFCALC": True, "HFSCREEN": 0.2},
    "PBE0": {"GGA": "PE", "LHFCALC": True},
    "optB86b-vdW": {"GGA": "MK", "LUSE_VDW": True, "AGGAC": 0, "PARAM1": 0.1234, "PARAM2": 1.0},
    "optB88-vdW": {"GGA": "BO", "LUSE_VDW": True, "AGGAC": 0, "PARAM1": 0.1833333333, "PARAM2": 0.22},
    "vdW-DF2": {"GGA": "ML", "LUSE_VDW": True, "AGGAC": 0, "ZAB_VDW": -1.8867},
    "rev-vdW-DF2": {
        **{"GGA": "MK", "LUSE_VDW": True, "AGGAC": 0, "PARAM1": 0.1234, "PARAM2": 0.711357},
        "ZAB_VDW": -1.8867,
    },
}
_ANY = {
    *("GGA", "METAGGA", "LHFCALC", "HFSCREEN", "LUSE_VDW", "AGGAC", "PARAM1", "PARAM2", "ZAB_VDW", "AEXX", "IVDW")
}


def upper(value: Any) -> Any:
    """In capitals, which VASP reads them as; pymatgen writes GGA = Pe."""
    return value.upper() if isinstance(value, str) else value


@pytest.mark.parametrize("name", sorted(WIKI))
def test_a_functional_has_the_tags_of_the_wiki_in_every_kind(name: str, tmp_path: Path) -> None:
    """And no others: no GGA beside METAGGA. The DOS of hybrids and meta-GGA is self-consistent, bands are refused."""
    release = {"paw_release": "LDA_54"} if name == "LDA" else {}
    protocol = _protocol(500.0) | {"functional": name} | release
    planned = plan(small_campaign(tmp_path, protocol=protocol, quantities=["dos", "bulk_reference"]), "vasp")
    has_density = name not in ("SCAN", "r2SCAN", "HSE06", "PBE0")
    for label in (SITE, "Na", "Na-bcc", "WSSe+VS/dos"):
        directory = prepared(label, tmp_path / label.replace("/", "-"), planned)
        for path in sorted(directory.glob("INCAR*")):
            incar = {key: value for key, value in Incar.from_file(path).items() if key in _ANY}
            assert {key: upper(value) for key, value in incar.items()} == WIKI[name]
            assert Incar.from_file(path)["LASPH"] is True
    dos = Incar.from_file(tmp_path / "WSSe+VS-dos" / "INCAR")
    assert (dos.get("ICHARG") == 11) is has_density
    bands = small_campaign(tmp_path, protocol=protocol, quantities=["bands"])
    if has_density:
        plan(bands, "vasp")
    else:
        with pytest.raises(
            InputError, match="bands come from a fixed density, which hybrids and meta-GGA do not have"
        ):
            plan(bands, "vasp")


def test_the_functionals_of_the_issue_are_all_there() -> None:
    assert FUNCTIONALS.keys() == WIKI.keys()
    assert settings_of_pymatgen("MPHSERelaxSet.yaml")["INCAR"]["HFSCREEN"] == WIKI["HSE06"]["HFSCREEN"]
    assert "METAGGA" in settings_of_pymatgen("MPSCANRelaxSet.yaml")["INCAR"]
    assert "GGA" not in settings_of_pymatgen("MPSCANRelaxSet.yaml")["INCAR"]


@pytest.mark.parametrize(
    ("changes", "incar", "words"),
    [
        (
            {"functional": "HSE06", "dispersion": "d3bj"},
            {},
            r"VASP has no damping of d3bj for HSE06 .*VDW_S8, VDW_A1",
        ),
        ({"functional": "r2SCAN", "dispersion": "d3zero"}, {}, r"no damping of d3zero for r2SCAN .*VDW_S8, VDW_SR"),
        ({"functional": "RPBE", "dispersion": "ts"}, {}, r"no damping of ts for RPBE .it has that of PBE.; .*VDW_SR"),
        ({"functional": "vdW-DF2", "dispersion": "d4"}, {}, r"vdW-DF2 has dispersion; d4 would add it a second time"),
        ({"functional": "HSE06"}, {"*": {"IVDW": 12}}, r"incar: .*VASP has no damping of d3bj for HSE06"),
        ({"functional": "SCAN", "dispersion": "d3bj"}, {}, None),
        ({"functional": "HSE06", "dispersion": "d4"}, {}, None),
        (
            {"functional": "HSE06", "dispersion": "d3bj"},
            {"*": {"VDW_S8": 2.31, "VDW_A1": 0.383, "VDW_A2": 5.685}},
            None,
        ),
    ],
)
def test_a_dispersion_without_parameters_of_the_functional(
    changes: dict[str, Any], incar: dict[str, Any], words: str | None, tmp_path: Path
) -> None:
    """VASP would take those of PBE, or end; its wiki names the functionals that it has them for."""
    campaign = small_campaign(tmp_path, protocol=_protocol(500.0) | changes, incar=incar)
    if words is None:
        plan(campaign, "vasp")
        return
    with pytest.raises(InputError, match=words):
        plan(campaign, "vasp")


@pytest.mark.parametrize("name", sorted(DISPERSIONS))
def test_dispersions_by_name(name: str, tmp_path: Path) -> None:
    assert incar_of(tmp_path, SITE, {}, protocol=_protocol(500.0) | {"dispersion": name})["IVDW"] == DISPERSIONS[name]


# The command.


def test_models_with_another_protocol_are_planned_beside_each_other(tmp_path: Path) -> None:
    """Each has references of its own, so that nothing is subtracted across; all that compares is planned."""
    assert len(plan("wsse-sensitivity", "vasp")) > 20
    low = {"model": "WSSe+VS", "name": "low", "protocol": {"cutoff_ev": 400.0}}
    planned = plan(small_campaign(tmp_path, models=["WSSe+VS", low]), "vasp")
    assert planned.names["low/Na"].protocol["cutoff_ev"] == 400.0
    with pytest.raises(InputError, match=r"ENCUT is 450 in WSSe\+VS/V_S@top .relax. and 500 in WSSe\+VS .relax."):
        plan(small_campaign(tmp_path, models=["WSSe+VS", low], incar={"WSSe+VS/V*": {"ENCUT": 450}}), "vasp")


def test_inputs_are_written_without_licence_or_database(cli: Cli, tmp_path: Path) -> None:
    done = cli("inputs", "wsse", "--engine", "vasp", "--out", "inputs")
    assert done.returncode == 0, done.stderr
    folders = sorted((tmp_path / "inputs").iterdir())
    assert f"inputs of {len(folders)} calculations" in done.stdout
    assert len(folders) == 58
    for folder in folders:
        assert {"INCAR", "KPOINTS", "POSCAR", "POTCAR.spec"} <= {path.name for path in folder.iterdir()}
        on_its_own = folder.name.startswith("Na-") or "_" not in folder.name
        assert (folder / "UNRELAXED").exists() is not on_its_own
    again = cli("inputs", "wsse", "--engine", "vasp", "--out", "inputs")
    assert "not a new or empty folder" in again.stderr
    assert cli("inputs", "wsse-gpaw", "--out", "gpaw").returncode == 0
    assert len(list((tmp_path / "gpaw").glob("*/run.py"))) > 30


# KPAR of a class, and the k points of its calculations.


@pytest.mark.parametrize(
    ("structure", "mesh", "shift", "count"),
    [
        ("fcc", (4, 4, 4), None, 8),
        ("fcc", (4, 4, 4), (0.5, 0.5, 0.5), 10),
        ("bcc", (4, 4, 4), None, 8),
        ("sheet", (3, 3, 1), None, 3),
        ("sheet", (6, 6, 1), None, 7),
        ("atom", (1, 1, 1), None, 1),
    ],
)
def test_k_points_that_symmetry_leaves(
    structure: str, mesh: tuple[int, int, int], shift: tuple[float, float, float] | None, count: int
) -> None:
    """The numbers that VASP and textbooks give (fcc 4×4×4: 8 with Γ, 10 by Monkhorst and Pack)."""
    atoms = {
        "fcc": bulk("Al", "fcc", 4.05),
        "bcc": bulk("Na", "bcc", 4.2),
        "sheet": mx2("WSe2", a=3.3, vacuum=8.0),
        "atom": Atoms("Na", cell=[10, 11, 12], pbc=True),
    }[structure]
    assert least_kpoints(atoms, mesh, shift or (0, 0, 0)) == count


@pytest.mark.parametrize(("name", "part"), [("Al_metal_spin_static", 1.0), ("NaCl_insulator_static", 10 / 125)])
def test_vasp_had_as_many_k_points_or_more(name: str, part: float) -> None:
    """Runs of real VASPs on odd meshes, one of them with its symmetry switched off."""
    run = Vasprun(DATA / "vasp" / f"vasprun_{name}.xml.gz", parse_dos=False, parse_potcar_file=False)
    atoms = AseAtomsAdaptor.get_atoms(run.final_structure)
    assert least_kpoints(atoms, run.kpoints.kpts[0], (0, 0, 0)) == part * len(run.actual_kpoints)


def test_kpar_leaves_no_group_without_a_k_point(library: Path, tmp_path: Path) -> None:
    """The atom has one k point, and VASP would end with an error; a divisor, so that ranks divide as before."""
    worker: dict[str, Any] = {"potcars": str(library), "incar": {"KPAR": 12, "NCORE": 4}}
    atom = Incar.from_file(prepared("Na", tmp_path / "atom", **worker) / "INCAR")
    assert (atom["KPAR"], atom["NCORE"]) == (1, 4)
    host = prepared("WSSe+VS", tmp_path / "host", **worker)
    mesh = Kpoints.from_file(host / "KPOINTS").kpts[0]
    kpar = Incar.from_file(host / "INCAR")["KPAR"]
    assert 12 % kpar == 0
    assert 1 <= kpar <= np.prod(mesh)
    assert "KPAR" not in Incar.from_file(prepared("Na", tmp_path / "plain", potcars=str(library)) / "INCAR")
