"""The figure of all hosts: its size, its letters, what it says of a dry run, and where Δρ is drawn."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from matplotlib.figure import Figure
from sodiate.analysis.arrays import Density, Dos
from sodiate.analysis.figures.composite import WIDTHS_MM, HostPanels, composite
from sodiate.analysis.figures.plots import AdsorptionBar
from sodiate.analysis.records import MOCK, BandGap

CELL = np.diag([9.0, 9.0, 20.0])


def host(model: str, difference: bool = False) -> HostPanels:
    atoms = Atoms("WSeNa", positions=[[1, 1, 9], [2, 3, 11], [4, 4, 13]], cell=CELL, pbc=True)
    energies = np.arange(-20.0, 10.0, 0.05)
    total = np.exp(-((energies - 0.5) ** 2))[None]
    dos = Dos(energies, total, {"W-d": 0.6 * total, "Se-p": 0.3 * total}, 0.0, 0.05)
    values = np.zeros((18, 18, 40))
    values[8, 8, 24], values[8, 8, 27] = 0.05, -0.05  # gained below Na at z = 13, lost above it
    return HostPanels(
        model=model,
        atoms=atoms,
        difference=Density(values, CELL) if difference else None,
        bar=AdsorptionBar(model, -1.2, -1.27, "T_W@top", None, 0.05, 0.1),
        dos=dos,
        gap=BandGap(gap_ev=1.0, nature="direct", fermi_ev=0.0, vbm_ev=-0.5, cbm_ev=0.5),
    )


def letters(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_fontweight() == "bold"]


@pytest.mark.parametrize("name", WIDTHS_MM)
def test_a_journal_can_print_it(tmp_path: Path, name: str) -> None:
    """As wide as a column or two, with outlines of letters in the file, none smaller than 5 points."""
    path = tmp_path / "all.pdf"
    figure = composite([host(model) for model in ("WSe₂", "WSSe", "WSSe+VS")], path, False, WIDTHS_MM[name])
    content = path.read_bytes()
    (width,) = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+)", content)
    assert float(width) / 72 * 25.4 == pytest.approx(WIDTHS_MM[name], abs=0.1)
    assert b"/FontFile2" in content
    assert b"/Type3" not in content
    assert letters(figure) == list("abcdefg")
    sizes = [float(text.get_fontsize()) for axes in figure.axes for text in axes.texts]
    assert min(sizes) >= 5


def test_a_dry_run_says_so_and_leaves_the_paper_out(tmp_path: Path) -> None:
    real, mock = (composite([host("WSe₂")], tmp_path / "x.svg", flag, 183.0) for flag in (False, True))
    bars = [figure.axes[1] for figure in (real, mock)]
    assert len(bars[0].lines) > len(bars[1].lines)
    assert mock.get_suptitle() == MOCK
    assert not real.get_suptitle()
    assert "mock" in bars[1].get_ylabel()
    assert "mock" in mock.axes[2].get_ylabel()


def test_electrons_are_drawn_where_they_were_gained(tmp_path: Path) -> None:
    figure = composite([host("WSe₂", difference=True)], tmp_path / "x.svg", False, 183.0)
    contours = [one for one in figure.axes[0].collections if len(one.get_paths()) and one.get_alpha() == 0.6]
    assert len(contours) == 2
    gained, lost = (np.vstack([path.vertices for path in one.get_paths()]) for one in contours)
    assert gained[:, 1].mean() == pytest.approx(12.0, abs=0.3)
    assert lost[:, 1].mean() == pytest.approx(13.5, abs=0.3)
    plain = composite([host("WSe₂")], tmp_path / "x.svg", False, 183.0)
    assert not [one for one in plain.axes[0].collections if one.get_alpha() == 0.6]
