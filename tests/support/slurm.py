"""A private SLURM for tests: no munge, no root needed; nodes, all on this machine, that say they are large ones."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")

_CONFIGURATION = """ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
PrivateData=jobs
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=300
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

_NODE = "NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=128 RealMemory=512000 State=UNKNOWN"

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random")
"""Devices that every machine has, and that SLURM takes for GPUs."""


def missing() -> list[str]:
    """Return the programs that are not here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@dataclass
class Slurm:
    """The running cluster."""

    folder: Path
    controller: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def call(self, *command: str) -> str:
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout

    def restart_controller(self) -> None:
        """End slurmctld and start it again; jobs and node know nothing of it."""
        self.controller.terminate()
        self.controller.wait(30)
        self.controller = _start("slurmctld", self.folder)
        self.wait_for_node()

    def wait_for_node(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if set(self.call("sinfo", "-h", "-N", "-o", "%T").split()) <= {"idle", "mixed", "allocated"}:
                    return
            except subprocess.SubprocessError:
                pass
            time.sleep(0.2)
        raise RuntimeError((self.folder / "slurmctld.log").read_text()[-2000:])


def _start(name: str, folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    path = shutil.which(name)
    assert path is not None
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    with (folder / f"{name}.out").open("ab") as out:
        return subprocess.Popen([path, "-D", *arguments], env=environment, stdout=out, stderr=out)


def _start_apart(folder: Path, node: str) -> subprocess.Popen[bytes]:
    """Start slurmd with a folder for temporary files that no other node sees; PMIx makes one there for each step."""
    for name in ("tmp", f"tmp-{node}"):
        (folder / name).mkdir(exist_ok=True)
    command = f"mount --bind {folder}/tmp-{node} {folder}/tmp && exec slurmd -D -N {node}"
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    with (folder / "slurmd.out").open("ab") as out:
        return subprocess.Popen(["unshare", "--mount", "sh", "-c", command], env=environment, stdout=out, stderr=out)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def cluster(folder: Path, name: str = "t", nodes: int = 1, gpus: bool = False) -> Iterator[Slurm]:
    """Run a cluster in a folder, with four GPUs on each node or none; its jobs end with it.

    For several nodes it takes the right to mount.
    """
    host, ports = socket.gethostname().split(".")[0], _free_ports(1 + nodes)
    names = [host] if nodes == 1 else [f"{name}{number}" for number in range(nodes)]
    for part in ("state", *(f"spool-{node}" for node in names)):
        (folder / part).mkdir()
    lines = ["GresTypes=gpu"] if gpus else []
    for node, port in zip(names, ports[1:], strict=True):
        lines.append(_NODE.format(node=node, host=host, port=port) + " Gres=gpu:4" * gpus)
    values = {"name": name, "host": host, "ports": ports, "user": getpass.getuser(), "folder": folder}
    (folder / "slurm.conf").write_text(_CONFIGURATION.format(**values, nodes="\n".join(lines)))
    if gpus:
        (folder / "gres.conf").write_text("".join(f"Name=gpu File={device}\n" for device in _DEVICES))
    slurm = Slurm(folder, _start("slurmctld", folder))
    if nodes > 1:
        (folder / "mpi.conf").write_text(f"PMIxCliTmpDirBase={folder}/tmp\n")
        running = [_start_apart(folder, node) for node in names]
    else:
        running = [_start("slurmd", folder, "-N", host)]
    try:
        slurm.wait_for_node()
        yield slurm
    finally:
        subprocess.run(["scancel", "--me"], env={**os.environ, **slurm.environment}, check=False, timeout=30)
        time.sleep(0.5)
        for process in (*running, slurm.controller):
            process.terminate()
            process.wait(30)


@dataclass
class Watch:
    """How many jobs were alive at each look, counted beside the queue."""

    slurm: Slurm
    counts: list[int] = field(default_factory=list)
    numbers: set[str] = field(default_factory=set)

    @contextmanager
    def watching(self) -> Iterator[None]:
        over = threading.Event()
        real = next(p for p in ("/usr/bin/squeue", shutil.which("squeue")) if p and Path(p).exists())

        def look() -> None:
            while not over.wait(0.2):
                words = [real, "-h", "-t", "PD,R,CF,CG,S", "-o", "%i"]
                env = {**os.environ, **self.slurm.environment}
                done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
                if done.returncode == 0:
                    self.counts.append(len(done.stdout.split()))
                    self.numbers.update(done.stdout.split())

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
