"""VASP under custodian, with the stand-in at the very end: failures mended or told, and the kinds of their own.

The recorded failures and the recorded vasprun.xml are from the test files of the custodian project (MIT licence).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from sodiate.analysis.electrons.density import integral
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import (
    EngineError,
    Killed,
    Limits,
    Outcome,
    Progress,
    Settings,
    Stopped,
    Unconverged,
)
from sodiate.workflows.engines.shared.processes import locked
from sodiate.workflows.engines.vasp.results import (
    ase_stress,
    cores_of,
    largest_force,
    method_of,
    read_vasprun,
    sampling_of,
)
from sodiate.workflows.stop import Stop
from support import DATA, present
from support.engine_cases import VASP, host_with_na
from support.fake_vasp import HEADS, Behaviour, install
from support.warm import Warm

RECORDED = DATA / "vasp"


@pytest.fixture
def program(vasp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in of this test's own, to be told what to do wrong."""
    folder = install(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def runs(program: Path) -> int:
    return len((program / "runs").read_text().splitlines())


def failing(directory: Path, kind: str = "relax") -> str:
    VASP.prepared(directory, kind)
    with pytest.raises(EngineError) as caught:
        VASP.engine().run(directory, Limits(), Stop())
    with pytest.raises(EngineError):
        VASP.engine().collect(directory)
    assert str(directory) in str(caught.value)
    return str(caught.value)


# What custodian mends, and what nobody can.


@pytest.mark.parametrize("name", ["brmix", "zbrent", "eddrmm", "rhosyg"])
def test_a_recorded_failure_is_mended_and_recorded(name: str, program: Path, tmp_path: Path) -> None:
    plain = VASP.outcome(tmp_path / "plain", "relax")
    text = (RECORDED / "stdout" / f"vasp.{name}").read_text(encoding="utf-8", errors="replace")
    install(program, Behaviour(say=text, times=1))
    outcome = VASP.outcome(tmp_path / "mended", "relax")
    assert outcome.corrections
    assert name in outcome.corrections[0]
    assert outcome.energy_ev == pytest.approx(plain.energy_ev, abs=2e-3)
    assert runs(program) == 2
    assert not plain.corrections


def test_a_correction_stays_in_the_next_launch(program: Path, tmp_path: Path) -> None:
    text = (RECORDED / "stdout" / "vasp.eddrmm").read_text(encoding="utf-8", errors="replace")
    install(program, Behaviour(say=text, times=1, seconds_per_step=0.0))
    directory = VASP.prepared(tmp_path / "run", "relax", max_steps=2)
    with pytest.raises(Unconverged):
        VASP.finish(directory)
    VASP.prepared(directory, "relax")
    outcome = VASP.finish(directory)
    changed = json.loads((directory / "state.json").read_text())["changes"]
    assert changed
    incar = (directory / "INCAR").read_text()
    assert all(f"{tag} = " in incar for tag, value in changes(changed).items() if value is not None)
    assert "eddrmm" in outcome.corrections[0]


def changes(state: dict[str, object]) -> dict[str, object]:
    return state


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (Behaviour(say="Error: no license found for this host"), "no license found"),
        (Behaviour(nothing=True), "ended without a result"),
        (Behaviour(truncate_after=1), "ended without a result"),
        (Behaviour(electrons=False), "did not converge|Unconverged"),
    ],
)
def test_failures_that_nobody_mends_are_told(behaviour: Behaviour, words: str, program: Path, tmp_path: Path) -> None:
    install(program, behaviour)
    assert re.search(words, failing(tmp_path / "run", "static"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sh -c 'exit 3'", r"ended without a result \(exit status 3\)"),
        ("sh -c 'kill -SEGV $$'", r"ended without a result, by signal 11 \(SIGSEGV\)"),
        ("module load vasp && vasp_gam", "vasp_gam: .*begins with module, which only a shell knows"),
        ("", "vasp_gam: it is empty"),
    ],
)
@pytest.mark.usefixtures("vasp")
def test_commands_that_do_not_work(command: str, words: str, tmp_path: Path) -> None:
    directory = VASP.prepared(tmp_path / "run", "static")
    with pytest.raises(EngineError, match=words) as caught:
        make_engine("vasp", Settings(worker={"vasp_gam": command})).run(directory, Limits(), Stop())
    assert not isinstance(caught.value, Killed)


@pytest.mark.usefixtures("vasp")
def test_a_killed_launcher_has_not_failed(tmp_path: Path) -> None:
    directory = VASP.prepared(tmp_path / "run", "static")
    engine = make_engine("vasp", Settings(worker={"vasp_gam": "sh -c 'kill -KILL $$'"}))
    with pytest.raises(Killed, match=r"ended without a result, by signal 9 \(SIGKILL\): out of memory\?"):
        engine.run(directory, Limits(), Stop())


OSZICAR = """       N       E                     dE             d eps       ncg     rms          rms(c)
DAV:   1    -0.105803487E+02   -0.10580E+02   -0.27E+03  1360   0.481E+02
RMM:   2    -0.121211563E+02   -0.15408E+01   -0.14E+01  1648   0.361E+01    0.412E+00
   1 F= -.12113869E+02 E0= -.12113869E+02  d E =-.121139E+02
       N       E                     dE             d eps       ncg     rms          rms(c)
"""


def test_progress_while_it_runs(vasp: Path, tmp_path: Path) -> None:
    directory = VASP.prepared(tmp_path / "run", "relax")
    engine = VASP.engine()
    assert engine.progress(directory) == Progress(criterion_ev_per_a=0.02)
    lines = OSZICAR.splitlines(keepends=True)
    (directory / "OSZICAR").write_text("".join(lines[:3]))
    assert engine.progress(directory) == Progress("", None, None, 0.02, 2)
    (directory / "OUTCAR").write_text(
        " POSITION                                       TOTAL-FORCE (eV/Angst)\n ------\n"
        "  0.0 0.0 0.0   3.0 0.0 4.0\n  1.0 0.0 0.0   -0.03 0.0 0.0\n ------\n"
    )
    (directory / "OSZICAR").write_text(OSZICAR)
    assert engine.progress(directory) == Progress("", 0, 5.0, 0.02, None)
    (directory / "OSZICAR").write_text(OSZICAR + lines[1])
    assert engine.progress(directory) == Progress("", 0, 5.0, 0.02, 1)


def test_overlapping_atoms_end_the_run(program: Path, tmp_path: Path) -> None:
    install(program, Behaviour(seconds_per_step=3.0))
    atoms = host_with_na()
    atoms.positions[-1] = atoms.positions[1] + [0, 0, 1.1]
    directory = VASP.prepared(tmp_path / "run", "relax", atoms)
    with pytest.raises(EngineError, match=r"atoms overlap; check the start geometry"):
        VASP.engine().run(directory, Limits(), Stop())


def test_what_is_not_there(vasp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert "vasp_gam is not found here" in failing(tmp_path / "a", "static")
    monkeypatch.delenv("PMG_VASP_PSP_DIR")
    assert "no POTCARs: name their library with `potcars`" in failing(tmp_path / "b", "static")


# One VASP a directory, and an end in time.

PARENT = """
import sys
from pathlib import Path
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Limits, Settings, Stop

make_engine("vasp", Settings()).run(Path(sys.argv[1]), Limits(), Stop())
"""


def test_a_vasp_that_outlives_its_sodiate_keeps_others_out(program: Path, warm: Warm, tmp_path: Path) -> None:
    """Where the kernel does not end it (another node, another system), the lock that it holds does."""
    install(program, Behaviour(seconds_per_step=60.0))
    directory = VASP.prepared(tmp_path / "run", "relax")
    code = "import sodiate.workflows.engines.shared.processes as p; p._end_with_parent = None\n" + PARENT
    parent = warm.start(["-c", str(directory)], tmp_path, code)
    end = time.monotonic() + 60
    while not (program / "runs").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    vasp_pid = int((program / "runs").read_text().split()[0])
    parent.kill()
    parent.wait(10)
    try:
        os.kill(vasp_pid, 0)  # it lives
        with pytest.raises(EngineError, match="another process still computes there"), locked(directory, 0.5):
            pass
    finally:
        os.kill(vasp_pid, signal.SIGKILL)
    with locked(directory, 10.0):
        pass


def test_the_wall_time_ends_a_step_and_the_next_launch_goes_on(program: Path, tmp_path: Path) -> None:
    """Custodian's handler lets VASP finish its ionic step; what it reached is where the next launch begins."""
    install(program, Behaviour(seconds_per_step=1.0))
    directory = VASP.prepared(tmp_path / "run", "relax")
    with pytest.raises(Stopped, match="wall time"):
        VASP.engine().run(directory, Limits(wall_time_s=8.0), Stop())
    with pytest.raises(EngineError):
        VASP.engine().collect(directory)
    assert not (directory / "STOPCAR").exists()
    install(program)
    outcome = VASP.finish(directory)
    plain = VASP.outcome(tmp_path / "plain", "relax")
    assert outcome.energy_ev == pytest.approx(plain.energy_ev, abs=2e-3)
    assert len(list((directory / "launches").iterdir())) == 1
    assert runs(program) == 2


class UsersStopcar(Stop):
    """Somebody writes LABORT into STOPCAR once the SCF cycle has begun; sodiate itself is not asked to stop."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def requested(self) -> bool:
        oszicar = self.directory / "OSZICAR"
        if oszicar.exists() and "DAV:" in oszicar.read_text():
            (self.directory / "STOPCAR").write_text("LABORT = .TRUE.\n")
        return False


@pytest.mark.parametrize("kind", ["static", "atom", "bulk", "density", "dos", "relax", "relax_cell"])
def test_a_run_that_was_ended_within_its_scf_cycle_is_never_done(kind: str, program: Path, tmp_path: Path) -> None:
    """Its files are whole and it has fewer steps than NELM; the last change of its energy is what tells."""
    plain = VASP.outcome(tmp_path / "plain", kind)
    install(program, Behaviour(seconds_per_step=20.0))
    directory = VASP.prepared(tmp_path / "run", kind)
    with pytest.raises(
        Unconverged, match=r"electrons did not converge: .*(changed the energy by|after 1 electronic)"
    ):
        VASP.engine().run(directory, Limits(), UsersStopcar(directory))
    assert (directory / "OUTCAR").read_text().count("Voluntary context switches") == 1
    with pytest.raises(EngineError):
        VASP.engine().collect(directory)
    install(program)
    outcome = VASP.finish(directory)
    assert outcome.energy_ev == (None if plain.energy_ev is None else pytest.approx(plain.energy_ev, abs=1e-6))
    assert len(list((directory / "launches").iterdir())) >= 1


def test_a_stage_that_was_ended_within_its_scf_cycle_is_not_gone_on_from(program: Path, tmp_path: Path) -> None:
    install(program, Behaviour(seconds_per_step=20.0))
    calculation, directory = VASP.calculation("static", dipole_correction=True), tmp_path / "run"
    VASP.engine().prepare(calculation, VASP.start("static"), directory, {})
    with pytest.raises(Unconverged, match="the electrons did not converge"):
        VASP.engine().run(directory, Limits(), UsersStopcar(directory))
    assert runs(program) == 1
    assert json.loads((directory / "state.json").read_text())["stage"] == 0


class Signal(UsersStopcar):
    """A request to end within some seconds, once the SCF cycle has begun; keeps what STOPCAR said meanwhile."""

    def __init__(self, directory: Path, seconds: float) -> None:
        super().__init__(directory)
        self.left, self.said = seconds, [""]

    def requested(self) -> bool:
        oszicar, stopcar = self.directory / "OSZICAR", self.directory / "STOPCAR"
        if oszicar.exists() and "DAV:" in oszicar.read_text():
            self.request("SIGUSR1", self.left)
        words = stopcar.read_text() if stopcar.exists() else ""
        if words != self.said[-1]:
            self.said.append(words)
        return self._event.is_set()


@pytest.mark.parametrize("labort", [True, False])
def test_vasp_is_asked_by_lstop_first_and_by_labort_near_the_end(labort: bool, program: Path, tmp_path: Path) -> None:
    """What ends within its SCF cycle leaves a WAVECAR; where LABORT is switched off, it is killed, and goes on."""
    plain = VASP.outcome(tmp_path / "plain", "relax")
    install(program, Behaviour(seconds_per_step=60.0, leisurely=True, labort=labort))
    directory = VASP.prepared(tmp_path / "run", "relax")
    stop = Signal(directory, 20.0)
    with pytest.raises(Stopped, match="SIGUSR1"):
        VASP.engine().run(directory, Limits(), stop)
    assert stop.said[1] == "LSTOP = .TRUE.\n"
    assert labort or stop.said[2] == "LSTOP = .TRUE.\nLABORT = .TRUE.\n"
    assert (directory / "WAVECAR").exists() is labort
    with pytest.raises(EngineError):
        VASP.engine().collect(directory)
    install(program)
    assert VASP.finish(directory).energy_ev == pytest.approx(plain.energy_ev, abs=2e-3)


def test_an_exit_code_after_a_whole_run_is_told_and_the_files_count(program: Path, tmp_path: Path) -> None:
    plain = VASP.outcome(tmp_path / "plain", "relax")
    install(program, Behaviour(code=3))
    outcome = VASP.outcome(tmp_path / "run", "relax")
    assert outcome.energy_ev == plain.energy_ev
    assert outcome.notes[-1] == "VASP ended with exit code 3 after a whole run, which is judged by its files"
    install(program, Behaviour(code=3, electrons=False))
    assert "did not converge" in failing(tmp_path / "unconverged", "static") or runs(program) > 1


@pytest.mark.parametrize(
    ("stars", "words"), [("energy", r"\*\*\*\* in place of an energy"), ("force", r"\*\*\*\* in place of a force")]
)
def test_stars_are_no_numbers(stars: str, words: str, program: Path, tmp_path: Path) -> None:
    install(program, Behaviour(stars=stars))
    for kind in ("static", "relax"):
        assert re.search(words, failing(tmp_path / kind, kind))


def test_a_parameter_that_does_not_fit_its_field(program: Path, tmp_path: Path) -> None:
    """VASP 5.4 writes KINTER ******; all else of its file is whole."""
    plain = VASP.outcome(tmp_path / "plain", "static")
    install(program, Behaviour(stars="kinter"))
    outcome = VASP.outcome(tmp_path / "run", "static")
    assert "******" in (tmp_path / "run" / "vasprun.xml").read_text()
    assert outcome.energy_ev == plain.energy_ev
    assert outcome.method == plain.method


def test_stars_in_outcar_are_a_large_force(tmp_path: Path) -> None:
    line = " " + "-" * 83 + "\n"
    rows = "   0.0 0.0 0.0   0.1 0.2 0.3\n   0.0 0.0 1.0  ***************  0.0 0.0\n"
    (tmp_path / "OUTCAR").write_text(f" POSITION     TOTAL-FORCE (eV/Angst)\n{line}{rows}{line}")
    assert largest_force(tmp_path / "OUTCAR") == np.inf


def test_a_torn_wavecar_is_not_begun_with(program: Path, tmp_path: Path) -> None:
    from sodiate.workflows.engines.vasp.launch import is_torn

    engine = make_engine("vasp", Settings(worker={"keep": ["WAVECAR"]}))
    engine.run(VASP.prepared(tmp_path / "run", "static"), Limits(), Stop())
    waves = tmp_path / "run" / "WAVECAR"
    assert not is_torn(waves)
    waves.write_bytes(waves.read_bytes()[:-300])
    assert is_torn(waves)
    waves.write_bytes(b"")
    assert is_torn(waves)
    assert not is_torn(tmp_path / "nowhere")


# Kinds.


def dipole(kind: str, directory: Path, atoms: Atoms | None = None) -> Outcome:
    calculation = VASP.calculation(kind, dipole_correction=True)
    VASP.engine().prepare(calculation, atoms or VASP.start(kind), directory, {})
    return VASP.finish(directory)


def test_a_dipole_correction_is_a_stage_of_its_own(program: Path, tmp_path: Path) -> None:
    outcome = dipole("relax", tmp_path / "run")
    assert outcome.sampling is not None
    assert outcome.sampling.dipole_correction is True
    assert runs(program) == 2
    assert [path.name for path in (tmp_path / "run" / "launches").iterdir()] == ["001-stage-1"]
    assert outcome.trajectory is not None
    assert len(outcome.trajectory.energies_ev) == 1  # the first stage left nothing to do


def test_the_vacuum_levels_of_both_faces(program: Path, tmp_path: Path) -> None:
    """As the stand-in's LOCPOT has them, which is large and does not stay."""
    outcome = dipole("dos", tmp_path / "run")
    assert outcome.vacuum_ev == pytest.approx((4.0, 4.7), abs=1e-3)
    assert not (tmp_path / "run" / "LOCPOT").exists()
    assert VASP.outcome(tmp_path / "plain", "dos").vacuum_ev == pytest.approx((4.0, 4.0), abs=1e-3)
    assert VASP.outcome(tmp_path / "relax", "relax").vacuum_ev is None


def test_a_cell_keeps_its_vacuum_or_is_refused(program: Path, tmp_path: Path) -> None:
    start = VASP.sheet()
    outcome = VASP.outcome(tmp_path / "kept", "relax_cell")
    assert outcome.atoms is not None
    assert outcome.atoms.cell[2].tolist() == pytest.approx(start.cell[2].tolist(), abs=1e-7)
    assert outcome.atoms.cell[0, 0] == pytest.approx(1.002**2 * start.cell[0, 0], rel=1e-5)  # as the stand-in wants
    assert outcome.stress_ev_per_a3 is not None
    install(program, Behaviour(move_c=True))
    assert "ignores LATTICE_CONSTRAINTS; use 6.4 or newer" in refused_cell(tmp_path / "moved")


def scanned(directory: Path, atoms: Atoms, **protocol: Any) -> Outcome:
    """A lattice constant by E(a)."""
    engine = VASP.engine(cell="scan")
    directory.mkdir(exist_ok=True)
    engine.prepare(VASP.calculation("relax_cell", **protocol), atoms, directory, {})
    engine.run(directory, Limits(), Stop())
    return engine.collect(directory)


def stretched(atoms: Atoms, a: float) -> Atoms:
    """The sheet with another lattice constant."""
    cell = atoms.cell.array.copy()
    cell[:2] *= a / atoms.cell.lengths()[0]
    atoms.set_cell(cell, scale_atoms=True)
    return atoms


def least_a(atoms: Atoms) -> float:
    """The lattice constant of least energy of the dry potential (2.7 Å), by a search, the atoms relaxed at each a."""
    from ase.optimize import BFGS
    from scipy.optimize import minimize_scalar
    from sodiate.workflows.engines.emt.parameters import load_parameters
    from sodiate.workflows.engines.emt.potential import potential

    def energy(a: float) -> float:
        trial = stretched(atoms.copy(), a)
        trial.calc = potential(trial.get_chemical_symbols(), load_parameters())
        BFGS(trial, logfile=None).run(fmax=0.001, steps=500)
        return float(trial.get_potential_energy())

    a = float(atoms.cell.lengths()[0])
    return float(minimize_scalar(energy, bounds=(0.8 * a, 0.9 * a), method="bounded", options={"xatol": 1e-4}).x)


def test_a_lattice_constant_by_a_scan_for_an_older_vasp(program: Path, tmp_path: Path) -> None:
    """And killed on its way, twice in a stage: each stage has the cell that it is to have."""
    a = least_a(VASP.sheet())
    start = stretched(VASP.sheet(), a / 1.008)
    outcome = scanned(tmp_path / "scan", start)
    assert outcome.atoms is not None
    assert outcome.atoms.cell.lengths()[0] == pytest.approx(a, abs=2e-3)
    assert outcome.atoms.cell[2].tolist() == pytest.approx(start.cell[2].tolist(), abs=1e-9)
    assert "by E(a): a cubic through 5 energies" in outcome.notes[-1]
    assert runs(program) == 6
    install(program, Behaviour(die_after=1, times=3))
    for _ in range(3):
        with pytest.raises(EngineError):
            scanned(tmp_path / "killed", start)
    again = scanned(tmp_path / "killed", start)
    assert again.atoms is not None
    assert again.atoms.cell.lengths()[0] == pytest.approx(outcome.atoms.cell.lengths()[0], abs=1e-3)


def test_a_scan_that_ends_at_its_end_is_refused(program: Path, tmp_path: Path) -> None:
    start = stretched(VASP.sheet(), 0.95 * VASP.sheet().cell.lengths()[0])
    with pytest.raises(EngineError, match=r"least at an end of the scan \(0.98: .*declare a nearer lattice constant"):
        scanned(tmp_path / "scan", start)


def refused_cell(directory: Path) -> str:
    VASP.prepared(directory, "relax_cell")
    with pytest.raises(EngineError) as caught:
        VASP.finish(directory)
    return str(caught.value)


def test_densities_count_the_valence_electrons_on_one_grid(program: Path, tmp_path: Path) -> None:
    atoms = VASP.atoms()
    found = {}
    for name, part in {"all": atoms, "host": atoms[:-1], "Na": atoms[-1:]}.items():
        density = VASP.outcome(tmp_path / name, "density", part).density
        assert density is not None
        valence = {head[0].split()[1].split("_")[0]: head[1] for head in HEADS.values()} | {"W": 14}
        assert integral(density) == pytest.approx(sum(valence[symbol] for symbol in part.symbols), abs=1e-3)
        found[name] = density.values_per_a3
    assert found["all"].shape == found["host"].shape == found["Na"].shape
    assert np.abs(found["all"] - found["host"] - found["Na"]).max() < 1e-4 * found["all"].max()


def test_a_dos_without_the_charge_density_says_so(program: Path, tmp_path: Path) -> None:
    outcome = VASP.outcome(tmp_path / "dos", "dos")
    assert "self-consistent on the denser mesh" in " ".join(outcome.notes)
    host = VASP.outcome(tmp_path / "host", "static")
    assert host.energy_ev is not None
    directory = tmp_path / "with"
    VASP.prepared(directory, "dos")
    shutil.copy(tmp_path / "host" / "CHGCAR", directory)
    again = VASP.finish(VASP.prepared(directory, "dos"))
    assert "self-consistent" not in " ".join(again.notes)
    assert again.bands is not None
    assert outcome.bands is not None
    assert again.bands.energies_ev == pytest.approx(outcome.bands.energies_ev, abs=1e-9)
    _says_up_to_where_it_is_whole(again, directory / "vasprun.xml")


def _says_up_to_where_it_is_whole(outcome: Outcome, xml: Path) -> None:
    """The last row of each block of eigenvalues in the file is the highest band there; above the least of them one is
    missing."""
    text = xml.read_text()
    text = text[text.rindex("<eigenvalues>", 0, text.index("<projected>")) :].partition("</eigenvalues>")[0]
    blocks = [block.split("</r>") for block in re.split(r'<set comment="kpoint \d+">', text)[1:]]
    tops = [float(rows[-2].partition("<r>")[2].split()[0]) for rows in blocks]
    fermi = float(re.findall(r'name="efermi"> *([-\d.]+)', xml.read_text())[-1])
    count = len(blocks[0]) - 1
    said = f"the DOS is whole up to {min(tops) - fermi:.1f} eV from E_F, where the last of {count} bands begins"
    assert said in outcome.notes


def test_weights_on_atoms_are_in_the_order_of_the_atoms(program: Path, tmp_path: Path) -> None:
    """VASP groups them by species; levels of vacancies are told by the weights on some atoms of ours."""
    atoms, shuffle = host_with_na(), [1, 0, 3, 2]
    atoms.symbols = ["W", "Se", "Se", "Na"]  # so that a Se is between others, once shuffled
    found = []
    for name, order in (("plain", [0, 1, 2, 3]), ("shuffled", shuffle)):
        VASP.engine().prepare(VASP.calculation("dos"), atoms[order], tmp_path / name, {})
        bands = VASP.finish(tmp_path / name).bands
        assert bands is not None
        assert bands.by_atom is not None
        found.append(bands.by_atom.astype(float).sum(axis=(0, 1)))
    assert found[1] == pytest.approx(found[0][:, shuffle], abs=0.05)
    assert np.abs(found[1] - found[0]).max() > 0.5


@pytest.mark.parametrize("damage", ["none", "moved", "another cell", "other atoms", "torn", "empty"])
def test_a_dos_takes_the_charge_density_of_its_own_atoms_alone(damage: str, vasp: Path, tmp_path: Path) -> None:
    """What lies in the host's directory may be of another run; then the record says that it was not used."""
    from sodiate.workflows.engines.base import Artefacts
    from support.fake_vasp.outputs import write_chgcar

    atoms, host = host_with_na(), tmp_path / "host"
    written = atoms.copy()
    if damage == "moved":
        written.positions[0, 2] += 0.01
    elif damage == "another cell":
        written.cell[2, 2] += 0.1
    elif damage == "other atoms":
        written.symbols[0] = "Mo"
    host.mkdir()
    with contextlib.chdir(host):
        write_chgcar(written, (4, 4, 4), [1.0] * 4, None)
    path = host / "CHGCAR"
    path.write_text({"torn": path.read_text()[:120], "empty": ""}.get(damage, path.read_text()))
    parent: Any = Artefacts(None, host)  # type: ignore[arg-type]
    directory = tmp_path / "dos"
    VASP.engine().prepare(VASP.calculation("dos"), atoms, directory, {"geometry": parent})
    assert (directory / "CHGCAR").exists() is (damage == "none")


def test_bands_go_on_where_they_were_killed(program: Path, tmp_path: Path) -> None:
    """Killed along the path, the density before it stays; without the bands of that stage nothing is told."""
    protocol = {**VASP.protocol, "band_points": 9}
    atoms, whole, killed = host_with_na()[:-1], tmp_path / "whole", tmp_path / "killed"
    for directory in (whole, killed):
        VASP.engine().prepare(VASP.calculation("bands", **protocol), atoms, directory, {})
    expected = VASP.finish(whole).bands
    install(program, Behaviour(die_after=1, incar="ICHARG = 11"))
    with pytest.raises(EngineError):
        make_engine("vasp", Settings()).run(killed, Limits(), Stop())
    install(program)
    again = VASP.finish(killed)
    assert again.bands is not None
    assert expected is not None
    assert np.array_equal(again.bands.energies_ev, expected.energies_ev)
    by_shell = present(again.bands.by_shell).astype(float)
    np.testing.assert_allclose(by_shell.sum(axis=-1), present(again.bands.by_atom), atol=2e-3)
    assert by_shell[..., 0, 2].max() > 0.2  # W, the first of our atoms, has d states alone
    assert not by_shell[..., 0, :2].any()
    assert again.sampling is not None
    assert again.sampling.kmesh is None
    assert (again.bands.occupations.sum(axis=2) == again.bands.occupations[0, 0].sum()).all()
    (before,) = (killed / "launches").glob("*-stage-1/vasprun.xml")
    before.write_text(before.read_text()[:5000])
    with pytest.raises(EngineError, match=r"launches.*vasprun.xml is missing or damaged"):
        VASP.engine().collect(killed)


# Parsing of what a real VASP wrote.


def test_fingerprints_of_recorded_runs() -> None:
    sodium_chloride = read_vasprun(RECORDED / "vasprun_NaCl_insulator_static.xml.gz")
    method, sampling = method_of(sodium_chloride, "vasp"), sampling_of(sodium_chloride)
    assert (method.engine_version, method.functional, method.cutoff_ev) == ("5", "PBE", 500.0)
    assert method.paw == {"Na": "PAW_PBE Na_pv 19Sep2006", "Cl": "PAW_PBE Cl 06Sep2000"}
    assert method.numerics == {"PREC": "accura", "LREAL": "false", "LASPH": "false", "ADDGRID": "true"}
    assert (sampling.kmesh, sampling.smearing, sampling.spin_polarised) == ((5, 5, 5), "ISMEAR -5", False)
    aluminium = sampling_of(read_vasprun(RECORDED / "vasprun_Al_metal_spin_static.xml.gz"))
    assert (aluminium.kmesh, aluminium.spin_polarised) == ((11, 11, 11), True)


def test_stress_has_the_sign_of_ase() -> None:
    """A cell under pressure (positive kB) wants to grow: negative in ASE, 1 eV/Å³ being 1602.18 kB."""
    assert ase_stress([[16.0218, 1, 2], [1, 32.0, 3], [2, 3, -5]])[0] == pytest.approx(-0.01, rel=1e-4)
    sheared = ase_stress([[0, 1, 2], [1, 0, 3], [2, 3, 0]])[3:]
    assert sheared == pytest.approx(np.array([-3, -2, -1]) / 1602.177, rel=1e-4)


def paths(path: Path) -> set[tuple[str, ...]]:
    """The elements of an XML file, each as its path of tags, with the name where that is no parameter's."""
    import gzip
    import xml.etree.ElementTree as ET

    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found: set[tuple[str, ...]] = set()

    def visit(element: ET.Element, above: tuple[str, ...]) -> None:
        attributes = sorted(set(element.attrib) - {"type", "comment", "dim", "param"})
        values = element.tag in ("i", "v", "separator") and bool({"incar", "parameters"} & set(above))
        named = [element.attrib["name"]] if "name" in attributes and not values else []
        here = (*above, element.tag + (f"[{named[0]}]" if named else ""))
        found.add(here)
        for child in element:
            visit(child, here)

    visit(ET.fromstring(text), ())
    return {one for one in found if "parameters" not in one}


def test_the_stand_in_writes_what_real_ones_have(program: Path, tmp_path: Path) -> None:
    """No element of its vasprun.xml is one that recorded real files lack, or stands elsewhere."""
    VASP.outcome(tmp_path / "relax", "relax")
    VASP.outcome(tmp_path / "dos", "dos")
    real = set().union(*(paths(path) for path in RECORDED.glob("vasprun*.gz")))
    for kind in ("relax", "dos"):
        ours = paths(tmp_path / kind / "vasprun.xml")
        assert len(ours) > 30
        assert sorted(ours - real) == []


def test_large_files_go_unless_they_are_to_be_kept(program: Path, tmp_path: Path) -> None:
    VASP.outcome(tmp_path / "run", "static")
    assert (tmp_path / "run" / "CHGCAR").exists()
    assert not (tmp_path / "run" / "WAVECAR").exists()
    directory = VASP.prepared(tmp_path / "kept", "static")
    engine = make_engine("vasp", Settings(worker={"keep": ["WAVECAR"]}))
    engine.run(directory, Limits(), Stop())
    assert (directory / "WAVECAR").exists()
    assert not (directory / "CHGCAR").exists()


@pytest.mark.parametrize(
    ("line", "cores"),
    [
        (" running on   16 total cores", 16),  # VASP 5
        (" running   32 mpi-ranks, with    8 threads/rank", 256),  # 5.4.4, from the recorded output above
        (" running    4 mpi-ranks, with    1 threads/rank, on    1 nodes", 4),  # VASP 6
        (" running    4 mpi-ranks, on    1 nodes", 4),
        (" distrk:  each k-point on   32 cores,    1 groups", None),
    ],
)
def test_the_cores_that_outcar_names(line: str, cores: int | None, tmp_path: Path) -> None:
    text = f" vasp.6.4.2 20Jul23 (build) complex\n\n executed on LinuxGNU date 2026.01.01\n{line}\n distr: one\n"
    (tmp_path / "OUTCAR").write_text(text)
    assert cores_of(tmp_path) == cores
