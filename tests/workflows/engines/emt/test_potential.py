"""The dry run's potential against ASE's EMT, finite differences and analytic limits."""

from __future__ import annotations

import subprocess
import sys
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule, mx2
from ase.calculators import emt as ase_emt_module
from ase.calculators.calculator import PropertyNotImplementedError
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list
from ase.optimize import BFGS
from sodiate.workflows.campaign.load import bundled_campaigns, load_campaign
from sodiate.workflows.engines.emt.pairs import pairs_within
from sodiate.workflows.engines.emt.parameters import ElementRow, load_parameters
from sodiate.workflows.engines.emt.potential import CUTOFF_A, EmtPotential, potential
from sodiate.workflows.plan.planner import plan
from sodiate.workflows.start_structures import ideal_atoms
from support.ase_emt import ase_emt

COLUMNS = tuple(ElementRow.model_fields)
HOSTS = {"WSe2": (3.319, 3.36), "WSSe": (3.252, 3.25), "WS2": (3.186, 3.14)}


def host(name: str, repeat: int = 3, vacancies: str = "") -> Atoms:
    """A 2H host, S on top in WSSe; ``vacancies`` is a string of the elements to take away, next to each other."""
    a, thickness = HOSTS[name]
    atoms = mx2("WSe2", "2H", a=a, thickness=thickness, vacuum=10.0)
    top, bottom = np.argmax(atoms.positions[:, 2]), np.argmin(atoms.positions[:, 2])
    atoms.symbols[top] = "Se" if name == "WSe2" else "S"
    atoms.symbols[bottom] = "S" if name == "WS2" else "Se"
    if name == "WSSe":
        atoms.positions[top, 2] = atoms.positions[0, 2] + np.sqrt(2.42**2 - a**2 / 3)
        atoms.positions[bottom, 2] = atoms.positions[0, 2] - np.sqrt(2.54**2 - a**2 / 3)
    atoms = atoms.repeat((repeat, repeat, 1))
    for element in vacancies.split():
        del atoms[list(atoms.symbols).index(element)]
    return atoms


def with_na(atoms: Atoms, lateral: tuple[float, float], height: float) -> Atoms:
    """Add Na above the top face."""
    out = atoms.copy()
    out.append("Na")
    out.positions[-1] = [*lateral, atoms.positions[:, 2].max() + height]
    return out


def crowded() -> Atoms:
    """All four elements, far from equilibrium, with pairs inside most of the repulsions."""
    atoms = with_na(host("WSSe", 2), (1.2, 0.9), 1.5)
    atoms.rattle(0.12, seed=3)
    atoms.positions[3] += [0.25, 0.2, 0.0]
    return atoms


def with_potential(atoms: Atoms) -> Atoms:
    atoms.calc = potential(atoms.get_chemical_symbols(), load_parameters())
    return atoms


def energy(atoms: Atoms) -> float:
    """Energy from a calculator that has computed nothing before."""
    return float(with_potential(atoms.copy()).get_potential_energy())


def bonds(atoms: Atoms) -> np.ndarray:
    metal, chalcogen = atoms.numbers == 74, np.isin(atoms.numbers, (16, 34))
    distances = atoms.get_all_distances(mic=True)[np.ix_(metal, chalcogen)]
    return distances[distances < 3.2]


# Oracle: ASE's own EMT.


def assert_equals_ase(atoms: Atoms) -> None:
    """Energies, forces and stress to 1e-10 eV, eV/Å and eV/Å³, with the dry run's parameters."""
    ours, theirs = with_potential(atoms.copy()), atoms.copy()
    theirs.calc = ase_emt(atoms.get_chemical_symbols(), load_parameters())
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-10, rel=0)
    np.testing.assert_allclose(ours.get_potential_energies(), theirs.get_potential_energies(), atol=1e-10, rtol=0)
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=1e-10, rtol=0)
    if atoms.cell.rank == 3:
        np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), atol=1e-10, rtol=0)


@pytest.mark.parametrize("campaign", sorted(bundled_campaigns()))
def test_bundled_structures_equal_ase(campaign: str) -> None:
    """All hosts, sites, atoms and bulk metals of a bundled campaign, as they start and displaced."""
    rng, compared = np.random.default_rng(7), 0
    for calculation in plan(load_campaign(campaign)).calculations:
        atoms = ideal_atoms(calculation)
        if atoms is None:
            continue
        assert_equals_ase(atoms)
        atoms = atoms.copy()
        atoms.positions += rng.normal(scale=0.1, size=(len(atoms), 3))
        assert_equals_ase(atoms)
        compared += 1
    assert compared > 4


@pytest.mark.parametrize("repeat", [(1, 1), (1, 2), (2, 2), (4, 4)])
@pytest.mark.parametrize("pbc", [(True, True, False), (True, True, True), (False, True, False), False])
def test_any_cell_equals_ase(repeat: tuple[int, int], pbc: tuple[bool, bool, bool] | bool) -> None:
    """All four elements far from equilibrium, outside the cell too, where an atom may neighbour its own images."""
    atoms = with_na(host("WSSe", 1).repeat((*repeat, 1)), (1.2, 0.9), 1.5)
    atoms.rattle(0.15, seed=3)
    atoms.cell += np.array([[0.1, -0.2, 0.3], [0.2, 0.0, -0.4], [0.5, 0.6, 0.0]])
    atoms.positions[::2] += 2 * atoms.cell[0] - atoms.cell[1] + 3 * atoms.cell[2]
    atoms.pbc = pbc
    assert_equals_ase(atoms)


def test_other_elements_equal_ase() -> None:
    """Stand-ins, also for the metals that ASE's table has."""
    parameters = load_parameters()
    layer = host("WSSe", 2)
    for metal in (symbol for symbol in parameters.role_of if parameters.role_of[symbol] == "W"):
        atoms = with_na(layer, (1.0, 0.5), 1.9)
        atoms.symbols[atoms.symbols == "W"] = metal
        atoms.symbols[-1] = "Cs" if metal in ("Ag", "Cu") else "K"
        atoms.symbols[atoms.symbols == "Se"] = "Te"
        assert_equals_ase(atoms)


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Na", "bcc", a=4.19),
        bulk("W", "bcc", a=3.184),
        bulk("Cu", "fcc", a=3.6),
        bulk("Ag", "hcp", a=2.9, c=4.7),
        bulk("W", "bcc", a=3.184, cubic=True).repeat((2, 1, 3)),
        Atoms("Na", cell=[12, 12.5, 13], pbc=True),
        Atoms("S"),
        Atoms("WNa", [[0, 0, 0], [0, 0, 8.0]]),
        Atoms("WSe", [[0, 0, 0], [0, 0, 2.1]]),
        Atoms("W", cell=[2.6, 0, 0], pbc=(True, False, False)),
        Atoms("WS", [[0, 0, 0], [1.0, 1.0, 1.5]], cell=[[3, 0, 0], [1, 3, 0], [0, 0, 0]], pbc=(True, True, False)),
    ],
    ids=lambda atoms: f"{atoms.symbols}-{atoms.cell.rank}",
)
def test_metals_atoms_and_molecules_equal_ase(atoms: Atoms) -> None:
    for _ in range(2):
        assert_equals_ase(atoms)
        atoms = atoms.copy()
        atoms.rattle(0.1, seed=2)


def test_ases_own_elements_equal_ase() -> None:
    """With ASE's parameters, its class needs none of ours."""
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.symbols[::3] = "Au"
    atoms.rattle(0.1, seed=1)
    atoms.cell += np.diag([0.1, -0.2, 0.3])
    rows = {s: ElementRow(**dict(zip(COLUMNS, ase_emt_module.parameters[s], strict=True))) for s in ("Cu", "Au")}
    ours, theirs = atoms.copy(), atoms.copy()
    ours.calc, theirs.calc = EmtPotential(rows, {}), ase_emt_module.EMT()
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(ours.get_potential_energies(), theirs.get_potential_energies(), atol=1e-10)
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=1e-10)
    np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), atol=1e-12)


def test_ase_itself_is_unaffected() -> None:
    table, atoms = dict(ase_emt_module.parameters), molecule("CO")
    atoms.calc = ase_emt_module.EMT()
    before = atoms.get_potential_energy()
    energy(crowded())
    assert_equals_ase(crowded())
    atoms.calc = ase_emt_module.EMT()
    assert atoms.get_potential_energy() == before
    assert ase_emt_module.parameters == table
    assert "W" not in table


def test_without_three_lattice_vectors_there_is_no_stress() -> None:
    with pytest.raises(PropertyNotImplementedError):
        with_potential(Atoms("W2", [[0, 0, 0], [0, 0, 2.5]])).get_stress()


def test_the_potential_needs_no_scipy_and_none_of_ases_emt() -> None:
    code = (
        "import sys; from ase import Atoms\n"
        "from sodiate.workflows.engines.emt.parameters import load_parameters\n"
        "from sodiate.workflows.engines.emt.potential import potential\n"
        "atoms = Atoms('WS', [[0, 0, 0], [0, 0, 2.4]], cell=[3, 3, 9], pbc=True)\n"
        "atoms.calc = potential(['W', 'S'], load_parameters()); atoms.get_forces(); atoms.get_stress()\n"
        "print(*[m for m in ('scipy', 'ase.calculators.emt', 'ase.neighborlist', 'ase.io') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("pbc", [(True, True, False), (True, True, True), (False, True, False)])
def test_pairs_equal_ases(pbc: tuple[bool, bool, bool]) -> None:
    """A skew cell smaller than the radius, with atoms outside it."""
    cell = [[3.0, 0.2, 0.0], [-1.4, 3.3, 0.1], [0.3, 0.0, 9.0]]
    positions = [[0.1, 0.2, 0.3], [7.0, -5.0, 2.0], [1.0, 1.5, -3.0]]
    atoms = Atoms("WSSe", positions=positions, cell=cell, pbc=pbc)
    pairs = pairs_within(atoms, 5.9)
    i, j, vectors = neighbor_list("ijD", atoms, 5.9)
    ours = np.column_stack([pairs.first, pairs.second, pairs.vectors]).round(9) + 0.0
    theirs = np.column_stack([i, j, vectors]).round(9) + 0.0
    assert len(ours) == len(theirs) > 0
    np.testing.assert_allclose(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)], atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(pairs.vectors, axis=1), pairs.distances)
    assert (np.diff(pairs.first) >= 0).all()


# Oracle: finite differences.


def test_forces_are_the_gradient_of_the_energy() -> None:
    atoms = crowded()
    forces = with_potential(atoms.copy()).get_forces()
    step = 1e-3
    for index, axis in [(0, 0), (1, 2), (3, 0), (3, 1), (5, 2), (7, 1), (-1, 0), (-1, 2)]:
        moved = []
        for shift in (-2, -1, 1, 2):
            other = atoms.copy()
            other.positions[index, axis] += shift * step
            moved.append(energy(other))
        slope = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * step)
        assert forces[index, axis] == pytest.approx(-slope, abs=2e-8)
    assert np.abs(forces).max() > 1.0
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-10)


def test_stress_is_the_strain_derivative() -> None:
    atoms = crowded()
    stress = with_potential(atoms.copy()).get_stress(voigt=False)
    step = 1e-4
    for i, j in [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2)]:
        moved = []
        for shift in (-2, -1, 1, 2):
            strain = np.zeros((3, 3))
            strain[i, j] += 0.5 * shift * step
            strain[j, i] += 0.5 * shift * step
            other = atoms.copy()
            other.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            moved.append(energy(other))
        slope = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * step) / atoms.get_volume()
        assert stress[i, j] == pytest.approx(slope, abs=1e-10)


def test_the_crowded_structure_feels_the_repulsion() -> None:
    """What the two tests above are worth: without the repulsion the forces are others."""
    atoms = crowded()
    bare = atoms.copy()
    parameters = load_parameters()
    bare.calc = EmtPotential({s: parameters.row(s) for s in set(atoms.symbols)}, {})
    assert np.abs(bare.get_forces() - with_potential(atoms).get_forces()).max() > 0.1


# Oracle: invariance and analytic limits.


def test_translation_rotation_permutation() -> None:
    atoms = crowded()
    reference, forces = energy(atoms), with_potential(atoms.copy()).get_forces()
    moved = atoms.copy()
    moved.translate([13.1, -7.7, 0.9])
    assert energy(moved) == pytest.approx(reference, abs=1e-10)
    turned = atoms.copy()
    turned.rotate(37.0, (1.0, 0.4, -0.3), rotate_cell=True)
    assert energy(turned) == pytest.approx(reference, abs=1e-10)
    order = np.random.default_rng(0).permutation(len(atoms))
    np.testing.assert_allclose(with_potential(atoms[order]).get_forces(), forces[order], atol=1e-10)


@pytest.mark.parametrize("name", HOSTS)
def test_supercells_are_extensive(name: str) -> None:
    assert energy(host(name, 3)) == pytest.approx(9 * energy(host(name, 1)), abs=1e-9)


def test_repulsion_follows_its_formula_and_ends_smoothly() -> None:
    """The difference to the bare EMT of a dimer is A (exp(x) - 1 - x), and nothing beyond r_c."""
    parameters = load_parameters()
    bare = EmtPotential({s: parameters.row(s) for s in ("W", "Se")}, {})

    def added(distance: float) -> tuple[float, float]:
        dimer = with_potential(Atoms("WSe", [[0, 0, 0], [0, 0, distance]]))
        other = dimer.copy()
        other.calc = bare
        pull = dimer.get_forces()[1, 2] - other.get_forces()[1, 2]
        return dimer.get_potential_energy() - other.get_potential_energy(), pull

    x = (2.35 - 2.0) / 0.25
    assert added(2.0)[0] == pytest.approx(0.4 * (np.exp(x) - 1 - x), abs=1e-12)
    assert added(2.0)[1] == pytest.approx(0.4 / 0.25 * (np.exp(x) - 1), abs=1e-10)
    assert added(2.35) == (0.0, 0.0)
    assert added(2.36) == (0.0, 0.0)
    just_inside = added(2.35 - 1e-5)
    assert 0 < just_inside[0] < 1e-9
    assert 0 < just_inside[1] < 1e-4


def test_the_exponent_cannot_exceed_that_of_the_fit() -> None:
    """The fit capped x at 12; at r = 0 no pair goes beyond, so the cap is not needed."""
    table = load_parameters().repulsion
    assert max(table.cutoff_a.values()) / table.width_a <= 12.0


def test_a_free_atom_has_minus_e0() -> None:
    for symbol, e0 in {"Na": -1.9232, "W": -16.139, "S": -3.7342, "Se": -8.0732}.items():
        assert energy(Atoms(symbol, cell=[12, 12.5, 13], pbc=True)) == -e0


def test_the_cutoff_does_not_depend_on_the_composition() -> None:
    """Na out of reach adds its free energy and nothing else; 5.38 Å is what ASE computes from its stock table."""
    layer = host("WSe2", 2)
    far = with_na(layer, (1.0, 1.0), 9.0)
    assert energy(far) == pytest.approx(energy(layer) + 1.9232, abs=1e-11)
    assert ase_emt_module.EMT()._calc_cutoff(layer)[0] == pytest.approx(CUTOFF_A, abs=1e-12)
    assert pytest.approx(5.38, abs=0.005) == CUTOFF_A


def test_results_do_not_depend_on_the_path() -> None:
    """Bit for bit: what makes a resumed relaxation the same as an uninterrupted one."""
    atoms = with_potential(crowded())
    rng = np.random.default_rng(4)
    for _ in range(5):
        atoms.positions += rng.normal(scale=0.05, size=(len(atoms), 3))
        atoms.get_forces()
        fresh = with_potential(atoms.copy())
        assert atoms.get_potential_energy() == fresh.get_potential_energy()
        assert np.array_equal(atoms.get_forces(), fresh.get_forces())
        assert np.array_equal(atoms.get_stress(), fresh.get_stress())


@pytest.mark.parametrize(
    "what", ["a position", "the cell", "an element", "the periodicity", "an atom less", "nothing"]
)
def test_any_change_is_computed(what: str) -> None:
    atoms = with_potential(crowded())
    before = atoms.get_potential_energy()
    if what == "a position":
        atoms.positions[3, 1] = np.nextafter(atoms.positions[3, 1], 9.0)
    elif what == "the cell":
        atoms.cell[0, 0] += 0.05
    elif what == "an element":
        atoms.symbols[-2] = "Na"
    elif what == "the periodicity":
        atoms.pbc = (True, False, False)
    elif what == "an atom less":
        del atoms[-1]
    assert len(atoms.calc.check_state(atoms)) == (0 if what == "nothing" else 6)
    assert atoms.get_potential_energy() == energy(atoms)
    assert (atoms.get_potential_energy() == before) == (what == "nothing")


# Roles.


def test_other_elements_are_their_role_with_lengths_scaled() -> None:
    """A dimer of Mo at scaled distance has the energy of W2; at these distances the cutoff plays no part."""
    factor = covalent_radii[42] / covalent_radii[74]
    for distance in (2.0, 2.5):
        tungsten = energy(Atoms("W2", [[0, 0, 0], [0, 0, distance]]))
        assert energy(Atoms("Mo2", [[0, 0, 0], [0, 0, factor * distance]])) == pytest.approx(tungsten, abs=1e-8)
    parameters = load_parameters()
    assert [parameters.role_of[s] for s in ("Nb", "Te", "S", "K")] == ["W", "Se", "S", "Na"]


def test_every_pair_of_roles_has_a_repulsion() -> None:
    parameters = load_parameters()
    for a, b in product(parameters.roles, repeat=2):
        assert parameters.pair_repulsion(a, b) == parameters.pair_repulsion(b, a)


# Pinned: the numbers of the fit that the parameters come from.


@pytest.mark.parametrize(
    ("name", "vacancies"), [("WSe2", ""), ("WSSe", ""), ("WSSe", "S"), ("WSSe", "Se"), ("WSSe", "S Se")]
)
def test_hosts_keep_their_bonds(name: str, vacancies: str) -> None:
    atoms = with_potential(host(name, 3, vacancies))
    start = atoms.get_positions()
    optimizer = BFGS(atoms, logfile=None)
    assert optimizer.run(fmax=0.02, steps=50)
    assert 2 <= optimizer.nsteps <= 8
    assert len(bonds(atoms)) == 54 - 3 * len(vacancies.split())
    assert bonds(atoms).min() > 2.43 - 0.005
    assert bonds(atoms).max() < 2.56 + 0.005
    assert np.linalg.norm(atoms.positions - start, axis=1).max() < 0.04


@pytest.mark.parametrize(("name", "vacancies"), [("WSSe", ""), ("WSSe", "S")])
def test_sodium_stays_on_its_host(name: str, vacancies: str) -> None:
    layer = with_potential(host(name, 3, vacancies))
    BFGS(layer, logfile=None).run(fmax=0.02, steps=50)
    metal = layer.positions[layer.numbers == 74][4]
    atoms = with_potential(with_na(layer, tuple(metal[:2]), 2.1))
    optimizer = BFGS(atoms, logfile=None)
    assert optimizer.run(fmax=0.02, steps=93)
    assert len(bonds(atoms)) == 54 - 3 * len(vacancies.split())
    assert 2.2 < atoms.get_distances(-1, range(len(layer)), mic=True).min() < 3.0
    # A pinned mock value: far from what any physics gives.
    gain = atoms.get_potential_energy() - layer.get_potential_energy() - 1.9232
    assert -1.35 < gain < -1.05
