"""Molecules as the adsorbate of a campaign: planned for each engine, run dry, held against energies by ASE itself."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import molecule as built
from sodiate.analysis.energies.adsorption import adsorption_result
from sodiate.analysis.records import MOCK
from sodiate.workflows.campaign.yaml import CONFIGS, InputError
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Settings
from sodiate.workflows.engines.emt.parameters import load_parameters
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from sodiate.workflows.start_structures import start_moments
from support import present
from support.ase_emt import ase_emt
from support.campaigns import Bench, small_campaign
from support.cli import Cli

NA2S: dict[str, Any] = {"molecule": "Na2S.xyz", "anchor": "S"}


def campaign(folder: Path, adsorbate: dict[str, Any] | None = None, **changes: Any) -> Path:
    shutil.copy(CONFIGS / "campaigns" / "Na2S.xyz", folder)
    given: dict[str, Any] = {
        "supercell": [3, 3],
        "models": ["WSSe"],
        "sites": ["T_W@top"],
        "quantities": [],
        "bulk_references": {},
    }
    return small_campaign(folder, **given | {"adsorbate": adsorbate or NA2S} | changes)


def energy_by_ase(atoms: Atoms) -> float:
    """ASE's own EMT, loops and all, on the dry run's rows."""
    copy = atoms.copy()
    copy.calc = ase_emt(copy.get_chemical_symbols(), load_parameters())
    return float(copy.get_potential_energy())


def test_a_dry_run_gives_what_ase_gives(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    campaign(tmp_path, models=["WSSe+VS"], sites=["V_S@top", "H@bottom"], quantities=["molecule_formation", "dos"])
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("run", "small.yaml", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        (model,) = results.models()
        host, free = (present(results[name].atoms) for name in ("WSSe+VS", "Na2S"))
        sites = {one.site: one for one in model.sites}
        assert set(sites) == {f"{s}:{o}" for s in ("V_S@top", "H@bottom") for o in ("flat", "upright", "inverted")}
        parts = energy_by_ase(host) + energy_by_ase(free)
        for name, site in sites.items():
            found = present(results[f"WSSe+VS/{name}"].atoms)
            assert site.adsorption_energy_ev == pytest.approx(energy_by_ase(found) - parts, abs=1e-6)
        atoms = [energy_by_ase(Atoms([symbol], cell=[12, 12, 12], pbc=True)) for symbol in free.symbols]
        formation = energy_by_ase(free) - sum(atoms)
        assert model.molecule_formation_ev == pytest.approx(formation, abs=1e-6)
        assert present(results["Na2S"].record.max_force_ev_per_a) < 0.02
    best = min(sites.values(), key=lambda site: site.adsorption_energy_ev or 0.0)
    assert (model.site, model.adsorption_energy_ev) == (best.site, best.adsorption_energy_ev)
    said = " ".join(done.stdout.split())
    assert "ΔE Na₂S" in said
    assert "WSSe+VS/V_S@top: 3 orientations, above the lowest: flat +" in said
    assert f"Na₂S: formation from its isolated atoms {formation:.3f} eV, {MOCK}" in said
    _check_everywhere(cli, place, tmp_path, best.site)


def _check_everywhere(cli: Cli, place: tuple[Any, ...], folder: Path, best: str) -> None:
    """Its name, and the start by which the best site was found, in all that results are written to."""
    one = json.loads(cli("results", *place, "--format", "json").stdout)[0]
    assert (one["adsorbate"], one["site"]) == ("Na2S", best)
    (row,) = csv.DictReader(io.StringIO(cli("results", *place, "--format", "csv").stdout))
    assert (row["adsorbate"], row["site"]) == ("Na2S", best)
    assert cli("si", *place, "--out", "si").returncode == 0
    methods = (folder / "si" / "methods.md").read_text(encoding="utf-8")
    assert "The free Na₂S molecule was relaxed in a box of 12 × 12.5 × 13 Å" in methods
    assert "E(*Na₂S) − E(*) − E(Na₂S)" in methods
    assert r"Na$_2$S" in (folder / "si" / "methods.tex").read_text(encoding="utf-8")
    assert cli("report", *place, "--out", "page.html").returncode == 0
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "Na₂S at 6 of 6 sites of WSSe+VS" in page
    assert best in page
    assert cli("export", "archive", *place).returncode == 0
    (again,) = json.loads(cli("results", "--archive", "archive", "--format", "json").stdout)
    assert again["sites"] == one["sites"]


def test_a_dimer_of_the_g2_set_with_energies_at_relaxed_geometries(bench: Bench, tmp_path: Path) -> None:
    """Na2 inverted is Na2 upright; its single point is at the end of its own relaxation; ions stay atoms."""
    protocol = {"base": "paper", "final_energy": {"cutoff_ev": 600.0}}
    path = campaign(tmp_path, {"molecule": "Na2"}, protocol=protocol)
    planned = plan(path)
    assert [name for name in planned.names if "T_W" in name and "final" not in name] == [
        "WSSe/T_W@top:flat", "WSSe/T_W@top:upright",
    ]  # fmt: skip
    assert any("orientation inverted of Na2 is upright again" in line for line in planned.dropped)
    gpaw = plan(path, "gpaw").names
    assert gpaw["Na2-final"].parents == {"geometry": gpaw["Na2"]}
    assert gpaw["Na2-final"].protocol["cutoff_ev"] == 600.0
    assert gpaw["Na2-final"].protocol["kpoint_length_a"] == 0.0
    assert gpaw["Na2-final"].protocol["dipole_correction"] is False
    bench.submit(planned)
    bench.launch(planned)
    (result,) = Results(bench.documents, "here").models()
    assert result.reasons == ()
    points = {name: bench.documents.record(one.id) for name, one in planned.names.items() if one.kind == "static"}
    energies = {name: present(present(record).energy_ev) for name, record in points.items()}
    assert result.adsorption_energy_ev == pytest.approx(
        min(energies["WSSe/T_W@top:flat/final"], energies["WSSe/T_W@top:upright/final"])
        - energies["WSSe/final"] - energies["Na2-final"]
    )  # fmt: skip


def test_further_starts_are_of_each_orientation(tmp_path: Path) -> None:
    """The molecule and what is around it are displaced; the second one is another start of the same orientation."""
    model = {"model": "WSSe", "starts": 3}
    found = plan(campaign(tmp_path, {**NA2S, "orientations": ["upright"]}, models=[model], engine="gpaw"))
    names = [f"WSSe/T_W@top:upright{number}" for number in ("", "#2", "#3")]
    assert [name for name in found.names if "upright" in name] == names
    first, second = (found[name].atoms() for name in names[:2])
    moved = (abs(first.positions - second.positions) > 1e-9).any(axis=1)
    assert moved[-3:].all()
    assert not moved.all()
    assert start_moments(found.names[names[1]], 30) == start_moments(found.names[names[0]], 30)
    assert start_moments(found.names[names[2]], 30) == [0.0] * 30


@pytest.mark.parametrize(
    ("name", "multiplicity", "free", "on_host"),
    [
        ("O2", None, 2.0, 2.0),
        ("O2", 1, 0.0, 1.0),
        ("NO", None, 1.0, 1.0),
        ("H2O", None, 0.0, 1.0),  # on a host it starts from the protocol's 1 μB, and comes down
        ("H2O", 3, 2.0, 2.0),
    ],
)
def test_spins_of_free_and_adsorbed_molecules(
    tmp_path: Path, name: str, multiplicity: int | None, free: float, on_host: float
) -> None:
    given = {"molecule": name, "orientations": ["flat"]} | ({"multiplicity": multiplicity} if multiplicity else {})
    found = plan(campaign(tmp_path, given, engine="gpaw", quantities=["density_difference"]))
    count = len(built(name))
    assert present(start_moments(found.names[name], count)) == pytest.approx([free / count] * count)
    expected = pytest.approx([0.0] * 27 + [on_host / count] * count)
    assert present(start_moments(found.names["WSSe/T_W@top:flat"], 27 + count)) == expected
    densities = {label: one for label, one in found.names.items() if one.kind == "density"}
    assert present(start_moments(densities[f"WSSe/density/{name}-on-host"], 27 + count)) == expected
    assert start_moments(densities["WSSe/density/host"], 27) == [0.0] * 27


def written(planned: Plan, name: str, directory: Path) -> Any:
    from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar

    calculation, atoms = planned.names[name], planned[name].atoms()
    atoms.set_initial_magnetic_moments(start_moments(calculation, len(atoms)))
    engine = make_engine("vasp", Settings(execution=planned.execution(calculation)))
    engine.prepare(calculation, atoms, directory, {})
    last = max(directory.glob("INCAR*"), key=lambda path: path.name)
    files = (Incar, last), (Kpoints, directory / "KPOINTS"), (Poscar, directory / "POSCAR")
    return [kind.from_file(str(path)) for kind, path in files]


def test_the_files_of_vasp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The free radical NO in its box: Γ alone, no dipole correction, both atoms with half an electron; on the sheet
    the mesh and the correction of the sheet. LiF and an electrolyte have data sets in the bundled protocol."""
    monkeypatch.delenv("PMG_VASP_PSP_DIR", raising=False)  # the stand-in's library, which other tests set
    found = plan(campaign(tmp_path, {"molecule": "NO"}, engine="vasp"))
    incar, kpoints, poscar = written(found, "NO", tmp_path / "free")
    assert kpoints.kpts == [(1, 1, 1)]
    assert incar["ISPIN"] == 2
    assert incar["MAGMOM"] == [0.5, 0.5]
    assert (incar["NSW"], incar["ISIF"]) == (300, 2)
    assert not incar.get("LDIPOL")
    assert poscar.structure.lattice.abc == (12.0, 12.5, 13.0)
    assert incar["SIGMA"] == 0.01
    incar, kpoints, poscar = written(found, "WSSe/T_W@top:flat", tmp_path / "site")
    assert kpoints.kpts == [(2, 2, 1)]
    assert (incar["LDIPOL"], incar["IDIPOL"]) == (True, 3)
    assert sum(incar["MAGMOM"]) == pytest.approx(1.0)
    assert poscar.structure.composition.formula == "W9 Se9 S9 N1 O1"
    for name in ("LiF", "CH3OH"):
        assert plan(campaign(tmp_path, {"molecule": name}, engine="vasp"))


def test_a_molecule_in_another_state_has_no_energy(bench: Bench, tmp_path: Path) -> None:
    """Of the multiplicity that the campaign says, by the moment that the free molecule ended with."""
    planned = plan(campaign(tmp_path, {"molecule": "Na2", "orientations": ["flat"]}))
    bench.submit(planned)
    bench.launch(planned)
    (result,) = Results(bench.documents, "here").models()
    host = result.host
    identifier = planned.names["Na2"].id
    for moment, words in (
        (0.02, None),
        (2.0, "the free molecule Na2 has 2.00 μB, and with a multiplicity of 1"),
    ):
        record = host.records[identifier].model_copy(update={"total_moment_mub": moment})
        found = adsorption_result(host.campaign, host.model, {**host.records, identifier: record}, host.missing)
        if words is None:
            assert found.adsorption_energy_ev == result.adsorption_energy_ev
        else:
            assert found.adsorption_energy_ev is None
            assert words in " ".join(found.reasons)
    other = replace(host, campaign=host.campaign.model_copy(update={"adsorbate": "NaK"}))
    refused = adsorption_result(other.campaign, other.model, other.records, other.missing)
    assert "is no NaK: it has 2 Na" in " ".join(refused.reasons)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"coverage": ["1/2"]}, "coverage: Na2S is a molecule and no ion.*neither voltage nor capacity"),
        ({"conversion": {"products": ["Na2S"]}}, "conversion: Na2S is a molecule and no ion"),
        ({"quantities": ["bulk_reference"]}, "bulk_reference: Na2S is a molecule: it is no ion.*no voltage"),
        ({"quantities": ["barrier"]}, "barrier: Na2S is a molecule: a path"),
        ({"quantities": ["vibrations"]}, "vibrations: Na2S is a molecule: the modes are those of one atom"),
        ({"adsorbate": {**NA2S, "charge": 2}}, "charge: a molecule is no ion"),
        ({"adsorbate": {**NA2S, "element": "Na"}}, "an element, or a molecule by its file, not both"),
        ({"adsorbate": {"element": "Na", "orientations": ["flat"]}}, "orientations: one Na atom has none"),
        ({"adsorbate": {"element": "Na", "multiplicity": 2}}, "multiplicity: one Na atom has none"),
        ({"adsorbate": {"element": "Na"}, "quantities": ["molecule_formation"]}, "Na is an atom"),
        ({"adsorbate": {"molecule": "none.xyz"}}, r"adsorbate\.molecule: .*none\.xyz: no such structure file"),
        ({"adsorbate": {**NA2S, "anchor": "Na"}}, "anchor: Na: it has 2 Na atoms"),
        ({"adsorbate": {**NA2S, "multiplicity": 2}}, "Na2S has 38 in all: with an even number .* is odd"),
        ({"adsorbate": {**NA2S, "orientations": ["sideways"]}}, r"orientations\[0\]|orientations\.0|sideways"),
        ({"adsorbate": {**NA2S, "orientations": ["flat", "flat"]}}, "flat is given twice"),
        ({"adsorbate": {**NA2S, "orientations": [{"name": "a"}]}}, "one of pose, up and euler_deg"),
        ({"adsorbate": {**NA2S, "orientations": [{"name": "a", "up": [0, 0, 0]}]}}, "up: .0, 0, 0. is no direction"),
        ({"supercell": [1, 1]}, "model WSSe: Na2S comes within .* own image"),
        ({"protocol": {"base": "paper", "atom": {"box_a": [8, 8, 8]}}}, "raise protocol.atom.box_a"),
    ],
)
def test_what_cannot_be_is_refused_in_words(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        plan(campaign(tmp_path, **changes))


def test_orientations_by_numbers_have_names(tmp_path: Path) -> None:
    orientations = ["flat", {"name": "across", "pose": "flat", "turn_deg": 90}, {"name": "edge", "up": [1, 0, 0]},
                    {"name": "euler", "euler_deg": [10, 40, 0]}]  # fmt: skip
    found = plan(campaign(tmp_path, {**NA2S, "orientations": orientations}))
    flat, across, *_ = (found[f"WSSe/T_W@top:{name}"].atoms() for name in ("flat", "across", "edge", "euler"))
    first, second = (atoms.positions[-2:, :2] - atoms.positions[-3, :2] for atoms in (flat, across))
    assert second == pytest.approx(first @ [[0, 1], [-1, 0]], abs=1e-6)
    ids = {name: one.id for name, one in found.names.items()}
    renamed = [*orientations[:3], {"name": "other", "euler_deg": [10, 40, 0]}]
    again = plan(campaign(tmp_path, {**NA2S, "orientations": renamed})).names
    assert again["WSSe/T_W@top:other"].id == ids["WSSe/T_W@top:euler"]  # a name is no part of an id


def test_a_larger_cell_and_a_convergence_study_have_each_orientation(tmp_path: Path) -> None:
    from sodiate.workflows.plan.convergence_study import studies

    found = plan(campaign(tmp_path, engine="gpaw", uncertainty=["supercell", "cutoff"])).names
    assert found["WSSe/T_W@top:flat/supercell"].structure["orientation"] == {"pose": "flat"}
    assert found["WSSe/T_W@top:flat/supercell"].parents["host"].structure["repeat"] == [4, 4]
    assert found["Na2S-cutoff"].parents == {"geometry": found["Na2S"]}
    (study,) = studies(plan(campaign(tmp_path, engine="gpaw")).campaign, {"cutoff": [400.0, 500.0]})
    assert "WSSe/T_W@top:flat/final" in study.variants[0].plan.names


@pytest.mark.long
def test_the_bundled_campaign(cli: Cli, launchpad: Path) -> None:
    done = cli("run", "wsse-na2s", "--launchpad", launchpad)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(cli("results", "--format", "json", "--launchpad", launchpad).stdout)
    assert [row["converged"] for row in rows] == [True, True]
