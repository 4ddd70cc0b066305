"""Powder diffraction against Bragg's law and the formula of hexagonal cells by hand, and the paper's four peaks."""

from __future__ import annotations

from itertools import pairwise
from math import asin, degrees, radians, sin, sqrt

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from scipy.optimize import least_squares
from sodiate.analysis.diffraction import (
    CU_KA_A,
    DiffractionError,
    fit_cell,
    in_words,
    indexed,
    reflections,
    spacing_of,
    two_theta_of,
)
from sodiate.structures.elemental import read_crystal
from sodiate.workflows.campaign.yaml import CONFIGS
from support import DOCS

PAPER_DEG = [13.9, 32.4, 38.3, 56.7]
PAPER = [(0, 0, 2), (1, 0, 0), (1, 0, 3), (1, 1, 0)]
OTHER = [(0, 0, 2), (1, 0, 1), (1, 0, 3), (1, 1, 0)]

Index = tuple[int, int, int]


def read(name: str) -> Atoms:
    return read_crystal(CONFIGS / "campaigns" / f"{name}.cif", name).atoms()


def hexagonal_deg(index: Index, a: float, c: float) -> float:
    """1/d² = 4 (h² + hk + k²) / 3a² + l²/c², and λ = 2 d sin θ."""
    h, k, m = index
    inverse_square = 4 * (h * h + h * k + k * k) / (3 * a * a) + m * m / (c * c)
    return 2 * degrees(asin(1.54184 * sqrt(inverse_square) / 2))


def test_bragg_by_hand() -> None:
    """Two readings of d(002): the paper's peak at 13.9° is 6.37 Å; its fringes of 0.72 nm would be one at 12.3°."""
    assert CU_KA_A == 1.54184
    assert spacing_of(13.9) == pytest.approx(1.54184 / (2 * 0.121004), abs=1e-3)  # sin 6.95° = 0.121004
    assert spacing_of(13.9) == pytest.approx(6.37, abs=0.005)
    assert two_theta_of(7.2) == pytest.approx(12.293, abs=1e-3)
    assert two_theta_of(spacing_of(38.3)) == pytest.approx(38.3, abs=1e-12)
    # Of nm taken for Å: nothing reflects.
    with pytest.raises(DiffractionError, match=r"planes 0\.72 Å apart reflect nothing of 1\.54184 Å"):
        two_theta_of(0.72)


@pytest.mark.parametrize(
    ("name", "a", "c"), [("WS2", 3.1532, 12.323), ("WSe2", 3.282, 12.96), ("WSSe", 3.218, 12.642)]
)
def test_peaks_lie_where_the_formula_of_hexagonal_cells_has_them(name: str, a: float, c: float) -> None:
    found = reflections(read(name))
    assert {(0, 0, 2), (1, 0, 0), (1, 0, 1), (1, 0, 3), (1, 1, 0), (1, 0, 5)} < {one.index for one in found}
    for one in found:
        assert one.two_theta_deg == pytest.approx(hexagonal_deg(one.index, a, c), abs=2e-4)
    assert max(one.intensity for one in found) == pytest.approx(100)
    # The screw axis of 2H: no (001), (003).
    assert not [one for one in found if one.index[:2] == (0, 0) and one.index[2] % 2 and one.intensity > 1e-6]


def test_a_cell_with_rounded_edges_has_the_intensities_of_the_exact_one() -> None:
    """Six equivalent planes of (103) that lie 1e-5° apart are one peak, not six of a sixth each."""
    exact = read("WSe2")
    rounded = exact.copy()
    rounded.set_cell(np.round(exact.cell.array, 3), scale_atoms=True)
    for one, other in zip(reflections(exact), reflections(rounded), strict=True):
        assert one.index == other.index
        assert other.intensity == pytest.approx(one.intensity, abs=0.2)


@pytest.mark.parametrize(
    ("atoms", "free"),
    [
        (bulk("W", "bcc", a=3.165, cubic=True), 1),
        (bulk("Na", "bcc", a=4.29), 1),
        (crystal("Se", [(0.217, 0, 1 / 3)], spacegroup=152, cellpar=[4.37, 4.37, 4.95, 90, 90, 120]), 2),
        (crystal("Sn", [(0.1, 0.2, 0.3)], spacegroup=19, cellpar=[4.0, 5.0, 6.5, 90, 90, 90]), 3),
        (crystal("Sn", [(0.1, 0.2, 0.3)], spacegroup=14, cellpar=[4.0, 5.0, 6.5, 90, 103, 90]), 4),
        (crystal("Sn", [(0.1, 0.2, 0.3)], spacegroup=2, cellpar=[4.0, 5.0, 6.5, 84, 103, 97]), 6),
    ],
)
def test_the_cell_is_found_again_from_its_own_peaks(atoms: Atoms, free: int) -> None:
    """Of every crystal system, with as many free numbers as it has, from a start that is strained."""
    found = [one for one in reflections(atoms) if one.intensity > 1][:12]
    strained = atoms.copy()
    strained.set_cell(atoms.cell.array * 1.02, scale_atoms=True)
    fit = fit_cell(strained, [one.two_theta_deg for one in found], [one.index for one in found])
    assert fit.free == free
    assert fit.lengths_a == pytest.approx(atoms.cell.lengths(), abs=1e-6)
    assert fit.angles_deg == pytest.approx(atoms.cell.angles(), abs=1e-5)
    assert fit.rms_deg < 1e-6


@pytest.mark.parametrize("indices", [PAPER, OTHER])
def test_least_squares_of_the_papers_peaks_are_those_of_a_general_minimizer(indices: list[Index]) -> None:
    """Linear in 1/d² with weights, against a search for the a and c of least squares in 2θ itself."""
    fit = fit_cell(read("WSSe"), PAPER_DEG, indices)

    def residuals(cell: np.ndarray) -> list[float]:
        return [hexagonal_deg(one, *cell) - peak for one, peak in zip(indices, PAPER_DEG, strict=True)]

    best = least_squares(residuals, [3.2, 12.6], x_scale=[1, 10])
    a, b, c = fit.lengths_a
    assert a == b
    assert (a, c) == pytest.approx(best.x, rel=1e-4)
    assert fit.rms_deg == pytest.approx(sqrt(np.mean(best.fun**2)), rel=1e-3)


def test_what_the_papers_peaks_agree_with() -> None:
    """With (101) at 32.4° they fit one cell to 0.09°, with the paper's (100) to 0.27°; no 2H-WS2 has them."""
    fit = indexed(read("WSSe"), PAPER_DEG)
    assert list(map(in_words, fit.indices)) == ["(002)", "(101)", "(103)", "(110)"]
    assert (fit.lengths_a[0], fit.lengths_a[2]) == pytest.approx((3.252, 12.774), abs=1e-3)
    assert fit.rms_deg == pytest.approx(0.094, abs=1e-3)
    assert indexed(read("WSe2"), PAPER_DEG).indices == fit.indices
    paper = fit_cell(read("WSSe"), PAPER_DEG, PAPER)
    assert (paper.lengths_a[0], paper.lengths_a[2]) == pytest.approx((3.237, 12.824), abs=1e-3)
    assert paper.rms_deg == pytest.approx(0.265, abs=1e-3)
    # By hand: (100) and (110) of one cell are a factor of √3 apart in d, and these are not.
    assert spacing_of(32.4) / spacing_of(56.7) == pytest.approx(1.702, abs=1e-3)
    with pytest.raises(DiffractionError, match=r"no reflection lies within 1° of the peak at 38\.3°"):
        indexed(read("WS2"), PAPER_DEG)


def test_what_the_document_says_of_them() -> None:
    text = (DOCS / "conversion.md").read_text(encoding="utf-8")
    lines = text.split("| peak (°) |")[1].splitlines()[2:6]
    for line, peak, index in zip(lines, PAPER_DEG, PAPER, strict=True):
        first, spacing, told, angles = (cell.strip() for cell in line.strip("| ").split(" | "))
        assert (float(first), told) == (peak, in_words(index))
        assert float(spacing) == pytest.approx(spacing_of(peak), abs=6e-4)
        for part, of in zip(angles.split("; (101) "), (index, (1, 0, 1)), strict=False):
            own = [
                {one.index: one.two_theta_deg for one in reflections(read(n))}[of] for n in ("WS2", "WSSe", "WSe2")
            ]
            assert [float(angle) for angle in part.split(", ")] == pytest.approx(own, abs=6e-3)
    fit = indexed(read("WSSe"), PAPER_DEG)
    between = [(fit.lengths_a[0] - 3.1532) / (3.282 - 3.1532), (fit.lengths_a[2] - 12.323) / (12.96 - 12.323)]
    assert f"{100 * min(between):.0f} to {100 * max(between):.0f} % Se" in text
    assert 2 * spacing_of(56.7) == pytest.approx(3.247, abs=1e-3)


def test_peaks_that_fix_no_cell_are_refused() -> None:
    atoms = read("WSSe")
    with pytest.raises(DiffractionError, match=r"the peaks \(002\), \(004\) do not fix the 2 free numbers"):
        fit_cell(atoms, [13.9, 28.1], [(0, 0, 2), (0, 0, 4)])
    # 1/d² of (103) less that of (100) is that of (003), which cannot be negative.
    with pytest.raises(DiffractionError, match=r"no cell has peaks \(100\), \(103\)"):
        fit_cell(atoms, [32.0, 30.0], [(1, 0, 0), (1, 0, 3)])
    many = [10.0 + step for step in range(60)]
    with pytest.raises(DiffractionError, match="no reflection lies within"):
        indexed(atoms, many)
    wide = [peak for first, second in pairwise((32.0, 34.0, 36.0, 38.0)) for peak in (first, second)]
    with pytest.raises(DiffractionError, match=r"can be indexed in \d+ ways; give their indices"):
        indexed(atoms, wide, within_deg=20.0)


def test_indices_are_written_as_people_do() -> None:
    assert in_words((1, 0, 12)) == "(1 0 12)"
    assert in_words((1, 0, 3)) == "(103)"
    assert sin(radians(6.95)) == pytest.approx(0.121004, abs=1e-6)
