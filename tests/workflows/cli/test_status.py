"""What status says of a calculation while it runs, and that watching ends when it is asked to."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from sodiate.analysis.cost import Spent
from sodiate.workflows.cli.progress import show_progress
from sodiate.workflows.cli.running import running
from sodiate.workflows.cli.status import calculation_lines, status_lines
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.cost import work_of
from support import present
from support.campaigns import Bench, small_campaign
from support.cli import wait_until


def test_a_running_relaxation_tells_its_last_step(bench: Bench, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path, quantities=[]))
    bench.submit(planned)
    bench.launch(planned)
    site = planned.names["WSSe+VS/V_S@top"]
    (done,) = bench.attempts(site.id)
    bench.documents.records.delete_many({"calculation": site.id})
    bench.documents.calculations.update_one({"_id": site.id}, {"$unset": {"record": 1}})
    bench.documents.attempts.update_one({"_id": done["_id"]}, {"$set": {"outcome": "running"}})
    (line,) = [line for line in status_lines(bench.documents) if line.startswith("  WSSe+VS/V_S@top:")]
    steps = done["ionic_steps"]
    assert line.startswith(f"  WSSe+VS/V_S@top: running, step {steps}, largest force 0.0")


def test_show_prints_the_notes_of_a_record(bench: Bench, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    bench.launch(planned)
    lines = calculation_lines(bench, planned.names["WSSe+VS/dos"].id)
    assert "  note        bands and DOS are of a tight-binding model that only exercises the analysis" in lines


def test_watching_ends_by_ctrl_c(bench: Bench, launchpad: Path, tmp_path: Path) -> None:
    bench.submit(plan(small_campaign(tmp_path, quantities=[])))
    program = str(Path(sys.executable).with_name("sodiate"))
    command = [program, "status", "--watch", "--launchpad", str(launchpad), "--root", str(bench.root)]
    # A shell starts what it puts into the background deaf to Ctrl-C, tests included: a terminal does not.
    watching = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        told, complaint = watching.communicate(timeout=8)
        raise AssertionError(f"it ended by itself: {told} {complaint}")
    except subprocess.TimeoutExpired:
        watching.send_signal(signal.SIGINT)
        told, complaint = watching.communicate(timeout=20)
    assert watching.returncode == 0
    assert complaint == ""
    assert "5 not yet run" in told


def test_a_running_relaxation_says_when_it_may_end(bench: Bench, tmp_path: Path) -> None:
    """Half an hour after it began, for two core hours on two cores, of which earlier launches have done a half."""
    planned = plan(small_campaign(tmp_path, quantities=[]), "gpaw")
    bench.submit(planned)
    site = planned.names["WSSe+VS/V_S@top"]
    directory = tmp_path / "calculation"
    directory.mkdir()
    (directory / "gpaw-1.txt").write_text("cores:    2\n")
    began = datetime.now(UTC) - timedelta(minutes=30)
    attempt = {"calculation": site.id, "directory": str(directory), "started": began.isoformat()}
    earlier = attempt | {"started": (began - timedelta(days=1)).isoformat(), "wall_time_s": 1800.0, "cores": 2}
    bench.documents.attempts.insert_many([earlier | {"outcome": "lost"}, attempt | {"outcome": "running"}])
    past = {"other": Spent(present(work_of(site, 2)), 7200.0)}
    (run,) = running(bench.documents, [calculation.id for calculation in planned.calculations], past)
    assert run.calculation == site.id
    end = datetime.now().astimezone()
    assert run.words == f"expected to end {end:%H:%M}"
    (run,) = running(bench.documents, [calculation.id for calculation in planned.calculations], {})
    assert run.words == ""


@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_shows_what_runs(terminal: bool, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it goes on, not when it has ended."""
    planned = plan(small_campaign(tmp_path, quantities=[]))
    entry = bench.submit(planned).entry
    bench.launch(planned)
    site = planned.names["WSSe+VS/V_S@top"]
    output = io.StringIO()
    for name in ("_EVERY_S", "_LINES_EVERY_S"):
        monkeypatch.setattr(f"sodiate.workflows.cli.progress.{name}", 0.05)
    console = Console(file=output, width=160, force_terminal=terminal)
    with show_progress(bench.documents, entry, console):
        bench.documents.attempts.update_one({"calculation": site.id}, {"$set": {"outcome": "running"}})
        wait_until(lambda: "eV/Å" in output.getvalue(), 20)
    words = r"WSSe\+VS/V_S@top: running, step \d+, largest force 0\.0\d\d eV/Å \(criterion 0\.02\)"
    assert re.search(words, output.getvalue())


def test_what_ended_since_the_last_look_is_counted_one_by_one(bench: Bench, tmp_path: Path) -> None:
    """As several workers make it; a calculation that failed or was stopped adds no record."""
    planned = plan(small_campaign(tmp_path, quantities=[]))
    entry = bench.submit(planned).entry
    output = io.StringIO()
    with show_progress(bench.documents, entry, Console(file=output, width=160)) as update:
        bench.launch(planned)
        stopped = {"started": "0", "outcome": "stopped", "reason": "SIGTERM"}
        bench.documents.attempts.insert_one({"calculation": planned["WSSe+VS"].calculation.id} | stopped)
        update()
        update()
    total = len(planned.calculations)
    numbers = [line.partition("]")[0].lstrip("[") for line in output.getvalue().splitlines() if line.startswith("[")]
    assert numbers == [f"{number}/{total}" for number in range(total + 1)]


def test_what_ends_while_lines_are_written_is_counted_with_its_own(bench: Bench, tmp_path: Path) -> None:
    """A worker records between the look at what ended and the count: both of the last lines said that all is done."""
    planned = plan(small_campaign(tmp_path, quantities=[]))
    entry = bench.submit(planned).entry
    output = io.StringIO()
    with show_progress(bench.documents, entry, Console(file=output, width=160)) as update:
        bench.launch(planned)
        last = present(bench.documents.attempts.find_one_and_delete({}, sort=[("started", -1)]))  # not written yet
        update()
        bench.documents.attempts.insert_one(last)
        update()
    total = len(planned.calculations)
    numbers = [line.partition("]")[0].lstrip("[") for line in output.getvalue().splitlines() if line.startswith("[")]
    assert numbers == [f"{number}/{total}" for number in range(1, total + 1)]
