"""Start geometries and inputs as files, to inspect before anything runs."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import SodiateError
from ...structures.slabs import POSCAR
from .. import start_structures
from ..campaign.yaml import InputError
from ..engines import make_engine
from ..engines.base import Settings
from ..kinds import KINDS
from .graph import Plan

if TYPE_CHECKING:
    from ase import Atoms

    from ..calculation import Calculation

FORMATS = {POSCAR: f".{POSCAR}", "cif": ".cif", "extxyz": ".extxyz"}

UNRELAXED = "UNRELAXED"
"""The file that marks inputs whose geometry will be another when they run."""


@contextmanager
def new_folder(folder: Path, content: str) -> Iterator[Path]:
    """Yield a draft of a folder, which replaces it when the block ends; after an error nothing is left behind.

    Parameters
    ----------
    folder
        New or empty.
    content
        A plural noun for the message that refuses a folder with files.

    Raises
    ------
    InputError
        If the folder has content or cannot be written.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{folder} is not a new or empty folder; {content} are not mixed with other files.")
    partial = folder.resolve().with_name(f".{folder.resolve().name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_structures(plan: Plan, folder: Path) -> int:
    """Write the start of every host and site as POSCAR, CIF and extxyz.

    Parameters
    ----------
    plan
        The planned campaign.
    folder
        New or empty.

    Returns
    -------
    int
        The number of structures.

    Raises
    ------
    InputError
        If the folder has content or cannot be written; nothing is left behind.
    """
    names = [name for name, calculation in plan.names.items() if calculation.kind == "relax"]
    with new_folder(folder, "structures") as partial:
        for name in names:
            model, _, site = name.partition("/")
            atoms = plan[name].atoms()
            for form in FORMATS:
                write_atoms(partial / model, site or "host", atoms, form)
    return len(names)


def write_atoms(folder: Path, name: str, atoms: Atoms, form: str) -> None:
    """Write one structure in one of `FORMATS`; energy and forces go into an extxyz if the atoms have them."""
    from ase.io import write

    # ASE reads the part of a file's name after an @ as the number of an image.
    path = folder / f"{re.sub('[@/:]', '_', name)}{FORMATS[form]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"sort": True, "direct": True} if form == POSCAR else {}
    if form == "cif":
        atoms = atoms.copy()
        atoms.pbc = True  # a CIF is periodic in three directions
    write(path, atoms, format=form, **options)


def write_inputs(plan: Plan, folder: Path) -> int:
    """Write the inputs of every calculation as its engine would, without a database or a licence.

    A calculation that starts from the end of another is written with the start of that one and a file `UNRELAXED`.

    Parameters
    ----------
    plan
        The planned campaign.
    folder
        New or empty.

    Returns
    -------
    int
        The number of calculations.

    Raises
    ------
    InputError
        If the folder has content or cannot be written, or the engine refuses; nothing is left behind.
    """
    calculations = [calculation for calculation in plan.calculations if not KINDS[calculation.kind].chooses]
    with new_folder(folder, "inputs") as partial:
        for calculation in calculations:
            atoms, note = _unrelaxed_start(calculation)
            moments = start_structures.start_moments(calculation, len(atoms))
            if moments is not None:
                atoms.set_initial_magnetic_moments(moments)
            directory = partial / calculation.directory_name
            engine = make_engine(calculation.engine, Settings(execution=plan.execution(calculation)))
            try:
                engine.prepare(calculation, atoms, directory, {})
            except SodiateError as error:
                raise InputError(str(error).replace(str(partial), str(folder))) from None
            if note:
                (directory / UNRELAXED).write_text(f"{note}\n", encoding="utf-8")
    return len(calculations)


def _unrelaxed_start(calculation: Calculation) -> tuple[Atoms, str]:
    """Return a calculation's atoms with all parents at their own start, and a note on the difference to its run."""
    atoms = start_structures.ideal_atoms(calculation)
    if atoms is not None:
        parents = ", ".join(parent.label for parent in calculation.parents.values())
        note = f"The atoms are those that {parents} starts from, not those that it ends with." if parents else ""
        return atoms, note
    candidates = calculation.parents["lowest"].parents.values()
    site = next(parent for parent in candidates if parent.structure["op"] in start_structures.ON_SITE)
    start = start_structures.ideal_atoms(site)
    assert start is not None  # a site's atoms follow from its host's alone
    atoms = start_structures.start_atoms(calculation, {"lowest": start})
    assert atoms is not None
    note = f"The atoms are those that {site.label} starts from, not the end of the site that will be the lowest."
    return atoms, note
