"""The files that VASP reads, and further inputs of a run: written by `prepare`, read by `run`."""

from __future__ import annotations

import gzip
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....analysis.records import Geometry, digest
from ....structures.geometry import turned_cell
from ..base import EngineError
from ..shared.files import DAMAGE, read_json, read_xyz, write_bytes, write_json
from .tags import HOW, Tags

if TYPE_CHECKING:
    from ase import Atoms

INPUT = "input.json"
START = "start.extxyz"
STATE = "state.json"
RESULT = "result.json"
LAUNCHES = "launches"
POTCAR, SPEC = "POTCAR", "POTCAR.spec"
CHARGE, POTENTIAL, WAVES = "CHGCAR", "LOCPOT", "WAVECAR"

OUTPUTS = ("OUTCAR", "OSZICAR", "vasprun.xml", "vasp.out", "std_err.txt", "custodian.json")
"""Files that each run of VASP writes; moved aside before the next run."""

_RELEASE = "POT_GGA_PAW_{}"


@dataclass(frozen=True)
class DataSet:
    """One POTCAR: its name in the library, text, title, recommended cutoff (eV), and valence electrons."""

    name: str
    text: str
    title: str
    enmax_ev: float
    valence: float


def data_sets(names: Mapping[str, str], release: str, species: Sequence[str], library: Path) -> list[DataSet]:
    """Read the POTCAR of each species from the user's library.

    Parameters
    ----------
    names
        Name of the data set of each element, such as ``Na: Na_pv``.
    release
        Such as ``PBE_54``: releases of VASP have different data under the same name.
    species
        In VASP's order.
    library
        A folder with pymatgen's layout (``POT_GGA_PAW_PBE_54/POTCAR.Na_pv``, plain or gz) or VASP's own
        (``potpaw_PBE.54/Na_pv/POTCAR``).

    Raises
    ------
    EngineError
        If the library, the release or a data set is missing, or is of another element.
    """
    kind = "LDA" if release.startswith("LDA") else "PBE"
    number = release.removeprefix(f"{kind}_").removeprefix(kind)
    folders = [
        library / (f"POT_LDA_PAW_{number}" if kind == "LDA" else _RELEASE.format(release)),
        library / f"potpaw_{kind}.{number}" if number else library / f"potpaw_{kind}",
    ]
    existing = [folder for folder in folders if folder.is_dir()]
    if not existing:
        raise EngineError(
            f"{library}: no POTCARs of release {release} there: it has neither {folders[0].name} nor "
            f"{folders[1].name}. Say where they are with `potcars` in the FWorker's env, or name another release "
            "with protocol.paw_release."
        )
    return [_data_set(names[symbol], symbol, existing) for symbol in species]


def _data_set(name: str, symbol: str, folders: Sequence[Path]) -> DataSet:
    for folder in folders:
        for path in (folder / f"POTCAR.{name}", folder / f"POTCAR.{name}.gz", folder / name / "POTCAR"):
            if not path.exists():
                continue
            try:
                raw = path.read_bytes()
                text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
                element, data = _parsed(text, name)
            except (*DAMAGE, UnicodeError) as error:
                raise EngineError(f"{path} is no POTCAR ({error}).") from None
            if element != symbol:
                raise EngineError(f"{path} is the POTCAR of {element}, not of {symbol}: see protocol.paw.")
            return data
    raise EngineError(
        f"{folders[0]}: no POTCAR {name} for {symbol} there; name another data set in protocol.paw.{symbol}."
    )


@lru_cache(maxsize=64)
def _parsed(text: str, name: str) -> tuple[str, DataSet]:
    """Return a data set and its element; pymatgen takes long over one, and calculations share them."""
    from pymatgen.io.vasp.inputs import PotcarSingle

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of releases that pymatgen has no fingerprints of
        potcar = PotcarSingle(text, symbol=name)
    data = DataSet(name, text, str(potcar.TITEL), float(potcar.ENMAX), float(potcar.ZVAL))
    return str(potcar.element), data


@lru_cache
def _titles(release: str) -> frozenset[str]:
    """Return the titles of a release's data sets without blanks, as pymatgen lists them; none if it does not."""
    import bz2
    import json

    from pymatgen.io.vasp import inputs

    with bz2.open(Path(inputs.__file__).parent / "potcar-summary-stats.json.bz2", "rt") as file:
        listed = json.load(file)
    return frozenset(title for name, titles in listed.items() if name.startswith(release) for title in titles)


_OTHERS: Mapping[str, tuple[tuple[str, float], ...]] = {
    "Na": (("Na_sv", 645.640), ("Na_pv", 259.561)),
    "K": (("K_sv", 259.264), ("K_pv", 116.731)),
    "W": (("W_sv", 223.057), ("W_pv", 223.057), ("W", 223.057)),
    "Mo": (("Mo_sv", 242.676), ("Mo_pv", 224.584), ("Mo", 224.584)),
    "S": (("S_h", 402.436), ("S_GW", 258.689)),
    "Se": (("Se_GW", 211.555),),
    "Te": (("Te_GW", 174.982),),
}
"""Data sets of elements with their ENMAX (eV), those with more electrons or smaller cores first. Li and Na without
their semicore shells are no alternatives."""


def other_data_sets(
    own: Mapping[str, str], release: str, elements: Iterable[str], cutoff_ev: float
) -> dict[str, str]:
    """Return another data set of each element that has one in a release for which a cutoff suffices.

    Parameters
    ----------
    own
        The data sets of the elements.
    release
        Their release; of one that nobody knows, the names are taken as they are.
    elements
        Of which.
    cutoff_ev
        At least the ENMAX of a data set.
    """
    found = {}
    for element in elements:
        names = [name for name, enmax in _OTHERS.get(element, ()) if enmax <= cutoff_ev and name != own.get(element)]
        present = [name for name in names if _is_in(name, release)]
        if present:
            found[element] = present[0]
    return found


def _is_in(name: str, release: str) -> bool:
    """Tell whether a release has a data set of this name: its title is the name and the date."""
    titles = _titles(release)
    return not titles or any(re.fullmatch(rf"PAW_PBE{name}\d\d\w+", title) for title in titles)


def is_of_release(title: str, release: str) -> bool:
    """Tell whether a release has a data set of this title, date and all; of a release that nobody knows, yes."""
    known = _titles(release)
    return not known or "".join(title.split()) in known


def write_potcar(path: Path, sets: Sequence[DataSet]) -> None:
    """Write the POTCAR, readable by the user alone, as its licence demands."""
    partial = path.with_name(f"{path.name}.partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write("".join(data.text if data.text.endswith("\n") else f"{data.text}\n" for data in sets))
    partial.replace(path)


def write_incar(directory: Path, tags: Mapping[str, Any]) -> None:
    """Write the INCAR as pymatgen does."""
    from pymatgen.io.vasp.inputs import Incar

    write_bytes(directory / "INCAR", f"{Incar(dict(tags))}\n".encode())


def write_incars(directory: Path, stages: Sequence[Mapping[str, Any]]) -> None:
    """Write the INCAR of the first stage and, if there are several stages, that of each for the reader."""
    from pymatgen.io.vasp.inputs import Incar

    write_incar(directory, stages[0])
    if len(stages) > 1:
        for number, tags in enumerate(stages, start=1):
            write_bytes(directory / f"INCAR.stage-{number}", f"{Incar(dict(tags))}\n".encode())


def write_kpoints(
    directory: Path, mesh: tuple[int, int, int], shift: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> None:
    """Write a mesh about Γ, or ``shift`` of its steps beside it."""
    from pymatgen.io.vasp.inputs import Kpoints

    write_bytes(directory / "KPOINTS", f"{Kpoints.gamma_automatic(mesh, shift)}\n".encode())


def write_path(directory: Path, kpoints: Sequence[Sequence[float]]) -> None:
    """Write the k points of a path as fractions of the reciprocal vectors, a line each."""
    rows = "".join(f"{x:20.14f}{y:20.14f}{z:20.14f} 1\n" for x, y, z in kpoints)
    write_bytes(directory / "KPOINTS", f"Path\n{len(kpoints)}\nReciprocal\n{rows}".encode())


def write_poscar(directory: Path, atoms: Atoms) -> None:
    """Write the POSCAR of atoms in VASP's order, as fractions of the cell with all digits."""
    species = list(dict.fromkeys(atoms.get_chemical_symbols()))
    counts = [atoms.get_chemical_symbols().count(symbol) for symbol in species]
    rows = [*atoms.cell.array, *atoms.get_scaled_positions(wrap=False)]
    lines = [" ".join(f"{value:21.16f}" for value in row) for row in rows]
    head = [atoms.get_chemical_formula(), "1.0", *lines[:3], " ".join(species), " ".join(map(str, counts)), "Direct"]
    write_bytes(directory / "POSCAR", ("\n".join([*head, *lines[3:]]) + "\n").encode())


def has_charge_of(path: Path, atoms: Atoms) -> bool:
    """Tell whether a charge density begins with these atoms (in VASP's order) at their places in their cell."""
    from pymatgen.io.vasp.inputs import Poscar

    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            structure = Poscar.from_str("".join(islice(file, 8 + len(atoms)))).structure
    except (*DAMAGE, AssertionError):
        return False
    if [site.specie.symbol for site in structure] != atoms.get_chemical_symbols():
        return False
    away = structure.frac_coords - atoms.get_scaled_positions()
    moved = (away - np.round(away)) @ atoms.cell.array
    return bool(max(np.abs(moved).max(), np.abs(structure.lattice.matrix - atoms.cell.array).max()) < _SAME_PLACE_A)


SELF_CONSISTENT = "bands and DOS are self-consistent on the denser mesh"
"""The end of a note on a DOS that is not from the host's charge density."""

_SAME_PLACE_A = 1e-3
"""CHGCAR has six digits of a fraction."""


def vasp_order(symbols: Sequence[str]) -> list[int]:
    """Return the indices of the atoms in VASP's order: grouped by species, in the order of first occurrence."""
    species = list(dict.fromkeys(symbols))
    return sorted(range(len(symbols)), key=lambda index: (species.index(symbols[index]), index))


@dataclass(frozen=True)
class VaspInputs:
    """The inputs that `VaspEngine.prepare` wrote.

    Attributes
    ----------
    kind, label
        Of the calculation.
    stages
        INCAR tags of each stage.
    mesh, mesh_shift
        K points along each axis, and by which part of a step they lie beside Γ.
    order
        Index, in our order, of each of VASP's atoms.
    protocol, execution
        The keys of both that the run reads.
    atoms
        Start geometry in our order.
    paw
        Title of the POTCAR of each element; empty if there was none when the inputs were written.
    notes
        Warnings for the record.
    scales
        For a scan of E(a), the lattice constant of each stage in units of the declared one; None for that of least
        energy.
    path
        K points of the last stage of bands, fractions of the reciprocal vectors.
    shift, turn
        By how much, in fractions of the cell, a run of the user's lies elsewhere, and how its fractions are turned
        before that; None if its axes are ours.
    imported
        Whether the outputs are of a run of the user's, whose inputs may have fewer digits than ours.
    key
        Differs between inputs that give different numbers.
    """

    directory: Path
    kind: str
    label: str
    stages: tuple[Tags, ...]
    mesh: tuple[int, int, int]
    order: tuple[int, ...]
    protocol: dict[str, Any]
    execution: dict[str, Any]
    atoms: Atoms
    paw: dict[str, str]
    notes: tuple[str, ...]
    scales: tuple[float | None, ...]
    path: tuple[tuple[float, float, float], ...]
    mesh_shift: tuple[float, float, float]
    shift: tuple[float, float, float]
    turn: tuple[tuple[int, ...], ...] | None
    imported: bool
    key: str

    @classmethod
    def read(cls, directory: Path) -> VaspInputs:
        """Read the inputs of a directory; raise `EngineError` if they are incomplete."""
        path = directory / INPUT
        try:
            values = read_json(path)
            path = directory / START
            atoms = read_xyz(path)
            path = directory / INPUT
            notes = list(values["notes"])
            if "without_charge" in values and not (directory / CHARGE).exists():
                values["stages"] = values["without_charge"]
                notes.append(f"the host's density was out of reach: {SELF_CONSISTENT}")
            return cls(
                directory=directory,
                kind=values["kind"],
                label=values["label"],
                stages=tuple(values["stages"]),
                mesh=tuple(values["mesh"]),
                order=tuple(values["order"]),
                protocol=values["protocol"],
                execution=values["execution"],
                atoms=atoms,
                paw=values["paw"],
                notes=tuple(notes),
                scales=tuple(values.get("scales", ())),
                path=tuple(map(tuple, values.get("path", ()))),
                mesh_shift=tuple(values.get("mesh_shift", (0.0, 0.0, 0.0))),
                imported="shift" in values,
                turn=tuple(map(tuple, values["turn"])) if "turn" in values else None,
                shift=tuple(values.get("shift", (0.0, 0.0, 0.0))),
                key=inputs_key(values, atoms),
            )
        except DAMAGE as error:
            raise EngineError(f"{path} cannot be read ({error}); prepare the calculation again.") from None

    @property
    def by_stress(self) -> bool:
        """True if the cell relaxes by its stress."""
        return self.kind == "relax_cell" and not self.scales

    def ours(self, rows: Any) -> Any:
        """Return an array of shape (atoms, ...), whose rows are in VASP's order, in our order."""
        reordered = np.empty_like(np.asarray(rows))
        reordered[list(self.order)] = rows
        return reordered

    def our_vectors(self, rows: Any, cell_a: Any) -> Any:
        """Return Cartesian vectors, rows in VASP's order, in our order and frame; ``cell_a`` is the run's."""
        vectors = self.ours(np.asarray(rows, float))
        return vectors if self.turn is None else vectors @ self._rotation(cell_a)

    def our_fractions(self, rows: Any) -> Any:
        """Return a run's fractions of the cell, rows in VASP's order, in our order and place."""
        fractions = self.ours(rows)
        return (fractions if self.turn is None else fractions @ np.array(self.turn)) + self.shift

    def our_cell(self, cell_a: Any) -> Any:
        """Return a run's cell, vectors as rows (Å), in our frame."""
        cell = np.array(cell_a, float)
        return cell if self.turn is None else np.linalg.solve(np.array(self.turn), cell @ self._rotation(cell))

    def _rotation(self, cell_a: Any) -> Any:
        return turned_cell(np.asarray(cell_a, float), np.array(self.turn) @ self.atoms.cell.array)[0]


def inputs_key(values: Mapping[str, Any], atoms: Atoms) -> str:
    """Return a hash of everything that determines the numbers."""
    geometry = Geometry.of(atoms).model_dump(mode="json")
    tags = [
        {tag: value for tag, value in stage.items() if tag not in HOW and tag != "NSW"} for stage in values["stages"]
    ]
    optional = [values[name] for name in ("scales", "path", "mesh_shift") if name in values]
    return digest([values["kind"], tags, values["mesh"], values["paw"], geometry, *optional])


@dataclass(frozen=True)
class State:
    """How far a directory has come: finished stages, their energies, what custodian did and left changed, notes.

    ``began`` is the number of the stage whose files are present, from 1; a value None in ``changes`` removes the tag.
    ``launch`` is the number of the present launch, ``expected`` what it is to find at its first step if it relaxes;
    of the first ``dropped`` launches nothing is kept, since they were in another electronic state.
    """

    key: str
    stage: int = 0
    began: int = 1
    corrections: tuple[str, ...] = ()
    changes: Tags = field(default_factory=dict)
    energies_ev: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()
    expected: dict[str, Any] = field(default_factory=dict)
    dropped: int = 0
    launch: int = 0

    @classmethod
    def read(cls, directory: Path, key: str) -> State:
        """Read the state; return a new one if there is none of these inputs."""
        try:
            values = read_json(directory / STATE)
            if values["key"] == key:
                return cls(
                    key,
                    int(values["stage"]),
                    int(values["began"]),
                    corrections=tuple(values["corrections"]),
                    changes=dict(values["changes"]),
                    energies_ev=tuple(map(float, values["energies_ev"])),
                    notes=tuple(values.get("notes", ())),
                    expected=dict(values.get("expected", {})),
                    dropped=int(values.get("dropped", 0)),
                    launch=int(values.get("launch", 0)),
                )
        except DAMAGE:
            pass
        return cls(key)

    def write(self, directory: Path) -> None:
        """Write the state."""
        write_json(directory / STATE, asdict(self))
