"""What VASP is told of layers above each other: three-dimensional meshes, no dipole correction, dispersion."""

from __future__ import annotations

from pathlib import Path

import pytest
from pymatgen.io.vasp.inputs import Incar, Kpoints, Poscar
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.plan.preview import write_inputs


def test_a_crystal_and_two_layers_as_vasp_reads_them(tmp_path: Path) -> None:
    planned = plan("mos2-bilayer", "vasp")
    write_inputs(planned, tmp_path / "inputs")

    def folder(name: str) -> Path:
        return tmp_path / "inputs" / planned.names[name].directory_name

    for name in ("MoS2-bulk", "MoS2-bulk/Oct@gallery", "MoS2-bulk/interlayer-6.15"):
        incars = [Incar.from_file(path) for path in folder(name).glob("INCAR*")]
        assert len(incars) == 1  # a stage without dipole correction first would be one more
        assert not {"LDIPOL", "IDIPOL", "DIPOL"} & incars[0].keys()
        assert (incars[0]["IVDW"], incars[0]["ISIF"]) == (12, 2)  # D3 with Becke–Johnson damping
    # 19.5 Å: by 2 × 3.184 and 3.184 Å in the plane, and by 12.3 Å along c. A DOS holds K: of 7 to 9 points, 9.
    meshes = {
        name: tuple(Kpoints.from_file(folder(name) / "KPOINTS").kpts[0])
        for name in ("MoS2-bulk", "MoS2-bulk/interlayer-6.15", "MoS2-bilayer", "MoS2-bulk/dos")
    }
    assert meshes == {
        "MoS2-bulk": (4, 4, 2),
        "MoS2-bulk/interlayer-6.15": (7, 7, 2),
        "MoS2-bilayer": (4, 4, 1),
        "MoS2-bulk/dos": (9, 9, 5),
    }
    bilayer = Incar.from_file(folder("MoS2-bilayer/Oct@gallery") / "INCAR.stage-2")
    assert (bilayer["LDIPOL"], bilayer["IDIPOL"], bilayer["IVDW"]) == (True, 3, 12)
    lattice = Poscar.from_file(folder("MoS2-bulk") / "POSCAR").structure.lattice
    assert lattice.abc == pytest.approx((6.368, 6.368, 12.30))
    assert Poscar.from_file(folder("MoS2-bulk/interlayer-5.904") / "POSCAR").structure.lattice.c == pytest.approx(
        11.808
    )
