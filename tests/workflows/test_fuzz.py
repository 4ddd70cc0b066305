"""Readers of what others wrote, fed with what nobody would write: an error in words, or a value, and nothing else."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sodiate.workflows.campaign.campaign_file import CampaignFile
from sodiate.workflows.campaign.load import load_campaign
from sodiate.workflows.campaign.strict_json import read_json
from sodiate.workflows.campaign.yaml import InputError, validate
from sodiate.workflows.campaign.yaml_text import YamlMistake, read_yaml
from sodiate.workflows.database.seals import Altered, sealed_record, to_entry, to_record
from sodiate.workflows.results.archive import open_archive
from sodiate.workflows.results.archive_checks import ArchiveError
from sodiate.workflows.results.rows import matching
from support import DOCS

settings.register_profile(
    "sodiate",
    derandomize=True,  # the same examples everywhere: a failure is seen by all
    database=None,
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("sodiate")

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(10**40), 10**40), st.floats(), st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
RECORD = json.loads((DOCS / "reproduction" / "records.jsonl").read_text(encoding="utf-8").splitlines()[0])
CAMPAIGN = json.loads((DOCS / "reproduction" / "campaigns.jsonl").read_text(encoding="utf-8").splitlines()[0])
FILE = load_campaign("wsse").spec.model_dump(mode="json", exclude_none=True)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a nested value where something else could stand."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))][: 400 if path else None]


def put(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    changed = copy.deepcopy(value)
    target = changed
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = other
    return changed


@given(st.text(max_size=200) | st.text("{}[]:,&*#|>!-? \n\t\"'%@`abc012.<~", max_size=80))
def test_any_text_as_yaml(text: str) -> None:
    try:
        value = read_yaml(text)
    except YamlMistake:
        return
    json.dumps(value, allow_nan=False).encode()


@given(VALUES)
def test_what_yaml_writes_is_read_back_or_refused(value: Any) -> None:
    """The oracle is what was written; it may be refused only where the words say why."""
    text = yaml.safe_dump(value)
    try:
        again = read_yaml(text)
    except YamlMistake as error:
        message = str(error)
    else:
        assert again == value
        return
    assert re.search("digits|no number|control|cannot be read|given twice|not valid YAML", message)


@given(st.sampled_from(places(FILE)[1:]), VALUES)
def test_a_campaign_file_with_something_else_somewhere(path: tuple[Any, ...], other: Any) -> None:
    try:
        spec = validate(CampaignFile, put(FILE, path, other), "campaign x")
    except InputError as error:
        message = str(error)
    else:
        json.dumps(spec.model_dump(mode="json"))
        return
    assert message.startswith("campaign x: ")
    assert len(message) < 20_000


@given(st.sampled_from(places(RECORD)[1:]), VALUES, st.booleans())
def test_a_record_with_something_else_somewhere(path: tuple[Any, ...], other: Any, sealed: bool) -> None:
    """Refused, or it says in science what it said; sealed, only its envelope may differ."""
    document = put(sealed_record(RECORD) if sealed else RECORD, path, other)
    try:
        record = to_record(document)
    except Altered:
        return
    assert record.digest == RECORD["digest"]
    if sealed:
        assert path[0] in ("state", "token", "superseded") or document == sealed_record(RECORD)


@given(VALUES)
def test_anything_as_a_record_or_campaign(value: Any) -> None:
    document = (
        value if isinstance(value, dict) else {"_id": "x", "digest": "y", "schema_version": 1, "energy_ev": value}
    )
    for read in (to_record, to_entry):
        try:
            read(document)
        except Altered:
            continue
        raise AssertionError(f"{document} is neither a record nor a campaign")


@given(st.sampled_from(places(CAMPAIGN)[1:]), VALUES)
def test_a_campaign_of_an_older_release_with_something_else_somewhere(path: tuple[Any, ...], other: Any) -> None:
    try:
        to_entry(put(CAMPAIGN, path, other))
    except Altered:
        return


@given(st.text(max_size=60) | VALUES.map(json.dumps))
def test_any_text_as_json(text: str) -> None:
    try:
        value = read_json(text)
    except ValueError:
        return
    assert value == json.loads(text)
    assert not isinstance(value, float) or math.isfinite(value)


@given(
    VALUES.map(json.dumps)
    | st.text(max_size=40)
    | st.dictionaries(
        st.sampled_from(["model", "$or", "$and", "$not", "$where", "$expr", "adsorption_energy_ev", "a.b"]),
        VALUES | st.dictionaries(st.sampled_from(["$lt", "$in", "$regex", "$exists", "$elemMatch", "$not"]), VALUES),
        max_size=3,
    ).map(json.dumps)
)
def test_any_query(query: str) -> None:
    try:
        assert matching([], query) == []
    except InputError:
        return


COLLECTIONS = ("records", "calculations", "campaigns", "attempts")


@given(
    name=st.sampled_from(["archive.json", *(f"{name}.jsonl" for name in COLLECTIONS)]),
    content=st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode() + b"\n"),
)
def test_any_file_of_an_archive(tmp_path: Path, name: str, content: bytes) -> None:
    for other in COLLECTIONS:
        (tmp_path / f"{other}.jsonl").write_text("")
    (tmp_path / "archive.json").write_text('{"schema_version": 1}')
    (tmp_path / name).write_bytes(content)
    try:
        documents = open_archive(tmp_path)
    except ArchiveError:
        return
    assert documents.entries() == []


def test_the_readers_of_the_fuzz_do_read() -> None:
    assert to_record(RECORD).digest == RECORD["digest"]
    assert to_entry(CAMPAIGN).campaign == CAMPAIGN["campaign"]
    assert validate(CampaignFile, FILE, "x").campaign == "wsse"
