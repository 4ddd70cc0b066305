"""Folders whose files say something else than they seem to: other moves, lines of k points, files of two runs."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read
from sodiate.workflows.engines.base import EngineError
from sodiate.workflows.engines.shared.files import read_json
from sodiate.workflows.engines.vasp.adopt import VaspRunOfUser
from sodiate.workflows.engines.vasp.results import read_vasprun, sampling_of
from support.engine_cases import VASP

from .test_adopt import edited, planned, ran, taken

BEFORE_GENERATION = {
    "lines": '<generation param="listgenerated"><i name="divisions" type="int"> 20 </i>'
    "<v> 0.0 0.0 0.0 </v><v> 0.5 0.0 0.0 </v></generation>",
    "length": '<generation param="Automatic"><i name="subdivisionlength"> 20.0 </i></generation>',
    "vectors": '<generation param="Gamma"><v name="genvec1"> 0.5 0.0 0.0 </v><v name="genvec2"> 0.0 0.5 0.0 </v>'
    '<v name="genvec3"> 0.0 0.0 1.0 </v></generation>',
}


@pytest.fixture(scope="module")
def plain(vasp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("users") / "plain")


@pytest.mark.parametrize(
    ("scheme", "words"),
    [
        (0, "molecular dynamics"),
        (5, "displacements for force constants"),
        (8, "linear response"),
        (44, "a search for a saddle"),
    ],
)
def test_the_last_step_of_other_moves_is_no_relaxed_geometry(
    scheme: int, words: str, plain: Path, tmp_path: Path
) -> None:
    """Forces of a saddle vanish, too; those of a displaced atom may be small."""
    with pytest.raises(EngineError, match=f"IBRION = {scheme} is {words}"):
        VaspRunOfUser(edited(plain, tmp_path / "run", "IBRION", scheme))


@pytest.mark.parametrize("name", BEFORE_GENERATION)
def test_k_points_of_which_no_mesh_is_named(name: str, plain: Path, tmp_path: Path) -> None:
    """The oracle is the list of k points: more than one are no mesh of 1×1×1."""
    folder = tmp_path / "run"
    shutil.copytree(plain, folder)
    path = folder / "vasprun.xml"
    text = path.read_text()
    points = "<v> 0.0 0.0 0.0 </v>\n<v> 0.5 0.0 0.0 </v>\n<v> 0.0 0.5 0.0 </v>\n"
    block = (
        f'<kpoints>{BEFORE_GENERATION[name]}<varray name="kpointlist" >\n{points}</varray>\n'
        '<varray name="weights" >\n<v> 0.25 </v>\n<v> 0.25 </v>\n<v> 0.5 </v>\n</varray>\n</kpoints>'
    )
    path.write_text(re.sub(r"<kpoints>.*?</kpoints>", block, text, count=1, flags=re.DOTALL))
    found = sampling_of(read_vasprun(path))
    assert found.kmesh is None
    assert (found.settings or {})["k points"].startswith("3 given one by one (")


def ending_with(plain: Path, folder: Path, name: str, mark: str, energy: str) -> Path:
    """The run with another energy behind the last mark in one of its texts."""
    shutil.copytree(plain, folder)
    head, between, last = (folder / name).read_text().rpartition(mark)
    assert between
    (folder / name).write_text(head + mark + re.sub(r"-?\.?\d+\.?\d*(E[+-]\d+)?", energy, last, count=1))
    return folder


def test_an_outcar_of_another_run_gives_no_moments(plain: Path, tmp_path: Path) -> None:
    """As where one of two runs in a folder left its vasprun.xml, and the other its OUTCAR."""
    folder = ending_with(plain, tmp_path / "run", "OUTCAR", "free  energy   TOTEN  =", "-12.34500000")
    found = taken(folder, tmp_path / "plan")
    assert isinstance(found, list)
    assert "OUTCAR is of another run than vasprun.xml: it ends with -12.345000 eV" in found[0]


def test_an_oszicar_of_another_run_gives_no_trajectory(plain: Path, tmp_path: Path) -> None:
    folder = ending_with(plain, tmp_path / "run", "OSZICAR", " F= ", "-.12345000E+02")
    assert isinstance(taken(folder, tmp_path / "plan"), float)
    assert isinstance(taken(plain, tmp_path / "own"), float)
    assert [(tmp_path / name / "OSZICAR").exists() for name in ("plan", "own")] == [False, True]


def test_a_run_with_spin_needs_its_outcar(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(plain, folder)
    (folder / "OUTCAR").unlink()
    spin = edited(folder, tmp_path / "spin", "ISPIN", 2)
    assert "it has no OUTCAR, which the moments are in" in str(taken(spin, tmp_path / "with"))


def test_a_plain_file_beside_the_packed_one_of_another_run(plain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(plain, folder)
    content = (folder / "vasprun.xml").read_bytes()
    (folder / "vasprun.xml.gz").write_bytes(gzip.compress(content))
    assert isinstance(taken(folder, tmp_path / "plan"), float)  # gzip --keep
    (folder / "vasprun.xml.gz").write_bytes(gzip.compress(content + b"<!-- of another -->"))
    with pytest.raises(EngineError, match=r"vasprun.xml and vasprun.xml.gz in it are of two runs"):
        VaspRunOfUser(folder)


def test_files_are_of_the_part_of_which_vasprun_is(plain: Path, tmp_path: Path) -> None:
    """relax1 and relax2 in one folder: what the second left out is not taken from the first."""
    folder = tmp_path / "run"
    shutil.copytree(plain, folder)
    for path in list(folder.iterdir()):
        path.rename(path.with_name(f"{path.name}.relax2"))
    (folder / "OUTCAR.relax2").rename(folder / "OUTCAR.relax1")
    assert isinstance(taken(folder, tmp_path / "plan"), float)
    assert (tmp_path / "plan" / "CONTCAR").exists()
    assert not (tmp_path / "plan" / "OUTCAR").exists()


def with_atoms_of(path: Path, atoms: Atoms) -> None:
    """Give a grid's file another head, as that of a run before it."""
    lines = path.read_text().splitlines()
    lines[8 : 8 + len(atoms)] = [" ".join(f"{x:.6f}" for x in row) for row in atoms.get_scaled_positions()]
    path.write_text("\n".join(lines) + "\n")


def test_a_density_of_other_places_is_not_taken(vasp: Path, tmp_path: Path) -> None:
    folder = ran(tmp_path / "run", kind="density")
    atoms = read(folder / "CONTCAR", format="vasp")
    assert isinstance(atoms, Atoms)
    atoms.positions += np.array([0.0, 0.0, 0.3])
    calculation = planned("density")
    (tmp_path / "plan").mkdir()
    VASP.engine().prepare(calculation, VASP.start("density"), tmp_path / "plan", {})
    run = VaspRunOfUser(folder)
    assert run.lay(calculation, tmp_path / "plan", [np.eye(3, dtype=np.int64)]) == []
    with_atoms_of(folder / "CHGCAR", atoms)
    (reason,) = run.lay(calculation, tmp_path / "plan", [np.eye(3, dtype=np.int64)])
    assert reason.startswith("CHGCAR is of other atoms")


def test_the_potential_of_other_places_gives_no_vacuum_levels(vasp: Path, tmp_path: Path) -> None:
    """LOCPOT of the run before, at the start of the relaxation."""
    folder = ran(tmp_path / "run", kind="dos")
    atoms = read(folder / "CONTCAR", format="vasp")
    assert isinstance(atoms, Atoms)
    levels = np.where(np.abs(np.linspace(-1.0, 1.0, 48)) > 0.5, 4.0, -8.0)
    head = (folder / "CONTCAR").read_text().splitlines()[: 8 + len(atoms)]
    values = " ".join(f"{level:.6f}" for level in levels for _ in range(4))
    (folder / "LOCPOT").write_text("\n".join([*head, "", " 2 2 48", values]) + "\n")
    notes = {}
    for name in ("same", "moved"):
        calculation = planned("dos")
        (tmp_path / name).mkdir()
        VASP.engine().prepare(calculation, VASP.start("dos"), tmp_path / name, {})
        assert VaspRunOfUser(folder).lay(calculation, tmp_path / name, [np.eye(3, dtype=np.int64)]) == []
        notes[name] = read_json(tmp_path / name / "result.json").get("no_vacuum")
        atoms.positions += np.array([0.0, 0.0, 0.3])
        with_atoms_of(folder / "LOCPOT", atoms)
    assert "of other places" not in (notes["same"] or "")
    assert notes["moved"] == "no vacuum level: LOCPOT is of other atoms, or of other places of them"


@pytest.mark.parametrize(("mixed", "told"), [(2, True), (4, False)])
def test_a_fixed_density_without_its_d_electrons_is_told(mixed: int, told: bool, vasp: Path, tmp_path: Path) -> None:
    """VASP's wiki, ICHARG: LMAXMIX = 4 for d electrons, which CHGCAR lacks else."""
    folder = edited(
        edited(ran(tmp_path / "run", kind="dos"), tmp_path / "a", "ICHARG", 11), tmp_path / "b", "LMAXMIX", mixed
    )
    calculation = planned("dos")
    VASP.engine().prepare(calculation, VASP.start("dos"), tmp_path / "plan", {})
    assert VaspRunOfUser(folder).lay(calculation, tmp_path / "plan", [np.eye(3, dtype=np.int64)]) == []
    notes = read_json(tmp_path / "plan" / "input.json")["notes"]
    assert any(note.startswith("LMAXMIX = 2 where 4 keeps") for note in notes) is told


@pytest.mark.parametrize(("ending", "packed"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_packed_files_are_those_that_they_were(
    ending: str, packed: Callable[[bytes], bytes], plain: Path, tmp_path: Path
) -> None:
    """The INCAR beside them, too, whose patched tag vasprun.xml keeps to itself; half a file is told."""
    folder = tmp_path / "run"
    shutil.copytree(plain, folder)
    wanted = taken(folder, tmp_path / "wanted")
    for path in list(folder.iterdir()):
        path.with_name(f"{path.name}.{ending}").write_bytes(packed(path.read_bytes()))
        path.unlink()
    assert taken(folder, tmp_path / "plan") == wanted
    assert (tmp_path / "plan" / "OUTCAR").read_bytes() == (plain / "OUTCAR").read_bytes()
    (folder / f"INCAR.{ending}").write_bytes(packed((plain / "INCAR").read_bytes() + b"LSOL = .TRUE.\n"))
    assert "LSOL true (yours) ≠ false (protocol)" in str(taken(folder, tmp_path / "other"))
    whole = (folder / f"vasprun.xml.{ending}").read_bytes()
    (folder / f"vasprun.xml.{ending}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EngineError, match="missing or damaged"):
        VaspRunOfUser(folder)
