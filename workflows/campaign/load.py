"""The campaign file: what the user asks for, validated; unknown keys refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...structures.elemental import Elemental, read_crystal, read_molecule
from ...structures.errors import StructureError
from ...structures.slabs import Slab, read_slab
from .campaign_file import CampaignFile
from .protocol import Protocol
from .yaml import CONFIGS, InputError, load_yaml, nearest, validate


@dataclass(frozen=True)
class Campaign:
    """A campaign with everything that its files hold, so that planning needs no file.

    Attributes
    ----------
    spec
        The validated keys.
    protocol
        The protocol it names.
    slabs
        The content of each structure file that a model names.
    elements
        The content of each structure file that a bulk reference names, by element.
    source
        The file it was read from.
    text
        The YAML as the user wrote it.
    bundled
        True for a campaign that comes with sodiate: quantities its engine lacks are dropped, not refused.
    """

    spec: CampaignFile
    protocol: Protocol
    slabs: Mapping[str, Slab]
    elements: Mapping[str, Elemental]
    source: Path
    text: str
    bundled: bool


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
        Runs it with this engine instead of the one it names.

    Raises
    ------
    InputError
        If a file is missing or says something that sodiate cannot take.
    """
    bundled = bundled_campaigns()
    path = Path(name)
    if str(name) in bundled:
        path = bundled[str(name)]
    elif not path.exists():
        known = f"{nearest(str(name), bundled)}; bundled campaigns: {', '.join(bundled)}"
        raise InputError(f"campaign {name}: no such file and no bundled campaign{known}.")
    where = f"campaign {path}"
    data = load_yaml(path, "campaign")
    merged = _over(load_yaml(CONFIGS / "defaults.yaml", "defaults"), data)
    if engine is not None:
        merged["engine"] = engine
    spec = validate(CampaignFile, merged, where)
    protocol = _protocol(spec.protocol, path.parent, where)
    return Campaign(
        spec=spec,
        protocol=protocol,
        slabs=_slabs(spec, path.parent, where),
        elements=_elements(spec, protocol, path.parent, where),
        source=path,
        text=path.read_text(encoding="utf-8"),
        bundled=str(name) in bundled,
    )


def _over(defaults: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """Lay the user's keys over the defaults, section by section; an explicit null is as good as absent."""
    merged = dict(defaults)
    for key, value in data.items():
        if isinstance(value, dict) and isinstance(defaults.get(key), dict):
            merged[key] = _over(defaults[key], value)
        elif value is not None or key not in defaults:
            merged[key] = value
    return merged


def _protocol(given: str | Protocol, folder: Path, where: str) -> Protocol:
    if isinstance(given, Protocol):
        return given
    bundled = {path.stem: path for path in (CONFIGS / "protocols").glob("*.yaml")}
    path = bundled.get(given, folder / given)
    if not path.is_file():
        known = f"{nearest(given, bundled)}; bundled protocols: {', '.join(sorted(bundled))}"
        raise InputError(f"{where}: protocol: {given!r} is no bundled protocol and no file {path}{known}.")
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


def _elements(spec: CampaignFile, protocol: Protocol, folder: Path, where: str) -> dict[str, Elemental]:
    found = {}
    for element, given in spec.bulk_references.items():
        try:
            if given.crystal is not None:
                found[element] = read_crystal(folder / given.crystal, element)
            elif given.molecule is not None:
                box_a = protocol.section("atom").box_a
                if box_a is None:
                    raise StructureError("its protocol has no atom.box_a, the box for a molecule.")
                found[element] = read_molecule(folder / given.molecule, element, box_a)
        except StructureError as error:
            raise InputError(f"{where}: bulk_references.{element}: {error}") from None
    return found
