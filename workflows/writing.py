"""Start geometries as files."""

from __future__ import annotations

import shutil
from pathlib import Path

from .graph import Plan
from .reading import InputError

FORMATS = {"vasp": ".vasp", "cif": ".cif", "extxyz": ".extxyz"}


def write_structures(plan: Plan, folder: Path) -> int:
    """Write every host and site, before anything runs, as POSCAR, CIF and extxyz.

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
        If the folder holds something or cannot be written; nothing is left behind then.
    """
    from ase.io import write

    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise InputError(f"{folder} is not a new or empty folder; structures are not mixed with other files.")
    partial = folder.resolve().with_name(f".{folder.resolve().name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    names = [name for name, calculation in plan.names.items() if calculation.kind == "relax"]
    try:
        for name in names:
            model, _, site = name.partition("/")
            # ASE takes what follows an @ in a file's name for the number of an image.
            path = partial / model / (site.replace("@", "_") or "host")
            path.parent.mkdir(parents=True, exist_ok=True)
            atoms = plan[name].atoms()
            for form, ending in FORMATS.items():
                options = {"sort": True, "vasp5": True, "direct": True} if form == "vasp" else {}
                periodic = atoms.copy()
                if form == "cif":
                    periodic.pbc = True  # a CIF knows no slab
                write(path.with_name(path.name + ending), periodic, format=form, **options)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InputError(f"{folder}: cannot be written: {error.strerror}.") from None
    return len(names)
