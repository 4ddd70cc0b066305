"""Finished runs of VASP that the user made: taken as records if what was run is what is planned.

A run is laid into the directory of its calculation, and read and recorded from there like any other.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import SodiateError
from .. import start_structures
from ..calculation import Calculation
from ..campaign.yaml import InputError
from ..engines import make_engine
from ..engines.base import Settings
from ..engines.shared.files import DAMAGE, fingerprint, read_json, write_json
from ..engines.vasp.inputs import CHARGE, INPUT, RESULT, STATE, Inputs, State
from ..engines.vasp.results import FILES, RUN, method_of, read_vasprun, sampling_of
from ..plan.graph import Plan
from .run_calculation import WorkerSettings, run_calculation

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.io.vasp.outputs import Vasprun

    from ..database.documents import Documents

_TAKEN = (RUN, "OUTCAR", "OSZICAR", "CONTCAR", "XDATCAR", "PROCAR", "INCAR", "KPOINTS", "POSCAR")

_NEAR_A = 1.0
"""A run belongs to a calculation whose start is nowhere further from the run's own start."""

_SAME_CELL_A = 1e-3

_COMPARED = ("PREC", "ISMEAR", "SIGMA", "ISPIN", "LASPH", "LREAL", "LDIPOL", "IDIPOL", "NUPDOWN", "ICHARG", "IVDW")


@dataclass
class Verdict:
    """What became of one folder: the calculation that it is, or why it is none."""

    folder: Path
    calculation: Calculation | None = None
    reasons: list[str] = field(default_factory=list)
    recorded: str = ""


def import_runs(
    folders: Sequence[Path], plan: Plan, documents: Documents, root: Path, dry_run: bool
) -> list[Verdict]:
    """Record the runs in some folders, parents before children.

    Parameters
    ----------
    folders
        Each with vasprun.xml and OUTCAR, plain or gz.
    plan
        The campaign, planned for VASP and stored.
    documents, root
        Where the records go, and the directories.
    dry_run
        Says what would be recorded, and records nothing.

    Returns
    -------
    list of Verdict
        One a folder.
    """
    verdicts = {folder: _verdict(folder, plan, documents) for folder in folders}
    with tempfile.TemporaryDirectory(prefix="sodiate-import-") as scratch:
        place = Path(scratch) if dry_run else root
        for calculation in plan.calculations:
            for verdict in verdicts.values():
                if verdict.calculation == calculation and not verdict.reasons:
                    verdict.reasons = _take(verdict, plan, documents, place, dry_run)
    return list(verdicts.values())


def _verdict(folder: Path, plan: Plan, documents: Documents) -> Verdict:
    """Find the calculation that a run is."""
    try:
        run = read_vasprun(_file(folder, RUN))
    except DAMAGE as error:
        return Verdict(folder, reasons=[f"{RUN} is missing or damaged ({error})"])
    near = [(far, one) for one in plan.calculations if (far := _distance(run, one, documents)) is not None]
    if not near:
        atoms = run.initial_structure.composition.reduced_formula
        return Verdict(folder, reasons=[f"{plan.campaign.spec.campaign} plans nothing like it: {atoms}"])
    far, calculation = min(near, key=lambda pair: pair[0])
    if far > _NEAR_A:
        return Verdict(folder, calculation, [f"its start is {far:.1f} Å from that of {calculation.label}"])
    return Verdict(folder, calculation)


def _file(folder: Path, name: str) -> Path:
    plain, packed = folder / name, folder / f"{name}.gz"
    return packed if packed.exists() and not plain.exists() else plain


def _kind(run: Vasprun) -> str:
    if int(run.parameters.get("ICHARG", 2)) == 11:
        return "dos"
    if int(run.parameters["NSW"]) == 0 or int(run.parameters["IBRION"]) == -1:
        return "still"
    return "relax" if int(run.parameters["ISIF"]) <= 2 else "relax_cell"


def _distance(run: Vasprun, calculation: Calculation, documents: Documents) -> float | None:
    """Return how far a run's start is from a calculation's (Å); None if kind, atoms or periodicity cannot fit."""
    kinds = {"still": ("static", "atom", "bulk", "density")}.get(_kind(run), (_kind(run),))
    if calculation.kind not in kinds:
        return None
    atoms = start_of(calculation, documents)
    if atoms is None or sorted(atoms.get_chemical_symbols()) != sorted(map(str, run.atomic_symbols)):
        return None
    cell = np.abs(atoms.cell.array - run.initial_structure.lattice.matrix).max()
    return None if cell > _NEAR_A else float(max(pairing(atoms, run.initial_structure)[1], cell))


def start_of(calculation: Calculation, documents: Documents) -> Atoms | None:
    """Return a calculation's start: from its parents' records where they are, else from their own starts."""
    parents = {}
    for role, parent in calculation.parents.items():
        record = documents.record(parent.id)
        known = record.geometry.atoms() if record is not None and record.geometry is not None else None
        parents[role] = known if known is not None else start_structures.ideal_atoms(parent)
    return start_structures.start_atoms(
        calculation, {role: atoms for role, atoms in parents.items() if atoms is not None}
    )


def pairing(atoms: Atoms, structure: Any) -> tuple[list[int], float]:
    """Return the index among ``atoms`` of each atom of a structure, and how far the furthest pair is apart (Å)."""
    from ase.geometry import get_distances
    from scipy.optimize import linear_sum_assignment

    cell = structure.lattice.matrix
    symbols = [str(site.specie.symbol) for site in structure]
    _, apart = get_distances(structure.cart_coords, atoms.positions, cell=cell, pbc=True)
    other = np.array(symbols)[:, None] != np.array(atoms.get_chemical_symbols())[None, :]
    rows, columns = linear_sum_assignment(apart + 1e3 * other)
    return [int(column) for column in columns], float(apart[rows, columns].max())


def differences(run: Vasprun, inputs: Inputs, calculation: Calculation) -> list[str]:
    """Say what of a run is not what is planned, as ``ISMEAR 1 (yours) ≠ 0 (protocol)``.

    Parameters
    ----------
    run
        What was run.
    inputs
        What sodiate would have run.
    calculation
        For its protocol.
    """
    planned, ran = inputs.stages[-1], {**run.incar, **run.parameters}
    defaults = {"LDIPOL": False, "IDIPOL": 0, "NUPDOWN": -1, "ICHARG": 2, "IVDW": 0, "LREAL": False, "LASPH": False}
    pairs = {tag: (ran.get(tag, defaults.get(tag)), planned.get(tag, defaults.get(tag))) for tag in _COMPARED}
    if not planned.get("LDIPOL"):
        pairs.pop("IDIPOL")
    if calculation.kind != "dos":
        pairs.pop("ICHARG")
    pairs |= {tag: (run.incar.get(tag), value) for tag, value in inputs.protocol.get("incar", {}).items()}
    method, sampling = method_of(run, "vasp"), sampling_of(run)
    protocol = calculation.protocol
    pairs["ENCUT"] = (method.cutoff_ev, protocol["cutoff_ev"])
    pairs["functional"] = (method.functional, protocol["functional"])
    pairs["k mesh"] = (sampling.kmesh, inputs.mesh)
    pairs |= {
        f"POTCAR of {e}": (method.paw.get(e, "").split(" ")[1:2], [name]) for e, name in protocol["paw"].items()
    }
    found = [
        f"{tag} {_shown(a)} (yours) ≠ {_shown(b)} (protocol)" for tag, (a, b) in pairs.items() if not _same(a, b)
    ]
    if float(ran["EDIFF"]) > 1.001 * protocol["energy_convergence_ev"]:
        found.append(f"EDIFF {ran['EDIFF']:g} (yours) > {protocol['energy_convergence_ev']:g} (protocol)")
    apart = np.abs(run.initial_structure.lattice.matrix - inputs.atoms.cell.array).max()
    if apart > _SAME_CELL_A:
        edges = (run.initial_structure.lattice.abc, inputs.atoms.cell.lengths())
        yours, ours = (" × ".join(f"{edge:.3f}" for edge in one) for one in edges)
        found.append(f"cell {yours} Å (yours) ≠ {ours} Å (protocol)")
    return found


def _shown(value: Any) -> str:
    return value[0] if isinstance(value, list) and len(value) == 1 else str(value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, str) and isinstance(other, str):  # VASP cuts words to six letters
        return one.strip().lower()[:6] == other.strip().lower()[:6]
    try:
        return bool(np.allclose(np.array(one, float), np.array(other, float), rtol=1e-6, atol=1e-9))
    except (TypeError, ValueError):
        return bool(one == other)


def _take(verdict: Verdict, plan: Plan, documents: Documents, root: Path, dry_run: bool) -> list[str]:
    """Record a run; return why not."""
    calculation = verdict.calculation
    assert calculation is not None
    if documents.record(calculation.id) is not None:
        verdict.recorded = "is recorded already"
        return []
    lacking = [p.label for p in calculation.parents.values() if documents.record(p.id) is None]
    if lacking and not dry_run:
        return [f"it starts from {', '.join(lacking)}, which has no record yet: import that run, too"]
    directory = root / calculation.directory_name
    if directory.exists():
        return [f"{directory} is there already: `sodiate run` goes on in it; move it away to import this run"]
    try:
        reasons = _lay(verdict.folder, calculation, plan, documents, directory)
        if reasons or dry_run:
            return reasons
        run_calculation(documents, calculation.id, WorkerSettings(root))
        verdict.recorded = "recorded"
        return []
    except SodiateError as error:
        return [str(error)]
    finally:
        if dry_run or not verdict.recorded:
            shutil.rmtree(directory, ignore_errors=True)


def _lay(folder: Path, calculation: Calculation, plan: Plan, documents: Documents, directory: Path) -> list[str]:
    """Lay a run into its calculation's directory as if sodiate had run it; return what it has otherwise."""
    from .workdir import own_directory

    atoms = start_of(calculation, documents)
    moments = start_structures.start_moments(calculation, len(atoms)) if atoms is not None else None
    workdir = own_directory(directory.parent, calculation, atoms, 0)
    start = workdir.start
    if start is None:
        raise InputError(f"{calculation.label} has no atoms.")
    if moments is not None:
        start.set_initial_magnetic_moments(moments)
    engine = make_engine("vasp", Settings(execution=plan.execution(calculation)))
    engine.prepare(calculation, start, directory, {})
    run = read_vasprun(_file(folder, RUN))
    found = differences(run, _with_charge(directory, calculation), calculation)
    if found:
        return found
    wanted = (*_TAKEN, CHARGE) if calculation.kind == "density" else _TAKEN
    for name in wanted:
        _copy(_file(folder, name), directory / name)
    _sign(directory, pairing(start, run.initial_structure)[0], folder)
    return []


def _with_charge(directory: Path, calculation: Calculation) -> Inputs:
    """Return the inputs; those of a DOS are compared as one from the host's charge density."""
    if calculation.kind == "dos":
        values = read_json(directory / INPUT)
        values.pop("without_charge")
        write_json(directory / INPUT, values)
    return Inputs.read(directory)


def _copy(source: Path, target: Path) -> None:
    import gzip

    if not source.exists():
        return
    if source.suffix == ".gz":
        target.write_bytes(gzip.decompress(source.read_bytes()))
    else:
        shutil.copyfile(source, target)


def _sign(directory: Path, order: list[int], folder: Path) -> None:
    """Say that the run is finished, in which order its atoms are, and where it came from."""
    values: Mapping[str, Any] = read_json(directory / INPUT)
    write_json(
        directory / INPUT,
        {**values, "order": order, "notes": [*values["notes"], f"imported: run by the user in {folder.name}"]},
    )
    inputs = Inputs.read(directory)
    State(inputs.key, len(inputs.stages), len(inputs.stages)).write(directory)
    files = [name for name in FILES.get(inputs.kind, FILES["dos"]) if (directory / name).exists()]
    prints = {name: fingerprint(directory / name) for name in files}
    write_json(directory / RESULT, {"key": inputs.key, "fingerprints": prints})
    assert (directory / STATE).exists()
