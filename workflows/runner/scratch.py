"""Computing on a disk near the cores: files are copied back while the calculation runs and when it ends."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import SodiateError
from ..engines.base import EngineError
from ..engines.shared.processes import locked
from ..engines.shared.temporary import temporary_folder
from ..stop import meanwhile
from .workdir import CLAIM

EVERY_S = 300.0
"""Interval between two copies back: the loss if the node fails."""

_LARGE = 64_000_000

_STAY = ("lock", CLAIM)


@contextmanager
def computing_in(directory: Path, scratch: str | None, every_s: float = EVERY_S) -> Iterator[Path]:
    """Yield the folder to compute in: a copy of the directory below ``scratch``, or the directory itself.

    At the end of the block, also after an error, the copy is copied back and removed. Copies that killed processes of
    this machine left there are removed before.

    Parameters
    ----------
    directory
        Of the calculation; locked during the block.
    scratch
        A folder that exists on the machine; ``$VARIABLES`` and ``~`` are expanded. None computes in the directory.
    every_s
        Seconds between two copies back while the code runs; these leave out large files.

    Raises
    ------
    EngineError
        If the folder does not exist or has no room.
    SodiateError
        The error of the block, with the directory in place of the copy in its message.
    """
    if scratch is None:
        yield directory
        return
    folder = Path(os.path.expandvars(scratch)).expanduser()
    if not folder.is_dir():
        raise EngineError(f"{directory}: scratch {scratch}: there is no folder {folder} on this machine.")
    # With the machine's name, since nodes may share the folder but not the locks that tell what is in use.
    with locked(directory), temporary_folder(f"scratch-{platform.node()}", folder) as own:
        place = own / directory.name
        try:
            _copy_out(directory, place)
            with _copying_back(place, directory, every_s):
                yield place
        except SodiateError as error:
            error.args = (str(error).replace(str(place), str(directory)),)
            raise
        finally:
            if place.is_dir():
                copy_back(place, directory)


def _copy_out(directory: Path, place: Path) -> None:
    try:
        shutil.copytree(directory, place, ignore=shutil.ignore_patterns(*_STAY, "*.partial"))
    except (OSError, shutil.Error) as error:
        shutil.rmtree(place, ignore_errors=True)  # so that half a copy is not copied back
        raise EngineError(f"{directory}: cannot be copied to {place.parent} ({error}).") from None


def copy_back(place: Path, directory: Path, largest: float = float("inf")) -> None:
    """Synchronise a directory with its copy; a kill at any moment leaves no partial file. The result comes last.

    Parameters
    ----------
    place
        The copy.
    directory
        The original.
    largest
        Leave out files with more bytes.
    """
    sizes = {path.relative_to(place): path.stat().st_size for path in place.rglob("*") if path.is_file()}
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.relative_to(directory) not in sizes and path.name not in _STAY:
            path.unlink()
    for name in sorted(sizes, key=lambda name: (name.name == "result.json", name)):
        if name.name not in _STAY and sizes[name] <= largest:
            _copy(place / name, directory / name)


def _copy(source: Path, target: Path) -> None:
    """Copy a file unless the target has its size and time."""
    with suppress(FileNotFoundError):
        if _stamp(source) == _stamp(target):
            return
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    try:
        shutil.copy2(source, partial)
        partial.replace(target)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@contextmanager
def _copying_back(place: Path, directory: Path, every_s: float) -> Iterator[None]:
    """Copy back at intervals; try again after a failure, as when a file vanished or the disk was full."""

    def copy() -> bool:
        with suppress(OSError):
            copy_back(place, directory, _LARGE)
        return False

    with meanwhile(copy, every_s, "scratch"):
        yield
