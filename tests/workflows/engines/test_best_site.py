"""The choice of the best site: among those at which the adsorbate stayed, and none if there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from sodiate.analysis.records import Geometry, Method, ParentRef, Provenance, Record, Sampling, SiteChange
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.engines.base import Artefacts, EngineError
from sodiate.workflows.engines.best_site import LowestEngine

CELL = ((10.0, 0.0, 0.0), (0.0, 10.0, 0.0), (0.0, 0.0, 21.0))
PROVENANCE = Provenance(
    versions={}, host="h", directory="d", firework_id=None, command=None, execution={}, started="", finished="",
    wall_time_s=0.0, launches=1, ionic_steps=1, scf_steps=None,
)  # fmt: skip


def parent(label: str, energy_ev: float, end: str | None = None) -> Artefacts:
    geometry = Geometry(symbols=("Na",), positions_a=((0.0, 0.0, 0.0),), cell_a=CELL, pbc=(True, True, False))
    return Artefacts(
        Record(
            calculation=label, label=label, kind="relax", engine="gpaw", physical=True, energy_ev=energy_ev,
            free_energy_ev=energy_ev, max_force_ev_per_a=0.01, geometry=geometry,
            method=Method(engine="gpaw", engine_version="26"), sampling=Sampling(cell_a=CELL), input_digest="",
            site=None if end is None else SiteChange(start=label, end=end, moved=end != label),
            parents={}, provenance=PROVENANCE,
        )
    )  # fmt: skip


def chosen(folder: Path, **ends: tuple[float, str]) -> LowestEngine:
    engine = LowestEngine({})
    parents = {"host": parent("host", -100.0)} | {name: parent(name, *given) for name, given in ends.items()}
    engine.prepare(Calculation("lowest", {"op": "none", "recipe": 1}, "gpaw", {}), None, folder, parents)
    return engine


def test_a_site_that_was_left_is_ignored_with_the_reason(tmp_path: Path) -> None:
    choice = chosen(tmp_path, T=(-101.0, "T"), H=(-103.0, "desorbed")).collect(tmp_path).choice
    assert choice is not None
    assert (choice.site, choice.ignored) == ("T", {"H": "does not adsorb: the adsorbate left the sheet"})


def test_if_it_left_from_all_there_is_no_best_site(tmp_path: Path) -> None:
    engine = chosen(tmp_path, T=(-101.0, "desorbed"), H=(-103.0, "desorbed"))
    with pytest.raises(EngineError, match="there is no best site: the adsorbate left the sheet from T, H"):
        engine.collect(tmp_path)


def with_finals(folder: Path, failures: dict[str, str], **changes: object) -> LowestEngine:
    """Two sites, of which the relaxations prefer H and the energies at their ends T."""
    relaxed = {"host": parent("host", -100.0), "T": parent("T", -101.0, "T"), "H": parent("H", -103.0, "H")}
    finals = {}
    for role, energy in (("host", -200.0), ("T", -203.0), ("H", -202.5)):
        origin = {"geometry": ParentRef(calculation=role, digest="")}
        method = Method(engine="gpaw", engine_version="26", cutoff_ev=700.0)
        values = {"parents": origin, "method": method} | (changes if role == "T" else {})
        finals[f"final {role}"] = Artefacts(parent(f"{role}/final", energy).record.model_copy(update=values))
    parents = {role: artefacts for role, artefacts in (relaxed | finals).items() if role not in failures}
    engine = LowestEngine(failures)
    engine.prepare(Calculation("lowest", {"op": "none", "recipe": 1}, "gpaw", {}), None, folder, parents)
    return engine


def test_energies_at_the_ends_choose_where_there_are_some(tmp_path: Path) -> None:
    outcome = with_finals(tmp_path, {}).collect(tmp_path)
    assert outcome.choice is not None
    assert (outcome.choice.site, outcome.choice.ignored) == ("T", {})
    assert outcome.choice.energies_ev == {"T": -203.0, "H": -202.5}


@pytest.mark.parametrize(
    ("failures", "ignored"),
    [
        ({"final T": "failed: no memory"}, {"T": "final energy failed: no memory"}),
        ({"T": "failed: torn", "final T": "failed: its geometry, T, has failed"}, {"T": "failed: torn"}),
    ],
)
def test_a_site_without_such_an_energy_is_not_chosen_by_its_relaxation(
    failures: dict[str, str], ignored: dict[str, str], tmp_path: Path
) -> None:
    choice = with_finals(tmp_path, failures).collect(tmp_path).choice
    assert choice is not None
    assert (choice.site, choice.ignored) == ("H", ignored)


def test_an_energy_of_another_geometry_or_method_chooses_nothing(tmp_path: Path) -> None:
    other = {"geometry": ParentRef(calculation="elsewhere", digest="")}
    choice = with_finals(tmp_path, {}, parents=other).collect(tmp_path).choice
    assert choice is not None
    assert choice.site == "H"
    assert "computed from calculation elsewhere as its geometry, not from T" in choice.ignored["T"]
    choice = with_finals(tmp_path, {}, method=Method(engine="gpaw", engine_version="26")).collect(tmp_path).choice
    assert choice is not None
    assert choice.site == "H"
    assert "cutoff_ev None ≠ 700.0" in choice.ignored["T"]
