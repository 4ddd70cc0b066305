"""kill -9 before any one write to MongoDB: the next run completes, and every calculation is recorded once.

A sample of the writes of a small campaign by default; every one of them (some minutes) with SODIATE_KILL_EVERY=1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sodiate.workflows.database.connection import open_root
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.plan.planner import plan
from support.campaigns import small_campaign

EVERY = int(os.environ.get("SODIATE_KILL_EVERY", "12"))
OFFSET = int(os.environ.get("SODIATE_KILL_OFFSET", "7"))

DRIVER = """
import os, signal, sys
from pymongo import monitoring

class Killer(monitoring.CommandListener):
    writes = 0
    def started(self, event):
        if event.command_name in ("insert", "update", "delete", "findAndModify"):
            Killer.writes += 1
            if Killer.writes == int(sys.argv[1]):
                os.kill(os.getpid(), signal.SIGKILL)
    def succeeded(self, event): pass
    def failed(self, event): pass

monitoring.register(Killer())
from sodiate.workflows.cli.main import app

try:
    app(sys.argv[2:])
finally:
    print("writes", Killer.writes)
"""


def run(kill_before: int, campaign: Path, root: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", DRIVER, str(kill_before), "run", str(campaign), "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.mark.usefixtures("mongod")
@pytest.mark.timeout(3600)
def test_killed_before_a_write(tmp_path: Path) -> None:
    campaign = small_campaign(tmp_path, models=["WSe2"], supercell=[1, 1], sites=["H@top"], quantities=[])
    whole = run(-1, campaign, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    writes = int(whole.stdout.split()[-1])
    assert writes > 60
    planned = plan(campaign)
    bad = []
    for number in range(1 + OFFSET % EVERY, writes + 1, EVERY):
        root = tmp_path / str(number)
        killed = run(number, campaign, root)
        again = run(-1, campaign, root)
        with open_root(root) as database:
            documents = Documents(database.db)
            current = documents.records.count_documents({"state": "current"})
            left = documents.records.count_documents({"state": "unpublished"})
            attempts = documents.attempts.count_documents({})
        good = killed.returncode == -9 and again.returncode == 0 and left == 0 and current == len(planned)
        if not good or attempts > len(planned) + 1:
            bad.append((number, killed.returncode, again.returncode, current, left, attempts, again.stderr[-300:]))
    assert not bad
