"""One run of the stand-in, in the present directory."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from . import Behaviour, outputs
from .reading import check, is_noncollinear, read_incar, read_mesh, read_path, read_poscar, read_potcar, refuse

ENTROPY_EV = -0.002
"""Free energy less energy at zero width: the same for all positions, so that forces belong to both."""

OFFSET_EV = -10.0
"""Per atom, so that a total energy is negative as VASP's are; it drops out of every difference."""

ABOVE_EV = (6.0, 2.0, 1e-2, 1e-4)
"""How far the energies of the first SCF iterations lie above the last one's."""


def main(name: str, folder: str) -> None:
    behaviour = _behaviour(Path(folder))
    print(f" running on 1 total cores\n {outputs.VERSION} (stand-in {name})", flush=True)
    if behaviour.nothing:
        return
    if behaviour.hang:
        time.sleep(3600)
    if behaviour.say:
        print(behaviour.say, flush=True)
        sys.exit(1)
    if read_incar(behaviour.vtst).get("IMAGES"):
        from .chain import Chain

        Chain(behaviour).go()
    Run(name, behaviour).go()


def _behaviour(folder: Path) -> Behaviour:
    """Read what is to go wrong; count the runs, so that it goes wrong only so often."""
    wanted = Behaviour(**json.loads((folder / "fake-vasp.json").read_text()))
    with (folder / "runs").open("a") as runs:
        runs.write(f"{os.getpid()} {Path.cwd().name}\n")
    count = sum(wanted.where in line for line in (folder / "runs").read_text().splitlines())
    meant = wanted.where in Path.cwd().name and (wanted.times is None or count <= wanted.times)
    meant = meant and wanted.incar in Path("INCAR").read_text()
    return wanted if meant else Behaviour()


class Run:
    """Inputs, and the files that are written."""

    def __init__(self, name: str, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.tags, self.atoms, self.sets = read_incar(), read_poscar(), read_potcar()
        path = read_path()
        self.mesh = read_mesh() if path is None else None
        check(self.tags, self.atoms, self.sets, self.mesh, name)
        valence = {one.element: one.valence for one in self.sets}
        self.valence = [valence[symbol] for symbol in self.atoms.get_chemical_symbols()]
        from sodiate.workflows.engines.emt.tight_binding import mesh_points

        if self.mesh is not None:
            self.kpoints = mesh_points(self.mesh)
        else:
            assert path is not None
            self.kpoints = path, np.full(len(path), 1 / len(path))
        self.state = self.electronic_state()
        self.reference = self.atoms.copy()
        self.potential = _potential(self.atoms)
        self.descent = Descent(3 * len(self.atoms))

    def go(self) -> None:
        self.xml = outputs.VaspRunXml(self.atoms, self.tags, self.sets, self.mesh, self.kpoints)
        self.oszicar, self.outcar = (Path(one).open("w") for one in ("OSZICAR", "OUTCAR"))  # noqa: SIM115
        self.outcar.write(
            f" vasp.{outputs.VERSION} (a stand-in for tests)\n running    1 mpi-ranks, on    1 nodes\n"
            f"   number of dos      NEDOS =    301   number of ions     NIONS = {len(self.atoms):6d}\n"
            "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1\n"
            "   number of bands    NBANDS=      8\n"
            f" total plane-waves  NPLWV =   1000\n   IBRION = {self.tags.get('IBRION', -1):6d}    ionic relax\n"
            f"   ISPIN  = {self.tags.get('ISPIN', 1):6d}    spin polarized calculation?\n"
            f"   NELECT = {sum(self.valence):12.4f}\n   NELM = {self.nelm:6d}\n"
        )
        Path("CONTCAR").write_text("")  # as VASP leaves it until the first step is done
        steps = int(self.tags.get("NSW", 0))
        number = 1
        while True:
            energy, forces, stress = self.compute()
            above = self.iterate(energy + ENTROPY_EV)
            done = number >= max(steps, 1) or self.is_still(forces, stress) or Path("STOPCAR").exists()
            self.write(number, energy, forces, stress, above, done)
            if done:
                break
            self.move(forces)
            outputs.write_poscar("CONTCAR", self.atoms)  # where the next step will be
            number += 1
        self.finish()

    def electronic_state(self) -> tuple[float, float] | None:
        """Moment and energy of the state that this run is in: that of WAVECAR, else the one nearest to MAGMOM."""
        kept = outputs.state_in_wavecar() if int(self.tags.get("ISTART", 1)) else None
        if kept is not None or not self.behaviour.states:
            return kept
        wanted = float(np.sum(self.tags.get("MAGMOM", len(self.atoms))))
        moment, energy = min(self.behaviour.states, key=lambda state: abs(state[0] - wanted))
        return moment, energy

    @property
    def nelm(self) -> int:
        return int(self.tags.get("NELM", 60))

    def compute(self) -> tuple[float, Any, Any]:
        """Return energy at zero width (eV), forces (eV/Å) and stress (kB)."""
        atoms = self.atoms.copy()
        atoms.set_cell(self.reference.cell, scale_atoms=True)  # the sheet's own springs are far too short for EMT
        atoms.pbc = _periodic(atoms)
        atoms.calc = self.potential
        energy, forces = atoms.get_potential_energy() + OFFSET_EV * len(atoms), atoms.get_forces()
        strain = self.atoms.cell[0, 0] / self.target - 1.0
        stiffness = 40.0
        energy += 0.5 * stiffness * strain**2
        from ase.units import GPa

        energy += 0.0 if self.state is None else self.state[1]
        along = 0.5 * stiffness * strain / self.atoms.get_volume() / GPa * -10.0
        return energy, forces, np.diag([along, along, 0.0])

    @property
    def target(self) -> float:
        """The length of the first cell vector that a relaxation of the cell finds."""
        return float(self.reference.cell[0, 0]) * (1.002 if self.tags.get("ISIF", 2) == 3 else 1.0)

    def is_still(self, forces: Any, stress: Any) -> bool:
        limit = -float(self.tags.get("EDIFFG", -1e-3))
        still = np.linalg.norm(forces, axis=1).max() < limit
        return bool(still and (self.tags.get("ISIF", 2) != 3 or abs(stress).max() < 0.01))

    def move(self, forces: Any) -> None:
        if self.tags.get("IBRION") not in (1, 2):
            refuse("this stand-in moves ions with IBRION = 1 or 2")
        self.atoms.positions += self.descent.step(self.atoms.get_positions(), forces)
        if self.tags.get("ISIF", 2) == 3:
            if self.tags.get("LATTICE_CONSTRAINTS") != [True, True, False]:
                refuse("ISIF = 3 without LATTICE_CONSTRAINTS would collapse the vacuum")
            cell = self.atoms.cell.array.copy()
            cell[:2] *= self.target / cell[0, 0]
            cell[2, 2] = self.reference.cell[2, 2] * (0.99 if self.behaviour.move_c else 1.0)
            self.atoms.set_cell(cell, scale_atoms=True)

    def iterate(self, free: float) -> list[float]:
        """Run the SCF cycle; return how far its energies are above the last one's, as far as it came.

        LABORT in STOPCAR ends it after the present iteration, and then the run, with all files whole.
        """
        self.say("       N       E                     dE             d eps       ncg     rms          rms(c)\n")
        electrons = self.behaviour.electrons
        planned = (*ABOVE_EV, 0.4 * float(self.tags.get("EDIFF", 1e-4)), 0.0) if electrons else (0.3, 0.0) * self.nelm
        above: list[float] = []
        for number, one in enumerate(planned[: self.nelm], start=1):
            self.wait(self.behaviour.seconds_per_step / (len(ABOVE_EV) + 2) if electrons else 0.0)
            above.append(one)
            self.say(f"DAV:{number:4d}    {free + one:.12E}   -0.1E-05   -0.1E-06   100   0.1E-03\n")
            if self.told("LABORT"):
                break
        return above

    def told(self, tag: str) -> bool:
        """Tell whether STOPCAR asks for something that this VASP knows."""
        try:
            text = Path("STOPCAR").read_text()
        except FileNotFoundError:
            return False
        return tag in text and (tag != "LABORT" or self.behaviour.labort)

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.told("LABORT"):
            if self.told("LSTOP") and not self.behaviour.leisurely:
                break
            time.sleep(0.02)

    def say(self, text: str) -> None:
        """Write to OSZICAR and, as VASP does, to standard output."""
        self.oszicar.write(text)
        self.oszicar.flush()
        print(text, end="", flush=True)

    def write(self, number: int, energy: float, forces: Any, stress: Any, above: list[float], last: bool) -> None:
        """Write a step into all files; then, if that is wanted, die."""
        energy += above[-1]
        free, moments = energy + ENTROPY_EV, self.moments()
        sums = np.atleast_1d(0.0 if moments is None else moments.sum(axis=0))
        if self.state is not None:
            sums = np.array([self.state[0]])
        mag = "" if moments is None else f"  mag= {' '.join(f'{part:10.4f}' for part in sums)}"
        self.say(f"{number:4d} F= {free:.8E} E0= {energy:.8E}  d E ={0.0:.6E}{mag}\n")
        if self.behaviour.truncate_after == number:
            self.xml.put('<calculation>\n<scstep>\n<energy>\n<i name="e_fr_')
            os.kill(os.getpid(), signal.SIGKILL)
        iterations = [one - above[-1] for one in above]
        self.xml.step(self.atoms, free, energy, forces, stress, iterations, self.electrons() if last else "")
        self.outcar.write(outputs.outcar_step(self.atoms, forces, free, energy, moments))
        self.outcar.flush()
        outputs.write_poscar("CONTCAR", self.atoms)
        if self.behaviour.die_after == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def moments(self) -> np.ndarray | None:
        """Moments of the ions: NUPDOWN, or that of an odd electron, on the last ion and along its MAGMOM."""
        noncollinear = is_noncollinear(self.tags)
        if self.tags.get("ISPIN", 1) != 2 and not noncollinear:
            return None
        if self.state is not None:  # a part of it, as in the spheres of a real one
            return np.array([*[0.0] * (len(self.atoms) - 1), 0.5 * self.state[0]])
        given = float(self.tags.get("NUPDOWN", -1))
        total = given if given >= 0 else sum(self.valence) % 2
        moments = np.zeros((len(self.atoms), 3) if noncollinear else len(self.atoms))
        moments[-1] = total * self.direction() if noncollinear else total
        return moments

    def direction(self) -> np.ndarray:
        """Where the moment of the last ion begins to point; nowhere if it begins without."""
        start = np.array(self.tags.get("MAGMOM", [1.0] * 3 * len(self.atoms)), float)[-3:]
        return start / (np.linalg.norm(start) or 1.0)

    def electrons(self) -> str:
        """Eigenvalues and projections of the dry engine's model, for small cells and where a DOS asks for them."""
        if self.tags.get("ICHARG") != 11 and len(self.atoms) > 4 and self.tags.get("NEDOS", 301) == 301:
            return '<dos>\n<i name="efermi"> 0.0 </i>\n</dos>\n'
        from sodiate.workflows.engines.emt.parameters import load_parameters
        from sodiate.workflows.engines.emt.tight_binding import Hamiltonian, fill

        points, weights = self.kpoints
        atoms = self.atoms.copy()
        atoms.pbc = _periodic(atoms)
        model = Hamiltonian(atoms, load_parameters())
        solved = [np.linalg.eigh(model.at(point)) for point in points]
        energies = np.array([values for values, _ in solved])
        occupations, fermi = fill(energies, weights, model.electrons)
        squares = np.array([np.abs(vectors.T) ** 2 for _, vectors in solved])  # k points, bands, orbitals
        parts = np.zeros((*energies.shape, len(atoms), 9))
        for ion, shell in enumerate(model.shell):
            first = model.first_orbital[ion]
            parts[:, :, ion, shell**2 : (shell + 1) ** 2] = squares[:, :, first : first + 2 * shell + 1]
        spins = self.spins
        return outputs.electrons_xml([energies] * spins, [occupations / 2] * spins, [parts] * spins, fermi)

    @property
    def spins(self) -> int:
        """How many spin channels it has: VASP counts one where moments have directions."""
        return 1 if is_noncollinear(self.tags) else int(self.tags.get("ISPIN", 1))

    def finish(self) -> None:
        self.xml.end(self.atoms)
        self.outcar.write(
            "\n General timing and accounting informations for this job:\n  Voluntary context switches: 1\n"
        )
        self.outcar.close()
        self.oszicar.close()
        Path("STOPCAR").unlink(missing_ok=True)
        if self.tags.get("LWAVE", True):
            outputs.write_wavecar(len(self.kpoints[0]), self.spins, self.state)
        if self.tags.get("LCHARG", True):
            grid = [int(self.tags.get(tag, default)) for tag, default in (("NGXF", 12), ("NGYF", 12), ("NGZF", 40))]
            outputs.write_chgcar(self.atoms, grid, self.valence, self.moments())
        if self.tags.get("LVHAR", False):
            outputs.write_locpot(self.atoms, (4, 4, 200), 0.7 if self.tags.get("LDIPOL") else 0.0)
        if self.behaviour.stars:
            outputs.put_stars(self.behaviour.stars)
        sys.exit(self.behaviour.code)


class Descent:
    """BFGS as in ASE, whose optimizers take longer to be imported than a run takes.

    Parameters
    ----------
    degrees
        Of freedom.
    """

    def __init__(self, degrees: int) -> None:
        self.hessian = 70.0 * np.eye(degrees)
        self.last: tuple[np.ndarray, np.ndarray] | None = None

    def step(self, positions: np.ndarray, forces: np.ndarray) -> np.ndarray:
        """Return the displacements of the next step, none longer than 0.2 Å."""
        here = positions.ravel(), forces.ravel()
        if self.last is not None:
            moved, change = (now - before for now, before in zip(here, self.last, strict=True))
            expected = self.hessian @ moved
            self.hessian -= np.outer(change, change) / (moved @ change)
            self.hessian -= np.outer(expected, expected) / (moved @ expected)
        self.last = here
        curvatures, modes = np.linalg.eigh(self.hessian)
        step = (modes @ (modes.T @ here[1] / np.abs(curvatures))).reshape(-1, 3)
        return step * min(1.0, 0.2 / np.linalg.norm(step, axis=1).max())


def _periodic(atoms: Any) -> tuple[bool, bool, bool]:
    """As sodiate has them: a lone atom and bulk in all directions, a sheet with vacuum in its plane."""
    lengths = atoms.cell.lengths()
    slab = len(set(atoms.get_chemical_symbols())) > 1 or (len(atoms) == 1 and lengths[2] > 2 * lengths[0])
    return (True, True, not slab)


def _potential(atoms: Any) -> Any:
    from sodiate.workflows.engines.emt.parameters import load_parameters
    from sodiate.workflows.engines.emt.potential import potential

    return potential(atoms.get_chemical_symbols(), load_parameters())
