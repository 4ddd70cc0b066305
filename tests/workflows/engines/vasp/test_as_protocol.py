"""Finished runs that become a campaign of their own: folders as a group has them, of materials unknown to sodiate.

The oracle of every energy is pymatgen's reader, with the subtraction done here.
"""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ase import Atom, Atoms
from ase.build import bulk, graphene, mx2
from sodiate.errors import SodiateError
from sodiate.workflows.campaign.load import load_campaign
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Settings
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from sodiate.workflows.runner.adopt import NoRecords
from sodiate.workflows.runner.campaign_of_runs import CampaignOfRuns, campaign_of_runs, read_runs, try_runs
from sodiate.workflows.runner.sorted_runs import Refused
from support import DATA
from support.cli import Cli, one_message
from support.old_runs import STATIC, OldRun

BOX = Atoms("Na", cell=[14, 15, 16], positions=[[7, 7.5, 8]], pbc=True)
ATOM: dict[str, Any] = {**STATIC, "ISMEAR": 0, "SIGMA": 0.01}


def mos2(size: int = 2) -> Atoms:
    """2H MoS2, which has a mirror plane: both faces are one. VASP's order, 20 Å high."""
    atoms = mx2("MoS2", a=3.18, thickness=3.13, size=(size, size, 1))
    atoms.set_cell([*atoms.cell[:2], [0.0, 0.0, 20.0]])
    atoms.pbc = True
    atoms.center(axis=2)
    return atoms[np.argsort(-atoms.numbers, kind="stable")]


def carbon(size: int = 3) -> Atoms:
    atoms = graphene(size=(size, size, 1), a=2.46, vacuum=9.0)
    atoms.pbc = True
    return atoms


def with_atom(host: Atoms, over: Sequence[float], height: float, element: str = "Na") -> Atoms:
    atoms, z = host.copy(), host.positions[:, 2]
    atoms.append(Atom(element, (over[0], over[1], z.max() + height if height > 0 else z.min() + height)))
    return atoms


def relaxed(atoms: Atoms, seed: int = 0) -> Atoms:
    end = atoms.copy()
    end.positions += np.random.default_rng(seed).normal(0.0, 0.01, end.positions.shape)
    return end


def bands_of(points: int) -> Any:
    """A gap of 2 eV, direct."""
    along = np.linspace(0.0, 2.0, points)[:, None]
    return np.concatenate([-1.0 - along + [-0.2, -0.1, 0.0], 1.0 + along + [0.0, 0.1, 0.2]], axis=1)


HOST = mos2()
OVER_MO, OVER_S = HOST.positions[0], HOST.positions[5]
RUNS = {
    "clean": OldRun(HOST, -88.123456, end=relaxed(HOST)),
    "na_mo": OldRun(with_atom(HOST, OVER_MO, 2.2), -90.654321, end=relaxed(with_atom(HOST, OVER_MO, 2.2), 1)),
    "na_s": OldRun(with_atom(HOST, OVER_S, 2.8), -90.154321, end=relaxed(with_atom(HOST, OVER_S, 2.8), 2)),
    "atom": OldRun(BOX, -0.2345, tags=ATOM, mesh=(1, 1, 1), moment_mub=1.0),
    "bulk": OldRun(bulk("Na", "bcc", a=4.19), -1.3045, tags=dict(STATIC), mesh=(12, 12, 12)),
    "dos": OldRun(
        relaxed(HOST), -88.0, tags={**STATIC, "ICHARG": 11, "ISMEAR": -5}, mesh=(5, 5, 1), bands=bands_of(13)
    ),
}


def written(folder: Path, *names: str, **changed: OldRun) -> dict[str, Path]:
    """Write runs; by their names, and others or changed ones by theirs."""
    runs = {name: RUNS[name] for name in names} | changed
    return {name: run.write(folder / name) for name, run in runs.items()}


def changed(name: str, **values: Any) -> OldRun:
    """One of the runs with other tags or values."""
    run, tags = RUNS[name], values.pop("tags", {})
    return OldRun(**{**vars(run), "tags": {**run.tags, **tags}, **values})


def made(folders: dict[str, Path], scratch: Path, *roles: str) -> CampaignOfRuns:
    """Make the campaign, and all checks of the runs, without a database."""
    scratch.mkdir()
    said = [f"{folders[name]}={role}" for name, _, role in (text.partition("=") for text in roles)]
    given = read_runs(list(folders.values()), said, "vasp")
    found = campaign_of_runs(given, "vasp", scratch.parent / "old.yaml", NoRecords(), scratch)
    try_runs(found, NoRecords(), scratch.parent / "root")
    return found


def names(found: CampaignOfRuns) -> dict[str, str]:
    return {one.folder.name: name for one, name in found.belongs.items()}


def refused(folders: dict[str, Path], scratch: Path, *roles: str) -> dict[str, str]:
    with pytest.raises(Refused) as caught:
        made(folders, scratch, *roles)
    return {folder.name: "; ".join(reasons) for folder, reasons in caught.value.reasons.items()}


def energy(folder: Path) -> float:
    """E0 of the last step, read by pymatgen alone."""
    from pymatgen.io.vasp.outputs import Vasprun

    (path,) = folder.glob("vasprun.xml*")
    run = Vasprun(str(path), parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    return float(run.ionic_steps[-1]["e_0_energy"])


# The whole road.


def test_runs_become_a_campaign_whose_energies_are_their_differences(
    cli: Cli, launchpad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert shutil.which("vasp_std") is None
    first = written(tmp_path / "old", "clean", "na_mo", "bulk")
    place = ("--launchpad", launchpad, "--root", "root")
    command = ("import", "--vasp", "--as-protocol", "--campaign", "slabs", *place)
    trial = cli(*command, "--dry-run", *first.values())
    assert trial.stdout.count("would be recorded") == 3, trial.stdout + trial.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"old", "launchpad", launchpad.name}
    done = cli(*command, *first.values())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no isolated Na atom is among the runs, and ΔE is against it: import it, too" in done.stdout
    with Results.open(launchpad) as results:
        (row,) = results.adsorption().to_dict("records")
    assert "no Na atom" in row["reason"]
    assert row["adsorption_energy_ev"] is None
    metal = energy(first["na_mo"]) - energy(first["clean"]) - energy(first["bulk"])
    assert row["adsorption_energy_bulk_ev"] == pytest.approx(metal, abs=1e-6)
    assert f"{metal:.3f}" in cli("results", *place).stdout
    # What was lacking, and another site, join it: from their folders alone.
    more = written(tmp_path / "old", "na_s", "atom", "dos")
    joined = cli(*command, *more.values())
    assert joined.stdout.count(": recorded") == 3, joined.stdout + joined.stderr
    folders = first | more
    with Results.open(launchpad) as results:
        frame = results.adsorption().set_index("site")
    assert list(frame.index) == ["T_Mo@top", "T_X@top"]
    for site, name in (("T_Mo@top", "na_mo"), ("T_X@top", "na_s")):
        bare = energy(folders[name]) - energy(folders["clean"])
        assert frame["adsorption_energy_ev"][site] == pytest.approx(bare - energy(folders["atom"]), abs=1e-6)
        assert frame["adsorption_energy_bulk_ev"][site] == pytest.approx(bare - energy(folders["bulk"]), abs=1e-6)
    assert frame["adsorption_energy_ev"]["T_Mo@top"] == pytest.approx(-90.654321 + 88.123456 + 0.2345, abs=1e-6)
    # Again: nothing twice.
    again = cli(*command, *folders.values())
    assert again.stdout.count("is recorded already") == 6, again.stdout + again.stderr
    changed("na_s", energy_ev=-91.0).write(folders["na_s"])
    other = cli(*command, folders["na_s"])
    assert "with -90.154321 eV; this run, which has -91.000000 eV, is not taken" in other.stdout
    assert "revision 2): 7 done" in cli("status", *place).stdout
    table = cli("results", *place).stdout
    assert "2.000" in table, table  # the gap
    assert "imported: run by the user in na_s" in cli("show", "MoS2/T_X@top", *place).stdout
    si = cli("si", "--out", "si", *place)
    assert si.returncode == 0, si.stdout + si.stderr
    words = " ".join(path.read_text() for path in (tmp_path / "si").glob("*.md"))
    assert "PBE functional" in words
    assert "450 eV" in words
    assert "The runs, made before, were read and evaluated by sodiate" in words
    assert "FireWorks" not in words
    assert cli("export", "archive", *place).returncode == 0
    planned = cli("plan", "slabs.yaml")
    assert planned.returncode == 0, planned.stderr


# What they must agree in.

DIFFERENT: list[tuple[dict[str, Any], str]] = [
    ({"ENCUT": 500.0}, "cutoff_ev 500.0 ≠ 450.0"),
    ({"GGA": "PS"}, "functional PBEsol ≠ PBE"),
    ({"METAGGA": "R2SCAN", "GGA": None}, "functional r2SCAN ≠ PBE"),
    ({"LHFCALC": True, "HFSCREEN": 0.2}, "functional HSE06 ≠ PBE"),
    ({"IVDW": 12}, "dispersion d3bj ≠ None"),
    ({"PREC": "Accurate"}, "PREC accurate ≠ not set"),
    ({"LASPH": True}, "LASPH true ≠ not set"),
    ({"LREAL": "Auto"}, "LREAL auto ≠ not set"),
    ({"ADDGRID": True}, "ADDGRID true ≠ not set"),
    ({"EFIELD": 0.1}, "EFIELD 0.1 ≠ not set"),
    ({"LDAU": True, "LDAUL": [2, -1], "LDAUU": [3.0, 0.0], "LDAUJ": [0.0, 0.0]}, "Hubbard correction of Mo d, U = 3"),
    ({"LSORBIT": True, "LNONCOLLINEAR": True}, "LSORBIT true ≠ not set"),
    ({"NELECT": 91.0}, r"charge \S+ e ≠ not set"),
    ({"ISPIN": 1}, "spin_polarised False ≠ True"),
    ({"ISMEAR": 0}, "smearing gaussian ≠ ISMEAR 1"),
    ({"SIGMA": 0.2}, "smearing_width_ev 0.2 ≠ 0.1"),
    ({"LDIPOL": True, "IDIPOL": 3}, "dipole_correction True ≠ False"),
    ({"NUPDOWN": 1.0}, "NUPDOWN the total moment is fixed ≠ not set"),
]


@pytest.mark.parametrize(
    ("tags", "words"), DIFFERENT, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_the_one_that_differs_is_named_with_its_tag(tags: dict[str, Any], words: str, tmp_path: Path) -> None:
    folders = written(tmp_path / "old", "clean", "na_mo", "atom", na_s=changed("na_s", tags=tags))
    reasons = refused(folders, tmp_path / "files")
    assert list(reasons) == ["na_s"], reasons
    assert re.search(words, reasons["na_s"]), reasons
    assert re.search(r"\(in .*/clean, with which \d of \d agree\)", reasons["na_s"]), reasons


def test_a_mesh_and_a_data_set_that_differ(tmp_path: Path) -> None:
    folders = written(tmp_path / "old", "clean", "na_mo", "atom", na_s=changed("na_s", mesh=(2, 2, 1)))
    assert "kmesh (2, 2, 1) ≠ (3, 3, 1)" in refused(folders, tmp_path / "files")["na_s"]
    path = RUNS["na_s"].write(folders["na_s"]) / "vasprun.xml"
    path.write_text(path.read_text().replace("Na_pv 19Sep2006", "Na 08Apr2002"))
    assert "PAW of Na PAW_PBE Na 08Apr2002 ≠ PAW_PBE Na_pv" in refused(folders, tmp_path / "more")["na_s"]


def test_a_host_of_another_functional_is_the_one_refused(tmp_path: Path) -> None:
    """Not the sites, which agree with each other and with the atom."""
    folders = written(tmp_path / "old", "na_mo", "na_s", "atom", clean=changed("clean", tags={"GGA": "RP"}))
    assert list(refused(folders, tmp_path / "files")) == ["clean"]


def test_what_is_not_converged_is_refused_with_its_number(tmp_path: Path) -> None:
    folders = written(tmp_path / "old", "na_mo", "atom", clean=changed("clean", force_ev_per_a=0.29))
    reasons = refused(folders, tmp_path / "files")
    assert reasons == {"clean": "largest force 0.29 eV/Å > 0.03"}  # na_mo waits for it, and is not to blame
    path = RUNS["clean"].write(folders["clean"]) / "vasprun.xml"
    text = path.read_text()
    last = [match.start() for match in re.finditer("<scstep>", text)][-1]
    path.write_text(text[:last].rstrip() + text[text.index("</scstep>", last) + len("</scstep>") :])
    assert "the electrons are not converged" in refused(folders, tmp_path / "more")["clean"]


def test_an_atom_in_another_state(tmp_path: Path) -> None:
    folders = written(tmp_path / "old", "clean", "na_mo", atom=changed("atom", moment_mub=0.0))
    assert refused(folders, tmp_path / "a") == {"atom": "the isolated Na atom has 0.00 μB, its ground state 1 μB"}
    changed("atom", tags={"ISPIN": 1}).write(folders["atom"])
    assert "without spin, and the sheets with" in refused(folders, tmp_path / "b")["atom"]
    for name in ("clean", "na_mo"):
        changed(name, tags={"ISPIN": 1}).write(folders[name])
    assert any("was run without spin" in remark for remark in made(folders, tmp_path / "c").remarks)


# What a campaign cannot say by its protocol stands among its tags.

UNUSUAL: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"EFIELD": 0.05}, {"functional": "PBE"}),
    ({"IVDW": 12, "VDW_S8": 0.7}, {"dispersion": "d3bj"}),
    ({"IVDW": 4}, {"functional": "PBE"}),
    ({"GGA": None, "METAGGA": "R2SCAN", "LASPH": True}, {"functional": "r2SCAN"}),
    ({"LHFCALC": True, "HFSCREEN": 0.2}, {"functional": "HSE06"}),
    ({"LHFCALC": True, "AEXX": 0.3, "AGGAX": 0.7, "ALDAX": 0.7}, {"functional": "PBE"}),
    (
        {"GGA": "BO", "PARAM1": 0.1833333333, "PARAM2": 0.22, "LUSE_VDW": True, "AGGAC": 0.0},
        {"functional": "optB88-vdW"},
    ),
    ({"GGA": "CX", "LUSE_VDW": True, "AGGAC": 0.0}, {"functional": "PBE"}),
    ({"PREC": "Accurate", "LASPH": True, "ADDGRID": True}, {"functional": "PBE"}),
    ({"LREAL": "Auto", "ISYM": 0}, {"functional": "PBE"}),
    ({"ISPIN": 1, "ISMEAR": 0, "SIGMA": 0.05}, {"spin_polarised": False}),
    ({"ISMEAR": -1, "SIGMA": 0.026}, {"smearing": {"kind": "fermi-dirac", "width_ev": 0.026}}),
    ({"LDIPOL": True, "IDIPOL": 3}, {"dipole_correction": True}),
]


@pytest.mark.parametrize(("tags", "protocol"), UNUSUAL, ids=lambda value: "-".join(value))
def test_unusual_tags_are_part_of_the_protocol(
    tags: dict[str, Any], protocol: dict[str, Any], tmp_path: Path
) -> None:
    """All runs have them; the check of each run against the plan passes, so that the plan is what they were."""
    ours = {tag: value for tag, value in tags.items() if tag not in ("ISMEAR", "SIGMA", "LDIPOL", "IDIPOL")}
    folders = written(
        tmp_path / "old",
        **{name: changed(name, tags=tags) for name in ("clean", "na_mo")},
        atom=changed("atom", tags=ours),
    )
    values = yaml.safe_load(made(folders, tmp_path / "files").file.read_text())
    assert protocol.items() <= values["protocol"].items()


def test_a_hubbard_correction_by_element(tmp_path: Path) -> None:
    tags: dict[str, Any] = {"LDAU": True, "LDAUTYPE": 2, "LDAUJ": [0.0, 0.0], "LMAXMIX": 4}
    host = {**tags, "LDAUL": [2, -1], "LDAUU": [3.0, 0.0]}
    site = {**tags, "LDAUL": [2, -1, -1], "LDAUU": [3.0, 0.0, 0.0], "LDAUJ": [0.0, 0.0, 0.0]}
    folders = written(tmp_path / "old", "atom", clean=changed("clean", tags=host), na_mo=changed("na_mo", tags=site))
    found = made(folders, tmp_path / "files")
    assert yaml.safe_load(found.file.read_text())["incar"]["*"]["LDAUU"] == {"Mo": 3.0}


WORDS = {
    "hse06_SrTiO3_6.3.0": {"functional": "HSE06"},
    "hse06_d3_Sb2Se3_6.2.0": {"functional": "HSE06", "dispersion": "d3zero"},
    "pbe_6.4.2": {"functional": "PBE"},
    "pbe_u_V2O5_6.4.1": {"functional": "PBEsol"},
    "r2scan_6.4.1": {"functional": "r2SCAN"},
    "soc_O2_ncl_6.4.1": {"functional": "PBE"},
    "spin_O2_std_6.4.1": {"functional": "PBE"},
}


@pytest.mark.parametrize("name", WORDS)
def test_the_protocol_of_real_runs(name: str, tmp_path: Path) -> None:
    """Of what real VASPs wrote: protocol and tags give all of the method again, which is checked inside."""
    shutil.copy(DATA / "vasp" / "real" / f"{name}.xml.gz", tmp_path / "vasprun.xml.gz")
    engine = make_engine("vasp", Settings())
    run = engine.adopt(tmp_path)
    keys = engine.protocol_of({"relax": [run]})
    assert WORDS[name].items() <= keys["protocol"].items()
    assert keys["protocol"]["cutoff_ev"] == run.method.cutoff_ev
    if name.startswith("pbe_u"):
        assert keys["incar"]["*"]["LDAUU"] == {"V": 3.25}
    assert ("LSORBIT" in keys["incar"].get("*", {})) is name.startswith("soc")


def test_what_no_campaign_can_say_is_refused_in_words(tmp_path: Path) -> None:
    electrons = {"clean": 104.0, "na_mo": 111.0, "atom": 7.0}
    for more, words in (
        ({name: {"NELECT": count + 1.0} for name, count in electrons.items()}, r"charged \(-1 e\)"),
        ({name: {"SHINY_NEW": 3} for name in electrons}, "SHINY_NEW = 3: no tag that sodiate"),
    ):
        folders = written(tmp_path / "old", **{name: changed(name, tags=tags) for name, tags in more.items()})
        with pytest.raises(SodiateError, match=words):
            made(folders, tmp_path / f"files-{words[:3]}")


@pytest.mark.parametrize(
    ("mesh", "given"), [((3, 3, 1), False), ((4, 2, 1), True), ((2, 2, 2), True), ((1, 1, 1), False)]
)
def test_meshes_that_no_length_gives_are_named(mesh: tuple[int, int, int], given: bool, tmp_path: Path) -> None:
    folders = written(tmp_path / "old", "atom", clean=changed("clean", mesh=mesh), na_mo=changed("na_mo", mesh=mesh))
    (model,) = yaml.safe_load(made(folders, tmp_path / "files").file.read_text())["models"]
    assert ("kpoint_mesh" in model["protocol"]) is given


def test_a_mesh_beside_gamma(tmp_path: Path) -> None:
    """As Monkhorst and Pack's even ones lie, which the files of years ago have."""
    folders = written(tmp_path / "old", "atom", **{n: changed(n, mesh=(4, 4, 1)) for n in ("clean", "na_mo")})
    for name in ("clean", "na_mo"):
        path = folders[name] / "vasprun.xml"
        path.write_text(path.read_text().replace('param="Gamma"', 'param="Monkhorst-Pack"'))
    found = made(folders, tmp_path / "files")
    assert found.plan["MoS2"].calculation.protocol["kpoint_mesh"] == {"points": [4, 4, 1], "shift": [0.5, 0.5, 0.0]}


# Where they lie, and in which order.


def test_runs_that_lie_elsewhere_turned_and_in_another_order(tmp_path: Path) -> None:
    """Moved along all axes, the cell as Materials Project has it (neither vector along x), atoms shuffled, packed."""
    rng = np.random.default_rng(5)
    site = RUNS["na_mo"].start
    moved = site[rng.permutation(len(site))]
    moved.translate([1.3, -2.1, 7.0])
    moved.rotate(-30, "z", rotate_cell=True)
    moved = moved[np.argsort(moved.numbers, kind="stable")]
    end = moved.copy()
    end.positions += rng.normal(0.0, 0.01, end.positions.shape)
    folders = written(tmp_path / "old", "clean", "atom", na_mo=changed("na_mo", start=moved, end=end))
    for path in list(folders["na_mo"].iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    parts = folders["clean"] / "relax2"
    parts.mkdir()
    for path in list(folders["clean"].iterdir()):
        if path.is_file():
            path.rename(parts / path.name)
    assert names(made(folders, tmp_path / "files")) == {"clean": "MoS2", "na_mo": "MoS2/T_Mo@top", "atom": "Na"}


def test_the_record_of_a_turned_run_is_in_our_frame(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """Na on the bottom face of MoS2, whose faces are one, in a turned cell: the site, forces and heights go along."""
    site = with_atom(HOST, OVER_S, -2.8)
    end = relaxed(site, 3)
    for atoms in (site, end):
        atoms.rotate(40, "z", rotate_cell=True)
    folders = written(tmp_path / "old", "clean", "atom", low=changed("na_s", start=site, end=end))
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("import", "--vasp", "--as-protocol", *folders.values(), *place)
    assert "MoS2/T_X@top: recorded" in done.stdout, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        record = results["MoS2/T_X@top"].record
        (energy_ev,) = results.adsorption()["adsorption_energy_ev"]
    assert record.geometry is not None
    assert record.site is not None
    assert (record.site.start, record.site.end, record.site.note) == ("T_X@top", "T_X@top", None)
    assert energy_ev == pytest.approx(energy(folders["low"]) - energy(folders["clean"]) - energy(folders["atom"]))
    ours = record.geometry.atoms()
    distances = [np.sort(atoms.get_all_distances(mic=True)[-1]) for atoms in (ours, end)]
    assert distances[0] == pytest.approx(distances[1], abs=1e-6)
    assert ours.positions[-1, 2] > ours.positions[:-1, 2].max()
    # The force was along x of the run, on its first atom, a Mo; towards its neighbours it is as large in our frame.
    assert record.forces_ev_per_a is not None
    lengths = np.linalg.norm(record.forces_ev_per_a, axis=1)
    assert np.sort(lengths)[-2:] == pytest.approx([0.0, 0.01])
    pushed = int(lengths.argmax())
    assert ours.symbols[pushed] == "Mo"
    there = 0.01 * end.get_distances(0, range(1, len(end)), mic=True, vector=True)[:, 0]
    others = [index for index in range(len(ours)) if index != pushed]
    vectors = ours.get_distances(pushed, others, mic=True, vector=True)
    assert np.sort(vectors @ record.forces_ev_per_a[pushed]) == pytest.approx(np.sort(there), abs=1e-6)


def test_a_host_unknown_to_us(tmp_path: Path) -> None:
    """Graphene, whose faces are one: Li over a hollow, an atom of the other sublattice, and a bridge, which no rule
    of sites has.
    """
    host = carbon()
    hollow = host.positions[0] + [0.0, 2.46 / 3**0.5, 0.0]
    hollow_site = hollow if min(np.linalg.norm(host.positions[:, :2] - hollow[:2], axis=1)) > 1.0 else None
    over = host.positions[0] * 2 - host.positions[1] if hollow_site is None else hollow
    box = Atoms("Li", cell=[10, 11, 12], positions=[[5, 5, 5]], pbc=True)
    bridge = (host.positions[0] + host.positions[1]) / 2
    folders = written(
        tmp_path / "old",
        sheet=OldRun(host, -160.0, end=relaxed(host)),
        bridge=OldRun(with_atom(host, bridge, 2.0, "Li"), -161.8),
        hollow=OldRun(with_atom(host, over, 1.8, "Li"), -162.0),
        c0=OldRun(with_atom(host, host.positions[1], 2.1, "Li"), -161.7),
        li=OldRun(box, -0.3, tags=ATOM, mesh=(1, 1, 1), moment_mub=1.0),
    )
    found = made(folders, tmp_path / "files")
    assert found.plan.hosts[0].multiplicities == {"H@top": 18, "T_C@top": 36, "imported@top": 54}
    assert names(found) == {
        **{"sheet": "C", "hollow": "C/H@top", "c0": "C/T_C@top", "li": "Li", "bridge": "C/imported@top"}
    }


# What is what.


def test_single_points_of_a_relaxed_host_are_its_dos(tmp_path: Path) -> None:
    """At a fixed density or self-consistent; where atoms are elsewhere it is none."""
    static = changed("dos", tags={"ICHARG": 2})
    folders = written(tmp_path / "old", "clean", "na_mo", "atom", static=static)
    assert names(made(folders, tmp_path / "a"))["static"] == "MoS2/dos"
    changed("dos", start=relaxed(HOST, 9)).write(folders["static"])
    assert re.search(
        r"its atoms lie up to 0\.0\d+ Å from where MoS2 ended", refused(folders, tmp_path / "b")["static"]
    )
    far = HOST.copy()
    far.positions[3] += [0.0, 0.0, 0.4]
    changed("dos", start=far).write(folders["static"])
    assert "no host here ended where its atoms are" in refused(folders, tmp_path / "c")["static"]


def test_single_points_at_their_ends_are_relaxed(tmp_path: Path) -> None:
    """If the forces are below the criterion, which the runs that have one say; else they are not."""
    runs = {name: changed(name, tags=STATIC | {"EDIFFG": None}, end=None) for name in ("clean", "na_mo")}
    folders = written(tmp_path / "old", "atom", "na_s", **runs)
    assert names(made(folders, tmp_path / "a"))["clean"] == "MoS2"
    changed("clean", tags=STATIC | {"EDIFFG": None}, end=None, force_ev_per_a=0.05).write(folders["clean"])
    assert refused(folders, tmp_path / "b") == {"clean": "largest force 0.05 eV/Å > 0.03"}


def test_two_candidates(tmp_path: Path) -> None:
    folders = written(tmp_path / "old", "clean", "na_mo", "atom", again=changed("clean", energy_ev=-88.2))
    assert "two runs of one host; leave one out" in refused(folders, tmp_path / "a")["again"]
    folders = written(tmp_path / "more", "clean", "na_mo", "atom", again=changed("na_mo", energy_ev=-90.2))
    assert "it begins at T_Mo@top of MoS2, as" in refused(folders, tmp_path / "b")["again"]
    folders = written(tmp_path / "most", "clean", "na_mo", "atom", again=changed("atom", energy_ev=-0.2))
    assert "atom of Na, as" in refused(folders, tmp_path / "c")["again"]


def test_what_is_nothing_of_the_kind(tmp_path: Path) -> None:
    two = with_atom(RUNS["na_mo"].start, OVER_S, 2.8)
    tall = RUNS["na_mo"].start.copy()
    tall.cell[2, 2] = 22.0
    pair = Atoms("Na2", cell=[14, 15, 16], positions=[[7, 7.5, 8], [7, 7.5, 11]], pbc=True)
    for run, words in (
        (changed("na_mo", start=two, end=None), "no clean host MoS2|no clean host Mo4S8Na"),
        (changed("na_mo", start=tall, end=None), r"its cell .* × 22.000 Å is not that of its host, .* × 20.000 Å"),
        (changed("na_mo", tags={"ISIF": 3}), "its cell was relaxed"),
        (OldRun(pair, -2.0, tags=ATOM, mesh=(1, 1, 1)), "Na2 in a box"),
        (OldRun(bulk("V", "bcc", a=3.0), -2.0, tags=dict(STATIC)), "V is neither a sheet nor the bulk of Na"),
    ):
        folders = written(tmp_path / "old", "clean", "na_s", "atom", odd=run)
        reasons = refused(folders, tmp_path / f"files-{words[:12]}")
        assert re.search(words, reasons["odd"]), reasons


def test_another_polymorph_is_another_host(tmp_path: Path) -> None:
    """1T MoS2 has the formula and the cell of 2H: Na on it is not on 2H."""
    other = mx2("MoS2", kind="1T", a=3.18, thickness=3.13, size=(2, 2, 1))
    other.set_cell(HOST.cell)
    other.pbc = True
    other.center(axis=2)
    other = other[np.argsort(-other.numbers, kind="stable")]
    na_other = OldRun(with_atom(other, other.positions[0], 2.2), -87.0)
    folders = written(tmp_path / "old", "clean", "na_mo", "atom", na_other=na_other)
    assert re.search(r"begins \d\.\d Å from .*/clean: another host", refused(folders, tmp_path / "a")["na_other"])
    folders |= written(tmp_path / "old", other=OldRun(other, -85.0))
    found = names(made(folders, tmp_path / "b"))
    assert {name: found[name].split("/")[0] for name in ("na_mo", "na_other")} == {
        **{"na_mo": "MoS2", "na_other": "MoS2-2"}
    }


def test_files_with_fewer_digits(tmp_path: Path) -> None:
    """A DOS at positions of six digits, a site in a cell that is 0.05 mÅ longer."""
    dos, site = relaxed(HOST), RUNS["na_mo"].start.copy()
    dos.set_scaled_positions(np.round(dos.get_scaled_positions(), 5))
    site.set_cell(site.cell * (1 + 4e-6), scale_atoms=True)
    folders = written(
        tmp_path / "old", "clean", "atom", na_mo=changed("na_mo", start=site, end=None), dos=changed("dos", start=dos)
    )
    assert len(names(made(folders, tmp_path / "a"))) == 4
    site.set_cell(site.cell * 1.0002, scale_atoms=True)
    changed("na_mo", start=site, end=None).write(folders["na_mo"])
    assert "cell 6.3613 × 6.3613 × 20.0041 Å (yours) ≠ 6.3600" in refused(folders, tmp_path / "b")["na_mo"]


@pytest.mark.parametrize("smearing", [1, 0])
def test_a_metal_of_several_atoms_is_a_crystal_from_a_file(smearing: int, tmp_path: Path) -> None:
    metal = bulk("Na", "bcc", a=4.19, cubic=True)
    run = OldRun(metal, -2.609, tags={"ISMEAR": smearing}, mesh=(8, 8, 8), force_ev_per_a=0.001)
    found = made(written(tmp_path / "old", "clean", "na_mo", "atom", metal=run), tmp_path / "files")
    assert names(found)["metal"] == "Na-crystal"
    assert found.plan["Na-crystal"].calculation.protocol["kpoint_length_a"] == pytest.approx(8 * 4.19)


def test_a_file_that_gains_nothing_stays_as_it_is(tmp_path: Path) -> None:
    """Comments and all; a further site changes it."""
    folders = written(tmp_path / "old", "clean", "na_mo", "atom")
    file = tmp_path / "old.yaml"
    made(folders, tmp_path / "a").write(file)
    text = "# ours\n" + file.read_text()
    file.write_text(text)
    assert made(folders, tmp_path / "b").file.read_text() == text
    site = written(tmp_path / "old", "clean", "na_s")
    added = yaml.safe_load(made(site, tmp_path / "c").file.read_text())
    assert added["models"][0]["sites"] == ["T_Mo@top", "T_X@top"]


def test_a_vacancy_that_its_own_element_heals_is_told_by_the_adsorbate(tmp_path: Path) -> None:
    """MoS2 is MoS2 less S and one S, as Na on it is; Na it is that is foreign to all hosts."""
    poor = HOST[[index for index in range(len(HOST)) if index != 4]]
    folders = written(
        tmp_path / "old",
        **{name: RUNS[name] for name in ("clean", "na_mo")},
        poor=OldRun(poor, -80.0),
        na_poor=OldRun(with_atom(poor, OVER_S, 1.0), -83.0),
    )
    found = names(made(folders, tmp_path / "a"))
    assert (found["poor"], found["na_poor"]) == ("Mo4S7", "Mo4S7/H@top")
    healed = {name: folders[name] for name in ("clean", "poor")}
    assert made(healed, tmp_path / "b").plan.campaign.spec.adsorbate.element == "S"
    alone = {name: folders[name] for name in ("clean",)}
    with pytest.raises(SodiateError, match="name the hosts, as --role FOLDER=host"):
        made(alone, tmp_path / "c")


def test_roles_by_name(cli: Cli, tmp_path: Path) -> None:
    folders = written(tmp_path / "old", "clean", "na_mo", "atom", again=changed("clean", energy_ev=-88.2, end=None))
    with pytest.raises(SodiateError, match="nothing is adsorbed"):
        made(folders, tmp_path / "a", "na_mo=host")
    for wrong in ("old/clean=hots", "nowhere=host"):
        message = one_message(
            cli("import", "--vasp", "--as-protocol", "old/clean", "--role", wrong, "--root", "root")
        )
        assert "--role" in message
        assert "roles: host, site, atom, bulk, dos" in message
    assert not (tmp_path / "root").exists()


def test_a_library_of_another_release_is_no_hindrance(
    vasp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is for runs to come; those that are there name their data sets."""
    folders = written(tmp_path / "old", "clean", "na_mo", "atom")
    monkeypatch.setenv("PMG_VASP_PSP_DIR", str(tmp_path / "old"))
    assert len(names(made(folders, tmp_path / "files"))) == 3


def test_a_refusal_leaves_nothing_behind(cli: Cli, tmp_path: Path) -> None:
    folders = written(tmp_path / "old", "clean", "atom", na_mo=changed("na_mo", tags={"ENCUT": 520.0}))
    done = cli("import", "--vasp", "--as-protocol", *folders.values(), "--root", "root")
    assert done.returncode == 1
    assert "cutoff_ev 520.0 ≠ 450.0" in done.stdout
    assert "Nothing was imported" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_only_campaigns_of_runs_are_added_to(cli: Cli, tmp_path: Path) -> None:
    folders = written(tmp_path / "old", "clean", "na_mo")
    (tmp_path / "mine.yaml").write_text("campaign: mine\nprotocol: paper\nmodels: [WSSe]\n")
    options = ("--campaign", "mine", "--root", "root")
    message = one_message(cli("import", "--vasp", "--as-protocol", *folders.values(), *options))
    assert "mine.yaml is no campaign of runs" in message


def test_the_campaign_plans_what_was_imported(tmp_path: Path) -> None:
    """Written and read again it has the same ids; a host of another thickness keeps its own cell."""
    thin = carbon()
    box = thin.copy()
    folders = written(
        tmp_path / "old",
        **{name: RUNS[name] for name in ("clean", "na_mo", "atom")},
        thin=OldRun(box, -160.0),
        na_thin=OldRun(with_atom(box, box.positions[1], 2.6), -161.0),
    )
    found = made(folders, tmp_path / "files")
    found.write(tmp_path / "old.yaml")
    again = plan(load_campaign(tmp_path / "old.yaml"))
    assert [c.id for c in again.calculations] == [c.id for c in found.plan.calculations]
    heights = [host.calculation.structure["vacuum_a"] for host in again.hosts]
    assert heights[0] != heights[1]


# An element of several species, as sublattices have it.

SPLIT = [
    ([2, 2, -1], [3.0, 3.0, 0.0], None),
    ([2, -1, -1], [3.0, 0.0, 0.0], r"Hubbard correction of Mo d, U = 3 eV \(Dudarev\) and none"),
    ([2, 2, -1], [3.0, 5.0, 0.0], r"Hubbard correction of Mo d, U = 3 eV \(Dudarev\) and d, U = 5 eV \(Dudarev\)"),
    ([-1, -1, 1], [0.0, 0.0, 3.0], None),
]


def split(folder: Path) -> Path:
    """Make two species of the four Mo in a vasprun.xml."""
    path = folder / "vasprun.xml"
    text = path.read_text()
    (row,) = re.findall(r"<rc><c>   4</c><c>Mo</c>.*?</rc>\n", text)
    path.write_text(text.replace(row, 2 * row.replace("<c>   4</c>", "<c>   2</c>")))
    return path


@pytest.mark.parametrize(("shells", "values", "words"), SPLIT)
def test_each_species_of_an_element_has_its_own_correction(
    shells: list[int], values: list[float], words: str | None, tmp_path: Path
) -> None:
    folders = written(
        tmp_path / "old",
        "atom",
        **{
            name: changed(
                name,
                tags={
                    "LDAU": True,
                    "LDAUTYPE": 2,
                    "LDAUL": shells + more,
                    "LDAUU": values + [0.0] * len(more),
                    "LDAUJ": [0.0] * (3 + len(more)),
                },
            )
            for name, more in (("clean", []), ("na_mo", [-1]))
        },
    )
    for name in ("clean", "na_mo"):
        split(folders[name])
    if words is not None:
        assert re.search(words, str(refused(folders, tmp_path / "files")))
        return
    element = "Mo" if shells[0] == 2 else "S"
    tags = yaml.safe_load(made(folders, tmp_path / "files").file.read_text())["incar"]["*"]
    assert tags["LDAUU"] == {element: 3.0}


def test_two_data_sets_of_one_element_are_told(tmp_path: Path) -> None:
    folders = written(tmp_path / "old", "clean", "na_mo", "atom")
    path = split(folders["na_mo"])
    head, mark, rest = path.read_text().partition("PAW_PBE Mo_sv 02Feb2006")
    path.write_text(head + mark + rest.replace(mark, "PAW_PBE Mo_pv 04Feb2005", 1))
    words = "PAW of Mo PAW_PBE Mo_pv 04Feb2005 and PAW_PBE Mo_sv 02Feb2006 ≠ PAW_PBE Mo_sv 02Feb2006"
    assert words in refused(folders, tmp_path / "files")["na_mo"]
