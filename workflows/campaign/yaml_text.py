"""YAML as people write it, and nothing that only a mistake or malice gives.

PyYAML takes the last of two equal keys, follows aliases without end, and ends in a traceback at 5001 digits.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from typing import Any

import yaml

LARGEST_BYTES = 1_000_000
"""Of a file: the longest bundled one has 3000."""

MOST_VALUES = 20_000
"""Keys, values and lists together, aliases written out: a model takes five."""

DEEPEST = 30
"""Levels of nesting: a campaign has five."""


class YamlMistake(Exception):
    """What a text is not allowed to say, in words, and in which line.

    Attributes
    ----------
    line
        Of the text, from 1.
    discreet
        The same in words that do not repeat the value, which may be a password.
    """

    def __init__(self, words: str, line: int | None = None, discreet: str | None = None) -> None:
        super().__init__(words)
        self.line = line
        self.discreet = words if discreet is None else discreet


# The same reader in C where PyYAML has it, twenty times faster.
_Reader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Reader):
    """PyYAML's safe loader, which says of a value that is none in which line it stands."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        line = node.start_mark.line + 1
        if node.tag.startswith("!"):
            advice = "put it in quotes if it is text"
            raise YamlMistake(
                f"a value with the tag {node.tag[:60]}; {advice}", line, f"a value with a tag (!); {advice}"
            )
        if not isinstance(node, yaml.ScalarNode):
            if node.tag not in _COLLECTIONS:
                raise YamlMistake(f"a {node.tag.rpartition(':')[2]}; lists and mappings alone are known", line)
            return super().construct_object(node, deep)
        try:
            value = super().construct_object(node, deep)
        except (ValueError, OverflowError, TypeError, AttributeError, LookupError):
            words = f"cannot be read as {node.tag.rpartition(':')[2]}"
            raise YamlMistake(f"{node.value[:30]!r}… {words}", line, f"a value that {words}") from None
        _refuse_value(value, line)
        return value


_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


def read_yaml(text: str) -> Any:
    """Read one YAML value.

    Raises
    ------
    YamlMistake
        If it is not YAML; if a key is given twice; if it is nested too deeply, holds itself, or is too much; if a
        number is not finite or takes more than 64 bits, a text does not print, or a value is a date.
    """
    try:
        _count(text)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None
            _refuse_shape(root)
            return loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        lines = text.splitlines()
        has_tab = mark is not None and mark.line < len(lines) and "\t" in lines[mark.line]
        words = "indent by spaces, not by tabs" if has_tab else _advice(str(problem))
        advice = f" ({words})" if words else ""
        raise YamlMistake(f"not valid YAML: {problem}{advice}", None if mark is None else mark.line + 1) from None


_ADVICE = {
    "mapping values are not allowed": "text with a colon goes into quotes; or a key is indented too far",
    "',' or ']'": "a [ without its ], or a comma is missing, here or above",
    "',' or '}'": "a { without its }, or a comma is missing, here or above",
    "could not find expected ':'": "a key without a colon and a space behind it, here or above",
    "did not find expected key": "a line that is indented otherwise than those above",
    "block end": "a line that is indented otherwise than those above",
    "expected '-' indicator": "a line of a list without its -, or indented otherwise",
    "unexpected end of stream": "a quotation mark without its second one",
    "cannot start any token": "text with this character goes into quotes",
}
"""What the reader's words mean, by a part of them."""


def _advice(problem: str) -> str:
    return next((words for part, words in _ADVICE.items() if part in problem), "")


def _count(text: str) -> None:
    """Refuse what would take long or overflow the stack, before any of it is built; the events come one by one."""
    depth = count = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        count += isinstance(event, yaml.NodeEvent)
        line = event.start_mark.line + 1 if event.start_mark is not None else None
        if depth > DEEPEST:
            raise YamlMistake(f"nested more than {DEEPEST} levels deep", line)
        if count > MOST_VALUES:
            raise YamlMistake(f"more than {MOST_VALUES} values", line)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _refuse_shape(root: yaml.Node) -> None:
    """Refuse keys that are given twice, what holds itself, and aliases that grow beyond all bounds."""
    known: dict[int, tuple[int, int]] = {}
    inside: set[int] = set()

    def measure(node: yaml.Node) -> tuple[int, int]:
        """Return how many values and levels a node has, its aliases written out."""
        line = node.start_mark.line + 1
        if id(node) in inside:
            raise YamlMistake("an alias (*) stands inside of what it means", line)
        if id(node) not in known:
            inside.add(id(node))
            _refuse_doubles(node)
            within = [measure(child) for child in _children(node)]
            known[id(node)] = 1 + sum(count for count, _ in within), 1 + max((deep for _, deep in within), default=0)
            inside.remove(id(node))
        count, levels = known[id(node)]
        if count > MOST_VALUES:
            raise YamlMistake(f"more than {MOST_VALUES} values, its aliases written out", line)
        if levels > DEEPEST + 1:
            raise YamlMistake(f"nested more than {DEEPEST} levels deep, its aliases written out", line)
        return count, levels

    measure(root)


def _refuse_doubles(node: yaml.Node) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    first: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise YamlMistake("a key is a list or mapping, not text", line)
        if (key.tag, key.value) in first:
            before = first[key.tag, key.value]
            raise YamlMistake(f"the key {key.value[:60]!r} is given twice, first in line {before}; keep one", line)
        first[key.tag, key.value] = line


def _refuse_value(value: Any, line: int) -> None:
    """Refuse values that YAML has and no key of ours takes; each would be a traceback further on."""
    if isinstance(value, str):
        odd = next((c for c in value if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t\r"), None)
        if odd is not None:
            raise YamlMistake(f"a text with the control character {odd!r}", line)
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            digits = value.bit_length() * math.log10(2)
            raise YamlMistake(f"a whole number of {digits:.0f} digits; a computer's own have 18 at most", line)
    elif isinstance(value, float):
        if not math.isfinite(value):
            words = "is no number that can be computed with"
            raise YamlMistake(f"{value} {words}", line, f"what stands there {words}")
    elif value is not None:
        kind, advice = f"a {type(value).__name__}", "put it in quotes if it is text"
        raise YamlMistake(f"{kind} ({str(value)[:60]}); {advice}", line, f"{kind}; {advice}")
