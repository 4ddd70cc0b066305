"""Reading YAML: typed values; an unknown key is refused with the nearest valid key.

The models are pydantic's; its errors become sentences that name the file and the key.
"""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ...errors import SodiateError
from .yaml_text import LARGEST_BYTES, YamlMistake, read_yaml

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

CONFIGS = Path(__file__).parent.parent.parent / "configs"
"""The bundled campaigns, protocols and clusters."""

SCHEMA = CONFIGS / "campaign.schema.json"
"""The JSON Schema of campaign files; `sodiate schema` writes the same, with what other packages add."""

Merge = Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]

Spec = TypeVar("Spec", bound=BaseModel)


class InputError(SodiateError):
    """A file or an argument of the user is invalid."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return a hint, ``" (did you mean 'x'?)"``, or an empty string."""
    match = _closest(word, choices)
    return f" (did you mean {match!r}?)" if match else ""


def refuse_unknown_model(name: str, known: Iterable[str]) -> None:
    """Raise `InputError` for a host that is not among the known ones."""
    names = list(dict.fromkeys(known))
    if name not in names:
        raise InputError(f"no model {name!r}{nearest(name, names)}; models: {', '.join(names)}.")


def _closest(word: str, choices: Iterable[str]) -> str | None:
    """Return the nearest choice: the same but for capitals, else the most alike."""
    known = list(choices)
    same = [choice for choice in known if choice.casefold() == word.casefold()]
    return next(iter([*same, *difflib.get_close_matches(word, known, n=1, cutoff=0.5)]), None)


def load_yaml(path: Path, what: str) -> dict[str, Any]:
    """Read one YAML mapping.

    Raises
    ------
    InputError
        If the file is missing, no plain file, empty, too large, not YAML, or not a mapping, or says a key twice.
    """
    data = _read(path, what)
    if data is None:
        raise InputError(f"{what} {path} is empty.")
    if not isinstance(data, dict):
        found = "a list" if isinstance(data, list) else "text without keys"
        raise InputError(f"{what} {path} is {found}, not a mapping of keys to values (lines such as `key: value`).")
    _refuse_another_kind(data, what, path)
    return data


def _read(path: Path, what: str) -> Any:
    """Return what a YAML file holds."""
    if path.is_dir():
        raise InputError(f"{what} {path} is a directory; give the YAML file itself.")
    if path.exists() and not path.is_file():
        raise InputError(f"{what} {path} is a pipe or a device; give a file.")
    try:
        if (size := path.stat().st_size) > LARGEST_BYTES:
            raise InputError(f"{what} {path} has {size / 1e6:.1f} MB; at most {LARGEST_BYTES / 1e6:g} MB are read.")
        return read_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{what} {path} cannot be read: No such file or directory{nearest_file(path)}.") from None
    except PermissionError:
        raise InputError(f"{what} {path} cannot be read: you may not; `ls -l {path}` says who may.") from None
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{what} {path} is not a text file in UTF-8.") from None
    except YamlMistake as error:
        line = f", line {error.line}" if error.line else ""
        words = error.discreet if what == "launchpad" else error  # it holds a password
        raise InputError(f"{what} {path}{line}: {words}.") from None


def nearest_file(path: Path) -> str:
    """Return a hint at a YAML file beside one that is not there, or an empty string."""
    files = {file.stem: file.name for file in sorted(path.parent.glob("*.y*ml"))}
    stem = _closest(path.stem, files)
    return "" if stem is None else f" (did you mean {files[stem]!r}?)"


_MARKS: Mapping[str, Mapping[str, str]] = {
    "campaign": {"classes": "cluster", "mongoclient_kwargs": "launchpad", "port": "launchpad"},
    "cluster": {"models": "campaign", "mongoclient_kwargs": "launchpad", "port": "launchpad"},
    "launchpad": {"models": "campaign", "classes": "cluster"},
}
"""Of each kind of file, keys that only another kind has."""


def _refuse_another_kind(data: Mapping[str, Any], what: str, path: Path) -> None:
    for key, other in _MARKS.get(what, {}).items():
        if key in data:
            raise InputError(
                f"{what} {path}: it has the key {key!r} and is a {other} file; give the {what} file here."
            )


def load_based(path: Path, what: str, bundled: Mapping[str, Path], merge: Merge) -> dict[str, Any]:
    """Read one YAML mapping that may name another one as its ``base`` and change some of its keys.

    Parameters
    ----------
    path, what
        As for `load_yaml`.
    bundled
        Files by the name that a base may have; another one is a file beside the one that names it.
    merge
        Returns the values of a base with changes.

    Raises
    ------
    InputError
        As `load_yaml`; if a base is unknown, or based on itself.
    """
    chain: list[tuple[Path, dict[str, Any]]] = []
    while True:
        if path.resolve() in [before.resolve() for before, _ in chain]:
            names = " → ".join(str(before) for before, _ in (*chain, (path, {})))
            raise InputError(f"{what} {path}: base: it is based on itself ({names}); give one of them no base.")
        data = load_yaml(path, what)
        base = data.pop("base", None)
        chain.append((path, data))
        if base is None:
            break
        path = find_base(base, path.parent, bundled, f"{what} {path}")
    values: dict[str, Any] = {}
    for _, data in reversed(chain):
        values = merge(values, data)
    return values


def find_base(base: Any, folder: Path, bundled: Mapping[str, Path], where: str) -> Path:
    """Return the file of a ``base``: a bundled one by its name, or one in a folder.

    Raises
    ------
    InputError
        If there is none.
    """
    if not isinstance(base, str):
        raise InputError(f"{where}: base: {base!r} should be a bundled name, or a file.")
    path = bundled.get(base, folder / base)
    if not path.is_file():
        choices = f"{nearest(base, bundled)}; bundled: {', '.join(sorted(bundled))}"
        raise InputError(f"{where}: base: {base!r} is no bundled name and no file {path}{choices}.")
    return path


def validate(model: type[Spec], data: Mapping[str, Any], where: str) -> Spec:
    """Type and check a mapping.

    Parameters
    ----------
    model
        The pydantic model to read into.
    data
        Plain values from YAML.
    where
        The kind and the path of the file, for messages.

    Raises
    ------
    InputError
        With a line for each error: the key, the allowed values, the nearest match.
    """
    _refuse_odd_keys(data, where)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        items = [_Mistake.of(data, item) for item in error.errors(include_url=False)]
        lines = _sentences(model, _without_noise(_without_misspelt(model, items)))
        raise InputError("\n".join(f"{where}: {line}" for line in dict.fromkeys(lines))) from None


@dataclass(frozen=True)
class _Mistake:
    """One of pydantic's errors.

    Attributes
    ----------
    path
        The keys, and places in lists, that lead to the value in the user's file.
    kind
        Pydantic's word for what is wrong.
    message, expected
        Pydantic's words, and what it would take, where it says so.
    value
        What the user gave.
    """

    path: tuple[str, ...]
    kind: str
    message: str
    expected: str
    value: Any

    @classmethod
    def of(cls, data: Any, item: Mapping[str, Any]) -> _Mistake:
        """Read an error; its place without the names of pydantic's branches, which are no keys."""
        path: list[str] = []
        value = data
        for part in item["loc"]:
            if part in _parts(value):
                value = value[part]
            elif part != item["loc"][-1] or item["type"] != "missing":
                continue
            path.append(str(part))
        context = item.get("ctx") or {}
        return cls(tuple(path), item["type"], item["msg"], str(context.get("expected", "")), item["input"])


def _parts(value: Any) -> Iterable[Any]:
    """Return the keys of a mapping, or the places of a list."""
    if isinstance(value, list | tuple):
        return range(len(value))
    return value if isinstance(value, Mapping) else ()


def _without_misspelt(model: type[BaseModel], items: Sequence[_Mistake]) -> list[_Mistake]:
    """Leave out a missing key if an unknown key is its misspelling."""
    intended_keys = {
        (*item.path[:-1], _closest(item.path[-1], _keys_at(model, item.path[:-1])))
        for item in items
        if item.kind == "extra_forbidden"
    }
    return [item for item in items if item.kind != "missing" or item.path not in intended_keys]


def _without_noise(items: Sequence[_Mistake]) -> list[_Mistake]:
    """Leave out that a whole value is none of its other forms, or too short a list, where a part is wrong."""
    within = {item.path[:depth] for item in items for depth in range(len(item.path))}
    return [item for item in items if item.kind not in (*_FORMS, "too_short") or item.path not in within]


_NEAR = 0.85
"""How alike a key has to be to a known one, from 0 to 1, to go before the same key at another place."""

_FORMS: Mapping[str, str] = {
    "string_type": "text (in quotes)",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping",
    "literal_error": "",
    "finite_number": "a finite number",
}
"""What a value should be, in words, by pydantic's word for its not being that; a literal says what it is."""


def _refuse_odd_keys(data: Any, where: str) -> None:
    """Refuse keys that YAML reads as a boolean (``on:``) or a number (``1:``)."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if not isinstance(key, str):
                raise InputError(f"{where}: the key {key!r} is not text; put it in quotes.")
            _refuse_odd_keys(value, where)
    elif isinstance(data, list):
        for value in data:
            _refuse_odd_keys(value, where)


def _sentences(model: type[BaseModel], items: Sequence[_Mistake]) -> list[str]:
    """Return a sentence for each mistake; one for all forms that one value has none of."""
    forms: dict[tuple[str, ...], list[str]] = {}
    for item in items:
        if item.kind in _FORMS:
            words = forms.setdefault(item.path, [])
            words += [word] if (word := _form(model, item)) not in words else []
    lines = []
    for item in items:
        key = ".".join(item.path) or "(top level)"
        if item.kind in _FORMS:
            advice = _hint(item) or _unit(item) or _example(model, item.path)
            lines.append(f"{key}: {_shown(model, item)} should be {', or '.join(forms[item.path])}{advice}.")
        else:
            lines.append(_sentence(model, item, key))
    return lines


def _form(model: type[BaseModel], item: _Mistake) -> str:
    """Return in words what a value should be."""
    if item.kind == "model_type":
        keys = _keys_at(model, item.path)
        return f"a mapping with the keys {', '.join(sorted(keys))}" if keys else "a mapping of keys to values"
    return _FORMS[item.kind] or item.expected


def _hint(item: _Mistake) -> str:
    return nearest(item.value, re.findall(r"'([^']*)'", item.expected)) if isinstance(item.value, str) else ""


_UNITS: Mapping[str, str] = {
    "_ev_per_a": "eV/Å",
    "_a": "Å",
    "_ev": "eV",
    "_mub": "μB",
    "_k": "K",
    "_deg": "degrees",
    "_gb": "GB",
    "_s": "seconds",
}
"""Units of numbers by the ends of their keys."""


def _unit(item: _Mistake) -> str:
    """Return an advice for a number with its unit behind it; nothing for another value."""
    if not (isinstance(item.value, str) and item.path and re.match(r"\s*[-+]?\d", item.value)):
        return ""
    unit = next((unit for end, unit in _UNITS.items() if item.path[-1].endswith(end)), None)
    return "" if unit is None else f"; write the number alone, in {unit}"


def _example(model: type[BaseModel], path: Sequence[str]) -> str:
    """Return how a key's value may look; nothing for a key that has no example."""
    named = _field_at(model, path)
    examples = named[1].examples if named is not None else None
    if not (named and examples):
        return ""
    text = yaml.safe_dump(examples[0], default_flow_style=True, sort_keys=False, width=200).strip()
    return f", as in `{named[0]}: {text}`"


def _elsewhere(model: type[BaseModel], path: Sequence[str]) -> str:
    """Return a hint where a key belongs that is unknown at its place; nothing for one that is known nowhere."""
    key = path[-1]
    if key in model.model_fields:
        return f" ({key!r} is a key of the file itself, not of {'.'.join(path[:-1])})"
    seen = [model]
    level: list[tuple[tuple[str, ...], type[BaseModel]]] = [((), model)]
    while level:
        below: list[tuple[tuple[str, ...], type[BaseModel]]] = []
        for place, one in level:
            for name, field in one.model_fields.items():
                nested = _nested_model(field.annotation)
                if nested is not None and nested not in seen:
                    seen.append(nested)
                    below.append(((*place, name), nested))
        for place, nested in below:
            if key in _names(nested):
                return f" ({key!r} is a key of {'.'.join(place)!r})"
        level = below
    return ""


def _names(model: type[BaseModel]) -> list[str]:
    """Return the keys of a model, with other names that its own validator takes."""
    return [*model.model_fields, *getattr(model, "other_names", ())]


def _sentence(model: type[BaseModel], item: _Mistake, key: str) -> str:
    match item.kind:
        case "extra_forbidden":
            allowed = _keys_at(model, item.path[:-1])
            near = difflib.get_close_matches(item.path[-1], allowed, n=1, cutoff=_NEAR)
            hint = (not near and _elsewhere(model, item.path)) or nearest(item.path[-1], allowed)
            return f"unknown key {key!r}{hint}; allowed here: {', '.join(sorted(allowed))}."
        case "missing" if item.path[-1].isdecimal():
            return f"{'.'.join(item.path[:-1])}: its list has no item number {int(item.path[-1]) + 1}."
        case "missing":
            return f"key {key!r} is missing."
        case "value_error":
            return f"{key}: {item.message.removeprefix('Value error, ').rstrip('.')}."
        case "too_short" | "too_long":
            count = len(item.value) if isinstance(item.value, Sized) else 0
            bound = re.search(r"at (?:least|most) (\d+)", item.message)
            few = bound is not None and bound[1] == "1"
            go = f"{bound[0]} {'item goes' if few else 'items go'}" if bound else "not so many go"
            return f"{key}: its list has {count} item{'s' * (count != 1)}; {go}."
        case _:
            return f"{key}: {_shown(model, item)} should be {item.message.removeprefix('Input should be ')}."


def _shown(model: type[BaseModel], item: _Mistake) -> str:
    """Return what the user gave, as YAML has it; not what must not be shown."""
    if _is_secret(model, item.path):
        return "the value"
    if item.value is None or isinstance(item.value, bool):
        return {None: "nothing", True: "true", False: "false"}[item.value]
    return reprlib.repr(item.value)


def _is_secret(model: type[BaseModel], path: Sequence[str]) -> bool:
    """Tell whether an error's value must not be shown: the field is left out of the model's text."""
    field = model.model_fields.get(path[0]) if path else None
    return field is not None and not field.repr


def _keys_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """Return the keys that the (nested) model knows at a path of an error."""
    named = _field_at(model, path)
    nested = model if named is None else _nested_model(named[1].annotation)
    return [] if nested is None else _names(nested)


def _field_at(model: type[BaseModel], path: Sequence[str]) -> tuple[str, FieldInfo] | None:
    """Return the last key of a path that a (nested) model has, and its field; None if there is none."""
    named, inside = None, model
    for part in path:
        if part not in inside.model_fields:
            continue
        named = part, inside.model_fields[part]
        nested = _nested_model(named[1].annotation)
        if nested is None:
            break
        inside = nested
    return named


def _nested_model(annotation: Any) -> type[BaseModel] | None:
    """Find the model inside ``X``, ``X | None``, ``tuple[X, ...]`` or ``dict[str, X]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        nested = _nested_model(argument)
        if nested is not None:
            return nested
    return None
