"""A quantity of a group's own: registered by an entry point, planned, run and shown without a fork."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sodiate.workflows.results.results import Results
from support import CHECKOUT, DOCS
from support.campaigns import small_campaign

EXAMPLE = CHECKOUT / "tests" / "support" / "examples" / "sheet_thickness.py"
GUIDE = (DOCS / "developers" / "add-a-quantity.md").read_text(encoding="utf-8")


def installed(folder: Path, target: str = "sheet_thickness:SheetThickness") -> dict[str, str]:
    """Lay the example out as an installed package; return the environment that finds it."""
    site = folder / "site"
    metadata = site / "groupkit-1.0.dist-info"
    metadata.mkdir(parents=True)
    shutil.copy(EXAMPLE, site)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: groupkit\nVersion: 1.0\n", encoding="utf-8")
    (metadata / "entry_points.txt").write_text(
        f"[sodiate.quantities]\nsheet_thickness = {target}\n", encoding="utf-8"
    )
    return {**os.environ, "PYTHONPATH": str(site)}


def sodiate(environment: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("sodiate")), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("mongod")
def test_it_is_planned_run_and_shown(tmp_path: Path) -> None:
    with_it = installed(tmp_path)
    small_campaign(tmp_path, quantities=["sheet_thickness"], sites=["T_W@bottom"])
    done = sodiate(with_it, tmp_path, "run", "small.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(sodiate(with_it, tmp_path, "results", "--format", "json").stdout)
    with Results.open(tmp_path / "sodiate-runs") as results:
        heights = results["WSSe+VS"].atoms.positions[:, 2]
        (without,) = results.models()
    assert row["sheet_thickness_a"] == pytest.approx(heights.max() - heights.min())
    assert "sheet_thickness_a" in sodiate(with_it, tmp_path, "results", "--format", "csv").stdout
    page = sodiate(with_it, tmp_path, "report", "--out", "report.html")
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
def test_a_broken_package_is_named(tmp_path: Path, target: str, words: str) -> None:
    small_campaign(tmp_path)
    done = sodiate(installed(tmp_path, target), tmp_path, "plan", "small.yaml")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: the quantity 'sheet_thickness' of groupkit")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    environment = installed(tmp_path, "sheet_thickness:SheetThickness")
    text = EXAMPLE.read_text(encoding="utf-8").replace('name = "sheet_thickness"', 'name = "dos"')
    (tmp_path / "site" / "sheet_thickness.py").write_text(text, encoding="utf-8")
    small_campaign(tmp_path)
    done = sodiate(environment, tmp_path, "plan", "small.yaml")
    assert "a quantity 'dos' is there already; rename it" in done.stderr


def test_the_guide_shows_the_example_and_files_that_exist() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
    assert code == EXAMPLE.read_text(encoding="utf-8")
    listed = re.findall(r"^- `([^`]+)`", GUIDE, re.M)
    assert len(listed) <= 7
    assert not [path for path in listed if not (CHECKOUT / path).is_file()]
