"""Wrong values of every key of campaign, cluster and protocol files: told in the user's words, with file and key."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from sodiate.workflows.campaign.campaign_file import CampaignFile
from sodiate.workflows.campaign.load import load_campaign
from sodiate.workflows.campaign.protocol import Protocol
from sodiate.workflows.campaign.yaml import CONFIGS, InputError, load_yaml, validate
from sodiate.workflows.clusters.cluster_file import ClusterFile

LEAKS = (
    *("Input should be", "after validation", "Field required", "Extra inputs", "Value error", "valid dictionary"),
    *("valid tuple", "valid string", "valid integer", "instance of", "unable to parse", "pydantic", "type=", "None"),
    *("literal[", "Tuple", "function-", "tuple[", "union", "[key]", "True", "False", "is_instance"),
)
"""Words of pydantic's and Python's."""

WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    2.5,
    1e12,
    "nonsense",
    "",
    [],
    [1],
    ["a", "b", "c", "d"],
    {},
    {"a": 1},
    [[]],
)

OPEN = ("incar", "start_stiffness_ev_per_a2", "models")
"""Whose keys are free, or (names of atoms) are looked up when the campaign is planned."""

BARRIER = {"paths": [["T_W@top", "H@top"]], "images": 3}


def campaign() -> dict[str, Any]:
    """A campaign with as many keys as one can have."""
    defaults = load_yaml(CONFIGS / "defaults.yaml", "defaults")
    values = defaults | load_yaml(CONFIGS / "campaigns" / "wsse-voltage.yaml", "campaign")
    values |= {key: defaults[key] | values[key] for key in ("adsorbate", "execution")}
    model = {
        "model": "WSSe", "name": "a", "supercell": [2, 2], "vacuum_a": 12.0, "sites": ["T_W@top"], "starts": 2,
        "own_sites": {"b@top": {"at": [0.1, 0.2], "face": "top", "height_a": 2.0}}, "remove": ["S@1"],
        "replace": {"W@0": "Mo"}, "vacancies": {"S": 1}, "pair": "3.2", "ordering": "2+2a", "compare_with": "b",
        "protocol": {"cutoff_ev": 400.0, "final_energy": {"kpoint_length_a": 30.0}},
    }  # fmt: skip
    values |= {
        "models": [model, {"file": "x.cif", "name": "b"}],
        "barrier": BARRIER,
        "incar": {"relax": {"POTIM": 1}},
    }
    vibrations = {"of": ["best"], "around_a": 3.0, "temperatures_k": [300.0]}
    values |= {"dos": {"of": ["host", "best"]}, "vibrations": vibrations}
    values |= {"uncertainty": ["kmesh"], "starts": 1, "title": "t", "protocol": protocol()}
    return values


def protocol() -> dict[str, Any]:
    values = load_yaml(CONFIGS / "protocols" / "paper.yaml", "protocol")
    return values | {"hubbard_u_ev": {"Mo": {"d": 3.0}}, "kpoint_mesh": {"points": [2, 2, 1], "shift": [0, 0, 0]}}


def cluster() -> dict[str, Any]:
    return load_yaml(CONFIGS / "clusters" / "perlmutter-gpu.yaml", "cluster")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every key, and the first place of every list."""
    if path:
        yield path
    items = (
        value.items() if isinstance(value, dict) else list(enumerate(value))[:1] if isinstance(value, list) else ()
    )
    for key, inner in items:
        yield from places(inner, (*path, key))


def with_value(data: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(data)
    place: Any = changed
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return changed


FILES: tuple[tuple[type[BaseModel], dict[str, Any]], ...] = (
    (CampaignFile, campaign()),
    (Protocol, protocol()),
    (ClusterFile, cluster()),
)
CASES = [pytest.param(m, d, key, id=f"{m.__name__}-{key}") for m, d in FILES for key in d]


def lines(model: type[BaseModel], data: dict[str, Any]) -> list[str]:
    """What is said of a file; nothing of one that is right."""
    try:
        validate(model, data, "file x.yaml")
    except InputError as error:
        return str(error).splitlines()
    return []


@pytest.mark.parametrize(("model", "data"), FILES)
def test_the_files_are_right_before_anything_is_wrong(model: type[BaseModel], data: dict[str, Any]) -> None:
    assert lines(model, data) == []


@pytest.mark.parametrize(("model", "data", "key"), CASES)
def test_a_wrong_value_is_told_in_words(model: type[BaseModel], data: dict[str, Any], key: str) -> None:
    """Some of these values are right for some keys; none of what is said names anything but the file and the key."""
    for path in [path for path in places(data) if path[0] == key]:
        for value in WRONG:
            for line in lines(model, with_value(data, path, value)):
                assert line.startswith("file x.yaml: "), line
                assert not [leak for leak in LEAKS if leak in line.replace(repr(value), "")], line
                assert line.endswith("."), line
                assert key in line or "(top level)" in line, line


@pytest.mark.parametrize(("model", "data", "key"), CASES)
def test_an_unknown_key_is_named_at_every_level(model: type[BaseModel], data: dict[str, Any], key: str) -> None:
    for path in [path for path in places(data) if path[0] == key]:
        place: Any = data
        for part in path:
            place = place[part]
        if isinstance(place, dict) and path[-1] not in OPEN and key not in OPEN:
            said = lines(model, with_value(data, (*path, "nonsense"), 1))
            assert any("nonsense" in line for line in said)
            assert not [leak for line in said for leak in LEAKS if leak in line], said


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"supercell": [3, 3, 1]}, "supercell: its list has 3 items; at most 2 items go."),
        ({"supercell": [3]}, "supercell: its list has no item number 2."),
        ({"supercell": 3}, "supercell: 3 should be a list, as in `supercell: [3, 3]`."),
        ({"supercell": [3, "x"]}, "supercell.1: 'x' should be a whole number, as in `supercell: [3, 3]`."),
        ({"models": []}, "models: its list has 0 items; at least 1 item goes."),
        ({"models": {}}, "models: {} should be a list, as in `models: [graphene, {host: h-BN, vacancies: {N: 1}}]`."),
        ({"vacuum_a": "wide"}, "vacuum_a: 'wide' should be a number."),
        ({"sides": "bth"}, "sides: 'bth' should be 'one' or 'both' (did you mean 'both'?)."),
        ({"sites": 3}, "sites: 3 should be 'near-defect' or 'all', or a list, as in `sites: [T_W@top, H@top]`."),
        ({"protocol": 3}, "protocol: 3 should be text (in quotes), or a mapping with the keys "),
        ({"protocol": {"cutoff_ev": 3}}, "protocol: it has neither functional nor base; "),
        ({"adsorbate": "Na"}, "adsorbate: 'Na' should be a mapping with the keys anchor, charge, element, "),
        ({"execution": {"max_steps": 1.5}}, "execution.max_steps: 1.5 should be a whole number."),
        ({"dos": {"of": ["site"]}}, "dos.of.0: 'site' should be 'host' or 'best' (did you mean 'host'?)."),
        ({"vibrations": {"around_a": 9}}, "vibrations.around_a: 9 should be less than or equal to 6."),
        ({"title": 5}, "title: 5 should be text (in quotes)."),
    ],
)
def test_some_messages(keys: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    layer = {"metal": "Mo", "top": "S", "bottom": "S", "a": 3.18, "bond_top": 2.4, "bond_bottom": 2.4}
    values = {"campaign": "mine", "monolayers": {"MoS2": layer}, "models": ["MoS2"]} | keys
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_campaign(path)
    assert f"campaign {path}: {words}" in str(error.value)
