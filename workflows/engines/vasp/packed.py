"""Files of VASP's that somebody packed, as groups do with runs of years ago."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

_OPENED: Mapping[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


def opened(path: Path) -> BinaryIO:
    """Open a file, packed or not, for the bytes that it had."""
    file: BinaryIO = _OPENED[path.suffix](path) if path.suffix in _OPENED else path.open("rb")
    return file


def forms(path: Path) -> Iterator[Path]:
    """Yield the names that a file may have: its own, and those of its packed form."""
    yield path
    yield from (path.with_name(f"{path.name}{ending}") for ending in _OPENED)


def plain_name(path: Path) -> str:
    """Return the name of a file without the ending of its packed form."""
    return path.name.removesuffix(path.suffix) if path.suffix in _OPENED else path.name
