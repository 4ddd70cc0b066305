"""Several people with one database: whose a campaign is, who may change it, and what is said about it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sodiate.workflows.database.connection import Database, open_launchpad
from sodiate.workflows.database.documents import Documents
from support.campaigns import small_campaign
from support.cli import Cli, one_message, says

As = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def as_user(cli: Cli, launchpad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> As:
    """Run a command as somebody, on the shared database and with a root of one's own."""

    def call(user: str, *words: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setenv("LOGNAME", user)
        place = ("--launchpad", str(launchpad))
        root = () if words[0] == "results" else ("--root", str(tmp_path / user))
        return cli(*words, *place, *root)

    return call


@pytest.fixture
def shared(as_user: As, tmp_path: Path, launchpad: Path) -> Any:
    """Anna's campaign, and Bob's with a site of hers: the host, the atom and a site are both's."""
    small_campaign(tmp_path, campaign="annas", quantities=[])
    small_campaign(tmp_path, campaign="bobs", quantities=[], sites=["V_S@top", "H@top"])
    for user in ("anna", "bob"):
        done = as_user(user, "submit", f"{user}s.yaml")
        assert done.returncode == 0, done.stderr
    with open_launchpad(launchpad) as opened:
        yield opened


def states(database: Database) -> dict[str, str]:
    return {d["name"]: d["state"] for d in database.db["fireworks"].find({}, {"name": 1, "state": 1})}


def test_a_name_that_somebody_else_has_is_refused(shared: Database, as_user: As) -> None:
    for command in ("submit", "run"):
        says(one_message(as_user("bob", command, "annas.yaml")), "campaign annas", "anna's", "--yes")
    assert as_user("bob", "submit", "annas.yaml", "--yes").returncode == 0
    assert Documents(shared.db).owners() == {"annas": "anna", "bobs": "bob"}
    assert as_user("anna", "submit", "annas.yaml").returncode == 0


def test_what_is_somebody_elses_is_changed_only_on_purpose(shared: Database, as_user: As) -> None:
    """By name, without a name, and where a calculation is both's."""
    for words in (("cancel", "WSSe+VS/T_W@bottom"), ("cancel", "--campaign", "annas"), ("cancel", "WSSe+VS")):
        says(one_message(as_user("bob", *words)), "annas (anna's)", "--campaign", "--yes")
    says(one_message(as_user("bob", "redo", "Na", "--because", "no")), "annas (anna's)")
    assert "cancelled" not in str(list(shared.db["calculations"].find({"cancelled": True})))
    done = as_user("bob", "cancel")
    assert "WSSe+VS/H@top" in done.stdout
    assert "V_S@top" not in done.stdout  # Anna needs it, too
    done = as_user("bob", "cancel", "WSSe+VS/T_W@bottom", "--campaign", "annas", "--yes")
    assert done.stdout.startswith("1 cancelled")


def test_everybody_is_told_whose_what_is(shared: Database, as_user: As) -> None:
    told = as_user("bob", "status").stdout
    assert "revision 1, anna's): " in told
    assert "revision 1, bob's): " in told
    assert "anna's" in as_user("bob", "show", "WSSe+VS/T_W@bottom").stdout
    assert as_user("anna", "run", "annas.yaml").returncode == 0
    shown = as_user("bob", "show", "WSSe+VS/T_W@bottom").stdout
    assert "by anna" in shown
    assert "campaign annas: anna's" in as_user("bob", "results").stdout
    assert {attempt["user"] for attempt in shared.db["attempts"].find()} == {"anna"}


def test_one_person_alone_is_not_told_that_everything_is_theirs(cli: Cli, tmp_path: Path) -> None:
    small_campaign(tmp_path, quantities=[])
    assert cli("run", "small.yaml", "--root", "root").returncode == 0
    assert "'s)" not in cli("status", "--root", "root").stdout
    assert "'s" not in cli("results", "--root", "root").stdout


def test_where_calculations_stand(shared: Database, as_user: As) -> None:
    """Cancelled, reserved for a job, waiting for others, and ready are four things."""
    assert as_user("anna", "cancel", "WSSe+VS/T_W@bottom").returncode == 0
    firework = shared.db["fireworks"].find_one({"name": "Na"})
    assert firework is not None
    shared.db["fireworks"].update_many({"name": "Na"}, {"$set": {"state": "RESERVED", "launches": [7]}})
    job = {"_id": "sdabcde-7", "launch": 7, "number": "4711", "user": "anna", "cluster": "here", "label": "Na"}
    shared.db["jobs"].insert_one(job)
    line, *more = as_user("anna", "status").stdout.splitlines()
    assert line.endswith("3 not yet run (2 wait for others), 1 reserved, 1 cancelled")
    assert "  Na: reserved, for job 4711 of anna on here" in more
    assert "  WSSe+VS/T_W@bottom: cancelled" in more
