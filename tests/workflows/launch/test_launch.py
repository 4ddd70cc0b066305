"""FireWorks on a real MongoDB: one workflow, one task, states that follow the records, nothing foreign loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sodiate.workflows.clusters.cluster_file import load_cluster
from sodiate.workflows.clusters.job import Assignment
from sodiate.workflows.clusters.worker import WorkReport, work
from sodiate.workflows.database.fireworks_guard import SPEC_KEYS, TASK, ForeignFirework
from sodiate.workflows.launch.loop import launch_next
from sodiate.workflows.launch.reconcile import reconcile
from sodiate.workflows.launch.tasks import OurFWorker
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.runner.run_calculation import WorkerSettings
from support.campaigns import Bench, small_campaign
from support.cli import at_most

EVIL = "{{evil.Evil}}"


def test_a_campaign_is_one_workflow_of_our_one_task(bench: Bench, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path))
    submission = bench.submit(planned)
    assert set(submission.added) == {c.id for c in planned.calculations}
    assert bench.launchpad.workflows.count_documents({}) == 1
    for document in bench.launchpad.fireworks.find():
        spec = document["spec"]
        assert set(spec) <= set(SPEC_KEYS)
        assert ("_allow_fizzled_parents" in spec) == (spec["_category"] == "lowest")
        assert [task["_fw_name"] for task in spec["_tasks"]] == [TASK]
    bench.launch(planned)
    assert set(bench.states().values()) == {"COMPLETED"}
    assert len(bench.documents.current()) == len(planned)


def test_again_adds_nothing_and_computes_nothing(bench: Bench, tmp_path: Path) -> None:
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    assert bench.submit(planned).added == ()  # nothing ran yet, and still no second workflow
    bench.launch(planned)
    assert bench.submit(planned).added == ()
    bench.launch(planned)
    assert bench.launchpad.workflows.count_documents({}) == 1
    assert bench.documents.campaigns.count_documents({}) == 1
    assert all(len(bench.attempts(c.id)) == 1 for c in planned.calculations)


def test_a_site_more_computes_that_site_and_the_choice(bench: Bench, tmp_path: Path) -> None:
    first = plan(small_campaign(tmp_path))
    bench.submit(first)
    bench.launch(first)
    second = plan(small_campaign(tmp_path, sites=["V_S@top", "T_W@bottom", "H@top"]))
    submission = bench.submit(second)
    assert submission.entry.revision == 2
    assert set(submission.added) == {second[f"WSSe+VS/{n}"].calculation.id for n in ("H@top", "lowest")}
    bench.launch(second)
    assert all(len(bench.attempts(c.id)) == 1 for c in second.calculations)
    assert len(bench.documents.entries()) == 1


def test_sites_of_their_own_by_model_are_launched_in_turn(bench: Bench, tmp_path: Path) -> None:
    """All hosts, the first site of each, the second one of each: a table of best candidates comes before the rest."""
    models = [
        {"model": "WSSe+VS", "sites": ["V_S@top", "T_W@bottom"]},
        {"model": "WSSe", "sites": ["T_W@bottom", "T_W@top"]},
    ]
    planned = plan(small_campaign(tmp_path, models=models, sites=["H@top"]))
    bench.submit(planned)
    bench.launch(planned)
    found = [a["label"] for a in bench.documents.attempts.find().sort("started", 1)]
    relaxed = [label for label in found if planned[label].calculation.kind == "relax"]
    assert relaxed == [
        *("WSSe+VS", "WSSe", "WSSe+VS/V_S@top", "WSSe/T_W@bottom"),
        *("WSSe+VS/T_W@bottom", "WSSe/T_W@top"),
    ]


def test_two_campaigns_share_a_calculation(bench: Bench, tmp_path: Path) -> None:
    first, second = (
        plan(small_campaign(tmp_path)),
        plan(small_campaign(tmp_path, campaign="other", sites=["V_S@top"])),
    )
    assert len({c.id for c in first.calculations} & {c.id for c in second.calculations}) == 4
    bench.submit(first)
    bench.submit(second)
    assert bench.launchpad.workflows.count_documents({}) == 2
    bench.launch(second)
    bench.launch(first)
    for calculation in (*first.calculations, *second.calculations):
        assert len(bench.attempts(calculation.id)) == 1, calculation.label
    assert set(bench.states().values()) == {"COMPLETED"}


def test_a_failed_site_leaves_the_rest_standing_and_the_choice_goes_stale(bench: Bench, tmp_path: Path) -> None:
    impatient = plan(small_campaign(tmp_path, execution={"max_steps": 25}))
    site = impatient["WSSe+VS/T_W@bottom"].calculation
    bench.submit(impatient)
    bench.launch(impatient)
    assert bench.states()["WSSe+VS/T_W@bottom"] == "FIZZLED"
    assert bench.documents.record(site.id) is None
    attempt = bench.attempts(site.id)[-1]
    assert attempt["outcome"] == "failed"
    assert str(bench.root) in attempt["reason"]
    choice = bench.documents.record(impatient["WSSe+VS/lowest"].calculation.id)
    assert choice is not None
    assert choice.choice is not None
    assert (choice.choice.site, set(choice.choice.ignored)) == ("V_S@top", {"T_W@bottom"})
    bench.launch(impatient)  # a failure is not tried again by itself
    assert len(bench.attempts(site.id)) == 1

    from sodiate.workflows.launch.corrections import retry

    patient = plan(small_campaign(tmp_path))
    assert patient["WSSe+VS/T_W@bottom"].calculation.id == site.id
    bench.submit(patient)
    assert retry(bench, [c.id for c in patient.calculations]) == [site.label]
    bench.launch(patient)
    record = bench.documents.record(site.id)
    assert record is not None
    assert record.provenance.launches == 2
    lowest = bench.documents.record(patient["WSSe+VS/lowest"].calculation.id)
    assert lowest is not None
    assert lowest.choice is not None
    assert not lowest.choice.ignored
    chosen = bench.documents.record(patient[f"WSSe+VS/{lowest.choice.site}"].calculation.id)
    assert chosen is not None
    assert lowest.geometry == chosen.geometry
    old = bench.documents.records.find_one({"kind": "lowest", "state": "superseded"})
    assert "T_W@bottom was completed later" in old["superseded"]


def test_redo_supersedes_everything_below_and_keeps_it(bench: Bench, tmp_path: Path) -> None:
    from sodiate.workflows.launch.corrections import redo

    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    bench.launch(planned)
    host = planned["WSSe+VS"].calculation
    labels = redo(bench, host.id, "a test")
    assert set(labels) == {c.label for c in planned.calculations} - {"Na"}
    assert set(bench.documents.current()) == {planned["Na"].calculation.id}
    bench.launch(planned)
    assert len(bench.documents.current()) == len(planned)
    assert bench.documents.records.count_documents({"superseded": "a test"}) == len(planned) - 1
    assert len(list(bench.root.glob(f"{host.directory_name}.superseded-*"))) == 1
    assert len(bench.attempts(planned["Na"].calculation.id)) == 1


def test_cancel_and_run_again(bench: Bench, tmp_path: Path) -> None:
    from sodiate.workflows.launch.corrections import cancel

    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    cancel(bench, [c.id for c in planned.calculations])
    bench.launch(planned)
    assert not bench.documents.current()
    bench.submit(planned)
    bench.launch(planned)
    assert len(bench.documents.current()) == len(planned)


def foreign(bench: Bench, spec: dict[str, Any]) -> int:
    """Put a firework of somebody else's into the launchpad, past FireWorks' own classes."""
    from fireworks import Firework, ScriptTask, Workflow

    (number,) = bench.launchpad.add_wf(Workflow([Firework([ScriptTask.from_str("true")])])).values()
    bench.launchpad.fireworks.update_one({"fw_id": number}, {"$set": {f"spec.{k}": v for k, v in spec.items()}})
    return int(number)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"_tasks": [{"_fw_name": TASK, "calculation": "x"}], "_launch_dir": "MARK"},
        {"_tasks": [{"_fw_name": TASK, "calculation": "x"}], "_background_tasks": [{"_fw_name": "ScriptTask"}]},
        {"_tasks": [{"_fw_name": TASK, "calculation": "x"}, {"_fw_name": "ScriptTask", "script": ["touch MARK"]}]},
        {"_tasks": [{"_fw_name": TASK, "calculation": {"_fw_name": EVIL}}]},
        {"_tasks": [{"_fw_name": TASK, "calculation": "x"}], "label": {"@module": "evil", "@class": "Evil"}},
        {"_tasks": [{"_fw_name": TASK, "calculation": "x"}], "label": "x", "_dupefinder": {"_fw_name": EVIL}},
    ],
)  # fmt: skip
def test_a_foreign_firework_is_not_loaded(
    bench: Bench, tmp_path: Path, extra: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that leaves a mark when it is imported stands for code that must not run."""
    mark = tmp_path / "mark"
    (tmp_path / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Evil: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    planned = plan(small_campaign(tmp_path))
    atom = planned["Na"].calculation.id  # the worker is after it, so that only the shape protects
    number = foreign(bench, json.loads(json.dumps(extra).replace("MARK", str(mark)).replace('"x"', f'"{atom}"')))
    bench.submit(planned)
    bench.launch(planned)
    assert len(bench.documents.current()) == len(planned)
    assert not mark.exists()
    assert bench.launchpad.fireworks.find_one({"fw_id": number})["state"] == "READY"
    with pytest.raises(ForeignFirework):
        bench.launchpad.get_fw_by_id(number)  # the reservation path, which no query guards
    assert not mark.exists()


@pytest.mark.parametrize("extra", [{"_launch_dir": "MARK"}, {"_tasks": [{"_fw_name": "ScriptTask"}]}])
def test_a_foreign_reserved_firework_is_passed_by(
    bench: Bench, tmp_path: Path, extra: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker whose job it is reserved for computes others of its class, and leaves it as it is."""
    cluster = load_cluster(Path("slurm"))
    planned = plan(small_campaign(tmp_path, quantities=[]))
    bench.submit(planned)
    monkeypatch.chdir(tmp_path)
    number = bench.launchpad.fireworks.find_one({"spec.label": "Na"})["fw_id"]
    change = {"state": "RESERVED", **{f"spec.{key}": value for key, value in extra.items()}}
    bench.launchpad.fireworks.update_one({"fw_id": number}, {"$set": change})
    before = bench.launchpad.fireworks.find_one({"fw_id": number})
    with at_most(20):
        report = work(bench, cluster, Assignment("large", number))
        assert not launch_next(bench.launchpad, OurFWorker(WorkerSettings(bench.root), kinds=["atom"]), number)
    assert report == WorkReport(3, "nothing more is ready")
    assert bench.launchpad.fireworks.find_one({"fw_id": number}) == before


def test_a_firework_that_cannot_be_loaded_is_passed_by(bench: Bench, tmp_path: Path) -> None:
    """It is of sodiate's shape, and first in the queue; FireWorks looked at it for ever."""
    planned = plan(small_campaign(tmp_path, quantities=[]))
    bench.submit(planned)
    change = {"spec._priority": 999, "spec._fizzled_parents": [{"_fw_name": EVIL}]}
    bench.launchpad.fireworks.update_one({"spec.label": "Na"}, {"$set": change})
    with at_most(20):
        bench.launch(planned)
    assert bench.states()["Na"] == "READY"
    assert len(bench.documents.current()) == len(planned) - 1


def test_reconcile_repairs_what_a_killed_worker_leaves(bench: Bench, tmp_path: Path) -> None:
    """A row of the table in docs/database.md: no record, a dead owner's lease, a firework RUNNING."""
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    atom = planned["Na"].calculation.id
    from fireworks.core.fworker import FWorker

    (number,) = [d["fw_id"] for d in bench.launchpad.fireworks.find({"spec._tasks.calculation": atom})]
    bench.launchpad.checkout_fw(FWorker(), str(tmp_path), number)
    lease = {"host": "elsewhere", "pid": 1, "start": "1"}
    times = [{"$set": {"lease": lease | {"expires": {"$add": ["$$NOW", 60_000]}}, "token": 1}}]
    bench.documents.calculations.update_one({"_id": atom}, times)
    assert reconcile(bench, [atom]) == []  # alive, elsewhere
    assert bench.states()["Na"] == "RUNNING"
    bench.expire(atom)
    attempt = {"_id": f"{atom}-1-a", "calculation": atom, "started": "2026", "outcome": "running", "label": "Na"}
    bench.documents.attempts.insert_one(attempt)
    assert reconcile(bench, [atom]) == ["Na"]
    assert bench.states()["Na"] == "READY"
    bench.launch(planned)
    assert len(bench.documents.current()) == len(planned)


@pytest.mark.parametrize("state", ["RUNNING", "FIZZLED"])
def test_reconcile_completes_what_is_recorded(bench: Bench, tmp_path: Path, state: str) -> None:
    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    bench.launch(planned)
    bench.launchpad.fireworks.update_one({"name": "WSSe+VS"}, {"$set": {"state": state}})
    bench.launch(planned)
    assert set(bench.states().values()) == {"COMPLETED"}
    assert all(len(bench.attempts(c.id)) == 1 for c in planned.calculations)


def test_fireworks_logs_below_the_root_in_use(bench: Bench, tmp_path: Path) -> None:
    """Not below each root that the process ever used: one of them may be gone."""
    bench.submit(plan(small_campaign(tmp_path)))
    first, second = (tmp_path / name / "logs" / "fireworks.log" for name in ("root", "other"))
    said = first.read_text()
    assert "Added a workflow" in said
    bench.database.fireworks(second.parent)
    bench.submit(plan(small_campaign(tmp_path, campaign="another", sites=["H@top"])))
    assert "Added a workflow" in second.read_text()
    assert first.read_text() == said
