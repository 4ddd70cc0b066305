"""Settings that did not act are recorded as not applicable, and not as if they had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.database.documents import Documents
from sodiate.workflows.engines import engine_of, engines_here
from sodiate.workflows.engines.base import Settings
from sodiate.workflows.kinds import KINDS
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.runner.run_calculation import divided
from support.campaigns import Bench, small_campaign

GIVEN: dict[str, Any] = {
    "optimizer": "bfgs",
    "max_steps": 200,
    "max_step_a": 0.2,
    "start_stiffness_ev_per_a2": {"other": 20.0},
    "coarse": {"cutoff_ev": 200.0},
    "start_potential": "chgnet",
    "cell": "scan",
    "incar": {"NCORE": 4},
}

BFGS = {"optimizer", "max_steps", "max_step_a"}

ACTING = {
    ("emt", "relax"): BFGS,
    ("emt", "path"): BFGS,
    ("gpaw", "path"): BFGS | {"coarse"},
    ("gpaw", "relax"): BFGS | {"start_stiffness_ev_per_a2", "coarse"},
    ("gpaw", "relax_cell"): BFGS | {"start_stiffness_ev_per_a2"},
    **{("vasp", kind): {"incar"} for kind in KINDS if kind != "lowest"},
    ("vasp", "relax"): {"max_steps", "incar"},
    ("vasp", "path"): BFGS | {"incar"},
    ("vasp", "relax_cell"): {"max_steps", "cell", "incar"},
}
"""Of all engines and kinds; of those that are not here, nothing."""

PAIRS = [
    (engine.name, kind) for engine in engines_here() for kind in KINDS if kind in engine.capabilities | {"lowest"}
]


def _calculation(engine: str, kind: str, operation: str = "host") -> Calculation:
    return Calculation(kind, {"op": operation, "recipe": 1}, engine, {}, {}, "test")


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_each_setting_is_used_or_said_to_be_idle(name: str, kind: str) -> None:
    calculation = _calculation(name, kind)
    engine = engine_of(calculation, Settings(execution=GIVEN))
    used, idle = divided(GIVEN, engine.execution_keys(calculation))
    assert set(used) == ACTING.get((name, kind), set())
    assert set(idle) == set(GIVEN) - set(used)


def test_a_potential_places_an_adsorbate_and_no_host() -> None:
    calculation = _calculation("gpaw", "relax", "adsorbate")
    keys = engine_of(calculation, Settings()).execution_keys(calculation)
    assert keys == BFGS | {"start_stiffness_ev_per_a2", "coarse", "start_potential"}


def test_what_was_not_given_is_neither() -> None:
    assert divided({"coarse": None, "max_steps": 3}, frozenset({"max_steps"})) == ({"max_steps": 3}, ())


def test_a_potential_that_is_not_there_is_refused_when_planned(tmp_path: Path) -> None:
    path = small_campaign(tmp_path, execution={"start_potential": "mace"})
    with pytest.raises(InputError, match=r"execution.start_potential: 'mace' should be 'chgnet'"):
        plan(path, "gpaw")
    plan(path, "emt")  # which has no use for it


def test_what_is_said_to_another_code_is_not_applicable(tmp_path: Path) -> None:
    path = small_campaign(tmp_path, incar={"relax": {"NCORE": 4}})
    assert "incar" in plan(path, "emt").not_applicable
    assert "incar" not in plan(path, "vasp").not_applicable


def test_records_say_what_acted(bench: Bench, tmp_path: Path) -> None:
    planned = plan(
        small_campaign(tmp_path, execution={"coarse": {"cutoff_ev": 200.0}, "cell": "scan"}, quantities=[])
    )
    bench.submit(planned)
    bench.launch(planned)
    _check(bench.documents, planned.names["WSSe+VS"].id, {"optimizer", "max_steps", "max_step_a"}, {"coarse", "cell"})
    _check(bench.documents, planned.names["Na"].id, set(), {"optimizer", "max_steps", "max_step_a", "coarse", "cell"})
    _check(bench.documents, planned.names["WSSe+VS/lowest"].id, set(), {"optimizer", "coarse"})


def test_vasps_own_optimizer_is_not_recorded_as_bfgs(vasp: Path, bench: Bench, tmp_path: Path) -> None:
    tags = {"relax": {"NCORE": 4}}
    planned = plan(small_campaign(tmp_path, incar=tags, quantities=[], sites=["V_S@top"]), "vasp")
    bench.submit(planned)
    bench.launch(planned)
    _check(bench.documents, planned.names["WSSe+VS"].id, {"max_steps", "incar"}, {"optimizer", "max_step_a"})


def _check(documents: Documents, identifier: str, used: set[str], idle: set[str]) -> None:
    record = documents.record(identifier)
    assert record is not None
    assert set(record.provenance.execution) == used
    assert idle <= set(record.not_applicable)
    assert not used & set(record.not_applicable)
