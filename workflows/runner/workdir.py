"""The directory of a calculation: its owner, its start, and moving aside what is outdated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...analysis.records import Geometry, digest
from ...errors import SodiateError
from ..engines.base import EngineError
from ..engines.shared.files import write_json

if TYPE_CHECKING:
    from ase import Atoms

    from ..calculation import Calculation

CLAIM = "calculation.json"
"""The file that names the calculation of a directory."""

SAME_START_A = 1e-4
"""Starts that differ by less than this are the same: processors differ in the last bits of a relaxed parent."""


class WrongDirectory(SodiateError):
    """A directory belongs to another calculation."""


@dataclass(frozen=True)
class Workdir:
    """A directory claimed for this launch.

    ``start`` is the start geometry exactly as in the first launch, so that its checkpoint matches.
    """

    directory: Path
    start: Atoms | None
    input_digest: str
    launches: int


def own_directory(root: Path, calculation: Calculation, start: Atoms | None, generation: int) -> Workdir:
    """Claim a calculation's directory; move aside a directory of a superseded record or another start.

    Parameters
    ----------
    root
        Folder of the directories.
    calculation
        The calculation.
    start
        Start geometry that follows from the parents' records.
    generation
        Number of superseded records of this calculation.

    Raises
    ------
    WrongDirectory
        If it belongs to another calculation or is not sodiate's.
    EngineError
        If it cannot be written.
    """
    directory = root / calculation.directory_name
    geometry = None if start is None else Geometry.of(start)
    previous = _read_claim(directory)
    if previous is not None and previous["calculation"] != calculation.id:
        raise WrongDirectory(
            f"{directory} belongs to calculation {previous['calculation']}, not to {calculation.id} "
            f"({calculation.label}). Move it away."
        )
    if previous is not None:
        first_start = None if previous["start"] is None else Geometry.model_validate(previous["start"])
        if previous["generation"] == generation and _same_start(first_start, geometry):
            geometry = first_start
        else:
            set_aside(directory)
            previous = None
    start_values = None if geometry is None else geometry.model_dump(mode="json")
    launches = (previous or {}).get("launches", 0) + 1
    claim = {"calculation": calculation.id, "label": calculation.label, "generation": generation}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / CLAIM, {**claim, "launches": launches, "start": start_values})
    except OSError as error:
        raise EngineError(f"{directory}: cannot be written: {error.strerror}.") from None
    return Workdir(directory, None if geometry is None else geometry.atoms(), digest(start_values), launches)


def _same_start(first: Geometry | None, second: Geometry | None) -> bool:
    if first is None or second is None:
        return first is second
    if (first.symbols, first.pbc) != (second.symbols, second.pbc):
        return False
    pairs = ((first.positions_a, second.positions_a), (first.cell_a, second.cell_a))
    return all(np.abs(np.subtract(*pair)).max() < SAME_START_A for pair in pairs)


def _read_claim(directory: Path) -> Mapping[str, Any] | None:
    """Return the claim of a directory; None if the directory is missing or empty."""
    try:
        claim = json.loads((directory / CLAIM).read_text(encoding="utf-8"))
        if not isinstance(claim, dict) or not {"calculation", "generation", "start"} <= claim.keys():
            raise ValueError
    except (FileNotFoundError, NotADirectoryError):
        if directory.is_dir() and any(directory.iterdir()):
            raise WrongDirectory(
                f"{directory} holds files but no {CLAIM}: it is not sodiate's. Move it away."
            ) from None
        return None
    except (ValueError, RecursionError, OSError):
        raise WrongDirectory(f"{directory / CLAIM} cannot be read. Move the directory away.") from None
    return claim


def set_aside(directory: Path) -> None:
    """Rename a directory, whose place another one takes.

    Raises
    ------
    WrongDirectory
        If it cannot be renamed.
    """
    number = 1
    while (aside := directory.with_name(f"{directory.name}.superseded-{number}")).exists():
        number += 1
    try:
        directory.rename(aside)
    except OSError as error:
        raise WrongDirectory(
            f"{directory} holds an earlier computation, of a superseded record or another start, and cannot be moved "
            f"aside to {aside.name} ({error.strerror}). Move it yourself, or see to the permissions of its folder."
        ) from error
