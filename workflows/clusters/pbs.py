"""PBS, Professional and OpenPBS, by qsub and qstat. It sends no signal before the wall time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from .scheduler import Listed, Request, Scheduler, Share, output_of

_SHARE = re.compile(r"-l\s*(select|nodes)=")
"""An option that says itself what each node gives."""


class Pbs(Scheduler):
    """PBS."""

    name = "pbs"
    submit_command = ("qsub",)
    number_line = re.compile(r"(\d+)(?:\[\])?(?:\.\S+)?$")
    ask_command = ("qstat",)
    job_variable = "PBS_JOBID"
    ended_states = frozenset("FCX")

    def header(self, request: Request) -> list[str]:
        """Return the lines ``#PBS``, with the tasks spread evenly over the nodes; names have 15 letters at most."""
        options = [
            f"-N {request.tag[-15:]}",
            f"-l walltime={request.wall_time}",
            "-j oe",
            f"-o {request.logs}/",
        ]
        options += [] if any(map(_SHARE.match, request.options)) else [f"-l select={request.nodes}:{_chunk(request)}"]
        options += ["-l place=scatter:excl"] if request.exclusive else []
        options += [f"-q {request.queue}"] if request.queue else []
        options += [f"-A {request.account}"] if request.account else []
        return [f"#PBS {option}" for option in (*options, *request.options)]

    def share_environment(self, environment: Mapping[str, str], share: Share) -> dict[str, str | None]:
        """Take away what gives MPI all cores of the job; it finds those that it may run on."""
        return {"PBS_ENVIRONMENT": None, "PBS_NODEFILE": None}

    def listed(self) -> list[Listed]:
        """Read the table of qstat: number, name, user, time, state, queue; it has no room for reasons."""
        rows = [line.split() for line in output_of(["qstat"]).splitlines()]
        return [
            Listed(row[0].split(".")[0].removesuffix("[]"), row[1], row[4])
            for row in rows
            if len(row) > 5 and row[0][0].isdigit()
        ]

    def cluster_name(self) -> str | None:
        """Read the name of the server."""
        name = re.search(r"^Server:\s*(\S+)", output_of(["qstat", "-B", "-f"]), re.M)
        return name and name[1]

    def reasons(self, jobs: Iterable[Listed]) -> dict[str, str]:
        """Read the comments of waiting jobs."""
        waiting = [job.number for job in jobs if job.state in ("Q", "H", "W")]
        return {number: reason for number in waiting if (reason := _comment(number))}


def _chunk(request: Request) -> str:
    tasks = request.tasks_per_node or -(-request.tasks // request.nodes)
    parts = [f"ncpus={tasks * request.cpus_per_task}", f"mpiprocs={tasks}"]
    parts += [f"ompthreads={request.cpus_per_task}"] if request.cpus_per_task > 1 else []
    parts += [f"ngpus={request.gpus}"] if request.gpus else []
    parts += [f"mem={request.memory_mb}mb"] if request.memory_mb else []
    return ":".join(parts)


def _comment(number: str) -> str:
    """Read the comment of a job, whose further lines are indented by a tab."""
    text = output_of(["qstat", "-f", number]).replace("\n\t", "")
    comment = re.search(r"^\s*comment = (.*)$", text, re.M)
    return comment[1].strip() if comment else ""
