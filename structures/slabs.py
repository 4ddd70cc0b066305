"""A user's two-dimensional host: the content of a structure file, normalised for hashing."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from .cif import DIGITS, mended
from .errors import StructureError
from .geometry import STRETCHED, Floats, check_edges, check_overlaps, check_repeat

# Å. Layered bulk crystals have gaps of 3 to 4 Å; a slab has far more.
VACUUM_GAP: Final = 5.0

# Å. Van der Waals layers lie 2.8 to 3.7 Å apart; what is further away is another sheet, or a stray atom.
LAYER_DISTANCE: Final = 4.0

# Å. Atoms of one element that are nearer are the same one, from a position with few digits.
_ROUNDING: Final = 0.3

_BOHR_A: Final = 0.529177

_CIF: Final = (".cif", ".mcif", ".mmcif")

POSCAR: Final = "vasp"
"""ASE's name of the format of a POSCAR, and its suffix."""

SUFFIXES: Final = (*_CIF, f".{POSCAR}", ".poscar", ".xyz", ".extxyz")
"""By which a name is that of a structure file."""

_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Slab:
    """Content of a two-dimensional host, rounded to 1e-6, independent of file format and orientation.

    Attributes
    ----------
    symbols
        Chemical symbols in the order of the file.
    cell
        In-plane lattice vectors a and b in Å, right-handed, a along x.
    positions
        Per atom the fractional coordinates along a and b, in [0, 1), and z in Å above the lowest atom.
    """

    symbols: tuple[str, ...]
    cell: tuple[tuple[float, float], tuple[float, float]]
    positions: tuple[tuple[float, float, float], ...]


def build_slab(slab: Slab, repeat: tuple[int, int]) -> Atoms:
    """Build an n×m supercell of a user's host.

    Returns
    -------
    Atoms
        Cell by cell in the order of `Atoms.repeat`, within a cell in the order of the file; periodic along a
        and b, the third cell vector zero until `box`.

    Raises
    ------
    StructureError
        On a repeat below 1, or too large.
    """
    check_repeat(repeat, len(slab.symbols))
    cell = np.zeros((3, 3))
    cell[:2, :2] = slab.cell
    fractions = np.array(slab.positions)
    positions = fractions[:, :2] @ cell[:2] + fractions[:, 2:] * (0.0, 0.0, 1.0)
    atoms = Atoms(slab.symbols, positions=positions, cell=cell, pbc=(True, True, False))
    supercell: Atoms = atoms.repeat((*repeat, 1))
    return supercell


def sheet(symbols: Sequence[str], cell: Floats, places: Floats) -> Slab:
    """Return a slab from numbers.

    Parameters
    ----------
    symbols
        Chemical symbols.
    cell
        a along x, and b, shape (2, 2), Å.
    places
        Fractions along a and b, and height (Å) of each atom, shape (atoms, 3).
    """
    lowest = np.array([0.0, 0.0, places[:, 2].min()])
    rounded = np.round(places - lowest, _DIGITS) % (1.0, 1.0, np.inf)
    edges = np.round(cell, _DIGITS) + 0.0
    return Slab(
        tuple(symbols),
        ((float(edges[0, 0]), float(edges[0, 1])), (float(edges[1, 0]), float(edges[1, 1]))),
        tuple((float(u), float(v), float(z)) for u, v, z in rounded),
    )


def read_slab(path: str | Path) -> Slab:
    """Read a two-dimensional host from a POSCAR, CIF, extended XYZ or other file that ASE reads.

    The vacuum may lie along any axis, which becomes the third; the slab may straddle the cell's boundary; the
    third axis need not be perpendicular. The face that the third axis points to is the top. Of a file with
    several structures the last one counts. A third vector of zero length, or exactly one axis declared not
    periodic, stands for the vacuum.

    Raises
    ------
    StructureError
        Naming the file: missing, a directory, unreadable, without atoms, with partial occupancies, without a
        vacuum gap of 5 Å along one axis, with such gaps along several, with overlapping atoms, with atoms held
        fixed, or not one sheet: bonded along both axes, layers at most 4 Å apart.
    """
    path = Path(path)
    atoms = read_atoms(path)
    cell, axis, declared = _vacuum_axis(atoms, path)
    # Cyclic, so that the handedness of the lattice stays.
    order = [(axis + 1) % 3, (axis + 2) % 3, axis]
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T[:, order]
    cell = cell[order]
    height = abs(float(np.linalg.det(cell))) / float(np.linalg.norm(np.cross(cell[0], cell[1])))
    given = float(np.linalg.norm(np.asarray(atoms.cell)[axis])) > 1e-6
    apart = float(np.ptp(fractions[:, 2])) * height
    if not declared or (given and apart > _largest_span(fractions[:, 2]) * height + VACUUM_GAP):
        # Wrapped first, so that the atom that ends the gap is at exactly 0.
        heights = fractions[:, 2] % 1.0
        fractions[:, 2] = (heights - _largest_gap(heights)[1]) % 1.0
    slab = _normalise(atoms, cell, fractions @ cell)
    built = build_slab(slab, (1, 1))
    check_overlaps(built, str(path))
    _check_sheet(built, path)
    return slab


def read_atoms(path: Path) -> Atoms:
    """Read the atoms of a structure file; raise `StructureError`, naming it, if it holds no ordered structure."""
    from ase.io import read  # a plan without files does not wait for it

    if path.is_dir():
        raise StructureError(f"{path}: a directory, not a structure file; name the file in it.")
    if not path.exists():
        raise StructureError(f"{path}: no such structure file.")
    if not path.is_file():
        raise StructureError(f"{path}: a pipe or a device; give a structure file.")
    try:
        _refuse_more_atoms_than_lines(path)
        atoms = _read_cif(path) if path.suffix.lower() in _CIF else read(path, do_not_split_by_at_sign=True)
    except StructureError:
        raise
    except PermissionError:
        raise StructureError(f"{path}: you may not read it; `ls -l {path}` says who may.") from None
    except Exception as error:  # each of ASE's readers fails in a way of its own
        reason = str(error).strip() or type(error).__name__
        if reason == path.suffix.removeprefix("."):  # all that ASE says of a kind of file that it does not know
            reason = f"it knows no kind of file {path.suffix!r}"
        raise StructureError(
            f"{path}: ASE cannot read it as a structure ({reason}). "
            f"Use a POSCAR (name it POSCAR or *.{POSCAR}), a CIF (*.cif) or extended XYZ (*.xyz, *.extxyz)."
        ) from error
    if not isinstance(atoms, Atoms) or len(atoms) == 0:
        raise StructureError(f"{path}: holds no atoms.")
    _refuse_undefined(atoms, path)
    _refuse_held(atoms, path)
    return atoms


def _refuse_undefined(atoms: Atoms, path: Path) -> None:
    """Refuse what is no number, unknown elements, and positions shared by several."""
    if not (np.isfinite(atoms.positions).all() and np.isfinite(np.asarray(atoms.cell)).all()):
        raise StructureError(f"{path}: a position or a lattice vector is not a finite number.")
    check_edges(atoms, str(path))
    if (atoms.numbers == 0).any():
        raise StructureError(f"{path}: atom {int(np.argmin(atoms.numbers))} has no known element.")
    for kinds in (atoms.info.get("occupancy") or {}).values():
        if len(kinds) > 1 or any(abs(occupancy - 1) > 1e-3 for occupancy in kinds.values()):
            mixture = ", ".join(f"{symbol} {occupancy:g}" for symbol, occupancy in kinds.items())
            raise StructureError(f"{path}: a position is partially occupied ({mixture}); give an ordered structure.")


def _refuse_held(atoms: Atoms, path: Path) -> None:
    """Refuse atoms that are to stay where they are, along one axis or all."""
    held = sum(len(getattr(constraint, "index", ())) for constraint in atoms.constraints)
    held = max(held, _held_in_poscar(path))
    if atoms.constraints or held:
        raise StructureError(
            f"{path}: holds {held or 'some'} of its atoms fixed (selective dynamics), and sodiate relaxes all atoms "
            "of a host; take the flags out of the file if they may move."
        )


def _refuse_more_atoms_than_lines(path: Path) -> None:
    """Refuse a POSCAR that says to have more atoms than lines, for which ASE makes room first."""
    lines = _poscar_lines(path)
    counts = [int(word) for line in lines[5:7] for word in line.split() if word.isdecimal() and len(word) < 20]
    if sum(counts) > len(lines):
        raise StructureError(f"{path}: it says to have {sum(counts)} atoms, and has {len(lines)} lines.")


def _poscar_lines(path: Path) -> list[str]:
    """Return the lines of a file that is a POSCAR, of another one none."""
    from ase.io.formats import filetype

    if filetype(str(path), guess=True) != POSCAR:
        return []
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _held_in_poscar(path: Path) -> int:
    """Return how many atoms of a POSCAR have a false flag in any spelling of Fortran's; ASE knows F alone."""
    lines = _poscar_lines(path)
    first = [line.strip()[:1].lower() for line in lines]
    # A line of elements may begin with S, too, but is not followed by that of the kind of coordinates.
    begins = next(
        (k for k in range(5, len(lines[:9]) - 1) if first[k] == "s" and first[k + 1] in ("c", "d", "k")), None
    )
    if begins is None:
        return 0
    flags = [line.split()[3:6] for line in lines[begins + 2 :]]
    return sum(any(flag.strip(".").lower().startswith("f") for flag in row) for row in flags)


def _read_cif(path: Path) -> Atoms:
    """Read a CIF, in which 0.33 is a third if it otherwise makes two atoms of one."""
    from ase.io import read

    text = path.read_text(encoding="utf-8", errors="replace")
    for digits in (DIGITS, DIGITS - 1):
        atoms = read(StringIO(mended(text, str(path), digits)), format="cif")
        assert isinstance(atoms, Atoms)  # without an index, the last structure of a file
        check_edges(atoms, str(path))
        if (double := _double(atoms)) is None:
            return atoms
    raise StructureError(
        f"{path}: two {double} lie almost on each other, as a position with too few digits gives that a symmetry "
        "operation takes elsewhere; give positions with six digits (0.333333), or all atoms in P 1."
    )


def _double(atoms: Atoms) -> str | None:
    """Return the element of two atoms that are one but for rounding, if there are such."""
    from ase.neighborlist import neighbor_list

    if atoms.cell.rank < 3:  # not periodic, so that nothing was taken elsewhere
        return None
    first, second = neighbor_list("ij", atoms, _ROUNDING)
    same = np.flatnonzero(atoms.numbers[first] == atoms.numbers[second])
    return str(atoms.symbols[int(first[same[0]])]) if len(same) else None


def _check_sheet(atoms: Atoms, path: Path) -> None:
    """Refuse what is no one sheet: bonded along both axes, and nothing far above it or below.

    Van der Waals layers, and what lies on or between them, belong to one host.
    """
    most = max(_ranks(atoms, 1.0))
    if most < 2:
        what = (
            "is bonded nowhere along a and b" if most == 0 else "extends along one direction alone, as a ribbon does"
        )
        why = "A host is a sheet that is bonded along both; check its lengths (Å) and its cell."
        if most == 0 and max(_ranks(atoms, _BOHR_A)) == 2:
            why = f"Times {_BOHR_A:.4f} it would be one: are its lengths in Bohr? Give them in Å."
        raise StructureError(f"{path}: is not a 2D host: it {what}. {why}")
    order = np.argsort(atoms.positions[:, 2], kind="stable")
    gaps = np.diff(atoms.positions[order, 2])
    if len(gaps) and gaps.max() > LAYER_DISTANCE:
        first, second = (int(order[int(gaps.argmax()) + step]) for step in (0, 1))
        raise StructureError(
            f"{path}: is not one sheet: between {atoms.symbols[first]} {first} and {atoms.symbols[second]} {second} "
            f"above it {gaps.max():.2f} Å are empty, and layers of one host lie at most {LAYER_DISTANCE:g} Å apart; "
            "take out what does not belong to it, or one of two sheets."
        )


def _ranks(atoms: Atoms, scale: float) -> list[int]:
    """Return along how many axes each bonded component repeats, 0 to 2, with all lengths times a scale."""
    from ase.neighborlist import neighbor_list

    reach = list(STRETCHED * covalent_radii[atoms.numbers] / scale)
    first, second, shifts = neighbor_list("ijS", atoms, reach)
    neighbours: dict[int, list[tuple[int, tuple[int, int]]]] = {}
    for i, j, (u, v, _) in zip(first.tolist(), second.tolist(), shifts.tolist(), strict=True):
        neighbours.setdefault(i, []).append((j, (u, v)))
    component, place = [-1] * len(atoms), [(0, 0)] * len(atoms)
    ranks: list[int] = []
    for start in range(len(atoms)):
        if component[start] >= 0:
            continue
        component[start], open_, loops = len(ranks), [start], {(0, 0)}
        while open_:
            i = open_.pop()
            for j, (u, v) in neighbours.get(i, ()):
                there = (place[i][0] + u, place[i][1] + v)
                if component[j] < 0:
                    component[j], place[j] = len(ranks), there
                    open_.append(j)
                else:
                    loops.add((there[0] - place[j][0], there[1] - place[j][1]))
        ranks.append(int(np.linalg.matrix_rank(np.array(sorted(loops)))))
    return ranks


def _largest_gap(fractions: Floats) -> tuple[float, float]:
    """Return the largest periodic gap between sorted fractions, and the fraction of the atom that ends it."""
    ordered = np.sort(fractions % 1.0)
    gaps = np.diff(ordered, append=ordered[0] + 1.0)
    widest = int(np.argmax(gaps))
    return float(gaps[widest]), float(ordered[(widest + 1) % len(ordered)])


def _largest_span(fractions: Floats) -> float:
    """Return how much of the axis the atoms take if they are unwrapped at their largest gap."""
    return 1.0 - _largest_gap(fractions)[0]


def empty_spans(atoms: Atoms) -> list[float]:
    """Return the widest empty span along each axis of a periodic cell, perpendicular to the other two, Å."""
    cell = np.array(atoms.cell, dtype=np.float64)
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T
    volume = abs(float(np.linalg.det(cell)))
    heights = [volume / float(np.linalg.norm(np.cross(cell[k - 2], cell[k - 1]))) for k in range(3)]
    return [_largest_gap(fractions[:, k])[0] * heights[k] for k in range(3)]


def _vacuum_axis(atoms: Atoms, path: Path) -> tuple[Floats, int, bool]:
    """Return the cell, completed if it has two vectors, the vacuum axis, and whether the file declares it."""
    cell = np.array(atoms.cell, dtype=np.float64)
    missing = np.flatnonzero(np.linalg.norm(cell, axis=1) < 1e-6)
    if len(missing) > 1:
        raise StructureError(f"{path}: has no two-dimensional lattice; a host needs its lattice vectors.")
    if len(missing) == 1:
        axis = int(missing[0])
        normal = np.cross(cell[(axis + 1) % 3], cell[(axis + 2) % 3])
        cell[axis] = normal / max(float(np.linalg.norm(normal)), 1e-12)
    volume = abs(float(np.linalg.det(cell)))
    if volume < 1e-6:
        raise StructureError(f"{path}: the lattice vectors do not span a cell.")
    if len(missing) == 1:
        return cell, axis, True
    if atoms.pbc.sum() == 2:
        return cell, int(np.argmin(atoms.pbc)), True
    gaps = empty_spans(atoms)
    wide = [k for k in range(3) if gaps[k] >= VACUUM_GAP]
    widths = ", ".join(f"{gap:.2f}" for gap in gaps)
    if not wide:
        raise StructureError(
            f"{path}: is not a 2D host: no vacuum gap of {VACUUM_GAP:g} Å along any axis (largest gaps along "
            f"a, b, c: {widths} Å). Cut one layer out of the bulk and add vacuum."
        )
    if len(wide) > 1:
        raise StructureError(
            f"{path}: is not a 2D host: gaps of {VACUUM_GAP:g} Å or more along several axes "
            f"(a, b, c: {widths} Å), as of a wire or a molecule in a box."
        )
    return cell, wide[0], False


def _normalise(atoms: Atoms, cell: Floats, positions: Floats) -> Slab:
    """Rotate a onto x and the slab normal, on c's side, onto z, and round."""
    normal = np.cross(cell[0], cell[1])
    normal /= np.linalg.norm(normal)
    a, b = cell[0], cell[1]
    if normal @ cell[2] < 0:
        normal, a, b = -normal, b, a
    x = a / np.linalg.norm(a)
    frame = np.array([x, np.cross(normal, x), normal])
    plane = np.array([a, b]) @ frame[:2].T
    rotated = positions @ frame.T
    # Wrapped before rounding, and again for what rounds up to 1.
    fractions = np.round(np.linalg.solve(plane.T, rotated[:, :2].T).T % 1.0, _DIGITS) % 1.0
    # Heights from the lowest atom, not from the middle: halving would put values on the edge of rounding.
    z = np.round(rotated[:, 2] - rotated[:, 2].min(), _DIGITS)
    plane = np.round(plane, _DIGITS) + 0.0
    return Slab(
        symbols=tuple(atoms.symbols),
        cell=((float(plane[0, 0]), float(plane[0, 1])), (float(plane[1, 0]), float(plane[1, 1]))),
        positions=tuple((float(u), float(v), float(w)) for (u, v), w in zip(fractions, z, strict=True)),
    )
