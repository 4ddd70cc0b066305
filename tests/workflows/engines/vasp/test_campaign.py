"""A campaign with the stand-in for VASP, and finished runs of a user's taken as records.

The oracle is the dry engine, whose forces the stand-in has: the same table by another path.
"""

from __future__ import annotations

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
    (site,) = ran.root.glob("WSSe+VS_V_S@top-*")
    assert b"PAW_PBE W_sv 04Sep2015" in b"".join(texts)  # the title of a data set is a fingerprint, not its content
    assert "last force" in cli("show", "WSSe+VS/V_S@top", *ran.place).stdout
    assert (site / "launches" / "001-stage-1" / "vasprun.xml").exists()


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
    assert np.isnan(frame.loc["V_S@top", "adsorption_energy_ev"])
    assert "kmesh" in frame.loc["V_S@top", "reason"]
    assert np.isfinite(frame.loc["T_W@bottom", "adsorption_energy_ev"])


def test_finished_runs_become_records_if_they_are_what_is_planned(
    ran: Finished, cli: Cli, launchpad: Path, tmp_path: Path
) -> None:
    before = energies(ran.launchpad)
    folders = own_runs(ran.root, tmp_path / "old")
    place = ("--launchpad", launchpad, "--root", "new")
    assert len(folders) == 5
    names = [str(folder.relative_to(tmp_path)) for folder in folders]
    dry_run = cli("import", "--vasp", *names, "--campaign", ran.campaign, *place, "--dry-run")
    assert dry_run.stdout.count("would be recorded") == 5, dry_run.stdout + dry_run.stderr
    assert not list((tmp_path / "new").glob("WSSe*"))
    done = cli("import", "--vasp", *names, "--campaign", ran.campaign, *place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": recorded") == 5
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
    assert torn.stdout.count("vasprun.xml is missing or damaged") == 2
