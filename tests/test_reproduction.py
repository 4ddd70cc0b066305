"""What docs/reproduction.md and its page say is what docs/reproduction holds: no number there is only typed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sodiate.analysis.model_result import ModelResult
from sodiate.workflows.quantities.dos import DensityOfStates
from sodiate.workflows.results.results import Results
from support import DOCS
from support.campaigns import drawn_groups

TEXT = (DOCS / "reproduction.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def archive() -> Iterator[Results]:
    with Results.open(DOCS / "reproduction") as results:
        yield results


def table(heading: str) -> list[dict[str, str]]:
    """Return the rows of the table of the document whose first column has this heading."""
    lines = TEXT.split(f"\n| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()
    heads, _, *rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in [heading + " |" + lines[0], *lines[1:]]
    ]
    return [dict(zip(heads, row, strict=False)) for row in rows]


def models(archive: Results, campaign: str) -> dict[str, ModelResult]:
    return {model.model: model for model in archive.models(campaign)}


def test_the_table_of_sites(archive: Results) -> None:
    found = models(archive, "wsse-gpaw-best")
    rows = table("site")
    assert {row["site"].split("/")[0] for row in rows} == set(found)
    for row in rows:
        name, start = row["site"].split("/")
        site = next(site for site in found[name].sites if site.site == start)
        assert site.end == row["ended at"]
        assert float(row["moment (μB)"]) == pytest.approx(site.total_moment_mub, abs=6e-3)
        assert float(row["ΔE (eV)"]) == pytest.approx(site.adsorption_energy_ev, abs=6e-4)
        assert float(row["against bcc Na (eV)"]) == pytest.approx(site.adsorption_energy_bulk_ev, abs=6e-4)
        if row.get("less paper (eV)"):
            paper = found[name].paper_adsorption_energy_ev
            assert float(row["paper (eV)"]) == paper
            assert float(row["less paper (eV)"]) == pytest.approx(site.adsorption_energy_ev - paper, abs=6e-4)


def test_the_table_of_gaps(archive: Results) -> None:
    found = models(archive, "wsse-gpaw-best")
    rows = table("host")
    assert [row["host"] for row in rows] == list(found)
    for row in rows:
        assert float(row["gap (eV)"].split(",")[0]) == pytest.approx(found[row["host"]].band_gap_ev, abs=6e-4)
        lines = DensityOfStates().draw(found[row["host"]], archive.documents).lines
        if "+" not in row["host"]:
            assert row["of the host itself"] == row["gap (eV)"].split(",")[0]
            continue
        own = f"gap between the band edges of the host itself {row['of the host itself']} eV (1.694 eV without"
        assert any(line.startswith(own) for line in lines)
        levels = [line for line in lines if line.startswith("defect level")]
        told = row["levels of the vacancies (eV)"].replace(" filled;", ",").split(", ")
        shares = row["share"].replace(";", ",").split(", ")
        assert len(told) == len(levels)
        for line, energies, share in zip(levels, told, shares, strict=True):
            assert energies in line
            assert share.replace(" ", "") in line


def test_the_table_of_effects(archive: Results) -> None:
    found = models(archive, "wsse-sensitivity")
    rows = table("model of `wsse-sensitivity`")
    assert [row["model of `wsse-sensitivity`"] for row in rows] == list(found)
    for row in rows:
        model = found[row["model of `wsse-sensitivity`"]]
        for value, told in ((model.adsorption_energy_ev, row["ΔE (eV)"]), (model.effect_ev, row.get("effect (eV)"))):
            if told:
                assert float(told) == pytest.approx(value, abs=6e-4)
            else:
                assert value is None


def test_the_table_of_formation_energies(archive: Results) -> None:
    found = models(archive, "wsse-gpaw-best")
    rows = table("vacancies of")
    assert [row["vacancies of"] for row in rows] == [name for name in found if "+" in name]
    for row in rows:
        formation = found[row["vacancies of"]].quantities["vacancy_formation"]
        told = [float(row["X-rich (eV)"]), float(row["W-rich (eV)"])]
        assert told == pytest.approx([formation.x_rich_ev, formation.metal_rich_ev], abs=6e-4)


def test_what_the_atom_and_dispersion_would_add(archive: Results, dftd3: None) -> None:
    """D3 at the geometries without it, of the same atoms with and without Na; far from everything Na has none."""
    from sodiate.workflows.engines.gpaw.dispersion import dispersion_calculator

    def d3(name: str, campaign: str) -> float:
        atoms = archive.get(name, campaign=campaign).atoms.copy()
        atoms.calc = dispersion_calculator("PBE")
        return float(atoms.get_potential_energy())

    effects = models(archive, "wsse-sensitivity")
    atom = effects["unpolarised-atom"].effect_ev
    relaxed = effects["with-d3"].effect_ev
    assert d3("WSSe/T_W@top", "wsse-sensitivity") - d3("WSSe", "wsse-sensitivity") == pytest.approx(relaxed, abs=5e-3)
    rows = table("best site of")
    found = models(archive, "wsse-gpaw-best")
    assert [row["best site of"] for row in rows] == list(found)
    for row in rows:
        name = row["best site of"]
        added = d3(f"{name}/{found[name].site}", "wsse-gpaw-best") - d3(name, "wsse-gpaw-best")
        whole = found[name].adsorption_energy_ev + atom + added
        told = [float(cell) for cell in list(row.values())[1:]]
        paper = found[name].paper_adsorption_energy_ev
        expected = [found[name].adsorption_energy_ev, atom, added, whole, paper, whole - paper]
        assert told == pytest.approx(expected, abs=6e-4)


def test_the_page_is_that_of_the_archive(archive: Results) -> None:
    page = (DOCS / "reproduction" / "report.html").read_text(encoding="utf-8")
    groups = drawn_groups(page)
    assert groups[0]["campaign"] == "wsse-gpaw-best"
    for group in groups:
        found = models(archive, group["campaign"])
        assert {
            one["model"]: (one["adsorption_energy_ev"], one["band_gap_ev"], one["effect_ev"])
            for one in group["objects"]
        } == {name: (model.adsorption_energy_ev, model.band_gap_ev, model.effect_ev) for name, model in found.items()}
