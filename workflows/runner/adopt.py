"""Finished runs of the user: recorded if their settings are those that the campaign plans.

The engine reads a run and copies it into the directory of its calculation, from where it is recorded as usual.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import SodiateError
from ...structures.geometry import pairing
from .. import start_structures
from ..calculation import Calculation
from ..campaign.yaml import InputError
from ..engines import make_engine
from ..engines.base import EngineError, FinishedRun, Settings
from ..plan.graph import Plan
from .run_calculation import WorkerSettings, run_calculation
from .workdir import own_directory

if TYPE_CHECKING:
    from ase import Atoms

    from ..database.documents import Documents

_NEAR_A = 1.0
"""A run belongs to a calculation only if no atom's start differs by more than this."""


@dataclass
class Verdict:
    """The outcome for a folder: its run, the calculation it belongs to, and the reasons against recording it."""

    folder: Path
    run: FinishedRun | None = None
    calculation: Calculation | None = None
    reasons: list[str] = field(default_factory=list)
    recorded: str = ""


def adopt_runs(folders: Sequence[Path], plan: Plan, documents: Documents, root: Path, dry_run: bool) -> list[Verdict]:
    """Record the runs in some folders, parents before children.

    Parameters
    ----------
    folders
        Each with a run of the campaign's engine.
    plan
        The campaign, planned and stored.
    documents, root
        The database, and the folder of the calculations' directories.
    dry_run
        Check the runs, but record nothing.

    Returns
    -------
    list of Verdict
        For each folder.
    """
    verdicts = {folder: _verdict(folder, plan, documents) for folder in folders}
    with tempfile.TemporaryDirectory(prefix="sodiate-import-") as scratch:
        place = Path(scratch) if dry_run else root
        for calculation in plan.calculations:
            for verdict in verdicts.values():
                if verdict.calculation == calculation and not verdict.reasons:
                    verdict.reasons = _record(verdict, plan, documents, place, dry_run)
    return list(verdicts.values())


def _verdict(folder: Path, plan: Plan, documents: Documents) -> Verdict:
    """Find the calculation that a run belongs to."""
    from pymatgen.core.composition import Composition

    try:
        run = make_engine(plan.campaign.spec.engine, Settings()).adopt(folder)
    except EngineError as error:
        return Verdict(folder, reasons=[str(error)])
    candidates = [(_distance(run, calculation, documents), calculation) for calculation in plan.calculations]
    distances = [(distance, calculation) for distance, calculation in candidates if distance is not None]
    if not distances:
        formula = Composition(run.atoms.get_chemical_formula()).reduced_formula
        return Verdict(folder, run, reasons=[f"{plan.campaign.spec.campaign} plans nothing like it: {formula}"])
    distance, calculation = min(distances, key=lambda pair: pair[0])
    if distance > _NEAR_A:
        return Verdict(folder, run, calculation, [f"its start is {distance:.1f} Å from that of {calculation.label}"])
    return Verdict(folder, run, calculation)


def _distance(run: FinishedRun, calculation: Calculation, documents: Documents) -> float | None:
    """Return the distance of a run's start from a calculation's (Å); None if kind, atoms or cell do not match."""
    if calculation.kind not in run.kinds:
        return None
    atoms = start_of(calculation, documents)
    if atoms is None or sorted(atoms.numbers) != sorted(run.atoms.numbers):
        return None
    cell_change = np.abs(atoms.cell.array - run.atoms.cell.array).max()
    return None if cell_change > _NEAR_A else float(max(pairing(atoms, run.atoms)[1], cell_change))


def start_of(calculation: Calculation, documents: Documents) -> Atoms | None:
    """Return a calculation's start: from its parents' records if they exist, else from their own starts."""
    parents = {}
    for role, parent in calculation.parents.items():
        record = documents.record(parent.id)
        relaxed = record.geometry.atoms() if record is not None and record.geometry is not None else None
        parents[role] = relaxed if relaxed is not None else start_structures.ideal_atoms(parent)
    return start_structures.start_atoms(
        calculation, {role: atoms for role, atoms in parents.items() if atoms is not None}
    )


def _record(verdict: Verdict, plan: Plan, documents: Documents, root: Path, dry_run: bool) -> list[str]:
    """Record a run; return the reasons if it is refused."""
    calculation, run = verdict.calculation, verdict.run
    assert calculation is not None
    assert run is not None
    if documents.record(calculation.id) is not None:
        verdict.recorded = "is recorded already"
        return []
    missing = [parent.label for parent in calculation.parents.values() if documents.record(parent.id) is None]
    if missing and not dry_run:
        return [f"it starts from {', '.join(missing)}, which has no record yet: import that run, too"]
    directory = root / calculation.directory_name
    if directory.exists():
        return [f"{directory} is there already: `sodiate run` goes on in it; move it away to import this run"]
    try:
        reasons = _copy_run(run, calculation, plan, documents, directory)
        if reasons or dry_run:
            return reasons
        run_calculation(documents, calculation.id, WorkerSettings(root))
        verdict.recorded = "recorded"
        return []
    except SodiateError as error:
        return [str(error)]
    finally:
        if dry_run or not verdict.recorded:
            shutil.rmtree(directory, ignore_errors=True)


def _copy_run(
    run: FinishedRun, calculation: Calculation, plan: Plan, documents: Documents, directory: Path
) -> list[str]:
    """Copy a run into its calculation's directory as if sodiate had run it; return its differences from the plan."""
    atoms = start_of(calculation, documents)
    moments = start_structures.start_moments(calculation, len(atoms)) if atoms is not None else None
    workdir = own_directory(directory.parent, calculation, atoms, 0)
    start = workdir.start
    if start is None:
        raise InputError(f"{calculation.label} has no atoms.")
    if moments is not None:
        start.set_initial_magnetic_moments(moments)
    engine = make_engine(calculation.engine, Settings(execution=plan.execution(calculation)))
    engine.prepare(calculation, start, directory, {})
    return run.lay(calculation, directory)
