"""Every command and every snippet of the README is run, in its order, in one empty directory.

The first is started as a user starts it; the others need not import everything anew.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sodiate.workflows.database.mongod import private_mongod
from sodiate.workflows.plan.planner import plan
from support import CHECKOUT
from support.warm import Warm

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


@pytest.mark.long
@pytest.mark.usefixtures("mongod")
def test_commands_and_python(warm: Warm, tmp_path: Path) -> None:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    assert lines[0] == "pip install . && sodiate run"
    assert lines[1] == "pip install '.[test]' && pytest"  # CI runs this one, and its first half installs
    commands = ["sodiate run", *lines[2:]]
    assert len(commands) > 8
    printed = {}

    def keep(command: str, done: subprocess.CompletedProcess[str]) -> None:
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr)
        printed[command] = done.stdout

    words = [str(Path(sys.executable).with_name("sodiate")), *shlex.split(commands[0])[1:]]
    keep(commands[0], subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False))
    # To which the others attach; each would start and end one of its own.
    with private_mongod(tmp_path / "sodiate-runs"):
        for command in commands[1:]:
            words = shlex.split(command)
            assert words[0] == "sodiate"
            keep(command, warm.run(words, tmp_path, 120))
        for code in blocks("python"):
            keep(code, warm.run(["-c"], tmp_path, 120, code))
    shown, run = (rows(table) for table in (blocks("text")[0], printed["sodiate run"]))
    assert len(shown) == len(run) == 6
    assert shown[0] == run[0]
    for ours, theirs in zip(shown[1:], run[1:], strict=True):
        assert [ours[i] for i in (0, 5, 7)] == [theirs[i] for i in (0, 5, 7)]
        # Starts on a saddle point of the dry potential fall to a side that the last bits of a machine decide.
        assert [float(ours[i]) for i in (3, 4, 6)] == pytest.approx([float(theirs[i]) for i in (3, 4, 6)], abs=0.1)
    assert "mock (dry run, not physical)" in printed["sodiate results --archive archive"]


def rows(printed: str) -> list[list[str]]:
    """The cells of a results table in what was printed, its header first."""
    lines = [line for line in printed.splitlines() if line.startswith(("│", "┃"))]
    return [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in lines]


def test_the_campaign_of_the_readme_is_one(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert yaml.safe_load(text)["campaign"] == "mine"
    assert [model.name for model in plan(path).hosts] == ["MoS2", "MoS2+VS"]


def test_every_file_it_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (CHECKOUT / target).is_file(), target
