"""The engines under test, and how far a resumed run of each may be from an undisturbed one."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import mx2
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Engine, EngineError, Limits, Outcome, Settings
from sodiate.workflows.stop import Stop

from support import present
from support.fake_vasp import Behaviour, install
from support.warm import Warm

EXECUTION = {"optimizer": "bfgs", "max_steps": 200, "max_step_a": 0.2}
PROTOCOL: dict[str, Any] = {"max_force_ev_per_a": 0.02, "kpoint_length_a": 13.0, "dos_broadening_ev": 0.05}
GPAW_PROTOCOL: dict[str, Any] = {
    **PROTOCOL,
    "kpoint_length_a": 3.0,
    "functional": "PBE",
    "cutoff_ev": 200.0,
    "energy_convergence_ev": 1e-6,
    "density_convergence": 1e-6,
    "eigenstate_convergence_ev2": 1e-8,
    "empty_bands": 1.0,
    "smearing": {"kind": "gaussian", "width_ev": 0.1},
    "spin_polarised": False,
    "start_moments_mub": {"adsorbate": 0.0, "next_to_defect": 0.0, "other": 0.0},
    "dipole_correction": False,
}


@dataclass(frozen=True)
class Case:
    """One engine under test.

    Attributes
    ----------
    name
        Of the engine.
    atoms
        A structure of at least ``steps`` steps of relaxation.
    sheet
        A sheet whose cell relaxes.
    same_ev, same_a
        How far a resumed relaxation may be from an undisturbed one; 0 is bit for bit.
    slope_ev_per_a
        How far forces may be from finite differences.
    moved_ev, moved_ev_per_a
        How far energy and forces may change when all atoms are moved together.
    outputs
        Files of a finished calculation, by kind, whose damage has to be noticed.
    refused
        An element that the engine does not have; None where it plays any.
    slowly
        Within it a run waits between its steps, where a stop would otherwise race with the run's own end.
    physical
        Whether its numbers are real ones.
    """

    name: str
    atoms: Callable[[], Atoms]
    steps: int
    same_ev: float
    same_a: float
    slope_ev_per_a: float
    moved_ev: float
    moved_ev_per_a: float
    outputs: Mapping[str, tuple[str, ...]]
    refused: str | None
    protocol: Mapping[str, Any]
    protocol_keys: Mapping[str, tuple[str, ...]]
    sheet: Callable[[], Atoms]
    slowly: Callable[[], AbstractContextManager[None]] = nullcontext
    physical: bool = True

    def engine(self, **execution: Any) -> Engine:
        return make_engine(self.name, Settings(execution=EXECUTION | execution))

    def calculation(self, kind: str, **protocol: Any) -> Calculation:
        values = {key: self.protocol[key] for key in self.protocol_keys.get(kind, ())} | protocol
        return Calculation(kind, {"op": "test"}, self.name, values, {}, f"test/{kind}")

    def skip_without(self, kind: str) -> None:
        if kind not in self.engine().capabilities:
            pytest.skip(f"the engine {self.name} has no {kind}")

    def start(self, kind: str) -> Atoms:
        return self.sheet() if kind == "relax_cell" else self.atoms()

    def prepared(self, directory: Path, kind: str, atoms: Atoms | None = None, **execution: Any) -> Path:
        atoms = self.start(kind) if atoms is None else atoms
        directory.mkdir(parents=True, exist_ok=True)
        self.engine(**execution).prepare(self.calculation(kind), atoms, directory, {})
        return directory

    def outcome(self, directory: Path, kind: str, atoms: Atoms | None = None) -> Outcome:
        return self.finish(self.prepared(directory, kind, atoms))

    def finish(self, directory: Path) -> Outcome:
        """Run from the disk alone: another object of the class, without settings."""
        engine = make_engine(self.name, Settings())
        engine.run(directory, Limits(), Stop())
        return engine.collect(directory)


def host_with_na(repeat: int = 1, place: tuple[float, float] = (2.0, 1.3)) -> Atoms:
    """WSSe with Na beside a chalcogen, from where it may go either way, or at another place; displaced at random."""
    atoms = mx2("WSe2", "2H", a=3.252, thickness=3.25, vacuum=9.0)
    atoms.symbols[int(np.argmax(atoms.positions[:, 2]))] = "S"
    atoms = atoms.repeat((repeat, repeat, 1))
    atoms.append("Na")
    atoms.positions[-1] = [*place, atoms.positions[:-1, 2].max() + 2.1]
    atoms.rattle(0.05, seed=11)
    return atoms


def monolayer() -> Atoms:
    """Hexagonal AlP, a buckled sheet that is too small: few electrons, and a force on its cell."""
    a = 3.9
    atoms = Atoms("AlP", cell=[[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, 9]], pbc=(True, True, False))
    atoms.positions = [[0, 0, 4.4], [a / 2, a / 12**0.5, 4.65]]
    return atoms


EMT = Case(
    name="emt",
    atoms=host_with_na,
    steps=13,
    same_ev=0.0,
    same_a=0.0,
    slope_ev_per_a=2e-7,
    moved_ev=1e-9,
    moved_ev_per_a=1e-8,
    outputs={"relax": ("result.json", "trajectory.jsonl"), "dos": ("result.json", "bands.npz", "dos.npz")},
    refused=None,
    protocol=PROTOCOL,
    protocol_keys={"relax": ("max_force_ev_per_a",), "dos": ("kpoint_length_a", "dos_broadening_ev")},
    sheet=monolayer,
    physical=False,
)


def sulphur_with_na() -> Atoms:
    """A row of sulphur with Na beside it: few electrons, so that a launch takes seconds."""
    return Atoms("SNa", [[2.0, 2.05, 2.0], [3.55, 3.85, 3.25]], cell=[4.0, 4.2, 8.0], pbc=True)


_ONLY_GPAW = ("density_convergence", "eigenstate_convergence_ev2", "empty_bands")

_ALWAYS = tuple(key for key in GPAW_PROTOCOL if key not in ("max_force_ev_per_a", "dos_broadening_ev"))

GPAW = Case(
    name="gpaw",
    atoms=sulphur_with_na,
    steps=7,
    same_ev=2e-3,
    same_a=0.05,
    slope_ev_per_a=5e-3,
    moved_ev=5e-3,
    moved_ev_per_a=3e-2,
    outputs={
        **dict.fromkeys(("relax", "relax_cell"), ("result.json", "trajectory.jsonl")),
        "dos": ("result.json", "bands.npz", "dos.npz"),
        "density": ("result.json", "density.npz"),
    },
    refused="Pu",
    protocol=GPAW_PROTOCOL,
    protocol_keys={
        "relax": (*_ALWAYS, "max_force_ev_per_a"),
        "relax_cell": (*_ALWAYS, "max_force_ev_per_a"),
        "dos": (*_ALWAYS, "dos_broadening_ev"),
        **dict.fromkeys(("static", "atom", "bulk", "density"), _ALWAYS),
    },
    sheet=monolayer,
)

VASP_PACE = Behaviour(seconds_per_step=0.3)


@contextmanager
def _slow_vasp() -> Iterator[None]:
    folder = Path(str(shutil.which("vasp_std"))).parent
    install(folder, replace(VASP_PACE, seconds_per_step=5.0))
    try:
        yield
    finally:
        install(folder, VASP_PACE)


VASP_PROTOCOL: dict[str, Any] = {
    **{key: value for key, value in GPAW_PROTOCOL.items() if key not in _ONLY_GPAW},
    "paw": {"W": "W_sv", "Se": "Se", "S": "S", "Na": "Na_pv", "Al": "Al", "P": "P"},
    "paw_release": "PBE_54",
}

_ALWAYS_VASP = tuple(key for key in VASP_PROTOCOL if key not in ("max_force_ev_per_a", "dos_broadening_ev"))

VASP = Case(
    name="vasp",
    # Near the hollow: VASP resumes without its optimizer's memory, and beside a chalcogen would go the other way.
    atoms=lambda: host_with_na(place=(0.4, 1.5)),
    steps=9,
    same_ev=2e-3,
    same_a=0.05,
    slope_ev_per_a=1e-6,
    moved_ev=1e-6,
    moved_ev_per_a=1e-6,
    outputs={
        **dict.fromkeys(("relax", "relax_cell", "dos"), ("result.json", "vasprun.xml", "OUTCAR")),
        "density": ("result.json", "vasprun.xml", "OUTCAR", "CHGCAR"),
    },
    refused="Og",
    protocol=VASP_PROTOCOL,
    protocol_keys={
        **dict.fromkeys(("relax", "relax_cell"), (*_ALWAYS_VASP, "max_force_ev_per_a")),
        "dos": (*_ALWAYS_VASP, "dos_broadening_ev"),
        **dict.fromkeys(("static", "atom", "bulk", "density"), _ALWAYS_VASP),
    },
    sheet=lambda: host_with_na()[:-1],
    slowly=_slow_vasp,
)

LENNARD_JONES = Case(
    name="lennard-jones",
    atoms=host_with_na,
    steps=9,
    # ASE's list of neighbours remembers how it came about: the last digits differ after a resume.
    same_ev=1e-9,
    same_a=1e-7,
    slope_ev_per_a=2e-7,
    moved_ev=1e-9,
    moved_ev_per_a=1e-8,
    outputs={"relax": ("result.json", "trajectory.jsonl")},
    refused="Ne",
    protocol=PROTOCOL,
    protocol_keys={"relax": ("max_force_ev_per_a",)},
    sheet=monolayer,
    physical=False,
)
"""The engine of another package: tests/workflows/engines/lennard_jones."""

CASES = [EMT, GPAW, VASP, LENNARD_JONES]


def assert_same(case: Case, outcome: Outcome, reference: Outcome) -> None:
    """The same record: energy, geometry, forces, steps, and one frame a step in the trajectory."""
    assert outcome.atoms is not None
    assert reference.atoms is not None
    assert outcome.trajectory is not None
    assert reference.trajectory is not None
    steps = len(outcome.trajectory.energies_ev)
    if case.same_ev == 0.0:
        assert outcome.energy_ev == reference.energy_ev
        assert np.array_equal(outcome.atoms.positions, reference.atoms.positions)
        assert np.array_equal(present(outcome.forces_ev_per_a), present(reference.forces_ev_per_a))
        assert outcome.ionic_steps == reference.ionic_steps
        assert np.array_equal(outcome.trajectory.energies_ev, reference.trajectory.energies_ev)
        assert np.array_equal(outcome.trajectory.positions_a, reference.trajectory.positions_a)
        assert outcome.method == reference.method
        assert outcome.sampling == reference.sampling
        assert outcome.notes == reference.notes
    assert outcome.energy_ev == pytest.approx(reference.energy_ev, abs=case.same_ev)
    np.testing.assert_allclose(outcome.atoms.positions, reference.atoms.positions, rtol=0, atol=case.same_a)
    assert len(np.unique(outcome.trajectory.positions_a.reshape(steps, -1), axis=0)) == steps
    np.testing.assert_allclose(outcome.atoms.cell, reference.atoms.cell, rtol=0, atol=case.same_a / 10)


class StopAfter(Stop):
    """Asks a run to end once it has been consulted often enough."""

    def __init__(self, consultations: int) -> None:
        super().__init__()
        self.left = consultations

    def requested(self) -> bool:
        self.left -= 1
        if self.left < 0:
            self.request("the test asked for it")
        return super().requested()


SLOW_RUN = """
import sys, time
from pathlib import Path
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Limits, Settings, Stop

class Slow(Stop):
    def requested(self):
        time.sleep(0.02)
        return False

make_engine(sys.argv[1], Settings()).run(Path(sys.argv[2]), Limits(), Slow())
"""


def kill_in_the_middle(case: Case, warm: Warm, directory: Path, writes: int, delay_s: float) -> None:
    """Start a real process and SIGKILL its group some time after it has written its checkpoint ``writes`` times."""
    patterns = case.engine().checkpoint_files

    def state() -> set[tuple[str, int, int]]:
        found = [path for pattern in patterns for path in directory.glob(pattern)]
        seen = set()
        for path in found:
            with suppress(FileNotFoundError):  # moved aside meanwhile
                seen.add((path.name, path.stat().st_mtime_ns, path.stat().st_ino))
        return seen

    child = warm.start(["-c", case.name, str(directory)], directory, SLOW_RUN, own_group=True)
    try:
        seen, last, patience = 0, state(), time.monotonic() + 60
        while seen < writes and child.poll() is None and time.monotonic() < patience:
            now = state()
            seen, last = seen + (now != last), now
            time.sleep(0.001)
        time.sleep(delay_s)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL, f"ended before it was killed: {child.communicate(1)}"
    with pytest.raises(EngineError):
        case.engine().collect(directory)
