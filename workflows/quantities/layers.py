"""The sheets that the hosts of a campaign repeat: what quantities of their smallest cells are planned for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from ...structures.monolayers import Monolayer
from ...structures.slabs import Slab
from ...structures.stacks import Stack

if TYPE_CHECKING:
    from .base import PlannedHost
    from .declare import Declare


@dataclass(frozen=True)
class Sheet:
    """What some hosts repeat, in the campaign's words.

    Attributes
    ----------
    name
        The monolayer's, or that of the structure file without its suffix, or of the first host from it where that
        name is another's, as of a stack.
    origin
        The monolayer, the stack, or the content of the file.
    hosts
        Names of the hosts that repeat it.
    """

    name: str
    origin: Monolayer | Slab | Stack
    hosts: tuple[str, ...]

    @property
    def edges_a(self) -> tuple[float, float]:
        """Lengths of a and b as declared, Å."""
        if isinstance(self.origin, Monolayer):
            return self.origin.a, self.origin.a
        if isinstance(self.origin, Stack):
            return self.origin.layer.a, self.origin.layer.a
        first, second = np.linalg.norm(np.array(self.origin.cell), axis=1)
        return float(first), float(second)


def sheet_label(declare: Declare, host: PlannedHost) -> str:
    """Return what the folders of the clean sheet of a host are called by, if it is none of the campaign's hosts."""
    return sheets_of(declare, [host])[0].name


def sheets_of(declare: Declare, hosts: Sequence[PlannedHost]) -> tuple[Sheet, ...]:
    """Return the monolayers and the structure files that hosts repeat, each once."""
    files = {slab: PurePath(file).stem for file, slab in declare.campaign.slabs.items()}
    found: dict[Monolayer | Slab | Stack, list[PlannedHost]] = {}
    for host in hosts:
        found.setdefault(host.origin, []).append(host)
    origins = {host.name: host.origin for host in hosts}
    sheets: list[Sheet] = []
    for origin, those in found.items():
        own = those[0].layer or (files[origin] if isinstance(origin, Slab) else those[0].name)
        # A sheet called as a host of another one would pass for that host's.
        taken = {sheet.name for sheet in sheets} | {name for name, other in origins.items() if other != origin}
        name = next(name for name in (own, *(host.name for host in those)) if name not in taken)
        sheets.append(Sheet(name, origin, tuple(host.name for host in those)))
    return tuple(sheets)
