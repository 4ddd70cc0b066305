"""Runs of the user's, taken or refused one difference at a time; none of it starts a code."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.engines.base import EngineError
from sodiate.workflows.engines.vasp.adopt import VaspRunOfUser
from support.engine_cases import VASP

OURS = ("input.json", "result.json", "state.json", "start.extxyz")


def planned(kind: str = "relax", **protocol: Any) -> Calculation:
    paw = {symbol: name for symbol, name in VASP.protocol["paw"].items() if symbol in ("W", "Se", "S", "Na")}
    return VASP.calculation(kind, paw=paw, **protocol)


def ran(directory: Path, atoms: Atoms | None = None, kind: str = "relax") -> Path:
    """What a user has: VASP's own files of a finished run."""
    directory.mkdir()
    VASP.engine().prepare(planned(kind), VASP.start(kind) if atoms is None else atoms, directory, {})
    VASP.finish(directory)
    for name in OURS:
        (directory / name).unlink()
    return directory


@pytest.fixture(scope="module")
def plain(vasp: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ran(tmp_path_factory.mktemp("users") / "plain")


def taken(folder: Path, directory: Path, **protocol: Any) -> list[str] | float:
    """The energy of a run, or why it is not taken."""
    directory.mkdir()
    calculation = planned(**protocol)
    VASP.engine().prepare(calculation, VASP.start("relax"), directory, {})
    found = VaspRunOfUser(folder).lay(calculation, directory, [np.eye(3, dtype=np.int64)])
    energy = VASP.engine().collect(directory).energy_ev if not found else None
    return found if energy is None else energy


def edited(plain: Path, folder: Path, tag: str, value: Any) -> Path:
    """The run with another value of a tag, in the INCAR that vasprun.xml repeats and in its parameters."""
    shutil.copytree(plain, folder)
    text = (folder / "vasprun.xml").read_text()
    head, body = text.split("</incar>")
    head = re.sub(rf'<i[^>]* name="{tag}">[^<]*</i>\n?', "", head)
    text = head + "</incar>" + re.sub(rf'(name="{tag}">)[^<]*<', rf"\g<1> {value}<", body)
    kind = ' type="int"' if isinstance(value, int) else ' type="string"' if isinstance(value, str) else ""
    item = f'<i{kind} name="{tag}">{value}</i>'
    if isinstance(value, bool):
        item = f'<i type="logical" name="{tag}">{"TF"[not value]}</i>'
    elif isinstance(value, list):
        item = f'<v name="{tag}">{" ".join(map(str, value))}</v>'
    text = text.replace("<incar>", f"<incar>\n{item}", 1)
    (folder / "vasprun.xml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("tag", "value", "words"),
    [
        ("IDIPOL", 3, "IDIPOL 3 (yours) ≠ 0 (protocol)"),
        ("METAGGA", "SCAN", "functional SCAN beside GGA PE (yours) ≠ PBE (protocol)"),
        ("AGGAC", 0.0, "functional PBE (AGGAC 0) (yours) ≠ PBE (protocol)"),
        ("LREAL", "On", "LREAL false (INCAR: on) (yours) ≠ false (protocol)"),
        ("EFIELD", 0.1, "EFIELD 0.1 (yours) ≠ 0 (protocol)"),
        ("EDIFF", 0.001, "EDIFF 0.001 (yours) > 1e-06 (protocol)"),
        ("ICHARG", 12, "ran with ICHARG = 12: a fixed density has no energy of a ground state"),
        ("NELM", 6, "the electrons are not converged: not within NELM = 6 iterations"),
    ],
)
def test_one_tag_at_a_time(tag: str, value: Any, words: str, plain: Path, tmp_path: Path) -> None:
    assert words in taken(edited(plain, tmp_path / "run", tag, value), tmp_path / "plan")  # type: ignore[operator]


@pytest.mark.parametrize(("array", "words"), [("basis", "a cell vector"), ("positions", "a position")])
@pytest.mark.parametrize("end", ["</calculation>", "</modeling>"])
def test_stars_in_a_geometry_are_told(end: str, array: str, words: str, plain: Path, tmp_path: Path) -> None:
    """Of the last step, and of the end that VASP repeats: in words, where a validator has its own."""
    folder = tmp_path / "run"
    shutil.copytree(plain, folder)
    text = (folder / "vasprun.xml").read_text()
    start = text.rindex(f'<varray name="{array}" >\n<v>', 0, text.rindex(end)) + len(f'<varray name="{array}" >\n<v>')
    (folder / "vasprun.xml").write_text(text[:start] + " ****** 0.0 0.0 " + text[text.index("<", start) :])
    assert taken(folder, tmp_path / "plan") == [
        f"vasprun.xml has **** in place of {words}: the run went astray; look at OUTCAR and the geometry"
    ]


@pytest.mark.parametrize(
    ("ours", "yours", "words"),
    [
        (
            {"LDAUU": [4, 0, 0, 0]},
            {"LDAUU": [3, 0, 0, 0]},
            "Hubbard correction of W d, U = 3 eV (Dudarev) (yours) ≠ d, U = 4",
        ),
        (
            {"AEXX": 0.3},
            {"AEXX": 0.35},
            "functional PBE hybrid with 35 % exact exchange (yours) ≠ PBE hybrid with 30 %",
        ),
    ],
)
def test_words_that_begin_alike_are_compared_to_their_ends(
    ours: dict[str, Any], yours: dict[str, Any], words: str, plain: Path, tmp_path: Path
) -> None:
    """The planned run, and one with another number in a value that is told in words."""
    common: dict[str, Any] = {"LDAU": True, "LDAUL": [2, -1, -1, -1]} if "LDAUU" in ours else {"LHFCALC": True}
    folder = plain
    for number, (tag, value) in enumerate((common | yours).items()):
        folder = edited(folder, tmp_path / f"run{number}", tag, value)
    found = taken(folder, tmp_path / "plan", incar=common | ours)
    assert isinstance(found, list)
    assert words in " ".join(found)


def test_where_files_are_and_in_which_order(plain: Path, tmp_path: Path) -> None:
    """Packed; the last of the parts, by number; atoms in another order and elsewhere in the cell."""
    energy = taken(plain, tmp_path / "plan")
    packed = tmp_path / "packed"
    shutil.copytree(plain, packed)
    for name in ("vasprun.xml", "OUTCAR", "OSZICAR", "CONTCAR"):
        (packed / f"{name}.gz").write_bytes(gzip.compress((packed / name).read_bytes()))
        (packed / name).unlink()
    assert taken(packed, tmp_path / "plan-packed") == energy
    atoms = VASP.atoms()[[3, 2, 0, 1]]
    atoms.positions += [0.7, 0.3, 2.9]
    elsewhere = taken(ran(tmp_path / "elsewhere", atoms), tmp_path / "plan-elsewhere")
    assert elsewhere == pytest.approx(energy, abs=1e-5)
    parts = tmp_path / "parts"
    for part in ("relax1", "relax2", "relax10"):
        shutil.copytree(plain, parts / part)
    (parts / "relax2" / "vasprun.xml").write_text("<modeling>")
    assert taken(parts, tmp_path / "plan-parts") == energy
    (parts / "relax10" / "vasprun.xml").write_text("<modeling>")
    with pytest.raises(EngineError, match=r"vasprun.xml is missing or damaged"):
        VaspRunOfUser(parts)


def test_what_is_no_run_is_told_by_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "vasprun.xml").touch()
    for name, words in (
        ("gone", "there is no such folder"),
        ("vasprun.xml", "is a file; give the folder of the run"),
        ("empty", "it has no vasprun.xml, plain or packed (.gz, .bz2, .xz); give the folder in which it lies"),
    ):
        with pytest.raises(EngineError) as error:
            VaspRunOfUser(tmp_path / name)
        assert str(error.value) == words
