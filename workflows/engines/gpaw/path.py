"""Force calls with GPAW, of a path or of vibrations: a calculator for each image, which goes on from its density."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gpaw.new.symmetry import SymmetryBrokenError
from gpaw.utilities import compiled_with_sl

from ...stop import Stop
from ..base import Limits
from ..shared.path_search import Search, refined, search, with_modes
from ..shared.path_task import COARSE_TAPE, SADDLE, TAPE, PathTask
from ..shared.relax import Clock
from ..shared.side_by_side import Layout, rounds
from ..shared.tape import Call, Tape, keep_ahead
from ..shared.trajectory import Checkpoint, Step
from ..shared.vibrations import THE_SITE, VIBRATIONS_TAPE, VibrationTask, second_derivatives
from .demand import pieces_of
from .electrons import CalculatorFactory, write_density
from .inputs import PARENT_DENSITY
from .ranks import Groups, MpiRanks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase import Atoms

    from ....analysis.arrays import SecondDerivatives
    from ..shared.path_search import Found
    from ..shared.tape import Bounds
    from .inputs import GpawInputs


class How(NamedTuple):
    """How calculators are made beside their settings.

    Attributes
    ----------
    add_to
        Returns a calculator with what is to be added to GPAW's.
    text
        Returns the name of the next text output of ranks, given with the number of their group, or None.
    """

    add_to: Callable[[Any], Any]
    text: Callable[[MpiRanks, int | None], str]


class PathCalculators:
    """The calculators of a search: one for each image, which goes on from the density of its last step.

    Its density is also on disk, for the launch after a kill, and for another group of ranks. Independent force calls
    are computed side by side by groups of ranks, if that ends them sooner.

    Parameters
    ----------
    inputs
        Of the run.
    settings
        Keywords of GPAW's calculator.
    checkpoint
        The tape of the search, whose name begins those of the densities.
    how
        What the worker adds to calculators, and names of their text outputs.
    ranks
        All ranks.
    """

    def __init__(
        self, inputs: GpawInputs, settings: dict[str, Any], checkpoint: Checkpoint, how: How, ranks: MpiRanks
    ) -> None:
        self._inputs, self._settings, self._checkpoint = inputs, settings, checkpoint
        self._how, self._ranks = how, ranks
        self._made: dict[Path, Any] = {}
        self._holders: dict[Path, tuple[Layout, int]] = {}
        self._layouts: dict[Layout, tuple[Groups, CalculatorFactory]] = {}
        self._moments = inputs.atoms.get_initial_magnetic_moments() if inputs.calculator["spinpol"] else None

    def compute(self, calls: Sequence[Call]) -> list[Step]:
        """Compute the first call by all ranks, or the first ones by a group each, whichever ends all calls sooner.

        Each is on disk as soon as its group has it, with its density.
        """
        layout = self._layout(calls)
        groups, factory = self._groups(layout)
        densities: list[Path] = []
        for group, call in enumerate(calls[: layout.calls]):
            copies = [other.image for other in calls[:group]].count(call.image)
            densities.append(self._density(call.image, copies))
            self._hand_over(densities[-1], (layout, group))
        found = None
        if groups.number is not None:
            found = self._step(calls[groups.number], densities[groups.number], factory, groups.mine)
            if groups.mine.writes and layout.calls > 1:
                keep_ahead(self._checkpoint, found)
        return groups.gathered(found)

    def at(self, atoms: Atoms, image: str) -> Any:
        """Return the calculator of an image, or one that starts from its density; None in ranks without a share."""
        atoms.set_initial_magnetic_moments(self._moments)
        layout = self._layout([Call(atoms, image, 0)])
        groups, factory = self._groups(layout)
        density = self._density(image)
        self._hand_over(density, (layout, 0))
        if groups.number is None:
            return None
        return self._made.get(density) or self._start(density, image, factory)

    def _layout(self, calls: Sequence[Call]) -> Layout:
        """Return how the first calls are computed; without ScaLAPACK ranks share k points and spins alone."""
        pieces = pieces_of(self._settings, calls[0].atoms)
        return rounds(len(calls), self._ranks.comm.size, pieces, finer=compiled_with_sl())[0]

    def _groups(self, layout: Layout) -> tuple[Groups, CalculatorFactory]:
        """Return the groups of ranks of a layout, and what makes the calculators of the one that this rank is in."""
        if layout not in self._layouts:
            groups = Groups(layout, self._ranks)
            text = partial(self._how.text, groups.mine, groups.number if layout.calls > 1 else None)
            factory = CalculatorFactory(self._settings, self._how.add_to, text, groups.mine.comm)
            self._layouts[layout] = groups, factory
        return self._layouts[layout]

    def _step(self, call: Call, density: Path, factory: CalculatorFactory, ranks: MpiRanks) -> Step:
        """Compute a call by these ranks, and keep its density in a file."""
        place = call.atoms.copy()
        place.set_initial_magnetic_moments(self._moments)
        if density not in self._made:
            self._made[density] = self._start(density, call.image, factory)
        try:
            place.calc = self._made[density]
            step = Step.of(place, call.number, self._inputs.directory)
        except SymmetryBrokenError:  # k points are those of a geometry that was more symmetric
            place.calc = self._made[density] = factory.new()
            step = Step.of(place, call.number, self._inputs.directory)
        write_density(self._made[density], density, ranks)
        return step

    def _hand_over(self, density: Path, holder: tuple[Layout, int]) -> None:
        """Forget a calculator if another group of ranks goes on from its density; all ranks call this alike."""
        if self._holders.setdefault(density, holder) != holder:
            self._made.pop(density, None)
            self._holders[density] = holder

    def _density(self, image: str, copy: int = 0) -> Path:
        """Return the file with the density of an image, or of one of several copies that are computed at once."""
        name = f"{self._checkpoint.path.stem}-{image.replace(' ', '-')}-{copy}.gpw"
        return self._inputs.directory / name

    def _start(self, density: Path, image: str, factory: CalculatorFactory) -> Any:
        """Return a calculator with the density of an image, or of the relaxation; otherwise a new one."""
        for path in dict.fromkeys((density, self._density(image), self._inputs.directory / PARENT_DENSITY)):
            started = factory.from_density(path)
            if started is not None:
                return started
        return factory.new()


def searched(inputs: GpawInputs, ranks: MpiRanks, how: How) -> tuple[Found, Any]:
    """Find the saddle, first with the coarse settings if there are any; ``inputs.atoms`` are then at it.

    Returns
    -------
    Found
        The saddle and the path.
    calculator
        Of the saddle.
    """
    task, execution = PathTask.read(inputs.directory), inputs.execution

    def limits(max_force_ev_per_a: float) -> Search:
        return Search(max_force_ev_per_a, execution["max_steps"], execution["max_step_a"])

    real = limits(inputs.protocol["max_force_ev_per_a"])
    tape, calculators = _tape(inputs, inputs.calculator, task, TAPE, how, ranks)
    coarse = execution.get("coarse")
    if coarse is None:
        found = search(task, real, tape)
    else:
        cheap, first = limits(coarse["max_force_ev_per_a"]), task.with_other_settings()
        rough, _ = _tape(inputs, coarse["calculator"], first, COARSE_TAPE, how, ranks)
        found = with_modes(refined(cheap.saddle(first, rough), task, real, tape), task, tape)
    inputs.atoms.positions = found.path.positions_a[found.path.saddle]
    return found, calculators.at(inputs.atoms, SADDLE)


def displaced(inputs: GpawInputs, ranks: MpiRanks, how: How) -> tuple[SecondDerivatives, int, Any]:
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
    task = VibrationTask.read(inputs.directory)
    tape, calculators = _tape(inputs, inputs.calculator, task, VIBRATIONS_TAPE, how, ranks)
    found = second_derivatives(task, tape)
    return found, tape.calls, calculators.at(inputs.atoms, THE_SITE)


def _tape(
    inputs: GpawInputs, settings: dict[str, Any], task: Bounds, name: str, how: How, ranks: MpiRanks
) -> tuple[Tape, PathCalculators]:
    checkpoint = Checkpoint(inputs.directory, inputs.key, name)
    calculators = PathCalculators(inputs, settings, checkpoint, how, ranks)
    clock = Clock(inputs.directory, Limits(), Stop())
    return Tape(task, checkpoint, calculators.compute, clock, ranks), calculators
