"""Folders for a while, of which none stays for good: what a killed process left is removed later."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def temporary_folder(kind: str, parent: Path | None = None) -> Iterator[Path]:
    """Yield a new folder and remove it at the end; before, remove those that were left behind.

    A folder is in use while its process holds a lock on it, which the kernel gives back also after kill -9.

    Parameters
    ----------
    kind
        A word for the name; folders of this kind are looked at.
    parent
        Where; by default in the temporary directory.
    """
    parent, prefix = parent or Path(tempfile.gettempdir()), f"sodiate-{kind}."
    _sweep(parent, prefix)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # swept between the two lines by a process that starts at the same time
            continue
        with suppress(OSError):  # a file system without locks, on which nobody else gets one either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if folder.exists():  # else it was swept before it was locked
            break
        os.close(descriptor)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _sweep(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        with suppress(OSError):  # in use, somebody else's, or gone meanwhile
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
