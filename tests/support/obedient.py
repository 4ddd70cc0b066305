"""A scheduler that does as it is told, for tests of the queue."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sodiate.workflows.clusters.scheduler import Listed, Request, Scheduler


@dataclass
class Obedient(Scheduler):
    """A scheduler without commands: jobs are a list, and each submission may first do something of the test's."""

    name = "obedient"
    submit_command = ("submit",)
    number_line = re.compile(r"(\d+)")
    ask_command = ("ask",)
    job_variable = "OBEDIENT_JOB"
    ended_states = frozenset(("OVER",))

    jobs: list[Listed] = field(default_factory=list)
    before: Callable[[str], None] = lambda name: None
    asked: Callable[[], None] = lambda: None
    submitted: list[str] = field(default_factory=list)

    def header(self, request: Request) -> list[str]:
        return [f"# {request.name}"]

    def cluster_name(self) -> str:
        return "here"

    def listed(self) -> list[Listed]:
        self.asked()
        return list(self.jobs)

    def submit(self, script: Path) -> str:
        name = script.read_text().splitlines()[1].split()[1]
        self.submitted.append(name)
        self.before(name)
        number = str(100 + len(self.submitted))
        self.jobs.append(Listed(number, name, "WAITING"))
        return number

    def all_end(self, state: str = "OVER") -> None:
        self.jobs = [Listed(job.number, job.name, state) for job in self.jobs]
