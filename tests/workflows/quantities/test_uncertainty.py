"""Error bars of ΔE: by hand from records, what is planned for them, refusals in words, and what is not known."""

from __future__ import annotations

import json
from csv import DictReader
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sodiate.analysis.campaign_entry import CampaignEntry, ModelEntry, NamedCalculation, QuantityEntry, SiteEntry
from sodiate.analysis.figures.plots import AdsorptionBar, adsorption_bars
from sodiate.analysis.model_result import ModelResult
from sodiate.analysis.records import Choice, Geometry, Method, ParentRef, Provenance, Record, Sampling, SiteChange
from sodiate.structures.sites_of_cells import names_in
from sodiate.workflows import start_structures
from sodiate.workflows.campaign.yaml import CONFIGS, InputError
from sodiate.workflows.engines.emt.engine import EmtEngine
from sodiate.workflows.engines.gpaw.inputs import WITHIN_1_MEV
from sodiate.workflows.engines.shared.grids import kpoint_mesh
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.quantities.uncertainty import Uncertainty
from sodiate.workflows.results.evaluate import evaluated
from support.campaigns import small_campaign
from support.cli import Cli

CELL = ((10.0, 0.0, 0.0), (0.0, 10.0, 0.0), (0.0, 0.0, 21.0))
PROVENANCE = Provenance(
    versions={}, host="h", directory="d", firework_id=None, command=None, execution={}, started="", finished="",
    wall_time_s=0.0, launches=1, ionic_steps=1, scf_steps=None,
)  # fmt: skip


def record(label: str, energy: float | None, parents: dict[str, str], variant: str = "", **changes: Any) -> Record:
    symbols = {"s": ("W", "Na"), "h": ("W",)}.get(label[0], ("Na",))
    part = VARIANTS.get(variant, {}).get("part")
    functional, _, dispersion = (variant if part == "functional" else "PBE").partition("+")
    method = Method(
        engine="gpaw", engine_version="26", functional=functional, dispersion=dispersion or None,
        cutoff_ev=600.0 if part == "cutoff" else 500.0,
    )  # fmt: skip
    values: dict[str, Any] = {
        "calculation": label, "label": label, "kind": "atom" if label[0] == "N" else "relax", "engine": "gpaw",
        "physical": True, "energy_ev": energy, "free_energy_ev": energy, "max_force_ev_per_a": 0.01,
        "geometry": Geometry(symbols=symbols, positions_a=((0.0,) * 3,) * len(symbols), cell_a=CELL, pbc=(True,) * 3),
        "method": method, "sampling": Sampling(cell_a=CELL), "input_digest": "", "provenance": PROVENANCE,
        "parents": {role: ParentRef(calculation=parent, digest="") for role, parent in parents.items()},
    }  # fmt: skip
    return Record(**values | changes)


VARIANTS = {
    "kmesh": {"part": "kmesh", "words": "k mesh 4×4×1"},
    "cutoff": {"part": "cutoff", "words": "cutoff 600 eV"},
    "RPBE": {"part": "functional", "words": "RPBE"},
    "PBE+d3bj": {"part": "functional", "words": "PBE+d3bj"},
}
NOT_KNOWN = {"potential": "engine gpaw has no other data sets", "functional PBEsol": "no data sets of it"}
# ΔE is −1.000 at s1, −0.970 at s2; by hand what each variant moves it: of s1, of s2.
SHIFTS = {"kmesh": (0.03, 0.01), "cutoff": (-0.04, -0.045), "RPBE": (0.5, 0.48), "PBE+d3bj": (-0.3, -0.2)}


def case(
    shifts: dict[str, tuple[float, float]] | None = None, gap: float = 0.03
) -> tuple[CampaignEntry, dict[str, Record]]:
    """Two sites, 0.03 eV apart, and variants in which the host and the atom have other energies, too."""
    records = {
        "h": record("h", -100.0, {}), "Na": record("Na", -1.0, {}), "s1": record("s1", -102.0, {"host": "h"}),
        "s2": record("s2", -102.0 + gap, {"host": "h"}),
        "low": record("low", None, {}, choice=Choice(site="T", energies_ev={}), geometry=None, sampling=None),
    }  # fmt: skip
    calculations: dict[str, str] = {}
    for name, (first, second) in (SHIFTS if shifts is None else shifts).items():
        ids = {role: f"{letter}-{name}" for role, letter in (("host", "h"), ("site T", "s1"), ("site H", "s2"))}
        calculations |= {f"{name} {role}": i for role, i in ids.items()} | {f"{name} atom": f"Na-{name}"}
        host, atom = -200.0, -1.5
        energies = {"host": host, "site T": host + atom - 1.0 + first, "site H": host + atom - 1.0 + gap + second}
        parents = {"host": "h", "site T": "s1", "site H": "s2"}
        for role, identifier in ids.items():
            records[identifier] = record(identifier, energies[role], {"geometry": parents[role]}, name, kind="static")
        records[f"Na-{name}"] = record(f"Na-{name}", atom, {}, name)
    asked = QuantityEntry(
        calculations=calculations,
        declared={
            "variants": {n: VARIANTS[n] for n in (SHIFTS if shifts is None else shifts)},
            "not_known": NOT_KNOWN,
        },
    )
    model = ModelEntry(
        name="W", label="W", supercell=(1, 1), host="h", lowest="low",
        sites=tuple(SiteEntry(name=n, multiplicity=1, calculation=i) for n, i in (("T", "s1"), ("H", "s2"))),
        quantities={"adsorption_energy": QuantityEntry(calculations={"atom": "Na"}), "uncertainty": asked},
    )  # fmt: skip
    names = tuple(NamedCalculation(name=n, calculation=n) for n in records)
    entry = CampaignEntry(
        campaign="c",
        engine="gpaw",
        method_id="m",
        title="",
        yaml="",
        adsorbate="Na",
        models=(model,),
        calculations=names,
    )
    return entry, records


def result(*given: Any, without: str = "") -> ModelResult:
    entry, records = case(*given)
    (one,) = evaluated(
        entry, {k: r for k, r in records.items() if k != without}, {without: "failed: no memory"}, True
    )
    return one


def test_by_hand() -> None:
    """√(0.03² + 0.04²) = 0.05; of the functionals the larger of 0.5 and 0.3, stated apart."""
    one = result()
    assert one.adsorption_energy_ev == pytest.approx(-1.0)
    assert one.adsorption_energy_numerical_uncertainty_ev == pytest.approx(0.05)
    assert one.adsorption_energy_functional_uncertainty_ev == pytest.approx(0.5)
    bars = one.adsorption_energy_uncertainty_ev
    assert bars["parts_ev"] == pytest.approx({"kmesh": 0.03, "cutoff": 0.04, "functional": 0.5})
    assert bars["shifts_ev"]["PBE+d3bj"] == pytest.approx(-0.3)
    assert bars["not_known"] == {**NOT_KNOWN, "vacuum": "not asked for", "supercell": "not asked for"}
    assert [site["numerical_ev"] for site in one.site_uncertainties] == pytest.approx([0.05, np.hypot(0.01, 0.045)])
    assert one.reasons == ()


def test_the_order_of_sites_has_bars_of_its_own() -> None:
    """The atom's share cancels: 0.03 apart, known to ± √(0.02² + 0.005²) = 0.021; RPBE moves the other by −0.02."""
    assert result().undecided == []
    near = result(None, 0.02)
    assert near.undecided == ["T or H, 0.020 eV apart: undecided, their difference is known to ± 0.021 eV"]
    turned = result(SHIFTS | {"RPBE": (0.5, 0.45)}, 0.04)
    assert turned.undecided == ["T or H, 0.040 eV apart: undecided, the other is lower with RPBE"]
    assert any("best site T or H, 0.040 eV apart" in line for line in Uncertainty().remarks([turned]))


def test_a_part_that_is_not_known_of_one_site_decides_no_order() -> None:
    """0.02 apart, and a higher cutoff moves one by 0.04; what it does to the other is not known."""
    entry, records = case({"kmesh": (0.0, 0.0), "cutoff": (-0.04, -0.04)}, 0.02)
    del records["s2-cutoff"]
    (one,) = evaluated(entry, records, {}, True)
    (words,) = one.undecided
    assert "T or H, 0.020 eV apart: undecided, cutoff of their difference not known" in words
    # Two that are further apart than either bar are told apart.
    entry, records = case({"kmesh": (0.0, 0.0), "cutoff": (-0.04, -0.04)}, 0.05)
    del records["s2-cutoff"]
    assert evaluated(entry, records, {}, True)[0].undecided == []


def test_what_is_common_to_all_sites_decides_nothing() -> None:
    """Each part is 0.2 eV, and not a meV of it is in the difference of the sites."""
    same = dict.fromkeys(VARIANTS, (0.2, 0.2))
    assert result(same).adsorption_energy_numerical_uncertainty_ev == pytest.approx(0.2 * 2**0.5)
    assert result(same).undecided == []


@pytest.mark.parametrize(
    ("without", "numerical", "functional", "unknown"),
    [
        ("h-kmesh", 0.04, 0.5, "kmesh"),
        ("s1-cutoff", 0.03, 0.5, "cutoff"),
        ("Na-RPBE", 0.05, 0.3, "functional RPBE"),
    ],
)
def test_what_failed_is_not_known_and_no_zero(
    without: str, numerical: float, functional: float, unknown: str
) -> None:
    one = result(without=without)
    assert one.adsorption_energy_numerical_uncertainty_ev == pytest.approx(numerical)
    assert one.adsorption_energy_functional_uncertainty_ev == pytest.approx(functional)
    assert "failed: no memory" in one.adsorption_energy_uncertainty_ev["not_known"][unknown]
    assert any("failed: no memory" in reason for reason in one.reasons)
    (line, *_) = Uncertainty().remarks([one])
    assert "not known: " in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"engine_version": "27"}, "engine_version 27 ≠ 26"),
        ({"cutoff_ev": 700.0}, "cutoff_ev 700.0 ≠ 500.0"),
        ({"paw": {"W": "new"}}, "PAW of W new ≠ old"),
    ],
)
def test_a_variant_that_differs_in_more_than_its_setting_is_not_known(changes: dict[str, Any], words: str) -> None:
    """All of its energies are of one method, so that ΔE means something; its difference from the other does not."""
    entry, records = case()
    for name, known in records.items():
        method = known.method.model_copy(update={"paw": {"W": "old"}})
        records[name] = known.model_copy(update={"method": method})
    for name in ("h-kmesh", "s1-kmesh", "s2-kmesh", "Na-kmesh"):
        method = records[name].method.model_copy(update=changes)
        records[name] = records[name].model_copy(update={"method": method})
    (one,) = evaluated(entry, records, {}, True)
    assert one.adsorption_energy_numerical_uncertainty_ev == pytest.approx(0.04)  # the cutoff's alone
    assert words in one.adsorption_energy_uncertainty_ev["not_known"]["kmesh"]
    assert any(words in reason for reason in one.reasons)


def test_an_archive_s_order_of_variants_is_that_of_a_database() -> None:
    (backwards,) = evaluated(*case(dict(reversed(SHIFTS.items()))), {}, True)
    assert list(backwards.adsorption_energy_uncertainty_ev["shifts_ev"]) == [
        "k mesh 4×4×1", "cutoff 600 eV", "PBE+d3bj", "RPBE",
    ]  # fmt: skip


def test_without_any_part_there_is_no_bar() -> None:
    one = result({})
    assert one.adsorption_energy_numerical_uncertainty_ev is None
    assert one.adsorption_energy_functional_uncertainty_ev is None
    assert "no part is known; not known: " in Uncertainty().remarks([one])[0]


def test_numbers_name_the_records_behind_them() -> None:
    numbers = {(n.site, n.key): n for n in Uncertainty().numbers(result())}
    number = numbers["T", "adsorption_energy_numerical_uncertainty_ev"]
    assert number.value == pytest.approx(0.05)
    assert {"h-kmesh", "s1-kmesh", "Na-kmesh"} <= set(number.records)
    assert not any(identifier.startswith("s2") for identifier in number.records)
    assert {"h", "s1", "Na"} <= set(number.records)  # of which they are the changes
    assert not any("RPBE" in identifier or "d3bj" in identifier for identifier in number.records)
    numbers = {(n.site, n.key): n for n in Uncertainty().numbers(result(without="h-kmesh"))}
    number = numbers["T", "adsorption_energy_numerical_uncertainty_ev"]
    assert number.value == pytest.approx(0.04)
    assert not any("kmesh" in identifier for identifier in number.records)


# Planning.


def paper(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((CONFIGS / "protocols" / "paper.yaml").read_text(encoding="utf-8"))
    return values | changes


def asking(folder: Path, *parts: str, engine: str | None = None, **changes: Any) -> Plan:
    return plan(small_campaign(folder, uncertainty=list(parts), quantities=[], **changes), engine)


def test_one_step_at_the_relaxed_geometry_and_nothing_else_anew(tmp_path: Path) -> None:
    plain = asking(tmp_path, engine="gpaw")
    asked = asking(tmp_path, "kmesh", "cutoff", "vacuum", engine="gpaw")
    assert {name: c.id for name, c in plain.names.items()}.items() <= {
        n: c.id for n, c in asked.names.items()
    }.items()
    added = [name for name in asked if name not in plain]
    hosts = [f"WSSe+VS{site}" for site in ("", "/V_S@top", "/T_W@bottom")]
    assert sorted(added) == sorted([f"{h}/{v}" for h in hosts for v in ("kmesh", "cutoff", "vacuum")] + ["Na-cutoff"])
    site = asked["WSSe+VS/V_S@top"].calculation
    for name, changes in (
        ("kmesh", {"kpoint_length_a": 22.8, **WITHIN_1_MEV}),
        ("cutoff", {"cutoff_ev": 600.0, **WITHIN_1_MEV}),
        ("vacuum", {}),  # another cell, for which there is no density to start from
    ):
        point = asked[f"WSSe+VS/V_S@top/{name}"].calculation
        assert point.parents == {"geometry": site}
        assert {**point.protocol, "max_force_ev_per_a": 0.02} == {**site.protocol, **changes}
    atoms = asked["WSSe+VS"].atoms()
    assert [kpoint_mesh(atoms, length) for length in (19.5, 22.8)] == [(3, 3, 1), (4, 4, 1)]
    relaxed, taller = (asked[f"WSSe+VS/V_S@top{end}"].atoms() for end in ("", "/vacuum"))
    assert taller.cell[2, 2] - relaxed.cell[2, 2] == pytest.approx(5.0)
    np.testing.assert_allclose(taller.get_all_distances(), relaxed.get_all_distances())
    np.testing.assert_allclose(taller.positions[:, 2] - relaxed.positions[:, 2], 2.5)


def test_a_bar_is_converged_to_a_mev_from_the_density_of_the_relaxation(tmp_path: Path) -> None:
    """Not where that is another functional's, nor tighter than a campaign asks for; the atom is shared with ΔE."""
    planned = asking(tmp_path, "kmesh", engine="gpaw", protocol=paper(final_energy={"functional": "RPBE"}))
    assert planned["WSSe+VS/kmesh"].calculation.protocol["density_convergence"] == 1e-4
    planned = asking(tmp_path, "kmesh", engine="gpaw", protocol=paper(density_convergence=1e-2))
    assert planned["WSSe+VS/kmesh"].calculation.protocol["density_convergence"] == 1e-2
    assert planned["WSSe+VS/kmesh"].calculation.protocol["energy_convergence_ev"] == 1e-3
    assert "Na-kmesh" not in planned.names
    planned = asking(tmp_path, "kmesh", engine="vasp")
    assert planned["WSSe+VS/kmesh"].calculation.protocol["energy_convergence_ev"] == 1e-5


def test_with_final_energies_the_bars_are_theirs(tmp_path: Path) -> None:
    planned = asking(tmp_path, "kmesh", "cutoff", engine="gpaw", protocol=paper(final_energy={"cutoff_ev": 700.0}))
    assert planned["WSSe+VS/kmesh"].calculation.protocol["cutoff_ev"] == 700.0
    assert planned["WSSe+VS/cutoff"].calculation.protocol["cutoff_ev"] == 840.0


@pytest.mark.parametrize(
    ("engine", "own", "names", "unknown"),
    [
        ("gpaw", "PBE", {"PBE+d3bj", "RPBE", "RPBE+d3bj", "PBEsol", "PBEsol+d3bj"}, set()),
        (
            "gpaw",
            "vdW-DF",
            {"PBE", "PBE+d3bj", "RPBE", "RPBE+d3bj"},
            {f"functional {name}" for name in ("PBEsol", "PBEsol+d3bj", "vdW-DF+d3bj")},
        ),
        ("vasp", "PBE", {"PBE+d3bj", "RPBE", "RPBE+d3bj", "PBEsol", "PBEsol+d3bj"}, set()),
        ("emt", "PBE", set(), {"functional"}),
    ],
)
def test_functionals_that_an_engine_has(
    tmp_path: Path, engine: str, own: str, names: set[str], unknown: set[str]
) -> None:
    planned = asking(tmp_path, "functional", engine=engine, protocol=paper(functional=own))
    declared = planned.entry().models[0].quantities["uncertainty"].declared
    assert declared["variants"].keys() == names
    assert declared["not_known"].keys() == unknown
    said = [sentence for sentence in planned.dropped if sentence.startswith("uncertainty: functional")]
    # PBEsol lacks data sets, with D3 and without; the own functional lacks parameters of D3.
    assert len(said) == {("gpaw", "vdW-DF"): 2, ("emt", "PBE"): 1}.get((engine, own), 0)


def test_a_mesh_that_is_given_by_hand_has_no_next_one(tmp_path: Path) -> None:
    protocol = paper(kpoint_mesh={"points": [3, 3, 1]})
    with pytest.raises(InputError, match=r"uncertainty: kmesh: model .*kpoint_mesh fixes the mesh by hand"):
        asking(tmp_path, "kmesh", engine="vasp", protocol=protocol)


def test_an_unknown_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"uncertainty.0: 'mesh' should be 'kmesh', 'cutoff', 'vacuum'"):
        asking(tmp_path, "mesh")


def test_a_dry_run_with_bars(launchpad: Path, tmp_path: Path, cli: Cli) -> None:
    """More vacuum changes nothing of a potential that ends at 5.4 Å, and no other part acts on it."""
    parts = ["kmesh", "cutoff", "vacuum", "functional", "potential"]
    path = small_campaign(tmp_path, uncertainty=parts, quantities=[])
    run = cli("run", path, "--launchpad", launchpad, "--root", "root")
    assert run.returncode == 0, run.stderr
    assert "± of ΔE: 5 Å more vacuum +0.000 eV; not known: " in " ".join(run.stdout.split())
    (one,) = json.loads(cli("results", "--launchpad", launchpad, "--format", "json").stdout)
    bars = one["adsorption_energy_uncertainty_ev"]
    assert bars["numerical_ev"] == pytest.approx(0.0, abs=1e-6)
    assert bars["functional_ev"] is None
    assert bars["not_known"].keys() == {"kmesh", "cutoff", "functional", "potential", "supercell"}
    csv = cli("results", "--launchpad", launchpad, "--format", "csv").stdout
    assert "adsorption_energy_numerical_uncertainty_ev" in csv.splitlines()[0]
    (row,) = DictReader(StringIO(csv))
    assert row["adsorption_energy_uncertainty_lacks"] == "kmesh, cutoff, functional, potential"
    assert cli("si", "--launchpad", launchpad, "--root", "root", "--out", "si").returncode == 0
    assert "± (eV)" in (tmp_path / "si" / "adsorption.md").read_text()
    assert "| kmesh, cutoff, functional, potential |" in (tmp_path / "si" / "adsorption.md").read_text()
    assert "with 5 Å more vacuum, added in quadrature" in (tmp_path / "si" / "methods.md").read_text()


def test_bars_are_drawn_as_long_as_they_are(tmp_path: Path) -> None:
    row = AdsorptionBar("WSe2", -1.0, None, "T_W@top", None, 0.1, 0.4)
    figure = adsorption_bars(
        [row, AdsorptionBar("WSSe", -1.0, None, "T_W@top", None)], tmp_path / "a.png", mock=False
    )
    (axes,) = figure.axes
    containers: list[Any] = [c for c in axes.containers if c.get_label() != "this work"]
    drawn = {c.get_label(): c.lines[2][0].get_segments() for c in containers}
    ends = {label: sorted(point[1] for segment in segments for point in segment) for label, segments in drawn.items()}
    assert ends.keys() == {"numerical ±", "spread of functionals"}
    assert ends["numerical ±"] == pytest.approx([-1.1, -0.9])
    assert ends["spread of functionals"] == pytest.approx([-1.4, -0.6])
    assert axes.get_ylim()[0] < -1.4


@pytest.mark.parametrize(
    ("lacking", "labels"),
    [
        (("supercell",), {"numerical ±, some not known", "spread of functionals"}),
        (("functional PBEsol",), {"numerical ±", "spread of functionals, some not known"}),
    ],
)
def test_a_figure_says_of_bars_that_a_part_lacks(lacking: tuple[str, ...], labels: set[str], tmp_path: Path) -> None:
    row = AdsorptionBar("WSe2", -1.0, None, "T_W@top", None, 0.1, 0.4, lacking)
    figure = adsorption_bars([row], tmp_path / "a.png", mock=False)
    assert {text.get_text() for text in figure.legends[0].get_texts()} == labels | {"this work"}


def test_the_figure_is_told_what_lacks() -> None:
    whole, without = result(), result(without="h-kmesh")
    assert whole.quantities["uncertainty"].best.lacking == ("potential", "functional PBEsol")
    assert set(without.quantities["uncertainty"].best.lacking) == {"potential", "functional PBEsol", "kmesh"}


def test_an_energy_with_d3_is_had_from_that_without(tmp_path: Path) -> None:
    """Of the functional itself the relaxation's, or the final energy's; only an engine that adds takes it."""
    planned = asking(tmp_path, "functional", engine="gpaw")
    site, rpbe = (planned[f"WSSe+VS/V_S@top{end}"].calculation for end in ("", "/RPBE"))
    at_density = {"geometry": site, "density": site}
    assert planned["WSSe+VS/V_S@top/RPBE+d3bj"].calculation.parents == {**at_density, "without": rpbe}
    assert planned["WSSe+VS/V_S@top/PBE+d3bj"].calculation.parents == {"geometry": site, "without": site}
    atoms = [planned[f"Na{end}"].calculation for end in ("", "-RPBE", "-PBE+d3bj", "-RPBE+d3bj")]
    density = {"density": atoms[0]}
    assert [atom.parents for atom in atoms] == [{}, density, {"without": atoms[0]}, {**density, "without": atoms[1]}]
    dear = asking(tmp_path, "functional", engine="gpaw", protocol=paper(final_energy={"cutoff_ev": 700.0}))
    final = dear["WSSe+VS/V_S@top/final"].calculation
    assert dear["WSSe+VS/V_S@top/PBE+d3bj"].calculation.parents["without"] == final
    other = asking(tmp_path, "functional", engine="vasp")["WSSe+VS/V_S@top/RPBE+d3bj"].calculation
    assert other.parents.keys() == {"geometry"}


def test_other_data_sets_of_the_release_for_which_the_cutoff_suffices(tmp_path: Path) -> None:
    """Na_sv needs 646 eV and W_pv is no part of this release."""
    point = asking(tmp_path, "potential", engine="vasp")["WSSe+VS/V_S@top/potential"].calculation
    assert point.protocol["paw"] == {"W": "W", "S": "S_h", "Se": "Se_GW", "Na": "Na_pv"}
    dear = paper(final_energy={"cutoff_ev": 700.0})
    point = asking(tmp_path, "potential", engine="vasp", protocol=dear)["WSSe+VS/V_S@top/potential"].calculation
    assert point.protocol["paw"]["Na"] == "Na_sv"
    declared = asking(tmp_path, "potential", engine="gpaw").entry().models[0].quantities["uncertainty"].declared
    assert declared["not_known"] == {"potential": "engine gpaw has no other data sets of these elements"}


JANUS = {"model": "WSSe", "supercell": [1, 1], "sites": ["T_W@top", "H@top"]}


def of_janus(folder: Path, **changes: Any) -> Path:
    return small_campaign(folder, quantities=[], **{"sites": ["T_W@top"], "models": [JANUS], **changes})


def test_a_larger_cell_is_that_of_a_campaign_in_it(tmp_path: Path) -> None:
    asked = plan(of_janus(tmp_path, uncertainty=["supercell"]))
    there = plan(of_janus(tmp_path, models=[{**JANUS, "supercell": [2, 2]}]))
    for site in ("", "/T_W@top", "/H@top"):
        assert asked[f"WSSe{site}/supercell"].calculation == there[f"WSSe{site}"].calculation
    assert not [name for name in asked if "supercell" in name and "lowest" in name]
    dear = plan(
        of_janus(tmp_path, uncertainty=["supercell"], protocol=paper(final_energy={"cutoff_ev": 700})), "gpaw"
    )
    assert dear["WSSe/T_W@top/supercell/final"].calculation.parents == {
        "geometry": dear["WSSe/T_W@top/supercell"].calculation
    }
    seen: set[str] = set()
    for calculation in dear.calculations:
        assert {parent.id for parent in calculation.parents.values()} <= seen
        seen.add(calculation.id)


@pytest.mark.parametrize("final", [None, {"cutoff_ev": 700.0}], ids=["relaxations", "final energies"])
def test_the_part_of_the_cell_is_the_difference_of_two_campaigns(
    final: dict[str, float] | None, launchpad: Path, tmp_path: Path, cli: Cli
) -> None:
    """1×1 and 2×2 of the dry engine, which no two Na apart by 6.5 Å notice, and two by 3.25 Å do."""
    place = "--launchpad", launchpad, "--root", "root"
    protocol = paper(**({} if final is None else {"final_energy": final}))
    assert cli("run", of_janus(tmp_path, uncertainty=["supercell"], protocol=protocol), *place).returncode == 0
    larger = of_janus(tmp_path, campaign="larger", models=[{**JANUS, "supercell": [2, 2]}])
    assert cli("run", larger, *place).returncode == 0
    found = {one["campaign"]: one for one in json.loads(cli("results", *place[:2], "--format", "json").stdout)}
    there = {site["start"]: site["adsorption_energy_ev"] for site in found["larger"]["sites"]}
    here = {site["start"]: site["adsorption_energy_ev"] for site in found["small"]["sites"]}
    bars = {site["site"]: site for site in found["small"]["site_uncertainties"]}
    assert abs(there["H@top"] - here["H@top"]) > 0.01
    for site in here:
        assert bars[site]["shifts_ev"] == pytest.approx({"2×2 cell": there[site] - here[site]}, abs=1e-12)
        assert bars[site]["numerical_ev"] == pytest.approx(abs(there[site] - here[site]), abs=1e-12)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ({"remove": ["S@1"], "sites": ["V_S@top"], "supercell": [2, 2]}, "atoms that are chosen by number"),
        ({"own_sites": {"mine": {"at": [0.2, 0.2], "face": "top", "height_a": 2.0}}}, "own_sites are given by"),
    ],
)
def test_what_has_no_larger_cell_is_not_known(model: dict[str, Any], why: str, tmp_path: Path) -> None:
    planned = plan(of_janus(tmp_path, models=[{**JANUS, **model}], uncertainty=["supercell"]))
    assert why in planned.entry().models[0].quantities["uncertainty"].declared["not_known"]["supercell"]


def test_a_name_of_another_site_in_the_larger_cell_is_refused(tmp_path: Path) -> None:
    """In 2×2 the pair at 4.58 Å is a row, in 3×3 it is none."""
    model = {"model": "WSSe+VS+VSe", "pair": 4.58, "supercell": [2, 2], "sites": ["V_S@top", "T_W@top-3"]}
    words = r"its site T_W@top-3 is 3\.73 Å from a defect and .* of this name in 3×3 cells 1\.88 and"
    with pytest.raises(InputError, match=words):
        plan(of_janus(tmp_path, models=[model], sites=["V_S@top"], uncertainty=["supercell"]))


def test_a_mesh_that_is_less_dense_in_the_larger_cell_is_said(tmp_path: Path) -> None:
    """19.5 Å are 6×6 in 1×1 (edges of 3.25 Å) and 3×3 in 2×2, as dense; of 16 Å, 5×5 and 3×3, that is 6×6."""

    def words(length: float, engine: str = "gpaw") -> str:
        path = of_janus(tmp_path, uncertainty=["supercell"], protocol=paper(kpoint_length_a=length))
        (model,) = plan(path, engine).entry().models
        return str(model.quantities["uncertainty"].declared["variants"]["supercell"]["words"])

    assert words(19.5) == "2×2 cell"
    assert words(16.0) == "2×2 cell with k mesh 3×3, of one cell 6×6 in place of 5×5"
    assert words(16.0, "emt") == "2×2 cell"


def test_a_place_has_other_numbers_in_a_larger_cell(tmp_path: Path) -> None:
    """Sites are numbered anew in each cell: by their distances, which are those of points, not of names."""
    model = {"model": "WSSe+VS", "supercell": [2, 2], "sites": ["V_S@top"]}
    planned = plan(of_janus(tmp_path, models=[model], sites=["V_S@top"], uncertainty=["supercell"]))
    ends = planned.entry().models[0].quantities["uncertainty"].declared["variants"]["supercell"]["ends"]
    here, there = (
        start_structures.read_host(planned[name].calculation.structure).sites
        for name in ("WSSe+VS", "WSSe+VS/supercell")
    )
    assert ends["H@top-3"] == "H@top-3 of that cell"  # as far from a vacancy as nothing in 2×2
    for name, own in ends.items():
        if own not in here:
            continue
        assert there[name].defect_distance == pytest.approx(here[own].defect_distance, abs=1e-6)
        assert (there[name].kind, there[name].face) == (here[own].kind, here[own].face)
    assert ends["V_S@top"] == "V_S@top"
    # The sixth and the seventh of 4×4 are the seventh and the sixth of 5×5 where two vacancies lie beside each other.
    here_a, there_a = {"T_X@top-6": (5.63, 3.75), "T_X@top-7": (5.63, 4.96)}, {"T_X@top-6": (5.63, 4.96)}
    assert names_in(here_a, there_a) == {"T_X@top-6": "T_X@top-7"}


@pytest.mark.parametrize(
    ("end", "ended", "known"),
    [
        ("H@top-2", "H@top-3", True),
        ("H@top-2", "H@top-2", False),
        ("between H@top-2 and V_S@top", "between V_S@top and H@top-3", True),
        ("desorbed", "desorbed", True),
    ],
)
def test_a_larger_cell_counts_if_the_adsorbate_ended_at_the_same_place(end: str, ended: str, known: bool) -> None:
    entry, records = case({"kmesh": (0.03, 0.01)})
    asked = entry.models[0].quantities["uncertainty"]
    ids = {name.replace("kmesh", "supercell"): i for name, i in asked.calculations.items()}
    variant = {
        "part": "supercell",
        "words": "3×3 cell",
        "ends": {"H@top-3": "H@top-2", "H@top-2": "H@top-2 of that cell"},
    }
    larger = QuantityEntry(calculations=ids, declared={"variants": {"supercell": variant}, "not_known": {}})
    model = entry.models[0].model_copy(update={"quantities": entry.models[0].quantities | {"uncertainty": larger}})
    entry = entry.model_copy(update={"models": (model,)})
    for name, place in (("s1", end), ("s1-kmesh", ended)):
        site = SiteChange(start="T", end=place, moved=False)
        records[name] = records[name].model_copy(update={"site": site})
    host = ParentRef(calculation="h-kmesh", digest="")
    for name in ("s1-kmesh", "s2-kmesh"):
        records[name] = records[name].model_copy(update={"parents": {"host": host}})
    (one,) = evaluated(entry, records, {}, True)
    bars = {site["site"]: site for site in one.site_uncertainties}
    assert ("supercell" in bars["T"]["parts_ev"]) == known
    assert known or "the adsorbate ended at H@top-2 of that cell there, not at H@top-2" in one.reasons[0]
    assert bars["H"]["parts_ev"] == pytest.approx({"supercell": 0.01})


def test_a_mesh_by_hand_is_that_of_one_cell(tmp_path: Path) -> None:
    protocol = paper(kpoint_mesh={"points": [3, 3, 1]})
    with pytest.raises(InputError, match="supercell: model WSSe: kpoint_mesh fixes the mesh of one cell by hand"):
        plan(of_janus(tmp_path, uncertainty=["supercell"], protocol=protocol), "vasp")


@pytest.mark.parametrize(
    "changes", [{"uncertainty": ["vacuum"]}, {"protocol": paper(final_energy={"cutoff_ev": 700.0})}]
)
def test_an_engine_without_single_points_is_refused(
    changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(EmtEngine, "capabilities", EmtEngine.capabilities - {"static"})
    key = "uncertainty" if "uncertainty" in changes else r"protocol\.final_energy"
    with pytest.raises(InputError, match=rf"{key}: the engine emt has no single points"):
        plan(of_janus(tmp_path, **changes))


def test_a_final_energy_with_d3_alone_needs_no_cycle_and_the_bars_go_on_from_the_relaxation(tmp_path: Path) -> None:
    """D3 is added to the relaxation's energy, which is that without D3; at its density are the other functionals."""
    parts = ("kmesh", "cutoff", "vacuum", "functional")
    planned = asking(tmp_path, *parts, engine="gpaw", protocol=paper(final_energy={"dispersion": "d3bj"}))
    site = planned["WSSe+VS/V_S@top"].calculation
    points = {name: planned[f"WSSe+VS/V_S@top/{name}"].calculation for name in ("final", "PBE", "RPBE", *parts[:3])}
    on, at, own = ({"geometry": site} | more for more in ({"without": site}, {"density": site}, {}))
    parents = {name: point.parents for name, point in points.items()}
    assert parents == {"final": on, "PBE": on, "RPBE": at, "kmesh": own, "cutoff": own, "vacuum": own}
    both = asking(tmp_path, *parts, engine="gpaw", protocol=paper(dispersion="d3bj", final_energy={"cutoff_ev": 700}))
    assert both["WSSe+VS/V_S@top/PBE"].calculation.parents == {"geometry": both["WSSe+VS/V_S@top"].calculation}
