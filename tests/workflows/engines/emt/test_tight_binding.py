"""The dry run's model electrons against Slater and Koster's table, symmetry, and band folding."""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest
from ase import Atoms
from ase.build import mx2
from scipy.integrate import trapezoid
from sodiate.analysis.arrays import Bands, Dos
from sodiate.workflows.engines.emt.parameters import load_parameters
from sodiate.workflows.engines.emt.tight_binding import Hamiltonian, electrons, fill, mesh_points, two_centre
from sodiate.workflows.engines.shared.grids import kpoint_mesh

PARAMETERS = load_parameters()


def layer(repeat: int = 1, metal: str = "W") -> Atoms:
    """2H WSSe, not relaxed, S on top."""
    atoms = mx2(f"{metal}Se2", "2H", a=3.25, thickness=3.3, vacuum=10.0)
    atoms.symbols[int(np.argmax(atoms.positions[:, 2]))] = "S"
    return atoms.repeat((repeat, repeat, 1))


def with_vacancy_and_na() -> Atoms:
    """2×2 without one S, with Na above, rattled: no symmetry left."""
    atoms = layer(2)
    del atoms[int(np.argmax(atoms.positions[:, 2]))]
    atoms.append("Na")
    atoms.positions[-1] = [1.0, 0.4, atoms.positions[:-1, 2].max() + 1.4]
    atoms.rattle(0.1, seed=2)
    return atoms


def eigenvalues(atoms: Atoms, kpoint: tuple[float, float, float]) -> np.ndarray:
    return np.linalg.eigvalsh(Hamiltonian(atoms, PARAMETERS).at(np.array(kpoint)))


# Oracle: Slater and Koster's Table I, written out.


def test_p_d_and_d_d_blocks_are_those_of_the_table() -> None:
    direction = np.array([0.48, -0.6, 0.64])
    x, y, z = direction
    s3, (sigma, pi, delta) = np.sqrt(3.0), (0.7, -0.3, 0.11)
    p_d = two_centre((1, 2), direction[None], (sigma, pi))[0]
    assert p_d[0, 0] == pytest.approx(s3 * x**2 * y * sigma + y * (1 - 2 * x**2) * pi)  # x, xy
    assert p_d[0, 1] == pytest.approx(s3 * x * y * z * sigma - 2 * x * y * z * pi)  # x, yz
    assert p_d[0, 3] == pytest.approx(s3 / 2 * x * (x**2 - y**2) * sigma + x * (1 - x**2 + y**2) * pi)
    assert p_d[1, 3] == pytest.approx(s3 / 2 * y * (x**2 - y**2) * sigma - y * (1 + x**2 - y**2) * pi)
    assert p_d[2, 4] == pytest.approx(z * (z**2 - (x**2 + y**2) / 2) * sigma + s3 * z * (x**2 + y**2) * pi)
    d_d = two_centre((2, 2), direction[None], (sigma, pi, delta))[0]
    assert d_d[0, 0] == pytest.approx(
        3 * x**2 * y**2 * sigma + (x**2 + y**2 - 4 * x**2 * y**2) * pi + (z**2 + x**2 * y**2) * delta
    )
    assert d_d[0, 1] == pytest.approx(
        3 * x * y**2 * z * sigma + x * z * (1 - 4 * y**2) * pi + x * z * (y**2 - 1) * delta
    )
    assert d_d[4, 4] == pytest.approx(
        (z**2 - (x**2 + y**2) / 2) ** 2 * sigma + 3 * z**2 * (x**2 + y**2) * pi + 0.75 * (x**2 + y**2) ** 2 * delta
    )


def test_s_blocks_are_those_of_the_table() -> None:
    direction = np.array([0.48, -0.6, 0.64])
    x, y, z = direction
    assert two_centre((0, 0), direction[None], (-0.4,))[0, 0, 0] == -0.4
    np.testing.assert_allclose(two_centre((0, 1), direction[None], (0.7,))[0, 0], 0.7 * direction)
    s_d = two_centre((0, 2), direction[None], (0.7,))[0, 0]
    expected = [np.sqrt(3) * x * y, np.sqrt(3) * y * z, np.sqrt(3) * z * x]
    expected += [np.sqrt(3) / 2 * (x**2 - y**2), z**2 - (x**2 + y**2) / 2]
    np.testing.assert_allclose(s_d, 0.7 * np.array(expected))


@pytest.mark.parametrize("shells", list(product(range(3), repeat=2)))
def test_a_block_seen_from_the_other_end_is_its_transpose(shells: tuple[int, int]) -> None:
    direction = np.array([[0.48, -0.6, 0.64]])
    integrals = (0.7, -0.3, 0.11)
    there = two_centre(shells, direction, integrals)[0]
    back = two_centre((shells[1], shells[0]), -direction, integrals)[0]
    np.testing.assert_allclose(there, back.T, atol=1e-15)
    assert np.abs(there).max() > 0.1


def test_a_dimer_has_the_levels_of_two_coupled_orbitals() -> None:
    """Na2 at the sum of the radii: on-site energy ± V_ssσ."""
    atoms = Atoms("Na2", [[0, 0, 0], [0, 0, 2 * 1.66]], cell=[20, 20, 20])
    onsite = PARAMETERS.electrons.onsite_ev["Na"]
    coupling = abs(PARAMETERS.electrons.pairs["ss"].integrals_ev[0])
    np.testing.assert_allclose(eigenvalues(atoms, (0, 0, 0)), [onsite - coupling, onsite + coupling])


# Oracle: symmetry.


def test_hermitian_at_any_k() -> None:
    matrix = Hamiltonian(with_vacancy_and_na(), PARAMETERS).at(np.array([0.13, -0.27, 0.0]))
    np.testing.assert_allclose(matrix, matrix.conj().T, atol=1e-13)
    assert np.abs(matrix.imag).max() > 0.1


def test_time_reversal() -> None:
    atoms = with_vacancy_and_na()
    np.testing.assert_allclose(eigenvalues(atoms, (0.13, -0.27, 0)), eigenvalues(atoms, (-0.13, 0.27, 0)), atol=1e-11)
    assert np.abs(eigenvalues(atoms, (0.13, -0.27, 0)) - eigenvalues(atoms, (0.13, 0.27, 0))).max() > 1e-3


def test_rotation_of_the_whole_structure() -> None:
    atoms = with_vacancy_and_na()
    before = eigenvalues(atoms, (0.2, 0.1, 0.0))
    atoms.rotate(53.0, (0.3, -1.0, 0.6), rotate_cell=True)
    np.testing.assert_allclose(eigenvalues(atoms, (0.2, 0.1, 0.0)), before, atol=1e-11)


def test_translation_and_reciprocal_lattice_vectors() -> None:
    atoms = with_vacancy_and_na()
    before = eigenvalues(atoms, (0.2, 0.1, 0.0))
    np.testing.assert_allclose(eigenvalues(atoms, (1.2, -0.9, 0.0)), before, atol=1e-11)
    atoms.translate([5.0, -11.0, 0.3])
    np.testing.assert_allclose(eigenvalues(atoms, (0.2, 0.1, 0.0)), before, atol=1e-11)


def test_bands_fold() -> None:
    """The 3×3 cell at a k point has exactly the levels of the 1×1 cell at the nine points that fold there."""
    for kpoint in [(0.0, 0.0, 0.0), (0.5, 0.25, 0.0)]:
        folded = [
            eigenvalues(layer(), ((kpoint[0] + i) / 3, (kpoint[1] + j) / 3, 0))
            for i, j in product(range(3), repeat=2)
        ]
        np.testing.assert_allclose(eigenvalues(layer(3), kpoint), np.sort(np.ravel(folded)), atol=1e-10)


def test_levels_are_continuous_where_the_integrals_end() -> None:
    outer = PARAMETERS.electrons.switch_a[1]

    def levels(distance: float) -> np.ndarray:
        return eigenvalues(Atoms("WSe", [[0, 0, 0], [0, 0, distance]], cell=[20, 20, 20]), (0, 0, 0))

    np.testing.assert_allclose(levels(outer - 1e-4), levels(outer + 1e-4), atol=1e-6)
    assert np.abs(levels(3.0) - levels(outer)).max() > 0.1


# Oracle: counting.


def test_mesh_of_a_length() -> None:
    """N = ceil(length/|a|), one point along a direction that is not periodic, Γ alone for a length of 0."""
    atoms = layer()
    assert kpoint_mesh(atoms, 39.0) == (12, 12, 1)
    assert kpoint_mesh(atoms, 39.1) == (13, 13, 1)
    assert kpoint_mesh(layer(3), 19.5) == (2, 2, 1)
    assert kpoint_mesh(atoms, 0.0) == (1, 1, 1)
    atoms.pbc = True
    assert kpoint_mesh(atoms, 39.0)[2] == 2


@pytest.mark.parametrize("mesh", [(1, 1, 1), (2, 2, 1), (3, 4, 1), (5, 5, 2)])
def test_half_a_mesh_stands_for_the_whole(mesh: tuple[int, int, int]) -> None:
    kpoints, weights = mesh_points(mesh)
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    both = {tuple(np.round(sign * k % 1.0, 9) % 1.0) for k in kpoints for sign in (1, -1)}
    whole = {tuple(np.round(np.array(i) / mesh, 9)) for i in product(*(range(n) for n in mesh))}
    assert both == whole
    assert (
        len(kpoints)
        == (
            np.prod(mesh)
            + sum(all(2 * i % n == 0 for i, n in zip(k, mesh, strict=True)) for k in product(*map(range, mesh)))
        )
        / 2
    )


def test_filling() -> None:
    weights = np.array([0.25, 0.75])
    levels = np.array([[0.0, 1.0, 1.0], [0.2, 1.0, 3.0]])
    occupations, fermi = fill(levels, weights, 2)
    np.testing.assert_array_equal(occupations, [[2, 0, 0], [2, 0, 0]])
    assert fermi == pytest.approx(0.6)
    occupations, fermi = fill(levels, weights, 3)
    np.testing.assert_allclose(occupations, [[2, 0.8, 0.8], [2, 0.8, 0]])
    assert fermi == 1.0


def check_counts(atoms: Atoms, bands: Bands, dos: Dos, count: float) -> None:
    orbitals = bands.energies_ev.shape[2]
    assert bands.occupations.shape == bands.energies_ev.shape == (1, len(bands.weights), orbitals)
    filled = (bands.weights[:, None] * bands.occupations[0]).sum()
    assert filled == pytest.approx(count, abs=1e-10)
    assert 0.0 <= bands.occupations.min() <= bands.occupations.max() <= 2.0 + 1e-12
    assert (np.diff(bands.energies_ev) >= 0).all()
    step = np.diff(dos.energies_ev)
    assert step.max() <= 0.010 + 1e-12
    assert trapezoid(dos.total[0], dos.energies_ev) == pytest.approx(2 * orbitals, abs=1e-8)
    np.testing.assert_allclose(sum(dos.projected.values()), dos.total, atol=1e-9)
    shells = {"W-d": 5, "S-p": 3, "Se-p": 3, "Na-s": 1}
    for label, share in dos.projected.items():
        orbitals_of_label = shells[label] * atoms.get_chemical_symbols().count(label.split("-")[0])
        assert trapezoid(share[0], dos.energies_ev) == pytest.approx(2 * orbitals_of_label, abs=1e-8)


def test_states_and_electrons_are_counted() -> None:
    """The electrons are exact, and the DOS, whole and by orbital, integrates to its number of states."""
    atoms = with_vacancy_and_na()
    bands, dos = electrons(atoms, PARAMETERS, 19.5, 0.05)
    assert set(dos.projected) == {"W-d", "S-p", "Se-p", "Na-s"}
    check_counts(atoms, bands, dos, 4 * 6 + 7 * 4 + 1)


def test_dos_up_to_the_fermi_level_holds_the_electrons() -> None:
    atoms = layer(3)
    bands, dos = electrons(atoms, PARAMETERS, 19.5, 0.05)
    check_counts(atoms, bands, dos, 126)
    below = dos.energies_ev <= bands.fermi_ev
    assert trapezoid(dos.total[0][below], dos.energies_ev[below]) == pytest.approx(126, abs=0.01)


# Pinned: what the parameters were chosen for, and that it costs next to nothing.


def gap(atoms: Atoms) -> tuple[float, Bands]:
    bands, _ = electrons(atoms, PARAMETERS, 19.5, 0.05)
    filled = Hamiltonian(atoms, PARAMETERS).electrons // 2
    return bands.energies_ev[0, :, filled].min() - bands.energies_ev[0, :, filled - 1].max(), bands


def test_a_gap_and_levels_of_a_vacancy_inside_it() -> None:
    pristine, bands = gap(layer(3))
    assert 1.4 < pristine < 1.9
    atoms = layer(3)
    del atoms[int(np.argmax(atoms.positions[:, 2]))]
    defective, of_vacancy = gap(atoms)
    assert 0.5 < defective < 1.2
    assert (of_vacancy.occupations % 2.0 == 0).all()
    assert (bands.occupations % 2.0 == 0).all()


def test_sodium_makes_the_host_a_metal() -> None:
    atoms = layer(3)
    atoms.append("Na")
    atoms.positions[-1] = atoms.positions[0] + [0, 0, 1.65 + 2.1]
    _, bands = gap(atoms)
    crossing = (bands.energies_ev[0].min(axis=0) < bands.fermi_ev) & (
        bands.energies_ev[0].max(axis=0) >= bands.fermi_ev
    )
    assert crossing.any()


def test_other_metals_are_labelled_by_their_name() -> None:
    _, dos = electrons(layer(metal="Mo"), PARAMETERS, 10.0, 0.05)
    assert set(dos.projected) == {"Mo-d", "S-p", "Se-p"}


def test_fast_enough() -> None:
    """About 0.1 s for 3×3 and ten k points on an idle core; the bound leaves room for a busy machine."""
    atoms = layer(3)
    began = time.process_time()
    electrons(atoms, PARAMETERS, 39.0, 0.05)
    assert time.process_time() - began < 3.0
