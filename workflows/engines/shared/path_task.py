"""A path as engines have it on disk: its relaxed ends, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ....analysis.energies.comparability import check_method, check_sampling
from ....analysis.records import Geometry, digest
from ....errors import SodiateError
from ....structures.paths import Mirror, left_the_sheet
from ....structures.sites import MOVED
from ...start_structures import path_ends
from ..base import EngineError
from .files import DAMAGE, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from ...calculation import Calculation
    from ..base import Artefacts

    Floats = NDArray[np.float64]

TASK = "path.json"
TAPE = "path.jsonl"
COARSE_TAPE = "path-coarse.jsonl"

SADDLE = "the saddle"
"""Name of the image that climbs alone."""

_SHELL_A = 0.5
"""Atoms nearer to an adsorbate than its nearest one and this are its neighbours."""


@dataclass(frozen=True)
class PathTask:
    """What is searched.

    Attributes
    ----------
    start, end
        The relaxed ends, atoms in one order and not wrapped.
    energies_ev
        Of both ends; None where they were computed with other settings.
    forces_ev_per_a
        On both ends, shape (2, atoms, 3).
    mirror
        The operation that exchanges the ends of a symmetric path.
    images
        Number of images between the ends.
    moved
        Atoms that the modes are of: the adsorbate and its neighbours; nothing where none are asked for.
    """

    start: Atoms
    end: Atoms
    energies_ev: tuple[float, float] | None
    forces_ev_per_a: Floats
    mirror: Mirror | None
    images: int
    moved: tuple[int, ...] = ()

    @classmethod
    def of(cls, calculation: Calculation, parents: Mapping[str, Artefacts], directory: Path) -> PathTask:
        """Return the path of a calculation between the relaxed sites that its parents recorded.

        Raises
        ------
        EngineError
            If both are in one place, or were computed in ways that cannot be compared.
        """
        records = [parents[role].record for role in ("geometry", "end")]
        try:
            check_method(*records)
            check_sampling(*records)
            geometries = [record.geometry for record in records]
            assert geometries[0] is not None
            assert geometries[1] is not None  # relaxations have geometries
            ends = path_ends(calculation, geometries[0].atoms(), geometries[1].atoms())
        except SodiateError as error:
            raise EngineError(f"{directory}: {error}.") from None
        energies = [record.free_energy_ev for record in records]
        forces = [np.array(record.forces_ev_per_a or np.zeros((len(ends.start), 3))) for record in records]
        return cls(
            start=ends.start,
            end=ends.end,
            energies_ev=None if None in energies else tuple(map(float, energies)),  # type: ignore[arg-type]
            forces_ev_per_a=np.array([forces[0], ends.turn.vectors(forces[1])]),
            mirror=ends.mirror,
            images=int(calculation.structure["images"]),
            moved=_near_adsorbate(ends.start) if calculation.structure.get("modes") else (),
        )

    def write(self, directory: Path) -> None:
        """Write it into a directory."""
        mirror = self.mirror
        values = {
            "start": Geometry.of(self.start).model_dump(mode="json"),
            "end": Geometry.of(self.end).model_dump(mode="json"),
            "energies_ev": self.energies_ev,
            "forces_ev_per_a": self.forces_ev_per_a.tolist(),
            "mirror": None
            if mirror is None
            else {"order": mirror.order.tolist(), "matrix": mirror.matrix.tolist(), "shifts": mirror.shifts.tolist()},
            "images": self.images,
            "moved": self.moved,
        }
        write_json(directory / TASK, values)

    @classmethod
    def read(cls, directory: Path) -> PathTask:
        """Read what `write` wrote; raise `EngineError` if it is damaged."""
        try:
            values = read_json(directory / TASK)
            mirror = values["mirror"]
            arrays = None if mirror is None else {key: np.array(value) for key, value in mirror.items()}
            start, end = (Geometry.model_validate(values[key]).atoms() for key in ("start", "end"))
            return cls(
                start=start,
                end=end,
                energies_ev=None if values["energies_ev"] is None else tuple(values["energies_ev"]),
                forces_ev_per_a=np.array(values["forces_ev_per_a"]),
                mirror=None if arrays is None else Mirror(**arrays),
                images=values["images"],
                moved=tuple(values["moved"]),
            )
        except DAMAGE as error:
            raise EngineError(f"{directory / TASK} cannot be read ({error}); prepare it again.") from None

    def with_other_settings(self) -> PathTask:
        """Return the same path for settings with which its ends were not computed, without modes."""
        return replace(self, energies_ev=None, moved=())

    def part(self, start: Atoms, end: Atoms) -> PathTask:
        """Return a part of the path between two geometries with energies and forces, without modes."""
        energies = (float(start.get_potential_energy()), float(end.get_potential_energy()))
        forces = np.array([start.get_forces(), end.get_forces()])
        return PathTask(start, end, energies, forces, None, self.images)

    def check(self, atoms: Atoms, what: str) -> None:
        """Raise `EngineError` for an image whose adsorbate left the sheet, or whose sheet came apart."""
        what = f"{what} of the path"
        distance = left_the_sheet(atoms)
        if distance is not None:
            raise EngineError(
                f"{what} left the sheet: its adsorbate is {distance:.1f} Å from the nearest atom. There is no path "
                "on the sheet between these two sites; choose others in barrier.paths."
            )
        ends = [self.start.positions[:-1], self.end.positions[:-1]]
        moved = np.min([np.linalg.norm(atoms.positions[:-1] - end, axis=1) for end in ends], axis=0)
        if moved.max() > MOVED:
            index = int(moved.argmax())
            raise EngineError(
                f"{what} has another sheet than its ends: {atoms.symbols[index]} {index} moved by "
                f"{moved.max():.1f} Å. The way between these two sites is barred; choose others in barrier.paths."
            )

    @property
    def key(self) -> str:
        """Hash of what the path follows from."""
        ends = [Geometry.of(atoms).model_dump(mode="json") for atoms in (self.start, self.end)]
        return digest([ends, self.images, list(self.moved), self.mirror is not None])

    def symmetrise(self, band: Sequence[Atoms]) -> None:
        """Give the second half of a symmetric band the mirrored positions of the first."""
        if self.mirror is None:
            return
        for number in range(len(band) // 2):
            band[-1 - number].positions = self.mirror.positions(band[number].positions)
        if len(band) % 2:
            middle = band[len(band) // 2]
            middle.positions = (middle.positions + self.mirror.positions(middle.positions)) / 2


def _near_adsorbate(atoms: Atoms) -> tuple[int, ...]:
    """Return the adsorbate, which is the last atom, and its nearest neighbours, in the order of the atoms."""
    distances = atoms.get_distances(len(atoms) - 1, range(len(atoms) - 1), mic=True)
    near = np.flatnonzero(distances < distances.min() + _SHELL_A)
    return (*near.tolist(), len(atoms) - 1)
