"""A quantity of a group's own: registered by an entry point, planned, run and shown without a fork."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from sodiate.workflows.results.results import Results
from support import CHECKOUT, DOCS
from support.campaigns import small_campaign
from support.cli import Cli
from support.plugin import metadata

EXAMPLE = CHECKOUT / "tests" / "support" / "examples" / "sheet_thickness.py"
GUIDE = (DOCS / "developers" / "add-a-quantity.md").read_text(encoding="utf-8")


def install(patch: pytest.MonkeyPatch, folder: Path, target: str = "sheet_thickness:SheetThickness") -> None:
    """Lay the example out as an installed package, which the commands that follow find."""
    site = folder / "site"
    site.mkdir()
    shutil.copy(EXAMPLE, site)
    metadata(site, "groupkit", f"[sodiate.quantities]\nsheet_thickness = {target}\n")
    patch.setenv("PYTHONPATH", str(site))


def test_it_is_planned_run_and_shown(
    cli: Cli, launchpad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ("--launchpad", launchpad, "--root", "root")
    install(monkeypatch, tmp_path)
    small_campaign(tmp_path, quantities=["sheet_thickness"], sites=["T_W@bottom"])
    done = cli("run", "small.yaml", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(cli("results", *place, "--format", "json").stdout)
    with Results.open(launchpad) as results:
        heights = results["WSSe+VS"].atoms.positions[:, 2]
        (without,) = results.models()
    assert row["sheet_thickness_a"] == pytest.approx(heights.max() - heights.min())
    assert "sheet_thickness_a" in cli("results", *place, "--format", "csv").stdout
    page = cli("report", *place, "--out", "report.html")
    assert page.returncode == 0, page.stderr
    assert "thickness (mock) / Å" in (tmp_path / "report.html").read_text(encoding="utf-8")
    # Where the package is missing, that is said and the rest stands.
    assert without.adsorption_energy_ev is not None
    assert "sheet_thickness: no quantity of this name is installed here" in without.reasons


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_such_module:SheetThickness", "cannot be loaded: ModuleNotFoundError"),
        ("sheet_thickness:Thickness", "cannot be loaded: TypeError"),
        ("collections:OrderedDict", "is no sodiate.workflows.quantities.base.Quantity"),
    ],
)
def test_a_broken_package_is_named(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, words: str
) -> None:
    small_campaign(tmp_path)
    install(monkeypatch, tmp_path, target)
    done = cli("plan", "small.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: the quantity 'sheet_thickness' of groupkit")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_is_taken_is_refused(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path)
    text = EXAMPLE.read_text(encoding="utf-8").replace('name = "sheet_thickness"', 'name = "dos"')
    (tmp_path / "site" / "sheet_thickness.py").write_text(text, encoding="utf-8")
    small_campaign(tmp_path)
    done = cli("plan", "small.yaml")
    assert "a quantity 'dos' is there already; rename it" in done.stderr


def test_the_guide_shows_the_example_and_files_that_exist() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    assert code == EXAMPLE.read_text(encoding="utf-8")
    listed = re.findall(r"^- `([^`]+)`", GUIDE, re.M)
    assert len(listed) <= 7
    assert not [path for path in listed if not (CHECKOUT / path).is_file()]
