"""Elements that EMT does not play: pairs, against finite differences, analytic limits and what they are to hold."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS
from sodiate.structures.monolayers import build_monolayer
from sodiate.structures.slabs import Slab, build_slab
from sodiate.workflows.campaign.hosts import bundled_hosts
from sodiate.workflows.engines.emt.pair_potential import PairPotential, morse
from sodiate.workflows.engines.emt.parameters import load_parameters
from sodiate.workflows.engines.emt.potential import EmtPotential, potential

OPEN_SHEETS = ("graphene", "h-BN", "phosphorene", "Ti2CO2")


def sheet(name: str, repeat: int) -> Atoms:
    """A bundled host in a box."""
    origin = bundled_hosts()[name]
    size = (repeat, repeat)
    atoms = build_slab(origin, size) if isinstance(origin, Slab) else build_monolayer(origin, size)
    atoms.cell[2] = (0, 0, 20)
    atoms.positions[:, 2] += 10 - atoms.positions[:, 2].mean()
    return atoms


def with_ion(atoms: Atoms, element: str, height: float = 2.0) -> Atoms:
    """An ion beside the middle of the cell."""
    out = atoms.copy()
    x, y, _ = (atoms.cell[0] + atoms.cell[1]) * 0.45
    out.append(element)
    out.positions[-1] = [x, y, atoms.positions[:, 2].max() + height]
    return out


def energy(atoms: Atoms) -> float:
    """Energy from a calculator that has computed nothing before."""
    fresh = atoms.copy()
    fresh.calc = potential(atoms.get_chemical_symbols(), load_parameters())
    return float(fresh.get_potential_energy())


def with_potential(atoms: Atoms) -> Atoms:
    atoms.calc = potential(atoms.get_chemical_symbols(), load_parameters())
    return atoms


def bonds(atoms: Atoms) -> set[tuple[int, int]]:
    first, second = neighbor_list("ij", atoms, list(1.2 * covalent_radii[atoms.numbers]))
    return set(zip(first.tolist(), second.tolist(), strict=True))


def crowded() -> list[Atoms]:
    """Structures far from equilibrium: pairs alone, with an ion that EMT plays, and a few pairs on an EMT host."""
    cases = [with_ion(sheet("graphene", 2), "Na", 1.6), with_ion(sheet("Ti2CO2", 2), "Mg", 1.4), sheet("h-BN", 2)]
    cases += [with_ion(sheet("WSSe", 2), "O", 1.2), with_ion(sheet("phosphorene", 1), "Al", 1.5), bulk("Ge")]
    for seed, atoms in enumerate(cases):
        atoms.rattle(0.12, seed=seed)
    return cases


@pytest.mark.parametrize("atoms", crowded(), ids=lambda atoms: str(atoms.symbols))
def test_forces_are_the_slope_of_the_energy(atoms: Atoms) -> None:
    forces, step = with_potential(atoms.copy()).get_forces(), 1e-5
    for index in (0, len(atoms) // 2, len(atoms) - 1):
        for axis in range(3):
            moved = [atoms.copy(), atoms.copy()]
            for copy, sign in zip(moved, (1, -1), strict=True):
                copy.positions[index, axis] += sign * step
            slope = (energy(moved[0]) - energy(moved[1])) / (2 * step)
            assert forces[index, axis] == pytest.approx(-slope, abs=2e-7)
    assert np.abs(forces.sum(axis=0)).max() < 1e-10


@pytest.mark.parametrize("atoms", crowded(), ids=lambda atoms: str(atoms.symbols))
def test_the_stress_is_the_slope_by_strain(atoms: Atoms) -> None:
    stress, step = with_potential(atoms.copy()).get_stress(voigt=False), 1e-6
    for i, j in ((0, 0), (1, 1), (0, 1)):
        strained = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            copy = atoms.copy()
            copy.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            strained.append(energy(copy))
        slope = (strained[0] - strained[1]) / (2 * step) / atoms.get_volume()
        assert stress[i, j] == pytest.approx(slope, abs=1e-7)


def test_a_dimer_has_its_well_at_the_sum_of_radii() -> None:
    """P2: 2 × 1.07 Å (Cordero) deep by 0.3 of 3.43 eV (Kittel), and nothing beyond the cutoff."""
    at = [energy(Atoms("P2", [[0, 0, 0], [0, 0, 2.14 * scale]])) for scale in (1.0, 0.999, 1.001, 1.65)]
    assert at[0] == pytest.approx(-0.3 * 3.43, abs=1e-12)
    assert min(at) == at[0]
    assert at[3] == 0.0


def test_the_cutoff_is_smooth_in_energy_and_force() -> None:
    """Across each end of the switch, values, slopes and curvatures go on."""
    shape = load_parameters().others
    one = np.ones(2)
    for edge in (*shape.switch, *shape.hump_between):
        near, curvatures = 1e-7, []
        energies, slopes = morse(np.array([edge - near, edge + near]), one, one, shape)
        assert abs(np.diff(energies)[0]) < 1e-5
        assert abs(np.diff(slopes)[0]) < 1e-4
        for side in (-1, 1):
            points = edge + side * np.array([1e-4, 2e-4])
            curvatures.append(np.diff(morse(points, one, one, shape)[1])[0] / np.diff(points)[0])
        assert curvatures[0] == pytest.approx(curvatures[1], abs=0.5)


def test_played_elements_alone_are_emt_as_ever() -> None:
    symbols = build_monolayer(bundled_hosts()["MoS2"], (1, 1)).get_chemical_symbols()  # type: ignore[arg-type]
    assert isinstance(potential([*symbols, "Na"], load_parameters()), EmtPotential)
    assert isinstance(potential([*symbols, "O"], load_parameters()), PairPotential)


@pytest.mark.parametrize(("name", "element"), [("graphene", "Na"), ("Ti2CO2", "Mg"), ("WSe2", "O"), ("h-BN", "C")])
def test_what_is_far_away_adds_nothing(name: str, element: str) -> None:
    """E(host + atom) is E(host) + E(atom) wherever EMT ends and pairs begin: else ΔE would hold an offset."""
    host = sheet(name, 2)
    alone = Atoms(element, cell=[*host.cell[:2], (0, 0, 60)], pbc=(True, True, False))
    apart = with_ion(host, element, 0.0)
    apart.cell[2, 2] = 60
    apart.positions[-1, 2] += 25
    assert energy(apart) == pytest.approx(energy(host) + energy(alone), abs=1e-6)


@pytest.mark.parametrize("name", OPEN_SHEETS)
@pytest.mark.parametrize("element", [None, "Na", "Al"])
def test_open_sheets_hold_together(name: str, element: str | None) -> None:
    """Displaced at random, with and without an ion: every bond is there again, and the ion is in reach."""
    ideal = sheet(name, 2 if name == "phosphorene" else 3)
    atoms = with_ion(ideal, element) if element else ideal.copy()
    atoms.rattle(0.03, seed=1)
    relaxed = with_potential(atoms)
    assert BFGS(relaxed, logfile=None, maxstep=0.2).run(fmax=0.02, steps=300)
    sheet_now = relaxed[: len(ideal)]
    assert bonds(ideal) <= bonds(sheet_now)
    if element:
        height = relaxed.positions[-1, 2] - sheet_now.positions[:, 2].max()
        assert 0.3 < height < 4.0


def test_every_element_has_pairs_and_electrons() -> None:
    parameters = load_parameters()
    for symbol in (
        "H",
        "He",
        "B",
        "C",
        "F",
        "Si",
        "P",
        "Cl",
        "Ga",
        "Sn",
        "I",
        "La",
        "Gd",
        "U",
        "Be",
        "Sr",
        "Ba",
        "Og",
    ):
        assert np.isfinite(energy(Atoms([symbol, "C"], [[0, 0, 0], [0, 0, 2.0]])))
        role, electrons = parameters.electrons_of(symbol)
        assert 0 < electrons <= 2 * {"Na": 1, "Se": 3, "W": 5}[role]
    assert [parameters.electrons_of(s) for s in ("C", "N", "P", "B", "H")] == [
        ("Se", 2), ("Se", 3), ("Se", 3), ("Se", 1), ("Na", 1),
    ]  # fmt: skip
