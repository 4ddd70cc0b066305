"""Reading a campaign file with the files that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...structures.elemental import Elemental, antifluorite, read_crystal, read_molecule, refuse_compound
from ...structures.errors import StructureError
from ...structures.slabs import Slab, read_slab
from .campaign_file import CampaignFile
from .protocol import Changes, Protocol
from .yaml import CONFIGS, InputError, load_yaml, nearest, validate


@dataclass(frozen=True)
class Campaign:
    """A campaign with the content of all its files, so that planning reads no file.

    Attributes
    ----------
    spec
        The validated keys.
    protocol
        The protocol it names.
    slabs
        The content of each structure file that a model names.
    substances
        The atoms of each bulk reference of which the lattice does not say all, by element or formula.
    source
        The file it was read from.
    text
        The YAML as the user wrote it.
    """

    spec: CampaignFile
    protocol: Protocol
    slabs: Mapping[str, Slab]
    substances: Mapping[str, Elemental]
    source: Path
    text: str


def bundled_campaigns() -> dict[str, Path]:
    """Return the campaigns that come with sodiate by name."""
    return {path.stem: path for path in sorted((CONFIGS / "campaigns").glob("*.yaml"))}


def load_campaign(name: str | Path, engine: str | None = None) -> Campaign:
    """Read and validate a campaign with its protocol and structure files.

    Parameters
    ----------
    name
        A bundled campaign's name (``wsse``) or the path of a YAML file.
    engine
        Overrides the engine that it names.

    Raises
    ------
    InputError
        If a file is missing or invalid.
    """
    bundled = bundled_campaigns()
    path = Path(name)
    if str(name) in bundled:
        path = bundled[str(name)]
    elif not path.exists():
        choices = f"{nearest(str(name), bundled)}; bundled campaigns: {', '.join(bundled)}"
        raise InputError(f"campaign {name}: no such file and no bundled campaign{choices}.")
    where = f"campaign {path}"
    values = _with_defaults(load_yaml(CONFIGS / "defaults.yaml", "defaults"), load_yaml(path, "campaign"))
    if engine is not None:
        values["engine"] = engine
    values["protocol"] = _with_base(values.get("protocol"), path.parent, where)
    spec = validate(CampaignFile, values, where)
    protocol = _protocol(spec.protocol, path.parent, where)
    return Campaign(
        spec=spec,
        protocol=protocol,
        slabs=_slabs(spec, path.parent, where),
        substances=_substances(spec, protocol, path.parent, where),
        source=path,
        text=path.read_text(encoding="utf-8"),
    )


def _with_defaults(defaults: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults overridden by the user's keys, section by section; an explicit null counts as absent."""
    values = dict(defaults)
    for key, value in data.items():
        if isinstance(value, dict) and isinstance(defaults.get(key), dict):
            values[key] = _with_defaults(defaults[key], value)
        elif value is not None or key not in defaults:
            values[key] = value
    return values


def _with_base(value: Any, folder: Path, where: str) -> Any:
    """Return the protocol ``{base: NAME, KEY: …}`` in full; anything else as it is."""
    if not isinstance(value, dict) or "base" not in value:
        return value
    base = value["base"]
    if not isinstance(base, str):
        raise InputError(f"{where}: protocol.base: {base!r} should be the name of a protocol, or of its file.")
    changes = validate(Changes, {key: kept for key, kept in value.items() if key != "base"}, f"{where}: protocol")
    return _protocol(base, folder, where).changed(changes).model_dump(mode="json", exclude_none=True)


def _protocol(name: str | Protocol, folder: Path, where: str) -> Protocol:
    if isinstance(name, Protocol):
        return name
    bundled = {path.stem: path for path in (CONFIGS / "protocols").glob("*.yaml")}
    path = bundled.get(name, folder / name)
    if not path.is_file():
        choices = f"{nearest(name, bundled)}; bundled protocols: {', '.join(sorted(bundled))}"
        raise InputError(f"{where}: protocol: {name!r} is no bundled protocol and no file {path}{choices}.")
    return validate(Protocol, load_yaml(path, "protocol"), f"protocol {path}")


def _slabs(spec: CampaignFile, folder: Path, where: str) -> dict[str, Slab]:
    slabs = {}
    for model in spec.models:
        if model.file is not None:
            try:
                slabs[model.file] = read_slab(folder / model.file)
            except StructureError as error:
                raise InputError(f"{where}: model {model.title}: {error}") from None
    return slabs


def _substances(spec: CampaignFile, protocol: Protocol, folder: Path, where: str) -> dict[str, Elemental]:
    substances = {}
    for name, reference in spec.bulk_references.items():
        try:
            if reference.crystal is not None:
                substances[name] = read_crystal(folder / reference.crystal, name)
            elif reference.molecule is not None:
                box_a = protocol.section("atom").box_a
                if box_a is None:
                    raise StructureError("its protocol has no atom.box_a, the box for a molecule.")
                substances[name] = read_molecule(folder / reference.molecule, name, box_a)
            elif reference.lattice == "antifluorite" and reference.a is not None:
                substances[name] = antifluorite(name, reference.a)
            else:
                refuse_compound(name, str(reference.lattice))
        except StructureError as error:
            raise InputError(f"{where}: bulk_references.{name}: {error}") from None
    return substances
