"""Campaigns and cluster files of the how-to pages: each is planned, or read, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.clusters.cluster_file import load_cluster
from sodiate.workflows.plan.graph import Plan
from sodiate.workflows.plan.planner import plan
from support import DOCS


def blocks(page: str, first_key: str) -> list[str]:
    """The YAML of a page that begins with a key."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [block for block in re.findall(r"```yaml\n(.*?)```", text, re.S) if block.startswith(f"{first_key}:")]


def planned(page: str, folder: Path) -> list[Plan]:
    """The plan of each campaign of a page."""
    plans = []
    for number, text in enumerate(blocks(page, "campaign")):
        path = folder / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        plans.append(plan(path))
    return plans


def test_your_own_ion(tmp_path: Path) -> None:
    (potassium,) = planned("adsorbates.md", tmp_path)
    assert {"K", "K-bcc", "MoTe2/T_Mo@top", "MoS2/T_Mo@top"} <= set(potassium.names)
    heights = [potassium[host].calculation.structure["headroom_a"] for host in ("MoTe2", "MoS2")]
    assert heights == pytest.approx([3.06, 3.06])  # that on top of the chalcogen is the highest of both
    above = [
        atoms.positions[-1, 2] - atoms.positions[:-1, 2].max()
        for atoms in (potassium[f"{host}/T_Mo@top"].atoms() for host in ("MoTe2", "MoS2"))
    ]
    assert above == pytest.approx([2.46, 2.7])


def test_a_u_is_in_all_terms_that_have_the_element(tmp_path: Path) -> None:
    (with_u,) = planned("u-and-hybrids.md", tmp_path)[:1]
    for name in ("VS2-1T", "VS2-1T/T_V@top", "VS2-1T/T_V@top#2"):
        assert with_u[name].calculation.protocol["hubbard_u_ev"] == {"V": {"d": 3.0}}
        assert "hubbard_u_ev" not in with_u[name.replace("VS2-1T", "without-U")].calculation.protocol
    assert "hubbard_u_ev" not in with_u["Na"].calculation.protocol
    assert "without-U/Na" not in with_u
    assert with_u.entry().models[1].changes == ("hubbard_u_ev V d 3 → none",)


def test_a_hybrid_takes_energies_alone(tmp_path: Path) -> None:
    """ΔE and references; the DOS is PBE's, as the page says. GPAW refuses it in words."""
    hybrid = planned("u-and-hybrids.md", tmp_path)[1]
    functionals = {name: calculation.protocol.get("functional") for name, calculation in hybrid.names.items()}
    dear = {name for name, functional in functionals.items() if functional == "HSE06"}
    assert {"Na-final", "Na-bcc-final", "MoS2/final", "MoS2+VS/V_S@top/final"} <= dear
    assert all("final" in name for name in dear)
    assert {functionals[name] for name in ("Na", "MoS2", "MoS2+VS/V_S@top", "MoS2/dos")} == {"PBE"}
    with pytest.raises(InputError, match=r"functional 'HSE06': a hybrid has no eigenvalues at a fixed density"):
        plan(hybrid.campaign.source, "gpaw")


def test_a_hybrid_gap(tmp_path: Path) -> None:
    """The way that the page names for it is planned, with a DOS and without bands."""
    keys = "engine: vasp\nprotocol: {base: paper, functional: HSE06}\nsupercell: [1, 1]\nsites: []\nmodels: [MoS2]\n"
    path = tmp_path / "gap.yaml"
    path.write_text(f"campaign: gap\n{keys}", encoding="utf-8")
    assert plan(path)["MoS2/dos"].calculation.protocol["functional"] == "HSE06"
    path.write_text(f"campaign: gap\n{keys}quantities: [dos, bands]\n", encoding="utf-8")
    with pytest.raises(InputError, match="bands come from a fixed density, which hybrids"):
        plan(path)


def test_a_cluster_file_of_a_site(tmp_path: Path) -> None:
    (text,) = blocks("hpc-site.md", "base")
    path = tmp_path / "our-cluster.yaml"
    path.write_text(text, encoding="utf-8")
    cluster = load_cluster(path)
    assert (cluster.account, set(cluster.classes)) == ("chem-042", {"small", "large"})
    assert {"bulk", "relax_cell", "static"} <= set(cluster.kinds("large"))
    assert cluster.environment("large")["scratch"] == "$TMPDIR"
    assert cluster.environment("large")["vasp_std"] == "srun vasp_std"


def test_a_campaign_with_the_settings_of_old_runs(tmp_path: Path) -> None:
    (as_then,) = planned("old-vasp-runs.md", tmp_path)
    host = as_then["MoS2"].calculation.protocol
    assert (host["cutoff_ev"], host["max_force_ev_per_a"], host["paw"]["Mo"]) == (450.0, 0.03, "Mo_pv")
    assert host["incar"] == {"ISMEAR": 1, "SIGMA": 0.1}
