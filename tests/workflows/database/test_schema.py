"""Roots and archives of schema 1, before campaigns stored their quantities by name, are read and go on."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from sodiate.analysis.campaign_entry import CampaignEntry, upgraded
from sodiate.workflows.database.connection import open_root
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.database.fireworks_guard import TASK
from sodiate.workflows.plan import plan
from support import DATA, DOCS
from support.cli import Cli

OLD = DATA / "root-schema-1"
"""A dry run by sodiate 0.1.0: every collection of its database, its campaign, and what it said of its results."""


@pytest.fixture
def old_root(mongod: Path, tmp_path: Path) -> Iterator[Path]:
    """Its server runs for the whole test, so that commands need not start one each."""
    for name in ("old.yaml", "S8.xyz", "Se.cif"):
        shutil.copy(OLD / name, tmp_path)
    with open_root(tmp_path / "root") as database, gzip.open(OLD / "root.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            entry = json_util.loads(line)
            database.db[entry["collection"]].insert_one(entry["document"])
        yield tmp_path / "root"


def _as_then(row: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    """What the older release said of a host and of its sites; there are more values by now."""
    values = {key: row[key] for key in old}
    values["sites"] = [
        {key: site[key] for key in then} for site, then in zip(row["sites"], old["sites"], strict=True)
    ]
    return values


def test_a_root_of_schema_1_is_done_and_says_the_same(cli: Cli, old_root: Path) -> None:
    said = json.loads((OLD / "results.json").read_text(encoding="utf-8"))
    now = json.loads(cli("results", "--root", old_root, "--format", "json").stdout)
    assert [_as_then(row, old) for row, old in zip(now, said, strict=True)] == said
    assert "16 done, 0 new" in cli("plan", "old.yaml", "--diff", "--root", old_root).stdout
    done = cli("run", "old.yaml", "--root", old_root)
    assert done.returncode == 0, done.stdout + done.stderr
    with open_root(old_root) as database:
        documents = Documents(database.db)
        assert documents.attempts.count_documents({}) == 16  # nothing was computed again
        (entry,) = documents.entries()
        assert entry.revision == 1  # the same campaign, not a new revision of it
        assert entry == plan(old_root.parent / "old.yaml").entry()
        stored = documents.campaigns.find_one({})
        assert stored is not None
        assert stored["schema_version"] == 1  # left as it was written


def test_a_root_of_schema_1_goes_on_where_it_was(cli: Cli, old_root: Path) -> None:
    """Its fireworks name the task as the older release did; what is to be done again is done by them."""
    with open_root(old_root) as database:
        tasks = database.db["fireworks"].distinct("spec._tasks._fw_name")
        assert tasks == [TASK]
    done = cli("redo", "WSSe+VS/dos", "--because", "a test", "--root", old_root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 new or to be done again" in cli("plan", "old.yaml", "--diff", "--root", old_root).stdout
    done = cli("run", "old.yaml", "--root", old_root)
    assert done.returncode == 0, done.stdout + done.stderr
    with open_root(old_root) as database:
        assert database.db["workflows"].count_documents({}) == 1  # by the workflow that was there
        assert Documents(database.db).attempts.count_documents({}) > 16


def test_an_archive_of_schema_1_is_upgraded_as_it_is_read() -> None:
    """Each field of the old layout, by hand."""
    lines = (DOCS / "reproduction" / "campaigns.jsonl").read_text(encoding="utf-8").splitlines()
    documents = [json.loads(line) for line in lines]
    old = [document for document in documents if document["schema_version"] == 1]
    assert old
    for document in old:
        entry = CampaignEntry.model_validate(upgraded(document))
        assert (entry.schema_version, len(entry.models)) == (2, len(document["models"]))
        for model, was in zip(entry.models, document["models"], strict=True):
            assert {q: p.calculations for q, p in model.quantities.items()} == _by_hand(document, was)
            assert (model.name, model.host, model.lowest) == (was["name"], was["host"], was["lowest"])
        assert upgraded(entry.model_dump(mode="json")) == entry.model_dump(mode="json")


def _by_hand(document: dict[str, Any], was: dict[str, Any]) -> dict[str, dict[str, str]]:
    formation = was.get("formation")
    parts: dict[str, Any] = {
        "adsorption_energy": {"atom": was.get("atom") or document["atom"]},
        "bulk_reference": {"bulk": was.get("bulk") or document["bulk"]},
        "dos": {"dos": was.get("dos")},
        "bands": {"bands": was.get("bands")},
        "lattice": {"lattice": (was.get("lattice") or {}).get("calculation")},
        "vacancy_formation": formation and {"pristine": formation["pristine"], **formation["elements"]},
        "density_difference": was.get("densities"),
    }
    return {name: part for name, part in parts.items() if part and all(part.values())}
