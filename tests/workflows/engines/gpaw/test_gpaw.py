"""The GPAW engine: its settings, the remedies of custodian's handlers, bad set-ups, and one small real campaign.

Fake commands stand in for mpiexec where it is the command that fails. Oracles of the real run: a plain GPAW script
without sodiate, in GPAW's older implementation.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.units import Bohr
from sodiate import SodiateError
from sodiate.analysis.electrons.density import check_state, integral, planar_average, term_names
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import EngineError, Killed, Limits, Settings
from sodiate.workflows.engines.gpaw.engine import default_command, usable_ranks
from sodiate.workflows.engines.gpaw.handlers import FrozenHandler, ScfHandler
from sodiate.workflows.engines.gpaw.inputs import GpawInputs, calculator_settings
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.export import write_results
from sodiate.workflows.results.report_data import gather
from sodiate.workflows.results.results import Results
from sodiate.workflows.stop import Stop
from support import DATA, present
from support.cli import Cli
from support.engine_cases import GPAW, GPAW_PROTOCOL

TINY = DATA / "gpaw-tiny.yaml"

SLAB_PROTOCOL = GPAW_PROTOCOL | {"dipole_correction": True, "kpoint_length_a": 19.5}


# Settings.


def test_settings_say_what_the_protocol_says() -> None:
    atoms = plan("wsse-gpaw")["WSSe+VS/V_S@top"].atoms()
    settings = calculator_settings(SLAB_PROTOCOL | {"cutoff_ev": 500.0}, atoms, "relax", "here")
    assert settings["mode"] == {"name": "pw", "ecut": 500.0}
    assert settings["kpts"] == {"size": [2, 2, 1], "gamma": True}
    assert settings["poissonsolver"] == {"dipolelayer": "xy"}
    assert settings["convergence"]["energy"] == {"name": "energy", "tol": 1e-6, "relative": False}
    # Order 0 of Methfessel and Paxton is Gaussian smearing.
    assert settings["occupations"] == {"name": "methfessel-paxton", "order": 0, "width": 0.1}


def test_start_moments_by_role() -> None:
    from sodiate.workflows.start_structures import start_moments

    planned = plan("wsse-gpaw")
    host = planned["WSSe+VS"]
    moments = start_moments(host.calculation, 26)
    assert moments is not None
    symbols = host.atoms().get_chemical_symbols()
    assert [symbols[i] for i, moment in enumerate(moments) if moment == 0.5] == ["W"] * 3
    with_na = start_moments(planned["WSSe+VS/V_S@top"].calculation, 27)
    assert with_na == [*moments, 1.0]
    assert start_moments(planned["WSSe+VS/dos"].calculation, 26) == moments
    assert start_moments(planned["Na"].calculation, 1) == [1.0]
    assert set(start_moments(planned["WSe2"].calculation, 27) or []) == {0.0}


def test_a_protocol_that_gpaw_cannot_take() -> None:
    atoms = plan("wsse-gpaw")["WSSe"].atoms()
    with pytest.raises(EngineError, match=r"here.*lacks cutoff_ev"):
        calculator_settings(SLAB_PROTOCOL | {"cutoff_ev": None}, atoms, "relax", "here")


def test_a_slab_without_vacuum_is_refused() -> None:
    atoms = plan("wsse-gpaw")["WSSe"].atoms()
    atoms.cell[2, 2] = 8.0
    with pytest.raises(EngineError, match=r"4\.\d Å of vacuum"):
        calculator_settings(SLAB_PROTOCOL, atoms, "relax", "here")


# Commands that fail.


def run_with(command: str, directory: Path, kind: str = "static") -> str:
    """Run a prepared calculation with a command in GPAW's place; return the error."""
    GPAW.prepared(directory, kind)
    engine = make_engine("gpaw", Settings(worker={"gpaw_command": command}))
    with pytest.raises(EngineError) as caught:
        engine.run(directory, Limits(), Stop())
    with pytest.raises(EngineError):
        engine.collect(directory)
    assert str(directory) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    """A command that fails as the file ``plan`` says, one line a launch, and appends what it found corrected."""
    path = tmp_path / "fake"
    path.write_text(
        f"#!{sys.executable}\n"
        + textwrap.dedent("""
        import json, sys
        from pathlib import Path
        found = Path("corrections.json")
        with open("seen", "a") as seen:
            print(json.loads(found.read_text())["corrections"] if found.exists() else [], file=seen)
        launches = Path(sys.argv[1]).read_text().split()
        number = len(Path("seen").read_text().splitlines())
        kind = launches[min(number, len(launches)) - 1]
        Path("error.json").write_text(json.dumps({"type": kind, "reason": f"{kind}: told", "traceback": ""}))
        sys.exit(1)
    """)
    )
    path.chmod(0o755)
    return path


@pytest.mark.usefixtures("gpaw")
@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("no-such-mpiexec -n 2 gpaw", "no-such-mpiexec is not installed here, but the command is"),
        ("mpiexec -n 999 gpaw python run.py", "asks for 999 ranks, but only"),
        ("false", "'false' ended without a result"),
        ("true", "'true' ended without a result"),
        ("sh -c 'echo licence server down >&2; exit 3'", "without a result: licence server down"),
        ("sh -c 'exit 3'", r"\(exit status 3\)"),
        ("", "gpaw_command: it is empty"),
        ("mpiexec -n {cores} gpaw python run.py", r"gpaw_command: .*\{cores\} is not replaced; what is replaced is"),
        ("module load gpaw && gpaw python run.py", "gpaw_command: .* begins with module, which only a shell knows"),
        ("mpiexec -n 1 gpow python run.py", "there is no program gpow"),
        ("mpiexec -n 2 --oversubscribe sh -c 'kill -SEGV $$'", r"ended without a result, by signal 11 \(SIGSEGV\)"),
    ],
)
def test_commands_that_do_not_work(command: str, words: str, tmp_path: Path) -> None:
    assert re.search(words, run_with(command, tmp_path / "calculation"))


@pytest.mark.usefixtures("gpaw")
@pytest.mark.parametrize("signal", ["KILL", "TERM"])
@pytest.mark.parametrize("command", ["sh -c 'kill -{signal} $$'", "mpiexec -n 1 sh -c 'kill -{signal} $$'"])
def test_a_killed_launcher_or_rank_has_not_failed(command: str, signal: str, tmp_path: Path) -> None:
    directory = GPAW.prepared(tmp_path / "calculation", "static")
    engine = make_engine("gpaw", Settings(worker={"gpaw_command": command.replace("{signal}", signal)}))
    with pytest.raises(Killed, match=rf"ended without a result, by signal \d+ \(SIG{signal}\)") as caught:
        engine.run(directory, Limits(), Stop())
    assert ("out of memory?" in str(caught.value)) is (signal == "KILL")


@pytest.mark.usefixtures("gpaw")
def test_a_run_that_sodiate_ends_was_not_killed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(FrozenHandler.__init__, "__defaults__", (0.0,))
    assert "no output for 0 s: it hung twice" in run_with("sleep 60", tmp_path / "calculation")


# The default command.


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """A search path as cron's, on which there is no GPAW."""
    path = str(Path(present(shutil.which("mpiexec"))).parent)
    monkeypatch.setenv("PATH", path)
    assert shutil.which("gpaw") is None
    return path


@pytest.mark.usefixtures("gpaw", "elsewhere")
def test_two_ranks_run_where_openmpi_counts_one_core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As with hyperthreading. The GPAW is that of the running Python, whatever the search path is."""
    monkeypatch.setenv("HWLOC_SYNTHETIC", "pack:1 core:1 pu:2")
    monkeypatch.setenv("HWLOC_THISSYSTEM", "1")
    monkeypatch.setattr("sodiate.workflows.engines.gpaw.engine.share_of_cores", lambda: 2)
    monkeypatch.setattr("sodiate.workflows.engines.gpaw.engine.available_cores", lambda: 2)
    directory = tmp_path / "calculation"
    GPAW.engine().prepare(GPAW.calculation("static", kpoint_length_a=6.0), GPAW.atoms(), directory, {})
    GPAW.finish(directory)
    assert json.loads((directory / "result.json").read_text())["ranks"] == 2
    (entry,) = json.loads((directory / "custodian.json").read_text())
    command = entry["job"]["command"]
    assert command == f"mpiexec -n 2 {Path(sys.executable).with_name('gpaw')} python run.py"


def test_gpaw_is_that_of_the_running_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Beside it, or else its package; an mpiexec that lies there, as conda has it, goes with it."""
    python = tmp_path / "my env" / "python"
    python.parent.mkdir()
    monkeypatch.setattr(sys, "executable", str(python))
    assert default_command() == f"mpiexec -n {{ranks}} '{python}' -m gpaw python run.py"
    for name in ("gpaw", "mpiexec"):
        python.with_name(name).write_text("")
        python.with_name(name).chmod(0o755)
    beside = tmp_path / "my env"
    assert default_command() == f"'{beside}/mpiexec' -n {{ranks}} '{beside}/gpaw' python run.py"


@pytest.mark.usefixtures("gpaw")
@pytest.mark.parametrize(("worker", "bound"), [({}, False), ({"tasks": 1}, True)])
def test_ranks_are_bound_to_no_core_unless_it_is_theirs(worker: dict[str, int], bound: bool, tmp_path: Path) -> None:
    """Two runs at once would both be bound to the first core; in a job the cores are the job's."""
    directory = GPAW.prepared(tmp_path / "calculation", "static")
    command = "mpiexec -n 1 sh -c 'grep Cpus_allowed: /proc/self/status > cpus'"
    with pytest.raises(EngineError):
        make_engine("gpaw", Settings(worker=worker | {"gpaw_command": command})).run(directory, Limits(), Stop())
    cores = int((directory / "cpus").read_text().split()[1].replace(",", ""), 16).bit_count()
    allowed = len(os.sched_getaffinity(0))
    assert cores == (min(1, allowed) if bound else allowed)


@pytest.mark.usefixtures("gpaw")
def test_scf_ladder_is_climbed_and_ends(fake: Path, tmp_path: Path) -> None:
    (tmp_path / "plan").write_text("KohnShamConvergenceError")
    directory = tmp_path / "calculation"
    message = run_with(f"{fake} {tmp_path / 'plan'}", directory)
    assert "KohnShamConvergenceError: told" in message
    seen = (directory / "seen").read_text().splitlines()
    assert len(seen) == 3
    assert "mixer" in seen[1]
    assert "davidson" not in seen[1]
    assert "davidson" in seen[2]


@pytest.mark.usefixtures("gpaw")
def test_a_broken_symmetry_is_given_up_once(fake: Path, tmp_path: Path) -> None:
    (tmp_path / "plan").write_text("SymmetryBrokenError MemoryError")
    directory = tmp_path / "calculation"
    assert "MemoryError: told" in run_with(f"{fake} {tmp_path / 'plan'}", directory)
    assert json.loads((directory / "corrections.json").read_text())["corrections"][0]["set"] == {"symmetry": "off"}
    GPAW.prepared(directory, "static")  # the next launch keeps what helped
    assert (directory / "corrections.json").exists()
    moved = GPAW.atoms()
    moved.positions[0, 0] += 0.1
    GPAW.prepared(directory, "static", moved)  # other inputs do not
    assert not (directory / "corrections.json").exists()


def test_handlers_need_something_to_mend(tmp_path: Path) -> None:
    assert not ScfHandler().check(str(tmp_path))
    (tmp_path / "error.json").write_text("{")
    assert ScfHandler().correct(str(tmp_path))["actions"] is None


def test_a_run_without_output_is_started_again_once(tmp_path: Path) -> None:
    output = tmp_path / "gpaw-1.txt"
    output.touch()
    handler = FrozenHandler(seconds=100.0)
    assert not handler.check(str(tmp_path))
    os.utime(output, (time.time() - 200, time.time() - 200))
    assert handler.check(str(tmp_path))
    assert handler.correct(str(tmp_path))["actions"] == ["started again"]
    assert handler.correct(str(tmp_path))["actions"] is None
    assert "hung" in json.loads((tmp_path / "error.json").read_text())["reason"]


PARENT = """
import sys
from pathlib import Path
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import Limits, Settings, Stop

command = "mpiexec -n 1 sh -c 'echo $$ > pid; exec sleep 300'"
make_engine("gpaw", Settings(worker={"gpaw_command": command})).run(Path(sys.argv[1]), Limits(), Stop())
"""


@pytest.mark.usefixtures("gpaw")
def test_kill_of_sodiate_ends_the_ranks(tmp_path: Path) -> None:
    """A second launch must not find the first one's code at work in its directory."""
    directory = GPAW.prepared(tmp_path / "calculation", "static")
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(directory)])
    try:
        end = time.monotonic() + 60
        while not ((directory / "pid").exists() and (directory / "pid").read_text().strip()):
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    rank = Path("/proc") / (directory / "pid").read_text().strip()
    end = time.monotonic() + 20
    while rank.exists() and "Z" not in (rank / "stat").read_text().rsplit(")", 1)[1][:3]:
        assert time.monotonic() < end, "a rank outlived its parent"
        time.sleep(0.1)


@pytest.mark.usefixtures("gpaw")
@pytest.mark.parametrize("left", [0, 40_000])
def test_a_full_disk_is_told_and_room_is_all_it_takes(left: int, small_disk: Path) -> None:
    """Full from the start, and full once GPAW writes its density: nothing is collected, and nothing is in the way."""
    directory = GPAW.prepared(small_disk / "calculation", "static")
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(filler, filler.stat().st_size // 4096 * 4096 - left // 4096 * 4096)
    with pytest.raises(EngineError) as caught:
        GPAW.engine().run(directory, Limits(), Stop())
    assert str(directory) in str(caught.value)
    assert "disk is full; make room and retry" in str(caught.value)
    with pytest.raises(EngineError):
        GPAW.engine().collect(directory)
    filler.unlink()
    assert not list(small_disk.rglob("*.partial"))
    assert GPAW.finish(directory).converged


# One real campaign, small.


PLAIN = """
import json, sys
from ase.io import read
from gpaw import GPAW

settings = json.load(open(sys.argv[1]))["calculator"]
atoms = read(sys.argv[2])
atoms.set_initial_magnetic_moments([0.0] * len(atoms))
settings["mode"] = {"name": "pw", "ecut": settings["mode"]["ecut"]}
atoms.calc = GPAW(**settings, legacy_gpaw=True, txt=None)
print(atoms.get_potential_energy())
"""


@pytest.mark.usefixtures("gpaw", "mongod")
def test_a_small_campaign_for_real(cli: Cli, tmp_path: Path) -> None:
    shutil.copy(TINY, tmp_path)
    done = cli("run", "gpaw-tiny.yaml", "--root", "root", timeout=420)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mock" not in done.stdout
    (row,) = json.loads(cli("results", "--root", "root", "--format", "json").stdout)
    assert row["physical"] is True
    assert row["engine"] == "gpaw"
    assert -1.5 < row["adsorption_energy_ev"] < 0.5
    assert 1.0 < row["band_gap_ev"] < 2.5
    # A cutoff of 250 eV with a plane-wave stress: the cell comes out a little small.
    assert row["relaxed_lattice_a"] == pytest.approx(3.319, abs=0.02)
    assert "lattice constant 3.3" in done.stdout
    assert "WARNING" not in done.stdout
    assert row["difference_from_paper_ev"] == pytest.approx(row["adsorption_energy_ev"] + 1.27)
    shown = cli("show", "WSe2/T_W@top", "--root", "root").stdout
    assert "completed" in shown
    (host,) = (tmp_path / "root").glob("WSe2-*")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = json.loads((host / "result.json").read_text())
    from sodiate.analysis.records import Geometry

    Geometry.model_validate(result["geometry"]).atoms().write(tmp_path / "host.extxyz")
    command = [sys.executable, "-c", PLAIN, str(host / "input.json"), str(tmp_path / "host.extxyz")]
    plain = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert result["energy_ev"] == pytest.approx(float(plain.stdout), abs=2e-3)
    (dos,) = (tmp_path / "root").glob("WSe2_dos-*")
    assert json.loads((dos / "result.json").read_text())["density_from"] == "file"
    check_dos_of_best(tmp_path / "root", row)
    (atom,) = (tmp_path / "root").glob("Na-*")
    assert abs(json.loads((atom / "result.json").read_text())["total_moment_mub"]) == pytest.approx(1.0, abs=0.01)
    check_density_difference(tmp_path / "root")


def check_dos_of_best(root: Path, row: Mapping[str, Any]) -> None:
    """It goes on from the density of the chosen site's relaxation, which is none of its parents."""
    (folder,) = root.glob("WSe2_dos_best-*")
    assert json.loads((folder / "result.json").read_text())["density_from"] == "file"
    with Results.open(root) as results:
        dos, lowest, site = (results[f"WSe2/{name}"].record for name in ("dos/best", "lowest", "T_W@top"))
        together, alone = (results[f"WSe2/density/{name}"].record for name in ("Na-on-host", "Na"))
    assert dos.parents.keys() == {"lowest"}
    assert dos.geometry == lowest.geometry == site.geometry
    assert row["best_gap_nature"] == present(dos.gap).nature == "metal"
    assert (row["best_work_function_top_ev"], dos.vacuum_ev) == (None, None)  # 8 Å are too little for a level
    assert row["best_moment_mub"] == site.total_moment_mub
    electrons = present(together.basin_electrons)
    assert sum(electrons) == pytest.approx(33.0, abs=1e-3)
    assert list(present(alone.basin_electrons)) == [pytest.approx(7.0, abs=1e-3)]
    assert row["ion_charge_e"] == pytest.approx(7.0 - electrons[-1], abs=1e-3)


def check_cubes(root: Path, held: float) -> None:
    """Read back by another reader than the writer's, they hold the valence electrons, 26 of the sheet and 7 of Na."""
    from ase.io.cube import read_cube_data

    folder = root.parent / "cubes"
    with Results.open(root) as results:
        assert write_results(results, folder, "cube") == 2
        given = results.charge_transfer("WSe2")
    sums = {}
    for path in folder.glob("*/*.cube"):
        points, atoms = read_cube_data(str(path))
        sums[path.stem] = points.mean() * atoms.get_volume() / Bohr**3
        assert sorted(atoms.symbols) == ["Na", "Se", "Se", "W"]
    assert sums == {
        "WSe2-density": pytest.approx(33.0, abs=1e-3),
        "WSe2-difference": pytest.approx(held, abs=1e-3),
    }
    assert -0.2 < given.by_plane < 0.2
    assert -0.3 < given.by_basin < 0.9


def check_density_difference(root: Path) -> None:
    """No electron is lost; the dipole of Δρ is that of GPAW's own dipole moments; the state is the relaxed site's."""
    with Results.open(root) as results:
        difference = results.density_difference("WSe2")
        site, together = results["WSe2/T_W@top"].record, results["WSe2/density/Na-on-host"].record
        apart = [results[f"WSe2/density/{part}"].atoms for part in ("host", "Na")]
        atoms = results["WSe2/density/Na-on-host"].atoms
        lowest = results["WSe2/lowest"].record
        (host,) = gather(results)[0].hosts
        with pytest.raises(SodiateError, match="no density difference of 'WSe'"):
            results.density_difference("WSe")
    check_cubes(root, integral(difference))
    (surfaces,) = (panel.data["isosurfaces"] for panel in host.panels if panel.kind == "atoms")
    assert surfaces["gain"]["faces"]
    assert surfaces["loss"]["faces"]
    told = [re.fullmatch(r"Na gave (\S+) electrons to the sheet .*", line) for line in host.lines]
    # A full layer of Na is a metal of its own: it gives next to nothing, and is pushed back by the sheet.
    assert -0.2 < float(next(found for found in told if found)[1]) < 0.2
    other = together.model_copy(update={"energy_ev": present(site.energy_ev) + 0.2})  # as of Na without its spin
    with pytest.raises(SodiateError, match=r"T_W@top was relaxed to .* two electronic states"):
        check_state(other, lowest)
    assert together.energy_ev == pytest.approx(site.energy_ev, abs=1e-4)
    assert together.geometry == site.geometry
    assert np.array_equal(np.vstack([part.positions for part in apart]), atoms.positions)
    assert integral(difference) == pytest.approx(0.0, abs=1e-3)
    heights, profile = planar_average(difference)
    spacing = heights[1]
    heights[0] = atoms.cell[2, 2] / 2  # GPAW counts the plane between a slab and its image half for each
    moments = [
        float(re.search(r"dipole moment: \(.*, (\S+)\)", text.read_text())[1])  # type: ignore[index]
        for part in term_names("Na")
        for text in root.glob(f"WSe2_density_{part}-????????????????/gpaw-1.txt")
    ]
    assert len(moments) == 3
    assert (profile * heights).sum() * spacing == pytest.approx(-(moments[0] - moments[1] - moments[2]), abs=3e-3)
    assert abs(moments[0] - moments[1] - moments[2]) > 0.03


@pytest.mark.usefixtures("gpaw")
def test_the_two_vacuum_levels_of_a_janus_layer(tmp_path: Path) -> None:
    """Against GPAW's own work functions, and the step of 0.73 eV between the faces in C2DB: higher outside S."""
    layer = Monolayer(metal="W", top="S", bottom="Se", a=3.252, bond_top=2.416, bond_bottom=2.538)
    atoms = box(build_monolayer(layer, (1, 1)), vacuum=15.0, headroom=0.0)
    protocol = {"dipole_correction": True, "cutoff_ev": 250.0, "kpoint_length_a": 13.0}
    directory = tmp_path / "janus"
    directory.mkdir()
    GPAW.engine().prepare(GPAW.calculation("dos", **protocol), atoms, directory, {})
    outcome = GPAW.finish(directory)
    assert outcome.vacuum_ev is not None
    assert outcome.bands is not None
    told = re.search(r"Workfunctions: (\S+), (\S+) eV", (directory / "gpaw-1.txt").read_text())
    assert told is not None
    ours = [level - outcome.bands.fermi_ev for level in outcome.vacuum_ev]
    assert sorted(ours) == pytest.approx(sorted(map(float, told.groups())), abs=5e-3)
    assert outcome.vacuum_ev[1] - outcome.vacuum_ev[0] == pytest.approx(0.73, abs=0.05)


@pytest.mark.usefixtures("gpaw")
@pytest.mark.parametrize("content", [None, b"- of Ulm"])
def test_a_density_that_cannot_be_read_of_a_host_that_is_unknown(content: bytes | None, tmp_path: Path) -> None:
    directory = GPAW.prepared(tmp_path / "dos", "dos")
    if content is not None:
        (directory / "parent-density.gpw").write_bytes(content)
    outcome = GPAW.finish(directory)
    assert outcome.bands is not None
    assert "self-consistent on the mesh of the run" in outcome.notes[0]


@pytest.mark.usefixtures("gpaw")
def test_no_more_ranks_than_have_a_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crystal without symmetry on a 3×3×1 mesh: nine points, of which time reversal leaves (9 + 1) / 2."""
    from gpaw import utilities

    atoms = Atoms("H2", [[0.5, 0.6, 0.7], [1.2, 0.8, 0.9]], cell=[3.0, 3.3, 9.0], pbc=True)
    atoms.rattle(0.1, seed=1)
    calculation = GPAW.calculation("static", kpoint_length_a=9.0)
    GPAW.engine().prepare(calculation, atoms, tmp_path / "mesh", {})
    inputs = GpawInputs.read(tmp_path / "mesh")
    assert inputs.calculator["kpts"]["size"] == [3, 3, 1]
    GPAW.engine().prepare(GPAW.calculation("static", kpoint_length_a=0.0), atoms, tmp_path / "gamma", {})
    alone = GpawInputs.read(tmp_path / "gamma")
    for there, expected in ((False, {2: 2, 5: 5, 64: 5}), (True, {2: 2, 5: 5, 64: 64})):
        monkeypatch.setattr(utilities, "compiled_with_sl", lambda there=there: there)
        assert {free: usable_ranks(inputs, free) for free in expected} == expected
        assert usable_ranks(alone, 64) == 1
    monkeypatch.setattr(utilities, "compiled_with_sl", lambda: False)
    spins = replace(inputs, calculator={**inputs.calculator, "spinpol": True}, execution={})
    without = replace(spins, execution={"coarse": {"calculator": inputs.calculator}})
    of_host = replace(spins, host={"mesh": [1, 1, 1]})
    anew = replace(of_host, kind="dos")  # without its file the host's density is computed again, on the host's mesh
    assert [usable_ranks(case, 64) for case in (spins, without, of_host, anew)] == [10, 5, 10, 2]
    with pytest.raises(EngineError, match=r"asks for 6 ranks, but this calculation has 5 k points times spins"):
        make_engine("gpaw", Settings(worker={"gpaw_command": "mpiexec --oversubscribe -n 6 gpaw python run.py"})).run(
            tmp_path / "mesh", Limits(), Stop()
        )


@pytest.mark.usefixtures("gpaw")
def test_ranks_that_do_not_divide_the_k_points(tmp_path: Path) -> None:
    """Four ranks on five k points, of which GPAW itself would let two share each, which needs ScaLAPACK."""
    atoms = Atoms("H2", [[0.5, 0.6, 0.7], [1.2, 0.8, 0.9]], cell=[3.0, 3.3, 9.0], pbc=True)
    atoms.rattle(0.1, seed=1)
    energies = {}
    for ranks in (1, 4):
        directory = tmp_path / str(ranks)
        GPAW.engine().prepare(GPAW.calculation("static", kpoint_length_a=9.0), atoms, directory, {})
        command = f"mpiexec --oversubscribe -n {ranks} gpaw python run.py"
        engine = make_engine("gpaw", Settings(worker={"gpaw_command": command}))
        engine.run(directory, Limits(), Stop())
        energies[ranks] = engine.collect(directory).energy_ev
        assert json.loads((directory / "result.json").read_text())["ranks"] == ranks
    assert energies[4] == pytest.approx(present(energies[1]), abs=1e-8)
