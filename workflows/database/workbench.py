"""The workbench: a database, FireWorks' side of it, and the root of the calculations' directories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .connection import Database, initialise
from .documents import Documents
from .standing import Standing, standing_of

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad


@dataclass(frozen=True)
class Workbench:
    """What submitting, launching, queueing and correcting work on.

    Attributes
    ----------
    database
        The open database.
    root
        Where the calculations' directories and FireWorks' logs are.
    """

    database: Database
    root: Path

    @cached_property
    def documents(self) -> Documents:
        """Our collections."""
        return Documents(self.database.db)

    @cached_property
    def launchpad(self) -> LaunchPad:
        """FireWorks' collections in the same database.

        Opened when it is first asked for: that loads FireWorks and makes the folder of its logs, for which reading
        has no use, and a refused command must leave nothing behind.
        """
        return self.database.fireworks(self.root / "logs")

    def initialise(self) -> None:
        """Prepare the database for its first campaign; see `initialise` of `connection`."""
        initialise(self.database, self.launchpad)

    def standing(self, identifiers: Iterable[str]) -> Standing:
        """Return how some calculations stand: usable records, and why others have none."""
        return standing_of(self.documents, identifiers)
