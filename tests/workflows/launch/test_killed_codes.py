"""Codes that are killed, and relaxations that took all their steps: the same command goes on where it can help."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sodiate.workflows.engines.base import Killed, Limits, Progress
from sodiate.workflows.engines.emt.engine import EmtEngine
from sodiate.workflows.launch.corrections import retry
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.stop import Stop
from support.campaigns import Bench, small_campaign

Kill = Callable[[int], bool]


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the dry engine be killed in the runs of the site whose numbers, from 1, a function names."""
    real = EmtEngine.run

    def install(wanted: Kill, out_of_memory: bool = False, steps: Callable[[], int] = lambda: 3) -> None:
        runs = count(1)

        def run(self: EmtEngine, directory: Path, limits: Limits, stop: Stop) -> None:
            if "V_S@top-" in directory.name and wanted(next(runs)):
                raise Killed(f"{directory}: by signal 9", out_of_memory)
            real(self, directory, limits, stop)

        monkeypatch.setattr(EmtEngine, "run", run)
        monkeypatch.setattr(EmtEngine, "progress", lambda self, directory: Progress(step=steps()))

    return install


def outcomes(bench: Bench, identifier: str) -> list[str]:
    return [attempt["outcome"] for attempt in bench.attempts(identifier)]


def test_a_killed_code_goes_on_with_the_same_command(bench: Bench, killed: Any, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path, quantities=[]))
    killed(lambda run: run <= 2)
    bench.submit(planned)
    bench.launch(planned)
    site = planned.names["WSSe+VS/V_S@top"].id
    assert outcomes(bench, site) == ["lost", "lost", "completed"]
    assert "by signal 9" in bench.attempts(site)[0]["reason"]
    assert set(bench.states().values()) == {"COMPLETED"}


@pytest.mark.parametrize(("out_of_memory", "most"), [(False, 5), (True, 3)])
def test_one_that_is_killed_again_and_again_has_failed(
    out_of_memory: bool, most: int, bench: Bench, killed: Any, tmp_path: Path
) -> None:
    """Else a code that wants more memory than there is would be started for ever."""
    planned = plan(small_campaign(tmp_path, quantities=[]))
    killed(lambda run: run <= most + 1, out_of_memory)
    bench.submit(planned)
    bench.launch(planned)
    site = planned.names["WSSe+VS/V_S@top"].id
    assert outcomes(bench, site) == ["lost"] * (most - 1) + ["failed"]
    words = "more memory or fewer ranks" if out_of_memory else "find out why"
    assert f"That was so {most} times at the same step: " in bench.attempts(site)[-1]["reason"]
    assert words in bench.attempts(site)[-1]["reason"]
    bench.launch(planned)
    assert len(outcomes(bench, site)) == most  # only by hand
    retry(bench, [site])
    bench.launch(planned)  # where the count begins anew
    assert outcomes(bench, site)[most - 1 :] == ["retried", "lost", "completed"]


def test_one_that_comes_further_each_time_goes_on(bench: Bench, killed: Any, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path, quantities=[]))
    steps = count()
    killed(lambda run: run <= 8, steps=lambda: next(steps))
    bench.submit(planned)
    bench.launch(planned)
    assert outcomes(bench, planned.names["WSSe+VS/V_S@top"].id) == ["lost"] * 8 + ["completed"]


def test_a_relaxation_goes_on_when_it_may_take_more_steps(bench: Bench, tmp_path: Path) -> None:
    """With the same command, not by itself."""
    few = {"optimizer": "bfgs", "max_steps": 3, "max_step_a": 0.2}
    planned = plan(small_campaign(tmp_path, quantities=[], execution=few))
    bench.submit(planned)
    bench.launch(planned)
    host = planned.names["WSSe+VS"].id
    (failed,) = bench.attempts(host)
    assert failed["outcome"] == "failed"
    assert "raise execution.max_steps (now 3) and run it again" in failed["reason"]
    bench.submit(planned)
    bench.launch(planned)
    assert len(bench.attempts(host)) == 1
    planned = plan(small_campaign(tmp_path, quantities=[], execution=few | {"max_steps": 200}))
    bench.submit(planned)
    bench.launch(planned)
    assert outcomes(bench, host) == ["retried", "completed"]
    assert set(bench.states().values()) == {"COMPLETED"}
    assert bench.documents.record(planned.names["WSSe+VS/lowest"].id) is not None
    assert bench.attempts(host)[-1]["ionic_steps"] > 3
