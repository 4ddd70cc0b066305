"""What of VASP is there on this machine: its programs, and the libraries of POTCARs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ...diagnosis import Finding

_PROGRAMS = ("vasp_std", "vasp_gam", "vasp_ncl")

_LICENSED = "needs a licence; on a cluster: module avail vasp, module load what it lists (only for --engine vasp)"

LIBRARY = "PMG_VASP_PSP_DIR"
"""The environment variable with the library of POTCARs."""


def look() -> list[Finding]:
    """Return what is there."""
    return [_programs(), _potcars(os.environ.get(LIBRARY))]


def _programs() -> Finding:
    found = {name: place for name in _PROGRAMS if (place := shutil.which(name)) is not None}
    if not found:
        return Finding("VASP", f"no {', '.join(_PROGRAMS)} on PATH", False, _LICENSED)
    missing = [name for name in _PROGRAMS if name not in found]
    words = ", ".join(found.values()) + (f"; no {', '.join(missing)}" if missing else "")
    return Finding("VASP", words)


def _potcars(library: str | None) -> Finding:
    if not library:
        remedy = f"export {LIBRARY}=/your/potcars, the folder that has POT_GGA_PAW_PBE_54 or potpaw_PBE.54"
        return Finding("POTCARs", f"{LIBRARY} is not set", False, remedy)
    try:
        folders = sorted(path for path in Path(library).iterdir() if path.name.lower().startswith("pot"))
        counts = {path.name: sum(1 for _ in path.iterdir()) for path in folders if path.is_dir()}
    except OSError as error:
        where = error.filename or library
        words = f"{where}: {error.strerror} ({LIBRARY})"
        return Finding("POTCARs", words, False, f"have read access given to you: ls -ld {where}")
    filled = {name: count for name, count in counts.items() if count}
    if not filled:
        words = f"{library} has no folder of data sets such as POT_GGA_PAW_PBE_54 or potpaw_PBE.54"
        return Finding("POTCARs", words, False, f"pmg config -p /downloaded/potpaw_PBE.54 {library}")
    return Finding("POTCARs", f"{', '.join(f'{name} ({count})' for name, count in filled.items())} in {library}")
