"""A worker's end of the socket to its run, and the workers as a run sees them."""

from __future__ import annotations

import os
import signal
import socket
from types import SimpleNamespace
from typing import Any

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


def test_workers_that_began_ahead_are_those_that_get_work() -> None:
    """As many as there is work for, and no more than there may be; each is greeted before its first calculation."""
    ours, theirs = socket.socketpair()
    settings = SimpleNamespace(model_dump=lambda **_: {"port": 1})
    bench: Any = SimpleNamespace(database=SimpleNamespace(settings=settings, title="here"), root="root")
    workers = crew.Crew(most=3, control=ours, nursery=0)
    workers.prepare(bench, {}, 2)
    workers.prepare(bench, {}, 5)
    assert len(workers.members) == 3
    files = [socket.recv_fds(theirs, 1, 1)[1][0] for _ in range(3)]
    first = workers.idle(bench, {})
    first.job = crew.Job(1, "one")
    first.send({"firework": 1, "calculation": "one"})
    assert len(workers.members) == 3
    assert workers.idle(bench, {}) is workers.members[1]
    line = crew._Line(socket.socket(fileno=files[0]))
    first.connection.shutdown(socket.SHUT_WR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "kill", lambda *_: None)
        line.read()
    assert [line.jobs.get(), line.jobs.get()] == [
        {"settings": {"port": 1}, "title": "here", "root": "root", "env": {}},
        {"firework": 1, "calculation": "one"},
    ]
    for file in files[1:]:
        os.close(file)
    line.connection.close()
    workers.rest()
    assert workers.members == []
