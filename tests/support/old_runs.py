"""Folders as a group has them from years ago: finished runs of VASP, of any material, written without a code."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from support.fake_vasp import outputs
from support.fake_vasp.reading import DataSet

TITLES = {
    "Mo": ("PAW_PBE Mo_sv 02Feb2006", 14.0),
    "S": ("PAW_PBE S 06Sep2000", 6.0),
    "C": ("PAW_PBE C 08Apr2002", 4.0),
    "Na": ("PAW_PBE Na_pv 19Sep2006", 7.0),
    "Li": ("PAW_PBE Li_sv 10Sep2004", 3.0),
    "V": ("PAW_PBE V_sv 02Aug2007", 13.0),
    "O": ("PAW_PBE O 08Apr2002", 6.0),
}

TAGS: dict[str, Any] = {
    "PREC": "Normal",
    "ENCUT": 450.0,
    "EDIFF": 1e-5,
    "ISMEAR": 1,
    "SIGMA": 0.1,
    "ISPIN": 2,
    "GGA": "PE",
    "IBRION": 2,
    "NSW": 99,
    "EDIFFG": -0.03,
    "LREAL": False,
}
"""Not those of a campaign of ours: PREC, smearing, cutoff, no LASPH."""

STATIC = {"IBRION": -1, "NSW": 0}


@dataclass(frozen=True)
class OldRun:
    """A finished run.

    Attributes
    ----------
    start, end
        Geometries; the same if it has no end of its own.
    energy_ev
        At zero width.
    tags
        Beside `TAGS`; None takes one away.
    mesh
        K points.
    force_ev_per_a
        On the first atom.
    moment_mub
        Of the cell.
    bands
        Eigenvalues (k points, bands), eV, half of them filled, for a DOS.
    """

    start: Atoms
    energy_ev: float
    tags: dict[str, Any] = field(default_factory=dict)
    end: Atoms | None = None
    mesh: Sequence[int] = (3, 3, 1)
    force_ev_per_a: float = 0.01
    moment_mub: float = 0.0
    bands: Any = None

    def write(self, folder: Path) -> Path:
        """Write the folder; returns it."""
        folder.mkdir(parents=True, exist_ok=True)
        tags = {tag: value for tag, value in (TAGS | self.tags).items() if value is not None}
        end = self.start if self.end is None else self.end
        with chdir(folder):
            sets = [
                DataSet(*(TITLES[symbol][0], symbol, TITLES[symbol][1], 300.0))
                for symbol in dict.fromkeys(self.start.get_chemical_symbols())
            ]
            xml = outputs.VaspRunXml(self.start, tags, sets, self.mesh, _points(self.mesh))
            steps = [self.start, end] if self.end is not None else [self.start]
            for number, atoms in enumerate(steps, start=1):
                forces = np.zeros((len(atoms), 3))
                forces[0, 0] = self.force_ev_per_a if number == len(steps) else 0.5
                energy = self.energy_ev + 0.3 * (len(steps) - number)
                rest = self._electrons() if number == len(steps) else ""
                xml.step(atoms, energy - 2e-3, energy, forces, np.zeros((3, 3)), (1.0, 1e-2, 1e-6, 0.0), rest)
            xml.end(end)
            self._others(tags, end, forces)
        return folder

    def _electrons(self) -> str:
        if self.bands is None:
            return '<dos>\n<i name="efermi"> 0.0 </i>\n</dos>\n'
        energies = np.array(self.bands)
        filled = np.where(np.arange(energies.shape[1]) < energies.shape[1] // 2, 1.0, 0.0)
        occupations = np.broadcast_to(filled, energies.shape)
        weights = np.full((*energies.shape, len(self.start), 9), 0.1)
        fermi = float(energies[:, : energies.shape[1] // 2].max()) + 0.1
        return outputs.electrons_xml([energies] * 2, [occupations] * 2, [weights] * 2, fermi)

    def _others(self, tags: dict[str, Any], end: Atoms, forces: Any) -> None:
        moments = [*[0.0] * (len(end) - 1), self.moment_mub] if tags.get("ISPIN") == 2 else None
        free = self.energy_ev - 2e-3
        Path("OUTCAR").write_text(
            f" vasp.{outputs.VERSION} (a stand-in for tests)\n running    1 mpi-ranks, on    1 nodes\n"
            f"   number of dos      NEDOS =    301   number of ions     NIONS = {len(end):6d}\n"
            "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1\n"
            "   number of bands    NBANDS=      8\n total plane-waves  NPLWV =   1000\n"
            f"   IBRION = {tags.get('IBRION', -1):6d}    ionic relax\n"
            f"   ISPIN  = {tags.get('ISPIN', 1):6d}    spin polarized calculation?\n"
            "   NELECT =      10.0000\n   NELM =     60\n"
            + outputs.outcar_step(end, forces, free, self.energy_ev, moments)
            + "\n General timing and accounting informations for this job:\n  Voluntary context switches: 1\n"
        )
        Path("OSZICAR").write_text(f"   1 F= {free:.8E} E0= {self.energy_ev:.8E}  d E =0.0\n")
        outputs.write_poscar("POSCAR", self.start)
        outputs.write_poscar("CONTCAR", end)


def _points(mesh: Sequence[int]) -> Any:
    from sodiate.workflows.engines.emt.tight_binding import mesh_points

    return mesh_points((mesh[0], mesh[1], mesh[2]))
