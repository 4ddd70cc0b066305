"""Na sites on a two-dimensional host: find the distinct ones, place Na there, and name the site where it ended."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from ase import Atom, Atoms

from .errors import StructureError
from .geometry import (
    FACES,
    Floats,
    check_element,
    describe,
    face_layers,
    image_shifts,
    in_plane_cell,
    in_plane_fractions,
    is_uneven,
    lateral_distances,
    wrap,
)
from .local_planes import foot, local_plane
from .periodic_points import PeriodicPoints
from .site_candidates import Candidate, find_bridges, find_candidates
from .symmetry import SYMPREC, Symmetry, find_symmetry
from .vacancies import Defect, apply_defects

# Å, lateral. Two points closer than this under an operation are the same candidate.
SAME_POINT: Final = 0.3

# Å, lateral. An adsorbate further than this from every site lies between two.
ON_SITE: Final = 0.6

# Å above the face plane. Beyond it no site binds.
DESORBED: Final = 4.5

# Å. A host atom that moved further than this went to another place, and the site's name says less than it seems to.
MOVED: Final = 1.0

# Host atoms told one by one.
_LISTED: Final = 3

# Å. Wider tolerances, at which a file's noise is looked for; a distortion of its own (1T' layers) is wider still.
_TOLERANCES: Final = (0.15, 0.2, 0.3, 0.4)

# Å past the middle of the sheet before an adsorbate counts as being on the other face: in a metal or carbon
# vacancy it may sit in the middle, where the sign of its height means nothing.
_CROSSED: Final = 0.3


@dataclass(frozen=True, slots=True)
class Frame:
    """The ideal defective host that a site refers to.

    Attributes
    ----------
    symbols
        Elements of its atoms.
    fractions
        In-plane fractional coordinates of its atoms.
    top, bottom
        Indices of the atoms of the outermost layer of each face.
    uneven
        Whether these are rippled or tilted, so that a site is above them along their local normal.
    """

    symbols: tuple[str, ...]
    fractions: tuple[tuple[float, float], ...]
    top: tuple[int, ...]
    bottom: tuple[int, ...]
    uneven: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """A class of symmetry-equivalent sites, with one of them as its representative.

    Attributes
    ----------
    name
        ``T_W@top``; further classes of one kind on one face are ``T_W@top-2``, ``T_W@top-3``, from the
        nearest to a defect outwards.
    kind
        ``T_X`` over a chalcogen of the outermost layer (O, S, Se, Te), ``T_`` and the symbol over another
        atom of it or over an atom of the second layer, ``H`` over neither, ``V_`` and the symbol over a
        missing atom, ``B`` midway between two neighbours of the outermost layer.
    face
        "top" or "bottom"; a class that holds points of both faces has its representative on the top.
    fractional
        Coordinates of the representative along a and b of the ideal host.
    multiplicity
        Number of equivalent points, on both faces together if the host exchanges them.
    defect_distance
        From the representative, at the height of the outermost layer, to the ideal position of the nearest
        removed or replaced atom, Å; None on a host without defects.
    frame
        The host of the site, for `place`.
    height_a
        Of a user's point, above its face; of a site between two sheets (`inner_sites`), z in the ideal host. Å.
    """

    name: str
    kind: str
    face: str
    fractional: tuple[float, float]
    multiplicity: int
    defect_distance: float | None
    frame: Frame | None = field(default=None, repr=False, compare=False)
    height_a: float | None = None


@dataclass(frozen=True, slots=True)
class EndSite:
    """Where an adsorbate ended after a relaxation.

    Attributes
    ----------
    label
        Name of a site, "between A and B", or "desorbed".
    moved
        Whether that is another class of sites, or the other face, than it started from.
    note
        "went through" if it ended on the other face, "moved to an equivalent site", and which atoms of the host moved
        by more than 1 Å; None if none of it.
    start
        Name of the site it started from.
    """

    label: str
    moved: bool
    note: str | None
    start: str = ""

    def __str__(self) -> str:
        """Return ``H@top → T_W@top``, or the label alone if it stayed, with the note in brackets."""
        path = f"{self.start} → {self.label}" if self.moved and self.start else self.label
        return f"{path} ({self.note})" if self.note else path


def find_sites(pristine: Atoms, defects: Sequence[Defect]) -> tuple[Site, ...]:
    """Find the symmetry-distinct sites of both faces.

    The candidates of the complete, ideal host (`candidates.find_candidates`) are sorted into classes by the
    operations of the ideal host with its defects (spglib, symprec 0.1 Å).

    Parameters
    ----------
    pristine
        Complete, ideal host, slab normal along z; whether it is boxed does not matter.
    defects
        Atoms removed or replaced.

    Returns
    -------
    tuple of Site
        The top face first; on each face vacancies, sites over the second layer, hollows, sites over the
        outermost layer; within a kind from the nearest to a defect outwards.

    Raises
    ------
    StructureError
        If a defect does not fit the host.
    """
    return _named(pristine, defects, find_candidates(pristine, defects))


def bridge_sites(pristine: Atoms, defects: Sequence[Defect]) -> tuple[Site, ...]:
    """Find the symmetry-distinct bridges of both faces (`site_candidates.find_bridges`).

    They are no part of `find_sites`: an adsorbate rarely stays on one, and each path from a site over the second
    layer to a hollow leads over one. Parameters, order and errors are those of `find_sites`.
    """
    return _named(pristine, defects, find_bridges(pristine, defects))


def _named(pristine: Atoms, defects: Sequence[Defect], candidates: Sequence[Candidate]) -> tuple[Site, ...]:
    """Sort candidates into classes and name these."""
    if not candidates:
        return ()
    defective = apply_defects(pristine, defects)
    frame = _frame(pristine, defective, defects)
    distances = _defect_distances(pristine, defects, candidates)
    classes = _classes(
        candidates, find_symmetry(defective, missing_atoms(pristine, defects)), in_plane_cell(pristine)
    )

    def order(orbit: list[int]) -> tuple[int, int, str, list[float], int, int]:
        first = candidates[orbit[0]]
        # To all defects, since the nearest may be equally far from two sites; rounded against noise.
        sorted_distances = np.round(distances[orbit[0]], 3).tolist()
        return FACES.index(first.face), first.rank, first.kind, sorted_distances, len(orbit), orbit[0]

    counts: dict[str, int] = defaultdict(int)
    sites = []
    for orbit in sorted(classes, key=order):
        first = candidates[orbit[0]]
        name = f"{first.kind}@{first.face}"
        counts[name] += 1
        number = f"-{counts[name]}" if counts[name] > 1 else ""
        distance = float(distances[orbit[0], 0]) if defects else None
        sites.append(Site(name + number, first.kind, first.face, first.fractional, len(orbit), distance, frame))
    return tuple(sites)


def own_site(pristine: Atoms, defects: Sequence[Defect], name: str, face: str, point: tuple[float, float]) -> Site:
    """Make a site of a point that no rule gives.

    Parameters
    ----------
    pristine, defects
        As for `find_sites`.
    name, face
        Of the site.
    point
        Coordinates along a and b of the ideal host, fractional.
    """
    defective = apply_defects(pristine, defects)
    symmetry, cell = find_symmetry(defective, missing_atoms(pristine, defects)), in_plane_cell(pristine)
    images, multiplicity = symmetry.images(point), 0
    for flip in (False, True):
        left = images[symmetry.flips == flip]
        while len(left):
            multiplicity += 1
            left = left[lateral_distances(left - left[0], cell) > SAME_POINT]
    return Site(name, "own", face, point, multiplicity, None, _frame(pristine, defective, defects))


def same_place(pristine: Atoms, defects: Sequence[Defect], first: Site, second: Site) -> bool:
    """Tell whether an operation of a host takes the point of one site on a face to that of another, at any height."""
    symmetry = find_symmetry(apply_defects(pristine, defects), missing_atoms(pristine, defects))
    images = symmetry.images(first.fractional)[symmetry.flips == (first.face != second.face)]
    away = lateral_distances(images - np.array(second.fractional), in_plane_cell(pristine))
    return bool((away < SAME_POINT).any())


def point_over(pristine: Atoms, defects: Sequence[Defect], name: str, position: Floats) -> Site | None:
    """Make a site of a point (Å) that lies beyond the outermost layer of a face; None of another point.

    Parameters
    ----------
    pristine, defects
        As for `find_sites`; the point is one of their cell.
    name
        Of the site.
    position
        x, y, z in Å.
    """
    host = apply_defects(pristine, defects)
    frame = _frame(pristine, host, defects)
    u, v = np.linalg.solve(in_plane_cell(pristine).T, position[:2])
    for face, sign in zip(FACES, (1.0, -1.0), strict=True):
        height = sign * float(position[2] - face_plane(host, frame, face, np.array([u, v])))
        if height >= 0:
            site = own_site(pristine, defects, name, face, (float(u), float(v)))
            return replace(site, height_a=height)
    return None


def noise_in_symmetry(host: Atoms) -> str | None:
    """Say at which tolerance a complete host has more symmetry, and how many sites it then has; None if at none.

    Noise in the positions of a file makes sites of their own of those that are the same but for the noise, each with
    a calculation of its own.
    """
    found = find_sites(host, ())
    operations = len(find_symmetry(host).flips)
    best: tuple[int, float, Symmetry] | None = None
    for tolerance in _TOLERANCES:
        try:
            symmetry = find_symmetry(host, symprec=tolerance)
        except StructureError:  # spglib finds no consistent group within this
            continue
        if len(symmetry.flips) > (operations if best is None else best[0]):
            best = len(symmetry.flips), tolerance, symmetry
    if best is None:
        return None
    _, tolerance, symmetry = best
    count = len(_classes(find_candidates(host, ()), symmetry, in_plane_cell(host)))
    if count >= len(found):
        return None
    return (
        f"{len(found)} distinct sites in its cell, of which {count} are distinct at a tolerance of {tolerance:g} Å "
        f"(sites are told apart at {SYMPREC:g} Å): give ideal positions if what breaks its symmetry is noise"
    )


def near_defect(sites: Sequence[Site]) -> tuple[Site, ...]:
    """Select every vacancy site and, on each face, the site of each other kind that is nearest to a defect.

    These are the sites whose name has no number; on a host without defects, all sites.
    """
    return tuple(
        site
        for site in sites
        if site.defect_distance is None or site.kind.startswith("V_") or site.name == f"{site.kind}@{site.face}"
    )


def place(host: Atoms, site: Site, element: str, height: float) -> Atoms:
    """Put an adsorbate on a site of a host, which may be relaxed.

    Parameters
    ----------
    host
        The defective host in its cell, atoms in the order of the ideal one.
    site
        From `find_sites` for that host. Its lateral position follows the mean lateral displacement of the
        host's atoms; without a frame there is nothing to follow.
    element
        Chemical symbol of the adsorbate.
    height
        Above the local face plane (mean z of the three laterally nearest atoms of the outermost layer), Å.

    Returns
    -------
    Atoms
        A copy with the adsorbate last.

    Raises
    ------
    StructureError
        If the host's atoms are not those the site was found on, or the element is unknown.
    """
    check_element(element, f"adsorbate on {site.name}")
    frame = site.frame or _bare_frame(host)
    check_atoms(host, frame.symbols, f"site {site.name}")
    point = np.array(site.fractional) + drift(host, frame)
    x, y = point @ in_plane_cell(host)
    up = height if site.face == "top" else -height
    if frame.uneven:
        plane = local_plane(*_layer(host, frame, site.face), point)
        x, y, z = np.array([x, y, plane.height_a]) + up * plane.normal
    else:
        z = face_plane(host, frame, site.face, point) + up
    placed: Atoms = host.copy()
    placed.append(Atom(element, (x, y, z)))
    return placed


def end_site(pristine: Atoms, defects: Sequence[Defect], sites: Sequence[Site], final: Atoms, start: Site) -> EndSite:
    """Name the site where an adsorbate ended.

    Parameters
    ----------
    pristine, defects
        Complete ideal host and its defects, as for `find_sites`.
    sites
        All sites of that host, not only those of the campaign.
    final
        Relaxed host with the adsorbate last.
    start
        Site where it was placed.

    Returns
    -------
    EndSite
        The nearest of all images of the sites on the face it ended on, if within 0.6 Å laterally, otherwise
        the two nearest; "desorbed" more than 4.5 Å above that face. A class that spans both faces keeps its
        name.

    Raises
    ------
    StructureError
        If the final atoms are not those of the host and one adsorbate, or there are no sites.
    """
    if not sites:
        raise StructureError(f"{describe(pristine)}: no sites to compare the final position with.")
    ideal = apply_defects(pristine, defects)
    frame = _frame(pristine, ideal, defects)
    host = final[:-1]
    check_atoms(host, frame.symbols, f"{describe(ideal)} with an adsorbate on {start.name}")
    point = in_plane_fractions(final)[-1] - drift(host, frame)
    planes = {face: face_plane(host, frame, face, in_plane_fractions(final)[-1]) for face in FACES}
    face = _end_face(final.positions[-1, 2], planes, start.face)
    height = final.positions[-1, 2] - planes[face]
    if frame.uneven:
        place = in_plane_fractions(final)[-1]
        point, height = foot(*_layer(host, frame, face), place, float(final.positions[-1, 2]))
        point = point - drift(host, frame)
    changed = _moved(ideal, host)
    if (height if face == "top" else -height) > DESORBED:
        return EndSite("desorbed", True, changed, start.name)
    cell = in_plane_cell(final)
    label, nearest = _label(sites, find_symmetry(ideal, missing_atoms(pristine, defects)), cell, point, face)
    if face != start.face:
        through = "went through" if start.face in FACES else "came out"
        return EndSite(label, True, _joined(through, changed), start.name)
    stayed = label == start.name
    hopped = stayed and lateral_distances(nearest - np.array(start.fractional), cell) > ON_SITE
    return EndSite(label, not stayed, _joined("moved to an equivalent site" if hopped else None, changed), start.name)


def _joined(*notes: str | None) -> str | None:
    return "; ".join(note for note in notes if note) or None


def _moved(ideal: Atoms, host: Atoms) -> str | None:
    """Say which atoms of a host moved by more than 1 Å against most others: into a vacancy, or a layer that slid."""
    cell = in_plane_cell(host)
    shifts = in_plane_fractions(host) - in_plane_fractions(ideal)
    lateral = lateral_distances(shifts[:, None] - shifts[None], cell)
    heights = host.positions[:, 2] - ideal.positions[:, 2]
    apart = np.hypot(lateral, heights[:, None] - heights[None])
    # Against the atom that most others moved with: the mean would share what one layer did among all.
    distances = apart[int((apart < MOVED / 2).sum(axis=1).argmax())]
    far = np.flatnonzero(distances > MOVED)
    if not len(far):
        return None
    if len(far) > _LISTED:
        return (
            f"{len(far)} of the {len(host)} host atoms moved by {distances[far].min():.1f} to {distances.max():.1f} Å"
        )
    return "host atom moved: " + ", ".join(f"{host.symbols[i]} {i} by {distances[i]:.1f} Å" for i in far)


def _classes(candidates: Sequence[Candidate], symmetry: Symmetry, cell: Floats) -> list[list[int]]:
    """Sort candidates into orbits, each a list of indices in ascending order."""
    points = np.array([candidate.fractional for candidate in candidates])
    on_top = np.array([candidate.face == "top" for candidate in candidates])
    kinds = np.array([candidate.kind for candidate in candidates])
    tree = PeriodicPoints(points, cell, SAME_POINT)
    assigned = np.zeros(len(candidates), dtype=bool)
    classes: list[list[int]] = []
    for i in range(len(candidates)):
        if assigned[i]:
            continue
        operations, images = tree.within(symmetry.images(points[i]), SAME_POINT)
        orbit = np.zeros(len(candidates), dtype=bool)
        orbit[images[on_top[images] == (on_top[i] ^ symmetry.flips[operations])]] = True
        orbit &= (kinds == kinds[i]) & ~assigned
        orbit[i] = True
        assigned |= orbit
        classes.append(np.flatnonzero(orbit).tolist())
    return classes


def _defect_distances(pristine: Atoms, defects: Sequence[Defect], candidates: Sequence[Candidate]) -> Floats:
    """Return the distances of each candidate to all defects, shape (candidates, defects), Å, sorted."""
    indices = [defect.index for defect in defects]
    points = np.array([candidate.fractional for candidate in candidates])
    heights = np.array([candidate.height for candidate in candidates])
    differences = points[:, None] - in_plane_fractions(pristine)[indices][None]
    lateral = lateral_distances(differences, in_plane_cell(pristine))
    distances = np.hypot(lateral, heights[:, None] - pristine.positions[indices, 2][None])
    return np.sort(distances, axis=1)


def _frame(pristine: Atoms, defective: Atoms, defects: Sequence[Defect]) -> Frame:
    removed = {defect.index for defect in defects if defect.replacement is None}
    remaining = [i for i in range(len(pristine)) if i not in removed]
    faces = {}
    for face in FACES:
        outer = set(face_layers(pristine, face)[0].tolist())
        layer = tuple(k for k, i in enumerate(remaining) if i in outer)
        # Without its outermost layer a face shows the next one.
        faces[face] = layer or tuple(face_layers(defective, face)[0].tolist())
    fractions = tuple((float(u), float(v)) for u, v in in_plane_fractions(defective))
    return Frame(tuple(defective.symbols), fractions, faces["top"], faces["bottom"], is_uneven(pristine))


def _layer(host: Atoms, frame: Frame, face: str) -> tuple[Floats, Floats, Floats]:
    """Return lateral fractions and heights (Å) of the outermost atoms of a face, and the in-plane cell."""
    indices = np.array(frame.top if face == "top" else frame.bottom)
    return in_plane_fractions(host)[indices], host.positions[indices, 2], in_plane_cell(host)


def missing_atoms(pristine: Atoms, defects: Sequence[Defect]) -> Atoms:
    """Return the atoms of a complete host that its vacancies lack."""
    removed = [defect for defect in defects if defect.replacement is None]
    missing = pristine[[defect.index for defect in removed]]
    missing.symbols[:] = [defect.present for defect in removed]
    return missing


def _bare_frame(host: Atoms) -> Frame:
    return _frame(host, host, ())


def check_atoms(host: Atoms, symbols: Sequence[str], where: str) -> None:
    """Raise `StructureError` for a host whose atoms are not those of the ideal one, in its order."""
    if tuple(host.symbols) != tuple(symbols):
        ideal = describe(Atoms(symbols))
        raise StructureError(
            f"{where}: the host at hand is {describe(host)} ({len(host)} atoms), expected {ideal} "
            f"({len(symbols)} atoms) in the order of the ideal host."
        )


def drift(host: Atoms, frame: Frame) -> Floats:
    """Return the mean lateral displacement from the ideal host, fractional, shape (2,)."""
    displacements = in_plane_fractions(host) - np.array(frame.fractions)
    # Relative to one atom, so that atoms wrapped into the cell do not shift the mean by a lattice vector.
    drift: Floats = displacements[0] + wrap(displacements - displacements[0]).mean(axis=0)
    return wrap(drift)


def face_plane(host: Atoms, frame: Frame, face: str, point: Floats) -> float:
    """Return the mean z of the three atoms of a face that are laterally nearest to a point, Å."""
    cell, indices = in_plane_cell(host), np.array(frame.top if face == "top" else frame.bottom)
    offsets = wrap(in_plane_fractions(host)[indices] - point)[:, None] + image_shifts(cell)[None]
    distances = np.linalg.norm(offsets @ cell, axis=-1)
    # Rounded, so that among equally near atoms the order of the host decides and not noise.
    nearest = np.argsort(np.round(distances, 2).ravel(), kind="stable")[:3] // distances.shape[1]
    return float(host.positions[indices[nearest], 2].mean())


def _end_face(z: float, planes: dict[str, float], start: str) -> str:
    height = z - (planes["top"] + planes["bottom"]) / 2
    if start == "top":
        return "bottom" if height < -_CROSSED else "top"
    return "top" if height > _CROSSED else "bottom"


def _label(sites: Sequence[Site], symmetry: Symmetry, cell: Floats, point: Floats, face: str) -> tuple[str, Floats]:
    """Return the name of the site nearest to a fractional point on a face, and its nearest image, shape (2,)."""
    images: list[tuple[float, int, str, Floats]] = []
    for k, site in enumerate(sites):
        on_face = symmetry.flips == (site.face != face)
        points = symmetry.images(site.fractional)[on_face]
        distances = lateral_distances(points - point, cell)
        images += [(float(d), k, site.name, p) for d, p in zip(distances, points, strict=True)]
    if not images:
        raise StructureError(f"none of the sites lies on the {face} face, where the adsorbate ended.")
    distance, _, name, nearest = min(images, key=lambda image: image[:2])
    if distance <= ON_SITE:
        return name, nearest
    other = [image for image in images if lateral_distances(image[3] - nearest, cell) > SAME_POINT]
    second = min(other, key=lambda image: image[:2])[2] if other else name
    return f"between {name} and {second}", nearest
