"""How tests are shared out among the workers of pytest-xdist: what belongs together stays with one worker.

xdist's own ``loadgroup`` writes the group into a test's id, which newer pytests do not let it do. Here each worker
leaves the groups of its tests in a file, and the scheduler reads them there.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from support import CHECKOUT

VARIABLE = "SODIATE_TEST_GROUPS"
"""The environment's name for the file."""

FIRST = ("gpaw", "slurm", "test_contract-vasp", "vasp-campaign", "browser", "long")
"""Groups and marks of what takes longest, in the order in which it is begun."""

ALONE = "alone"
"""The group of the tests that let no other run meanwhile, which comes last."""


def place_in_line(item: pytest.Item, group: str | None) -> int:
    """Return the rank of a test, by which tests are sorted."""
    name = "long" if item.get_closest_marker("long") else group
    if name == ALONE:
        return len(FIRST) + 1
    return FIRST.index(name) if name in FIRST else len(FIRST)


def leave_groups(groups: dict[str, str]) -> None:
    """Tell the scheduler, from a worker, which tests are in which group."""
    if VARIABLE in os.environ:
        path = Path(os.environ[VARIABLE])
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(json.dumps(groups))
        part.replace(path)


def common_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder of this test run, the same for all workers."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


def make_once(path: Path, make: Callable[[], None]) -> None:
    """Let the first worker in need make something, of which a path is written last; the others wait."""
    with path.with_name(f"{path.name}-door").open("ab") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        if not path.exists():
            make()


class Plugin:
    """What a ``conftest.py`` below the root cannot do by itself."""

    def pytest_xdist_setupnodes(self) -> None:
        """Choose the file before workers start, which inherit the environment."""
        os.environ[VARIABLE] = str(Path(tempfile.mkdtemp(prefix="sodiate-tests-")) / "groups.json")

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> LoadScopeScheduling:
        """Take the scheduler of this module, whatever ``--dist`` says."""
        config.option.loadscopereorder = False
        return GroupScheduling(config, log)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Keep pytest from importing the package as a test: the checkout's name need not be one of a module."""
        return pytest.Dir.from_parent(parent, path=path) if path == CHECKOUT else None


class GroupScheduling(LoadScopeScheduling):
    """xdist's scheduler of scopes, a scope being a group or a single test."""

    groups: dict[str, str] | None = None

    def schedule(self) -> None:
        """Read the groups, once every worker has collected."""
        if self.groups is None:
            path = Path(os.environ[VARIABLE])
            self.groups = json.loads(path.read_text())
            path.unlink()
            path.parent.rmdir()
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return (self.groups or {}).get(nodeid, nodeid)
