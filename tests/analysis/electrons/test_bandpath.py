"""The path Γ–M–K–Γ, and bands along it: by hand, against ASE, and a campaign that computes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from sodiate.analysis.arrays import Bands
from sodiate.analysis.electrons.bandpath import (
    SPECIAL,
    filled_along,
    path_axis,
    path_points,
    path_words,
    zero_of_bands,
)
from sodiate.analysis.electrons.gap_and_dos import ElectronicError, band_gap
from sodiate.analysis.figures.plots import BandsDrawn, bands_plot
from sodiate.workflows.results.results import Results
from support.campaigns import small_campaign
from support.cli import Cli
from support.engine_cases import EMT, GPAW, VASP, Case, host_with_na

A = 3.252
CELL = np.array([[A, 0, 0], [-A / 2, A * 3**0.5 / 2, 0], [0, 0, 20.0]])


def test_the_special_points_are_ases() -> None:
    theirs = Atoms(cell=CELL, pbc=(True, True, False)).cell.bandpath("GMK", pbc=[1, 1, 0]).special_points
    for ours, name in (("Γ", "G"), ("M", "M"), ("K", "K")):
        assert SPECIAL[ours] == pytest.approx(theirs[name])


@pytest.mark.parametrize("points", [4, 30, 121])
def test_lengths_by_hand_and_every_corner_among_the_points(points: int) -> None:
    """|ΓM| = 2π/(√3 a), |MK| = 2π/(3a), |KΓ| = 4π/(3a)."""
    kpoints = path_points(CELL, points)
    assert kpoints.shape == (points, 3)
    distance, ticks = path_axis(kpoints, CELL)
    assert [name for _, name in ticks] == ["Γ", "M", "K", "Γ"]
    legs = np.array([2 * np.pi / 3**0.5, 2 * np.pi / 3, 4 * np.pi / 3]) / A
    assert [at for at, _ in ticks] == pytest.approx([0, *np.cumsum(legs)], abs=1e-9)
    assert (np.diff(distance) > 0).all()
    if points == 121:
        assert np.diff(distance).max() < 1.05 * np.diff(distance).min()


SHEETS = {
    "hexagonal, 60°": ([[A, 0, 0], [A / 2, A * 3**0.5 / 2, 0]], "ΓMKΓ"),
    "square": ([[3.0, 0, 0], [0, 3.0, 0]], "MΓXM"),
    "rectangular": ([[3.5, 0, 0], [0, 6.3, 0]], "ΓXSYΓS"),
    "centred rectangular": ([[6.0, 2.0, 0], [-6.0, 2.0, 0]], "ΓXA₁YΓ"),
    "oblique": ([[3.0, 0, 0], [1.1, 4.0, 0]], "ΓYHCH₁XΓ"),
}


@pytest.mark.parametrize("name", SHEETS)
def test_every_two_dimensional_lattice_has_a_path(name: str) -> None:
    """Corners and lengths are ASE's, each corner among the points, and evenly spaced between them."""
    vectors, path = SHEETS[name]
    cell = np.array([*vectors, [0, 0, 20.0]])
    theirs = Atoms(cell=cell, pbc=(True, True, False)).cell.bandpath(pbc=[1, 1, 0], npoints=200)
    kpoints = path_points(cell, 200)
    assert kpoints.shape == (200, 3)
    distance, ticks = path_axis(kpoints, cell)
    assert "".join(label for _, label in ticks) == path
    assert path_words(cell).replace("–", "") == path
    x, places, _ = theirs.get_linear_kpoint_axis()
    assert distance[-1] == pytest.approx(x[-1])
    assert [at for at, _ in ticks] == pytest.approx(places, abs=1e-9)
    assert (np.diff(distance) > 0).all()


def test_both_descriptions_of_a_hexagonal_sheet_have_the_same_bands() -> None:
    """−2t Σ cos over the nearest neighbours, in a cell with 120° and one with 60°: Γ, M and K agree."""
    found = []
    for vectors in (CELL[:2], np.array(SHEETS["hexagonal, 60°"][0])):
        cell = np.array([*vectors, [0, 0, 20.0]])
        kpoints = path_points(cell, 121)
        steps = [n * cell[0] + m * cell[1] for n in (-1, 0, 1) for m in (-1, 0, 1)]
        near = [step for step in steps if abs(np.linalg.norm(step) - A) < 1e-6]
        assert len(near) == 6
        wave = 2 * np.pi * kpoints @ np.linalg.inv(cell).T
        distance, ticks = path_axis(kpoints, cell)
        energies = dict(zip(distance, -sum(np.cos(wave @ step) for step in near), strict=True))
        found.append([(name, energies[at]) for at, name in ticks])
    for one, other in zip(*found, strict=True):
        assert one[0] == other[0]
        assert one[1] == pytest.approx(other[1], abs=1e-9)


def test_too_few_points_and_no_lattice_are_refused() -> None:
    with pytest.raises(ElectronicError, match="3 points are too few for Γ–M–K–Γ"):
        path_points(CELL, 3)
    with pytest.raises(ElectronicError, match="4 points are too few for Γ–X–S–Y–Γ–S"):
        path_points(np.diag([3.5, 6.3, 20.0]), 4)
    with pytest.raises(ElectronicError, match="no path through the Brillouin zone of a sheet"):
        path_points(np.array([[3.0, 0, 0], [3.0, 1e-9, 0], [0, 0, 20.0]]), 30)


def test_bands_of_a_triangular_lattice_are_drawn(tmp_path: Path) -> None:
    """−2t(cos 2πx + cos 2πy + cos 2π(x+y)): −6t at Γ, 2t at M, 3t at K for a cell with 120°."""
    kpoints = path_points(CELL, 61)
    x, y = 2 * np.pi * kpoints[:, 0], 2 * np.pi * kpoints[:, 1]
    energies = -2 * (np.cos(x) + np.cos(y) + np.cos(x + y))
    distance, ticks = path_axis(kpoints, CELL)
    at = dict(zip(distance, energies, strict=True))
    assert [at[place] for place, _ in ticks] == pytest.approx([-6.0, 2.0, 3.0, -6.0])
    levels = np.stack([energies, energies + 12], axis=-1)[None]
    bands = Bands(levels, np.tile([2.0, 0.0], (1, 61, 1)), kpoints, np.full(61, 1 / 61), 3.5)
    zero, name = zero_of_bands(bands)
    assert zero == pytest.approx(3.0)
    assert name == "VBM"
    figure = bands_plot(BandsDrawn(bands, CELL, "triangle", {}), tmp_path / "bands.png", mock=False)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Γ", "M", "K", "Γ"]
    assert axes.lines[0].get_ydata()[0] == pytest.approx(-9.0)  # type: ignore[index]
    assert (tmp_path / "bands.png").stat().st_size > 5000


@pytest.mark.parametrize("shift", [0.0, 0.6])
def test_a_path_is_filled_as_its_mesh(shift: float) -> None:
    """With a gap by counting, wherever the code put the Fermi level; a metal up to that level."""
    kpoints = path_points(CELL, 31)
    wave = np.cos(2 * np.pi * kpoints[:, 0])
    levels = np.stack([wave, 1.5 - wave / 4 + shift], axis=-1)[None]
    one = np.zeros((1, 3)), np.ones(1)
    edge = Bands(np.array([[[0.9, 1.3]]] * 2), np.array([[[1.0, 0.0]]] * 2), *one, 0.9)
    spins = np.repeat(levels, 2, axis=0)
    semiconductor = filled_along(spins, kpoints, edge)
    assert (semiconductor.occupations == [1.0, 0.0]).all()
    assert band_gap(semiconductor).vbm_ev == pytest.approx(1.0)  # above the mesh's Fermi level
    half = Bands(np.array([[[0.2, 1.9]]]), np.array([[[1.0, 0.0]]]), *one, 0.2)
    metal = filled_along(levels, kpoints, half)
    assert np.array_equal(metal.occupations > 0, levels < 0.2)
    assert set(np.unique(metal.occupations)) == {0.0, 2.0}
    assert band_gap(metal).gap_ev == 0.0


@pytest.mark.parametrize("case", [EMT, GPAW, VASP], ids=lambda case: case.name)
def test_bands_at_the_centre_are_those_of_the_dos(case: Case, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Two ways to one number: along the path, and on the mesh."""
    case.skip_without("bands")
    if case.name != "emt":
        request.getfixturevalue(case.name)
    atoms = host_with_na()[:-1]
    protocol = {"band_points": 7, "kpoint_length_a": 6.0}
    found = {}
    for kind in ("bands", "dos"):
        directory = tmp_path / kind
        directory.mkdir()
        keys = {**{k: case.protocol[k] for k in case.protocol_keys["dos"]}, **protocol}
        case.engine().prepare(case.calculation(kind, **keys), atoms, directory, {})
        found[kind] = case.finish(directory)
    along, mesh = found["bands"].bands, found["dos"].bands
    assert along is not None
    assert mesh is not None
    assert np.array_equal(along.kpoints, path_points(atoms.cell.array, 7))
    (centre,) = [i for i, k in enumerate(mesh.kpoints) if np.abs(k).max() < 1e-9]
    filled = round(float((mesh.weights[:, None] * mesh.occupations[0]).sum()) / 2)
    for index in (0, -1):
        np.testing.assert_allclose(
            np.sort(along.energies_ev[0, index])[: filled + 1], np.sort(mesh.energies_ev[0, centre])[: filled + 1],
            atol=2e-3,
        )  # fmt: skip
    assert along.fermi_ev == pytest.approx(mesh.fermi_ev, abs=0.3)
    assert found["bands"].energy_ev is None or case.name == "emt"


def test_a_campaign_with_bands(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    small_campaign(tmp_path, models=["WSSe", "WSSe+VS"], sites=["T_W@bottom"], quantities=["bands"])
    done = cli("run", "small.yaml", "--launchpad", launchpad, "--root", "root")
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        bands = results["WSSe/bands"].bands
        assert results["WSSe/1x1"].atoms.get_chemical_formula() == "SSeW"
        assert results["WSSe/bands"].record.gap is not None
    assert bands is not None
    assert len(bands.kpoints) == 121
    assert cli("report", "--launchpad", launchpad, "--root", "root").returncode == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("data-plot='0/bands/") == 1
