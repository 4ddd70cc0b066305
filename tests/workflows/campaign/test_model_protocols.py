"""Models with protocol keys, an ordering or a comparison of their own: only what differs is another calculation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from sodiate.workflows.campaign.yaml import CONFIGS, InputError
from sodiate.workflows.plan.planner import plan
from support.cli import Cli


def campaign(folder: Path, *models: object, **changes: object) -> Path:
    data = yaml.safe_load((CONFIGS / "campaigns" / "wsse.yaml").read_text(encoding="utf-8"))
    data |= {"campaign": "varied", "supercell": [2, 2], "sites": ["T_W@top"], "quantities": [], **changes}
    path = folder / "varied.yaml"
    path.write_text(yaml.safe_dump(data | {"models": list(models)}, allow_unicode=True), encoding="utf-8")
    return path


def test_a_changed_key_makes_its_own_calculations_and_no_others(tmp_path: Path) -> None:
    against = {"model": "WSSe", "compare_with": "WSSe"}
    varied = plan(
        campaign(
            tmp_path,
            "WSSe",
            against | {"name": "no-dipole", "protocol": {"dipole_correction": False}},
            {
                "model": "WSSe",
                "name": "atom",
                "protocol": {"atom": {"spin_polarised": False}},
                "compare_with": "WSSe",
            },
        ),
        "gpaw",
    )
    assert varied["no-dipole"].calculation.id != varied["WSSe"].calculation.id
    # The atom has no dipole correction anyway: its own section comes after the common keys.
    assert "no-dipole/Na" not in varied
    assert varied.entry().models[1].changes == ("dipole_correction on → off",)
    # Only the atom is another one: the slabs are the very calculations of the base.
    assert varied["atom"].calculation.id == varied["WSSe"].calculation.id
    assert varied["atom/T_W@top"].calculation.id == varied["WSSe/T_W@top"].calculation.id
    assert varied["atom/Na"].calculation.id != varied["Na"].calculation.id
    assert varied["atom/Na"].calculation.protocol["spin_polarised"] is False
    assert varied.entry().models[2].changes == ("Na atom: spin_polarised on → off",)
    assert (
        varied.entry().models[2].quantities["adsorption_energy"].calculations["atom"]
        == varied["atom/Na"].calculation.id
    )


def test_no_change_hides_another(tmp_path: Path) -> None:
    """A mixed layer that has lost an atom, too, is another host, not only another ordering."""
    both = {"model": "WSSe", "name": "both", "ordering": "2+2a", "remove": ["S@1"], "compare_with": "WSSe"}
    ordering, host = plan(campaign(tmp_path, "WSSe", both)).entry().models[1].changes
    assert ordering == "ordering Janus → 2+2a"
    assert host.startswith("host WSSe → WSSe+")


def test_cell_ordering_and_pair_are_said(tmp_path: Path) -> None:
    varied = plan(
        campaign(
            tmp_path,
            "WSSe",
            {"model": "WSSe", "name": "dilute", "supercell": [3, 3], "compare_with": "WSSe"},
            {"model": "WSSe", "name": "mixed", "ordering": "2+2a", "compare_with": "WSSe"},
            {"model": "WSSe+VS+VSe", "name": "near", "sites": ["V_S@top"]},
            {"model": "WSSe+VS+VSe", "name": "far", "pair": 4.58, "sites": ["V_S@top"], "compare_with": "near"},
        )
    )
    assert [model.changes for model in varied.entry().models] == [
        (),
        ("supercell 2×2 → 3×3",),
        ("ordering Janus → 2+2a",),
        (),
        ("pair nearest → 4.58",),
    ]
    symbols = varied["mixed"].atoms()
    top = symbols[symbols.positions[:, 2] > symbols.positions[symbols.symbols == "W", 2].max() + 1]
    assert sorted(top.get_chemical_symbols()) == ["S", "S", "Se", "Se"]
    assert symbols.get_chemical_formula() == varied["WSSe"].atoms().get_chemical_formula()


def test_a_vacancy_of_a_mixed_sheet_is_one_of_its_own_atoms(tmp_path: Path) -> None:
    """Its faces have atoms that the Janus sheet has not there."""
    lost = {"model": "WSSe", "name": "lost", "ordering": "2+2a", "remove": ["Se@7"], "sites": ["V_Se@top"]}
    mixed = {"model": "WSSe", "name": "mixed", "ordering": "2+2a"}
    planned = plan(campaign(tmp_path, mixed, lost), "gpaw")
    whole, without = planned["mixed"].atoms(), planned["lost"].atoms()
    assert whole.symbols[7] == "Se"
    assert without.get_chemical_symbols() == [s for i, s in enumerate(whole.symbols) if i != 7]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"ordering": "2+2a", "remove": ["S@7"]}, "atom 7 .* is Se, not S"),
        ({"ordering": "2+2a", "model": "WSSe+VSe"}, r"ambiguous: .* `remove`: Se@7 \(top, .*Se@8 \(bottom"),
        ({"compare_with": "WSe"}, "compare_with: no other model 'WSe'"),
        ({"compare_with": "odd"}, "compare_with: no other model 'odd'"),
        ({"ordering": "5+0"}, r"no ordering '5\+0' of its S and Se; there are 4\+0, 3\+1a"),
        (
            {"protocol": {"dispersion": "d5"}},
            "models.*dispersion: 'd5' should be 'none', 'd3zero', 'd3bj', 'd4' or 'ts'",
        ),
        ({"protocol": {"dipole": True}}, "unknown key .*dipole'"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, model: dict[str, object], words: str) -> None:
    path = campaign(tmp_path, "WSSe", {"model": "WSSe", "name": "odd", **model})
    with pytest.raises(InputError, match=words):
        plan(path)


def test_the_effect_is_the_difference_of_two_rows(tmp_path: Path, launchpad: Path, cli: Cli) -> None:
    path = campaign(tmp_path, "WSSe", {"model": "WSSe", "name": "dense", "supercell": [1, 1], "compare_with": "WSSe"})
    shown = cli("run", path, "--launchpad", launchpad, "--root", "root")
    assert shown.returncode == 0, shown.stderr
    listed = cli("results", "--launchpad", launchpad, "--format", "json")
    base, dense = json.loads(listed.stdout)
    expected = dense["adsorption_energy_ev"] - base["adsorption_energy_ev"]
    assert dense["effect_ev"] == pytest.approx(expected, abs=1e-12)
    assert base["effect_ev"] is None
    assert f"dense against WSSe: supercell 2×2 → 1×1: {expected:+.3f} eV, mock" in " ".join(shown.stdout.split())
