"""SLURM, by sbatch, squeue and scontrol."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping

from .scheduler import Listed, Request, Scheduler, Share, call, output_of

_ENDED = "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED LAUNCH_FAILED NODE_FAIL OUT_OF_MEMORY REVOKED TIMEOUT"


class Slurm(Scheduler):
    """SLURM."""

    name = "slurm"
    submit_command = ("sbatch", "--parsable")
    number_line = re.compile(r"(?:Submitted batch job )?(\d+)(?:;\S+)?$")
    ask_command = ("squeue", "--noheader", "--me")
    job_variable = "SLURM_JOB_ID"
    ended_states = frozenset(_ENDED.split())
    starts_on_all_nodes = True

    def header(self, request: Request) -> list[str]:
        """Return the lines ``#SBATCH``; ``B:`` sends the signal to the worker, which replaces the shell."""
        options = [
            f"--job-name={request.name}",
            f"--nodes={request.nodes}",
            f"--ntasks={request.tasks}",
            f"--cpus-per-task={request.cpus_per_task}",
            f"--time={request.wall_time}",
            f"--signal=B:USR1@{request.signal_s}",
            f"--output={request.logs}/%x-%j.out",
        ]
        options += [f"--ntasks-per-node={request.tasks_per_node}"] if request.tasks_per_node else []
        options += [f"--gpus-per-node={request.gpus}"] if request.gpus else []
        options += [f"--mem={request.memory_mb}M"] if request.memory_mb else []
        options += ["--exclusive"] if request.exclusive else []
        options += [f"--partition={request.queue}"] if request.queue else []
        options += [f"--account={request.account}"] if request.account else []
        return [f"#SBATCH {option}" for option in (*options, *request.options)]

    def exports(self, request: Request) -> dict[str, str]:
        """Tell srun, too, which from SLURM 22.05 on does not take it from the job."""
        return {**super().exports(request), "SRUN_CPUS_PER_TASK": str(request.cpus_per_task)}

    def share_environment(self, environment: Mapping[str, str], share: Share) -> dict[str, str | None]:
        """Tell srun to take no more than a share, so that steps run side by side, and MPI how many tasks that has."""
        on_node = share.tasks // share.nodes
        values: dict[str, str | None] = {
            "SLURM_EXACT": "1",  # no more cores than a step has tasks for; else the first one takes all
            "SLURM_NTASKS": str(share.tasks),
            "SLURM_NPROCS": str(share.tasks),
            "SLURM_NTASKS_PER_NODE": str(on_node),
            "SLURM_TASKS_PER_NODE": f"{on_node}(x{share.nodes})" if share.nodes > 1 else str(on_node),
            "SLURM_JOB_NUM_NODES": str(share.nodes),
            "SLURM_NNODES": str(share.nodes),
        }
        memory = environment.get("SLURM_MEM_PER_NODE", "")
        if memory.isdigit():
            values["SLURM_MEM_PER_NODE"] = str(int(memory) // share.per_node)
        if share.gpus is not None:
            values["SLURM_GPUS_PER_NODE"] = str(share.gpus)
        return values

    def listed(self) -> list[Listed]:
        """Ask squeue for this user's jobs in all states."""
        output = output_of(["squeue", "--noheader", "--me", "--states=all", "--format=%i|%T|%r|%j"])
        rows = [line.strip().split("|", 3) for line in output.splitlines()]
        jobs = [(number, name, state, reason) for number, state, reason, name in (r for r in rows if len(r) == 4)]
        return [Listed(number, name, state, "" if why == "None" else why) for number, name, state, why in jobs]

    def cluster_name(self) -> str | None:
        """Read the name in the configuration of the controller."""
        name = re.search(r"^ClusterName\s*=\s*(\S+)", output_of(["scontrol", "show", "config"]), re.M)
        return name and name[1]

    def seconds_left(self, environment: Mapping[str, str]) -> float | None:
        """Read the job's end from its environment, else ask squeue."""
        end = environment.get("SLURM_JOB_END_TIME")
        if end is not None and end.isdigit():
            return float(end) - time.time()
        job = environment.get(self.job_variable)
        if job is None or shutil.which("squeue") is None:
            return None
        return _seconds(call(["squeue", "--noheader", f"--jobs={job}", "--format=%L"]).stdout.strip())


def _seconds(text: str) -> float | None:
    """Read ``1-02:03:04``, ``02:03:04`` or ``03:04``."""
    parts = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if parts is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in parts.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60.0 + seconds
