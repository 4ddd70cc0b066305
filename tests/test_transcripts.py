"""Transcripts in docs: each command after a ``$`` is run in its order, and what it prints is held against the page.

Words have to agree, numbers to two hundredths, times and numbers of jobs not at all; a line ``…`` stands for any that
are left out.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from support import DOCS
from support.slurm import Slurm
from support.warm import Warm

LEFT_OUT = "…"
_TIME = re.compile(r"\b\d+(\.\d+)? ?(s|min|h)\b|\d+:\d\d(:\d\d)?|\d{4}-\d\d-\d\dT\S*|cpu-?hours?.*|\bjob \d+", re.I)
_TOLERANCE = 0.02


def transcript(page: str, section: str = "") -> list[tuple[str, list[str]]]:
    """The commands of a page, or of a section of it, each with the lines that it prints there."""
    text = (DOCS / page).read_text(encoding="utf-8")
    if section:
        (text,) = re.findall(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.S | re.M)
    found: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line.removeprefix("$ "), []))
            else:
                found[-1][1].append(line)
    return found


def save(page: str, key: str, path: Path) -> None:
    """Write the one YAML of a page that begins with a key where its reader is told to."""
    text = (DOCS / page).read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.S) if block.startswith(f"{key}:")]
    assert f"`{path.name}`" in text
    path.write_text(block, encoding="utf-8")


def same(shown: str, printed: str) -> bool:
    """Whether a line of a page is what was printed."""
    ours, theirs = (re.split(r"[\s│┃]+", _TIME.sub("", line).strip()) for line in (shown, printed))
    if len(ours) != len(theirs):
        return False
    return all(a == b or _close(a, b) for a, b in zip(ours, theirs, strict=True))


def _close(first: str, second: str) -> bool:
    try:
        return abs(float(first) - float(second)) <= _TOLERANCE
    except ValueError:
        return set(first) <= set("━┏┓┡╇┩└┴┘─┳") and set(second) <= set("━┏┓┡╇┩└┴┘─┳")


def hold(command: str, shown: list[str], printed: list[str]) -> None:
    """Find each line in what was printed: the next one, or after ``…`` any later one."""
    at, free = 0, False
    for line in shown:
        if line == LEFT_OUT:
            free = True
            continue
        later = printed[at:] if free else printed[at : at + 1]
        places = [place for place, text in enumerate(later) if same(line, text)]
        assert places, (command, line, later[:40])
        at, free = at + places[0] + 1, False
    assert free or at == len(printed), (command, printed[at:])


def run_all(commands: list[tuple[str, list[str]]], warm: Warm, folder: Path, timeout: float = 120) -> None:
    for command, shown in commands:
        words = shlex.split(command)
        if words[0] != "sodiate":
            assert words[0] == "cat"
            hold(command, shown, (folder / words[1]).read_text(encoding="utf-8").splitlines())
            continue
        done = warm.run(words, folder, timeout)
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr)
        hold(command, shown, done.stdout.splitlines())


def test_a_changed_line_would_be_seen() -> None:
    hold("", ["a 1.23 eV in 3 s", LEFT_OUT], ["a 1.24 eV in 41.5 s", "b"])
    for wrong in (["a 1.3 eV"], ["a 1.24 eV"], ["b", LEFT_OUT]):
        with pytest.raises(AssertionError):
            hold("", wrong, ["a 1.24 eV", "b"])


@pytest.mark.usefixtures("mongod")
def test_sharing(warm: Warm, tmp_path: Path) -> None:
    shutil.copytree(DOCS / "reproduction", tmp_path / "archive")
    run_all(transcript("sharing.md"), warm, tmp_path)


@pytest.mark.usefixtures("mongod")
def test_a_first_hour(warm: Warm, tmp_path: Path) -> None:
    shutil.copy(DOCS / "first-hour" / "TiS2.cif", tmp_path)
    run_all(transcript("first-hour.md"), warm, tmp_path)


@pytest.mark.usefixtures("mongod", "gpaw")
def test_the_same_with_gpaw(warm: Warm, tmp_path: Path) -> None:
    shutil.copy(DOCS / "first-hour" / "TiS2.cif", tmp_path)
    save("first-gpaw.md", "campaign", tmp_path / "tis2-gpaw.yaml")
    run_all(transcript("first-gpaw.md"), warm, tmp_path, timeout=280)


def test_the_same_on_a_cluster(warm: Warm, slurm_cluster: Slurm, launchpad: Path, tmp_path: Path) -> None:
    shutil.copy(DOCS / "first-hour" / "TiS2.cif", tmp_path)
    shutil.copy(launchpad, tmp_path)
    save("first-cluster.md", "base", tmp_path / "our-cluster.yaml")
    run_all(transcript("first-cluster.md"), warm, tmp_path)
