"""Adsorption energies: the formula against numbers done by hand, and every subtraction that must be refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from sodiate.analysis.campaign_entry import CampaignEntry, ModelEntry, NamedCalculation, QuantityEntry, SiteEntry
from sodiate.analysis.energies.adsorption import adsorption_energy, final_adsorption_energy, lowest
from sodiate.analysis.energies.comparability import ProtocolMismatch, check_atoms
from sodiate.analysis.energies.formation import formation_result
from sodiate.analysis.energies.staleness import fresh, stale_reason
from sodiate.analysis.records import (
    Choice,
    Geometry,
    Method,
    ParentRef,
    Provenance,
    Record,
    Sampling,
    SiteChange,
)
from sodiate.workflows.quantities.adsorption_energy import AdsorptionEnergy
from sodiate.workflows.quantities.final_energy import FinalEnergy
from sodiate.workflows.results.evaluate import evaluated

CELL = ((10.0, 0.0, 0.0), (0.0, 10.0, 0.0), (0.0, 0.0, 21.0))
PROVENANCE = Provenance(
    versions={}, host="h", directory="d", firework_id=None, command=None, execution={}, started="", finished="",
    wall_time_s=0.0, launches=1, ionic_steps=1, scf_steps=None,
)  # fmt: skip
METHOD = Method(
    engine="gpaw", engine_version="26", functional="PBE", cutoff_ev=500.0, paw={"W": "W.14", "Na": "Na.7"}
)
SAMPLING = Sampling(
    cell_a=CELL, kmesh=(2, 2, 1), smearing="gaussian", smearing_width_ev=0.05, spin_polarised=True,
    dipole_correction=True,
)  # fmt: skip


def record(label: str, energy: float | None, atoms: int = 1, **changes: Any) -> Record:
    symbols = {"s": ("W", "Na"), "h": ("W",)}.get(label[0], ("Na",) * atoms)
    positions = ((0.0, 0.0, 0.0),) * len(symbols)
    geometry = Geometry(symbols=symbols, positions_a=positions, cell_a=CELL, pbc=(True, True, False))
    values: dict[str, Any] = {
        "calculation": label, "label": label, "kind": {"Na": "atom", "bcc": "bulk"}.get(label, "relax"),
        "engine": "gpaw", "physical": True,
        "energy_ev": energy,
        "free_energy_ev": energy, "max_force_ev_per_a": 0.01, "geometry": geometry, "method": METHOD,
        "sampling": SAMPLING, "input_digest": "", "provenance": PROVENANCE,
        "parents": {"host": ParentRef(calculation="h", digest="")} if label[0] == "s" else {},
    }  # fmt: skip
    return Record(**values | changes)


def with_method(**changes: Any) -> dict[str, Any]:
    return {"method": METHOD.model_copy(update=changes)}


def with_sampling(**changes: Any) -> dict[str, Any]:
    return {"sampling": SAMPLING.model_copy(update=changes)}


def test_the_formula_by_hand() -> None:
    """−105.5 − (−102.0) − (−1.25) = −2.25; with a bulk of two atoms at −2.6 together, −3.5 + 1.3 = −2.2."""
    slab_na, slab, atom = record("s", -105.5), record("h", -102.0), record("Na", -1.25)
    assert adsorption_energy(slab_na, slab, atom) == pytest.approx(-2.25, abs=1e-12)
    assert adsorption_energy(slab_na, slab, record("bcc", -2.6, atoms=2)) == pytest.approx(-2.2, abs=1e-12)


@pytest.mark.parametrize(
    "changes",
    [
        with_method(engine="vasp"),
        with_method(engine_version="25"),
        with_method(functional="PBE+D3"),
        with_method(cutoff_ev=400.0),
        with_method(dispersion="D3"),
        with_method(paw={"W": "W_sv", "Na": "Na_pv"}),
        with_method(paw={}),
        {"physical": False},
    ],
    ids=str,
)
def test_another_method_in_any_term_is_refused(changes: dict[str, Any]) -> None:
    slab_na, slab, atom = record("s", -3.0), record("h", -2.0), record("Na", -1.0)

    def odd(name: str) -> Record:
        return record(name, -2.0, **changes)

    for terms in ((odd("s"), slab, atom), (slab_na, odd("h"), atom), (slab_na, slab, odd("Na"))):
        with pytest.raises(ProtocolMismatch, match=r"≠|mock") as caught:
            adsorption_energy(*terms)
        assert "s and " in str(caught.value)


def test_an_unknown_paw_set_is_not_taken_for_the_same() -> None:
    with pytest.raises(ProtocolMismatch, match=r"PAW of W W\.14 ≠ None"):
        adsorption_energy(record("s", -3.5), record("h", -2.0, **with_method(paw={})), record("Na", -1.0))


def test_a_paw_set_of_an_element_that_only_one_has_does_not_matter() -> None:
    slab = record("h", -2.0, **with_method(paw={"W": "W.14"}))
    assert adsorption_energy(record("s", -3.5), slab, record("Na", -1.0)) == pytest.approx(-0.5)


@pytest.mark.parametrize(
    "changes",
    [
        with_sampling(kmesh=(3, 3, 1)),
        with_sampling(smearing="fermi-dirac"),
        with_sampling(smearing_width_ev=0.1),
        with_sampling(spin_polarised=False),
        with_sampling(dipole_correction=False),
        with_sampling(cell_a=(CELL[0], CELL[1], (0.0, 0.0, 21.001))),
        {"sampling": None},
    ],
    ids=str,
)
def test_another_sampling_is_refused_between_slabs_and_allowed_for_the_reference(changes: dict[str, Any]) -> None:
    slab_na, slab, atom = record("s", -3.0), record("h", -2.0), record("Na", -1.0)
    with pytest.raises(ProtocolMismatch):
        adsorption_energy(slab_na, record("h", -2.0, **changes), atom)
    assert adsorption_energy(slab_na, slab, record("Na", -1.0, **changes)) == pytest.approx(0.0)


def test_noise_of_a_cell_is_no_other_cell() -> None:
    slab = record("h", -2.0, **with_sampling(cell_a=(CELL[0], CELL[1], (0.0, 0.0, 21.0 + 1e-9))))
    assert adsorption_energy(record("s", -3.5), slab, record("Na", -1.0)) == pytest.approx(-0.5)


def with_atoms(*symbols: str) -> dict[str, Any]:
    positions = tuple((float(k), 0.0, 0.0) for k in range(len(symbols)))
    return {"geometry": Geometry(symbols=symbols, positions_a=positions, cell_a=CELL, pbc=(True, True, False))}


OTHER_HOST = {"parents": {"host": ParentRef(calculation="h2", digest="")}}


@pytest.mark.parametrize(
    ("site", "host", "reference", "words"),
    [
        (OTHER_HOST, {}, {}, r"s was computed from calculation h2 as its host, not from h \(h\)"),
        ({"parents": {}}, {}, {}, "s was computed from no record as its host"),
        (with_atoms("W"), {}, {}, "it has 1 W atoms, not 1 Na, 1 W"),
        (with_atoms("W", "Na", "Na"), {}, {}, "it has 2 Na, 1 W atoms, not 1 Na, 1 W"),
        (with_atoms("W", "Li"), {}, {}, "it has 1 Li, 1 W atoms, not 1 Na, 1 W"),
        ({}, with_atoms("W", "Se"), {}, "it has 1 Na, 1 W atoms, not 1 Na, 1 Se, 1 W"),
        ({}, {}, with_atoms("Li"), "s is not h with one Li of Na"),
        ({}, {}, with_atoms("Na", "Cl"), "a reference is of one element, this is of Cl, Na"),
        ({"geometry": None}, {}, {}, "s: its record has no geometry"),
        ({}, {}, {"geometry": None}, "Na: its record has no geometry"),
    ],
)
def test_a_site_is_its_host_and_one_atom(
    site: dict[str, Any], host: dict[str, Any], reference: dict[str, Any], words: str
) -> None:
    """A number would come out of each, and none is an adsorption energy."""
    terms = record("s", -3.0, **site), record("h", -2.0, **host), record("Na", -1.0, **reference)
    with pytest.raises(ProtocolMismatch, match=words):
        adsorption_energy(*terms)


def test_a_bulk_that_stands_where_the_atom_should_is_refused() -> None:
    """The cohesive energy, 1.1 eV, would be missing; the other way round nothing can be told apart but the kind."""
    swapped = ENTRY.models[0].quantities | {"adsorption_energy": QuantityEntry(calculations={"atom": "bcc"})}
    entry = ENTRY.model_copy(update={"models": (ENTRY.models[0].model_copy(update={"quantities": swapped}),)})
    (model,) = evaluated(entry, ALL, {}, physical=True)
    assert model.adsorption_energy_ev is None
    assert any("bcc is no isolated Na atom" in reason for reason in model.reasons)


def test_a_host_swapped_in_a_campaign_is_refused_and_another_model_stands() -> None:
    """What a changed campaign of an older release, which has no checksum, would do: −0.188 eV off in silence."""
    first = ENTRY.models[0]
    other = first.model_copy(update={"name": "other", "host": "h2"})
    records = ALL | {"h2": record("h2", -101.812)}
    entry = ENTRY.model_copy(update={"models": (first, other)})
    whole, swapped = evaluated(entry, records, {}, physical=True)
    assert whole.adsorption_energy_ev == pytest.approx(-104.003 + 102.0 + 1.25)
    assert swapped.adsorption_energy_ev is None
    assert any("was computed from calculation h as its host, not from h2" in reason for reason in swapped.reasons)


def test_the_atoms_of_a_difference_cancel() -> None:
    whole, host, atom = record("s", -3.0), record("h", -2.0), record("Na", -1.0)
    check_atoms(whole, (host, atom), "density difference")
    with pytest.raises(ProtocolMismatch, match="s is not h: 1 Na more in s"):
        check_atoms(whole, (host,), "density difference")
    with pytest.raises(ProtocolMismatch, match="density difference: h is not s and Na: 2 Na more in s and Na"):
        check_atoms(host, (whole, atom), "density difference")


FORMATION = QuantityEntry(
    calculations={"pristine": "p", "W": "W", "Se": "Se"},
    declared={"removed": {"Se": 1}, "unit": {"W": 1, "Se": 2}, "metal": "W"},
)
FORMED = {
    "h": record("h", -20.0, **with_atoms("W", "W", "Se", "Se", "Se")),
    "p": record("p", -26.0, **with_atoms("W", "W", "Se", "Se", "Se", "Se")),
    "W": record("W", -5.0, **with_atoms("W")),
    "Se": record("Se", -6.0, **with_atoms("Se", "Se")),
}


def test_a_formation_energy_by_hand() -> None:
    """−20 + 26 − 3 = 3 eV with μ(Se) = −3; WSe2 lies 2 eV below its elements, so 1 eV less a Se at the other end."""
    found = formation_result(FORMATION, "h", FORMED, str)
    assert found.x_rich_ev == pytest.approx(3.0)
    assert found.metal_rich_ev == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"h": record("h", -20.0, **with_atoms("W", "W", "Se", "Se"))}, "h is not p less Se1: Se2 W2 against Se4 W2"),
        ({"h": record("h", -20.0, **with_atoms("W", "Se", "Se", "Se", "Se"))}, "h is not p less Se1"),
        ({"p": FORMED["h"]}, "h is not h less Se1"),
        ({"Se": FORMED["W"]}, "the reference of Se, W, is of W"),
        ({"Se": record("Se", -6.0, **with_atoms("Se", "S"))}, "a reference is of one element"),
    ],
)
def test_a_formation_energy_of_other_atoms_is_refused(changed: dict[str, Record], words: str) -> None:
    found = formation_result(FORMATION, "h", FORMED | changed, str)
    assert found.x_rich_ev is None
    assert words in (found.reason or "")


def test_the_lowest_site_and_its_ties() -> None:
    assert lowest({"b": -2.0, "a": -1.0}, {}).site == "b"
    assert lowest({"b": -2.0009, "a": -2.0}, {}).site == "a"  # under 1 meV: by name
    assert lowest({"b": -2.0011, "a": -2.0}, {}).site == "b"


ENTRY = CampaignEntry(
    campaign="c", engine="gpaw", method_id="m", title="", yaml="", adsorbate="Na",
    models=(
        ModelEntry(
            name="WSe2", label="WSe2", supercell=(3, 3), host="h", lowest="low",
            sites=(SiteEntry(name="T_W@top", multiplicity=18, calculation="s1"),
                   SiteEntry(name="H@top", multiplicity=18, calculation="s2")),
            quantities={"adsorption_energy": QuantityEntry(calculations={"atom": "Na"}),
                        "bulk_reference": QuantityEntry(calculations={"bulk": "bcc"})},
        ),
    ),
    calculations=tuple(NamedCalculation(name=n, calculation=n) for n in ("Na", "bcc", "h", "s1", "s2", "low")),
)  # fmt: skip
ALL = {
    "Na": record("Na", -1.25),
    "bcc": record("bcc", -2.6, atoms=2),
    "h": record("h", -102.0),
    "s1": record("s1", -104.0, site=SiteChange(start="T_W@top", end="T_W@top", moved=False)),
    "s2": record("s2", -104.003, site=SiteChange(start="H@top", end="T_W@top", moved=True)),
    "low": record("low", None, choice=Choice(site="H@top", energies_ev={}), geometry=None, sampling=None),
}


def test_a_whole_model() -> None:
    (model,) = evaluated(ENTRY, ALL, {}, physical=True)
    assert (model.site, model.end, model.converged, model.reasons) == ("H@top", "T_W@top", True, ())
    assert model.adsorption_energy_ev == pytest.approx(-104.003 + 102.0 + 1.25)
    assert model.adsorption_energy_bulk_ev == pytest.approx(-104.003 + 102.0 + 1.3)
    assert model.paper_adsorption_energy_ev == -1.27
    assert [s.same_as for s in model.sites] == [None, "T_W@top"]  # 3 meV apart and in one place


def test_which_of_two_sites_is_nearer_by_a_hair_makes_no_other_place() -> None:
    ends = {"s1": "between H@top and T_W@top", "s2": "between T_W@top and H@top"}
    moved = {
        name: ALL[name].model_copy(update={"site": SiteChange(start=name, end=end, moved=True, note=note)})
        for (name, end), note in zip(ends.items(), (None, "moved to an equivalent site"), strict=True)
    }
    (model,) = evaluated(ENTRY, ALL | moved, {}, physical=True)
    assert [s.same_as for s in model.sites] == [None, "T_W@top"]


@pytest.mark.parametrize("gone", ["Na", "bcc", "h", "s1", "s2", "low"])
def test_what_is_missing_is_named_and_the_rest_stands(gone: str) -> None:
    known = {k: v for k, v in ALL.items() if k != gone}
    (model,) = evaluated(ENTRY, known, {gone: "failed: a reason"}, physical=True)
    assert not model.converged
    assert any("failed: a reason" in reason for reason in model.reasons)
    left = {"Na": [], "h": [], "s1": ["H@top"], "s2": ["T_W@top"], "low": ["T_W@top", "H@top"],
            "bcc": ["T_W@top", "H@top"]}  # fmt: skip
    assert [s.site for s in model.sites if s.adsorption_energy_ev is not None] == left[gone]


def test_a_mismatch_leaves_out_that_row_with_the_reason() -> None:
    odd = ALL | {"s2": record("s2", -104.5, **with_sampling(kmesh=(3, 3, 1)))}
    (model,) = evaluated(ENTRY, odd, {}, physical=True)
    assert model.site == "T_W@top"
    assert model.sites[1].adsorption_energy_ev is None
    assert "kmesh (3, 3, 1) ≠ (2, 2, 1)" in (model.sites[1].reason or "")
    assert any("the graph chose H@top" in reason for reason in model.reasons)


@pytest.mark.parametrize(
    ("element", "moment", "words"),
    [
        ("Na", 1.0, None),
        ("Na", -0.998, None),
        ("Na", 0.0, "the isolated Na atom has 0.00 μB, its ground state 1 μB"),
        ("Mg", 1.0, "the isolated Mg atom has 1.00 μB, its ground state 0 μB"),
        ("Mg", 0.0, None),
        ("Al", 1.0, None),
        ("Al", 3.0, "ground state 1 μB"),
        ("Mg", None, None),  # without spin, as a comparison may have it
    ],
)
def test_an_atom_in_another_state_than_its_ground_state_is_refused(
    element: str, moment: float | None, words: str | None
) -> None:
    geometry = Geometry(symbols=(element,), positions_a=((0.0, 0.0, 0.0),), cell_a=CELL, pbc=(True, True, True))
    atom = record("Na", -1.0, kind="atom", geometry=geometry, total_moment_mub=moment, method=METHOD)
    slabs = record("s", -3.5, **with_atoms("W", element)), record("h", -2.0)
    if words is None:
        assert adsorption_energy(*slabs, atom) == pytest.approx(-0.5)
    else:
        with pytest.raises(ProtocolMismatch, match=words):
            adsorption_energy(*slabs, atom)


def desorbed(label: str, energy: float) -> Record:
    return record(label, energy, site=SiteChange(start="H@top", end="desorbed", moved=True))


def test_where_the_adsorbate_left_the_sheet_is_no_best_site() -> None:
    """Its energy, lower than that of a site that binds badly, is that of sheet and atom far apart."""
    choice = record("low", None, choice=Choice(site="T_W@top", energies_ev={}), geometry=None, sampling=None)
    (model,) = evaluated(ENTRY, ALL | {"s2": desorbed("s2", -105.0), "low": choice}, {}, physical=True)
    assert (model.site, model.converged) == ("T_W@top", True)
    both = ALL | {"s1": desorbed("s1", -103.2), "s2": desorbed("s2", -103.2)}
    (model,) = evaluated(ENTRY, {key: both[key] for key in both if key != "low"}, {}, physical=True)
    assert (model.site, model.adsorption_energy_ev, model.adsorption_voltage_v) == (None, None, None)
    assert "Na does not adsorb: it left the sheet from T_W@top, H@top" in model.reasons


@pytest.mark.parametrize(
    ("adsorbate", "declared", "divided_by"),
    [("Na", {}, 1), ("Mg", {}, 2), ("Zn", {}, 2), ("Ca", {}, 2), ("Al", {}, 3), ("Mg", {"charge": 1}, 1)],
)
def test_the_voltage_is_of_ions(adsorbate: str, declared: dict[str, int], divided_by: int) -> None:
    """−[−104.003 + 102 + 1.3]/z: by the element if nothing was declared, as in campaigns that are stored already."""
    bulk = QuantityEntry(calculations={"bulk": "bcc"}, declared=declared)
    model = ENTRY.models[0]
    model = model.model_copy(update={"quantities": model.quantities | {"bulk_reference": bulk}})
    records = {
        "Na": record("Na", -1.25, **with_atoms(adsorbate)),
        "bcc": record("bcc", -2.6, **with_atoms(adsorbate, adsorbate)),
        "s1": record("s1", -104.0, **with_atoms("W", adsorbate)),
        "s2": record("s2", -104.003, **with_atoms("W", adsorbate)),
    }
    (found,) = evaluated(
        ENTRY.model_copy(update={"adsorbate": adsorbate, "models": (model,)}), ALL | records, {}, physical=True
    )
    assert found.adsorption_voltage_v == pytest.approx(0.703 / divided_by)


def test_stale_records() -> None:
    host, other = record("h", -102.0), record("h", -102.5)
    site = record("s", -104.0, parents={"host": ParentRef(calculation="h", digest=host.digest)})
    assert stale_reason(site, {"host": "h"}, {"h": host}) is None
    assert stale_reason(site, {"host": "h"}, {"h": other}) == "its host was computed anew"
    assert stale_reason(site, {"host": "h"}, {}) == "the record of its host was superseded"
    choice = record("low", None, parents={"T": ParentRef(calculation="s", digest=site.digest)})
    assert stale_reason(choice, {"T": "s", "H": "s2"}, {"s": site}) is None
    assert stale_reason(choice, {"T": "s", "H": "s2"}, {"s": site, "s2": host}) == "its H was completed later"
    foreign = record("s", -104.0, parents={"host": ParentRef(calculation="h2", digest=host.digest)})
    assert stale_reason(foreign, {"host": "h"}, {"h": host}) == "it was computed from another host"
    assert stale_reason(site, {}, {"h": host}) == "it was computed from a host, which its calculation does not have"
    assert stale_reason(site, {"host": "h"}, {}, {"h": "changed"}) == "the record of its host may not be used"
    usable, reasons = fresh({"h": other, "s": site, "low": choice}, {"s": {"host": "h"}, "low": {"T": "s"}})
    assert set(usable) == {"h"}
    assert reasons == {"s": "stale: its host was computed anew", "low": "stale: its T is stale"}


def test_the_digest_sees_science_and_not_provenance() -> None:
    one = record("h", -102.0)
    assert one.digest == one.model_copy(update={"provenance": PROVENANCE.model_copy(update={"host": "x"})}).digest
    assert one.digest == Record.model_validate_json(one.model_dump_json()).digest
    assert one.digest != record("h", -102.0000001).digest
    assert (
        one.model_copy(update={"energy_ev": -103.0, "free_energy_ev": -103.0}).digest == record("h", -103.0).digest
    )  # not the original's


# Energies at relaxed geometries.


def at_end_of(label: str, parent: str, energy: float, **changes: Any) -> Record:
    """A single point, with another cutoff than the relaxations have."""
    values: dict[str, Any] = {"kind": "static", "parents": {"geometry": ParentRef(calculation=parent, digest="")}}
    return record(label, energy, **with_method(cutoff_ev=700.0), **values | changes)


FINAL_IDS = {"host": "hf", "site T_W@top": "s1f", "site H@top": "s2f", "atom": "Naf", "bulk": "bccf"}
FINALS = {
    "hf": at_end_of("hf", "h", -103.0),
    "s1f": at_end_of("s1f", "s1", -105.5),
    "s2f": at_end_of("s2f", "s2", -105.4),
    "Naf": record("Naf", -1.5, kind="atom", **with_method(cutoff_ev=700.0)),
    "bccf": record("bccf", -3.0, atoms=2, kind="bulk", **with_method(cutoff_ev=700.0)),
    "low": record("low", None, choice=Choice(site="T_W@top", energies_ev={}), geometry=None, sampling=None),
}


def with_finals(**changes: Any) -> CampaignEntry:
    first = ENTRY.models[0]
    quantities = first.quantities | {"final_energy": QuantityEntry(calculations=FINAL_IDS)}
    names = (*ENTRY.calculations, *(NamedCalculation(name=n, calculation=n) for n in FINAL_IDS.values()))
    models = (first.model_copy(update={"quantities": quantities} | changes),)
    return ENTRY.model_copy(update={"models": models, "calculations": names})


def test_energies_at_relaxed_geometries_by_hand() -> None:
    """−105.5 + 103 + 1.5 = −1.0 and −105.4 + 104.5 = −0.9: the other site than by the relaxations' −0.75, −0.753."""
    (model,) = evaluated(with_finals(), ALL | FINALS, {}, physical=True)
    assert (model.site, model.reasons) == ("T_W@top", ())
    assert model.adsorption_energy_ev == pytest.approx(-1.0)
    assert model.adsorption_energy_bulk_ev == pytest.approx(-105.5 + 103.0 + 1.5)
    assert model.adsorption_voltage_v == pytest.approx(1.0)
    assert model.relaxed_adsorption_energy_ev == pytest.approx(-104.0 + 102.0 + 1.25)
    first, second = model.sites
    assert (first.energy_ev, first.final_energy_ev) == (-104.0, -105.5)
    assert second.adsorption_energy_ev == pytest.approx(-0.9)
    assert second.relaxed_adsorption_energy_ev == pytest.approx(-0.753)
    assert first.same_as is None
    assert second.same_as == "T_W@top"  # of the relaxations, which ended in one place
    numbers = {n.key: n.records for n in AdsorptionEnergy().numbers(model) if n.site == "T_W@top"}
    assert numbers["adsorption_energy_ev"] == ("s1f", "hf", "Naf")
    numbers = {n.key: n.records for n in FinalEnergy().numbers(model) if n.site == "T_W@top"}
    assert numbers == {"relaxed_adsorption_energy_ev": ("s1", "h", "Na")}
    said = FinalEnergy().remarks([model])
    assert said == [
        "WSe2: ΔE is from energies at the relaxed geometries with plane waves up to 700 eV",
        "WSe2: T_W@top is best by its final energy; by the relaxations H@top would be",
    ]
    assert FinalEnergy().methods([model.host])[0] == (
        "Energies were taken at these geometries with plane waves up to 700 eV."
    )


@pytest.mark.parametrize(
    ("gone", "left", "words"),
    [
        ("hf", [], "T_W@top: final energy: no host: failed: a reason"),
        ("s1f", ["H@top"], "T_W@top: final energy: failed: a reason"),
        ("Naf", [], "T_W@top: final energy: no Na atom: failed: a reason"),
        ("bccf", ["T_W@top", "H@top"], "final energy: bulk: failed: a reason"),
        ("h", [], "host: failed: a reason"),
        ("s2", ["T_W@top"], "H@top: failed: a reason"),
    ],
)
def test_a_missing_energy_is_a_reason_and_never_that_of_the_relaxation(
    gone: str, left: list[str], words: str
) -> None:
    known = {k: v for k, v in (ALL | FINALS).items() if k != gone}
    (model,) = evaluated(with_finals(), known, {gone: "failed: a reason"}, physical=True)
    assert [site.site for site in model.sites if site.adsorption_energy_ev is not None] == left
    assert words in model.reasons
    if gone in ("hf", "s1f", "Naf"):
        assert model.sites[0].relaxed_adsorption_energy_ev == pytest.approx(-0.75)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"s1f": at_end_of("s1f", "s2", -105.5)},
            "s1f was computed from calculation s2 as its geometry, not from s1",
        ),
        ({"hf": at_end_of("hf", "other", -103.0)}, "hf was computed from calculation other as its geometry"),
        (
            {"s1f": at_end_of("s1f", "s1", -105.5, **with_sampling(kmesh=(4, 4, 1)))},
            r"kmesh \(4, 4, 1\) ≠ \(2, 2, 1\)",
        ),
        ({"Naf": record("Naf", -1.5, kind="atom")}, r"cutoff_ev 700.0 ≠ 500.0"),
        ({"s1f": at_end_of("s1f", "s1", -105.5, **with_atoms("W", "Na", "Na"))}, "it has 2 Na, 1 W atoms"),
        (
            {"s1": record("s1", -104.0, parents=OTHER_HOST["parents"])},
            "s1 was computed from calculation h2 as its host",
        ),
    ],
)
def test_energies_of_other_geometries_or_methods_are_refused(changed: dict[str, Record], words: str) -> None:
    known = ALL | FINALS | changed
    with pytest.raises(ProtocolMismatch, match=words):
        final_adsorption_energy((known["s1f"], known["hf"]), (known["s1"], known["h"]), known["Naf"])
    (model,) = evaluated(with_finals(), known, {}, physical=True)
    assert model.sites[0].adsorption_energy_ev is None
    assert any(re.search(words, reason) for reason in model.reasons)


def test_the_effect_is_that_of_the_energies() -> None:
    """−1.0 with them and −0.753 without: what a change of the energies alone does."""
    plain = ENTRY.models[0].model_copy(update={"name": "plain"})
    low = record("low1", None, choice=Choice(site="H@top", energies_ev={}), geometry=None, sampling=None)
    plain = plain.model_copy(update={"lowest": "low1"})
    entry = with_finals(compare_with="plain")
    entry = entry.model_copy(update={"models": (*entry.models, plain)})
    dear, cheap = evaluated(entry, ALL | FINALS | {"low1": low}, {}, physical=True)
    assert dear.effect_ev == pytest.approx(-1.0 + 0.753)
    assert (cheap.relaxed_adsorption_energy_ev, cheap.reasons) == (None, ())
