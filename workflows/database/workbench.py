"""The workbench: a database, FireWorks' side of it, and the root of the calculations' directories."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .connection import Database, close, initialise
from .documents import Documents
from .standing import Standing, standing_of

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad


@dataclass(frozen=True)
class Workbench:
    """The database and the root, for submitting, launching, queueing and corrections.

    Attributes
    ----------
    database
        The open database.
    root
        Folder of the calculations' directories and FireWorks' logs.
    """

    database: Database
    root: Path

    @cached_property
    def documents(self) -> Documents:
        """Sodiate's collections."""
        return Documents(self.database.db)

    @cached_property
    def launchpad(self) -> LaunchPad:
        """FireWorks' collections in the same database.

        Opened on first use, since that loads FireWorks and creates the folder of its logs: reading needs neither, and
        a refused command must leave nothing behind.
        """
        return self.database.fireworks(self.root / "logs")

    def close(self) -> None:
        """Let go of FireWorks' connection, whose threads Python would wait for at its end."""
        if "launchpad" in self.__dict__:
            close(self.launchpad.connection)

    def initialise(self) -> None:
        """Prepare the database for its first campaign; see `initialise` of `connection`."""
        initialise(self.database, self.launchpad)

    def standing(self, identifiers: Iterable[str]) -> Standing:
        """Return the standing of some calculations: usable records, and the reasons why others have none."""
        return standing_of(self.documents, identifiers)
