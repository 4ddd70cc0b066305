"""What the developers' pages list and show: files that exist, code that is the tested example."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from sodiate.structures import sites as site_module
from sodiate.structures.site_candidates import find_candidates
from sodiate.workflows.plan import plan
from sodiate.workflows.start_structures import Host
from support import CHECKOUT, DOCS
from support.examples.bridge_sites import second_bridges
from support.requirements import skip_unless_required

PAGES = sorted((DOCS / "developers").glob("*.md"))
PROSE = [*PAGES, *sorted(DOCS.glob("*.md")), CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("page", [*PAGES, CHECKOUT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    # A row that says so names a file that the reader is about to write.
    text = re.sub(r"^\|.*\| new:.*$", "", page.read_text(encoding="utf-8"), flags=re.M)
    named = re.findall(r"`((?:workflows|analysis|structures|tests|docs|configs)/[\w/.-]+)`", text)
    named += re.findall(r"\]\(([\w/.-]+\.md)\)", text)
    assert named
    missing = [name for name in named if not (CHECKOUT / name).exists() and not (page.parent / name).exists()]
    assert not missing


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_lines_wrap(page: Path) -> None:
    """But for tables and pictures, which cannot."""
    lines = page.read_text(encoding="utf-8").splitlines()
    assert not [line for line in lines if len(line) > 118 and not line.startswith(("|", "!["))]


def test_the_guides_are_all_there() -> None:
    assert {page.stem for page in PAGES} == {
        *("architecture", "add-a-quantity", "add-an-engine", "add-a-scheduler", "add-a-site-rule"),
    }


def test_the_five_files_lead_from_one_to_the_next() -> None:
    """Each file of the trace names something that the next one defines."""
    text = (DOCS / "developers" / "architecture.md").read_text(encoding="utf-8")
    trace = re.findall(r"^\d\. `([^`]+)`", text, re.M)
    assert len(trace) == 5
    sources = [(CHECKOUT / path).read_text(encoding="utf-8") for path in trace]
    links = ["from ..run import", None, "from ..runner.run_calculation import", "from ..engines import"]
    for source, link in zip(sources, links, strict=False):
        assert link is None or link in source
    assert "RunCalculation" in sources[2]


def test_bridge_sites_of_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by hand: three bridges a metal, 27 on each face of 3×3, all of one class."""
    code = (CHECKOUT / "tests" / "support" / "examples" / "bridge_sites.py").read_text(encoding="utf-8")
    assert code in (DOCS / "developers" / "add-a-site-rule.md").read_text(encoding="utf-8")
    structure = plan("wsse")["WSSe"].calculation.structure  # before the patch: plans keep the hosts that they read
    monkeypatch.setattr(
        site_module,
        "find_candidates",
        lambda host, defects: find_candidates(host, defects) + second_bridges(host, defects),
    )
    host = Host(structure)
    assert Counter({name: site.multiplicity for name, site in host.sites.items() if site.kind == "B2"}) == {
        "B2@top": 27,
        "B2@bottom": 27,
    }


def test_every_page_has_its_place_in_the_site() -> None:
    """Pages are those of `docs`, and those that docs/site_pages.py makes of files above it and of the code."""

    def paths(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        values = entry.values() if isinstance(entry, dict) else entry
        assert isinstance(values, Iterable)
        return [path for value in values for path in paths(value)]

    site = yaml.safe_load((CHECKOUT / "mkdocs.yml").read_text(encoding="utf-8"))
    named = paths(site["nav"])
    made = re.findall(
        r'^        "([\w/]+\.md)": ', (DOCS / "site_pages.py").read_text(encoding="utf-8"), re.MULTILINE
    )
    written = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")]
    assert sorted(named) == sorted([*written, *made])


def test_the_references_of_keys_say_what_each_means(monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("mkdocs") is None:
        skip_unless_required("needs mkdocs: pip install 'sodiate[docs]'")
    monkeypatch.syspath_prepend(str(DOCS))
    pages = import_module("site_pages").pages()
    rows = re.findall(r"^\| `\w+` \|.*$", pages["reference/campaign.md"] + pages["reference/protocol.md"], re.M)
    assert len(rows) > 100
    assert all(len(re.split(r"(?<!\\)\|", row)[4].strip()) > 6 for row in rows)
    assert "| `vacuum_a` | number |  | Empty space above the highest adsorbate, Å. |" in rows
