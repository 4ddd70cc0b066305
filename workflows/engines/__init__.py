"""Codes that turn a calculation into an outcome, behind one protocol: one folder a code, `shared` for all of them.

Each is registered by an entry point, those of other packages like sodiate's own; its folder is imported when it is
asked for. Imports `campaign`, the kinds, `structures` and `analysis`; a code's folder imports no other code's.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from ..kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from importlib.metadata import EntryPoint

    from ..calculation import Calculation
    from .base import Engine, Settings

GROUP = "sodiate.engines"
"""Of the entry points, by which sodiate and other packages say what engines they have."""


def engine_of(calculation: Calculation, settings: Settings, without: Mapping[str, str] | None = None) -> Engine:
    """Return what computes a calculation: its engine, or sodiate itself for the choice of the best site.

    ``without`` names the sites that failed, and why, for that choice.
    """
    if KINDS[calculation.kind].chooses:
        from .best_site import LowestEngine

        return LowestEngine(without or {})
    return make_engine(calculation.engine, settings)


def engine_names() -> list[str]:
    """Return the names of the engines that are installed, whether they can be loaded or not."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def make_engine(name: str, settings: Settings) -> Engine:
    """Return the engine called ``name``; its module is imported only now.

    Raises
    ------
    InputError
        If no package has it, two have it, or the one that has it cannot be loaded or keeps no contract.
    """
    from ..campaign.yaml import InputError, nearest

    found = list(entry_points(group=GROUP).select(name=name))
    if not found:
        names = engine_names()
        known = f"engines: {', '.join(names)}" if names else "sodiate is not installed whole: pip install it again"
        raise InputError(f"engine {name!r} is unknown{nearest(name, names)}; {known}.")
    packages = " and ".join(map(_package, found))
    if len(found) > 1:
        raise InputError(f"engine {name!r} is in two packages, {packages}: uninstall one of them.")
    try:
        make: Callable[[Settings], Engine] = found[0].load()
        engine = make(settings)
    except Exception as error:  # whatever another's package makes of being imported
        reason = f"{type(error).__name__}: {error}".rstrip(".")
        raise InputError(f"engine {name!r}: the package {packages} cannot be loaded ({reason}).") from error
    lacking = [member for member in _members() if not hasattr(engine, member)]
    if lacking or engine.name != name:
        wrong = f"lacks {', '.join(lacking)}" if lacking else f"calls itself {engine.name!r}"
        raise InputError(f"engine {name!r}: that of the package {packages} {wrong}: it is made for another sodiate.")
    return engine


def find_engine(name: str) -> Engine | None:
    """Return the engine called ``name``; None if it is not installed here, as that of records from elsewhere."""
    from .base import Settings

    return make_engine(name, Settings()) if name in engine_names() else None


def engines_here() -> Iterator[Engine]:
    """Yield the engines that can be loaded; of one that cannot be, it is told when it is asked for."""
    from ..campaign.yaml import InputError
    from .base import Settings

    for name in engine_names():
        try:
            yield make_engine(name, Settings())
        except InputError:
            continue


def _package(entry: EntryPoint) -> str:
    return "without a name" if entry.dist is None else entry.dist.name


def _members() -> list[str]:
    """Return the names of what the contract asks of an engine."""
    from .base import Engine

    methods = [name for name, value in vars(Engine).items() if callable(value) and not name.startswith("_")]
    return [*Engine.__annotations__, *methods]
