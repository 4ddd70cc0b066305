"""What docs/reproduction.md and its page say is what docs/reproduction holds: no number there is only typed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np
import pytest
from reproduction_tables import Explanation, Reproduction, written
from sodiate.analysis.model_result import ModelResult
from sodiate.analysis.report.page import drawn
from sodiate.workflows.quantities.dos import DensityOfStates
from sodiate.workflows.results.results import Results
from support import DOCS

TEXT = (DOCS / "reproduction.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def archive() -> Iterator[Results]:
    with Results.open(DOCS / "reproduction") as results:
        yield results


def table(heading: str, text: str = TEXT) -> list[dict[str, str]]:
    """Return the rows of the table of the document whose first column has this heading."""
    lines = text.split(f"\n| {heading} |", 1)[1].split("\n<!--", 1)[0].split("\n\n")[0].splitlines()
    heads, _, *rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")] for line in [heading + " |" + lines[0], *lines[1:]]
    ]
    return [dict(zip(heads, row, strict=False)) for row in rows]


def test_gaps_of_pymatgen_are_those_of_the_table(archive: Results) -> None:
    """The broadened curves' own were up to 0.3 eV smaller."""
    from pymatgen.electronic_structure.core import Spin
    from pymatgen.electronic_structure.dos import Dos

    for name, model in models(archive, "wsse-gpaw-best").items():
        dos = archive.get(name, campaign="wsse-gpaw-best").dos
        assert dos.get_gap() == pytest.approx(model.band_gap_ev, abs=1e-9)
        conduction, valence = dos.get_cbm_vbm()
        assert conduction - valence == pytest.approx(model.band_gap_ev, abs=1e-9)
        assert Dos.get_interpolated_gap(dos)[0] < model.band_gap_ev - 0.01
        assert dos.get_interpolated_gap(spin=Spin.up) == Dos.get_interpolated_gap(dos, spin=Spin.up)


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
        assert float(row["moment of the cell (μB)"]) == pytest.approx(site.total_moment_mub, abs=6e-3)
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
        told = row["levels of the vacancies (eV)"].replace(" filled", "").split("; ")
        shares = row["share"].split("; ")
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


CONVERSION = {"reproduction": "wsse-gpaw-best", "conversion": "wsse-conversion"}
"""The archives that have what a conversion is computed from, and their campaigns."""


def energies_ev(archives: Mapping[str, str] = CONVERSION) -> dict[str, tuple[float, int]]:
    """The energy and the number of atoms of each record as it lies in the archives, by its campaign's name."""
    found: dict[str, tuple[float, int]] = {}
    for folder, wanted in archives.items():
        campaigns, records = (
            [json.loads(line) for line in (DOCS / folder / f"{name}.jsonl").read_text("utf-8").splitlines()]
            for name in ("campaigns", "records")
        )
        names = {n["name"]: n["calculation"] for c in campaigns if c["campaign"] == wanted for n in c["calculations"]}
        by_id = {one["calculation"]: one for one in records if one["energy_ev"] is not None}
        found |= {
            name: (by_id[identifier]["energy_ev"], len(by_id[identifier]["geometry"]["symbols"]))
            for name, identifier in names.items()
            if identifier in by_id
        }
    return found


def test_the_table_of_barriers() -> None:
    """By hand from the energies of the ends and of the saddle."""
    ev = {label: energy for label, (energy, _) in energies_ev({"diffusion": "wsse-gpaw-diffusion"}).items()}
    text = (DOCS / "barriers.md").read_text(encoding="utf-8")
    rows = table("path", text[text.index("**With GPAW**") :])
    assert [row["path"] for row in rows] == ["WSe2/T_W@top..H@top", "WSSe/T_W@top..H@top"]
    for row in rows:
        host, _, _ = row["path"].partition("/")
        saddle, start, end = (ev[name] for name in (row["path"], f"{host}/T_W@top", f"{host}/H@top"))
        assert float(row["forward (eV)"]) == pytest.approx(saddle - start, abs=6e-4)
        assert float(row["back (eV)"]) == pytest.approx(saddle - end, abs=6e-4)


def test_the_table_of_distances_of_layers() -> None:
    """By a parabola through the three least energies, and that its differences are what it has."""
    ev = {label: energy for label, (energy, _) in energies_ev({"interlayer": "wsse-gpaw-interlayer"}).items()}
    text = (DOCS / "layers.md").read_text(encoding="utf-8")
    rows = table("crystal", text[text.index("## The paper's distance") :])
    with Results.open(DOCS / "interlayer") as results:
        computed = {model.model: model.quantities["interlayer"].interlayer_a for model in results.models()}
    assert [f"{row['crystal']}-bulk" for row in rows] == list(computed)
    for row in rows:
        mine = {float(n.rpartition("-")[2]): e for n, e in ev.items() if n.startswith(f"{row['crystal']}-bulk/")}
        distances = sorted(sorted(mine, key=mine.__getitem__)[:3])
        curvature, slope, _ = np.polyfit(distances, [mine[distance] for distance in distances], 2)
        here = float(row["here (Å)"])
        assert here == pytest.approx(computed[f"{row['crystal']}-bulk"], abs=6e-4)
        assert here == pytest.approx(-slope / (2 * curvature), abs=0.02)
        measured = float(row["experiment (Å)"].split()[0])
        assert float(row["here less experiment (Å)"]) == pytest.approx(here - measured, abs=6e-3)


def test_the_table_of_conversions() -> None:
    """By hand from the energies: E(host) + 4 E(Na) − E(products), a quarter of it."""
    ev = {label: energy for label, (energy, _) in energies_ev().items()}
    sulphide, selenide, metal = ev["Na2S-antifluorite"], ev["Na2Se-antifluorite"], ev["W-bcc"] - 4 * ev["Na-bcc"]
    products = {"WSe2": 2 * selenide + metal, "WSSe": selenide + sulphide + metal, "WS2": 2 * sulphide + metal}
    experiment = {"WSe2": 1.2892, "WSSe": 1.2778, "WS2": 1.2663}  # tests/data/formation_enthalpies.csv
    rows = {row["reaction"].split(" + ")[0]: row for row in table("reaction")}
    assert set(rows) == {"WSe2", "WSSe", "WS2"}
    told = (DOCS / "conversion.md").read_text(encoding="utf-8")
    for name, row in rows.items():
        assert f"{row['sheet (V)']} V for {name}" in told
    for name, row in rows.items():
        assert float(row["sheet (V)"]) == pytest.approx((ev[name] - products[name]) / 4, abs=6e-3)
        if row["crystal (V)"]:
            crystal = ev[f"{name}-crystal"] / 2
            assert float(row["crystal (V)"]) == pytest.approx((crystal - products[name]) / 4, abs=6e-3)
        assert float(row["experiment (V)"]) == pytest.approx(experiment[name], abs=6e-3)


def test_the_table_of_formation_from_elements() -> None:
    """By hand; and that its differences are those of the voltages, in which the elements cancel."""
    found = energies_ev()
    element = {label: energy / atoms for label, (energy, atoms) in found.items()}
    rows = {row["formed from its elements"]: row for row in table("formed from its elements")}
    formed = found["Na2S-antifluorite"][0] - 2 * element["Na-bcc"] - element["S-molecule"]
    assert float(rows["Na2S"]["here (eV)"]) == pytest.approx(formed, abs=6e-3)
    assert float(rows["Na2Se"]["experiment (eV)"]) == pytest.approx(-341.4 / 96.485, abs=6e-3)
    short = {name: float(row["here less experiment (eV)"]) for name, row in rows.items()}
    (voltage,) = [row for row in table("reaction") if row["reaction"].startswith("WSSe")]
    lacking = float(voltage["experiment (V)"]) - float(voltage["sheet (V)"])
    assert (short["Na2S"] + short["Na2Se"] - short["WSSe"]) / 4 == pytest.approx(lacking, abs=0.01)
    said = " ".join(TEXT.split())
    assert f"of {lacking:.2f} V that WSSe's voltage lacks" in said
    crystal, sheet = found["WSSe-crystal"][0] / 2, found["WSSe"][0]
    assert f"That lies {crystal - sheet:.2f} eV per formula unit above the sheet without D3" in said
    assert f"short of {(short['Na2S'] + short['Na2Se']) / 4:.2f} V and the sheet of {short['WSSe'] / 4:.2f} V" in said


def d3_ev(archive: Results, name: str, campaign: str) -> float:
    from sodiate.workflows.engines.gpaw.dispersion import dispersion_calculator

    atoms = archive.get(name, campaign=campaign).atoms.copy()
    atoms.calc = dispersion_calculator("PBE")
    return float(atoms.get_potential_energy())


def test_what_is_left_of_the_differences(archive: Results, dftd3: None) -> None:
    """By hand, from D3 at the geometries without it; far from everything Na has none."""
    effects = models(archive, "wsse-sensitivity")
    atom = effects["unpolarised-atom"].effect_ev
    relaxed = effects["with-d3"].effect_ev
    at_fixed = d3_ev(archive, "WSSe/T_W@top", "wsse-sensitivity") - d3_ev(archive, "WSSe", "wsse-sensitivity")
    assert at_fixed == pytest.approx(relaxed, abs=5e-3)
    found = models(archive, "wsse-gpaw-best")
    rows = {row["explanation"]: row for row in table("explanation")}
    both = rows["Na atom without spin, and D3"]
    left = []
    for name, model in found.items():
        d3 = d3_ev(archive, f"{name}/{model.site}", "wsse-gpaw-best") - d3_ev(archive, name, "wsse-gpaw-best")
        left.append(model.adsorption_energy_ev + atom + d3 - model.paper_adsorption_energy_ev)
    assert [float(both[name]) for name in found] == pytest.approx(left, abs=6e-4)
    mean = sum(left) / 5
    scatter = (sum((value - mean) ** 2 for value in left) / 5) ** 0.5
    assert float(both["mean left (eV)"]) == pytest.approx(mean, abs=6e-4)
    assert float(both["scatter left (eV)"]) == pytest.approx(scatter, abs=6e-4)
    plain = float(rows["none: this table's own values"]["scatter left (eV)"])
    share = float(both["of the pattern"].removesuffix(" %")) / 100
    assert share == pytest.approx(1 - (scatter / plain) ** 2, abs=0.01)


def test_what_dispersion_does_to_layers(dftd3: None) -> None:
    from sodiate.workflows.engines.gpaw.dispersion import dispersion_calculator

    energies = []
    with Results.open(DOCS / "conversion") as results:
        for name in ("WSSe", "WSSe-crystal"):
            atoms = results[name].atoms.copy()
            atoms.calc = dispersion_calculator("PBE")
            plain = results[name].record.energy_ev
            assert plain is not None
            energies.append((plain + atoms.get_potential_energy()) * 3 / len(atoms))
    assert f"and {energies[0] - energies[1]:.2f} eV below it with D3" in " ".join(TEXT.split())


def test_the_table_of_error_bars(archive: Results, dftd3: None) -> None:
    """By hand from the file's total energies and differences of functionals, the atom's own among them."""
    from sodiate.workflows.engines.gpaw.dispersion import dispersion_calculator

    lines = [json.loads(line) for line in (DOCS / "lcao.jsonl").read_text(encoding="utf-8").splitlines()]
    known = {(line["structure"], line["mesh"]): line for line in lines if line["spin"]}
    rows = table("ΔE of")
    spread: dict[str, list[float]] = {}
    for row in rows:
        site, host = row["ΔE of"], row["ΔE of"].partition("/")[0]
        steps = {mesh: known[site, mesh]["energy_ev"] - known[host, mesh]["energy_ev"] for mesh in (3, 4)}
        assert float(row["± mesh (eV)"]) == pytest.approx(abs(steps[4] - steps[3]), abs=6e-4)
        changes = []
        for functional in ("RPBE", "PBEsol"):
            pure = {name: known[name, 2]["functional_ev"][functional] for name in (site, host, "Na")}
            d3 = []
            for name in (site, host):
                atoms = archive.get(name, campaign="wsse-gpaw-best").atoms.copy()
                atoms.calc = dispersion_calculator(functional)
                d3.append(float(atoms.get_potential_energy()))
            change = pure[site] - pure[host] - pure["Na"]
            both = change + d3[0] - d3[1]
            changes += [change, both]
            assert float(row[f"by {functional} (eV)"]) == pytest.approx(change, abs=6e-4)
            assert float(row[f"by {functional}+D3 (eV)"]) == pytest.approx(both, abs=6e-4)
        assert float(row["± functional (eV)"]) == pytest.approx(max(map(abs, changes)), abs=6e-3)
        for name in ("PBE+D3", "RPBE", "PBEsol", "PBEsol+D3"):
            spread.setdefault(name, []).append(float(row[f"by {name} (eV)"]))
    said = " ".join(TEXT.split())
    assert max(float(row["± mesh (eV)"]) for row in rows) == 0.016
    assert f"others stay within {max(-min(values) for values in spread.values()):.2f} eV" in said
    assert f"between hosts by {max(max(values) - min(values) for values in spread.values()):.2f} eV at most" in said


def test_a_constant_explains_nothing_of_the_pattern() -> None:
    differences = [0.682, 0.480, 0.359, 0.621, 0.402]
    assert Explanation("", (-0.5,) * 5).pattern(differences) == pytest.approx(0.0, abs=1e-12)
    assert Explanation("", tuple(-value for value in differences)).pattern(differences) == pytest.approx(1.0)
    # Twice the differences is as far from the paper's pattern as none of them, the other way.
    assert Explanation("", tuple(-2 * value for value in differences)).pattern(differences) == pytest.approx(0.0)


def test_the_tables_are_those_of_the_archive(archive: Results, dftd3: None) -> None:
    page = (DOCS / "reproduction" / "report.html").read_text(encoding="utf-8")
    reproduction = Reproduction(archive, page)
    assert TEXT.count("<!-- table: ") == len(reproduction.tables)
    assert written(TEXT, reproduction) == TEXT, "python benchmarks/reproduction_tables.py --write"


def test_the_page_is_that_of_the_archive(archive: Results) -> None:
    page = (DOCS / "reproduction" / "report.html").read_text(encoding="utf-8")
    groups = drawn(page)
    assert groups[0]["campaign"] == "wsse-gpaw-best"
    for group in groups:
        found = models(archive, group["campaign"])
        assert {
            one["model"]: (one["adsorption_energy_ev"], one["band_gap_ev"], one["effect_ev"])
            for one in group["objects"]
        } == {name: (model.adsorption_energy_ev, model.band_gap_ev, model.effect_ev) for name, model in found.items()}


def test_what_localised_orbitals_change(archive: Results) -> None:
    """By hand from the total energies of the file, which agree with plane waves to a constant between the hosts."""
    lines = [json.loads(line) for line in (DOCS / "lcao.jsonl").read_text(encoding="utf-8").splitlines()]
    energy = {(line["structure"], line["mesh"], line["spin"]): line for line in lines}
    atom = models(archive, "wsse-sensitivity")["unpolarised-atom"].effect_ev
    apart = []
    for row in table("best site"):
        site = row["best site"]
        host = site.partition("/")[0]

        def bound(mesh: int, spin: bool = True, site: str = site, host: str = host) -> float:
            return float(energy[site, mesh, spin]["energy_ev"] - energy[host, mesh, True]["energy_ev"])

        coupling = energy[site, 2, True]["spin_orbit_ev"] - energy[host, 2, True]["spin_orbit_ev"]
        model = models(archive, "wsse-gpaw-best")[host]
        assert float(row["by 4×4×1 (eV)"]) == pytest.approx(bound(4) - bound(2), abs=6e-4)
        assert float(row["ΔE on 4×4×1 (eV)"]) == pytest.approx(
            model.adsorption_energy_ev + bound(4) - bound(2), abs=6e-4
        )
        assert float(row["by spin–orbit coupling (eV)"]) == pytest.approx(coupling, abs=6e-4)
        assert float(row["without spin (eV)"]) == pytest.approx(bound(2, spin=False) - bound(2) + atom, abs=6e-4)
        apart.append(model.adsorption_energy_ev - bound(2))
    assert len(apart) == 5
    assert max(apart) - min(apart) < 0.04
