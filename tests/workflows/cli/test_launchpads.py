"""Mistakes with --launchpad: one message, exit code 2, no traceback, nothing left behind, no database touched."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from sodiate.analysis.records import SCHEMA_VERSION
from sodiate.workflows.campaign.yaml import InputError, load_yaml
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.results.archive import export_archive
from support.campaigns import small_campaign
from support.cli import Cli, Refused, content, says
from support.servers import asks_for_password

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc"),
    pytest.mark.together("launchpads"),  # they share a server
]


@pytest.fixture
def refused(cli: Cli, tmp_path: Path) -> Refused:
    return Refused(cli, tmp_path)


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
        "option": "mongoclient_kwargs has no option 'tsl'",
        "value": "tls",
        "name": "key name: 'a b' cannot be that of a database",
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


@pytest.mark.parametrize(
    "text",
    [
        "username: anna\npassword: 81549300\n",
        "username: anna\npassword: [81549300]\n",
        "host: [mongodb://anna:81549300@127.0.0.1/x]\n",
        "uri_mode: true\nname: x\nhost: mongodb://anna:81549300/@127.0.0.1/x\n",
        "uri_mode: true\nname: x\nhost: mongodb://anna:a:81549300@127.0.0.1/x\n",
        "uri_mode: true\nname: x\nhost: mongodb://anna:a%zz81549300@127.0.0.1/x\n",
    ],
)
def test_a_password_is_in_no_message(refused: Refused, tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    (message,) = refused(("status", "--launchpad", "mine.yaml"))
    says(
        message, "launchpad mine.yaml", "should be text (in quotes)" if "uri_mode" not in text else "%2F for a slash"
    )
    assert not any(part in message for part in ("8154", "9300"))


@pytest.mark.parametrize(
    "password",
    ["2081-12-09", "2081-12-09T10:11:12Z", "2081-13-45", "!secret81", "!secret81 [1]", "!!int secret81", ".inf"],
)
def test_a_password_that_yaml_takes_for_something_else_is_in_no_message(tmp_path: Path, password: str) -> None:
    """The line is named instead; the same mistake in a campaign is repeated."""
    path = tmp_path / "mine.yaml"
    path.write_text(f"host: 127.0.0.1\npassword: {password}\n")
    with pytest.raises(InputError) as told:
        load_yaml(path, "launchpad")
    says(str(told.value), f"launchpad {path}, line 2: ")
    message = str(told.value).replace(str(path), "")
    assert not any(part in message for part in ("81", "secret", "inf"))
    with pytest.raises(InputError, match=r"81|inf"):
        load_yaml(path, "protocol")


def test_a_server_that_does_not_answer(refused: Refused, tmp_path: Path) -> None:
    """Within ten seconds, with the address and without the password."""
    (tmp_path / "plain.yaml").write_text("host: 127.0.0.1\nport: 1\nname: fireworks\n")
    (tmp_path / "uri.yaml").write_text("host: mongodb://anna:hunter2@127.0.0.1:1/db\nname: db\n")
    start = time.monotonic()
    plain, uri = refused(("status", "--launchpad", "plain.yaml"), ("results", "--launchpad", "uri.yaml"))
    assert time.monotonic() - start < 10
    says(plain, "plain.yaml", "no MongoDB answers at 127.0.0.1:1", "Connection refused", "Is the server running?")
    says(uri, "uri.yaml", "127.0.0.1:1", "Connection refused")
    assert "hunter2" not in uri
    assert plain.count("(") == plain.count(")")


# -- servers of the user's


@pytest.fixture(scope="module")
def secured(mongod: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoClient[dict[str, Any]]]:
    """A server on a port that asks for a password, and a client that may do everything."""
    with asks_for_password(mongod, tmp_path_factory.mktemp("secured")) as client:
        yield client


def launchpad_file(folder: Path, client: MongoClient[dict[str, Any]], name: str, **keys: str) -> Path:
    assert client.address is not None
    values = {"host": "127.0.0.1", "port": client.address[1], "name": name, "authsource": "admin"}
    values |= {"username": "anna", "password": "right horse"} | keys
    path = folder / f"{name.replace(' ', '-')}.yaml"
    path.write_text(json.dumps({key: value for key, value in values.items() if value}))
    return path


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


def test_a_user_who_may_only_read_is_told_so(
    cli: Cli, refused: Refused, tmp_path: Path, secured: MongoClient[dict[str, Any]]
) -> None:
    """Reading works; the password is right, and nobody is sent to check it."""
    small_campaign(tmp_path, quantities=[])
    whole = launchpad_file(tmp_path, secured, "group")
    whole.chmod(0o600)
    assert cli("submit", "small.yaml", "--launchpad", whole).returncode == 0
    secured["group"].command("createUser", "reader", pwd="blue moon", roles=["read"])
    reading = launchpad_file(tmp_path, secured, "group", username="reader", password="blue moon", authsource="group")
    reading.chmod(0o600)
    assert "not yet run" in cli("status", "--launchpad", reading).stdout
    for words in (("cancel",), ("redo", "Na", "--because", "no"), ("submit", "small.yaml")):
        done = cli(*words, "--launchpad", reading, "--yes")
        assert done.returncode == 2
        says(done.stderr, "user reader", "no permission", "readWrite")
        assert "check" not in done.stderr


def test_a_launchpad_file_that_others_can_read_is_warned_of(
    cli: Cli, tmp_path: Path, secured: MongoClient[dict[str, Any]]
) -> None:
    path = launchpad_file(tmp_path, secured, "exposed")
    path.chmod(0o640)
    done = cli("status", "--launchpad", path)
    assert done.returncode == 0
    says(done.stderr, "Warning", path, "chmod 600")
    path.chmod(0o600)
    assert cli("status", "--launchpad", path).stderr == ""


def test_a_database_of_other_data_is_refused_and_untouched(
    refused: Refused, tmp_path: Path, secured: MongoClient[dict[str, Any]]
) -> None:
    """Also one whose collections have the names of ours."""
    archive = tmp_path / "archive"
    export_archive(Documents(secured["empty"]), tmp_path, archive)
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
