"""Results as files for other programs: structures, ASE databases, tables, cubes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...analysis.electrons.density import term_names
from ...analysis.records import MOCK
from ...errors import SodiateError
from ...structures.slabs import POSCAR
from ..campaign.yaml import InputError
from ..database.standing import standing_of
from ..kinds import KINDS
from ..plan.preview import new_folder, write_atoms
from ..quantities.density_difference import DensityDifference
from .results import with_energy
from .rows import to_csv

if TYPE_CHECKING:
    from ase import Atoms

    from ...analysis.campaign_entry import CampaignEntry
    from ...analysis.records import Record
    from .results import Results


def write_results(results: Results, folder: Path, form: str, campaign: str | None = None) -> int:
    """Write results in a format of other programs; return the number of structures, tables or grids.

    Parameters
    ----------
    results
        The results.
    folder
        A new or empty folder.
    form
        ``poscar``, ``cif`` or ``extxyz``: each relaxed structure as a file, below its campaign and engine;
        ``ase-db``: all structures in a database of ASE, with energies and forces; ``csv``: a table for each campaign;
        ``cube``: Δρ of each host and the density with the adsorbate, in electrons per cubic Bohr radius.
    campaign
        Only this campaign.

    Raises
    ------
    InputError
        If there is nothing to write, or the folder has content; nothing is left behind.
    """
    count = 0
    with new_folder(folder, "results") as place:
        for entry in results.entries(campaign):
            name = f"{entry.campaign}-{entry.engine}-{entry.method_id}"
            if form == "csv":
                (place / f"{name}.csv").write_text(to_csv(results.of(entry)), encoding="utf-8")
                count += 1
                continue
            if form == "cube":
                count += _cubes(results, place / name, entry)
                continue
            records = standing_of(results.documents, entry.ids).records
            for title, identifier in entry.names.items():
                record = records.get(identifier)
                if record is None or record.geometry is None or not KINDS[record.kind].relaxes:
                    continue
                if form == "ase-db":
                    _write_row(place / "results.db", entry, title, record)
                else:
                    write_atoms(place / name, title, _marked(record), {"poscar": POSCAR}.get(form, form))
                    if not record.physical:
                        (place / name / "MOCK").write_text(f"{MOCK}\n", encoding="utf-8")
                count += 1
        if not count:
            raise InputError(f"{results.title}: nothing to write as {form}{_WHY.get(form, '')}.")
    return count


_WHY = {"cube": ": no campaign here has density differences whose grids are here, and archives leave them out"}


def _marked(record: Record) -> Atoms:
    """Return a record's atoms with energy and forces, and with a word in their comment if these are mock."""
    atoms = with_energy(record)
    if not record.physical:
        atoms.info["note"] = MOCK
    return atoms


def _cubes(results: Results, place: Path, entry: CampaignEntry) -> int:
    """Write Δρ and the density with the adsorbate of each host that has them."""
    from ase.units import Bohr
    from pymatgen.io.ase import AseAtomsAdaptor
    from pymatgen.io.common import VolumetricData

    count = 0
    for model in (model for model in entry.models if DensityDifference.name in model.quantities):
        try:
            terms = results.density_terms(model.name, entry.campaign, entry.engine)
        except SodiateError:  # not computed yet, or the grids are on another machine
            continue
        place.mkdir(exist_ok=True)
        structure = AseAtomsAdaptor.get_structure(terms.atoms)
        identifier = model.quantities[DensityDifference.name].calculations[term_names(entry.adsorbate)[0]]
        for name, density in (("difference", terms.difference), ("density", terms.together)):
            comment = f"{name} of {model.name}, electrons per cubic Bohr radius, {identifier}"
            grid = VolumetricData(structure, {"total": density.values_per_a3 * Bohr**3})
            grid.to_cube(str(place / f"{model.name}-{name}.cube"), comment=comment)
            count += 1
    return count


def _write_row(path: Path, entry: CampaignEntry, title: str, record: Record) -> None:
    """Add a row to a database of ASE."""
    from ase.db import connect

    # With a word before the ids, since ASE reads an id of digits as a number.
    pairs: dict[str, Any] = {"method": f"id {entry.method_id}", "calculation": f"id {record.calculation}"}
    pairs |= {"name": title, "campaign": entry.campaign, "engine": entry.engine, "physical": record.physical}
    with connect(path) as database:
        database.write(with_energy(record), key_value_pairs=pairs)
