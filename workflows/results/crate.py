"""Results as an RO-Crate: a folder that says in schema.org's words what each file in it is, and how it came about.

RO-Crate 1.1, with the profile Process Run Crate: a ``CreateAction`` for each calculation names its software, inputs
and results. The metadata is one JSON document, so no library is needed to write it; the tests read it with one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...analysis.records import Record, one_line
from ...version import __version__
from ..campaign.yaml import InputError
from ..engines import find_engine
from ..kinds import KINDS
from ..plan.preview import new_folder
from .published import DECLARED, RECORD, Published, published, write_calculation
from .rows import to_csv

if TYPE_CHECKING:
    from ...analysis.campaign_entry import CampaignEntry
    from ...analysis.model_result import ModelResult
    from .results import Results

METADATA = "ro-crate-metadata.json"
_VERSION = "https://w3id.org/ro/crate/1.1"
_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"

# RO-Crate 1.1 has no word for a checksum; schema.org does, as does RO-Crate 1.2.
_CONTEXT = [f"{_VERSION}/context", {"sha256": "https://schema.org/sha256"}]

_FORMATS = {".json": "application/json", ".csv": "text/csv", ".yaml": "application/yaml", ".xml": "application/xml"}

_HOMES = {
    "ase": "https://ase-lib.org",
    "numpy": "https://numpy.org",
    "python": "https://www.python.org",
    "pymatgen": "https://pymatgen.org",
}

_ORCID = re.compile(r"https://orcid\.org/(\d{4}-){3}\d{3}[\dX]")

Entity = dict[str, Any]


@dataclass(frozen=True)
class Author:
    """A person who publishes: the name, and an ORCID as an address if there is one."""

    name: str
    orcid: str | None = None

    @classmethod
    def read(cls, text: str) -> Author:
        """Read ``Ada Lovelace`` or ``Ada Lovelace https://orcid.org/0000-0000-0000-0000``.

        Raises
        ------
        InputError
            If there is no name, or the address is no ORCID.
        """
        try:
            name, slashes, address = one_line(text).partition("https://")
        except ValueError as error:
            raise InputError(f"--author: {error}") from None
        orcid = f"{slashes}{address}".strip("<>() ")
        if not name.strip("<( ") or (orcid and not _ORCID.fullmatch(orcid)):
            raise InputError(
                f"--author {text!r}: write a name, and after it https://orcid.org/… if there is an ORCID."
            )
        return cls(name.strip("<( "), orcid or None)


def licence_address(licence: str | None) -> tuple[str, str]:
    """Return the address and the name of a licence.

    Parameters
    ----------
    licence
        An SPDX identifier such as ``CC-BY-4.0``, or an address.

    Raises
    ------
    InputError
        If none is named, or it is neither.
    """
    if not licence:
        raise InputError(
            "ro-crate: no licence is named, and without one nobody may use what you publish: --license CC-BY-4.0 "
            "(an SPDX identifier, https://spdx.org/licenses) or --license with the address of a licence."
        )
    if re.fullmatch(r"https?://[^\s<>\"]+", licence):
        return licence, licence
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        name = str(canonicalize_license_expression(licence))
    except InvalidLicenseExpression:
        name = ""
    if not name or " " in name or name.startswith("LicenseRef-"):
        raise InputError(
            f"--license {licence!r} is no SPDX identifier of one licence (CC-BY-4.0, CC0-1.0, "
            "https://spdx.org/licenses) and no address."
        )
    return f"https://spdx.org/licenses/{name}", name


def write_crate(
    results: Results,
    root: Path | None,
    folder: Path,
    campaign: str | None,
    licence: str | None,
    authors: Sequence[Author] = (),
) -> str:
    """Write an RO-Crate and return a sentence about it.

    Parameters
    ----------
    results
        The results.
    root
        Folder of the calculations' directories, for their inputs; None for an archive, which has none.
    folder
        New or empty.
    campaign
        Only this campaign.
    licence
        An SPDX identifier or an address; it has to be named.
    authors
        Who publishes.

    Raises
    ------
    InputError
        If there is nothing physical to publish, no licence is named, or the folder has content.
    """
    address, name = licence_address(licence)
    source = published(results, campaign, root)
    with new_folder(folder, "published results") as place:
        models = [(entry, results.of(entry)) for entry in source.entries]
        inputs = {identifier: source.files(identifier, ("input_files",)) for identifier in source.records}
        parts = [*_write_campaigns(models, place), *_write_calculations(source, results, inputs, place)]
        people = [_person(number, author) for number, author in enumerate(authors, 1)]
        software = _Software(source)
        actions = [
            _action(source, identifier, [path.name for path in inputs[identifier]], place, software)
            for identifier in source.records
        ]
        values = _values(models)
        top = _root(source, address, parts, actions, values)
        if people:
            top["author"] = by = _ids(person["@id"] for person in people)
            for action in actions:
                action["agent"] = by
        graph = [
            {
                "@id": METADATA,
                "@type": "CreativeWork",
                "conformsTo": {"@id": _VERSION},
                "about": {"@id": "./"},
            },
            top,
            {"@id": _PROFILE, "@type": "CreativeWork", "name": "Process Run Crate", "version": "0.5"},
            {"@id": address, "@type": "CreativeWork", "name": name},
            *people,
            *values,
            *software.entities,
            *actions,
            *parts,
        ]
        text = json.dumps({"@context": _CONTEXT, "@graph": graph}, indent=1, ensure_ascii=False, allow_nan=False)
        (place / METADATA).write_text(text + "\n", encoding="utf-8")
    with_inputs = sum(bool(files) for files in inputs.values())
    return (
        f"{len(source.records)} calculations, {with_inputs} with the inputs of their code, as an RO-Crate under "
        f"{name} in {folder}{source.left_behind}"
    )


def _write_campaigns(models: Iterable[tuple[CampaignEntry, Sequence[ModelResult]]], place: Path) -> list[Entity]:
    """Write each campaign and the table of its results; return their entities."""
    parts = []
    for entry, results in models:
        stem = f"{entry.campaign}-{entry.engine}-{entry.method_id}"
        for kind, ending, text in (
            ("campaigns", "yaml", entry.yaml),
            ("results", "csv", to_csv(results)),
        ):
            path = place / kind / f"{stem}.{ending}"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            what = "campaign file" if kind == "campaigns" else "table of results, energies in eV"
            parts.append(_file(place, path, f"{entry.title or entry.campaign}: {what}"))
    return parts


def _write_calculations(
    source: Published, results: Results, inputs: Mapping[str, Sequence[Path]], place: Path
) -> list[Entity]:
    """Write each calculation's folder; return the entities of folders and files."""
    parts = []
    for identifier, record in source.records.items():
        folder = place / source.path(identifier)
        write_calculation(source, results, identifier, folder, inputs[identifier])
        title = ", ".join(source.names[identifier]) or record.label
        files = [_file(place, path, f"{title}: {_what(path.name)}") for path in sorted(folder.iterdir())]
        parts += [
            {
                "@id": _id(source.path(identifier)) + "/",
                "@type": "Dataset",
                "name": title,
                "description": f"{record.kind} of {record.label} with {record.engine}",
                "identifier": identifier,
                "hasPart": _ids(file["@id"] for file in files),
            },
            *files,
        ]
    return parts


def _what(name: str) -> str:
    words = {RECORD: "result, units in the names of its keys", DECLARED: "what was declared, of which the id follows"}
    return words.get(name, "arrays (NumPy)" if name.endswith(".npz") else f"input {name}")


def _id(path: str) -> str:
    """Return a path as a relative address."""
    from urllib.parse import quote

    return quote(path, safe="/+@=~")


def _file(place: Path, path: Path, name: str) -> Entity:
    content = path.read_bytes()
    return {
        "@id": _id(path.relative_to(place).as_posix()),
        "@type": "File",
        "name": name,
        "contentSize": str(len(content)),
        "sha256": hashlib.sha256(content).hexdigest(),
        "encodingFormat": _FORMATS.get(path.suffix, "application/zip" if path.suffix == ".npz" else "text/plain"),
    }


def _person(number: int, author: Author) -> Entity:
    return {"@id": author.orcid or f"#author-{number}", "@type": "Person", "name": author.name}


class _Software:
    """The programs behind records, each release of each an entity."""

    def __init__(self, source: Published) -> None:
        self._codes: dict[str, list[Record]] = {}
        for record in source.records.values():
            self._codes.setdefault(record.engine, []).append(record)
        self._entities: dict[str, Entity] = {}

    @property
    def entities(self) -> list[Entity]:
        return list(self._entities.values())

    def of(self, record: Record) -> list[str]:
        """Return the ids of what computed a record: the code first, then what drove it."""
        code = record.method.engine
        versions = {**record.provenance.versions}
        if not KINDS[record.kind].chooses:
            versions.setdefault(code, record.method.engine_version)
        order = sorted(versions, key=lambda name: (name != code, name != "sodiate", name != "ase", name))
        return [self._add(name, versions[name], code) for name in order]

    def _add(self, name: str, version: str, code: str) -> str:
        identifier = f"#{name}-{version}"
        if identifier not in self._entities:
            entity: Entity = {
                "@id": identifier,
                "@type": "SoftwareApplication",
                "name": self._title(name, code),
                "softwareVersion": version,
            }
            home = _HOMES.get(name)
            self._entities[identifier] = entity | ({"url": home} if home else {})
        return identifier

    def _title(self, name: str, code: str) -> str:
        engine = find_engine(name) if name == code and name in self._codes else None
        return engine.description(self._codes[name]).name if engine is not None else name


def _action(source: Published, identifier: str, inputs: Sequence[str], place: Path, software: _Software) -> Entity:
    """Return how a record came about."""
    record, folder = source.records[identifier], source.path(identifier)
    parents = [
        f"{source.path(parent.calculation)}/{RECORD}"
        for parent in record.parents.values()
        if parent.calculation in source.records
    ]
    made = sorted(path.name for path in (place / folder).iterdir() if path.name not in (DECLARED, *inputs))
    provenance = record.provenance
    notes = [*record.notes, *(f"corrected: {text}" for text in provenance.corrections)]
    return {
        "@id": f"#calculation-{identifier}",
        "@type": "CreateAction",
        "name": f"{record.kind} of {', '.join(source.names[identifier]) or record.label}",
        "description": "; ".join((_method(record), *notes)),
        "instrument": _ids(software.of(record)),
        "object": _ids(_id(path) for path in (f"{folder}/{DECLARED}", *(f"{folder}/{n}" for n in inputs), *parents)),
        "result": _ids(_id(f"{folder}/{name}") for name in made),
        "startTime": provenance.started,
        "endTime": provenance.finished,
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }


def _method(record: Record) -> str:
    method = record.method
    cutoff = None if method.cutoff_ev is None else f"{method.cutoff_ev:g} eV"
    return ", ".join(
        filter(None, (method.engine, method.engine_version, method.functional, cutoff, method.dispersion))
    )


def _ids(identifiers: Iterable[str]) -> list[Entity] | Entity:
    """Return references: a list, but a single one as it is, as RO-Crate asks."""
    found = [{"@id": identifier} for identifier in identifiers]
    return found[0] if len(found) == 1 else found


def _root(
    source: Published, licence: str, parts: Sequence[Entity], actions: Sequence[Entity], values: Sequence[Entity]
) -> Entity:
    """Return the crate itself."""
    titles = list(dict.fromkeys(entry.title or entry.campaign for entry in source.entries))
    return {
        "@id": "./",
        "@type": "Dataset",
        "conformsTo": {"@id": _PROFILE},
        "name": "; ".join(titles),
        "description": (
            f"{len(source.records)} calculations of {', '.join(dict.fromkeys(e.campaign for e in source.entries))}: "
            f"each with its result, what was declared and its provenance; written by sodiate {__version__}."
        ),
        "datePublished": datetime.now(UTC).date().isoformat(),
        "license": {"@id": licence},
        "hasPart": _ids(part["@id"] for part in parts),
        "mentions": _ids(action["@id"] for action in actions),
        "variableMeasured": _ids(value["@id"] for value in values),
    }


def _values(models: Iterable[tuple[CampaignEntry, Sequence[ModelResult]]]) -> list[Entity]:
    """Return the adsorption energies of the hosts as schema.org's values."""
    found = []
    for entry, results in models:
        for model in results:
            energy = model.adsorption.adsorption_energy_ev if model.physical else None
            if energy is not None:
                found.append(
                    {
                        "@id": f"#{_id(f'{entry.campaign}-{entry.engine}-{entry.method_id}/{model.model}')}",
                        "@type": "PropertyValue",
                        "name": f"adsorption energy of {model.adsorbate} on {model.model} at {model.site}",
                        "value": energy,
                        "unitText": "eV",
                    }
                )
    return found
