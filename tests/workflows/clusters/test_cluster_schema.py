"""The JSON Schema of cluster files: a validator of its own holds it against the bundled ones and mistakes."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from sodiate.workflows.campaign.yaml import CONFIGS, InputError, load_yaml
from sodiate.workflows.clusters.cluster_file import load_cluster
from sodiate.workflows.clusters.schema import cluster_schema
from support import DOCS
from support.cli import Cli
from support.requirements import skip_unless_required


@pytest.fixture(scope="module")
def validator() -> Any:
    if find_spec("jsonschema") is None:
        skip_unless_required("needs jsonschema: pip install 'sodiate[test]'")
    from jsonschema import Draft7Validator

    Draft7Validator.check_schema(cluster_schema())
    return Draft7Validator(cluster_schema())


@pytest.mark.parametrize("path", sorted((CONFIGS / "clusters").glob("*.yaml")), ids=lambda path: path.stem)
def test_bundled_files_are_valid(validator: Any, path: Path) -> None:
    assert not [error.message for error in validator.iter_errors(load_yaml(path, "cluster"))]


@pytest.mark.parametrize("page", ["first-cluster.md", "hpc-site.md", "clusters.md"])
def test_files_of_the_pages_are_valid(validator: Any, page: str) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.S)
    files = [found for block in blocks if {"base", "scheduler"} & (found := yaml.safe_load(block)).keys()]
    assert files
    assert not [error.message for found in files for error in validator.iter_errors(found)]


WRONG: dict[str, dict[str, Any]] = {
    "an unknown key": {"acount": "me"},
    "an unknown key of a class": {"classes": {"large": {"task": 4}}},
    "an unknown kind": {"classes": {"large": {"kinds": ["relaxation"]}}},
    "text for a number": {"max_jobs": "many"},
    "no job": {"max_jobs": 0},
    "memory with its unit": {"classes": {"large": {"memory_gb": "200G"}}},
    "a bare module": {"modules": "gcc/12"},
    "a list of classes": {"classes": [{"kinds": "rest"}]},
}


@pytest.mark.parametrize("words", WRONG)
def test_mistakes(validator: Any, words: str, tmp_path: Path) -> None:
    """Each is refused by the schema and, in words, by what reads the file."""
    given = {"base": "slurm", **WRONG[words]}
    assert list(validator.iter_errors(given))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(given), encoding="utf-8")
    with pytest.raises(InputError, match=r"cluster .*mine\.yaml"):
        load_cluster(path)


def test_a_file_without_base_is_whole(validator: Any) -> None:
    whole = load_yaml(CONFIGS / "clusters" / "slurm.yaml", "cluster")
    assert list(validator.iter_errors({key: value for key, value in whole.items() if key != "scheduler"}))


def test_every_key_says_what_it_is() -> None:
    schema = cluster_schema()
    keys = {
        f"{part}.{key}": value.get("description", "")
        for part, found in {"": schema, **schema["$defs"]}.items()
        for key, value in found["properties"].items()
    }
    assert len(keys) > 30
    assert not [key for key, words in keys.items() if len(words) <= 6]
    assert all("GB" in words for key, words in keys.items() if key.endswith("_gb"))


def test_from_the_command_line(cli: Cli, tmp_path: Path) -> None:
    done = cli("schema", "--cluster", "--output", "cluster.json")
    assert done.returncode == 0, done.stderr
    assert "$schema=cluster.json" in done.stdout
    assert json.loads((tmp_path / "cluster.json").read_text(encoding="utf-8")) == cluster_schema()
