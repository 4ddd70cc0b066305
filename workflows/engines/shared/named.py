"""Functionals and dispersion corrections by name: what a code lacks is refused when planned, with what it has."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ...campaign.yaml import InputError, nearest
from ..base import PlainDeclaration

if TYPE_CHECKING:
    from ...calculation import Calculation


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


class NamedDeclaration(PlainDeclaration):
    """The declaration of a code that has but some of the names that a protocol may say.

    Parameters
    ----------
    engine, where
        For messages.
    known
        The names that the code has, by protocol key.
    """

    def __init__(self, engine: str, where: str, known: Mapping[str, Collection[str]]) -> None:
        self.engine, self.where, self.known = engine, where, known

    def protocol(self, calculation: Calculation) -> dict[str, Any]:
        """Return the common keys, or refuse what the code does not have."""
        refuse_unknown(self.engine, self.where, calculation.protocol, self.known)
        return dict(calculation.protocol)
