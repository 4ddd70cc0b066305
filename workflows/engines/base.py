"""The contract between a calculation and the code that runs it.

An engine writes readable inputs, runs a code in a directory, and parses what it left. It knows no database; the
runner (`sodiate.workflows.runner.run_calculation`) claims the calculation, calls the engine, and stores the record.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...analysis.arrays import Bands, Density, Dos, ReactionPath, SecondDerivatives, Trajectory
from ...analysis.codes import CodeDescription
from ...analysis.records import Choice, Frozen, Method, Record, Sampling, Stress
from ...errors import SodiateError
from ..diagnosis import Finding
from ..stop import Stop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

    from ..calculation import Calculation
    from ..campaign.campaign_file import CampaignFile


class EngineError(SodiateError):
    """A code failed; the message names the directory."""


class Unconverged(EngineError):
    """A run ended before its criterion was met; nothing of it may be recorded."""


class TooManySteps(Unconverged):
    """A relaxation took all the steps that it may; with more of them it goes on.

    Parameters
    ----------
    message
        What happened.
    max_steps
        How many steps it was allowed.
    """

    def __init__(self, message: str, max_steps: int | None = None) -> None:
        super().__init__(message)
        self.max_steps = max_steps


class Killed(EngineError):
    """A code was ended from outside, or a rank of it: its files go on, and nothing of them is wrong.

    Parameters
    ----------
    message
        What happened.
    out_of_memory
        Whether it certainly was for want of memory, so that it may well happen again.
    """

    def __init__(self, message: str, out_of_memory: bool = False) -> None:
        super().__init__(message)
        self.out_of_memory = out_of_memory


class Stopped(EngineError):
    """A run ended cleanly on request: it can be resumed, and is not done."""


class Unsupported(EngineError):
    """An element, kind or setting that the engine cannot honour; raised when planning, not during the run."""


@dataclass(frozen=True)
class Limits:
    """Limits of a launch: seconds of wall time left (None: no limit)."""

    wall_time_s: float | None = None


@dataclass(frozen=True)
class Progress:
    """How far a run is, by the files in its directory.

    Attributes
    ----------
    stage
        Which of several stages it is at, in words; empty if it has one.
    step
        The last whole ionic step, 0 for the start geometry; None before that, and where nothing moves.
    max_force_ev_per_a
        The largest force after it.
    criterion_ev_per_a
        What the largest force has to be below.
    scf_iteration
        The last one of the next step; None between two steps, and if the code does not say.
    """

    stage: str = ""
    step: int | None = None
    max_force_ev_per_a: float | None = None
    criterion_ev_per_a: float | None = None
    scf_iteration: int | None = None

    @property
    def words(self) -> str:
        """All that is known; may be empty."""
        force, criterion, iteration = self.max_force_ev_per_a, self.criterion_ev_per_a, self.scf_iteration
        against = "" if criterion is None else f" (criterion {criterion:g})"
        of_step = "" if self.step is None else f" of step {self.step + 1}"
        parts = [
            self.stage,
            "" if self.step is None else f"step {self.step}",
            "" if force is None else f"largest force {force:.3f} eV/Å{against}",
            "" if iteration is None else f"SCF iteration {iteration}{of_step}",
        ]
        return ", ".join(filter(None, parts))


@dataclass(frozen=True)
class Demand:
    """What a calculation asks of a machine.

    Attributes
    ----------
    ranks
        Numbers of ranks over which its work divides evenly, ascending; None if the code takes the whole machine.
    memory_bytes, rank_bytes
        What it takes whatever the number of ranks, and what each of them adds; 0 where that cannot be told.
    divided_by
        What divides the number of ranks: parts of the calculation that run side by side, and are nothing without.
    spare_ranks
        Larger numbers of ranks, ascending, on which it is done sooner while up to half of them are idle: for cores
        that nothing else can use.
    """

    ranks: tuple[int, ...] | None = None
    memory_bytes: int = 0
    rank_bytes: int = 0
    divided_by: int = 1
    spare_ranks: tuple[int, ...] = ()

    def bytes_on(self, ranks: int) -> int:
        """Return the memory that it takes on so many ranks."""
        return self.memory_bytes + ranks * self.rank_bytes


@dataclass(frozen=True)
class Artefacts:
    """A finished parent: its record, and its directory if this machine can read its files."""

    record: Record
    directory: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """Parsed and validated outputs of a code.

    Attributes
    ----------
    atoms
        Final geometry (None for a calculation without one).
    energy_ev, free_energy_ev
        Energy extrapolated to zero smearing, and the energy that the forces belong to.
    forces_ev_per_a
        Shape (atoms, 3), of ``free_energy_ev``.
    stress_ev_per_a3
        Shape (6,), in the order xx, yy, zz, yz, xz, xy, of a calculation that relaxed the cell.
    converged
        True only if every criterion of the protocol is met.
    vacuum_ev
        Vacuum levels below and above a slab, on the scale of its eigenvalues.
    path
        Images along a path; geometry, energy and forces are then those of its saddle.
    vibrations
        Second derivatives at the geometry that energy and forces are of.
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
    path: ReactionPath | None = None
    vibrations: SecondDerivatives | None = None
    stress_ev_per_a3: Stress | None = None
    choice: Choice | None = None
    corrections: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    command: str | None = None


@dataclass(frozen=True)
class Settings:
    """Settings of how a number is reached; none of them enters an id.

    ``execution`` comes from the campaign (optimizer, step limits), ``worker`` from the FWorker's ``env``
    (commands, ranks). With ``reading``, a finished run is only looked at: data that a code needs may be missing.
    """

    execution: Mapping[str, Any] = field(default_factory=dict)
    worker: Mapping[str, Any] = field(default_factory=dict)
    reading: bool = False


class Declaration(Protocol):
    """The part of a campaign that is for one code, read and checked; some of it enters the ids of calculations."""

    def protocol(self, calculation: Calculation) -> dict[str, Any]:
        """Return the protocol of a calculation: the common keys and those of the code; raise `InputError` if
        one is missing.
        """

    def execution(self, calculation: Calculation) -> dict[str, Any]:
        """Return execution settings beside those of the campaign; they enter no id."""

    def lines(self) -> list[str]:
        """Return a summary for `sodiate plan`, a line for each entry."""

    def by_hand(self, calculation: Calculation) -> Mapping[str, str]:
        """Return the keys of a calculation's protocol that entries override, and of each the entry's name."""

    def refuse_unmatched(self) -> None:
        """Raise `InputError` for entries that match no calculation; called after `protocol` was for each."""


class FinishedRun(Protocol):
    """A finished run of a code that the user made outside sodiate, read by its engine."""

    @property
    def atoms(self) -> Atoms:
        """Start geometry."""

    @property
    def kinds(self) -> frozenset[str]:
        """Kinds of calculation that the run can be imported as."""

    @property
    def end(self) -> Atoms:
        """Last geometry, atoms in the order of the start."""

    @property
    def energy_ev(self) -> float:
        """Energy extrapolated to zero smearing."""

    @property
    def method(self) -> Method:
        """What was run."""

    @property
    def sampling(self) -> Sampling:
        """How it was sampled."""

    def lay(self, calculation: Calculation, directory: Path, turns: Sequence[NDArray[np.int64]]) -> list[str]:
        """Copy the run into a prepared directory, as if sodiate had run it there.

        Parameters
        ----------
        calculation, directory
            What it is, and where.
        turns
            Rotations of fractions, shape (3, 3) each, in one of which it may lie (see `start_structures.turns`).

        Returns
        -------
        list of str
            Differences from what sodiate would have run, in words. If there are any, nothing was copied.
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
        Kinds of calculation that it can run.
    protocol_keys
        Protocol keys that act; others are recorded as not applicable and do not enter an id.
    worker_keys
        Model of the keys of a cluster file's or an FWorker's ``env`` that the engine reads, each with a default.
    checkpoint_files
        Names or patterns of the files that a run resumes from, for export.
    inherited_files
        Names of the files that a calculation reads in the directories of its parents, for a job that sees no other
        directory; without one it computes again what it needs.
    input_files, output_files
        Names or patterns of a code's own inputs and outputs in a calculation's directory that may be published with
        its record. No file under a licence (data sets above all) is among them.
    nomad_files
        Names or patterns of the outputs by which the repository NOMAD knows a run of this code, the best first.
    adds_dispersion
        Whether a single point with a dispersion correction takes the energy of its parent ``without``, the same one
        without correction, and adds to it.
    functionals_at_density
        Functionals between which a single point changes at the density of its parent ``density``, the same one that
        is self-consistent with another of them.
    within_1_mev
        Protocol keys with which a single point that starts from the electrons of its parent ``geometry`` ends within
        a meV of where it runs to, and ends sooner; empty if that was not tried. An error bar asks for no more.
    """

    name: str
    physical: bool
    capabilities: frozenset[str]
    protocol_keys: frozenset[str]
    worker_keys: type[Frozen]
    checkpoint_files: tuple[str, ...]
    inherited_files: tuple[str, ...]
    input_files: tuple[str, ...]
    output_files: tuple[str, ...]
    nomad_files: tuple[str, ...]
    adds_dispersion: bool
    functionals_at_density: frozenset[str]
    within_1_mev: Mapping[str, float]

    def check(self, atoms: Atoms) -> None:
        """Raise `Unsupported` if the engine cannot compute these elements."""

    def execution_keys(self, calculation: Calculation) -> frozenset[str]:
        """Return the execution settings that act on a calculation; others are recorded as not applicable."""

    def other_data_sets(self, protocol: Mapping[str, Any], elements: Sequence[str]) -> dict[str, str]:
        """Return other data sets (``paw``) of the elements for which the code has some, to tell what they change."""

    def declaration(self, campaign: CampaignFile, where: str) -> Declaration:
        """Read the part of a campaign that is for this code; raise `InputError`, beginning with ``where``."""

    def prepare(
        self, calculation: Calculation, atoms: Atoms | None, directory: Path, parents: Mapping[str, Artefacts]
    ) -> None:
        """Write readable inputs into ``directory``; keep the files that a launch resumes from.

        ``atoms`` is the start geometry, None for a calculation without one.
        """

    def run(self, directory: Path, limits: Limits, stop: Stop) -> None:
        """Run the code, or resume from its checkpoint; raise `Stopped` if asked to stop before it is done."""

    def collect(self, directory: Path) -> Outcome:
        """Parse and validate the outputs; raise `Unconverged` if a criterion was not met."""

    def progress(self, directory: Path) -> Progress | None:
        """Return how far a run is, or came; None if only the trajectory says it, and that is sodiate's own.

        It is called while the code writes its files: what is not whole yet does not count, and is no error.
        """

    def cores(self, directory: Path) -> int | None:
        """Return on how many cores the last launch in a directory ran; None if its outputs do not say."""

    def demand(self, calculation: Calculation) -> Demand:
        """Return what a calculation asks of a machine, so that several can run side by side."""

    def preload(self) -> None:
        """Import what `prepare`, `run` and `collect` import late, once for all worker processes of a run."""

    def adopt(self, folder: Path) -> FinishedRun:
        """Read a run of this code that the user made; raise `EngineError` if it cannot be read."""

    def protocol_of(self, runs: Mapping[str, Sequence[FinishedRun]]) -> dict[str, Any]:
        """Return the keys of a campaign that say how runs were run: ``protocol``, and what is for this code alone.

        Parameters
        ----------
        runs
            By kind of calculation; of one method, the hosts first. Each kind but ``relax`` has a section of its own.

        Raises
        ------
        EngineError
            If a campaign cannot say it; the message names the folder.
        """

    def description(self, records: Sequence[Record]) -> CodeDescription:
        """Return how a manuscript names the code behind some records, and its data."""

    def diagnose(self) -> list[Finding]:
        """Return what of the code is there on this machine, and of what lacks what to do; within seconds."""


class PlainDeclaration:
    """The declaration of a code that reads only the common keys of a campaign."""

    def protocol(self, calculation: Calculation) -> dict[str, Any]:
        """Return the common keys."""
        return dict(calculation.protocol)

    def execution(self, calculation: Calculation) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def lines(self) -> list[str]:
        """Return nothing."""
        return []

    def by_hand(self, calculation: Calculation) -> Mapping[str, str]:
        """Return nothing."""
        return {}

    def refuse_unmatched(self) -> None:
        """Refuse nothing."""


class PlainEngine:
    """Defaults for the optional hooks of the contract, for engines to inherit.

    Parameters
    ----------
    settings
        Settings of how numbers are reached.
    """

    name = ""
    worker_keys: type[Frozen] = Frozen
    checkpoint_files: tuple[str, ...] = ()
    inherited_files: tuple[str, ...] = ()
    input_files: tuple[str, ...] = ()
    output_files: tuple[str, ...] = ()
    nomad_files: tuple[str, ...] = ()
    adds_dispersion = False
    functionals_at_density: frozenset[str] = frozenset()
    within_1_mev: Mapping[str, float] = {}

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def execution_keys(self, calculation: Calculation) -> frozenset[str]:
        """Return an empty set: no setting acts."""
        return frozenset()

    def other_data_sets(self, protocol: Mapping[str, Any], elements: Sequence[str]) -> dict[str, str]:
        """Return nothing."""
        return {}

    def declaration(self, campaign: CampaignFile, where: str) -> Declaration:
        """Return a declaration without keys of its own."""
        return PlainDeclaration()

    def progress(self, directory: Path) -> Progress | None:
        """Return None."""
        return None

    def cores(self, directory: Path) -> int | None:
        """Return None: not known."""
        return None

    def demand(self, calculation: Calculation) -> Demand:
        """Return the whole machine: one calculation at a time."""
        return Demand()

    def preload(self) -> None:
        """Import nothing."""

    def adopt(self, folder: Path) -> FinishedRun:
        """Raise `Unsupported`."""
        raise Unsupported(f"{folder}: runs of the engine {self.name} cannot be imported.")

    def protocol_of(self, runs: Mapping[str, Sequence[FinishedRun]]) -> dict[str, Any]:
        """Raise `Unsupported`."""
        raise Unsupported(f"runs of the engine {self.name} cannot be imported.")

    def description(self, records: Sequence[Record]) -> CodeDescription:
        """Return the engine's name."""
        return CodeDescription(self.name)

    def diagnose(self) -> list[Finding]:
        """Return nothing: all that it needs is in its package."""
        return []
