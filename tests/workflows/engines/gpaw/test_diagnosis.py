"""What `sodiate doctor` says of GPAW: a real one, and broken ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sodiate.workflows.engines.gpaw import diagnosis
from sodiate.workflows.engines.gpaw.engine import default_command


@pytest.fixture(autouse=True)
def _time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much as a busy machine needs."""
    monkeypatch.setattr(diagnosis, "ANSWER_S", 60.0)


def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A package `gpaw` that goes before the real one."""
    (tmp_path / "gpaw").mkdir()
    (tmp_path / "gpaw" / "__init__.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(diagnosis, "find_spec", lambda name: name if name == "gpaw" else None)


def mpiexec(path: Path, body: str) -> str:
    """A command that starts ranks by a script instead of MPI."""
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return f"{path} -n {{ranks}} {sys.executable} run.py"


@pytest.mark.usefixtures("gpaw")
def test_ranks_of_a_real_one_meet() -> None:
    found = diagnosis.look(default_command())
    assert [(one.what, one.is_there) for one in found] == [
        ("GPAW", True),
        ("GPAW data sets", True),
        ("GPAW ranks", True),
    ], found


def test_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "find_spec", lambda name: None)
    (found,) = diagnosis.look(default_command())
    assert (found.is_there, found.is_needed) == (False, False)
    assert "pip install 'sodiate[gpaw]'" in found.remedy


def test_one_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(tmp_path, monkeypatch, "raise ImportError('libxc.so.9: cannot open shared object file')")
    found = diagnosis.look(mpiexec(tmp_path / "mpiexec", "exit 1"))
    assert "libxc.so.9: cannot open shared object file" in found[0].words
    assert "libxc-dev" in found[0].remedy
    assert [one.what for one in found] == ["GPAW", "GPAW data sets"]  # of ranks nothing can be said


@pytest.mark.parametrize(
    ("body", "words", "remedy"),
    [
        ("echo sodiate-ranks 1; echo sodiate-ranks 1", "each alone", "pip install --force-reinstall"),
        ("echo 'Fatal error: no slots' >&2; exit 1", "do not start: Fatal error: no slots", "see what this says"),
        (None, "is not there", "openmpi-bin"),
    ],
)
def test_ranks_that_do_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str | None, words: str, remedy: str
) -> None:
    package(tmp_path, monkeypatch, "__version__ = '99'")
    monkeypatch.setattr(diagnosis, "available_cores", lambda: 2)
    command = mpiexec(tmp_path / "mpiexec", body or "")
    if body is None:
        (tmp_path / "mpiexec").unlink()
    found = {one.what: one for one in diagnosis.look(command)}
    assert found["GPAW"].words == "99"
    assert found["GPAW data sets"].remedy == "pip install gpaw-data"
    assert words in found["GPAW ranks"].words
    assert remedy in found["GPAW ranks"].remedy
