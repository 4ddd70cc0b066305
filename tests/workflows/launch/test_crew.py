"""A worker's end of the socket to its run."""

from __future__ import annotations

import os
import signal
import socket

import pytest
from sodiate.workflows.launch import crew


def test_a_worker_that_has_not_begun_its_calculation_ends_with_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It still connects to the database, and would go on to compute for nobody."""
    killed: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *given: killed.append(given))
    ours, theirs = socket.socketpair()
    line, run = crew._Line(theirs), crew.Member(ours)
    run.send({"settings": {}})
    run.send({"firework": 1, "calculation": "one"})
    ours.close()
    line.read()
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_a_worker_without_a_calculation_ends_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda *given: pytest.fail(str(given)))
    ours, theirs = socket.socketpair()
    line, run = crew._Line(theirs), crew.Member(ours)
    run.send({"settings": {}})
    ours.close()
    line.read()
    assert [line.jobs.get(), line.jobs.get()] == [{"settings": {}}, None]
