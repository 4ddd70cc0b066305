"""A private SLURM for tests: no munge, no root needed, one node, which says that it is a large one."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")

_CONFIGURATION = """ClusterName={name}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
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
NodeName={host} NodeAddr=127.0.0.1 CPUs=128 RealMemory=512000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


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
                if self.call("sinfo", "-h", "-o", "%T").strip() in ("idle", "mixed", "allocated"):
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


def _free_ports() -> list[int]:
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def cluster(folder: Path, name: str = "t") -> Iterator[Slurm]:
    """Run a cluster in a folder; its jobs end with it."""
    for part in ("state", "spool"):
        (folder / part).mkdir()
    host = socket.gethostname().split(".")[0]
    text = _CONFIGURATION.format(name=name, host=host, ports=_free_ports(), user=getpass.getuser(), folder=folder)
    (folder / "slurm.conf").write_text(text)
    slurm = Slurm(folder, _start("slurmctld", folder))
    node = _start("slurmd", folder, "-N", host)
    try:
        slurm.wait_for_node()
        yield slurm
    finally:
        subprocess.run(["scancel", "--me"], env={**os.environ, **slurm.environment}, check=False, timeout=30)
        time.sleep(0.5)
        for process in (node, slurm.controller):
            process.terminate()
            process.wait(30)
