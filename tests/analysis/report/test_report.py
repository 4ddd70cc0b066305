"""The report in a real browser: drawn, sorted, downloaded, small, dark, offline; and what stands in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from sodiate.analysis.arrays import Bands, Density, Dos
from sodiate.analysis.electrons.defect_levels import defect_levels
from sodiate.analysis.records import BandGap
from sodiate.analysis.report.content import CampaignContent, HostContent, Panel
from sodiate.analysis.report.page import drawn, render
from sodiate.analysis.report.panels import dos_payload, isosurfaces, level_lines, profile_payload
from sodiate.workflows.results.report_data import rolled, shifted, to_the_middle
from support import DOCS
from support import browser as browsers
from support.campaigns import small_campaign
from support.cli import Cli

HOSTILE = 'Nä <script>alert(1)</script> "quoted" & {{DATA}} </script>'
ARCHIVE = DOCS / "reproduction"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, mongod: Path) -> Path:
    """A finished dry campaign with a hostile title, and its report."""
    folder = tmp_path_factory.mktemp("report")
    small_campaign(folder, title=HOSTILE, supercell=[3, 3], quantities=["dos", "bands"],
                   sites=["V_S@top", "T_W@bottom", "H@top"])  # fmt: skip
    program = str(Path(sys.executable).with_name("sodiate"))
    for words in (["run", "small.yaml", "--root", "root"], ["report", "--root", "root", "--out", "report.html"]):
        subprocess.run([program, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder


@pytest.fixture
def page(window: browsers.Browser, place: Path) -> browsers.Browser:
    """The report, opened anew."""
    window.media("light")
    window.open(place / "report.html")
    return window


def colours(pixels: np.ndarray) -> int:
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


def test_figures_are_drawn_offline_without_a_complaint(page: browsers.Browser) -> None:
    for kind in ("adsorption", "atoms", "map", "dos", "bands", "relaxation"):
        pixels = page.drawn(f".plot.{kind}")
        assert colours(pixels) > 30, kind
    atoms = page.drawn(".plot.atoms")
    assert page.run("return document.querySelectorAll('.plot.atoms canvas').length") >= 1
    # Blue tungsten, yellow sulphur, orange selenium and violet sodium of Jmol's colours, each some hundred pixels.
    for colour in ((0x21, 0x94, 0xD6), (0xFF, 0xFF, 0x30), (0xFF, 0xA1, 0x00), (0xAB, 0x5C, 0xF2)):
        assert (np.abs(atoms.astype(int) - colour).max(axis=2) < 25).sum() > 300, colour
    assert page.complaints() == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in page.requests())


def test_pictures_in_three_dimensions_out_of_sight_are_let_go(page: browsers.Browser) -> None:
    """Browsers keep some sixteen of them alive, a page with more hosts lost the first ones."""
    page.drawn(".plot.steps")
    page.wait(lambda: page.run("return !document.querySelector('.plot.atoms').dataset.drawn"))
    assert page.run("return document.querySelectorAll('.plot.atoms canvas').length") == 0
    assert colours(page.drawn(".plot.atoms")) > 30


def test_a_relaxation_is_stepped_through(page: browsers.Browser) -> None:
    """The slider moves the atoms, the forces and the mark in the curves, and says energy and force of the step."""
    page.drawn(".plot.steps")
    first = page.run("return document.querySelector('[data-at]').value")
    last = page.run(
        "const range = document.querySelector('[data-step]'); range.value = range.max;"
        "range.dispatchEvent(new Event('input')); return range.max"
    )
    told = page.wait(lambda: page.run("return document.querySelector('[data-at]').value"))
    assert first.startswith(f"0 of {last}: ")
    assert told.startswith(f"{last} of {last}: 0.000 eV, 0.0")
    assert page.run("return document.querySelector('.plot.relaxation').layout.shapes[0].x0") == int(last)
    assert page.complaints() == []


def test_a_dry_run_says_so_and_stands_beside_no_difference(page: browsers.Browser) -> None:
    text = page.find("body").text
    assert "DRY RUN: mock (dry run, not physical)" in text
    assert "less paper" not in text
    assert "ΔE (mock) / eV" in text


def test_hostile_names_are_text(page: browsers.Browser) -> None:
    assert page.find("h2").text == HOSTILE
    assert page.run("return document.querySelectorAll('script').length") <= 4


def test_tables_sort_by_number_and_by_keyboard(page: browsers.Browser) -> None:
    page.run("document.querySelector('main details').open = true")
    column = "[...document.querySelectorAll('main details table.sortable tbody tr')].map(r => r.cells[2].textContent)"
    heading = "main details table.sortable th:nth-child(3) button"
    page.find(heading).send_keys("\ue007")  # enter
    rising = [float(text) for text in page.run(f"return {column}")]
    assert rising == sorted(rising)
    page.find(heading).click()
    assert [float(text) for text in page.run(f"return {column}")] == sorted(rising, reverse=True)
    sort = page.run("return document.querySelector('main details table.sortable th:nth-child(3)').ariaSort")
    assert sort == "descending"


def test_downloads_are_the_right_bytes(page: browsers.Browser, place: Path) -> None:
    program = str(Path(sys.executable).with_name("sodiate"))
    for what in ("csv", "json"):
        page.find(f"[data-download='0/{what}']").click()
        path = page.downloads / f"small-emt.{what}"
        page.wait(path.exists)
        command = [program, "results", "--root", "root", "--format", what]
        told = subprocess.run(command, cwd=place, check=True, capture_output=True).stdout
        assert path.read_bytes().strip() == told.strip()
    page.run("document.querySelector('[data-download=\"0/poscar/0\"]').click()")
    path = page.downloads / "WSSe+VS.vasp"
    page.wait(path.exists)
    from ase.io import read

    assert len(read(path)) == 27
    assert page.complaints() == []


def test_energies_count_from_what_is_chosen(page: browsers.Browser) -> None:
    page.drawn(".plot.dos")
    first = page.run("return document.querySelector('.plot.dos').layout.xaxis.title.text")
    assert "VBM" in first
    page.run("const s = document.querySelector('[data-zero]'); s.value = 'E_F'; s.dispatchEvent(new Event('change'))")
    page.wait(lambda: "VBM" not in page.run("return document.querySelector('.plot.dos').layout.xaxis.title.text"))
    assert page.run("return document.querySelector('.plot.dos').layout.shapes[0].x0") == 0


def test_a_phone_and_the_night(page: browsers.Browser) -> None:
    def ground() -> int:
        return int(page.drawn(".plot.dos")[2, 2].sum())

    light = ground()
    page.media("dark")
    page.wait(lambda: ground() < 200 < light)
    with page.phone(360):
        page.open(Path(page.run("return location.pathname")))
        assert page.run("return document.documentElement.scrollWidth") <= 360
        assert page.drawn(".plot.adsorption").shape[1] <= 360


def test_what_moved_is_drawn_along_the_normal(page: browsers.Browser, tmp_path: Path) -> None:
    """Δρ needs a real engine: here one that is known, an electron that went from one Gaussian to another."""
    cell = np.diag([6.0, 6.0, 20.0])
    z = np.arange(100) * 0.2
    moved = (np.exp(-((z - 8.0) ** 2)) - np.exp(-((z - 12.0) ** 2))) / np.sqrt(np.pi) / 36.0
    values = np.broadcast_to(moved, (10, 10, 100))
    profile = profile_payload(Density(values, cell))
    assert profile["heights"][1] == pytest.approx(0.2)
    assert profile["planes"][40] == pytest.approx(1 / np.sqrt(np.pi), abs=1e-4)
    # All of it is gained below the middle, and none is left at the top.
    assert profile["below"][50] == pytest.approx(1.0, abs=0.01)
    assert profile["below"][-1] == pytest.approx(0.0, abs=1e-4)
    path = tmp_path / "profile.html"
    path.write_text(render("Δρ", [_group_with({**profile, "layers": [["W", 8.0], ["Na", 12.0]]})]), encoding="utf-8")
    page.open(path)
    assert colours(page.drawn(".plot.profile")) > 30
    assert page.run("return document.querySelector('.plot.profile').layout.annotations.length") == 2
    assert page.complaints() == []
    with page.phone(360):
        page.open(path)
        assert page.run("return document.documentElement.scrollWidth") <= 360  # for all the length of the label


def _group_with(profile: dict[str, object]) -> CampaignContent:
    """A group of the page with one host, which has nothing but a profile."""
    label = "WSSe+S_Se2+S_Se5+Se_S7+Se_S10/T_W@top"
    words = f"Charge-density difference of {label} along the normal, summed over planes"
    caption = f"{words}, and the electrons gained below each height; dotted: layers of atoms."
    host = HostContent("WSSe", label, "text", [], [Panel("profile", profile, words, caption)])
    named: dict[str, Any] = dict.fromkeys(
        ("campaign", "title", "engine", "method_id", "how", "csv", "json", "yaml"), "text"
    )
    nothing: dict[str, Any] = {
        key: [] for key in ("method", "results", "columns", "remarks", "relaxations", "costs", "missing", "objects")
    }
    return CampaignContent(**named, **nothing, physical=True, hosts=[host])


# What stands in it, without a browser.


def test_what_each_change_does_is_a_table(cli: Cli, tmp_path: Path) -> None:
    """The sensitivity campaign of the reproduction, after the reproduction itself, in the order asked for."""
    shutil.copytree(ARCHIVE, tmp_path / "archive")
    done = cli("report", "--archive", "archive", "--campaign", "wsse-gpaw-best", "--campaign", "wsse-sensitivity")
    assert "2 campaigns" in done.stdout, done.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<h3>What each change does</h3>") == 1
    table = page.split("<h3>What each change does</h3>")[1].split("</table>")[0]
    assert page.index("wsse-gpaw-best") < page.index("What each change does")
    row = next(row for row in table.split("<tr>") if "unpolarised-atom" in row)
    energies = [float(cell.split("</td>")[0]) for cell in row.split("<td>")[-2:]]
    assert energies == pytest.approx([-1.034, -0.216], abs=6e-4)


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ([(0.5,), (0.5,)], ["defect level +1.50 eV from the host's VBM, empty, either spin, 90%"]),
        ([(0.5, 0.5), (0.5, 0.5)],
         ["2 defect levels +1.50 eV from the host's VBM, empty, either spin, 90%"]),
        ([(0.4,), (0.6,)], ["defect level +1.40 eV from the host's VBM, empty, spin up, 90%",
                            "defect level +1.60 eV from the host's VBM, empty, spin down, 90%"]),
        ([(0.5,)], ["defect level +1.50 eV from the host's VBM, empty, 90%"]),
    ],
)  # fmt: skip
def test_a_level_of_both_spins_is_told_once(levels: list[tuple[float, ...]], told: list[str]) -> None:
    energies = np.array([[[-1.0, *spin, 2.0]] for spin in levels])
    weights = np.full((*energies.shape, 2), 0.5)
    weights[:, :, 1:-1] = [0.9, 0.1]
    weights[:, :, [0, -1]] = [0.1, 0.9]
    occupations = np.zeros_like(energies)
    occupations[..., 0] = 3 - len(levels)
    bands = Bands(energies, occupations, np.zeros((1, 3)), np.ones(1), 0.0, weights)
    found = defect_levels(bands, [0], [0, 0])
    lines = level_lines(BandGap(gap_ev=1.4, nature="direct", fermi_ev=0.0), None, found, len(levels))
    suffix = " of it on the atoms next to the vacancy, where a state spread over the sheet has 50%"
    assert [line.removesuffix(suffix) for line in lines if "defect level" in line] == told


@pytest.mark.alone
def test_the_real_archive_within_its_size_and_time(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(ARCHIVE, tmp_path / "archive")
    began = time.monotonic()
    done = cli("report", "--archive", "archive", "--campaign", "wsse-gpaw")
    assert time.monotonic() - began < 10
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert len(page) < 5e6
    assert "mock (dry run" not in page.split('<script type="application/json"')[0]
    assert "-1.851" in page
    assert "paper -2.21" in page


def test_half_finished_and_empty_say_what_is_missing(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(ARCHIVE, tmp_path / "archive")
    cli("report", "--archive", "archive", "--campaign", "wsse-gpaw")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Still missing" in page
    assert "not yet run" in page
    assert "Nothing is recorded here yet" in render("empty", [])
    refused = cli("report", "--root", "nowhere")
    assert refused.returncode == 2
    assert "nowhere is no root of sodiate" in refused.stderr
    refused = cli("report", "--archive", "archive", "--out", "no/such/folder.html")
    assert refused.returncode == 2
    assert "Traceback" not in refused.stderr


def test_engines_are_kept_apart(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    """One database with two campaigns: two sections, each with its method."""
    tiny: dict[str, object] = {"models": ["WSe2"], "supercell": [1, 1], "sites": ["H@top"]}
    small_campaign(tmp_path, campaign="one", **tiny)
    small_campaign(tmp_path, campaign="two", protocol={**_paper_protocol(), "kpoint_length_a": 10.0}, **tiny)
    for name in ("one", "two"):
        assert cli("run", f"{name}.yaml", "--launchpad", launchpad, "--root", "root").returncode == 0
    assert cli("report", "--launchpad", launchpad, "--root", "root").returncode == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    data = drawn(page)
    assert [group["campaign"] for group in data] == ["one", "two"]
    assert data[0]["objects"][0]["method_id"] != data[1]["objects"][0]["method_id"]
    assert page.count("<section id=") == 2


def _paper_protocol() -> dict[str, object]:
    import yaml
    from sodiate.workflows.campaign.yaml import CONFIGS

    found: dict[str, object] = yaml.safe_load((CONFIGS / "protocols" / "paper.yaml").read_text(encoding="utf-8"))
    return found


def test_a_dos_has_the_zeros_that_there_are() -> None:
    grid = np.arange(-20, 20, 0.01)
    dos = Dos(grid, np.ones((1, len(grid))), {"W-d": np.ones((1, len(grid)))}, 0.3, 0.05)
    energies = np.array([[[-1.0, 1.0]]])
    bands = Bands(energies, np.array([[[2.0, 0.0]]]), np.zeros((1, 3)), np.ones(1), 0.3)
    found = dos_payload(dos, bands, (4.0, 4.5))
    assert found["zeros"] == {"VBM": -1.0, "E_F": 0.3, "vacuum": 4.5}
    assert (found["energies"][0], found["energies"][-1]) == pytest.approx((-9.0, 5.0), abs=0.02)
    assert "vacuum" not in dos_payload(dos, bands, None)["zeros"]


def test_an_isosurface_is_where_the_density_has_its_value() -> None:
    """A Gaussian in a skewed cell: a sphere of known radius, also across the cell's sides."""
    cell = np.array([[8.0, 0.0, 0.0], [-4.0, 7.0, 0.0], [0.0, 0.0, 10.0]])
    shape = (48, 48, 60)
    fractions = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), axis=-1)
    centre = np.array([0.5, 0.5, 0.5])
    distance = np.linalg.norm((fractions - centre) @ cell, axis=-1)
    density = Density(np.exp(-(distance**2)), cell)
    found = isosurfaces(density)
    assert found is not None
    assert "loss" not in found
    radius = np.linalg.norm(np.array(found["gain"]["vertices"]) - centre @ cell, axis=1)
    assert radius == pytest.approx(np.sqrt(-np.log(found["value"])), abs=0.03)
    assert isosurfaces(Density(np.zeros(shape), cell)) is None


def test_atoms_and_their_density_move_together() -> None:
    cell = np.diag([6.0, 5.0, 12.0])
    atoms = Atoms("WNa", scaled_positions=[[0.25, 0.5, 0.4], [0.0, 0.0, 0.6]], cell=cell, pbc=(True, True, False))
    values = np.zeros((12, 10, 20))
    values[3, 5, 8], values[0, 0, 12] = 1.0, 2.0
    shift = to_the_middle(atoms, "Na", values.shape)
    moved, density = shifted(atoms, shift, values.shape), rolled(Density(values, cell), shift)
    for index, value in ((0, 1.0), (1, 2.0)):
        point = np.round(moved.get_scaled_positions()[index] * values.shape).astype(int)
        assert density.values_per_a3[tuple(point)] == value
    assert moved.get_scaled_positions()[1, :2] == pytest.approx([0.5, 0.5])
    assert to_the_middle(atoms[:1], "Na", values.shape) == (0, 0)
