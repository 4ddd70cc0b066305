"""Campaigns and cluster files of the how-to pages: each is planned, or read, as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
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
