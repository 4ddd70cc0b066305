"""Numbers with known answers: the Computational 2D Materials Database (PBE by GPAW), experiment, conservation laws.

The quick tests read what is recorded in docs/reproduction. Those marked slow compute it anew:

    pytest -m slow tests/test_validation.py

They take about an hour on two cores; with SODIATE_VALIDATION_ROOT=FOLDER they go on from what is there.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sodiate.analysis.electrons.density import integral
from sodiate.workflows.results.results import Results
from support import DATA, DOCS

ARCHIVE = DOCS / "reproduction"
CONVERGENCE = ARCHIVE.parent / "convergence.csv"
ANEW = [pytest.mark.slow, pytest.mark.gpaw, pytest.mark.mongo, pytest.mark.together("gpaw")]

# C2DB, PBE without spin–orbit coupling: lattice constant and bonds in Å, direct gap at K in eV.
C2DB = {"WSe2": (3.319, {"Se": 2.545}, 1.553), "WSSe": (3.252, {"S": 2.42, "Se": 2.54}, 1.696)}


@pytest.fixture(params=["recorded", pytest.param("anew", marks=ANEW)], scope="module")
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """The campaign ``validation``, from the archive or computed anew."""
    where = ARCHIVE
    if request.param == "anew":
        where = validation_root(request, tmp_path_factory)
        run_slowly("run", "validation", "--root", where)
    with Results.open(where) as opened:
        yield opened


def validation_root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    request.getfixturevalue("gpaw")
    request.getfixturevalue("mongod")
    given = os.environ.get("SODIATE_VALIDATION_ROOT")
    return Path(given) if given else tmp_path_factory.mktemp("validation")


def run_slowly(*arguments: str | Path) -> None:
    import subprocess
    import sys

    command = [str(Path(sys.executable).with_name("sodiate")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def energy(results: Results, name: str) -> float:
    value = results.get(name, campaign="validation").record.energy_ev
    assert value is not None
    return value


@pytest.mark.timeout(14400)
@pytest.mark.parametrize("host", list(C2DB))
def test_hosts_are_those_of_c2db(host: str, results: Results) -> None:
    a, bonds, gap = C2DB[host]
    found = next(model for model in results.models("validation") if model.model == host)
    assert found.relaxed_lattice_a == pytest.approx(a, abs=0.02)
    assert found.band_gap_ev == pytest.approx(gap, abs=0.05)
    assert found.gap_nature == "direct"
    atoms = results.get(host, campaign="validation").atoms
    (metal,) = (atom.index for atom in atoms if atom.symbol == "W")
    lengths = {atom.index: atoms.get_distance(metal, atom.index, mic=True) for atom in atoms if atom.index != metal}
    for index, length in lengths.items():
        assert length == pytest.approx(bonds[atoms.symbols[index]], abs=0.02)


@pytest.mark.timeout(14400)
def test_the_janus_gap_is_the_larger_one(results: Results) -> None:
    gaps = {model.model: model.band_gap_ev for model in results.models("validation")}
    assert gaps["WSSe"] > gaps["WSe2"]


@pytest.mark.timeout(14400)
def test_sodium_atom_and_metal(results: Results) -> None:
    """Cohesive energy: PBE 1.05, experiment 1.11 eV. Spin: 0.22 eV gained by the atom."""
    atom, metal = energy(results, "Na"), energy(results, "Na-bcc")
    assert atom - metal == pytest.approx(1.08, abs=0.06)
    assert energy(results, "unpolarised-atom/Na") - atom == pytest.approx(0.22, abs=0.03)
    assert results.get("Na", campaign="validation").record.total_moment_mub == pytest.approx(1.0, abs=0.01)


@pytest.mark.slow
@pytest.mark.usefixtures("gpaw", "mongod")
@pytest.mark.timeout(14400)
@pytest.mark.parametrize("host", list(C2DB))
def test_no_electron_is_lost(
    host: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    where = validation_root(request, tmp_path_factory)
    run_slowly("run", "validation", "--root", where)
    with Results.open(where) as results:
        difference = results.density_difference(host, campaign="validation")
    assert integral(difference) == pytest.approx(0.0, abs=1e-4)
    assert np.abs(difference.values_per_a3).max() > 1e-3


@pytest.mark.parametrize("where", ["recorded", pytest.param("anew", marks=ANEW)])
@pytest.mark.timeout(14400)
def test_cutoff_and_mesh_are_large_enough(
    where: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """500 eV and 6×6 in a 1×1 cell are within 5 meV of 600 eV, of 9×9 and of 12×12; all reach 0.01 eV."""
    path = CONVERGENCE
    if where == "anew":
        root = validation_root(request, tmp_path_factory)
        campaign = DATA / "convergence.yaml"
        run_slowly("converge", campaign, "--cutoff", "400,500,600", "--kmesh", "3,6,9,12", "--root", root)
        path = root / "results" / "convergence-convergence" / "convergence.csv"
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    changes = {(row["quantity"], float(row["value"])): float(row["change_ev"]) for row in rows}
    assert abs(changes["cutoff", 500.0]) < 0.005
    assert abs(changes["kmesh", 6.0]) < 0.005
    assert abs(changes["kmesh", 6.0] - changes["kmesh", 9.0]) < 0.005
    assert abs(changes["cutoff", 400.0]) < 0.01
    assert changes["cutoff", 600.0] == changes["kmesh", 12.0] == 0.0
    reached = {(row["quantity"], float(row["value"])) for row in rows if row["reaches_tolerance"] == "True"}
    assert reached == changes.keys() - {("kmesh", 3.0)}


def test_geometries_relaxed_anew_change_little() -> None:
    """At the relaxed geometries of 500 eV and 6×6, ΔE is that of the relaxations with each setting, as archived."""
    with Results.open(ARCHIVE) as results:
        names = {entry.campaign for entry in results.entries()}
        relaxed = {
            (row["quantity"], row["value"]): model.adsorption_energy_ev
            for row in csv.DictReader(CONVERGENCE.open(encoding="utf-8"))
            if (name := f"convergence-{row['quantity']}-{float(row['value']):g}") in names
            for model in results.models(name)
        }
    fixed = {
        (row["quantity"], row["value"]): float(row["adsorption_energy_ev"])
        for row in csv.DictReader(CONVERGENCE.open(encoding="utf-8"))
    }
    assert len(relaxed) == 6
    for setting, energy in relaxed.items():
        margin = 0.002 if setting == ("kmesh", "3.0") else 0.0003
        assert fixed[setting] == pytest.approx(energy, abs=margin)


def test_quick_and_slow_agree_on_what_is_there() -> None:
    """Each slow test of the module computes what the archive holds: the same campaign."""
    from sodiate.workflows.plan.planner import plan

    with Results.open(ARCHIVE) as results:
        (entry,) = results.entries("validation")
    assert entry.names == {name: c.id for name, c in plan("validation").names.items()}
