"""What a denser mesh, no spin, another functional and spin–orbit coupling do to ΔE, in GPAW's LCAO mode.

    python benchmarks/lcao.py    # computes what docs/lcao.jsonl lacks; can be stopped and started again

Plane waves at 500 eV on 4×4×1 of a 3×3 cell take hours a point; localised orbitals (dzp) take minutes. Their ΔE
itself is off by more than what is looked for, so only *changes* count here: E(host + Na) − E(host) by one setting
less that by another, at the geometries of the archive `docs/reproduction`, with the same basis and grid. Each line of
the file is the total energy of one structure; `benchmarks/reproduction_tables.py` writes tables from it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from scipy.optimize import brentq
from scipy.special import erfc
from sodiate.workflows.results.results import Results

DOCS = Path(__file__).resolve().parent.parent / "docs"
CAMPAIGN = "wsse-gpaw-best"
ATOM = "Na"
MESHES = (2, 4, 3)
"""Repeats of the Γ-centred mesh along both vectors, in the order of their value."""

FUNCTIONALS = ("RPBE", "PBEsol")
WIDTH_EV = 0.05
GRID_A = 0.25


@dataclass(frozen=True)
class Case:
    """A structure of the archive (a host, a site as `model/site`, or Na) and the setting of its energy."""

    structure: str
    mesh: int
    spin: bool

    @property
    def magnetic(self) -> bool:
        """Whether spins differ: sheets without Na have none."""
        return self.spin and ("/" in self.structure or self.structure == ATOM)


def line_of(case: Case, atoms: Atoms) -> dict[str, Any]:
    """Compute a case; return its line of the file, energies in eV, the moment in μB.

    On the mesh of the relaxations other functionals are evaluated at PBE's density, and spin–orbit coupling in the
    space of PBE's states.
    """
    from gpaw import GPAW

    start = time.perf_counter()
    if case.magnetic:
        atoms.set_initial_magnetic_moments([1.0 if symbol == "Na" else 0.02 for symbol in atoms.symbols])
    calculator = GPAW(
        mode="lcao",
        basis="dzp",
        xc="PBE",
        h=GRID_A,
        kpts={"size": (case.mesh, case.mesh, 1), "gamma": True},
        occupations={"name": "methfessel-paxton", "order": 0, "width": WIDTH_EV},
        poissonsolver={} if case.structure == ATOM else {"dipolelayer": "xy"},
        spinpol=case.magnetic,
        convergence={"energy": 1e-6, "density": 1e-5},
        txt=None,
    )
    atoms.calc = calculator
    line = asdict(case) | {
        "energy_ev": float(atoms.get_potential_energy()),
        "moment_mub": float(calculator.get_magnetic_moment()),
        "iterations": int(calculator.get_number_of_iterations()),
    }
    if case.spin and case.mesh == 2:
        line["functional_ev"] = {name: float(calculator.get_xc_difference(name)) for name in FUNCTIONALS}
        line["spin_orbit_ev"] = band_energy(calculator, 1.0) - band_energy(calculator, 0.0)
    return line | {"seconds": round(time.perf_counter() - start, 1)}


def band_energy(calculator: Any, scale: float) -> float:
    """Return the free energy (eV) of non-interacting electrons in the run's potential, spin–orbit coupling scaled."""
    from gpaw.occupations import create_occ_calc
    from gpaw.spinorbit import soc_eigenstates

    # Occupations are made here: soc_eigenstates cannot copy a Gaussian smearing, and its own are not used.
    unused = create_occ_calc({"name": "fermi-dirac", "width": WIDTH_EV})
    energies = np.array([kpoint.eig_m for kpoint in soc_eigenstates(calculator, scale=scale, occcalc=unused)])
    weights = np.full(len(energies), 1 / len(energies))  # all k points, also those that symmetry relates
    electrons = calculator.wfs.nvalence

    def excess(level: float) -> float:
        return float((weights @ (0.5 * erfc((energies - level) / WIDTH_EV))).sum()) - electrons

    level = brentq(excess, energies.min() - 1, energies.max() + 1, xtol=1e-12)
    x = (energies - level) / WIDTH_EV
    energy = float((weights @ (0.5 * erfc(x) * energies)).sum())
    entropy = float((weights @ np.exp(-(x**2))).sum()) * WIDTH_EV / (2 * np.sqrt(np.pi))
    return energy - 0.5 * entropy  # extrapolated to a width of zero, as the total energies are


def structures() -> dict[str, Atoms]:
    """Return the relaxed hosts and sites of the campaign, and the atom, by name."""
    with Results.open(DOCS / "reproduction") as results:
        (entry,) = results.entries(CAMPAIGN)
        records = results.documents.current(entry.ids)
        atom = results.get(ATOM, campaign=CAMPAIGN).atoms
    named = {model.name: model.host for model in entry.models}
    named |= {f"{model.name}/{site.name}": site.calculation for model in entry.models for site in model.sites}
    geometries = {name: records[identifier].geometry for name, identifier in named.items()}
    sheets = {name: geometry.atoms() for name, geometry in geometries.items() if geometry is not None}
    return {ATOM: atom, **sheets}


def cases(names: list[str]) -> Iterator[Case]:
    """Go through all cases, the first site of each host before the others."""
    yield Case(ATOM, 2, spin=True)  # for the functionals alone: the atom has no k points
    others = [name for name in names if name in ("WSSe/T_W@bottom", "WSSe+VS+VSe/V_Se@bottom")]
    first = [name for name in names if name not in (ATOM, *others)]
    for group in (first, others):
        for mesh in MESHES:
            yield from (Case(name, mesh, spin=True) for name in group)
        yield from (Case(name, 2, spin=False) for name in group if "/" in name)


def main() -> None:
    """Compute the cases that the file lacks."""
    parser = argparse.ArgumentParser(description="Changes of ΔE in GPAW's LCAO mode")
    parser.add_argument("--file", type=Path, default=DOCS / "lcao.jsonl", help="lines of energies, gone on with")
    file = parser.parse_args().file
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    known = {Case(line["structure"], line["mesh"], line["spin"]) for line in lines}
    named = structures()
    for case in cases(list(named)):
        if case not in known:
            line = line_of(case, named[case.structure].copy())
            print(line, flush=True)
            with file.open("a") as stream:
                stream.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
