"""A chain of images of the stand-in, in one process: springs along the path, the dry engine's forces across it.

Tangents are those of the neighbours, and all images move by quick-min: nothing of it is sodiate's.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from . import Behaviour, outputs
from .reading import read_incar, read_poscar, refuse


class Chain:
    """Inputs of a chain in the present directory, and the files that are written below it."""

    def __init__(self, behaviour: Behaviour) -> None:
        from .main import _potential

        self.behaviour, self.tags = behaviour, read_incar(behaviour.vtst)
        count = int(self.tags["IMAGES"])
        self.folders = [Path(f"{number:02d}") for number in range(count + 2)]
        lacking = [folder for folder in self.folders if not (folder / "POSCAR").exists()]
        if lacking or Path(f"{count + 2:02d}").exists():
            refuse(f"IMAGES = {count}, and there is no {lacking[0] if lacking else count + 1}/POSCAR at the end")
        if int(self.tags.get("NSW", 0)) and self.tags.get("IBRION") not in (1, 3):
            refuse("a chain of images moves with IBRION = 1 or 3")
        self.images = [read_poscar(str(folder / "POSCAR")) for folder in self.folders]
        for atoms in self.images:
            atoms.pbc = (True, True, False)
            atoms.calc = _potential(atoms)
        self.energies, self.forces = np.zeros(count + 2), np.zeros((count + 2, len(self.images[0]), 3))
        self.velocity = np.zeros((count, len(self.images[0]), 3))

    def go(self) -> NoReturn:
        for folder in self.folders[1:-1]:
            (folder / "OSZICAR").write_text("")
            (folder / "OUTCAR").write_text(f" vasp.{outputs.VERSION} (a stand-in)\n running    1 mpi-ranks\n")
            (folder / "CONTCAR").write_text("")
        number, most = 0, int(self.tags.get("NSW", 0))
        while True:
            number += 1
            time.sleep(self.behaviour.seconds_per_step)
            chain = self.compute()
            still = most > 0 and np.linalg.norm(chain, axis=2).max() < -float(self.tags.get("EDIFFG", -1e-3))
            asked = any((folder / "STOPCAR").exists() for folder in (Path(), *self.folders))
            self.write(number, chain)
            if still or asked or number >= most:
                break
            self.move(chain)
        for folder in self.folders[1:-1]:
            reached = " reached required accuracy - stopping structural energy minimisation\n" if still else ""
            with (folder / "OUTCAR").open("a") as file:
                file.write(f"{reached}\n General timing and accounting informations for this job:\n")
        sys.exit(self.behaviour.code)

    def compute(self) -> Any:
        """Return the forces of the chain on the images between the ends."""
        for number, atoms in enumerate(self.images):
            if 0 < number < len(self.images) - 1 or not self.energies[number]:
                self.energies[number], self.forces[number] = atoms.get_potential_energy(), atoms.get_forces()
        places = np.array([atoms.positions for atoms in self.images])
        climbing = int(self.energies[1:-1].argmax()) + 1 if self.tags.get("LCLIMB") else -1
        chain = []
        for number in range(1, len(self.images) - 1):
            before, after = places[number] - places[number - 1], places[number + 1] - places[number]
            tangent = (before + after) / np.linalg.norm(before + after)
            along = float((self.forces[number] * tangent).sum())
            pull = -float(self.tags.get("SPRING", -5)) * (np.linalg.norm(after) - np.linalg.norm(before))
            across = self.forces[number] - along * tangent
            chain.append(across + (-along if number == climbing else pull) * tangent)
        return np.array(chain)

    def move(self, chain: Any) -> None:
        """Take a step of quick-min: along the force as long as that goes down."""
        power = float((self.velocity * chain).sum())
        self.velocity = chain * (power / (chain**2).sum() if power > 0 else 0.0) + 0.12 * chain
        step = 0.12 * self.velocity
        step *= min(1.0, 0.1 / np.linalg.norm(step, axis=2).max())
        for atoms, displacement in zip(self.images[1:-1], step, strict=True):
            atoms.positions += displacement

    def write(self, number: int, chain: Any) -> None:
        """Write a step of each image; then, if that is wanted, die in the middle of the second one's."""
        for n, (folder, atoms) in enumerate(zip(self.folders[1:-1], self.images[1:-1], strict=True), start=1):
            energy = self.energies[n]
            with (folder / "OSZICAR").open("a") as file:
                file.write(f"{number:4d} F= {energy:.8E} E0= {energy:.8E}  d E =0.0\n")
            with (folder / "OUTCAR").open("a") as file:
                file.write(outputs.outcar_step(atoms, chain[n - 1], energy, energy, None))
            outputs.write_poscar(str(folder / "CONTCAR"), atoms)
            if n == 2 and self.behaviour.die_after == number:
                whole = (folder / "CONTCAR").read_text()
                (folder / "CONTCAR").write_text(whole[: len(whole) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
