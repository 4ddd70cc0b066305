"""The contract between a calculation and the code that runs it.

An engine writes readable inputs, runs a code in a directory, and parses what it left. It knows no database; the
runner (`sodiate.workflows.runner.run_calculation`) claims the calculation, calls the engine, and stores the record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...analysis.arrays import Bands, Density, Dos, Trajectory
from ...analysis.codes import CodeDescription
from ...analysis.records import Choice, Frozen, Method, Record, Sampling, Stress
from ...errors import SodiateError
from ..stop import Stop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

    from ..calculation import Calculation
    from ..campaign.campaign_file import CampaignFile


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


class Declaration(Protocol):
    """What a campaign says to one code, read and checked: it belongs to some calculations, in part to their ids."""

    def protocol(self, calculation: Calculation) -> dict[str, Any]:
        """Return the protocol of a calculation, with what the code declares beside the common keys; raise
        `InputError` if it lacks something.
        """

    def execution(self, calculation: Calculation) -> dict[str, Any]:
        """Return how the code is to reach a calculation, beside the campaign's execution; no part of the id."""

    def lines(self) -> list[str]:
        """Return what was read, a line each, for `sodiate plan`."""

    def refuse_unmatched(self) -> None:
        """Raise `InputError` for what belongs to no calculation, once all were asked for."""


class FinishedRun(Protocol):
    """A run of a code that the user made, as its engine reads it."""

    @property
    def atoms(self) -> Atoms:
        """Where it started."""

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of calculation that it may be."""

    def lay(self, calculation: Calculation, directory: Path) -> list[str]:
        """Lay it into a prepared directory as if sodiate had run it there; return what it has otherwise, in words.

        If it has something otherwise, the directory is not to be collected.
        """


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
    worker_keys
        What a cluster file's ``env``, or an FWorker's, may say to it: a model with a default for each key.
    checkpoint_files
        Names (or patterns) of the files in a directory that a run goes on from, for export.
    """

    name: str
    physical: bool
    capabilities: frozenset[str]
    protocol_keys: frozenset[str]
    worker_keys: type[Frozen]
    checkpoint_files: tuple[str, ...]

    def check(self, atoms: Atoms) -> None:
        """Raise `Unsupported` if the engine cannot compute these elements."""

    def execution_keys(self, calculation: Calculation) -> frozenset[str]:
        """Return the execution settings that act on a calculation; others are recorded as not applicable."""

    def declaration(self, campaign: CampaignFile, where: str) -> Declaration:
        """Read what a campaign says to this code; raise `InputError`, beginning with ``where``, if it cannot be."""

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

    def progress(self, directory: Path) -> list[str]:
        """Return how far a run is, a line each, for `sodiate show`; nothing if its trajectory is sodiate's own."""

    def adopt(self, folder: Path) -> FinishedRun:
        """Read a run of this code that the user made; raise `EngineError` if it cannot be read."""

    def description(self, records: Sequence[Record]) -> CodeDescription:
        """Return how a manuscript names the code behind some records, and its data."""


class PlainDeclaration:
    """The declaration of a code to which campaigns say nothing but the common keys."""

    def protocol(self, calculation: Calculation) -> dict[str, Any]:
        """Return the common keys."""
        return dict(calculation.protocol)

    def execution(self, calculation: Calculation) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def lines(self) -> list[str]:
        """Return nothing."""
        return []

    def refuse_unmatched(self) -> None:
        """Refuse nothing."""


class PlainEngine:
    """What an engine may inherit: the hooks of the contract as they are where a code has nothing to say to them.

    Parameters
    ----------
    settings
        How numbers are reached.
    """

    name = ""
    worker_keys: type[Frozen] = Frozen
    checkpoint_files: tuple[str, ...] = ()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def execution_keys(self, calculation: Calculation) -> frozenset[str]:
        """Return nothing: no setting acts."""
        return frozenset()

    def declaration(self, campaign: CampaignFile, where: str) -> Declaration:
        """Return one that says nothing."""
        return PlainDeclaration()

    def progress(self, directory: Path) -> list[str]:
        """Return nothing."""
        return []

    def adopt(self, folder: Path) -> FinishedRun:
        """Raise `Unsupported`."""
        raise Unsupported(f"{folder}: runs of the engine {self.name} cannot be imported.")

    def description(self, records: Sequence[Record]) -> CodeDescription:
        """Return the engine's name."""
        return CodeDescription(self.name)
