"""A user's mistake at the command line: one message, exit code 2, no traceback, nothing left behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from pymongo import MongoClient
from sodiate.analysis.records import SCHEMA_VERSION
from sodiate.workflows.archive import ArchiveError, export_archive, open_archive
from sodiate.workflows.documents import Documents
from sodiate.workflows.launchpad import initialise, open_root
from sodiate.workflows.mongod import DATABASE, private_mongod
from sodiate.workflows.plan import Plan, plan
from support import Bench, small_campaign

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
NOTHING = "sodiate-runs"  # the default root, which no test here makes


def everything(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its content, except what a private server keeps for itself."""
    paths = [p for p in folder.rglob("*") if "mongod" not in p.relative_to(folder).parts]
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in paths}


def servers(folder: Path) -> list[str]:
    """Command lines of the servers and guards that run on something below a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # ended meanwhile
            continue
        if "mongod" in command and f"{folder}/" in command:
            found.append(command)
    return found


def one_message(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("Error: ")
    return lines[0]


def usage_message(done: subprocess.CompletedProcess[str]) -> str:
    """Typer's own: where to find help, and one box with the message."""
    assert done.returncode == 2, done
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.count("─ Error ─") == 1
    return " ".join(done.stderr.replace("│", " ").split())


@dataclass
class Refused:
    """Runs commands in a folder, two at a time, and returns the one message of each; nothing may stay behind."""

    cli: Cli
    folder: Path

    def __call__(
        self,
        *commands: tuple[str | Path, ...],
        message: Callable[[subprocess.CompletedProcess[str]], str] = one_message,
    ) -> list[str]:
        before = everything(self.folder)
        with ThreadPoolExecutor(2) as pool:
            done = list(pool.map(lambda command: self.cli(*command, cwd=self.folder), commands))
        found = [message(one) for one in done]
        assert everything(self.folder) == before
        assert not servers(self.folder)
        return found


@pytest.fixture
def refused(cli: Cli, tmp_path: Path) -> Refused:
    return Refused(cli, tmp_path)


def says(message: str, *words: str | Path) -> None:
    assert all(str(word) in message for word in words), (message, words)


# -- campaigns, options, queries


def test_campaigns(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "mistake.yaml").write_text("campaign: x\nmodles: [WSe2]\n")
    unknown, directory, empty, key, engine = refused(
        ("run", "wse"),
        ("run", tmp_path),
        ("run", "empty.yaml"),
        ("run", "mistake.yaml"),
        ("run", "wsse", "--engine", "emtt"),
    )
    says(unknown, "campaign wse", "did you mean 'wsse'", "bundled campaigns", "li-mosse")
    says(directory, tmp_path, "is a directory")
    says(empty, "empty.yaml is empty")
    says(key, "mistake.yaml", "unknown key 'modles'", "did you mean 'models'", "adsorbate")
    says(engine, "'emtt'", "did you mean 'emt'")


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
    with private_mongod(root) as server, MongoClient(server.uri) as client:
        db: Any = client[DATABASE]
        db["sodiate"].insert_one({"_id": "schema", "version": SCHEMA_VERSION + 1})
    for message in refused(("status", "--root", root), ("run", "--root", root)):
        says(message, root, f"schema {SCHEMA_VERSION + 1}", f"schema {SCHEMA_VERSION} and older", "Update sodiate")
    with private_mongod(root) as server, MongoClient(server.uri) as client:
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
    thesis, beside, structures, file = refused(
        ("export", "thesis", "--root", served.root),
        ("export", "paper", "--root", served.root),
        ("structures", "--out", "thesis"),
        ("structures", "--out", "paper/README.md"),
    )
    says(thesis, tmp_path / "thesis", "other files", "thesis.tex", "new folder")
    says(beside, paper, "other files", "README.md", "new folder")
    says(structures, "thesis", "new or empty folder")
    says(file, "README.md", "new or empty folder")


# -- archives


def test_no_archive(refused: Refused, tmp_path: Path, served: Served) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "launchpad.yaml").write_text("host: 127.0.0.1\n")
    for message, word in zip(
        refused(
            ("results", "--archive", "gone"),
            ("results", "--archive", served.root),
            ("import", "photos"),
        ),
        ("gone", served.root, "photos"),
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


DAMAGES: list[tuple[str, Callable[[Path], None], str]] = [
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


# -- launchpad files


def test_launchpad_files(refused: Refused, tmp_path: Path) -> None:
    contents = {
        "empty": "",
        "broken": "host: [1\n",
        "list": "- host\n",
        "key": "hots: 127.0.0.1\n",
        "type": "host: 127.0.0.1\nport: high\n",
        "range": "host: 127.0.0.1\nport: 99999999\n",
        "option": "host: 127.0.0.1\nmongoclient_kwargs: {tsl: true}\n",
        "value": "host: 127.0.0.1\nmongoclient_kwargs: {tls: perhaps}\n",
        "name": "host: 127.0.0.1\nname: a b\n",
        "uri": "host: mongodb://127.0.0.1\nuri_mode: true\n",
    }
    for name, text in contents.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    words = {
        "gone": "No such file",
        "empty": "is empty",
        "broken": "line 2: not valid YAML",
        "list": "not a mapping",
        "key": "did you mean 'host'",
        "type": "port: 'high'",
        "range": "65535",
        "option": "tsl",
        "value": "tls",
        "name": "' '",
        "uri": "'name'",
    }
    names = ["run", "results", "show", *["status"] * len(words)]
    commands = [
        (name, *(["WSe2"] if name == "show" else []), "--launchpad", f"{file}.yaml")
        for name, file in zip(names, words, strict=False)
    ]
    for message, (file, word) in zip(refused(*commands), words.items(), strict=True):
        says(message, f"launchpad {file}.yaml", word)
    (directory,) = refused(("status", "--launchpad", tmp_path))
    says(directory, tmp_path, "is a directory")


def test_a_server_that_does_not_answer(refused: Refused, tmp_path: Path) -> None:
    """Within ten seconds, with the address and without the password."""
    (tmp_path / "plain.yaml").write_text("host: 127.0.0.1\nport: 1\nname: fireworks\n")
    (tmp_path / "uri.yaml").write_text("host: mongodb://anna:hunter2@127.0.0.1:1/db\nname: db\n")
    start = time.monotonic()
    (plain,) = refused(("status", "--launchpad", "plain.yaml"))
    assert time.monotonic() - start < 10
    (uri,) = refused(("run", "--launchpad", "uri.yaml"))
    says(plain, "plain.yaml", "no MongoDB answers at 127.0.0.1:1", "Connection refused", "Is the server running?")
    says(uri, "uri.yaml", "127.0.0.1:1", "Connection refused")
    assert "hunter2" not in uri
    assert plain.count("(") == plain.count(")")


# -- servers of the user's


@pytest.fixture(scope="module")
def secured(mongod: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoClient[dict[str, Any]]]:
    """A server on a port that asks for a password, and a client that may do everything."""
    folder = tmp_path_factory.mktemp("secured")
    (folder / "db").mkdir()
    log = folder / "log"
    options = ["--bind_ip", "127.0.0.1", "--port", "0", "--nounixsocket", "--auth", "--quiet", "--logpath", log]
    light = ["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    server = subprocess.Popen([mongod, "--dbpath", folder / "db", *options, *light], stdout=subprocess.DEVNULL)
    try:
        port = listening_port(log)
        with MongoClient("127.0.0.1", port) as first:  # the first user may be made without one
            first["admin"].command("createUser", "anna", pwd="right horse", roles=["root"])
        with MongoClient("127.0.0.1", port, username="anna", password="right horse") as client:
            yield client
    finally:
        server.terminate()
        server.wait()


def listening_port(log: Path) -> int:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines() if log.exists() else ():
            if '"Waiting for connections"' in line:
                return int(json.loads(line)["attr"]["port"])
        time.sleep(0.02)
    raise TimeoutError(log)


def launchpad_file(folder: Path, client: MongoClient[dict[str, Any]], name: str, **keys: str) -> Path:
    assert client.address is not None
    values = {"host": "127.0.0.1", "port": client.address[1], "name": name, "authsource": "admin"}
    values |= {"username": "anna", "password": "right horse"} | keys
    path = folder / f"{name.replace(' ', '-')}.yaml"
    path.write_text(json.dumps({key: value for key, value in values.items() if value}))
    return path


def content(db: Any) -> dict[str, list[Any]]:
    """Every document of a database."""
    return {name: sorted(map(repr, db[name].find())) for name in sorted(db.list_collection_names())}


def test_a_wrong_password(refused: Refused, tmp_path: Path, secured: MongoClient[dict[str, Any]]) -> None:
    wrong = launchpad_file(tmp_path, secured, "wrong", password="hunter2")
    nobody = launchpad_file(tmp_path, secured, "nobody", username="", password="")
    messages = refused(
        ("run", "--launchpad", wrong), ("status", "--launchpad", wrong), ("status", "--launchpad", nobody)
    )
    for message, file, user in zip(messages, (wrong, wrong, nobody), ("anna", "anna", "(none)"), strict=True):
        says(message, file, "127.0.0.1:", f"refused user {user}", "password and authsource")
        assert "hunter2" not in message
    assert not {"wrong", "nobody"} & set(secured.list_database_names())


def test_a_database_of_other_data_is_refused_and_untouched(
    refused: Refused, tmp_path: Path, archive: Path, secured: MongoClient[dict[str, Any]]
) -> None:
    """Also one whose collections have the names of ours."""
    secured["shop"]["orders"].insert_one({"_id": 1, "paid": True})
    secured["summer"]["campaigns"].insert_one({"_id": 1, "campaign": "ice cream"})
    secured["later"]["sodiate"].insert_one({"_id": "schema", "version": SCHEMA_VERSION + 1})
    before = {name: content(secured[name]) for name in ("shop", "summer", "later")}
    shop, summer, later = (launchpad_file(tmp_path, secured, name) for name in before)
    messages = refused(
        ("run", "--launchpad", shop),
        ("import", archive, "--launchpad", shop),
        ("cancel", "--launchpad", shop),
        ("status", "--launchpad", summer),
        ("status", "--launchpad", later),
    )
    for message in messages[:3]:
        says(message, shop, "database shop holds orders", "no FireWorks launchpad", "empty database")
    says(messages[3], summer, "database summer holds campaigns", "no FireWorks launchpad")
    says(messages[4], later, f"schema {SCHEMA_VERSION + 1}", "Update sodiate")
    assert {name: content(secured[name]) for name in before} == before


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
        ("redo", "WSe2/H@topp", "--because", "a test", *root),
        ("retry", "WSe2/H@topp", *root),
        ("cancel", "WSe2/H@topp", *root),
    ):
        says(message, "no calculation is called 'WSe2/H@topp'", "did you mean 'WSe2/H@top'", "sodiate status")
    for message in refused(("show", "WSe2", *root), ("redo", "WSe2", "--because", "a test", *root)):
        says(message, "'WSe2' means several calculations", "tiny", "twin", "--campaign")
        says(message, *(planned["WSe2"].calculation.id for planned in (served.tiny, served.twin)))
    assert (content(served.db), everything(served.root)) == before


def test_names(refused: Refused, served: Served) -> None:
    before = content(served.db)
    root = ("--root", served.root)
    model, campaign, engine, nobody, nothing, query = refused(
        ("results", "--model", "WSSe", *root),
        ("results", "--campaign", "tinny", *root),
        ("results", "--engine", "emtt", *root),
        ("show", "WSe2", "--campaign", "twinn", *root),
        ("cancel", "--engine", "vasp", *root),
        ("results", "--query", '{"model": {"$regex": "("}}', *root),
    )
    says(model, "no model 'WSSe'", "did you mean 'WSe2'", "models: WSe2")
    says(campaign, served.root, "no campaign 'tinny'", "did you mean 'tiny'", "twin")
    says(engine, served.root, "no engine 'emtt'", "did you mean 'emt'")
    says(nobody, "no campaign 'twinn'", "did you mean 'twin'", "tiny")
    says(nothing, "no engine 'vasp'", "it has emt")
    says(query, "--query", "no valid MongoDB query")
    assert content(served.db) == before
