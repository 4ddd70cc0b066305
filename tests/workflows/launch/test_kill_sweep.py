"""kill -9 before any one write to MongoDB: the next run completes, and every calculation is recorded once.

A sample of the writes of a small campaign by default; every one of them (some minutes) with SODIATE_KILL_EVERY=1.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from sodiate.workflows.database.connection import open_launchpad
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.database.mongod import PrivateMongod
from sodiate.workflows.plan.planner import plan
from support.campaigns import small_campaign
from support.servers import own_launchpad
from support.warm import Warm

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
from sodiate.workflows import run
run.write_files = lambda *given: []  # figures, after the last write
from sodiate.workflows.launch import reconcile
reconcile.GRACE_S = reconcile.LOCK_S = 0.5
from sodiate.workflows.cli.commands import app

try:
    app(sys.argv[2:])
finally:
    print("writes", Killer.writes)
"""


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_before_a_write(server: PrivateMongod, warm: Warm, tmp_path: Path) -> None:
    def run(kill_before: int, launchpad: Path) -> subprocess.CompletedProcess[str]:
        place = ["--launchpad", str(launchpad), "--root", str(launchpad.parent)]
        return warm.run(
            ["-c", str(kill_before), "run", str(campaign), "--workers", "1", *place], tmp_path, 60, DRIVER
        )

    campaign = small_campaign(tmp_path, models=["WSe2"], supercell=[1, 1], sites=["H@top"], quantities=[])
    with own_launchpad(server, tmp_path / "whole") as launchpad:
        whole = run(-1, launchpad)
    assert whole.returncode == 0, whole.stderr
    writes = int(whole.stdout.split()[-1])
    assert writes > 60
    planned = plan(campaign)
    bad = []
    for number in range(1 + OFFSET % EVERY, writes + 1, EVERY):
        with own_launchpad(server, tmp_path / str(number)) as launchpad:
            killed = run(number, launchpad)
            again = run(-1, launchpad)
            with open_launchpad(launchpad) as database:
                documents = Documents(database.db)
                current = documents.records.count_documents({"state": "current"})
                left = documents.records.count_documents({"state": "unpublished"})
                attempts = documents.attempts.count_documents({})
        good = killed.returncode == -9 and again.returncode == 0 and left == 0 and current == len(planned)
        if not good or attempts > len(planned) + 1:
            bad.append((number, killed.returncode, again.returncode, current, left, attempts, again.stderr[-300:]))
    assert not bad
