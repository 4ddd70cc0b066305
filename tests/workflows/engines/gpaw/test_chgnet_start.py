"""The start that CHGNet finds: the adsorbate alone moves, it is found once, and the code starts from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import iread
from sodiate.workflows.calculation import Calculation
from sodiate.workflows.engines import make_engine
from sodiate.workflows.engines.base import EngineError, Settings
from sodiate.workflows.engines.gpaw import chgnet_start
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.results.results import Results
from sodiate.workflows.start_structures import start_atoms
from support import DOCS
from support.engine_cases import EXECUTION, GPAW

ARCHIVE = DOCS / "reproduction"
IMPORTED_ONCE = pytest.mark.together("chgnet")
"""PyTorch takes longer to be imported than CHGNet to find a start."""


def start() -> Atoms:
    return plan("validation")["WSe2/T_W@top"].atoms()


def prepare(directory: Path, atoms: Atoms, operation: str = "adsorbate") -> None:
    engine = make_engine("gpaw", Settings(execution=EXECUTION | {"start_potential": "chgnet"}))
    plain = GPAW.calculation("relax")
    calculation = Calculation("relax", {"op": operation}, "gpaw", plain.protocol, {}, "test/site")
    engine.prepare(calculation, atoms, directory, {})


@IMPORTED_ONCE
@pytest.mark.usefixtures("chgnet")
def test_the_adsorbate_alone_goes_nearer_to_where_pbe_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the host that PBE relaxed, against the end that PBE found, both recorded in docs/reproduction."""
    site = plan("wsse-gpaw")["WSe2/T_W@top"].calculation
    with Results.open(ARCHIVE) as results:
        host, end = (results.get(name, campaign="wsse-gpaw").atoms for name in ("WSe2", "WSe2/T_W@top"))
    atoms = start_atoms(site, {"host": host})
    assert atoms is not None
    prepare(tmp_path, atoms)
    assert capsys.readouterr().out == ""
    (moved,) = iread(tmp_path / "start.extxyz")
    assert moved.positions[:-1] == pytest.approx(atoms.positions[:-1], abs=1e-9)
    before, after = (float(np.linalg.norm(one.positions[-1] - end.positions[-1])) for one in (atoms, moved))
    assert after < before / 2
    note = json.loads((tmp_path / "input.json").read_text())["execution"]["start_potential"]
    assert note.startswith("started with Na 0.1")


@IMPORTED_ONCE
@pytest.mark.usefixtures("chgnet")
def test_it_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = start()
    prepare(tmp_path, atoms)
    first = (tmp_path / "start.extxyz").read_bytes()
    monkeypatch.setattr(chgnet_start, "find_spec", lambda _: None)
    prepare(tmp_path, atoms)
    assert (tmp_path / "start.extxyz").read_bytes() == first
    atoms.positions[-1, 2] += 0.1
    with pytest.raises(EngineError, match=r"chgnet, which is not installed here: pip install .*mlip"):
        prepare(tmp_path, atoms)


def test_a_clean_host_starts_where_it_was_declared(tmp_path: Path) -> None:
    atoms = plan("wsse-gpaw")["WSSe+VS"].atoms()
    prepare(tmp_path, atoms, "host")
    (started,) = iread(tmp_path / "start.extxyz")
    assert started.positions == pytest.approx(atoms.positions, abs=1e-12)
    assert not (tmp_path / chgnet_start.GUESS).exists()


def test_without_chgnet_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chgnet_start, "find_spec", lambda _: None)
    with pytest.raises(EngineError, match=f"{tmp_path}.*leave the key out"):
        prepare(tmp_path, start())
    assert not (tmp_path / "input.json").exists()
