"""The directory of a calculation: whose it is, from which start, and what is moved aside."""

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
"""The file that says to which calculation a directory belongs."""

SAME_START_A = 1e-4
"""Starts that differ by less are one: another processor gives other last bits to the same relaxed parent."""


class WrongDirectory(SodiateError):
    """A directory belongs to another calculation."""


@dataclass(frozen=True)
class Workdir:
    """A directory that is ours for this launch.

    ``start`` is the geometry to begin with, exactly as the first launch had it, so that its checkpoint fits.
    """

    directory: Path
    start: Atoms | None
    input_digest: str
    launches: int


def own_directory(root: Path, calculation: Calculation, start: Atoms | None, generation: int) -> Workdir:
    """Make a calculation's directory ours; what a superseded record or another start left is moved aside.

    Parameters
    ----------
    root
        Where the directories are.
    calculation
        Whose directory it is.
    start
        Start geometry as it follows from the parents' records.
    generation
        How many records of this calculation were superseded.

    Raises
    ------
    WrongDirectory
        If it belongs to another calculation or is not sodiate's.
    EngineError
        If it cannot be written.
    """
    directory = root / calculation.directory_name
    geometry = None if start is None else Geometry.of(start)
    found = _read_claim(directory)
    if found is not None and found["calculation"] != calculation.id:
        raise WrongDirectory(
            f"{directory} belongs to calculation {found['calculation']}, not to {calculation.id} "
            f"({calculation.label}). Move it away."
        )
    if found is not None:
        first = None if found["start"] is None else Geometry.model_validate(found["start"])
        if found["generation"] == generation and _same_start(first, geometry):
            geometry = first
        else:
            directory.rename(_free_name(directory))
            found = None
    stored = None if geometry is None else geometry.model_dump(mode="json")
    launches = (found or {}).get("launches", 0) + 1
    claim = {"calculation": calculation.id, "label": calculation.label, "generation": generation}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / CLAIM, {**claim, "launches": launches, "start": stored})
    except OSError as error:
        raise EngineError(f"{directory}: cannot be written: {error.strerror}.") from None
    return Workdir(directory, None if geometry is None else geometry.atoms(), digest(stored), launches)


def _same_start(first: Geometry | None, second: Geometry | None) -> bool:
    if first is None or second is None:
        return first is second
    if (first.symbols, first.pbc) != (second.symbols, second.pbc):
        return False
    return all(
        np.abs(np.subtract(one, other)).max() < SAME_START_A
        for one, other in ((first.positions_a, second.positions_a), (first.cell_a, second.cell_a))
    )


def _read_claim(directory: Path) -> Mapping[str, Any] | None:
    """Return the claim of a directory; None if there is no directory or an empty one."""
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
    except (ValueError, OSError):
        raise WrongDirectory(f"{directory / CLAIM} cannot be read. Move the directory away.") from None
    return claim


def _free_name(directory: Path) -> Path:
    number = 1
    while (aside := directory.with_name(f"{directory.name}.superseded-{number}")).exists():
        number += 1
    return aside
