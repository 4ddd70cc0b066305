"""Hull, voltages and capacity of ions on a sheet, against a pair model that is solved by hand, and every refusal."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sodiate.analysis.campaign_entry import ModelEntry, QuantityEntry
from sodiate.analysis.energies.comparability import ProtocolMismatch
from sodiate.analysis.energies.coverage import (
    CoverageResult,
    coverage_result,
    intercalation_energy,
    lower_hull,
    nearest_distance,
    theoretical_capacity,
)
from sodiate.analysis.records import Geometry, Method, ParentRef, Provenance, Record, Sampling, SiteChange
from sodiate.structures.arrangements import Search
from sodiate.structures.ion_points import ion_points
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.sites import find_sites

A = 3.319
WSE2 = Monolayer("W", "Se", "Se", A, 2.546, 2.546)
SHEET = box(build_monolayer(WSE2, (3, 3)), 15.0, 2.7)
CELL = tuple(tuple(row) for row in SHEET.cell.tolist())
PROVENANCE = Provenance(
    versions={}, host="h", directory="d", firework_id=None, command=None, execution={}, started="", finished="",
    wall_time_s=0.0, launches=1, ionic_steps=1, scf_steps=None,
)  # fmt: skip
METHOD = Method(
    engine="gpaw", engine_version="26", functional="PBE", cutoff_ev=500.0, paw={"W": "W.14", "Na": "Na.7"}
)
SAMPLING = Sampling(cell_a=CELL, kmesh=(2, 2, 1), smearing="gaussian", smearing_width_ev=0.05, spin_polarised=True)
METAL_EV, HOST_EV = -1.3, -200.0


def record(name: str, energy: float, geometry: Geometry, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "calculation": name, "label": name, "kind": "relax", "engine": "gpaw", "physical": True,
        "energy_ev": energy, "free_energy_ev": energy, "max_force_ev_per_a": 0.01, "geometry": geometry,
        "method": METHOD, "sampling": SAMPLING, "input_digest": "", "provenance": PROVENANCE, "parents": {},
    }  # fmt: skip
    return Record(**values | changes)


def host(energy: float = HOST_EV) -> Record:
    return record("h", energy, Geometry.of(SHEET))


def metal(energy: float = 2 * METAL_EV, a: float = 4.19) -> Record:
    """Bcc sodium in its cubic cell, nearest neighbours 3.63 Å apart."""
    cell = ((a, 0.0, 0.0), (0.0, a, 0.0), (0.0, 0.0, a))
    positions = ((0.0, 0.0, 0.0), (a / 2, a / 2, a / 2))
    geometry = Geometry(symbols=("Na", "Na"), positions_a=positions, cell_a=cell, pbc=(True, True, True))
    return record("bcc", energy, geometry, kind="bulk")


def with_ions(name: str, energy: float, positions: list[Any], end: str | None = None, **changes: Any) -> Record:
    atoms = SHEET.copy()
    for position in positions:
        atoms.append("Na")
        atoms.positions[-1] = position
    values: dict[str, Any] = {
        "parents": {"host": ParentRef(calculation="h", digest="")},
        "site": SiteChange(start=name, end=end or name, moved=end is not None),
    }
    return record(name, energy, Geometry.of(atoms), **values | changes)


def evaluated(records: list[Record], charge: int = 1) -> CoverageResult:
    ions = {one.calculation: len(one.geometry.symbols) - len(SHEET) for one in records if one.geometry is not None}
    entry = QuantityEntry(
        calculations={"bulk": "bcc", **{name: name for name in ions}},
        declared={
            "charge": charge,
            "units": {"3x3": 9},
            "arrangements": [
                {"name": name, "ions": count, "cell": "3x3", "places": ""} for name, count in ions.items()
            ],
            "found": [],
        },
    )
    model = ModelEntry(
        name="WSe2", label="WSe2", supercell=(3, 3), host="h", sites=(), lowest="l", quantities={"coverage": entry}
    )
    known = {one.calculation: one for one in [*records, host(), metal()]}
    return coverage_result(model, known, lambda _: "not yet run")


def pair_model(attraction_ev: float, repulsion_ev: float) -> list[Record]:
    """Every distinct arrangement on the triangular lattice of one face, neighbours repelling each other."""
    points = ion_points(SHEET, (), find_sites(SHEET, ()))
    top = float(SHEET.positions[:, 2].max())
    allowed = points.of(["T_W@top"], "top")
    shifts = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
    search, records = Search(points, np.zeros(len(points)), allowed), []
    for count in range(1, 10):
        found = search.arrange(count, 10**6)
        assert found.complete
        for number, one in enumerate(found.chosen):
            places = points.fractions[list(one.first)]
            apart = np.linalg.norm((places[:, None, None] - places[None, :, None] + shifts) @ points.cell, axis=-1)
            neighbours = int((np.abs(apart - A) < 1e-6).sum()) // 2
            energy = HOST_EV + count * (METAL_EV - attraction_ev) + neighbours * repulsion_ev
            positions = [[*(place @ points.cell), top + 2.1] for place in places]
            records.append(with_ions(f"{count}Na-{number}", energy, positions))
    return records


@pytest.mark.parametrize(
    ("repulsion", "voltages", "stable"), [(0.1, [1.0, 0.7, 0.4], 1.0), (0.2, [1.0, 0.4, -0.2], 2 / 3)]
)
def test_neighbours_that_repel_on_a_triangular_lattice(
    repulsion: float, voltages: list[float], stable: float
) -> None:
    """The ground states are √3×√3 and its complement: steps of ε, ε + 3J, ε + 6J, solved by hand."""
    found = evaluated(pair_model(1.0, repulsion))
    assert [(step.first, step.last) for step in found.plateaus] == [("0", "1/3"), ("1/3", "2/3"), ("2/3", "1")]
    assert [step.voltage_v for step in found.plateaus] == pytest.approx(voltages)
    assert found.stable_coverage == pytest.approx(stable)
    formed = [-1.0 / 3, -2 / 3 + repulsion, -1 + 3 * repulsion]
    assert [energy for _, energy in found.corners[1:]] == pytest.approx(formed)
    index = {1.0: 2, 2 / 3: 1}[stable]
    assert found.average_voltage_v == pytest.approx(-formed[index] / stable)
    # 183.84 + 2 × 78.971 g/mol.
    assert found.capacity_mah_per_g == pytest.approx(stable * 96485.332 / 3.6 / 341.782, rel=1e-5)
    assert all((one.above_hull_ev or 0) >= 0 for one in found.arrangements)
    assert {one.name for one in found.arrangements if (one.above_hull_ev or 0) < 1e-9} >= set(found.hull)
    assert found.reasons == ()


def test_ions_that_attract_each_other_stay_together() -> None:
    """One step from the bare host to the full layer: everything between falls apart into both."""
    found = evaluated(pair_model(0.5, -0.1))
    assert [(step.first, step.last) for step in found.plateaus] == [("0", "1")]
    assert found.plateaus[0].voltage_v == pytest.approx(0.8)


def test_two_charges_halve_the_voltage_and_double_the_capacity() -> None:
    once, twice = evaluated(pair_model(1.0, 0.1)), evaluated(pair_model(1.0, 0.1), charge=2)
    assert [step.voltage_v for step in twice.plateaus] == pytest.approx(
        [step.voltage_v / 2 for step in once.plateaus]
    )
    assert once.capacity_mah_per_g is not None
    assert twice.capacity_mah_per_g == pytest.approx(2 * once.capacity_mah_per_g)


@pytest.mark.parametrize(("mass", "capacity"), [(341.782, 314), (294.871, 363.6), (247.96, 432.4)])
def test_the_published_capacities(mass: float, capacity: float) -> None:
    """Lei et al. 2023: WSe2, WSSe and WS2 with four electrons each, 4 F / (3.6 M)."""
    assert theoretical_capacity(4, 1, mass) == pytest.approx(capacity, abs=0.5)
    assert theoretical_capacity(2, 2, mass) == theoretical_capacity(4, 1, mass)


def test_the_hull_has_nothing_below_it() -> None:
    """Every chord between two points lies above it, and its slopes rise."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        points = [(0.0, 0.0), *zip(rng.integers(1, 7, 20).tolist(), rng.normal(size=20).tolist(), strict=True)]
        hull = lower_hull(points)
        x, energies = zip(*(points[index] for index in hull), strict=True)
        assert list(x) == sorted(set(x))
        assert (x[0], x[-1]) == (0.0, max(x for x, _ in points))
        assert all(energy >= np.interp(at, x, energies) - 1e-12 for at, energy in points)
        slopes = np.diff(energies) / np.diff(x)
        assert (np.diff(slopes) > 0).all()


def test_a_sheet_that_takes_nothing() -> None:
    found = evaluated(pair_model(-0.2, 0.1))
    assert (found.stable_coverage, found.average_voltage_v, found.capacity_mah_per_g) == (0.0, None, 0.0)


def test_distances_count_images() -> None:
    assert nearest_distance(np.zeros((1, 3)), np.diag([4.0, 5.0, 20.0])) == 4.0
    cell = np.array([[0.0, 2.0, 2.0], [2.0, 0.0, 2.0], [2.0, 2.0, 0.0]])
    assert nearest_distance(np.zeros((1, 3)), cell, periodic=3) == pytest.approx(8**0.5)
    far = np.array([[0.1, 0.0, 0.0], [3.8, 0.0, 1.0]])
    assert nearest_distance(far, np.diag([4.0, 9.0, 20.0])) == pytest.approx(np.hypot(0.3, 1.0))


TOP = float(SHEET.positions[:, 2].max())
APART, NEAR = [[0.0, 0.0, TOP + 2.1], [5.0, 0.0, TOP + 2.1]], [[0.0, 0.0, TOP + 2.1], [3.4, 0.0, TOP + 2.1]]


def test_ions_nearer_than_in_the_metal_are_told() -> None:
    """3.40 Å against 3.63 Å in bcc sodium."""
    found = evaluated([with_ions("far", -204.0, APART), with_ions("near", -203.9, NEAR)])
    assert [one.nearer_than_metal for one in found.arrangements] == [False, True]
    assert found.arrangement("near").nearest_ions_a == pytest.approx(3.4)


def test_the_same_place_counts_once() -> None:
    found = evaluated([with_ions("a", -204.0, APART), with_ions("b", -204.1, APART, end="a")])
    assert [one.same_as for one in found.arrangements] == ["b", None]
    assert [one.counts for one in found.arrangements] == [False, True]
    assert found.arrangement("b").moved
    assert found.hull == ("b",)


def test_between_two_sites_is_one_place_whichever_is_nearer() -> None:
    ends = "between H@top and T_W@top", "between T_W@top and H@top (went through)"
    found = evaluated([with_ions(name, -204.0, APART, end=end) for name, end in zip("ab", ends, strict=True)])
    assert [one.same_as for one in found.arrangements] == [None, "a"]
    assert [one.moved for one in found.arrangements] == [True, True]


def test_ions_that_left_do_not_count() -> None:
    left = with_ions("a", -209.0, APART, end="desorbed")
    found = evaluated([left, with_ions("b", -204.0, APART)])
    assert found.hull == ("b",)
    assert found.arrangement("a").left
    assert not found.arrangement("a").counts


def test_the_thickness_is_that_of_the_outermost_layers() -> None:
    whole = with_ions("a", -204.0, APART)
    assert whole.geometry is not None
    moved = np.array(whole.geometry.positions_a)
    selenium = [i for i, symbol in enumerate(SHEET.symbols) if symbol == "Se" and moved[i, 2] > TOP - 0.1]
    moved[selenium, 2] += 0.2
    moved[selenium[0], 2] += 0.9  # one of nine
    geometry = whole.geometry.model_copy(update={"positions_a": tuple(map(tuple, moved.tolist()))})
    found = evaluated([whole.model_copy(update={"geometry": geometry})])
    assert found.arrangements[0].thickness_change_a == pytest.approx(0.3)


def test_a_coverage_without_an_energy_leaves_it_open_how_many_ions_there_is_room_for() -> None:
    """The minimum of the formation energy, where plating begins, may be there; another arrangement is enough."""
    near, far = [[0.0, 0.0, 16.0]], [[0.0, 0.0, 16.0], [5.0, 3.0, 16.0]]
    records = [with_ions("a", -202.0, near), with_ions("b", -204.0, far), with_ions("c", -204.1, far)]
    whole = evaluated(records)
    assert whole.stable_coverage == pytest.approx(2 / 9)
    assert whole.unknown == ()
    without = records[2].model_copy(update={"energy_ev": None})
    assert evaluated([*records[:2], without]).capacity_mah_per_g == whole.capacity_mah_per_g
    for lacking in ((1, 2), (0,)):
        given = [
            record.model_copy(update={"energy_ev": None}) if number in lacking else record
            for number, record in enumerate(records)
        ]
        found = evaluated(given)
        coverage = "1/9" if lacking == (0,) else "2/9"
        assert found.plateaus
        assert found.unknown == (coverage,)
        assert (found.stable_coverage, found.average_voltage_v, found.capacity_mah_per_g) == (None, None, None)
        assert found.reasons[-1] == f"stable coverage, average voltage, capacity: no energy at x = {coverage}"


def test_what_is_missing_is_said() -> None:
    lacking = evaluated([with_ions("a", -204.0, APART)])
    entry = ModelEntry(
        name="WSe2", label="WSe2", supercell=(3, 3), host="h", sites=(), lowest="l",
        quantities={"coverage": QuantityEntry(
            calculations={"bulk": "bcc", "a": "a", "b": "b"},
            declared={"charge": 1, "units": {"3x3": 9}, "found": [],
                      "arrangements": [{"name": one, "ions": 2, "cell": "3x3", "places": ""} for one in "ab"]},
        )},
    )  # fmt: skip
    known = {"h": host(), "bcc": metal(), "a": with_ions("a", -204.0, APART)}
    found = coverage_result(entry, known, {"b": "failed: it broke"}.__getitem__)
    assert found.reasons == ("b: failed: it broke",)
    assert found.stable_coverage == lacking.stable_coverage
    assert found.arrangement("b").reason == "failed: it broke"
    without = coverage_result(entry, {"h": host(), "a": known["a"]}, lambda _: "not yet run")
    assert without.arrangement("a").formation_energy_ev is None
    assert without.reasons == ("bulk: not yet run", "b: not yet run")
    assert without.stable_coverage is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": METHOD.model_copy(update={"cutoff_ev": 450.0})}, "cutoff_ev 450.0 ≠ 500.0"),
        ({"sampling": SAMPLING.model_copy(update={"kmesh": (3, 3, 1)})}, r"kmesh \(3, 3, 1\) ≠ \(2, 2, 1\)"),
        ({"parents": {"host": ParentRef(calculation="other", digest="")}}, "computed from calculation other"),
        ({"physical": False}, "one of them is a mock"),
        ({"energy_ev": None}, "a record has no energy"),
    ],
)
def test_what_was_run_differently_is_refused(changes: dict[str, Any], words: str) -> None:
    whole = with_ions("a", -204.0, APART, **changes)
    with pytest.raises(ProtocolMismatch, match=words):
        intercalation_energy(whole, host(), metal())
    (row,) = evaluated([whole]).arrangements
    assert row.formation_energy_ev is None
    assert evaluated([whole]).stable_coverage is None
    if changes.get("energy_ev", 0.0) is not None:
        assert len(evaluated([whole]).reasons) == 1


def test_the_metal_has_to_be_that_of_the_ions() -> None:
    lithium = metal().geometry
    assert lithium is not None
    other = metal().model_copy(update={"geometry": lithium.model_copy(update={"symbols": ("Li", "Li")})})
    with pytest.raises(ProtocolMismatch, match="with Li of bcc behind its atoms"):
        intercalation_energy(with_ions("a", -204.0, APART), host(), other)
    assert intercalation_energy(with_ions("a", -204.0, APART), host(), metal()) == pytest.approx(-4 + 2.6)


DEAR = METHOD.model_copy(update={"functional": "HSE06"})


def final(relaxed: Record, energy: float, **changes: Any) -> Record:
    """A single point at the end of a relaxation, by another functional."""
    geometry = ParentRef(calculation=relaxed.calculation, digest="")
    values = {"kind": "static", "method": DEAR, "parents": {"geometry": geometry}}
    assert relaxed.geometry is not None
    return record(f"{relaxed.calculation}-final", energy, relaxed.geometry, **values | changes)


def with_finals(whole: Record, *points: Record) -> CoverageResult:
    entry = QuantityEntry(
        calculations={"bulk": "bcc-final", "a": "a", "final a": "a-final", "final host": "h-final"},
        declared={
            "charge": 1,
            "units": {"3x3": 9},
            "found": [],
            "arrangements": [{"name": "a", "ions": 2, "cell": "3x3", "places": ""}],
        },
    )
    model = ModelEntry(
        name="WSe2", label="WSe2", supercell=(3, 3), host="h", sites=(), lowest="l", quantities={"coverage": entry}
    )
    known = {one.calculation: one for one in (whole, host(), *points)}
    return coverage_result(model, known, lambda _: "not yet run")


def test_energies_at_relaxed_geometries_are_those_of_the_voltage() -> None:
    """By hand: (−310.0 + 304.0 + 2 × 1.5) eV of nine units, where the relaxations have (−204 + 200 + 2.6) eV."""
    whole, dear = (
        with_ions("a", -204.0, APART),
        metal(-3.0).model_copy(update={"calculation": "bcc-final", "method": DEAR}),
    )
    points = final(whole, -310.0), final(host(), -304.0), dear
    found = with_finals(whole, *points)
    assert found.arrangements[0].formation_energy_ev == pytest.approx(-3.0 / 9)
    assert found.arrangements[0].energy_ev == -310.0
    assert found.average_voltage_v == pytest.approx(1.5)
    # One of each is not taken for the other.
    without = with_finals(whole, *points[1:])
    assert without.arrangements[0].formation_energy_ev is None
    assert "final a: not yet run" in without.reasons
    mixed = with_finals(whole, points[0], final(host(), -304.0, method=METHOD), dear)
    assert mixed.arrangements[0].formation_energy_ev is None
    assert "functional" in mixed.reasons[0]
    stranger = final(whole, -310.0, parents={"geometry": ParentRef(calculation="b", digest="")})
    assert "computed from calculation b as its geometry" in with_finals(whole, stranger, *points[1:]).reasons[0]
