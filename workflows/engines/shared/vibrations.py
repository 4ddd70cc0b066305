"""Second derivatives at a relaxed geometry by finite differences of forces, for every engine: what is asked, and how.

Every force call is a line of a tape (`tape.Tape`), so that a launch after a kill goes on where it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ....analysis.arrays import SecondDerivatives
from ....analysis.records import Geometry, digest
from ...calculation import GEOMETRY
from ..base import EngineError
from .files import DAMAGE, read_json, write_json
from .states import SAME_STATE_EV
from .tape import hessian

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ase import Atoms

    from ...calculation import Calculation
    from ..base import Artefacts
    from .tape import Tape

VIBRATIONS_TAPE = "vibrations.jsonl"

THE_SITE, DISPLACED = "the site", "displaced"
"""What atoms are computed: at rest, and with one of them displaced."""

_TASK = "vibrations.json"


@dataclass(frozen=True)
class VibrationTask:
    """What vibrates.

    Attributes
    ----------
    atoms
        The relaxed geometry.
    moved
        The atoms that move, the adsorbate, which is the last one, among them.
    energy_ev
        Of the relaxation, that its forces belong to; None where it is not at hand.
    """

    atoms: Atoms
    moved: tuple[int, ...]
    energy_ev: float | None = None

    @classmethod
    def of(cls, calculation: Calculation, atoms: Atoms, parents: Mapping[str, Artefacts]) -> VibrationTask:
        """Return the task of a calculation at its start geometry."""
        radius, relaxed = calculation.structure.get("around_a"), parents.get(GEOMETRY)
        energy = None if relaxed is None else relaxed.record.free_energy_ev
        return cls(atoms, _around(atoms, radius or 0.0), energy)

    def write(self, directory: Path) -> None:
        """Write it into a directory."""
        geometry = Geometry.of(self.atoms).model_dump(mode="json")
        write_json(directory / _TASK, {"atoms": geometry, "moved": self.moved, "energy_ev": self.energy_ev})

    @classmethod
    def read(cls, directory: Path) -> VibrationTask:
        """Read what `write` wrote; raise `EngineError` if it is damaged."""
        try:
            values = read_json(directory / _TASK)
            atoms = Geometry.model_validate(values["atoms"]).atoms()
            return cls(atoms, tuple(values["moved"]), values["energy_ev"])
        except DAMAGE as error:
            raise EngineError(f"{directory / _TASK} cannot be read ({error}); prepare it again.") from None

    @property
    def key(self) -> str:
        """Hash of what the second derivatives follow from."""
        return digest([Geometry.of(self.atoms).model_dump(mode="json"), list(self.moved)])

    def check(self, atoms: Atoms, what: str) -> None:
        """Refuse nothing: displaced atoms are within their displacement."""


def _around(atoms: Atoms, radius_a: float) -> tuple[int, ...]:
    """Return the atoms nearer to the adsorbate than a radius, and the adsorbate, in the order of the atoms."""
    last = len(atoms) - 1
    distances = atoms.get_distances(last, range(last), mic=True)
    return (*np.flatnonzero(distances < radius_a).tolist(), last)


def second_derivatives(task: VibrationTask, tape: Tape) -> SecondDerivatives:
    """Compute the second derivatives.

    Raises
    ------
    EngineError
        If the geometry at rest is in another electronic state than its relaxation.
    Stopped
        When asked to stop, or before the wall time is over.
    """
    rest = tape.step(task.atoms, THE_SITE)
    if task.energy_ev is not None and abs(rest.energy_ev - task.energy_ev) > SAME_STATE_EV:
        raise EngineError(
            f"{tape.checkpoint.directory}: at rest its energy is {rest.energy_ev - task.energy_ev:+.3f} eV from that "
            "of the relaxation: another electronic state, whose forces are others'. Relax the site anew (sodiate "
            "redo), or give it other start moments."
        )
    return SecondDerivatives(np.array(task.moved), hessian(task.atoms, task.moved, tape, DISPLACED))
