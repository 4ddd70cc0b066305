"""Finished runs of the user: recorded if their settings are those that the campaign plans.

The engine reads a run and lays it into the directory of its calculation; it is collected and recorded from there like
any other. Nothing is computed: what is not finished is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ...analysis.energies.adsorption import wrong_spin
from ...errors import SodiateError
from ...structures.geometry import placement, turned_cell
from .. import start_structures
from ..calculation import Calculation
from ..campaign.yaml import InputError
from ..engines import make_engine
from ..engines.base import EngineError, FinishedRun, Settings
from ..engines.shared.temporary import temporary_folder
from ..plan.graph import Plan
from .run_calculation import WorkerSettings, run_calculation
from .workdir import own_directory

if TYPE_CHECKING:
    from ase import Atoms

    from ...analysis.records import Record
    from ..database.documents import Documents

_NEAR_A = 1.0
"""A run belongs to a calculation only if no atom's start differs by more than this."""


WAITS = "it starts from"
"""How a reason begins that goes with that of another run."""


@dataclass
class Verdict:
    """The outcome for a folder: its run, the calculation it belongs to, and the reasons against recording it."""

    folder: Path
    run: FinishedRun | None = None
    calculation: Calculation | None = None
    reasons: list[str] = field(default_factory=list)
    recorded: str = ""


class Records(Protocol):
    """Where the records of parents are."""

    def record(self, identifier: str) -> Record | None:
        """Return the current record of a calculation; None if it has none."""


class NoRecords:
    """The records of a root where nothing was run yet."""

    def record(self, identifier: str) -> Record | None:
        """Return nothing."""
        return None


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
    verdicts = [_verdict(folder, plan, documents) for folder in folders]
    return take_runs(verdicts, plan, documents, root, None if dry_run else documents)


def take_runs(
    verdicts: Sequence[Verdict], plan: Plan, records: Records, root: Path, documents: Documents | None
) -> list[Verdict]:
    """Record runs of which the calculations are known, parents before children; without ``documents``, on trial."""
    with temporary_folder("import") as scratch:
        taking = _Taking(plan, records, root, scratch, documents)
        for calculation in plan.calculations:
            for verdict in verdicts:
                if verdict.calculation == calculation and not verdict.reasons:
                    verdict.reasons = taking.take(verdict)
    return list(verdicts)


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
    atoms, others = start_of(calculation, documents, {}), run.atoms
    if atoms is None or sorted(atoms.numbers) != sorted(others.numbers):
        return None
    cell = turned_cell(others.cell.array, atoms.cell.array)[1]
    return None if cell > _NEAR_A else max(placement(atoms, others).distance, cell)


def start_of(calculation: Calculation, documents: Records, ends: Mapping[str, Atoms]) -> Atoms | None:
    """Return a calculation's start: from its parents' ends, else from their own starts.

    Parameters
    ----------
    calculation
        Whose start.
    documents
        Has the records of parents.
    ends
        Where parents ended that have no record yet, by id.
    """
    parents = {}
    for role, parent in calculation.parents.items():
        record = documents.record(parent.id)
        known = record.geometry.atoms() if record is not None and record.geometry is not None else None
        known = ends.get(parent.id) if known is None else known
        parents[role] = known if known is not None else start_structures.ideal_atoms(parent)
    return start_structures.start_atoms(
        calculation, {role: atoms for role, atoms in parents.items() if atoms is not None}
    )


@dataclass
class _Taking:
    """Runs taken one after the other; on trial all is done but recording, in a scratch folder."""

    plan: Plan
    records: Records
    root: Path
    scratch: Path
    documents: Documents | None
    ends: dict[str, Atoms] = field(default_factory=dict)

    def take(self, verdict: Verdict) -> list[str]:
        """Record a run; return why not."""
        calculation, run = verdict.calculation, verdict.run
        assert calculation is not None
        assert run is not None
        record = self.records.record(calculation.id)
        if record is not None:
            verdict.recorded = f"is recorded already{_otherwise(record.energy_ev, run)}"
            return []
        lacking = [parent.label for parent in calculation.parents.values() if not self._is_known(parent)]
        if lacking:
            return [f"{WAITS} {', '.join(lacking)}, which has no record yet: import that run, too"]
        if self.documents is not None:  # whose folder may have another campaign's name
            calculation = self.documents.calculation(calculation.id)
        planned = self.root / calculation.directory_name
        if planned.exists():
            return [f"{planned} is there already: `sodiate run` goes on in it; move it away to import this run"]
        directory = self.scratch / calculation.directory_name if self.documents is None else planned
        try:
            reasons = self._lay(run, calculation, directory)
            if reasons or self.documents is None:
                return reasons
            run_calculation(self.documents, calculation.id, WorkerSettings(self.root, finished=True))
            verdict.recorded = "recorded"
            return []
        except SodiateError as error:
            return [str(error).replace(str(directory), str(verdict.folder))]
        finally:
            if self.documents is None or not verdict.recorded:
                shutil.rmtree(directory, ignore_errors=True)

    def _is_known(self, parent: Calculation) -> bool:
        return parent.id in self.ends or self.records.record(parent.id) is not None

    def _lay(self, run: FinishedRun, calculation: Calculation, directory: Path) -> list[str]:
        """Lay a run into its calculation's directory as if sodiate had run it; return what it has otherwise."""
        atoms = start_of(calculation, self.records, self.ends)
        moments = start_structures.start_moments(calculation, len(atoms)) if atoms is not None else None
        start = own_directory(directory.parent, calculation, atoms, 0).start
        if start is None:
            raise InputError(f"{calculation.label} has no atoms.")
        if moments is not None:
            start.set_initial_magnetic_moments(moments)
        settings = Settings(execution=self.plan.execution(calculation), reading=True)
        engine = make_engine(calculation.engine, settings)
        engine.prepare(calculation, start, directory, {})
        reasons = run.lay(calculation, directory, start_structures.turns(calculation))
        if reasons:
            return reasons
        outcome = engine.collect(directory)  # all its checks, before anything is recorded
        if outcome.atoms is not None:
            self.ends[calculation.id] = outcome.atoms
        if calculation.kind != "atom" or outcome.total_moment_mub is None:
            return []
        wrong = wrong_spin(calculation.structure["element"], outcome.total_moment_mub)
        return [] if wrong is None else [wrong]


_SAME_EV = 1e-3
"""Energies that differ by more are of two runs."""


def _otherwise(recorded_ev: float | None, run: FinishedRun) -> str:
    """Say that a record has another energy than a run that would have been taken for it; nothing if not."""
    if recorded_ev is None or abs(recorded_ev - run.energy_ev) < _SAME_EV:
        return ""
    return f", with {recorded_ev:.6f} eV; this run, which has {run.energy_ev:.6f} eV, is not taken"
