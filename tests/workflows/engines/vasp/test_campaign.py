"""A campaign with the stand-in for VASP, and finished runs of a user's taken as records.

The oracle is the dry engine, whose forces the stand-in has: the same table by another path.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sodiate.workflows.database.mongod import PrivateMongod
from sodiate.workflows.results.results import Results
from support.campaigns import Finished, small_campaign
from support.cli import Cli
from support.fake_vasp import Behaviour, install
from support.servers import own_launchpad
from support.warm import Warm

pytestmark = pytest.mark.together("vasp-campaign")

RAW = ("INCAR", "KPOINTS", "POSCAR", "POTCAR", "CONTCAR", "OUTCAR", "OSZICAR", "vasprun.xml", "CHGCAR")


def energies(launchpad: Path) -> dict[str, float]:
    with Results.open(launchpad) as results:
        frame = results.adsorption()
    return dict(zip(frame["site"], frame["adsorption_energy_ev"], strict=True))


@pytest.fixture(scope="module")
def ran(
    vasp: Path, server: PrivateMongod, warm: Warm, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Finished]:
    """The small campaign, run once with the stand-in for all tests here, which only read it."""
    install(vasp)
    folder = tmp_path_factory.mktemp("ran")
    campaign = small_campaign(folder)
    with own_launchpad(server, folder / "launchpad") as launchpad:
        place = ["--launchpad", str(launchpad), "--root", "root"]
        done = warm.run(["sodiate", "run", campaign.name, "--engine", "vasp", *place], folder, 280)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "UnknownPotcarWarning" not in done.stderr
        yield Finished(campaign, folder / "root", launchpad, done.stdout)


def own_runs(root: Path, folder: Path) -> list[Path]:
    """Copy what VASP left, without anything of sodiate's, into folders with names of the user's."""
    made = []
    for number, directory in enumerate(sorted(root.glob("*-*/"))):
        if not (directory / "vasprun.xml").exists():
            continue
        target = folder / f"old-{number}"
        target.mkdir(parents=True)
        for name in RAW:
            if (directory / name).exists():
                shutil.copy(directory / name, target)
        made.append(target)
    return made


def test_the_table_of_the_dry_engine_by_another_path(
    ran: Finished, finished: Finished, cli: Cli, tmp_path: Path
) -> None:
    dry, there = energies(finished.launchpad), energies(ran.launchpad)
    assert dry.keys() == there.keys()
    for site, energy in dry.items():
        assert there[site] == pytest.approx(energy, abs=1e-3)
    assert cli("export", "archive", *ran.place).returncode == 0
    texts = [path.read_bytes() for path in (tmp_path / "archive").rglob("*") if path.is_file()]
    assert not any(b"local part" in text or b"END of PSCTR" in text for text in texts)
    (folder,) = ran.root.glob("WSSe+VS_V_S@top-*")
    assert b"PAW_PBE W_sv 04Sep2015" in b"".join(texts)  # the title of a data set is a fingerprint, not its content
    assert "last force" in cli("show", "WSSe+VS/V_S@top", *ran.place).stdout
    assert (folder / "launches" / "001-stage-1" / "vasprun.xml").exists()


def test_a_correction_that_changes_the_sampling_of_one_side_is_no_difference(
    vasp: Path, cli: Cli, launchpad: Path, tmp_path: Path
) -> None:
    """Custodian mends VASP's DENTET by a denser k mesh: at that site alone, so that no energy may be subtracted."""
    install(vasp, Behaviour(say="DENTET", times=1, where="V_S@top"))
    small_campaign(tmp_path, quantities=[])
    cli("run", "small.yaml", "--engine", "vasp", "--launchpad", launchpad, "--root", "root", timeout=280)
    with Results.open(launchpad) as results:
        corrections = results["WSSe+VS/V_S@top"].record.provenance.corrections
        frame = results.adsorption().set_index("site")
    assert any(correction.startswith("dentet: KPOINTS") for correction in corrections), corrections
    assert np.isnan(frame["adsorption_energy_ev"]["V_S@top"])
    assert "kmesh" in frame["reason"]["V_S@top"]
    assert np.isfinite(frame["adsorption_energy_ev"]["T_W@bottom"])


def moved_aside(folders: list[Path], tmp_path: Path) -> None:
    """Leave runs as others leave them: packed, of two relaxations, in a folder for each."""
    packed, parts, folder = folders[0], folders[1], folders[2]
    for path in packed.iterdir():
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for path in list(parts.iterdir()):
        path.with_name(f"{path.name}.relax2.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.rename(path.with_name(f"{path.name}.relax1"))
    (parts / "vasprun.xml.relax1").write_text("<modeling>")
    for name in ("relax1", "relax2"):
        (folder / name).mkdir()
    for path in list(folder.iterdir()):
        if path.is_file():
            path.rename(folder / "relax2" / path.name)


def test_finished_runs_become_records_if_they_are_what_is_planned(
    ran: Finished, vasp: Path, cli: Cli, launchpad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no VASP, and none is started: the DOS, too, is taken as it is."""
    before = energies(ran.launchpad)
    folders = own_runs(ran.root, tmp_path / "old")
    place = ("--launchpad", launchpad, "--root", "new")
    assert len(folders) == 5
    moved_aside(folders, tmp_path)
    launched = (vasp / "runs").read_text()
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert shutil.which("vasp_std") is None
    names = [str(folder.relative_to(tmp_path)) for folder in folders]
    dry_run = cli("import", "--vasp", *names, "--campaign", ran.campaign, *place, "--dry-run")
    assert dry_run.stdout.count("would be recorded") == 5, dry_run.stdout + dry_run.stderr
    assert not list((tmp_path / "new").glob("WSSe*"))
    done = cli("import", "--vasp", *names, "--campaign", ran.campaign, *place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": recorded") == 5
    assert (vasp / "runs").read_text() == launched
    rest = cli("run", ran.campaign, "--engine", "vasp", *place)
    assert "[6/6] WSSe+VS/lowest" in rest.stdout, rest.stdout + rest.stderr
    assert energies(launchpad) == pytest.approx(before, abs=1e-6)


def test_runs_of_another_kind_are_refused_with_the_difference(
    ran: Finished, vasp: Path, cli: Cli, launchpad: Path, tmp_path: Path
) -> None:
    folders = own_runs(ran.root, tmp_path / "old")
    place = ("--launchpad", launchpad, "--root", "new")
    host = next(folder for folder in folders if "4 4 3" in " ".join((folder / "POSCAR").read_text().split()))
    incar = (host / "INCAR").read_text().replace("ISMEAR = 0", "ISMEAR = 1").replace("ENCUT = 500", "ENCUT = 450")
    (host / "INCAR").write_text(incar)
    (host / "KPOINTS").write_text("mine\n0\nGamma\n2 2 1\n")
    shutil.copy(host / "CONTCAR", host / "POSCAR")
    subprocess.run([str(vasp / "vasp_std")], cwd=host, check=True, stdout=subprocess.DEVNULL)
    name = str(host.relative_to(tmp_path))
    done = cli("import", "--vasp", name, "--campaign", ran.campaign, *place)
    assert done.returncode == 1
    for words in (
        "ISMEAR 1 (yours) ≠ 0 (protocol)",
        "ENCUT 450.0 (yours) ≠ 500.0",
        "k mesh (2, 2, 1) (yours) ≠ (3, 3, 1)",
    ):
        assert words in done.stdout, done.stdout
    assert not list((tmp_path / "new").glob("WSSe*"))
    (tmp_path / "empty").mkdir()
    (host / "vasprun.xml").write_text("<modeling>")
    torn = cli("import", "--vasp", "empty", name, "--campaign", ran.campaign, *place)
    assert torn.stdout.count("vasprun.xml is missing or damaged") == 1
    assert torn.stdout.count("it has no vasprun.xml, plain or packed (.gz, .bz2, .xz)") == 1


def test_what_is_not_finished_is_refused_with_its_number(
    ran: Finished, vasp: Path, cli: Cli, launchpad: Path, tmp_path: Path
) -> None:
    """Not gone on with: a run of the user's is read. On trial it is refused for the same reasons."""
    folders = own_runs(ran.root, tmp_path / "old")
    host = next(folder for folder in folders if "4 4 3" in " ".join((folder / "POSCAR").read_text().split()))
    (host / "INCAR").write_text((host / "INCAR").read_text().replace("EDIFFG = -0.02", "EDIFFG = -50"))
    lines = (host / "POSCAR").read_text().splitlines()
    first = [float(x) for x in lines[8].split()[:3]]
    (host / "POSCAR").write_text(
        "\n".join([*lines[:8], f"{first[0] + 0.02} {first[1]} {first[2]}", *lines[9:]]) + "\n"
    )
    subprocess.run([str(vasp / "vasp_std")], cwd=host, check=True, stdout=subprocess.DEVNULL)
    place = ("--launchpad", launchpad, "--root", "new")
    command = ("import", "--vasp", str(host.relative_to(tmp_path)), "--campaign", ran.campaign, *place)
    launched = (vasp / "runs").read_text()
    for more in (["--dry-run"], []):
        done = cli(*command, *more)
        assert done.returncode == 1, done.stdout
        assert re.search(r"largest force [\d.]+ eV/Å > 0.02", done.stdout), done.stdout
    xml = (host / "vasprun.xml").read_text()
    energies = re.findall(r'<i name="e_fr_energy">[^<]*</i>', xml)
    (host / "vasprun.xml").write_text(xml.replace(energies[-2], '<i name="e_fr_energy"> 1.0 </i>'))
    for more in (["--dry-run"], []):
        assert "the electrons are not converged: the last of" in cli(*command, *more).stdout
    assert (vasp / "runs").read_text() == launched
    assert not list((tmp_path / "new").glob("WSSe*"))


def test_runs_that_lie_elsewhere_in_their_cell(
    ran: Finished, vasp: Path, cli: Cli, launchpad: Path, tmp_path: Path
) -> None:
    """Moved as a whole, also along z and across the boundary: the same energies, and the same sites."""
    before = energies(ran.launchpad)
    folders = own_runs(ran.root, tmp_path / "old")
    for folder in folders:
        if "11" in (folder / "INCAR").read_text().partition("ICHARG")[2][:6]:
            shutil.rmtree(folder)  # its density lies where the host's did
            continue
        lines = (folder / "POSCAR").read_text().splitlines()
        rows = [[float(x) for x in line.split()[:3]] for line in lines[8:]]
        moved = [f"{x + 0.21:.16f} {y - 0.13:.16f} {z + 0.37:.16f}" for x, y, z in rows]
        (folder / "POSCAR").write_text("\n".join([*lines[:8], *moved]) + "\n")
        incar = (folder / "INCAR").read_text()
        center = re.search(r"DIPOL = 0.5 0.5 (\S+)", incar)
        if center:
            (folder / "INCAR").write_text(
                incar.replace(center[0], f"DIPOL = 0.5 0.5 {(float(center[1]) + 0.37) % 1}")
            )
        subprocess.run([str(vasp / "vasp_std")], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    names = [str(folder.relative_to(tmp_path)) for folder in folders if folder.exists()]
    place = ("--launchpad", launchpad, "--root", "new")
    done = cli("import", "--vasp", *names, "--campaign", ran.campaign, *place)
    assert done.returncode == 0, done.stdout + done.stderr
    rest = cli("run", ran.campaign, "--engine", "vasp", *place)
    assert rest.returncode == 0, rest.stdout + rest.stderr
    assert energies(launchpad) == pytest.approx(before, abs=1e-3)
    with Results.open(ran.launchpad) as first, Results.open(launchpad) as second:
        assert list(first.adsorption()["end"]) == list(second.adsorption()["end"])
