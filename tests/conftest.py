"""Shared fixtures: real servers where they are installed, a skip that says what to install where they are not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sodiate import SodiateError
from sodiate.workflows.database.connection import Database, initialise, open_root
from support import slurm
from support.campaigns import Bench
from support.cli import Cli
from support.engine_cases import CASES, VASP_PACE, Case
from support.fake_vasp import install, library
from support.requirements import skip_unless_required


@pytest.fixture(scope="session")
def mongod() -> Path:
    """The mongod that sodiate would use."""
    from sodiate.workflows.database.mongod import find_mongod

    try:
        return find_mongod()
    except SodiateError as error:
        skip_unless_required(str(error))
        raise


@pytest.fixture(scope="session")
def gpaw() -> None:
    """GPAW, its PAW data and mpiexec."""
    from importlib.util import find_spec
    from shutil import which

    if find_spec("gpaw") is None or find_spec("gpaw_data") is None or which("mpiexec") is None:
        skip_unless_required("needs GPAW: pip install 'sodiate[gpaw]', Debian's openmpi-bin")


@pytest.fixture(scope="session")
def vasp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The stand-in for VASP on the path, slow enough to be interrupted, and a library of what are no POTCARs."""
    folder = tmp_path_factory.mktemp("vasp")
    with pytest.MonkeyPatch.context() as patch:
        install(folder / "bin", VASP_PACE)
        patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("PMG_VASP_PSP_DIR", str(library(folder / "potcars")))
        yield folder / "bin"


@pytest.fixture
def slurm_cluster(_slurm: slurm.Slurm, monkeypatch: pytest.MonkeyPatch) -> slurm.Slurm:
    """A private SLURM, which commands of the test find."""
    monkeypatch.setenv("SLURM_CONF", _slurm.environment["SLURM_CONF"])
    return _slurm


@pytest.fixture(scope="session")
def _slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[slurm.Slurm]:
    lacking = slurm.missing()
    if lacking:
        skip_unless_required(f"needs {', '.join(lacking)}: Debian's slurmctld slurmd slurm-client")
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture(scope="session")
def dftd3() -> None:
    """The package dftd3."""
    from importlib.util import find_spec

    if find_spec("dftd3") is None:
        skip_unless_required("needs dftd3: pip install 'sodiate[gpaw]'")


@pytest.fixture(scope="session")
def chgnet() -> None:
    """The potential CHGNet."""
    from importlib.util import find_spec

    if find_spec("chgnet") is None:
        skip_unless_required("needs CHGNet: pip install 'sodiate[mlip]'")


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Each engine under test."""
    value: Case = request.param
    if value.name != "emt":
        request.getfixturevalue(value.name)
    return value


@pytest.fixture
def database(mongod: Path, tmp_path: Path) -> Iterator[Database]:
    """A fresh private server, its database initialised."""
    with open_root(tmp_path / "root") as opened:
        initialise(opened, opened.fireworks(tmp_path / "root" / "logs"))
        yield opened


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with half a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        skip_unless_required("needs the right to mount a tmpfs: run it as root")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run the installed ``sodiate`` in an empty directory; returns what it printed."""

    def call(*arguments: str | Path, timeout: float = 120, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("sodiate")), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=cwd, check=False)

    return call


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    """A fresh database and root."""
    return Bench(database, tmp_path / "root")
