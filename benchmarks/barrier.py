"""Force calls of a barrier: sodiate's search against a plain ASE script, from the same two relaxed ends.

The plain script is what one would write: five images by the image-dependent pair potential, ``NEB(climb=True,
method="improvedtangent")``, BFGS on the whole band, to the same force. With GPAW the ends are those of the archive
`docs/diffusion`.

    python benchmarks/barrier.py                          # dry: nine paths, two minutes
    python benchmarks/barrier.py --engine gpaw            # Na on WSe2, 2×2, 250 eV, 2×2×1: one path

It prints, for each path, both barriers and both numbers of calls, and a scan that knows neither search: relaxations
with the ion held in planes across the way, 17 of them dry and 7 with GPAW, and the top of the parabola through the
highest three. The target is half of the calls, and the same saddle within 5 meV. The dry potential is rough: several
saddles lie on the way of some paths, and two searches may end at two of them; the scan beside tells which one is on
the way.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixedLine, FixedPlane
from ase.mep import NEB
from ase.optimize import BFGS
from sodiate.structures.monolayers import Monolayer, box, build_monolayer
from sodiate.structures.paths import Paths
from sodiate.structures.sites import find_sites, place
from sodiate.workflows.engines.base import Limits
from sodiate.workflows.engines.emt.parameters import load_parameters
from sodiate.workflows.engines.emt.potential import potential
from sodiate.workflows.engines.shared.path_search import Search, search
from sodiate.workflows.engines.shared.path_task import TAPE, PathTask
from sodiate.workflows.engines.shared.relax import Clock
from sodiate.workflows.engines.shared.tape import Tape, one_by_one
from sodiate.workflows.engines.shared.trajectory import Checkpoint, Step
from sodiate.workflows.results.results import Results
from sodiate.workflows.stop import Stop

DOCS = Path(__file__).resolve().parent.parent / "docs"
HOSTS = {
    "WSe2": (Monolayer("W", "Se", "Se", 3.319, 2.546, 2.546), (2, 2)),
    "WSSe": (Monolayer("W", "S", "Se", 3.252, 2.416, 2.538), (3, 3)),
}
HEIGHTS = {"T_X": 2.7}


class Dry:
    """Forces of the dry engine."""

    hosts = HOSTS
    sites: tuple[str, ...] = ("T_W", "H", "T_X")
    max_force = 0.02
    scan_points = 17

    def calculator(self, atoms: Atoms, name: str) -> Any:
        del name
        return potential(atoms.get_chemical_symbols(), load_parameters())


class Gpaw:
    """Forces of GPAW, PBE without spin: for each image a calculator, which goes on from its last density."""

    scan_points = 7

    def __init__(self, cutoff_ev: float, kpoints: int, max_force: float) -> None:
        self.hosts = {"WSe2": None}
        self.max_force = max_force
        self.settings = {
            "mode": {"name": "pw", "ecut": cutoff_ev},
            "xc": "PBE",
            "kpts": {"size": (kpoints, kpoints, 1), "gamma": True},
            "occupations": {"name": "methfessel-paxton", "order": 0, "width": 0.05},
            "convergence": {"energy": 1e-5, "density": 1e-4, "eigenstates": 1e-5},
            "symmetry": "off",
            "txt": None,
        }
        self.made: dict[str, Any] = {}

    def calculator(self, atoms: Atoms, name: str) -> Any:
        del atoms
        if name not in self.made:
            from gpaw.dft import GPAW

            self.made[name] = GPAW(**self.settings)
        return self.made[name]


Forces = Dry | Gpaw


def with_forces(atoms: Atoms, forces: Forces, name: str) -> Atoms:
    atoms.calc = forces.calculator(atoms, name)
    return atoms


def relaxed_dry(name: str, forces: Dry) -> tuple[Paths, dict[str, Atoms]]:
    """Relax each site of a host; return them with the host's paths."""
    layer, repeat = forces.hosts[name]
    host = box(build_monolayer(layer, repeat), vacuum=15.0, headroom=2.7)
    paths = Paths(host, (), find_sites(host, ()))
    relaxed = {}
    for site in paths.sites:
        if site.kind in forces.sites:
            relaxed[site.name] = place(host, site, "Na", HEIGHTS.get(site.kind, 2.1))
            BFGS(with_forces(relaxed[site.name], forces, ""), logfile=None).run(fmax=forces.max_force, steps=400)
    return paths, relaxed


def relaxed_before(name: str) -> tuple[Paths, dict[str, Atoms]]:
    """Return the sites of a host that the archive has relaxed, with the host's paths."""
    with Results.open(DOCS / "diffusion") as results:
        host = results[name].atoms
        sites = {site: results[f"{name}/{site}"].atoms for site in ("T_W@top", "H@top")}
    return Paths(host, (), find_sites(host, ())), sites


def tasks(name: str, forces: Forces) -> dict[str, PathTask]:
    """The paths of a host, between its relaxed sites."""
    paths, relaxed = relaxed_dry(name, forces) if isinstance(forces, Dry) else relaxed_before(name)
    for site, atoms in relaxed.items():
        with_forces(atoms, forces, site)
        known = {"free_energy": atoms.get_potential_energy(force_consistent=True), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, energy=atoms.get_potential_energy(), **known)
    found = {}
    for hop in paths.found.values():
        if not {hop.start, hop.end} <= relaxed.keys():
            continue
        start, end = relaxed[hop.start], relaxed[hop.end]
        ends = paths.ends(hop, start, end)
        # Forces are slopes of the free energy; what is compared below is the energy without smearing, as in results.
        energies = tuple(atoms.get_potential_energy(force_consistent=True) for atoms in (start, end))
        on_ends = np.array([start.get_forces(), ends.turn.vectors(end.get_forces())])
        found[hop.name] = PathTask(ends.start, ends.end, energies, on_ends, ends.mirror, 3)
    return found


def ours(task: PathTask, forces: Forces) -> tuple[float, int]:
    """Height of the saddle above the start (eV), and force calls."""

    def compute(atoms: Atoms, image: str, number: int) -> Step:
        copy = atoms.copy()
        return Step.of(with_forces(copy, forces, image), number, Path(folder))

    with tempfile.TemporaryDirectory() as folder:
        clock = Clock(Path(folder), Limits(), Stop())
        tape = Tape(task, Checkpoint(Path(folder), "", TAPE), one_by_one(compute), clock)
        found = search(task, Search(forces.max_force, 100, 0.2), tape)
    heights = []
    for image in (0, found.path.saddle):
        atoms = task.start.copy()
        atoms.positions = found.path.positions_a[image]
        heights.append(with_forces(atoms, forces, f"known {image}").get_potential_energy())
    return float(heights[1] - heights[0]), found.calls


def plain(task: PathTask, forces: Forces) -> tuple[float, int]:
    """The same of a plain script."""
    band = [task.start.copy() for _ in range(6)] + [task.end.copy()]
    for number, atoms in enumerate(band):
        with_forces(atoms, forces, f"plain {number}")
    neb = NEB(band, climb=True, method="improvedtangent")
    neb.interpolate("idpp")
    optimizer = BFGS(neb, logfile=None)  # type: ignore[arg-type]
    optimizer.run(fmax=forces.max_force, steps=300)
    energies = [atoms.get_potential_energy() for atoms in band]
    return float(max(energies) - energies[0]), 5 * (optimizer.nsteps + 1) + 2


def scanned(task: PathTask, forces: Forces) -> float:
    """The top of constrained relaxations along the way: the ion in planes across it, a far metal atom held."""
    way = (task.end.positions - task.start.positions)[-1] * (1, 1, 0)
    ion, metal = len(task.start) - 1, np.flatnonzero(task.start.symbols == "W")
    far = int(metal[np.argmax(task.start.get_distances(ion, metal, mic=True))])
    parts = np.linspace(0, 1, forces.scan_points)
    energies = []
    for part in parts:
        atoms = with_forces(task.start.copy(), forces, "scan")
        atoms.positions += part * (task.end.positions - task.start.positions)
        atoms.set_constraint([FixedPlane(ion, way / np.linalg.norm(way)), FixedLine(far, (0, 0, 1))])
        BFGS(atoms, logfile=None).run(fmax=forces.max_force, steps=100)
        energies.append(atoms.get_potential_energy())
    highest = min(max(int(np.argmax(energies)), 1), len(parts) - 2)
    near = slice(highest - 1, highest + 2)
    curvature, slope, height = np.polyfit(parts[near] - parts[highest], energies[near], 2)
    top = max(energies) if highest != np.argmax(energies) else height - slope**2 / (4 * curvature)
    return float(top - energies[0])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--engine", choices=["emt", "gpaw"], default="emt")
    parser.add_argument("--cutoff", type=float, default=250.0, help="eV, with GPAW")
    parser.add_argument("--kpoints", type=int, default=2, help="along both axes, with GPAW")
    parser.add_argument("--force", type=float, default=0.05, help="criterion, eV/Å, with GPAW")
    asked = parser.parse_args()
    dry = asked.engine == "emt"
    forces = Dry() if dry else Gpaw(asked.cutoff, asked.kpoints, asked.force)
    print(f"{'path':32} {'saddle':>8} {'plain':>8} {'scan':>8}  (eV) {'calls':>6} {'plain':>6} {'share':>6}")
    total = [0, 0]
    for name in forces.hosts:
        for path, task in tasks(name, forces).items():
            height, calls = ours(task, forces)
            print(f"{name}/{path:26} {height:8.4f} ", end="", flush=True)
            scan = f"{scanned(task, forces):8.4f}"
            other, others = plain(task, forces)
            total = [total[0] + calls, total[1] + others]
            print(f"{other:8.4f} {scan}       {calls:6d} {others:6d} {calls / others:6.2f}", flush=True)
    print(f"all {total[0]} of {total[1]} force calls: {total[0] / total[1]:.2f}")


if __name__ == "__main__":
    main()
