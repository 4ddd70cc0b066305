"""Codes that turn a calculation into an outcome, behind one protocol: one folder a code, `shared` for all of them.

Imports `campaign`, the kinds, `structures` and `analysis`; a code's folder imports no other code's.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ..kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..calculation import Calculation
    from .base import Engine, Settings

ENGINES = {"emt": ".emt.engine:EmtEngine", "gpaw": ".gpaw.engine:GpawEngine", "vasp": ".vasp.engine:VaspEngine"}
"""Names of the codes, and where their classes are."""


def engine_of(calculation: Calculation, settings: Settings, without: Mapping[str, str] | None = None) -> Engine:
    """Return what computes a calculation: its engine, or sodiate itself for the choice of the best site.

    ``without`` names the sites that failed, and why, for that choice.
    """
    if KINDS[calculation.kind].chooses:
        from .best_site import LowestEngine

        return LowestEngine(without or {})
    return make_engine(calculation.engine, settings)


def make_engine(name: str, settings: Settings) -> Engine:
    """Return the engine called ``name``; its module is imported only now."""
    from ..campaign.yaml import InputError, nearest

    if name not in ENGINES:
        raise InputError(f"engine {name!r} is unknown{nearest(name, ENGINES)}; engines: {', '.join(ENGINES)}.")
    module, _, kind = ENGINES[name].partition(":")
    engine: Engine = getattr(import_module(module, __name__), kind)(settings)
    return engine
