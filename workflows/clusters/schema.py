"""The JSON Schema of a cluster file, for editors, wider than what `cluster_file` takes."""

from __future__ import annotations

from typing import Any

from ..campaign.schema import described, finished
from ..kinds import KINDS
from .cluster_file import ClusterFile
from .registry import SCHEDULERS


def cluster_schema() -> dict[str, Any]:
    """Return the JSON Schema of cluster files, with the worker keys of the engines that are installed here.

    What a file with a ``base`` leaves out is the base's, so that no key of a class is required, and a class may be
    null.
    """
    schema = described(ClusterFile)
    keys, parts = schema["properties"], schema["$defs"]
    base = {"type": "string", "description": "The cluster file that these keys change: a bundled one, or a file."}
    schema["properties"] = {"base": base, **keys}
    schema["anyOf"] = [{"required": ["base"]}, {"required": schema.pop("required")}]
    keys["scheduler"]["anyOf"] = [{"enum": list(SCHEDULERS)}, {"type": keys["scheduler"].pop("type")}]
    parts["ResourceClass"].pop("required")
    kinds = parts["ResourceClass"]["properties"]["kinds"]
    for form in kinds["anyOf"]:
        if form.get("type") == "array":
            form["items"] = {"enum": list(KINDS)}
    classes = keys["classes"]
    classes["additionalProperties"] = {"anyOf": [classes["additionalProperties"], {"type": "null"}]}
    words = "Written by `sodiate schema --cluster`; `sodiate plan --cluster FILE` says what a schema cannot."
    return finished(schema, "Cluster file", words)
