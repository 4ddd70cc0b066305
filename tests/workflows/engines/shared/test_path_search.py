"""The search for a saddle, on an ion over a corrugated sheet whose barrier is known in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.mep import NEB
from ase.optimize import BFGS
from sodiate.analysis.arrays import ReactionPath
from sodiate.structures.paths import Mirror
from sodiate.workflows.engines.base import EngineError, Limits, Stopped
from sodiate.workflows.engines.shared.path_search import Found, Search, higher_beside, search
from sodiate.workflows.engines.shared.path_task import TAPE, PathTask
from sodiate.workflows.engines.shared.relax import Clock
from sodiate.workflows.engines.shared.tape import AHEAD, Call, Tape, keep_ahead, one_by_one
from sodiate.workflows.engines.shared.trajectory import Checkpoint, Step
from sodiate.workflows.stop import Stop

BARRIER, PERIOD, HEIGHT = 0.4, 3.0, 2.0


class Corrugated(Calculator):
    """An ion in V sin²(πx/a) + springs to a valley that bends along the way, above atoms on springs of their own."""

    implemented_properties = ["energy", "free_energy", "forces"]
    calls = 0

    def __init__(self, host: np.ndarray) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.host = host

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        assert self.atoms is not None
        self.calls += 1
        x, y, z = self.atoms.positions[-1]
        bend, slope = 0.5 * np.sin(np.pi * x / PERIOD) ** 2, 0.5 * np.pi / PERIOD * np.sin(2 * np.pi * x / PERIOD)
        away = self.atoms.positions[:-1] - self.host
        wave = np.sin(np.pi * x / PERIOD) ** 2
        energy = BARRIER * wave + 2.0 * (y - bend) ** 2 + 3.0 * (z - HEIGHT) ** 2
        energy += 5.0 * (away**2).sum()
        along = -BARRIER * np.pi / PERIOD * np.sin(2 * np.pi * x / PERIOD) + 4.0 * (y - bend) * slope
        ion = [[along, -4.0 * (y - bend), -6.0 * (z - HEIGHT)]]
        self.results = {"energy": energy, "free_energy": energy, "forces": np.vstack([-10.0 * away, ion])}


class TwoBarriers(Corrugated):
    """An ion over two Gaussian barriers, the second narrower and higher than the first, and springs across."""

    first = (0.4, 1.1, 0.45)
    second = (0.5, 2.8, 0.35)

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        x, y, z = self.atoms.positions[-1]
        away = self.atoms.positions[:-1] - self.host
        energy = 2.0 * y**2 + 3.0 * (z - HEIGHT) ** 2 + 5.0 * (away**2).sum()
        energy += sum(height * np.exp(-(((x - place) / width) ** 2)) for height, place, width in self.barriers)
        along = sum(
            2 * height * (x - place) / width**2 * np.exp(-(((x - place) / width) ** 2))
            for height, place, width in self.barriers
        )
        forces = np.vstack([-10.0 * away, [[along, -4.0 * y, -6.0 * (z - HEIGHT)]]])
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}

    @property
    def barriers(self) -> tuple[tuple[float, float, float], ...]:
        return self.first, self.second


def task(images: int = 3, moved: tuple[int, ...] = (), mirrored: bool = False, length: float = PERIOD) -> PathTask:
    sheet = [[0.0, 1.5, 0.0], [3.0, 1.5, 0.0], [1.5, -1.5, 0.0], [1.5, 4.0, 0.0]]
    start = Atoms("W4Na", [*sheet, [0.0, 0.0, HEIGHT]], cell=[12, 12, 20], pbc=(True, True, False))
    end = start.copy()
    end.positions[-1, 0] = length
    # x → a − x exchanges the ends, and the two outer atoms of the sheet with it.
    order = np.array([1, 0, 2, 3, 4])
    mirror = Mirror(order, np.diag([-1.0, 1.0, 1.0]), np.tile([PERIOD, 0.0, 0.0], (5, 1))) if mirrored else None
    return PathTask(start, end, (0.0, 0.0), np.zeros((2, 5, 3)), mirror, images, moved)


def find(
    what: PathTask,
    directory: Path,
    most: int = 10**6,
    over: type[Corrugated] = Corrugated,
    first: Sequence[np.ndarray] | None = None,
    max_force: float = 0.005,
) -> tuple[Found, Corrugated]:
    calculator = over(what.start.positions[:-1])
    stop = Stop()

    def compute(atoms: Atoms, name: str, number: int) -> Step:
        image = atoms.copy()
        image.calc = calculator
        step = Step.of(image, number, directory)
        if calculator.calls >= most:
            stop.request("asked")
        return step

    tape = Tape(what, Checkpoint(directory, what.key, TAPE), one_by_one(compute), Clock(directory, Limits(), stop))
    return search(what, Search(max_force, 100, 0.2), tape, first), calculator


def test_the_saddle_is_where_the_formula_has_it(tmp_path: Path) -> None:
    """Half way, at the bend of the valley, 0.4 eV up: independent of the search."""
    found, _ = find(task(), tmp_path)
    assert found.step is not None
    assert found.step.energy_ev == pytest.approx(BARRIER, abs=1e-4)
    np.testing.assert_allclose(found.step.positions_a[-1], [PERIOD / 2, 0.5, HEIGHT], atol=0.01)
    assert found.step.largest_force < 0.005
    assert 0 < found.path.saddle < len(found.path.energies_ev) - 1
    assert found.path.energies_ev[found.path.saddle] == found.step.energy_ev


class Flat(TwoBarriers):
    """A low barrier over which the largest force along the way is hardly above a usual criterion."""

    first = (0.06, 1.4, 0.6)
    second = (0.04, 2.3, 0.6)


def test_the_top_of_a_flat_path_is_not_the_first_place_without_much_force(tmp_path: Path) -> None:
    """A force below 0.05 eV/Å is left a long way off the top, 7 meV below it."""
    found, _ = find(task(length=3.6), tmp_path, over=Flat, max_force=0.05)
    x = np.linspace(0.0, 3.6, 10001)
    bumps = [height * np.exp(-(((x - place) / width) ** 2)) for height, place, width in (Flat.first, Flat.second)]
    assert found.step is not None
    assert found.step.energy_ev == pytest.approx(np.add(*bumps).max(), abs=1e-3)


def test_it_takes_half_of_the_calls_of_a_plain_band(tmp_path: Path) -> None:
    found, calculator = find(task(), tmp_path)
    what = task(5)
    band = [what.start.copy() for _ in range(6)] + [what.end.copy()]
    for image in band:
        image.calc = Corrugated(what.start.positions[:-1])
    neb = NEB(band, climb=True, method="improvedtangent")
    neb.interpolate("idpp")
    assert BFGS(neb, logfile=None).run(fmax=0.005, steps=200)  # type: ignore[arg-type]
    plain = sum(image.calc.calls for image in band)
    assert found.calls == calculator.calls <= plain / 2
    energies = [image.get_potential_energy() for image in band]
    assert found.step is not None
    assert found.step.energy_ev == pytest.approx(max(energies), abs=0.001)


def test_what_climbs_between_two_images_is_computed_once(tmp_path: Path) -> None:
    """Of four images none is half way, where the saddle is."""
    found, _ = find(task(4), tmp_path)
    steps = Checkpoint(tmp_path, task(4).key, TAPE).resume(5).steps
    assert len(steps) == found.calls
    assert len({step.positions_a.tobytes() for step in steps}) == len(steps)


def test_a_symmetric_path_costs_less_and_ends_alike(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "whole").mkdir()
    half, one = find(task(mirrored=True), tmp_path / "half")
    whole, other = find(task(), tmp_path / "whole")
    assert one.calls < 0.8 * other.calls
    assert half.step is not None
    assert whole.step is not None
    assert half.step.energy_ev == pytest.approx(whole.step.energy_ev, abs=1e-4)
    energies = half.path.energies_ev
    np.testing.assert_allclose(energies, energies[::-1], atol=1e-9)


@pytest.mark.parametrize("most", [1, 4, 9, 14])
def test_a_search_that_was_stopped_goes_on_with_the_same_calls(tmp_path: Path, most: int) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, calculator = find(task(moved=(4,)), tmp_path / "whole")
    calls = 0
    for _ in range(60):
        try:
            found, other = find(task(moved=(4,)), tmp_path / "parts", most)
        except Stopped:
            calls += most
            continue
        break
    assert calls + other.calls == calculator.calls
    np.testing.assert_array_equal(found.path.positions_a, whole.path.positions_a)
    assert (tmp_path / "parts" / TAPE).read_bytes() == (tmp_path / "whole" / TAPE).read_bytes()


def test_a_torn_line_costs_one_call(tmp_path: Path) -> None:
    """A kill in the middle of writing: the line is dropped, and nothing before it is computed again."""
    whole, _ = find(task(), tmp_path)
    content = (tmp_path / TAPE).read_bytes()
    (tmp_path / TAPE).write_bytes(content[:-40])
    again, calculator = find(task(), tmp_path)
    assert calculator.calls == 1
    assert (tmp_path / TAPE).read_bytes() == content
    np.testing.assert_array_equal(again.path.positions_a, whole.path.positions_a)


class Crash(Exception):
    """A kill of the process."""


def find_by_two(what: PathTask, directory: Path, dies_at: int | None = None) -> tuple[Found, list[int]]:
    """Search with two calls at a time, the second done first, as by groups of ranks of which the first is slower.

    ``dies_at`` is the call that is under way when the process is killed. Returns the numbers that were computed, too.
    """
    calculator, checkpoint = Corrugated(what.start.positions[:-1]), Checkpoint(directory, what.key, TAPE)
    computed: list[int] = []

    def compute(calls: Sequence[Call]) -> list[Step]:
        found = []
        for call in reversed(calls[:2]):
            if call.number == dies_at:
                raise Crash
            image = call.atoms.copy()
            image.calc = calculator
            found.append(Step.of(image, call.number, directory))
            computed.append(call.number)
            keep_ahead(checkpoint, found[-1])
        return found

    tape = Tape(what, checkpoint, compute, Clock(directory, Limits(), Stop()))
    return search(what, Search(0.005, 100, 0.2), tape), computed


@pytest.mark.parametrize("mirrored", [False, True])
def test_images_side_by_side_are_those_one_after_the_other(tmp_path: Path, mirrored: bool) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, _ = find(task(moved=(4,), mirrored=mirrored), tmp_path / "one")
    two, computed = find_by_two(task(moved=(4,), mirrored=mirrored), tmp_path / "two")
    assert sorted(computed) == list(range(one.calls))
    assert computed[:2] == [1, 0]
    np.testing.assert_array_equal(two.path.positions_a, one.path.positions_a)
    assert [path.name for path in (tmp_path / "two").iterdir()] == [TAPE]
    assert (tmp_path / "two" / TAPE).read_bytes() == (tmp_path / "one" / TAPE).read_bytes()


@pytest.mark.parametrize("dies_at", [0, 2, 3, 7, 15])
def test_what_was_done_out_of_turn_is_not_computed_again(tmp_path: Path, dies_at: int) -> None:
    """A kill in the middle of a round, with the later of two calls done and the earlier one under way."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, _ = find_by_two(task(moved=(4,)), tmp_path / "whole")
    before: list[int] = []
    with pytest.raises(Crash):
        find_by_two(task(moved=(4,)), tmp_path / "killed", dies_at)
    held = Checkpoint(tmp_path / "killed", task(moved=(4,)).key, TAPE).resume(5).steps
    before = [step.step for step in held]
    ahead = [int(path.stem.split("-")[1]) for path in (tmp_path / "killed").glob(AHEAD)]
    assert dies_at not in {*before, *ahead}
    found, after = find_by_two(task(moved=(4,)), tmp_path / "killed")
    assert sorted([*before, *ahead, *after]) == list(range(whole.calls))
    np.testing.assert_array_equal(found.path.positions_a, whole.path.positions_a)
    assert (tmp_path / "killed" / TAPE).read_bytes() == (tmp_path / "whole" / TAPE).read_bytes()
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [TAPE]


def test_a_kept_call_of_another_search_is_not_taken(tmp_path: Path) -> None:
    """One of other positions, and one with a damaged line: both are computed, and the files are gone."""
    what = task()
    whole, _ = find_by_two(what, tmp_path)
    content = (tmp_path / TAPE).read_bytes()
    lines = content.splitlines(keepends=True)
    (tmp_path / TAPE).write_bytes(b"".join(lines[:3]))
    other = what.start.copy()
    other.positions[-1, 0] += 0.3
    other.calc = Corrugated(what.start.positions[:-1])
    keep_ahead(Checkpoint(tmp_path, what.key, TAPE), Step.of(other, 3, tmp_path))
    (tmp_path / "path-4.jsonl").write_bytes(lines[0] + lines[1][:-30])
    _, after = find_by_two(what, tmp_path)
    assert sorted(after) == list(range(2, whole.calls))
    assert (tmp_path / TAPE).read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == [TAPE]


def test_a_band_that_something_else_relaxed_is_taken_as_it_is(tmp_path: Path) -> None:
    """Images on the bend of the valley: each is computed once, and only the highest moves on to the saddle."""
    what = task()
    x = np.array([0.0, 0.8, 1.4, 2.3, 3.0])
    first = [what.start.positions.copy() for _ in x]
    for positions, place in zip(first, x, strict=True):
        positions[-1, :2] = place, 0.5 * np.sin(np.pi * place / PERIOD) ** 2
    found, calculator = find(what, tmp_path, first=first)
    assert found.step is not None
    assert found.step.energy_ev == pytest.approx(BARRIER, abs=1e-4)
    assert calculator.calls < 12
    for positions in (first[1], first[3]):
        assert np.abs(found.path.positions_a - positions).max(axis=(1, 2)).min() < 1e-12


def test_an_image_that_climbs_into_nowhere_goes_back(tmp_path: Path) -> None:
    """To where its largest force was smallest, not on from where the forces have become too large."""
    what, places = task(), list[np.ndarray]()

    def compute(atoms: Atoms, name: str, number: int) -> Step:
        places.append(atoms.get_positions())
        forces = np.zeros((5, 3))
        forces[-1, 0] = (0.1, 0.05, 5.0)[number]
        return Step(number, 0.1, places[-1], forces)

    tape = Tape(what, Checkpoint(tmp_path, what.key, TAPE), one_by_one(compute), Clock(tmp_path, Limits(), Stop()))
    images = [what.start.copy() for _ in range(3)]
    images[1].positions[-1, 0], images[2].positions[-1, 0] = PERIOD / 2, PERIOD
    assert Search(0.005, 100, 0.2)._alone(images, 1, tape) is None
    assert len(places) == 3
    np.testing.assert_array_equal(images[1].positions, places[1])


def test_an_end_that_is_the_top_is_the_saddle(tmp_path: Path) -> None:
    """From the valley to the ridge: no image climbs beyond it."""
    what = task(length=PERIOD / 2)
    what.end.positions[-1, 1] = 0.5
    what = PathTask(what.start, what.end, (0.0, BARRIER), np.zeros((2, 5, 3)), None, 3)
    found, _ = find(what, tmp_path)
    assert found.step is None
    assert found.path.saddle == len(found.path.energies_ev) - 1


def test_second_derivatives_are_those_of_the_formula(tmp_path: Path) -> None:
    found, _ = find(task(moved=(4,)), tmp_path)
    assert found.path.hessians_ev_per_a2 is not None
    start, saddle = found.path.hessians_ev_per_a2
    curvature = 2 * BARRIER * (np.pi / PERIOD) ** 2
    assert start[0, 0] == pytest.approx(curvature, rel=0.02)
    assert start[2, 2] == saddle[2, 2] == pytest.approx(6.0)
    # Across the bend of the valley one mode is imaginary, along the path.
    assert (np.linalg.eigvalsh(saddle) < 0).sum() == 1


def test_a_second_saddle_that_is_higher_is_told() -> None:
    energies = np.array([0.0, 0.3, 0.1, 0.5, 0.0])
    positions, forces = np.zeros((5, 1, 3)), np.zeros((5, 1, 3))
    positions[:, 0, 0] = np.arange(5.0)
    (note,) = higher_beside(ReactionPath(energies, positions, forces, 1))
    assert note.startswith("another place of the path is about 0.200 eV above the saddle that was found")
    assert higher_beside(ReactionPath(energies, positions, forces, 3)) == ()


@pytest.mark.parametrize("reverse", [False, True])
def test_of_two_saddles_the_higher_one_is_found(tmp_path: Path, reverse: bool) -> None:
    """Three images lie nearer to the lower one; the highest point of the formula on a fine grid is the other."""
    what = task(length=4.2)
    if reverse:
        what = replace(what, start=what.end, end=what.start)
    found, _ = find(what, tmp_path, over=TwoBarriers)
    x = np.linspace(0, 4.2, 100001)
    hills = TwoBarriers.first, TwoBarriers.second
    formula = np.sum([h * np.exp(-(((x - place) / w) ** 2)) for h, place, w in hills], axis=0)
    assert found.step is not None
    assert found.step.energy_ev == pytest.approx(formula.max(), abs=1e-4)
    assert found.step.positions_a[-1, 0] == pytest.approx(x[formula.argmax()], abs=0.02)
    assert found.path.energies_ev[found.path.saddle] == found.path.energies_ev.max() == found.step.energy_ev
    # The path goes on without a gap from end to end, over the minimum between the two.
    ion = found.path.positions_a[:, -1, 0]
    assert (np.diff(-ion if reverse else ion) > 0).all()
    lowest = formula[(x > 1.1) & (x < 2.8)].min()
    assert np.abs(found.path.energies_ev[1:-1] - lowest).min() < 1e-3
    (note,) = found.notes
    assert f"{0.4:.3f}" in note
    assert f"{0.5:.3f}" in note
    assert "is no named site; the barrier is that of the highest" in note


def test_a_path_over_two_saddles_that_was_stopped_goes_on_with_the_same_calls(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole, _ = find(task(length=4.2), tmp_path / "whole", over=TwoBarriers)
    for _ in range(whole.calls):
        try:
            found, _ = find(task(length=4.2), tmp_path / "parts", 3, TwoBarriers)
        except Stopped:
            continue
        break
    assert (tmp_path / "parts" / TAPE).read_bytes() == (tmp_path / "whole" / TAPE).read_bytes()
    np.testing.assert_array_equal(found.path.positions_a, whole.path.positions_a)


def test_a_path_with_one_saddle_is_not_split(tmp_path: Path) -> None:
    """Whatever its minimum beside an end, as where a site lies lower than the named one next to it."""
    found, _ = find(task(), tmp_path)
    assert found.notes == ()
    assert len(found.path.energies_ev) <= 6


def test_an_image_that_leaves_the_sheet_is_told(tmp_path: Path) -> None:
    what = task()
    what.start.positions[-1, 2] = what.end.positions[-1, 2] = 9.0
    with pytest.raises(EngineError, match=r"image 1 of the path left the sheet: its adsorbate is \d\.\d Å"):
        find(what, tmp_path)


def test_a_sheet_that_comes_apart_is_told(tmp_path: Path) -> None:
    what = task()
    step = np.array([[0.0, 0.0, 0.0]] * 5)
    step[0] = [2.5, 0.0, 0.0]
    what.end.positions += step
    with pytest.raises(EngineError, match=r"image 2 of the path has another sheet than its ends: W 0 moved by 1\.\d"):
        find(what, tmp_path)
