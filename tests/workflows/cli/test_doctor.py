"""`sodiate doctor`: what is there, what to do where something lacks, and no traceback wherever it is broken."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import typer
from sodiate.workflows import diagnosis
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.cli import doctor
from sodiate.workflows.clusters.registry import schedulers_here
from sodiate.workflows.database import mongod_binary
from sodiate.workflows.diagnosis import Answer, Finding, ask
from sodiate.workflows.engines.emt.engine import EmtEngine

LINE = re.compile(r"^(ok|no|LACK) +(\S.*?)  +(\S.*)$", re.M)


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.fixture
def works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mongod that answers, no other programs, and as much time as a busy machine needs."""
    good = script(tmp_path / "bin" / "mongod", 'echo "db version v7.0.1"')
    monkeypatch.setattr(mongod_binary, "candidates", lambda: iter([good]))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(doctor, "_LIMIT_S", 60.0)
    monkeypatch.chdir(tmp_path)
    return good


def looked(capsys: pytest.CaptureFixture[str], root: Path = Path("sodiate-runs")) -> tuple[int, dict[str, str], str]:
    """Exit code, the mark and words of each thing, and all that was printed."""
    code = 0
    try:
        doctor.doctor(root)
    except typer.Exit as end:
        code = end.exit_code
    printed = capsys.readouterr().out
    return code, {name: f"{mark} {words}" for mark, name, words in LINE.findall(printed)}, printed


def remedies(printed: str) -> dict[str, str]:
    """What is to be done, by the thing that lacks."""
    lines = printed.splitlines()
    pairs = zip(lines, [*lines[1:], ""], strict=True)
    found = [(LINE.match(line), below) for line, below in pairs if line.startswith(("no ", "LACK"))]
    return {match[2]: below.partition("→ ")[2] for match, below in found if match}


def test_a_machine_on_which_a_dry_run_works(works: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, found, printed = looked(capsys)
    assert code == 0, printed
    needed = ("Python", "sodiate", "packages", "mongod", "root folder", "temporary folder", "cores", "memory")
    assert all(found[name].startswith("ok ") for name in needed)
    assert found["mongod"] == f"ok 7.0.1, {works}"
    assert printed.endswith("A dry run can work: sodiate run\n")
    assert sorted(tmp_path.rglob("*")) == before
    # With nothing on the search path codes and schedulers lack, and each has something to type.
    lacking = remedies(printed)
    assert {"VASP", "POTCARs", "scheduler"} <= set(lacking) | {"POTCARs"}
    assert all(lacking.values()), lacking


def test_started_with_an_empty_path(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "sodiate.workflows.cli.main", "doctor"]
    environment = {**os.environ, "PATH": ""}
    begun = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode in (0, 1)  # by whether a wheel's mongod is installed here
    assert not done.stderr
    assert "scheduler" in done.stdout
    assert time.monotonic() - begun < 60


def test_a_mongod_that_hangs(
    works: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script(works, "exec /bin/sleep 60")
    monkeypatch.setattr(diagnosis, "ANSWER_S", 0.3)
    code, found, printed = looked(capsys)
    assert code == 1
    assert "no answer within 0.3 s" in found["mongod"]
    assert "only be slow" in remedies(printed)["mongod"]
    assert "A dry run cannot work yet: see mongod above." in printed


def test_no_mongod(works: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(mongod_binary, "candidates", lambda: iter([]))
    code, found, printed = looked(capsys)
    assert (code, found["mongod"]) == (1, "LACK none found")
    assert remedies(printed)["mongod"].startswith(("pip ", "conda "))


def test_a_root_that_cannot_be_written(works: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for root in (Path("/proc/sodiate"), tmp_path / "file" / "root"):  # where not even the superuser may
        code, found, printed = looked(capsys, root)
        assert code == 1
        assert found["root folder"].startswith("LACK ")
        assert "--root FOLDER" in remedies(printed)["root folder"]


def test_no_temporary_folder(
    works: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])
    code, found, printed = looked(capsys)
    assert code == 1
    assert "usable temporary directory" in found["temporary folder"]
    assert "TMPDIR" in remedies(printed)["temporary folder"]


def test_packages_that_lack_or_are_too_old(
    works: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = ["numpy>=999", "no-such-package>=1", "rich>=1", "absent; extra == 'gpaw'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: wanted)
    code, found, printed = looked(capsys)
    assert code == 1
    assert "numpy is " in found["packages"]
    assert "no-such-package is missing" in found["packages"]
    assert remedies(printed)["packages"] == "pip install 'numpy>=999' 'no-such-package>=1'"


def test_an_engine_that_is_broken(
    works: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that raises when it looks; and the dry one when it is loaded."""

    def fail(self: object) -> list[Finding]:
        raise ZeroDivisionError("of its own")

    monkeypatch.setattr(EmtEngine, "diagnose", fail)
    code, found, _ = looked(capsys)
    assert (code, found["engine emt"]) == (1, "LACK ZeroDivisionError: of its own")

    def refuse(name: str, settings: object) -> None:
        raise InputError(f"engine {name!r}: cannot be loaded")

    monkeypatch.setattr("sodiate.workflows.engines.make_engine", refuse)
    code, found, printed = looked(capsys)
    assert code == 1
    assert found["engine gpaw"].startswith("no InputError")
    assert "see engine emt above" in printed


def test_a_look_that_never_ends_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LIMIT_S", 0.3)
    end = threading.Event()

    def hang() -> list[Finding]:
        end.wait(60)
        return []

    findings = doctor._together([("disk", hang, True), ("other", lambda: [Finding("other", "fine")], True)])
    end.set()
    assert [finding.is_there for finding in findings] == [False, True]
    assert "no answer within 0.3 s" in findings[0].words
    assert findings[0].is_needed


def test_schedulers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None; one whose programs are installed without a cluster; one that answers."""
    monkeypatch.setenv("PATH", str(tmp_path))
    none = schedulers_here()
    assert (none.is_there, "no sbatch, qsub, bsub" in none.words) == (False, True)
    script(tmp_path / "qsub", "exit 0")
    script(tmp_path / "qstat", "echo cannot connect to server >&2; exit 1")
    silent = schedulers_here()
    assert (silent.is_there, "cannot connect to server" in silent.words) == (False, True)
    script(tmp_path / "sbatch", "exit 0")
    script(tmp_path / "squeue", "exit 0")
    assert schedulers_here() == Finding("scheduler", "slurm: sbatch is there, and squeue answers")


def test_programs_that_are_asked(tmp_path: Path) -> None:
    assert ask([script(tmp_path / "a", "echo yes; echo no >&2; exit 3")]) == Answer(3, "yes\n", "no\n")
    assert ask([tmp_path / "none"]) == Answer(None, errors="No such file or directory")
    assert ask([script(tmp_path / "b", "sleep 60 & wait")], 0.2) == Answer(None, errors="no answer within 0.2 s")
    assert ask([script(tmp_path / "c", "exit 4")]).complaint == "exit code 4"
