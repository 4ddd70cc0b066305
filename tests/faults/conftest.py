"""What the series share: one undisturbed run of the campaign, and trials that leave no process behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sodiate.workflows.database.mongod import PrivateMongod
from support import sharing
from support.cli import servers, wait_until
from support.faults import Trial, digests
from support.servers import own_launchpad
from support.warm import Warm

MakeTrial = Callable[..., Trial]


@pytest.fixture(scope="session")
def reference(server: PrivateMongod, warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digest of each record of an undisturbed run, made once for all workers."""
    folder = sharing.common_folder(tmp_path_factory) / "undisturbed"
    folder.mkdir(exist_ok=True)

    def run() -> None:
        with own_launchpad(server, folder / "launchpad") as launchpad:
            (folder / "digests.json").write_text(json.dumps(digests(warm, folder, launchpad)))

    sharing.make_once(folder / "digests.json", run)
    found: dict[str, str] = json.loads((folder / "digests.json").read_text())
    return found


@pytest.fixture
def make_trial(warm: Warm, reference: dict[str, str], tmp_path: Path) -> Iterator[MakeTrial]:
    """Make a trial, on the shared server if a launchpad file is given."""
    trials = []

    def make(launchpad: Path | None = None) -> Trial:
        trials.append(Trial(tmp_path / "trial", warm, reference, launchpad))
        return trials[-1]

    yield make
    for trial in trials:
        trial.end()
    wait_until(lambda: not servers(tmp_path / "trial"), seconds=20)


@pytest.fixture
def trial(make_trial: MakeTrial, launchpad: Path) -> Trial:
    """A trial on the shared server."""
    return make_trial(launchpad)
