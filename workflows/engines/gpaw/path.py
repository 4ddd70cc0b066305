"""Force calls with GPAW, of a path or of vibrations: a calculator for each image, which goes on from its density."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpaw.new.symmetry import SymmetryBrokenError

from ...stop import Stop
from ..base import Limits
from ..shared.path_search import Search, refined, search, with_modes
from ..shared.path_task import COARSE_TAPE, SADDLE, TAPE, PathTask
from ..shared.relax import Clock, Ranks
from ..shared.tape import Tape
from ..shared.trajectory import Checkpoint, Step
from ..shared.vibrations import THE_SITE, VIBRATIONS_TAPE, VibrationTask, second_derivatives
from .electrons import CalculatorFactory, write_density
from .inputs import PARENT_DENSITY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ase import Atoms

    from ....analysis.arrays import SecondDerivatives
    from ..shared.path_search import Found
    from .inputs import GpawInputs


class PathCalculators:
    """The calculators of a search: one for each image, which goes on from the density of its last step.

    Its density is also on disk, for the launch after a kill.

    Parameters
    ----------
    inputs, stem
        Of the run, and how the files of its densities begin.
    factory
        Makes calculators.
    ranks
        The processes that do this together.
    """

    def __init__(self, inputs: GpawInputs, stem: str, factory: CalculatorFactory, ranks: Ranks) -> None:
        self._inputs, self._stem, self._factory, self._ranks = inputs, stem, factory, ranks
        self._made: dict[str, Any] = {}
        self._moments = inputs.atoms.get_initial_magnetic_moments() if inputs.calculator["spinpol"] else None

    def step(self, atoms: Atoms, image: str, number: int) -> Step:
        """Compute energy and forces of an image, and keep its density."""
        place = atoms.copy()
        place.set_initial_magnetic_moments(self._moments)
        path = self._path(image)
        if image not in self._made:
            self._made[image] = self._start(path)
        try:
            place.calc = self._made[image]
            step = Step.of(place, number, self._inputs.directory)
        except SymmetryBrokenError:  # k points are those of a geometry that was more symmetric
            place.calc = self._made[image] = self._factory.new()
            step = Step.of(place, number, self._inputs.directory)
        write_density(self._made[image], path, self._ranks)
        return step

    def _path(self, image: str) -> Path:
        return self._inputs.directory / f"{self._stem}-{image.replace(' ', '-')}-0.gpw"

    def _start(self, path: Path) -> Any:
        """Return a calculator with the density of an image, or of the relaxation; otherwise a new one."""
        for density in (path, self._inputs.directory / PARENT_DENSITY):
            started = self._factory.from_density(density)
            if started is not None:
                return started
        return self._factory.new()

    def at(self, atoms: Atoms, image: str) -> Any:
        """Return the calculator of an image, or one that starts from its density."""
        atoms.set_initial_magnetic_moments(self._moments)
        return self._made.get(image) or self._start(self._path(image))


def searched(
    inputs: GpawInputs, ranks: Ranks, add_to: Callable[[Any], Any], text: Callable[[], str]
) -> tuple[Found, Any]:
    """Find the saddle, first with the coarse settings if there are any; ``inputs.atoms`` are then at it.

    Returns
    -------
    Found
        The saddle and the path.
    calculator
        Of the saddle.
    """
    task, execution = PathTask.read(inputs.directory), inputs.execution

    def of(settings: dict[str, Any], name: str, what: PathTask) -> tuple[Tape, PathCalculators]:
        calculators = PathCalculators(
            inputs, name.partition(".")[0], CalculatorFactory(settings, add_to, text), ranks
        )
        checkpoint = Checkpoint(inputs.directory, inputs.key, name)
        return Tape(what, checkpoint, calculators.step, Clock(inputs.directory, Limits(), Stop()), ranks), calculators

    def limits(max_force_ev_per_a: float) -> Search:
        return Search(max_force_ev_per_a, execution["max_steps"], execution["max_step_a"])

    real = limits(inputs.protocol["max_force_ev_per_a"])
    tape, calculators = of(inputs.calculator, TAPE, task)
    coarse = execution.get("coarse")
    if coarse is None:
        found = search(task, real, tape)
    else:
        cheap, first = limits(coarse["max_force_ev_per_a"]), task.with_other_settings()
        rough, _ = of(coarse["calculator"], COARSE_TAPE, first)
        found = with_modes(refined(cheap.saddle(first, rough), task, real, tape), task, tape)
    inputs.atoms.positions = found.path.positions_a[found.path.saddle]
    return found, calculators.at(inputs.atoms, SADDLE)


def displaced(
    inputs: GpawInputs, ranks: Ranks, add_to: Callable[[Any], Any], text: Callable[[], str]
) -> tuple[SecondDerivatives, int, Any]:
    """Compute the second derivatives at ``inputs.atoms``.

    Returns
    -------
    SecondDerivatives
        Of the energy.
    calls
        Force calls of all launches.
    calculator
        Of the atoms at rest.
    """
    task, name = VibrationTask.read(inputs.directory), VIBRATIONS_TAPE
    calculators = PathCalculators(
        inputs, name.partition(".")[0], CalculatorFactory(inputs.calculator, add_to, text), ranks
    )
    checkpoint = Checkpoint(inputs.directory, inputs.key, name)
    tape = Tape(task, checkpoint, calculators.step, Clock(inputs.directory, Limits(), Stop()), ranks)
    found = second_derivatives(task, tape)
    return found, tape.calls, calculators.at(inputs.atoms, THE_SITE)
