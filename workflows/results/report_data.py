"""What a report shows, gathered from a database or an archive: campaign by campaign, method by method."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import SodiateError
from ...analysis.electrons.bader import charge_transfer
from ...analysis.electrons.density import DensityTerms, integral
from ...analysis.report.panels import (
    atoms_payload,
    bands_payload,
    cost_row,
    dos_payload,
    isosurfaces,
    level_lines,
    profile_payload,
    relaxation_payload,
)
from ...structures.geometry import bond_reach, layers
from ..database.usable import missing_reasons, usable
from ..kinds import KINDS
from ..start_structures import next_to_defects
from .rows import as_objects, to_csv, to_json
from .tables import note_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms

    from ...analysis.arrays import Density
    from ...analysis.campaign_entry import CampaignEntry, ModelEntry
    from ...analysis.records import Record
    from .results import Results


def gather(results: Results, campaigns: Sequence[str] = (), engine: str | None = None) -> list[dict[str, Any]]:
    """Return the content of a report, a group for each campaign, engine and method.

    Parameters
    ----------
    results
        Where everything is.
    campaigns
        Only these, in this order; all of them if it is empty.
    engine
        Only this one.

    Returns
    -------
    list of dict
        JSON-like values for `sodiate.analysis.report.page.render`; the last revision of each.
    """
    wanted = dict.fromkeys(campaigns) or [None]
    return [_group(results, entry) for campaign in wanted for entry in results.entries(campaign, engine)]


def _array(results: Results, record: Record, name: str) -> Any:
    return results.documents.arrays(record, name)


def _group(results: Results, entry: CampaignEntry) -> dict[str, Any]:
    documents = results.documents
    records, stale = usable(documents, entry.ids)
    reasons = missing_reasons(documents, entry.ids, records, stale)
    objects = as_objects(results.of(entry))
    method = next((record.method for record in records.values() if record.kind == "relax"), None)
    names = {identifier: name for name, identifier in entry.names.items()}
    return {
        "campaign": entry.campaign,
        "title": entry.title,
        "engine": entry.engine,
        "method_id": entry.method_id,
        "physical": all(one["physical"] for one in objects),
        "method": [] if method is None else _method_lines(method.model_dump(mode="json", exclude_none=True)),
        "objects": objects,
        "remarks": note_lines(objects),
        "hosts": [
            _host(results, entry, model, records, one) for model, one in zip(entry.models, objects, strict=True)
        ],
        "relaxations": _relaxations(results, records, names),
        "costs": [cost_row(record) for record in sorted(records.values(), key=lambda record: record.label)],
        "missing": [[names[i], reason] for i, reason in reasons.items() if i in names],
        "csv": to_csv(objects),
        "json": to_json(objects),
        "yaml": entry.yaml,
    }


def _method_lines(method: Mapping[str, Any]) -> list[list[str]]:
    lines = []
    for key, value in method.items():
        text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        if text:
            lines.append([key.replace("_ev", " (eV)").replace("_", " "), text])
    return lines


def _relaxations(results: Results, records: Mapping[str, Record], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return how each relaxation went, the longest first."""
    found = []
    for identifier, record in records.items():
        if not KINDS[record.kind].relaxes:
            continue
        trajectory = _array(results, record, "trajectory")
        if trajectory is not None:
            found.append({"name": names.get(identifier, record.label), **relaxation_payload(trajectory)})
    return sorted(found, key=lambda one: -len(one["energies"]))


def _host(
    results: Results, entry: CampaignEntry, model: ModelEntry, records: Mapping[str, Record], one: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what is drawn of a host."""
    clean = records.get(model.host)
    best = next((records.get(site.calculation) for site in model.sites if site.name == one["site"]), None)
    shown = best or clean
    terms = _density_terms(results, entry, model)
    difference = None if terms is None else terms.difference
    dos, levels = _spectrum(results, model, records)
    atoms = None if shown is None or shown.geometry is None else shown.geometry.atoms()
    points = (1000, 1000) if difference is None else difference.values_per_a3.shape[:2]
    shift = (0, 0) if atoms is None else to_the_middle(atoms, entry.adsorbate, points)
    if atoms is not None:
        atoms = shifted(atoms, shift, points)
    return {
        "name": model.name,
        "published": one["paper_adsorption_energy_ev"] is not None,
        "dos": dos,
        "bands": _bands(results, entry, model, records),
        "levels": [*levels, *_charge_lines(terms, entry.adsorbate)],
        "atoms": None if atoms is None else atoms_payload(atoms, bonded(atoms)),
        "shown": None if shown is None else shown.label,
        "poscar": None if atoms is None else _poscar(atoms),
        "map": [] if atoms is None else _map(model, records, one, lambda other: shifted(other, shift, points)),
        "isosurfaces": None if difference is None else isosurfaces(rolled(difference, shift)),
        "profile": None if difference is None or atoms is None else _profile(difference, atoms),
    }


def _bands(
    results: Results, entry: CampaignEntry, model: ModelEntry, records: Mapping[str, Record]
) -> dict[str, Any] | None:
    """Return the bands of the 1×1 host, under the first model that it belongs to."""
    record = records.get(model.bands or "")
    first = next(other for other in entry.models if other.bands == model.bands)
    if record is None or record.geometry is None or first.name != model.name:
        return None
    return bands_payload(_array(results, record, "bands"), np.array(record.geometry.cell_a))


def _spectrum(
    results: Results, model: ModelEntry, records: Mapping[str, Record]
) -> tuple[dict[str, Any] | None, list[str]]:
    """Return a host's DOS, None without one, and what is said of its levels."""
    record = records.get(model.dos or "")
    if record is None:
        return None, []
    dos, bands = (_array(results, record, name) for name in ("dos", "bands"))
    drawn = None if dos is None else dos_payload(dos, bands, record.vacuum_ev)
    if record.gap is None or bands is None:
        return drawn, []
    next_to = next_to_defects(results.documents.calculation(model.host))
    return drawn, level_lines(bands, record.gap, record.vacuum_ev, next_to)


def _profile(difference: Density, atoms: Atoms) -> dict[str, Any]:
    """Return Δρ along the normal, with the mean height (Å) of each layer of an element."""
    marks = []
    for symbol in dict.fromkeys(atoms.get_chemical_symbols()):
        heights = atoms.positions[atoms.symbols == symbol, 2]
        marks += [[symbol, round(float(heights[layer].mean()), 3)] for layer in layers(heights)]
    return {**profile_payload(difference), "layers": marks}


def bonded(atoms: Atoms) -> list[tuple[int, int]]:
    """Return the pairs of atoms that are bonded within the drawn cell, not across its sides."""
    distances = np.linalg.norm(atoms.positions[:, None] - atoms.positions[None], axis=2)
    reach = bond_reach(atoms.numbers[:, None], atoms.numbers[None])
    return [(int(i), int(j)) for i, j in np.argwhere((distances < reach) & (distances > 0)) if i < j]


def _poscar(atoms: Atoms) -> str:
    from ase.io import write

    buffer = io.StringIO()
    write(buffer, atoms, format="vasp", direct=True, sort=True)
    return buffer.getvalue()


def _map(
    model: ModelEntry,
    records: Mapping[str, Record],
    one: Mapping[str, Any],
    placed: Callable[[Atoms], Atoms],
) -> list[dict[str, Any]]:
    """Return where each Na site ended, with its energy."""
    energies = {site["start"]: site for site in one["sites"]}
    found = []
    for site in model.sites:
        record = records.get(site.calculation)
        if record is None or record.geometry is None:
            continue
        place = placed(record.geometry.atoms()).positions[-1]  # the adsorbate is the last atom
        told = energies[site.name]
        found.append(
            {
                "site": site.name,
                "end": told["end"],
                "energy": told["adsorption_energy_ev"],
                "x": round(place[0], 3),
                "y": round(place[1], 3),
                "face": site.name.partition("@")[2].split("-")[0],
            }
        )
    return found


def _charge_lines(terms: DensityTerms | None, adsorbate: str) -> list[str]:
    """Say how many electrons the adsorbate gave to the sheet."""
    if terms is None:
        return []
    given = charge_transfer(terms)
    return [
        f"{adsorbate} gave {given.by_plane:.2f} electrons to the sheet (integral of Δρ up to the plane between "
        f"them; ∫Δρ is {integral(terms.difference):.0e} e), {given.by_basin:.2f} by its basin (Bader)"
    ]


def _density_terms(results: Results, entry: CampaignEntry, model: ModelEntry) -> DensityTerms | None:
    if not model.densities:
        return None
    try:
        return results.density_terms(model.name, entry.campaign, entry.engine)
    except SodiateError:  # not computed yet, or in an archive, which leaves the grids out
        return None


def to_the_middle(atoms: Atoms, adsorbate: str, points: tuple[int, ...]) -> tuple[int, int]:
    """Return the shift, in points of a grid along a and b, that brings the adsorbate nearest to the cell's middle."""
    if atoms.get_chemical_symbols()[-1] != adsorbate:
        return 0, 0
    x, y = atoms.get_scaled_positions()[-1, :2]
    return round((0.5 - x) * points[0]), round((0.5 - y) * points[1])


def shifted(atoms: Atoms, shift: tuple[int, int], points: tuple[int, ...]) -> Atoms:
    """Return atoms moved by a shift in points of a grid, and put back into the cell."""
    moved = atoms.copy()
    fractions = atoms.get_scaled_positions(wrap=False)
    fractions[:, :2] += np.array(shift) / points[:2]
    # An atom on the cell's side stays on it, whatever the last digits say.
    fractions[:, :2] = (fractions[:, :2] + 1e-4) % 1.0 - 1e-4
    moved.set_scaled_positions(fractions)
    return moved


def rolled(density: Density, shift: tuple[int, int]) -> Density:
    """Return a density moved by a shift in its own points."""
    return replace(density, values_per_a3=np.roll(density.values_per_a3, shift, axis=(0, 1)))
