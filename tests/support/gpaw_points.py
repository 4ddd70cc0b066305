"""Single points of GPAW with what they go on from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ase import Atoms
from sodiate.workflows.engines.base import Artefacts, Outcome

from support import present
from support.engine_cases import GPAW


def parent(outcome: Outcome, directory: Path) -> Artefacts:
    """The finished run, with what a record has of it."""
    record: Any = SimpleNamespace(
        label="S+Na", sampling=present(outcome.sampling), method=outcome.method, energy_ev=outcome.energy_ev,
        final_moments_mub=outcome.final_moments_mub, total_moment_mub=outcome.total_moment_mub,
    )  # fmt: skip
    return Artefacts(record, directory)


def single_point(directory: Path, atoms: Atoms, moment_mub: float = 1.0, **options: Any) -> Outcome:
    """Compute a single point, with spin, of sulphur and Na with a start moment; parents are among the options."""
    parents = {key: value for key, value in options.items() if isinstance(value, Artefacts)}
    changes = {"spin_polarised": True} | {key: value for key, value in options.items() if key not in parents}
    atoms = atoms.copy()
    atoms.set_initial_magnetic_moments([0.0, moment_mub])
    directory.mkdir(parents=True, exist_ok=True)
    GPAW.engine().prepare(GPAW.calculation("static", **changes), atoms, directory, parents)
    return GPAW.finish(directory)
