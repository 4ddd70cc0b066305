"""Archives: records, campaigns and checkpoints go from one machine to another, and the run goes on there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sodiate import SodiateError
from sodiate.analysis.arrays import Density
from sodiate.analysis.records import Record
from sodiate.workflows.database.connection import initialise, open_root
from sodiate.workflows.database.lease import Owner
from sodiate.workflows.launch.loop import launch
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.archive import export_archive, import_archive, open_archive
from sodiate.workflows.results.archive_checks import ArchiveError
from sodiate.workflows.results.results import Results
from sodiate.workflows.runner.run_calculation import WorkerSettings
from sodiate.workflows.stop import Stop
from support import DOCS
from support.campaigns import Bench, small_campaign


def comparable(documents: Any) -> dict[str, Any]:
    return {i: r.model_dump(exclude={"provenance", "arrays"}) for i, r in documents.current().items()}


def test_there_and_back(bench: Bench, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    bench.launch(planned)
    folder = tmp_path / "archive"
    carried = export_archive(bench.documents, bench.root, folder)
    assert (carried.campaigns, carried.records, carried.checkpoints) == (1, len(planned), 0)
    assert not [path for path in folder.glob("*.jsonl") if str(bench.root) in path.read_text(encoding="utf-8")]
    archive = open_archive(folder)
    assert comparable(archive) == comparable(bench.documents)
    dos = planned["WSSe+VS/dos"].calculation.id
    record, again = bench.documents.current()[dos], archive.current()[dos]
    first, second = bench.documents.arrays(record, "dos"), archive.arrays(again, "dos")
    assert (first.total == second.total).all()  # type: ignore[union-attr]
    with Results.open(folder) as results:
        frame = results.adsorption()
        assert len(frame) == 2
        assert not frame["physical"].any()
        assert "mock" in frame.attrs["warning"]
        assert results["WSSe+VS/V_S@top"].atoms.get_chemical_formula() == "NaS3Se4W4"
        assert results["WSSe+VS"].structure.composition.reduced_formula == "W4Se4S3"
        assert results["WSSe+VS"].dos.get_gap() >= 0


def test_a_root_that_was_moved_is_named_nowhere(bench: Bench, tmp_path: Path) -> None:
    """Records name the directories that they ran in, below the root of that day."""
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    bench.launch(planned)
    folder = tmp_path / "archive"
    export_archive(bench.documents, tmp_path / "moved", folder)
    assert not [path for path in folder.glob("*.jsonl") if str(bench.root) in path.read_text(encoding="utf-8")]
    assert {r.provenance.directory for r in open_archive(folder).current().values()} == {
        task.calculation.directory_name for task in (planned[name] for name in planned.names)
    }


def test_an_unfinished_campaign_goes_on_elsewhere(bench: Bench, tmp_path: Path) -> None:
    """Stopped in the middle of a relaxation here, finished there: the same record as without interruption."""
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    interrupt(bench, planned)
    site = planned["WSSe+VS/T_W@bottom"].calculation
    assert bench.documents.record(site.id) is None
    before = len(bench.documents.current())
    carried = export_archive(bench.documents, bench.root, tmp_path / "archive")
    assert carried.checkpoints >= 1

    elsewhere = tmp_path / "elsewhere"
    with open_root(elsewhere) as database:
        other = Bench(database, elsewhere)
        initialise(database, other.launchpad)
        taken = import_archive(other.documents, elsewhere, tmp_path / "archive")
        assert (taken.records, taken.checkpoints) == (before, carried.checkpoints)
        again = import_archive(other.documents, elsewhere, tmp_path / "archive")
        assert (again.records, again.checkpoints) == (0, 0)
        other.submit(planned)
        other.launch(planned)
        record = other.documents.record(site.id)
        assert record is not None
        assert record.provenance.launches == 2
        assert len(other.documents.current()) == len(planned)
        assert all(len(other.attempts(i)) == 1 for i in bench.documents.current())
        bench.launch(planned)
        here = bench.documents.record(site.id)
        assert here is not None
        assert here.energy_ev == record.energy_ev


def test_density_grids_stay_behind_and_are_asked_for_by_name(bench: Bench, tmp_path: Path) -> None:
    """A record keeps its density's name when the grid is not carried; everything else of it is there."""
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    bench.launch(planned)
    host = planned["WSSe+VS"].calculation.id
    record, grid = with_density(bench, host)
    first = bench.documents.arrays(record, "density")
    assert isinstance(first, Density)
    assert np.array_equal(first.values_per_a3, grid.values_per_a3)
    export_archive(bench.documents, bench.root, tmp_path / "archive")
    assert not list((tmp_path / "archive" / "arrays").glob("*density*"))
    assert (tmp_path / "archive" / "arrays" / f"{record.arrays['dos']}.npz").exists()
    archive = open_archive(tmp_path / "archive")
    elsewhere = tmp_path / "elsewhere"
    with open_root(elsewhere) as database:
        other = Bench(database, elsewhere)
        initialise(database, other.launchpad)
        import_archive(other.documents, elsewhere, tmp_path / "archive")
        for documents in (archive, other.documents):
            again = documents.current()[host]
            assert again == record.model_copy(update={"provenance": again.provenance})
            with pytest.raises(SodiateError, match=r"WSSe\+VS: its density is not here: archives leave it out"):
                documents.arrays(again, "density")
            assert documents.arrays(again, "dos") is not None
        export_archive(other.documents, elsewhere, tmp_path / "again")
    assert comparable(open_archive(tmp_path / "again")) == comparable(archive)


def with_density(bench: Bench, identifier: str) -> tuple[Record, Density]:
    """Publish a calculation's record anew, with a density grid and a DOS."""
    documents = bench.documents
    record = documents.current()[identifier]
    dos = next(r for r in documents.current().values() if r.kind == "dos")
    grid = Density(np.random.default_rng(1).random((4, 4, 9)).astype(np.float32), np.eye(3))
    arrays = {"density": grid, "dos": documents.arrays(dos, "dos")}
    documents.supersede([identifier], "a test")
    lease = documents.leases.claim(identifier, Owner.here())
    return documents.publish(lease, f"{identifier}-9-abc", record, arrays), grid


def interrupt(bench: Bench, planned: Plan) -> None:
    """Launch until the site T_W@bottom has made ten steps, then stop as a signal does."""
    site = planned["WSSe+VS/T_W@bottom"].calculation
    progress = bench.root / site.directory_name / "trajectory.jsonl"

    class StopAfterTenSteps(Stop):
        def requested(self) -> bool:
            if progress.exists() and len(progress.read_text().splitlines()) > 10:
                self.request("SIGTERM")
            return super().requested()

    ids = [c.id for c in planned.calculations]
    worker = WorkerSettings(root=bench.root, stop=StopAfterTenSteps())
    launch(bench, worker, ids, lambda: None)
    assert bench.attempts(site.id)[-1]["outcome"] == "stopped"


def test_refusals(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"no archive\.json"):
        open_archive(tmp_path)
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").touch()
    with pytest.raises(ArchiveError, match="other files"):
        export_archive(bench.documents, bench.root, full)
    assert list(full.iterdir()) == [full / "thesis.tex"]
    folder = tmp_path / "archive"
    export_archive(bench.documents, bench.root, folder)
    (folder / "archive.json").write_text(json.dumps({"schema_version": 999}))
    with pytest.raises(ArchiveError, match="schema 999"):
        open_archive(folder)
    (folder / "archive.json").write_text("{")
    with pytest.raises(ArchiveError, match="damaged"):
        open_archive(folder)


def test_a_report_beside_an_archive_stays(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    export_archive(bench.documents, bench.root, folder)
    (folder / "report.html").write_text("a page")
    export_archive(bench.documents, bench.root, folder)
    assert (folder / "report.html").read_text() == "a page"
    (folder / "mine.txt").touch()
    with pytest.raises(ArchiveError, match=r"other files \(mine\.txt\)"):
        export_archive(bench.documents, bench.root, folder)


def test_a_changed_declaration_is_noticed(bench: Bench, tmp_path: Path) -> None:
    """An id that no longer follows from its values: somebody edited the archive."""
    bench.submit(plan(small_campaign(tmp_path)))
    folder = tmp_path / "archive"
    export_archive(bench.documents, bench.root, folder)
    path = folder / "calculations.jsonl"
    path.write_text(path.read_text().replace('"vacuum_a": 15.0', '"vacuum_a": 16.0'))
    with pytest.raises(Exception, match="changed by hand"):
        import_archive(bench.documents, bench.root, folder)


@pytest.mark.parametrize("name", ["reproduction", "conversion", "diffusion", "interlayer"])
def test_published_archives_name_no_machine(name: str) -> None:
    with Results.open(DOCS / name) as results:
        records = results.documents.current().values()
    assert records
    assert all(record.physical for record in records)
    assert not [record for record in records if record.provenance.directory.startswith("/")]


def test_the_published_archive_is_readable() -> None:
    folder = DOCS / "reproduction"
    with Results.open(folder) as results:
        records = results.documents.current().values()
        entry = max(results.entries("wsse-gpaw"), key=lambda entry: entry.revision)
        assert {r.method.cutoff_ev for r in records if r.calculation in entry.ids and r.kind != "lowest"} == {500.0}
        atom, solid = (results.get(name, campaign="wsse-gpaw").record.energy_ev for name in ("Na", "Na-bcc"))
    assert atom is not None
    assert solid is not None
    assert atom - solid == pytest.approx(1.05, abs=0.05)  # cohesive energy of Na, PBE
