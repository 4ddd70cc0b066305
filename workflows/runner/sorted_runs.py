"""Finished runs sorted by what they are: hosts, hosts with one atom more, references, densities of states.

Composition and geometry decide; where they leave it open, the user says the role of a folder.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import Atoms

from ...analysis.words import formula
from ...errors import SodiateError
from ...structures.geometry import placement, turned_cell
from ...structures.slabs import VACUUM_GAP, empty_spans
from ..campaign.yaml import InputError
from ..engines.base import FinishedRun
from ..kinds import KINDS

ROLES = ("host", "site", "atom", "bulk", "dos")
"""What a run may be: a clean host, an adsorbate on it, the isolated atom, the bulk metal, a host's DOS."""

_SAME_CELL_A = 1e-2
_SAME_HOST_A = 0.6
"""No atom of a host is further from where it was before an adsorbate came; 1T and 2H are 1.2 Å apart at least."""

_SAME_PLACE_A = 0.05
"""A run that begins this near to where a host ended is of the relaxed host."""

_TWICE_A = 0.3
"""Two relaxations that end as near to each other are of one host."""

_LEANS_A = 1e-3
"""A third vector whose end lies this near to the normal is upright."""


class Refused(SodiateError):
    """Runs that make no campaign, with the reasons of each folder."""

    def __init__(self, reasons: Mapping[Path, Sequence[str]]) -> None:
        super().__init__("; ".join(f"{folder}: {', '.join(those)}" for folder, those in reasons.items()))
        self.reasons = reasons


@dataclass(frozen=True, eq=False)
class Given:
    """A folder of the user's with its run, and the role that the user says it has."""

    folder: Path
    run: FinishedRun
    role: str | None = None

    @property
    def formula(self) -> Counter[str]:
        """How many atoms of each element it has."""
        return Counter(self.run.atoms.get_chemical_symbols())

    @property
    def relaxes(self) -> bool:
        """Whether its atoms moved."""
        return any(KINDS[kind].relaxes for kind in self.run.kinds)


@dataclass(eq=False)
class Sheet:
    """A host: where it begins and ended, its run, and what was run on it; a known host may have no run here."""

    start: Atoms
    end: Atoms
    given: Given | None
    name: str = ""
    sites: list[Given] = field(default_factory=list)
    dos: Given | None = None

    @property
    def formula(self) -> Counter[str]:
        """How many atoms of each element it has."""
        return Counter(self.start.get_chemical_symbols())


@dataclass
class Sorted:
    """All runs by what they are."""

    adsorbate: str
    sheets: list[Sheet]
    atom: Given | None = None
    bulk: Given | None = None

    def by_kind(self) -> dict[str, list[Given]]:
        """Return the runs by the kind of their calculation, hosts first; kinds without any are left out."""
        hosts = [sheet.given for sheet in self.sheets if sheet.given is not None]
        sites = [site for sheet in self.sheets for site in sheet.sites]
        kinds = {
            "relax": [*hosts, *sites],
            "dos": [sheet.dos for sheet in self.sheets if sheet.dos is not None],
            "atom": [self.atom] if self.atom is not None else [],
            "bulk": [self.bulk] if self.bulk is not None else [],
        }
        return {kind: runs for kind, runs in kinds.items() if runs}


def sort_runs(given: Sequence[Given], known: Sequence[Sheet], adsorbate: str | None) -> Sorted:
    """Sort runs.

    Parameters
    ----------
    given
        The runs.
    known
        Hosts of a campaign that they join.
    adsorbate
        The element of that campaign.

    Raises
    ------
    Refused
        If a run is none of these, or if two could be one of them.
    InputError
        If it cannot be told which element is adsorbed.
    """
    return _Sorting(given, known).sort(adsorbate)


class _Sorting:
    """One sorting, and the reasons against runs that it found."""

    def __init__(self, given: Sequence[Given], known: Sequence[Sheet]) -> None:
        self.given = given
        self.sheets = list(known)
        self.reasons: dict[Path, list[str]] = {}

    def sort(self, adsorbate: str | None) -> Sorted:
        shapes = {one: self._shape(one) for one in self.given}
        self._raise()
        flat = [one for one, shape in shapes.items() if shape == "sheet"]
        references = {name: [one for one, shape in shapes.items() if shape == name] for name in ("atom", "bulk")}
        element = adsorbate or self._adsorbate(flat, [one for those in references.values() for one in those])
        sites = [one for one in flat if self._is_site(one, flat, element)]
        self._hosts([one for one in flat if one not in sites])
        for one in sites:
            self._put(one, element)
        atom, bulk = (self._reference(one, element, what) for what, one in references.items())
        for sheet in self.sheets:
            if sheet.given is not None and not sheet.sites:
                self._refuse(sheet.given, f"no run with {element} on it is here; add one, or leave this out")
        self._raise()
        return Sorted(element, self.sheets, atom, bulk)

    def _refuse(self, one: Given, reason: str) -> None:
        self.reasons.setdefault(one.folder, []).append(reason)

    def _raise(self) -> None:
        if self.reasons:
            raise Refused(self.reasons)

    def _shape(self, one: Given) -> str:
        """Return atom, sheet or bulk, by the role or by the axes along which a cell is empty."""
        if one.role in ("atom", "bulk"):
            return one.role
        atoms = one.run.atoms
        wide = [name for name, span in zip("abc", empty_spans(atoms), strict=True) if span >= VACUUM_GAP]
        if one.role is None and len(wide) in (0, 3):
            if len(wide) == 3 and len(atoms) > 1:
                self._refuse(one, f"{formula(one.formula)} in a box: of molecules there is no use here")
            return "atom" if wide else "bulk"
        cell = np.asarray(atoms.cell)
        normal = np.cross(cell[0], cell[1])
        if wide != ["c"]:
            along = " and ".join(wide) or "no axis"
            self._refuse(one, f"its cell is empty along {along}, and that of a sheet is along c alone; turn its axes")
        elif np.linalg.norm(np.cross(cell[2], normal)) / np.linalg.norm(normal) > _LEANS_A:
            self._refuse(one, "its third vector leans against the sheet, and sodiate's cells have it upright")
        elif cell[2] @ normal < 0:
            self._refuse(one, "its cell is left-handed; exchange a and b")
        return "sheet"

    def _adsorbate(self, flat: Sequence[Given], references: Sequence[Given]) -> str:
        """Return the element of which some sheets have one atom more than others."""
        found: dict[str, set[str]] = {}
        for host in (one for one in flat if one.role != "site"):
            for site in (one for one in flat if one.role not in ("host", "dos")):
                more = site.formula - host.formula
                if more.total() == 1 and not host.formula - site.formula:
                    found.setdefault(next(iter(more)), set()).update(host.formula)
        named = {next(iter(one.formula)) for one in references if len(one.formula) == 1} & found.keys()
        if named:
            found = {element: found[element] for element in named}
        # S on a sheet that lacks one is no adsorbate where Na on both of them may be one.
        foreign = [element for element, hosts in found.items() if element not in hosts]
        elements = foreign or sorted(found)
        if len(elements) == 1:
            return elements[0]
        formulas = ", ".join(dict.fromkeys(formula(one.formula) for one in flat)) or "none"
        which = " or ".join(elements) if elements else "nothing"
        raise InputError(
            f"import: of the sheets ({formulas}) it cannot be told which are hosts and which the same with one atom "
            f"more ({which} is adsorbed); name the hosts, as --role FOLDER=host, or add them."
        )

    def _is_site(self, one: Given, flat: Sequence[Given], element: str) -> bool:
        if one.role is not None:
            return one.role == "site"
        rest = one.formula - Counter([element])
        hosts = [other.formula for other in flat if other.role != "site"]
        hosts += [sheet.formula for sheet in self.sheets]
        return one.formula[element] > 0 and (rest in hosts or any(element not in host for host in hosts))

    # -- hosts

    def _hosts(self, runs: Sequence[Given]) -> None:
        """Take relaxations as hosts first, then single points, which may be a host's, then fixed densities."""
        for one in sorted(runs, key=lambda one: (one.role == "dos", not one.relaxes, "dos" in one.run.kinds)):
            if "relax_cell" in one.run.kinds:
                self._refuse(one, "its cell was relaxed, in the basis of another cell; give a run in the final cell")
                continue
            again = self._same_start(one) if one.role != "dos" else None
            relaxed = None if one.relaxes or again else self._ended_here(one)
            if again is not None:
                again.given = one
            elif relaxed is not None and one.role != "host":
                self._add_dos(relaxed, one)
            elif one.role == "dos" or "dos" in one.run.kinds:
                self._refuse(one, "a DOS, and no host here ended where its atoms are")
            else:
                self._add_host(one)

    def _same_start(self, one: Given) -> Sheet | None:
        """Return the known host that this is the run of, again."""
        near = [
            sheet
            for sheet in self.sheets
            if sheet.given is None
            and "dos" not in one.run.kinds
            and (far := _apart(sheet.start, one.run.atoms)) is not None
            and far < _SAME_PLACE_A
            and (one.relaxes or one.role == "host")
        ]
        return near[0] if near else None

    def _ended_here(self, one: Given) -> Sheet | None:
        near = [(_apart(sheet.end, one.run.atoms), sheet) for sheet in self.sheets]
        found = [(far, sheet) for far, sheet in near if far is not None and far < _SAME_PLACE_A]
        return min(found, key=lambda pair: pair[0])[1] if found else None

    def _add_dos(self, sheet: Sheet, one: Given) -> None:
        if sheet.dos is None:
            sheet.dos = one
        else:
            self._refuse(one, f"a single point where {_whose(sheet)} ended, as {sheet.dos.folder} is; leave one out")

    def _add_host(self, one: Given) -> None:
        for sheet in self.sheets:
            far = _apart(sheet.end, one.run.end)
            if far is not None and far < _TWICE_A:
                self._refuse(
                    one,
                    f"{formula(one.formula)} that ended within {far:.2f} Å of {_whose(sheet)}: two runs of one host; "
                    "leave one out, or say --role FOLDER=dos if it is its DOS",
                )
                return
        self.sheets.append(Sheet(one.run.atoms, one.run.end, one))

    # -- sites and references

    def _put(self, one: Given, element: str) -> None:
        """Add a run to the host that it is on."""
        rest = one.formula - Counter([element])
        if "relax_cell" in one.run.kinds:
            self._refuse(one, "its cell was relaxed, and that of its host is another one; relax the atoms alone")
            return
        same = [sheet for sheet in self.sheets if sheet.formula == rest]
        if not same:
            more = f": it has {one.formula[element]} {element}" if one.formula[element] > 1 else ""
            self._refuse(one, f"no clean host {formula(rest)} is here{more}; add its run")
            return
        fitting = [(far, sheet) for sheet in same if (far := _host_apart(sheet, one, element)) is not None]
        if not fitting:
            edges = [_edges(sheet.start) for sheet in same]
            self._refuse(one, f"its cell {_edges(one.run.atoms)} Å is not that of its host, {' or '.join(edges)} Å")
            return
        far, sheet = min(fitting, key=lambda pair: pair[0])
        if far > _SAME_HOST_A:
            self._refuse(
                one, f"its {formula(rest)} begins {far:.1f} Å from {_whose(sheet)}: another host, to be added"
            )
            return
        sheet.sites.append(one)

    def _reference(self, runs: Sequence[Given], element: str, what: str) -> Given | None:
        for one in runs:
            if set(one.formula) != {element} or (what == "atom" and len(one.run.atoms) != 1):
                self._refuse(
                    one, f"{formula(one.formula)} is neither a sheet nor the {what} of {element}, the adsorbate"
                )
        for one in runs[1:]:
            self._refuse(one, f"{what} of {element}, as {runs[0].folder} is; leave one out")
        return runs[0] if runs else None


def without(atoms: Atoms, element: str) -> Iterable[tuple[int, Atoms]]:
    """Return each atom of an element with all atoms but it."""
    for index in (atoms.numbers == Atoms(element).numbers[0]).nonzero()[0]:
        rest = atoms.copy()
        del rest[int(index)]
        yield int(index), rest


def _host_apart(sheet: Sheet, one: Given, element: str) -> float | None:
    """Return how far the atoms of a run's host are from a host's (Å); None in another cell."""
    found = [
        far
        for _, rest in without(one.run.atoms, element)
        for place in (sheet.start, sheet.end)
        if (far := _apart(place, rest)) is not None
    ]
    return min(found) if found else None


def _apart(atoms: Atoms, others: Atoms) -> float | None:
    """Return the largest distance between the same atoms, wherever they lie in a cell (Å); None if not the same."""
    if sorted(atoms.numbers) != sorted(others.numbers):
        return None
    if turned_cell(np.asarray(others.cell), np.asarray(atoms.cell))[1] > _SAME_CELL_A:
        return None
    return placement(atoms, others).distance


def _whose(sheet: Sheet) -> str:
    return str(sheet.given.folder) if sheet.given is not None else sheet.name


def _edges(atoms: Atoms) -> str:
    return " × ".join(f"{edge:.3f}" for edge in atoms.cell.lengths())
