"""A user's mistake at the command line: one message, exit code 2, no traceback, nothing left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from sodiate.analysis.records import SCHEMA_VERSION
from sodiate.workflows.database.connection import initialise, open_root
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.database.mongod import DATABASE, private_mongod
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.archive import export_archive, open_archive
from sodiate.workflows.results.archive_checks import ArchiveError
from support.campaigns import Bench, Finished, small_campaign
from support.cli import Cli, Refused, content, everything, says, usage_message

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc"),
    pytest.mark.together("mistakes"),  # they share a root with its server
]
NOTHING = "sodiate-runs"  # the default root, which no test here makes


@pytest.fixture
def refused(cli: Cli, tmp_path: Path) -> Refused:
    return Refused(cli, tmp_path)


def test_a_full_disk_under_the_output_is_told() -> None:
    command = [sys.executable, "-m", "sodiate.workflows.cli.main", "--version"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "Error: No space left on device\n")


# -- campaigns, options, queries


def test_campaigns(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "mistake.yaml").write_text("campaign: x\nmodles: [WSe2]\n")
    unknown, directory, empty, key = refused(
        ("run", "wse"),
        ("run", tmp_path),
        ("run", "empty.yaml"),
        ("run", "mistake.yaml"),
    )
    says(unknown, "campaign wse", "did you mean 'wsse'", "bundled campaigns", "li-mosse")
    says(directory, tmp_path, "is a directory")
    says(empty, "empty.yaml is empty")
    says(key, "mistake.yaml", "unknown key 'modles'", "did you mean 'models'", "adsorbate")


def test_unknown_and_missing_options(refused: Refused) -> None:
    option, command, label, because, out, form = refused(
        ("run", "--lunchpad", "x"),
        ("rum",),
        ("show",),
        ("redo", "WSe2"),
        ("structures",),
        ("results", "--format", "xml"),
        message=usage_message,
    )
    says(option, "--lunchpad", "--launchpad", "sodiate run --help")
    says(command, "'rum'", "'run'")
    says(label, "label")
    says(because, "--because")
    says(out, "--out")
    says(form, "--format", "xml", "table", "json", "csv")


def test_values_of_options_are_told_in_words(refused: Refused) -> None:
    """Newer typers print what pydantic says."""
    form, few, text = refused(
        ("export", "out", "--format", "xml"),
        ("run", "--workers", "0"),
        ("run", "--workers", "two"),
        message=usage_message,
    )
    says(form, "--format", "'xml' is not one of", "'archive'", "'nomad'")
    says(few, "--workers", "1")
    says(text, "--workers")
    for message in (form, few, text):
        assert not [word for word in ("Value error", "Input should", "unable to parse") if word in message], message


def test_files_that_cannot_be_written(refused: Refused, tmp_path: Path, finished: Finished) -> None:
    (tmp_path / "folder").mkdir()
    gone, folder = refused(
        ("report", "--out", Path("gone", "page.html"), *finished.place), ("schema", "--output", "folder")
    )
    assert gone == "Error: gone/page.html: No such file or directory. Is its folder there?"
    assert folder == "Error: folder: Is a directory. Give the name of a file."


def test_folders_where_files_belong(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    host, protocol = refused(("new", "mine", "--host", "folder"), ("protocol", "folder"))
    says(host, "--host folder is a directory", "the structure file in it")
    says(protocol, "protocol folder is a directory", "the YAML file itself")


def test_queries(refused: Refused) -> None:
    """Refused before anything is opened: there is no root here."""
    queries = ["{model: WSe2}", '["WSe2"]', '{"model": {"$foo": 1}}', '{"$foo": 1}']
    syntax, array, operator, top = refused(*(("results", "--query", query) for query in queries))
    for message, query in zip((syntax, array, operator, top), queries, strict=True):
        says(message, "--query", query)
    says(syntax, "not JSON", "Example")
    says(array, "not an object", "Example")
    says(operator, "no valid MongoDB query", "unknown operator: $foo")
    says(top, "no valid MongoDB query", "$foo")


# -- folders


def test_a_root_where_nothing_was_run(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    messages = refused(
        ("results",),
        ("status",),
        ("show", "WSe2"),
        ("redo", "WSe2", "--because", "a test"),
        ("retry",),
        ("cancel",),
        ("export", "archive"),
    )
    for message in messages:
        says(message, NOTHING, "nothing was run there", "--root", "--launchpad")
    (photos,) = refused(("status", "--root", "photos"))
    says(photos, "photos", "nothing was run there")


def test_a_root_that_cannot_be(refused: Refused, tmp_path: Path, archive: Path) -> None:
    """A folder below a file cannot be made, whoever asks."""
    (tmp_path / "thesis.tex").write_text("text")
    inside = Path("thesis.tex", "runs")
    for message in refused(
        ("run", "--root", "thesis.tex"),
        ("import", archive, "--root", inside),
        ("serve", "--root", inside),
    ):
        says(message, tmp_path / "thesis.tex", "Not a directory", "Choose a root directory")
    (results,) = refused(("results", "--root", "thesis.tex"))
    says(results, "thesis.tex", "nothing was run there")


def test_a_root_of_a_newer_schema(refused: Refused, tmp_path: Path, mongod: Path) -> None:
    root = tmp_path / "runs"
    with private_mongod(root) as server, MongoClient[dict[str, Any]](server.uri) as client:
        client[DATABASE]["sodiate"].insert_one({"_id": "schema", "version": SCHEMA_VERSION + 1})
    for message in refused(("status", "--root", root), ("run", "--root", root)):
        says(message, root, f"schema {SCHEMA_VERSION + 1}", f"schema {SCHEMA_VERSION} and older", "Update sodiate")
    with private_mongod(root) as server, MongoClient[dict[str, Any]](server.uri) as client:
        assert client[DATABASE].list_collection_names() == ["sodiate"]


def test_folders_that_hold_other_files(refused: Refused, tmp_path: Path, served: Served, archive: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    paper = tmp_path / "paper"
    paper.mkdir()
    for path in archive.iterdir():  # an earlier archive, and something of the user's beside it
        if path.is_file():
            (paper / path.name).write_bytes(path.read_bytes())
    (paper / "README.md").write_text("how to read this archive")
    thesis, beside, structures = refused(
        ("export", "thesis", "--root", served.root),
        ("export", "paper", "--root", served.root),
        ("structures", "--out", "thesis"),
    )
    says(thesis, tmp_path / "thesis", "other files", "thesis.tex", "new folder")
    says(beside, paper, "other files", "README.md", "new folder")
    says(structures, "thesis", "new or empty folder")


# -- archives


def test_no_archive(refused: Refused, tmp_path: Path, served: Served) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "launchpad.yaml").write_text("host: 127.0.0.1\n")
    places: tuple[str | Path, ...] = ("gone", served.root, "photos")
    for message, word in zip(
        refused(
            ("results", "--archive", "gone"),
            ("results", "--archive", served.root),
            ("import", "photos"),
        ),
        places,
        strict=True,
    ):
        says(message, word, "no archive of sodiate", "archive.json")
    (both,) = refused(("results", "--archive", "photos", "--launchpad", "launchpad.yaml"))
    says(both, "--archive", "--launchpad")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_a_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


def changed(old: str, new: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


DAMAGES: list[tuple[str, Callable[[Path], object], str]] = [
    ("archive.json", cut, "damaged"),
    ("archive.json", changed(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 999'), "schema 999"),
    ("records.jsonl", cut, "damaged"),
    ("records.jsonl", without_a_line, "damaged"),
    ("records.jsonl", changed('"energy_ev": ', '"energy_ev": 1'), "changed"),
    ("records.jsonl", changed('"physical": false', '"physical": "perhaps"'), "physical"),
    ("records.jsonl", Path.unlink, "No such file"),
    ("calculations.jsonl", without_a_line, "no calculation"),
    ("campaigns.jsonl", changed('"models"', '"modles"'), "mod"),
    ("attempts.jsonl", lambda path: path.write_text("5\n"), "damaged"),
    ("arrays", lambda path: next(path.iterdir()).unlink(), "missing"),
    ("arrays", lambda path: cut(next(path.iterdir())), "damaged"),
]


@pytest.fixture
def damaged(tmp_path: Path, archive: Path) -> list[Path]:
    """One copy of an archive for each damage."""
    copies = []
    for number, (name, damage, _) in enumerate(DAMAGES):
        copies.append(Path(shutil.copytree(archive, tmp_path / f"archive-{number}")))
        damage(copies[-1] / name)
    return copies


def test_damaged_archives(refused: Refused, damaged: list[Path], archive: Path) -> None:
    open_archive(archive)
    for copy, (name, _, word) in zip(damaged, DAMAGES, strict=True):
        with pytest.raises(ArchiveError) as caught:
            open_archive(copy)
        says(str(caught.value), copy, word)
        assert name in str(caught.value) or "schema 999" in str(caught.value)
    newer, cut_short, lacking = refused(
        ("results", "--archive", damaged[1]), ("results", "--archive", damaged[2]), ("import", damaged[-1])
    )
    says(newer, damaged[1], "schema 999", "Update sodiate")
    says(cut_short, damaged[2] / "records.jsonl", "line", "damaged")
    says(lacking, damaged[-1] / "arrays", ".npz is damaged")


# -- names, on a root with two campaigns


@dataclass
class Served:
    """A root whose server runs all the time: campaign ``tiny`` is recorded, ``twin`` is planned."""

    root: Path
    db: Any
    tiny: Plan
    twin: Plan


@pytest.fixture(scope="module")
def served(mongod: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    values: dict[str, Any] = {"models": ["WSe2"], "sites": ["H@top"]}
    tiny = plan(small_campaign(folder, campaign="tiny", supercell=[1, 1], **values))
    twin = plan(small_campaign(folder, campaign="twin", supercell=[2, 2], **values))
    with open_root(folder / "root") as database:
        bench = Bench(database, folder / "root")
        initialise(database, bench.launchpad)
        bench.submit(tiny)
        bench.launch(tiny)
        assert len(bench.documents.current()) == len(tiny)
        bench.submit(twin)
        yield Served(folder / "root", database.db, tiny, twin)


@pytest.fixture(scope="module")
def archive(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "archive"
    export_archive(Documents(served.db), served.root, folder)
    return folder


def test_labels(refused: Refused, served: Served) -> None:
    before = content(served.db), everything(served.root)
    root = ("--root", served.root)
    for message in refused(
        ("show", "WSe2/H@topp", *root),
        ("retry", "WSe2/H@topp", *root),
        ("cancel", "WSe2/H@topp", *root),
    ):
        says(message, "no calculation is called 'WSe2/H@topp'", "did you mean 'WSe2/H@top'", "sodiate status")
    (ambiguous,) = refused(("redo", "WSe2", "--because", "a test", *root))
    says(ambiguous, "'WSe2' means several calculations", "tiny", "twin", "--campaign")
    says(ambiguous, *(planned["WSe2"].calculation.id for planned in (served.tiny, served.twin)))
    assert (content(served.db), everything(served.root)) == before


def test_names(refused: Refused, served: Served) -> None:
    before = content(served.db)
    root = ("--root", served.root)
    model, campaign, engine, nothing, query = refused(
        ("results", "--model", "WSSe", *root),
        ("results", "--campaign", "tinny", *root),
        ("results", "--engine", "emtt", *root),
        ("cancel", "--engine", "vasp", *root),
        ("results", "--query", '{"model": {"$regex": "("}}', *root),
    )
    says(model, "no model 'WSSe'", "did you mean 'WSe2'", "models: WSe2")
    says(campaign, served.root, "no campaign 'tinny'", "did you mean 'tiny'", "twin")
    says(engine, served.root, "no engine 'emtt'", "did you mean 'emt'")
    says(nothing, "no engine 'vasp'", "it has emt")
    says(query, "--query", "no valid MongoDB query")
    assert content(served.db) == before
