"""Functionals, dispersion corrections and Hubbard corrections of records in the words of a manuscript."""

from __future__ import annotations

from collections.abc import Sequence

from .records import Method
from .words import listed

CITED = {
    "PBE": "Perdew1996",
    "PBEsol": "Perdew2008",
    "RPBE": "Hammer1999",
    "PBE0": "Adamo1999",
    "HSE06": "Krukau2006",
    "SCAN": "Sun2015",
    "r2SCAN": "Furness2020",
}
"""Keys of references by the name of the functional."""

_DISPERSIONS = {
    "d2": "D2",
    "d3zero": "D3(0) [@Grimme2010]",
    "d3bj": "D3 with Becke–Johnson damping, D3(BJ) [@Grimme2011]",
    "d4": "D4",
    "ts": "the Tkatchenko–Scheffler method",
    "ts-hirshfeld": "the Tkatchenko–Scheffler method with iterative Hirshfeld partitioning",
    "mbd": "many-body dispersion",
    "ddsc": "dDsC",
}


def functionals(methods: Sequence[Method]) -> str:
    """Return ``the PBE+U functional [@…]``, every functional that ran; nothing if no record has one."""
    names = sorted({one.functional for one in methods if one.functional})
    if not names:
        return ""
    said = [spelt for name in names for spelt in _with_corrections(name, methods)]
    cited = "; ".join(f"@{CITED[name]}" for name in names if name in CITED)
    return f"the {' and '.join(said)} functional{'s' if len(said) > 1 else ''}" + (f" [{cited}]" if cited else "")


def _with_corrections(name: str, methods: Sequence[Method]) -> list[str]:
    """Return ``PBE+U`` where a functional ran with Hubbard corrections, and ``PBE`` where it ran without.

    An isolated atom whose element needs none was not run without.
    """
    own = [one for one in methods if one.functional == name]
    if not any(one.hubbard for one in own):
        return [name]
    return [*([name] if _lacking(own) else []), f"{name}+U"]


def _lacking(methods: Sequence[Method]) -> set[str]:
    """Return the elements that have a Hubbard correction in some records and none in others."""
    corrected = {element for one in methods for element in one.hubbard or {}}
    return {element for one in methods for element in (corrected & one.paw.keys()) - (one.hubbard or {}).keys()}


def corrections(methods: Sequence[Method]) -> list[str]:
    """Return the sentences about Hubbard and dispersion corrections."""
    sentences = []
    hubbard = sorted({f"{element} ({words})" for one in methods for element, words in (one.hubbard or {}).items()})
    if hubbard:
        cited = " [@Dudarev1998]" if any("Dudarev" in words for words in hubbard) else ""
        where = " in some of the calculations" if _lacking(methods) else ""
        sentences.append(f"Hubbard corrections (+U) were applied to {listed(hubbard)}{cited}{where}.")
    dispersions = sorted({one.dispersion for one in methods if one.dispersion is not None})
    if dispersions:
        sentences.append(f"Dispersion was added by {listed(_DISPERSIONS.get(d, d) for d in dispersions)}.")
        if any(one.dispersion is None for one in methods):
            sentences[-1] = f"{sentences[-1][:-1]} in some of the calculations."
    return sentences
