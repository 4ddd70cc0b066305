"""The functionals and Hubbard corrections that GPAW runs here, and the PAW data sets that each needs."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from ...campaign.yaml import nearest

FUNCTIONALS = {
    "LDA": "LDA",
    "PBE": "PBE",
    "RPBE": "RPBE",
    "revPBE": "revPBE",
    "vdW-DF": "revPBE",
    "vdW-DF2": "revPBE",
}
"""Functionals by GPAW's names, with the functional of their data sets. Each was run with GPAW 26.7 and gpaw-data
1.2.1, with and without spin, and its force is the slope of its energy to 0.6 meV/Å."""

AT_DENSITY = frozenset({"PBE", "RPBE", "revPBE", "PBEsol"})
"""Those between which an energy is changed at the density, and with the data sets, of one of them. ΔE of Na on WSe2,
1×1, 300 eV, 4×4×1: RPBE at the density of PBE moves it by 0.1903 eV, self-consistent RPBE by 0.1895 eV."""

WITH_D3 = ("PBE", "RPBE", "revPBE", "PBEsol")
"""Those for which the package dftd3 has damping parameters."""

_LACKING = {
    **dict.fromkeys(
        ("PBEsol", "PW91", "AM05"),
        "the package gpaw-data has no data sets of this functional, and GPAW takes no others",
    ),
    **dict.fromkeys(
        ("SCAN", "r2SCAN", "MGGA_X_SCAN+MGGA_C_SCAN", "MGGA_X_R2SCAN+MGGA_C_R2SCAN"),
        "its SCF cycle does not converge with libxc as Debian compiles it (without --disable-fhc)",
    ),
    "BEEF-vdW": "with spin, its force is not the slope of its energy, by 25 meV/Å where it was tried",
    **dict.fromkeys(
        ("PBE0", "HSE06", "B3LYP"), "a hybrid has no eigenvalues at a fixed density, which DOS and bands need"
    ),
}
"""Why some that may be asked for are not among them."""


_HEAD = 10_000
"""The states of a data set stand in as many characters, before its tables."""


def refusal(functional: object, symbols: Iterable[str]) -> str | None:
    """Return why a functional cannot be run for some elements; None if it can.

    Parameters
    ----------
    functional
        As in a protocol.
    symbols
        Elements; their data sets are looked for if gpaw-data is installed here.
    """
    here = f"engine gpaw has {', '.join(FUNCTIONALS)}"
    name = str(functional)
    if name not in FUNCTIONALS:
        reason = _LACKING.get(name)
        return f"functional {name!r}{_meant(name) if reason is None else f': {reason}'}; {here}."
    folders = _data_folders()
    needed = FUNCTIONALS[name]
    missing = [
        s for s in symbols if folders and not any((folder / f"{s}.{needed}.gz").exists() for folder in folders)
    ]
    if not missing:
        return None
    return f"functional {name!r}: the package gpaw-data has no {needed} data set for {', '.join(missing)}; {here}."


def hubbard_refusal(corrections: Mapping[str, Mapping[str, float]], functional: str) -> str | None:
    """Return why GPAW has no Hubbard correction of some shell; None if it has all.

    It projects on the partial waves of a shell, normalised by the bound one, of which there has to be one: with two
    (semicore states) it is not tried here which of them is meant.

    Parameters
    ----------
    corrections
        U (eV) by element and shell.
    functional
        As in a protocol; the data sets are looked at if gpaw-data is installed here.
    """
    for element, shells in corrections.items():
        bound = _bound_shells(element, FUNCTIONALS.get(functional, functional))
        for shell in shells:
            if bound is not None and bound.count(shell) != 1:
                single = [name for name in dict.fromkeys(bound) if bound.count(name) == 1]
                return (
                    f"hubbard_u_ev: engine gpaw corrects shells with one bound state, and its data set of {element} "
                    f"has {bound.count(shell)} of {shell}; it has one of {', '.join(single) or 'none'}."
                )
    return None


def _bound_shells(element: str, functional: str) -> list[str] | None:
    """Return the shell of each bound valence state of a data set; None if it is not here."""
    for folder in _data_folders():
        path = folder / f"{element}.{functional}.gz"
        if path.exists():
            with gzip.open(path, "rt", encoding="utf-8") as file:
                states = re.findall(r"<state\b[^>]*>", file.read(_HEAD))
            bound = [state for state in states if " n=" in state]
            return ["spdf"[int(number)] for state in bound for number in re.findall(r' l="(\d)"', state)]
    return None


def _meant(name: str) -> str:
    """Return a question after the functional that a name comes near, whatever its case; nothing if there is none."""
    same = [known for known in FUNCTIONALS if known.casefold() == name.casefold()]
    return f" (did you mean {same[0]!r}?)" if same else nearest(name, FUNCTIONALS)


def _data_folders() -> list[Path]:
    """Return the folders of data sets, none if gpaw-data is not installed here."""
    package = find_spec("gpaw_data")
    places = None if package is None else package.submodule_search_locations
    return [Path(place) / "setups" for place in places or ()]
