"""Adsorbates that change some keys of another one, and models that change some heights of the campaign's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from sodiate.workflows.campaign.load import bundled_adsorbates, load_campaign
from sodiate.workflows.campaign.yaml import CONFIGS, InputError, load_yaml
from sodiate.workflows.plan.planner import plan

NA = load_yaml(CONFIGS / "defaults.yaml", "defaults")["adsorbate"]["start_heights_a"]

RADII_A = {"Li": 0.76, "Na": 1.02, "K": 1.38, "Mg": 0.72, "Ca": 1.00, "Zn": 0.74, "Al": 0.535}
"""Shannon 1976, six neighbours."""


def campaign(folder: Path, adsorbate: Any, models: list[Any] | None = None, **changes: Any) -> Path:
    path = folder / "mine.yaml"
    values = {"campaign": "mine", "supercell": [2, 2], "sites": ["T_W@top"], "quantities": [], **changes}
    values |= {"models": models or ["WSe2"], "adsorbate": adsorbate}
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def heights(folder: Path, adsorbate: Any) -> dict[str, Any]:
    given = load_campaign(campaign(folder, adsorbate)).spec.adsorbate
    return {"element": given.element, **given.start_heights_a.model_dump(exclude_none=True)}


def test_the_ions_of_the_guide_are_bundled(tmp_path: Path) -> None:
    """Each as much higher than Na as its ion is larger."""
    assert set(bundled_adsorbates()) == set(RADII_A)
    for ion, radius in RADII_A.items():
        found = heights(tmp_path, {"base": ion})
        assert found.pop("element") == ion
        assert found == pytest.approx({kind: height + radius - RADII_A["Na"] for kind, height in NA.items()})


def test_maps_merge_along_a_chain(tmp_path: Path) -> None:
    (tmp_path / "high.yaml").write_text("base: K\nstart_heights_a: {H: 3.0, B: 3.1}\n", encoding="utf-8")
    found = heights(tmp_path, {"base": "high.yaml", "start_heights_a": {"V": 1.5}})
    assert found == {"element": "K", "T_M": 2.46, "T_X": 3.06, "H": 3.0, "B": 3.1, "V": 1.5}
    assert heights(tmp_path, {"base": "K", "element": "Rb"})["element"] == "Rb"


def test_written_out_it_is_the_same(tmp_path: Path) -> None:
    """The ids of what a base gives are those of the same values by hand; Na's are those without a base."""
    plain = plan(campaign(tmp_path, {"element": "Na"}))["WSe2/T_W@top"].calculation.id
    assert plan(campaign(tmp_path, {"base": "Na"}))["WSe2/T_W@top"].calculation.id == plain
    by_hand = {"element": "K", "start_heights_a": {"T_M": 2.46, "T_X": 3.06, "H": 2.46, "V": 1.36}}
    ids = [plan(campaign(tmp_path, one))["WSe2/T_W@top"].calculation.id for one in (by_hand, {"base": "K"})]
    assert ids[0] == ids[1] != plain


@pytest.mark.parametrize(
    ("adsorbate", "words"),
    [
        ({"base": "k"}, r"adsorbate: base: 'k' is no bundled name and no file .*bundled: Al, Ca, K, Li"),
        ({"base": 3}, r"adsorbate: base: 3 should be a bundled name, or a file"),
        ({"base": "odd.yaml"}, r"adsorbate .*odd\.yaml: unknown key 'elment' \(did you mean 'element'\?\)"),
        ({"base": "round.yaml"}, r"round\.yaml: base: it is based on itself"),
        ({"base": "K", "molecule": "Na2"}, r"adsorbate: give an element, or a molecule by its file, not both"),
    ],
)
def test_mistakes_are_named_with_their_file(tmp_path: Path, adsorbate: Any, words: str) -> None:
    (tmp_path / "odd.yaml").write_text("elment: K\n", encoding="utf-8")
    (tmp_path / "round.yaml").write_text("base: round.yaml\n", encoding="utf-8")
    with pytest.raises(InputError, match=words):
        load_campaign(campaign(tmp_path, adsorbate))


def test_a_model_has_heights_of_its_own(tmp_path: Path) -> None:
    """Its ion starts there, its cell has room for the highest of them; other models and their ids stay."""
    own = {"model": "WSe2", "name": "higher", "adsorbate": {"start_heights_a": {"T_M": 2.9}}, "compare_with": "WSe2"}
    alone = plan(campaign(tmp_path, {"element": "Na"}))
    both = plan(campaign(tmp_path, {"element": "Na"}, ["WSe2", own]))
    assert all(both.names[name].id == calculation.id for name, calculation in alone.names.items())
    low, high = (both[f"{name}/T_W@top"].atoms() for name in ("WSe2", "higher"))
    above = [atoms.positions[-1, 2] - atoms.positions[:-1, 2].max() for atoms in (low, high)]
    assert above == pytest.approx([NA["T_M"], 2.9])
    # The highest of all kinds was that on top of Se.
    assert high.cell[2, 2] - low.cell[2, 2] == pytest.approx(2.9 - NA["T_X"])
    assert both["higher"].atoms().cell[2, 2] == high.cell[2, 2]
    assert both.entry().models[1].changes == ("start heights T_M 2.1 → 2.9",)


def test_what_a_model_cannot_change_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"models\.0\.adsorbate\.element' \('element' is a key of 'adsorbate'\); allowed here: start_heights_a",
    ):
        load_campaign(campaign(tmp_path, {"element": "Na"}, [{"model": "WSe2", "adsorbate": {"element": "K"}}]))


def test_a_vacancy_and_its_sheet_have_one_cell(tmp_path: Path) -> None:
    """Also where the model has a vacuum and heights of its own: else their energies are not subtracted."""
    own = {"model": "WSe2+VSe", "vacuum_a": 20.0, "adsorbate": {"start_heights_a": {"T_X": 3.5}}}
    path = campaign(
        tmp_path,
        {"element": "Na"},
        [own],
        quantities=["vacancy_formation"],
        bulk_references={"W": {"lattice": "bcc", "a": 3.184}, "Se": {"lattice": "fcc", "a": 4.0}},
        sites=["V_Se@top"],
    )
    graph = plan(path, "gpaw")
    cells = [graph[name].atoms().cell[2, 2] for name in ("WSe2+VSe", "WSe2+VSe/pristine")]
    assert cells[0] == pytest.approx(cells[1])
