"""The contract between a calculation and the code that runs it.

An engine writes readable inputs, runs a code in a directory, and parses what it left. It knows no database; the
runner (`sodiate.workflows.runner.run_calculation`) claims the calculation, calls the engine, and stores the record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...analysis.arrays import Bands, Density, Dos, Trajectory
from ...analysis.records import Choice, Method, Record, Sampling, Stress
from ...errors import SodiateError
from ..stop import Stop

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

    from ..calculation import Calculation


class EngineError(SodiateError):
    """A code could not do what was asked of it; the message names the directory."""


class Unconverged(EngineError):
    """A run ended before its criterion was met; nothing of it may be recorded."""


class Stopped(EngineError):
    """A run was asked to end and did so cleanly: to be continued, never done."""


class Unsupported(EngineError):
    """An element, kind or setting that the engine cannot honour; raised when planning, not at hour nine."""


@dataclass(frozen=True)
class Limits:
    """How far a launch may go: seconds of wall time left (None: no limit)."""

    wall_time_s: float | None = None


@dataclass(frozen=True)
class Artefacts:
    """A finished parent: its record, and its directory if the files are within reach of this machine."""

    record: Record
    directory: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What a code's outputs say, parsed and validated.

    Attributes
    ----------
    atoms
        Final geometry (None for a calculation without one).
    energy_ev, free_energy_ev
        Energy extrapolated to zero smearing, and the one the forces belong to.
    forces_ev_per_a
        Shape (atoms, 3), of ``free_energy_ev``.
    stress_ev_per_a3
        xx, yy, zz, yz, xz, xy, of a calculation that relaxed the cell.
    converged
        True only if every criterion of the protocol was met.
    vacuum_ev
        Vacuum levels below and above a slab, on the scale of its eigenvalues.
    start_moments_mub, final_moments_mub, total_moment_mub
        Per atom and for the cell; None for a calculation without spin.
    """

    atoms: Atoms | None
    energy_ev: float | None
    free_energy_ev: float | None
    forces_ev_per_a: NDArray[np.float64] | None
    converged: bool
    method: Method
    sampling: Sampling | None
    versions: dict[str, str]
    ionic_steps: int | None = None
    scf_steps: int | None = None
    start_moments_mub: tuple[float, ...] | None = None
    final_moments_mub: tuple[float, ...] | None = None
    total_moment_mub: float | None = None
    vacuum_ev: tuple[float, float] | None = None
    bands: Bands | None = None
    dos: Dos | None = None
    trajectory: Trajectory | None = None
    density: Density | None = None
    stress_ev_per_a3: Stress | None = None
    choice: Choice | None = None
    corrections: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    command: str | None = None


@dataclass(frozen=True)
class Settings:
    """How a number is reached, read once and passed down: none of it enters an id.

    ``execution`` comes from the campaign (optimizer, step limits), ``worker`` from the FWorker's ``env``
    (commands, ranks).
    """

    execution: Mapping[str, Any] = field(default_factory=dict)
    worker: Mapping[str, Any] = field(default_factory=dict)


class Engine(Protocol):
    """One code behind sodiate.

    Attributes
    ----------
    name
        As in campaign files and records.
    physical
        False for an engine whose numbers are mock values.
    capabilities
        The kinds of calculation it can run.
    protocol_keys
        The protocol keys it honours; others are recorded as not applicable and do not enter an id.
    checkpoint_files
        Names (or patterns) of the files in a directory that a run goes on from, for export.
    """

    name: str
    physical: bool
    capabilities: frozenset[str]
    protocol_keys: frozenset[str]
    checkpoint_files: tuple[str, ...]

    def check(self, atoms: Atoms) -> None:
        """Raise `Unsupported` if the engine cannot compute these elements."""

    def prepare(
        self, calculation: Calculation, atoms: Atoms | None, directory: Path, parents: Mapping[str, Artefacts]
    ) -> None:
        """Write readable inputs into ``directory``; keep what an earlier launch left to go on from.

        ``atoms`` is the start geometry, None for a calculation without one.
        """

    def run(self, directory: Path, limits: Limits, stop: Stop) -> None:
        """Run the code, or go on from its checkpoint; raise `Stopped` when asked to end before the end."""

    def collect(self, directory: Path) -> Outcome:
        """Parse and validate the outputs; raise `Unconverged` if a criterion was not met."""
