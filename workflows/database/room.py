"""Telling a full disk from everything else that can fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ...errors import SodiateError

_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_WORDS = ("No space left on device", "Disk quota exceeded", "quota exceeded")

_LEAST_BYTES = 256 * 1024
"""Where there is less, whatever failed may have failed for want of room."""


class NoRoom(SodiateError):
    """A disk is full: not a failure of the calculation, which goes on once there is room."""


def no_room(folder: Path, error: BaseException | None = None) -> NoRoom | None:
    """Return the error of a full disk if a failure comes from that; None otherwise.

    Parameters
    ----------
    folder
        Where was written.
    error
        The failure; its causes count, too.
    """
    said = any(_says_so(cause) for cause in causes(error))
    if not said and not is_full(folder):
        return None
    return NoRoom(f"the disk of {folder} is full: make room, and go on with the same command; what is done is kept.")


def is_full(folder: Path) -> bool:
    """Tell whether the file system of a folder, or of the first one above that exists, has no room left."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        values = os.statvfs(folder)
    except OSError:
        return False
    return values.f_bavail * values.f_frsize < _LEAST_BYTES


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _says_so(error: BaseException) -> bool:
    return getattr(error, "errno", None) in _NUMBERS or any(word in str(error) for word in _WORDS)
