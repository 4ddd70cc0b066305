"""Pages of the documentation's site that follow from the code and from files above `docs`, made when it is built.

Home is the README, the reference of the command line and of campaign files comes from their own definitions: nothing
is written twice. Named under ``hooks`` in mkdocs.yml.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel
from sodiate.workflows.campaign.campaign_file import CampaignFile
from sodiate.workflows.campaign.protocol import Protocol
from sodiate.workflows.campaign.schema import descriptions
from sodiate.workflows.cli.commands import app
from sodiate.workflows.clusters.cluster_file import ClusterFile
from sodiate.workflows.clusters.scheduler import Scheduler

ABOVE = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages; called by mkdocs."""
    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def pages() -> dict[str, str]:
    """Return the text of each page by its path."""
    return {
        "index.md": _above("README.md"),
        "changelog.md": _above("CHANGELOG.md"),
        "contributing.md": _above("CONTRIBUTING.md"),
        "reference/cli.md": "# The command line\n\n" + "\n".join(_commands(typer.main.get_command(app), "sodiate")),
        "reference/campaign.md": "# The keys of a campaign file\n\n" + "\n".join(_models(CampaignFile)),
        "reference/protocol.md": "# The keys of a protocol\n\n" + "\n".join(_models(Protocol)),
        "reference/cluster.md": "# The keys of a cluster file\n\n" + "\n".join(_models(ClusterFile)),
    }


def _above(name: str) -> str:
    """Return a file above `docs` with its links as they are from the site's root."""

    def moved(link: re.Match[str]) -> str:
        path, hash_sign, anchor = link[1].partition("#")
        if path.startswith("docs/"):
            return f"]({path.removeprefix('docs/')}{hash_sign}{anchor})"
        own = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
        return f"]({own[path]}{hash_sign}{anchor})" if path in own else "](#)"

    return _LINK.sub(moved, (ABOVE / name).read_text(encoding="utf-8"))


def _commands(command: Any, name: str) -> Iterator[str]:
    """Go through a command of typer's and those below it: usage, what it does, arguments and options."""
    context = command.context_class(command, info_name=name)
    below = getattr(command, "list_commands", lambda _: [])(context)
    if below:
        for one in below:
            yield from _commands(command.get_command(context, one), f"{name} {one}")
        return
    yield f"## {name}\n"
    yield f"```console\n{context.get_usage().removeprefix('Usage: ')}\n```\n"
    yield (command.help or "").replace("\b", "") + "\n"
    rows = [(f"`{', '.join(p.opts + p.secondary_opts)}`", getattr(p, "help", None) or "") for p in command.params]
    yield from _table(("argument or option", "what it is"), [row for row in rows if row[0] != "`--help`"])


def _models(model: type[BaseModel], seen: set[type[BaseModel]] | None = None) -> Iterator[str]:
    """Go through a model and those that its keys hold."""
    seen = set() if seen is None else seen
    seen.add(model)
    yield f"## {model.__name__}\n"
    yield (model.__doc__ or "").replace("``", "`").replace("\n    ", "\n").strip() + "\n"
    rows, below, texts = [], [], descriptions(model)
    for key, field in model.model_fields.items():
        default = "" if field.is_required() or field.default is None else f"`{field.default!r}`"
        rows.append((f"`{key}`", _words(field.annotation), default, texts[key]))
        below += [one for one in _held(field.annotation) if one not in seen]
    yield from _table(("key", "what it takes", "default", "what it means"), rows)
    for one in dict.fromkeys(below):
        if one not in seen:
            yield from _models(one, seen)


def _held(annotation: Any) -> list[type[BaseModel]]:
    """Return the models within an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _held(part)]


_PLAIN: Mapping[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Any: "anything",
    Scheduler: "text",
}


def _words(annotation: Any) -> str:
    """Say what a key takes."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if origin is typing.Annotated:
        return _words(parts[0])
    if origin is typing.Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin is tuple:
        several = len(parts) == 2 and parts[1] is Ellipsis
        return f"list of {_words(parts[0])}" if several else f"[{', '.join(map(_words, parts))}]"
    if origin in (dict, Mapping):
        return f"map of {_words(parts[0])} to {_words(parts[1])}"
    if parts:
        return " or ".join(dict.fromkeys(_words(part) for part in parts if part is not type(None)))
    return f"[{annotation.__name__}](#{annotation.__name__.lower()})" if _held(annotation) else str(annotation)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    if rows:
        lines = [heads, tuple("---" for _ in heads), *rows]
        yield "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
