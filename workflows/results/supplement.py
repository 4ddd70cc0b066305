"""What goes with a manuscript, as files: methods, tables, references, structures, vector figures, and ids."""

from __future__ import annotations

import csv
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...analysis.manuscript import Ran, adsorption_table, bibliography, booktabs, cited, markdown, methods, to_tex
from ...analysis.records import MOCK
from ..campaign.yaml import InputError
from ..database.usable import usable
from ..plan.preview import new_folder, write_atoms
from .figures import draw_bands, draw_bars, draw_dos, spectra_of
from .rows import as_objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ...analysis.campaign_entry import CampaignEntry
    from ...analysis.energies.adsorption import ModelResult
    from ...analysis.records import Record
    from .results import Results

VECTOR = (".pdf", ".svg")


def write_supplement(results: Results, folder: Path, campaign: str | None, engine: str | None) -> list[str]:
    """Write the supplement of one campaign; return the names of its files.

    Parameters
    ----------
    results
        Where the records are.
    folder
        A new or empty folder.
    campaign, engine
        Which, where there are several.

    Raises
    ------
    InputError
        If none or several campaigns are meant, or nothing of it is recorded.
    """
    entries = results.entries(campaign, engine)
    if len(entries) != 1:
        known = "; ".join(f"campaign {e.campaign}, engine {e.engine}, method {e.method_id}" for e in entries)
        raise InputError(f"{results.title}: a supplement is of one campaign and engine: name it; here are: {known}.")
    (entry,) = entries
    records, _ = usable(results.documents, entry.ids)
    if not records:
        raise InputError(f"campaign {entry.campaign}: nothing is recorded yet; run it first.")
    models = results.of(entry)
    spectra = spectra_of(entry, records)
    objects = as_objects(models)
    mock = not all(one["physical"] for one in objects)
    ran = _ran(entry, records, spectra)
    text = methods(ran)
    with new_folder(folder, "supplements") as place:
        _write(place / "methods.md", text)
        _write(place / "methods.tex", to_tex(text))
        heads, rows = adsorption_table(objects)
        _write(place / "adsorption.md", markdown(heads, rows, mock))
        _write(place / "adsorption.tex", booktabs(heads, rows, mock))
        _write(place / "references.bib", bibliography([*cited(text), *([] if mock else ["Lei2023"])]))
        _numbers(place / "numbers.csv", entry, objects)
        _structures(place / "structures", entry, records, objects)
        _figures(results, place / "figures", models, spectra, ran.bands, mock)
        return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def _ran(entry: CampaignEntry, records: Mapping[str, Record], spectra: Mapping[str, Record]) -> Ran:
    slabs = [i for model in entry.models for i in (model.host, *(site.calculation for site in model.sites))]
    references = [model.formation.elements.values() for model in entry.models if model.formation is not None]
    # Of a vacancy whose references are not all there, no formation energy is claimed.
    complete = [identifiers for identifiers in references if records.keys() >= set(identifiers)]
    return Ran(
        slabs=_recorded(records, slabs),
        spectra=list(spectra.values()),
        bands=_recorded(records, (model.bands for model in entry.models)),
        elements=_recorded(records, chain.from_iterable(complete)),
        atom=records.get(entry.atom),
        bulk=records.get(entry.bulk or ""),
        supercells=[f"{a}×{b}" for a, b in dict.fromkeys(model.supercell for model in entry.models)],
    )


def _recorded(records: Mapping[str, Record], identifiers: Iterable[str | None]) -> list[Record]:
    """Return the records that there are of some calculations, each once."""
    return [records[i] for i in dict.fromkeys(identifiers) if i is not None and i in records]


def _numbers(path: Path, entry: CampaignEntry, objects: list[dict[str, Any]]) -> None:
    """Write each number of the tables with the ids of the records that it comes from."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["host", "site", "quantity", "value", "note", "records"])
        for model, one in zip(entry.models, objects, strict=True):
            note = "" if one["physical"] else MOCK
            atom, bulk = entry.references(model)
            calculations = {site.name: site.calculation for site in model.sites}
            for site in one["sites"]:
                terms = [calculations[site["start"]], model.host]
                for key, reference in (("adsorption_energy_ev", atom), ("adsorption_energy_bulk_ev", bulk)):
                    if site[key] is not None:
                        writer.writerow(
                            [
                                model.name,
                                site["start"],
                                key,
                                repr(site[key]),
                                note,
                                " ".join([*terms, str(reference)]),
                            ]
                        )
            if one["band_gap_ev"] is not None:
                writer.writerow([model.name, "", "band_gap_ev", repr(one["band_gap_ev"]), note, model.dos])


def _structures(
    folder: Path, entry: CampaignEntry, records: Mapping[str, Record], objects: list[dict[str, Any]]
) -> None:
    folder.mkdir()
    for model, one in zip(entry.models, objects, strict=True):
        best = {site.name: site.calculation for site in model.sites}.get(one["site"] or "")
        for name, identifier in ((model.name, model.host), (f"{model.name}/{one['site']}", best)):
            record = records.get(identifier or "")
            if record is None or record.geometry is None:
                continue
            for form in ("vasp", "cif"):
                write_atoms(folder, name, record.geometry.atoms(), form)


def _figures(
    results: Results,
    folder: Path,
    models: Sequence[ModelResult],
    spectra: Mapping[str, Record],
    bands: Sequence[Record],
    mock: bool,
) -> None:
    folder.mkdir()
    for suffix in VECTOR:
        draw_bars(models, folder / f"adsorption{suffix}", mock)
        if spectra:
            draw_dos(results.documents, spectra, folder / f"dos{suffix}", mock)
        for record in bands:
            name = f"bands-{record.label.partition('/')[0]}{suffix}"
            draw_bands(results.documents, record, folder / name, mock)
