"""Files that are whole or absent: written under another name, then renamed; reading detects damage."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import re
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

_HEAD = re.compile(r'Lattice="([^"]*)" Properties=species:S:1:pos:R:3 pbc="([TF] [TF] [TF])"')

TRAJECTORY = "trajectory.jsonl"

DAMAGE = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, StopIteration),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""Exceptions that the readers of this module, NumPy and ASE raise for a missing, truncated or garbled file."""


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file, to detect later that it was replaced."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tail(path: Path, size: int) -> bytes:
    """Return the last bytes of a file, at most so many; nothing of one that cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read()
    except OSError:
        return b""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: a kill at any moment leaves the old or the new content."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:  # a full disk is not filled further
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write JSON-like values; floats are read back as the same numbers."""
    write_bytes(path, json.dumps(value, indent=1).encode() + b"\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object; raise one of `DAMAGE` if the file holds something else."""
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays as one npz file, whose checksums reveal damage."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of an npz file; raise one of `DAMAGE` if it is damaged."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def exact_xyz(atoms: Atoms) -> str:
    """Return extended XYZ with all digits: ASE's writer rounds to 1e-8 Å."""
    lattice = " ".join(repr(float(value)) for value in atoms.cell.array.ravel())
    periodic = " ".join("T" if value else "F" for value in atoms.pbc)
    lines = [str(len(atoms)), f'Lattice="{lattice}" Properties=species:S:1:pos:R:3 pbc="{periodic}"']
    for symbol, position in zip(atoms.get_chemical_symbols(), atoms.get_positions().tolist(), strict=True):
        lines.append(" ".join([symbol, *map(repr, position)]))
    return "\n".join(lines) + "\n"


def read_xyz(path: Path) -> Atoms:
    """Read the atoms that `exact_xyz` wrote; raise one of `DAMAGE` if the file does not hold them whole."""
    from ase import Atoms  # ASE's reader of any such file would load SciPy

    count, head, *rows = path.read_text(encoding="utf-8").splitlines()
    found = _HEAD.fullmatch(head)
    if found is None or len(rows) != int(count) or not all(len(row.split()) == 4 for row in rows):
        raise ValueError(f"not {count} atoms in a cell")
    lattice, periodic = (text.split() for text in found.groups())
    symbols, *columns = zip(*(row.split() for row in rows), strict=True)
    positions = np.array(columns, dtype=np.float64).T
    cell = np.array(lattice, dtype=np.float64).reshape(3, 3)
    return Atoms(symbols, positions=positions, cell=cell, pbc=[letter == "T" for letter in periodic])
