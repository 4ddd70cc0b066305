"""Model electrons of a dry run: a small orthogonal tight-binding model that gives DOS and gap code an input.

Metal d, chalcogen p and alkali s orbitals, nearest neighbours, two-centre integrals after J. C. Slater and
G. F. Koster, Phys. Rev. 94, 1498 (1954), Table I. Its parameters were chosen so that a gap of the right order and
in-gap states of a vacancy appear: none of its numbers is physical.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from ....analysis.arrays import Bands, Dos
from ....analysis.electrons.bandpath import filled_along
from ....analysis.electrons.gap_and_dos import MAX_SPACING_EV, dos_from_bands
from ..shared.grids import kpoint_mesh
from .pairs import pairs_within

if TYPE_CHECKING:
    from ase import Atoms
    from numpy.typing import NDArray

    from .parameters import EmtParameters

    Floats = NDArray[np.float64]

SHELLS = "spd"
_SHELL_OF_ROLE = {"Na": 0, "S": 1, "Se": 1, "W": 2}

# States closer than this (eV) count as degenerate and are filled equally, so that filling keeps the symmetry.
_DEGENERATE_EV = 1e-6

# d orbitals as traceless symmetric matrices of unit norm: d(n) = sqrt(3/2) n·Q·n for xy, yz, zx, x²−y², 3z²−r².
_D = np.zeros((5, 3, 3))
for _row, (_i, _j) in enumerate(((0, 1), (1, 2), (2, 0))):
    _D[_row, _i, _j] = _D[_row, _j, _i] = np.sqrt(0.5)
_D[3] = np.diag([1, -1, 0]) / np.sqrt(2)
_D[4] = np.diag([-1, -1, 2]) / np.sqrt(6)


def bond_components(shell: int, directions: Floats) -> tuple[Floats, Floats]:
    """Split the orbitals of a shell into their σ and π parts along bonds.

    Parameters
    ----------
    shell
        0, 1 or 2 for s, p (x, y, z) and d (xy, yz, zx, x²−y², 3z²−r²).
    directions
        Unit vectors, shape (bonds, 3).

    Returns
    -------
    sigma
        Amplitude of the m = 0 part, shape (bonds, orbitals).
    pi
        The m = ±1 part as a vector across the bond, shape (bonds, orbitals, 3).
    """
    bonds = len(directions)
    if shell == 0:
        return np.ones((bonds, 1)), np.zeros((bonds, 1, 3))
    if shell == 1:
        return directions, np.eye(3) - directions[:, :, None] * directions[:, None, :]
    projected = np.einsum("axy,by->bax", _D, directions)
    along = np.einsum("bax,bx->ba", projected, directions)
    return np.sqrt(1.5) * along, np.sqrt(2.0) * (projected - along[:, :, None] * directions[:, None, :])


def two_centre(shells: tuple[int, int], directions: Floats, integrals: tuple[float, ...]) -> Floats:
    """Return Slater–Koster blocks of unit distance dependence.

    Parameters
    ----------
    shells
        Of the first and of the second atom.
    directions
        Unit vectors from the first to the second, shape (bonds, 3).
    integrals
        V_σ, V_π, V_δ (eV), as many as the lower shell has, of the pair in the order s, p, d.

    Returns
    -------
    ndarray
        Shape (bonds, orbitals of the first, orbitals of the second), eV.
    """
    (sigma1, pi1), (sigma2, pi2) = (bond_components(shell, directions) for shell in shells)
    parts = [sigma1[:, :, None] * sigma2[:, None, :], np.einsum("bix,bjx->bij", pi1, pi2)]
    if shells == (2, 2):
        parts.append(np.eye(5) - parts[0] - parts[1])
    # Seen from the other end, an odd orbital changes its sign: (l2 l1 m) = (-1)^(l1 + l2) (l1 l2 m).
    sign = -1.0 if shells[0] > shells[1] and sum(shells) % 2 else 1.0
    return sign * sum((value * part for value, part in zip(integrals, parts, strict=False)), np.zeros_like(parts[0]))


class Hamiltonian:
    """The tight-binding Hamiltonian of a structure.

    Parameters
    ----------
    atoms
        The structure.
    parameters
        The parameter set of the dry run.

    Attributes
    ----------
    size, electrons
        Number of orbitals (each holds two electrons), and of electrons in the cell.
    labels
        ``"W-d"`` and the like for each orbital.
    """

    def __init__(self, atoms: Atoms, parameters: EmtParameters) -> None:
        self.model = parameters.electrons
        symbols = atoms.get_chemical_symbols()
        roles, electrons = zip(*map(parameters.electrons_of, symbols), strict=True)
        self.shell = np.array([_SHELL_OF_ROLE[role] for role in roles])
        widths = 2 * self.shell + 1
        self.first_orbital = np.concatenate([[0], np.cumsum(widths)])
        self.size = int(self.first_orbital[-1])
        self.electrons = sum(electrons)
        self.onsite = np.repeat([self.model.onsite_ev[role] for role in roles], widths)
        names = [f"{symbol}-{SHELLS[shell]}" for symbol, shell in zip(symbols, self.shell, strict=True)]
        self.labels = np.repeat(names, widths)
        self._set_hoppings(atoms)

    def _set_hoppings(self, atoms: Atoms) -> None:
        from ase.data import covalent_radii

        pairs = pairs_within(atoms, self.model.switch_a[1])
        radii = covalent_radii[atoms.numbers]
        ratio = (radii[pairs.first] + radii[pairs.second]) / pairs.distances
        inner, outer = self.model.switch_a
        fraction = np.clip((pairs.distances - inner) / (outer - inner), 0.0, 1.0)
        switch = 0.5 * (1.0 + np.cos(np.pi * fraction))
        steps = np.linalg.solve(atoms.cell.complete().array.T, pairs.vectors.T).T
        self.places: list[NDArray[np.int_]] = []
        self.hoppings: list[Floats] = []
        self.steps: list[Floats] = []
        for first, second in product(range(3), repeat=2):
            shells = (first, second)
            selected = (self.shell[pairs.first] == shells[0]) & (self.shell[pairs.second] == shells[1])
            if not selected.any():
                continue
            kind = self.model.pair(min(shells), max(shells))
            directions = pairs.vectors[selected] / pairs.distances[selected, None]
            decay = (ratio**kind.exponent * switch)[selected]
            rows = self.first_orbital[pairs.first[selected], None] + np.arange(2 * shells[0] + 1)
            columns = self.first_orbital[pairs.second[selected], None] + np.arange(2 * shells[1] + 1)
            self.places.append(rows[:, :, None] * self.size + columns[:, None, :])
            self.hoppings.append(two_centre(shells, directions, kind.integrals_ev) * decay[:, None, None])
            self.steps.append(steps[selected])

    def at(self, kpoint: Floats) -> NDArray[np.complex128]:
        """Return the matrix at one k point.

        Parameters
        ----------
        kpoint
            Fractional, shape (3,).

        Returns
        -------
        ndarray
            Hermitian, shape (size, size), eV, with the phases of the atoms' own positions.
        """
        flat = np.zeros(self.size**2, dtype=np.complex128)
        for places, hoppings, steps in zip(self.places, self.hoppings, self.steps, strict=True):
            values = hoppings * np.exp(2j * np.pi * steps @ kpoint)[:, None, None]
            flat.real += np.bincount(places.ravel(), values.real.ravel(), self.size**2)
            flat.imag += np.bincount(places.ravel(), values.imag.ravel(), self.size**2)
        matrix = flat.reshape(self.size, self.size)
        matrix[np.diag_indices(self.size)] += self.onsite
        return matrix

    def on_atoms(self, squares: Floats) -> Floats:
        """Return the weights of states on each atom, shape (k points, bands, atoms).

        Parameters
        ----------
        squares
            Weights on each orbital, shape (k points, orbitals, bands).
        """
        owner = np.repeat(np.arange(len(self.shell)), 2 * self.shell + 1)
        return np.stack([squares[:, owner == atom].sum(axis=1) for atom in range(len(self.shell))], axis=-1)


def mesh_points(mesh: tuple[int, int, int]) -> tuple[Floats, Floats]:
    """Return the points of a Γ-centred mesh, one of each pair k and -k, and their weights.

    Returns
    -------
    kpoints, weights
        Fractional in [-0.5, 0.5], shape (points, 3), and shape (points,) summing to 1.
    """
    weights: dict[tuple[int, ...], float] = {}
    for index in product(*(range(n) for n in mesh)):
        opposite = tuple(-i % n for i, n in zip(index, mesh, strict=True))
        key = min(index, opposite)
        weights[key] = weights.get(key, 0.0) + 1.0 / np.prod(mesh)
    kpoints = np.array(list(weights), dtype=np.float64) / mesh
    return kpoints - np.round(kpoints), np.array(list(weights.values()))


def fill(energies_ev: Floats, weights: Floats, electrons: float) -> tuple[Floats, float]:
    """Fill the lowest states, without smearing.

    Parameters
    ----------
    energies_ev
        Shape (k points, bands).
    weights
        Shape (k points,), summing to 1.
    electrons
        Electrons in the cell.

    Returns
    -------
    occupations, fermi_ev
        From 0 to 2, of the same shape, the highest level shared evenly by its degenerate states; Fermi level, in
        the middle of the gap if that level is full.
    """
    room = np.broadcast_to(2.0 * weights[:, None], energies_ev.shape)
    order = np.argsort(energies_ev, axis=None)
    total = np.cumsum(room.ravel()[order])
    level = energies_ev.ravel()[order][np.searchsorted(total, electrons - 1e-9)]
    below = energies_ev < level - _DEGENERATE_EV
    partial = ~below & (energies_ev <= level + _DEGENERATE_EV)
    share = float((electrons - room[below].sum()) / room[partial].sum())
    if abs(share - 1.0) > 1e-9:
        return 2.0 * below + 2.0 * share * partial, float(level)
    above = energies_ev[~below & ~partial]
    fermi = 0.5 * (energies_ev[partial].max() + above.min()) if above.size else level
    return 2.0 * (below | partial), float(fermi)


def band_structure(atoms: Atoms, parameters: EmtParameters, kpoint_length_a: float, kpoints: Floats) -> Bands:
    """Return the model's bands at k points of a path, filled as those of a mesh.

    Parameters
    ----------
    atoms, parameters, kpoint_length_a
        As for `electrons`.
    kpoints
        Fractions of the reciprocal vectors, shape (points, 3).
    """
    hamiltonian = Hamiltonian(atoms, parameters)
    mesh, weights = mesh_points(kpoint_mesh(atoms, kpoint_length_a))
    levels = np.array([np.linalg.eigvalsh(hamiltonian.at(kpoint)) for kpoint in mesh])
    occupations, fermi = fill(levels, weights, hamiltonian.electrons)
    solutions = [np.linalg.eigh(hamiltonian.at(kpoint)) for kpoint in kpoints]
    solved = np.array([[values for values, _ in solutions]])
    by_atom = hamiltonian.on_atoms(np.array([np.abs(vectors) ** 2 for _, vectors in solutions]))
    by_shell = (by_atom[None, ..., None] * np.eye(len(SHELLS))[hamiltonian.shell]).astype(np.float16)
    return filled_along(solved, kpoints, Bands(levels[None], occupations[None], mesh, weights, fermi), by_shell)


def electrons(
    atoms: Atoms, parameters: EmtParameters, kpoint_length_a: float, broadening_ev: float
) -> tuple[Bands, Dos]:
    """Return the model's bands and density of states for a structure.

    Parameters
    ----------
    atoms
        The structure.
    parameters
        The parameter set of the dry run.
    kpoint_length_a
        See `sodiate.workflows.engines.shared.grids.kpoint_mesh`.
    broadening_ev
        Standard deviation of the DOS's Gaussians.

    Returns
    -------
    Bands, Dos
        Not spin-polarised: one spin channel, occupations from 0 to 2.
    """
    hamiltonian = Hamiltonian(atoms, parameters)
    kpoints, weights = mesh_points(kpoint_mesh(atoms, kpoint_length_a))
    solutions = [np.linalg.eigh(hamiltonian.at(kpoint)) for kpoint in kpoints]
    energies = np.array([values for values, _ in solutions])
    occupations, fermi = fill(energies, weights, hamiltonian.electrons)
    squares = np.array([np.abs(vectors) ** 2 for _, vectors in solutions])
    characters = {
        str(label): squares[None, :, hamiltonian.labels == label, :].sum(axis=2)
        for label in dict.fromkeys(hamiltonian.labels)
    }
    by_atom = hamiltonian.on_atoms(squares)
    bands = Bands(energies[None], occupations[None], kpoints, weights, fermi, by_atom[None].astype(np.float16))
    return bands, dos_from_bands(bands, broadening_ev, characters, min(MAX_SPACING_EV, broadening_ev / 3.0))
