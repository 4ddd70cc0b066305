"""What status says of a calculation while it runs, and that watching ends when it is asked to."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from sodiate.workflows.cli.status import calculation_lines, status_lines
from sodiate.workflows.plan.planner import plan
from support.campaigns import Bench, small_campaign


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
