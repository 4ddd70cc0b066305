"""The supplement of a manuscript, as files: methods, tables, references, structures, vector figures, and ids."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...analysis.arrays import Dos
from ...analysis.codes import CodeDescription
from ...analysis.manuscript import (
    RecordsBehind,
    adsorption_table,
    bibliography,
    booktabs,
    cited,
    markdown,
    methods,
    to_tex,
)
from ...analysis.records import MOCK
from ...analysis.report.markup import formula
from ...errors import SodiateError
from ...structures.slabs import POSCAR
from ..campaign.yaml import InputError
from ..engines import find_engine
from ..plan.preview import new_folder, write_atoms
from ..quantities import quantities
from ..quantities.adsorption_energy import adsorption_bar
from ..quantities.density_difference import density_terms
from .figures import figures
from .rows import columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...analysis.figures.composite import HostPanels
    from ...analysis.model_result import HostRecords, ModelResult
    from .results import Results

VECTOR = (".pdf", ".svg")


def write_supplement(
    results: Results, folder: Path, campaign: str | None, engine: str | None, method: str | None = None
) -> list[str]:
    """Write the supplement of one campaign; return the names of its files.

    Parameters
    ----------
    results
        The results.
    folder
        A new or empty folder.
    campaign, engine, method
        The campaign, its engine and the short hash of its method, needed if there are several.

    Raises
    ------
    InputError
        If no campaign or several campaigns match, or the campaign has no record.
    """
    found = results.entries(campaign, engine)
    entries = [entry for entry in found if method in (None, entry.method_id)]
    if len(entries) != 1:
        choices = "; ".join(f"campaign {e.campaign}, engine {e.engine}, method {e.method_id}" for e in found)
        raise InputError(
            f"{results.title}: a supplement is of one campaign and engine: name it, and its method if it has "
            f"several; here are: {choices}."
        )
    (entry,) = entries
    evaluated = results.of(entry)
    hosts = [result.host for result in evaluated]
    if not hosts[0].records:
        raise InputError(f"campaign {entry.campaign}: nothing is recorded yet; run it first.")
    mock = not all(result.physical for result in evaluated)
    behind = _records_behind(hosts)
    code = _code(entry.engine, behind)
    text = methods(behind, code, _sentences(hosts))
    with new_folder(folder, "supplements") as place:
        _write(place / "methods.md", text)
        _write(place / "methods.tex", to_tex(text))
        heads, rows = adsorption_table(evaluated, columns())
        _write(place / "adsorption.md", markdown(heads, rows, mock))
        _write(place / "adsorption.tex", booktabs(heads, rows, mock))
        keys = [*cited(text), *([] if mock else ["Lei2023"])]
        _write(place / "references.bib", bibliography(keys, code.references))
        _numbers(place / "numbers.csv", evaluated)
        _structures(place / "structures", evaluated)
        _figures(results, place / "figures", evaluated, mock)
        return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def _records_behind(hosts: Sequence[HostRecords]) -> RecordsBehind:
    records = hosts[0].records
    slabs = [i for host in hosts for i in (host.model.host, *(site.calculation for site in host.model.sites))]
    parts = [i for host in hosts for part in host.model.quantities.values() for i in part.calculations.values()]
    return RecordsBehind(
        slabs=[records[i] for i in dict.fromkeys(slabs) if i in records],
        everything=[records[i] for i in dict.fromkeys((*slabs, *parts)) if i in records],
        supercells=[f"{a}×{b}" for a, b in dict.fromkeys(host.model.supercell for host in hosts)],
    )


def _code(engine: str, behind: RecordsBehind) -> CodeDescription:
    """Return the description of an engine's code; of an engine that is not installed here, only its name."""
    installed = find_engine(engine)
    return CodeDescription(engine) if installed is None else installed.description(behind.everything)


def _sentences(hosts: Sequence[HostRecords]) -> list[str]:
    return [sentence for quantity in quantities().values() for sentence in quantity.methods(hosts)]


def _numbers(path: Path, results: Sequence[ModelResult]) -> None:
    """Write each number of the tables with the ids of the records behind it."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["host", "site", "quantity", "value", "note", "records"])
        for result in results:
            note = "" if result.physical else MOCK
            for number in (n for quantity in quantities().values() for n in quantity.numbers(result)):
                cells = [number.site, number.key, repr(number.value), note, " ".join(number.records)]
                writer.writerow([result.model, *cells])


def _structures(folder: Path, results: Sequence[ModelResult]) -> None:
    folder.mkdir()
    for result in results:
        host, model = result.host, result.model
        found = {model: host.records.get(host.model.host), f"{model}/{result.site}": host.of_site(result.site)}
        for name, record in found.items():
            if record is None or record.geometry is None:
                continue
            for form in (POSCAR, "cif"):
                write_atoms(folder, name, record.geometry.atoms(), form)


def _figures(results: Results, folder: Path, evaluated: Sequence[ModelResult], mock: bool) -> None:
    folder.mkdir()
    for name, draw in figures(evaluated, results.documents).items():
        for suffix in VECTOR:
            draw(folder / f"{name}{suffix}", mock)
    _overview(results, folder, evaluated, mock)


def _overview(results: Results, folder: Path, evaluated: Sequence[ModelResult], mock: bool) -> None:
    """Draw all hosts in one figure, for a column and for two."""
    from ...analysis.figures.composite import WIDTHS_MM, composite

    hosts = [_host_panels(results, result) for result in evaluated]
    for name, width_mm in WIDTHS_MM.items():
        for suffix in VECTOR:
            composite(hosts, folder / f"overview-{name}-column{suffix}", mock, width_mm)


def _host_panels(results: Results, result: ModelResult) -> HostPanels:
    from ...analysis.figures.composite import HostPanels

    documents = results.documents
    record = result.host.of_site(result.site) or result.host.records.get(result.host.model.host)
    try:
        difference = density_terms(result.host, documents).difference
    except SodiateError:  # not asked for, not computed, or in an archive, which leaves grids out
        difference = None
    electrons = result.host.record("dos", "dos")
    dos = None if electrons is None else documents.arrays(electrons, "dos")
    return HostPanels(
        model=formula(result.model),
        atoms=None if record is None or record.geometry is None else record.geometry.atoms(),
        difference=difference,
        bar=replace(adsorption_bar(result), model=formula(result.model)),
        dos=dos if isinstance(dos, Dos) else None,
        gap=None if electrons is None else electrons.gap,
    )
