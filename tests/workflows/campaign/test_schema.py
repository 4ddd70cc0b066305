"""The JSON Schema of campaign files: a validator of its own holds it against the bundled campaigns and mistakes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from sodiate.workflows.campaign.load import bundled_campaigns, load_campaign
from sodiate.workflows.campaign.new import new_campaign
from sodiate.workflows.campaign.schema import campaign_schema, schema_text
from sodiate.workflows.campaign.yaml import SCHEMA, load_yaml
from sodiate.workflows.quantities import quantities
from support.cli import Cli
from support.requirements import skip_unless_required

LINE = re.compile(r"^# yaml-language-server: \$schema=(\S+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def validator() -> Any:
    if find_spec("jsonschema") is None:
        skip_unless_required("needs jsonschema: pip install 'sodiate[test]'")
    from jsonschema import Draft7Validator

    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def test_what_is_shipped_follows_from_the_models() -> None:
    """After a change of a key: `sodiate schema --output configs/campaign.schema.json`."""
    own = [name for name, one in quantities().items() if type(one).__module__.startswith("sodiate.")]
    schema = campaign_schema(["emt", "gpaw", "vasp"], own)
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(schema)


@pytest.mark.parametrize("name", bundled_campaigns())
def test_bundled_campaigns_are_valid_and_name_it(validator: Any, name: str) -> None:
    path = bundled_campaigns()[name]
    assert not list(validator.iter_errors(load_yaml(path, "campaign")))
    # The YAML language server reads comments before the first key alone.
    (where,) = LINE.findall(path.read_text(encoding="utf-8").partition("\ncampaign: ")[0])
    assert (path.parent / where).resolve() == SCHEMA.resolve()


RIGHT: dict[str, dict[str, Any]] = {
    "a protocol with a base": {"protocol": {"base": "paper", "cutoff_ev": 450, "smearing": {"width_ev": 0.1}}},
    "a protocol in full": {"protocol": {"functional": "PBE", "max_force_ev_per_a": 0.02}},
    "final energies off": {"protocol": {"base": "paper", "final_energy": False}},
    "an engine of another package": {"engine": "lennard-jones"},
    "a quantity of another package": {"quantities": ["dos", "sheet_thickness"]},
    "a part of the heights": {"adsorbate": {"start_heights_a": {"H": 1.8}}},
    "a host by its key": {"models": [{"host": "graphene", "vacancies": {"C": 1}}, "MoS2"]},
    "coverages": {"coverage": ["1/9", 0.5, 2]},
    "a pair as a number": {"models": [{"model": "WSSe+VS+VSe", "pair": 4.58}]},
    "own sites as a list": {"models": [{"model": "WSe2", "own_sites": [{"name": "x", "fractional": [0, 0, 0.5]}]}]},
    "null for a default": {"sites": None, "vacuum_a": None, "adsorbate": {"element": None}},
    "a part of execution": {"execution": {"max_steps": 10}},
}
"""What `load` takes too, where no file or other package is needed."""


@pytest.mark.parametrize("words", RIGHT)
def test_what_is_allowed(validator: Any, tmp_path: Path, words: str) -> None:
    campaign = {"campaign": "mine", "models": ["WSe2"], **RIGHT[words]}
    assert not [error.message for error in validator.iter_errors(campaign)]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(campaign), encoding="utf-8")
    load_campaign(path)


WRONG: dict[str, dict[str, Any]] = {
    "an unknown key": {"vaccum_a": 15.0},
    "an unknown key in a map": {"adsorbate": {"elment": "Na"}},
    "an unknown key in a protocol": {"protocol": {"base": "paper", "cutof_ev": 450}},
    "an unknown key in a section": {"protocol": {"base": "paper", "dos": {"kpoint_lenght_a": 39}}},
    "an unknown key of a model": {"models": [{"model": "WSe2", "site": []}]},
    "text for a number": {"vacuum_a": "fifteen"},
    "a number for a pair": {"supercell": 3},
    "a third cell": {"supercell": [3, 3, 1]},
    "half a cell": {"supercell": [3, 1.5]},
    "a truth value for a number": {"protocol": {"base": "paper", "cutoff_ev": True}},
    "a negative vacuum": {"vacuum_a": -1},
    "a wrong word": {"sides": "left"},
    "no model": {"models": []},
    "a protocol without base": {"protocol": {"cutoff_ev": 450}},
    "a lattice that is none": {"bulk_references": {"Na": {"lattice": "bbc", "a": 4.19}}},
}


@pytest.mark.parametrize("words", WRONG)
def test_mistakes(validator: Any, words: str) -> None:
    assert list(validator.iter_errors({"campaign": "mine", "models": ["WSe2"], **WRONG[words]}))


def test_a_campaign_needs_its_name_and_models(validator: Any) -> None:
    assert list(validator.iter_errors({"campaign": "mine"}))
    assert list(validator.iter_errors({"models": ["WSe2"]}))


KEYWORDS = {
    *("$schema", "$ref", "$defs", "title", "description", "default", "examples", "type", "enum"),
    *("const", "anyOf", "items", "minItems", "maxItems", "required", "properties"),
    *(
        "additionalProperties",
        "propertyNames",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
    ),
}


def nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The schema and all those within it."""
    yield schema
    items = schema.get("items", [])
    within = [*schema.get("anyOf", []), *(items if isinstance(items, list) else [items])]
    within += [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values()]
    if isinstance(schema.get("additionalProperties"), dict):
        within.append(schema["additionalProperties"])
    for one in within:
        yield from nodes(one)


def test_every_keyword_is_one_of_draft_7() -> None:
    """A validator ignores those that it does not know, such as pydantic's `gt`."""
    found = list(nodes(json.loads(SCHEMA.read_text(encoding="utf-8"))))
    assert len(found) > 300
    assert not {key for node in found for key in node} - KEYWORDS


def described(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, part in {"": schema, **schema["$defs"]}.items():
        for key, value in part.get("properties", {}).items():
            yield f"{name}.{key}", value


def test_every_key_has_a_description_with_its_unit() -> None:
    """Keys that end in a unit say it in words."""
    units = {"_a": "Å", "_ev": "eV", "_mub": "μB", "_k": "K", "_deg": "degrees", "_per_a": "eV/Å", "_ev2": "eV²"}
    found = dict(described(json.loads(SCHEMA.read_text(encoding="utf-8"))))
    assert len(found) > 100
    for name, value in found.items():
        assert len(value["description"]) > 6, name
        ends = [unit for end, unit in units.items() if name.endswith(end)]
        assert not ends or ends[-1] in value["description"], name


@pytest.mark.parametrize("base", [None, "wsse", "own-host"])
def test_a_new_campaign_has_the_schema_beside_it(validator: Any, tmp_path: Path, base: str | None) -> None:
    path = new_campaign("mine", base, None, tmp_path)
    (where,) = LINE.findall(path.read_text(encoding="utf-8"))
    assert (tmp_path / where).read_bytes() == SCHEMA.read_bytes()
    assert not list(validator.iter_errors(load_yaml(path, "campaign")))


def test_a_file_of_that_name_stays(tmp_path: Path) -> None:
    (tmp_path / SCHEMA.name).write_text("{}", encoding="utf-8")
    new_campaign("mine", None, None, tmp_path)
    assert (tmp_path / SCHEMA.name).read_text(encoding="utf-8") == "{}"


def test_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    printed = cli("schema")
    assert printed.returncode == 0, printed.stderr
    assert json.loads(printed.stdout)["properties"]["campaign"]["description"]
    done = cli("schema", "--output", "mine.json")
    assert "$schema=mine.json" in done.stdout
    assert (tmp_path / "mine.json").read_text(encoding="utf-8") == printed.stdout
    refused = cli("schema", "--output", "no/folder/mine.json")
    assert refused.returncode == 2
    assert "no/folder/mine.json" in refused.stderr
    assert "Traceback" not in refused.stderr
