"""Hubbard corrections and spin–orbit coupling: what VASP reads, what a campaign may ask for, what records say of it.

The oracle of INCAR is VASP's wiki: LDAUTYPE 2 is Dudarev's, LDAUL −1 switches a species off, lists are in POSCAR's
order; noncollinear moments have three parts and the program vasp_ncl, NUPDOWN is of collinear ones.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.io.vasp.inputs import Incar, Poscar
from sodiate.analysis.energies.comparability import ProtocolMismatch, check_method
from sodiate.analysis.functionals import corrections, functionals
from sodiate.analysis.records import Method
from sodiate.workflows.campaign.load import load_campaign
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Limits, Settings
from sodiate.workflows.engines.vasp.tags import method_tags
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from sodiate.workflows.start_structures import start_moments
from sodiate.workflows.stop import Stop
from support.campaigns import small_campaign
from support.cli import Cli
from support.engine_cases import VASP
from support.fake_vasp import install

SITE = "WSSe+VS/V_S@top"
PLAIN = load_campaign("wsse-gpaw").protocol.model_dump(mode="json", exclude_none=True)
PLUS_U = {"hubbard_u_ev": {"W": {"d": 3.0}}}
SOC = {"spin_orbit": True}


def planned(folder: Path, protocol: dict[str, Any], engine: str = "vasp", **changes: Any) -> Plan:
    values = {"quantities": ["bulk_reference"], **changes}
    return plan(small_campaign(folder, protocol=PLAIN | protocol, **values), engine)


def incars(found: Plan, name: str, directory: Path) -> list[Incar]:
    """The INCAR of each stage."""
    calculation, atoms = found.names[name], found[name].atoms()
    atoms.set_initial_magnetic_moments(start_moments(calculation, len(atoms)))
    make_engine("vasp", Settings(execution=found.execution(calculation))).prepare(calculation, atoms, directory, {})
    paths = sorted(directory.glob("INCAR.stage-*")) or [directory / "INCAR"]
    return [Incar.from_file(path) for path in paths]


# Hubbard corrections.


def test_a_hubbard_correction_stands_by_species_in_the_order_of_poscar(tmp_path: Path) -> None:
    for incar in incars(planned(tmp_path, PLUS_U), SITE, tmp_path / "site"):
        species = list(dict.fromkeys(Poscar.from_file(tmp_path / "site" / "POSCAR").site_symbols))
        assert sorted(species) == ["Na", "S", "Se", "W"]
        assert (incar["LDAU"], incar["LDAUTYPE"], incar["LMAXMIX"]) == (True, 2, 4)
        assert dict(zip(species, incar["LDAUL"], strict=True)) == {"W": 2, "Se": -1, "S": -1, "Na": -1}
        assert dict(zip(species, incar["LDAUU"], strict=True)) == {"W": 3.0, "Se": 0.0, "S": 0.0, "Na": 0.0}
        assert incar["LDAUJ"] == [0.0] * 4


def test_what_has_no_such_element_is_the_calculation_that_it_was(tmp_path: Path) -> None:
    """Na needs no correction of W: the same ids, so that nothing of it is computed twice."""
    plain, with_u = planned(tmp_path, {}), planned(tmp_path, PLUS_U)
    for name in ("Na", "Na-bcc"):
        assert with_u.names[name].id == plain.names[name].id
    assert "LDAU" not in incars(with_u, "Na", tmp_path / "Na")[0]
    for name in ("WSSe+VS", SITE):
        assert with_u.names[name].id != plain.names[name].id
        assert with_u.names[name].protocol["hubbard_u_ev"] == {"W": {"d": 3.0}}


def test_a_reference_with_the_element_has_the_same_correction(tmp_path: Path) -> None:
    found = planned(tmp_path, {"hubbard_u_ev": {"W": {"d": 3.0}, "Na": {"s": 1.0}}})
    for name in ("Na", "Na-bcc", SITE):
        (incar, *_) = incars(found, name, tmp_path / name.replace("/", "-"))
        assert incar["LDAUU"][-1] == 1.0
        assert incar["LDAUL"][-1] == 0


@pytest.mark.parametrize("off", [{"hubbard_u_ev": {}}, {"spin_orbit": False}])
@pytest.mark.parametrize("engine", ["vasp", "gpaw", "emt"])
def test_switched_off_is_absent(off: dict[str, Any], engine: str, tmp_path: Path) -> None:
    plain, same = planned(tmp_path, {}, engine), planned(tmp_path, off, engine)
    assert {name: one.id for name, one in same.names.items()} == {name: one.id for name, one in plain.names.items()}


@pytest.mark.parametrize(("shell", "number", "mixed"), [("d", 2, 4), ("f", 3, 6)])
def test_shells(shell: str, number: int, mixed: int) -> None:
    """The density of a corrected shell is mixed up to twice its l, whatever the element."""
    from ase import Atoms
    from sodiate.workflows.engines.vasp.tags import stages

    atoms = Atoms("OGe", [[0, 0, 0], [0, 0, 2]], cell=[4, 4, 4], pbc=True)
    atoms.set_initial_magnetic_moments([0, 0])
    protocol = {**VASP.calculation("static").protocol, "hubbard_u_ev": {"Ge": {shell: 4.5}, "Mo": {"d": 3.0}}}
    (tags,) = stages(protocol, "static", atoms, 0, True, "here")
    assert (tags["LDAUL"], tags["LDAUU"], tags["LMAXMIX"]) == ([-1, number], [0.0, 4.5], mixed)


def test_a_model_with_a_correction_of_its_own(tmp_path: Path) -> None:
    """Beside one without, in one campaign: each with its references, and words for what differs."""
    models = ["WSSe", {"model": "WSSe", "name": "with-U", "protocol": PLUS_U, "compare_with": "WSSe"}]
    found = planned(tmp_path, {}, models=models, sites=["T_W@top"])
    assert found.comparisons["with-U"] == ("hubbard_u_ev none → W d 3",)
    assert found.names["with-U/T_W@top"].protocol["hubbard_u_ev"] == {"W": {"d": 3.0}}
    back = ["WSSe", {"model": "WSSe", "name": "without", "protocol": {"hubbard_u_ev": {}, "spin_orbit": False}}]
    without = planned(tmp_path, PLUS_U | SOC, models=back, sites=["T_W@top"]).names["without"]
    assert without.id == found.names["WSSe"].id


def test_a_dispersion_is_switched_off_for_one_model(tmp_path: Path) -> None:
    models = ["WSSe", {"model": "WSSe", "name": "without", "protocol": {"dispersion": "none"}}]
    found = planned(tmp_path, {"dispersion": "d3bj"}, models=models, sites=["T_W@top"])
    assert found.names["WSSe"].protocol["dispersion"] == "d3bj"
    plain = planned(tmp_path, {}, models=["WSSe"], sites=["T_W@top"])
    assert found.names["without"].id == plain.names["WSSe"].id


# Spin–orbit coupling.


@pytest.mark.parametrize(
    ("name", "atoms", "last"), [(SITE, 12, 1.0), ("WSSe+VS", 11, 0.0), ("Na", 1, 1.0), ("Na-bcc", 1, 0.0)]
)
def test_spin_orbit_coupling_is_in_every_run(name: str, atoms: int, last: float, tmp_path: Path) -> None:
    found = planned(tmp_path, SOC)
    for incar in incars(found, name, tmp_path / "run"):
        assert (incar["LSORBIT"], incar["ISYM"], incar["GGA_COMPAT"]) == (True, -1, False)
        assert np.shape(incar["MAGMOM"]) == (atoms, 3)
        assert np.array(incar["MAGMOM"])[-1].tolist() == [0.0, 0.0, last]
        assert "NUPDOWN" not in incar
    assert found.names[name].protocol["spin_orbit"] is True
    assert found.names[name].id != planned(tmp_path, {}).names[name].id


def test_without_spin_polarisation_no_moment_begins(tmp_path: Path) -> None:
    """VASP would begin with 1 μB along each axis."""
    (incar, *_) = incars(planned(tmp_path, SOC | {"spin_polarised": False}), SITE, tmp_path / "run")
    assert (incar["ISPIN"], np.shape(incar["MAGMOM"]), np.abs(incar["MAGMOM"]).max()) == (1, (12, 3), 0.0)


@pytest.mark.parametrize("kind", ["static", "density"])
def test_the_program_of_noncollinear_moments_runs_every_kind(kind: str, vasp: Path, tmp_path: Path) -> None:
    """The stand-in refuses LSORBIT in vasp_std and vasp_gam, as VASP does; relaxations are in the campaign below."""
    engine = VASP.engine()
    atoms = VASP.start(kind)
    moments = np.zeros(len(atoms))
    moments[-1] = 1.0
    atoms.set_initial_magnetic_moments(moments)
    engine.prepare(VASP.calculation(kind, spin_orbit=True, spin_polarised=True), atoms, tmp_path / "run", {})
    engine.run(tmp_path / "run", Limits(), Stop())
    outcome = engine.collect(tmp_path / "run")
    assert "stand-in vasp_ncl" in (tmp_path / "run" / "vasp.out").read_text()
    assert outcome.method.settings is not None
    assert outcome.method.settings["LSORBIT"] == outcome.method.settings["LNONCOLLINEAR"] == "true"
    assert outcome.sampling is not None
    assert outcome.sampling.spin_polarised
    assert outcome.start_moments_mub == tuple(moments)
    assert outcome.final_moments_mub is not None
    electrons = {"W": 14, "Se": 6, "S": 6, "Na": 7}
    assert outcome.total_moment_mub == pytest.approx(sum(electrons[s] for s in atoms.get_chemical_symbols()) % 2)
    assert sum(outcome.final_moments_mub) == pytest.approx(outcome.total_moment_mub)  # along z, as they began


def test_an_atom_without_spin_on_purpose_says_nothing_of_moments(vasp: Path, tmp_path: Path) -> None:
    """So that it is not refused as one in a state that is not its ground state."""
    VASP.engine().prepare(VASP.calculation("atom", spin_orbit=True, spin_polarised=False), VASP.atoms(), tmp_path, {})
    outcome = VASP.finish(tmp_path)
    assert (outcome.start_moments_mub, outcome.final_moments_mub, outcome.total_moment_mub) == (None, None, None)


def test_moments_that_turned_are_told(vasp: Path, tmp_path: Path) -> None:
    """The moment of the cell is as long as ever; that of an atom along SAXIS is what is left of it there."""
    tags = {"MAGMOM": [0.0] * 9 + [0.6, 0.0, 0.8]}
    calculation = VASP.calculation("static", spin_orbit=True, spin_polarised=True, incar=tags)
    VASP.engine().prepare(calculation, VASP.atoms(), tmp_path, {})
    outcome = VASP.finish(tmp_path)
    assert outcome.total_moment_mub == pytest.approx(1.0)
    assert outcome.final_moments_mub == pytest.approx((0.0, 0.0, 0.0, 0.8))
    assert outcome.notes[-1] == "moments are not all along SAXIS: one has 0.60 μB across it"


# What is refused.


@pytest.mark.parametrize(
    ("protocol", "changes", "words"),
    [
        (
            SOC,
            {"quantities": ["dos"]},
            r"WSSe\+VS/dos: noncollinear bands and DOS cannot be read yet, and spin–orbit",
        ),
        (SOC, {"quantities": ["bands"]}, r"leave bands out of quantities"),
        (SOC, {"incar": {"relax": {"LSORBIT": False}}}, r"LSORBIT and LNONCOLLINEAR would undo protocol.spin_orbit"),
        (PLUS_U, {"incar": {"*": {"LDAUU": {"W": 4}}}}, r"LDAUU would undo protocol.hubbard_u_ev; give one of both"),
        (PLUS_U, {"incar": {"WSSe+VS/*": {"LDAU": False}}}, r"LDAU would undo protocol.hubbard_u_ev"),
        ({"hubbard_u_ev": {"Mo": {"d": 3.0}}}, {}, r"hubbard_u_ev: no calculation here has Mo; leave it out"),
        ({"hubbard_u_ev": {"W": {"d": 3.0, "p": 1.0}}}, {}, r"one shell with a Hubbard correction, as \{d: 3.0\}"),
        ({"hubbard_u_ev": {"W": {"g": 3.0}}}, {}, r"hubbard_u_ev.W.g"),
        ({"hubbard_u_ev": {"W": {"d": -1.0}}}, {}, r"hubbard_u_ev.W.d"),
        ({"hubbard_u_ev": {"Wx": {"d": 3.0}}}, {}, r"'Wx' is no element"),
        ({"hubbard_u_ev": {"W": 3.0}}, {}, r"hubbard_u_ev.W"),
        ({"spin_orbit": "perhaps"}, {}, r"spin_orbit"),
        ({"atom": {**PLAIN["atom"], "spin_orbit": True}}, {}, r"atom.*spin_orbit"),
        ({"dos": {**PLAIN["dos"], **PLUS_U}}, {}, r"dos.*hubbard_u_ev"),
    ],
)
def test_what_cannot_be(protocol: dict[str, Any], changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        planned(tmp_path, protocol, **changes)


@pytest.mark.parametrize(
    ("engine", "protocol", "words"),
    [
        ("emt", PLUS_U, r"protocol.hubbard_u_ev: the engine emt has no such key, .*; it has .*max_force_ev_per_a"),
        ("emt", SOC, r"protocol.spin_orbit: the engine emt has no such key"),
        ("gpaw", SOC, r"protocol.spin_orbit: the engine gpaw has no such key, .*; it has .*hubbard_u_ev"),
        ("lennard-jones", PLUS_U, r"protocol.hubbard_u_ev: the engine lennard-jones .*; it has max_force_ev_per_a"),
        ("lennard-jones", SOC, r"protocol.spin_orbit: the engine lennard-jones"),
    ],
)
def test_an_engine_that_has_none_refuses(
    engine: str, protocol: dict[str, Any], words: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if engine == "lennard-jones":
        request.getfixturevalue(engine)
    with pytest.raises(InputError, match=words):
        planned(tmp_path, protocol, engine, quantities=[])


def method(**changes: Any) -> Method:
    return Method(engine="vasp", engine_version="6", functional="PBE", paw={"W": "W_sv"}, **changes)


def test_a_manuscript_tells_runs_with_a_correction_from_those_without() -> None:
    with_u, sodium = method(hubbard={"W": "d, U = 3 eV (Dudarev)"}), Method(engine="vasp", engine_version="6")
    sodium = sodium.model_copy(update={"functional": "PBE", "paw": {"Na": "Na_pv"}})
    assert functionals([with_u, sodium]).startswith("the PBE+U functional [")
    assert functionals([with_u, sodium, method()]).startswith("the PBE and PBE+U functionals [")
    assert "some of the calculations" not in corrections([with_u, sodium])[0]
    assert corrections([with_u, method()])[0].endswith("[@Dudarev1998] in some of the calculations.")


# A whole campaign, as a user has it.


def test_a_campaign_from_run_to_manuscript(vasp: Path, cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """With the stand-in, and what it left then taken as finished runs of the user's, or told what differs."""
    install(vasp)
    small_campaign(tmp_path, protocol=PLAIN | PLUS_U | SOC, quantities=[], sites=["V_S@top"])
    place = ("--launchpad", launchpad, "--root", "root")
    ran = cli("run", "small.yaml", "--engine", "vasp", *place, timeout=280)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    with Results.open(launchpad) as results:
        frame = results.adsorption()
        assert np.isfinite(frame["adsorption_energy_ev"]).all(), frame["reason"]
        host, site, atom = (results[name].record for name in ("WSSe+VS", SITE, "Na"))
    assert atom.total_moment_mub == pytest.approx(1.0)
    assert atom.method.hubbard is None
    assert cli("si", *place, "--out", "si").returncode == 0
    methods = (tmp_path / "si" / "methods.md").read_text()
    for words in (
        "the PBE+U functional",
        "applied to W (d, U = 3 eV (Dudarev))",
        "Spin–orbit coupling was included.",
    ):
        assert words in methods
    check_method(site, host)
    check_method(site, atom)
    higher = {"hubbard": {"W": "d, U = 4 eV (Dudarev)"}}
    for changes, words in (
        ({"hubbard": None}, r"Hubbard correction of W d, U = 3 eV .Dudarev. ≠ none"),
        (higher, r"Hubbard correction of W d, U = 3 eV .Dudarev. ≠ d, U = 4 eV"),
        ({"settings": {}}, "LSORBIT true ≠ not set"),
    ):
        other = site.model_copy(update={"method": site.method.model_copy(update=changes)})
        with pytest.raises(ProtocolMismatch, match=words):
            check_method(host, other)
    _import_again(tmp_path, cli)


def _import_again(folder: Path, cli: Cli) -> None:
    """The same plan takes the host's run, and one without the keys says what differs."""
    (host,) = folder.glob("root/WSSe+VS-*")
    (folder / "own").mkdir()
    for name in ("INCAR", "KPOINTS", "POSCAR", "CONTCAR", "OUTCAR", "OSZICAR", "vasprun.xml"):
        shutil.copy(host / name, folder / "own")
    small_campaign(folder, campaign="plain", protocol=PLAIN, quantities=[], sites=["V_S@top"])
    for name, sentences in (
        ("plain", ("Hubbard correction of W d, U = 3 eV", "LSORBIT true")),
        ("small", ("would be recorded",)),
    ):
        done = cli("import", "--vasp", "own", "--campaign", f"{name}.yaml", "--root", f"r-{name}", "--dry-run")
        assert all(said in done.stdout for said in sentences), done.stdout + done.stderr


def test_hubbard_tags_of_an_element_twice_in_poscar_order() -> None:
    tags = method_tags({"functional": "PBE", "hubbard_u_ev": {"Mo": {"d": 3.0}}}, ["S", "S", "Mo", "Na"])
    assert (tags["LDAUL"], tags["LDAUU"]) == ([-1, 2, -1], [0.0, 3.0, 0.0])
    assert not {"LDAU", "LSORBIT"} & method_tags({"functional": "PBE"}, ["Mo"]).keys()
