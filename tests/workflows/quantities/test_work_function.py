"""Work functions of both faces, from records of the reproduction and by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sodiate.analysis.campaign_entry import QuantityEntry
from sodiate.analysis.model_result import HostRecords
from sodiate.workflows.plan import plan
from sodiate.workflows.quantities.work_function import WorkFunction, WorkFunctionResult
from sodiate.workflows.results.results import Results
from support import DOCS
from support.campaigns import small_campaign


@pytest.fixture(scope="module")
def hosts() -> dict[str, HostRecords]:
    """The hosts of the reproduction, as if the campaign had asked for their work functions."""
    with Results.open(DOCS / "reproduction") as results:
        evaluated = {result.model: result.host for result in results.models("wsse-gpaw-best")}
    asked = {}
    for name, host in evaluated.items():
        entry = QuantityEntry(calculations={"dos": host.identifier("dos", "dos") or ""})
        quantities = {**host.model.quantities, WorkFunction.name: entry}
        asked[name] = replace(host, model=host.model.model_copy(update={"quantities": quantities}))
    return asked


def of(host: HostRecords) -> WorkFunctionResult:
    return WorkFunction().evaluate(host, {})


def test_faces_of_a_mirror_and_of_a_janus_sheet(hosts: dict[str, HostRecords]) -> None:
    """WSe2 has one; WSSe's differ by the step of its vacuum levels, 0.73 eV [C2DB], the sulphur face the higher."""
    mirror, janus = of(hosts["WSe2"]), of(hosts["WSSe"])
    assert mirror.work_function_bottom_ev == pytest.approx(mirror.work_function_top_ev, abs=1e-3)
    assert janus.work_function_step_ev == pytest.approx(-0.73, abs=0.02)


def test_by_hand_for_every_host(hosts: dict[str, HostRecords]) -> None:
    for host in hosts.values():
        record = host.record("dos", "dos")
        assert record is not None
        assert record.vacuum_ev is not None
        assert record.gap is not None
        assert record.gap.vbm_ev is not None
        result = of(host)
        assert result.work_function_bottom_ev == record.vacuum_ev[0] - record.gap.vbm_ev
        assert result.work_function_top_ev == record.vacuum_ev[1] - record.gap.vbm_ev
        assert result.reasons == ()


def test_a_metal_is_held_against_its_fermi_level(hosts: dict[str, HostRecords]) -> None:
    host = hosts["WSe2"]
    record = host.record("dos", "dos")
    assert record is not None
    assert record.gap is not None
    gap = record.gap.model_copy(update={"nature": "metal", "gap_ev": 0.0, "vbm_ev": None, "fermi_ev": -0.5})
    metal = record.model_copy(update={"gap": gap, "vacuum_ev": (4.0, 4.25)})
    result = of(replace(host, records={**host.records, record.calculation: metal}))
    assert (result.work_function_bottom_ev, result.work_function_top_ev) == (4.5, 4.75)


def test_what_is_missing_is_said(hosts: dict[str, HostRecords]) -> None:
    host = hosts["WSe2"]
    record = host.record("dos", "dos")
    assert record is not None
    none = of(replace(host, records={}))
    assert (none.work_function_top_ev, none.reasons) == (None, ("work function: not yet run",))
    flat = record.model_copy(update={"vacuum_ev": None})
    result = of(replace(host, records={record.calculation: flat}))
    assert result.reasons == ("work function: the engine gpaw recorded no vacuum levels",)
    # A dry run has no potential and a crystal no vacuum: nothing lacks.
    assert flat.geometry is not None
    crystal = flat.geometry.model_copy(update={"pbc": (True, True, True)})
    for change in ({"physical": False}, {"geometry": crystal}):
        result = of(replace(host, records={record.calculation: flat.model_copy(update=change)}))
        assert (result.work_function_bottom_ev, result.reasons) == (None, ())


def test_it_costs_nothing_beside_the_dos(tmp_path: Path) -> None:
    """The very calculation that `dos` has, by id and name; alone it asks for it."""
    names = {
        words: plan(small_campaign(tmp_path, quantities=words.split())).names
        for words in ("dos", "dos work_function", "work_function")
    }
    assert {name: c.id for name, c in names["dos"].items()} == {
        name: c.id for name, c in names["dos work_function"].items()
    }
    assert names["work_function"]["WSSe+VS/dos"].id == names["dos"]["WSSe+VS/dos"].id
