"""What `sodiate doctor` says of VASP: programs on PATH, and libraries of POTCARs that are there, empty or shut."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sodiate.workflows.engines.vasp.diagnosis import LIBRARY, look


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv(LIBRARY, raising=False)


def test_programs(tmp_path: Path) -> None:
    assert not look()[0].is_there
    (tmp_path / "bin").mkdir()
    for name in ("vasp_std", "vasp_gam"):
        (tmp_path / "bin" / name).touch(mode=0o755)
    assert look()[0].words == f"{tmp_path}/bin/vasp_std, {tmp_path}/bin/vasp_gam; no vasp_ncl"


def test_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LIBRARY in look()[1].remedy
    library = tmp_path / "potcars"
    monkeypatch.setenv(LIBRARY, str(library))
    assert "No such file" in look()[1].words
    (library / "POT_GGA_PAW_PBE_54").mkdir(parents=True)
    assert not look()[1].is_there
    for name in ("POTCAR.W_sv", "POTCAR.S"):
        (library / "POT_GGA_PAW_PBE_54" / name).touch()
    assert look()[1].words == f"POT_GGA_PAW_PBE_54 (2) in {library}"


def test_a_library_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "potcars"
    monkeypatch.setenv(LIBRARY, str(library))
    library.touch()
    assert (look()[1].is_there, "Not a directory" in look()[1].words) == (False, True)
    library.unlink()
    library.mkdir()

    def refuse(path: object) -> list[str]:
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(os, "listdir", refuse)  # permission bits do not bind the superuser
    found = look()[1]
    assert (found.is_there, found.words) == (False, f"{library}: Permission denied ({LIBRARY})")
    assert f"ls -ld {library}" in found.remedy
