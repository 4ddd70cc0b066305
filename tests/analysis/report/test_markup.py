"""Pieces of the page without a browser: names, headline, sites, levels, slices and steps, against values by hand."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from sodiate.analysis.arrays import Density, Trajectory
from sodiate.analysis.electrons.defect_levels import DefectLevel, DefectLevels
from sodiate.analysis.records import BandGap
from sodiate.analysis.report.markup import formula
from sodiate.analysis.report.page import drawn, render
from sodiate.analysis.report.panels import (
    STEPS,
    folded_gamma,
    level_lines,
    levels_payload,
    relaxation_content,
    slice_payload,
)
from sodiate.workflows.results.archive import open_archive
from sodiate.workflows.results.report_data import gather
from sodiate.workflows.results.results import Results
from support import DOCS


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("WSe2", "WSe₂"),
        ("Ti3C2", "Ti₃C₂"),
        ("Na2Se", "Na₂Se"),
        ("WSSe+VS+VSe", "WSSe+VS+VSe"),
        ("graphene", "graphene"),
        ("near-vacancies", "near-vacancies"),
        ("WSe2 2", "WSe2 2"),
        ("run12", "run12"),
    ],
)
def test_counts_of_formulas_are_subscripts(name: str, shown: str) -> None:
    assert formula(name) == shown


def test_k_is_said_to_fold_only_where_it_does() -> None:
    """K = (1/3, 1/3) of a hexagonal cell times 3 is a whole number; times 2 it is none, and a square has no K."""
    hexagonal = [[9.0, 0.0, 0.0], [-4.5, 9.0 * 3**0.5 / 2, 0.0], [0.0, 0.0, 20.0]]
    square = [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 20.0]]
    assert folded_gamma((3, 3), hexagonal) == "Γ of 3×3, onto which K folds"
    assert folded_gamma((2, 2), hexagonal) == "Γ of 2×2"
    assert folded_gamma((3, 3), square) == "Γ of 3×3"
    assert folded_gamma((1, 1), hexagonal) == "Γ"
    gap = BandGap(
        gap_ev=1.5, nature="indirect", fermi_ev=0.0, vbm_ev=-0.5, cbm_ev=1.0, vbm_k=(0, 0, 0), cbm_k=(0.5, 0, 0)
    )
    (line,) = level_lines(gap, None, None, 1, "Γ of 3×3, onto which K folds")
    assert line.endswith("indirect; VBM at Γ of 3×3, onto which K folds; CBM at k = (0.500, 0.000, 0.000)")


def test_levels_count_from_the_vacuum_above_the_top() -> None:
    gap = BandGap(gap_ev=1.0, nature="direct", fermi_ev=0.0, vbm_ev=-0.5, cbm_ev=0.5)
    plain = levels_payload(gap, 0.0, (3.5, 4.5), None)
    assert plain == {"marks": {"vacuum": 0.0, "below": -1.0, "vbm": -5.0, "cbm": -4.0}, "defects": []}
    level = DefectLevel(spin=0, band=9, lowest_ev=0.4, highest_ev=0.6, occupation=0.0, share=0.6, extended_share=0.25)
    host = DefectLevels(levels=(level,), host_gap_ev=1.8, host_vbm_ev=-0.7, host_cbm_ev=1.1)
    found = levels_payload(gap, 0.0, (4.5, 4.5), host)
    # The edges are those of the host itself, not of the level between them.
    assert found == {
        "marks": {"vacuum": 0.0, "below": 0.0, "vbm": -5.2, "cbm": -3.4},
        "defects": [[-4.1, -3.9, False]],
    }
    metal = BandGap(gap_ev=0.0, nature="metal", fermi_ev=0.2)
    assert levels_payload(metal, 0.2, (4.2, 4.2), None)["marks"] == {"vacuum": 0.0, "below": 0.0, "fermi": -4.0}


@pytest.mark.parametrize("axis", [0, 1])
def test_a_slice_goes_through_the_atom(axis: int) -> None:
    """A peak at an atom of a skewed cell lies in the plane; the same one half a cell beside it does not."""
    cell = np.array([[8.0, 0.0, 0.0], [-4.0, 7.0, 0.0], [0.0, 0.0, 12.0]])
    values = np.zeros((16, 14, 24))
    values[4, 7, 18] = 1.0
    atom = np.array([4 / 16, 7 / 14, 18 / 24]) @ cell
    found = slice_payload(Density(values, cell), atom, axis)
    plane = np.array(found["values"])
    lengths = np.linalg.norm(cell, axis=1)
    assert plane.shape == (24, (16, 14)[axis])
    height, along = np.argwhere(plane == 1.0)[0]
    assert found["heights"][height] == pytest.approx(9.0)
    assert found["along"][along] == pytest.approx(lengths[axis] * (4 / 16, 7 / 14)[axis], abs=1e-3)
    beside = atom + cell[1 - axis] / 2
    assert not np.any(slice_payload(Density(values, cell), beside, axis)["values"])


def test_steps_that_are_drawn_are_spread_over_the_relaxation() -> None:
    count = 3 * STEPS
    atoms = Atoms("WNa", positions=[[0, 0, 0], [0, 0, 2]], cell=[5, 5, 15], pbc=(True, True, False))
    positions = np.array([atoms.positions + np.array([0, 0, 0.001 * step]) for step in range(count)])
    forces = np.zeros((count, 2, 3))
    forces[:, 1, 2] = np.linspace(1.0, 0.01, count)
    found = relaxation_content("a", Trajectory(np.linspace(0.5, 0, count), positions, forces), atoms, [(0, 1)])
    assert len(found.energies) == len(found.forces) == count
    assert (found.drawn[0], found.drawn[-1], len(found.drawn)) == (0, count - 1, STEPS)
    for at, step in enumerate(found.drawn):
        assert found.vectors[at][1][2] == pytest.approx(forces[step, 1, 2], abs=0.006)
        assert found.positions[at][1][2] == pytest.approx(positions[step, 1, 2], abs=0.006)
    short = relaxation_content("b", Trajectory(np.zeros(3), positions[:3], forces[:3]), atoms, [])
    assert short.drawn == [0, 1, 2]


@pytest.fixture(scope="module")
def page() -> str:
    """The page of the reproduction."""
    return render("reproduction", gather(Results(open_archive(DOCS / "reproduction"), ""), ["wsse-gpaw-best"]))


def test_the_headline_says_what_how_and_how_far(page: str) -> None:
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert facts["What"] == (
        "Na at 7 of 7 sites of 5 hosts (WSe₂, WSSe, WSSe+VS, WSSe+VSe, WSSe+VS+VSe). "
        "Strongest: -1.85 eV on WSSe+VS at V_S@top."
    )
    assert re.fullmatch(r"gpaw 2\d(\.\d+)*, PBE, 500 eV, 2×2×1; cells 3×3; relaxed structures", facts["How"])
    assert facts["How far to trust it"].startswith("No error bars were asked for")


def test_every_site_has_its_row(page: str) -> None:
    (group,) = drawn(page)
    rows = re.findall(r"<tr><td>([VTH]_?\w*@\w+)</td>(.*?)</tr>", page)
    told = [
        (one["start"], f"{one['adsorption_energy_ev']:.3f}") for host in group["objects"] for one in host["sites"]
    ]
    assert [
        (site, next(cell for cell in cells.split("<td>") if cell.startswith("-"))[:-5]) for site, cells in rows
    ] == told
    assert sum("best" in cells for _, cells in rows) == 5


def test_contents_lead_to_what_is_there(page: str) -> None:
    targets = re.findall(r"href='#([^']+)'", page)
    assert len(targets) > 8
    assert all(len(re.findall(f"id=['\"]{target}['\"]", page)) == 1 for target in targets)


def test_the_paper_is_cited_where_its_values_stand(page: str) -> None:
    footer = page.split("<footer>")[1]
    assert "Lei et al., Small 2023" in footer
    assert "ΔE = E(*Na) − E(*) − E(Na)" in footer
    groups = gather(Results(open_archive(DOCS / "reproduction"), ""), ["wsse-gpaw-best"])
    other = render("own", [replace(group, results=[]) for group in groups]).split("<footer>")[1]
    assert "Lei" not in other.split("</footer>")[0]


def test_relaxations_can_be_stepped_through(page: str) -> None:
    (group,) = drawn(page)
    for one in group["relaxations"]:
        assert len(one["positions"]) == len(one["vectors"]) == len(one["drawn"]) <= STEPS
        assert len(one["positions"][0]) == len(one["atoms"]["symbols"])
