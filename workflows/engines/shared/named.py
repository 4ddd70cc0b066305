"""Functionals and dispersion corrections by name: what a code lacks is refused when planned, with what it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ...campaign.yaml import InputError, nearest


def refuse_unknown(
    engine: str, where: str, protocol: Mapping[str, Any], known: Mapping[str, Collection[str]]
) -> None:
    """Raise `InputError` for a name in a protocol that a code does not have.

    Parameters
    ----------
    engine, where
        For the message.
    protocol
        Of a calculation.
    known
        The names that the code has, by protocol key.
    """
    for key, names in known.items():
        name = protocol.get(key)
        if name is not None and name not in names:
            raise InputError(
                f"{where}: protocol.{key}: the engine {engine} has no {name!r}{nearest(name, names)}; it has "
                f"{', '.join(names)}."
            )
