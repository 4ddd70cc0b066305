"""The band of a path as VASP's own chain of images (``IMAGES``): one run, whose ranks are divided among the images.

The chain tells where the images lie, nothing else: OUTCAR has forces of the chain in place of those of the atoms.
What is recorded, and by which forces the band is judged, comes from single points at the images.
"""

from __future__ import annotations

import re
import shlex
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from custodian.vasp.handlers import FrozenJobErrorHandler

from ....analysis.records import Geometry, digest
from ..base import EngineError, Stopped
from ..shared.files import DAMAGE, read_json, tail, write_json
from ..shared.machine import oom_kills
from ..shared.path_search import LOOSE_EV_PER_A
from ..shared.processes import locked
from .handlers import FROZEN_S, Ending, Seldom, TimeHandler, VaspRun, VaspStopHandler
from .inputs import VaspInputs, write_incar, write_poscar
from .launch import error_of, is_torn, is_whole, run_custodian
from .tags import CHAIN, Tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from ...stop import Stop
    from ..base import Limits

    Floats = NDArray[np.float64]

_STATE = "chain.json"

_LARGE = ("WAVECAR", "CHGCAR", "CHG")

_OUTPUTS = ("OSZICAR", "OUTCAR")

_TAIL_BYTES = 100_000

_LEAST_S = 1.0
"""With less time left, no run is started."""

_SPRING_EV_PER_A2 = -5
"""VASP's own; negative: along the band alone."""

_MOVE, _STEP = 1, 0.1
"""IBRION and POTIM of a chain: conjugate gradients (2) need an energy, which a chain does not have."""


@dataclass(frozen=True)
class _State:
    """How far a chain is: finished stages, whether it ended below its criterion, where its images ended."""

    key: str
    stage: int = 0
    converged: bool = False
    positions_a: tuple[Any, ...] = ()

    @classmethod
    def read(cls, folder: Path, key: str) -> _State | None:
        """Return what `write` wrote; None if it is missing, damaged or of other inputs."""
        with suppress(*DAMAGE, TypeError):
            values = read_json(folder / _STATE)
            if values["key"] == key:
                return cls(**values)
        return None

    def write(self, folder: Path) -> None:
        write_json(folder / _STATE, asdict(self))


@dataclass(frozen=True)
class Chain:
    """A chain of images in a folder, in which a static calculation was prepared.

    Attributes
    ----------
    folder
        Has the inputs that all images share; those of each are in ``00``, ``01`` … below it.
    command
        Of VASP.
    tags
        The user's, those of the chain among them.
    max_force_ev_per_a, max_steps
        Of the search.
    """

    folder: Path
    command: str
    tags: Mapping[str, Any]
    max_force_ev_per_a: float
    max_steps: int

    def relaxed(self, band: Sequence[Atoms], limits: Limits, stop: Stop) -> tuple[list[Floats], tuple[str, ...]]:
        """Relax a band, or go on where a launch before ended.

        Parameters
        ----------
        band
            Its first images, the ends among them.
        limits, stop
            Of this launch.

        Returns
        -------
        list of array
            Positions of all images (Å), those of the ends as they were.
        tuple of str
            What is to be noted.

        Raises
        ------
        Stopped
            When asked to stop or out of time.
        EngineError
            If VASP failed.
        """
        inputs = VaspInputs.read(self.folder)
        key = digest([inputs.key, [Geometry.of(atoms).model_dump(mode="json") for atoms in band]])
        end = None if limits.wall_time_s is None else time.monotonic() + limits.wall_time_s
        with locked(self.folder) as lock:
            state = _State.read(self.folder, key)
            if state is None:
                self._begin(inputs, band)
                state = _State(key)
                state.write(self.folder)
            while state.stage < len(inputs.stages):
                left = None if end is None else end - time.monotonic()
                if left is not None and left < _LEAST_S:
                    raise Stopped(f"{self.folder}: its wall time is nearly over; run it again to resume.")
                state = self._stage(inputs, band, state, Ending(stop, left), lock)
                state.write(self.folder)
        note = (
            f"the chain of images was not below {self._limit:g} eV/Å when it ended; its band went on by single points"
        )
        return [np.array(rows) for rows in state.positions_a], () if state.converged else (note,)

    @property
    def _limit(self) -> float:
        """The force on the chain at which it ends: that of the saddle only if an image climbs."""
        return self.max_force_ev_per_a if self.tags.get("LCLIMB") else max(LOOSE_EV_PER_A, self.max_force_ev_per_a)

    def _images(self, band: Sequence[Atoms]) -> list[Path]:
        """Return the folders of the images between the ends."""
        return [self.folder / f"{number:02d}" for number in range(1, len(band) - 1)]

    def _begin(self, inputs: VaspInputs, band: Sequence[Atoms]) -> None:
        """Write the images, and drop what a chain of other inputs left."""
        for number, atoms in enumerate(band):
            folder = self.folder / f"{number:02d}"
            folder.mkdir(exist_ok=True)
            for path in folder.iterdir():
                path.unlink()
            write_poscar(folder, atoms[list(inputs.order)])

    def _stage(self, inputs: VaspInputs, band: Sequence[Atoms], state: _State, ending: Ending, lock: int) -> _State:
        """Run a stage, all but the last one without a step; return the state after it."""
        images, last = self._images(band), state.stage == len(inputs.stages) - 1
        for folder, atoms in zip(images, band[1:-1], strict=True):
            _resume(folder, inputs, atoms, keep=last)
        taken = min(_steps(folder) for folder in images) if last else 0
        if taken >= self.max_steps:
            return self._ended(inputs, band, state, converged=False)
        write_incar(self.folder, self._incar(inputs.stages[state.stage], len(images), self.max_steps - taken, last))
        job = VaspRun(shlex.split(self.command), lock)
        oom_before = oom_kills()
        watchers = [_StopImages(ending, images), Seldom(FrozenJobErrorHandler(timeout=FROZEN_S), job)]
        if ending.wall_time_s is not None:
            watchers.append(Seldom(_TimeOfImages(ending, images), job))
        log, failure = run_custodian(self.folder, job, watchers)
        for folder in (self.folder, *images):
            (folder / "STOPCAR").unlink(missing_ok=True)
        texts = [tail(folder / "OUTCAR", _TAIL_BYTES) for folder in images]
        converged = not last or all(b"reached required accuracy" in text for text in texts)
        whole = all(b"General timing and accounting" in text for text in texts)
        if ending.requested and not (whole and converged):
            raise Stopped(f"{self.folder}: stopped: {ending.reason}; run it again to resume from its last step.")
        if not whole:
            raise error_of(inputs, self.command, log, job, oom_before) from failure
        if last:
            return self._ended(inputs, band, state, converged)
        for folder in images:
            _resume(folder, inputs, band[0], keep=False)
        return replace(state, stage=state.stage + 1)

    def _incar(self, stage: Tags, images: int, steps: int, last: bool) -> Tags:
        own: Tags = {"IMAGES": images}
        if last:
            own |= {"SPRING": _SPRING_EV_PER_A2, "NSW": steps, "EDIFFG": -self._limit, "ISIF": 2}
            own |= {"IBRION": self.tags.get("IBRION", _MOVE), "POTIM": self.tags.get("POTIM", _STEP)}
            own |= {tag: value for tag, value in self.tags.items() if tag in CHAIN}
        return {**stage, **own}

    def _ended(self, inputs: VaspInputs, band: Sequence[Atoms], state: _State, converged: bool) -> _State:
        """Return the state of a chain that has ended, with the positions of its images; drop their large files."""
        folders, positions = self._images(band), [atoms.positions.tolist() for atoms in band]
        for number, (folder, atoms) in enumerate(zip(folders, band[1:-1], strict=True), start=1):
            positions[number] = _positions(folder, inputs, atoms).tolist()
            for name in _LARGE:
                (folder / name).unlink(missing_ok=True)
        return replace(state, stage=len(inputs.stages), converged=converged, positions_a=tuple(positions))


def _resume(folder: Path, inputs: VaspInputs, first: Atoms, keep: bool) -> None:
    """Put an image where its last whole step left it, and the outputs of the launch before aside, or away."""
    if keep and is_whole(folder / "CONTCAR", len(first)):
        atoms = first.copy()
        atoms.positions = _positions(folder, inputs, first)
        write_poscar(folder, atoms[list(inputs.order)])
    launch = len(list(folder.glob("OSZICAR.*"))) + 1
    for path in (folder / name for name in _OUTPUTS):
        if path.exists() and keep:
            path.rename(path.with_name(f"{path.name}.{launch}"))
        else:
            path.unlink(missing_ok=True)
    if is_torn(folder / "WAVECAR"):
        (folder / "WAVECAR").unlink()


def _steps(folder: Path) -> int:
    """Count the ionic steps of an image in all launches."""
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("OSZICAR*")]
    return sum(len(re.findall(r"^\s*\d+ F=", text, flags=re.MULTILINE)) for text in texts)


def _positions(folder: Path, inputs: VaspInputs, first: Atoms) -> Floats:
    """Return where an image ended (Å), in our order, in the copy of the cell in which it began."""
    from pymatgen.io.vasp.inputs import Poscar

    name = "CONTCAR" if is_whole(folder / "CONTCAR", len(first)) else "POSCAR"
    try:
        structure = Poscar.from_str((folder / name).read_text(encoding="utf-8")).structure
    except (*DAMAGE, AssertionError) as error:
        raise EngineError(f"{folder / name} cannot be read ({error}); run the calculation again.") from None
    away = inputs.ours(structure.frac_coords) - first.get_scaled_positions(wrap=False)
    moved: Floats = first.positions + (away - np.round(away)) @ first.cell.array
    return moved


class _StopImages(VaspStopHandler):
    """Asks the images to end, too: it depends on the version which of the files VASP reads."""

    def __init__(self, ending: Ending, images: Sequence[Path]) -> None:
        super().__init__(ending)
        self.images = images

    def check(self, directory: str = "./") -> bool:
        """Write STOPCAR when asked to end; tell whether VASP had its time."""
        said = self.said
        over = super().check(directory)
        if self.said != said:
            for folder in self.images:
                (folder / "STOPCAR").write_text(self.said, encoding="utf-8")
        return over


class _TimeOfImages(TimeHandler):
    """Asks the images to end when the time is nearly over."""

    def __init__(self, ending: Ending, images: Sequence[Path]) -> None:
        super().__init__(ending)
        self.images = images

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Write STOPCAR."""
        corrected = super().correct(directory)
        for folder in self.images:
            (folder / "STOPCAR").write_text("LSTOP = .TRUE.\n", encoding="utf-8")
        return corrected
