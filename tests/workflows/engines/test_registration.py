"""Engines of other packages: registered by entry points, told apart, and named where they cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.database.connection import open_launchpad
from sodiate.workflows.engines import engine_names, engines_here, make_engine
from sodiate.workflows.engines.base import Settings
from support import present
from support.cli import Cli, one_message
from support.plugin import install, metadata

HERE = Path(__file__).parent


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path where packages are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_ours_are_registered_like_any_other() -> None:
    assert {"emt", "gpaw", "vasp"} <= set(engine_names())
    assert [engine.name for engine in engines_here()] == engine_names()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, r"package sodiate-broken cannot be loaded \(ModuleNotFoundError: No module named 'broken_engine'\)"),
        ("raise RuntimeError('no licence')", r"package sodiate-broken cannot be loaded \(RuntimeError: no licence\)"),
        ("", r"package sodiate-broken cannot be loaded \(AttributeError: .*Broken"),
        ("class Broken:\n    def __init__(self, settings): self.name = 'broken'", "sodiate-broken lacks physical, "),
    ],
)
def test_an_engine_that_cannot_be_used_is_told_with_its_package(code: str | None, words: str, site: Path) -> None:
    metadata(site, "sodiate-broken", "[sodiate.engines]\nbroken = broken_engine:Broken\n")
    if code is not None:
        (site / "broken_engine.py").write_text(code)
    with pytest.MonkeyPatch.context() as patch:
        patch.delitem(sys.modules, "broken_engine", raising=False)
        with pytest.raises(InputError, match=f"engine 'broken': .*{words}"):
            make_engine("broken", Settings())
    assert "broken" in engine_names()
    assert "broken" not in [engine.name for engine in engines_here()]


def test_one_name_in_two_packages_is_refused(site: Path) -> None:
    metadata(site, "another-dry-run", "[sodiate.engines]\nemt = sodiate.workflows.engines.emt.engine:EmtEngine\n")
    with pytest.raises(InputError, match=r"engine 'emt' is in two packages, .*another-dry-run"):
        make_engine("emt", Settings())


def test_an_engine_under_another_name_is_refused(site: Path) -> None:
    metadata(site, "misnamed", "[sodiate.engines]\nemmt = sodiate.workflows.engines.emt.engine:EmtEngine\n")
    with pytest.raises(InputError, match=r"engine 'emmt': that of the package misnamed calls itself 'emt'"):
        make_engine("emmt", Settings())


ENGINE_WITH_KEYS = """
from sodiate.analysis.records import Frozen
from sodiate.workflows.engines.emt.engine import EmtEngine

class Keys(Frozen):
    pw_command: str | None = None

class Espresso(EmtEngine):
    name = "espresso"
    worker_keys = Keys
"""

LOAD = """
import sys
from pathlib import Path
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.clusters.cluster_file import load_cluster
try:
    print(load_cluster(Path(sys.argv[1])).environment("all"))
except InputError as error:
    print(error)
"""


def test_a_cluster_file_may_say_what_another_packages_engine_knows(site: Path, tmp_path: Path) -> None:
    metadata(site, "espresso", "[sodiate.engines]\nespresso = espresso:Espresso\n")
    (site / "espresso.py").write_text(ENGINE_WITH_KEYS)

    def loaded(**env: str) -> str:
        one = {"kinds": "rest", "wall_time": "01:30:00", "memory_gb": 10}
        path = tmp_path / "cluster.yaml"
        path.write_text(yaml.safe_dump({"scheduler": "slurm", "max_jobs": 2, "env": env, "classes": {"all": one}}))
        command = [sys.executable, "-c", LOAD, str(path)]
        environment = os.environ | {"PYTHONPATH": str(site)}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    assert loaded(pw_command="srun pw.x", vasp_std="srun vasp") == (
        "{'vasp_std': 'srun vasp', 'pw_command': 'srun pw.x'}\n"
    )
    assert "unknown key 'env.pw_comand' (did you mean 'pw_command'?)" in loaded(pw_comand="srun pw.x")


def test_another_packages_engine_runs_a_campaign(
    cli: Cli, launchpad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the plan to the table and the supplement, by the command alone: a new process sees what is installed."""
    place = ("--launchpad", launchpad, "--root", "root")
    campaign = HERE / "lennard_jones" / "campaign.yaml"
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert "engine 'lennard-jones' is unknown" in one_message(cli("plan", campaign))
    monkeypatch.setenv("PYTHONPATH", str(install(HERE / "lennard_jones", tmp_path / "site")))
    done = cli("run", campaign, *place)
    assert done.returncode == 0, done.stderr
    assert "Every number is mock" in done.stdout
    assert "[7/7]" in done.stdout
    table = cli("results", *place).stdout
    assert "engine lennard-jones" in table
    assert "3/3" in table
    assert "optimizer" in _record(launchpad, "Na")["not_applicable"]
    assert _record(launchpad, "WSSe")["provenance"]["execution"] == {
        "optimizer": "bfgs",
        "max_steps": 300,
        "max_step_a": 0.2,
    }
    assert cli("si", *place, "--out", "si").returncode == 0
    assert "Jones's potential [@Jones1924]" in (tmp_path / "si" / "methods.md").read_text()
    assert "Jones, J. E." in (tmp_path / "si" / "references.bib").read_text()
    # What was computed can be read where the package is not installed.
    monkeypatch.delenv("PYTHONPATH")
    assert cli("results", *place).stdout == table
    assert cli("si", *place, "--out", "elsewhere").returncode == 0
    assert "Energies are those of the engine lennard-jones" in (tmp_path / "elsewhere" / "methods.md").read_text()


def _record(launchpad: Path, label: str) -> dict[str, Any]:
    with open_launchpad(launchpad) as database:
        return present(database.db["records"].find_one({"label": label}))
