"""The dry run: a whole campaign with an unphysical potential, as a rehearsal that takes minutes.

Energies are those of `sodiate.workflows.engines.emt.potential`, bands and DOS those of
`sodiate.workflows.engines.emt.tight_binding`. Everything runs in this process; the cell is fixed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ....analysis.records import Geometry, Method, Sampling
from ...kinds import KINDS
from ...stop import Stop
from ..base import (
    Artefacts,
    Demand,
    Engine,
    EngineError,
    Limits,
    Outcome,
    PlainDeclaration,
    PlainEngine,
    Progress,
    Settings,
)
from ..shared.checks import BFGS_KEYS, bfgs_settings, check_forces, check_kind, is_done, number
from ..shared.files import DAMAGE, TRAJECTORY, exact_xyz, read_json, write_bytes, write_json
from ..shared.path_task import TAPE, PathTask
from ..shared.vibrations import VIBRATIONS_TAPE, VibrationTask
from .job import INPUT, RESULT, START, EmtInputs, EmtResult
from .parameters import load_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ase import Atoms

    from ...calculation import Calculation
    from ...campaign.campaign_file import CampaignFile

_NEEDED = {
    "relax": ("max_force_ev_per_a",),
    "path": ("max_force_ev_per_a",),
    "dos": ("kpoint_length_a", "dos_broadening_ev"),
    "bands": ("kpoint_length_a", "band_points"),
}

_BROKEN = 1.4
"""A bond between a metal and a chalcogen is broken if it grew by more than this factor."""


class EmtDeclaration(PlainDeclaration):
    """The keys that act on a dry run: those of its potential's forces, and of its model of electrons."""

    def protocol(self, calculation: Calculation) -> dict[str, Any]:
        """Return the common keys; no key acts on a single point."""
        return {} if calculation.kind == "static" else super().protocol(calculation)


class EmtEngine(PlainEngine):
    """The dry run behind the protocol `sodiate.workflows.engines.base.Engine`.

    Parameters
    ----------
    settings
        ``execution`` holds, for a relaxation, ``optimizer`` (``bfgs``), ``max_steps`` and ``max_step_a`` (Å).
    """

    name = "emt"
    physical = False
    capabilities = frozenset({"relax", "static", "path", "vibrations", "atom", "bulk", "dos", "bands"})
    protocol_keys = frozenset({"max_force_ev_per_a", "kpoint_length_a", "dos_broadening_ev", "band_points"})
    checkpoint_files: tuple[str, ...] = (TRAJECTORY, TAPE, VIBRATIONS_TAPE)

    def check(self, atoms: Atoms) -> None:
        """Refuse nothing: each element is played, by EMT or by pairs."""

    def declaration(self, campaign: CampaignFile, where: str) -> EmtDeclaration:
        """Return which keys act on which kind."""
        return EmtDeclaration()

    def execution_keys(self, calculation: Calculation) -> frozenset[str]:
        """Return those of BFGS for a relaxation or a path, none otherwise."""
        return BFGS_KEYS if KINDS[calculation.kind].moves else frozenset()

    def prepare(
        self, calculation: Calculation, atoms: Atoms | None, directory: Path, parents: Mapping[str, Artefacts]
    ) -> None:
        """Write the geometry and the settings; keep the files of earlier launches.

        Parameters
        ----------
        calculation
            What to compute; its kind must be one of ``capabilities``.
        atoms
            Start geometry.
        directory
            Created if necessary.
        parents
            The two ends of a path, the relaxation of what vibrates; otherwise not used.

        Raises
        ------
        Unsupported
            If the dry run lacks the kind or the optimizer.
        EngineError
            If the protocol or the execution settings lack a key.
        """
        kind = calculation.kind
        atoms = check_kind(self, kind, atoms, directory)
        values = {
            "calculation": calculation.id,
            "label": calculation.label,
            "kind": kind,
            "protocol": {
                key: number(calculation.protocol, key, f"{directory}: the protocol of kind {kind}")
                for key in _NEEDED.get(kind, ())
            },
            "execution": bfgs_settings(self.settings.execution, self.name, directory) if KINDS[kind].moves else {},
        }
        directory.mkdir(parents=True, exist_ok=True)
        if KINDS[kind].searches:
            PathTask.of(calculation, parents, directory).write(directory)
        if KINDS[kind].displaces:
            VibrationTask.of(calculation, atoms, parents).write(directory)
        write_bytes(directory / START, exact_xyz(atoms).encode())
        write_json(directory / INPUT, values)

    def run(self, directory: Path, limits: Limits, stop: Stop) -> None:
        """Run the calculation in ``directory``, or resume from its checkpoint; do nothing if it is done.

        Raises
        ------
        Stopped
            When asked to stop or out of time; run again to resume.
        EngineError
            If an input cannot be read, or energies or forces are not finite.
        """
        inputs = EmtInputs.read(directory)
        if is_done(lambda: _check_converged(EmtResult.read(inputs), inputs), directory / RESULT, stop):
            return
        from threadpoolctl import threadpool_limits

        # More threads only slow down matrices of this size, and their number would change the last bits.
        with threadpool_limits(1):
            EmtResult.compute(inputs, limits, stop).write(directory)

    def progress(self, directory: Path) -> Progress | None:
        """Return the last step of a relaxation, or force call of a path."""
        from ..shared.trajectory import steps_so_far

        try:
            criterion = read_json(directory / INPUT)["protocol"].get("max_force_ev_per_a")
        except DAMAGE:
            return None
        found = steps_so_far(directory / TRAJECTORY, "", criterion)
        found = found or steps_so_far(directory / TAPE, "path", criterion)
        return found or steps_so_far(directory / VIBRATIONS_TAPE, "vibrations")

    def collect(self, directory: Path) -> Outcome:
        """Parse and check the outputs of `run`.

        Raises
        ------
        Unconverged
            If the forces are not below the criterion; nothing may be recorded.
        EngineError
            If an output is missing, truncated or of other inputs, or if a bond broke.
        """
        inputs = EmtInputs.read(directory)
        result = EmtResult.read(inputs)
        _check_intact(inputs, result)
        _check_converged(result, inputs)
        atoms = inputs.atoms.copy()
        atoms.positions = result.positions_a
        return Outcome(
            atoms=atoms,
            energy_ev=result.energy_ev,
            free_energy_ev=result.energy_ev,
            forces_ev_per_a=result.forces_ev_per_a,
            converged=True,
            method=Method(engine=self.name, engine_version=result.versions["emt_parameters"].split(".")[0]),
            sampling=Sampling(cell_a=Geometry.of(atoms).cell_a, kmesh=result.kmesh),
            versions=result.versions,
            ionic_steps=result.steps if KINDS[inputs.kind].moves or KINDS[inputs.kind].displaces else None,
            bands=result.bands,
            dos=result.dos,
            trajectory=result.trajectory,
            path=result.path,
            vibrations=result.vibrations,
            notes=result.notes,
        )

    def demand(self, calculation: Calculation) -> Demand:
        """Return a single core and next to no memory."""
        return Demand(ranks=(1,))

    def preload(self) -> None:
        """Import the potential, the electrons and what moves atoms."""
        import threadpoolctl  # noqa: F401

        from ....structures import geometry  # noqa: F401
        from ..shared import bfgs, relax  # noqa: F401
        from . import potential, tight_binding  # noqa: F401


def _check_converged(result: EmtResult, inputs: EmtInputs) -> None:
    if KINDS[inputs.kind].moves:
        criterion, limit = inputs.protocol["max_force_ev_per_a"], inputs.execution["max_steps"]
        check_forces(result.forces_ev_per_a, criterion, result.steps, limit, inputs.directory)


def _check_intact(inputs: EmtInputs, result: EmtResult) -> None:
    """Raise `EngineError` if a relaxation broke a bond of its start geometry.

    Bonds are those between a metal and a chalcogen, and of elements without a role those among themselves and with
    such metals.
    """
    from ....structures.geometry import bond_reach

    parameters = load_parameters()
    roles = [parameters.role_of.get(symbol) for symbol in inputs.atoms.get_chemical_symbols()]
    metal = np.array([role == "W" for role in roles])
    chalcogen = np.array([role in ("S", "Se") for role in roles])
    other = np.array([role is None for role in roles])
    final = inputs.atoms.copy()
    final.positions = result.positions_a
    before, after = (atoms.get_all_distances(mic=True) for atoms in (inputs.atoms, final))
    numbers = inputs.atoms.numbers
    pairs = np.outer(metal, chalcogen | other) | np.outer(other, other)
    bonded = pairs & (before > 0.0) & (before < bond_reach(numbers[:, None], numbers[None, :]))
    broken = np.argwhere(bonded & (after > _BROKEN * before))
    if len(broken):
        i, j = broken[0]
        symbols = inputs.atoms.symbols
        raise EngineError(
            f"{inputs.directory}: the relaxation tore {len(broken)} bond(s), the first {symbols[i]} {i}–{symbols[j]} "
            f"{j} from {before[i, j]:.2f} to {after[i, j]:.2f} Å; check the start geometry in {START} there."
        )


# mypy checks the class against the contract here.
_contract: Callable[[Settings], Engine] = EmtEngine
