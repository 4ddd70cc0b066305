"""The search for the saddle of a path: a short elastic band, then its highest point alone, climbing.

Every force call is a line of a tape (`sodiate.workflows.engines.shared.tape`): the search is a function of the forces
alone. The images of a band do not depend on one another, and an engine may compute them side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.mep import NEB
from ase.mep.neb import idpp_interpolate

from ....analysis.arrays import ReactionPath
from ....analysis.energies.profile import profile_of
from ....structures.paths import ONE_PLACE
from ..base import TooManySteps
from .bfgs import DampedBFGS, powell_weight
from .path_task import SADDLE
from .tape import hessian
from .trajectory import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms
    from numpy.typing import NDArray

    from .path_task import PathTask
    from .tape import Tape

    Floats = NDArray[np.float64]

LOOSE_EV_PER_A = 0.1
"""Force on the images of a band at which its highest point is known well enough."""

_SPRING_EV_PER_A2 = 1.0

_RISE_EV = 0.002
"""A maximum between two images that is higher than the end by less is that end."""

_HIGHER_EV = 0.01
"""A place beside a saddle that is higher by less may be the curve's alone."""

_NEAR = 0.25
"""A maximum nearer to an image than this part of the way to the next one is searched from the image."""

_ION_EV_PER_A2, _HOST_EV_PER_A2 = 8.0, 50.0
"""Initial stiffness of the adsorbate and of an atom of the host."""

_DIP_EV = 0.03
"""A minimum between two maxima of a path that are both higher than it by less may be the curve's alone."""

_SPLITS = 2
"""How often a path is split at minima on its way, and then each part."""

_STRAYED_A = 2.0
"""No first image lies further from the straight line."""

_CURVATURE_EV_PER_A2, _LEAST_CURVATURE = 2.0, 0.3
"""Curvature along a band at its saddle that is expected, and the least that is believed."""

_ALONG_EV_PER_A = 0.02
"""Largest force along the band at a saddle: where the top is flat, at 0.15 eV/Å², it is 1.3 meV too low then."""

_BAND_STEPS = 40
"""Steps in which a band settles, if it does."""

_ALONE_STEPS = 40
"""Steps in which an image alone reaches the saddle, if it does."""


@dataclass(frozen=True)
class Found:
    """The saddle, and the path over it.

    Attributes
    ----------
    path
        Images, the saddle among them.
    step
        Energy and forces of the saddle; None if it is an end of the path, up to which the energy rises all the way.
    calls
        Force calls of all launches.
    notes
        What is odd about the path.
    """

    path: ReactionPath
    step: Step | None
    calls: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Search:
    """The settings of a search: largest force (eV/Å), steps of each of its parts, longest step of an atom (Å)."""

    max_force_ev_per_a: float
    max_steps: int
    max_step_a: float

    def band(self, task: PathTask, tape: Tape, first: Sequence[Floats] | None = None) -> list[Atoms]:
        """Relax a band loosely; return its images, the ends among them, each with its energy and forces.

        ``first`` are the positions of images that something else has relaxed already (Å); they stay.
        """
        band = first_band(task) if first is None else _placed(first, task)
        ends = task.energies_ev or _energies_of_ends(band[0], band[-1], tape)
        for atoms, energy, forces in zip((band[0], band[-1]), ends, task.forces_ev_per_a, strict=True):
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        neb = NEB(band, k=_SPRING_EV_PER_A2, method="improvedtangent")
        optimizer = self._optimizer(neb, len(band) - 2)
        limit = max(LOOSE_EV_PER_A, self.max_force_ev_per_a)
        # Of a band with a climbing image a step without one would go down again.
        steps = min(_BAND_STEPS, self.max_steps) if first is None else 0
        for step in range(steps + 1):
            _compute_images(band, task, tape)
            forces = neb.get_forces()
            if np.linalg.norm(forces, axis=1).max() < limit or step == steps:
                break  # a band that does not settle is settled by its climbing image
            optimizer.step()
            task.symmetrise(band)
        return band

    def saddle(
        self, task: PathTask, tape: Tape, first: Sequence[Floats] | None = None, splits: int = _SPLITS
    ) -> Found:
        """Find the saddle of a path; where it leads over several, with minima between them, the highest of them."""
        band = self.band(task, tape, first)
        middle = self._settled_between(path_of(band, 0), task, tape) if splits else None
        if middle is None:
            found = self.climb(band, task, tape)
            middle = self._settled_between(found.path, task, tape) if splits and found.step is not None else None
            if middle is None:
                return found
        ends, depth = [(band[0], middle), (middle, band[-1])], splits - 1
        halves = [self.saddle(task.part(*pair), tape, splits=depth) for pair in ends]
        return _joined(halves[0], halves[1], tape.calls)

    def _settled_between(self, path: ReactionPath, task: PathTask, tape: Tape) -> Atoms | None:
        """Return the relaxed minimum between two maxima of a path, with energy and forces; None without one.

        None also where it settles at an end, or where the mirror of the path keeps it, which makes both sides equal.
        """
        dip = profile_of(path).dip(_DIP_EV)
        if dip is None:
            return None
        first, part = min(int(dip), len(path.energies_ev) - 2), dip - int(dip)
        atoms = task.start.copy()
        atoms.positions = (1 - part) * path.positions_a[first] + part * path.positions_a[first + 1]
        downhill = _Across(atoms, np.zeros(3 * len(atoms)), self.max_step_a)
        for _ in range(min(_ALONE_STEPS, self.max_steps) + 1):
            step = tape.step(atoms, "a minimum")
            if step.largest_force < self.max_force_ev_per_a:
                break
            atoms.positions += downhill.step(atoms.positions, step.forces_ev_per_a)
        else:
            return None
        kept = [task.start.positions, task.end.positions]
        kept += [] if task.mirror is None else [task.mirror.positions(atoms.positions)]
        if min(float(np.linalg.norm(atoms.positions[-1] - place[-1])) for place in kept) < ONE_PLACE:
            return None
        atoms.calc = SinglePointCalculator(atoms, energy=step.energy_ev, forces=step.forces_ev_per_a)
        return atoms

    def climb(self, band: Sequence[Atoms], task: PathTask, tape: Tape) -> Found:
        """Take the highest point of a band to the saddle; return it with the band around it."""
        notes = _lower_between(band)
        images = list(band)
        place, climber = self._highest(images, task, tape)
        if climber is None:
            return Found(path_of(images, place), None, tape.calls, notes)
        images.insert(place, climber)
        place, step = self.finish(images, place, task, tape)
        path = path_of(images, place)
        return Found(path, step, tape.calls, (*notes, *higher_beside(path)))

    def finish(self, images: list[Atoms], place: int, task: PathTask, tape: Tape) -> tuple[int, Step]:
        """Take an image to the saddle; return the number of the image that is it, and its step.

        Raises
        ------
        Unconverged
            If there were too many steps.
        """
        step = self._alone(images, place, tape)
        if step is not None:
            return place, step
        half = len(images) == task.images + 2  # one that was put in between has no image under the mirror
        if task.mirror is None or not half:
            _put_in_order(images, place)
            task = replace(task, mirror=None)
        return self._together(images, task, tape)

    def _alone(self, images: Sequence[Atoms], place: int, tape: Tape) -> Step | None:
        """Take one image to the saddle, up along the band and down across it; None if that leads nowhere.

        Along the band it follows the zero of the force (secants), across it BFGS, whose curvature stays positive. If
        that leads nowhere, the image goes back to where the largest force on it was smallest.
        """
        climber, along = images[place], _direction(images, place)
        across = _Across(climber, along, self.max_step_a)
        curvature, last, best = -_CURVATURE_EV_PER_A2, None, None
        for _ in range(min(_ALONE_STEPS, self.max_steps) + 1):
            step = tape.step(climber, SADDLE)
            climber.calc = SinglePointCalculator(climber, energy=step.energy_ev, forces=step.forces_ev_per_a)
            up = float(step.forces_ev_per_a.ravel() @ along)
            if self._is_saddle(step, up):
                return step
            if best is None or step.largest_force < best.largest_force:
                best = step
            if step.largest_force > 10 * best.largest_force:
                break
            here = float(climber.positions.ravel() @ along)
            if last is not None and abs(here - last[0]) > 1e-4:
                found = -(up - last[1]) / (here - last[0])
                curvature = min(found, -_LEAST_CURVATURE) if found < 0 else -_CURVATURE_EV_PER_A2
            last = here, up
            forward = float(np.clip(up / curvature, -self.max_step_a, self.max_step_a))
            climber.positions += forward * along.reshape(-1, 3) + across.step(climber.positions, step.forces_ev_per_a)
        assert best is not None  # there is at least one step
        climber.positions = best.positions_a
        return None

    def _is_saddle(self, step: Step, up_ev_per_a: float) -> bool:
        """Tell whether no force is left, neither across the band nor along it, where it is weak far from the top."""
        return step.largest_force < self.max_force_ev_per_a and abs(up_ev_per_a) < _ALONG_EV_PER_A

    def _together(self, images: list[Atoms], task: PathTask, tape: Tape) -> tuple[int, Step]:
        """Take the highest image to the saddle while the others go on to relax; return its number and its step."""
        neb = NEB(images, k=_SPRING_EV_PER_A2, climb=True, method="improvedtangent")
        optimizer = self._optimizer(neb, len(images) - 2)
        for number in range(self.max_steps + 1):
            _compute_images(images, task, tape)
            neb.get_forces()
            place = int(neb.imax)
            forces, energy = images[place].get_forces(), images[place].get_potential_energy()
            step = Step(0, energy, images[place].get_positions(), forces)
            if self._is_saddle(step, float(forces.ravel() @ _direction(images, place))):
                return place, step
            if number < self.max_steps:
                optimizer.step()
                task.symmetrise(images)
        raise TooManySteps(
            f"{tape.checkpoint.directory}: after {self.max_steps} steps the force on the climbing image is not below "
            f"{self.max_force_ev_per_a:g} eV/Å; raise execution.max_steps (now {self.max_steps}) and run it again.",
            self.max_steps,
        )

    def _highest(self, images: list[Atoms], task: PathTask, tape: Tape) -> tuple[int, Atoms | None]:
        """Return where a climbing image is to be inserted, with its first geometry; None if an end is the highest.

        An image near the maximum is taken out, and climbs itself.
        """
        profile = profile_of(path_of(images, 0))
        ends = [atoms.get_potential_energy() for atoms in (images[0], images[-1])]
        highest_end = 0 if ends[0] >= ends[1] else len(images) - 1
        segment, part = divmod(profile.highest, 1.0)
        if profile.highest_ev + ends[0] < max(ends) + _RISE_EV or not 0 <= segment < len(images) - 1:
            return highest_end, None
        first = int(segment)
        nearest = first if part < _NEAR else first + 1 if part > 1 - _NEAR else None
        if nearest is not None and 0 < nearest < len(images) - 1:
            return nearest, images.pop(nearest)
        climber = images[first].copy()
        climber.positions += part * (images[first + 1].positions - images[first].positions)
        if nearest is not None and tape.step(climber, SADDLE).energy_ev < max(ends) + _RISE_EV:
            return highest_end, None  # the curve through the images went above the end, and the path does not
        return first + 1, climber

    def _optimizer(self, neb: Any, images: int) -> DampedBFGS:
        optimizer = DampedBFGS(neb, self.max_step_a)
        natoms = neb.natoms
        one = np.repeat([_HOST_EV_PER_A2] * (natoms - 1) + [_ION_EV_PER_A2], 3)
        optimizer.H0 = np.diag(np.tile(one, images))
        return optimizer


class _Across:
    """BFGS in the plane across a path, or downhill in all directions.

    Parameters
    ----------
    atoms
        Of the image.
    along
        Direction of the path, shape (3 atoms,); zero for all directions.
    longest_a
        Longest displacement of an atom in a step.
    """

    def __init__(self, atoms: Atoms, along: Floats, longest_a: float) -> None:
        self._project = np.eye(len(along)) - np.outer(along, along)
        self._hessian = np.diag(np.repeat([_HOST_EV_PER_A2] * (len(atoms) - 1) + [_ION_EV_PER_A2], 3))
        self._longest = longest_a
        self._last: tuple[Floats, Floats] | None = None

    def step(self, positions_a: Floats, forces_ev_per_a: Floats) -> Floats:
        """Learn from the forces at a point, and return the next displacement, shape (atoms, 3)."""
        point, force = self._project @ positions_a.ravel(), self._project @ forces_ev_per_a.ravel()
        if self._last is not None:
            moved, change = point - self._last[0], self._last[1] - force
            stiff = self._hessian @ moved
            expected, measured = float(moved @ stiff), float(moved @ change)
            if expected > 1e-12:
                weight = powell_weight(expected, measured)
                change = weight * change + (1 - weight) * stiff
                self._hessian += np.outer(change, change) / (moved @ change) - np.outer(stiff, stiff) / expected
        self._last = point, force
        displacement = (self._project @ np.linalg.solve(self._hessian, force)).reshape(-1, 3)
        longest = float(np.linalg.norm(displacement, axis=1).max())
        scaled: Floats = displacement * min(1.0, self._longest / max(longest, 1e-12))
        return scaled


def _direction(images: Sequence[Atoms], place: int) -> Floats:
    """Return the unit vector along a band at an image, shape (3 atoms,)."""
    along = (images[place + 1].positions - images[place - 1].positions).ravel()
    unit: Floats = along / np.linalg.norm(along)
    return unit


def _put_in_order(images: list[Atoms], place: int) -> None:
    """Put an image that went past others where it lies now on the way from end to end: a band has no fold."""
    moved = images.pop(place)
    way = images[-1].positions - images[0].positions
    passed = [float(np.vdot(atoms.positions - moved.positions, way)) < 0 for atoms in images[1:-1]]
    images.insert(1 + sum(passed), moved)


def first_band(task: PathTask) -> list[Atoms]:
    """Return the images of the first band, the ends among them, by the image-dependent pair potential.

    Of a symmetric path the second half is the image of the first.
    """
    band = [task.start.copy() for _ in range(task.images + 1)] + [task.end.copy()]
    parts = np.linspace(0.0, 1.0, len(band))
    for atoms, part in zip(band, parts, strict=True):
        atoms.positions = task.start.positions + part * (task.end.positions - task.start.positions)
        atoms.calc = None
    straight = [atoms.positions.copy() for atoms in band]
    idpp_interpolate(NEB(band, method="improvedtangent"), traj=None, log=None, mic=True, steps=60)
    strayed = max(float(abs(a.positions - b)[-1].max()) for a, b in zip(band, straight, strict=True))
    if strayed > _STRAYED_A:  # in the middle of a sheet the pair potential may throw the adsorbate out
        for atoms, positions in zip(band, straight, strict=True):
            atoms.positions = positions
    task.symmetrise(band)
    return band


def _placed(positions: Sequence[Floats], task: PathTask) -> list[Atoms]:
    """Return images at positions, of a symmetric path with the second half as the image of the first."""
    band = [task.start.copy() for _ in positions]
    for atoms, place in zip(band, positions, strict=True):
        atoms.positions = place
    task.symmetrise(band)
    return band


def search(task: PathTask, settings: Search, tape: Tape, first: Sequence[Floats] | None = None) -> Found:
    """Find the saddle with one set of settings, and its modes if they are asked for.

    ``first`` are the positions of all images of a band that something else has relaxed (Å).
    """
    return with_modes(settings.saddle(task, tape, first), task, tape)


def refined(cheap: Found, task: PathTask, settings: Search, tape: Tape) -> Found:
    """Take the saddle that cheaper settings found to that of the real ones, alone.

    The other images stay as they are; their energies are shifted, so that the start has its real one.
    """
    path = cheap.path
    ends = task.energies_ev or _energies_of_ends(task.start, task.end, tape)
    energies = path.energies_ev - path.energies_ev[0] + ends[0]
    energies[-1] = ends[1]
    images = [task.start.copy() for _ in energies]
    for atoms, positions, energy, forces in zip(
        images, path.positions_a, energies, path.forces_ev_per_a, strict=True
    ):
        atoms.positions = positions
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    note = "the images beside the saddle have the coarse settings"
    if cheap.step is None:
        highest = 0 if ends[0] >= ends[1] else len(images) - 1
        return Found(path_of(images, highest), None, tape.calls, (*cheap.notes, note))
    place, step = settings.finish(images, path.saddle, task, tape)
    return Found(path_of(images, place), step, tape.calls, (*cheap.notes, note))


def with_modes(found: Found, task: PathTask, tape: Tape) -> Found:
    """Return a saddle with the second derivatives there and at the start, if they are asked for."""
    if not task.moved:
        return found
    saddle = task.start.copy()
    saddle.positions = found.path.positions_a[found.path.saddle]
    matrices = [
        hessian(atoms, task.moved, tape, where) for atoms, where in ((task.start, "the start"), (saddle, SADDLE))
    ]
    path = replace(found.path, moved=np.array(task.moved), hessians_ev_per_a2=np.array(matrices))
    return replace(found, path=path, calls=tape.calls)


def path_of(images: Sequence[Atoms], saddle: int) -> ReactionPath:
    """Return images with their energies and forces as an array record; ``saddle`` is the number of the highest."""
    return ReactionPath(
        energies_ev=np.array([atoms.get_potential_energy() for atoms in images]),
        positions_a=np.array([atoms.positions for atoms in images]),
        forces_ev_per_a=np.array([atoms.get_forces() for atoms in images]),
        saddle=saddle,
    )


def _energies_of_ends(start: Atoms, end: Atoms, tape: Tape) -> tuple[float, float]:
    first, last = tape.steps([(start, "end 1"), (end, "end 2")])
    return first.energy_ev, last.energy_ev


def _compute_images(band: Sequence[Atoms], task: PathTask, tape: Tape) -> None:
    """Give each image between the ends its energy and forces; of a symmetric band the second half has the first's."""
    last = len(band) - 1
    numbers = [number for number in range(1, last) if task.mirror is None or number <= last - number]
    steps = dict(zip(numbers, tape.steps([(band[n], f"image {n}") for n in numbers]), strict=True))
    for number in range(1, last):
        atoms, twin = band[number], band[last - number]
        if number not in steps:
            assert task.mirror is not None  # without one each image is computed
            energy, forces = twin.get_potential_energy(), task.mirror.vectors(twin.get_forces())
        else:
            energy, forces = steps[number].energy_ev, steps[number].forces_ev_per_a
            if task.mirror is not None and number == last - number:
                forces = (forces + task.mirror.vectors(forces)) / 2
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)


def higher_beside(path: ReactionPath) -> tuple[str, ...]:
    """Say that another place on a path is higher than its saddle, so that the path has several of them."""
    excess = profile_of(path).highest_ev - (path.energies_ev[path.saddle] - path.energies_ev[0])
    if excess < _HIGHER_EV:
        return ()
    return (
        f"another place of the path is about {excess:.3f} eV above the saddle that was found: it leads over several, "
        "and the barrier is that of the highest; ask for more barrier.images",
    )


def _joined(first: Found, second: Found, calls: int) -> Found:
    """Return both halves of a path that was split at a minimum, over the higher of their saddles."""
    one, other = first.path, second.path
    energies = np.append(one.energies_ev, other.energies_ev[1:])
    tops = [float(half.energies_ev[half.saddle] - energies[0]) for half in (one, other)]
    higher, place = (first, one.saddle) if tops[0] >= tops[1] else (second, len(one.energies_ev) - 1 + other.saddle)
    path = ReactionPath(
        energies_ev=energies,
        positions_a=np.concatenate([one.positions_a, other.positions_a[1:]]),
        forces_ev_per_a=np.concatenate([one.forces_ev_per_a, other.forces_ev_per_a[1:]]),
        saddle=place,
    )
    depth = float(one.energies_ev[-1] - energies[0])
    note = (
        f"the path leads over several saddles ({tops[0]:z.3f} and {tops[1]:z.3f} eV above its start), with a minimum "
        f"({depth:z.3f} eV) between them that is no named site; the barrier is that of the highest"
    )
    notes = dict.fromkeys([*first.notes, *second.notes, note, *higher_beside(path)])
    return Found(path, higher.step, calls, tuple(notes))


def _lower_between(band: Sequence[Atoms]) -> tuple[str, ...]:
    """Say that a path passes a place below both of its ends, as between them lies a site that is not named."""
    energies = [atoms.get_potential_energy() for atoms in band]
    depth = min(energies[0], energies[-1]) - min(energies)
    if depth < 10 * _RISE_EV:
        return ()
    return (f"between its ends the path passes a place {depth:.3f} eV below both",)
