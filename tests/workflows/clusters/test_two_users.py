"""Two users of the operating system who do not see each other's jobs, on one SLURM and one MongoDB with passwords."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymongo import MongoClient
from support import CHECKOUT, slurm
from support.campaigns import small_campaign
from support.cli import wait_until
from support.requirements import skip_unless_required
from support.servers import asks_for_password

OPTIONS = ("--launchpad", "my_launchpad.yaml", "--root", "runs", "--cluster", "cluster.yaml")


@dataclass(frozen=True)
class Person:
    """A user who has no right but to its own folder."""

    name: str
    folder: Path
    variables: Mapping[str, str]

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        own = {"HOME": str(self.folder), "USER": self.name, "LOGNAME": self.name, "TMPDIR": str(self.folder)}
        environment = {**self.variables, **own}
        return subprocess.Popen(
            list(map(str, words)),
            user=self.name,
            group=pwd.getpwnam(self.name).pw_gid,
            extra_groups=[],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str | Path) -> str:
        process = self.start(*words)
        out, errors = process.communicate(timeout=120)
        assert process.returncode == 0, (words, out, errors)
        assert errors == "", (words, errors)
        return out

    def own(self, name: str, text: str) -> None:
        """Write a file that nobody else may read."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        shutil.chown(path, self.name)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user may enter; pytest's own are for one."""
    if os.geteuid() != 0:
        skip_unless_required("needs the right to start processes of other users: run it as root")
    folder = Path(tempfile.mkdtemp(prefix="two-users-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def python_for_all(place: Path) -> Iterator[dict[str, str]]:
    """Yield the environment of a Python that every user may run: this one's folders, which may be in root's home."""
    mounts = {Path(sys.base_prefix): place / "base", CHECKOUT: place / "source" / "sodiate"}
    for number, entry in enumerate(sys.path):
        if Path(entry).name in ("site-packages", "dist-packages") and Path(entry).is_dir():
            mounts[Path(entry)] = place / f"packages{number}"
    for path in (*mounts.values(), place / "bin"):
        path.mkdir(parents=True)
    program = Path(os.path.realpath(sys.executable)).relative_to(os.path.realpath(sys.base_prefix))
    (place / "bin" / "python3").symlink_to(place / "base" / program)
    script = place / "bin" / "sodiate"
    script.write_text(f"#!{place}/bin/python3\nfrom sodiate.workflows.cli.main import main\n\nmain()\n")
    script.chmod(0o755)
    made: list[Path] = []
    try:
        for source, target in mounts.items():
            done = subprocess.run(["mount", "--bind", source, target], capture_output=True, check=False)
            if done.returncode != 0:
                skip_unless_required("needs the right to mount folders: run it as root")
            made.append(target)
        packages = [place / "source", *list(mounts.values())[2:]]
        yield {
            "PATH": os.pathsep.join((str(place / "bin"), os.environ["PATH"])),
            "PYTHONPATH": os.pathsep.join(map(str, packages)),
            "LD_LIBRARY_PATH": str(place / "base" / "lib"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
    finally:
        for target in made:
            subprocess.run(["umount", "--lazy", target], check=True)


@pytest.fixture
def people(mongod: Path, place: Path) -> Iterator[tuple[list[Person], slurm.Slurm, MongoClient[dict[str, Any]]]]:
    """Two accounts that every system has, each with a folder, a launchpad file and a campaign of its own."""
    lacking = slurm.missing()
    if lacking:
        skip_unless_required(f"needs {', '.join(lacking)}: Debian's slurmctld slurmd slurm-client")
    parts = {name: place / name for name in ("slurm", "mongod", "daemon", "games")}
    for path in parts.values():
        path.mkdir()
    one = {"kinds": "rest", "wall_time": "00:05:00", "memory_gb": 0.5}
    cluster = {"scheduler": "slurm", "max_jobs": 1, "signal_s": 30, "classes": {"all": one}}
    with (
        python_for_all(place) as variables,
        slurm.cluster(parts["slurm"]) as running,
        asks_for_password(mongod, parts["mongod"]) as client,
    ):
        assert client.address is not None
        found = []
        for name, site in (("daemon", "V_S@top"), ("games", "T_W@bottom")):
            person = Person(name, parts[name], {**variables, **running.environment})
            client["trial"].command("createUser", name, pwd=f"of {name}", roles=["readWrite"])
            file = {"host": "127.0.0.1", "port": client.address[1], "name": "trial", "authsource": "trial"}
            person.own("my_launchpad.yaml", yaml.safe_dump({**file, "username": name, "password": f"of {name}"}))
            person.own("cluster.yaml", yaml.safe_dump(cluster))
            campaign = small_campaign(person.folder, campaign=f"of-{name}", sites=[site], quantities=[])
            person.own(campaign.name, campaign.read_text(encoding="utf-8"))
            person.folder.chmod(0o700)
            shutil.chown(person.folder, name)
            found.append(person)
        yield found, running, client


def test_two_users_who_do_not_see_each_others_jobs(
    people: tuple[list[Person], slurm.Slurm, MongoClient[dict[str, Any]]],
) -> None:
    """Each counts, judges and computes its own; what both need is computed once; PrivateData=jobs hides the rest."""
    (anna, ben), cluster, client = people
    for person in (anna, ben):
        assert "calculations added" in person.run("sodiate", "submit", f"of-{person.name}.yaml", *OPTIONS[:4])
    (node,) = cluster.call("sinfo", "-h", "-N", "-o", "%N").split()
    cluster.call("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    for person in (anna, ben):
        assert person.run("sodiate", "queue", *OPTIONS, "--once").count("job ") == 1
        assert person.run("sodiate", "queue", *OPTIONS, "--once").count("job ") == 0
    for person in (anna, ben):
        assert len(person.run("squeue", "-h", "-o", "%i").split()) == 1
        assert person.run("sodiate", "recover", *OPTIONS).startswith("0 queued again")
        told = person.run("sodiate", "status", *OPTIONS)
        assert told.count("\njob ") == 1
        assert f", {person.name}'s)" in told
    assert len(cluster.call("squeue", "-h", "-o", "%i").split()) == 2
    cluster.call("scontrol", "update", f"nodename={node}", "state=resume")
    queues = [person.start("sodiate", "queue", *OPTIONS, "--every", "1") for person in (anna, ben)]
    for process in queues:
        out, errors = process.communicate(timeout=240)
        assert process.returncode == 0, (out, errors)
        assert "recorded" in out
    trial = client["trial"]
    attempts = list(trial["attempts"].find())
    assert [attempt["outcome"] for attempt in attempts] == ["completed"] * len(attempts)
    assert len({attempt["calculation"] for attempt in attempts}) == len(attempts)
    assert (
        len(attempts)
        == trial["records"].count_documents({"state": "current"})
        == trial["calculations"].count_documents({})
    )
    for attempt in attempts:
        owner = {"daemon": anna, "games": ben}[attempt["user"]]
        assert Path(attempt["directory"]).is_relative_to(owner.folder)
        assert Path(attempt["directory"]).owner() == attempt["user"]
    assert {attempt["user"] for attempt in attempts} == {"daemon", "games"}
    for person in (anna, ben):
        assert person.run("sodiate", "results", *OPTIONS[:2], "--campaign", f"of-{person.name}")
    wait_until(lambda: not cluster.call("squeue", "-h", "-o", "%i").split())


HIDDEN = """
import os, pwd, sys
from sodiate.workflows.database.lease import Owner, _start_of
from dataclasses import replace
living, ended = int(sys.argv[1]), int(sys.argv[2])
here = Owner.here()
owners = [replace(here, pid=living, start=_start_of(living)), replace(here, pid=ended, start="1")]
account = pwd.getpwnam("daemon")
os.setgroups([])
os.setgid(account.pw_gid)
os.setuid(account.pw_uid)
print(os.path.exists(f"/proc/{living}"), *(owner.is_gone() for owner in owners))
"""


def test_a_process_that_a_user_cannot_see_has_not_ended(place: Path) -> None:
    """Many sites hide others' processes (hidepid): a lease on the same node is not free for that."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    mount = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    words = ["unshare", "--mount", "sh", "-c", mount, "sh", sys.executable, "-c", HIDDEN]
    words += [str(os.getpid()), str(ended.pid)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "mount" in done.stderr:
        skip_unless_required(f"needs the right to mount: run it as root ({done.stderr.strip()})")
    assert done.stdout.split() == ["False", "False", "True"], done.stderr
