"""Archives of other people: no link followed, no name that leads out, no value that was not exported."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sodiate.workflows.results.archive import export_archive, import_archive, open_archive
from sodiate.workflows.results.archive_checks import ArchiveError
from support import DOCS
from support.campaigns import Bench


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The published archive, to be damaged."""
    return Path(shutil.copytree(DOCS / "reproduction", tmp_path / "archive"))


def lines(archive: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (archive / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def rewrite(archive: Path, name: str, change: Callable[[list[dict[str, Any]]], object]) -> None:
    documents = lines(archive, name)
    change(documents)
    (archive / f"{name}.jsonl").write_text("".join(json.dumps(document) + "\n" for document in documents))


def first_array(archive: Path) -> Path:
    return next((archive / "arrays").iterdir())


def checkpoint(archive: Path) -> Path:
    """Where a checkpoint of a calculation of the archive lies."""
    document = next(d for d in lines(archive, "calculations") if d["label"] == "Na")
    return archive / "checkpoints" / f"Na-{document['_id']}"


def test_the_archive_is_whole_before_anything_is_done_to_it(archive: Path) -> None:
    assert open_archive(archive).entries()


@pytest.mark.parametrize("place", ["archive.json", "records.jsonl", "campaigns.jsonl", "arrays", "array"])
def test_no_link_is_followed(archive: Path, tmp_path: Path, place: str) -> None:
    path = first_array(archive) if place == "array" else archive / place
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(ArchiveError, match=f"{path.name} is a link, a pipe or a device"):
        open_archive(archive)


@pytest.mark.parametrize("form", ["whole", "directory", "file"])
def test_a_checkpoint_that_is_a_link_copies_nothing(archive: Path, bench: Bench, tmp_path: Path, form: str) -> None:
    """One copied all of /etc."""
    secret = tmp_path / "secret"
    (secret / "deeper").mkdir(parents=True)
    (secret / "calculation.json").write_text("secret")
    path = checkpoint(archive)
    if form == "whole":
        path.parent.symlink_to(secret)
    elif form == "directory":
        path.parent.mkdir()
        path.symlink_to(secret)
    else:
        path.mkdir(parents=True)
        (path / "calculation.json").symlink_to(secret / "calculation.json")
    with pytest.raises(ArchiveError, match="is a link, a pipe or a device"):
        import_archive(bench.documents, bench.root, archive)
    assert not bench.root.exists() or not any("secret" in p.read_text() for p in bench.root.rglob("*.json"))
    assert not bench.documents.records.count_documents({})


def test_checkpoints_are_of_calculations_of_the_archive_and_have_files_alone(archive: Path) -> None:
    path = checkpoint(archive)
    (path / "folder").mkdir(parents=True)
    with pytest.raises(ArchiveError, match="folder is a folder; checkpoints are files"):
        open_archive(archive)
    shutil.rmtree(path)
    (archive / "checkpoints" / "ssh").mkdir()
    with pytest.raises(ArchiveError, match="ssh is the checkpoint of no calculation in the archive"):
        open_archive(archive)


def test_of_a_checkpoint_only_what_its_engine_reads_is_copied(archive: Path, bench: Bench) -> None:
    path = checkpoint(archive)
    path.mkdir(parents=True)
    for name in ("trajectory.jsonl", "calculation.json", "sitecustomize.py", ".bashrc"):
        (path / name).write_text("{}")
    bench.initialise()
    assert import_archive(bench.documents, bench.root, archive).checkpoints == 1
    copied = sorted(file.name for file in (bench.root / path.name).iterdir())
    assert copied == ["calculation.json", "trajectory.jsonl"]


def test_a_pipe_is_no_file_of_an_archive(archive: Path) -> None:
    """It would be read for ever."""
    (archive / "attempts.jsonl").unlink()
    os.mkfifo(archive / "attempts.jsonl")
    with pytest.raises(ArchiveError, match=r"attempts\.jsonl is a link, a pipe or a device"):
        open_archive(archive)


@pytest.mark.parametrize("version", [0, -1, True, "1", 1.0, None, [1]])
def test_an_odd_schema_gets_no_free_pass(archive: Path, version: Any) -> None:
    (archive / "archive.json").write_text(json.dumps({"schema_version": version}))
    with pytest.raises(ArchiveError, match="no sodiate wrote an archive of schema"):
        open_archive(archive)


def one(documents: list[dict[str, Any]], **values: Any) -> None:
    documents[0].update(values)


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("records", lambda d: one(d, schema_version=0, energy_ev=-1.0), "schema 0"),
        ("records", lambda d: one(d, energy_ev=d[0]["energy_ev"] - 1.0), "the values of record .* were changed"),
        ("records", lambda d: one(d, energy_ev=str(d[0]["energy_ev"])), "energy_ev: Input should be a valid number"),
        ("records", lambda d: one(d, energy_ev=float("nan")), "NaN is no finite number"),
        ("records", lambda d: one(d, energy_ev=10**30), "takes more than 64 bits"),
        ("records", lambda d: one(d, label="Na\nISIF = 3"), "label: .*line break"),
        ("records", lambda d: one(d, state="perhaps"), "current or superseded, not 'perhaps'"),
        ("records", lambda d: one(d, calculation="f" * 16), "were changed"),
        ("records", lambda d: one(d, arrays={"dos": "../../etc/passwd"}), "names no array"),
        ("records", lambda d: one(d, _id=7), "it has no _id"),
        ("records", lambda d: d.append(d[0] | {"_id": "another", "state": "current"}), "two current records"),
        ("records", lambda d: d.append(d[0]), "a document twice"),
        ("calculations", lambda d: one(d, label="Na\nISIF = 3"), "label: .*line break"),
        ("calculations", lambda d: one(d, kind="sabotage"), "no kind of calculation 'sabotage'"),
        ("calculations", lambda d: one(d, parents={"host": d[0]["_id"]}), "its own ancestor"),
        ("calculations", lambda d: one(d, parents=None), "it has no parents"),
        ("campaigns", lambda d: one(d, schema_version=0), "schema 0"),
        ("campaigns", lambda d: one(d, campaign="../../home"), "would lead to another folder"),
        ("campaigns", lambda d: one(d, models=7), "is damaged"),
        ("attempts", lambda d: one(d, outcome=None), "outcome: None is no text"),
        ("attempts", lambda d: one(d, label="a\x1b[2J"), "does not print"),
        ("attempts", lambda d: d[0].pop("host"), "a document has no 'host'"),
    ],
)  # fmt: skip
def test_a_changed_document_is_refused(
    archive: Path, name: str, change: Callable[[list[dict[str, Any]]], object], words: str
) -> None:
    rewrite(archive, name, change)
    with pytest.raises(ArchiveError, match=words) as caught:
        open_archive(archive)
    assert f"{name}.jsonl" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[" * 100_000 + "]" * 100_000, "9" * 5001, '{"_id": "a", "_id": "b"}', "1e999", "\xff"]
)
def test_json_that_only_malice_gives(archive: Path, text: str) -> None:
    (archive / "records.jsonl").write_bytes(text.encode("latin-1") + b"\n")
    with pytest.raises(ArchiveError, match=r"records\.jsonl.* is damaged"):
        open_archive(archive)


def test_fields_that_no_export_writes_are_left_behind(archive: Path, bench: Bench) -> None:
    """A lease in an archive would keep a calculation from ever being computed."""
    calculation = lines(archive, "calculations")[0]["_id"]
    rewrite(archive, "calculations", lambda d: one(d, lease={"host": "x", "pid": 1}, cancelled=True, token=99))
    bench.initialise()
    import_archive(bench.documents, bench.root, archive)
    stored = bench.documents.calculations.find_one({"_id": calculation})
    assert stored is not None
    assert not stored.keys() & {"lease", "cancelled"}


def test_an_array_changed_in_an_archive_is_refused(bench: Bench, tmp_path: Path) -> None:
    """Its name ends with its content's digest; the published archive is of before that, and its arrays are taken."""
    from sodiate.workflows.plan import plan
    from support.campaigns import small_campaign

    planned = plan(small_campaign(tmp_path))
    bench.submit(planned)
    bench.launch(planned)
    export_archive(bench.documents, bench.root, tmp_path / "fresh")
    path = next((tmp_path / "fresh" / "arrays").glob("*-bands-*"))
    with np.load(path) as arrays:
        shifted = {name: copy.copy(arrays[name]) for name in arrays.files}
    shifted["energies_ev"] = shifted["energies_ev"] + 1.0
    np.savez_compressed(path, **shifted)
    with pytest.raises(ArchiveError, match=f"{path.name} is damaged: it is not what was stored"):
        open_archive(tmp_path / "fresh")
