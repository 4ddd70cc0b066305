"""Coverage of a campaign: planned, run dry, held against the formulas by hand, shown, and refused in words."""

from __future__ import annotations

import csv
import io
import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import mx2
from sodiate.analysis.energies.coverage import CoverageResult, Plateau
from sodiate.analysis.model_result import HostRecords, ModelResult
from sodiate.analysis.records import MOCK
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.quantities.coverage import Coverage
from sodiate.workflows.results.results import Results
from sodiate.workflows.start_structures import ideal_atoms, read_host, site_reached, start_moments
from support import present
from support.campaigns import Bench, small_campaign
from support.cli import Cli

WSSE_MASS = 183.84 + 32.06 + 78.971


def campaign(folder: Path, **changes: Any) -> Path:
    given: dict[str, Any] = {
        "models": ["WSSe"],
        "sites": ["T_W@top", "T_W@bottom"],
        "quantities": [],
        "coverage": ["1/4", "1/2"],
    }
    return small_campaign(folder, **given | changes)


def arrangements(path: Path, **options: Any) -> dict[str, Calculation]:
    return {name: one for name, one in plan(path, **options).names.items() if one.structure["op"] == "ions"}


def test_what_is_planned(tmp_path: Path) -> None:
    """2×2 WSSe, four places on each face. Two ions: neighbours on S or Se, or one on each in two distances."""
    planned = plan(campaign(tmp_path))
    (host,) = planned.hosts
    entry = planned.entry().models[0].quantities["coverage"]
    ions = arrangements(tmp_path / "small.yaml")
    assert len(ions) == 4
    assert entry.declared["found"] == [
        {"coverage": "1/4", "count": 2, "complete": True, "computed": 2},
        {"coverage": "1/2", "count": 4, "complete": True, "computed": 4},
    ]
    # One ion is a site that the campaign has.
    assert {entry.calculations[site] for site in host.sites} == {site.id for site in host.sites.values()}
    assert {one.parents["host"].id for one in ions.values()} == {host.calculation.id}
    assert {name.partition("/")[2] for name in ions} < entry.calculations.keys()
    assert all(one.label == name for name, one in ions.items())
    assert entry.declared["units"] == {"2x2": 4}


def test_ids_of_a_campaign_do_not_change_with_it(tmp_path: Path) -> None:
    with_it = plan(campaign(tmp_path)).names
    without = plan(campaign(tmp_path, coverage=[])).names
    assert {name: with_it[name].id for name in without} == {name: one.id for name, one in without.items()}
    again = arrangements(campaign(tmp_path, coverage=[0.5], most=2))
    assert {one.id for one in again.values()} < {one.id for one in with_it.values()}
    assert len(again) == 2


@pytest.mark.parametrize("engine", ["emt", "gpaw", "vasp"])
def test_every_engine_relaxes_arrangements_as_it_does_sites(tmp_path: Path, engine: str) -> None:
    planned = plan(campaign(tmp_path), engine=engine)
    site = next(iter(planned.hosts[0].sites.values()))
    for one in arrangements(tmp_path / "small.yaml", engine=engine).values():
        assert one.kind == "relax"
        assert dict(one.protocol) == dict(site.protocol)
        atoms = present(ideal_atoms(one))
        assert atoms.get_chemical_symbols()[-2:] == ["Na", "Na"]
        assert atoms.cell.array == pytest.approx(present(ideal_atoms(site)).cell.array)
        if engine != "emt":
            assert start_moments(one, len(atoms)) == [0.0] * (len(atoms) - 2) + [1.0, 1.0]


def test_a_coverage_that_the_cell_does_not_hold_has_a_smaller_one(tmp_path: Path) -> None:
    """1/2 is no whole number of nine, but of four; vacuum and protocol are the host's."""
    model = {"model": "WSSe", "vacuum_a": 17.0}
    planned = plan(campaign(tmp_path, supercell=[3, 3], models=[model], coverage=["1/9", "1/2"], most=3))
    smaller = planned.names["WSSe/2x2"]
    assert smaller.structure["repeat"] == [2, 2]
    assert smaller.structure["vacuum_a"] == 17.0
    ions = {name: one for name, one in planned.names.items() if one.structure["op"] == "ions"}
    assert {name.rpartition("/")[0] for name in ions} == {"WSSe/2x2"}
    assert {one.parents["host"].id for one in ions.values()} == {smaller.id}
    order = list(planned.names)
    assert all(order.index("WSSe/2x2") < order.index(name) for name in ions)
    both = plan(campaign(tmp_path, coverage=["1/2"], models=[model], most=3))
    assert {one.id for one in ions.values()} < {one.id for one in both.names.values()}


@pytest.mark.parametrize(("sites", "face"), [(["T_W@top"], "top"), (["T_W@bottom", "T_W@top"], "bottom")])
def test_one_side_is_that_of_the_first_site(tmp_path: Path, sites: list[str], face: str) -> None:
    model = {"model": "WSSe", "sites": sites}
    planned = plan(campaign(tmp_path, models=[model], sides="one", coverage=[1]))
    (one,) = [one for one in planned.names.values() if one.structure["op"] == "ions"]
    heights = present(ideal_atoms(one)).positions[:, 2]
    assert (heights[-4:].min() > heights[:-4].max()) == (face == "top")
    assert (heights[-4:].max() < heights[:-4].min()) == (face == "bottom")


def test_methods_name_the_faces_of_all_hosts(tmp_path: Path) -> None:
    models = [{"model": "WSSe", "sites": ["T_W@top"]}, {"model": "WSSe", "name": "S", "sites": ["T_W@bottom"]}]
    entry = plan(campaign(tmp_path, models=models, sides="one", coverage=["1/4"])).entry()
    bulk = entry.models[0].quantities["coverage"].calculations["bulk"]
    records: Any = {bulk: None}  # its presence alone is asked for
    said = Coverage().methods([HostRecords(entry, model, records, {}, True) for model in entry.models])
    assert "at 1/4 ions per formula unit on the top face and the bottom face, and those of lowest" in said[0]
    assert "on the bottom face, and those of lowest" in Coverage().methods(
        [HostRecords(entry, entry.models[1], records, {}, True)]
    )[0]  # fmt: skip


@pytest.mark.parametrize(
    ("host", "sites", "faces"),
    [
        ("WSSe", ["T_W@top", "H@top"], "the top face"),
        ("WSSe", ["H@bottom"], "the bottom face"),
        ("WSSe", ["T_W@top", "H@bottom"], "both faces"),
        # Its faces are equivalent, and a site is named by the top one.
        ({"host": "WSe2"}, ["T_W@top"], "both faces"),
    ],
)
def test_the_faces_that_are_told_are_those_of_the_ions(tmp_path: Path, host: Any, sites: Any, faces: str) -> None:
    planned = plan(campaign(tmp_path, models=[host], sites=sites, sides="both", coverage=["1/4", "1/2"]))
    assert planned.entry().models[0].quantities["coverage"].declared["faces"] == faces
    on = set()
    for one in planned.names.values():
        if one.structure["op"] == "ions":
            heights = present(ideal_atoms(one)).positions[:, 2]
            on |= {height > heights[:-2].mean() for height in heights[-2:]}
    assert len(on) == (2 if faces == "both faces" else 1)


@pytest.mark.parametrize(("doped", "unit", "ions"), [(False, "MoS2", 4), (True, "Mo3S8W", 1)])
def test_the_formula_unit_of_a_file_is_named(bench: Bench, tmp_path: Path, doped: bool, unit: str, ions: int) -> None:
    """A dopant of the file's own makes its unit four times as large, and x = 1 is one ion a cell, not four."""
    atoms = mx2("MoS2", a=3.184, thickness=3.13, size=(2, 2, 1), vacuum=8.0)
    if doped:
        atoms.symbols[[atom.index for atom in atoms if atom.symbol == "Mo"][1]] = "W"
    atoms.pbc = True
    atoms.write(tmp_path / "host.cif")
    model = {"name": "mine", "file": "host.cif"}
    given: dict[str, Any] = {"models": [model], "sites": ["T_Mo@top"], "supercell": [1, 1], "sides": "one", "most": 1}
    path = campaign(tmp_path, **given, coverage=[1])
    planned = plan(path)
    declared = planned.entry().models[0].quantities["coverage"].declared
    assert {row["ions"] for row in declared["arrangements"]} == {ions}
    bench.submit(planned)
    bench.launch(planned)
    (result,) = Results(bench.documents, "here").models()
    (line,) = [line for line in Coverage().remarks([result]) if "takes" in line]
    assert line.startswith(f"mine: takes 1 ion per formula unit {unit}, the most")
    with pytest.raises(InputError, match=rf"has {1 if doped else 4} formula units? {unit}, "):
        plan(campaign(tmp_path, **given, coverage=["1/3"]))


def test_more_than_one_layer_holds_lie_in_a_second_one(tmp_path: Path) -> None:
    """Twelve ions on 2×2: eight on the faces, four above; each of them 3.63 Å from the nearest below."""
    planned = plan(campaign(tmp_path, coverage=[3], vacuum_a=20.0, most=4))
    ions = [one for one in planned.names.values() if one.structure["op"] == "ions"]
    assert 0 < len(ions) <= 4
    declared = planned.entry().models[0].quantities["coverage"].declared["arrangements"]
    for row in declared:
        assert re.fullmatch(r"4 T_W@top, 4 T_W@bottom(, \d Na2@(top|bottom))+", row["places"])
    for one in ions:
        atoms = present(ideal_atoms(one))
        distances = atoms.get_all_distances(mic=True)[-4:, -12:-4]
        assert distances.min(axis=1) == pytest.approx([4.19 * 3**0.5 / 2] * 4, abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"coverage": [5]}, ("5 ions per formula unit are more than its sites hold", "take 2", "(Na2)", "at most 4")),
        (
            {"coverage": [3], "sides": "one"},
            ("on the top face take 1", "give at most 2, or sides: both, or sites: all"),
        ),
        (
            {"coverage": [3], "sites": ["T_W@top"]},
            ("T_W@top on the top face take 1", "give at most 2, or sites: all"),
        ),
        ({"coverage": [4], "vacuum_a": 13.0}, ("of vacuum, and images of a sheet overlap", "raise vacuum_a by")),
        (
            {"coverage": ["1/7"], "supercell": [3, 3]},
            ("1/7 ions per formula unit are no whole number in its 3×3 cell, which has 9", "near it are 1/9 and 2/9"),
        ),
        ({"coverage": ["1/9"]}, ("in its 2×2 cell", "near it are 1/4", "a multiple of 9")),
        ({"coverage": ["1/9"], "models": ["WSSe+VS"]}, ("model WSSe+VS", "which has 4 formula units; near")),
        (
            {"adsorbate": {"element": "Ga", "charge": 3}, "bulk_references": {}},
            ("coverage needs bulk_references.Ga: {lattice, a}, {crystal: FILE}",),
        ),
        ({"coverage": ["half"]}, ("'half' is no coverage: ions per formula unit, such as 1/9",)),
        ({"coverage": ["1/0"]}, ("'1/0' is no coverage",)),
        ({"coverage": [True]}, ("True is no coverage",)),
        ({"coverage": [0]}, ("give more than 0",)),
        ({"coverage": ["-1/4"]}, ("give more than 0",)),
        ({"coverage": [400]}, ("at most 20",)),
        ({"sides": "top"}, ("sides: 'top' should be 'one' or 'both'",)),
        ({"most": 0}, ("most: 0 should be greater than or equal to 1",)),
        (
            {"adsorbate": {"element": "Fe"}, "bulk_references": {"Fe": {"lattice": "bcc", "a": 2.8}}},
            ("charge of Fe",),
        ),
    ],
)
def test_mistakes_are_told_when_planned(tmp_path: Path, changes: dict[str, Any], words: tuple[str, ...]) -> None:
    path = campaign(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        plan(path)
    assert all(word in str(caught.value) for word in words), caught.value
    assert "coverage" in str(caught.value) or "sides" in changes or "most" in changes


def test_a_metal_that_is_not_named_is_the_usual_one(tmp_path: Path) -> None:
    """The same for coverage and bulk_reference: bcc Na as in experiment, and it is said."""
    planned = plan(campaign(tmp_path, bulk_references={}, quantities=["bulk_reference"]))
    of = planned.entry().models[0].quantities
    metal = planned.names["Na-bcc"]
    assert of["coverage"].calculations["bulk"] == of["bulk_reference"].calculations["bulk"] == metal.id
    assert metal.structure["a"] == pytest.approx(4.23)
    assert [line for line in planned.remarks if line.startswith("bulk_references.Na: not given")]


@pytest.mark.parametrize(("uncertainty", "told"), [([], False), (["kmesh"], True)])
def test_that_voltages_have_no_error_bars_is_said(tmp_path: Path, uncertainty: list[str], told: bool) -> None:
    entry = plan(campaign(tmp_path, uncertainty=uncertainty), engine="gpaw").entry()
    found = CoverageResult((), plateaus=(Plateau("0", "1/2", 0.5),))
    result = ModelResult(HostRecords(entry, entry.models[0], {}, {}, True), {"coverage": found}, {}, ())
    lines = Coverage().remarks([result])
    line = "WSSe: ± of formation energies and voltages: not known: uncertainty is of ΔE alone"
    assert (line in lines) == told


@pytest.mark.parametrize("engine", ["emt", "gpaw", "vasp"])
def test_with_final_energies_all_terms_are_single_points(tmp_path: Path, engine: str) -> None:
    """Of ions in the campaign's cell and in a smaller one, of both clean hosts, and of the metal."""
    dear = {"base": "paper", "final_energy": {"cutoff_ev": 700.0, "kpoint_length_a": 39.0}}
    changes: dict[str, Any] = {"supercell": [3, 3], "coverage": ["1/9", "1/2"], "most": 2, "sites": ["T_W@top"]}
    plain = plan(campaign(tmp_path, **changes), engine=engine).names
    planned = plan(campaign(tmp_path, **changes, protocol=dear), engine=engine)
    assert {name: one.id for name, one in plain.items()}.items() <= {
        name: plain[name].id if name == "WSSe/lowest" else one.id for name, one in planned.names.items()
    }.items()
    ids = planned.entry().models[0].quantities["coverage"].calculations
    named = {role: next(n for n, one in planned.names.items() if one.id == i) for role, i in ids.items()}
    finals = {role.removeprefix("final "): name for role, name in named.items() if role.startswith("final ")}
    relaxed = {role: name for role, name in named.items() if not role.startswith("final ") and role != "bulk"}
    assert finals == {role: f"{name}/final" for role, name in {"host": "WSSe", **relaxed}.items()}
    assert len(relaxed) == 3
    assert named["bulk"] == ("Na-bcc" if engine == "emt" else "Na-bcc-final")
    # The same settings for all of them; a data set for each element that is there.
    settings = [{**planned.names[name].protocol, "paw": None} for name in finals.values()]
    assert all(one == settings[0] for one in settings)
    if engine != "emt":
        assert (settings[0]["cutoff_ev"], settings[0]["kpoint_length_a"]) == (700.0, 39.0)


def test_voltages_of_a_dry_run_with_final_energies(bench: Bench, tmp_path: Path) -> None:
    """The dry engine has one energy for a geometry, so that these are the relaxations' own; the metal's as well."""
    dear = {"base": "paper", "final_energy": {"kpoint_length_a": 39.0}}
    changes: dict[str, Any] = {"supercell": [2, 2], "coverage": ["1/4", "1/2"], "most": 1, "sites": ["T_W@top"]}
    voltages = []
    for protocol in ("paper", dear):
        planned = plan(campaign(tmp_path, **changes, protocol=protocol))
        bench.submit(planned)
        bench.launch(planned)
        (result,) = Results(bench.documents, "test").of(planned.entry())
        voltages.append(present(result.average_voltage_v))
    assert voltages[0] == pytest.approx(voltages[1], abs=1e-9)


def test_own_sites_take_no_part(tmp_path: Path) -> None:
    own = {"bridge": {"at": [0.1, 0.2], "face": "top", "height_a": 2.3}}
    planned = plan(campaign(tmp_path, models=[{"model": "WSSe", "own_sites": own}]))
    assert "bridge" not in planned.entry().models[0].quantities["coverage"].calculations
    alone = campaign(tmp_path, models=[{"model": "WSSe", "own_sites": own, "sites": []}])
    with pytest.raises(InputError, match="own_sites alone"):
        plan(alone)


def test_where_ions_end_is_named_as_where_they_start(tmp_path: Path) -> None:
    """An arrangement that hops into another one's place has its name; one that leaves the sheet says so."""
    planned = plan(campaign(tmp_path, coverage=["1/2"], sites=["T_W@top", "H@top"], sides="one", most=100))
    ions = [one for one in planned.names.values() if one.structure["op"] == "ions"]
    names = [one.label.rpartition("/")[2] for one in ions]
    ends = [present(site_reached(one, present(ideal_atoms(one)))) for one in ions]
    assert [end.label for end in ends] == names
    assert not any(end.moved for end in ends)
    first, other = (present(ideal_atoms(one)) for one in ions[:2])
    hopped = present(site_reached(ions[0], other))
    assert (hopped.start, hopped.label, hopped.moved) == (names[0], names[1], True)
    host = read_host(ions[0].parents["host"].structure)
    shifted = first.copy()
    # By a lattice vector of the 1×1 cell: an equivalent arrangement, of the same name.
    shifted.positions[len(host.atoms) :] += host.pristine.cell.array[0] / 2
    assert present(site_reached(ions[0], shifted)).label == names[0]
    gone = first.copy()
    gone.positions[-1, 2] += 6.0
    left = present(site_reached(ions[0], gone))
    assert (left.label, left.note) == ("desorbed", "1 of 2 ions left the sheet")


def test_a_dry_run_gives_what_the_formulas_give_by_hand(cli: Cli, launchpad: Path, tmp_path: Path) -> None:
    campaign(tmp_path, coverage=["1/4", "1/2", 1, 2], most=3)
    place = ("--launchpad", launchpad, "--root", "root")
    done = cli("run", "small.yaml", *place)
    assert done.returncode == 0, done.stdout + done.stderr
    with Results.open(launchpad) as results:
        (result,) = results.models()
        host, metal = (results[name].record for name in ("WSSe", "Na-bcc"))
        clean = results["WSSe"].atoms
        rows = {one["name"]: one for one in result.coverages}
        formed = {}
        for name, row in rows.items():
            record = results[f"WSSe/{name}"].record
            energy = present(record.energy_ev) - present(host.energy_ev) - row["ions"] * present(metal.energy_ev)
            formed[name] = energy / 4
            assert row["formation_energy_ev"] == pytest.approx(energy / 4)
            assert record.site is not None
            assert (row["end"], record.site.start) == (record.site.end, name)
    assert len(rows) == 2 + 3 + 3 + 1
    lowest = {x: min(formed[n] for n, r in rows.items() if r["ions"] == 4 * x) for x in (0.25, 0.5, 1, 2)}
    # The steps from the bare sheet on, each to where the slope is steepest.
    at, energy, steps = 0.0, 0.0, []
    while at < 2:
        slopes = {x: (lowest[x] - energy) / (x - at) for x in lowest if x > at}
        best = min(slopes, key=lambda x: (slopes[x], -x))
        steps.append((best, -slopes[best]))
        at, energy = best, lowest[best]
    assert [float(Fraction(step["last"])) for step in result.plateaus] == [x for x, _ in steps]
    assert [step["voltage_v"] for step in result.plateaus] == pytest.approx([voltage for _, voltage in steps])
    stable = max((x for x, voltage in steps if voltage > 0), default=0)
    assert result.stable_coverage == stable
    assert result.average_voltage_v == pytest.approx(-lowest[stable] / stable)
    assert result.capacity_mah_per_g == pytest.approx(stable * 96485.332 / 3.6 / WSSE_MASS, rel=1e-4)
    assert np.ptp(clean.positions[:, 2]) > 3
    _shown(cli, place, tmp_path, result)


def _shown(cli: Cli, place: tuple[Any, ...], folder: Path, result: Any) -> None:
    """In table, JSON, csv, page, supplement, figure and archive."""
    table = cli("results", *place).stdout
    assert f"{result.capacity_mah_per_g:.1f}" in table
    said = " ".join(table.split())
    assert "WSSe: voltage against the metal:" in said
    assert "WSSe: takes 2 ions per formula unit, the most that was asked for (4 T_W@top, 4 T_W@bottom)" in said
    assert re.search(r"WSSe: distinct arrangements that are relaxed.*: 3 of 4 at x = 1/2", said)
    assert MOCK in said.split("voltage against the metal:")[1]
    (one,) = json.loads(cli("results", *place, "--format", "json").stdout)
    assert one["coverages"] == json.loads(json.dumps(result.coverages))
    (row,) = csv.DictReader(io.StringIO(cli("results", *place, "--format", "csv").stdout))
    assert float(row["capacity_mah_per_g"]) == pytest.approx(result.capacity_mah_per_g)
    assert float(row["average_voltage_v"]) == pytest.approx(result.average_voltage_v)
    page = cli("report", *place, "--out", "report.html")
    assert page.returncode == 0, page.stderr
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert all(f"data-plot='0/curves-{name}/0'" in html for name in ("hull", "voltage"))
    assert cli("si", *place, "--out", "si").returncode == 0
    assert (folder / "si" / "figures" / "voltage.pdf").stat().st_size > 1000
    assert "Symmetry-distinct arrangements" in (folder / "si" / "methods.md").read_text(encoding="utf-8")
    numbers = list(csv.DictReader((folder / "si" / "numbers.csv").open(encoding="utf-8")))
    formed = {line["site"]: line for line in numbers if line["quantity"] == "formation_energy_ev"}
    assert formed.keys() == {row["name"] for row in result.coverages}
    assert all(len(line["records"].split()) == 3 for line in formed.values())
    assert cli("export", "archive", *place).returncode == 0
    (again,) = json.loads(cli("results", "--archive", "archive", "--format", "json").stdout)
    assert again["coverages"] == one["coverages"]
    assert list((folder / "root" / "results").glob("*/voltage.png"))


@pytest.mark.long
def test_the_bundled_campaign_dry(cli: Cli, launchpad: Path) -> None:
    done = cli("run", "wsse-voltage", "--launchpad", launchpad)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(cli("results", "--format", "json", "--launchpad", launchpad).stdout)
    assert [row["model"] for row in rows] == ["WSe2", "WSSe"]
    for row in rows:
        assert row["converged"]
        assert {one["coverage"] for one in row["coverages"]} == {"1/9", "2/9", "1/3", "1/2", "1", "2"}
        assert {one["cell"] for one in row["coverages"] if one["coverage"] == "1/2"} == {"2x2"}
        assert all(one["formation_energy_ev"] is not None for one in row["coverages"])


METALS: dict[str, tuple[dict[str, Any], int]] = {
    "Li": ({"lattice": "bcc", "a": 3.44}, 1),
    "Na": ({"lattice": "bcc", "a": 4.19}, 1),
    "K": ({"lattice": "bcc", "a": 5.28}, 1),
    "Mg": ({"lattice": "hcp", "a": 3.19, "c": 5.18}, 2),
    "Ca": ({"lattice": "fcc", "a": 5.53}, 2),
    "Zn": ({"lattice": "hcp", "a": 2.64, "c": 5.05}, 2),
    "Al": ({"lattice": "fcc", "a": 4.05}, 3),
}


@pytest.mark.parametrize("element", METALS)
def test_every_ion_relaxes_dry_and_is_planned_for_the_codes(bench: Bench, tmp_path: Path, element: str) -> None:
    """In 1×1 cells, an ion on each face: alone, and both."""
    given, charge = METALS[element]
    path = campaign(
        tmp_path,
        supercell=[1, 1],
        coverage=[1, 2],
        adsorbate={"element": element},
        bulk_references={element: given},
    )
    assert all(arrangements(path, engine=engine) for engine in ("gpaw", "vasp"))
    planned = plan(path)
    bench.submit(planned)
    bench.launch(planned)
    (result,) = Results(bench.documents, "here").models()
    assert result.reasons == ()
    assert len(result.coverages) == 3
    two = result.quantities["coverage"].arrangements[-1]
    # The formula of the paper, by the charge of the ion.
    last = result.quantities["coverage"].voltage_curve[-1][0]
    assert two.ions == 2
    assert last == pytest.approx(
        float(Fraction(result.plateaus[-1]["last"])) * charge * 26801.5 / WSSE_MASS, rel=1e-4
    )
