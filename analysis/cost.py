"""What calculations cost, all their launches counted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Launches:
    """The launches behind a record.

    Attributes
    ----------
    wall_s
        Wall time of all of them, s.
    count
        Their number.
    untimed
        How many of them were killed without leaving a time.
    core_s
        Wall time × cores, s; None if on how many cores they ran is not known.
    cores
        Cores of the last one that says so.
    """

    wall_s: float
    count: int
    untimed: int
    core_s: float | None
    cores: int | None
