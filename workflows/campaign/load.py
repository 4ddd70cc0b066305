"""Reading a campaign file with the files that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ...analysis.elements import TRIPLET_DIMERS
from ...structures.elemental import Elemental, antifluorite, read_crystal, read_molecule, refuse_compound
from ...structures.errors import StructureError
from ...structures.molecules import Molecule, find_anchor, read_adsorbate
from ...structures.monolayers import Monolayer
from ...structures.slabs import SUFFIXES, Slab, read_slab
from .campaign_file import Adsorbate, CampaignFile
from .hosts import bundled_hosts
from .protocol import Changes, Protocol, completed, merged
from .yaml import CONFIGS, InputError, find_base, load_based, load_yaml, nearest, nearest_file, validate


@dataclass(frozen=True)
class AdsorbedMolecule:
    """A molecule that is adsorbed.

    Attributes
    ----------
    content
        Its atoms.
    anchor
        Index of the atom that lies over a site; None for its centre.
    unpaired_electrons
        Of the free molecule.
    """

    content: Molecule
    anchor: int | None
    unpaired_electrons: int


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
    hosts
        The bundled hosts by name.
    substances
        The atoms of each bulk reference of which the lattice does not say all, by element or formula.
    molecule
        The molecule that is adsorbed; None if it is an atom.
    source
        The file it was read from.
    text
        The YAML as the user wrote it.
    """

    spec: CampaignFile
    protocol: Protocol
    slabs: Mapping[str, Slab]
    hosts: Mapping[str, Monolayer | Slab]
    substances: Mapping[str, Elemental]
    source: Path
    text: str
    molecule: AdsorbedMolecule | None = None

    @property
    def adsorbate(self) -> str:
        """The element of the adsorbate, or the formula of the molecule."""
        return str(self.spec.adsorbate.element) if self.molecule is None else self.molecule.content.formula

    @property
    def sheets(self) -> tuple[str, ...]:
        """Names of sheets that a model may have: the campaign's own monolayers, and the bundled hosts."""
        return tuple(dict.fromkeys((*self.spec.monolayers, *self.hosts)))

    def sheet(self, name: str) -> Monolayer | Slab:
        """Return a sheet by its name; the campaign's own goes before a bundled one."""
        own = self.spec.monolayers.get(name)
        return self.hosts[name] if own is None else own.monolayer()


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
        hint = nearest_file(path) or nearest(str(name), bundled)
        raise InputError(
            f"campaign {name}: no such file and no bundled campaign{hint}; bundled campaigns: {', '.join(bundled)}."
        )
    elif path.suffix.lower() in SUFFIXES:
        raise InputError(
            f"campaign {name}: by its name it is a structure file; `sodiate new NAME --host {name}` writes a "
            "campaign with it."
        )
    where = f"campaign {path}"
    given = _with_adsorbate(load_yaml(path, "campaign"), path.parent, where)
    values = _with_defaults(_defaults_for(given), given)
    if engine is not None:
        values["engine"] = engine
    values["protocol"] = _with_base(values.get("protocol"), path.parent, where)
    _complete_models(values, path.parent, where)
    spec = validate(CampaignFile, values, where)
    protocol = _protocol(spec.protocol, path.parent, where)
    return Campaign(
        spec=spec,
        protocol=protocol,
        slabs=_slabs(spec, path.parent, where),
        hosts=bundled_hosts(),
        substances=_substances(spec, protocol, path.parent, where),
        source=path,
        text=path.read_text(encoding="utf-8"),
        molecule=_molecule(spec, path.parent, where),
    )


def bundled_adsorbates() -> dict[str, Path]:
    """Return the adsorbates that come with sodiate by name."""
    return {path.stem: path for path in sorted((CONFIGS / "adsorbates").glob("*.yaml"))}


def _with_adsorbate(given: dict[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """Return a campaign's keys with the ``base`` of its adsorbate, a bundled one or a file, written out."""
    adsorbate = given.get("adsorbate")
    if not isinstance(adsorbate, dict) or "base" not in adsorbate:
        return given
    bundled = bundled_adsorbates()
    file = find_base(adsorbate["base"], folder, bundled, f"{where}: adsorbate")
    base = load_based(file, "adsorbate", bundled, _with_defaults)
    in_full = _with_defaults(_defaults_for({"adsorbate": base}), {"adsorbate": base})["adsorbate"]
    validate(Adsorbate, in_full, f"adsorbate {file}")
    changes = {key: value for key, value in adsorbate.items() if key != "base"}
    return {**given, "adsorbate": _with_defaults(base, changes)}


def _defaults_for(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults, without that of the adsorbate's element where the campaign has a molecule."""
    defaults, adsorbate = load_yaml(CONFIGS / "defaults.yaml", "defaults"), given.get("adsorbate")
    if isinstance(adsorbate, dict) and adsorbate.get("molecule") is not None:
        del defaults["adsorbate"]["element"]
    return defaults


def _with_defaults(defaults: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
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
    if not isinstance(value, dict) or ("functional" in value and "base" not in value):
        return value
    if "base" not in value:
        raise InputError(
            f"{where}: protocol: it has neither functional nor base; `base: paper` takes what it does not say from "
            "that protocol."
        )
    if not isinstance(value["base"], str):
        raise InputError(
            f"{where}: protocol.base: {value['base']!r} should be the name of a protocol, or of its file."
        )
    base = _protocol(value["base"], folder, where).model_dump(mode="json", exclude_none=True)
    changes = {key: kept for key, kept in value.items() if key != "base"}
    validate(Changes, completed(changes, base), f"{where}: protocol")
    return validate(Protocol, merged(base, changes), f"{where}: protocol").model_dump(mode="json", exclude_none=True)


def _complete_models(values: dict[str, Any], folder: Path, where: str) -> None:
    """Complete maps in the protocols of models, of which these say a part, from the campaign's protocol."""
    models = values.get("models")
    if not isinstance(models, list) or not any(isinstance(model, dict) and "protocol" in model for model in models):
        return
    given = values.get("protocol")
    base = (
        _protocol(given, folder, where).model_dump(mode="json", exclude_none=True)
        if isinstance(given, str)
        else given
    )
    if isinstance(base, dict):
        values["models"] = [
            {**model, "protocol": completed(model["protocol"], base)}
            if isinstance(model, dict) and isinstance(model.get("protocol"), dict)
            else model
            for model in models
        ]


def bundled_protocols() -> dict[str, Path]:
    """Return the protocols that come with sodiate by name."""
    return {path.stem: path for path in sorted((CONFIGS / "protocols").glob("*.yaml"))}


def _protocol(name: str | Protocol, folder: Path, where: str) -> Protocol:
    if isinstance(name, Protocol):
        return name
    bundled = bundled_protocols()
    path = bundled.get(name, folder / name)
    if not path.is_file():
        choices = f"{nearest(name, bundled)}; bundled protocols: {', '.join(sorted(bundled))}"
        raise InputError(
            f"{where}: protocol: {name!r} is no bundled protocol and no file {path}{choices}. To change some keys of "
            "one: `protocol: {base: paper, cutoff_ev: 450.0}`."
        )
    return load_protocol(path)


def load_protocol(path: Path) -> Protocol:
    """Read a protocol file, with the base that it may name.

    Raises
    ------
    InputError
        If it is missing or invalid, or based on itself.
    """
    return validate(Protocol, load_based(path, "protocol", bundled_protocols(), merged), f"protocol {path}")


def protocol_text(name: str) -> str:
    """Return a protocol as YAML: the file as it stands, with its comments; one with a base in full.

    Parameters
    ----------
    name
        A bundled protocol's or campaign's name, or the file of one.

    Raises
    ------
    InputError
        If there is none, or it is invalid.
    """
    path = bundled_protocols().get(name, Path(name))
    campaign = bundled_campaigns().get(name)
    if path.is_file() and "campaign" not in (raw := load_yaml(path, "protocol")):
        protocol = load_protocol(path)
        if "base" not in raw:
            return path.read_text(encoding="utf-8")
    elif campaign is not None or path.is_file():
        protocol = load_campaign(name).protocol
    elif path.is_dir():
        raise InputError(f"protocol {name} is a directory; give the YAML file itself.")
    else:
        names = (*bundled_protocols(), *bundled_campaigns())
        raise InputError(
            f"protocol {name}: no such file, bundled protocol or campaign{nearest(name, names)}; bundled protocols: "
            f"{', '.join(bundled_protocols())}."
        )
    values = {key: value for key, value in protocol.model_dump(mode="json", exclude_none=True).items() if value != {}}
    text: str = yaml.safe_dump(values, sort_keys=False, default_flow_style=None, allow_unicode=True, width=118)
    return f"# {name} in full; `sodiate protocol paper` says what each key means.\n{text}"


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


def _molecule(spec: CampaignFile, folder: Path, where: str) -> AdsorbedMolecule | None:
    given = spec.adsorbate
    if given.molecule is None:
        return None
    try:
        molecule = read_adsorbate(folder / given.molecule)
        anchor = find_anchor(molecule, given.anchor or "centre")
    except StructureError as error:
        raise InputError(f"{where}: adsorbate.molecule: {error}") from None
    electrons = int(molecule.atoms.numbers.sum())
    triplet = electrons % 2 == 0 and len(molecule.symbols) == 2 and TRIPLET_DIMERS.issuperset(molecule.symbols)
    unpaired = (2 if triplet else electrons % 2) if given.multiplicity is None else given.multiplicity - 1
    if (electrons - unpaired) % 2 or unpaired > electrons:
        even = "odd" if electrons % 2 else "even"
        raise InputError(
            f"{where}: adsorbate.multiplicity: {given.multiplicity} are {unpaired} unpaired electrons, but "
            f"{molecule.formula} has {electrons} in all: with an {even} number the multiplicity is "
            f"{'even' if electrons % 2 else 'odd'}."
        )
    return AdsorbedMolecule(molecule, anchor, unpaired)
