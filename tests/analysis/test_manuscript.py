"""What goes with a manuscript: each claim is in the records, each number follows from the ids beside it."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import iread
from sodiate.analysis.manuscript import bibliography, booktabs, cited, to_tex
from sodiate.workflows.results.archive import open_archive
from support import DOCS, present
from support.campaigns import Finished
from support.cli import Cli
from support.warm import Warm

ARCHIVE = DOCS / "reproduction"
TOGETHER = pytest.mark.together("supplement")


def command(folder: Path) -> list[str]:
    program = str(Path(sys.executable).with_name("sodiate"))
    return [program, "si", "--archive", str(ARCHIVE), "--campaign", "wsse-gpaw-best", "--out", str(folder)]


@pytest.fixture(scope="module")
def written(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The supplement of the reproduction."""
    folder = tmp_path_factory.mktemp("supplement") / "si"
    done = warm.run(command(folder), folder.parent, 60)
    assert done.returncode == 0, done.stderr
    return folder


@TOGETHER
def test_each_number_follows_from_the_records_beside_it(written: Path) -> None:
    records = open_archive(ARCHIVE).current()
    rows = list(csv.DictReader((written / "numbers.csv").open()))
    assert len(rows) >= 10
    for row in rows:
        found = [records[identifier] for identifier in row["records"].split()]
        if not row["quantity"].startswith("adsorption"):
            continue
        together, host, reference = (present(record.energy_ev) for record in found)
        natoms = len(found[2].geometry.symbols) if found[2].geometry else 1
        assert float(row["value"]) == pytest.approx(together - host - reference / natoms, abs=1e-9)
        assert found[0].label == f"{row['host']}/{row['site']}"


@TOGETHER
def test_the_methods_claim_what_ran(written: Path) -> None:
    text = (written / "methods.md").read_text()
    for claim in (
        *("GPAW 26.7.0", "PBE functional", "plane waves up to 500 eV", "3×3 cells", "Γ-centred 2×2×1"),
        *("on 4×4×1 meshes", "Bands are along Γ–M–K–Γ of the 1×1 cells"),
        *("Gaussian smearing of 0.05 eV", "spin polarisation", "dipole correction", "12 × 12.5 × 13 Å", "1.00 μB"),
    ):
        assert claim in text, claim
    force = float(re.search(r"no force exceeded (\S+) eV/Å", text)[1])  # type: ignore[index]
    assert 0.0 < force <= 0.02
    assert "mock" not in text
    assert "D3" not in text
    assert "VASP" not in text


@TOGETHER
def test_citations_have_entries_that_a_reader_of_bibtex_takes(written: Path) -> None:
    import bibtexparser

    text = (written / "references.bib").read_text()
    entries = {entry["ID"]: entry for entry in bibtexparser.loads(text).entries}
    assert set(cited((written / "methods.md").read_text())) <= entries.keys()
    assert all(entry["doi"].startswith("10.") and entry["year"] for entry in entries.values())
    tex = (written / "methods.tex").read_text()
    assert set(re.findall(r"\\cite\{(\w+)\}", tex)) == set(cited((written / "methods.md").read_text()))
    with pytest.raises(KeyError):
        bibliography(["Nobody2030"])


@TOGETHER
def test_structures_are_those_of_the_records(written: Path) -> None:
    (record,) = [r for r in open_archive(ARCHIVE).current().values() if r.label == "WSSe+VS/V_S@top"]
    assert record.geometry is not None
    known = record.geometry.atoms()
    for suffix in ("vasp", "cif"):
        (atoms,) = iread(written / "structures" / f"WSSe+VS_V_S_top.{suffix}")
        assert sorted(atoms.get_chemical_symbols()) == sorted(known.get_chemical_symbols())
        for number, position in zip(atoms.numbers, atoms.positions, strict=True):
            same = known[np.flatnonzero(known.numbers == number)]
            same.set_pbc(True)
            same.append("X")
            same.positions[-1] = position
            assert same.get_distances(-1, range(len(same) - 1), mic=True).min() < 1e-3


@TOGETHER
def test_figures_are_vectors_and_the_same_each_time(written: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    # Not forked from the process of the first: with another seed of hashes.
    subprocess.run(command(again), check=True, stdout=subprocess.DEVNULL)
    drawn = "adsorption", "overview-single-column", "overview-double-column"
    for name in (f"{stem}.{suffix}" for stem in drawn for suffix in ("pdf", "svg")):
        content = (written / "figures" / name).read_bytes()
        assert content == (again / "figures" / name).read_bytes()
        assert content[:4] == (b"%PDF" if name.endswith("pdf") else b"<?xm")


def test_a_dry_run_says_so_in_every_text(cli: Cli, finished: Finished, tmp_path: Path) -> None:
    assert cli("si", *finished.place, "--out", "si").returncode == 0
    for name in ("methods.md", "methods.tex", "adsorption.md", "adsorption.tex", "numbers.csv"):
        assert "mock (dry run, not physical)" in (tmp_path / "si" / name).read_text(), name
    assert "published" not in (tmp_path / "si" / "adsorption.tex").read_text()
    assert "Lei2023" not in (tmp_path / "si" / "references.bib").read_text()
    assert (tmp_path / "si" / "figures" / "dos.svg").exists()


def test_results_for_other_programs(cli: Cli, finished: Finished, tmp_path: Path) -> None:
    """Read back by ASE: energies and forces are the records'."""
    from ase.db import connect
    from sodiate.workflows.results.results import Results

    for form in ("poscar", "cif", "extxyz", "ase-db", "csv"):
        done = cli("export", form, "--format", form, *finished.place)
        assert done.returncode == 0, done.stderr
    with Results.open(finished.launchpad) as results:
        known = results["WSSe+VS/V_S@top"].atoms
        table = results.adsorption()
    (path,) = (tmp_path / "extxyz").glob("small-emt-*/WSSe+VS_V_S_top.extxyz")
    (atoms,) = iread(path)
    assert atoms.get_potential_energy() == pytest.approx(known.get_potential_energy(), abs=1e-6)
    np.testing.assert_allclose(atoms.get_forces(), known.get_forces(), atol=1e-6)
    database = connect(tmp_path / "ase-db" / "results.db")
    assert len(database) == 3
    row = database.get(name="WSSe+VS/V_S@top")
    assert row.energy == pytest.approx(known.get_potential_energy(), abs=1e-9)
    assert row.physical is False or row.physical == 0
    none = cli("export", "cube", "--format", "cube", *finished.place)
    assert none.returncode == 2
    assert "nothing to write as cube: no campaign here has density differences whose grids" in none.stderr
    assert not (tmp_path / "cube").exists()
    (csv_path,) = (tmp_path / "csv").glob("small-emt-*.csv")
    assert "mock (dry run" in csv_path.read_text()
    assert len(list((tmp_path / "poscar").glob("*/*.vasp"))) == len(list((tmp_path / "cif").glob("*/*.cif"))) == 3
    assert len(table) == 2


def test_one_campaign_into_a_new_folder(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(ARCHIVE, tmp_path / "archive")
    several = cli("si", "--archive", "archive", "--out", "si")
    assert several.returncode == 2
    assert "a supplement is of one campaign and engine: name it" in several.stderr
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    full = cli("si", "--archive", "archive", "--campaign", "wsse-gpaw", "--out", "full")
    assert "full is not a new or empty folder" in full.stderr
    assert not (tmp_path / "si").exists()


def test_latex_takes_what_it_is_given() -> None:
    assert to_tex("Å of V_S at 50 % [@A1; @B2] {x} \\ $") == (
        r"\AA{} of V\_S at 50 \% \cite{A1,B2} \{x\} \textbackslash{} \$"
    )
    table = booktabs(["host", "ΔE (eV)"], [["W_1", "-0.59"]], mock=False)
    assert r"W\_1 & $-$0.59 \\" in table
    assert np.sum([table.count(r"\begin"), -table.count(r"\end")]) == 0
