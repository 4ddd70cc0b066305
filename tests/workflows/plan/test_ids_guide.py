"""docs/ids.md: of each change in its table, what has another id and what is added."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from sodiate.workflows.plan.planner import plan
from support import DOCS

PAGE = (DOCS / "ids.md").read_text(encoding="utf-8")
(CAMPAIGN,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
ROWS: list[str] = re.findall(r"^\| (`.*?) \| ", PAGE, re.M)
HOSTS = ("WSe2", "WSSe+VS")


def of_hosts(*parts: str, hosts: tuple[str, ...] = HOSTS) -> set[str]:
    """Names of the same parts of each host; an empty part is the host itself."""
    return {f"{host}/{part}" if part else host for host in hosts for part in parts}


SITES = ("T_W@top", "lowest")
ALL = of_hosts("", *SITES, "dos") | {"Na", "Na-bcc"}

EXPECTED: dict[str, tuple[set[str], set[str]]] = {
    "title: another": (set(), set()),
    "campaign: another": (set(), set()),
    "execution: {max_steps: 500}": (set(), set()),
    "vacuum_a: 15": (set(), set()),
    "sites: [T_W@top, H@top]": (of_hosts("lowest"), of_hosts("H@top")),
    "quantities: [dos, bulk_reference, bands]": (set(), {"WSe2/bands", "WSSe/bands", "WSe2/1x1", "WSSe/1x1"}),
    "bulk_references: {Na: {lattice: bcc, a: 4.2}}": ({"Na-bcc"}, set()),
    "protocol: {base: paper, dos: {dos_broadening_ev: 0.1}}": (of_hosts("dos"), set()),
    "protocol: {base: paper, final_energy: {cutoff_ev: 700}}": (
        of_hosts("lowest"),
        of_hosts("final", "T_W@top/final") | {"Na-final", "Na-bcc-final"},
    ),
    "protocol: {base: paper, cutoff_ev: 600}": (ALL, set()),
    "protocol: {base: paper, paw: {W: W_pv}}": (set(), set()),
    "supercell: [4, 4]": (ALL - {"Na", "Na-bcc"}, set()),
    "adsorbate: {start_heights_a: {T_M: 2.2}}": (of_hosts(*SITES), set()),
    "adsorbate: {start_heights_a: {T_X: 2.9}}": (ALL - {"Na", "Na-bcc"}, set()),
    "symmetry_breaking_a: 0.02": (of_hosts("", *SITES, "dos", hosts=("WSSe+VS",)), set()),
    "engine: vasp": (ALL, set()),
}
"""Names of the calculations with another id, and of those that are added."""


def ids(folder: Path, *changes: str, engine: str | None = None) -> dict[str, str]:
    values = yaml.safe_load(CAMPAIGN)
    for change in changes:
        values |= yaml.safe_load(change)
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return {name: calculation.id for name, calculation in plan(path, engine).names.items()}


def test_each_row_is_here() -> None:
    assert [change for row in ROWS for change in re.findall(r"`([^`]+)`", row)] == list(EXPECTED)


@pytest.mark.parametrize("change", EXPECTED)
def test_what_a_change_computes(change: str, tmp_path: Path) -> None:
    before, after = ids(tmp_path), ids(tmp_path, change)
    changed, added = EXPECTED[change]
    assert before.keys() == ALL
    assert {name for name in before if after[name] != before[name]} == changed
    assert after.keys() - before.keys() == added


def test_data_sets_count_where_a_code_has_them(tmp_path: Path) -> None:
    """All that has tungsten, which is all but the atom and the metal."""
    before = ids(tmp_path, engine="vasp")
    after = ids(tmp_path, "protocol: {base: paper, paw: {W: W_pv}}", engine="vasp")
    assert {name for name in before if after[name] != before[name]} == ALL - {"Na", "Na-bcc"}
