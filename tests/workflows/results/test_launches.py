"""What a record cost: all its launches, as the attempts say, held against the archive's lines read by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sodiate.analysis.report.sections import _cost_words
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.launch.corrections import redo
from sodiate.workflows.launch.reconcile import reconcile
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.archive import open_archive
from sodiate.workflows.results.archive_checks import ArchiveError
from sodiate.workflows.results.cost import launches_of
from sodiate.workflows.results.report_data import gather
from sodiate.workflows.results.results import Results
from support import DOCS
from support.campaigns import Bench, small_campaign

ARCHIVE = DOCS / "reproduction"
LABEL = "WSSe+VS/V_S@top"


@pytest.fixture
def archive() -> Documents:
    """The reproduction in memory, of a test's own to change."""
    return open_archive(ARCHIVE)


def lines(name: str) -> Iterator[dict[str, Any]]:
    yield from map(json.loads, (ARCHIVE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())


def largest(archive: Documents) -> str:
    """The id of the relaxation of five launches."""
    (identifier,) = [i for i, record in archive.current().items() if record.label == LABEL]
    return identifier


def test_a_record_costs_all_its_launches(archive: Documents) -> None:
    records = archive.current()
    for identifier, launches in launches_of(archive, records).items():
        own = [line for line in lines("attempts") if line["calculation"] == identifier]
        assert launches.count == len(own) == records[identifier].provenance.launches
        assert launches.wall_s == pytest.approx(sum(line.get("wall_time_s") or 0 for line in own), abs=0.02)
        assert launches.untimed == sum(line.get("wall_time_s") is None for line in own)
    five = launches_of(archive, records)[largest(archive)]
    assert (five.count, five.cores) == (5, 2)
    assert five.core_s == pytest.approx(2 * 9649.6, abs=0.1)  # 3242 s is the last launch alone


def test_the_page_says_what_a_campaign_took() -> None:
    """Pinned: 24.1 CPU-hours with known cores, and 59 minutes of a host of which the command is not recorded."""
    with Results.open(ARCHIVE) as results:
        (group,) = gather(results, ["wsse-gpaw-best"])
    assert _cost_words(group.costs) == "46 calculations, at least 24.12 CPU-hours; of 3 the cores are not known"
    unknown = [row for row in group.costs if row.cpu_hours is None]
    assert [(row.label, row.minutes) for row in unknown] == [("Na", 0.27), ("Na-bcc", 0.22), ("WSSe+VS+VSe", 59.31)]
    killed = [row for row in group.costs if row.untimed]
    assert [row.label for row in killed] == ["WSSe+VS+VSe/V_S@top"]
    assert "1 of the launches was killed and left no time" in killed[0].remarks


def test_launches_on_other_cores_and_those_of_a_superseded_record(archive: Documents) -> None:
    """Two launches of 10 and 5 s on 2 and 4 cores; what an older record took is not counted again."""
    identifier = largest(archive)
    record = archive.current()[identifier]
    archive.attempts.delete_many({"calculation": identifier})
    for hour, seconds, cores in (("08", 1000.0, 2), ("10", 10.0, 2), ("11", 5.0, 4)):
        started = record.provenance.started[:11] + f"{hour}:00:00.000+00:00"
        attempt = {"_id": hour, "calculation": identifier, "started": started, "outcome": "stopped"}
        archive.attempts.insert_one(attempt | {"wall_time_s": seconds, "cores": cores})
    run = record.provenance.model_copy(update={"finished": record.provenance.started[:11] + "12:00:00.000+00:00"})
    records = {identifier: record.model_copy(update={"provenance": run})}
    assert launches_of(archive, records)[identifier].core_s == 1000 * 2 + 10 * 2 + 5 * 4
    older = {"provenance": {"finished": record.provenance.started[:11] + "09:00:00.000+00:00"}}
    archive.records.insert_one(older | {"_id": "older", "calculation": identifier, "state": "superseded"})
    launches = launches_of(archive, records)[identifier]
    assert (launches.count, launches.core_s, launches.cores) == (2, 10 * 2 + 5 * 4, 4)


def test_without_attempts_the_record_says_what_it_can(archive: Documents) -> None:
    archive.attempts.delete_many({})
    launches = launches_of(archive, archive.current())[largest(archive)]
    assert launches.wall_s == pytest.approx(3241.957, abs=0.02)
    assert launches.untimed == 4


def test_an_imported_run_has_no_cost(archive: Documents) -> None:
    identifier = largest(archive)
    record = archive.current()[identifier].model_copy(update={"notes": ("imported: from elsewhere",)})
    assert launches_of(archive, {identifier: record}) == {}


def test_a_dry_run_from_its_first_launch_to_a_redo(bench: Bench, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path, quantities=[]))
    bench.submit(planned)
    bench.launch(planned)
    site = planned.names[LABEL].id
    redo(bench, site, "again")
    bench.launch(planned)
    first, second = bench.attempts(site)
    assert first["cores"] is None
    launches = launches_of(bench.documents, bench.documents.current())[site]
    assert (launches.count, launches.wall_s) == (1, second["wall_time_s"])


def test_a_killed_launch_lasted_until_its_last_heartbeat(bench: Bench, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path, quantities=[]))
    bench.submit(planned)
    atom = planned.names["Na"].id
    lease = {"host": "elsewhere", "pid": 1, "start": "1"}
    times = {"heartbeat": {"$toDate": "2026-01-01T01:00:30Z"}, "expires": {"$toDate": "2026-01-01T01:02:30Z"}}
    bench.documents.calculations.update_one({"_id": atom}, [{"$set": {"lease": lease | times, "token": 3}}])
    attempt = {"calculation": atom, "started": "2026-01-01T01:00:00.000+00:00", "outcome": "running"}
    bench.documents.attempts.insert_many([attempt | {"_id": "old", "token": 2}, attempt | {"_id": "new", "token": 3}])
    bench.launchpad.fireworks.update_one({"name": "Na"}, {"$set": {"state": "FIZZLED"}})
    reconcile(bench, [atom])
    old, new = bench.attempts(atom)
    assert old["outcome"] == new["outcome"] == "lost"
    assert new["wall_time_s"] == 30.0
    assert "wall_time_s" not in old  # its heartbeats were overwritten by the next owner's


@pytest.mark.parametrize("change", [{"cores": 0}, {"cores": "2"}, {"cores": True}, {"ended": "yesterday"}])
def test_an_attempt_that_is_none_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    shutil.copytree(ARCHIVE, folder)
    text = "".join(json.dumps(one | change) + "\n" for one in lines("attempts"))
    (folder / "attempts.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(ArchiveError, match=r"attempts\.jsonl is damaged"):
        open_archive(folder)
