"""A molecule as the adsorbate: read from a file, turned, put on a site, and looked at where a relaxation left it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import cos, radians, sin
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atom, Atoms
from ase.data import covalent_radii
from ase.formula import non_metals

from .elemental import in_box
from .errors import StructureError
from .geometry import (
    FACES,
    STRETCHED,
    Floats,
    check_element,
    check_overlaps,
    connected,
    image_shifts,
    in_plane_cell,
    lateral_distances,
)
from .sites import EndSite, Site, place
from .slabs import read_atoms
from .vacancies import parse_site_atom

POSES: Final = ("flat", "upright", "inverted")
"""Orientations by name."""

_DIGITS: Final = 6

_SHORT_A: Final = 0.1
"""An offset from an axis or a point that gives no direction."""

_SAME_A: Final = 0.01
"""Distances that differ by less are the same, so that the order of the file decides and no rounding."""

_TURNED_DEG: Final = 30.0
"""A molecule that tilted by more is said to have turned."""

_ORDER: Final = ("B", "Ge", "Si", "As", "P", "N", "H", "Te", "Se", "S", "I", "Br", "Cl", "O", "F")
"""Nonmetals from the less to the more electronegative, as in NH3 and H2S (but for hydrogen, by IUPAC's table)."""


@dataclass(frozen=True, slots=True)
class Molecule:
    """A molecule's atoms in the order of their file, about their centre, rounded to 1e-6.

    Attributes
    ----------
    symbols
        Chemical symbols.
    positions
        Cartesian, Å, shape (atoms, 3), along the axes of the file; their mean is the origin.
    """

    symbols: tuple[str, ...]
    positions: tuple[tuple[float, float, float], ...]

    @property
    def formula(self) -> str:
        """Its formula as chemists write it: ``Na2S``."""
        return formula(self.symbols)

    @property
    def atoms(self) -> Atoms:
        """The atoms without a cell."""
        return Atoms(self.symbols, positions=self.positions)

    def in_box(self, box_a: Sequence[float], where: str) -> Atoms:
        """Return the molecule in the middle of a box, as it is turned in its file.

        Raises
        ------
        StructureError
            If less than 6 Å are left between the molecule and its images; the message begins with ``where``.
        """
        return in_box(self.atoms, box_a, where)


def formula(symbols: Sequence[str]) -> str:
    """Return a formula as chemists write it: metals first; then carbon, hydrogen and the others by the alphabet.

    Without carbon the others follow from the less to the more electronegative: Na2S, NaPF6, LiOH as LiHO, C3H4O3.
    """
    count = {symbol: list(symbols).count(symbol) for symbol in sorted(set(symbols))}
    last = ["C", "H"] if "C" in count else list(_ORDER)

    def rank(symbol: str) -> tuple[bool, int, str]:
        return symbol in non_metals, last.index(symbol) if symbol in last else len(last), symbol

    return "".join(f"{symbol}{count[symbol] if count[symbol] > 1 else ''}" for symbol in sorted(count, key=rank))


def read_adsorbate(path: Path) -> Molecule:
    """Read a molecule that is to be adsorbed; a name of ASE's G2 set, such as ``Na2``, where there is no such file.

    Raises
    ------
    StructureError
        If the file, which is named, is missing, unreadable or periodic, or is no one molecule of several atoms.
    """
    from ase.collections import g2

    atoms = g2[path.name] if not path.exists() and path.name in g2.names else read_atoms(path)
    return molecule_of(atoms, str(path))


def molecule_of(atoms: Atoms, where: str) -> Molecule:
    """Return the molecule that some atoms are.

    Raises
    ------
    StructureError
        If they are one atom, periodic, overlap, or are not bonded to one another; the message begins with ``where``.
    """
    if atoms.cell.rank:
        raise StructureError(
            f"{where}: has a cell, and a molecule may lie across its sides; give the molecule alone, without lattice "
            "vectors, as an XYZ file."
        )
    if len(atoms) == 1:
        symbol = atoms.get_chemical_symbols()[0]
        raise StructureError(f"{where}: is one {symbol} atom; an atom is given as adsorbate: {{element: {symbol}}}.")
    check_overlaps(atoms, where)
    found = fragments(atoms)
    if len(found) > 1:
        distance = min(atoms.get_distances(index, found[1]).min() for index in found[0])
        names = " and ".join(formula(atoms[part].get_chemical_symbols()) for part in found)
        raise StructureError(
            f"{where}: is in {len(found)} fragments, {names}, the first two {distance:.2f} Å apart; give one "
            "molecule, with lengths in Å."
        )
    positions = np.round(atoms.positions - atoms.positions.mean(axis=0), _DIGITS) + 0.0
    return Molecule(
        tuple(atoms.get_chemical_symbols()), tuple((float(x), float(y), float(z)) for x, y, z in positions)
    )


def find_anchor(molecule: Molecule, text: str) -> int | None:
    """Return the index of the atom that lies over a site; None for the centre.

    Parameters
    ----------
    molecule
        The molecule.
    text
        ``centre``, an element of which there is one atom, or an atom such as ``O@3`` (counted from 0).

    Raises
    ------
    StructureError
        If it has no such atom, or several.
    """
    if text == "centre":
        return None
    atoms = ", ".join(f"{symbol}@{index}" for index, symbol in enumerate(molecule.symbols))
    if "@" in text:
        element, index = parse_site_atom(text)
        if index >= len(molecule.symbols) or molecule.symbols[index] != element:
            raise StructureError(f"anchor: {text}: its atoms are {atoms} (counted from 0).")
        return index
    check_element(text, "anchor")
    matches = [index for index, symbol in enumerate(molecule.symbols) if symbol == text]
    if len(matches) != 1:
        raise StructureError(f"anchor: {text}: it has {len(matches)} {text} atoms; name one of {atoms}, or centre.")
    return matches[0]


def rotation(molecule: Molecule, anchor: int | None, orientation: Mapping[str, Any]) -> Floats:
    """Return the matrix R that turns a molecule: its vectors v become R v, z pointing away from the sheet.

    Parameters
    ----------
    molecule, anchor
        The molecule, and the index of the atom that lies over a site; None for the centre.
    orientation
        ``pose``, one of `POSES`; or ``up``, the direction in the file that is to point away from the sheet; or
        ``euler_deg``, φ, θ and ψ about z, x and z of the file; then ``turn_deg`` about the normal, if there is one.

    Returns
    -------
    ndarray
        Shape (3, 3).

    Raises
    ------
    StructureError
        If ``up`` is no direction.
    """
    relative = np.array(molecule.positions)
    if anchor is not None:
        relative = relative - relative[anchor]
    if "euler_deg" in orientation:
        turned = _euler(*(radians(angle) for angle in orientation["euler_deg"]))
    elif "up" in orientation:
        up = np.array(orientation["up"], dtype=np.float64)
        if np.linalg.norm(up) < 1e-6:
            raise StructureError("up: [0, 0, 0] is no direction.")
        turned = _frame(up, _aside(relative, up))
    else:
        turned = _pose(relative, anchor, orientation["pose"])
    angle = radians(orientation.get("turn_deg") or 0.0)
    about_z = np.array([[cos(angle), -sin(angle), 0.0], [sin(angle), cos(angle), 0.0], [0.0, 0.0, 1.0]])
    result: Floats = about_z @ turned
    return result


def _pose(relative: Floats, anchor: int | None, pose: str) -> Floats:
    axis = _axis(relative, anchor)
    if pose == "flat":
        normal = _normal(relative, axis)
        return _frame(normal, axis - (axis @ normal) * normal)
    upright = _frame(axis, _aside(relative, axis))
    return upright if pose == "upright" else np.diag([1.0, -1.0, -1.0]) @ upright


def _axis(relative: Floats, anchor: int | None) -> Floats:
    """Return the direction that points up if a molecule stands: from its anchor to its centre, else its long axis.

    The long axis is that of the two atoms that are furthest apart, from the first in the file to the second.
    """
    centre = relative.mean(axis=0)
    if anchor is not None and np.linalg.norm(centre) > _SHORT_A:
        return _unit(centre)
    pairs = list(combinations(range(len(relative)), 2))
    lengths = [float(np.linalg.norm(relative[j] - relative[i])) for i, j in pairs]
    first, second = next(pair for pair, length in zip(pairs, lengths, strict=True) if length > max(lengths) - _SAME_A)
    return _unit(relative[second] - relative[first])


def _normal(relative: Floats, axis: Floats) -> Floats:
    """Return the direction in which a molecule is thinnest, its first atom outside of the plane at its lower side."""
    centred = relative - relative.mean(axis=0)
    spread, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    # A linear molecule, and one that is equally thin in several directions, has no such direction.
    thin = spread[1] - spread[0] > _SAME_A
    normal = vectors[:, 0] if thin else _unit(np.cross(axis, _aside(relative, axis)))
    heights = centred @ normal
    outside = np.flatnonzero(np.abs(heights) > _SAME_A)
    # Of a flat molecule both sides are alike but for the order of its atoms: the normal's largest part is positive.
    lower = heights[outside[0]] < 0 if len(outside) else normal[int(np.abs(np.round(normal, 3)).argmax())] > 0
    result: Floats = normal if lower else -normal
    return result


def _aside(relative: Floats, axis: Floats) -> Floats:
    """Return the direction, perpendicular to an axis, of the atom that is furthest from the line along it."""
    unit = _unit(axis)
    offsets = relative - np.outer(relative @ unit, unit)
    lengths = np.linalg.norm(offsets, axis=1)
    if lengths.max() > _SHORT_A:
        return offsets[int(np.flatnonzero(lengths > lengths.max() - _SAME_A)[0])]
    other = np.eye(3)[int(np.abs(np.round(unit, 3)).argmin())]
    result: Floats = other - (other @ unit) * unit
    return result


def _frame(z: Floats, x: Floats) -> Floats:
    """Return the rotation that lays a direction onto z and another one, perpendicular to it, onto x."""
    first, third = _unit(x), _unit(z)
    return np.array([first, np.cross(third, first), third])


def _unit(vector: Floats) -> Floats:
    unit: Floats = vector / np.linalg.norm(vector)
    return unit


def _euler(phi: float, theta: float, psi: float) -> Floats:
    """Return the rotation by Euler angles: about z, then the new x, then the new z, in Goldstein's convention."""

    def about_z(angle: float) -> Floats:
        return np.array([[cos(angle), sin(angle), 0.0], [-sin(angle), cos(angle), 0.0], [0.0, 0.0, 1.0]])

    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cos(theta), sin(theta)], [0.0, -sin(theta), cos(theta)]])
    result: Floats = about_z(psi) @ about_x @ about_z(phi)
    return result


def turned(molecule: Molecule, anchor: int | None, orientation: Mapping[str, Any]) -> Floats:
    """Return the positions (Å) of a turned molecule relative to its anchor or centre, z away from the sheet."""
    positions = np.array(molecule.positions)
    if anchor is not None:
        positions = positions - positions[anchor]
    result: Floats = positions @ rotation(molecule, anchor, orientation).T
    return result


def same_start(molecule: Molecule, first: Floats, second: Floats) -> bool:
    """Tell whether two turned molecules are the same but for the order of their atoms."""
    distances = np.linalg.norm(first[:, None] - second[None], axis=2)
    numbers = molecule.atoms.numbers
    same = (distances < _SHORT_A) & (numbers[:, None] == numbers[None])
    return bool(same.any(axis=1).all() and same.any(axis=0).all())


def place_molecule(
    host: Atoms, site: Site, molecule: Molecule, anchor: int | None, orientation: Mapping[str, Any], height: float
) -> Atoms:
    """Put a molecule on a site of a host, which may be relaxed.

    Its anchor, or its centre, lies over the site, its lowest atom at the height of the site's starts; it is lifted
    where an atom would be nearer to one of the host than the sum of their covalent radii.

    Parameters
    ----------
    host, site
        As for `sodiate.structures.sites.place`; the site lies on a face.
    molecule, anchor, orientation
        As for `rotation`. On the bottom face the turned molecule is turned by 180° about x.
    height
        Of the lowest atom above the local face plane, Å.

    Returns
    -------
    Atoms
        A copy with the molecule's atoms last.

    Raises
    ------
    StructureError
        If an atom is nearer to one of an image of the molecule than the sum of their covalent radii, or the site lies
        on no face.
    """
    if site.face not in FACES:
        raise StructureError(f"{site.name} lies on no face, and a molecule is put on faces alone.")
    placed: Atoms = host.copy()
    point = place(host, site, molecule.symbols[0], 0.0).positions[-1]
    up = 1.0 if site.face == FACES[0] else -1.0
    relative = turned(molecule, anchor, orientation) * [1.0, up, up]
    outward = up * relative[:, 2]
    cell = in_plane_cell(host)
    floor = up * point[2] + height - outward.min()
    for number, atom, outside in zip(molecule.atoms.numbers, relative, outward, strict=True):
        lateral = lateral_distances(_fractions(host.positions - point - atom, cell), cell)
        radii = covalent_radii[host.numbers] + covalent_radii[number]
        near = lateral < radii
        rests = up * host.positions[near, 2] + np.sqrt(radii[near] ** 2 - lateral[near] ** 2)
        floor = max(floor, rests.max(initial=-np.inf) - outside)
    for symbol, atom in zip(molecule.symbols, relative, strict=True):
        placed.append(Atom(symbol, (point[0] + atom[0], point[1] + atom[1], atom[2] + up * floor)))
    _check_images(placed, len(host), cell)
    return placed


def _fractions(vectors: Floats, cell: Floats) -> Floats:
    return np.array(np.linalg.solve(cell.T, vectors[:, :2].T).T, dtype=np.float64)


def _check_images(placed: Atoms, before: int, cell: Floats) -> None:
    own: Atoms = placed[before:]
    radii = covalent_radii[own.numbers]
    for images in image_shifts(cell):
        if not images.any():
            continue
        shift = np.array([*(images @ cell), 0.0])
        distances = np.linalg.norm(own.positions[:, None] - own.positions[None] - shift, axis=2)
        if (distances < radii[:, None] + radii[None]).any():
            name = formula(own.get_chemical_symbols())
            raise StructureError(
                f"{name} comes within {distances.min():.2f} Å of its own image, nearer than the sum of covalent "
                "radii; take a larger supercell."
            )


def fragments(atoms: Atoms, dropped: Sequence[tuple[int, int]] = ()) -> list[list[int]]:
    """Return the indices of atoms that are bonded to one another, fragment by fragment, in the order of the atoms.

    Atoms are bonded within 1.3 times the sum of their covalent radii, but for the pairs ``dropped``.
    """
    radii = covalent_radii[atoms.numbers]
    bonded = atoms.get_all_distances(mic=bool(atoms.pbc.any())) < STRETCHED * (radii[:, None] + radii[None])
    for i, j in dropped:
        bonded[i, j] = bonded[j, i] = False
    parts = connected(len(atoms), lambda index: np.flatnonzero(bonded[index]))
    return [part.tolist() for part in parts]


def no_bonds(molecule: Molecule) -> list[tuple[int, int]]:
    """Return the pairs of a molecule's metal atoms that are held together by others, as both Na of Na2S.

    Near as they may be, they are not what holds it together.
    """
    atoms = molecule.atoms
    metals = [index for index, symbol in enumerate(molecule.symbols) if symbol not in non_metals]
    pairs = list(combinations(metals, 2))
    return pairs if len(fragments(atoms, pairs)) == 1 else []


@dataclass(frozen=True)
class MoleculeStart:
    """A molecule that was placed, its anchor, and the ideal host with it."""

    molecule: Molecule
    anchor: int | None
    atoms: Atoms


def reached_site(end: Callable[[Atoms], EndSite], final: Atoms, start: MoleculeStart) -> EndSite:
    """Name the site where a molecule ended, by its anchor or centre, and say what became of it.

    Parameters
    ----------
    end
        Names the site of the last atom on the relaxed host, as `sodiate.structures.sites.end_site`.
    final
        Relaxed host with the molecule last.
    start
        Where it was placed.

    Returns
    -------
    EndSite
        "desorbed" if none of its atoms is within 4.5 Å of the face. The note says into what it dissociated and where
        the parts are, and by how much it tilted if that is more than 30°.
    """
    molecule, anchor, began = start.molecule, start.anchor, start.atoms
    count = len(molecule.symbols)
    host, own = final[:-count], _whole(began[-count:], final[-count:])

    def ended(part: Sequence[int]) -> EndSite:
        probe, positions = host.copy(), own.positions[list(part)]
        x, y, middle = own.positions[anchor] if anchor in part else positions.mean(axis=0)
        lowest = positions[:, 2].min() if middle > host.positions[:, 2].mean() else positions[:, 2].max()
        probe.append(Atom(molecule.symbols[part[0]], (x, y, lowest)))
        return end(probe)

    parts = fragments(own, no_bonds(molecule))
    names = [formula(own[part].get_chemical_symbols()) for part in parts]
    ends = list(map(ended, parts))
    first = next(index for index, part in enumerate(parts) if (anchor or 0) in part)
    stayed = [end for end in (ends[first], *ends) if end.label != _LEFT]
    found = stayed[0] if stayed else ends[first]
    tilt = _tilt(began.positions[-count:], own.positions)
    words = f"tilted by {tilt:.0f}°" if tilt > _TURNED_DEG and stayed else None
    if len(parts) > 1:
        where = [f"{name} at {end.label}" for name, end in zip(names, ends, strict=True)]
        words = f"dissociated: {', '.join(where)}".replace(f"at {_LEFT}", _LEFT)
    note = "; ".join(one for one in (found.note, words) if one) or None
    return EndSite(found.label, found.moved, note, found.start)


_LEFT: Final = "desorbed"
"""Where the parts are that left the sheet."""


def _whole(before: Atoms, after: Atoms) -> Atoms:
    """Return a molecule's atoms after a relaxation, each at its image where it lies to the first most as before."""
    from ase.geometry import find_mic

    whole: Atoms = after.copy()
    shape = before.positions - before.positions[0]
    changes = after.positions - after.positions[0] - shape
    whole.positions = after.positions[0] + shape + find_mic(changes, after.cell, after.pbc)[0]
    return whole


def _tilt(before: Floats, after: Floats) -> float:
    """Return by how much a molecule turned against the sheet's normal, degrees; turns about the normal are none."""
    first, second = (positions - positions.mean(axis=0) for positions in (before, after))
    left, values, right = np.linalg.svd(first.T @ second)
    if values[1] < _LINEAR * values[0]:  # nor is a turn of a linear molecule about its own axis
        ends = [abs(_unit(positions[-1] - positions[0])[2]) for positions in (first, second)]
        angles = np.degrees(np.arccos(np.clip(ends, 0.0, 1.0)))
        return float(abs(angles[1] - angles[0]))
    mirror = np.diag([1.0, 1.0, np.linalg.det(left @ right)])
    turn = left @ mirror @ right
    return float(np.degrees(np.arccos(np.clip(turn[2, 2], -1.0, 1.0))))


_LINEAR: Final = 1e-3
"""A molecule whose second axis is so short, by its first, is linear."""
