"""PBS, Professional and OpenPBS, by qsub and qstat. It sends no signal before the wall time."""

from __future__ import annotations

from .scheduler import Request, Scheduler, output_of

_NAME_LETTERS = 15
"""PBS refuses longer names of jobs."""


class Pbs(Scheduler):
    """PBS."""

    name = "pbs"
    submit_command = "qsub"
    ask_command = ("qstat",)
    job_variable = "PBS_JOBID"
    live_states = frozenset("QRHWTESB")

    def header(self, request: Request) -> list[str]:
        """Return the lines ``#PBS``, with the tasks spread evenly over the nodes."""
        tasks_per_node = -(-request.tasks // request.nodes)
        cpus = tasks_per_node * request.cpus_per_task
        chunk = f"ncpus={cpus}:mpiprocs={tasks_per_node}:mem={request.memory_mb}mb"
        options = [
            f"-N {request.name[:_NAME_LETTERS]}",
            f"-l select={request.nodes}:{chunk}",
            f"-l walltime={request.wall_time}",
            "-j oe",
            f"-o {request.logs}/",
        ]
        options += [f"-q {request.queue}"] if request.queue else []
        options += [f"-A {request.account}"] if request.account else []
        return [f"#PBS {option}" for option in options]

    def known_states(self) -> dict[str, str]:
        """Read the table of qstat, whose fifth column is the state."""
        rows = [line.split() for line in output_of(["qstat"]).splitlines()]
        return {row[0].split(".")[0]: row[4] for row in rows if len(row) > 4 and row[0][0].isdigit()}
