"""Geometry of a two-dimensional crystal: its in-plane lattice, minimum images, layers and faces.

Every host has its slab normal along z and its lattice vectors a and b in the xy plane; positions along z are
not periodic. "Lateral" means in that plane.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Final

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, covalent_radii
from ase.symbols import Symbols
from numpy.typing import NDArray

from .errors import StructureError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FACES: Final = ("top", "bottom")

# Atoms whose heights differ by less than this (Å) are one layer: it joins the buckled sublattices of silicene
# (0.45) and of 1T' WTe2 (0.6), and keeps the planes of MnO2 (0.95) and of every 2H layer (1.5) apart.
LAYER_GAP: Final = 0.75

# Å. A layer by height that is thicker than this is none: it joins what lies in different layers of a ripple.
_RAGGED: Final = 2 * LAYER_GAP

# Å, and how often. The width over which heights are averaged to find the local middle of a sheet: more than the
# distance of neighbours, less than a ripple.
_AVERAGED: Final = 2.0
_AVERAGES: Final = 3

# Two atoms closer than this fraction of the sum of their covalent radii are a mistake in the input.
OVERLAP: Final = 0.6

# As many atoms are looked at pair by pair; of more, only those that lie in neighbouring boxes.
_FEW_ATOMS: Final = 150

# Atoms closer than this many times the sum of their covalent radii are bonded (W–Se 2.55 of 2.82 Å, next 4.2 Å).
BOND: Final = 1.2

# The same for a bond that may be strained, in what a user gives.
STRETCHED: Final = 1.3

# Atoms of a host. No code here computes more, and one of so many is planned in a second.
MOST_ATOMS: Final = 5000

# Å. No lattice vector is shorter, and neighbours in such a cell have no end.
SHORTEST_EDGE: Final = 0.1

# Volume of a cell by that of a box of its edges: two of them 3° apart give this.
_FLATTEST: Final = 0.05

# Å. No lattice vector is longer, and no atom further out.
LONGEST_EDGE: Final = 2000.0

_SAME_PLACE_A: Final = 1e-4
"""As near as another place that was tried before."""

_SAME_CELL_A: Final = 1e-2
"""Cells that differ by less are one cell: a whole one, of which a turn has to be found, differs by far more."""

_ELEMENTS: Final = frozenset(chemical_symbols[1:])


def check_element(symbol: str, where: str) -> None:
    """Check that a string is a chemical symbol.

    Raises
    ------
    StructureError
        If it is not; the message names the symbol and ``where``.
    """
    if symbol not in _ELEMENTS:
        raise StructureError(f"{where}: {symbol!r} is not an element; give a chemical symbol such as W or Se.")


def bond_reach(first: Ints | int, second: Ints | int) -> Floats:
    """Return the distance below which atoms of these atomic numbers are bonded.

    Parameters
    ----------
    first, second
        Atomic numbers, of shapes that broadcast.

    Returns
    -------
    ndarray
        Å, of the broadcast shape.
    """
    reach: Floats = BOND * (covalent_radii[first] + covalent_radii[second])
    return reach


def bonded(atoms: Atoms) -> list[tuple[int, int]]:
    """Return the pairs of indices of atoms that are bonded within the drawn cell, not across its sides."""
    distances = np.linalg.norm(atoms.positions[:, None] - atoms.positions[None], axis=2)
    reach = bond_reach(atoms.numbers[:, None], atoms.numbers[None])
    return [(int(i), int(j)) for i, j in np.argwhere((distances < reach) & (distances > 0)) if i < j]


def check_repeat(repeat: tuple[int, int], atoms: int) -> None:
    """Check that a supercell is two whole numbers of at least 1, and not too many atoms.

    Parameters
    ----------
    repeat
        The repeats along a and b.
    atoms
        Atoms of what is repeated.

    Raises
    ------
    StructureError
        If it is not; the message names the value.
    """
    if len(repeat) != 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in repeat):
        raise StructureError(
            f"supercell {repeat!r}: give two whole numbers of at least 1, the repeats along a and b."
        )
    if repeat[0] * repeat[1] * atoms > MOST_ATOMS:
        raise StructureError(
            f"supercell {repeat[0]}×{repeat[1]}: {repeat[0] * repeat[1] * atoms} atoms are more than {MOST_ATOMS}, "
            "the most that a host may have; give smaller repeats."
        )


def check_edges(atoms: Atoms, where: str) -> None:
    """Check that no lattice vector is shorter than 0.1 Å, or longer than 2000 Å, and no atom further out.

    Raises
    ------
    StructureError
        If one is; the message has its length. One of zero length is absent.
    """
    edges = np.asarray(atoms.cell.lengths())
    short = edges[(edges > 1e-12) & (edges < SHORTEST_EDGE)]
    if len(short):
        raise StructureError(f"{where}: a lattice vector is {short.min():g} Å long; give lengths in Å.")
    if atoms.cell.rank == 3 and atoms.cell.volume < _FLATTEST * edges.prod():
        raise StructureError(f"{where}: the lattice vectors lie nearly in one plane; check the cell and its angles.")
    if edges.max() > LONGEST_EDGE or np.abs(atoms.positions).max(initial=0.0) > LONGEST_EDGE:
        furthest = max(edges.max(), np.abs(atoms.positions).max(initial=0.0))
        raise StructureError(
            f"{where}: a lattice vector or position is {furthest:g} Å long, more than {LONGEST_EDGE:g}; give lengths "
            "in Å, and atoms within the cell."
        )


def check_overlaps(atoms: Atoms, where: str) -> None:
    """Check that no atoms are closer than 0.6 times the sum of their covalent radii, in-plane images included.

    Raises
    ------
    StructureError
        If some are; the message names the two closest, their indices and their distance in Å.
    """
    check_edges(atoms, where)
    radii = OVERLAP * covalent_radii[atoms.numbers]
    if len(atoms) <= _FEW_ATOMS and _all_apart(atoms, radii):
        return
    from ase.neighborlist import neighbor_list  # scipy with it, for which no reader of results should wait

    first, second, distance = neighbor_list("ijd", atoms, list(radii))
    if len(distance) == 0:
        return
    worst = int(np.argmin(distance))
    i, j = sorted((int(first[worst]), int(second[worst])))
    symbols = atoms.symbols
    other = "its own periodic image" if i == j else f"{symbols[j]} {j}"
    raise StructureError(
        f"{where}: atom {symbols[i]} {i} and {other} are {distance[worst]:.2f} Å apart, closer than "
        f"{OVERLAP} times the sum of their covalent radii; check the positions, and that lengths are in Å."
    )


def _all_apart(atoms: Atoms, radii: Floats) -> bool:
    """Tell whether no atom comes as near to another, or to an image, as the sum of their radii, shape (atoms,), Å.

    Every pair is looked at in every cell that it may reach, which suits few atoms.
    """
    cell = atoms.cell.complete().array
    pbc = np.asarray(atoms.pbc, dtype=bool)
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T
    differences = fractions[:, None] - fractions[None]
    differences -= np.round(differences) * pbc
    margin = 2 * radii.max(initial=0.0) * np.linalg.norm(np.linalg.inv(cell), axis=0)
    reach = np.where(pbc, np.floor(margin + 0.5 + 1e-6), 0).astype(int)
    nearest = (np.add.outer(radii, radii) + 1e-9) ** 2
    for shift in product(*(range(-steps, steps + 1) for steps in reach)):
        squares = (((differences + shift) @ cell) ** 2).sum(axis=2)
        if not any(shift):
            np.fill_diagonal(squares, np.inf)
        if (squares < nearest).any():
            return False
    return True


def describe(atoms: Atoms) -> str:
    """Name a host in a message: its formula and, for a supercell, the number of formula units."""
    return _described(tuple(atoms.numbers.tolist()))


@lru_cache(maxsize=512)
def _described(numbers: tuple[int, ...]) -> str:
    formula, units = Symbols(numbers).formula.reduce()
    return str(formula) if units == 1 else f"{formula} × {units}"


def in_plane_cell(atoms: Atoms) -> Floats:
    """Return the in-plane lattice vectors as rows, shape (2, 2), in Å.

    Raises
    ------
    StructureError
        If a and b do not span the xy plane.
    """
    cell = np.asarray(atoms.cell)[:2]
    if np.abs(cell[:, 2]).max() > 1e-6 or abs(np.linalg.det(cell[:, :2])) < 1e-6:
        raise StructureError(f"{describe(atoms)}: the lattice vectors a and b must span the xy plane.")
    return np.array(cell[:, :2], dtype=np.float64)


def in_plane_fractions(atoms: Atoms) -> Floats:
    """Return the fractional in-plane coordinates of all atoms, shape (atoms, 2), not wrapped."""
    fractions: Floats = np.linalg.solve(in_plane_cell(atoms).T, atoms.positions[:, :2].T).T
    return fractions


def wrap(difference: Floats) -> Floats:
    """Wrap differences of fractional coordinates, of any shape, into [-0.5, 0.5]."""
    wrapped: Floats = difference - np.round(difference)
    return wrapped


def image_shifts(cell: Floats) -> Floats:
    """Return the lattice translations that the minimum image of a wrapped difference may need.

    A wrapped difference is no longer than R = (|a| + |b|)/2, so its shortest image has fractional components
    of at most R/h, h being the spacings of the lattice lines: exact for cells of any skew.

    Parameters
    ----------
    cell
        In-plane lattice vectors as rows, shape (2, 2), Å.

    Returns
    -------
    ndarray
        Fractional (whole numbers), shape (images, 2).
    """
    lengths = np.linalg.norm(cell, axis=1)
    spacings = abs(np.linalg.det(cell)) / lengths[::-1]
    n, m = np.floor(lengths.sum() / 2 / spacings + 0.5 + 1e-9).astype(int)
    return np.array([(i, j) for i in range(-n, n + 1) for j in range(-m, m + 1)], dtype=np.float64)


def lateral_distances(difference: Floats, cell: Floats) -> Floats:
    """Return minimum-image lateral lengths.

    Parameters
    ----------
    difference
        Differences of fractional coordinates, shape (..., 2).
    cell
        In-plane lattice, shape (2, 2), Å.

    Returns
    -------
    ndarray
        Shape (...), Å.
    """
    images = wrap(difference)[..., None, :] + image_shifts(cell)
    shortest: Floats = np.linalg.norm(images @ cell, axis=-1).min(axis=-1)
    return shortest


def layers(heights: Floats) -> list[Ints]:
    """Group atoms into layers by height.

    Parameters
    ----------
    heights
        z of each atom, shape (atoms,), Å.

    Returns
    -------
    list of ndarray
        Sorted indices of the atoms of each layer, the lowest layer first.
    """
    order = np.argsort(heights, kind="stable")
    breaks = np.flatnonzero(np.diff(heights[order]) > LAYER_GAP) + 1
    return [np.sort(group) for group in np.split(order, breaks)]


def face_layers(atoms: Atoms, face: str) -> tuple[Ints, Ints]:
    """Return the indices of the outermost and of the second layer, seen from a face.

    The second layer of a host one layer thick is empty. In a sheet that is rippled or tilted so far that heights tell
    no layers, they are those of the heights above its local middle.
    """
    stack = _uneven_layers(atoms) or layers(atoms.positions[:, 2])
    if face == "top":
        stack = stack[::-1]
    return stack[0], stack[1] if len(stack) > 1 else np.array([], dtype=np.int64)


def is_uneven(atoms: Atoms) -> bool:
    """Tell whether a host is rippled or tilted so far that its layers follow from local heights alone."""
    return _uneven_layers(atoms) is not None


def _uneven_layers(atoms: Atoms) -> list[Ints] | None:
    """Return the layers of an uneven host by local heights, the lowest first; None of an even one.

    Each sheet is judged by itself, since one may be rippled and the other flat. What has clear layers in
    neither way is taken by its heights.
    """
    stack = layers(atoms.positions[:, 2])
    if max(float(np.ptp(atoms.positions[layer, 2])) for layer in stack) <= _RAGGED:
        return None
    found: list[Ints] = []
    for sheet in sheets(atoms):
        heights = _above_the_middle(atoms[sheet])
        own = layers(heights)
        if max(float(np.ptp(heights[layer])) for layer in own) > LAYER_GAP:
            return None
        found += [sheet[layer] for layer in own]
    whole = sum(map(len, found)) == len(atoms) and len(found) >= len(stack)
    return found if whole else None


def _above_the_middle(sheet: Atoms) -> Floats:
    """Return the height of each atom above the local middle of its sheet, shape (atoms,), Å."""
    from ase.neighborlist import neighbor_list

    flat = sheet.copy()
    flat.positions[:, 2] = 0.0
    flat.cell[2] = (0.0, 0.0, 4 * _AVERAGED)
    flat.pbc = (True, True, False)
    first, second, distances = neighbor_list("ijd", flat, 3 * _AVERAGED)
    weights = np.exp(-((distances / _AVERAGED) ** 2) / 2)
    total = 1.0 + np.bincount(first, weights, minlength=len(sheet))
    heights: Floats = sheet.positions[:, 2].copy()
    # What one average leaves of a ripple, the next ones take.
    for _ in range(_AVERAGES):
        heights -= (heights + np.bincount(first, weights * heights[second], minlength=len(sheet))) / total
    return heights


def connected(count: int, near: Callable[[int], Ints]) -> list[Ints]:
    """Return the numbers below a count group by group, each sorted, from what each one is directly connected to."""
    left, found = set(range(count)), []
    while left:
        members, open_ = set[int](), {min(left)}
        while open_:
            number = open_.pop()
            members.add(number)
            open_ |= set(near(number).tolist()) - members
        found.append(np.array(sorted(members), dtype=np.int64))
        left -= members
    return found


def sheets(atoms: Atoms) -> list[Ints]:
    """Return the atoms of each bonded sheet, the lowest first.

    Atoms within 1.2 times the sum of their covalent radii are bonded. A part with fewer atoms than half of the
    largest one is none: an adsorbed atom, a molecule.
    """
    fractions, cell, heights = in_plane_fractions(atoms), in_plane_cell(atoms), atoms.positions[:, 2]
    height = float(atoms.cell[2, 2]) if atoms.pbc[2] else np.inf  # a crystal's c stands upright

    def bonded_to(index: int) -> Ints:
        lateral = lateral_distances(fractions - fractions[index], cell)
        above = heights - heights[index]
        above = above - np.round(above / height) * height if np.isfinite(height) else above
        return np.flatnonzero(np.hypot(lateral, above) < bond_reach(atoms.numbers[index], atoms.numbers))

    parts = connected(len(atoms), bonded_to)
    most = max(len(part) for part in parts)
    whole = [part for part in parts if 2 * len(part) >= most and len(part) > 1]
    return sorted(whole, key=lambda part: float(atoms.positions[part, 2].mean()))


def pairing(atoms: Atoms, others: Atoms) -> tuple[list[int], float]:
    """Pair the atoms of two structures so that the sum of distances is least.

    Parameters
    ----------
    atoms, others
        The same elements in any order, periodic along all axes, in the cell of ``others``.

    Returns
    -------
    indices, distance
        The index among ``atoms`` of each of ``others``, and the largest distance of a pair (Å).
    """
    from ase.geometry import get_distances
    from scipy.optimize import linear_sum_assignment

    _, distances = get_distances(others.positions, atoms.positions, cell=others.cell, pbc=True)
    different = others.numbers[:, None] != atoms.numbers[None, :]
    rows, columns = linear_sum_assignment(distances + 1e3 * different)
    return [int(column) for column in columns], float(distances[rows, columns].max())


def moved_pairing(atoms: Atoms, others: Atoms) -> tuple[list[int], float, Floats]:
    """Return the same as `pairing`, the others moved as a whole to where they lie nearest, and that move (Å).

    Parameters
    ----------
    atoms, others
        As for `pairing`. Where they lie makes no difference to an energy; a cell may begin anywhere, also along z.
    """
    from ase.geometry import find_mic

    symbols = atoms.get_chemical_symbols()
    rarest = min(dict.fromkeys(symbols), key=symbols.count)
    first = atoms.positions[symbols.index(rarest)]
    there = [index for index, symbol in enumerate(others.get_chemical_symbols()) if symbol == rarest]
    best: tuple[list[int], float, Floats] | None = None
    for begin in [np.zeros(3), *(first - others.positions[there])]:
        move = find_mic(begin, others.cell, pbc=True)[0]
        for _ in range(2):  # the first pairs are those of one atom laid upon another; then all at once
            placed = others.copy()
            placed.positions += move
            order, far = pairing(atoms, placed)
            if best is None or far < best[1] - _SAME_PLACE_A:  # where they lie already, if that is as near
                best = order, far, move
            move = move + find_mic(atoms.positions[order] - placed.positions, others.cell, pbc=True)[0].mean(axis=0)
    assert best is not None
    return best


@dataclass(frozen=True)
class Placement:
    """How others lie on atoms: each at ``fractions @ turn + shift``, in the atoms' order.

    Attributes
    ----------
    order
        Index among the atoms of each of the others.
    distance
        The largest of a pair, Å.
    turn
        Shape (3, 3), whole numbers.
    shift
        Fractions of the cell, shape (3,).
    """

    order: list[int]
    distance: float
    turn: Ints
    shift: Floats


_CLOSE_A: Final = 0.3
"""As near as no other turn has to be looked for."""


_UNTURNED: Final = (np.eye(3, dtype=np.int64),)


def placement(atoms: Atoms, others: Atoms, turns: Sequence[Ints] = _UNTURNED) -> Placement:
    """Find where others lie on atoms that are the same up to a move, a turn of the cell, and some symmetry.

    Parameters
    ----------
    atoms, others
        The same elements in any order; if their cells are not the same but for their orientation, nothing is turned.
    turns
        Rotations of fractions that the surroundings allow, the identity first; by default it alone. The first of the
        nearest counts.
    """
    best: Placement | None = None
    for turn in turns:
        turned = others.copy()
        if turned_cell(np.asarray(others.cell), turn @ np.asarray(atoms.cell))[1] < _SAME_CELL_A:
            turned.set_cell(atoms.cell)
            turned.set_scaled_positions(others.get_scaled_positions(wrap=False) @ turn)
        order, far, move = moved_pairing(atoms, turned)
        if best is None or far < best.distance - _SAME_PLACE_A:
            best = Placement(order, far, turn, np.linalg.solve(np.asarray(turned.cell).T, move))
        if best.distance < _CLOSE_A:
            break
    assert best is not None
    return best


def turned_cell(cell: Floats, target: Floats) -> tuple[Floats, float]:
    """Return the rotation that lays a cell upon another one best, and what is left of their difference (Å).

    Parameters
    ----------
    cell, target
        Vectors as rows, shape (3, 3), Å.

    Returns
    -------
    rotation, difference
        ``cell @ rotation`` is near the target, mirrored if only so they agree; the largest component that differs.
    """
    first, _, second = np.linalg.svd(cell.T @ target)
    rotation: Floats = first @ second
    return rotation, float(np.abs(cell @ rotation - target).max())
