"""Computing on a scratch disk: what comes back, when, and what a kill leaves."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from sodiate.workflows.engines.base import EngineError, Limits, Stopped
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.runner.scratch import computing_in
from sodiate.workflows.stop import Stop
from support.campaigns import Bench, small_campaign
from support.engine_cases import EMT, assert_same
from support.warm import Warm


def tree(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != "lock"
    }


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    directory, scratch = tmp_path / "calculation", tmp_path / "scratch"
    for folder in (directory / "launches", scratch):
        folder.mkdir(parents=True)
    (directory / "calculation.json").write_text("{}")
    (directory / "CONTCAR").write_text("old")
    (directory / "STOPCAR").write_text("old")
    (directory / "launches" / "OUTCAR").write_text("old")
    return directory, scratch


def test_without_scratch_it_is_the_directory(folders: tuple[Path, Path]) -> None:
    with computing_in(folders[0], None) as place:
        assert place == folders[0]


def test_what_is_new_changed_and_gone_comes_back(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    directory, scratch = folders
    monkeypatch.setenv("NODE_DISK", str(scratch))
    before = (directory / "launches" / "OUTCAR").stat().st_mtime_ns
    with computing_in(directory, "$NODE_DISK") as place:
        assert scratch in place.parents
        (place / "CONTCAR").write_text("new")
        (place / "result.json").write_text("1")
        (place / "STOPCAR").unlink()
    assert tree(directory) == {
        "CONTCAR": b"new",
        "result.json": b"1",
        "calculation.json": b"{}",
        "launches/OUTCAR": b"old",
    }
    assert (directory / "launches" / "OUTCAR").stat().st_mtime_ns == before
    assert list(scratch.iterdir()) == []


def test_what_was_reached_comes_back_after_an_error_too(folders: tuple[Path, Path]) -> None:
    directory, scratch = folders

    def run(place: Path) -> None:
        (place / "CONTCAR").write_text("new")
        raise Stopped(f"{place}: stopped")

    with pytest.raises(Stopped) as caught, computing_in(directory, str(scratch)) as place:
        run(place)
    assert str(caught.value) == f"{directory}: stopped"
    assert (directory / "CONTCAR").read_text() == "new"
    assert list(scratch.iterdir()) == []


def test_it_comes_back_meanwhile_all_but_large_files(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, scratch = folders
    monkeypatch.setattr("sodiate.workflows.runner.scratch._LARGE", 1000)
    with computing_in(directory, str(scratch), every_s=0.05) as place:
        (place / "WAVECAR").write_bytes(bytes(2000))
        (place / "CONTCAR").write_text("new")
        end = time.monotonic() + 20
        while (directory / "CONTCAR").read_text() != "new" and time.monotonic() < end:
            time.sleep(0.02)
        assert (directory / "CONTCAR").read_text() == "new"
        assert not (directory / "WAVECAR").exists()
    assert (directory / "WAVECAR").exists()


def test_no_such_disk_and_no_room(folders: tuple[Path, Path], small_disk: Path) -> None:
    directory, _ = folders
    with (
        pytest.raises(EngineError, match=r"scratch /no/where: there is no folder"),
        computing_in(directory, "/no/where"),
    ):
        pass
    before = tree(directory)
    (directory / "WAVECAR").write_bytes(bytes(1_000_000))
    with pytest.raises(EngineError, match="cannot be copied"), computing_in(directory, str(small_disk)):
        pass
    assert tree(directory) == {**before, "WAVECAR": bytes(1_000_000)}
    assert list(small_disk.iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Limits, Settings, Stop
from sodiate.workflows.runner.scratch import computing_in

class Slow(Stop):
    def requested(self):
        time.sleep(0.2)
        return False

with computing_in(Path(sys.argv[1]), sys.argv[2], every_s=0.05) as place:
    make_engine("emt", Settings()).run(place, Limits(), Slow())
"""


def test_a_killed_node_goes_on_from_what_came_back(warm: Warm, tmp_path: Path) -> None:
    """The oracle is an undisturbed run in the directory itself."""
    directory = EMT.prepared(tmp_path / "run", "relax")
    (tmp_path / "scratch").mkdir()
    child = warm.start(["-c", str(directory), str(tmp_path / "scratch")], tmp_path, KILLED)
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end and child.poll() is None:
            path = directory / "trajectory.jsonl"
            if path.exists() and len(path.read_text().splitlines()) > 4:
                break
            time.sleep(0.02)
    finally:
        child.kill()
    assert child.wait(10) == -signal.SIGKILL
    steps = len((directory / "trajectory.jsonl").read_text().splitlines())
    (left,) = (tmp_path / "scratch").iterdir()
    with computing_in(directory, str(tmp_path / "scratch")) as place:
        assert not left.exists()
        assert len((place / "trajectory.jsonl").read_text().splitlines()) == steps
        EMT.engine().run(place, Limits(), Stop())
    assert_same(EMT, EMT.engine().collect(directory), EMT.outcome(tmp_path / "undisturbed", "relax"))


def test_a_copy_in_use_stays(folders: tuple[Path, Path], tmp_path: Path) -> None:
    directory, scratch = folders
    (tmp_path / "other").mkdir()
    with computing_in(directory, str(scratch)) as place:
        with computing_in(tmp_path / "other", str(scratch)):
            assert (place / "CONTCAR").exists()
        assert (place / "CONTCAR").exists()
    assert list(scratch.iterdir()) == []


def test_a_campaign_on_scratch_has_the_same_records(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    planned = plan(small_campaign(tmp_path, quantities=[]))
    bench.submit(planned)
    bench.launch(planned, scratch=str(tmp_path / "scratch"))
    records = bench.documents.current(calculation.id for calculation in planned.calculations)
    assert len(records) == len(planned.calculations)
    assert all(str(tmp_path / "scratch") not in record.model_dump_json() for record in records.values())
    assert list((tmp_path / "scratch").iterdir()) == []
