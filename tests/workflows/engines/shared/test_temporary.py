"""Folders in the temporary directory: one that a killed process left is removed, one in use is not."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from sodiate.workflows.engines.shared.temporary import temporary_folder

HOLD = """
import sys
from sodiate.workflows.engines.shared.temporary import temporary_folder
with temporary_folder("launch") as folder:
    (folder / "file").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_what_a_kill_left_is_removed_and_what_is_in_use_stays(place: Path) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        (place / "sodiate-vasp.of-another-kind").mkdir()
        with temporary_folder("launch") as mine:
            assert mine.is_dir()
            assert (theirs / "file").exists()
        assert not mine.exists()
        process.kill()
        process.wait()
    assert theirs.exists()
    with temporary_folder("launch"), temporary_folder("launch"):
        assert not theirs.exists()
        assert len(list(place.glob("sodiate-launch.*"))) == 2
    assert [path.name for path in place.iterdir()] == ["sodiate-vasp.of-another-kind"]


def test_a_link_is_not_followed(place: Path) -> None:
    (place / "thesis").mkdir()
    (place / "thesis" / "thesis.tex").touch()
    (place / "sodiate-launch.x").symlink_to(place / "thesis")
    with temporary_folder("launch"):
        pass
    assert (place / "thesis" / "thesis.tex").exists()


def test_one_that_is_swept_as_it_is_made_is_made_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that starts at the same moment takes it for left behind, before it is locked."""
    made = []

    def swept_once(prefix: str, dir: Path, make: Callable[..., str] = tempfile.mkdtemp) -> str:
        made.append(make(prefix=prefix, dir=dir))
        if len(made) == 1:
            Path(made[0]).rmdir()
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", swept_once)
    with temporary_folder("launch") as folder:
        assert [str(folder)] == made[1:]
        assert folder.is_dir()
