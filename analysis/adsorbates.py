"""Names of adsorbates: an element, or the formula of a molecule."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_PART = re.compile(r"([A-Z][a-z]?)(\d*)")


def composition(adsorbate: str) -> Counter[str]:
    """Return how many atoms of each element an adsorbate has: ``Na2S`` two Na and one S."""
    count: Counter[str] = Counter()
    for element, number in _PART.findall(adsorbate):
        count[element] += int(number or 1)
    return count


def atoms_of(adsorbate: str) -> int:
    """Return the number of an adsorbate's atoms, which are the last ones of a host with it."""
    return composition(adsorbate).total()


def is_made_of(adsorbate: str, symbols: Iterable[str]) -> bool:
    """Tell whether some atoms are those of an adsorbate."""
    return Counter(symbols) == composition(adsorbate)


def written(adsorbate: str) -> str:
    """Return an adsorbate's name with subscripts: ``Na₂S``."""
    return adsorbate.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
