"""LSF, by bsub, bjobs and lsid. The worker watches the clock: a warning signal would reach the codes as well."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .scheduler import Listed, NoAnswer, Request, Scheduler, Share, call, output_of

_HOSTS = "LSB_JOBID LSB_HOSTS LSB_MCPU_HOSTS LSB_DJOB_HOSTFILE LSB_DJOB_RANKFILE LSB_AFFINITY_HOSTFILE"
"""Variables by which MPI finds the hosts and cores of a job."""


class Lsf(Scheduler):
    """LSF."""

    name = "lsf"
    submit_command = ("bsub",)
    number_line = re.compile(r"Job <(\d+)>")
    ask_command = ("lsid",)
    job_variable = "LSB_JOBID"
    ended_states = frozenset(("DONE", "EXIT"))

    def header(self, request: Request) -> list[str]:
        """Return the lines ``#BSUB``; the wall time is in hours and minutes there."""
        hours, minutes, seconds = map(int, request.wall_time.split(":"))
        minutes += seconds > 0
        per_node = request.tasks_per_node or -(-request.tasks // request.nodes)
        memory = [f"rusage[mem={request.memory_mb}MB/host]"] if request.memory_mb else []
        parts = [f"span[ptile={per_node}]", f"affinity[core({request.cpus_per_task})]", *memory]
        options = [
            f"-J {request.name}",
            f"-n {request.tasks}",
            f'-R "{" ".join(parts)}"',
            f"-W {hours + minutes // 60}:{minutes % 60:02d}",
            f"-o {request.logs}/{request.name}-%J.out",
        ]
        options += [f'-gpu "num={request.gpus}"'] if request.gpus else []
        options += ["-x"] if request.exclusive else []
        options += [f"-q {request.queue}"] if request.queue else []
        options += [f"-P {request.account}"] if request.account else []
        return [f"#BSUB {option}" for option in (*options, *request.options)]

    def submit(self, script: Path) -> str:
        """Give the script to bsub as its input, without which it reads no directives; see `Scheduler.submit`."""
        return self.number_in(call(self.submit_command, stdin=script), script)

    def share_environment(self, environment: Mapping[str, str], share: Share) -> dict[str, str | None]:
        """Take away what gives MPI all cores of the job; it finds those that it may run on."""
        return dict.fromkeys(_HOSTS.split())

    def listed(self) -> list[Listed]:
        """Ask bjobs for this user's jobs, ended ones too; that there are none it says by an error."""
        answer = call(["bjobs", "-a", "-noheader", "-o", "jobid stat job_name pend_reason delimiter='|'"])
        if answer.returncode != 0 and "No job found" not in answer.stderr:
            raise NoAnswer(f"bjobs: {answer.stderr.strip() or 'no answer'}")
        rows = [line.strip().split("|", 3) for line in answer.stdout.splitlines()]
        jobs = [row for row in rows if len(row) == 4]
        return [Listed(number, name, state, "" if why == "-" else why) for number, state, name, why in jobs]

    def cluster_name(self) -> str | None:
        """Read the name that lsid prints."""
        name = re.search(r"My cluster name is (\S+)", output_of(["lsid"]))
        return name and name[1]
