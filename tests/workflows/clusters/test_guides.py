"""docs/clusters.md and docs/fireworks.md, word for word, on a SLURM and on a MongoDB that asks for a password."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient
from sodiate.workflows.clusters.cluster_file import ResourceClass, load_cluster
from sodiate.workflows.database.connection import LaunchpadFile
from support import CHECKOUT, DOCS, slurm
from support.campaigns import small_campaign
from support.cli import Cli, wait_until
from support.servers import asks_for_password
from support.slurm import Slurm
from support.warm import Warm

GUIDE = (DOCS / "clusters.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", GUIDE, re.S)
COMMANDS = re.findall(r"```console\n(.*?)```", GUIDE, re.S)[0].splitlines()
COPY = next(line.strip() for line in GUIDE.splitlines() if line.startswith("    cp "))
ROLES = re.findall(r'roles: \["(\w+)"\]', GUIDE)

PAGE = (DOCS / "fireworks.md").read_text(encoding="utf-8")
FWORKER, ADAPTER = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
LAUNCHES = re.findall(r"```console\n(.*?)```", PAGE, re.S)[0].splitlines()

PROGRAMS = {
    "qlaunch": "from fireworks.scripts.qlaunch_run import qlaunch; qlaunch()",
    "lpad": "from fireworks.scripts.lpad_run import lpad; lpad()",
}


@pytest.fixture(scope="module")
def secured(mongod: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoClient[dict[str, Any]]]:
    """A server that asks for a password, and its administrator."""
    with asks_for_password(mongod, tmp_path_factory.mktemp("secured")) as client:
        yield client


@pytest.fixture
def guides_launchpad(secured: MongoClient[dict[str, Any]], tmp_path: Path) -> Iterator[Path]:
    """The guide's user, and its launchpad file with this server's address."""
    secured.drop_database("sodiate")
    secured["sodiate"].command("createUser", "me", pwd="secret", roles=ROLES)
    assert secured.address is not None
    path = tmp_path / "my_launchpad.yaml"
    path.write_text(BLOCKS[0].replace("db.example.org", "127.0.0.1").replace("27017", str(secured.address[1])))
    path.chmod(0o600)
    yield path
    secured["sodiate"].command("dropUser", "me")


def test_the_guides_files_are_valid(tmp_path: Path) -> None:
    launchpad, tls, found, packed = BLOCKS
    (tmp_path / "slurm.yaml").write_text(found)
    cluster = load_cluster(tmp_path / "slurm.yaml")
    assert cluster.resources("large").wall_time_s == 86400
    assert cluster.resources("large").all_tasks == 64
    assert ResourceClass.model_validate(yaml.safe_load(packed)["small"]).share.tasks == 8
    assert LaunchpadFile.model_validate(yaml.safe_load(launchpad)).mongoclient_kwargs == {}
    assert LaunchpadFile.model_validate(yaml.safe_load(launchpad + tls)).mongoclient_kwargs == {"tls": True}


def test_the_guides_table_names_every_bundled_file() -> None:
    rows = " ".join(line for line in GUIDE.splitlines() if line.startswith("| `"))
    named = set(re.findall(r"`([\w-]+)`", rows))
    assert {path.stem for path in (CHECKOUT / "configs" / "clusters").iterdir()} <= named


def test_the_guide_word_for_word(slurm_cluster: Slurm, guides_launchpad: Path, cli: Cli, tmp_path: Path) -> None:
    """On a campaign as small as the guide's is large, dry, with the bundled file as it comes; and by its name."""
    small_campaign(tmp_path)
    copy = COPY.replace("python -c", f"{shlex.quote(sys.executable)} -c")
    subprocess.run(["bash", "-c", copy], cwd=tmp_path, check=True)
    assert len(COMMANDS) == 7
    for line in COMMANDS:
        words = shlex.split(line.replace("wsse", "small.yaml").replace("--engine vasp", "--engine emt"))
        done = cli(*words[1:])
        assert done.returncode == 0, (line, done.stdout, done.stderr)
        assert done.stderr == "", line
    by_name = [word.replace("slurm.yaml", "slurm") for word in shlex.split(COMMANDS[3])[1:-1]]
    done = cli(*by_name, "--every", "1", timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "6 recorded"
    told = cli("results", "--launchpad", "my_launchpad.yaml", "--format", "json").stdout
    assert [row["converged"] for row in json.loads(told)] == [True]


@pytest.mark.usefixtures("guides_launchpad")
def test_qlaunch_with_the_two_files_of_its_page(
    slurm_cluster: Slurm, secured: MongoClient[dict[str, Any]], cli: Cli, warm: Warm, tmp_path: Path
) -> None:
    """Paths aside, and a task instead of 64: the first calculations are recorded, by rlaunch in its jobs."""
    small_campaign(tmp_path, quantities=[])
    assert cli("submit", "small.yaml", "--launchpad", "my_launchpad.yaml", "--root", "runs").returncode == 0
    for name, text in (("my_fworker", FWORKER), ("my_qadapter", ADAPTER)):
        text = text.replace("/scratch/me", str(tmp_path)).replace("ntasks: 64", "ntasks: 1").replace("200G", "1G")
        text = text.replace("rlaunch -l", f"{Path(sys.executable).with_name('rlaunch')} -l")
        (tmp_path / f"{name}.yaml").write_text(text)
    (tmp_path / "logs").mkdir()
    for line in LAUNCHES:
        words = shlex.split(line)
        done = warm.run(words, tmp_path, 120, PROGRAMS[words[0]])
        assert done.returncode == 0, done.stdout + done.stderr
    records = secured["sodiate"]["records"]
    wait_until(lambda: records.count_documents({"state": "current"}) >= 2, 120)
    roots = {record["provenance"]["directory"] for record in records.find()}
    assert all(Path(root).parent == tmp_path / "runs" for root in roots)
    slurm_cluster.call("scancel", "--me")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "resources"),
    [
        ("mpiexec -n {ranks}", {"tasks": 2}),
        ("srun --mpi=pmix -n {ranks}", {"tasks": 2}),
        ("mpiexec -n {ranks}", {"nodes": 2, "tasks_per_node": 1}),
        ("srun --mpi=pmix -n {ranks}", {"nodes": 2, "tasks_per_node": 1}),
    ],
)
def test_gpaw_through_the_queue_with_two_ranks(
    launcher: str,
    resources: dict[str, int],
    gpaw: None,
    slurm_cluster: Slurm,
    launchpad: Path,
    cli: Cli,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many ranks as its class has tasks, whatever cores the node says that it has; also one on each of two."""
    for variable in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):
        monkeypatch.setenv(variable, "1")
    small_campaign(
        tmp_path, supercell=[1, 1], sites=["T_W@top"], quantities=[], vacuum_a=6.0,
        models=[{"model": "WSe2", "protocol": {"cutoff_ev": 250, "kpoint_length_a": 8, "max_force_ev_per_a": 2.0}}],
    )  # fmt: skip
    one = {"kinds": "rest", **resources, "wall_time": "00:10:00", "memory_gb": 1}
    command = f"{launcher} {Path(sys.executable).with_name('gpaw')} python run.py"
    content = {"scheduler": "slurm", "max_jobs": 1, "env": {"gpaw_command": command}, "classes": {"all": one}}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "my_launchpad.yaml").write_bytes(launchpad.read_bytes())
    place = ("--launchpad", "my_launchpad.yaml", "--root", "root")
    done = cli("submit", "small.yaml", "--engine", "gpaw", *place)
    assert done.returncode == 0, done.stderr
    for name in ("Na", "WSe2/Na", "WSe2/T_W@top", "WSe2/lowest"):
        assert cli("cancel", name, *place).returncode == 0
    with slurm.cluster(tmp_path_factory.mktemp("nodes"), "n", nodes=resources.get("nodes", 1)) as cluster:
        monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
        done = cli("queue", "--cluster", "cluster.yaml", *place, "--every", "2", timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr + cli("status", *place).stdout
    text = "".join(path.read_text() for path in (tmp_path / "root").glob("*/gpaw-*.txt"))
    assert re.search(r"^cores: +2$", text, re.M), text[:2000]
