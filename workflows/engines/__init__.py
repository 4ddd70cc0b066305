"""Codes that turn a calculation into an outcome, behind one protocol: one folder a code, `shared` for all of them.

Each is registered by an entry point, in sodiate as in other packages, and imported when it is first needed. They
import `campaign`, the kinds, `structures` and `analysis`; a code's folder imports no other code's.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from ..kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from importlib.metadata import EntryPoint, EntryPoints

    from ..calculation import Calculation
    from .base import Engine, Settings

GROUP = "sodiate.engines"
"""Group of entry points under which sodiate and other packages register engines."""


def engine_of(calculation: Calculation, settings: Settings, failures: Mapping[str, str] | None = None) -> Engine:
    """Return the engine of a calculation; `LowestEngine` for the choice of the best site.

    Parameters
    ----------
    calculation
        What to compute.
    settings
        Settings of how numbers are reached.
    failures
        For the choice of the best site: why each site without a record failed.
    """
    if KINDS[calculation.kind].chooses:
        from .best_site import LowestEngine

        return LowestEngine(failures or {})
    return make_engine(calculation.engine, settings)


def engine_names() -> list[str]:
    """Return the names of the engines that are installed, whether they can be loaded or not."""
    return sorted({entry.name for entry in _registered(tuple(sys.path))})


def make_engine(name: str, settings: Settings) -> Engine:
    """Import and return the engine called ``name``.

    Raises
    ------
    InputError
        If no package or more than one registers it, or if it cannot be loaded or breaks the contract.
    """
    from ..campaign.yaml import InputError, nearest

    entries = list(_registered(tuple(sys.path)).select(name=name))
    if not entries:
        names = engine_names()
        hint = (
            f"engines: {', '.join(names)}" if names else "sodiate is not installed completely: pip install it again"
        )
        raise InputError(f"engine {name!r} is unknown{nearest(name, names)}; {hint}.")
    packages = " and ".join(map(_package, entries))
    if len(entries) > 1:
        raise InputError(f"engine {name!r} is in two packages, {packages}: uninstall one of them.")
    try:
        make: Callable[[Settings], Engine] = entries[0].load()
        engine = make(settings)
    except Exception as error:  # of any kind: importing runs code of another package
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise InputError(f"engine {name!r}: the package {packages} cannot be loaded ({reason}).") from error
    missing = [member for member in _members() if not hasattr(engine, member)]
    if missing or engine.name != name:
        fault = f"lacks {', '.join(missing)}" if missing else f"calls itself {engine.name!r}"
        raise InputError(
            f"engine {name!r}: that of the package {packages} {fault}: it is made for another version of sodiate."
        )
    return engine


def find_engine(name: str) -> Engine | None:
    """Return the engine called ``name``; None if it is not installed here, as for records of another machine."""
    from .base import Settings

    return make_engine(name, Settings()) if name in engine_names() else None


def engines_here() -> Iterator[Engine]:
    """Yield the installed engines, without those that cannot be loaded."""
    from ..campaign.yaml import InputError
    from .base import Settings

    for name in engine_names():
        try:
            yield make_engine(name, Settings())
        except InputError:
            continue


@lru_cache(maxsize=1)
def _registered(path: tuple[str, ...]) -> EntryPoints:
    """Return the entry points of engines on a search path, for which each installed package's files are read."""
    del path
    return entry_points(group=GROUP)


def _package(entry: EntryPoint) -> str:
    return "without a name" if entry.dist is None else entry.dist.name


def _members() -> list[str]:
    """Return the names of the attributes and methods that the contract requires."""
    from .base import Engine

    methods = [name for name, value in vars(Engine).items() if callable(value) and not name.startswith("_")]
    return [*Engine.__annotations__, *methods]
