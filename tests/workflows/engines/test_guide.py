"""The guide to engines of one's own: its files are there, and what it shows is what the tests run."""

from __future__ import annotations

import re

from support import CHECKOUT, DOCS

GUIDE = (DOCS / "developers" / "add-an-engine.md").read_text(encoding="utf-8")
EXAMPLE = CHECKOUT / "tests" / "workflows" / "engines" / "lennard_jones"


def _block(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, flags=re.DOTALL | re.MULTILINE)
    return str(block)


def test_the_files_are_those_of_the_example() -> None:
    listed = set(re.findall(r"^- `(.*)`$", GUIDE, flags=re.MULTILINE))
    there = {path.relative_to(CHECKOUT).as_posix() for path in EXAMPLE.iterdir() if path.is_file()}
    assert listed == there


def test_what_it_shows_is_what_the_tests_run() -> None:
    compile(_block("python"), "add-an-engine.md", "exec")
    assert _block("python") == (EXAMPLE / "sodiate_lennard_jones.py").read_text(encoding="utf-8")
    assert _block("toml") == (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8")
    assert _block("yaml") == (EXAMPLE / "campaign.yaml").read_text(encoding="utf-8")


def test_it_names_every_member_of_the_contract() -> None:
    from sodiate.workflows.engines import _members

    table = "\n".join(line for line in GUIDE.splitlines() if line.startswith("|"))
    assert not [member for member in _members() if not re.search(rf"`{member}\b", table)]
