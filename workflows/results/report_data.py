"""The content of a report, gathered from a database or an archive: campaign by campaign, method by method."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...analysis.adsorbates import atoms_of, is_made_of, written
from ...analysis.arrays import Trajectory
from ...analysis.energies.adsorption import ANOTHER_START, ORIENTATION
from ...analysis.report.content import CampaignContent, CostRow, HostContent, Panel, RelaxationContent
from ...analysis.report.panels import (
    atoms_payload,
    cost_row,
    isosurfaces,
    relaxation_content,
    slice_payload,
)
from ...analysis.words import distinct
from ...structures.geometry import bonded
from ...structures.slabs import POSCAR
from ..kinds import KINDS
from ..quantities import quantities
from .cost import launches_of
from .rows import as_objects, columns, to_csv, to_json
from .tables import note_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from ...analysis.arrays import Density
    from ...analysis.campaign_entry import CampaignEntry
    from ...analysis.model_result import ModelResult
    from ...analysis.records import Record
    from .results import Results


def gather(results: Results, campaigns: Sequence[str] = (), engine: str | None = None) -> list[CampaignContent]:
    """Return the content of a report, a group for each campaign, engine and method.

    Parameters
    ----------
    results
        The results.
    campaigns
        Only these, in this order; by default all.
    engine
        Only this engine.

    Returns
    -------
    list of CampaignContent
        For `sodiate.analysis.report.page.render`; the last revision of each.
    """
    names = dict.fromkeys(campaigns) or [None]
    return [_group(results, entry) for name in names for entry in results.entries(name, engine)]


def _group(results: Results, entry: CampaignEntry) -> CampaignContent:
    evaluated = results.of(entry)
    records, reasons = evaluated[0].host.records, evaluated[0].host.reasons
    method = next((record.method for record in records.values() if record.kind == "relax"), None)
    names = {identifier: name for name, identifier in entry.names.items()}
    return CampaignContent(
        campaign=entry.campaign,
        title=entry.title,
        engine=entry.engine,
        method_id=entry.method_id,
        physical=all(result.physical for result in evaluated),
        how=_how(entry, [records[model.host] for model in entry.models if model.host in records]),
        method=[] if method is None else _method_lines(method.model_dump(mode="json", exclude_none=True)),
        results=evaluated,
        columns=columns(),
        remarks=note_lines(evaluated),
        hosts=[_host(results, result) for result in evaluated],
        relaxations=_relaxations(results, records, names),
        costs=_costs(results, records),
        missing=[(names[identifier], reason) for identifier, reason in reasons.items() if identifier in names],
        objects=as_objects(evaluated),
        csv=to_csv(evaluated),
        json=to_json(evaluated),
        yaml=entry.yaml,
    )


def _how(entry: CampaignEntry, hosts: Sequence[Record]) -> str:
    """Return a sentence on code, functional and sampling of the hosts, each value that they have."""
    methods = [record.method for record in hosts if record.method is not None]
    samplings = [record.sampling for record in hosts if record.sampling is not None]
    if not methods:
        return f"engine {entry.engine}; nothing is recorded yet"
    codes = distinct(f"{method.engine} {method.engine_version}" for method in methods)
    words = [distinct(method.functional for method in methods)]
    words += [distinct(method.dispersion for method in methods)]
    words += [distinct(f"{method.cutoff_ev:g} eV" for method in methods if method.cutoff_ev is not None)]
    words += [distinct("×".join(map(str, s.kmesh)) for s in samplings if s.kmesh is not None)]
    cells = distinct("×".join(map(str, model.supercell)) for model in entry.models)
    said = ", ".join(word for word in words if word)
    return f"{codes}{f', {said}' if said else ''}; cells {cells}; relaxed structures"


def _costs(results: Results, records: Mapping[str, Record]) -> list[CostRow]:
    launches = launches_of(results.documents, records)
    ordered = sorted(records.values(), key=lambda record: record.label)
    return [cost_row(record, launches.get(record.calculation)) for record in ordered]


def _method_lines(method: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = []
    for key, value in method.items():
        text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        if text:
            lines.append((key.replace("_ev", " (eV)").replace("_", " "), text))
    return lines


def _relaxations(
    results: Results, records: Mapping[str, Record], names: Mapping[str, str]
) -> list[RelaxationContent]:
    """Return the relaxations, the longest first."""
    relaxations = []
    for identifier, record in records.items():
        trajectory = results.documents.arrays(record, "trajectory") if KINDS[record.kind].relaxes else None
        if isinstance(trajectory, Trajectory):
            atoms = record.geometry.atoms() if record.geometry is not None else None
            if atoms is not None and len(atoms) == trajectory.positions_a.shape[1]:
                name = names.get(identifier, record.label)
                relaxations.append(relaxation_content(name, trajectory, atoms, bonded(atoms)))
    return sorted(relaxations, key=lambda relaxation: -len(relaxation.energies))


def _host(results: Results, result: ModelResult) -> HostContent:
    """Return the content of a host: its atoms and sites, then the content of each quantity."""
    record = result.host.of_site(result.site) or result.host.records.get(result.host.model.host)
    parts = [quantity.draw(result, results.documents) for quantity in quantities().values()]
    lines = [line for part in parts for line in part.lines]
    quantity_panels = [panel for part in parts for panel in part.panels]
    if record is None or record.geometry is None:
        return HostContent(result.model, None, None, lines, quantity_panels)
    density = next((part.surface for part in parts if part.surface is not None), None)
    points = (1000, 1000) if density is None else density.values_per_a3.shape[:2]
    atoms = record.geometry.atoms()
    shift = to_the_middle(atoms, result.adsorbate, points)
    atoms = shifted(atoms, shift, points)
    difference = None if density is None else rolled(density, shift)
    surfaces = None if difference is None else isosurfaces(difference)
    sites = _map(result, lambda relaxed: shifted(relaxed, shift, points))
    panels = [_atoms_panel(result, record.label, atoms, surfaces)]
    if sites:
        tracks = {name: line for part in parts for name, line in part.tracks.items()}
        lines_drawn = {name: _track(atoms, line, shift, points) for name, line in tracks.items()}
        panels.append(_map_panel(result, atoms, sites, lines_drawn))
    if difference is not None and result.site is not None:
        panels.append(_slice_panel(result, difference, atoms))
    return HostContent(result.model, record.label, _poscar(atoms), lines, [*panels, *quantity_panels])


def _atoms_panel(result: ModelResult, label: str, atoms: Atoms, surfaces: dict[str, Any] | None) -> Panel:
    addition = " with the charge-density difference" if surfaces else ""
    source = " (the paper's Figure 5a–e)" if addition and result.paper_adsorption_energy_ev is not None else ""
    data = {**atoms_payload(atoms, bonded(atoms)), "isosurfaces": surfaces}
    caption = f"{label}{addition}{source}; turn it with the mouse or a finger."
    return Panel("atoms", data, f"{label} in three dimensions{addition}", caption)


def _slice_panel(result: ModelResult, difference: Density, atoms: Atoms) -> Panel:
    through = written(result.adsorbate)
    words = f"Charge-density difference of {result.model}/{result.site} in a plane through {through}"
    data = slice_payload(difference, atoms.positions[-atoms_of(result.adsorbate) :].mean(axis=0))
    caption = f"{words}, along the first lattice vector and the normal; orange gained, blue lost electrons."
    return Panel("slice", data, words, caption)


def _track(
    atoms: Atoms, positions: NDArray[np.float64], shift: tuple[int, int], points: tuple[int, ...]
) -> list[list[float]]:
    """Return the lateral places (Å) along a track, moved as the atoms are, its first one within the cell."""
    cell = atoms.cell.array[:2, :2]
    fractions = np.linalg.solve(cell.T, positions[:, :2].T).T + np.array(shift) / points[:2]
    fractions -= np.floor(fractions[0] + 1e-4)
    return np.round(fractions @ cell, 3).tolist()


def _map_panel(
    result: ModelResult, atoms: Atoms, sites: list[dict[str, Any]], tracks: Mapping[str, list[list[float]]]
) -> Panel:
    energies = [
        f"{site['site']} " + ("no energy" if site["energy"] is None else f"{site['energy']:.3f} eV") for site in sites
    ]
    data = {**atoms_payload(atoms, ()), "sites": sites, **({"tracks": tracks} if tracks else {})}
    caption = "Where the adsorbate ended, ▲ on the top and ▼ on the bottom, with ΔE."
    caption += " Lines are the paths between sites." if tracks else ""
    return Panel("map", data, f"Sites on {result.model}: {'; '.join(energies)}", caption)


def _poscar(atoms: Atoms) -> str:
    from ase.io import write

    buffer = io.StringIO()
    write(buffer, atoms, format=POSCAR, direct=True, sort=True)
    return buffer.getvalue()


def _map(result: ModelResult, move: Callable[[Atoms], Atoms]) -> list[dict[str, Any]]:
    """Return the end of the adsorbate from each site, with its energy."""
    sites = {site.site: site for site in result.adsorption.sites}
    marks = []
    for entry in result.host.model.sites:
        record = result.host.records.get(entry.calculation)
        if record is None or record.geometry is None:
            continue
        # The adsorbate's atoms are the last; a molecule is moved as a whole, and only then wrapped into the cell.
        position = _middle(move, record.geometry.atoms(), atoms_of(result.adsorbate))
        marks.append(
            {
                "site": entry.name,
                "end": sites[entry.name].end,
                "energy": sites[entry.name].adsorption_energy_ev,
                "x": round(position[0], 3),
                "y": round(position[1], 3),
                "face": re.split(f"[-{ORIENTATION}{ANOTHER_START}]", entry.name.partition("@")[2])[0],
            }
        )
    return marks


def _middle(move: Callable[[Atoms], Atoms], atoms: Atoms, count: int) -> NDArray[np.float64]:
    """Return the centre (Å) of the last atoms once they are moved, at its image within the cell."""
    marked = atoms[-count:]
    marked.positions[0] = marked.positions.mean(axis=0) if count > 1 else marked.positions[0]
    centre: NDArray[np.float64] = move(marked[:1]).positions[0]
    return centre


def to_the_middle(atoms: Atoms, adsorbate: str, points: tuple[int, ...]) -> tuple[int, int]:
    """Return the shift, in grid points along a and b, that moves the adsorbate closest to the middle of the cell."""
    own = atoms[-atoms_of(adsorbate) :]
    if not is_made_of(adsorbate, own.get_chemical_symbols()):
        return 0, 0
    fractions = own.get_scaled_positions(wrap=False)[:, :2]
    x, y = fractions.mean(axis=0) % 1.0
    return round((0.5 - x) * points[0]), round((0.5 - y) * points[1])


def shifted(atoms: Atoms, shift: tuple[int, int], points: tuple[int, ...]) -> Atoms:
    """Return a copy of atoms moved by a shift in grid points along a and b, and wrapped into the cell."""
    copy = atoms.copy()
    fractions = atoms.get_scaled_positions(wrap=False)
    fractions[:, :2] += np.array(shift) / points[:2]
    # The margin keeps an atom on a side of the cell there, despite rounding.
    fractions[:, :2] = (fractions[:, :2] + 1e-4) % 1.0 - 1e-4
    copy.set_scaled_positions(fractions)
    return copy


def rolled(density: Density, shift: tuple[int, int]) -> Density:
    """Return a density moved by a shift in its own points along a and b."""
    return replace(density, values_per_a3=np.roll(density.values_per_a3, shift, axis=(0, 1)))
