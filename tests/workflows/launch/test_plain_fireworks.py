"""FireWorks' own commands on sodiate's launchpad: lpad, rlaunch and the web GUI, while `sodiate serve` holds it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from sodiate.workflows.database.connection import Database, initialise, open_root
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.plan.planner import plan
from support import DOCS
from support.campaigns import Bench, small_campaign
from support.cli import wait_until
from support.warm import SODIATE, Warm

BIN = Path(sys.executable).parent


@pytest.fixture
def served(mongod: Path, warm: Warm, tmp_path: Path) -> Iterator[Path]:
    """A root with a submitted campaign, served by the real command."""
    root = tmp_path / "root"
    with open_root(root) as database:
        bench = Bench(database, root)
        initialise(database, bench.launchpad)
        bench.submit(plan(small_campaign(tmp_path)))
        process = warm.start(["sodiate", "serve", "--root", str(root)], tmp_path)
        wait_until(lambda: "Ctrl-C" in process.paths[0].read_text(encoding="utf-8"))
    yield root
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


PROGRAMS = {
    "sodiate": SODIATE,
    "lpad": "from fireworks.scripts.lpad_run import lpad; lpad()",
    "rlaunch": "from fireworks.scripts.rlaunch_run import rlaunch; rlaunch()",
}
"""What the console scripts run."""


def call(warm: Warm, *words: str, cwd: Path) -> str:
    done = warm.run(list(words), cwd, 120, PROGRAMS[words[0]])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_lpad_and_rlaunch(served: Path, warm: Warm, tmp_path: Path) -> None:
    launchpad, fworker = served / "my_launchpad.yaml", served / "my_fworker.yaml"
    assert {path.stat().st_mode & 0o777 for path in (launchpad, fworker)} == {0o600}
    listed = json.loads(call(warm, "lpad", "-l", str(launchpad), "get_fws", cwd=tmp_path))
    assert {one["name"] for one in listed} >= {"WSSe+VS", "WSSe+VS/V_S@top", "Na"}
    work = tmp_path / "launches"
    work.mkdir()
    call(warm, "rlaunch", "-l", str(launchpad), "-w", str(fworker), "rapidfire", cwd=work)
    states = json.loads(call(warm, "lpad", "-l", str(launchpad), "get_fws", cwd=tmp_path))
    assert {one["state"] for one in states} == {"COMPLETED"}
    with open_root(served) as database:
        documents = Documents(database.db)
        assert len(documents.current()) == len(states)
        assert {Path(r.provenance.directory).parent for r in documents.current().values()} == {served.resolve()}


def test_webgui(served: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(BIN / "lpad"), "-l", str(served / "my_launchpad.yaml"), "webgui", "--port", str(port), "-s"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)  # fmt: skip
    try:
        for _ in range(200):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=2) as answer:
                    page = answer.read().decode()
                break
            except OSError:
                time.sleep(0.1)
        else:
            pytest.fail("the web GUI did not answer")
        assert "READY" in page
        assert "small (emt)" in page
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_queries_of_the_documentation(private_database: Database, tmp_path: Path) -> None:
    """The Python of docs/database.md, word for word, on a finished campaign that is called as the bundled one."""
    bench = Bench(private_database, tmp_path / "root")
    sites = ["V_S@top", "H@top", "T_W@bottom"]
    planned = plan(small_campaign(tmp_path, campaign="wsse", sites=sites))
    bench.submit(planned)
    bench.launch(planned)
    moved = {"label": "WSSe+VS/H@top", "state": "current"}  # none leaves its site by itself
    bench.database.db.records.update_one(moved, {"$set": {"site.moved": True, "site.end": "T_W@top"}})
    code = re.search(r"```python\n(.*?)```", (DOCS / "database.md").read_text(encoding="utf-8"), re.S)
    assert code is not None
    script = tmp_path / "queries.py"
    script.write_text(f"address = {bench.database.settings.host!r}\n" + code[1], encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    by_hand = float(lines[0])
    from sodiate.workflows.results.results import Results

    with Results.open(bench.root) as results:
        frame = results.adsorption().set_index(["model", "site"])
    assert by_hand == pytest.approx(frame.loc[("WSSe+VS", "V_S@top"), "adsorption_energy_ev"], abs=1e-12)
    assert [line for line in lines if "→" in line] == ["WSSe+VS/H@top H@top → T_W@top"]


def test_a_launchpad_of_the_users_own(served: Path, warm: Warm, tmp_path: Path) -> None:
    """Other work in it stays as it is; directories go below --root; the results are read from the same file."""
    launchpad = served / "my_launchpad.yaml"
    add = ("from fireworks import *; from sys import argv; "
           "LaunchPad.from_file(argv[1]).add_wf(Firework(ScriptTask.from_str('touch mark')))")  # fmt: skip
    subprocess.run([sys.executable, "-c", add, str(launchpad)], check=True, stdout=subprocess.DEVNULL, cwd=tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    campaign = small_campaign(tmp_path)
    out = call(warm, "sodiate", "run", str(campaign), "--launchpad", str(launchpad), "--root", "runs", cwd=work)
    assert "mock (dry run, not physical)" in out
    assert len(list((work / "runs").glob("*/calculation.json"))) == 6
    states = json.loads(call(warm, "lpad", "-l", str(launchpad), "get_fws", cwd=tmp_path))
    assert sorted(one["state"] for one in states) == ["COMPLETED"] * 6 + ["READY"]
    assert not list(tmp_path.rglob("mark"))
    words = ("results", "--launchpad", str(launchpad), "--format", "json")
    assert json.loads(call(warm, "sodiate", *words, cwd=work))[0]["converged"]
    from sodiate.workflows.results.results import Results

    with Results.open(launchpad) as results:
        assert len(results.adsorption()) == 2
