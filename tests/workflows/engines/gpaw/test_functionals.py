"""Functionals of the GPAW engine: what `plan` refuses, with what there is instead."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from sodiate.workflows.campaign.yaml import InputError
from sodiate.workflows.engines.gpaw.functionals import FUNCTIONALS, hubbard_refusal, refusal
from sodiate.workflows.plan.planner import plan
from support import DATA


def planned(folder: Path, **protocol: object) -> None:
    """Plan the tiny campaign with some protocol keys changed."""
    campaign = yaml.safe_load((DATA / "gpaw-tiny.yaml").read_text())
    campaign["protocol"] |= protocol
    path = folder / "campaign.yaml"
    path.write_text(yaml.safe_dump(campaign))
    plan(str(path))


@pytest.mark.parametrize(
    ("functional", "words"),
    [
        ("PBEE", "did you mean"),
        ("pbe", "did you mean"),
        ("PBEsol", "no data sets of this functional"),
        ("AM05", "no data sets of this functional"),
        ("SCAN", "does not converge"),
        ("HSE06", "hybrid"),
        ("BEEF-vdW", "not the slope"),
    ],
)
def test_plan_refuses_a_functional_and_says_what_there_is(functional: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"protocol\.functional '{functional}'.*{words}") as caught:
        planned(tmp_path, functional=functional)
    assert all(name in str(caught.value) for name in FUNCTIONALS)
    assert "GPAW_SETUP_PATH" not in str(caught.value)


@pytest.mark.parametrize("functional", FUNCTIONALS)
def test_plan_takes_what_runs(functional: str, tmp_path: Path) -> None:
    planned(tmp_path, functional=functional)


def test_plan_refuses_d3_without_parameters(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"protocol\.dispersion: dftd3 has no parameters for LDA"):
        planned(tmp_path, functional="LDA", dispersion="d3bj")


@pytest.mark.usefixtures("gpaw")
def test_data_sets_are_looked_for_by_functional() -> None:
    """Gadolinium has sets of PBE and LDA, and none of revPBE."""
    for functional, has in (("PBE", True), ("LDA", True), ("revPBE", False), ("vdW-DF", False)):
        reason = refusal(functional, ["Na", "Gd"])
        assert (reason is None) is has, reason
        if reason is not None:
            assert "no revPBE data set for Gd;" in reason


def test_a_hubbard_correction_needs_one_bound_state_of_its_shell(tmp_path: Path) -> None:
    pytest.importorskip("gpaw_data")
    planned(tmp_path, hubbard_u_ev={"W": {"d": 3.0}})
    assert hubbard_refusal({"Ce": {"f": 4.0}, "Mo": {"d": 3.0}, "S": {"p": 1.0}}, "PBE") is None
    for shell, count in (("d", 0), ("f", 0)):
        with pytest.raises(InputError, match=rf"protocol.hubbard_u_ev: .*has {count} of {shell}; it has one of s, p"):
            planned(tmp_path, hubbard_u_ev={"Se": {shell: 3.0}})
    with pytest.raises(InputError, match="data set of W has 2 of p; it has one of d"):  # 5p and 6p
        planned(tmp_path, hubbard_u_ev={"W": {"p": 3.0}})
