"""Results as a folder to upload to NOMAD: a folder for each calculation, and ``nomad.yaml`` with what to say of them.

NOMAD makes an entry of each main file that one of its parsers knows, and shows what lies beside it with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ...version import __version__
from ..campaign.yaml import InputError
from ..plan.preview import new_folder
from .published import published, write_calculation

if TYPE_CHECKING:
    from .results import Results

METADATA = "nomad.yaml"


def write_nomad(results: Results, root: Path | None, folder: Path, campaign: str | None) -> str:
    """Write a folder for NOMAD and return a sentence about it.

    Parameters
    ----------
    results
        The results.
    root
        Folder of the calculations' directories, in which the files of the codes are; None for an archive.
    folder
        New or empty.
    campaign
        Only this campaign.

    Raises
    ------
    InputError
        If there is nothing physical to publish, no calculation has a file that NOMAD's parsers know, or the folder
        has content.
    """
    source = published(results, campaign, root)
    main = {identifier: source.files(identifier, ("nomad_files",)) for identifier in source.records}
    known = [identifier for identifier, files in main.items() if files]
    if not known:
        where = "an archive has none" if root is None else f"{root} has none of these calculations"
        raise InputError(
            f"{results.title}: nothing that NOMAD would know: it reads the outputs of codes, and {where}."
        )
    entries: dict[str, Any] = {}
    with new_folder(folder, "files for NOMAD") as place:
        for identifier, record in source.records.items():
            files = source.files(identifier, ("input_files", "output_files"))
            write_calculation(source, results, identifier, place / source.path(identifier), files)
            if main[identifier]:
                names = ", ".join(source.names[identifier]) or record.label
                comment = f"{names}: {record.kind}, sodiate's calculation {identifier}"
                entries[f"{source.path(identifier)}/{main[identifier][0].name}"] = {"comment": comment}
        titles = dict.fromkeys(entry.title or entry.campaign for entry in source.entries)
        content = {
            "comment": f"{'; '.join(titles)}. Computed and recorded by sodiate {__version__}: record.json has the "
            "result of each calculation, calculation.json what was declared.",
            "references": [],
            "coauthors": [],
            "datasets": [],
            "entries": entries,
        }
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=118)
        (place / METADATA).write_text(_HEAD + text, encoding="utf-8")
    without = len(source.records) - len(known)
    told = f", {without} more as sodiate's record alone, which NOMAD does not read" if without else ""
    return f"{len(known)} calculations with the files of their code{told}, in {folder}{source.left_behind}"


_HEAD = """\
# Read by NOMAD when this folder is uploaded. Yours to fill in before: references (addresses of papers), coauthors
# (names of accounts in NOMAD) and datasets (names, which NOMAD makes).
"""
