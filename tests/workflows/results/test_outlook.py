"""CPU-hours before the run: sizes as they were run, the archive's own error, and words where nothing is known."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from sodiate.analysis.cost import CostModel, Estimate, Spent
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.cli.cost_view import cores_by_kind, cost_lines, to_do_lines
from sodiate.workflows.cli.status import status_lines
from sodiate.workflows.clusters.cluster_file import load_cluster
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.archive import open_archive
from sodiate.workflows.results.cost import outlook, pace, spent, work_of
from support import DOCS, present
from support.cli import Cli, one_message

ARCHIVE = DOCS / "reproduction"
METHOD = "gpaw PBE"


@pytest.fixture(scope="module")
def archive() -> Documents:
    return open_archive(ARCHIVE)


@pytest.fixture(scope="module")
def history(archive: Documents) -> dict[str, Spent]:
    return spent(archive, [METHOD])


@pytest.fixture(scope="module")
def planned() -> Plan:
    return plan("wsse-gpaw")


def text_of(name: str) -> str:
    return " ".join((DOCS / name).read_text(encoding="utf-8").split())


def test_several_ions_relax_as_one_does() -> None:
    names = plan("wsse-voltage", engine="gpaw").names.values()
    ions = next(one for one in names if one.structure["op"] == "ions")
    groups = [present(work_of(one)).group for one in (ions.parents["host"], ions)]
    assert groups == ["relax", "relax, adsorbate"]


def test_sizes_before_the_run_are_those_that_ran(archive: Documents, history: dict[str, Spent]) -> None:
    """Cell, cutoff, spins and atoms of every record of the archive; its mesh holds the irreducible points."""
    electrons = {"W": 6, "S": 6, "Se": 6, "Na": 1}
    assert len(history) == 77
    for identifier, one in history.items():
        record = present(archive.record(identifier))
        geometry, sampling = present(record.geometry), present(record.sampling)
        # A relaxation of the cell changes it, and its host takes the cell from there.
        assert one.work.volume_a3 == pytest.approx(abs(np.linalg.det(geometry.cell_a)), rel=0.06)
        assert one.work.cutoff_ev == record.method.cutoff_ev
        assert one.work.spins == (2 if sampling.spin_polarised else 1)
        assert one.work.electrons == sum(electrons[symbol] for symbol in geometry.symbols)
        points = int(np.prod(sampling.kmesh or (121,)))
        assert points / 24 / 2 <= one.work.kpoints <= points


def test_irreducible_points_of_a_sheet_with_three_mirrors() -> None:
    """Counted by hand for hexagonal meshes: 7 of 6×6; Γ and M of 2×2, and all four where nothing is symmetric."""
    best = plan("wsse-gpaw-best")
    assert {name: present(work_of(best.names[name])).kpoints for name in ("WSe2/1x1", "WSe2", "WSSe+VS", "Na")} == {
        "WSe2/1x1": 7, "WSe2": 2, "WSSe+VS": 4, "Na": 1,
    }  # fmt: skip
    assert present(work_of(best.names["WSe2/bands"])).kpoints == 121


def test_the_error_of_the_archive_is_what_the_document_says(history: dict[str, Spent]) -> None:
    model = CostModel(list(history.values()))
    deviations = model.held_back[~np.isnan(model.held_back)]
    low, high = np.exp(np.quantile(deviations, [0.1, 0.9]))
    typical = float(np.exp(np.sqrt(np.mean(deviations**2))))
    within = float(np.mean(np.abs(deviations) < np.log(2)))
    assert (typical, low, high, within) == pytest.approx((1.65, 0.61, 2.04, 0.84), abs=0.006)  # pinned
    assert f"off by a factor of {typical:.2f}" in text_of("cost.md")
    assert f"{100 * within:.0f} % by less than two" in text_of("cost.md")
    assert f"between {low:.2f} and {high:.2f} times" in text_of("cost.md")
    exponents = " ".join(f"{value:.2f}" for value in model.exponents)
    assert exponents == " ".join(re.findall(r"to the power of (-?[\d.]+\d)", text_of("cost.md")))


def test_campaigns_that_were_left_out_are_those_of_the_document(
    archive: Documents, history: dict[str, Spent]
) -> None:
    """The estimate of each from the others, beside what it took."""
    lines = (DOCS / "cost.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip("` ") for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    told = {name: cells for name, *cells in rows}
    assert set(told) == {"wsse-gpaw-best", "wsse-sensitivity", "validation"}
    for name in told:
        (entry,) = [entry for entry in archive.entries() if entry.campaign == name]
        model = CostModel([one for identifier, one in history.items() if identifier not in entry.ids])
        own = [one for identifier, one in history.items() if identifier in entry.ids]
        pairs = [(estimate, one) for one in own if (estimate := model.estimate(one.work)) is not None]
        total = Estimate.total([estimate for estimate, _ in pairs])
        hours = [present(value) / 3600 for value in (total.cpu_s, total.low_s, total.high_s)]
        took, size = sum(one.cpu_s for _, one in pairs) / 3600, max(one.work.size for one in own) / model.largest
        expected = [f"{len(pairs)}", "{:.1f} ({:.1f} to {:.1f})".format(*hours), f"{took:.1f}", f"{size:.2g}"]
        assert told[name] == expected


def test_what_is_to_be_done_and_the_ranges(archive: Documents, planned: Plan) -> None:
    missing = [c for c in planned.calculations if archive.record(c.id) is None]
    expected = outlook(archive, missing)
    shares = expected.shares(lambda calculation: calculation.kind)
    total = present(expected.total.estimate)
    assert sum(share.count for share in shares) == expected.total.count == len(expected.items)
    assert total.cpu_s == pytest.approx(sum(present(share.estimate).cpu_s for share in shares))
    assert present(total.low_s) < total.cpu_s < present(total.high_s)
    assert 20 < total.cpu_s / 3600 < 40  # by hand: 17 sites at 1.6 CPU-hours, what those recorded took on average
    lines = cost_lines(expected)
    assert lines[0] == "CPU-hours to be done, by 77 records with gpaw PBE (1 to 2 cores, on vm):"
    assert re.fullmatch(r"  relax +17  28 \(11 to 47\)", lines[1])
    assert re.fullmatch(r"  total +17  28 \(11 to 47\)", lines[2])


def test_classes_hold_what_their_kinds_do_and_more_cores_are_told(archive: Documents) -> None:
    """Class large is `kinds: rest`: all but atoms, bulk metals, relaxed cells and static runs."""
    missing = plan("validation").calculations
    cluster = load_cluster(Path("slurm"))
    lines = cost_lines(outlook(archive, missing, cores_by_kind(cluster)), cluster)
    counts = {row[1]: int(row[2]) for line in lines if (row := re.match(r"  class (\w+) +(\d+) ", line))}
    kinds = [calculation.kind for calculation in missing if calculation.kind != "lowest"]
    medium, small = (sum(kind in listed for kind in kinds) for listed in (("bulk", "relax_cell"), ("atom",)))
    assert counts == {"large": len(kinds) - medium - small, "medium": medium, "small": small}
    assert any("No record is of more than 2 cores, and up to 64 are to be used" in line for line in lines)
    assert not any("64" in line for line in cost_lines(outlook(archive, missing), cluster))


def test_a_larger_cell_is_told_and_another_kind_is_not_known(archive: Documents, history: dict[str, Spent]) -> None:
    missing = plan("wsse-gpaw-best").calculations
    expected = outlook(archive, missing)
    few = {
        i: one for i, one in history.items() if one.work.group in ("atom", "bulk", "static") and one.work.size < 1e9
    }
    model = CostModel(list(few.values()))
    items = tuple((c, work, None if work is None else model.estimate(work)) for c, work, _ in expected.items)
    lines = cost_lines(dataclasses.replace(expected, history=few, models={METHOD: model}, items=items))
    assert any(re.search(r"has \d+\.\d times the size of the largest recorded one", line) for line in lines)
    (relaxations,) = [line for line in lines if line.startswith("  relax ")]
    assert relaxations.endswith("nothing is known")
    (total,) = [line for line in lines if line.startswith("  total")]
    assert re.search(r"; nothing is known of \d+$", total)


@pytest.mark.parametrize(("key", "value"), [("functional", "HSE06"), ("spin_orbit", True)])
def test_records_of_another_hamiltonian_say_nothing(
    key: str, value: object, archive: Documents, planned: Plan
) -> None:
    site = planned.names["WSSe/T_W@top"]
    other = dataclasses.replace(site, protocol={**site.protocol, key: value})
    expected = outlook(archive, [other])
    assert not expected.models
    assert not expected.history
    assert expected.total.estimate is None
    assert cost_lines(expected) == [
        f"CPU-hours: nothing is known: there is no record of {present(work_of(other)).method} that says on how many "
        "cores."
    ]
    assert "nothing is known of their CPU-hours" in to_do_lines(expected, 0.0, None)[0]


def test_a_plan_of_two_functionals_is_estimated_where_records_are_of_one(archive: Documents, planned: Plan) -> None:
    site = planned.names["WSSe/T_W@top"]
    other = dataclasses.replace(site, protocol={**site.protocol, "functional": "HSE06"})
    expected = outlook(archive, [site, other])
    assert (expected.total.count, expected.total.unknown) == (2, 1)
    assert expected.total.estimate == outlook(archive, [site]).total.estimate
    assert cost_lines(expected)[1].endswith("; nothing is known of 1")


def test_a_single_point_is_known_by_densities(archive: Documents, planned: Plan) -> None:
    """The archive has no single point, but densities: one of WSSe in 3×3 took 0.22 CPU-hours, with Na 0.20."""
    host = planned.names["WSSe"]
    protocol = {key: value for key, value in host.protocol.items() if key != "max_force_ev_per_a"}
    point = Calculation("static", {"op": "geometry", "recipe": 1}, "gpaw", protocol, {"geometry": host}, "WSSe/final")
    estimate = present(outlook(archive, [point]).total.estimate)
    assert present(estimate.low_s) / 3600 < 0.22 < present(estimate.high_s) / 3600


def test_records_of_another_engine_say_nothing(archive: Documents) -> None:
    expected = outlook(archive, plan("wsse", "vasp").calculations)
    assert not expected.models
    assert not expected.history


def test_mock_records_and_imported_runs_are_no_history(planned: Plan) -> None:
    documents = open_archive(ARCHIVE)
    whole = spent(documents, [METHOD])
    site = planned.names["WSSe/T_W@top"].id
    assert site in whole
    current = documents.current

    def changed(**update: object) -> dict[str, Spent]:
        def read(calculations: object = None) -> object:
            return {i: r.model_copy(update=update) if i == site else r for i, r in current().items()}

        documents.current = read  # type: ignore[method-assign, assignment]
        return spent(documents, [METHOD])

    assert set(changed(physical=False)) == set(whole) - {site}
    assert set(changed(notes=("imported: not made here",))) == set(whole) - {site}


def test_status_says_what_is_left_and_how_long_at_the_last_rate(planned: Plan) -> None:
    documents = open_archive(ARCHIVE)
    lines = status_lines(documents)
    (line,) = [line for line in lines if line.startswith("  to do: ")]
    assert line.startswith("  to do: ")
    number, hours = re.search(r"to do: (\d+), ([\d.]+) \(", line).groups()  # type: ignore[union-attr]
    rate = present(pace(documents, spent(documents, [METHOD])))
    wall = re.search(
        r"; ([\d.]+) \(.*\) hours of running at the rate of the last 10 launches \(([\d.]+) cores\)", line
    )
    assert wall is not None
    assert float(wall[2]) == pytest.approx(rate.cores, abs=0.05)
    assert float(wall[1]) == pytest.approx(float(hours) / rate.cores, rel=0.05)
    assert int(number) == sum(documents.record(c.id) is None for c in planned.calculations if c.kind != "lowest")
    # An unfinished one that has spent two hours on three cores.
    missing = next(c.id for c in planned.calculations if documents.record(c.id) is None and c.kind != "lowest")
    attempt = {"_id": "a", "calculation": missing, "started": "2026-11-27T00:00:00.000+00:00", "outcome": "stopped"}
    documents.attempts.insert_one(attempt | {"wall_time_s": 7200.0, "cores": 3, "ended": None})
    assert any("of which earlier launches have done 6.0" in line for line in status_lines(documents))


def test_the_rate_counts_time_in_which_something_ran_once() -> None:
    """Two launches side by side for an hour, a night, then one for half an hour: 1.5 hours in which some ran."""
    documents = open_archive(ARCHIVE)
    history = spent(documents, [METHOD])
    (first, second, *_) = history
    documents.attempts.delete_many({})
    day = "2026-11-27T"
    for name, identifier, ended, seconds, cores in (
        ("a", first, "01:00:00", 3600.0, 2),
        ("b", second, "01:00:00", 3600.0, None),
        ("c", first, "12:00:00", 1800.0, 4),
    ):
        times = {"started": day, "ended": f"{day}{ended}.000+00:00", "wall_time_s": seconds, "cores": cores}
        documents.attempts.insert_one({"_id": name, "calculation": identifier, "outcome": "completed", **times})
    own = present(history[second].work.cores)
    rate = present(pace(documents, history))
    assert rate.cores == pytest.approx((2 + own + 0.5 * 4) / 1.5)
    assert rate.launches == 3
    assert pace(documents, {}) is None


# -- the command line


def test_plan_by_an_archive(cli: Cli) -> None:
    done = cli("plan", "wsse-gpaw", "--archive", str(ARCHIVE), "--cluster", "slurm")
    assert done.returncode == 0, done.stderr
    assert "CPU-hours to be done, by 77 records with gpaw PBE" in done.stdout
    assert "class large" in done.stdout
    found = json.loads(cli("plan", "wsse-gpaw", "--archive", str(ARCHIVE), "--json").stdout)["cost"]
    assert (found["methods"], found["records"]) == ([METHOD], 77)
    assert found["kinds"]["relax"] == found["total"]
    assert found["total"]["cpu_hours_low"] < found["total"]["cpu_hours"] < found["total"]["cpu_hours_high"]
    assert re.search(r"\d+ done, \d+ new", cli("plan", "wsse-gpaw", "--archive", str(ARCHIVE), "--diff").stdout)


def test_plan_without_records_says_so_and_opens_nothing(cli: Cli, tmp_path: Path) -> None:
    done = cli("plan", "wsse-gpaw")
    assert "CPU-hours: nothing is known without records; --root, --launchpad or --archive name some" in done.stdout
    assert "cost" not in json.loads(cli("plan", "wsse-gpaw", "--json").stdout)
    empty = cli("plan", "wsse-gpaw", "--root", "nothing-here")
    assert "CPU-hours: nothing is known: there is no record of gpaw PBE" in empty.stdout
    dry = cli("plan", "wsse", "--engine", "emt", "--archive", str(ARCHIVE))
    assert "CPU-hours: none are estimated, it is a dry run" in dry.stdout
    assert not list(tmp_path.iterdir())
    wrong = cli("plan", "wsse-gpaw", "--archive", str(ARCHIVE), "--launchpad", "my_launchpad.yaml")
    assert "--launchpad and --archive" in one_message(wrong)


def test_everything_recorded(cli: Cli) -> None:
    done = cli("plan", "wsse-gpaw-best", "--archive", str(ARCHIVE))
    assert "CPU-hours: none to be done, everything is recorded." in done.stdout


def test_submit_says_it_too(cli: Cli, launchpad: Path) -> None:
    place = ("--launchpad", str(launchpad), "--root", "root")
    done = cli("submit", "wsse-gpaw", *place)
    assert "CPU-hours: nothing is known: there is no record of gpaw PBE" in done.stdout, done.stderr
    cli("import", str(ARCHIVE), *place)
    done = cli("submit", "wsse-gpaw", *place, "--cluster", "slurm")
    assert "CPU-hours to be done, by 77 records with gpaw PBE" in done.stdout, done.stderr
    assert "class large" in done.stdout
    status = cli("status", *place)
    assert re.search(r"  to do: \d+, \d+ \(\d+ to \d+\) CPU-hours; \d+", status.stdout), status.stdout
