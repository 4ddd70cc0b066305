"""What may be published of results: usable records of physical runs, with their calculations and files; no mock.

`crate` (RO-Crate), `optimade` and `nomad` write it, each in the form of its own community.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..campaign.yaml import InputError
from ..database.standing import standing_of
from ..engines import find_engine
from ..kinds import KINDS, left_out

if TYPE_CHECKING:
    from ...analysis.campaign_entry import CampaignEntry
    from ...analysis.records import Record
    from ..calculation import Calculation
    from .results import Results

RECORD, DECLARED = "record.json", "calculation.json"
"""Files of a calculation: what it gave, and what was asked for."""


@dataclass(frozen=True)
class Published:
    """What goes out.

    Attributes
    ----------
    entries
        The campaigns with physical records.
    records
        Their usable physical records by the calculation's id, oldest first.
    calculations
        What was declared of each.
    names
        The campaigns' names for each, such as ``WSSe+VS/V_S@top``.
    mock
        How many records stay behind because they are of dry runs.
    root
        The folder of the calculations' directories; None for an archive, which has none.
    """

    entries: tuple[CampaignEntry, ...]
    records: Mapping[str, Record]
    calculations: Mapping[str, Calculation]
    names: Mapping[str, tuple[str, ...]]
    mock: int
    root: Path | None

    @property
    def left_behind(self) -> str:
        """What is to be said of mock records; empty without any."""
        return f"; {self.mock} of dry runs left out: they are mock and no results" if self.mock else ""

    def path(self, identifier: str) -> str:
        """Return the folder of a calculation below that of the export."""
        return f"calculations/{self.calculations[identifier].directory_name}"

    def files(self, identifier: str, which: Iterable[str]) -> list[Path]:
        """Return a calculation's own files by the engine's patterns, if its directory is here.

        Parameters
        ----------
        identifier
            The calculation.
        which
            Members of the engine's contract: ``input_files``, ``output_files``, ``nomad_files``.
        """
        calculation = self.calculations[identifier]
        engine = None if KINDS[calculation.kind].chooses else find_engine(calculation.engine)
        if self.root is None or engine is None:
            return []
        directory = self.root / calculation.directory_name
        patterns = dict.fromkeys(pattern for member in which for pattern in getattr(engine, member))
        files = dict.fromkeys(path for pattern in patterns for path in sorted(directory.glob(pattern)))
        return [path for path in files if path.is_file() and not path.is_symlink()]


def published(results: Results, campaign: str | None, root: Path | None) -> Published:
    """Return what may be published.

    Parameters
    ----------
    results
        The results.
    campaign
        Only this one.
    root
        The folder of the calculations' directories, if it is here.

    Raises
    ------
    InputError
        If nothing is recorded, or all is of dry runs.
    """
    records: dict[str, Record] = {}
    mock: set[str] = set()
    entries = []
    names: dict[str, dict[str, None]] = {}
    for entry in results.entries(campaign):
        usable = standing_of(results.documents, entry.ids).records
        real = {identifier: record for identifier, record in usable.items() if record.physical}
        mock |= usable.keys() - real.keys()
        records |= real
        for name, identifier in entry.names.items():
            if identifier in real:
                names.setdefault(identifier, {})[name] = None
        if real:
            entries.append(entry)
    if not records:
        why = (
            "all of it is of dry runs, whose numbers are mock: run it with a real code" if mock else "no records yet"
        )
        raise InputError(f"{results.title}: nothing to publish: {why}.")
    ordered = sorted(records.items(), key=lambda item: (item[1].provenance.finished, item[0]))
    return Published(
        tuple(entries),
        dict(ordered),
        results.documents.graph(records),
        {identifier: tuple(names.get(identifier, ())) for identifier in records},
        len(mock),
        root,
    )


def write_calculation(
    source: Published, results: Results, identifier: str, folder: Path, files: Sequence[Path]
) -> None:
    """Write a calculation's record, what was declared, its arrays and some of its own files.

    Parameters
    ----------
    source, results
        What is published, and where arrays come from; density grids are left out, as in archives.
    identifier
        The calculation.
    folder
        A folder for it, which is made.
    files
        Its own files, to be copied.
    """
    record, calculation = source.records[identifier], source.calculations[identifier]
    folder.mkdir(parents=True)
    for path in files:
        shutil.copyfile(path, folder / path.name)
    # Where it lay on somebody's disk is nobody's business; its name is.
    plain = record.model_dump(mode="json")
    plain["provenance"]["directory"] = calculation.directory_name
    declared = {"id": identifier, "label": calculation.label, **calculation.declared()}
    for name, content in ((RECORD, plain), (DECLARED, declared)):
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / name).write_text(text + "\n", encoding="utf-8")
    for name, array in record.arrays.items():
        if name not in left_out():
            (folder / f"{name}.npz").write_bytes(results.documents.array_bytes(array))
