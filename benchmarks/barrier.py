"""Force calls of a barrier: sodiate's search against a plain ASE script, from the same two relaxed ends.

The plain script is what one would write: five images by the image-dependent pair potential, ``NEB(climb=True,
method="improvedtangent")``, BFGS on the whole band, to the same force. With the dry engine:

    python benchmarks/barrier.py

It prints, for each path, both barriers and both numbers of calls. The target is half of the calls, and the same
saddle within 5 meV. The dry potential is rough: several saddles lie on the way of some paths, and two searches may
end at two of them; the constrained scan beside tells which one is on the way.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.constraints import FixedLine, FixedPlane
from ase.mep import NEB
from ase.optimize import BFGS
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.paths import Paths
from sodiate.structures.sites import find_sites, place
from sodiate.workflows.engines.base import Limits
from sodiate.workflows.engines.emt.parameters import load_parameters
from sodiate.workflows.engines.emt.potential import potential
from sodiate.workflows.engines.shared.path_search import Search, Tape, search
from sodiate.workflows.engines.shared.path_task import TAPE, PathTask
from sodiate.workflows.engines.shared.relax import Clock
from sodiate.workflows.engines.shared.trajectory import Checkpoint, Step
from sodiate.workflows.stop import Stop

MAX_FORCE = 0.02
HOSTS = {
    "WSe2": (Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546), (2, 2)),
    "WSSe": (Monolayer("W", "S", "Se", 3.252, 2.416, 2.538), (3, 3)),
}
HEIGHTS = {"T_X": 2.7}


def with_potential(atoms: Atoms) -> Atoms:
    atoms.calc = potential(atoms.get_chemical_symbols(), load_parameters())
    return atoms


def tasks(name: str) -> dict[str, PathTask]:
    """The paths of a host, between its relaxed sites."""
    layer, repeat = HOSTS[name]
    host = box(build_monolayer(layer, repeat), vacuum=15.0, headroom=2.7)
    paths = Paths(host, (), find_sites(host, ()))
    relaxed = {}
    for site in paths.sites:
        atoms = with_potential(place(host, site, "Na", HEIGHTS.get(site.kind, 2.1)))
        BFGS(atoms, logfile=None).run(fmax=MAX_FORCE, steps=400)
        relaxed[site.name] = atoms
    found = {}
    for hop in paths.found.values():
        start, end = relaxed[hop.start], relaxed[hop.end]
        ends = paths.ends(hop, start, end)
        energies = (start.get_potential_energy(), end.get_potential_energy())
        forces = np.array([start.get_forces(), ends.turn.vectors(end.get_forces())])
        found[hop.name] = PathTask(ends.start, ends.end, energies, forces, ends.mirror, 3)
    return found


def ours(task: PathTask) -> tuple[float, int]:
    """Height of the saddle above the start (eV), and force calls."""
    calculator = with_potential(task.start.copy())

    def compute(atoms: Atoms, image: str, number: int) -> Step:
        del image
        calculator.positions = atoms.positions
        return Step.of(calculator, number, Path(folder))

    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(Path(folder), Limits(), Stop())
        found = search(
            task, Search(MAX_FORCE, 100, 0.2), Tape(task, Checkpoint(Path(folder), "", TAPE), compute, clock)
        )
    return float(found.path.energies_ev[found.path.saddle] - found.path.energies_ev[0]), found.calls


def plain(task: PathTask) -> tuple[float, int]:
    """The same of a plain script."""
    band = [with_potential(task.start.copy()) for _ in range(6)] + [with_potential(task.end.copy())]
    neb = NEB(band, climb=True, method="improvedtangent")
    neb.interpolate("idpp")
    optimizer = BFGS(neb, logfile=None)  # type: ignore[arg-type]
    optimizer.run(fmax=MAX_FORCE, steps=300)
    energies = [atoms.get_potential_energy() for atoms in band]
    return float(max(energies) - energies[0]), 5 * (optimizer.nsteps + 1) + 2


def scanned(task: PathTask, points: int = 17) -> float:
    """The highest of constrained relaxations along the way: the ion in planes across it, a far metal atom held."""
    way = (task.end.positions - task.start.positions)[-1] * (1, 1, 0)
    ion, metal = len(task.start) - 1, np.flatnonzero(task.start.symbols == "W")
    far = int(metal[np.argmax(task.start.get_distances(ion, metal, mic=True))])
    energies = []
    for part in np.linspace(0, 1, points):
        atoms = with_potential(task.start.copy())
        atoms.positions += part * (task.end.positions - task.start.positions)
        atoms.set_constraint([FixedPlane(ion, way / np.linalg.norm(way)), FixedLine(far, (0, 0, 1))])
        BFGS(atoms, logfile=None).run(fmax=MAX_FORCE, steps=100)
        energies.append(atoms.get_potential_energy())
    return float(max(energies) - (task.energies_ev or energies)[0])


def main() -> None:
    """Print the table."""
    print(f"{'path':32} {'saddle':>8} {'plain':>8} {'scan':>8}  (eV) {'calls':>6} {'plain':>6} {'share':>6}")
    total = [0, 0]
    for name in HOSTS:
        for path, task in tasks(name).items():
            (height, calls), (other, others) = ours(task), plain(task)
            total = [total[0] + calls, total[1] + others]
            row = f"{name}/{path:26} {height:8.4f} {other:8.4f} {scanned(task):8.4f}"
            print(f"{row}       {calls:6d} {others:6d} {calls / others:6.2f}", flush=True)
    print(f"all {total[0]} of {total[1]} force calls: {total[0] / total[1]:.2f}")


if __name__ == "__main__":
    main()
