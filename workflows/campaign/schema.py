"""The JSON Schema of a campaign file, for editors: what a user may write, a description for each key.

That of a cluster file, which knows the engines, is made of the same parts: `clusters.schema`.

It is wider than what `load` takes: that keys exclude each other, or that a name is one, only `sodiate plan` says.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from .campaign_file import CampaignFile
from .yaml import CONFIGS, load_yaml

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaValue

_DIALECT = "http://json-schema.org/draft-07/schema#"
"""That of the YAML language server, also of its older versions."""

_KEYWORDS = {
    "prefixItems": "items",
    # Pydantic leaves its own names where a limit comes after a function that validates.
    **{
        "gt": "exclusiveMinimum",
        "ge": "minimum",
        "le": "maximum",
        "min_length": "minItems",
        "max_length": "maxItems",
    },
}


def campaign_schema(engines: Sequence[str], quantities: Sequence[str]) -> dict[str, Any]:
    """Return the JSON Schema of campaign files.

    Parameters
    ----------
    engines, quantities
        Names to be suggested; others are allowed, as another machine may have them.
    """
    schema = described(CampaignFile)
    keys, parts = schema["properties"], schema["$defs"]
    changes = parts["Changes"]
    base = {"type": "string", "description": "The protocol that these keys change: a bundled one, or a file."}
    parts["Protocol"] |= {
        "properties": {"base": base, **changes["properties"]},
        "anyOf": [{"required": ["base"]}, {"required": parts["Protocol"].pop("required")}],
    }
    for name in ("Smearing", "StartMoments"):  # a part of them may be changed
        del parts[name]["required"]
    parts["Adsorbate"]["properties"] = {
        "base": {"type": "string", "description": "What these keys change: a bundled ion (K), or a file."},
        **parts["Adsorbate"]["properties"],
    }
    host = {"type": "string", "description": "The same as model."}
    parts["CampaignModel"]["properties"]["host"] = host
    keys["models"]["items"] = {"anyOf": [{"type": "string"}, keys["models"]["items"]]}
    keys["engine"] = {"anyOf": [{"enum": sorted(engines)}, {"type": "string"}], **_said(keys["engine"])}
    keys["quantities"]["items"] = {"anyOf": [{"enum": list(quantities)}, {"type": "string"}]}
    _fill_in(schema, load_yaml(CONFIGS / "defaults.yaml", "defaults"), parts)
    return finished(schema, "Campaign", "Written by `sodiate schema`; `sodiate plan FILE` says what a schema cannot.")


def described(model: type[BaseModel]) -> dict[str, Any]:
    """Return pydantic's schema of a model, with the description of each key."""
    return model.model_json_schema(schema_generator=_Described)


def finished(schema: Mapping[str, Any], what: str, words: str) -> dict[str, Any]:
    """Return a schema in the words of draft 7, with its head.

    Parameters
    ----------
    schema
        As `described` returns it, changed or not.
    what, words
        Of what it is one, and a description.
    """
    head = {"$schema": _DIALECT, "title": f"{what} of sodiate", "description": words}
    plain: dict[str, Any] = _of_draft_7(schema)
    return {**plain, **head}


def schema_text(schema: Mapping[str, Any]) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return what stands below each key of a model, or of those that it inherits from.

    Read from the source when it is asked for: pydantic's own way (``use_attribute_docstrings``) does so whenever the
    models are imported, which costs each command 30 ms.
    """
    found: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        found |= _texts(parent.__module__).get(parent.__name__, {})
    own = {key: field.description for key, field in model.model_fields.items() if field.description is not None}
    return {**{key: text for key, text in found.items() if key in model.model_fields}, **own}


@cache
def _texts(module: str) -> dict[str, dict[str, str]]:
    """Return the text below each annotated name of the classes of a module of sodiate's."""
    if not module.startswith(f"{__name__.partition('.')[0]}."):
        return {}
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if isinstance(node, ast.ClassDef):
            found[node.name] = {
                name.target.id: inspect.cleandoc(text.value.value).replace("\n", " ")
                for name, text in zip(node.body, node.body[1:], strict=False)
                if isinstance(name, ast.AnnAssign) and isinstance(name.target, ast.Name)
                if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
                if isinstance(text.value.value, str)
            }
    return found


class _Described(GenerateJsonSchema):
    """Pydantic's schema with the descriptions of keys, without titles that repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        found = super().model_schema(schema)
        texts = descriptions(schema["cls"])
        del found["title"]
        found["description"] = inspect.cleandoc(schema["cls"].__doc__).replace("``", "`")
        for key, value in found["properties"].items():
            if key in texts:  # keys of other packages need have none
                value["description"] = texts[key]
            if not _says_something(value.get("default")):
                value.pop("default", None)
        return found


def _says_something(default: Any) -> bool:
    """Tell whether a default is more than that there is nothing."""
    return any(map(_says_something, default.values())) if isinstance(default, dict) else default not in (None, [])


def _said(key: Mapping[str, Any]) -> dict[str, Any]:
    return {name: key[name] for name in ("description", "default") if name in key}


def _fill_in(schema: dict[str, Any], defaults: Mapping[str, Any], parts: Mapping[str, dict[str, Any]]) -> None:
    """Take what the defaults have as not required; an explicit null counts as absent."""
    schema["required"] = [key for key in schema.get("required", []) if key not in defaults]
    for key, default in defaults.items():
        value = schema["properties"][key]
        if isinstance(default, Mapping) and "$ref" in value:
            _fill_in(parts[value["$ref"].rpartition("/")[2]], default, parts)
        elif _says_something(default):
            value["default"] = default
        said, null = _said(value), {"type": "null"}
        if null not in value.get("anyOf", ()):
            rest = {name: part for name, part in value.items() if name not in said}
            schema["properties"][key] = {"anyOf": [rest, null], **said}


def _of_draft_7(value: Any) -> Any:
    """Return a schema in the words of draft 7."""
    if isinstance(value, dict):
        plain = {key if isinstance(part, dict) else _KEYWORDS.get(key, key): part for key, part in value.items()}
        return {key: _of_draft_7(part) for key, part in plain.items()}
    return [_of_draft_7(part) for part in value] if isinstance(value, list) else value
