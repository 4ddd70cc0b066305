"""Shared fixtures: real servers where they are installed, a skip that says what to install where they are not."""

from __future__ import annotations

import fcntl
import gc
import os
import socket
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from sodiate import SodiateError
from sodiate.workflows.database.connection import Database, initialise, open_launchpad, open_root
from sodiate.workflows.database.mongod import PrivateMongod, private_mongod
from support import browser as browsers
from support import faults, sharing, slurm
from support.campaigns import Bench, Finished, small_campaign
from support.cli import Cli
from support.engine_cases import CASES, VASP_PACE, Case
from support.fake_vasp import install, library
from support.requirements import skip_unless_required
from support.servers import Mongod, own_launchpad, write_launchpad
from support.warm import Warm
from threadpoolctl import threadpool_limits

threadpool_limits(1)
"""Of each worker, whose matrices are small: threads of several workers would only wait for one another."""

MEMORY = Path("/dev/shm")
"""Trajectories, records and journals are synced at every write, which takes a busy disk most of the tests' time."""

# Until all is collected: of what collecting makes nothing is garbage, and looking for it takes a quarter of the time.
gc.disable()

MARKS = {"gpaw": "gpaw", "vasp": "vasp", "slurm_cluster": "slurm", "window": "browser", "mongod": "mongo"}
"""Fixtures, and the marks of the tests that use them, themselves or through others."""


def pytest_configure(config: pytest.Config) -> None:
    """Let tests be shared out among workers by what they need, and keep their files in memory where there is room."""
    config.pluginmanager.register(sharing.Plugin())
    if MEMORY.is_dir() and os.access(MEMORY, os.W_OK):
        found = os.statvfs(MEMORY)
        if found.f_bavail * found.f_frsize > 4e9 and not found.f_flag & os.ST_NOEXEC:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_xdist_auto_num_workers() -> int:
    """Return two workers a core, since tests wait for servers and kills; fewer where GPAW's ranks need the cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1 if find_spec("gpaw") else 2 * cores


def pytest_collection_finish() -> None:
    """Spare each later collection of garbage the walk through all that was imported."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark each test with the codes and servers that it needs; leave slow ones out unless ``-m`` speaks of them."""
    groups = {}
    for item in items:
        used = set(getattr(item, "fixturenames", ()))
        case = varied(item).get("case")
        if isinstance(case, Case):
            used.add(case.name)
        for fixture in sorted(MARKS.keys() & used):
            item.add_marker(MARKS[fixture])
        if (name := group(item, case)) is not None:
            groups[item.nodeid] = name
    sharing.leave_groups(groups)
    items.sort(key=lambda item: sharing.place_in_line(item, groups.get(item.nodeid)))
    if "slow" not in config.option.markexpr:
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]


def varied(item: pytest.Item) -> dict[str, object]:
    """Return the parameters of a test."""
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def group(item: pytest.Item, case: object) -> str | None:
    """Return what keeps a test with others in one worker of pytest-xdist.

    One cluster, one browser, one MPI run at a time; of the engines, what shares a module's undisturbed runs; and what
    is to run alone, at the end, when the other workers have nothing left to be kept from.
    """
    if item.get_closest_marker("alone"):
        return sharing.ALONE
    if mark := item.get_closest_marker("together"):
        return str(mark.args[0])
    for name in ("slurm", "browser", "gpaw"):
        if item.get_closest_marker(name):
            return name
    return f"{item.path.stem}-{case.name}" if isinstance(case, Case) else None


@pytest.fixture(autouse=True)
def _side_by_side(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let a test that is marked ``alone`` run while the other workers wait, between two of their tests."""
    folder = sharing.common_folder(tmp_path_factory)
    alone = request.node.get_closest_marker("alone") is not None
    with (folder / "room").open("ab") as room:
        with (folder / "door").open("ab") as door:  # in turn, so that nobody waits for ever
            fcntl.flock(door, fcntl.LOCK_EX)
            fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.fixture(scope="session")
def mongod() -> Path:
    """The mongod that sodiate would use."""
    from sodiate.workflows.database.mongod_binary import find_mongod

    try:
        return find_mongod()
    except SodiateError as error:
        skip_unless_required(str(error))
        raise


@pytest.fixture(scope="session")
def gpaw() -> None:
    """GPAW, its PAW data and mpiexec."""
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
def own_server(mongod: Path, tmp_path: Path) -> Iterator[Mongod]:
    """A server of the test's own on a port, which the test may stop, and its launchpad file."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = Mongod(mongod, tmp_path / "mongod", port)
    running.start()
    (tmp_path / "my_launchpad.yaml").write_text(f"host: 127.0.0.1\nport: {port}\nname: trial\n")
    yield running
    running.stop()


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

    if find_spec("dftd3") is None:
        skip_unless_required("needs dftd3: pip install 'sodiate[gpaw]'")


@pytest.fixture(scope="session")
def chgnet() -> None:
    """The potential CHGNet."""

    if find_spec("chgnet") is None:
        skip_unless_required("needs CHGNet: pip install 'sodiate[mlip]'")


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    """Each engine under test."""
    value: Case = request.param
    if value.name != "emt":
        request.getfixturevalue(value.name)
    return value


@pytest.fixture(scope="session")
def server(mongod: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMongod]:
    """The one server of all tests, and of all workers, that are not about servers."""
    with private_mongod(sharing.common_folder(tmp_path_factory) / "server") as running:
        yield running


@pytest.fixture
def launchpad(server: PrivateMongod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """FireWorks' launchpad file of a database of the test's own on the one server, with nothing in it."""
    with own_launchpad(server, tmp_path_factory.mktemp("launchpad")) as path:
        yield path


@pytest.fixture(scope="session")
def finished(server: PrivateMongod, warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The small campaign, run dry once for all tests, and all workers, that only read it."""
    folder = sharing.common_folder(tmp_path_factory) / "finished"
    folder.mkdir(exist_ok=True)
    printed = folder / "printed.txt"

    def run() -> None:
        launchpad = write_launchpad(server, folder, "finished")
        words = ["sodiate", "run", small_campaign(folder).name, "--launchpad", launchpad.name, "--root", "root"]
        done = warm.run(words, folder, 120)
        assert done.returncode == 0, done.stdout + done.stderr
        printed.write_text(done.stdout, encoding="utf-8")

    sharing.make_once(printed, run)
    launchpad = folder / "my_launchpad.yaml"
    return Finished(folder / "small.yaml", folder / "root", launchpad, printed.read_text(encoding="utf-8"))


@pytest.fixture
def database(launchpad: Path, tmp_path: Path) -> Iterator[Database]:
    """A database of the test's own on the one server, initialised."""
    with open_launchpad(launchpad) as opened:
        initialise(opened, opened.fireworks(tmp_path / "root" / "logs"))
        yield opened


@pytest.fixture
def private_database(mongod: Path, tmp_path: Path) -> Iterator[Database]:
    """The database of a root on a private server of its own, initialised."""
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


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """A process that has imported sodiate and forks for each command, the same for all workers."""
    running = Warm(tmp_path_factory.mktemp("warm"), sharing.common_folder(tmp_path_factory))
    yield running
    running.close()


@pytest.fixture
def cli(warm: Warm, tmp_path: Path) -> Cli:
    """Run ``sodiate`` in a process of its own in an empty directory; returns what it printed."""

    def call(*arguments: str | Path, timeout: float = 120, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        return warm.run(["sodiate", *map(str, arguments)], cwd, timeout)

    return call


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browsers.Browser]:
    """A browser."""
    lacking = browsers.missing()
    if lacking:
        skip_unless_required(f"needs {', '.join(lacking)}: Debian's chromium chromium-driver")
    pytest.importorskip("selenium")
    with browsers.browser(tmp_path_factory.mktemp("downloads")) as window:
        yield window


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    """A fresh database and root."""
    return Bench(database, tmp_path / "root")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of the series of faults, if any ran."""
    faults.write_table(terminalreporter)
