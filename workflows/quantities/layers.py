"""The monolayers that the hosts of a campaign repeat, for quantities of their 1×1 cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..campaign.yaml import InputError

if TYPE_CHECKING:
    from .base import PlannedHost
    from .declare import Declare


def layers_of(declare: Declare, hosts: Sequence[PlannedHost], quantity: str) -> tuple[str, ...]:
    """Return the monolayers that hosts repeat, each once.

    Raises
    ------
    InputError
        If no host repeats a monolayer.
    """
    layers = tuple(dict.fromkeys(host.layer for host in hosts if host.layer is not None))
    if not layers:
        raise InputError(f"{declare.where}: quantities: {quantity} is that of monolayers; no model is made of one.")
    return layers
