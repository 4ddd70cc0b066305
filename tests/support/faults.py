"""Campaigns that are interrupted: how it is done, and what is held against a run that nobody disturbed.

Times are random and seeded: SODIATE_FAULT_SEED gives other ones, SODIATE_FAULTS=20 twenty times as many strikes.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sodiate.workflows.database.connection import open_launchpad, open_root
from sodiate.workflows.plan.planner import plan

from support.campaigns import small_campaign
from support.cli import wait_until
from support.warm import Process, Warm

TIMES = int(os.environ.get("SODIATE_FAULTS", "1"))
SEED = int(os.environ.get("SODIATE_FAULT_SEED", "17"))

PROPERTY = "fault series"

SLOW = """
import sys, time
from sodiate.workflows.engines.shared.trajectory import Step
of, pace = Step.of, float(sys.argv.pop(1))
def slowly(*given, **more):
    time.sleep(pace)
    return of(*given, **more)
Step.of = slowly
"""
"""A dry relaxation that takes as long as one is to last: else a strike would find none."""

SHORT_LEASE = """
from sodiate.workflows.database.documents import Documents
init = Documents.__init__
Documents.__init__ = lambda self, db, lease_seconds=1.5, files=None: init(self, db, lease_seconds, files)
"""

QUICK = """
from sodiate.workflows.launch import reconcile
reconcile.GRACE_S = reconcile.LOCK_S = 0.5
"""

LARGE = """
import os
from sodiate.workflows.database.documents import Documents
put = Documents._put
def put_much(self, identifier, content):
    put(self, identifier, content + os.urandom(96 << 20))
    self._remove_arrays(identifier.rpartition("-")[0])
    put(self, identifier, content)
Documents._put = put_much
"""
"""Arrays of 96 MB are written before those that a record names: a strike finds the writing half done."""

MAIN = """
from sodiate.workflows.cli.main import main
main()
"""


@dataclass
class Verdict:
    """What became of a campaign: calculations lost, recorded wrongly, and computed or recorded twice."""

    lost: list[str]
    wrong: list[str]
    twice: list[str]


@dataclass
class Trial:
    """A campaign that is interrupted again and again, until it is complete.

    Attributes
    ----------
    folder
        Of the campaign's file and the root.
    warm
        Starts commands.
    reference
        The digest of each record of a run that nobody disturbed, by its calculation's id.
    launchpad
        The launchpad file; None on a private server.
    pace
        Seconds of a step.
    """

    folder: Path
    warm: Warm
    reference: dict[str, str]
    launchpad: Path | None = None
    pace: float = 0.03
    random: random.Random = field(default_factory=lambda: random.Random(SEED))
    root: Path = field(init=False)
    started: list[Process] = field(default_factory=list)
    sizes: dict[Path, int] = field(default_factory=dict)
    strikes: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.campaign = campaign(self.folder)
        self.root = self.folder / "runs"

    @property
    def place(self) -> list[str]:
        launchpad = [] if self.launchpad is None else ["--launchpad", str(self.launchpad)]
        return ["--root", str(self.root), *launchpad]

    def start(self, *words: str, code: str = QUICK) -> Process:
        """Start a command, `run` unless another is named, in which relaxations take their time."""
        self.sizes = self._sizes()
        command = [*(words or ("run", str(self.campaign), "--workers", "1")), *self.place]
        process = self.warm.start(
            ["sodiate", str(self.pace), *command], self.folder, SLOW + code + MAIN, own_group=True
        )
        self.started.append(process)
        return process

    def cold(self, *prefix: str) -> subprocess.Popen[str]:
        """Start `run` by itself, behind another program."""
        words = [str(self.pace), "run", str(self.campaign), *self.place]
        command = [*prefix, sys.executable, "-c", SLOW + QUICK + MAIN, *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, stdout=pipe, stderr=pipe, text=True)

    def relaxing(self) -> list[Path]:
        """Directories in which a relaxation has begun and not ended."""
        return [
            path.parent
            for path in self.root.glob("*/trajectory.jsonl")
            if path.read_bytes().count(b"\n") > 2 and not path.with_name("result.json").exists()
        ]

    def _sizes(self) -> dict[Path, int]:
        return {path.parent: path.stat().st_size for path in self.root.glob("*/trajectory.jsonl")}

    def is_at_work(self) -> bool:
        """Tell whether a relaxation goes on that did not when the last command began."""
        sizes = self._sizes()
        return any(sizes.get(path, 0) > self.sizes.get(path, 0) for path in self.relaxing())

    def is_inside(self, process: Process | subprocess.Popen[str], seconds: float = 30) -> bool:
        """Wait until a calculation is under way, and a moment longer; False if the process ended before."""
        wait_until(lambda: process.poll() is not None or self.is_at_work(), seconds)
        time.sleep(self.random.uniform(0, 0.2))
        return process.poll() is None

    def strike(self, number: int) -> None:
        """Send SIGKILL to a process of this trial, by its number."""
        self.strikes += 1
        os.kill(number, signal.SIGKILL)

    def finish(self, attempts: int = 1) -> None:
        """Let the same command go on until it is done, at most some times."""
        for attempt in range(1, attempts + 1):
            done = self.warm.run(["sodiate", "run", str(self.campaign), *self.place], self.folder, 120, QUICK + MAIN)
            if done.returncode == 0:
                assert done.stderr == ""
                return
            assert "Traceback" not in done.stderr, done.stderr
            assert attempt < attempts, done.stderr

    def end(self) -> None:
        """Kill what still runs, as after a test that failed."""
        for process in self.started:
            process.send_signal(signal.SIGCONT)
            process.kill()

    @contextmanager
    def database(self) -> Iterator[Any]:
        with open_root(self.root) if self.launchpad is None else open_launchpad(self.launchpad) as opened:
            yield opened.db

    def judge(self, series: str, remember: Callable[[str, Any], None]) -> Counter[str]:
        """Compare with the undisturbed run; return how often attempts ended in which way."""
        with self.database() as db:
            attempts = list(db["attempts"].find())
            records = list(db["records"].find())
            arrays = set(db["arrays.files"].distinct("_id")) | set(db["arrays.chunks"].distinct("files_id"))
            fireworks = Counter(document["state"] for document in db["fireworks"].find())
        outcomes = Counter(attempt["outcome"] for attempt in attempts)
        verdict = self._verdict(attempts, records)
        inside = outcomes["lost"] + outcomes["stopped"]
        row = {"series": series, "strikes": self.strikes, "inside": inside, "attempts": len(attempts)}
        remember(PROPERTY, row | {word: len(value) for word, value in vars(verdict).items()})
        assert verdict == Verdict([], [], [])
        assert arrays == {one for record in records for one in record["arrays"].values()}, "arrays that none names"
        assert outcomes["failed"] == outcomes["running"] == 0, attempts
        assert set(fireworks) == {"COMPLETED"}
        return outcomes

    def _verdict(self, attempts: list[dict[str, Any]], records: list[dict[str, Any]]) -> Verdict:
        current = {record["calculation"]: record["digest"] for record in records if record["state"] == "current"}
        completed = Counter(a["calculation"] for a in attempts if a["outcome"] == "completed")
        stored = Counter(record["calculation"] for record in records)
        planned = {calculation.id: calculation.label for calculation in plan(self.campaign).calculations}
        assert planned.keys() == self.reference.keys()
        return Verdict(
            lost=[label for identifier, label in planned.items() if identifier not in current],
            wrong=[planned[one] for one in current if current[one] != self.reference[one]],
            twice=[label for one, label in planned.items() if max(completed[one], stored[one]) > 1],
        )


def campaign(folder: Path) -> Path:
    """An atom, a host, four sites, the density of states, and the choice of the best site."""
    return small_campaign(folder, sites=["T_W@top", "H@top", "T_W@bottom", "H@bottom"], quantities=["dos"])


def digests(warm: Warm, folder: Path, launchpad: Path) -> dict[str, str]:
    """Run the campaign undisturbed, and return the digest of each record."""
    words = ["run", str(campaign(folder)), "--root", str(folder / "runs"), "--launchpad", str(launchpad)]
    done = warm.run(["sodiate", *words], folder, 120)
    assert (done.returncode, done.stderr) == (0, "")
    with open_launchpad(launchpad) as opened:
        return {record["calculation"]: record["digest"] for record in opened.db["records"].find()}


def server_of(root: Path) -> int:
    """Return the number of the process of a root's private server."""
    return int(json.loads((root / "mongod" / "server.json").read_text())["pid"])


def parent_of(number: int) -> int:
    return int(Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2].split()[1])


def codes_in(directory: Path) -> dict[int, str]:
    """Return the processes of a code that run in a directory, with their command lines."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (path / "cwd").readlink() == directory:
                found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def write_table(reporter: pytest.TerminalReporter) -> None:
    """Print what each series interrupted, and what came of it."""
    reports = [report for reports in reporter.stats.values() for report in reports]
    rows = [value for report in reports for key, value in getattr(report, "user_properties", ()) if key == PROPERTY]
    if not rows:
        return
    reporter.section("faults: what each series interrupted")
    heads = ("series", "strikes", "inside", "attempts", "lost", "wrong", "twice")
    reporter.write_line(f"{heads[0]:52}" + "".join(f"{head:>10}" for head in heads[1:]))
    for row in sorted({row["series"]: row for row in rows}.values(), key=lambda row: str(row["series"])):
        reporter.write_line(f"{row['series']:52}" + "".join(f"{row[head]:>10}" for head in heads[1:]))
